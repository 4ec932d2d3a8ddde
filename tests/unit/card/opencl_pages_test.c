/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenCL has the simulator's bits: KV pages of every format (KV_WRITE, ATTENTION, INDEX) and states (SCAN, CONV). More
 * random programs are in tests/kernels, which run on OpenCL too; this one is small enough for oclgrind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/opencl_fixture.h"

static const unsigned formats[] = {CARD_FORMAT_F32, CARD_FORMAT_F16, CARD_FORMAT_INT8, CARD_FORMAT_INT4};

struct pages_case {
    uint32_t length, queries, heads, kv_heads, cols, values, window, chunk;
    unsigned format, e_flags;
    int strange, latent, capped, bidirectional;
};

/* Tokens of positions [first, first + n) of a sequence in pages from the pool's end on. The caller frees it. */
static struct data table_of(uint32_t first, uint32_t n, uint32_t pages, uint32_t pool_pages, uint32_t visible)
{
    const size_t bytes = n * sizeof(struct card_batch_token) + pages * 4u;
    struct card_batch_token *table = calloc(1, bytes);
    uint32_t *page = (uint32_t *)(void *)(table + n);
    for (uint32_t t = 0; t < n; t++) {
        table[t].position = first + t;
        table[t].visible = visible ? visible : first + t + 1;
    }
    for (uint32_t p = 0; p < pages; p++) page[p] = pool_pages - 1 - p;
    return (struct data){table, bytes};
}

/* Lists of up to n positions for each query, ascending. */
static uint32_t *sparse_lists(struct fixture *f, const struct card_batch_token *table, uint32_t queries, uint32_t n)
{
    uint32_t *list = malloc((size_t)queries * n * 4);
    memset(list, 0xff, (size_t)queries * n * 4);
    for (uint32_t t = 0; t < queries; t++) {
        uint32_t k = 0;
        for (uint32_t p = 0; p < table[t].visible && k < n; p++) {
            if (random_below(&f->random, 3) == 0) list[t * n + k++] = p;
        }
    }
    return list;
}

enum { SPARSE = 20, DISTANCE = 9 };

/* KV_WRITE of the whole sequence and ATTENTION of its last tokens; the pool that the simulator wrote is used for both. */
static void one_attention(struct fixture *f, const struct pages_case *c)
{
    const uint32_t pages = (c->length + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS, pool_pages = pages + 3;
    const uint32_t stored = c->latent ? 0 : c->values;
    const size_t keys = (size_t)c->length * c->kv_heads * c->cols, values = (size_t)c->length * c->kv_heads * c->values;
    const size_t q = (size_t)c->queries * c->heads * c->cols, out = (size_t)c->queries * c->heads * c->values;
    const struct data pool = {NULL, pool_pages * card_page_bytes(c->format, c->kv_heads, c->cols, stored)};
    float *key = floats_for(f, keys, c->strange), *value = floats_for(f, values, c->strange),
          *query = floats_for(f, q, c->strange), *extra = floats_for(f, c->heads * (2 * DISTANCE + 1), c->strange);
    const struct data all = table_of(0, c->length, pages, pool_pages, 0);
    const struct data last =
        table_of(c->length - c->queries, c->queries, pages, pool_pages, c->bidirectional ? c->length : 0);
    uint32_t *list = sparse_lists(f, last.data, c->queries, SPARSE);
    struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)c->format, .tokens = c->length};
    d.rows = c->kv_heads;
    d.cols = c->cols;
    d.param[0] = pool_pages;
    d.param[1] = stored;
    const struct operands write = {
        .dst = pool, .src = {key, keys * 4}, .weight = {value, stored ? values * 4 : 0}, .aux = all};
    run_same(f, "KV_WRITE", d, NULL, write);
    uint8_t *written = calloc(pool.bytes, 1);
    d.dst = put(f->card[0], written, pool.bytes);
    d.src = put(f->card[0], key, keys * 4);
    d.weight = stored ? put(f->card[0], value, values * 4) : 0;
    d.aux = put(f->card[0], all.data, all.bytes);
    run_program(f->card[0], &d, 1);
    get(f->card[0], written, d.dst, pool.bytes);
    assert_int_equal(card_reset(f->card[0], NULL), 0);

    struct card_descriptor attention = {.opcode = CARD_OP_ATTENTION, .format = (uint8_t)c->format};
    struct card_descriptor e = {.opcode = CARD_OP_EXTENSION, .flags = (uint16_t)c->e_flags, .cols = c->values};
    attention.flags = c->latent ? CARD_FLAG_LATENT : 0;
    attention.tokens = c->queries;
    attention.rows = c->heads;
    attention.cols = c->cols;
    attention.param[0] = pool_pages;
    attention.param[1] = bits_of(4.0f / sqrtf((float)c->cols));
    attention.param[2] = c->kv_heads;
    attention.param[3] = c->window;
    e.param[0] = c->capped ? bits_of(2.0f) : 0;
    e.param[1] = c->chunk;
    e.param[2] = DISTANCE;
    e.param[3] = SPARSE;
    const int extended = c->e_flags || c->capped || c->chunk || c->values != c->cols;
    run_same(f, "ATTENTION", attention, extended ? &e : NULL,
             (struct operands){.dst = {NULL, out * 4},
                               .src = {query, q * 4},
                               .weight = {written, pool.bytes},
                               .aux = last,
                               .e_src = {extra, c->heads * 4u},
                               .e_weight = {extra, (size_t)c->heads * (2 * DISTANCE + 1) * 4},
                               .e_aux = {list, (size_t)c->queries * SPARSE * 4}});
    free(written);
    free((void *)all.data);
    free((void *)last.data);
    free(list);
    free(key);
    free(value);
    free(query);
    free(extra);
}

