/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ATTENTION on the simulator: each feature on each page format against double, which reads keys and values from the
 * page's bytes; the same bits for a token alone and in a run, on one thread and several; and what is not a number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/attention_for_test.h"

/* The whole step on two threads is near `want`, and token by token on one thread, and in threes, has the same bits. */
static void check_case(struct card *two, struct card *one, struct attention_case *c)
{
    const size_t rows = (size_t)c->queries * c->heads, n = rows * c->value_dims,
                 token = (size_t)c->heads * c->value_dims;
    float *got = calloc(n, 4), *want = calloc(n, 4), *alone = calloc(n, 4);
    const card_addr pool = paged_write(two, &c->pages), copy = put(one, c->pages.pool, c->pages.pool_bytes);
    struct test_query query = query_quantized(two, c->query, (uint32_t)rows, c->key_dims);
    char what[120];
    snprintf(what, sizeof what, "format %u, features 0x%x, dims %u/%u, heads %u/%u, length %u, queries %u", c->format,
             c->features, c->key_dims, c->value_dims, c->heads, c->kv_heads, c->length, c->queries);
    case_run(two, c, pool, 0, c->queries, got);
    case_in_double(c, &query, want);
    assert_near(what, got, want, n, TOLERANCE_ATTENTION);
    for (uint32_t t = 0; t < c->queries; t++) case_run(one, c, copy, t, 1, alone + t * token);
    if (memcmp(got, alone, n * 4)) fail_msg("%s: other bits token by token", what);
    for (uint32_t t = 0; t < c->queries; t += 3) {
        case_run(one, c, copy, t, c->queries - t < 3 ? c->queries - t : 3, alone + t * token);
    }
    if (memcmp(got, alone, n * 4)) fail_msg("%s: other bits by threes", what);
    card_free(two, pool);
    card_free(one, copy);
    query_free(&query);
    free(got);
    free(want);
    free(alone);
}

static void features_agree_with_double(void **state)
{
    (void)state;
    static const unsigned features[] = {0,
                                        WINDOW,
                                        CHUNK,
                                        ALL_VISIBLE,
                                        SOFT_CAP,
                                        SINKS,
                                        BIAS,
                                        SPARSE,
                                        LATENT,
                                        WINDOW | SOFT_CAP | SINKS | BIAS,
                                        ALL_VISIBLE | BIAS | CHUNK,
                                        SPARSE | LATENT | SINKS,
                                        WINDOW | CHUNK | ALL_VISIBLE | SOFT_CAP | SINKS | BIAS | SPARSE | LATENT};
    static const uint32_t dims[][2] = {{24, 24}, {64, 64}, {33, 17}, {1, 1}, {80, 48}, {40, 100}, {192, 128}};
    static const uint32_t lengths[] = {1, 2, 31, 32, 33, 64, 65, 97};
    static const uint32_t heads[][2] = {{1, 1}, {6, 6}, {6, 3}, {4, 1}};
    const uint32_t times = getenv("SLUICE_SHORT") ? 1 : 4;
    struct card *two = open_card("sim", 2), *one = open_card("sim", 1);
    struct test_random random = {.state = seed_of_test(20261121)};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++) {
        for (uint32_t i = 0; i < times * N_PAGE_FORMATS; i++) {
            const uint32_t *d = dims[random_below(&random, 7)], *h = heads[random_below(&random, 4)];
            struct attention_case c = {.format = page_formats[i % N_PAGE_FORMATS], .features = features[f]};
            c.heads = h[0];
            c.kv_heads = h[1];
            c.key_dims = d[0];
            c.value_dims = c.features & LATENT && d[1] > d[0] ? d[0] : d[1];
            c.length = i < N_PAGE_FORMATS ? 97 : lengths[random_below(&random, 8)];
            c.queries = 1 + random_below(&random, c.length < 40 ? c.length : 40);
            case_make(&random, &c);
            check_case(two, one, &c);
            case_free(&c);
        }
    }
    card_close(two);
    card_close(one);
}

