/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of the simulated card's operations other than matmuls: programs of one descriptor again and again, on the shapes
 * of a model with 16 query and 8 KV heads of 128, width 1024 and 3072. Prints one JSON line per operation (ATTENTION: per
 * page format) with the best of REPEATS programs, by wall and by the caller's processor time (the truth on a busy machine
 * for one thread), per token.
 *
 *   attention_speed [THREADS [TOKENS [CONTEXT [SIMD]]]]      TOKENS of one sequence are CONTEXT's last; SIMD as in card.h
 */
#include "host/card/card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADS = 16, KV_HEADS = 8, DIMS = 128, WIDTH = 1024, FF = 3072, REPEATS = 10, PROGRAM = 8 };

struct run {
    struct card *card;
    uint32_t tokens, context;
    unsigned threads;
    card_addr src, weight, dst, batch;
};

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static int put(struct card *card, const void *data, size_t bytes, card_addr *address, struct error *err)
{
    const int rc = card_alloc(card, 0, bytes, address, err);
    return rc ? rc : card_write(card, *address, data, bytes, NULL, 0, NULL, err);
}

/* n floats within +-1. */
static int put_floats(struct card *card, size_t n, card_addr *address, struct error *err)
{
    float *x = malloc(n * sizeof *x);
    if (!x) return error_set(err, ERROR_NO_MEMORY, "no memory for %zu floats", n);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    const int rc = put(card, x, n * sizeof *x, address, err);
    free(x);
    return rc;
}

/* Batch entries of the last tokens of a sequence, and its pages. */
static int put_batch(struct run *run, struct error *err)
{
    const uint32_t pages = (run->context + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    const size_t bytes = run->tokens * sizeof(struct card_batch_token) + pages * sizeof(uint32_t);
    struct card_batch_token *batch = calloc(1, bytes);
    if (!batch) return error_set(err, ERROR_NO_MEMORY, "no memory for %zu bytes", bytes);
    for (uint32_t t = 0; t < run->tokens; t++) {
        batch[t].position = run->context - run->tokens + t;
        batch[t].visible = batch[t].position + 1;
    }
    uint32_t *page = (uint32_t *)(void *)(batch + run->tokens);
    for (uint32_t i = 0; i < pages; i++) page[i] = i;
    const int rc = put(run->card, batch, bytes, &run->batch, err);
    free(batch);
    return rc;
}

static int measure(const struct run *run, const char *name, const struct card_descriptor *d, struct error *err)
{
    struct card_descriptor program[PROGRAM];
    for (int i = 0; i < PROGRAM; i++) program[i] = *d;
    double wall = 1e9, cpu = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double wall_start = seconds(CLOCK_MONOTONIC), cpu_start = seconds(CLOCK_THREAD_CPUTIME_ID);
        const int rc = card_submit(run->card, program, PROGRAM, NULL, 0, NULL, err);
        if (rc) return rc;
        const double wall_now = seconds(CLOCK_MONOTONIC) - wall_start;
        const double cpu_now = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
        wall = wall_now < wall ? wall_now : wall;
        cpu = cpu_now < cpu ? cpu_now : cpu;
    }
    const double per_token = 1e6 / PROGRAM / run->tokens;
    printf("{\"name\":\"attention_speed\",\"operation\":\"%s\",\"tokens\":%u,\"context\":%u,\"threads\":%u,"
           "\"us_per_token_wall\":%.3f,\"us_per_token_cpu\":%.3f}\n",
           name, run->tokens, run->context, run->threads, wall * per_token, cpu * per_token);
    return 0;
}

