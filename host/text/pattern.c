/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/pattern.h"
#include "host/base/memory.h"
#include "host/text/quote.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_SOURCE 16384 /* bytes; the longest published one has about 3000 */

/*
 * Steps that one search may take before it is tried again with more, and what all searches of a text may take together beyond
 * that: the published patterns take a few for each character that they pass, so what needs more explodes.
 */
#define STEPS_FIRST 512
#define STEPS_TIMES 8
#define BUDGET (1 << 20)
#define BUDGET_PER_BYTE 64
#define STACK_START (32 * 1024)
#define STACK_LIMIT ((size_t)1 << 30) /* address space; memory is used as a search needs it */

struct pattern {
    pcre2_code *code;
    bool is_compiled; /* just in time: else PCRE2 interprets it */
};

int pattern_open(const char *source, size_t length, struct pattern **out, struct error *err)
{
    if (length > MAX_SOURCE) return error_set(err, ERROR_TOO_LARGE, "pattern of %zu bytes is too long", length);
    struct text translated = {0};
    struct pattern *made = memory_array(1, sizeof *made);
    int status = made ? pattern_translate(source, length, &translated, err)
                      : error_set(err, ERROR_NO_MEMORY, "pattern: out of memory");
    if (status) goto done;
    int code;
    PCRE2_SIZE offset;
    /* Ruby's ^ and $ are a line's, and an empty lookbehind is none of its errors. */
    made->code = pcre2_compile((PCRE2_SPTR)translated.bytes, translated.length, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                               &code, &offset, NULL);
    if (!made->code) {
        PCRE2_UCHAR why[120];
        if (pcre2_get_error_message(code, why, sizeof why) < 0) why[0] = '\0';
        status = error_set(err, ERROR_BAD_FILE, "pattern \"%s\": %s", quote(source, length).text, (const char *)why);
        goto done;
    }
    made->is_compiled = pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE) == 0; /* where there is none, slower */
    *out = made;
    made = NULL;
done:
    pattern_close(made);
    text_free(&translated);
    return status;
}

void pattern_close(struct pattern *pattern)
{
    if (!pattern) return;
    pcre2_code_free(pattern->code);
    free(pattern);
}

void pattern_space_free(struct pattern_space *space)
{
    pcre2_match_data_free(space->match);
    pcre2_match_context_free(space->limits);
    pcre2_jit_stack_free(space->stack);
    *space = (struct pattern_space){0};
}

static int prepare(struct pattern_space *space, struct error *err)
{
    if (space->match) return 0;
    space->limits = pcre2_match_context_create(NULL);
    space->match = pcre2_match_data_create(1, NULL);
    if (!space->limits || !space->match) return error_set(err, ERROR_NO_MEMORY, "pattern: out of memory");
    return 0;
}

/* The larger stack is made only when the small one of the machine does not do: for groups repeated many times. */
static bool grow_stack(struct pattern_space *space)
{
    if (space->stack) return false;
    space->stack = pcre2_jit_stack_create(STACK_START, STACK_LIMIT, NULL);
    if (space->stack) pcre2_jit_stack_assign(space->limits, NULL, space->stack);
    return space->stack != NULL;
}

/* pcre2_match with at most this many steps. */
static int search(const struct pattern *pattern, struct pattern_space *space, const char *text, size_t length,
                  size_t from, uint32_t steps)
{
    const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    pcre2_set_match_limit(space->limits, steps);
    for (;;) {
        int got = pattern->is_compiled
                      ? pcre2_jit_match(pattern->code, subject, length, from, options, space->match, space->limits)
                      : pcre2_match(pattern->code, subject, length, from, options, space->match, space->limits);
        if (got != PCRE2_ERROR_JIT_STACKLIMIT || !grow_stack(space)) return got;
    }
}

static int failure(int code, struct error *err)
{
    PCRE2_UCHAR why[120];
    if (pcre2_get_error_message(code, why, sizeof why) < 0) why[0] = '\0';
    return error_set(err, code == PCRE2_ERROR_NOMEMORY ? ERROR_NO_MEMORY : ERROR_BAD_ARGUMENT,
                     "tokenize: the vocabulary's pattern takes too long on this text: %s", (const char *)why);
}

void pattern_space_begin(struct pattern_space *space, size_t length)
{
    space->budget = BUDGET + (uint64_t)BUDGET_PER_BYTE * length;
}

int pattern_find(const struct pattern *pattern, struct pattern_space *space, const char *text, size_t length,
                 size_t from, size_t *start, size_t *end, struct error *err)
{
    int status = prepare(space, err);
    if (status) return status;
    uint32_t steps = STEPS_FIRST;
    int got = search(pattern, space, text, length, from, steps);
    while (got == PCRE2_ERROR_MATCHLIMIT && steps < UINT32_MAX / STEPS_TIMES && space->budget >= steps * STEPS_TIMES) {
        steps *= STEPS_TIMES;
        space->budget -= steps;
        got = search(pattern, space, text, length, from, steps);
    }
    if (got == PCRE2_ERROR_NOMATCH) return 0;
    if (got < 0) return failure(got, err);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(space->match);
    *start = span[0];
    *end = span[1];
    if (*end > *start && *start >= from) return 1;
    return error_set(err, ERROR_BAD_ARGUMENT, "tokenize: the vocabulary's pattern matches backwards");
}
