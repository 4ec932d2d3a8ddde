/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GLU, ADD, SCALE, SOFT_CAP, DECAY and COPY: HLS C against the simulator, bit for bit. Every activation with and without
 * limit, partners by place, column and token, results in place, lengths at the borders of lanes (16) and chunks (4096),
 * and data with infinities, NaN, subnormals and zeros of both signs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/both_cards.h"
#include "tests/kernels/shapes.h"

#define ROUNDS 80

static struct both both;

/* Runs one descriptor whose result is n floats at dst. */
static void compare(const char *what, const struct card_descriptor *d, uint64_t n_floats)
{
    char name[120];
    snprintf(name, sizeof name, "%s format %u tokens %u rows %u cols %u flags %u P0 0x%x", what, d->format, d->tokens,
             d->rows, d->cols, d->flags, d->param[0]);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 1), 0);
    assert_same_memory(&both, name, d->dst, n_floats);
}

static struct card_descriptor descriptor_of(unsigned opcode)
{
    struct card_descriptor d = {.opcode = (uint8_t)opcode, .cols = pick_length(&both)};
    d.tokens = pick_tokens(&both, d.cols);
    return d;
}

/* Each float of the range at the border of the normal numbers, to either side. */
static void put_tiny_values(card_addr at, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        store_u32(image_at(&both, at) + 4 * i, draw(&both, 2) << 31 | (0x00800000u - 2 + draw(&both, 4)));
    }
}

static void glu_of(unsigned activation, unsigned flags, int limited)
{
    struct card_descriptor d = descriptor_of(CARD_OP_GLU);
    const uint64_t n = (uint64_t)d.tokens * d.cols;
    d.format = (uint8_t)activation;
    d.flags = (uint16_t)flags;
    d.src = take_floats(&both, flags & CARD_FLAG_BROADCAST ? d.tokens : n, pick_special(&both));
    if (draw(&both, 8) == 0) put_tiny_values(d.src, flags & CARD_FLAG_BROADCAST ? d.tokens : n);
    if (!(flags & CARD_FLAG_UNWEIGHTED)) d.weight = take_floats(&both, n, pick_special(&both));
    d.dst = take(&both, 4 * n, 4);
    const uint32_t place = draw(&both, 3);
    if (place == 1 && !(flags & CARD_FLAG_BROADCAST)) d.dst = d.src;
    if (place == 2 && !(flags & CARD_FLAG_UNWEIGHTED)) d.dst = d.weight;
    d.param[0] = limited ? bits_of_float(draw(&both, 2) ? 7.0f : 0.5f) : 0;
    d.param[1] = bits_of_float(1.702f);
    compare("GLU", &d, n);
}

static void glu(void **state)
{
    (void)state;
    for (unsigned activation = 0; activation < CARD_ACTIVATION_END; activation++) {
        for (unsigned k = 0; k < 32; k++) {
            const unsigned flags = (k & 1 ? CARD_FLAG_UNWEIGHTED : 0u) | (k & 2 ? CARD_FLAG_BROADCAST : 0u);
            glu_of(activation, flags, (k & 4) != 0);
        }
    }
}

static void add(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct card_descriptor d = descriptor_of(CARD_OP_ADD);
        const uint64_t n = (uint64_t)d.tokens * d.cols;
        d.flags = i % 2 ? CARD_FLAG_BROADCAST : 0;
        d.src = take_floats(&both, n, pick_special(&both));
        d.weight = take_floats(&both, i % 2 ? d.cols : n, pick_special(&both));
        if (i % 8 >= 6) put_tiny_values(d.weight, i % 2 ? d.cols : n);
        if (i % 8 >= 6) put_tiny_values(d.src, n);
        d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
        d.param[0] = bits_of_float(i % 8 >= 6 ? 1.0f - 0x1p-24f : draw(&both, 3) ? -0.7f : 1.0f);
        compare("ADD", &d, n);
    }
}

static void scale(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct card_descriptor d = descriptor_of(CARD_OP_SCALE);
        const uint64_t n = (uint64_t)d.tokens * d.cols;
        d.flags = i % 2 ? CARD_FLAG_PER_TOKEN : 0;
        d.src = take_floats(&both, n, pick_special(&both));
        if (i % 8 >= 6) put_tiny_values(d.src, n);
        if (i % 2) d.weight = take_floats(&both, d.tokens, pick_special(&both));
        d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
        d.param[0] =
            bits_of_float(draw(&both, 3) ? 1.0f - 0x1p-24f : 1.0f); /* of 2^-126: tiny before and after rounding */
        compare("SCALE", &d, n);
    }
}

#if defined(__x86_64__) /* elsewhere a processor may look before it rounds: host/base/float_mode.h */
/*
 * Products around 2^-126 against the contract's rule, worked out in double: rounded to 24 bits as if exponents had no
 * lower end, zero with its sign if that is below 2^-126.
 */
