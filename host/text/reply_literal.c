/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls whose arguments are no JSON: Python's calls, NAME(key=value, ...), and Gemma 4's objects, {key:value,...} with strings
 * between <|"|>. They become JSON once they are whole.
 */
#include "host/text/reply_internal.h"

#include <stdlib.h>
#include <string.h>

#define MOST_DEPTH 60u
#define MOST_BYTES (1u << 20) /* of one call's arguments */

static const char string_mark[] = "<|\"|>";
#define MARK_BYTES (sizeof string_mark - 1)

struct literal {
    const char *at, *end;
    unsigned depth;
};

static json_t *value_of(struct literal *l);

static void skip_space(struct literal *l)
{
    while (l->at < l->end && strchr(" \t\r\n", *l->at) && *l->at) l->at++;
}

static bool takes(struct literal *l, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(l->end - l->at) < n || memcmp(l->at, word, n) != 0) return false;
    l->at += n;
    return true;
}

/* ---- strings ---- */

static size_t put_character(uint32_t code, char *out)
{
    const unsigned more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    for (unsigned i = more; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[more] | code);
    return more + 1;
}

static bool hex(struct literal *l, unsigned digits, uint32_t *code)
{
    *code = 0;
    for (unsigned i = 0; i < digits; i++) {
        const char *all = "0123456789abcdef0123456789ABCDEF", *found = NULL;
        if (l->at < l->end && *l->at) found = strchr(all, *l->at++);
        if (!found) return false;
        *code = *code * 16 + (uint32_t)((found - all) % 16);
    }
    return *code <= 0x10FFFF && (*code < 0xD800 || *code > 0xDFFF);
}

/* What a backslash of Python's means, or itself. */
static bool escape(struct literal *l, char *out, size_t *n)
{
    static const char letters[] = "n\nt\tr\rb\bf\fv\va\a0\0";
    uint32_t code;
    if (l->at == l->end) return false;
    const char c = *l->at++;
    if (c == 'x' || c == 'u' || c == 'U') {
        if (!hex(l, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code)) return false;
        *n += put_character(code, out + *n);
        return true;
    }
    for (size_t i = 0; i + 1 < sizeof letters; i += 2) {
        if (letters[i] != c) continue;
        out[(*n)++] = letters[i + 1];
        return true;
    }
    if (!strchr("\\'\"/", c)) out[(*n)++] = '\\';
    out[(*n)++] = c;
    return true;
}

static json_t *string_of(struct literal *l)
{
    char *out = malloc((size_t)(l->end - l->at) + 1); /* no escape is longer than it is written */
    size_t n = 0;
    bool whole = false;
    json_t *string = NULL;
    if (!out) return NULL;
    if (takes(l, string_mark)) {
        const char *close = memmem(l->at, (size_t)(l->end - l->at), string_mark, MARK_BYTES);
        whole = close != NULL;
        n = whole ? (size_t)(close - l->at) : 0;
        memcpy(out, l->at, n);
        if (whole) l->at = close + MARK_BYTES;
    } else {
        const char quote = *l->at++;
        bool good = true;
        while (good && !whole && l->at < l->end) {
            const char c = *l->at++;
            if (c == quote)
                whole = true;
            else if (c == '\\')
                good = escape(l, out, &n);
            else
                out[n++] = c;
        }
        whole = whole && good;
    }
    if (whole) string = json_stringn(out, n);
    free(out);
    return string;
}

/* ---- the others ---- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

/* A key: a string, or a bare word. */
static json_t *key_of(struct literal *l)
{
    if (l->at < l->end && strchr("'\"<", *l->at) && *l->at) return string_of(l);
    const char *begin = l->at;
    while (l->at < l->end && is_word(*l->at)) l->at++;
    return l->at > begin ? json_stringn(begin, (size_t)(l->at - begin)) : NULL;
}

/* Pairs up to the end's character. False: they are none. */
static bool pairs(struct literal *l, json_t *object, const char *between, const char *close)
{
    skip_space(l);
    while (!takes(l, close)) {
        json_t *key = key_of(l);
        skip_space(l);
        json_t *value = key && takes(l, between) ? value_of(l) : NULL;
        const bool set = value && json_object_setn_new(object, json_string_value(key), json_string_length(key),
                                                       json_incref(value)) == 0;
        json_decref(key);
        json_decref(value);
        if (!set) return false;
        skip_space(l);
        if (takes(l, ",")) {
            skip_space(l);
            continue;
        }
        return takes(l, close);
    }
    return true;
}

static bool elements(struct literal *l, json_t *list, const char *close)
{
    skip_space(l);
    while (!takes(l, close)) {
        if (json_array_append_new(list, value_of(l)) < 0) return false;
        skip_space(l);
        if (takes(l, ",")) {
            skip_space(l);
            continue;
        }
        return takes(l, close);
    }
    return true;
}

