/* SPDX-License-Identifier: Apache-2.0 */
/* The filter urlize: addresses in a text become links, as Jinja's documentation describes which and how. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* What looking at a word may take, in steps of PCRE2: the patterns need a few for a byte. */
#define MATCH_LIMIT(length) (1000u + 100u * (uint32_t)(length))

enum pattern { WEB, MAIL, SCHEME, N_PATTERNS };

/* What counts as an address: a scheme or www. before a domain, a domain under one of the old top levels, or an IP address. */
static const char *const patterns[N_PATTERNS] = {
    [WEB] =
        "^((https?://"
        "|www\\.)(([\\w%-]+\\.)+)?([a-z]{2,63}|xn--[\\w%]{2,59})|([\\w%-]{2,63}\\.)+(com|net|int|edu|gov|org|info|mil)"
        "|(https?://)((\\d{1,3}(\\.\\d{1,3}){3})|(\\[([\\da-f]{0,4}:){2}([\\da-f]{0,4}:?){1,6}\\])))(?::\\d{1,5})?(?:[/"
        "?#]\\S*)?$",
    [MAIL] = "^\\S+@\\w[\\w.-]*\\.\\w+$",
    [SCHEME] = "^[\\w.+-]{2,}:/{0,2}$",
};

struct linker {
    struct jinja_run *run;
    pcre2_code *codes[N_PATTERNS];
    pcre2_match_context *limits;
    struct jinja_builder *out;
    struct jinja_builder attributes; /* rel and target, with spaces before */
    bool has_limit;
    int64_t limit; /* characters of a link that are shown */
    struct jinja_value schemes;
};

/* A piece of the text; every word is cut into three of them. */
struct piece {
    const char *bytes;
    size_t length;
};

static bool open_patterns(struct linker *l)
{
    int code;
    size_t offset;
    l->limits = pcre2_match_context_create(NULL);
    for (unsigned i = 0; i < N_PATTERNS; i++) {
        const uint32_t caseless = i == WEB ? PCRE2_CASELESS : 0;
        l->codes[i] = pcre2_compile((PCRE2_SPTR)patterns[i], PCRE2_ZERO_TERMINATED,
                                    PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | caseless, &code, &offset, NULL);
        if (!l->limits || !l->codes[i]) {
            jinja_raise_limit(l->run, "memory");
            return false;
        }
    }
    return true;
}

static void close_patterns(struct linker *l)
{
    for (unsigned i = 0; i < N_PATTERNS; i++) pcre2_code_free(l->codes[i]);
    pcre2_match_context_free(l->limits);
}

/* False too if looking takes too long: such a word is no address. */
static bool matches(struct linker *l, enum pattern pattern, struct piece text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data || text.length > JINJA_MAX_SOURCE || !jinja_step(l->run, 20 + 2 * text.length)) {
        pcre2_match_data_free(data);
        return false;
    }
    pcre2_set_match_limit(l->limits, MATCH_LIMIT(text.length));
    const int found =
        pcre2_match(l->codes[pattern], (PCRE2_SPTR)text.bytes, text.length, 0, PCRE2_NO_UTF_CHECK, data, l->limits);
    pcre2_match_data_free(data);
    return found >= 0;
}

static bool begins(struct piece text, const char *with)
{
    return text.length >= strlen(with) && memcmp(text.bytes, with, strlen(with)) == 0;
}

static bool ends(struct piece text, const char *with)
{
    const size_t n = strlen(with);
    return text.length >= n && memcmp(text.bytes + text.length - n, with, n) == 0;
}

static size_t count(struct piece text, const char *part)
{
    size_t n = 0;
    const char *at = text.bytes, *end = text.bytes + text.length;
    while ((at = memmem(at, (size_t)(end - at), part, strlen(part))) != NULL) {
        at += strlen(part);
        n++;
    }
    return n;
}

/* ---- a word ---- */

