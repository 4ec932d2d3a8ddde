/* SPDX-License-Identifier: Apache-2.0 */
/* Upper and lower case of whole strings, and Python's questions about characters. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

enum { SWAP_CASE = 10, TITLE_WORDS, CAPITALIZE }; /* beside enum jinja_case */

static bool is_cased(uint32_t c)
{
    return jinja_character_is(c, JINJA_UPPER) || jinja_character_is(c, JINJA_LOWER) ||
           jinja_character_is(c, JINJA_TITLE);
}

/* Whether a cased character stands before (or behind) this place, looking past what the rule ignores. */
static bool cased_beside(const struct jinja_string *s, size_t at, bool before)
{
    while (before ? at > 0 : at < s->length) {
        unsigned n;
        if (before) {
            do {
                at--;
            } while (at > 0 && ((unsigned char)s->bytes[at] & 0xc0) == 0x80);
        }
        uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        if (!before) at += n;
        if (!jinja_character_is(c, JINJA_IGNORABLE)) return is_cased(c);
    }
    return false;
}

static void put_case(struct jinja_run *run, struct jinja_builder *to, const struct jinja_string *s, size_t at,
                     uint32_t c, unsigned bytes, enum jinja_case which)
{
    uint32_t mapped[3];
    if (c == 0x3a3 && which == JINJA_TO_LOWER) { /* a sigma that ends a word */
        bool final = cased_beside(s, at, true) && !cased_beside(s, at + bytes, false);
        jinja_put_char(run, to, final ? 0x3c2 : 0x3c3);
        return;
    }
    unsigned n = jinja_character_case(c, which, mapped);
    for (unsigned i = 0; i < n; i++) jinja_put_char(run, to, mapped[i]);
}

