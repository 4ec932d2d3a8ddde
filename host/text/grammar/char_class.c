/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/char_class.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_CODE 0x10FFFFu

void class_add(struct char_class *set, uint32_t first, uint32_t last)
{
    if (first > last) return;
    if (set->n == CLASS_MOST_RANGES) class_normalize(set);
    if (set->n == CLASS_MOST_RANGES)
        set->overflow = true;
    else
        set->ranges[set->n++] = (struct code_range){first, last < LAST_CODE ? last : LAST_CODE};
}

void class_add_all(struct char_class *set, const struct char_class *more)
{
    for (uint32_t i = 0; i < more->n; i++) class_add(set, more->ranges[i].first, more->ranges[i].last);
}

static int compare_ranges(const void *a, const void *b)
{
    const struct code_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorts and joins. */
static void join(struct char_class *set)
{
    uint32_t n = 0;
    if (set->n > 1) qsort(set->ranges, set->n, sizeof *set->ranges, compare_ranges);
    for (uint32_t i = 0; i < set->n; i++) {
        struct code_range range = set->ranges[i];
        if (n > 0 && range.first <= set->ranges[n - 1].last + 1) {
            if (range.last > set->ranges[n - 1].last) set->ranges[n - 1].last = range.last;
        } else {
            set->ranges[n++] = range;
        }
    }
    set->n = n;
}

/* The other code points, surrogates included. */
static void complement(struct char_class *set)
{
    struct char_class other = {.overflow = set->overflow};
    uint32_t next = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->ranges[i].first > next) class_add(&other, next, set->ranges[i].first - 1);
        next = set->ranges[i].last + 1;
    }
    if (next <= LAST_CODE) class_add(&other, next, LAST_CODE);
    *set = other;
}

void class_normalize(struct char_class *set)
{
    join(set);
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->ranges[i].last < 0xD800 || set->ranges[i].first > 0xDFFF) continue;
        /* Once around: what is not a surrogate and not in the set, and then the others again. */
        complement(set);
        class_add(set, 0xD800, 0xDFFF);
        join(set);
        complement(set);
        return;
    }
}

void class_negate(struct char_class *set)
{
    complement(set);
    class_normalize(set);
}

/* How JSON writes a character that may not stand for itself. */
static void escape(uint32_t code, char text[8])
{
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; letters[i]; i += 2) {
        if ((unsigned char)letters[i] != code) continue;
        snprintf(text, 8, "\\%c", letters[i + 1]);
        return;
    }
    snprintf(text, 8, "\\u%04x", code & 0xFFFF);
}

uint32_t class_node(struct tree *tree, const struct char_class *set, bool in_json)
{
    if (set->overflow) return tree_fail(tree, ERROR_TOO_LARGE, "a class of more than %u ranges", CLASS_MOST_RANGES);
    if (!in_json) return tree_class(tree, set->ranges, set->n);
    struct char_class plain = {0};
    uint32_t node = tree_choice(tree);
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t first = set->ranges[i].first, last = set->ranges[i].last;
        for (uint32_t code = first; code <= last && code <= '\\'; code++) {
            char text[8];
            if (code >= ' ' && code != '"' && code != '\\') continue;
            escape(code, text);
            tree_add(tree, node, tree_word(tree, text));
        }
        static const struct code_range allowed[] = {{' ', '!'}, {'#', '['}, {']', LAST_CODE}};
        for (size_t j = 0; j < sizeof allowed / sizeof allowed[0]; j++)
            class_add(&plain, first > allowed[j].first ? first : allowed[j].first,
                      last < allowed[j].last ? last : allowed[j].last);
    }
    if (plain.n > 0) tree_add(tree, node, tree_class(tree, plain.ranges, plain.n));
    return node;
}

uint32_t class_node_of_one(struct tree *tree, uint32_t code, bool in_json)
{
    struct char_class set = {.ranges = {{code, code}}, .n = 1};
    return class_node(tree, &set, in_json);
}
