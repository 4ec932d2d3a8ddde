/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experts stream beside layers that have none and beside a shared expert: a llama4 of four layers, of which the second and the
 * fourth have experts, gives the same bits with any number of slots, on cards of one bank and of several.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/experts/experts.h"
#include "tests/unit/model/tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_LAYERS 4u
#define N_EXPERTS 4u
#define N_USED 2u
#define N_TOKENS 30u
#define N_VOCAB 8u
#define SEED 20261121u

static void add(struct tiny_model *tiny, uint32_t layer, const char *name, enum gguf_tensor_type type, uint64_t rows,
                uint64_t experts)
{
    char full[64];
    (void)snprintf(full, sizeof full, "blk.%u.%s.weight", layer, name);
    tiny_add(tiny, full, type, 32, rows, experts);
}

static void add_layer(struct tiny_model *tiny, uint32_t layer)
{
    static const char *const dense[] = {"ffn_gate", "ffn_up", "ffn_down"};
    static const char *const shared[] = {"ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"};
    static const char *const experts[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"};
    const bool has_experts = layer % 2 == 1;
    add(tiny, layer, "attn_norm", GGUF_F32, 1, 1);
    add(tiny, layer, "attn_q", GGUF_Q4_0, 32, 1);
    add(tiny, layer, "attn_k", GGUF_Q4_0, 16, 1);
    add(tiny, layer, "attn_v", GGUF_Q4_0, 16, 1);
    add(tiny, layer, "attn_output", GGUF_Q4_0, 32, 1);
    add(tiny, layer, "ffn_norm", GGUF_F32, 1, 1);
    for (unsigned i = 0; i < 3; i++) {
        add(tiny, layer, has_experts ? shared[i] : dense[i], GGUF_Q4_0, 32, 1);
        if (has_experts) add(tiny, layer, experts[i], GGUF_Q4_0, 32, N_EXPERTS);
    }
    if (has_experts) add(tiny, layer, "ffn_gate_inp", GGUF_F32, N_EXPERTS, 1);
}

static uint32_t next_random(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

/* Q4_0: any nibbles, a scale of 2^-5; F32: -1 to 1. */
static void fill(struct tiny_model *tiny)
{
    uint32_t state = SEED;
    for (unsigned t = 0; t < tiny->n_tensors; t++) {
        uint8_t *data = tiny->file.bytes + tiny->tensors[t].at;
        const bool is_f32 = tiny->tensors[t].type == GGUF_F32;
        const size_t n = tiny_bytes(&tiny->tensors[t]), block = is_f32 ? 4 : 18;
        for (size_t at = 0; at < n; at += block) {
            for (size_t i = 0; i < block; i++) data[at + i] = (uint8_t)(next_random(&state) >> 24);
            if (is_f32)
                store_u32(data + at, bits_of_float((float)(int32_t)next_random(&state) / 2147483648.0f));
            else
                store_u16(data + at, 0x2800);
        }
    }
}

static void make(struct tiny_model *tiny)
{
    tiny_init(tiny, "llama4");
    tiny->n_tensors = 0;
    tiny_u32(tiny, "block_count", N_LAYERS);
    tiny_u32(tiny, "expert_count", N_EXPERTS);
    tiny_u32(tiny, "expert_used_count", N_USED);
    tiny_u32(tiny, "expert_feed_forward_length", 32);
    tiny_u32(tiny, "interleave_moe_layer_step", 2);
    tiny_add(tiny, "token_embd.weight", GGUF_Q4_0, 32, N_VOCAB, 1);
    tiny_add(tiny, "output_norm.weight", GGUF_F32, 32, 1, 1);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) add_layer(tiny, layer);
    tiny_write(tiny);
    fill(tiny);
}

/* N_TOKENS of one sequence, in chunks. */
static void compute(struct loaded_model *loaded, struct step_memory *memory, uint32_t chunk, float *logits)
{
    uint32_t tokens[N_TOKENS], rows[N_TOKENS];
    const uint32_t page = 0;
    struct card_batch_token batch[N_TOKENS];
    struct error err = {0};
    for (uint32_t at = 0; at < N_TOKENS; at += chunk) {
        const uint32_t n = N_TOKENS - at < chunk ? N_TOKENS - at : chunk;
        for (uint32_t i = 0; i < n; i++) {
            tokens[i] = (at + i) * 5 % N_VOCAB;
            rows[i] = i;
            batch[i] = (struct card_batch_token){.position = at + i, .visible = at + i + 1};
        }
        const struct step step = {n, tokens, batch, 1, &page, n, rows, .sources = NULL};
        if (model_step(loaded, memory, &step, logits + (size_t)at * N_VOCAB, &err) < 0) fail_msg("%s", err.text);
    }
}

static void logits_with(const struct model *model, const char *spec, uint32_t slots, uint32_t chunk, float *logits)
{
    const struct card_options options = {.threads = 1, .memory_bytes = 32u << 20};
    const struct model_load_options how = {.threads = 1, .expert_slots = slots};
    struct card *card;
    struct loaded_model *loaded;
    struct step_memory *memory;
    struct experts_traffic traffic;
    struct error err = {0};
    if (card_open(spec, &options, &card, &err) < 0) fail_msg("%s", err.text);
    if (experts_load(model, card, &how, &loaded, &err) < 0) fail_msg("%s: %s", spec, err.text);
    struct card_info info;
    card_describe(card, &info);
    const struct step_limits limits = {.max_tokens = N_TOKENS,
                                       .max_logit_rows = N_TOKENS,
                                       .n_pages = 1,
                                       .max_pages_in_tables = 1,
                                       .kv_format = info.kv_default};
    if (step_memory_open(loaded, &limits, &memory, &err) < 0) fail_msg("%s", err.text);
    compute(loaded, memory, chunk, logits);
    assert_int_equal(experts_count_all(loaded, &traffic), slots > 0);
    if (slots > 0) {
        assert_true(traffic.misses > 0);
        struct experts_traffic dense;
        (void)experts_count(loaded, 2, &dense);
        assert_int_equal(dense.hits + dense.misses + dense.ahead, 0);
    }
    step_memory_close(memory);
    loaded_model_close(loaded);
    card_close(card);
}

static void the_bits_do_not_depend_on_the_slots(void **state)
{
    (void)state;
    static const char *const cards[] = {"sim:banks=1", "sim:banks=4", "ref"};
    struct tiny_model *tiny = calloc(1, sizeof *tiny);
    struct model *model;
    struct error err = {0};
    float want[N_TOKENS * N_VOCAB], got[N_TOKENS * N_VOCAB];
    assert_non_null(tiny);
    make(tiny);
    if (model_open_memory(tiny->file.bytes, tiny->file.size, "tiny", &model, &err) < 0) fail_msg("%s", err.text);
    for (size_t c = 0; c < sizeof cards / sizeof cards[0]; c++) {
        logits_with(model, cards[c], 0, N_TOKENS, want);
        assert_true(want[0] != want[1]);
        for (uint32_t slots = N_USED; slots <= 2 * N_EXPERTS; slots++)
            for (uint32_t chunk = 1; chunk <= N_TOKENS; chunk += 11) {
                logits_with(model, cards[c], slots, chunk, got);
                if (memcmp(got, want, sizeof got) != 0)
                    fail_msg("%s: other bits with %u slots, chunks of %u (seed %u)", cards[c], slots, chunk, SEED);
            }
        logits_with(model, cards[c], 2 * N_EXPERTS, N_TOKENS, got);
        assert_memory_equal(got, want, sizeof got);
    }
    model_close(model);
    free(tiny);
}

static void slots_are_counted_for_layers_with_experts(void **state)
{
    (void)state;
    const struct card_options options = {.threads = 1, .memory_bytes = 32u << 20};
    const struct model_load_options how = {.threads = 1, .expert_slots = 1000};
    struct tiny_model *tiny = calloc(1, sizeof *tiny);
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct error err = {0};
    char line[EXPERTS_LINE_BYTES];
    assert_non_null(tiny);
    make(tiny);
    assert_int_equal(model_open_memory(tiny->file.bytes, tiny->file.size, "tiny", &model, &err), 0);
    assert_int_equal(card_open("sim", &options, &card, &err), 0);
    if (experts_load(model, card, &how, &loaded, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(loaded_model_expert_slots(loaded), 2 * N_EXPERTS);
    assert_true(experts_describe(loaded, line));
    assert_non_null(strstr(line, "for 4 experts in each of 2 layers (100 %)"));
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
    free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_do_not_depend_on_the_slots),
        cmocka_unit_test(slots_are_counted_for_layers_with_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
