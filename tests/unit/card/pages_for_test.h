/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KV pages for tests: keys and values written by KV_WRITE, and read back from the page's bytes one element at a time by
 * the text of card_layout.h, sharing no code with the backends. Include after cmocka.h.
 */
#ifndef SLUICE_TEST_PAGES_FOR_TEST_H
#define SLUICE_TEST_PAGES_FOR_TEST_H

#include "tests/unit/card/card_fixture.h"

static const unsigned page_formats[] = {CARD_FORMAT_F32, CARD_FORMAT_F16, CARD_FORMAT_INT8, CARD_FORMAT_INT4};
#define N_PAGE_FORMATS (sizeof page_formats / sizeof *page_formats)

/* SEED of the environment or the usual one, printed. */
static inline uint64_t seed_of_test(uint64_t usual)
{
    const char *text = getenv("SEED");
    const uint64_t seed = text && *text ? strtoull(text, NULL, 0) : usual;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    return seed ? seed : 1; /* the generator stays at 0 */
}

/* A half as double, infinities and NaN too. */
static inline double any_half(uint16_t half)
{
    if ((half & 0x7c00) != 0x7c00) return half_value(half);
    if (half & 0x3ff) return NAN;
    return half & 0x8000 ? -INFINITY : INFINITY;
}

/* One element of a block of keys or values of one KV head. */
struct page_element {
    double value, scale, min; /* value = scale * q + min for integers */
    int q;
};

static inline struct page_element page_element(const uint8_t *block, unsigned format, uint32_t dims, uint32_t slot,
                                               uint32_t i)
{
    const size_t groups = (dims + 31) / 32, g = i / 32, b = i % 32;
    struct page_element e = {0};
    if (format == CARD_FORMAT_F32) {
        e.value = (double)load_f32(block + (slot * (size_t)dims + i) * 4);
    } else if (format == CARD_FORMAT_F16) {
        e.value = any_half(load_u16(block + (slot * (size_t)dims + i) * 2));
    } else if (format == CARD_FORMAT_INT8) {
        const uint8_t *scales = block + 32 * 32 * groups;
        e.q = (int8_t)block[slot * 32 * groups + i];
        e.scale = any_half(load_u16(scales + (slot * groups + g) * 2));
        e.value = e.scale * e.q;
    } else {
        const uint8_t *scales = block + 32 * 16 * groups, *mins = scales + 32 * groups * 2;
        const uint8_t byte = block[slot * 16 * groups + g * 16 + b % 16];
        e.q = b < 16 ? byte & 15 : byte >> 4;
        e.scale = any_half(load_u16(scales + (slot * groups + g) * 2));
        e.min = any_half(load_u16(mins + (slot * groups + g) * 2));
        e.value = e.scale * e.q + e.min;
    }
    return e;
}

static inline size_t block_bytes(unsigned format, uint32_t dims)
{
    const size_t groups = (dims + 31) / 32;
    switch (format) {
    case CARD_FORMAT_F32: return (size_t)32 * dims * 4;
    case CARD_FORMAT_F16: return (size_t)32 * dims * 2;
    case CARD_FORMAT_INT8: return 32 * groups * 32 + 32 * groups * 2;
    default: return 32 * groups * 16 + 2 * 32 * groups * 2;
    }
}

/* A pool with one sequence of `length` positions in pages [pool_pages - 1, pool_pages - 2, ...]. */
struct paged {
    unsigned format;
    uint32_t kv_heads, key_dims, value_dims; /* value_dims 0: keys only */
    uint32_t length, pages, pool_pages;
    size_t page_bytes, pool_bytes;
    float *key, *value; /* [length][kv_heads][dims], what is written */
    uint8_t *pool;      /* what the card made of it */
};

/* Random keys and values of about -1 to 1, with a different range for each group of dimensions. */
static inline struct paged paged_make(struct test_random *random, unsigned format, uint32_t kv_heads, uint32_t key_dims,
                                      uint32_t value_dims, uint32_t length)
{
    struct paged p = {format, kv_heads, key_dims, value_dims, length, (length + 31) / 32, 0, 0, 0, NULL, NULL, NULL};
    p.pool_pages = p.pages + 2;
    p.page_bytes = kv_heads * (block_bytes(format, key_dims) + (value_dims ? block_bytes(format, value_dims) : 0));
    p.pool_bytes = p.page_bytes * p.pool_pages;
    p.key = random_floats(random, (size_t)length * kv_heads * key_dims);
    p.value = random_floats(random, (size_t)length * kv_heads * (value_dims ? value_dims : 1));
    p.pool = malloc(p.pool_bytes);
    assert_non_null(p.pool);
    return p;
}

static inline void paged_free(struct paged *p)
{
    free(p->key);
    free(p->value);
    free(p->pool);
}

