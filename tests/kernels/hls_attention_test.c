/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KV_WRITE and ATTENTION: HLS C against the simulator, bit for bit, in every page format. Positions at the borders of
 * pages, windows and chunks, lists of positions, sinks, caps and biases, groups of query heads past one pass (16), MLA,
 * head sizes with odd tails, halves at odd addresses, pools dealt over banks, nothing seen, infinities, NaN and numbers at
 * the border of the subnormals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/page_data.h"

#define PICK(from) (from)[draw(&both, sizeof(from) / sizeof *(from))]

static struct both both;

static const uint32_t dims[] = {1, 2, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 80, 96, 97, 127, 128};

/* ---- KV_WRITE ---- */

static struct card_descriptor kv_write_of(unsigned format, uint32_t tokens, uint32_t heads, uint32_t keys,
                                          uint32_t values, uint32_t special)
{
    struct card_batch_token token[MAX_TOKENS];
    struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)format, .tokens = tokens};
    d.rows = heads;
    d.cols = keys;
    d.src = take_floats(&both, (uint64_t)tokens * heads * keys, special);
    if (values) d.weight = take_floats(&both, (uint64_t)tokens * heads * values, special);
    make_tokens(&both, token, tokens);
    d.aux = take_batch(&both, token, tokens);
    d.dst = take_pool(&both, format, heads, keys, values, 0);
    d.param[0] = PAGES;
    d.param[1] = values;
    return d;
}

static void compare_kv_write(const struct card_descriptor *d)
{
    char name[120];
    snprintf(name, sizeof name, "KV_WRITE format %u tokens %u heads %u keys %u values %u", d->format, d->tokens,
             d->rows, d->cols, d->param[1]);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 1), 0);
    assert_same_memory(&both, name, d->dst, PAGES * card_page_bytes(d->format, d->rows, d->cols, d->param[1]) / 4);
    assert_same_when_dealt(&both, name, d, 1, 0);
}

static void kv_write(void **state)
{
    (void)state;
    for (unsigned f = 0; f < N_PAGE_FORMATS; f++) {
        for (size_t c = 0; c < sizeof dims / sizeof *dims; c++) {
            const struct card_descriptor one = kv_write_of(page_formats[f], 1, 1, dims[c], dims[c], 0);
            compare_kv_write(&one);
            const struct card_descriptor many =
                kv_write_of(page_formats[f], 33, 1 + draw(&both, 3), dims[c], PICK(dims), 30);
            compare_kv_write(&many);
            const struct card_descriptor keys_only =
                kv_write_of(page_formats[f], 1 + draw(&both, 9), 2, dims[c], 0, 100);
            compare_kv_write(&keys_only);
        }
        const struct card_descriptor longest = kv_write_of(page_formats[f], 2, 1, 1024, 1000, 60);
        compare_kv_write(&longest);
        const struct card_descriptor mla = kv_write_of(page_formats[f], 3, 1, 576, 0, 60);
        compare_kv_write(&mla);
    }
}

/* One exponent for each group, so that scales become half subnormals, zeros, and the largest half; zeros of both signs. */
static void put_exponents(card_addr at, uint64_t n, uint32_t low, uint32_t high)
{
    uint32_t exponent = low;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *to = image_at(&both, at) + 4 * i;
        if (i % 32 == 0) exponent = low + draw(&both, high - low + 1);
        uint32_t bits = (load_u32(to) & 0x807fffffu) | exponent << 23;
        if (draw(&both, 8) == 0) bits &= 0x80000000u;
        store_u32(to, bits);
    }
}

static void kv_write_of_extremes(void **state)
{
    (void)state;
    static const uint32_t range[][2] = {{0, 3}, {90, 127}, {101, 113}, {140, 143}, {0, 254}};
    for (unsigned f = 0; f < N_PAGE_FORMATS; f++) {
        for (size_t r = 0; r < sizeof range / sizeof *range; r++) {
            for (int i = 0; i < 4; i++) {
                const uint32_t n = i == 3 ? 40 : 64; /* 40: a short group, groups of all exponents */
                const struct card_descriptor d = kv_write_of(page_formats[f], 16, 2, n, n, 0);
                put_exponents(d.src, 16ull * 2 * n, range[r][0], range[r][1]);
                put_exponents(d.weight, 16ull * 2 * n, range[r][0], range[r][1]);
                compare_kv_write(&d);
            }
        }
    }
}

