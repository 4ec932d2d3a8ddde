/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/rtl/vectors.h"

#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_math.h"
#include "sim/executor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const vector_kind_name[VECTOR_KINDS] = {"usual", "zeros",   "cancel", "extreme",
                                                    "large", "special", "border"};

uint64_t vector_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

static uint32_t below(uint64_t *state, uint32_t n) { return (uint32_t)((vector_random(state) >> 32) * n >> 32); }

/* ---- the arithmetic of the contract, written without a float mode ---- */

static uint32_t flushed(float value)
{
    if (isnan(value)) return 0x7fc00000u;
    return fabsf(value) < 0x1p-126f ? card_bits(value) & 0x80000000u : card_bits(value);
}

/*
 * What decides is the value rounded to 24 bits as if exponents had no end: the same operation on operands 2^64 times as
 * large shows it. IEEE's gradual result alone would not: just below 2^-126 it may have been rounded up to it.
 */
static uint32_t flushed_by(float value, float as_64_times)
{
    return flushed(fabsf(as_64_times) < 0x1p-62f ? copysignf(0, value) : value);
}

uint32_t vector_scale_product(uint16_t half, uint32_t single)
{
    const float ws = card_f16_to_f32(half), as = card_float(flushed(card_float(single)));
    if (fabsf(as) > 1) return flushed(ws * as);
    return flushed_by(ws * as, ws * (as * 0x1p64f));
}

uint32_t vector_dot_fma(uint32_t scale, int32_t dot, uint32_t acc)
{
    const float s = card_float(flushed(card_float(scale))), a = card_float(flushed(card_float(acc)));
    const float value = card_fma(s, (float)dot, a);
    if (!(fabsf(value) < 1) || value == 0) return flushed(value);
    return flushed_by(value, card_fma(s * 0x1p64f, (float)dot, a * 0x1p64f));
}

uint32_t vector_border_single(uint16_t half) { return card_bits((float)(0x1p-126 / (double)card_f16_to_f32(half))); }

/* ---- random cases ---- */

static uint16_t random_scale(enum vector_kind kind, uint64_t *state)
{
    const uint16_t sign = (uint16_t)(below(state, 2) << 15), fraction = (uint16_t)below(state, 1024);
    switch (kind) {
    case VECTOR_ZEROS:
        if (below(state, 3) == 0) return sign;
        break;
    case VECTOR_CANCEL: return (uint16_t)(sign | 0x2c00u | (below(state, 4) == 0 ? 1u : 0u));
    case VECTOR_LARGE: return (uint16_t)(sign | (28u + below(state, 3)) << 10 | fraction);
    case VECTOR_SPECIAL:
        if (below(state, 6) == 0) return (uint16_t)(sign | 0x7c00u);
        if (below(state, 40) == 0) return (uint16_t)(sign | 0x7c00u | fraction);
        break;
    case VECTOR_BORDER: return (uint16_t)(sign | below(state, 6) << 10 | fraction);
    default: break;
    }
    return (uint16_t)(sign | (5u + below(state, 10)) << 10 | fraction);
}

static float random_act_scale(enum vector_kind kind, uint64_t *state)
{
    const float fraction = 1.0f + (float)below(state, 1u << 23) * 0x1p-23f;
    switch (kind) {
    case VECTOR_ZEROS: return below(state, 3) == 0 ? 0.0f : fraction * 0x1p-6f;
    case VECTOR_CANCEL: return 0.125f;
    case VECTOR_LARGE: return ldexpf(fraction, 85 + (int)below(state, 30));
    case VECTOR_SPECIAL:
        if (below(state, 24) == 0) return CARD_NAN;
        return below(state, 24) == 0 ? 0.0f : fraction;
    case VECTOR_BORDER: return ldexpf(fraction, -129 + (int)below(state, 18));
    default: return ldexpf(fraction, -12 + (int)below(state, 8));
    }
}

static void fill_block(uint8_t *block, enum vector_kind kind, uint64_t *state)
{
    for (uint32_t i = 0; i < 32; i++) {
        const uint16_t half = random_scale(kind, state);
        memcpy(block + 2 * i, &half, 2);
    }
    for (uint32_t i = 64; i < card_block_bytes(CARD_FORMAT_INT4); i++) {
        block[i] = (uint8_t)below(state, 256);
        if (kind == VECTOR_EXTREME) block[i] = below(state, 8) ? 0x00 : 0xff;
    }
}

static void fill_activations(struct vector_case *v, enum vector_kind kind, uint64_t *state)
{
    const uint32_t groups = (uint32_t)card_act_groups(v->cols);
    int32_t *sum = (int32_t *)(void *)(v->act + card_act_sum_offset(1, v->cols));
    for (uint32_t g = 0; g < groups; g++) {
        const float scale = random_act_scale(kind, state);
        memcpy(v->act + card_act_scale_offset(1, v->cols) + 4 * g, &scale, 4);
        for (uint32_t c = 32 * g; c < 32 * g + 32; c++) {
            int value = c < v->cols ? (int)below(state, 255) - 127 : 0;
            if (kind == VECTOR_EXTREME && c < v->cols) value = below(state, 16) ? 127 : -127;
            if (kind == VECTOR_CANCEL && g % 2) value = -(int8_t)v->act[c - 32];
            v->act[c] = (uint8_t)value;
            sum[g] += value;
        }
    }
    /* In a block that cancels both groups have the same weights. */
    for (uint32_t b = 0; kind == VECTOR_CANCEL && b < v->tiles * v->blocks; b++) {
        uint8_t *block = v->matrix + (size_t)b * card_block_bytes(CARD_FORMAT_INT4);
        memcpy(block + 64 + 256, block + 64, 256);
    }
}

