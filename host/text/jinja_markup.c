/* SPDX-License-Identifier: Apache-2.0 */
/* Markup: text that is HTML already. Chat templates say `| safe` out of habit; with it + and % escape the other side. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <stdlib.h>
#include <string.h>

void jinja_put_escaped(struct jinja_run *run, struct jinja_builder *to, struct jinja_value value)
{
    struct jinja_value text = value.kind == JINJA_STRING ? value : jinja_str(run, value);
    if (jinja_failed(run)) return;
    const struct jinja_string *s = text.string;
    if (text.safe) return jinja_put(run, to, s->bytes, s->length);
    for (size_t at = 0; at < s->length && jinja_step(run, 1);) {
        size_t end = at;
        while (end < s->length && !(s->bytes[end] && strchr("&<>'\"", s->bytes[end]))) end++;
        jinja_put(run, to, s->bytes + at, end - at);
        if (end == s->length) break;
        char c = s->bytes[end];
        jinja_put_text(run, to,
                       c == '&'   ? "&amp;"
                       : c == '<' ? "&lt;"
                       : c == '>' ? "&gt;"
                       : c == '"' ? "&#34;"
                                  : "&#39;");
        at = end + 1;
    }
}

struct jinja_value jinja_escape(struct jinja_run *run, struct jinja_value value)
{
    struct jinja_builder out = {0};
    if (value.kind == JINJA_STRING && value.safe) return value;
    jinja_put_escaped(run, &out, value);
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), true);
}

static struct jinja_value escape(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_escape(run, call->self);
}

static struct jinja_value forceescape(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value text = jinja_str(run, call->self);
    return jinja_failed(run) ? jinja_nothing() : jinja_escape(run, text);
}

static struct jinja_value safe(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_mark(jinja_str(run, call->self), true);
}

/* The character that an entity stands for at bytes ("&amp;"), *length of it; 0 if it is none of the few that are known. */
static uint32_t entity(const char *bytes, size_t n, size_t *length)
{
    static const struct {
        const char *name;
        uint32_t character;
    } names[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&nbsp;", 0xa0}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *length = strlen(names[i].name);
        if (*length <= n && memcmp(bytes, names[i].name, *length) == 0) return names[i].character;
    }
    char digits[12] = "";
    bool hex = n > 3 && bytes[1] == '#' && (bytes[2] | 0x20) == 'x';
    size_t at = hex ? 3 : 2, k = 0;
    if (n < 4 || bytes[1] != '#') return 0;
    while (at < n && k + 1 < sizeof digits && bytes[at] != ';') digits[k++] = bytes[at++];
    char *end;
    unsigned long code = strtoul(digits, &end, hex ? 16 : 10);
    if (at >= n || bytes[at] != ';' || *end || k == 0 || code == 0 || code > 0x10ffff ||
        (code >= 0xd800 && code < 0xe000))
        return 0;
    *length = at + 1;
    return (uint32_t)code;
}

static void strip_tags(struct jinja_run *run, struct jinja_builder *out, const struct jinja_string *s)
{
    for (size_t at = 0; at < s->length && jinja_step(run, 1);) {
        const char *rest = s->bytes + at, *end = NULL;
        size_t n = s->length - at;
        if (*rest == '<') {
            bool comment = n >= 4 && memcmp(rest, "<!--", 4) == 0;
            end = comment ? memmem(rest, n, "-->", 3) : memchr(rest, '>', n);
            if (end) at += (size_t)(end - rest) + (comment ? 3 : 1);
        }
        if (end) continue;
        jinja_put(run, out, rest, 1);
        at++;
        if (*rest == '<' && !jinja_step(run, n / 64)) return;
    }
}

static struct jinja_value striptags(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder bare = {0}, out = {0};
    struct jinja_value text = jinja_str(run, call->self);
    if (jinja_failed(run)) return jinja_nothing();
    strip_tags(run, &bare, text.string);
    bool space = false;
    for (size_t at = 0; at < bare.length && jinja_step(run, 1);) {
        unsigned n;
        size_t length = 1;
        uint32_t c = jinja_character(bare.bytes + at, bare.length - at, &n);
        if (jinja_character_is(c, JINJA_SPACE)) {
            space = out.length > 0;
            at += n;
            continue;
        }
        if (space) jinja_put(run, &out, " ", 1);
        space = false;
        uint32_t named = c == '&' ? entity(bare.bytes + at, bare.length - at, &length) : 0;
        if (named)
            jinja_put_char(run, &out, named);
        else
            jinja_put(run, &out, bare.bytes + at, n);
        at += named ? length : n;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_built(run, &out);
}

static struct jinja_value xmlattr(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder out = {0};
    bool space = jinja_arg_true(call->arg[0], true);
    if (call->self.kind != JINJA_DICT) {
        jinja_raise(run, "xmlattr needs a mapping, not %s", jinja_type_name(call->self));
        return jinja_nothing();
    }
    for (size_t i = 0; i < call->self.dict->count && !jinja_failed(run); i++) {
        struct jinja_value key = call->self.dict->entries[i].key, value = call->self.dict->entries[i].value;
        if (value.kind == JINJA_NONE || value.kind == JINJA_UNDEFINED) continue;
        if (key.kind != JINJA_STRING) {
            jinja_raise(run, "an attribute's name is a string");
            break;
        }
        for (size_t k = 0; k < key.string->length; k++) {
            char c = key.string->bytes[k];
            if (c && strchr(" \t\n\f\r/>=", c))
                jinja_raise(run, "Invalid character in attribute name: '%s'", jinja_shown(key).text);
        }
        if (out.length || space) jinja_put(run, &out, " ", 1);
        jinja_put_escaped(run, &out, key);
        jinja_put_text(run, &out, "=\"");
        jinja_put_escaped(run, &out, value);
        jinja_put_text(run, &out, "\"");
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), run->autoescape);
}

const struct jinja_function jinja_markup_filters[] = {
    {"escape", escape, "/", 0},
    {"e", escape, "/", 0},
    {"forceescape", forceescape, "/", 0},
    {"safe", safe, "/", 0},
    {"striptags", striptags, "/", 0},
    {"xmlattr", xmlattr, "autospace", 0},
    {"urlize", jinja_urlize, "trim_url_limit,nofollow,target,rel,extra_schemes", 0},
    {NULL, NULL, NULL, 0},
};