/* Groups around 65504, the largest half, and around values whose INT4 minimum rounds to a zero of either sign. */
static void kv_write_at_the_borders_of_halves(void **state)
{
    (void)state;
    static const float border[] = {65504.0f,
                                   65504.004f,
                                   65519.0f,
                                   65520.0f,
                                   -65504.0f,
                                   -65504.004f,
                                   0x1p-25f,
                                   -0x1p-25f,
                                   0x1.8p-25f,
                                   -0x1.8p-25f,
                                   -0x1p-30f,
                                   -0.0f,
                                   0.0f,
                                   0x1p-149f,
                                   -0x1p-149f,
                                   0x1p-24f,
                                   -0x1p-24f,
                                   127 * 0x1p-25f,
                                   127.00001f * 0x1p-25f,
                                   15 * 0x1p-25f};
    for (unsigned f = 0; f < N_PAGE_FORMATS; f++) {
        for (int i = 0; i < 20; i++) {
            const struct card_descriptor d = kv_write_of(page_formats[f], 16, 1, 64, 33, 0);
            for (uint64_t k = 0; k < 16 * 64; k++) {
                /* Most groups hold one size of number only. */
                const uint32_t choice =
                    i < 10 ? (uint32_t)(k / 32) + (draw(&both, 2) ? 0 : (uint32_t)i) : draw(&both, 20);
                const uint32_t bits = draw(&both, 3) ? bits_of_float(border[choice % 20]) : draw(&both, 2) << 31;
                store_u32(image_at(&both, d.src) + 4 * k, bits);
            }
            compare_kv_write(&d);
        }
    }
}

/* Groups whose values lie close together and far from 0: an INT4 minimum rounds past its group's values, either way. */
static void kv_write_of_narrow_groups(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 4 * N_PAGE_FORMATS; f++) {
        const struct card_descriptor d = kv_write_of(page_formats[f % N_PAGE_FORMATS], 33, 1, 64, 33, 0);
        for (uint64_t k = 0; k < 33 * 64; k++) {
            const float base = (float)((int)(k / 32 % 7) - 3) * 1000.3f;
            store_u32(image_at(&both, d.src) + 4 * k, bits_of_float(base + (float)draw(&both, 64) * 0x1p-6f));
        }
        compare_kv_write(&d);
    }
}

/* ---- ATTENTION ---- */

struct shape {
    unsigned format;
    uint32_t tokens, kv_heads, group, keys, values; /* values 0: those of the keys, without extension */
    uint32_t window, chunk, reach, listed;          /* listed 0: not sparse */
    float cap;
    int latent, sinks, biased;
    uint32_t special;
};

/* Ascending positions below `visible`, about one in `step`, then CARD_NO_POSITION. */
static card_addr take_lists(const struct card_batch_token *token, const struct shape *shape)
{
    const card_addr lists = take(&both, 4ull * shape->tokens * shape->listed, 4);
    for (uint32_t t = 0; t < shape->tokens; t++) {
        uint8_t *at = image_at(&both, lists) + 4ull * t * shape->listed;
        const uint32_t step = 1 + draw(&both, 60);
        uint32_t position = draw(&both, step);
        for (uint32_t i = 0; i < shape->listed; i++) {
            store_u32(at + 4 * i, position < token[t].visible ? position : CARD_NO_POSITION);
            position += position < token[t].visible ? 1 + draw(&both, step) : 0;
        }
    }
    return lists;
}

