/* SPDX-License-Identifier: Apache-2.0 */
/* What KV_WRITE puts into pages, element by element, by the text of card_layout.h and kernels/README.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/pages_for_test.h"

/* How far a stored element may be from what was written: of its group (n values at x). */
static double allowed(unsigned format, const float *x, uint32_t n, double value)
{
    double least = INFINITY, most = -INFINITY;
    for (uint32_t i = 0; i < n; i++) least = fmin(least, (double)x[i]);
    for (uint32_t i = 0; i < n; i++) most = fmax(most, (double)x[i]);
    const double magnitude = fmax(fabs(least), fabs(most));
    switch (format) {
    case CARD_FORMAT_F32: return 0;
    case CARD_FORMAT_F16: return fabs(value) * 0x1p-11 + 0x1p-25;
    /* Half a step, and the scale is rounded to 11 bits, which q = 127 multiplies. */
    case CARD_FORMAT_INT8: return magnitude / 127 * 0.5 + magnitude * 0x1p-11 + 0x1p-24;
    default: return (most - least) / 15 * 0.5 + (most - least) * 0x1p-11 + magnitude * 0x1p-11 + 0x1p-24;
    }
}

static void check_vector(const struct paged *p, int is_value, uint32_t position, uint32_t head)
{
    const uint32_t dims = is_value ? p->value_dims : p->key_dims;
    const float *x = (is_value ? p->value : p->key) + ((size_t)position * p->kv_heads + head) * dims;
    for (uint32_t i = 0; i < dims; i++) {
        const uint32_t from = i / 32 * 32, n = dims - from < 32 ? dims - from : 32;
        const struct page_element e = is_value ? paged_value(p, position, head, i) : paged_key(p, position, head, i);
        if (fabs(e.value - (double)x[i]) > allowed(p->format, x + from, n, (double)x[i])) {
            fail_msg("format %u, dims %u, position %u, head %u: %s %u is %g, written was %g", p->format, dims, position,
                     head, is_value ? "value" : "key", i, e.value, (double)x[i]);
        }
    }
}

/* Bytes of the pool that no written vector owns are as they were. */
static void check_rest(const struct paged *p)
{
    size_t touched = 0,
           most = (size_t)p->length * p->kv_heads *
                  (block_bytes(p->format, p->key_dims) + (p->value_dims ? block_bytes(p->format, p->value_dims) : 0)) /
                  32;
    for (size_t i = 0; i < p->pool_bytes; i++) touched += p->pool[i] != 0xa5;
    assert_true(touched <= most && touched >= most / 2);
    for (size_t i = 0; i < 2 * p->page_bytes; i++) assert_int_equal(p->pool[i], 0xa5); /* pages of nobody */
}

static void what_is_written_is_what_the_layout_says(void **state)
{
    (void)state;
    struct test_random random = {.state = seed_of_test(4711)};
    const uint32_t dims[][2] = {{1, 1}, {24, 24}, {32, 64}, {33, 17}, {100, 80}, {64, 0}, {576, 0}, {1024, 1024}};
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct card *card = open_card("sim", threads);
        for (size_t i = 0; i < N_PAGE_FORMATS * 8; i++) {
            const uint32_t *d = dims[i / N_PAGE_FORMATS];
            struct paged p =
                paged_make(&random, page_formats[i % N_PAGE_FORMATS], 1 + (uint32_t)i % 3, d[0], d[1], i % 2 ? 33 : 70);
            assert_int_equal(p.page_bytes, card_page_bytes(p.format, p.kv_heads, p.key_dims, p.value_dims));
            const card_addr pool = paged_write(card, &p);
            for (uint32_t t = 0; t < p.length; t++) {
                for (uint32_t h = 0; h < p.kv_heads; h++) {
                    check_vector(&p, 0, t, h);
                    if (p.value_dims) check_vector(&p, 1, t, h);
                }
            }
            check_rest(&p);
            card_free(card, pool);
            paged_free(&p);
        }
        card_close(card);
    }
}

/* Writes one vector of keys of n dimensions to slot 0, returns the block. */
static void write_one(struct card *card, unsigned format, const float *x, uint32_t n, uint8_t *block)
{
    struct test_random random = {.state = 1};
    struct paged p = paged_make(&random, format, 1, n, 0, 1);
    memcpy(p.key, x, n * sizeof *x);
    card_free(card, paged_write(card, &p));
    memcpy(block, paged_at(&p, 0), p.page_bytes);
    paged_free(&p);
}