struct jinja_value jinja_to_case(struct jinja_run *run, struct jinja_value string, int to)
{
    const struct jinja_string *s = string.string;
    struct jinja_builder out = {0};
    bool in_word = false;
    if (!jinja_step(run, s->length / 8)) return jinja_nothing();
    for (size_t at = 0; at < s->length && !jinja_failed(run);) {
        unsigned n;
        uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        enum jinja_case which = (enum jinja_case)to;
        if (to == SWAP_CASE)
            which = jinja_character_is(c, JINJA_UPPER) ? JINJA_TO_LOWER : JINJA_TO_UPPER;
        else if (to == TITLE_WORDS)
            which = in_word ? JINJA_TO_LOWER : JINJA_TO_TITLE;
        else if (to == CAPITALIZE)
            which = at > 0 ? JINJA_TO_LOWER : JINJA_TO_TITLE;
        if (to == SWAP_CASE && !is_cased(c))
            jinja_put(run, &out, s->bytes + at, n);
        else
            put_case(run, &out, s, at, c, n, which);
        if (to == TITLE_WORDS) in_word = is_cased(c);
        at += n;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_mark(jinja_built(run, &out), string.safe);
}

static struct jinja_value upper(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_case(run, call->self, JINJA_TO_UPPER);
}

static struct jinja_value lower(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_case(run, call->self, JINJA_TO_LOWER);
}

static struct jinja_value casefold(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_case(run, call->self, JINJA_TO_FOLDED);
}

static struct jinja_value swapcase(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_case(run, call->self, SWAP_CASE);
}

static struct jinja_value title(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_case(run, call->self, TITLE_WORDS);
}

static struct jinja_value capitalize(struct jinja_run *run, struct jinja_call *call)
{
    return jinja_to_case(run, call->self, CAPITALIZE);
}

/* True if there is a character, and all are of the class. */
static struct jinja_value all_are(struct jinja_run *run, const struct jinja_string *s, enum jinja_class class,
                                  bool empty)
{
    if (s->length == 0) return jinja_bool(empty);
    if (!jinja_step(run, s->length / 8)) return jinja_nothing();
    for (size_t at = 0; at < s->length;) {
        unsigned n;
        uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        if (!jinja_character_is(c, class)) return jinja_bool(false);
        at += n;
    }
    return jinja_bool(true);
}

static struct jinja_value is_space(struct jinja_run *run, struct jinja_call *call)
{
    return all_are(run, call->self.string, JINJA_SPACE, false);
}

static struct jinja_value is_alpha(struct jinja_run *run, struct jinja_call *call)
{
    return all_are(run, call->self.string, JINJA_ALPHA, false);
}

static struct jinja_value is_decimal(struct jinja_run *run, struct jinja_call *call)
{
    return all_are(run, call->self.string, JINJA_DECIMAL, false);
}

static struct jinja_value is_digit(struct jinja_run *run, struct jinja_call *call)
{
    return all_are(run, call->self.string, JINJA_DIGIT, false);
}

static struct jinja_value is_numeric(struct jinja_run *run, struct jinja_call *call)
{
    return all_are(run, call->self.string, JINJA_NUMERIC, false);
}

static struct jinja_value is_printable(struct jinja_run *run, struct jinja_call *call)
{
    return all_are(run, call->self.string, JINJA_PRINTABLE, true);
}

static struct jinja_value is_alnum(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    struct jinja_value word = all_are(run, s, JINJA_WORD, false);
    if (jinja_failed(run) || !word.boolean) return word;
    for (size_t i = 0; i < s->length; i++) {
        if (s->bytes[i] == '_') return jinja_bool(false);
    }
    return word;
}

static struct jinja_value is_ascii(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    (void)run;
    return jinja_bool(s->length == s->characters);
}

static struct jinja_value is_identifier(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    struct jinja_value word = all_are(run, s, JINJA_WORD, false);
    unsigned n;
    if (jinja_failed(run) || !word.boolean) return word;
    uint32_t first = jinja_character(s->bytes, s->length, &n);
    return jinja_bool(first == '_' || jinja_character_is(first, JINJA_ALPHA));
}

/* isupper, islower: a cased character there is, and all cased ones are of the class. */
static struct jinja_value all_cased_are(struct jinja_run *run, const struct jinja_string *s, enum jinja_class class)
{
    bool any = false;
    if (!jinja_step(run, s->length / 8)) return jinja_nothing();
    for (size_t at = 0; at < s->length;) {
        unsigned n;
        uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        bool right = jinja_character_is(c, class);
        if (!right && is_cased(c)) return jinja_bool(false);
        any |= right;
        at += n;
    }
    return jinja_bool(any);
}

static struct jinja_value is_upper(struct jinja_run *run, struct jinja_call *call)
{
    return all_cased_are(run, call->self.string, JINJA_UPPER);
}

static struct jinja_value is_lower(struct jinja_run *run, struct jinja_call *call)
{
    return all_cased_are(run, call->self.string, JINJA_LOWER);
}

static struct jinja_value is_title(struct jinja_run *run, struct jinja_call *call)
{
    const struct jinja_string *s = call->self.string;
    bool any = false, in_word = false;
    if (!jinja_step(run, s->length / 8)) return jinja_nothing();
    for (size_t at = 0; at < s->length;) {
        unsigned n;
        uint32_t c = jinja_character(s->bytes + at, s->length - at, &n);
        bool starts = jinja_character_is(c, JINJA_UPPER) || jinja_character_is(c, JINJA_TITLE);
        if (starts && in_word) return jinja_bool(false);
        if (!starts && jinja_character_is(c, JINJA_LOWER) && !in_word) return jinja_bool(false);
        in_word = is_cased(c);
        any |= in_word;
        at += n;
    }
    return jinja_bool(any);
}

const struct jinja_function jinja_string_checks[] = {
    {"upper", upper, "/", 0},       {"lower", lower, "/", 0},          {"casefold", casefold, "/", 0},
    {"swapcase", swapcase, "/", 0}, {"title", title, "/", 0},          {"capitalize", capitalize, "/", 0},
    {"isspace", is_space, "/", 0},  {"isalpha", is_alpha, "/", 0},     {"isdecimal", is_decimal, "/", 0},
    {"isdigit", is_digit, "/", 0},  {"isnumeric", is_numeric, "/", 0}, {"isprintable", is_printable, "/", 0},
    {"isalnum", is_alnum, "/", 0},  {"isascii", is_ascii, "/", 0},     {"isidentifier", is_identifier, "/", 0},
    {"isupper", is_upper, "/", 0},  {"islower", is_lower, "/", 0},     {"istitle", is_title, "/", 0},
    {NULL, NULL, NULL, 0},
};