/* The descriptor and its extension; the number of descriptors. */
static unsigned attention_of(const struct shape *shape, struct card_descriptor d[2])
{
    struct card_batch_token token[MAX_TOKENS];
    const uint32_t heads = shape->kv_heads * shape->group, values = shape->values ? shape->values : shape->keys;
    const int extended =
        shape->values || shape->chunk || shape->listed || shape->cap != 0 || shape->sinks || shape->biased;
    memset(d, 0, 2 * sizeof *d);
    d[0] = (struct card_descriptor){
        .opcode = CARD_OP_ATTENTION, .format = (uint8_t)shape->format, .tokens = shape->tokens};
    d[0].flags = (uint16_t)((extended ? CARD_FLAG_EXTENDED : 0) | (shape->latent ? CARD_FLAG_LATENT : 0));
    d[0].rows = heads;
    d[0].cols = shape->keys;
    d[0].src = take_floats(&both, (uint64_t)shape->tokens * heads * shape->keys, shape->special);
    make_tokens(&both, token, shape->tokens);
    d[0].aux = take_batch(&both, token, shape->tokens);
    d[0].weight =
        take_pool(&both, shape->format, shape->kv_heads, shape->keys, shape->latent ? 0 : values, shape->special * 10);
    d[0].dst = take(&both, 4ull * shape->tokens * heads * values, 4);
    d[0].param[0] = PAGES;
    d[0].param[1] = bits_of_float(0.125f);
    d[0].param[2] = shape->kv_heads;
    d[0].param[3] = shape->window;
    d[1].opcode = CARD_OP_EXTENSION;
    d[1].flags = (uint16_t)((shape->sinks ? CARD_FLAG_SINKS : 0) | (shape->biased ? CARD_FLAG_BIAS : 0) |
                            (shape->listed ? CARD_FLAG_SPARSE : 0));
    d[1].cols = values;
    d[1].param[0] = bits_of_float(shape->cap);
    d[1].param[1] = shape->chunk;
    d[1].param[2] = shape->reach;
    d[1].param[3] = shape->listed;
    if (shape->sinks) d[1].src = take_floats(&both, heads, shape->special ? 3 : 0);
    if (shape->biased) d[1].weight = take_floats(&both, heads * (2ull * shape->reach + 1), shape->special);
    if (shape->listed) d[1].aux = take_lists(token, shape);
    return extended ? 2 : 1;
}

static void run_attention(const struct shape *shape, const struct card_descriptor *d, unsigned n)
{
    char name[300];
    snprintf(name, sizeof name,
             "ATTENTION format %u tokens %u heads %u of %u keys %u values %u window %u chunk %u cap %g latent %d sinks "
             "%d bias %d reach %u listed %u",
             d->format, d->tokens, d->rows, d->param[2], d->cols, shape->values, d->param[3], shape->chunk,
             (double)shape->cap, shape->latent, shape->sinks, shape->biased, shape->reach, shape->listed);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, n), 0);
    const uint64_t n_floats = (uint64_t)d->tokens * d->rows * (shape->values ? shape->values : shape->keys);
    assert_same_memory(&both, name, d->dst, n_floats);
    assert_same_when_dealt(&both, name, d, n, 4 * n_floats);
}

static void compare_attention(const struct shape *shape)
{
    struct card_descriptor d[2];
    const unsigned n = attention_of(shape, d);
    run_attention(shape, d, n);
}

static const uint32_t windows[] = {0, 0, 0, 1, 2, 31, 32, 33, 50, 1000, UINT32_MAX};

static void attention(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 240; i++) {
        struct shape shape = {.format = page_formats[i % N_PAGE_FORMATS], .kv_heads = 1 + draw(&both, 2)};
        shape.tokens = i % 3 == 0 ? 1 : i % 3 == 1 ? 33 : 1 + draw(&both, 20);
        shape.group = 1 + draw(&both, 4);
        shape.keys = PICK(dims);
        shape.window = PICK(windows);
        shape.special = draw(&both, 4) ? 0 : 60;
        compare_attention(&shape);
    }
}

