/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tile kernels of each instruction set give tile_generic's bits (which quantized_test.c holds against the contract):
 * random tiles, scales that are zero, subnormal, infinite or NaN, sums at the ends of 16 bits, padding, any number of rows.
 * Kernels that this processor lacks are skipped by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/float_mode.h"
#include "sim/tile_kernels.h"
#include "tests/unit/card/pack_for_test.h"

enum { MOST_ROWS = 65, MOST_BLOCKS = 5, MOST_GROUPS = MOST_BLOCKS * 8, MOST_BYTES = MOST_BLOCKS * 3392 };

/* How the weights and activations of a case are chosen. */
enum kind { FINITE, SPECIAL, EXTREME, N_KINDS };

struct tile_case {
    unsigned format;
    enum kind kind;
    uint32_t blocks, groups, n;
    uint8_t tile[MOST_BYTES];
    int8_t value[MOST_ROWS][MOST_GROUPS * CARD_GROUP_COLS];
    float scale[MOST_ROWS][MOST_GROUPS];
    int32_t sum[MOST_ROWS][MOST_GROUPS];
    float start[MOST_ROWS][CARD_TILE_ROWS];
    struct act_row rows[MOST_ROWS];
};

static uint32_t block_groups(unsigned format) { return card_block_cols(format) / CARD_GROUP_COLS; }

/* ---- weights ---- */

static uint16_t half_of_kind(struct test_random *random, enum kind kind)
{
    /* Zeros, subnormals, the least normal, the largest, infinities, NaNs quiet and not. */
    static const uint16_t special[] = {0,      0x8000, 1,      0x83ff, 0x0200, 0x0400, 0x8400,
                                       0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xfe55};
    if (kind == SPECIAL && random_below(random, 3) == 0) return special[random_below(random, 14)];
    const uint32_t any = random_u32(random);
    return (uint16_t)((any & 0x83ff) | (any >> 16 & 0x7fff) % 31 << 10);
}

static void put_halves(struct test_random *random, enum kind kind, uint8_t *to, unsigned n)
{
    for (unsigned i = 0; i < n; i++) store_u16(to + 2 * (size_t)i, half_of_kind(random, kind));
}

static uint8_t exponent_of_kind(struct test_random *random, enum kind kind)
{
    static const uint8_t border[] = {0, 1, CARD_MXFP4_LEAST - 1, CARD_MXFP4_LEAST, CARD_MXFP4_LEAST + 1, 253, 254, 255};
    if (kind == SPECIAL && random_below(random, 2)) return border[random_below(random, 8)];
    return (uint8_t)(100 + random_below(random, 60));
}

/* Weights of EXTREME: whole tiles, or single bytes, of one of the ends of the range. */
static void put_extremes(struct test_random *random, uint8_t *to, size_t n)
{
    static const uint8_t ends[] = {0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0, 0x77, 0x81};
    const uint8_t one = ends[random_below(random, 8)];
    const int mixed = random_below(random, 3) == 0;
    for (size_t i = 0; i < n; i++) to[i] = mixed ? ends[random_below(random, 8)] : one;
}

static void make_tile(struct test_random *random, struct tile_case *c)
{
    const size_t bytes = card_block_bytes(c->format);
    for (uint32_t b = 0; b < c->blocks; b++) {
        uint8_t *block = c->tile + b * bytes;
        if (c->kind == EXTREME)
            put_extremes(random, block, bytes);
        else
            for (size_t i = 0; i < bytes; i++) block[i] = (uint8_t)random_u32(random);
        switch (c->format) {
        case CARD_FORMAT_INT4:
        case CARD_FORMAT_INT8: put_halves(random, c->kind, block, 32); break;
        case CARD_FORMAT_INT4_MIN:
        case CARD_FORMAT_INT8_MIN: put_halves(random, c->kind, block, 64); break;
        case CARD_FORMAT_MXFP4:
            for (int i = 0; i < 64; i++) block[i] = exponent_of_kind(random, c->kind);
            break;
        default: put_halves(random, c->kind, block, 32); break;
        }
    }
}

/* ---- activations ---- */

static int8_t value_of_kind(struct test_random *random, enum kind kind, int sign)
{
    if (kind != EXTREME) return (int8_t)((int)random_below(random, 255) - 127);
    return (int8_t)(sign ? sign * 127 : random_below(random, 2) ? 127 : -127);
}

/* As QUANTIZE writes them: a scale of zero or NaN has values of zero. */
static void make_group(struct test_random *random, struct tile_case *c, uint32_t row, uint32_t group)
{
    static const float special[] = {0, NAN, 0x1p-64f, 0x1.8p-64f, 0x1p-60f, 0x1.fcp120f};
    float scale = ldexpf(1 + (float)random_below(random, 1u << 23) * 0x1p-23f, (int)random_below(random, 40) - 30);
    if (c->kind == SPECIAL && random_below(random, 3) == 0) scale = special[random_below(random, 6)];
    const int sign = (int)random_below(random, 3) - 1; /* 0: mixed */
    int8_t *value = c->value[row] + (size_t)group * CARD_GROUP_COLS;
    c->scale[row][group] = scale;
    c->sum[row][group] = 0;
    for (unsigned i = 0; i < CARD_GROUP_COLS; i++) {
        value[i] = isnan(scale) || scale == 0 ? 0 : value_of_kind(random, c->kind, sign);
        c->sum[row][group] += value[i];
    }
}

