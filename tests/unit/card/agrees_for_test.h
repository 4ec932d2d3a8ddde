/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests that run the same operation with random shapes and flags on sim and on ref, which share no arithmetic, and
 * compare by the root mean square of the difference over that of the result. Include after cmocka.h.
 */
#ifndef SLUICE_TEST_AGREES_H
#define SLUICE_TEST_AGREES_H

#include "tests/unit/card/run_for_test.h"

struct agree {
    struct card *sim, *ref;
    struct test_random random;
    void *block[64]; /* of one round */
    unsigned n_blocks;
    double worst, worst_rounded; /* of the test so far; where 8-bit or page rounding is allowed */
};

/* One cmocka test is a number of rounds of `round`, each with new random shapes. The seed goes on from test to test. */
static inline void agree_rounds(const char *what, unsigned rounds, void (*round)(struct agree *a, unsigned i))
{
    struct agree a = {.sim = open_card("sim", 2), .ref = open_card("ref", 0), .random = seeded(what)};
    for (unsigned i = 0; i < rounds; i++) {
        round(&a, i);
        while (a.n_blocks > 0) free(a.block[--a.n_blocks]);
        card_reset(a.sim, NULL);
        card_reset(a.ref, NULL);
    }
    print_message("%s: largest relative RMS difference %.2g", what, a.worst);
    if (a.worst_rounded > 0) print_message(", of what is rounded to integers %.2g", a.worst_rounded);
    print_message("\n");
    card_close(a.sim);
    card_close(a.ref);
}

static inline void *room(struct agree *a, size_t bytes)
{
    void *block = calloc(1, bytes ? bytes : 1);
    assert_non_null(block);
    assert_true(a->n_blocks < sizeof a->block / sizeof *a->block);
    return a->block[a->n_blocks++] = block;
}

/* Uniform in [low, high]. */
static inline uint32_t between(struct agree *a, uint32_t low, uint32_t high)
{
    return low + random_below(&a->random, high - low + 1);
}
static inline int maybe(struct agree *a) { return random_below(&a->random, 2) != 0; }

/* n floats in [-range, range) as an operand. */
static inline struct host_data some_floats(struct agree *a, size_t n, float range)
{
    float *x = room(a, n * 4);
    for (size_t i = 0; i < n; i++) x[i] = random_float(&a->random) * range;
    return (struct host_data){x, n * 4};
}

/*
 * Vectors that QUANTIZE keeps but for rounding: multiples of 2^-7, in each group one of +-127 of them. What multiplies
 * quantized activations or queries then agrees with floats as floats do.
 */
static inline struct host_data quantizable_floats(struct agree *a, size_t vectors, size_t dims)
{
    float *x = room(a, vectors * dims * 4);
    for (size_t v = 0; v < vectors; v++) {
        for (size_t i = 0; i < dims; i++) {
            const float q = i % 32 == 0 ? 127.0f : (float)random_below(&a->random, 255) - 127.0f;
            x[v * dims + i] = (maybe(a) ? q : -q) * 0x1p-7f;
        }
    }
    return (struct host_data){x, vectors * dims * 4};
}

static inline struct host_data some_choices(struct agree *a, size_t n, uint32_t experts)
{
    struct card_choice *choice = room(a, n * sizeof *choice);
    for (size_t i = 0; i < n; i++) {
        choice[i] = (struct card_choice){random_below(&a->random, experts), random_float(&a->random)};
    }
    return (struct host_data){choice, n * sizeof *choice};
}

static inline struct host_data nothing(struct agree *a, size_t bytes)
{
    return (struct host_data){room(a, bytes), bytes};
}

static inline void compare(struct agree *a, const char *what, const float *got, const float *want, size_t n,
                           double tolerance)
{
    double difference = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        square += (double)want[i] * want[i];
    }
    const double rms = difference == 0 ? 0 : sqrt(difference / square);
    if (!(rms <= tolerance)) fail_msg("%s: differs by %g RMS, allowed are %g", what, rms, tolerance);
    double *worst = tolerance < 1e-4 ? &a->worst : &a->worst_rounded;
    if (rms > *worst) *worst = rms;
}

/* Runs on both; the results are of dst (and of the state pool if it is used), as bytes. */
struct both {
    void *sim, *ref, *e_sim, *e_ref;
};

static inline struct both run_both_cards(struct agree *a, struct test_run run)
{
    struct both b = {room(a, run.dst.bytes), room(a, run.dst.bytes), room(a, run.e_dst.bytes),
                     room(a, run.e_dst.bytes)};
    run.result = b.sim;
    run.e_result = run.e_dst.bytes ? b.e_sim : NULL;
    run_on(a->sim, &run);
    run.result = b.ref;
    run.e_result = run.e_dst.bytes ? b.e_ref : NULL;
    run_on(a->ref, &run);
    return b;
}

/* The same for a result of floats, compared. */
static inline void agree_floats(struct agree *a, const char *what, struct test_run run, double tolerance)
{
    const struct both b = run_both_cards(a, run);
    compare(a, what, b.sim, b.ref, run.dst.bytes / 4, tolerance);
    if (run.e_dst.bytes) compare(a, what, b.e_sim, b.e_ref, run.e_dst.bytes / 4, tolerance);
}

#endif
