/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INDEX on the simulator against scores in double: the positions chosen are the best but for scores that are too near to
 * the last one chosen to tell; exact where scores tie; the same for a token alone, on one thread and several.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/attention_for_test.h"

struct index_case {
    uint32_t heads, queries, most;
    float scale;
    struct paged pages;    /* one KV head, keys only */
    float *query, *weight; /* [queries][heads][dims], [queries][heads] */
    struct card_batch_token *batch;
    size_t batch_bytes;
};

static struct index_case index_make(struct test_random *random, unsigned format, uint32_t dims, uint32_t length,
                                    uint32_t heads, uint32_t queries, uint32_t most)
{
    struct index_case c = {.heads = heads, .queries = queries, .most = most, .scale = 0.75f};
    c.pages = paged_make(random, format, 1, dims, 0, length);
    c.query = random_floats(random, (size_t)queries * heads * dims);
    c.weight = random_floats(random, (size_t)queries * heads);
    c.batch = paged_batch(&c.pages, length - queries, queries, &c.batch_bytes);
    return c;
}

static void index_free(struct index_case *c)
{
    paged_free(&c->pages);
    free(c->query);
    free(c->weight);
    free(c->batch);
}

/* Operands of tokens [first, first + n) on the card; the result is at d[0].dst. */
static void index_put(struct card *card, const struct index_case *c, card_addr pool, uint32_t first, uint32_t n,
                      struct card_descriptor d[2])
{
    const size_t table = n * sizeof *c->batch, dims = c->pages.key_dims;
    uint8_t *batch = malloc(table + c->pages.pages * 4);
    memcpy(batch, c->batch + first, table);
    memcpy(batch + table, c->batch + c->queries, c->pages.pages * 4);
    d[0] = (struct card_descriptor){.opcode = CARD_OP_INDEX, .format = (uint8_t)c->pages.format, .tokens = n};
    d[1] = (struct card_descriptor){.opcode = CARD_OP_EXTENSION};
    d[0].flags = CARD_FLAG_EXTENDED;
    d[0].rows = c->heads;
    d[0].cols = c->pages.key_dims;
    d[0].param[0] = c->pages.pool_pages;
    d[0].param[1] = bits_of(c->scale);
    d[0].param[3] = c->most;
    d[0].weight = pool;
    d[0].dst = put(card, NULL, (size_t)n * c->most * 4);
    d[0].src = put_floats(card, c->query + first * c->heads * dims, n * c->heads * dims);
    d[0].aux = put(card, batch, table + c->pages.pages * 4);
    d[1].src = put_floats(card, c->weight + (size_t)first * c->heads, (size_t)n * c->heads);
    free(batch);
}

static void index_take(struct card *card, const struct card_descriptor d[2])
{
    const card_addr all[] = {d[0].dst, d[0].src, d[0].aux, d[1].src};
    for (size_t i = 0; i < 4; i++) card_free(card, all[i]);
}

static void index_run(struct card *card, const struct index_case *c, card_addr pool, uint32_t first, uint32_t n,
                      uint32_t *to)
{
    struct card_descriptor d[2];
    index_put(card, c, pool, first, n, d);
    run_program(card, d, 2);
    get(card, to, d[0].dst, (size_t)n * c->most * 4);
    index_take(card, d);
}

/* One token's chosen positions against its scores: those left out are not better than those chosen. */
static void check_choice(const char *what, const uint32_t *chosen, uint32_t most, const double *score, uint32_t visible)
{
    uint8_t *is_chosen = calloc(visible + 1, 1);
    double least = INFINITY, best_left = -INFINITY, largest = 0;
    const uint32_t n = visible < most ? visible : most;
    for (uint32_t i = 0; i < most; i++) {
        if (i >= n && chosen[i] != CARD_NO_POSITION) fail_msg("%s: entry %u is %u, not the end", what, i, chosen[i]);
        if (i >= n) continue;
        if (chosen[i] >= visible || (i && chosen[i] <= chosen[i - 1])) {
            fail_msg("%s: entry %u is %u after %u of %u", what, i, chosen[i], i ? chosen[i - 1] : 0, visible);
        }
        is_chosen[chosen[i]] = 1;
        least = fmin(least, score[chosen[i]]);
    }
    for (uint32_t j = 0; j < visible; j++) {
        largest = fmax(largest, fabs(score[j]));
        if (!is_chosen[j]) best_left = fmax(best_left, score[j]);
    }
    if (best_left > least + largest * TOLERANCE_FLOAT) {
        fail_msg("%s: chosen is a score of %.9g, not chosen one of %.9g", what, least, best_left);
    }
    free(is_chosen);
}