/* Takes what opens and closes around a word off it; what the word itself opens it keeps closed. */
static void cut_word(struct piece *head, struct piece *middle, struct piece *tail)
{
    static const char *const opening[] = {"(", "<", "&lt;"}, *const closing[] = {")", ">", ".", ",", "&gt;"};
    static const char *const pairs[][2] = {{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}};
    *head = (struct piece){middle->bytes, 0};
    *tail = (struct piece){middle->bytes + middle->length, 0};
    for (size_t i = 0; i < 3;) {
        if (begins(*middle, opening[i])) {
            head->length += strlen(opening[i]);
            middle->bytes += strlen(opening[i]);
            middle->length -= strlen(opening[i]);
            i = 0;
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < 5;) {
        if (ends(*middle, closing[i])) {
            middle->length -= strlen(closing[i]);
            tail->bytes -= strlen(closing[i]);
            tail->length += strlen(closing[i]);
            i = 0;
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        size_t opened = count(*middle, pairs[i][0]), left = count(*tail, pairs[i][1]);
        if (opened <= count(*middle, pairs[i][1])) continue;
        for (size_t n = opened < left ? opened : left; n > 0; n--) {
            const char *at = memmem(tail->bytes, tail->length, pairs[i][1], strlen(pairs[i][1]));
            const size_t moved = (size_t)(at - tail->bytes) + strlen(pairs[i][1]);
            middle->length += moved;
            tail->bytes += moved;
            tail->length -= moved;
        }
    }
}

static void put(struct linker *l, struct piece text) { jinja_put(l->run, l->out, text.bytes, text.length); }

static void put_shown(struct linker *l, struct piece text)
{
    struct jinja_value string = jinja_string(l->run, text.bytes, text.length);
    if (jinja_failed(l->run)) return;
    const int64_t length = (int64_t)string.string->characters;
    if (!l->has_limit || length <= l->limit) return put(l, text);
    int64_t shown = l->limit < 0 ? length + l->limit : l->limit;
    if (shown < 0) shown = 0;
    jinja_put(l->run, l->out, text.bytes, jinja_byte_of(string.string, (size_t)shown));
    jinja_put_text(l->run, l->out, "...");
}

static void put_link(struct linker *l, const char *scheme, struct piece to, bool attributes)
{
    jinja_put_text(l->run, l->out, "<a href=\"");
    jinja_put_text(l->run, l->out, scheme);
    put(l, to);
    jinja_put_text(l->run, l->out, "\"");
    if (attributes) jinja_put(l->run, l->out, l->attributes.bytes ? l->attributes.bytes : "", l->attributes.length);
    jinja_put_text(l->run, l->out, ">");
}

static bool has_extra_scheme(struct linker *l, struct piece text)
{
    struct jinja_walk walk;
    struct jinja_value scheme;
    bool found = false;
    if (!jinja_given_not_none(l->schemes) || !jinja_walk_start(l->run, l->schemes, &walk)) return false;
    while (!found && jinja_walk_next(l->run, &walk, &scheme)) {
        const struct jinja_string *s = scheme.kind == JINJA_STRING ? scheme.string : NULL;
        found = s && text.length > s->length && memcmp(text.bytes, s->bytes, s->length) == 0;
    }
    return found;
}

static void put_word(struct linker *l, struct piece middle)
{
    struct piece head, tail, address;
    cut_word(&head, &middle, &tail);
    put(l, head);
    address = (struct piece){middle.bytes + 7, begins(middle, "mailto:") ? middle.length - 7 : 0};
    if (matches(l, WEB, middle)) {
        put_link(l, begins(middle, "https://") || begins(middle, "http://") ? "" : "https://", middle, true);
        put_shown(l, middle);
        jinja_put_text(l->run, l->out, "</a>");
    } else if (begins(middle, "mailto:") && matches(l, MAIL, address)) {
        put_link(l, "", middle, false);
        put(l, address);
        jinja_put_text(l->run, l->out, "</a>");
    } else if (count(middle, "@") && !begins(middle, "www.") && !begins(middle, "@") && !count(middle, ":") &&
               matches(l, MAIL, middle)) {
        put_link(l, "mailto:", middle, false);
        put(l, middle);
        jinja_put_text(l->run, l->out, "</a>");
    } else if (has_extra_scheme(l, middle)) {
        put_link(l, "", middle, true);
        put(l, middle);
        jinja_put_text(l->run, l->out, "</a>");
    } else {
        put(l, middle);
    }
    put(l, tail);
}

static void put_words(struct linker *l, const struct jinja_string *text)
{
    size_t word = 0, at = 0;
    while (at < text->length && jinja_step(l->run, 1)) {
        unsigned n;
        const bool space = jinja_character_is(jinja_character(text->bytes + at, text->length - at, &n), JINJA_SPACE);
        if (space && at > word) put_word(l, (struct piece){text->bytes + word, at - word});
        if (space) put(l, (struct piece){text->bytes + at, n});
        at += n;
        if (space) word = at;
    }
    if (at > word && !jinja_failed(l->run)) put_word(l, (struct piece){text->bytes + word, at - word});
}

/* ---- attributes ---- */

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    const size_t n = x->length < y->length ? x->length : y->length;
    const int order = memcmp(x->bytes, y->bytes, n);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* rel is a set of words: those that were asked for, and noopener. */
static void put_rel(struct linker *l, const struct jinja_string *given, bool nofollow)
{
    const size_t most = (given ? given->length / 2 : 0) + 3;
    struct piece *words = jinja_alloc(l->run, most, sizeof *words);
    struct jinja_builder joined = {0};
    size_t n = 0;
    if (!words) return;
    words[n++] = (struct piece){"noopener", 8};
    if (nofollow) words[n++] = (struct piece){"nofollow", 8};
    for (size_t at = 0; given && at < given->length && n < most;) {
        const char *blanks = " \t\n\v\f\r";
        while (at < given->length && strchr(blanks, given->bytes[at])) at++;
        const size_t begin = at;
        while (at < given->length && !strchr(blanks, given->bytes[at])) at++;
        if (at > begin) words[n++] = (struct piece){given->bytes + begin, at - begin};
    }
    qsort(words, n, sizeof *words, compare_pieces);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_pieces(&words[i], &words[i - 1]) == 0) continue;
        if (joined.length) jinja_put(l->run, &joined, " ", 1);
        jinja_put(l->run, &joined, words[i].bytes, words[i].length);
    }
    jinja_put_text(l->run, &l->attributes, " rel=\"");
    if (!jinja_failed(l->run)) jinja_put_escaped(l->run, &l->attributes, jinja_built(l->run, &joined));
    jinja_put_text(l->run, &l->attributes, "\"");
}