static void attention(void **state)
{
    static const unsigned e_flags[] = {
        0, CARD_FLAG_SINKS, 0, CARD_FLAG_BIAS, CARD_FLAG_SPARSE, CARD_FLAG_SINKS | CARD_FLAG_BIAS | CARD_FLAG_SPARSE};
    struct fixture *f = *state;
    const uint32_t sizes[] = {1, 2, 31, 32, 33, 64, 65, 97}, dims[] = {1, 15, 16, 24, 64, 65, 128, 200};
    for (uint32_t i = 0; i<4 * 32; i += EVERY> 1 ? 11 : 1) {
        struct pages_case c = {.length = sizes[i % 8], .heads = 6, .kv_heads = i % 3 == 0 ? 6 : i % 3};
        c.cols = dims[(i / 8 + i) % 8];
        c.values = i % 5 == 3 ? dims[(i / 3) % 8] : c.cols;
        c.latent = i % 7 == 5;
        if (c.latent && c.values > c.cols) c.values = c.cols;
        c.queries = i % 2 ? c.length : 1;
        if (EVERY > 1 && c.queries > MOST_TOKENS) c.queries = MOST_TOKENS;
        c.window = i % 4 < 2 ? 0 : 1 + i * 7 % 40;
        c.chunk = i % 6 == 4 ? 1 + i % 50 : 0;
        c.format = formats[i % 4];
        c.e_flags = e_flags[i / 4 % 6];
        c.capped = i % 9 > 6;
        c.bidirectional = i % 8 == 7;
        c.strange = i % 5 == 4;
        one_attention(f, &c);
    }
    if (EVERY > 1) return;
    one_attention(f, &(struct pages_case){.length = 40,
                                          .queries = 40,
                                          .heads = 1,
                                          .kv_heads = 1,
                                          .cols = CARD_MAX_HEAD_DIM,
                                          .values = CARD_MAX_HEAD_DIM,
                                          .format = CARD_FORMAT_INT4});
}

/* Of tokens that name one slot the last of the batch stays. */
static void tokens_of_one_slot(void **state)
{
    struct fixture *f = *state;
    enum { TOKENS = 70, DIM = 40, POOL = 3 };
    struct {
        struct card_batch_token token[TOKENS];
        uint32_t page[4];
    } table = {.page = {1, 2, 1, 0}}; /* two pages of a sequence are one */
    float *x = floats_for(f, TOKENS * DIM, 0), *y = floats_for(f, TOKENS * 24, 0);
    for (uint32_t t = 0; t < TOKENS; t++) {
        table.token[t].position = random_below(&f->random, 64);
        table.token[t].first_page = random_below(&f->random, 3);
    }
    for (unsigned k = 0; k < 4; k++) {
        struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)formats[k], .tokens = TOKENS};
        d.rows = 1;
        d.cols = DIM;
        d.param[0] = POOL;
        d.param[1] = 24;
        run_same(f, "KV_WRITE", d, NULL,
                 (struct operands){.dst = {NULL, POOL * card_page_bytes(formats[k], 1, DIM, 24)},
                                   .src = {x, TOKENS * DIM * 4},
                                   .weight = {y, TOKENS * 24 * 4},
                                   .aux = {&table, sizeof table}});
    }
    free(x);
    free(y);
}

