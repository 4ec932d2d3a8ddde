/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers between bounds, as decimal texts: no less than a bound is "more digits, or a larger digit after the same ones,
 * or the same", and both bounds together are the product of two automata.
 */
#include "host/base/memory.h"
#include "host/text/grammar/schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_DIGITS 15u /* before the point: those that a double keeps exactly */
#define MOST_FRACTION 6u
#define MOST_MULTIPLE 10000

/* |bound| in decimal: digits before the point, without leading zeros but for "0", and behind it, without trailing ones. */
struct decimal {
    char whole[24], fraction[24];
    bool negative, strict, given;
    bool beyond; /* it is further than any number that is written without an exponent */
    double value;
};

static uint32_t digit(struct tree *t, char first, char last)
{
    struct code_range range = {(uint8_t)first, (uint8_t)last};
    return first <= last ? tree_class(t, &range, 1) : 0;
}

static uint32_t digits(struct tree *t, uint32_t min, uint32_t max)
{
    return tree_repeat(t, digit(t, '0', '9'), min, max);
}

static uint32_t any_fraction(struct tree *t)
{
    return tree_repeat(t, tree_then(t, tree_word(t, "."), digits(t, 1, TREE_UNLIMITED)), 0, 1);
}

/* 0*, then a digit that is not 0, then any. */
static uint32_t something(struct tree *t)
{
    uint32_t node = tree_sequence(t);
    tree_add(t, node, tree_repeat(t, tree_word(t, "0"), 0, TREE_UNLIMITED));
    tree_add(t, node, digit(t, '1', '9'));
    tree_add(t, node, digits(t, 0, TREE_UNLIMITED));
    return node;
}

/* Adds: the first n characters, then a digit, then as many as said, then (in the whole part) any fraction. */
static void add_branch(struct tree *t, uint32_t choice, const char *same, size_t n, uint32_t next, uint32_t rest)
{
    uint32_t node = tree_sequence(t);
    tree_add(t, node, tree_text(t, same, n));
    tree_add(t, node, next);
    tree_add(t, node, rest);
    tree_add(t, choice, node);
}

/* Texts of numbers from 0 on that are above the bound, or equal to it unless it is strict. */
static uint32_t no_less(struct tree *t, const struct decimal *bound)
{
    const char *w = bound->whole, *f = bound->fraction;
    size_t n = strlen(w), m = strlen(f);
    uint32_t node = tree_choice(t), same = tree_choice(t);
    uint32_t longer = tree_sequence(t);
    tree_add(t, longer, digit(t, '1', '9'));
    tree_add(t, longer, digits(t, (uint32_t)n, TREE_UNLIMITED));
    tree_add(t, longer, any_fraction(t));
    tree_add(t, node, longer);
    for (size_t i = 0; i < n; i++) {
        if (w[i] == '9') continue;
        uint32_t left = (uint32_t)(n - i - 1);
        add_branch(t, node, w, i, digit(t, (char)(w[i] + 1), '9'),
                   tree_then(t, digits(t, left, left), any_fraction(t)));
    }
    for (size_t j = 0; j < m; j++) {
        if (f[j] == '9') continue;
        uint32_t branch = tree_choice(t);
        add_branch(t, branch, f, j, digit(t, (char)(f[j] + 1), '9'), digits(t, 0, TREE_UNLIMITED));
        tree_add(t, same, tree_then(t, tree_word(t, "."), branch));
    }
    uint32_t equal = tree_sequence(t);
    if (m > 0 || bound->strict) {
        tree_add(t, equal, tree_word(t, "."));
        tree_add(t, equal, tree_text(t, f, m));
        tree_add(t, equal, bound->strict ? something(t) : digits(t, 0, TREE_UNLIMITED));
    } else {
        tree_add(t, equal, any_fraction(t));
    }
    tree_add(t, same, equal);
    tree_add(t, node, tree_then(t, tree_text(t, w, n), same));
    return node;
}

