/* SPDX-License-Identifier: Apache-2.0 */
/* MATMUL and EXPERT_MATMUL: which rows of activations meet which matrix. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

void hls_matmul_rows(HLS_BANKS, const struct hls_step *step, card_addr matrix, const struct hls_rows *rows)
{
    HLS_NO_INLINE
    if (step->format == CARD_FORMAT_F32)
        hls_matmul_float(HLS_BANK_ARGS, step, matrix, rows);
    else
        hls_matmul_quantized(HLS_BANK_ARGS, step, matrix, rows);
}

void hls_matmul(HLS_BANKS, const struct hls_step *step)
{
matmul_tokens:
    for (uint32_t t = 0; t < step->tokens; t += HLS_TOKENS) {
        HLS_TRIPS(1, 512)
        struct hls_rows rows = {.n = hls_min(step->tokens - t, HLS_TOKENS), .src_rows = step->tokens};
    matmul_rows:
        for (uint32_t i = 0; i < HLS_TOKENS; i++) {
            HLS_UNROLL
            rows.src_row[i] = t + i;
            rows.dst_row[i] = t + i;
        }
        hls_matmul_rows(HLS_BANK_ARGS, step, step->weight, &rows);
    }
}

/*
 * Takes the rows of the expert that choice `from` of the window names, HLS_TOKENS at most, off the window. base: number
 * of the window's first choice; divisor: choices that share a row of activations.
 */
static struct hls_rows take_rows(const uint32_t expert[HLS_WINDOW], uint32_t taken[HLS_WINDOW], uint32_t from,
                                 uint32_t count, uint32_t base, uint32_t divisor)
{
    struct hls_rows rows = {0};
take_choices:
    for (uint32_t i = from; i < count; i++) {
        HLS_TRIPS(1, 64)
        HLS_PIPELINE(1) /* carried: n, an addition of one cycle */
        if (taken[i] == 0 && expert[i] == expert[from] && rows.n < HLS_TOKENS) {
            rows.src_row[rows.n] = (base + i) / divisor;
            rows.dst_row[rows.n] = base + i;
            rows.n++;
            taken[i] = 1;
        }
    }
    return rows;
}

void hls_expert_matmul(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word choice[HLS_WINDOW / 8];
    uint32_t expert[HLS_WINDOW], taken[HLS_WINDOW];
    const int per_choice = (step->flags & CARD_FLAG_PER_CHOICE) != 0;
    const uint32_t choices = step->tokens * step->param[0], divisor = per_choice ? 1 : step->param[0];
expert_windows:
    for (uint32_t base = 0; base < choices; base += HLS_WINDOW) {
        HLS_TRIPS(1, 16384)
        const uint32_t count = hls_min(choices - base, HLS_WINDOW);
        hls_load(HLS_BANK_ARGS, step->aux + 8ull * base, 2 * count, choice);
    window_choices:
        for (uint32_t i = 0; i < count; i++) {
            HLS_TRIPS(1, 64)
            HLS_PIPELINE(1) /* nothing carried */
            expert[i] = choice[i / 8].lane[i % 8 * 2];
            taken[i] = 0;
        }
    window_experts:
        for (uint32_t i = 0; i < count; i++) {
            HLS_TRIPS(1, 64)
            if (taken[i] == 0) {
                struct hls_word slot[1];
                struct hls_rows rows = take_rows(expert, taken, i, count, base, divisor);
                rows.src_rows = per_choice ? choices : step->tokens;
                hls_load(HLS_BANK_ARGS, step->weight + 8ull * expert[i], 2, slot);
                const card_addr matrix = (uint64_t)slot[0].lane[1] << 32 | slot[0].lane[0];
                hls_matmul_rows(HLS_BANK_ARGS, step, matrix, &rows);
            }
        }
    }
}