/* 33 tokens of the shape of DeepSeek's latent attention, over more pages than a run has tokens. SLUICE_SHORT: 5 of 1 head. */
static void latent_attention_of_576_agrees(void **state)
{
    (void)state;
    struct card *two = open_card("sim", 2), *one = open_card("sim", 1);
    struct test_random random = {.state = seed_of_test(20261121)};
    const uint32_t heads = getenv("SLUICE_SHORT") ? 1 : 4, queries = getenv("SLUICE_SHORT") ? 5 : 33;
    for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
        struct attention_case c = {.format = page_formats[f], .features = LATENT, .heads = heads, .kv_heads = 1};
        c.key_dims = 576;
        c.value_dims = 512;
        c.length = 700;
        c.queries = queries;
        case_make(&random, &c);
        check_case(two, one, &c);
        case_free(&c);
    }
    card_close(two);
    card_close(one);
}

/* Tokens of several sequences, in any order: each has the bits that it has alone. */
static void sequences_do_not_mix(void **state)
{
    (void)state;
    struct card *two = open_card("sim", 2);
    struct test_random random = {.state = seed_of_test(20261121)};
    for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
        struct attention_case c = {.format = page_formats[f], .heads = 4, .kv_heads = 2, .key_dims = 40};
        float want[12 * 4 * 24], got[12 * 4 * 24];
        c.value_dims = 24;
        c.length = 96;
        c.queries = 12;
        case_make(&random, &c);
        /* Sequences start at pages 0 and 1 of the table; positions go on from token to token, sequences do not. */
        for (uint32_t t = 0; t < 12; t++) c.batch[t] = (struct card_batch_token){40 + t, t / 3 % 2, 41 + t, 0};
        const card_addr pool = paged_write(two, &c.pages);
        case_run(two, &c, pool, 0, 12, got);
        for (uint32_t t = 0; t < 12; t++) case_run(two, &c, pool, t, 1, want + t * 96);
        assert_memory_equal(got, want, sizeof got);
        card_free(two, pool);
        case_free(&c);
    }
    card_close(two);
}

/* ---- nothing seen, infinities, NaN ---- */

static void assert_bits(const float *x, size_t n, uint32_t bits)
{
    for (size_t i = 0; i < n; i++) {
        if (bits_of(x[i]) != bits) fail_msg("element %zu is 0x%08x, not 0x%08x", i, bits_of(x[i]), bits);
    }
}

/* Three tokens at positions 68 to 70 of a sequence of 71, 2 heads of 1 KV head. */
static struct attention_case small_case(struct test_random *random, unsigned format, unsigned features)
{
    struct attention_case c = {.format = format, .features = features, .heads = 2, .kv_heads = 1, .key_dims = 40};
    c.value_dims = 40;
    c.length = 71;
    c.queries = 3;
    case_make(random, &c);
    return c;
}

static void nothing_seen_gives_zero(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 2);
    struct test_random random = {.state = seed_of_test(20261121)};
    static const unsigned features[] = {0, SINKS, SPARSE, CHUNK, WINDOW, WINDOW | SINKS | BIAS | SOFT_CAP | LATENT};
    for (size_t i = 0; i < 6 * N_PAGE_FORMATS; i++) {
        struct attention_case c = small_case(&random, page_formats[i % N_PAGE_FORMATS], features[i / N_PAGE_FORMATS]);
        float got[3 * 80];
        c.window = 10;
        c.chunk = 35; /* tokens 0 and 1 are in [35, 70), token 2 in [70, 105) */
        if (c.features & SPARSE) {
            memset(c.sparse, 0xff, (size_t)3 * c.n_sparse * 4); /* CARD_NO_POSITION */
            c.sparse[0] = c.sparse[2 * c.n_sparse] = 40;
        } else {
            c.batch[1].visible = c.features & CHUNK ? 35 : c.features & WINDOW ? 60 : 0;
        }
        c.sinks[0] = NAN; /* no score, so no effect where nothing is seen */
        const card_addr pool = paged_write(card, &c.pages);
        case_run(card, &c, pool, 0, 3, got);
        assert_bits(got + 80, 80, 0);
        assert_true(c.features & SINKS ? isnan(got[0]) : got[0] != 0);
        assert_true(got[40] != 0 && isfinite(got[40]) && got[200] != 0 && isfinite(got[200]));
        card_free(card, pool);
        case_free(&c);
    }
    card_close(card);
}

