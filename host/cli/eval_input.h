/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice eval` predicts: passages of tokens, from a text or from questions with answers. */
#ifndef SLUICE_CLI_EVAL_INPUT_H
#define SLUICE_CLI_EVAL_INPUT_H

#include "host/base/error.h"
#include "host/text/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

/* Tokens [first, first + n) of the input are one passage; those from `scored` on (at least 1) are to be predicted. */
struct eval_passage {
    size_t first;
    uint32_t n, scored;
};

struct eval_input {
    struct token_list tokens;
    struct eval_passage *passages; /* owned */
    size_t n_passages, capacity;
};

/*
 * The text of a file (NULL: standard input) in windows of `window` tokens (at least 2), the model's first token, if it
 * has one, included: every other token is scored. Names of special tokens in the text are those tokens.
 * ERROR_BAD_ARGUMENT if there is nothing to score. Released by eval_input_free, after an error too.
 */
int eval_input_text(const struct tokenizer *tokenizer, const char *path, uint32_t window, struct eval_input *input,
                    struct error *err);

/*
 * JSON lines with "question" and "answer": a passage is the question in the model's chat format, then the answer and
 * the end of the turn, which are scored. ERROR_BAD_FILE names the line; ERROR_TOO_LARGE one of more than `window` tokens.
 */
int eval_input_questions(const struct tokenizer *tokenizer, const char *path, uint32_t window, struct eval_input *input,
                         struct error *err);

void eval_input_free(struct eval_input *input);

#endif
