/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One descriptor on the simulator and on the OpenCL card, compared bit for bit. Under oclgrind, which interprets, a few
 * of the shapes (SLUICE_FEW_SHAPES). Include after cmocka.h.
 */
#ifndef SLUICE_TEST_OPENCL_FIXTURE_H
#define SLUICE_TEST_OPENCL_FIXTURE_H

#include "tests/unit/card/card_fixture.h"

#include <time.h>

#ifdef SLUICE_FEW_SHAPES
enum { EVERY = 7, MOST_TOKENS = 9 };
#else
enum { EVERY = 1, MOST_TOKENS = 33 };
#endif

struct fixture {
    struct card *card[2]; /* sim, opencl */
    struct test_random random;
};

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *text = getenv("SEED");
    f->random.state = (text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL)) | 1;
    print_message("SEED=%llu\n", (unsigned long long)f->random.state);
    f->card[0] = open_card("sim", 1);
    f->card[1] = open_card("opencl", 1);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    card_close(f->card[0]);
    card_close(f->card[1]);
    free(f);
    return 0;
}

static inline void compare(const char *what, const uint8_t *a, const uint8_t *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (a[i] == b[i]) continue;
        uint32_t x, y;
        memcpy(&x, a + i / 4 * 4, 4);
        memcpy(&y, b + i / 4 * 4, 4);
        fail_msg("%s: word %zu is 0x%08x on sim, 0x%08x on opencl", what, i / 4, x, y);
    }
}

/* What lies in an operand before the program runs; data NULL: zeros. */
struct data {
    const void *data;
    size_t bytes;
};

struct operands {
    struct data dst, src, weight, aux, e_dst, e_src, e_weight, e_aux;
};

/* Room for the data, and four bytes more that nobody may write. */
static inline card_addr place(struct card *card, const struct data *data)
{
    if (data->bytes == 0) return 0;
    uint8_t *start = calloc(data->bytes + 4, 1);
    if (data->data) memcpy(start, data->data, data->bytes);
    memset(start + data->bytes, 0xa5, 4);
    const card_addr address = put(card, start, data->bytes + 4);
    free(start);
    return address;
}

/* Runs d, and e after it unless NULL, on both cards; dst and the state pool must be the same and end where they should. */
static inline void run_same(struct fixture *f, const char *what, struct card_descriptor d,
                            const struct card_descriptor *e, struct operands o)
{
    uint8_t *result[2], *pool[2];
    for (int c = 0; c < 2; c++) {
        struct card *card = f->card[c];
        struct card_descriptor program[2] = {d, e ? *e : (struct card_descriptor){0}};
        if (e) program[0].flags |= CARD_FLAG_EXTENDED;
        program[1].opcode = CARD_OP_EXTENSION;
        card_addr *const field[] = {&program[0].dst, &program[0].src, &program[0].weight, &program[0].aux,
                                    &program[1].dst, &program[1].src, &program[1].weight, &program[1].aux};
        const struct data *const data[] = {&o.dst,   &o.src,   &o.weight,   &o.aux,
                                           &o.e_dst, &o.e_src, &o.e_weight, &o.e_aux};
        for (int i = 0; i < 8; i++) *field[i] = place(card, data[i]);
        run_program(card, program, e ? 2 : 1);
        result[c] = calloc(o.dst.bytes + 4, 1);
        pool[c] = calloc(o.e_dst.bytes + 4, 1);
        get(card, result[c], program[0].dst, o.dst.bytes + 4);
        if (o.e_dst.bytes) get(card, pool[c], program[1].dst, o.e_dst.bytes + 4);
        for (int i = 0; i < 8; i++) card_free(card, *field[i]);
    }
    compare(what, result[0], result[1], o.dst.bytes + 4);
    compare(what, pool[0], pool[1], o.e_dst.bytes + 4);
    for (int c = 0; c < 2; c++) {
        free(result[c]);
        free(pool[c]);
    }
}

/* Mostly ordinary numbers; with `strange`, some infinities, NaN, zeros of both signs, subnormal, huge and tiny ones. */
static inline float *floats_for(struct fixture *f, size_t n, int strange)
{
    static const uint32_t special[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xff812345u, 0x80000000u, 0x00000001u,
                                       0x807fffffu, 0x00800000u, 0x7f7fffffu, 0x00000000u, 0x33800000u, 0x20000000u};
    float *x = random_floats(&f->random, n);
    for (size_t i = 0; strange && i < n; i++) {
        if (random_below(&f->random, 20) == 0) memcpy(&x[i], &special[random_below(&f->random, 12)], 4);
        if (random_below(&f->random, 10) == 0) x[i] *= 0x1p-126f;
        if (random_below(&f->random, 10) == 0) x[i] *= 0x1p-63f;
    }
    return x;
}

#endif
