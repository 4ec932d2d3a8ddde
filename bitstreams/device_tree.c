/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/device_tree.h"
#include "host/base/memory.h"

#include <stdio.h>
#include <string.h>

enum { FDT_MAGIC = 0xd00dfeed, FDT_HEADER_BYTES = 40 };
enum { FDT_BEGIN_NODE = 1, FDT_END_NODE = 2, FDT_PROPERTY = 3, FDT_NOP = 4, FDT_END = 9 };

enum property_form { FORM_GUESS, FORM_U32, FORM_U64, FORM_TEXTS, FORM_TEXT };

struct tree_reader {
    const uint8_t *structure, *strings;
    size_t n_structure, n_strings, at;
    json_t *stack[DEVICE_TREE_MAX_DEPTH];
    unsigned depth;
    json_t *root;
    struct error *err;
};

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int fail(struct error *err, const char *why)
{
    return error_set(err, ERROR_BAD_FILE, "its device tree is wrong: %s", why);
}

static int no_memory(struct error *err) { return error_set(err, ERROR_NO_MEMORY, "out of memory for a device tree"); }

/* How XRT's tools write the properties of partition metadata (SectionPartitionMetadata: a table of names, Apache-2.0). */
static enum property_form form_of(const char *name)
{
    static const struct {
        const char *name;
        enum property_form form;
    } known[] = {
        {"major", FORM_U32},
        {"minor", FORM_U32},
        {"logic_uuid", FORM_TEXT},
        {"resolves_interface_uuid", FORM_TEXT},
        {"interface_uuid", FORM_TEXT},
        {"reg", FORM_U64},
        {"pcie_physical_function", FORM_U32},
        {"pcie_bar_mapping", FORM_U32},
        {"compatible", FORM_TEXTS},
        {"interrupts", FORM_U32},
        {"firmware_product_name", FORM_TEXT},
        {"firmware_branch_name", FORM_TEXT},
        {"firmware_version_major", FORM_U32},
        {"firmware_version_minor", FORM_U32},
        {"firmware_version_revision", FORM_U32},
        {"interrupt_alias", FORM_TEXTS},
        {"alias_name", FORM_TEXT},
        {"__INFO", FORM_TEXT},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0) return known[i].form;
    }
    return FORM_GUESS;
}

/* A number, or a list of several. NULL if the bytes are no whole numbers. */
static json_t *numbers(const uint8_t *p, size_t n, unsigned width)
{
    if (n == 0 || n % width) return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i += width) {
        uint64_t value = load_be32(p + i);
        if (width == 8) value = value << 32 | load_be32(p + i + 4);
        json_array_append_new(list, json_sprintf("0x%llx", (unsigned long long)value));
    }
    if (json_array_size(list) != 1) return list;
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

static json_t *texts(const uint8_t *p, size_t n)
{
    json_t *list = json_array();
    while (n) {
        size_t length = strnlen((const char *)p, n);
        json_t *text = json_stringn((const char *)p, length);
        if (length == n || !text || json_array_append_new(list, text) < 0) {
            if (length == n) json_decref(text);
            json_decref(list);
            return NULL;
        }
        p += length + 1;
        n -= length + 1;
    }
    return list;
}

static json_t *hexadecimal(const uint8_t *p, size_t n)
{
    char *text = memory_array(n + 1, 2);
    for (size_t i = 0; text && i < n; i++) snprintf(text + 2 * i, 3, "%02x", p[i]);
    json_t *value = text ? json_string(text) : NULL;
    free(text);
    return value;
}

static json_t *property_value(const char *name, const uint8_t *p, size_t n)
{
    enum property_form form = form_of(name);
    json_t *value = NULL;
    if (form == FORM_U32) value = numbers(p, n, 4);
    if (form == FORM_U64) value = numbers(p, n, 8);
    if (form == FORM_TEXTS) value = texts(p, n);
    if ((form == FORM_TEXT || form == FORM_GUESS) && n > 1 && p[n - 1] == 0 && !memchr(p, 0, n - 1))
        value = json_stringn((const char *)p, n - 1);
    return value ? value : hexadecimal(p, n);
}

