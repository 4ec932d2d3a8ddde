/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of tokenizer.json and of GGUF's pre-tokenizers. They are written for Oniguruma with Ruby's syntax, as Hugging Face
 * tokenizers has it; PCRE2 (UTF, UCP, JIT) runs them after a translation. Internal to host/text.
 */
#ifndef SLUICE_TEXT_PATTERN_H
#define SLUICE_TEXT_PATTERN_H

#include "host/text/tokenizer.h"

struct pattern; /* compiled; immutable, for any number of threads */

/* ERROR_UNSUPPORTED or ERROR_BAD_FILE with the pattern and what is wrong with it. */
int pattern_open(const char *source, size_t length, struct pattern **out, struct error *err);
void pattern_close(struct pattern *pattern); /* NULL is allowed */

/* The same pattern as PCRE2 reads it, appended to out. (pattern_translate.c) */
int pattern_translate(const char *source, size_t length, struct text *out, struct error *err);

/* Memory of one thread's searches; zeroed at the start. */
struct pattern_space {
    void *match, *stack, *limits; /* pcre2_match_data, pcre2_jit_stack, pcre2_match_context; owned */
    uint64_t budget;              /* steps of long searches that are left */
};
void pattern_space_begin(struct pattern_space *space, size_t length); /* of all texts that follow */
void pattern_space_free(struct pattern_space *space);

/*
 * The first match at or after from in text, which is valid UTF-8: 1, 0 if there is none, or an error (a pattern that would take
 * too long on this text). An empty match is passed over.
 */
int pattern_find(const struct pattern *pattern, struct pattern_space *space, const char *text, size_t length,
                 size_t from, size_t *start, size_t *end, struct error *err);

#endif