static int attention(struct run *run, unsigned format, const char *write_name, const char *name, struct error *err)
{
    const uint32_t pages = (run->context + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    const size_t bytes = pages * (size_t)card_page_bytes(format, KV_HEADS, DIMS, DIMS);
    uint8_t *pool = calloc(1, bytes); /* keys that are not written are zeros: the same work */
    card_addr address;
    if (!pool) return error_set(err, ERROR_NO_MEMORY, "no memory for %zu bytes", bytes);
    int rc = put(run->card, pool, bytes, &address, err);
    free(pool);
    struct card_descriptor write = {.opcode = CARD_OP_KV_WRITE,
                                    .format = (uint8_t)format,
                                    .tokens = run->tokens,
                                    .rows = KV_HEADS,
                                    .cols = DIMS,
                                    .dst = address,
                                    .src = run->src,
                                    .weight = run->weight,
                                    .aux = run->batch,
                                    .param = {pages, DIMS}};
    struct card_descriptor attend = {.opcode = CARD_OP_ATTENTION,
                                     .format = (uint8_t)format,
                                     .tokens = run->tokens,
                                     .rows = HEADS,
                                     .cols = DIMS,
                                     .dst = run->dst,
                                     .src = run->src,
                                     .weight = address,
                                     .aux = run->batch,
                                     .param = {pages, bits_of(0.0884f), KV_HEADS, 0}};
    if (!rc) rc = measure(run, write_name, &write, err);
    return rc ? rc : measure(run, name, &attend, err);
}

static int others(struct run *run, struct error *err)
{
    struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = run->tokens, .rows = 1, .cols = WIDTH};
    d.dst = run->dst;
    d.src = run->src;
    d.weight = run->weight;
    d.param[0] = bits_of(1e-6f);
    int rc = measure(run, "NORM 1024", &d, err);
    d.rows = HEADS;
    d.cols = DIMS;
    if (!rc) rc = measure(run, "NORM 16 x 128", &d, err);
    d = (struct card_descriptor){.opcode = CARD_OP_QUANTIZE, .tokens = run->tokens, .rows = 1, .cols = FF};
    d.dst = run->dst;
    d.src = run->src;
    if (!rc) rc = measure(run, "QUANTIZE 3072", &d, err);
    d = (struct card_descriptor){.opcode = CARD_OP_GLU, .tokens = run->tokens, .rows = 1, .cols = FF};
    d.dst = run->dst;
    d.src = run->src;
    d.weight = run->weight;
    if (!rc) rc = measure(run, "GLU SILU 3072", &d, err);
    d = (struct card_descriptor){.opcode = CARD_OP_ROPE, .tokens = run->tokens, .rows = HEADS, .cols = DIMS};
    d.dst = run->dst;
    d.weight = run->weight;
    d.aux = run->batch;
    d.param[0] = DIMS;
    d.param[1] = bits_of(1.0f);
    return rc ? rc : measure(run, "ROPE 16 x 128", &d, err);
}

int main(int argc, char **argv)
{
    struct run run = {.threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1};
    run.tokens = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    run.context = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 512;
    const struct card_options options = {.threads = run.threads, .memory_bytes = 1u << 30};
    char spec[64] = "sim";
    if (argc > 4) snprintf(spec, sizeof spec, "sim:simd=%s", argv[4]);
    struct error err;
    if (run.tokens == 0 || run.tokens > run.context) {
        fputs("attention_speed: TOKENS is not within CONTEXT\n", stderr);
        return 2;
    }
    int rc = card_open(spec, &options, &run.card, &err);
    if (!rc) rc = put_floats(run.card, (size_t)run.tokens * FF, &run.src, &err);
    if (!rc) rc = put_floats(run.card, (size_t)run.tokens * FF, &run.weight, &err);
    if (!rc) rc = put_floats(run.card, (size_t)run.tokens * FF, &run.dst, &err);
    if (!rc) rc = put_batch(&run, &err);
    if (!rc) rc = attention(&run, CARD_FORMAT_F16, "KV_WRITE F16", "ATTENTION F16", &err);
    if (!rc) rc = attention(&run, CARD_FORMAT_F32, "KV_WRITE F32", "ATTENTION F32", &err);
    if (!rc) rc = attention(&run, CARD_FORMAT_INT8, "KV_WRITE INT8", "ATTENTION INT8", &err);
    if (!rc) rc = attention(&run, CARD_FORMAT_INT4, "KV_WRITE INT4", "ATTENTION INT4", &err);
    if (!rc) rc = others(&run, &err);
    if (rc) fprintf(stderr, "attention_speed: %s\n", err.text);
    card_close(run.card);
    return rc ? 1 : 0;
}
