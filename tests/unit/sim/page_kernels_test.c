/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every implementation of the page kernels that this processor can run, against kernels/README.md written out one number
 * at a time: all widths, odd ones too, all numbers of queries, whole, causal and scattered slots, NaN and infinities.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/float_mode.h"
#include "kernels/abi/card_math.h"
#include "sim/page_kernels.h"
#include "sim/tile_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = CARD_PAGE_TOKENS, MOST = 272, ROUNDS = 400, GROUPS = 37 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static float some_float(uint32_t *state)
{
    const uint32_t kind = next(state) % 4096;
    if (kind == 0) return CARD_NAN;
    if (kind == 1) return CARD_INFINITY;
    return ((float)next(state) * 0x1p-23f - 1.0f) * (kind < 64 ? 64.0f : 1.0f);
}

static slot_set some_slots(uint32_t *state)
{
    const uint32_t kind = next(state) % 4, at = next(state) % 32;
    if (kind == 0) return UINT32_MAX;
    if (kind == 1) return UINT32_MAX >> at;
    if (kind == 2) return UINT32_MAX << at;
    return (next(state) << 16 ^ next(state)) | 1u << at;
}

static void assert_same(float a, float b)
{
    if (a != a && b != b) return;
    assert_int_equal(card_bits(a), card_bits(b));
}

/* ---- the contract ---- */

static float dot16(const float *a, const float *b, uint32_t n)
{
    float lane[16] = {0};
    for (uint32_t i = 0; i < n; i++) lane[i % 16] = card_fma(a[i], b[i], lane[i % 16]);
    for (int half = 8; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) lane[l] = lane[l] + lane[l + half];
    }
    return lane[0];
}

/* One page of one query. */
static void attend(struct softmax *state, float *acc, const float *score, slot_set slots, const float *value,
                   size_t stride, uint32_t dims)
{
    float largest = state->largest;
    for (int s = 0; s < SLOTS; s++) {
        if (slots >> s & 1) largest = score[s] > largest ? score[s] : largest;
    }
    const float shrink = state->largest == -CARD_INFINITY ? 0.0f : card_exp(state->largest - largest);
    state->sum = state->sum * shrink;
    for (uint32_t i = 0; i < dims; i++) acc[i] = acc[i] * shrink;
    for (int s = 0; s < SLOTS; s++) {
        if (!(slots >> s & 1)) continue;
        const float p = card_exp(score[s] - largest);
        state->sum = state->sum + p;
        for (uint32_t i = 0; i < dims; i++) acc[i] = card_fma(p, value[(size_t)s * stride + i], acc[i]);
    }
    state->largest = largest;
}

/* ---- tests ---- */

static const char *const names[] = {"generic", "avx2", "avx512", "neon"};

typedef void kernel_check(const struct page_kernels *kernels, uint32_t *state);

static void on_all(kernel_check *check, uint32_t seed)
{
    const uint64_t mode = float_mode_enter();
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        const char *name;
        if (!tile_kernel_find(names[k], &name)) continue;
        uint32_t state = seed;
        print_message("%s, seed %u\n", name, seed);
        for (int round = 0; round < ROUNDS; round++) check(page_kernels_find(name), &state);
    }
    float_mode_set(mode);
}