static void check_in_double(const struct index_case *c, const struct test_query *query, const uint32_t *got)
{
    double *score = malloc((c->pages.length + 1) * sizeof *score);
    assert_non_null(score);
    char what[100];
    snprintf(what, sizeof what, "format %u, dims %u, heads %u, length %u, most %u", c->pages.format, c->pages.key_dims,
             c->heads, c->pages.length, c->most);
    for (uint32_t t = 0; t < c->queries; t++) {
        const uint32_t start = c->batch[t].first_page * 32;
        for (uint32_t j = 0; j < c->batch[t].visible; j++) {
            score[j] = 0;
            for (uint32_t h = 0; h < c->heads; h++) {
                const size_t row = (size_t)t * c->heads + h;
                const double dot = query_dot(&c->pages, query, row, start + j, 0) * (double)c->scale;
                score[j] += (double)c->weight[row] * fmax(dot, 0);
            }
        }
        check_choice(what, got + (size_t)t * c->most, c->most, score, c->batch[t].visible);
    }
    free(score);
}

static void check_case(struct card *two, struct card *one, const struct index_case *c, struct paged *pages)
{
    const size_t n = (size_t)c->queries * c->most;
    uint32_t *got = calloc(n, 4), *alone = calloc(n, 4);
    const card_addr pool = paged_write(two, pages), copy = put(one, pages->pool, pages->pool_bytes);
    struct test_query query = query_quantized(two, c->query, c->queries * c->heads, pages->key_dims);
    index_run(two, c, pool, 0, c->queries, got);
    check_in_double(c, &query, got);
    for (uint32_t t = 0; t < c->queries; t++) index_run(one, c, copy, t, 1, alone + (size_t)t * c->most);
    assert_memory_equal(got, alone, n * 4);
    card_free(two, pool);
    card_free(one, copy);
    query_free(&query);
    free(got);
    free(alone);
}

static void the_best_positions_are_chosen(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 31, 32, 33, 65, 200}, dims[] = {1, 33, 64, 128, 40}, most[] = {1, 5, 32, 64};
    struct card *two = open_card("sim", 2), *one = open_card("sim", 1);
    struct test_random random = {.state = seed_of_test(99)};
    for (uint32_t i = 0; i < 24 * N_PAGE_FORMATS; i++) {
        const uint32_t length = lengths[i / N_PAGE_FORMATS % 6];
        const uint32_t queries = 1 + random_below(&random, length < 35 ? length : 35);
        struct index_case c = index_make(&random, page_formats[i % N_PAGE_FORMATS], dims[random_below(&random, 5)],
                                         length, 1 + random_below(&random, 5), queries, most[random_below(&random, 4)]);
        if (i % 3 == 0) c.batch[0].visible = 0;
        if (i % 3 == 1) c.batch[queries - 1].visible = length / 2;
        if (i % 3 == 2 && queries > 2) { /* another sequence, which starts at the last page */
            c.batch[queries / 2].first_page = c.pages.pages - 1;
            c.batch[queries / 2].visible = 1 + (length - 1) % 32;
        }
        check_case(two, one, &c, &c.pages);
        index_free(&c);
    }
    card_close(two);
    card_close(one);
}

/* More positions than are scored at a time, and more tokens than share a page's unpacking. */
static void long_sequences_are_indexed(void **state)
{
    (void)state;
    struct card *two = open_card("sim", 2), *one = open_card("sim", 1);
    struct test_random random = {.state = seed_of_test(100)};
    for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
        struct index_case c = index_make(&random, page_formats[f], 16, 9000, 2, 18, f % 2 ? 300 : 8500);
        /* One page serves many positions, so that keys of 4096 tokens at a time do not need to be written. */
        c.pages.length = 4096;
        uint32_t *table = (uint32_t *)(void *)(c.batch + c.queries);
        for (uint32_t p = 128; p < c.pages.pages; p++) table[p] = table[p % 128];
        struct paged written = c.pages;
        written.length = 4096;
        const card_addr pool = paged_write(two, &written), copy = put(one, written.pool, written.pool_bytes);
        const size_t n = (size_t)c.queries * c.most;
        uint32_t *got = calloc(n, 4), *alone = calloc(n, 4);
        index_run(two, &c, pool, 0, c.queries, got);
        for (uint32_t t = 0; t < c.queries; t++) index_run(one, &c, copy, t, 1, alone + t * c.most);
        assert_memory_equal(got, alone, n * 4);
        /* Positions that share a key tie: the lower one is taken first. */
        for (uint32_t t = 0; t < c.queries; t++) {
            uint8_t *is_chosen = calloc(9000, 1);
            for (uint32_t i = 0; i < c.most; i++) is_chosen[got[t * c.most + i]] = 1;
            for (uint32_t j = 4096; j < c.batch[t].visible; j++) assert_true(!is_chosen[j] || is_chosen[j - 4096]);
            free(is_chosen);
        }
        free(got);
        free(alone);
        card_free(two, pool);
        card_free(one, copy);
        c.pages.length = 9000;
        index_free(&c);
    }
    card_close(two);
    card_close(one);
}

