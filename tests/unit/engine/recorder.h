/* SPDX-License-Identifier: Apache-2.0 */
/* What a sequence told its owner, written down. */
#ifndef SLUICE_TESTS_RECORDER_H
#define SLUICE_TESTS_RECORDER_H

#include "host/base/memory.h"
#include "host/engine/engine.h"

#include <string.h>

#define RECORDER_TOKENS 512

struct recorder {
    uint32_t n_vocab;         /* not 0: rows are kept */
    uint32_t stop_after;      /* not 0: the token callback ends the sequence at this one */
    struct engine *cancel_in; /* not NULL: the token callback cancels the sequence itself */
    uint64_t id;
    uint32_t tokens[RECORDER_TOKENS];
    uint32_t n_tokens;
    float *rows; /* [n_rows][n_vocab] */
    uint32_t n_rows;
    unsigned n_ends;
    enum finish_reason reason;
    struct engine_usage usage;
    struct error error;
};

static inline int recorder_token(void *context, uint32_t token)
{
    struct recorder *recorder = context;
    assert_int_equal(recorder->n_ends, 0);
    assert_in_range(recorder->n_tokens, 0, RECORDER_TOKENS - 1);
    recorder->tokens[recorder->n_tokens++] = token;
    if (recorder->cancel_in) engine_cancel(recorder->cancel_in, recorder->id);
    return recorder->stop_after == recorder->n_tokens;
}

static inline void recorder_logits(void *context, uint32_t position, const float *logits)
{
    struct recorder *recorder = context;
    assert_int_equal(recorder->n_ends, 0);
    assert_int_equal(position, recorder->n_rows); /* every position once, in order */
    recorder->rows = memory_grow(recorder->rows, (size_t)++recorder->n_rows * recorder->n_vocab, sizeof(float));
    assert_non_null(recorder->rows);
    memcpy(recorder->rows + (size_t)position * recorder->n_vocab, logits, recorder->n_vocab * sizeof(float));
}

static inline void recorder_end(void *context, enum finish_reason reason, const struct engine_usage *usage,
                                const struct error *err)
{
    struct recorder *recorder = context;
    recorder->n_ends++;
    recorder->reason = reason;
    recorder->usage = *usage;
    assert_int_equal(err != NULL, reason == FINISH_ERROR);
    if (err) recorder->error = *err;
}

static inline void recorder_free(struct recorder *recorder)
{
    free(recorder->rows);
    *recorder = (struct recorder){0};
}

static inline struct engine_request recorder_request(struct recorder *recorder, const uint32_t *prompt, size_t n_prompt,
                                                     uint32_t max_tokens)
{
    return (struct engine_request){
        .prompt = prompt,
        .n_prompt = n_prompt,
        .max_tokens = max_tokens,
        .ignore_eos = true,
        .sampling = {.top_p = 1},
        .callbacks = {.token = recorder_token,
                      .logits = recorder->n_vocab ? recorder_logits : NULL,
                      .end = recorder_end},
        .context = recorder,
    };
}

#endif
