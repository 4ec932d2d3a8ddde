/* SPDX-License-Identifier: Apache-2.0 */
/* An ATTENTION of any features on a paged sequence, run on a card, and the same in double. Include after cmocka.h. */
#ifndef SLUICE_TEST_ATTENTION_FOR_TEST_H
#define SLUICE_TEST_ATTENTION_FOR_TEST_H

#include "tests/unit/card/pages_for_test.h"

enum feature {
    WINDOW = 1,
    CHUNK = 2,
    ALL_VISIBLE = 4, /* past the token's own position too */
    SOFT_CAP = 8,
    SINKS = 16,
    BIAS = 32,
    SPARSE = 64,
    LATENT = 128,
};

/* The shape of a case, and its random operands. */
struct attention_case {
    unsigned format, features;
    uint32_t heads, kv_heads, key_dims, value_dims, length, queries;
    uint32_t window, chunk, reach, n_sparse;
    uint32_t banks; /* over which the pool is dealt; 0: it is not */
    float scale, cap;
    struct paged pages;
    struct card_batch_token *batch; /* of the queries, and the sequence's pages */
    size_t batch_bytes;
    float *query;        /* [queries][heads][key_dims] */
    float *sinks, *bias; /* [heads], [heads][2 reach + 1] */
    uint32_t *sparse;    /* [queries][n_sparse] */
};

/* About `n` of the positions below `visible`, ascending. */
static inline void choose_positions(struct test_random *random, uint32_t *to, uint32_t n, uint32_t visible)
{
    uint32_t k = 0;
    for (uint32_t j = 0; j < visible && k < n; j++) {
        if (random_below(random, visible) < n) to[k++] = j;
    }
    while (k < n) to[k++] = CARD_NO_POSITION;
}

/* Fills in what depends on the shape: queries are the last positions of the sequence. */
static inline void case_make(struct test_random *random, struct attention_case *c)
{
    const size_t rows = (size_t)c->queries * c->heads;
    c->pages =
        paged_make(random, c->format, c->kv_heads, c->key_dims, c->features & LATENT ? 0 : c->value_dims, c->length);
    c->query = random_floats(random, rows * c->key_dims);
    c->window = 1 + random_below(random, 50);
    c->chunk = 1 + random_below(random, 50);
    c->reach = random_below(random, 40);
    c->n_sparse = 1 + random_below(random, 20);
    c->scale = 4.0f / sqrtf((float)c->key_dims);
    c->cap = 1.5f;
    c->sinks = random_floats(random, c->heads);
    c->bias = random_floats(random, c->heads * (2 * (size_t)c->reach + 1));
    c->sparse = calloc((size_t)c->queries * c->n_sparse, 4);
    c->batch = paged_batch(&c->pages, c->length - c->queries, c->queries, &c->batch_bytes);
    for (uint32_t t = 0; t < c->queries; t++) {
        if (c->features & ALL_VISIBLE) c->batch[t].visible = c->length;
        choose_positions(random, c->sparse + (size_t)t * c->n_sparse, c->n_sparse, c->batch[t].visible);
    }
}

static inline void case_free(struct attention_case *c)
{
    paged_free(&c->pages);
    free(c->query);
    free(c->sinks);
    free(c->bias);
    free(c->sparse);
    free(c->batch);
}

