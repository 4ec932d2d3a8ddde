/* SPDX-License-Identifier: Apache-2.0 */
/* KV_WRITE: items are KV heads, so two tokens that name one slot write it in the order of the batch. */
#include "sim/internal.h"
#include "sim/kv_pages.h"

static void kv_write_part(void *job, uint32_t begin, uint32_t end, unsigned worker)
{
    (void)worker;
    const struct sim_step *step = job;
    const struct card_descriptor *d = step->d;
    const uint32_t key_dims = d->cols, value_dims = d->param[1];
    const size_t key_bytes = (size_t)card_page_block_bytes(d->format, key_dims);
    const size_t value_bytes = (size_t)card_page_block_bytes(d->format, value_dims);
    const size_t page_bytes = (size_t)card_page_bytes(d->format, d->rows, key_dims, value_dims);
    for (uint32_t t = 0; t < d->tokens; t++) {
        const struct card_batch_token *token = sim_step_batch(step) + t;
        const uint32_t entry = token->position / CARD_PAGE_TOKENS, slot = token->position % CARD_PAGE_TOKENS;
        uint8_t *keys = sim_step_page(step, sim_step_pages(step)[(size_t)token->first_page + entry], page_bytes);
        uint8_t *values = keys + d->rows * key_bytes;
        for (uint32_t h = begin; h < end; h++) {
            const size_t vector = (size_t)t * d->rows + h;
            kv_write_vector(keys + h * key_bytes, d->format, key_dims, slot,
                            (const float *)step->src + vector * key_dims);
            if (value_dims == 0) continue;
            kv_write_vector(values + h * value_bytes, d->format, value_dims, slot,
                            (const float *)step->weight + vector * value_dims);
        }
    }
}

void sim_kv_write(struct pool *pool, const struct sim_step *step, void *scratch)
{
    (void)scratch;
    uint64_t work = 2ull * step->d->tokens * (step->d->cols + step->d->param[1]);
    pool_run(pool, step->d->rows, sim_grain(work), kv_write_part, (void *)step);
}
