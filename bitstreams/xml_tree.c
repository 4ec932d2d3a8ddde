/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/xml_tree.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct xml_reader {
    const char *text;
    size_t n, at;
    char *scratch; /* of n bytes: decoded text is never longer than its source */
    json_t *stack[XML_MAX_DEPTH];
    unsigned depth;
    json_t *root; /* owned until it is handed out */
    struct error *err;
};

static int fail(struct xml_reader *reader, const char *why)
{
    return error_set(reader->err, ERROR_BAD_FILE, "its XML is wrong at byte %zu: %s", reader->at, why);
}

static int no_memory(struct xml_reader *reader)
{
    return error_set(reader->err, ERROR_NO_MEMORY, "out of memory for XML of %zu bytes", reader->n);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ':' || (c & 0x80);
}

static bool looking_at(const struct xml_reader *reader, const char *word)
{
    size_t length = strlen(word);
    return length <= reader->n - reader->at && memcmp(reader->text + reader->at, word, length) == 0;
}

static void skip_spaces(struct xml_reader *reader)
{
    while (reader->at < reader->n && is_space(reader->text[reader->at])) reader->at++;
}

/* Goes past the next `end`. */
static int skip_past(struct xml_reader *reader, const char *end)
{
    const char *found = memmem(reader->text + reader->at, reader->n - reader->at, end, strlen(end));
    if (!found) return fail(reader, "it ends before what was begun");
    reader->at = (size_t)(found - reader->text) + strlen(end);
    return 0;
}

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) return to[0] = (char)c, 1;
    if (c < 0x800) return to[0] = (char)(0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 0x3f)), 2;
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 0x3f)), to[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 0x3f));
    to[2] = (char)(0x80 | (c >> 6 & 0x3f)), to[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* "lt", "#60", "#x3c": the character, 0 for what is none. name: without & and ; */
static uint32_t entity(const char *name, size_t length)
{
    static const struct {
        const char *name;
        char c;
    } known[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0) return (uint32_t)known[i].c;
    }
    if (length < 2 || length > 8 || name[0] != '#') return 0;
    bool hex = name[1] == 'x';
    uint32_t value = 0;
    if (hex && length < 3) return 0;
    for (size_t i = hex ? 2 : 1; i < length; i++) {
        char c = name[i];
        uint32_t digit = c >= '0' && c <= '9'          ? (uint32_t)(c - '0')
                         : hex && c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : hex && c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                       : 99;
        if (digit == 99) return 0;
        value = value * (hex ? 16 : 10) + digit;
        if (value > 0x10ffff) return 0;
    }
    return value >= 0xd800 && value < 0xe000 ? 0 : value;
}

/* text[reader->at, end) with its entities decoded, as a JSON string; goes to end. */
static int decode(struct xml_reader *reader, size_t end, json_t **out)
{
    size_t used = 0;
    while (reader->at < end) {
        char c = reader->text[reader->at];
        if (c == '<') return fail(reader, "a \"<\" within text");
        if (c != '&') {
            reader->scratch[used++] = c;
            reader->at++;
            continue;
        }
        const char *name = reader->text + reader->at + 1;
        const char *semicolon = memchr(name, ';', end - reader->at - 1);
        uint32_t value = semicolon ? entity(name, (size_t)(semicolon - name)) : 0;
        if (value == 0) return fail(reader, "an unknown entity");
        used += put_utf8(reader->scratch + used, value);
        reader->at = (size_t)(semicolon + 1 - reader->text);
    }
    *out = json_stringn(reader->scratch, used);
    return *out ? 0 : fail(reader, "text that is no UTF-8 before it");
}

static int read_name(struct xml_reader *reader, json_t **out)
{
    size_t start = reader->at;
    while (reader->at < reader->n && is_name(reader->text[reader->at])) reader->at++;
    if (reader->at == start) return fail(reader, "a name is missing");
    *out = json_stringn(reader->text + start, reader->at - start);
    return *out ? 0 : fail(reader, "a name that is no UTF-8 before it");
}

static int read_attribute(struct xml_reader *reader, json_t *attributes)
{
    json_t *name = NULL, *value = NULL;
    int status = read_name(reader, &name);
    if (status < 0) return status;
    skip_spaces(reader);
    if (!looking_at(reader, "=")) {
        status = fail(reader, "an attribute without a value");
        goto done;
    }
    reader->at++;
    skip_spaces(reader);
    char quote = reader->at < reader->n ? reader->text[reader->at] : 0;
    const char *end = NULL;
    if (quote == '"' || quote == '\'') end = memchr(reader->text + reader->at + 1, quote, reader->n - reader->at - 1);
    if (!end) {
        status = fail(reader, "an attribute's value without quotes");
        goto done;
    }
    reader->at++;
    status = decode(reader, (size_t)(end - reader->text), &value);
    if (status < 0) goto done;
    reader->at++;
    if (json_object_get(attributes, json_string_value(name)))
        status = fail(reader, "an attribute twice");
    else if (json_object_set(attributes, json_string_value(name), value) < 0)
        status = no_memory(reader);
done:
    json_decref(name);
    json_decref(value);
    return status;
}

