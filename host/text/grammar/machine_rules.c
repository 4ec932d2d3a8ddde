/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of rules before there are automata: which may be empty, which are so small that they are written out
 * where they are called, and which repeats are counted while they match instead of being written out.
 */
#include "host/base/memory.h"
#include "host/text/grammar/machine.h"

#include <string.h>

#define SMALL_RULE 48u
#define MOST_WRITTEN_OUT 20000u /* states of a repeat that cannot be counted */

void machine_rules_close(struct machine_rules *rules)
{
    free(rules->nullable);
    free(rules->written_out);
    *rules = (struct machine_rules){0};
}

static bool is_nullable(const struct machine_rules *rules, uint32_t number)
{
    const struct tree_node *nodes = rules->tree->nodes, *node = &nodes[number];
    switch ((enum tree_kind)node->kind) {
    case TREE_NEVER:
    case TREE_CLASS:
    case TREE_MULTIPLE: return false;
    case TREE_TEXT: return node->count == 0;
    case TREE_SEQUENCE:
        for (uint32_t child = node->first_child; child; child = nodes[child].next)
            if (!is_nullable(rules, child)) return false;
        return true;
    case TREE_CHOICE:
        for (uint32_t child = node->first_child; child; child = nodes[child].next)
            if (is_nullable(rules, child)) return true;
        return false;
    case TREE_REPEAT: return node->min == 0 || is_nullable(rules, node->first_child);
    case TREE_RULE: return rules->nullable[node->begin];
    case TREE_COUNTED: return node->min == 0 || (node->begin < rules->n_given && rules->nullable[node->begin]);
    case TREE_BOTH: return is_nullable(rules, node->first_child) && is_nullable(rules, nodes[node->first_child].next);
    case TREE_EXCEPT:
        return is_nullable(rules, node->first_child) && !is_nullable(rules, nodes[node->first_child].next);
    }
    return false;
}

/* Until nothing changes; backwards, as rules mostly call later ones. Bounded by the work that it takes. */
static int find_nullable(struct machine_rules *rules, struct error *err)
{
    uint64_t work = 0;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = rules->tree->n_rules; i-- > 0;) {
            if (rules->nullable[i] || !is_nullable(rules, rules->tree->rules[i].root)) continue;
            rules->nullable[i] = changed = true;
        }
        work += rules->tree->n_nodes;
        if (changed && work > MACHINE_MOST_WORK)
            return error_set(err, ERROR_TOO_LARGE, "the grammar is too large: too many rules that may be empty");
    }
    return 0;
}

static uint64_t capped(uint64_t size) { return size < UINT32_MAX ? size : UINT32_MAX; }

static uint64_t copies_of(const struct tree_node *node)
{
    return node->max == TREE_UNLIMITED ? (uint64_t)node->min + 1 : node->max;
}

/* About how many states a tree comes to; *calls says whether it calls rules. */
static uint64_t size_of(const struct tree *tree, uint32_t number, bool *calls)
{
    const struct tree_node *node = &tree->nodes[number];
    uint64_t size = 1;
    if (node->kind == TREE_TEXT) return node->count + 1u;
    if (node->kind == TREE_CLASS)
        return node->count > 0 && tree->ranges[node->begin + node->count - 1].last > 0x7F ? 8 : 1;
    if (node->kind == TREE_RULE || node->kind == TREE_COUNTED) *calls = true;
    if (node->kind == TREE_MULTIPLE) return node->min;
    for (uint32_t child = node->first_child; child; child = tree->nodes[child].next)
        size = capped(size + size_of(tree, child, calls));
    return node->kind == TREE_REPEAT ? capped(size * copies_of(node)) : size;
}

/* Gives the child of a repeat a rule of its own, unless it is the call of one. */
static void count_repeat(struct tree *tree, uint32_t number)
{
    uint32_t child = tree->nodes[number].first_child, rule;
    if (tree->nodes[child].kind == TREE_RULE) {
        rule = tree->nodes[child].begin;
    } else {
        rule = tree_rule(tree, "a repeat", 8);
        if (tree_failed(tree)) return;
        tree->rules[rule].root = child;
    }
    tree->nodes[number].kind = TREE_COUNTED;
    tree->nodes[number].begin = rule;
    tree->nodes[number].first_child = 0;
}

/* Whether a repeat shall be counted; an error if it should but cannot. */
static bool shall_count(const struct machine_rules *rules, uint32_t number, bool in_product)
{
    struct tree *tree = rules->tree;
    const struct tree_node *node = &tree->nodes[number];
    bool calls = false, calls_one = tree->nodes[node->first_child].kind == TREE_RULE;
    uint64_t size = capped(size_of(tree, node->first_child, &calls) * copies_of(node));
    if (node->max == 1 || (node->max == TREE_UNLIMITED && node->min <= 1 && !calls_one)) return false;
    bool fits = size <= MACHINE_WRITTEN_OUT && !calls_one;
    if (fits) return false;
    if (!in_product && !is_nullable(rules, node->first_child)) return true;
    if (size > MOST_WRITTEN_OUT)
        tree_fail(tree, ERROR_TOO_LARGE, "the grammar is too large: a repeat of up to %u times that %s", node->max,
                  in_product ? "is combined with another pattern" : "may match the empty text");
    return false;
}

static void lower(struct machine_rules *rules, uint32_t number, bool in_product)
{
    struct tree *tree = rules->tree;
    const uint8_t kind = tree->nodes[number].kind;
    bool inside = in_product || kind == TREE_BOTH || kind == TREE_EXCEPT;
    for (uint32_t child = tree->nodes[number].first_child; child && !tree_failed(tree); child = tree->nodes[child].next)
        lower(rules, child, inside);
    if (kind == TREE_REPEAT && !tree_failed(tree) && shall_count(rules, number, in_product)) count_repeat(tree, number);
}

static int find_all(struct machine_rules *rules, struct error *err)
{
    struct tree *tree = rules->tree;
    const uint32_t n_given = rules->n_given;
    if (find_nullable(rules, err) < 0) return err->code;
    for (uint32_t i = 0; i < n_given; i++) lower(rules, tree->rules[i].root, false);
    if (tree_failed(tree)) return error_set(err, tree->err.code, "%s", tree->err.text);
    bool *nullable = memory_grow(rules->nullable, tree->n_rules, sizeof *nullable);
    if (nullable) {
        memset(nullable + n_given, 0, (tree->n_rules - n_given) * sizeof *nullable); /* what counts is never empty */
        rules->nullable = nullable;
    }
    rules->written_out = memory_array(tree->n_rules, sizeof *rules->written_out);
    if (!nullable || !rules->written_out) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar");
    for (uint32_t i = 0; i < n_given; i++) {
        bool calls = false;
        bool small = size_of(tree, tree->rules[i].root, &calls) <= SMALL_RULE;
        rules->written_out[i] = tree->rules[i].root != 0 && small && !calls;
    }
    return 0;
}

int machine_rules_open(struct tree *tree, struct machine_rules *out, struct error *err)
{
    *out = (struct machine_rules){.tree = tree, .n_given = tree->n_rules};
    out->nullable = memory_array(tree->n_rules, sizeof *out->nullable);
    int status = out->nullable ? find_all(out, err) : error_set(err, ERROR_NO_MEMORY, "no memory for a grammar");
    if (status < 0) machine_rules_close(out);
    return status;
}
