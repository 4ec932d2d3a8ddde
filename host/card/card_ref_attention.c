/* SPDX-License-Identifier: Apache-2.0 */
/* The float reference: KV pages, attention over them, and the choice of the positions that attention is to see. */
#include "host/card/card_ref.h"

#include "kernels/abi/card_math.h"

#include <stdlib.h>

/* ---- pages ---- */

/* One vector in a page: slot `slot` of the block of one KV head's keys or values, of `dims` dimensions. */
struct vector_place {
    uint8_t *block;
    unsigned format;
    uint32_t dims, slot;
};

/* Where the halves of group g of the vector lie: its scale, and INT4's minimum. */
static uint8_t *half_at(const struct vector_place *v, size_t g, int minimum)
{
    const size_t groups = card_round_up(v->dims, CARD_GROUP_COLS) / CARD_GROUP_COLS;
    const size_t group_bytes = v->format == CARD_FORMAT_INT4 ? CARD_GROUP_COLS / 2 : CARD_GROUP_COLS;
    uint8_t *scales = v->block + CARD_PAGE_TOKENS * groups * group_bytes;
    return scales + 2 * ((minimum ? CARD_PAGE_TOKENS * groups : 0) + v->slot * groups + g);
}

static uint8_t *group_at(const struct vector_place *v, size_t g)
{
    const size_t groups = card_round_up(v->dims, CARD_GROUP_COLS) / CARD_GROUP_COLS;
    const size_t group_bytes = v->format == CARD_FORMAT_INT4 ? CARD_GROUP_COLS / 2 : CARD_GROUP_COLS;
    return v->block + (v->slot * groups + g) * group_bytes;
}

static double load_dimension(const struct vector_place *v, size_t i)
{
    const size_t at = (size_t)v->slot * v->dims + i, g = i / CARD_GROUP_COLS, c = i % CARD_GROUP_COLS;
    if (v->format == CARD_FORMAT_F32) return load_f32(v->block + 4 * at);
    if (v->format == CARD_FORMAT_F16) return card_f16_to_f32(load_u16(v->block + 2 * at));
    const double scale = card_f16_to_f32(load_u16(half_at(v, g, 0)));
    if (v->format == CARD_FORMAT_INT8) return scale * (int8_t)group_at(v, g)[c];
    const unsigned byte = group_at(v, g)[c % 16], q = c < 16 ? byte & 15u : byte >> 4;
    return scale * q + card_f16_to_f32(load_u16(half_at(v, g, 1)));
}

/* A group of n <= 32 values in INT8 or INT4. Not finite, or beyond a half's range: its scale is NaN. */
static void store_group(const struct vector_place *v, size_t g, const float *x, size_t n)
{
    const int is4 = v->format == CARD_FORMAT_INT4;
    double low = x[0], high = x[0];
    int good = 1;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
        good &= fabsf(x[i]) <= 65504;
    }
    const double span = is4 ? (high - low) / 15 : fmax(high, -low) / 127;
    const uint16_t scale_bits = good ? card_f32_to_f16((float)span) : 0x7e00;
    const uint16_t min_bits = good ? card_f32_to_f16((float)low) : 0x7e00;
    const double scale = card_f16_to_f32(scale_bits), min = is4 ? card_f16_to_f32(min_bits) : 0;
    store_u16(half_at(v, g, 0), scale_bits);
    if (is4) store_u16(half_at(v, g, 1), min_bits);
    uint8_t *q = group_at(v, g);
    memset(q, 0, is4 ? CARD_GROUP_COLS / 2 : CARD_GROUP_COLS);
    for (size_t i = 0; i < n && good && scale > 0; i++) {
        const double ratio = rint((x[i] - min) / scale);
        if (is4)
            q[i % 16] |= (uint8_t)((unsigned)fmin(fmax(ratio, 0), 15) << (i < 16 ? 0 : 4));
        else
            q[i] = (uint8_t)(int8_t)fmin(fmax(ratio, -127), 127);
    }
}