/* Puts value (whose reference it takes) into the open node. */
static int add_member(struct tree_reader *reader, const char *name, json_t *value)
{
    json_t *node = reader->stack[reader->depth - 1];
    if (!value) return no_memory(reader->err);
    if (json_object_get(node, name)) {
        json_decref(value);
        return fail(reader->err, "two members of a node have one name");
    }
    if (json_object_set_new(node, name, value) < 0) return fail(reader->err, "a name that is no UTF-8");
    return 0;
}

static int begin_node(struct tree_reader *reader)
{
    const char *name = (const char *)reader->structure + reader->at;
    size_t room = reader->n_structure - reader->at, length = strnlen(name, room);
    if (length == room) return fail(reader->err, "a node's name has no end");
    if (reader->depth == DEVICE_TREE_MAX_DEPTH) return fail(reader->err, "nodes within nodes too deep");
    if (reader->depth == 0 && reader->root) return fail(reader->err, "a second root");
    json_t *node = json_object();
    int status = 0;
    if (reader->depth == 0)
        reader->root = node;
    else
        status = add_member(reader, name, node);
    reader->stack[reader->depth++] = node;
    reader->at += length + 1;
    return status < 0 ? status : node ? 0 : no_memory(reader->err);
}

static int read_property(struct tree_reader *reader)
{
    if (reader->depth == 0) return fail(reader->err, "a property outside of nodes");
    if (!range_fits(reader->at, 8, reader->n_structure)) return fail(reader->err, "it ends within a property");
    uint32_t length = load_be32(reader->structure + reader->at);
    uint32_t name_at = load_be32(reader->structure + reader->at + 4);
    reader->at += 8;
    if (!range_fits(reader->at, length, reader->n_structure)) return fail(reader->err, "it ends within a property");
    if (name_at >= reader->n_strings) return fail(reader->err, "a property's name lies outside");
    const char *name = (const char *)reader->strings + name_at;
    if (strnlen(name, reader->n_strings - name_at) == reader->n_strings - name_at)
        return fail(reader->err, "a property's name has no end");
    const uint8_t *bytes = reader->structure + reader->at;
    reader->at += length;
    return add_member(reader, name, property_value(name, bytes, length));
}

static int read_tokens(struct tree_reader *reader)
{
    for (;;) {
        reader->at = (reader->at + 3) / 4 * 4;
        if (!range_fits(reader->at, 4, reader->n_structure)) return fail(reader->err, "it has no end");
        uint32_t token = load_be32(reader->structure + reader->at);
        int status = 0;
        reader->at += 4;
        switch (token) {
        case FDT_BEGIN_NODE: status = begin_node(reader); break;
        case FDT_END_NODE:
            if (reader->depth == 0) return fail(reader->err, "the end of a node that was not begun");
            reader->depth--;
            break;
        case FDT_PROPERTY: status = read_property(reader); break;
        case FDT_NOP: break;
        case FDT_END: return reader->depth || !reader->root ? fail(reader->err, "it ends within a node") : 0;
        default: return fail(reader->err, "an unknown token");
        }
        if (status < 0) return status;
    }
}

int device_tree_parse(const uint8_t *bytes, size_t n_bytes, json_t **out, struct error *err)
{
    *out = NULL;
    if (n_bytes < FDT_HEADER_BYTES || load_be32(bytes) != FDT_MAGIC)
        return fail(err, "it does not begin with a device tree's header");
    uint32_t total = load_be32(bytes + 4), structure = load_be32(bytes + 8), strings = load_be32(bytes + 12);
    uint32_t n_strings = load_be32(bytes + 32), n_structure = load_be32(bytes + 36);
    if (total > n_bytes || !range_fits(structure, n_structure, total) || !range_fits(strings, n_strings, total))
        return fail(err, "its parts are not within it");
    struct tree_reader reader = {.structure = bytes + structure,
                                 .n_structure = n_structure,
                                 .strings = bytes + strings,
                                 .n_strings = n_strings,
                                 .err = err};
    int status = read_tokens(&reader);
    if (status == 0)
        *out = reader.root;
    else
        json_decref(reader.root);
    return status;
}
