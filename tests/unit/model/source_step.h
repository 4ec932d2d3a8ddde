/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that step models themselves: what the encoder of a model that has one makes of some tokens, before the decoder's steps. */
#ifndef SLUICE_TESTS_SOURCE_STEP_H
#define SLUICE_TESTS_SOURCE_STEP_H

#include "host/model/model.h"

/* At most this many tokens: one page. */
#define SOURCE_TOKENS 9u

/*
 * Runs the encoder into page pages[entry] of the table and fills sources[n] for steps with that table. Nothing happens without an encoder.
 * 0 or an error.
 */
static inline int source_step(struct loaded_model *loaded, struct step_memory *memory, const uint32_t *pages,
                              uint32_t n_pages, uint32_t entry, struct card_batch_token *sources, uint32_t n,
                              struct error *err)
{
    const struct model_config *config = model_get_config(loaded_model_source(loaded));
    uint32_t tokens[SOURCE_TOKENS];
    struct card_batch_token batch[SOURCE_TOKENS];
    for (uint32_t i = 0; i < n; i++)
        sources[i] = (struct card_batch_token){.first_page = entry, .visible = SOURCE_TOKENS};
    if (config->n_encoder_layers == 0) return 0;
    for (uint32_t i = 0; i < SOURCE_TOKENS; i++) {
        tokens[i] = (i * 17 + 3) % config->n_vocab;
        batch[i] = (struct card_batch_token){.position = i, .first_page = entry, .visible = SOURCE_TOKENS};
    }
    const struct step step = {.n_tokens = SOURCE_TOKENS,
                              .tokens = tokens,
                              .batch = batch,
                              .n_pages = n_pages,
                              .pages = pages,
                              .encodes = true};
    return model_step(loaded, memory, &step, NULL, err);
}

#endif
