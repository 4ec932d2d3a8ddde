/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/profiles/json_line.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const char *at, *end;
    unsigned line;
};

static void step(struct scan *scan)
{
    if (*scan->at == '\n') scan->line++;
    scan->at++;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end && strchr(" \t\r\n,:", *scan->at) && *scan->at) step(scan);
}

static char peek(struct scan *scan)
{
    skip_space(scan);
    return scan->at < scan->end ? *scan->at : '\0';
}

/* From one quote to behind the other. */
static void skip_string(struct scan *scan)
{
    for (step(scan); scan->at < scan->end && *scan->at != '"'; step(scan)) {
        if (*scan->at == '\\' && scan->at + 1 < scan->end) step(scan);
    }
    if (scan->at < scan->end) step(scan);
}

static void skip_value(struct scan *scan)
{
    size_t depth = 0;
    do {
        char next = peek(scan);
        if (next == '"') {
            skip_string(scan);
        } else if (next == '{' || next == '[') {
            depth++;
            step(scan);
        } else if (next == '}' || next == ']') {
            if (depth == 0) return;
            depth--;
            step(scan);
        } else {
            if (scan->at == scan->end) return;
            do step(scan);
            while (scan->at < scan->end && !strchr(" \t\r\n,:{}[]\"", *scan->at));
        }
    } while (depth > 0 && scan->at < scan->end);
}

/* Goes to the value of the member called name. True if it is there; *line is its key's. */
static bool enter_member(struct scan *scan, const char *name, size_t length, unsigned *line)
{
    if (peek(scan) != '{') return false;
    step(scan);
    while (peek(scan) == '"') {
        const char *key = scan->at + 1;
        unsigned key_line = scan->line;
        skip_string(scan);
        if ((size_t)(scan->at - key) == length + 1 && memcmp(key, name, length) == 0) {
            *line = key_line;
            return true;
        }
        skip_value(scan);
    }
    return false;
}

static bool enter_element(struct scan *scan, unsigned long index, unsigned *line)
{
    if (peek(scan) != '[') return false;
    step(scan);
    for (; index > 0; index--) {
        char next = peek(scan);
        if (next == ']' || next == '\0') return false;
        skip_value(scan);
    }
    char next = peek(scan);
    if (next == ']' || next == '\0') return false;
    *line = scan->line;
    return true;
}

unsigned json_line(const char *text, size_t n_bytes, const char *path)
{
    struct scan scan = {text, text + n_bytes, 1};
    unsigned line = 1;
    if (peek(&scan) == '{') line = scan.line;
    while (*path) {
        bool found;
        if (*path == '[') {
            char *behind;
            found = enter_element(&scan, strtoul(path + 1, &behind, 10), &line);
            path = *behind ? behind + 1 : behind;
        } else {
            size_t length = strcspn(path, ".[");
            found = enter_member(&scan, path, length, &line);
            path += length;
        }
        if (!found) return line;
        if (*path == '.') path++;
    }
    return line;
}