/* Runs tokens [first, first + n) in one step over the pool; to[n][heads][value_dims]. */
static inline void case_run(struct card *card, const struct attention_case *c, card_addr pool, uint32_t first,
                            uint32_t n, float *to)
{
    const size_t rows = (size_t)n * c->heads, table = n * sizeof *c->batch;
    uint8_t *batch = malloc(table + c->pages.pages * 4);
    memcpy(batch, c->batch + first, table);
    memcpy(batch + table, c->batch + c->queries, c->pages.pages * 4);
    struct card_descriptor d[2] = {{.opcode = CARD_OP_ATTENTION, .format = (uint8_t)c->format, .tokens = n},
                                   {.opcode = CARD_OP_EXTENSION, .rows = c->banks, .cols = c->value_dims}};
    d[0].flags = (uint16_t)(CARD_FLAG_EXTENDED | (c->features & LATENT ? CARD_FLAG_LATENT : 0));
    d[0].rows = c->heads;
    d[0].cols = c->key_dims;
    d[0].param[0] = c->pages.pool_pages;
    d[0].param[1] = bits_of(c->scale);
    d[0].param[2] = c->kv_heads;
    d[0].param[3] = c->features & WINDOW ? c->window : 0;
    d[0].weight = pool;
    d[0].dst = put(card, NULL, rows * c->value_dims * 4);
    d[0].src = put_floats(card, c->query + (size_t)first * c->heads * c->key_dims, rows * c->key_dims);
    d[0].aux = put(card, batch, table + c->pages.pages * 4);
    d[1].flags = (uint16_t)((c->features & SINKS ? CARD_FLAG_SINKS : 0) | (c->features & BIAS ? CARD_FLAG_BIAS : 0) |
                            (c->features & SPARSE ? CARD_FLAG_SPARSE : 0));
    d[1].param[0] = c->features & SOFT_CAP ? bits_of(c->cap) : 0;
    d[1].param[1] = c->features & CHUNK ? c->chunk : 0;
    d[1].param[2] = c->reach;
    d[1].param[3] = c->n_sparse;
    d[1].src = put_floats(card, c->sinks, c->heads);
    d[1].weight = put_floats(card, c->bias, c->heads * (2 * (size_t)c->reach + 1));
    d[1].aux = put(card, c->sparse + (size_t)first * c->n_sparse, (size_t)n * c->n_sparse * 4);
    run_program(card, d, 2);
    get(card, to, d[0].dst, rows * c->value_dims * 4);
    const card_addr all[] = {d[0].dst, d[0].src, d[0].aux, d[1].src, d[1].weight, d[1].aux};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) card_free(card, all[i]);
    free(batch);
}

/* ---- in double ---- */

static inline int case_sees(const struct attention_case *c, uint32_t token, uint32_t position)
{
    const uint32_t own = c->batch[token].position;
    if (position >= c->batch[token].visible) return 0;
    if (c->features & WINDOW && (int64_t)position <= (int64_t)own - c->window) return 0;
    if (c->features & CHUNK && position / c->chunk != own / c->chunk) return 0;
    if (!(c->features & SPARSE)) return 1;
    for (uint32_t i = 0; i < c->n_sparse; i++) {
        if (c->sparse[(size_t)token * c->n_sparse + i] == position) return 1;
    }
    return 0;
}

static inline double case_score(const struct attention_case *c, const struct test_query *query, uint32_t token,
                                uint32_t head, uint32_t position)
{
    double score =
        query_dot(&c->pages, query, (size_t)token * c->heads + head, position, head / (c->heads / c->kv_heads)) *
        (double)c->scale;
    if (c->features & SOFT_CAP) score = (double)c->cap * tanh(score / (double)c->cap);
    if (c->features & BIAS) {
        const int reach = (int)c->reach, own = (int)c->batch[token].position;
        int distance = (int)position - own;
        if (distance > reach) distance = reach;
        if (distance < -reach) distance = -reach;
        score += (double)c->bias[head * (2 * c->reach + 1) + (uint32_t)(distance + reach)];
    }
    return score;
}

/* to[queries][heads][value_dims], from the pool as the card wrote it. query: query_quantized of the case's. */
static inline void case_in_double(const struct attention_case *c, const struct test_query *query, float *to)
{
    double *acc = malloc(c->value_dims * sizeof *acc);
    for (uint32_t row = 0; row < c->queries * c->heads; row++) {
        const uint32_t t = row / c->heads, h = row % c->heads, kv_head = h / (c->heads / c->kv_heads);
        double sum = c->features & SINKS ? exp((double)c->sinks[h]) : 0;
        int any = 0;
        memset(acc, 0, c->value_dims * sizeof *acc);
        for (uint32_t j = 0; j < c->length; j++) {
            if (!case_sees(c, t, j)) continue;
            const double p = exp(case_score(c, query, t, h, j));
            any = 1;
            sum += p;
            for (uint32_t i = 0; i < c->value_dims; i++) {
                acc[i] += p * (c->features & LATENT ? paged_key(&c->pages, j, kv_head, i)
                                                    : paged_value(&c->pages, j, kv_head, i))
                                  .value;
            }
        }
        for (uint32_t i = 0; i < c->value_dims; i++) {
            to[(size_t)row * c->value_dims + i] = any ? (float)(acc[i] / sum) : 0.0f;
        }
    }
    free(acc);
}

#endif
