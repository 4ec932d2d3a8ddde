/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rendering: its memory, its limits and its first error. An error sticks: what follows does nothing of use and
 * ends soon, since loops ask jinja_failed() and every value made after an error is undefined.
 */
#ifndef SLUICE_TEXT_JINJA_RUN_H
#define SLUICE_TEXT_JINJA_RUN_H

#include "host/base/error.h"
#include "host/text/jinja.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JINJA_MAX_SOURCE (1u << 20) /* bytes of a template */
#define JINJA_MAX_NESTING 150u      /* of brackets and blocks in a template */
#define JINJA_MAX_DEPTH 1200u       /* of evaluation, macro calls and values in values */
#define JINJA_STEPS 600000          /* nodes evaluated, elements handled, 32 bytes made or looked at */
#define JINJA_STEPS_PER_BYTE 4      /* more of them for a long conversation */
#define JINJA_MEMORY (32u << 20)    /* bytes of values */
#define JINJA_MEMORY_PER_BYTE 8u    /* more of it for a long conversation */
#define JINJA_MAX_RANGE 100000      /* elements of range(): the limit of Jinja's sandbox */

struct jinja_block {
    struct jinja_block *next;
    size_t size;
};

/* Memory that is given back all at once. */
struct jinja_arena {
    struct jinja_block *blocks;
    char *at, *end;
    size_t total, limit;
};

struct jinja_node;
struct jinja_scope;
struct jinja_builder;
struct jinja_loop;

struct jinja_run {
    struct jinja_arena arena;
    struct error *err;
    int status;            /* the first error's code, or 0 */
    int64_t steps;         /* left */
    unsigned depth;        /* of evaluation */
    uint32_t line, column; /* of what is being evaluated, or parsed */
    const struct jinja_template *template;
    const struct jinja_now *now;
    struct jinja_now local_now;
    struct jinja_scope *root;  /* variables and what the template's top level sets */
    struct jinja_scope *scope; /* the innermost */
    struct jinja_builder *output;
    bool autoescape;
    uint32_t random;
};

static inline bool jinja_failed(const struct jinja_run *run) { return run->status != 0; }

/* Notes the first error, with line and column in front. */
void jinja_raise(struct jinja_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void jinja_raise_limit(struct jinja_run *run, const char *what);

/* Takes n steps; false, and an error, if they are used up or something failed before. */
bool jinja_step(struct jinja_run *run, size_t n);

/* One level deeper; false, and an error, at the limit. jinja_leave after either answer. */
bool jinja_enter(struct jinja_run *run);
static inline void jinja_leave(struct jinja_run *run) { run->depth--; }

/* count * size zeroed bytes, 16-byte aligned, the arena's; NULL, and an error, over the limit. */
void *jinja_alloc(struct jinja_run *run, size_t count, size_t size);
/* *count doubled (at least to want) and the elements moved; NULL, and an error, over the limit. */
void *jinja_grow(struct jinja_run *run, const void *old, size_t used, size_t *capacity, size_t want, size_t size);
void jinja_arena_free(struct jinja_arena *arena);

/* Bytes that grow, in the arena. */
struct jinja_builder {
    char *bytes;
    size_t length, capacity;
};
void jinja_put(struct jinja_run *run, struct jinja_builder *to, const char *bytes, size_t length);
void jinja_put_text(struct jinja_run *run, struct jinja_builder *to, const char *text);
void jinja_put_char(struct jinja_run *run, struct jinja_builder *to, uint32_t code_point);
void jinja_put_repeated(struct jinja_run *run, struct jinja_builder *to, const char *bytes, size_t length,
                        size_t times);

#endif