/* A NaN or infinity in a key, a value or a query touches what reads it and nothing else; a NaN has one pattern. */
static void what_is_no_number_is_defined(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 2);
    struct test_random random = {.state = seed_of_test(20261121)};
    for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
        for (unsigned what = 0; what < 7; what++) {
            struct attention_case c = small_case(&random, page_formats[f], 0);
            const int integers = f >= 2;
            float clean[3 * 80], got[3 * 80];
            card_addr pool = paged_write(card, &c.pages);
            case_run(card, &c, pool, 0, 3, clean);
            card_free(card, pool);
            /* Position 69 is not seen by token 0 at 68. The scale is positive, as is element 0 of the queries. */
            for (int row = 0; row < 6; row++) c.query[row * 40] = 0.5f;
            pool = paged_write(card, &c.pages);
            case_run(card, &c, pool, 0, 3, clean);
            card_free(card, pool);
            if (what == 0) c.pages.key[69 * 40] = float_of_bits(0xffc12345);
            if (what == 1) c.pages.key[69 * 40] = INFINITY;
            if (what == 2) c.pages.key[69 * 40] = -INFINITY;
            if (what == 3) c.pages.value[69 * 40 + 3] = float_of_bits(0x7f812345);
            if (what == 4) c.pages.value[69 * 40 + 3] = -INFINITY;
            if (what == 5) c.query[4 * 40 + 7] = NAN; /* head 0 of token 2 */
            if (what == 6) {
                c.pages.value[69 * 40 + 3] = INFINITY;
                c.pages.value[70 * 40 + 3] = -INFINITY; /* seen by token 2 */
            }
            pool = paged_write(card, &c.pages);
            case_run(card, &c, pool, 0, 3, got);
            assert_memory_equal(got, clean, 320);
            for (int row = 2; row < 6; row++) {
                const float *x = got + row * 40;
                if (what < 2 || (what == 2 && integers) || (what == 5 && row == 4)) assert_bits(x, 40, 0x7fc00000);
                if (what == 2 && !integers) assert_true(isfinite(x[0]) && isfinite(x[39]));
                if (what == 3 || (what == 4 && integers)) {
                    assert_bits(x + 3, 1, 0x7fc00000);
                    assert_memory_equal(x + 32, clean + row * 40 + 32, 32); /* the next group of 32 */
                }
                if (what == 4 && !integers) assert_bits(x + 3, 1, 0xff800000);
                if (what == 6) assert_bits(x + 3, 1, row >= 4 || integers ? 0x7fc00000 : 0x7f800000);
                if (what == 5 && row != 4) assert_memory_equal(x, clean + row * 40, 160);
            }
            card_free(card, pool);
            case_free(&c);
        }
    }
    card_close(card);
}

/* Every score -infinity: there is no largest, and the result is NaN, as the order of operations says. */
static void all_scores_minus_infinity_give_nan(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    struct test_random random = {.state = seed_of_test(20261121)};
    struct attention_case c = small_case(&random, CARD_FORMAT_F32, BIAS);
    float got[3 * 80];
    for (uint32_t i = 0; i < 2 * c.reach + 1; i++) c.bias[i] = -INFINITY; /* head 0 */
    const card_addr pool = paged_write(card, &c.pages);
    case_run(card, &c, pool, 0, 3, got);
    for (int t = 0; t < 3; t++) assert_bits(got + 80 * t, 40, 0x7fc00000);
    for (int t = 0; t < 3; t++) assert_true(isfinite(got[80 * t + 40]));
    card_free(card, pool);
    case_free(&c);
    card_close(card);
}

