/* SPDX-License-Identifier: Apache-2.0 */
/* ADD, SCALE, SOFT_CAP and DECAY: functions of one element of src and its partners. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

/* The partners of an element: of its column, of its place in all of src, or one for its token. */
struct partners {
    int weight_by_column, weight_by_place, weight_by_token, aux_by_column;
};

struct element {
    uint32_t opcode;
    float p, inverse, weight; /* P0, its reciprocal; weight of the token, 1 if it has none */
};

static float element_value(const struct element *e, float x, float weight, float aux)
{
    HLS_INLINE
    switch (e->opcode) {
    case CARD_OP_ADD: return card_fma(e->p, weight, x);
    case CARD_OP_SCALE: return (x * e->p) * e->weight; /* times 1 changes nothing */
    case CARD_OP_SOFT_CAP: return e->p * card_tanh(x * e->inverse);
    default: return weight * card_softplus(x + aux);
    }
}

static void element_words(const struct element *e, struct hls_word *x, const struct hls_word *weight,
                          const struct hls_word *aux, uint32_t words)
{
element_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(1, 256)
        /* II 4, though nothing is carried: four lanes' tanh and softplus serve the 16, and loads and a store of the
         * same words take as long. */
        HLS_PIPELINE(4)
    element_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float value =
                element_value(e, card_float(x[i].lane[l]), card_float(weight[i].lane[l]), card_float(aux[i].lane[l]));
            x[i].lane[l] = hls_result(value);
        }
    }
}

static void run_elements(HLS_BANKS, const struct hls_step *step, const struct partners *with)
{
    HLS_NO_INLINE
    struct hls_word x[HLS_CHUNK_WORDS], weight[HLS_CHUNK_WORDS] = {{{0}}}, aux[HLS_CHUNK_WORDS] = {{{0}}};
    HLS_WIDE(x)
    HLS_WIDE(weight)
    HLS_WIDE(aux)
    const float p = card_float(step->param[0]);
    struct element e = {.opcode = step->opcode, .p = p, .inverse = card_recip(p), .weight = 1.0f};
    /* A token at a time where columns or tokens have partners, else all as one row. */
    const int by_row = with->weight_by_column || with->weight_by_token || with->aux_by_column;
    const uint64_t all = (uint64_t)step->tokens * step->cols;
    const uint64_t n = by_row ? step->cols : all, rows = by_row ? step->tokens : 1;
element_rows:
    for (uint64_t row = 0; row < rows; row++) {
        HLS_TRIPS(1, 4096)
        if (with->weight_by_token) e.weight = card_float(hls_load_one(HLS_BANK_ARGS, step->weight + 4 * row));
    element_chunks:
        for (uint64_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4096)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            const uint64_t at = 4 * (row * n + from);
            hls_load(HLS_BANK_ARGS, step->src + at, part, x);
            if (with->weight_by_place) hls_load(HLS_BANK_ARGS, step->weight + at, part, weight);
            if (with->weight_by_column) hls_load(HLS_BANK_ARGS, step->weight + 4 * from, part, weight);
            if (with->aux_by_column) hls_load(HLS_BANK_ARGS, step->aux + 4 * from, part, aux);
            element_words(&e, x, weight, aux, hls_words(part));
            hls_store(HLS_BANK_ARGS, step->dst + at, part, x);
        }
    }
}

void hls_add(HLS_BANKS, const struct hls_step *step)
{
    const int broadcast = (step->flags & CARD_FLAG_BROADCAST) != 0;
    const struct partners with = {.weight_by_column = broadcast, .weight_by_place = !broadcast};
    run_elements(HLS_BANK_ARGS, step, &with);
}

void hls_scale(HLS_BANKS, const struct hls_step *step)
{
    const struct partners with = {.weight_by_token = (step->flags & CARD_FLAG_PER_TOKEN) != 0};
    run_elements(HLS_BANK_ARGS, step, &with);
}

void hls_soft_cap(HLS_BANKS, const struct hls_step *step)
{
    const struct partners with = {.weight_by_column = 0};
    run_elements(HLS_BANK_ARGS, step, &with);
}

void hls_decay(HLS_BANKS, const struct hls_step *step)
{
    const struct partners with = {.weight_by_column = 1, .aux_by_column = 1};
    run_elements(HLS_BANK_ARGS, step, &with);
}
