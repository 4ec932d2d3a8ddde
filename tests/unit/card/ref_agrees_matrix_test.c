/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim against ref for matrices, pages and attention, with random shapes and flags, in every format. ref has floats only:
 * it gets the weights' exact values. Where sim rounds activations or queries to 8 bits, one run takes vectors that this
 * keeps, and must agree as floats do; another takes any.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/agrees_for_test.h"
#include "tests/unit/card/pages_for_test.h"

static const unsigned weight_formats[] = {CARD_FORMAT_F32,      CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN,
                                          CARD_FORMAT_INT8,     CARD_FORMAT_Q4_K, CARD_FORMAT_Q5_K,
                                          CARD_FORMAT_INT8_MIN, CARD_FORMAT_Q6_K, CARD_FORMAT_MXFP4};
enum { N_FORMATS = sizeof weight_formats / sizeof *weight_formats, ROUNDS = 8 * N_FORMATS };

/* ---- matrices ---- */

/* Any activations in even rounds over the formats, such that QUANTIZE keeps them in odd ones. */
static int is_exact(unsigned format, unsigned i) { return format == CARD_FORMAT_F32 || i / N_FORMATS % 2; }

static struct host_data activations(struct agree *a, unsigned format, unsigned i, size_t rows, uint32_t cols)
{
    return format != CARD_FORMAT_F32 && is_exact(format, i) ? quantizable_floats(a, rows, cols)
                                                            : some_floats(a, rows * cols, 1);
}

/* The floats x[rows][cols] on sim as what a matrix of this format takes: themselves, or what QUANTIZE makes of them. */
static struct host_data as_source(struct agree *a, unsigned format, struct host_data x, uint32_t rows, uint32_t cols)
{
    if (format == CARD_FORMAT_F32) return x;
    struct test_run run = {.d = {.opcode = CARD_OP_QUANTIZE, .tokens = rows, .cols = cols}, .src = x};
    run.dst = nothing(a, card_act_bytes(rows, cols));
    run.result = room(a, run.dst.bytes);
    run_on(a->sim, &run);
    return (struct host_data){run.result, run.dst.bytes};
}

static struct host_data floats_of(struct agree *a, const struct test_matrix *m)
{
    float *value = room(a, (size_t)m->rows * m->cols * 4);
    for (size_t k = 0; k < (size_t)m->rows * m->cols; k++) value[k] = (float)m->value[k];
    return (struct host_data){value, (size_t)m->rows * m->cols * 4};
}

/* A multiple of 32 columns, or any number for floats; not few, nor few tokens, lest a result be all cancellation. */
static uint32_t some_cols(struct agree *a, unsigned format)
{
    return format == CARD_FORMAT_F32 ? between(a, 8, 300) : 32 * between(a, 4, 20);
}

static void matmul_round(struct agree *a, unsigned i)
{
    const unsigned format = weight_formats[i % N_FORMATS];
    const uint32_t t = between(a, 3, 12), r = between(a, 16, 70), c = some_cols(a, format);
    struct test_matrix m = test_matrix_make(&a->random, format, r, c);
    const struct host_data x = activations(a, format, i, t, c);
    struct test_run run = {.d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)format, .tokens = t, .rows = r}};
    run.d.cols = c;
    run.d.flags = (uint16_t)((maybe(a) ? CARD_FLAG_ADD : 0) | (maybe(a) ? CARD_FLAG_BIAS : 0));
    run.dst = some_floats(a, (size_t)t * r, 1);
    run.src = as_source(a, format, x, t, c);
    run.weight = (struct host_data){m.bytes, card_matrix_bytes(format, r, c)};
    run.aux = some_floats(a, r, 1);
    float *sim = room(a, run.dst.bytes), *ref = room(a, run.dst.bytes);
    run.result = sim;
    run_on(a->sim, &run);
    run.d.format = CARD_FORMAT_F32;
    run.src = x;
    run.weight = floats_of(a, &m);
    run.result = ref;
    run_on(a->ref, &run);
    compare(a, "MATMUL", sim, ref, (size_t)t * r, is_exact(format, i) ? RMS_FLOAT : RMS_INT8);
    test_matrix_free(&m);
}

enum { EXPERTS = 5 };

/* Puts the experts' matrices on a card; the slot table is an operand. */
static struct host_data put_experts(struct agree *a, struct card *card, const struct test_matrix *m, int as_floats)
{
    card_addr *slot = room(a, EXPERTS * sizeof *slot);
    for (size_t k = 0; k < EXPERTS; k++) {
        const struct host_data tiles = {m[k].bytes, card_matrix_bytes(m[k].format, m[k].rows, m[k].cols)};
        slot[k] = put_data(card, as_floats ? floats_of(a, &m[k]) : tiles);
    }
    return (struct host_data){slot, EXPERTS * sizeof *slot};
}