/* A batch table of n tokens, token t at first + t, and the sequence's pages; *bytes is its size. */
static inline struct card_batch_token *paged_batch(const struct paged *p, uint32_t first, uint32_t n, size_t *bytes)
{
    *bytes = n * sizeof(struct card_batch_token) + p->pages * 4;
    struct card_batch_token *batch = calloc(1, *bytes);
    assert_non_null(batch);
    for (uint32_t t = 0; t < n; t++) {
        batch[t] = (struct card_batch_token){.position = first + t, .visible = first + t + 1};
    }
    for (uint32_t i = 0; i < p->pages; i++) ((uint32_t *)(void *)(batch + n))[i] = p->pool_pages - 1 - i;
    return batch;
}

/* Writes the sequence with one KV_WRITE and reads the pool back; returns the pool's address. */
static inline card_addr paged_write(struct card *card, struct paged *p)
{
    size_t bytes;
    struct card_batch_token *batch = paged_batch(p, 0, p->length, &bytes);
    struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)p->format, .tokens = p->length};
    d.rows = p->kv_heads;
    d.cols = p->key_dims;
    d.param[0] = p->pool_pages;
    d.param[1] = p->value_dims;
    memset(p->pool, 0xa5, p->pool_bytes);
    d.dst = put(card, p->pool, p->pool_bytes);
    d.src = put_floats(card, p->key, (size_t)p->length * p->kv_heads * p->key_dims);
    if (p->value_dims) d.weight = put_floats(card, p->value, (size_t)p->length * p->kv_heads * p->value_dims);
    d.aux = put(card, batch, bytes);
    run_program(card, &d, 1);
    get(card, p->pool, d.dst, p->pool_bytes);
    card_free(card, d.src);
    card_free(card, d.weight);
    card_free(card, d.aux);
    free(batch);
    return d.dst;
}

static inline uint8_t *paged_at(const struct paged *p, uint32_t position)
{
    return p->pool + (p->pool_pages - 1 - position / 32) * p->page_bytes;
}
static inline uint8_t *paged_keys(const struct paged *p, uint32_t position, uint32_t head)
{
    return paged_at(p, position) + head * block_bytes(p->format, p->key_dims);
}
static inline uint8_t *paged_values(const struct paged *p, uint32_t position, uint32_t head)
{
    return paged_keys(p, position, p->kv_heads) + head * block_bytes(p->format, p->value_dims);
}

/* Dimension i of the key or value of a position, as the page holds it. */
static inline struct page_element paged_key(const struct paged *p, uint32_t position, uint32_t head, uint32_t i)
{
    return page_element(paged_keys(p, position, head), p->format, p->key_dims, position % 32, i);
}
static inline struct page_element paged_value(const struct paged *p, uint32_t position, uint32_t head, uint32_t i)
{
    return page_element(paged_values(p, position, head), p->format, p->value_dims, position % 32, i);
}

/* A query as it meets the keys: the floats, or for integer pages what QUANTIZE makes of it (scale * q). */
struct test_query {
    float *floats; /* [n][dims] */
    int8_t *q;     /* [n][groups of 64 padding] */
    float *scale;  /* [n][groups] */
    uint32_t dims, groups;
};

static inline struct test_query query_quantized(struct card *card, float *floats, uint32_t n, uint32_t dims)
{
    struct test_query query = {.floats = floats, .dims = dims, .groups = (dims + 63) / 64 * 2};
    struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = n, .cols = dims};
    const size_t values = (size_t)n * query.groups * 32;
    query.q = malloc(values);
    query.scale = malloc((size_t)n * query.groups * 4);
    d.src = put_floats(card, floats, (size_t)n * dims);
    d.dst = put(card, NULL, values + (size_t)n * query.groups * 8);
    run_program(card, &d, 1);
    get(card, query.q, d.dst, values);
    get(card, query.scale, d.dst + values, (size_t)n * query.groups * 4);
    card_free(card, d.src);
    card_free(card, d.dst);
    return query;
}

static inline void query_free(struct test_query *query)
{
    free(query->q);
    free(query->scale);
}

/* Query vector `row` times the key of a position, in double. */
static inline double query_dot(const struct paged *p, const struct test_query *query, size_t row, uint32_t position,
                               uint32_t head)
{
    const int integers = p->format == CARD_FORMAT_INT8 || p->format == CARD_FORMAT_INT4;
    double dot = 0;
    for (uint32_t i = 0; i < p->key_dims; i++) {
        const size_t at = row * query->groups;
        const double x = integers ? (double)query->scale[at + i / 32] * query->q[(at + i / 32) * 32 + i % 32]
                                  : (double)query->floats[row * p->key_dims + i];
        dot += x * paged_key(p, position, head, i).value;
    }
    return dot;
}

#endif