static void store_vector(const struct vector_place *v, const float *x)
{
    const size_t at = (size_t)v->slot * v->dims;
    if (v->format == CARD_FORMAT_F32) {
        memcpy(v->block + 4 * at, x, (size_t)v->dims * 4);
    } else if (v->format == CARD_FORMAT_F16) {
        for (size_t i = 0; i < v->dims; i++) store_u16(v->block + 2 * (at + i), card_f32_to_f16(x[i]));
    } else {
        for (size_t i = 0; i < v->dims; i += CARD_GROUP_COLS) {
            const size_t left = v->dims - i;
            store_group(v, i / CARD_GROUP_COLS, x + i, left < CARD_GROUP_COLS ? left : CARD_GROUP_COLS);
        }
    }
}

/* Shape of a pool's pages. */
struct pages {
    uint32_t kv_heads, key_dims, value_dims; /* value_dims 0: keys only */
};

/* The page that holds a position of the token's sequence. */
static uint8_t *page_at(const struct sim_step *s, const struct pages *pages, uint32_t token, uint32_t position)
{
    const size_t entry = (size_t)sim_step_batch(s)[token].first_page + position / CARD_PAGE_TOKENS;
    const size_t bytes = card_page_bytes(s->d->format, pages->kv_heads, pages->key_dims, pages->value_dims);
    return sim_step_page(s, sim_step_pages(s)[entry], bytes);
}

static struct vector_place key_at(const struct sim_step *s, const struct pages *pages, uint32_t token,
                                  uint32_t position, uint32_t kv_head)
{
    const size_t block = card_page_block_bytes(s->d->format, pages->key_dims);
    return (struct vector_place){page_at(s, pages, token, position) + kv_head * block, s->d->format, pages->key_dims,
                                 position % CARD_PAGE_TOKENS};
}

static struct vector_place value_at(const struct sim_step *s, const struct pages *pages, uint32_t token,
                                    uint32_t position, uint32_t kv_head)
{
    const size_t keys = pages->kv_heads * card_page_block_bytes(s->d->format, pages->key_dims);
    const size_t block = card_page_block_bytes(s->d->format, pages->value_dims);
    return (struct vector_place){page_at(s, pages, token, position) + keys + kv_head * block, s->d->format,
                                 pages->value_dims, position % CARD_PAGE_TOKENS};
}

void ref_kv_write(const struct sim_step *s)
{
    const struct card_descriptor *d = s->d;
    const struct pages pages = {d->rows, d->cols, d->param[1]};
    for (uint32_t t = 0; t < d->tokens; t++) {
        const uint32_t position = sim_step_batch(s)[t].position;
        for (uint32_t h = 0; h < d->rows; h++) {
            const size_t row = (size_t)t * d->rows + h;
            const struct vector_place key = key_at(s, &pages, t, position, h);
            store_vector(&key, ref_row(s->src, row, d->cols));
            if (pages.value_dims == 0) continue;
            const struct vector_place value = value_at(s, &pages, t, position, h);
            store_vector(&value, ref_row(s->weight, row, pages.value_dims));
        }
    }
}

/* ---- attention ---- */

/* query . key of one position, times P1. */
static double key_score(const struct sim_step *s, const struct pages *pages, uint32_t token, uint32_t position,
                        uint32_t kv_head, const float *query)
{
    const struct vector_place key = key_at(s, pages, token, position, kv_head);
    double sum = 0;
    for (size_t i = 0; i < pages->key_dims; i++) sum += query[i] * load_dimension(&key, i);
    return sum * sim_step_float(s, 1);
}

/* The score of one position for one query head, with soft-cap and bias by distance. */
static double attention_score(const struct sim_step *s, const struct pages *pages, uint32_t token, uint32_t head,
                              uint32_t position)
{
    const struct card_descriptor *d = s->d;
    const float *query = ref_row(s->src, (size_t)token * d->rows + head, d->cols);
    double score = key_score(s, pages, token, position, head / (d->rows / d->param[2]), query);
    const double cap = float_of_bits(sim_step_e_param(s, 0));
    if (cap != 0) score = cap * tanh(score / cap);
    if (s->e_weight) {
        const int64_t most = s->e->param[2];
        int64_t distance = (int64_t)position - sim_step_batch(s)[token].position;
        distance = distance > most ? most : distance < -most ? -most : distance;
        score += ref_row(s->e_weight, head, 2 * (size_t)most + 1)[distance + most];
    }
    return score;
}

