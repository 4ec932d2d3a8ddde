/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A part of the head: not terminated. */
struct span {
    const char *bytes;
    size_t length;
};

/* tchar of RFC 9110, section 5.6.2: what methods and header names are made of. */
static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && strncasecmp(span.bytes, text, span.length) == 0;
}

static struct span span_trim(struct span span)
{
    while (span.length && (span.bytes[0] == ' ' || span.bytes[0] == '\t')) span.bytes++, span.length--;
    while (span.length && (span.bytes[span.length - 1] == ' ' || span.bytes[span.length - 1] == '\t')) span.length--;
    return span;
}

/* Takes the part of *rest before the first c, and c itself, off *rest. False if there is no c. */
static bool span_take(struct span *rest, char c, struct span *part)
{
    const char *end = rest->length ? memchr(rest->bytes, c, rest->length) : NULL;
    if (!end) return false;
    *part = (struct span){rest->bytes, (size_t)(end - rest->bytes)};
    rest->length -= part->length + 1;
    rest->bytes = end + 1;
    return true;
}

int http_check_start(const char *bytes, size_t length, const char **why)
{
    for (size_t i = 0; i < length && i <= HTTP_MAX_METHOD; i++) {
        if (bytes[i] == ' ' && i > 0) break;
        if (!is_token_char((unsigned char)bytes[i])) {
            *why = "This is not an HTTP request.";
            return 400;
        }
    }
    const char *newline = length ? memchr(bytes, '\n', length) : NULL;
    if (newline && (newline == bytes || newline[-1] != '\r')) {
        *why = "A line of the request does not end with CR LF.";
        return 400;
    }
    return 0;
}

/* The target's path: origin form, or absolute form without its scheme and authority. */
static int parse_target(struct span target, struct http_request *out, const char **why)
{
    if (target.length >= 7 && strncasecmp(target.bytes, "http://", 7) == 0) {
        const char *slash = memchr(target.bytes + 7, '/', target.length - 7);
        size_t skip = slash ? (size_t)(slash - target.bytes) : target.length;
        target.bytes += skip;
        target.length -= skip;
        if (target.length == 0) target = (struct span){"/", 1};
    }
    for (size_t i = 0; i < target.length; i++) {
        if (target.bytes[i] == '?' || target.bytes[i] == '#') {
            target.length = i;
            break;
        }
    }
    bool asterisk = target.length == 1 && target.bytes[0] == '*' && strcmp(out->method, "OPTIONS") == 0;
    if (!asterisk && (target.length == 0 || target.bytes[0] != '/')) {
        *why = "The request target is not a path.";
        return 400;
    }
    if (target.length >= sizeof out->path) {
        *why = "The path is too long.";
        return 414;
    }
    memcpy(out->path, target.bytes, target.length);
    return 0;
}

static int parse_request_line(struct span line, struct http_request *out, const char **why)
{
    struct span method, target;
    *why = "The request line is malformed.";
    if (!span_take(&line, ' ', &method) || !span_take(&line, ' ', &target)) return 400;
    if (method.length == 0 || method.length >= sizeof out->method) return 400;
    for (size_t i = 0; i < method.length; i++) {
        if (!is_token_char((unsigned char)method.bytes[i])) return 400;
    }
    for (size_t i = 0; i < target.length; i++) {
        unsigned char c = (unsigned char)target.bytes[i];
        if (c <= ' ' || c >= 0x7f) return 400;
    }
    memcpy(out->method, method.bytes, method.length);
    if (line.length != 8 || memcmp(line.bytes, "HTTP/", 5) != 0) return 400;
    if (memcmp(line.bytes, "HTTP/1.", 7) != 0 || (line.bytes[7] != '0' && line.bytes[7] != '1')) {
        *why = "This server speaks HTTP/1.1.";
        return 505;
    }
    out->minor = (unsigned)(line.bytes[7] - '0');
    out->keep_alive = out->minor == 1;
    return parse_target(target, out, why);
}

static int parse_content_length(struct span value, struct http_request *out, const char **why)
{
    *why = "Content-Length is malformed or given twice.";
    if (out->has_length || value.length == 0) return 400;
    uint64_t length = 0;
    for (size_t i = 0; i < value.length; i++) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9') return 400;
        uint64_t digit = (uint64_t)(value.bytes[i] - '0');
        if (__builtin_mul_overflow(length, 10u, &length) || __builtin_add_overflow(length, digit, &length)) return 400;
    }
    out->content_length = length;
    out->has_length = true;
    return 0;
}

static void parse_connection(struct span value, struct http_request *out, bool *close_asked)
{
    struct span option;
    bool more = true;
    while (more) {
        more = span_take(&value, ',', &option);
        if (!more) option = value;
        option = span_trim(option);
        if (span_is(option, "close")) *close_asked = true;
        if (span_is(option, "keep-alive")) out->keep_alive = true;
    }
}