static int nibble(const uint8_t *block, uint32_t group, uint32_t row, uint32_t col)
{
    const uint8_t byte = block[64 + 256 * group + 64 * (col / 8) + 4 * row + col % 4];
    return (col % 8 < 4 ? byte & 15 : byte >> 4) - 8;
}

static uint32_t contract_row(const struct vector_case *v, uint32_t row)
{
    uint32_t acc = 0;
    for (uint32_t g = 0; g < 2 * v->blocks; g++) {
        const uint8_t *block =
            v->matrix + ((size_t)(row / 16) * v->blocks + g / 2) * card_block_bytes(CARD_FORMAT_INT4);
        uint16_t half;
        uint32_t single;
        memcpy(&half, block + 32 * (g % 2) + 2 * (row % 16), 2);
        memcpy(&single, v->act + card_act_scale_offset(1, v->cols) + 4 * g, 4);
        int32_t dot = 0;
        for (uint32_t c = 0; c < 32; c++) dot += nibble(block, g % 2, row % 16, c) * (int8_t)v->act[32 * g + c];
        acc = vector_dot_fma(vector_scale_product(half, single), dot, acc);
    }
    return acc;
}

/*
 * Half of the activation scales become what makes one row's product 2^-126 or one of its neighbours, so that it is the
 * rounding to 24 bits that decides between 2^-126 and zero. The halves are normal here or made so.
 */
static void meet_the_border(struct vector_case *v, uint64_t *state)
{
    for (uint32_t g = 0; g < (uint32_t)card_act_groups(v->cols); g++) {
        uint8_t *half = v->matrix + (g / 2) * card_block_bytes(CARD_FORMAT_INT4) + 32 * (g % 2) + 2 * below(state, 16);
        if (below(state, 2)) continue;
        const uint16_t normal = (uint16_t)(half[0] | (half[1] & 0x83) << 8 | (1 + below(state, 8)) << 10);
        memcpy(half, &normal, 2);
        const uint32_t single = vector_border_single(normal) + below(state, 3) - 1;
        memcpy(v->act + card_act_scale_offset(1, v->cols) + 4 * g, &single, 4);
    }
}

/* ---- the simulated card ---- */

#define SIM_BYTES (64u << 20)

static uint64_t whole_bank(const void *context, card_addr address)
{
    (void)context;
    return SIM_BYTES - CARD_ADDR_OFFSET(address);
}

static int run_sim(const struct vector_case *v)
{
    struct error err = {0};
    struct sim_memory memory = {0};
    struct sim_executor *executor = NULL;
    struct sim_account account = {0};
    const uint64_t matrix_bytes = card_matrix_bytes(CARD_FORMAT_INT4, v->rows, v->cols);
    struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = CARD_FORMAT_INT4, .tokens = 1};
    d.rows = v->rows;
    d.cols = v->cols;
    d.weight = CARD_ADDR(0, 0);
    d.src = CARD_ADDR(0, matrix_bytes);
    d.dst = CARD_ADDR(0, card_round_up(matrix_bytes + card_act_bytes(1, v->cols), 64));
    int failed = -1;
    if (sim_memory_open(&memory, 1, SIM_BYTES, whole_bank, NULL, &err)) goto out;
    memcpy(memory.bank[0].base, v->matrix, matrix_bytes);
    memcpy(memory.bank[0].base + d.src, v->act, card_act_bytes(1, v->cols));
    if (sim_open(1, NULL, &memory, &executor, &err) || sim_run(executor, &d, 1, &account, &err)) goto close;
    memcpy(v->sim, memory.bank[0].base + d.dst, 4ull * v->rows);
    failed = 0;
close:
    sim_close(executor);
    sim_memory_close(&memory);
out:
    if (failed) fprintf(stderr, "vectors: the simulated card failed: %s\n", err.text);
    return failed;
}

int vector_case_make(struct vector_case *v, enum vector_kind kind, uint32_t rows, uint32_t cols, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (int i = 0; i < 8; i++) vector_random(&state);
    *v = (struct vector_case){.rows = rows, .cols = cols, .tiles = (rows + 15) / 16, .blocks = (cols + 63) / 64};
    v->matrix = calloc(v->tiles * v->blocks, card_block_bytes(CARD_FORMAT_INT4));
    v->act = calloc(1, card_act_bytes(1, cols));
    v->expected = calloc(16ull * v->tiles, 4);
    v->sim = calloc(rows, 4);
    if (!v->matrix || !v->act || !v->expected || !v->sim) {
        fprintf(stderr, "vectors: no memory\n");
        return -1;
    }
    for (uint32_t b = 0; b < v->tiles * v->blocks; b++)
        fill_block(v->matrix + (size_t)b * card_block_bytes(CARD_FORMAT_INT4), kind, &state);
    fill_activations(v, kind, &state);
    if (kind == VECTOR_BORDER) meet_the_border(v, &state);
    for (uint32_t r = 0; r < 16 * v->tiles; r++) v->expected[r] = contract_row(v, r);
    return run_sim(v);
}

void vector_case_free(struct vector_case *v)
{
    free(v->matrix);
    free(v->act);
    free(v->expected);
    free(v->sim);
    *v = (struct vector_case){0};
}
