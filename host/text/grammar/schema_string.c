/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: lengths by counting, patterns and formats as automata, and all of them together as products. */
#include "host/text/grammar/regex.h"
#include "host/text/grammar/schema.h"

#include <string.h>

#define DAY "(0[1-9]|1[0-9]|2[0-8])"
#define DATE "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-" DAY "))"
#define TIME "(([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))"
#define LABEL "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20})?"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define HEX4 "[0-9a-f]{1,4}"

/* What is generated for a format: all of it is valid by the RFC that draft 2020-12 names (section 7.3), not all that is valid. */
static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "T" TIME "$"},
    {"duration",
     "^P([0-9]{1,4}D|([0-9]{1,3}D)?T([0-9]{1,3}H([0-9]{1,2}M([0-9]{1,2}S)?)?|[0-9]{1,3}M([0-9]{1,2}S)?|[0-9]{1,3}S)|"
     "[0-9]{1,3}W|[0-9]{1,3}Y([0-9]{1,2}M([0-9]{1,2}D)?)?)$"},
    {"email", "^[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30})?@" LABEL "(\\." LABEL "){1,3}$"},
    {"hostname", "^" LABEL "(\\." LABEL "){0,4}$"},
    {"ipv4", "^" OCTET "(\\." OCTET "){3}$"},
    {"ipv6", "^(" HEX4 "(:" HEX4 "){7}|(" HEX4 ":){1,6}:" HEX4 "|::1?)$"},
    {"uri", "^[a-z][a-z0-9+.-]{0,10}://" LABEL "(\\." LABEL
            "){0,4}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9_.~-]*)*(\\?[A-Za-z0-9_=&.~-]*)?"
            "(#[A-Za-z0-9_.~-]*)?$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"json-pointer", "^(/[A-Za-z0-9_.-]*)*$"},
};

static uint32_t format_node(struct schema *s, const json_t *format)
{
    const char *name = json_string_value(format);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (name && strcmp(formats[i].name, name) == 0)
            return regex_tree_found(s->tree, formats[i].pattern, strlen(formats[i].pattern), !s->raw);
    return schema_refuse(s, ERROR_UNSUPPORTED,
                         "format '%.40s' is not supported: date, time, date-time, duration, email, hostname, ipv4, "
                         "ipv6, uri, uuid and json-pointer are",
                         name ? name : "?");
}

uint32_t schema_pattern(struct schema *s, const char *pattern)
{
    uint32_t node = tree_failed(s->tree) ? 0 : regex_tree_found(s->tree, pattern, strlen(pattern), !s->raw);
    if (node == 0) error_prefix(&s->tree->err, "schema, %s", s->path);
    return node;
}

/* Any characters, so many of them, written in one way only. */
static uint32_t plain_characters(struct schema *s, uint32_t min, uint32_t max)
{
    struct char_class any = {.ranges = {{0, 0x10FFFF}}, .n = 1};
    class_normalize(&any);
    return tree_repeat(s->tree, class_node(s->tree, &any, !s->raw), min, max);
}

/* The patterns and formats of a flat schema, all at once; 0 if there are none. */
static uint32_t patterns(struct schema *s, const json_t *flat)
{
    uint32_t node = 0;
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(flat, "pattern"), i, item)
    {
        uint32_t one = schema_pattern(s, json_string_value(item));
        if (tree_failed(s->tree)) return 0;
        node = node ? tree_both(s->tree, node, one) : one;
    }
    json_array_foreach(json_object_get(flat, "format"), i, item)
    {
        uint32_t one = format_node(s, item);
        if (tree_failed(s->tree)) return 0;
        node = node ? tree_both(s->tree, node, one) : one;
    }
    return node;
}

uint32_t schema_string_body(struct schema *s, const json_t *flat)
{
    uint32_t min = schema_count(s, flat, "minLength", 0), max = schema_count(s, flat, "maxLength", TREE_UNLIMITED);
    uint32_t node = patterns(s, flat);
    if (tree_failed(s->tree) || min > max) return 0;
    if (node == 0) return plain_characters(s, min, max);
    return min > 0 || max != TREE_UNLIMITED ? tree_both(s->tree, node, plain_characters(s, min, max)) : node;
}

uint32_t schema_string(struct schema *s, const json_t *flat)
{
    uint32_t min = schema_count(s, flat, "minLength", 0), max = schema_count(s, flat, "maxLength", TREE_UNLIMITED);
    bool plain = !json_object_get(flat, "pattern") && !json_object_get(flat, "format");
    uint32_t node = tree_sequence(s->tree);
    if (tree_failed(s->tree) || min > max) return 0;
    if (plain && min == 0 && max == TREE_UNLIMITED) return schema_any_string(s);
    tree_add(s->tree, node, tree_word(s->tree, "\""));
    tree_add(s->tree, node, plain ? tree_repeat(s->tree, schema_character(s), min, max) : schema_string_body(s, flat));
    tree_add(s->tree, node, tree_word(s->tree, "\""));
    return node;
}