static void parse_content_type(struct span value, struct http_request *out)
{
    struct span type = value;
    struct span rest = value;
    if (span_take(&rest, ';', &type)) type = span_trim(type);
    size_t length = type.length < sizeof out->content_type ? type.length : sizeof out->content_type - 1;
    for (size_t i = 0; i < length; i++) {
        char c = type.bytes[i];
        out->content_type[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out->content_type[length] = '\0';
}

/* The first key counts. */
static void parse_key(struct span value, struct http_request *out)
{
    if (out->key[0] != '\0' || value.length == 0) return;
    const bool fits = value.length <= HTTP_MAX_KEY;
    memcpy(out->key, fits ? value.bytes : "?", fits ? value.length : 1);
}

static void parse_authorization(struct span value, struct http_request *out)
{
    struct span scheme, rest = value;
    if (span_take(&rest, ' ', &scheme) && span_is(scheme, "bearer"))
        parse_key(span_trim(rest), out);
    else
        parse_key((struct span){"?", 1}, out);
}

/* Seconds, as digits with at most one point: "30" or "0.5". */
static int parse_timeout(struct span value, struct http_request *out, const char **why)
{
    double seconds = 0, unit = 1;
    bool fraction = false;
    *why = "X-Request-Timeout is no number of seconds from 0.001 to 86400.";
    if (value.length == 0 || value.length > 12) return 400;
    for (size_t i = 0; i < value.length; i++) {
        const char c = value.bytes[i];
        if (c == '.' && !fraction && i > 0) {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9') return 400;
        if (fraction) unit /= 10;
        seconds = fraction ? seconds + (c - '0') * unit : seconds * 10 + (c - '0');
    }
    if (seconds < 0.001 || seconds > 86400) return 400;
    out->timeout_seconds = (float)seconds;
    return 0;
}

/* What headers say about the connection, collected until all are read. */
struct head_state {
    unsigned n_headers, n_hosts;
    bool close_asked;
};

static int apply_header(struct span name, struct span value, struct http_request *out, struct head_state *state,
                        const char **why)
{
    if (span_is(name, "content-length")) return parse_content_length(value, out, why);
    if (span_is(name, "transfer-encoding")) {
        *why = "Of transfer encodings this server takes chunked alone.";
        if (out->chunked || out->minor == 0) return 400;
        if (!span_is(value, "chunked")) return 501;
        out->chunked = true;
    } else if (span_is(name, "host")) {
        state->n_hosts++;
    } else if (span_is(name, "connection")) {
        parse_connection(value, out, &state->close_asked);
    } else if (span_is(name, "content-type")) {
        parse_content_type(value, out);
    } else if (span_is(name, "content-encoding")) {
        out->encoded = !span_is(value, "identity");
    } else if (span_is(name, "authorization")) {
        parse_authorization(value, out);
    } else if (span_is(name, "x-api-key")) {
        parse_key(value, out);
    } else if (span_is(name, "x-request-timeout")) {
        return parse_timeout(value, out, why);
    } else if (span_is(name, "origin")) {
        out->has_origin = true;
    } else if (span_is(name, "expect")) {
        *why = "Of expectations this server knows 100-continue alone.";
        if (!span_is(value, "100-continue")) return 417;
        out->expect_continue = out->minor == 1;
    }
    return 0;
}

static int parse_header(struct span line, struct http_request *out, struct head_state *state, const char **why)
{
    struct span name;
    *why = "A header is malformed.";
    if (!span_take(&line, ':', &name) || name.length == 0) return 400; /* a folded line has no name before its colon */
    for (size_t i = 0; i < name.length; i++) {
        if (!is_token_char((unsigned char)name.bytes[i])) return 400;
    }
    for (size_t i = 0; i < line.length; i++) {
        unsigned char c = (unsigned char)line.bytes[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return 400;
    }
    if (++state->n_headers > HTTP_MAX_HEADERS) {
        *why = "There are too many headers.";
        return 431;
    }
    return apply_header(name, span_trim(line), out, state, why);
}

/* Takes one line and its CRLF off *rest. */
static bool take_line(struct span *rest, struct span *line)
{
    if (!span_take(rest, '\n', line)) return false;
    if (line->length == 0 || line->bytes[line->length - 1] != '\r') return false;
    line->length--;
    return true;
}

int http_parse_head(const char *bytes, size_t length, struct http_request *out, const char **why)
{
    struct span rest = {bytes, length}, line;
    struct head_state state = {0};
    *out = (struct http_request){0};
    *why = "A line of the request does not end with CR LF.";
    if (!take_line(&rest, &line)) return 400;
    int status = parse_request_line(line, out, why);
    while (status == 0) {
        *why = "A line of the request does not end with CR LF.";
        if (!take_line(&rest, &line)) return 400;
        if (line.length == 0) break;
        status = parse_header(line, out, &state, why);
    }
    if (status) return status;
    if (state.close_asked) out->keep_alive = false;
    *why = "The request needs exactly one Host header.";
    if (state.n_hosts > 1 || (out->minor == 1 && state.n_hosts == 0)) return 400;
    *why = "Content-Length and Transfer-Encoding exclude each other.";
    if (out->chunked && out->has_length) return 400;
    return 0;
}

bool http_parse_chunk_size(const char *line, size_t length, uint64_t *size)
{
    size_t digits = 0;
    uint64_t value = 0;
    for (; digits < length; digits++) {
        char c = line[digits];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (unsigned)((c | 0x20) - 'a') + 10;
        } else {
            break;
        }
        if (value >> 60) return false;
        value = value << 4 | digit;
    }
    if (digits == 0 || (digits < length && line[digits] != ';')) return false;
    for (size_t i = digits; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 && line[i] != '\t') return false;
    }
    *size = value;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool http_decode_path(char *path)
{
    char *to = path;
    for (const char *from = path; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]);
        int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high == 0 && low == 0)) return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return true;
}

const char *http_reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}
