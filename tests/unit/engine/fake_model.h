/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model layer that computes nothing but notices everything: the "KV cache" holds token numbers, and a token's logits
 * are random numbers keyed by a hash of all tokens that it finds through its page table. A page that is shared, lost,
 * out of order or stale changes the logits. A recurrent one keeps a state for each sequence as well, which must have seen
 * the same tokens. Included by a test, it takes the place of host/model and host/card.
 */
#ifndef SLUICE_TESTS_FAKE_MODEL_H
#define SLUICE_TESTS_FAKE_MODEL_H

#include "host/base/memory.h"
#include "host/base/philox.h"
#include "host/engine/engine.h"
#include "host/experts/experts.h"

#include <string.h>

#define FAKE_VOCAB 61u
#define FAKE_PAGE_BYTES 4096u

struct model {
    struct model_config config;
};
struct card {
    struct card_info info;
    uint64_t now_ps;   /* virtual time */
    uint64_t token_ps; /* what a token of a step takes; 0: the card keeps no clock */
};
struct loaded_model {
    struct model model;
    struct card card;
    unsigned fail_steps;        /* so many of the next steps fail */
    int fail_code;              /* with this code; 0: ERROR_CARD */
    uint64_t step_bytes;        /* of step memory */
    uint64_t refuse_pages_over; /* step_memory_open refuses more; 0: takes all */
    uint32_t salt;              /* models of different salts have different logits */
    float habit;                /* more for the logit of the token that the last one suggests: in circles of 6 */
    /* What the last steps were. */
    uint32_t most_tokens, most_decoding, most_sequences;
    uint64_t steps;
};
/* What is remembered of a sequence: its length and a hash of its tokens. */
struct fake_state {
    uint32_t length, key[2];
};
struct step_memory {
    struct step_limits limits;
    uint32_t *tokens;          /* [n_pages][CARD_PAGE_TOKENS] */
    struct fake_state *states; /* [max_tokens]: no step has more sequences */
    bool recurrent;            /* the states must have seen every token */
};

/* With a tokenizer (any address will do) every seventh token ends a sequence. */
bool tokenizer_is_end(const struct tokenizer *tokenizer, uint32_t id) { return tokenizer && id % 7 == 3; }

static void fake_model_make(struct loaded_model *loaded, uint32_t context, uint64_t bytes_free, unsigned threads)
{
    *loaded = (struct loaded_model){
        .model.config = {.n_vocab = FAKE_VOCAB, .context_length = context},
        .card.info = {.backend = "fake",
                      .kv_formats = 1u << CARD_FORMAT_F16,
                      .kv_default = CARD_FORMAT_F16,
                      .threads = threads,
                      .n_banks = 1,
                      .bank = {{.bytes = bytes_free, .bytes_free = bytes_free}}},
    };
}

const struct model_config *model_get_config(const struct model *model) { return &model->config; }
const struct model *loaded_model_source(const struct loaded_model *loaded) { return &loaded->model; }
struct card *loaded_model_card(const struct loaded_model *loaded) { return (struct card *)(uintptr_t)&loaded->card; }
void card_describe(const struct card *card, struct card_info *info) { *info = card->info; }

struct loaded_model *loaded_model_next(const struct loaded_model *loaded)
{
    (void)loaded;
    return NULL;
}

uint32_t loaded_model_expert_slots(const struct loaded_model *loaded)
{
    (void)loaded;
    return 0;
}

bool experts_count_all(const struct loaded_model *loaded, struct experts_traffic *traffic)
{
    (void)loaded;
    *traffic = (struct experts_traffic){0};
    return false;
}

void experts_begin_step(struct loaded_model *loaded, const struct step *step)
{
    (void)loaded;
    (void)step;
}

void experts_end_step(struct loaded_model *loaded) { (void)loaded; }

int card_now(const struct card *card, uint64_t *ps, struct error *err)
{
    *ps = card->now_ps;
    return card->token_ps > 0 ? 0 : error_set(err, ERROR_UNSUPPORTED, "fake card: no clock");
}

uint64_t model_page_bytes(const struct model *model, unsigned kv_format)
{
    (void)model, (void)kv_format;
    return FAKE_PAGE_BYTES;
}

uint64_t model_step_bytes(const struct model *model, const struct card_info *info, const struct step_limits *limits)
{
    (void)model, (void)info;
    return 1000ull + limits->max_tokens;
}

int step_memory_open(const struct loaded_model *loaded, const struct step_limits *limits, struct step_memory **out,
                     struct error *err)
{
    if (loaded->refuse_pages_over > 0 && limits->n_pages > loaded->refuse_pages_over)
        return error_set(err, ERROR_NO_MEMORY, "fake card: %u pages are too many", limits->n_pages);
    struct step_memory *memory = memory_array(1, sizeof *memory);
    memory->limits = *limits;
    memory->recurrent = loaded->model.config.recurrent;
    memory->tokens = memory_array((size_t)limits->n_pages * CARD_PAGE_TOKENS, sizeof *memory->tokens);
    memory->states = memory_array(limits->max_tokens, sizeof *memory->states);
    *out = memory;
    return 0;
}

