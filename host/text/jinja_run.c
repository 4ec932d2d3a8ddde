/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/jinja_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 65536u

static void raise_text(struct jinja_run *run, int code, const char *text)
{
    if (run->status) return;
    run->status = code;
    error_set(run->err, code, "line %u, column %u: %s", run->line, run->column, text);
}

void jinja_raise(struct jinja_run *run, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    raise_text(run, ERROR_BAD_ARGUMENT, text);
}

void jinja_raise_limit(struct jinja_run *run, const char *what)
{
    char text[120];
    snprintf(text, sizeof text, "the template needs too much %s", what);
    raise_text(run, ERROR_TOO_LARGE, text);
}

bool jinja_step(struct jinja_run *run, size_t n)
{
    if (run->status) return false;
    if (n > (size_t)run->steps) {
        jinja_raise_limit(run, "work (does a loop end?)");
        return false;
    }
    run->steps -= (int64_t)n;
    return true;
}

bool jinja_enter(struct jinja_run *run)
{
    run->depth++;
    if (run->depth > JINJA_MAX_DEPTH) jinja_raise_limit(run, "depth (does a macro call itself?)");
    return jinja_step(run, 1);
}

static bool new_block(struct jinja_run *run, size_t bytes)
{
    struct jinja_arena *arena = &run->arena;
    size_t size = bytes > BLOCK_BYTES / 4 ? bytes + sizeof(struct jinja_block) + 16 : BLOCK_BYTES;
    struct jinja_block *block = NULL;
    if (size < bytes || size > arena->limit - arena->total) {
        jinja_raise_limit(run, "memory");
        return false;
    }
    block = calloc(1, size);
    if (!block) {
        raise_text(run, ERROR_NO_MEMORY, "out of memory");
        return false;
    }
    block->next = arena->blocks;
    block->size = size;
    arena->blocks = block;
    arena->total += size;
    arena->at = (char *)block + ((sizeof *block + 15) & ~(size_t)15);
    arena->end = (char *)block + size;
    return true;
}

void *jinja_alloc(struct jinja_run *run, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > run->arena.limit) {
        jinja_raise_limit(run, "memory");
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    if (!jinja_step(run, bytes / 32)) return NULL;
    bool full = !run->arena.at || (size_t)(run->arena.end - run->arena.at) < bytes;
    if (full && !new_block(run, bytes)) return NULL;
    void *out = run->arena.at;
    run->arena.at += bytes;
    return out;
}

void *jinja_grow(struct jinja_run *run, const void *old, size_t used, size_t *capacity, size_t want, size_t size)
{
    size_t grown = *capacity > run->arena.limit ? want : *capacity * 2;
    if (grown < want) grown = want;
    if (grown < 8) grown = 8;
    void *out = jinja_alloc(run, grown, size);
    if (!out) return NULL;
    if (used) memcpy(out, old, used * size);
    *capacity = grown;
    return out;
}

void jinja_arena_free(struct jinja_arena *arena)
{
    struct jinja_block *block = arena->blocks;
    while (block) {
        struct jinja_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (struct jinja_arena){0};
}

static bool reserve(struct jinja_run *run, struct jinja_builder *to, size_t length)
{
    if (length > run->arena.limit) {
        jinja_raise_limit(run, "output");
        return false;
    }
    size_t need = to->length + length;
    if (need <= to->capacity) return true;
    char *grown = jinja_grow(run, to->bytes, to->length, &to->capacity, need < 64 ? 64 : need, 1);
    if (!grown) return false;
    to->bytes = grown;
    return true;
}

void jinja_put(struct jinja_run *run, struct jinja_builder *to, const char *bytes, size_t length)
{
    if (length == 0 || !jinja_step(run, length / 64) || !reserve(run, to, length)) return;
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

void jinja_put_text(struct jinja_run *run, struct jinja_builder *to, const char *text)
{
    jinja_put(run, to, text, strlen(text));
}

void jinja_put_char(struct jinja_run *run, struct jinja_builder *to, uint32_t c)
{
    char bytes[4];
    size_t n = 0;
    if (c < 0x80) {
        bytes[n++] = (char)c;
    } else if (c < 0x800) {
        bytes[n++] = (char)(0xc0 | c >> 6);
        bytes[n++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        bytes[n++] = (char)(0xe0 | c >> 12);
        bytes[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[n++] = (char)(0x80 | (c & 0x3f));
    } else {
        bytes[n++] = (char)(0xf0 | c >> 18);
        bytes[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        bytes[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[n++] = (char)(0x80 | (c & 0x3f));
    }
    jinja_put(run, to, bytes, n);
}

void jinja_put_repeated(struct jinja_run *run, struct jinja_builder *to, const char *bytes, size_t length, size_t times)
{
    size_t total;
    if (__builtin_mul_overflow(length, times, &total) || total > run->arena.limit) {
        jinja_raise_limit(run, "memory");
        return;
    }
    if (!jinja_step(run, total / 32 + 1) || !reserve(run, to, total)) return;
    if (total == 0) return;
    char *start = to->bytes + to->length;
    memcpy(start, bytes, length);
    for (size_t done = length; done < total;) {
        size_t n = done < total - done ? done : total - done;
        memcpy(start + done, start, n);
        done += n;
    }
    to->length += total;
}