/* Lists longer and shorter than what is visible, and longer than the chunks in which the kernel works. */
static void index_positions(void **state)
{
    struct fixture *f = *state;
    enum { DIM = 24, HEADS = 3, POOL = 40 };
    const uint32_t lengths[] = {1, 33, 200, POOL * CARD_PAGE_TOKENS};
    for (unsigned i = 0; i<16; i += EVERY> 1 ? 5 : 1) {
        const uint32_t length = lengths[i / 4], tokens = i % 2 ? 1 : 3, most = i % 3 == 0 ? 1100 : i % 3 == 1 ? 7 : 64;
        const unsigned format = formats[i % 4];
        const size_t pool = POOL * card_page_bytes(format, 1, DIM, 0), q = (size_t)tokens * HEADS * DIM;
        float *query = floats_for(f, q, i % 5 == 4), *weight = floats_for(f, (size_t)tokens * HEADS, 0);
        float *floats = floats_for(f, pool / 4 + 1, format == CARD_FORMAT_F32 && i % 5 == 4);
        uint8_t *bytes = (uint8_t *)floats;
        for (size_t k = 0; k + 2 <= pool && format != CARD_FORMAT_F32; k += 2) /* ties among few different halves */
            store_u16(bytes + k, (uint16_t)(0x3000 + random_below(&f->random, 4) * 0x101));
        const struct data table =
            table_of(length - (tokens < length ? tokens : 1), tokens < length ? tokens : 1, POOL, POOL, length);
        struct card_descriptor d = {.opcode = CARD_OP_INDEX, .format = (uint8_t)format, .rows = HEADS, .cols = DIM};
        d.tokens = tokens < length ? tokens : 1;
        d.param[0] = POOL;
        d.param[1] = bits_of(0.3f);
        d.param[3] = most;
        const struct card_descriptor e = {.opcode = CARD_OP_EXTENSION};
        run_same(f, "INDEX", d, &e,
                 (struct operands){.dst = {NULL, (size_t)d.tokens * most * 4},
                                   .src = {query, q * 4},
                                   .weight = {floats, pool},
                                   .aux = table,
                                   .e_src = {weight, (size_t)tokens * HEADS * 4}});
        free(query);
        free(weight);
        free(floats);
        free((void *)table.data);
    }
}

/* ---- states ---- */

enum { STATES = 5, STEP = 12 };

/* Runs of tokens of one state; some begin their sequence. */
static void make_runs(struct fixture *f, struct card_batch_token token[STEP])
{
    for (uint32_t t = 0; t < STEP; t++) {
        const int follows = t > 0 && (random_below(&f->random, 3) || token[t - 1].state + 1 == STATES);
        token[t] = (struct card_batch_token){.position = random_below(&f->random, 2) * 9, .visible = 99};
        if (t > 0) token[t].state = token[t - 1].state + (follows ? 0 : 1);
        if (follows) token[t].position = token[t - 1].position + 1;
    }
}

static void scan(void **state)
{
    struct fixture *f = *state;
    const uint32_t shapes[][4] = {{1, 1, 16, 16}, {4, 2, 17, 33}, {6, 3, 32, 65}, {2, 2, 1, 1}, {3, 1, 64, 100}};
    for (unsigned i = 0; i<20; i += EVERY> 1 ? 6 : 1) {
        const uint32_t heads = shapes[i % 5][0], keys = shapes[i % 5][1], dims = shapes[i % 5][2],
                       values = shapes[i % 5][3];
        struct card_batch_token token[STEP];
        make_runs(f, token);
        if (i == 19) token[STEP - 1].state = token[0].state; /* no neighbours: no promise is kept, no bit is random */
        struct card_descriptor d = {.opcode = CARD_OP_SCAN, .tokens = STEP, .rows = heads, .cols = dims};
        d.flags = (uint16_t)((i & 1 ? CARD_FLAG_EACH : 0) | (i & 2 ? CARD_FLAG_INTERLEAVED : 0));
        d.param[0] = STATES;
        d.param[1] = values;
        d.param[2] = keys;
        const struct card_descriptor e = {.opcode = CARD_OP_EXTENSION};
        const size_t q = (size_t)STEP * keys * dims, v = (size_t)STEP * heads * values,
                     decays = (size_t)STEP * heads * (i & 1 ? dims : 1), pool = (size_t)STATES * heads * dims * values;
        const int strange = i % 5 == 4;
        float *x = floats_for(f, q, strange), *key = floats_for(f, q, strange), *value = floats_for(f, v, strange),
              *start = floats_for(f, pool, strange), *decay = floats_for(f, decays, 0),
              *beta = floats_for(f, (size_t)STEP * heads, 0);
        run_same(f, "SCAN", d, &e,
                 (struct operands){.dst = {NULL, v * 4},
                                   .src = {x, q * 4},
                                   .weight = {key, q * 4},
                                   .aux = {token, sizeof token},
                                   .e_dst = {start, pool * 4},
                                   .e_src = {value, v * 4},
                                   .e_weight = {decay, decays * 4},
                                   .e_aux = {beta, (size_t)STEP * heads * 4}});
        free(x);
        free(key);
        free(value);
        free(start);
        free(decay);
        free(beta);
    }
}