/* The same for those below the bound. */
static uint32_t no_more(struct tree *t, const struct decimal *bound)
{
    const char *w = bound->whole, *f = bound->fraction;
    size_t n = strlen(w), m = strlen(f);
    uint32_t node = tree_choice(t), same = tree_choice(t);
    if (n > 1) {
        uint32_t shorter = tree_then(t, digit(t, '1', '9'), digits(t, 0, (uint32_t)n - 2));
        tree_add(t, node, tree_then(t, tree_or(t, tree_word(t, "0"), shorter), any_fraction(t)));
    }
    for (size_t i = 0; i < n; i++) {
        char least = i == 0 && n > 1 ? '1' : '0';
        if (w[i] <= least) continue;
        uint32_t left = (uint32_t)(n - i - 1);
        add_branch(t, node, w, i, digit(t, least, (char)(w[i] - 1)),
                   tree_then(t, digits(t, left, left), any_fraction(t)));
    }
    for (size_t j = 0; j < m; j++) {
        if (j > 0) tree_add(t, same, tree_then(t, tree_word(t, "."), tree_text(t, f, j)));
        if (f[j] == '0') continue;
        uint32_t branch = tree_choice(t);
        add_branch(t, branch, f, j, digit(t, '0', (char)(f[j] - 1)), digits(t, 0, TREE_UNLIMITED));
        tree_add(t, same, tree_then(t, tree_word(t, "."), branch));
    }
    if (m > 0) tree_add(t, same, tree_text(t, "", 0));
    if (!bound->strict) {
        uint32_t zeros = tree_repeat(t, tree_word(t, "0"), m > 0 ? 0 : 1, TREE_UNLIMITED);
        uint32_t equal = tree_sequence(t);
        tree_add(t, equal, tree_word(t, "."));
        tree_add(t, equal, tree_text(t, f, m));
        tree_add(t, equal, zeros);
        tree_add(t, same, equal);
        if (m == 0) tree_add(t, same, tree_text(t, "", 0));
    }
    tree_add(t, node, tree_then(t, tree_text(t, w, n), same));
    return node;
}

/* ---- bounds ---- */

/* The shortest decimal that is read as the same double. */
static void write_double(double value, char text[64])
{
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, 64, "%.*e", precision - 1, value);
        if (strtod(text, NULL) >= value && strtod(text, NULL) <= value) return;
    }
}

/* False: it is beyond all numbers that are written here. */
static bool to_decimal(double value, struct decimal *out)
{
    char text[64], mantissa[32] = "";
    size_t n = 0;
    write_double(fabs(value), text);
    char *e = strchr(text, 'e');
    long exponent = strtol(e + 1, NULL, 10);
    for (const char *c = text; c < e; c++)
        if (*c != '.') mantissa[n++] = *c;
    while (n > 1 && mantissa[n - 1] == '0') n--;
    mantissa[n] = '\0';
    out->negative = value < 0;
    out->value = value;
    if (exponent >= (long)MOST_DIGITS) return false;
    if (exponent < 0) {
        /* Below a millionth of a millionth a bound is taken further in than it is: 0 and what is next to it. */
        size_t zeros = (size_t)(-exponent - 1);
        snprintf(out->whole, sizeof out->whole, "0");
        if (zeros + n >= sizeof out->fraction) return false;
        memset(out->fraction, '0', zeros);
        memcpy(out->fraction + zeros, mantissa, n + 1);
        if (strcmp(mantissa, "0") == 0) out->fraction[0] = '\0';
        return true;
    }
    size_t whole = (size_t)exponent + 1;
    for (size_t i = 0; i < whole; i++) out->whole[i] = i < n ? mantissa[i] : '0';
    out->whole[whole] = '\0';
    snprintf(out->fraction, sizeof out->fraction, "%s", n > whole ? mantissa + whole : "");
    return true;
}

/* The tighter of the inclusive and the exclusive bound. */
static bool read_bound(struct schema *s, const json_t *flat, bool low, struct decimal *out)
{
    const json_t *soft = json_object_get(flat, low ? "minimum" : "maximum");
    const json_t *hard = json_object_get(flat, low ? "exclusiveMinimum" : "exclusiveMaximum");
    *out = (struct decimal){0};
    if (!soft && !hard) return true;
    double a = soft ? json_number_value(soft) : 0, b = hard ? json_number_value(hard) : 0;
    bool use_hard = !soft || (hard && (low ? b >= a : b <= a));
    double value = use_hard ? b : a;
    out->strict = use_hard;
    out->given = true;
    const json_t *source = use_hard ? hard : soft;
    bool exact = !json_is_integer(source) ||
                 (json_integer_value(source) < INT64_C(1) << 53 && json_integer_value(source) > -(INT64_C(1) << 53));
    if (exact && to_decimal(value, out)) return true;
    if (fabs(value) < 1) {
        schema_refuse(s, ERROR_UNSUPPORTED, "a bound with so many digits behind the point is not supported");
        return false;
    }
    if ((value > 0) != low) { /* it is outside of what is written anyway */
        out->given = false;
        out->beyond = true;
        return true;
    }
    schema_refuse(s, ERROR_UNSUPPORTED, "a bound of more than %u digits is not supported", MOST_DIGITS);
    return false;
}