/* Subnormal queries, keys, values, sinks and biases count as zeros, and no result is one. */
static void subnormals_count_as_zero(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 2);
    struct test_random random = {.state = seed_of_test(8)};
    for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
        float got[2][3 * 80];
        struct attention_case c = small_case(&random, page_formats[f], SINKS | BIAS);
        for (int kept = 0; kept < 2; kept++) {
            const float tiny = kept ? 0x1.8p-127f : 0.0f;
            for (uint32_t i = 0; i < 71 * 40; i += 3) c.pages.key[i] = tiny;
            for (uint32_t i = 0; i < 71 * 40; i += 2) c.pages.value[i] = i % 40 == 32 ? 0x1p-126f : -tiny;
            for (uint32_t i = 0; i < 240; i += 5) c.query[i] = tiny;
            c.sinks[0] = -tiny;
            c.bias[0] = tiny;
            const card_addr pool = paged_write(card, &c.pages);
            case_run(card, &c, pool, 0, 3, got[kept]);
            card_free(card, pool);
        }
        for (size_t i = 0; i < 240; i++) {
            const uint32_t zero = bits_of(got[0][i]), tiny = bits_of(got[1][i]);
            assert_true(((zero ^ tiny) & 0x7fffffff) == 0);
            assert_true((zero & 0x7fffffff) == 0 || (zero & 0x7f800000) != 0);
        }
        /* A share of 2^-126 that is less than all, as the sink takes some. */
        for (size_t i = 32; i < 240 && f < 2; i += 40) assert_true(got[1][i] == 0);
        case_free(&c);
    }
    card_close(card);
}

/* ---- counters ---- */

static void counters_count_what_is_seen(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    struct test_random random = {.state = seed_of_test(20261121)};
    /* Bytes of a key or value of 40 dimensions with its scales: 160, 80, 2 x 34, 2 x 20. */
    static const uint64_t bytes[] = {160, 80, 68, 40};
    for (size_t i = 0; i < 3 * N_PAGE_FORMATS; i++) {
        const unsigned features = (const unsigned[]){WINDOW, SPARSE, LATENT}[i / N_PAGE_FORMATS];
        struct attention_case c = small_case(&random, page_formats[i % N_PAGE_FORMATS], features);
        struct card_counters before, written, after;
        float got[3 * 80];
        uint64_t seen = 0;
        for (uint32_t t = 0; t < 3; t++) {
            for (uint32_t j = 0; j < c.length; j++) seen += (uint64_t)case_sees(&c, t, j);
        }
        const uint64_t vectors = features == LATENT ? 1 : 2;
        card_count(card, &before);
        const card_addr pool = paged_write(card, &c.pages);
        card_count(card, &written);
        case_run(card, &c, pool, 0, 3, got);
        card_count(card, &after);
        assert_int_equal(written.kv_bytes - before.kv_bytes, 71 * vectors * bytes[i % N_PAGE_FORMATS]);
        assert_int_equal(after.kv_bytes - written.kv_bytes, seen * vectors * bytes[i % N_PAGE_FORMATS]);
        assert_int_equal(after.multiply_adds - written.multiply_adds, seen * 2 * 80);
        card_free(card, pool);
        case_free(&c);
    }
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_agree_with_double),   cmocka_unit_test(latent_attention_of_576_agrees),
        cmocka_unit_test(sequences_do_not_mix),         cmocka_unit_test(nothing_seen_gives_zero),
        cmocka_unit_test(what_is_no_number_is_defined), cmocka_unit_test(all_scores_minus_infinity_give_nan),
        cmocka_unit_test(subnormals_count_as_zero),     cmocka_unit_test(counters_count_what_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