static void extended_attention(void **state)
{
    (void)state;
    static const uint32_t chunks[] = {0, 0, 1, 7, 31, 32, 33, 64, 100, UINT32_MAX};
    static const uint32_t reaches[] = {0, 1, 5, 31, 32, 33, 70, 200};
    static const uint32_t lists[] = {0, 0, 0, 1, 3, 31, 32, 33, 64, 170};
    for (uint32_t i = 0; i < 600; i++) {
        struct shape shape = {.format = page_formats[i % N_PAGE_FORMATS], .kv_heads = 1 + draw(&both, 2)};
        shape.tokens = i % 3 == 0 ? 1 : i % 3 == 1 ? 33 : 1 + draw(&both, 20);
        shape.group = 1 + draw(&both, 4);
        shape.keys = PICK(dims);
        shape.latent = draw(&both, 3) == 0;
        shape.values = shape.latent ? 1 + draw(&both, shape.keys) : PICK(dims);
        shape.window = PICK(windows);
        shape.chunk = PICK(chunks);
        shape.reach = PICK(reaches);
        shape.listed = PICK(lists);
        shape.cap = draw(&both, 2) ? 0 : draw(&both, 2) ? 30.0f : 0.7f;
        shape.sinks = draw(&both, 2) == 0;
        shape.biased = draw(&both, 2) == 0;
        shape.special = draw(&both, 4) ? 0 : 60;
        compare_attention(&shape);
    }
}

static void latent_attention_of_mla(void **state)
{
    (void)state;
    for (unsigned f = 0; f < N_PAGE_FORMATS; f++) {
        struct shape shape = {.format = page_formats[f], .tokens = 3, .kv_heads = 1, .group = 18};
        shape.keys = 576;
        shape.values = 512;
        shape.latent = 1;
        compare_attention(&shape);
        shape.listed = 60;
        compare_attention(&shape);
        shape.special = 200;
        compare_attention(&shape);
    }
}

static void groups_past_one_pass(void **state)
{
    (void)state;
    for (uint32_t group = 15; group <= 34; group += group == 17 ? 15 : 1) {
        struct shape shape = {.format = PICK(page_formats), .tokens = 3, .kv_heads = 2, .group = group, .keys = 24};
        compare_attention(&shape);
        shape.sinks = shape.biased = 1;
        shape.reach = 9;
        compare_attention(&shape);
    }
}

static void longest_head(void **state)
{
    (void)state;
    for (unsigned f = 0; f < N_PAGE_FORMATS; f++) {
        const struct shape shape = {
            .format = page_formats[f], .tokens = 2, .kv_heads = 1, .group = 2, .keys = 1000, .latent = f % 2 == 0};
        compare_attention(&shape);
    }
}

/* Every key gives -infinity: nothing is seen, and 0 times infinity says so. Then infinities that do not cancel. */
static void all_scores_minus_infinity(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct card_descriptor d[2];
        const struct shape shape = {.format = CARD_FORMAT_F32,
                                    .tokens = 5,
                                    .kv_heads = 1,
                                    .group = 2,
                                    .keys = 16,
                                    .window = 40,
                                    .sinks = i > 1};
        const unsigned n = attention_of(&shape, d);
        const uint64_t elements = PAGES * card_page_bytes(CARD_FORMAT_F32, 1, 16, 16) / 4;
        for (uint64_t k = 0; k < 5 * 2 * 16; k++) store_u32(image_at(&both, d[0].src) + 4 * k, bits_of_float(1.0f));
        for (uint64_t k = 0; k < elements; k++) {
            store_u32(image_at(&both, d[0].weight) + 4 * k, i % 2 ? 0xff800000u : 0x7f800000u);
        }
        if (i == 2) store_u32(image_at(&both, d[1].src), 0xff800000u);
        run_attention(&shape, d, n);
    }
}