static void check_page(const struct page_kernels *kernels, uint32_t *state)
{
    static float query[PAGE_QUERIES][MOST], key[SLOTS * MOST], value[SLOTS * MOST];
    static float acc[2][PAGE_QUERIES][MOST], score[2][PAGE_QUERIES][SLOTS];
    struct softmax soft[2][PAGE_QUERIES], *of[PAGE_QUERIES];
    const float *queries[PAGE_QUERIES];
    float *to[PAGE_QUERIES], rescale[PAGE_QUERIES];
    slot_set slots[PAGE_QUERIES], any = 0;
    const uint32_t n = 1 + next(state) % PAGE_QUERIES, dims = next(state) % 2 ? 128 : 1 + next(state) % (MOST - 16);
    const size_t stride = dims + next(state) % 16;
    const int together = next(state) % 2;
    for (uint32_t i = 0; i < SLOTS * MOST; i++) key[i] = some_float(state);
    for (uint32_t i = 0; i < SLOTS * MOST; i++) value[i] = some_float(state);
    for (uint32_t q = 0; q < n; q++) {
        for (uint32_t i = 0; i < dims; i++) query[q][i] = some_float(state);
        for (uint32_t i = 0; i < dims; i++) acc[0][q][i] = acc[1][q][i] = some_float(state);
        slots[q] = together && q % 4 ? slots[q - 1] : some_slots(state);
        any |= slots[q];
        const float largest = next(state) % 4 ? some_float(state) : -CARD_INFINITY;
        soft[0][q] = soft[1][q] = (struct softmax){largest, largest == -CARD_INFINITY ? 0.0f : 1.5f};
        of[q] = &soft[1][q];
        queries[q] = query[q];
        to[q] = acc[1][q];
    }
    kernels->dots(queries, n, key, dims, any, score[1]);
    for (uint32_t q = 0; q < n; q++) {
        for (uint32_t s = 0; s < SLOTS; s++) {
            if (!(any >> s & 1)) continue;
            score[0][q][s] = dot16(query[q], key + (size_t)s * dims, dims);
            assert_same(score[0][q][s], score[1][q][s]);
        }
        attend(&soft[0][q], acc[0][q], score[0][q], slots[q], value, stride, dims);
    }
    kernels->soften(of, rescale, n, score[1], slots);
    kernels->weigh(to, rescale, n, (const float(*)[SLOTS])score[1], slots, value, stride, dims);
    for (uint32_t q = 0; q < n; q++) {
        assert_same(soft[0][q].sum, soft[1][q].sum);
        assert_true(soft[0][q].largest == soft[1][q].largest || soft[0][q].largest != soft[0][q].largest);
        for (uint32_t i = 0; i < dims; i++) assert_same(acc[0][q][i], acc[1][q][i]);
    }
}

/* Halves as they lie in a page against the floats that they are. */
static void check_halves(const struct page_kernels *kernels, uint32_t *state)
{
    static float floats[SLOTS * MOST], query[PAGE_QUERIES][MOST], acc[2][PAGE_QUERIES][MOST];
    static float score[2][PAGE_QUERIES][SLOTS];
    static uint16_t half[SLOTS * MOST];
    const float *queries[PAGE_QUERIES];
    float *to[2][PAGE_QUERIES], rescale[2][PAGE_QUERIES];
    slot_set slots[PAGE_QUERIES], any = 0;
    const uint32_t n = 1 + next(state) % PAGE_QUERIES, dims = 16 * (1 + next(state) % (MOST / 16));
    for (uint32_t i = 0; i < SLOTS * MOST; i++)
        half[i] = (uint16_t)(next(state) % 97 ? next(state) & 0xbbff : next(state));
    for (uint32_t q = 0; q < n; q++) {
        for (uint32_t i = 0; i < dims; i++) query[q][i] = some_float(state);
        for (uint32_t i = 0; i < dims; i++) acc[0][q][i] = acc[1][q][i] = some_float(state);
        slots[q] = some_slots(state);
        any |= slots[q];
        queries[q] = query[q];
        rescale[0][q] = rescale[1][q] = some_float(state);
        for (int k = 0; k < 2; k++) to[k][q] = acc[k][q];
    }
    kernels->read_halves(floats, half, (size_t)SLOTS * dims);
    kernels->dots(queries, n, floats, dims, any, score[0]);
    kernels->dots_halves(queries, n, half, dims, any, score[1]);
    for (uint32_t q = 0; q < n; q++) {
        for (uint32_t s = 0; s < SLOTS; s++) {
            if (any >> s & 1) assert_same(score[0][q][s], score[1][q][s]);
        }
    }
    kernels->weigh(to[0], rescale[0], n, (const float(*)[SLOTS])score[0], slots, floats, dims, dims);
    kernels->weigh_halves(to[1], rescale[1], n, (const float(*)[SLOTS])score[0], slots, half, dims);
    for (uint32_t q = 0; q < n; q++) {
        for (uint32_t i = 0; i < dims; i++) assert_same(acc[0][q][i], acc[1][q][i]);
    }
}