/* Hangs a node (whose reference it takes), an element or a text, below the element that is open. */
static int attach(struct xml_reader *reader, json_t *node)
{
    if (reader->depth == 0) {
        if (reader->root) {
            json_decref(node);
            return fail(reader, "a second root");
        }
        reader->root = node;
        return 0;
    }
    json_t *parent = reader->stack[reader->depth - 1], *children = json_object_get(parent, "children");
    if (!children) {
        children = json_array();
        if (json_object_set_new(parent, "children", children) < 0) children = NULL;
    }
    if (children) return json_array_append_new(children, node) < 0 ? no_memory(reader) : 0;
    json_decref(node);
    return no_memory(reader);
}

static int read_open_tag(struct xml_reader *reader)
{
    json_t *name = NULL, *attributes = json_object(), *element = NULL;
    reader->at++;
    int status = attributes ? read_name(reader, &name) : no_memory(reader);
    bool empty = false;
    while (status == 0) {
        skip_spaces(reader);
        empty = looking_at(reader, "/>");
        if (empty || looking_at(reader, ">")) break;
        status = read_attribute(reader, attributes);
    }
    if (status < 0) goto done;
    reader->at += empty ? 2 : 1;
    element = json_pack("{s:O}", "element", name);
    if (!element || (json_object_size(attributes) && json_object_set(element, "attributes", attributes) < 0)) {
        json_decref(element);
        status = no_memory(reader);
        goto done;
    }
    status = attach(reader, element);
    if (status < 0 || empty) goto done;
    if (reader->depth == XML_MAX_DEPTH)
        status = fail(reader, "elements within elements too deep");
    else
        reader->stack[reader->depth++] = element;
done:
    json_decref(name);
    json_decref(attributes);
    return status;
}

static int read_close_tag(struct xml_reader *reader)
{
    json_t *name = NULL;
    reader->at += 2;
    int status = read_name(reader, &name);
    if (status < 0) return status;
    skip_spaces(reader);
    if (!looking_at(reader, ">"))
        status = fail(reader, "a closing tag without its end");
    else if (reader->depth == 0 || !json_equal(name, json_object_get(reader->stack[reader->depth - 1], "element")))
        status = fail(reader, "a closing tag that closes nothing");
    else
        reader->depth--;
    reader->at += status == 0;
    json_decref(name);
    return status;
}

static int read_text(struct xml_reader *reader)
{
    const char *next = memchr(reader->text + reader->at, '<', reader->n - reader->at);
    size_t end = next ? (size_t)(next - reader->text) : reader->n;
    size_t start = reader->at;
    skip_spaces(reader);
    if (reader->at == end) return 0; /* what indents elements */
    if (reader->depth == 0) return fail(reader, "text outside of the root");
    reader->at = start;
    json_t *value;
    int status = decode(reader, end, &value);
    return status < 0 ? status : attach(reader, value);
}

static int read_cdata(struct xml_reader *reader)
{
    size_t start = reader->at += strlen("<![CDATA[");
    int status = skip_past(reader, "]]>");
    if (status < 0) return status;
    if (reader->depth == 0) return fail(reader, "text outside of the root");
    json_t *value = json_stringn(reader->text + start, reader->at - 3 - start);
    return value ? attach(reader, value) : fail(reader, "text that is no UTF-8 before it");
}

static int read_piece(struct xml_reader *reader)
{
    if (!looking_at(reader, "<")) return read_text(reader);
    if (looking_at(reader, "<?")) return skip_past(reader, "?>");
    if (looking_at(reader, "<!--")) return skip_past(reader, "-->");
    if (looking_at(reader, "<![CDATA[")) return read_cdata(reader);
    if (looking_at(reader, "<!")) return fail(reader, "a document type, which is not allowed here");
    if (looking_at(reader, "</")) return read_close_tag(reader);
    return read_open_tag(reader);
}

int xml_parse(const char *text, size_t n_bytes, json_t **out, struct error *err)
{
    *out = NULL;
    while (n_bytes && text[n_bytes - 1] == 0) n_bytes--;
    struct xml_reader reader = {.text = text, .n = n_bytes, .err = err, .scratch = malloc(n_bytes + 1)};
    int status = reader.scratch ? 0 : no_memory(&reader);
    if (n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) reader.at = 3;
    while (status == 0 && reader.at < n_bytes) status = read_piece(&reader);
    if (status == 0 && (reader.depth || !reader.root)) status = fail(&reader, "it ends before its root");
    free(reader.scratch);
    if (status == 0)
        *out = reader.root;
    else
        json_decref(reader.root);
    return status;
}

const char *xml_attribute(const json_t *element, const char *name)
{
    return json_string_value(json_object_get(json_object_get(element, "attributes"), name));
}

const json_t *xml_next_child(const json_t *element, const char *name, size_t *cursor)
{
    const json_t *children = json_object_get(element, "children");
    while (*cursor < json_array_size(children)) {
        const json_t *child = json_array_get(children, (*cursor)++);
        const char *own = json_string_value(json_object_get(child, "element"));
        if (own && strcmp(own, name) == 0) return child;
    }
    return NULL;
}

const json_t *xml_child(const json_t *element, const char *name)
{
    size_t cursor = 0;
    return xml_next_child(element, name, &cursor);
}