static json_t *word_of(struct literal *l)
{
    static const struct {
        const char *word, *json;
    } words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const char *begin = l->at;
    while (l->at < l->end && (is_word(*l->at) || *l->at == '+')) l->at++;
    const size_t n = (size_t)(l->at - begin);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (n == strlen(words[i].word) && memcmp(begin, words[i].word, n) == 0)
            return json_loads(words[i].json, JSON_DECODE_ANY, NULL);
    return n > 0 ? json_loadb(begin, n, JSON_DECODE_ANY, NULL) : NULL;
}

/* NULL: it is none. */
static json_t *value_of(struct literal *l)
{
    json_t *made = NULL;
    bool good = true;
    skip_space(l);
    if (l->at == l->end || l->depth >= MOST_DEPTH) return NULL;
    l->depth++;
    if (takes(l, "{"))
        good = pairs(l, made = json_object(), ":", "}");
    else if (takes(l, "["))
        good = elements(l, made = json_array(), "]");
    else if (takes(l, "("))
        good = elements(l, made = json_array(), ")");
    else if (*l->at == '\'' || *l->at == '"' || *l->at == '<')
        made = string_of(l);
    else
        made = word_of(l);
    l->depth--;
    if (good) return made;
    json_decref(made);
    return NULL;
}

/* ---- a call ---- */

void reply_literal_begin(struct reply *reply)
{
    reply->state = READ_LITERAL;
    reply->literal_at = reply->literal_depth = 0;
    reply->literal_quote = 0;
}

/* Goes on looking for the end of the arguments; true: literal_at is behind it. */
static bool find_end(struct reply *reply)
{
    const char *bytes = reply->held.bytes + reply->at;
    const size_t n = reply->held.length - reply->at;
    while (reply->literal_at < n) {
        const size_t i = reply->literal_at;
        const char c = bytes[i];
        if (c == '<' && (!reply->literal_quote || reply->literal_quote == '<')) {
            if (n - i < MARK_BYTES && memcmp(bytes + i, string_mark, n - i) == 0 && !reply->ended) return false;
            if (n - i >= MARK_BYTES && memcmp(bytes + i, string_mark, MARK_BYTES) == 0) {
                reply->literal_quote = reply->literal_quote ? 0 : '<';
                reply->literal_at += MARK_BYTES;
                continue;
            }
        }
        if (reply->literal_quote == '\'' || reply->literal_quote == '"') {
            if (c == '\\' && i + 1 == n && !reply->ended) return false;
            if (c == '\\') reply->literal_at++;
            if (c == reply->literal_quote) reply->literal_quote = 0;
        } else if (!reply->literal_quote) {
            if (c == '\'' || c == '"') reply->literal_quote = c;
            if (strchr("([{", c) && c) reply->literal_depth++;
            if (strchr(")]}", c) && c && reply->literal_depth-- == 0) {
                reply->literal_at++;
                return true;
            }
        }
        reply->literal_at++;
    }
    return false;
}

/* Gemma's are behind NAME{, Python's behind NAME(. */
bool reply_literal_step(struct reply *reply)
{
    const bool gemma = reply->calls->form == CALLS_LITERAL;
    const bool found = find_end(reply);
    if (!found && !reply->ended && reply->held.length - reply->at <= MOST_BYTES) return false;
    struct literal l = {.at = reply->held.bytes + reply->at, .end = reply->held.bytes + reply->at + reply->literal_at};
    json_t *arguments = found ? json_object() : NULL;
    const bool good = arguments && pairs(&l, arguments, gemma ? ":" : "=", gemma ? "}" : ")") && l.at == l.end;
    char *text = good ? json_dumps(arguments, 0) : NULL;
    json_decref(arguments);
    if (!text) {
        reply_broken(reply);
        return true;
    }
    reply_take(reply, reply->literal_at);
    reply_call_start(reply);
    reply_say(reply, REPLY_CALL_ARGUMENTS, text, strlen(text));
    free(text);
    reply->state = READ_ARGUMENTS_END;
    return true;
}

/* NAME( of a Python call; where the list of calls goes on. */
bool reply_python_step(struct reply *reply)
{
    static const char *const ends[] = {"(", "]", ",", "<", "\n"};
    size_t end;
    const char *found = reply_find(reply, reply->at, ends, 5, &end);
    const size_t length = end - reply->at;
    if (!found && length <= REPLY_MAX_NAME && !reply->ended) return false;
    if (found != ends[0] || !reply_set_name(reply, reply->held.bytes + reply->at, length)) {
        reply_broken(reply);
        return true;
    }
    reply_take(reply, length + 1);
    reply_literal_begin(reply);
    return true;
}
