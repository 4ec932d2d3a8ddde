/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole models through the HLS C engine: the logits of every position of a prompt of 45 tokens (more than a page, a
 * pass and a tile) and of tokens after it equal the simulator's, bit for bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/bytes.h"
#include "host/engine/completion.h"
#include "host/engine/sequence.h"
#include "tests/kernels/hls_card.h"
#include "tests/unit/engine/model_engine.h"
#include "tests/unit/engine/recorder.h"

#define N_PROMPT 45u
#define N_NEW 4u

/* model_engine_open, but the card is the HLS C engine. */
static void open_hls(struct model_engine *all, const char *path, const struct engine_options *options)
{
    struct error err = {0};
    const struct card_options card_options = {.memory_bytes = 64u << 20, .banks = 4};
    const struct model_load_options load_options = {.threads = 1};
    *all = (struct model_engine){0};
    int status = model_open(path, &all->model, &err);
    if (status == 0) status = card_open_backend(&hls_card_ops, &card_options, &all->card, &err);
    if (status == 0) status = model_load(all->model, all->card, &load_options, &all->loaded, &err);
    if (status == 0) status = engine_open(all->loaded, NULL, options, &all->engine, &err);
    if (status < 0) fail_msg("%s: %s", path ? path : "demo model", err.text);
}

static void run_prompt(struct model_engine *all, struct recorder *recorder)
{
    uint32_t prompt[N_PROMPT];
    struct error err = {0};
    const uint32_t n_vocab = model_get_config(all->model)->n_vocab;
    for (uint32_t i = 0; i < N_PROMPT; i++) prompt[i] = random_bits(77, 0, i, 0) % n_vocab;
    *recorder = (struct recorder){.n_vocab = n_vocab};
    struct engine_request request = recorder_request(recorder, prompt, N_PROMPT, N_NEW);
    if (engine_submit(all->engine, &request, &recorder->id, &err) < 0) fail_msg("%s", err.text);
    while (!recorder->n_ends) {
        if (engine_step(all->engine, &err) < 0) fail_msg("%s", err.text);
    }
    assert_int_equal(recorder->reason, FINISH_LENGTH);
    const bool has_encoder = model_get_config(all->model)->n_encoder_layers > 0; /* it reads the prompt */
    assert_int_equal(recorder->n_rows, (has_encoder ? 1 : N_PROMPT) + N_NEW - 1);
}

/* Matrices lie in one bank of the simulator, over four of the engine. */
static void same_logits(const char *path, uint32_t chunk, unsigned kv_format)
{
    struct model_engine sim, hls;
    struct recorder want, got;
    struct engine_options options = {.max_sequences = 1, .chunk = 256, .context = 160, .kv_format = kv_format};
    struct engine_options chunked = options;
    chunked.chunk = chunk;
    model_engine_open(&sim, path, 1, &options);
    run_prompt(&sim, &want);
    open_hls(&hls, path, &chunked);
    run_prompt(&hls, &got);
    assert_memory_equal(want.tokens, got.tokens, N_NEW * sizeof(uint32_t));
    const size_t n = (size_t)want.n_rows * want.n_vocab;
    for (size_t i = 0; i < n; i++) {
        if (bits_of_float(want.rows[i]) != bits_of_float(got.rows[i]))
            fail_msg("%s, pages %u: position %zu, token %zu: sim %a, HLS C %a", path ? path : "demo model", kv_format,
                     i / want.n_vocab, i % want.n_vocab, (double)want.rows[i], (double)got.rows[i]);
    }
    recorder_free(&want);
    recorder_free(&got);
    model_engine_close(&sim);
    model_engine_close(&hls);
}

static void dense(void **state)
{
    (void)state;
    same_logits(FIXTURES "/models/llama/model-q4_0.gguf", 256, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/llama/model-q8_0.gguf", 16, CARD_FORMAT_INT8);
    same_logits(FIXTURES "/models/llama/model-f32.gguf", 31, CARD_FORMAT_INT4);
    same_logits(FIXTURES "/models/qwen2/model-q4_0.gguf", 256, CARD_FORMAT_INT4);
    same_logits(FIXTURES "/models/qwen2/model-q8_0.gguf", 3, CARD_FORMAT_F32);
    same_logits(FIXTURES "/models/qwen2/model-f32.gguf", 32, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/qwen3/model-q4_0.gguf", 256, CARD_FORMAT_F32);
    same_logits(FIXTURES "/models/qwen3/model-q8_0.gguf", 7, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/qwen3/model-f32.gguf", 44, CARD_FORMAT_INT8);
}
static void k_family(void **state)
{
    (void)state;
    same_logits(FIXTURES "/models/llama_k256/model-q4_k.gguf", 256, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/llama_k256/model-q4_k.gguf", 9, CARD_FORMAT_INT4);
}
static void experts(void **state)
{
    (void)state;
    same_logits(FIXTURES "/models/qwen3_moe/model-q4_0.gguf", 256, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/qwen3_moe/model-q8_0.gguf", 33, CARD_FORMAT_INT8);
    same_logits(FIXTURES "/models/qwen3_moe/model-f32.gguf", 8, CARD_FORMAT_INT4);
}
static void window(void **state)
{
    (void)state;
    same_logits(FIXTURES "/models/llama_window/model-q4_0.gguf", 33, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/llama_window/model-q4_0.gguf", 20, CARD_FORMAT_INT8);
}
/* Latents, sparse positions, sinks, caps, chunks, states, an encoder. */
static void kinds_of_attention(void **state)
{
    (void)state;
    same_logits(FIXTURES "/models/deepseek_v32/model-q4_0.gguf", 9, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/gemma2/model-q4_0.gguf", 256, CARD_FORMAT_INT8);
    same_logits(FIXTURES "/models/gpt_oss/model-mxfp4.gguf", 20, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/kimi_linear/model-q4_0.gguf", 7, CARD_FORMAT_F16);
    same_logits(FIXTURES "/models/llama4_chunk/model-q4_0.gguf", 256, CARD_FORMAT_INT4);
    same_logits(FIXTURES "/models/qwen3_next/model-q4_0.gguf", 256, CARD_FORMAT_INT8);
    same_logits(FIXTURES "/models/t5/model-q4_0.gguf", 256, CARD_FORMAT_F16);
}
static void demo(void **state)
{
    (void)state;
    same_logits(NULL, 64, CARD_FORMAT_INT8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),  cmocka_unit_test(k_family),           cmocka_unit_test(experts),
        cmocka_unit_test(window), cmocka_unit_test(kinds_of_attention), cmocka_unit_test(demo)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