static void conv(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i<14; i += EVERY> 1 ? 6 : 1) {
        const uint32_t width = 2 + i % 7, cols = 1 + i * 37 % 130;
        struct card_batch_token token[STEP];
        make_runs(f, token);
        struct card_descriptor d = {.opcode = CARD_OP_CONV, .tokens = STEP, .cols = cols, .param = {STATES, width}};
        const struct card_descriptor e = {.opcode = CARD_OP_EXTENSION, .flags = i % 2 ? CARD_FLAG_BIAS : 0};
        const size_t pool = (size_t)STATES * (width - 1) * cols;
        float *x = floats_for(f, STEP * cols, i >= 7), *weight = floats_for(f, (size_t)cols * width, i >= 7),
              *start = floats_for(f, pool, i >= 7), *bias = floats_for(f, cols, 0);
        run_same(f, "CONV", d, &e,
                 (struct operands){.dst = {NULL, STEP * cols * 4},
                                   .src = {x, STEP * cols * 4},
                                   .weight = {weight, (size_t)cols * width * 4},
                                   .aux = {token, sizeof token},
                                   .e_dst = {start, pool * 4},
                                   .e_src = {bias, cols * 4u}});
        free(x);
        free(weight);
        free(start);
        free(bias);
    }
}

#ifndef SLUICE_FEW_SHAPES
/* Every half in a page: what attention reads is what card_f16_to_f32 says. */
static void every_half(void **state)
{
    struct fixture *f = *state;
    enum { DIM = 512, PAGES = 4 }; /* 4 pages x 32 positions x 512: 65536 keys; the same again as values */
    uint16_t *pool = calloc(2 * 65536, 2);
    float *query = calloc((size_t)PAGES * CARD_PAGE_TOKENS * DIM, 4);
    const uint32_t n = PAGES * CARD_PAGE_TOKENS;
    for (uint32_t p = 0; p < PAGES; p++) {
        for (uint32_t i = 0; i < 16384; i++)
            pool[p * 32768 + i] = pool[p * 32768 + 16384 + i] = (uint16_t)(p * 16384 + i);
    }
    const struct data table = table_of(0, n, PAGES, PAGES, 0);
    for (uint32_t i = 0; i < n * DIM; i++) query[i] = i % 3 ? 0.0f : 1e-4f;
    struct card_descriptor d = {.opcode = CARD_OP_ATTENTION, .format = CARD_FORMAT_F16, .tokens = n, .rows = 1};
    d.cols = DIM;
    d.param[0] = PAGES;
    d.param[1] = bits_of(1e-3f);
    d.param[2] = 1;
    d.param[3] = 1; /* a token sees itself only: its result is its value */
    run_same(f, "ATTENTION of every half", d, NULL,
             (struct operands){.dst = {NULL, (size_t)n * DIM * 4},
                               .src = {query, (size_t)n * DIM * 4},
                               .weight = {pool, 2 * 65536 * 2},
                               .aux = table});
    free(pool);
    free((void *)table.data);
    free(query);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention),
        cmocka_unit_test(tokens_of_one_slot),
        cmocka_unit_test(index_positions),
        cmocka_unit_test(scan),
        cmocka_unit_test(conv),
#ifndef SLUICE_FEW_SHAPES
        cmocka_unit_test(every_half),
#endif
    };
    return cmocka_run_group_tests_name("opencl pages", tests, setup, teardown);
}