static void expert_matmul_round(struct agree *a, unsigned i)
{
    const unsigned format = weight_formats[i % N_FORMATS];
    const int each = maybe(a), per_choice = maybe(a), bias = maybe(a);
    const uint32_t t = between(a, 3, 6), k = each ? EXPERTS : between(a, 1, 3), rows = per_choice ? t * k : t;
    const uint32_t r = between(a, 16, 40), c = some_cols(a, format);
    struct test_matrix m[EXPERTS];
    for (size_t e = 0; e < EXPERTS; e++) m[e] = test_matrix_make(&a->random, format, r, c);
    const struct host_data x = activations(a, format, i, rows, c);
    struct test_run run = {.d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = t, .rows = r}};
    run.d.cols = c;
    run.d.flags = (uint16_t)((each ? CARD_FLAG_EACH : 0) | (per_choice ? CARD_FLAG_PER_CHOICE : 0));
    run.d.param[0] = k;
    run.d.param[1] = EXPERTS;
    if (bias) run.e = (struct card_descriptor){.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_BIAS};
    run.e_src = some_floats(a, (size_t)EXPERTS * r, 1);
    run.dst = nothing(a, (size_t)t * k * r * 4);
    run.src = as_source(a, format, x, rows, c);
    run.weight = put_experts(a, a->sim, m, 0);
    run.aux = some_choices(a, (size_t)t * k, EXPERTS);
    float *sim = room(a, run.dst.bytes), *ref = room(a, run.dst.bytes);
    run.result = sim;
    run_on(a->sim, &run);
    run.d.format = CARD_FORMAT_F32;
    run.src = x;
    run.weight = put_experts(a, a->ref, m, 1);
    run.result = ref;
    run_on(a->ref, &run);
    compare(a, "EXPERT_MATMUL", sim, ref, (size_t)t * k * r, is_exact(format, i) ? RMS_FLOAT : RMS_INT8);
    for (size_t e = 0; e < EXPERTS; e++) test_matrix_free(&m[e]);
}

/* ---- pages ---- */

/* All that a pool holds of its sequence, as floats. */
static float *values_of(struct agree *a, const struct paged *p, size_t *n)
{
    float *all = room(a, (size_t)p->length * p->kv_heads * (p->key_dims + p->value_dims) * 4);
    *n = 0;
    for (uint32_t position = 0; position < p->length; position++) {
        for (uint32_t h = 0; h < p->kv_heads; h++) {
            for (uint32_t k = 0; k < p->key_dims; k++) all[(*n)++] = (float)paged_key(p, position, h, k).value;
            for (uint32_t k = 0; k < p->value_dims; k++) all[(*n)++] = (float)paged_value(p, position, h, k).value;
        }
    }
    return all;
}

static struct paged some_pages(struct agree *a, unsigned format, uint32_t kv_heads, uint32_t key_dims,
                               uint32_t value_dims)
{
    return paged_make(&a->random, format, kv_heads, key_dims, value_dims, between(a, 1, 150));
}

/* What is not written stays; what is written, and its padding, is the same but where a half or an integer rounds. */
static void kv_write_round(struct agree *a, unsigned i)
{
    const uint32_t key_dims = between(a, 1, 100), value_dims = maybe(a) ? between(a, 1, 100) : 0;
    struct paged p = some_pages(a, page_formats[i % N_PAGE_FORMATS], between(a, 1, 3), key_dims, value_dims);
    size_t n, differ = 0;
    paged_write(a->sim, &p);
    uint8_t *sim_pool = room(a, p.pool_bytes);
    memcpy(sim_pool, p.pool, p.pool_bytes);
    const float *sim = values_of(a, &p, &n);
    paged_write(a->ref, &p);
    const float *ref = values_of(a, &p, &n);
    compare(a, "KV_WRITE", sim, ref, n, RMS_PAGE);
    for (size_t k = 0; k < p.pool_bytes; k++) differ += sim_pool[k] != p.pool[k];
    if (p.format == CARD_FORMAT_F32 || p.format == CARD_FORMAT_F16) assert_int_equal(differ, 0);
    assert_true(differ <= 4 + n / 1000);
    paged_free(&p);
}

/* Queries somewhere in the sequence; what they see may end before or behind them, or nowhere. */
static struct host_data some_queries(struct agree *a, const struct paged *p, uint32_t tokens)
{
    size_t bytes;
    struct card_batch_token *batch = paged_batch(p, 0, tokens, &bytes), *kept = room(a, bytes);
    for (uint32_t t = 0; t < tokens; t++) {
        batch[t].position = random_below(&a->random, p->length);
        batch[t].visible = maybe(a) ? batch[t].position + 1 : random_below(&a->random, p->length + 1);
    }
    memcpy(kept, batch, bytes);
    free(batch);
    return (struct host_data){kept, bytes};
}

/* For each query some of the positions below its `visible`, ascending, then CARD_NO_POSITION. */
static struct host_data some_positions(struct agree *a, const struct card_batch_token *batch, uint32_t tokens,
                                       uint32_t places)
{
    uint32_t *list = room(a, (size_t)tokens * places * 4);
    for (uint32_t t = 0; t < tokens; t++) {
        uint32_t n = 0;
        for (uint32_t p = 0; p < batch[t].visible && n < places; p++) {
            if (between(a, 0, 2) == 0) list[t * places + n++] = p;
        }
        while (n < places) list[t * places + n++] = CARD_NO_POSITION;
    }
    return (struct host_data){list, (size_t)tokens * places * 4};
}