/* Groups whose codes can be worked out by hand. */
static void codes_of_groups_are_exact(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    uint8_t block[32 * 2 * 34];
    float x[40] = {0};
    for (int i = 0; i < 32; i++) x[i] = (float)(127 - 8 * i); /* 127 down to -121: scale 1 */
    for (int i = 32; i < 40; i++) x[i] = -3.0f;               /* scale half(3/127), q -127, then padding */
    write_one(card, CARD_FORMAT_INT8, x, 40, block);
    for (int i = 0; i < 32; i++) assert_int_equal((int8_t)block[i], 127 - 8 * i);
    for (int i = 32; i < 64; i++) assert_int_equal((int8_t)block[i], i < 40 ? -127 : 0);
    assert_int_equal(load_u16(block + 2048), 0x3c00);
    assert_int_equal(load_u16(block + 2050), 0x260c); /* 3/127 = 2^-6 * 1.5118, rounded to 2^-16 */

    for (int i = 0; i < 32; i++) x[i] = (float)(i % 16) - 4.0f + (i >= 16 ? 0.25f : 0.0f); /* -4 to 11.25 */
    x[31] = 11.0f;
    write_one(card, CARD_FORMAT_INT4, x, 40, block);
    for (int i = 0; i < 16; i++) assert_int_equal(block[i], i | i << 4);
    for (int i = 16; i < 32; i++) assert_int_equal(block[i], 0); /* all eight alike: scale 0 */
    assert_int_equal(load_u16(block + 1024), 0x3c00);
    assert_int_equal(load_u16(block + 1026), 0);
    assert_int_equal(load_u16(block + 1024 + 128), 0xc400); /* -4 */
    assert_int_equal(load_u16(block + 1024 + 130), 0xc200); /* -3 */
    card_close(card);
}

/* Ties go to even: 0.5 to 0, 1.5 to 2, 2.5 to 2, and back. */
static void codes_round_to_even(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    uint8_t block[32 * 34];
    const float x[8] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.0f};
    const int want[8] = {127, 0, 2, 2, 0, -2, -2, 0};
    write_one(card, CARD_FORMAT_INT8, x, 8, block);
    for (int i = 0; i < 8; i++) assert_int_equal((int8_t)block[i], want[i]);
    const float y[8] = {0.0f, 15.0f, 0.5f, 1.5f, 2.5f, 13.5f, 14.5f, 7.25f};
    const int codes[8] = {0, 15, 0, 2, 2, 14, 14, 7};
    write_one(card, CARD_FORMAT_INT4, y, 8, block);
    for (int i = 0; i < 8; i++) assert_int_equal(block[i], codes[i]);
    card_close(card);
}

