/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of the simulated card's MATMUL: programs of 64 matrices of 1024 x 3072, so that weights come from memory as in
 * decoding. Prints one JSON line per weight format with the best of REPEATS programs, timed from
 * card_submit to its return (wall) and by the caller's processor time (cpu; the truth on a busy machine for one thread).
 *
 *   matmul_speed [THREADS [TOKENS [SIMD]]]     SIMD: generic, avx2, ... (the fastest)
 */
#include "host/card/card.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 1024, COLS = 3072, MATRICES = 64, REPEATS = 10 };

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static const char *const names[CARD_FORMAT_END] = {
    [CARD_FORMAT_INT4] = "INT4",         [CARD_FORMAT_INT4_MIN] = "INT4_MIN", [CARD_FORMAT_INT8] = "INT8",
    [CARD_FORMAT_INT8_MIN] = "INT8_MIN", [CARD_FORMAT_Q4_K] = "Q4_K",         [CARD_FORMAT_Q5_K] = "Q5_K",
    [CARD_FORMAT_Q6_K] = "Q6_K",         [CARD_FORMAT_MXFP4] = "MXFP4",
};

/* Bytes that decode to finite weights in every format: no half has all exponent bits. */
static int put_bytes(struct card *card, size_t bytes, card_addr *address, struct error *err)
{
    uint8_t *data = malloc(bytes);
    if (!data) return error_set(err, ERROR_NO_MEMORY, "no memory for %zu bytes", bytes);
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)(i * 2654435761u >> 13 & 0x3b);
    int rc = card_alloc(card, 0, bytes, address, err);
    if (!rc) rc = card_write(card, *address, data, bytes, NULL, 0, NULL, err);
    free(data);
    return rc;
}

static int measure(struct card *card, const char *card_name, unsigned format, unsigned threads, uint32_t tokens,
                   struct error *err)
{
    const uint64_t matrix = card_matrix_bytes(format, ROWS, COLS);
    struct card_descriptor program[MATRICES];
    card_addr src, dst;
    int rc = put_bytes(card, card_act_bytes(tokens, COLS), &src, err);
    if (!rc) rc = card_alloc(card, 0, (uint64_t)tokens * ROWS * 4, &dst, err);
    for (int i = 0; i < MATRICES && !rc; i++) {
        program[i] = (struct card_descriptor){
            .opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .tokens = tokens, .rows = ROWS, .cols = COLS};
        program[i].src = src;
        program[i].dst = dst;
        rc = put_bytes(card, matrix, &program[i].weight, err);
    }
    double wall = 1e9, cpu = 1e9;
    for (int i = 0; i < REPEATS && !rc; i++) {
        const double wall_start = seconds(CLOCK_MONOTONIC), cpu_start = seconds(CLOCK_THREAD_CPUTIME_ID);
        rc = card_submit(card, program, MATRICES, NULL, 0, NULL, err);
        const double wall_now = seconds(CLOCK_MONOTONIC) - wall_start;
        const double cpu_now = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
        wall = wall_now < wall ? wall_now : wall;
        cpu = cpu_now < cpu ? cpu_now : cpu;
    }
    if (rc) return rc;
    printf("{\"name\":\"matmul_speed\",\"card\":\"%s\",\"format\":\"%s\",\"rows\":%d,\"cols\":%d,\"tokens\":%u,"
           "\"threads\":%u,"
           "\"weights_gb_per_s_wall\":%.2f,\"weights_gb_per_s_cpu\":%.2f,\"gmac_per_s_wall\":%.1f}\n",
           card_name, names[format], ROWS, COLS, tokens, threads, (double)(MATRICES * matrix) / wall / 1e9,
           (double)(MATRICES * matrix) / cpu / 1e9, (double)MATRICES * ROWS * COLS * tokens / wall / 1e9);
    return card_reset(card, err);
}

int main(int argc, char **argv)
{
    const unsigned threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    const uint32_t tokens = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    const struct card_options options = {.threads = threads, .memory_bytes = 1u << 30};
    char spec[64] = "sim";
    if (argc > 3) snprintf(spec, sizeof spec, "sim:simd=%s", argv[3]);
    struct card_info info = {0};
    struct error err;
    struct card *card;
    int rc = card_open(spec, &options, &card, &err);
    if (!rc) card_describe(card, &info);
    for (unsigned format = CARD_FORMAT_INT4; format < CARD_FORMAT_END && !rc; format++) {
        rc = measure(card, info.name, format, threads, tokens, &err);
    }
    if (rc) fprintf(stderr, "matmul_speed: %s\n", err.text);
    card_close(card);
    return rc ? 1 : 0;
}