/* The options of ATTENTION in all combinations, by chance. */
static void choose_options(struct agree *a, struct test_run *run, uint32_t tokens)
{
    if (maybe(a)) run->d.param[3] = between(a, 1, 60);
    if (!run->e.opcode) return;
    if (maybe(a)) run->e.param[0] = bits_of(1.5f);
    if (maybe(a)) run->e.param[1] = between(a, 1, 60);
    run->e.param[2] = between(a, 0, 40);
    run->e.param[3] = between(a, 1, 50);
    run->e.flags = (uint16_t)((maybe(a) ? CARD_FLAG_SINKS : 0) | (maybe(a) ? CARD_FLAG_BIAS : 0) |
                              (maybe(a) ? CARD_FLAG_SPARSE : 0));
    run->e_src = some_floats(a, run->d.rows, 2);
    run->e_weight = some_floats(a, (size_t)run->d.rows * (2 * run->e.param[2] + 1), 2);
    run->e_aux = some_positions(a, run->aux.data, tokens, run->e.param[3]);
}

/* Both cards attend to the pages that sim wrote. */
static void attention_round(struct agree *a, unsigned i)
{
    const unsigned format = page_formats[i % N_PAGE_FORMATS];
    const int integers = format == CARD_FORMAT_INT8 || format == CARD_FORMAT_INT4, exact = i / N_PAGE_FORMATS % 2;
    const int latent = maybe(a), extended = maybe(a);
    const uint32_t kv_heads = between(a, 1, 3), heads = kv_heads * between(a, 1, 4), t = between(a, 1, 7);
    const uint32_t c = between(a, 4, 100);
    const uint32_t values = extended ? between(a, 4, latent ? c : 100) : c;
    struct paged p = some_pages(a, format, kv_heads, c, latent ? 0 : values);
    struct test_run run = {.d = {.opcode = CARD_OP_ATTENTION, .format = (uint8_t)format, .tokens = t, .rows = heads}};
    paged_write(a->sim, &p);
    run.d.cols = c;
    run.d.flags = latent ? CARD_FLAG_LATENT : 0;
    run.d.param[0] = p.pool_pages;
    run.d.param[1] = bits_of(4 / sqrtf((float)c));
    run.d.param[2] = kv_heads;
    run.dst = nothing(a, (size_t)t * heads * values * 4);
    run.src = exact ? quantizable_floats(a, (size_t)t * heads, c) : some_floats(a, (size_t)t * heads * c, 1);
    run.weight = (struct host_data){p.pool, p.pool_bytes};
    run.aux = some_queries(a, &p, t);
    if (extended) run.e = (struct card_descriptor){.opcode = CARD_OP_EXTENSION, .cols = values};
    choose_options(a, &run, t);
    agree_floats(a, "ATTENTION", run, integers && !exact ? RMS_INT8 : RMS_ATTENTION);
    paged_free(&p);
}

/* Queries that are kept as they are: with others, scores near each other could change places. */
static void index_round(struct agree *a, unsigned i)
{
    const uint32_t heads = between(a, 1, 4), t = between(a, 1, 6), c = between(a, 4, 80), places = between(a, 1, 100);
    struct paged p = some_pages(a, page_formats[i % N_PAGE_FORMATS], 1, c, 0);
    struct test_run run = {.d = {.opcode = CARD_OP_INDEX, .format = (uint8_t)p.format, .tokens = t, .rows = heads}};
    paged_write(a->sim, &p);
    run.d.cols = c;
    run.d.param[0] = p.pool_pages;
    run.d.param[1] = bits_of(0.3f);
    run.d.param[3] = places;
    run.e.opcode = CARD_OP_EXTENSION;
    run.dst = nothing(a, (size_t)t * places * 4);
    run.src = quantizable_floats(a, (size_t)t * heads, c);
    run.weight = (struct host_data){p.pool, p.pool_bytes};
    run.aux = some_queries(a, &p, t);
    run.e_src = some_floats(a, (size_t)t * heads, 1);
    const struct both b = run_both_cards(a, run);
    assert_memory_equal(b.sim, b.ref, run.dst.bytes);
    paged_free(&p);
}

static void matmul_agrees(void **state)
{
    (void)state;
    agree_rounds("matmul", ROUNDS, matmul_round);
}

static void expert_matmul_agrees(void **state)
{
    (void)state;
    agree_rounds("expert_matmul", ROUNDS, expert_matmul_round);
}

static void kv_write_agrees(void **state)
{
    (void)state;
    agree_rounds("kv_write", ROUNDS, kv_write_round);
}

static void attention_agrees(void **state)
{
    (void)state;
    agree_rounds("attention", 2 * ROUNDS, attention_round);
}

static void index_agrees(void **state)
{
    (void)state;
    agree_rounds("index", ROUNDS, index_round);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_agrees),    cmocka_unit_test(expert_matmul_agrees), cmocka_unit_test(kv_write_agrees),
        cmocka_unit_test(attention_agrees), cmocka_unit_test(index_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
