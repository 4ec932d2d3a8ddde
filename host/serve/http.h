/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 message syntax (RFC 9112, RFC 9110) as strictly as a server may read it: lines end with CRLF, no folded
 * headers, one Content-Length of digits only, never together with Transfer-Encoding. Pure functions over bytes.
 */
#ifndef SLUICE_SERVE_HTTP_H
#define SLUICE_SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MAX_HEAD 16384 /* bytes of request line and headers */
#define HTTP_MAX_HEADERS 100
#define HTTP_MAX_METHOD 15
#define HTTP_MAX_KEY 128
#define HTTP_MAX_CHUNK_LINE 256 /* bytes of a chunk's size line, extensions included */

struct http_request {
    char method[HTTP_MAX_METHOD + 1];
    char path[1024];      /* as sent, without query and fragment */
    unsigned minor;       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;      /* the connection may stay open after the answer */
    bool chunked;         /* the body comes in chunks */
    bool has_length;      /* Content-Length was given */
    bool expect_continue; /* the client waits for 100 before it sends the body */
    bool has_origin;      /* Origin was given: a browser page asks */
    bool encoded;         /* Content-Encoding was given: the body is compressed */
    uint64_t content_length;
    float timeout_seconds; /* of X-Request-Timeout; 0: none */
    char content_type[64]; /* lower case, without parameters; "" if none */
    char key[HTTP_MAX_KEY +
             1]; /* of Authorization: Bearer, or of x-api-key; "" if none, "?" if it is longer or no key */
};

/*
 * Reads a whole head: request line, headers and the empty line, length bytes. Returns 0, or the HTTP status to refuse
 * the request with and why (static text).
 */
int http_parse_head(const char *bytes, size_t length, struct http_request *out, const char **why);

/*
 * What the first bytes of a request promise, before the head is whole: 0 if it may still become one, or the status to
 * refuse it with at once (no method, a line that does not end with CRLF).
 */
int http_check_start(const char *bytes, size_t length, const char **why);

/* The size in a chunk's size line (without its CRLF). False if it is malformed. */
bool http_parse_chunk_size(const char *line, size_t length, uint64_t *size);

/* Decodes %XX in place. False for a bad escape or one that gives NUL. */
bool http_decode_path(char *path);

const char *http_reason(int status); /* "Not Found"; static text */

#endif
