/* SPDX-License-Identifier: Apache-2.0 */
/* One descriptor with its extension and all operands as host data: put on a card, run, read back. After cmocka.h. */
#ifndef SLUICE_TEST_RUN_FOR_TEST_H
#define SLUICE_TEST_RUN_FOR_TEST_H

#include "tests/unit/card/card_fixture.h"

/* Data of an operand; bytes 0: it is not used. */
struct host_data {
    const void *data;
    size_t bytes;
};

/* d.opcode EXTENDED is set where e.opcode is. result and e_result take what dst and E.dst hold after. */
struct test_run {
    struct card_descriptor d, e;
    struct host_data dst, src, weight, aux, e_dst, e_src, e_weight, e_aux;
    void *result, *e_result;
};

static inline card_addr put_data(struct card *card, struct host_data data)
{
    return data.bytes ? put(card, data.data, data.bytes) : 0;
}

static inline void run_on(struct card *card, const struct test_run *run)
{
    struct card_descriptor program[2] = {run->d, run->e};
    const struct host_data *data[8] = {&run->dst,   &run->src,   &run->weight,   &run->aux,
                                       &run->e_dst, &run->e_src, &run->e_weight, &run->e_aux};
    card_addr at[8];
    for (int i = 0; i < 8; i++) at[i] = put_data(card, *data[i]);
    for (int i = 0; i < 2; i++) {
        program[i].dst = at[4 * i];
        program[i].src = at[4 * i + 1];
        program[i].weight = at[4 * i + 2];
        program[i].aux = at[4 * i + 3];
    }
    if (run->e.opcode) program[0].flags |= CARD_FLAG_EXTENDED;
    run_program(card, program, run->e.opcode ? 2 : 1);
    if (run->result) get(card, run->result, at[0], run->dst.bytes);
    if (run->e_result) get(card, run->e_result, at[4], run->e_dst.bytes);
    for (int i = 0; i < 8; i++) card_free(card, at[i]);
}

/* The bits that a card writes for this float: one NaN, no subnormals. */
static inline uint32_t written_bits(float value)
{
    const uint32_t bits = bits_of(value);
    if (isnan(value)) return 0x7fc00000u;
    return bits & 0x7f800000u ? bits : bits & 0x80000000u;
}

static inline void assert_same_bits(const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bits_of(got[i]) == written_bits(want[i])) continue;
        fail_msg("%s: element %zu is %a (0x%08x), not %a (0x%08x)", what, i, (double)got[i], bits_of(got[i]),
                 (double)want[i], written_bits(want[i]));
    }
}

/* Within `tolerance` of the larger of 1 and the wanted magnitude; what must be NaN or infinite is exactly so. */
static inline void assert_close(const char *what, const float *got, const double *want, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        const double allowed = tolerance * fmax(1, fabs(want[i]));
        const int same = isnan(want[i]) ? bits_of(got[i]) == 0x7fc00000u : (double)got[i] == want[i];
        if (!same && !(fabs(got[i] - want[i]) <= allowed))
            fail_msg("%s: element %zu is %.9g, not %.9g", what, i, (double)got[i], want[i]);
    }
}

/* A seed for this run, printed; SLUICE_SEED repeats one. */
static inline struct test_random seeded(const char *test)
{
    const char *given = getenv("SLUICE_SEED");
    struct test_random random = {.state = given ? strtoull(given, NULL, 0) : 20261121};
    print_message("%s: seed %llu\n", test, (unsigned long long)random.state);
    return random;
}

#endif