/* ---- a number ---- */

struct number_shape {
    bool integer;
    uint32_t n_fraction, multiple;
};

/* Numbers from 0 on between two bounds on their amount, each of which may be missing. */
static uint32_t amount(struct tree *t, const struct number_shape *shape, const struct decimal *low,
                       const struct decimal *high)
{
    uint32_t whole = tree_or(t, tree_word(t, "0"), tree_then(t, digit(t, '1', '9'), digits(t, 0, MOST_DIGITS - 1)));
    uint32_t node = whole;
    if (!shape->integer && shape->n_fraction > 0) {
        uint32_t fraction = tree_then(t, tree_word(t, "."), digits(t, 1, shape->n_fraction));
        node = tree_then(t, whole, tree_repeat(t, fraction, 0, 1));
    }
    if (shape->multiple > 1) node = tree_both(t, node, tree_multiple(t, shape->multiple));
    if (low && low->given) node = tree_both(t, node, no_less(t, low));
    if (high && high->given) node = tree_both(t, node, no_more(t, high));
    return node;
}

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Digits behind the point: few enough that two different texts are different doubles, and those that the bounds have. */
static uint32_t fraction_digits(const struct decimal *low, const struct decimal *high)
{
    uint32_t whole = larger((uint32_t)strlen(low->whole), (uint32_t)strlen(high->whole));
    uint32_t n = whole < MOST_DIGITS ? MOST_DIGITS - whole : 0;
    if (n > MOST_FRACTION) n = MOST_FRACTION;
    n = larger(n, (uint32_t)strlen(low->fraction));
    return larger(n, (uint32_t)strlen(high->fraction));
}

static bool read_multiple(struct schema *s, const json_t *flat, struct number_shape *shape)
{
    const json_t *of = json_object_get(flat, "multipleOf");
    shape->multiple = 1;
    if (!of) return true;
    double value = json_number_value(of);
    if (value >= 1 && value <= MOST_MULTIPLE && value <= floor(value)) {
        shape->multiple = (uint32_t)value;
        shape->integer = true;
        return true;
    }
    schema_refuse(s, ERROR_UNSUPPORTED, "multipleOf %g is not supported: whole numbers from 1 to %d are", value,
                  MOST_MULTIPLE);
    return false;
}

uint32_t schema_number(struct schema *s, const json_t *flat, bool integer)
{
    struct decimal low, high;
    struct number_shape shape = {.integer = integer};
    struct tree *t = s->tree;
    if (!read_multiple(s, flat, &shape) || !read_bound(s, flat, true, &low) || !read_bound(s, flat, false, &high))
        return 0;
    if (!low.given && !high.given && !low.beyond && !high.beyond && shape.multiple == 1)
        return schema_any_number(s, integer);
    shape.n_fraction = fraction_digits(&low, &high);
    uint32_t node = tree_choice(t);
    if (!high.given || high.value > 0 || (high.value >= 0 && !high.strict)) {
        const struct decimal *from = low.given && (low.value > 0 || (low.value >= 0 && low.strict)) ? &low : NULL;
        tree_add(t, node, amount(t, &shape, from, &high));
    }
    if (!low.given || low.value < 0) {
        /* Below zero the amounts are bounded the other way round, and "-0" is left out. */
        static const struct decimal zero = {.whole = "0", .strict = true, .given = true};
        const struct decimal *from = high.given && high.value < 0 ? &high : &zero;
        tree_add(t, node, tree_then(t, tree_word(t, "-"), amount(t, &shape, from, &low)));
    }
    return node;
}