/* Nothing visible, a window past what is visible, an empty list: zeros, with sinks too, whatever the pages hold. */
static void nothing_seen(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 24; i++) {
        struct card_descriptor d[2];
        struct shape shape = {.format = page_formats[i % 4], .tokens = 3, .kv_heads = 1, .group = 2, .keys = 40};
        shape.values = 24;
        shape.special = 3;
        shape.sinks = i / 4 % 2 == 1;
        shape.window = i / 8 == 1 ? 2 : 0;
        shape.listed = i / 8 == 2 ? 5 : 0;
        const unsigned n = attention_of(&shape, d);
        for (uint32_t t = 0; t < 3; t++) {
            uint8_t *token = image_at(&both, d[0].aux) + 16ull * t;
            store_u32(token, 100);
            store_u32(token + 8, i / 8 == 0 ? 0 : i / 8 == 1 ? 99 : 70);
            for (uint32_t k = 0; k < 5 && shape.listed; k++) {
                store_u32(image_at(&both, d[1].aux) + 4 * (5ull * t + k), CARD_NO_POSITION);
            }
        }
        run_attention(&shape, d, n);
        float result[3 * 2 * 24];
        struct error err = {0};
        assert_int_equal(card_read(both.hls, result, d[0].dst, sizeof result, NULL, 0, NULL, &err), 0);
        for (size_t k = 0; k < 3 * 2 * 24; k++) assert_int_equal(bits_of_float(result[k]), 0);
    }
}

/* Queries, keys and values whose products and sums are at the border of the subnormals. */
static void attention_at_the_border_of_subnormals(void **state)
{
    (void)state;
    static const uint32_t range[][2] = {{60, 68}, {0, 5}, {1, 127}, {40, 90}};
    for (uint32_t i = 0; i < 160; i++) {
        struct card_descriptor d[2];
        struct shape shape = {.format = page_formats[i % 4], .tokens = 4, .kv_heads = 1, .group = 2};
        const uint32_t *of = range[i / 4 % 4];
        shape.keys = 1 + draw(&both, 48);
        shape.values = PICK(dims);
        shape.cap = i / 16 % 5 == 1 ? 0x1p-100f : 0.0f;
        shape.biased = i / 16 % 5 == 2;
        shape.sinks = i / 16 % 5 == 3;
        const unsigned n = attention_of(&shape, d);
        if (draw(&both, 2)) d[0].param[1] = bits_of_float(0x1p115f); /* the last bit of a small score then shows */
        put_exponents(d[0].src, 8ull * shape.keys, of[0], of[1]);
        if (shape.format == CARD_FORMAT_F32) {
            put_exponents(d[0].weight, PAGES * card_page_bytes(shape.format, 1, shape.keys, shape.values) / 4, of[0],
                          of[1]);
        }
        if (shape.biased) put_exponents(d[1].weight, 2, 0, 3);
        run_attention(&shape, d, n);
    }
}

/* What KV_WRITE wrote is what ATTENTION reads: one program. */
static void write_then_attend(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 4 * N_PAGE_FORMATS; f++) {
        struct card_descriptor d[3];
        const struct shape shape = {
            .format = page_formats[f % 4], .tokens = 33, .kv_heads = 2, .group = 2, .keys = 40, .values = 72};
        attention_of(&shape, &d[1]);
        d[0] = kv_write_of(shape.format, 33, 2, 40, 72, f < 8 ? 0 : 500);
        memcpy(image_at(&both, d[0].aux), image_at(&both, d[1].aux),
               33 * sizeof(struct card_batch_token) + 4 * PAGE_ENTRIES);
        d[0].dst = d[1].weight;
        run_attention(&shape, d + 1, 2);
        both_upload(&both);
        assert_int_equal(both_run(&both, "KV_WRITE, ATTENTION", d, 3), 0);
        assert_same_memory(&both, "KV_WRITE, ATTENTION", d[1].dst, 33ull * 4 * 72);
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
        cmocka_unit_test(kv_write),
        cmocka_unit_test(kv_write_of_extremes),
        cmocka_unit_test(kv_write_at_the_borders_of_halves),
        cmocka_unit_test(kv_write_of_narrow_groups),
        cmocka_unit_test(attention),
        cmocka_unit_test(extended_attention),
        cmocka_unit_test(latent_attention_of_mla),
        cmocka_unit_test(longest_head),
        cmocka_unit_test(groups_past_one_pass),
        cmocka_unit_test(all_scores_minus_infinity),
        cmocka_unit_test(nothing_seen),
        cmocka_unit_test(attention_at_the_border_of_subnormals),
        cmocka_unit_test(write_then_attend),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
