/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/tree.h"
#include "host/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint32_t tree_fail(struct tree *tree, int code, const char *format, ...)
{
    char text[sizeof tree->err.text];
    if (tree_failed(tree)) return 0;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    error_set(&tree->err, code, "%s", text);
    return 0;
}

/* Room for more elements in an array; false (and an error) if there is none or it would be above most. */
static bool make_room(struct tree *tree, void **array, uint32_t *room, uint32_t used, size_t more, uint32_t most,
                      size_t size, const char *what)
{
    if (tree_failed(tree)) return false;
    if (more > most || used > most - more) {
        tree_fail(tree, ERROR_TOO_LARGE, "the grammar is too large: more than %u %s", most, what);
        return false;
    }
    if (used + more <= *room) return true;
    size_t wanted = *room ? 2 * (size_t)*room : 256;
    while (wanted < used + more) wanted *= 2;
    void *grown = memory_grow(*array, wanted, size);
    if (!grown) {
        tree_fail(tree, ERROR_NO_MEMORY, "no memory for a grammar");
        return false;
    }
    *array = grown;
    *room = (uint32_t)wanted;
    return true;
}

static uint32_t add_node(struct tree *tree, struct tree_node node)
{
    if (!make_room(tree, (void **)&tree->nodes, &tree->nodes_room, tree->n_nodes, 1, TREE_MOST_NODES,
                   sizeof *tree->nodes, "nodes"))
        return 0;
    tree->nodes[tree->n_nodes] = node;
    return tree->n_nodes++;
}

int tree_open(struct tree *tree, struct error *err)
{
    *tree = (struct tree){0};
    add_node(tree, (struct tree_node){.kind = TREE_NEVER});
    return tree_failed(tree) ? error_set(err, tree->err.code, "%s", tree->err.text) : 0;
}

void tree_close(struct tree *tree)
{
    for (uint32_t i = 0; i < tree->n_rules; i++) free(tree->rules[i].name);
    free(tree->rules);
    free(tree->bytes);
    free(tree->ranges);
    free(tree->nodes);
    *tree = (struct tree){0};
}

uint32_t tree_rule(struct tree *tree, const char *name, size_t length)
{
    if (!make_room(tree, (void **)&tree->rules, &tree->rules_room, tree->n_rules, 1, TREE_MOST_RULES,
                   sizeof *tree->rules, "rules"))
        return 0;
    char *copy = strndup(name, length < 80 ? length : 80);
    if (!copy) return tree_fail(tree, ERROR_NO_MEMORY, "no memory for a grammar");
    tree->rules[tree->n_rules] = (struct tree_rule){.name = copy};
    return tree->n_rules++;
}

uint32_t tree_text(struct tree *tree, const char *bytes, size_t length)
{
    if (!make_room(tree, (void **)&tree->bytes, &tree->bytes_room, tree->n_bytes, length, TREE_MOST_BYTES, 1, "bytes"))
        return 0;
    if (length > 0) memcpy(tree->bytes + tree->n_bytes, bytes, length);
    uint32_t begin = tree->n_bytes;
    tree->n_bytes += (uint32_t)length;
    return add_node(tree, (struct tree_node){.kind = TREE_TEXT, .begin = begin, .count = (uint32_t)length});
}

uint32_t tree_word(struct tree *tree, const char *text) { return tree_text(tree, text, strlen(text)); }

uint32_t tree_class(struct tree *tree, const struct code_range *ranges, size_t count)
{
    if (!make_room(tree, (void **)&tree->ranges, &tree->ranges_room, tree->n_ranges, count, TREE_MOST_NODES,
                   sizeof *ranges, "ranges"))
        return 0;
    if (count > 0) memcpy(tree->ranges + tree->n_ranges, ranges, count * sizeof *ranges);
    uint32_t begin = tree->n_ranges;
    tree->n_ranges += (uint32_t)count;
    return add_node(tree, (struct tree_node){.kind = TREE_CLASS, .begin = begin, .count = (uint32_t)count});
}

uint32_t tree_sequence(struct tree *tree) { return add_node(tree, (struct tree_node){.kind = TREE_SEQUENCE}); }
uint32_t tree_choice(struct tree *tree) { return add_node(tree, (struct tree_node){.kind = TREE_CHOICE}); }

void tree_add(struct tree *tree, uint32_t parent, uint32_t child)
{
    if (tree_failed(tree) || parent == 0) return;
    if (child == 0) child = add_node(tree, (struct tree_node){.kind = TREE_NEVER});
    if (child == 0) return;
    struct tree_node *node = &tree->nodes[parent];
    if (node->last_child)
        tree->nodes[node->last_child].next = child;
    else
        node->first_child = child;
    node->last_child = child;
}

uint32_t tree_repeat(struct tree *tree, uint32_t child, uint32_t min, uint32_t max)
{
    if (min > TREE_MOST_REPEATS || (max != TREE_UNLIMITED && max > TREE_MOST_REPEATS) || min > max)
        return tree_fail(tree, min > max ? ERROR_BAD_ARGUMENT : ERROR_TOO_LARGE,
                         "a repeat of %u to %u times; at most %u are possible, and the least may not be the larger",
                         min, max, TREE_MOST_REPEATS);
    if (max == 0) return tree_text(tree, "", 0);
    uint32_t node = add_node(tree, (struct tree_node){.kind = TREE_REPEAT, .min = min, .max = max});
    tree_add(tree, node, child);
    return node;
}

uint32_t tree_call(struct tree *tree, uint32_t rule)
{
    return add_node(tree, (struct tree_node){.kind = TREE_RULE, .begin = rule});
}

static uint32_t pair(struct tree *tree, enum tree_kind kind, uint32_t left, uint32_t right)
{
    uint32_t node = add_node(tree, (struct tree_node){.kind = (uint8_t)kind});
    tree_add(tree, node, left);
    tree_add(tree, node, right);
    return node;
}

uint32_t tree_both(struct tree *tree, uint32_t left, uint32_t right) { return pair(tree, TREE_BOTH, left, right); }
uint32_t tree_except(struct tree *tree, uint32_t left, uint32_t right) { return pair(tree, TREE_EXCEPT, left, right); }
uint32_t tree_then(struct tree *tree, uint32_t first, uint32_t second)
{
    return pair(tree, TREE_SEQUENCE, first, second);
}
uint32_t tree_or(struct tree *tree, uint32_t first, uint32_t second) { return pair(tree, TREE_CHOICE, first, second); }

uint32_t tree_multiple(struct tree *tree, uint32_t of)
{
    return add_node(tree, (struct tree_node){.kind = TREE_MULTIPLE, .min = of});
}