static void tiny_products_by_the_rule(void **state)
{
    (void)state;
    static const float factors[] = {1.0f - 0x1p-24f, 1.0f - 0x1p-23f, 1.0f, 1.0f + 0x1p-23f, 0.5f,
                                    0.75f,           -0x1.fffffep-1f};
    enum { VALUES = 64 };
    float result[VALUES];
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
        struct card_descriptor d = {.opcode = CARD_OP_SCALE, .tokens = 1, .cols = VALUES};
        uint32_t bits[VALUES];
        for (uint32_t i = 0; i < VALUES; i++) bits[i] = (i % 2) << 31 | (0x00800000u - 4 + draw(&both, 1u << (i % 24)));
        d.src = take_words(&both, bits, sizeof bits, 4);
        d.dst = take(&both, sizeof result, 4);
        d.param[0] = bits_of_float(factors[f]);
        compare("SCALE", &d, VALUES);
        struct error err = {0};
        assert_int_equal(card_read(both.hls, result, d.dst, sizeof result, NULL, 0, NULL, &err), 0);
        for (uint32_t i = 0; i < VALUES; i++) {
            const int subnormal = (bits[i] & 0x7f800000u) == 0;
            const double product = (subnormal ? 0.0 : (double)float_of_bits(bits[i])) * (double)factors[f];
            const float rounded = (float)(product * 0x1p60); /* far from both ends */
            const int negative = (bits[i] >> 31 != 0) != (factors[f] < 0);
            const int tiny = rounded < 0x1p-66f && rounded > -0x1p-66f;
            const float expected = tiny ? (negative ? -0.0f : 0.0f) : rounded * 0x1p-60f;
            assert_int_equal(bits_of_float(result[i]), bits_of_float(expected));
        }
    }
}
#endif

/* A row for each choice of a token: more tokens than any other operation may have. */
static void scale_of_many_rows(void **state)
{
    (void)state;
    struct card_descriptor d = {.opcode = CARD_OP_SCALE, .tokens = 100000, .cols = 3, .flags = CARD_FLAG_PER_TOKEN};
    d.src = take_floats(&both, 300000, 100);
    d.weight = take_floats(&both, 100000, 100);
    d.dst = d.src;
    d.param[0] = bits_of_float(0.125f);
    compare("SCALE", &d, 300000);
}

static void soft_cap(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct card_descriptor d = descriptor_of(CARD_OP_SOFT_CAP);
        const uint64_t n = (uint64_t)d.tokens * d.cols;
        d.src = take_floats(&both, n, pick_special(&both));
        d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
        d.param[0] = bits_of_float(draw(&both, 2) ? 30.0f : 3.3f);
        compare("SOFT_CAP", &d, n);
    }
}

static void decay(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct card_descriptor d = descriptor_of(CARD_OP_DECAY);
        const uint64_t n = (uint64_t)d.tokens * d.cols;
        d.src = take_floats(&both, n, pick_special(&both));
        d.weight = take_floats(&both, d.cols, pick_special(&both));
        d.aux = take_floats(&both, d.cols, pick_special(&both));
        d.dst = draw(&both, 2) ? d.src : take(&both, 4 * n, 4);
        compare("DECAY", &d, n);
    }
}

/* Any bits, in and out of any spacing; what lies between the vectors of dst stays. */
static void copy(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct card_descriptor d = descriptor_of(CARD_OP_COPY);
        d.rows = d.cols > 2000 ? 1 : 1 + draw(&both, 3);
        d.param[3] = d.cols + (draw(&both, 2) ? draw(&both, 20) : 0);
        d.param[2] = (d.rows - 1) * d.param[3] + d.cols + (draw(&both, 2) ? draw(&both, 20) : 0);
        d.param[1] = draw(&both, 4) ? d.cols + draw(&both, 20) : draw(&both, 3); /* sources may overlap each other */
        d.param[0] = draw(&both, 4) ? d.rows * d.param[1] + draw(&both, 20) : draw(&both, 3);
        const uint64_t src = (d.tokens - 1ull) * d.param[0] + (d.rows - 1ull) * d.param[1] + d.cols;
        const uint64_t dst = (d.tokens - 1ull) * d.param[2] + (d.rows - 1ull) * d.param[3] + d.cols;
        d.src = take(&both, 4 * src, 4);
        d.dst = take(&both, 4 * dst, 4);
        compare("COPY", &d, dst);
    }
}

static int open_both(void **state)
{
    (void)state;
    both_open(&both, seed_of_run());
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    both_close(&both);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(glu),
        cmocka_unit_test(add),
        cmocka_unit_test(scale),
        cmocka_unit_test(scale_of_many_rows),
#if defined(__x86_64__)
        cmocka_unit_test(tiny_products_by_the_rule),
#endif
        cmocka_unit_test(soft_cap),
        cmocka_unit_test(decay),
        cmocka_unit_test(copy),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