static void make_case(struct test_random *random, struct tile_case *c)
{
    make_tile(random, c);
    for (uint32_t i = 0; i < c->n; i++) {
        for (uint32_t g = 0; g < c->groups; g++) make_group(random, c, i, g);
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++)
            c->start[i][r] = random_below(random, 2) ? random_float(random) : 0;
        c->rows[i] = (struct act_row){c->value[i], c->scale[i], c->sum[i]};
    }
}

/* ---- comparison ---- */

static uint64_t seed_of_run(void)
{
    const char *given = getenv("SLUICE_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : 20261121;
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fc00000u : bits; /* stored sums have one NaN */
}

static void run_kernel(tile_kernel *kernel, const struct tile_case *c, float (*acc)[CARD_TILE_ROWS])
{
    memcpy(acc, c->start, sizeof c->start);
    const uint64_t mode = float_mode_enter();
    kernel(c->format, c->tile, c->blocks, c->groups, c->rows, c->n, acc);
    float_mode_set(mode);
}

static void compare(const char *name, tile_kernel *kernel, struct test_random *random, struct tile_case *c)
{
    float want[MOST_ROWS][CARD_TILE_ROWS], got[MOST_ROWS][CARD_TILE_ROWS];
    make_case(random, c);
    run_kernel(tile_generic, c, want);
    run_kernel(kernel, c, got);
    for (uint32_t i = 0; i < MOST_ROWS; i++) { /* rows from n on have not changed */
        for (unsigned r = 0; r < CARD_TILE_ROWS; r++) {
            if (bits_of(got[i][r]) == bits_of(want[i][r])) continue;
            fail_msg("%s, format %u, kind %d, %u blocks, %u groups, %u rows: [%u][%u] is %a, not %a", name, c->format,
                     (int)c->kind, c->blocks, c->groups, c->n, i, r, (double)got[i][r], (double)want[i][r]);
        }
    }
}

static void gives_generics_bits(const char *name)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 64, 65};
    const char *found;
    tile_kernel *kernel = tile_kernel_find(name, &found);
    if (!kernel) {
        print_message("this processor or build has no kernel \"%s\"\n", name);
        skip();
    }
    struct test_random random = {.state = seed_of_run()};
    struct tile_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (c->format = CARD_FORMAT_INT4; c->format < CARD_FORMAT_END; c->format++) {
        const uint32_t most = block_groups(c->format);
        for (unsigned i = 0; i < 12 * 48; i++) {
            c->kind = (enum kind)(i / 12 % N_KINDS);
            c->n = counts[i % 12];
            c->blocks = i / 36 == 0 ? 1 : 1 + random_below(&random, MOST_BLOCKS);
            /* Activations are padded to two groups: so many of the last block's are used. */
            c->groups = (c->blocks - 1) * most + 2 * (1 + random_below(&random, most / 2));
            compare(name, kernel, &random, c);
        }
    }
    free(c);
}

static void avx512_gives_generics_bits(void **state)
{
    (void)state;
    gives_generics_bits("avx512");
}

static void avx2_gives_generics_bits(void **state)
{
    (void)state;
    gives_generics_bits("avx2");
}

static void neon_gives_generics_bits(void **state)
{
    (void)state;
    gives_generics_bits("neon");
}

/* ---- which kernel ---- */

static void kernels_are_found_by_name(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "AVX2", "avx", "avx2 ", "generic2", "sse", "neo"};
    const char *name = "unchanged";
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(tile_kernel_find(wrong[i], &name));
        assert_string_equal(name, "unchanged");
    }
    assert_true(tile_kernel_find("generic", &name) == tile_generic);
    assert_string_equal(name, "generic");
#if defined(__x86_64__)
    assert_null(tile_kernel_find("neon", &name));
#else
    assert_null(tile_kernel_find("avx2", &name));
    assert_null(tile_kernel_find("avx512", &name));
#endif
}

static void the_fastest_that_the_processor_has_is_the_default(void **state)
{
    (void)state;
    static const char *const fastest_first[] = {"avx512", "avx2", "neon", "generic"};
    const char *chosen, *name;
    tile_kernel *kernel = tile_kernel_find(NULL, &chosen);
    assert_non_null(kernel);
    for (size_t i = 0; i < sizeof fastest_first / sizeof *fastest_first; i++) {
        if (!tile_kernel_find(fastest_first[i], &name)) continue;
        assert_string_equal(chosen, fastest_first[i]);
        assert_true(tile_kernel_find(chosen, &name) == kernel);
        break;
    }
    print_message("chosen: %s\n", chosen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(avx512_gives_generics_bits),
        cmocka_unit_test(avx2_gives_generics_bits),
        cmocka_unit_test(neon_gives_generics_bits),
        cmocka_unit_test(kernels_are_found_by_name),
        cmocka_unit_test(the_fastest_that_the_processor_has_is_the_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
