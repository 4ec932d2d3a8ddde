/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays: prefixItems one by one, then any number of items. */
#include "host/text/grammar/schema.h"

#define MOST_PREFIX 100u

/* A rule of the items, to be called in several places; false: there may be none. */
static bool items_rule(struct schema *s, const json_t *flat, uint32_t *rule)
{
    const json_t *items = json_object_get(flat, "items");
    if (json_is_false(items)) return false;
    *rule = tree_rule(s->tree, "an item", 7);
    uint32_t node = items ? schema_below(s, items, "items", NULL, -1) : schema_any_value(s);
    if (!tree_failed(s->tree)) s->tree->rules[*rule].root = node;
    return !tree_failed(s->tree);
}

/* What may come behind the prefix of so many: further items, with a comma before each. */
static uint32_t behind(struct schema *s, bool has_items, uint32_t rule, uint32_t n, uint32_t min, uint32_t max)
{
    uint32_t least = min > n ? min - n : 0, most = max == TREE_UNLIMITED ? max : max > n ? max - n : 0;
    if (!has_items) return least > 0 ? 0 : tree_text(s->tree, "", 0);
    if (least > most) return 0;
    return tree_repeat(s->tree, tree_then(s->tree, schema_mark(s, ","), tree_call(s->tree, rule)), least, most);
}

/* From the last of the prefix to the first: each may come only if those before it have. */
static uint32_t with_prefix(struct schema *s, const json_t *prefix, uint32_t node, uint32_t min, uint32_t max)
{
    struct tree *t = s->tree;
    for (size_t i = json_array_size(prefix); i-- > 0;) {
        uint32_t one = tree_sequence(t);
        if (i >= max) {
            node = tree_text(t, "", 0);
            continue;
        }
        if (i > 0) tree_add(t, one, schema_mark(s, ","));
        tree_add(t, one, schema_below(s, json_array_get(prefix, i), "prefixItems", NULL, (long)i));
        tree_add(t, one, node);
        node = i < min ? one : tree_repeat(t, one, 0, 1);
    }
    return node;
}

uint32_t schema_array(struct schema *s, const json_t *flat)
{
    struct tree *t = s->tree;
    const json_t *prefix = json_object_get(flat, "prefixItems");
    uint32_t n_prefix = (uint32_t)json_array_size(prefix), rule = 0, node = tree_sequence(t), list;
    uint32_t min = schema_count(s, flat, "minItems", 0), max = schema_count(s, flat, "maxItems", TREE_UNLIMITED);
    if (tree_failed(t) || min > max) return 0;
    if (!prefix && !json_object_get(flat, "items") && min == 0 && max == TREE_UNLIMITED) return schema_any_array(s);
    if (n_prefix > MOST_PREFIX) return schema_refuse(s, ERROR_TOO_LARGE, "more than %u prefixItems", MOST_PREFIX);
    bool has_items = max > n_prefix && items_rule(s, flat, &rule);
    if (n_prefix == 0)
        list = has_items ? schema_list(s, rule, min, max) : min > 0 ? 0 : tree_text(t, "", 0);
    else
        list = with_prefix(s, prefix, behind(s, has_items, rule, n_prefix, min, max), min, max);
    tree_add(t, node, schema_mark(s, "["));
    tree_add(t, node, list);
    tree_add(t, node, schema_mark(s, "]"));
    return node;
}
