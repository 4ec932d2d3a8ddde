/* SPDX-License-Identifier: Apache-2.0 */
/* MATMUL and EXPERT_MATMUL: which rows of activations meet which matrix. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

void hls_matmul_rows(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                     const struct hls_rows *rows)
{
    HLS_NO_INLINE
    if (step->format == CARD_FORMAT_F32)
        hls_matmul_float(HLS_BANK_ARGS, step, matrix, rows);
    else
        hls_matmul_quantized(HLS_BANK_ARGS, step, matrix, rows);
}

void hls_matmul(HLS_BANKS, const struct hls_step *step)
{
    const struct hls_matrix matrix = {.at = step->weight,
                                      .banks = step->param[0],
                                      .has_bias = (step->flags & CARD_FLAG_BIAS) != 0,
                                      .bias = step->aux};
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
        hls_matmul_rows(HLS_BANK_ARGS, step, &matrix, &rows);
    }
}

/* The matrix in an expert's slot. */
static struct hls_matrix expert_matrix(HLS_BANKS, const struct hls_step *step, uint32_t expert)
{
    struct hls_word slot[1];
    hls_load(HLS_BANK_ARGS, step->weight + 8ull * expert, 2, slot);
    const struct hls_matrix matrix = {.at = (uint64_t)slot[0].lane[1] << 32 | slot[0].lane[0],
                                      .banks = step->param[2],
                                      .has_bias = (step->e_flags & CARD_FLAG_BIAS) != 0,
                                      .bias = step->e_src + 4ull * expert * step->rows};
    return matrix;
}

/* Choices of a window: the numbers of their experts, and whether their rows have been taken. */
struct window {
    uint32_t base, count; /* number of its first choice; how many there are */
    uint32_t expert[HLS_WINDOW], taken[HLS_WINDOW];
};

/* Takes the rows of the expert that choice `from` of the window names, HLS_TOKENS at most, off the window. */
static struct hls_rows take_rows(struct window *window, uint32_t from, uint32_t divisor)
{
    struct hls_rows rows = {0};
take_choices:
    for (uint32_t i = from; i < window->count; i++) {
        HLS_TRIPS(1, 64)
        HLS_PIPELINE(1) /* carried: n, an addition of one cycle */
        if (window->taken[i] == 0 && window->expert[i] == window->expert[from] && rows.n < HLS_TOKENS) {
            rows.src_row[rows.n] = (window->base + i) / divisor;
            rows.dst_row[rows.n] = window->base + i;
            rows.n++;
            window->taken[i] = 1;
        }
    }
    return rows;
}

/* divisor: choices that share a row of the src_rows of activations. */
static void chosen_experts(HLS_BANKS, const struct hls_step *step, uint32_t src_rows, uint32_t divisor)
{
    struct hls_word choice[HLS_WINDOW / 8];
    struct window window;
    const uint32_t choices = step->tokens * step->param[0];
expert_windows:
    for (uint32_t base = 0; base < choices; base += HLS_WINDOW) {
        HLS_TRIPS(1, 16384)
        window.base = base;
        window.count = hls_min(choices - base, HLS_WINDOW);
        hls_load(HLS_BANK_ARGS, step->aux + 8ull * base, 2 * window.count, choice);
    window_choices:
        for (uint32_t i = 0; i < window.count; i++) {
            HLS_TRIPS(1, 64)
            HLS_PIPELINE(1) /* nothing carried */
            window.expert[i] = choice[i / 8].lane[i % 8 * 2];
            window.taken[i] = window.expert[i] == CARD_NO_EXPERT;
        }
    window_experts:
        for (uint32_t i = 0; i < window.count; i++) {
            HLS_TRIPS(1, 64)
            if (window.taken[i] == 0) {
                const struct hls_matrix matrix = expert_matrix(HLS_BANK_ARGS, step, window.expert[i]);
                struct hls_rows rows = take_rows(&window, i, divisor);
                rows.src_rows = src_rows;
                hls_matmul_rows(HLS_BANK_ARGS, step, &matrix, &rows);
            }
        }
    }
}

/* EACH: choice j of every token is expert j. */
static void each_expert(HLS_BANKS, const struct hls_step *step, uint32_t src_rows, uint32_t divisor)
{
    const uint32_t experts = step->param[0];
each_experts:
    for (uint32_t e = 0; e < experts; e++) {
        HLS_TRIPS(1, 256)
        const struct hls_matrix matrix = expert_matrix(HLS_BANK_ARGS, step, e);
    each_tokens:
        for (uint32_t t = 0; t < step->tokens; t += HLS_TOKENS) {
            HLS_TRIPS(1, 512)
            struct hls_rows rows = {.n = hls_min(step->tokens - t, HLS_TOKENS), .src_rows = src_rows};
        each_rows:
            for (uint32_t i = 0; i < HLS_TOKENS; i++) {
                HLS_UNROLL
                rows.dst_row[i] = (t + i) * experts + e;
                rows.src_row[i] = rows.dst_row[i] / divisor;
            }
            hls_matmul_rows(HLS_BANK_ARGS, step, &matrix, &rows);
        }
    }
}

void hls_expert_matmul(HLS_BANKS, const struct hls_step *step)
{
    const int per_choice = (step->flags & CARD_FLAG_PER_CHOICE) != 0;
    const uint32_t src_rows = per_choice ? step->tokens * step->param[0] : step->tokens;
    const uint32_t divisor = per_choice ? 1 : step->param[0];
    if ((step->flags & CARD_FLAG_EACH) != 0)
        each_expert(HLS_BANK_ARGS, step, src_rows, divisor);
    else
        chosen_experts(HLS_BANK_ARGS, step, src_rows, divisor);
}
