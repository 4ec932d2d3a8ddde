/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peer's side of what its own llama-bench does not measure, by llama.cpp's C API with its defaults and F16 KV; JSON
 * lines. Timing windows are those of `sluice bench`:
 *   load     from before the file is opened until a context is there; and on to the first token of a one-token prompt
 *   prefill  a prompt of PROMPT tokens; no token is chosen
 *   decode   SEQUENCES that start from one token each, after one step that is not counted: DECODE steps of SEQUENCES tokens,
 *            each the likeliest after the one before
 * PROMPT 0 or DECODE 0 leaves that line out. compare_llama_cpp.py builds this.
 *
 *   llama_cpp MODEL THREADS CONTEXT SEQUENCES PROMPT DECODE      CONTEXT: tokens of each sequence
 */
#include "llama.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct run {
    struct llama_context *context;
    struct llama_batch batch;
    int n_vocab, sequences;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Spread over the vocabulary. */
static llama_token some_token(const struct run *run, int i)
{
    return (llama_token)(((uint64_t)i + 1) * 2654435761u % (uint64_t)run->n_vocab);
}

static llama_token likeliest(const struct run *run, int of)
{
    const float *logits = llama_get_logits_ith(run->context, of);
    llama_token best = 0;
    for (llama_token i = 1; i < run->n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static void put(struct run *run, llama_token token, int position, int sequence, bool wants_logits)
{
    struct llama_batch *batch = &run->batch;
    int i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = position;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = sequence;
    batch->logits[i] = wants_logits;
}

static void step(struct run *run)
{
    if (llama_decode(run->context, run->batch) != 0) {
        fprintf(stderr, "llama_cpp: llama_decode failed\n");
        exit(1);
    }
    llama_synchronize(run->context);
}

static void forget(struct run *run)
{
    llama_memory_clear(llama_get_memory(run->context), false);
    run->batch.n_tokens = 0;
}

static double prefill(struct run *run, int n)
{
    forget(run);
    for (int i = 0; i < n; i++) put(run, some_token(run, i), i, 0, i == n - 1);
    double start = seconds_now();
    step(run);
    return seconds_now() - start;
}

static double decode(struct run *run, int n)
{
    double start = 0;
    forget(run);
    for (int i = 0; i < run->sequences; i++) put(run, some_token(run, i), 0, i, true);
    for (int position = 0; position <= n; position++) {
        if (position == 1) start = seconds_now();
        step(run);
        for (int i = 0; i < run->sequences; i++) run->batch.token[i] = likeliest(run, i);
        for (int i = 0; i < run->sequences; i++) run->batch.pos[i] = position + 1;
    }
    return seconds_now() - start;
}

static void print_speed(const char *name, double seconds, int tokens)
{
    printf("{\"name\":\"%s\",\"tokens\":%d,\"seconds\":%.6f,\"tokens_per_s_wall\":%.4f}\n", name, tokens, seconds,
           tokens / seconds);
}

static void ignore_log(enum ggml_log_level level, const char *text, void *user_data)
{
    (void)user_data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

int main(int argc, char **argv)
{
    long value[5];
    if (argc != 7) return fprintf(stderr, "usage: llama_cpp MODEL THREADS CONTEXT SEQUENCES PROMPT DECODE\n"), 2;
    for (int i = 0; i < 5; i++) value[i] = strtol(argv[i + 2], NULL, 10);
    const int threads = (int)value[0], context = (int)value[1], prompt = (int)value[3], n_decode = (int)value[4];
    struct run run = {.sequences = (int)value[2]};

    double start = seconds_now();
    llama_log_set(ignore_log, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return fprintf(stderr, "llama_cpp: cannot load %s\n", argv[1]), 1;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(context * run.sequences);
    params.n_seq_max = (uint32_t)run.sequences;
    params.n_threads = params.n_threads_batch = threads;
    run.context = llama_init_from_model(model, params);
    if (!run.context) return fprintf(stderr, "llama_cpp: no context of %d tokens\n", context), 1;
    run.n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    run.batch = llama_batch_init(prompt > run.sequences ? prompt : run.sequences, 0, 1);
    double ready = seconds_now();
    put(&run, some_token(&run, 0), 0, 0, true);
    step(&run);
    (void)likeliest(&run, 0);
    printf("{\"name\":\"load\",\"version\":\"%s\",\"seconds\":%.6f,\"seconds_first_token\":%.6f}\n", llama_version(),
           ready - start, seconds_now() - start);
    if (prompt > 0) print_speed("prefill", prefill(&run, prompt), prompt);
    if (n_decode > 0) print_speed("decode", decode(&run, n_decode), n_decode * run.sequences);

    llama_batch_free(run.batch);
    llama_free(run.context);
    llama_model_free(model);
    llama_backend_free();
    return fflush(stdout) != 0;
}