/* Equal scores go to the lower position; a NaN comes after -infinity; a negative dot counts as 0, a NaN one too. */
static void ties_and_nan_have_their_place(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 2);
    struct test_random random = {.state = 3};
    struct index_case c = index_make(&random, CARD_FORMAT_F32, 1, 8, 1, 1, 4);
    const float keys[8] = {1, -2, 3, NAN, 1, 0, 3, 1};
    uint32_t got[4];
    memcpy(c.pages.key, keys, sizeof keys);
    c.query[0] = 1.0f;
    c.weight[0] = 1.0f;
    const card_addr pool = paged_write(card, &c.pages);
    index_run(card, &c, pool, 0, 1, got); /* scores 1 0 3 0 1 0 3 1 */
    assert_memory_equal(got, ((const uint32_t[]){0, 2, 4, 6}), 16);
    c.weight[0] = -1.0f; /* -1 0 -3 0 -1 0 -3 -1, where -0 is 0 */
    index_run(card, &c, pool, 0, 1, got);
    assert_memory_equal(got, ((const uint32_t[]){0, 1, 3, 5}), 16);
    c.weight[0] = -INFINITY; /* -infinity, but NaN where the dot counts as 0: 1, 3, 5 */
    index_run(card, &c, pool, 0, 1, got);
    assert_memory_equal(got, ((const uint32_t[]){0, 2, 4, 6}), 16);
    c.weight[0] = NAN;
    index_run(card, &c, pool, 0, 1, got);
    assert_memory_equal(got, ((const uint32_t[]){0, 1, 2, 3}), 16);
    card_free(card, pool);
    index_free(&c);
    card_close(card);
}

/* What INDEX writes is what ATTENTION with SPARSE reads: with as many as are visible it sees everything. */
static void attention_takes_what_index_gives(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 2);
    struct test_random random = {.state = seed_of_test(101)};
    for (uint32_t most = 20; most <= 100; most += 80) {
        struct attention_case c = {.format = CARD_FORMAT_F16, .features = LATENT, .heads = 2, .kv_heads = 1};
        c.key_dims = c.value_dims = 32;
        c.length = 100;
        c.queries = 20;
        case_make(&random, &c);
        struct index_case index = index_make(&random, CARD_FORMAT_INT8, 32, 100, 3, 20, most);
        float all[20 * 64], got[20 * 64];
        const card_addr pool = paged_write(card, &c.pages), index_pool = paged_write(card, &index.pages);
        case_run(card, &c, pool, 0, 20, all);
        c.features |= SPARSE;
        c.n_sparse = most;
        free(c.sparse);
        c.sparse = calloc((size_t)20 * most, 4);
        index_run(card, &index, index_pool, 0, 20, c.sparse);
        case_run(card, &c, pool, 0, 20, got);
        if (most == 100) assert_memory_equal(got, all, sizeof got);
        struct test_query query = query_quantized(card, c.query, 40, 32);
        case_in_double(&c, &query, all);
        assert_near("ATTENTION over INDEX", got, all, 20 * 64, TOLERANCE_ATTENTION);
        query_free(&query);
        card_free(card, pool);
        card_free(card, index_pool);
        case_free(&c);
        index_free(&index);
    }
    card_close(card);
}

static void counters_count_what_is_scored(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    struct test_random random = {.state = 1};
    struct index_case c = index_make(&random, CARD_FORMAT_INT8, 64, 70, 3, 2, 5);
    struct card_counters before, after;
    uint32_t got[10];
    const card_addr pool = paged_write(card, &c.pages);
    card_count(card, &before);
    index_run(card, &c, pool, 0, 2, got);
    card_count(card, &after);
    assert_int_equal(after.kv_bytes - before.kv_bytes, (69 + 70) * 68);
    assert_int_equal(after.multiply_adds - before.multiply_adds, (69 + 70) * 3 * 65);
    card_free(card, pool);
    index_free(&c);
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_positions_are_chosen), cmocka_unit_test(long_sequences_are_indexed),
        cmocka_unit_test(ties_and_nan_have_their_place), cmocka_unit_test(attention_takes_what_index_gives),
        cmocka_unit_test(counters_count_what_is_scored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