static void check_unpacking(const struct page_kernels *kernels, uint32_t *state)
{
    static float to[GROUPS * 32];
    static uint8_t q[GROUPS * 32];
    uint16_t half[GROUPS * 32];
    const uint32_t n = next(state) % (GROUPS + 1);
    for (uint32_t i = 0; i < GROUPS * 32; i++) {
        half[i] = (uint16_t)next(state);
        q[i] = (uint8_t)next(state);
    }
    const uint16_t *min = half + GROUPS;
    kernels->read_halves(to, half, (size_t)n * 31);
    for (uint32_t i = 0; i < n * 31; i++) assert_same(to[i], card_f16_to_f32(half[i]));
    kernels->read_int8(to, (const int8_t *)q, half, n);
    for (uint32_t i = 0; i < n * 32; i++) assert_same(to[i], card_f16_to_f32(half[i / 32]) * (float)(int8_t)q[i]);
    kernels->read_int4(to, q, half, min, n);
    for (uint32_t i = 0; i < n * 32; i++) {
        const uint8_t byte = q[i / 32 * 16 + i % 16];
        const float integer = (float)(i % 32 < 16 ? byte & 15 : byte >> 4);
        assert_same(to[i], card_fma(card_f16_to_f32(half[i / 32]), integer, card_f16_to_f32(min[i / 32])));
    }
}

static void check_quantize(const struct page_kernels *kernels, uint32_t *state)
{
    static float x[GROUPS * 32];
    static int8_t value[GROUPS * 32];
    float scale[GROUPS];
    int32_t sum[GROUPS];
    const uint32_t n = next(state) % (GROUPS + 1);
    for (uint32_t g = 0; g < GROUPS; g++) {
        const uint32_t kind = next(state) % 8;
        const float by = kind == 0 ? 0x1p-58f : kind == 1 ? 0.0f : kind == 2 ? 0x1p120f : kind == 3 ? 1.0f / 64 : 1.0f;
        for (uint32_t i = 0; i < 32; i++) x[g * 32 + i] = some_float(state) * by;
        /* Halves of the scale are where rounding to even shows. */
        for (uint32_t i = 0; kind == 4 && i < 32; i++) x[g * 32 + i] = (float)((int)(next(state) % 255) - 127) * 0.5f;
        if (kind == 4) x[g * 32 + next(state) % 32] = 127.0f;
    }
    kernels->quantize(x, n, value, scale, sum);
    for (uint32_t g = 0; g < n; g++) {
        float most = 0.0f, step;
        int32_t total = 0, wrong = 0;
        for (uint32_t i = 0; i < 32; i++) {
            const float magnitude = card_float(card_bits(x[g * 32 + i]) & 0x7fffffffu);
            wrong |= !(magnitude < CARD_INFINITY);
            most = magnitude > most ? magnitude : most;
        }
        step = most * CARD_RECIP_127;
        for (uint32_t i = 0; i < 32; i++) {
            float q = wrong || step < 0x1p-64f ? 0.0f : card_round_even(x[g * 32 + i] * card_recip(step));
            q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
            assert_int_equal(value[g * 32 + i], (int)q);
            total += (int32_t)q;
        }
        assert_int_equal(sum[g], total);
        assert_int_equal(card_bits(scale[g]), card_bits(wrong ? CARD_NAN : step < 0x1p-64f ? 0.0f : step));
    }
}

static void page_is_as_in_the_contract(void **unused)
{
    (void)unused;
    on_all(check_page, 20261121);
}
static void halves_are_as_their_floats(void **unused)
{
    (void)unused;
    on_all(check_halves, 31);
}
static void unpacking_is_exact(void **unused)
{
    (void)unused;
    on_all(check_unpacking, 7);
}
static void quantize_is_as_in_the_contract(void **unused)
{
    (void)unused;
    on_all(check_quantize, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_as_in_the_contract),
        cmocka_unit_test(halves_are_as_their_floats),
        cmocka_unit_test(unpacking_is_exact),
        cmocka_unit_test(quantize_is_as_in_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
