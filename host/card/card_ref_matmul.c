/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference: matrices of floats. */
#include "host/card/card_ref.h"

/* Row `row` of a matrix at `address`, dealt over `banks`. */
static const float *matrix_row(const struct sim_step *s, card_addr address, uint32_t banks, uint32_t row)
{
    const uint32_t cols = s->d->cols, tile = row / CARD_TILE_ROWS;
    const uint64_t tile_bytes = card_tile_bytes(CARD_FORMAT_F32, cols);
    return ref_row(sim_step_tile(s->memory, address, tile, banks, tile_bytes), row % CARD_TILE_ROWS, cols);
}

void ref_matmul(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    for (size_t t = 0; t < d->tokens; t++) {
        float *dst = ref_result(s, t, d->rows);
        for (uint32_t r = 0; r < d->rows; r++) {
            double sum = ref_dot(matrix_row(s, d->weight, d->param[0], r), ref_row(s->src, t, d->cols), d->cols);
            if (s->aux) sum += *ref_row(s->aux, r, 1);
            if (sim_step_has(s, CARD_FLAG_ADD)) sum += dst[r];
            dst[r] = (float)sum;
        }
    }
}

void ref_expert_matmul(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const size_t choices = (size_t)d->tokens * d->param[0];
    for (size_t i = 0; i < choices; i++) {
        const size_t expert = s->aux ? ((const struct card_choice *)s->aux)[i].expert : i % d->param[0];
        if (s->aux && expert == CARD_NO_EXPERT) continue;
        const card_addr slot = ((const card_addr *)s->weight)[expert];
        const float *x = ref_row(s->src, sim_step_has(s, CARD_FLAG_PER_CHOICE) ? i : i / d->param[0], d->cols);
        float *dst = ref_result(s, i, d->rows);
        for (uint32_t r = 0; r < d->rows; r++) {
            const double bias = s->e_src ? ref_row(s->e_src, expert, d->rows)[r] : 0;
            dst[r] = (float)(ref_dot(matrix_row(s, slot, d->param[2], r), x, d->cols) + bias);
        }
    }
}