void step_memory_close(struct step_memory *memory)
{
    if (memory) free(memory->tokens);
    if (memory) free(memory->states);
    free(memory);
}

static uint32_t *fake_slot(struct step_memory *memory, const struct step *step, uint32_t token, uint32_t position)
{
    uint32_t entry = step->batch[token].first_page + position / CARD_PAGE_TOKENS;
    assert_in_range(entry, 0, step->n_pages - 1);
    assert_in_range(step->pages[entry], 0, memory->limits.n_pages - 1);
    return &memory->tokens[(size_t)step->pages[entry] * CARD_PAGE_TOKENS + position % CARD_PAGE_TOKENS];
}

static void fake_hash(uint32_t key[2], uint32_t position, uint32_t token)
{
    uint32_t counter[4] = {position, token, 0, 0};
    if (position == 0) key[0] = 17, key[1] = 29;
    philox4x32(counter, key);
    key[0] = counter[0];
    key[1] = counter[1];
}

/* A sequence's tokens go through its state in order; at position 0 it starts afresh. */
static void fake_remember(struct step_memory *memory, const struct step *step, uint32_t token)
{
    const struct card_batch_token *place = &step->batch[token];
    assert_in_range(place->state, 0, memory->limits.max_tokens - 1);
    struct fake_state *state = &memory->states[place->state];
    if (!memory->recurrent) return;
    if (place->position > 0) assert_int_equal(state->length, place->position);
    fake_hash(state->key, place->position, step->tokens[token]);
    state->length = place->position + 1;
}

static void fake_logits(const struct loaded_model *loaded, struct step_memory *memory, const struct step *step,
                        uint32_t token, float *logits)
{
    const struct card_batch_token *place = &step->batch[token];
    const struct fake_state *state = &memory->states[place->state];
    uint32_t key[2] = {0};
    for (uint32_t position = 0; position < place->visible; position++)
        fake_hash(key, position, *fake_slot(memory, step, token, position));
    if (memory->recurrent && state->length == place->visible) assert_memory_equal(state->key, key, sizeof key);
    for (uint32_t v = 0; v < FAKE_VOCAB; v++) {
        uint32_t counter[4] = {v, loaded->salt, 0, 0};
        philox4x32(counter, key);
        logits[v] = (float)(counter[0] >> 8) * 0x1p-21f; /* [0, 8) */
    }
    logits[(step->tokens[token] * 14 + 7) % FAKE_VOCAB] += loaded->habit;
}

int model_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err)
{
    uint32_t n_single = 0, n_sequences = 0;
    loaded->steps++;
    loaded->card.now_ps += loaded->card.token_ps * step->n_tokens;
    assert_in_range(step->n_tokens, 1, memory->limits.max_tokens);
    assert_in_range(step->n_logit_rows, 0, memory->limits.max_logit_rows);
    assert_in_range(step->n_pages, 1, memory->limits.max_pages_in_tables);
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        bool first = i == 0 || step->batch[i].first_page != step->batch[i - 1].first_page;
        bool last = i + 1 == step->n_tokens || step->batch[i].first_page != step->batch[i + 1].first_page;
        if (!first) assert_int_equal(step->batch[i].position, step->batch[i - 1].position + 1);
        if (!first) assert_int_equal(step->batch[i].state, step->batch[i - 1].state);
        assert_int_equal(step->batch[i].visible, step->batch[i].position + 1);
        assert_in_range(step->tokens[i], 0, FAKE_VOCAB - 1);
        n_sequences += first;
        n_single += first && last;
        *fake_slot(memory, step, i, step->batch[i].position) = step->tokens[i];
        fake_remember(memory, step, i);
    }
    if (n_single > loaded->most_decoding) loaded->most_decoding = n_single;
    if (n_sequences > loaded->most_sequences) loaded->most_sequences = n_sequences;
    if (step->n_tokens > loaded->most_tokens) loaded->most_tokens = step->n_tokens;
    if (loaded->fail_steps > 0) {
        loaded->fail_steps--;
        return error_set(err, loaded->fail_code ? loaded->fail_code : ERROR_CARD, "fake card: a step failed");
    }
    for (uint32_t row = 0; row < step->n_logit_rows; row++) {
        assert_in_range(step->logit_rows[row], row ? step->logit_rows[row - 1] + 1 : 0, step->n_tokens - 1);
        fake_logits(loaded, memory, step, step->logit_rows[row], logits + (size_t)row * FAKE_VOCAB);
    }
    return 0;
}

#endif