static void check_schemes(struct linker *l)
{
    struct jinja_walk walk;
    struct jinja_value scheme;
    if (!jinja_given_not_none(l->schemes) || !jinja_walk_start(l->run, l->schemes, &walk)) return;
    while (jinja_walk_next(l->run, &walk, &scheme)) {
        const struct jinja_string *s = jinja_arg_string(l->run, scheme);
        if (!s) return;
        if (matches(l, SCHEME, (struct piece){s->bytes, s->length})) continue;
        jinja_raise(l->run, "%s is not a valid URI scheme prefix", jinja_shown(scheme).text);
        return;
    }
}

struct jinja_value jinja_urlize(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_builder out = {0};
    struct linker l = {.run = run, .out = &out, .schemes = call->arg[4]};
    struct jinja_value text = jinja_escape(run, call->self);
    const struct jinja_string *rel = NULL;
    l.has_limit = jinja_given_not_none(call->arg[0]);
    if (l.has_limit) l.limit = jinja_arg_integer(run, call->arg[0], 0);
    if (jinja_given(call->arg[3]) && jinja_true(call->arg[3])) rel = jinja_arg_string(run, call->arg[3]);
    if (!jinja_failed(run)) put_rel(&l, rel, jinja_arg_true(call->arg[1], false));
    if (jinja_given(call->arg[2]) && jinja_true(call->arg[2])) {
        jinja_put_text(run, &l.attributes, " target=\"");
        jinja_put_escaped(run, &l.attributes, call->arg[2]);
        jinja_put_text(run, &l.attributes, "\"");
    }
    if (!jinja_failed(run) && open_patterns(&l)) {
        check_schemes(&l);
        if (!jinja_failed(run)) put_words(&l, text.string);
    }
    close_patterns(&l);
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), run->autoescape);
}