/* Zeros, subnormals, NaN, infinities, what is too large for a half, and ranges too small for one. */
static void unusual_groups_are_defined(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    const struct {
        float a, b;
        uint16_t scale8, scale4, min4;
        int q8[2], q4[2];
    } cases[] = {
        {0.0f, 0.0f, 0, 0, 0, {0, 0}, {0, 0}},
        {-0.0f, -0.0f, 0, 0, 0, {0, 0}, {0, 0}},
        {-0.0f, 0.0f, 0, 0, 0, {0, 0}, {0, 0}},
        {1e-40f, -1e-40f, 0, 0, 0, {0, 0}, {0, 0}},
        {1e-30f, -1e-30f, 0, 0, 0, {0, 0}, {0, 0}},
        {NAN, 1.0f, 0x7e00, 0x7e00, 0x7e00, {0, 0}, {0, 0}},
        {1.0f, -NAN, 0x7e00, 0x7e00, 0x7e00, {0, 0}, {0, 0}},
        {1.0f, INFINITY, 0x7e00, 0x7e00, 0x7e00, {0, 0}, {0, 0}},
        {-INFINITY, 1.0f, 0x7e00, 0x7e00, 0x7e00, {0, 0}, {0, 0}},
        {0x1.ffc002p15f, 0.0f, 0x7e00, 0x7e00, 0x7e00, {0, 0}, {0, 0}}, /* the first above 65504 */
        {65504.0f, 65504.0f, 0x6008, 0, 0x7bff, {127, 127}, {0, 0}},    /* 515.78 is nearest to 516 */
        {65504.0f, -65504.0f, 0x6008, 0x7044, 0xfbff, {127, -127}, {15, 0}},
        {1024.25f, 1024.75f, 0x4809, 0x2844, 0x6400, {127, 127}, {8, 15}}, /* the minimum rounds down to 1024 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const float x[2] = {cases[i].a, cases[i].b};
        uint8_t block[32 * 34];
        write_one(card, CARD_FORMAT_INT8, x, 2, block);
        if (load_u16(block + 1024) != cases[i].scale8) fail_msg("case %zu: INT8 scale 0x%x", i, load_u16(block + 1024));
        for (int k = 0; k < 32; k++) assert_int_equal((int8_t)block[k], k < 2 ? cases[i].q8[k] : 0);
        write_one(card, CARD_FORMAT_INT4, x, 2, block);
        if (load_u16(block + 512) != cases[i].scale4) fail_msg("case %zu: INT4 scale 0x%x", i, load_u16(block + 512));
        if (load_u16(block + 576) != cases[i].min4) fail_msg("case %zu: INT4 min 0x%x", i, load_u16(block + 576));
        for (int k = 0; k < 16; k++) assert_int_equal(block[k], k < 2 ? cases[i].q4[k] : 0);
    }
    card_close(card);
}

/* A NaN has one pattern; everything else keeps its bits (F32) or rounds (F16). */
static void floats_are_kept_and_nan_is_one(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    const uint32_t in[] = {0x7fc00000, 0xffc00001, 0x7f800001, 0x7f800000, 0xff800000, 0x80000000,
                           0x3f801000, 0x3f803000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001};
    const uint32_t want[] = {0x7fc00000, 0x7fc00000, 0x7fc00000, 0x7f800000, 0xff800000, 0x80000000,
                             0x3f801000, 0x3f803000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001};
    const uint16_t half[] = {0x7e00, 0x7e00, 0x7e00, 0x7c00, 0xfc00, 0x8000,
                             0x3c00, 0x3c02, 0x7bff, 0x7c00, 0x0000, 0x0001};
    enum { N = 36 }; /* so that both whole vectors and a tail are met */
    float x[N];
    uint8_t block[32 * N * 4];
    for (int i = 0; i < N; i++) x[i] = float_of_bits(in[i % 12]);
    write_one(card, CARD_FORMAT_F32, x, N, block);
    for (int i = 0; i < N; i++) assert_int_equal(load_u32(block + 4 * i), want[i % 12]);
    write_one(card, CARD_FORMAT_F16, x, N, block);
    for (int i = 0; i < N; i++) assert_int_equal(load_u16(block + 2 * i), half[i % 12]);
    card_close(card);
}

/* Of two tokens that name one slot, the later in the batch is kept. */
static void the_last_token_of_a_slot_stays(void **state)
{
    (void)state;
    struct test_random random = {.state = 5};
    for (size_t f = 0; f < N_PAGE_FORMATS; f++) {
        struct card *card = open_card("sim", 2);
        struct paged p = paged_make(&random, page_formats[f], 3, 20, 12, 1);
        struct {
            struct card_batch_token token[2];
            uint32_t page;
        } batch = {{{5, 0, 6, 0}, {5, 0, 6, 0}}, 0};
        float key[2 * 3 * 20], value[2 * 3 * 12];
        for (int i = 0; i < 60; i++) key[i] = 9.0f;
        for (int i = 0; i < 36; i++) value[i] = 9.0f;
        memcpy(key + 60, p.key, 240);
        memcpy(value + 36, p.value, 144);
        struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)p.format, .tokens = 2, .rows = 3};
        d.cols = 20;
        d.param[0] = 1;
        d.param[1] = 12;
        d.src = put_floats(card, key, 120);
        d.weight = put_floats(card, value, 72);
        d.aux = put(card, &batch, sizeof batch);
        d.dst = put(card, NULL, p.page_bytes);
        run_program(card, &d, 1);
        get(card, p.pool, d.dst, p.page_bytes);
        for (uint32_t h = 0; h < 3; h++) {
            for (uint32_t i = 0; i < 20; i++) {
                const uint8_t *block = p.pool + h * block_bytes(p.format, 20);
                assert_true(fabs(page_element(block, p.format, 20, 5, i).value - (double)key[60 + 20 * h + i]) < 0.1);
            }
        }
        paged_free(&p);
        card_close(card);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_what_the_layout_says),
        cmocka_unit_test(codes_of_groups_are_exact),
        cmocka_unit_test(codes_round_to_even),
        cmocka_unit_test(unusual_groups_are_defined),
        cmocka_unit_test(floats_are_kept_and_nan_is_one),
        cmocka_unit_test(the_last_token_of_a_slot_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