/* One query head of one token: an online softmax in double, so that scores are made once. */
static void attend(const struct sim_step *s, const struct pages *pages, uint32_t token, uint32_t head)
{
    const struct card_descriptor *d = s->d;
    const uint32_t values = card_attention_values(d, s->e), kv_head = head / (d->rows / d->param[2]);
    const struct sim_span span = sim_step_seen(s, token);
    const uint32_t *sparse = sim_step_sparse(s, token);
    const uint32_t n = sparse ? s->e->param[3] : span.to > span.from ? span.to - span.from : 0;
    double acc[CARD_MAX_HEAD_DIM] = {0}, largest = -INFINITY, sum = 0;
    uint32_t seen = 0;
    if (s->e_src) {
        largest = *ref_row(s->e_src, head, 1);
        sum = 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t position = sparse ? sparse[i] : span.from + i;
        if (position == CARD_NO_POSITION) break;
        if (position < span.from || position >= span.to) continue;
        seen++;
        const double score = attention_score(s, pages, token, head, position);
        if (score > largest) {
            const double shrink = exp(largest - score);
            sum *= shrink;
            for (size_t k = 0; k < values; k++) acc[k] *= shrink;
            largest = score;
        }
        const double weight = exp(score - largest);
        const struct vector_place value = pages->value_dims ? value_at(s, pages, token, position, kv_head)
                                                            : key_at(s, pages, token, position, kv_head);
        sum += weight;
        for (size_t k = 0; k < values; k++) acc[k] += weight * load_dimension(&value, k);
    }
    float *dst = ref_result(s, (size_t)token * d->rows + head, values);
    for (size_t k = 0; k < values; k++) dst[k] = seen ? (float)(acc[k] / sum) : 0;
}

void ref_attention(const struct sim_step *s)
{
    const uint32_t values = sim_step_has(s, CARD_FLAG_LATENT) ? 0 : card_attention_values(s->d, s->e);
    const struct pages pages = {s->d->param[2], s->d->cols, values};
    for (uint32_t t = 0; t < s->d->tokens; t++) {
        for (uint32_t h = 0; h < s->d->rows; h++) attend(s, &pages, t, h);
    }
}

/* ---- INDEX ---- */

struct scored {
    double score;
    uint32_t position;
};

static int by_score(const void *left, const void *right)
{
    const struct scored *a = left, *b = right;
    if (ref_better(a->score, b->score)) return -1;
    if (ref_better(b->score, a->score)) return 1;
    return a->position < b->position ? -1 : a->position > b->position;
}

static int by_position(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static double index_score(const struct sim_step *s, const struct pages *pages, uint32_t token, uint32_t position)
{
    const uint32_t heads = s->d->rows;
    double sum = 0;
    for (size_t row = (size_t)token * heads; row < ((size_t)token + 1) * heads; row++) {
        const double score = key_score(s, pages, token, position, 0, ref_row(s->src, row, s->d->cols));
        sum += *ref_row(s->e_src, row, 1) * (score > 0 ? score : 0);
    }
    return sum;
}

int ref_index(const struct sim_step *s, struct error *err)
{
    const struct pages pages = {1, s->d->cols, 0};
    const uint32_t places = s->d->param[3];
    for (uint32_t t = 0; t < s->d->tokens; t++) {
        const struct sim_span span = sim_step_seen(s, t);
        const uint32_t n = span.to > span.from ? span.to - span.from : 0, kept = n < places ? n : places;
        uint32_t *dst = (uint32_t *)s->dst + (size_t)t * places;
        struct scored *scored = malloc(((size_t)n + 1) * sizeof *scored);
        if (!scored) return error_set(err, ERROR_NO_MEMORY, "card ref: no memory for %u scores", n);
        for (uint32_t i = 0; i < n; i++) {
            scored[i] = (struct scored){index_score(s, &pages, t, span.from + i), span.from + i};
        }
        qsort(scored, n, sizeof *scored, by_score);
        for (uint32_t i = 0; i < places; i++) dst[i] = i < kept ? scored[i].position : CARD_NO_POSITION;
        qsort(dst, kept, sizeof *dst, by_position);
        free(scored);
    }
    return 0;
}
