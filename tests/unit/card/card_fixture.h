/* SPDX-License-Identifier: Apache-2.0 */
/* A card under test, and short ways to put data on it, run one descriptor and compare. Include after cmocka.h. */
#ifndef SLUICE_TEST_CARD_FIXTURE_H
#define SLUICE_TEST_CARD_FIXTURE_H

#include "host/card/card.h"
#include "tests/unit/card/pack_for_test.h"
#include "tests/unit/card/tolerance.h"

#include <stdio.h>

#define TEST_MEMORY (64u << 20)

static inline struct card *open_card(const char *spec, unsigned threads)
{
    struct error err = {0};
    struct card *card = NULL;
    const struct card_options options = {.threads = threads, .memory_bytes = TEST_MEMORY};
    if (card_open(spec, &options, &card, &err)) fail_msg("card_open: %s", err.text);
    return card;
}

static inline card_addr put(struct card *card, const void *data, size_t bytes)
{
    struct error err = {0};
    card_addr address;
    if (card_alloc(card, 0, bytes, &address, &err)) fail_msg("card_alloc: %s", err.text);
    if (data && card_write(card, address, data, bytes, NULL, 0, NULL, &err)) fail_msg("card_write: %s", err.text);
    return address;
}

static inline card_addr put_floats(struct card *card, const float *data, size_t n) { return put(card, data, n * 4); }

static inline void get(struct card *card, void *to, card_addr from, size_t bytes)
{
    struct error err = {0};
    if (card_read(card, to, from, bytes, NULL, 0, NULL, &err)) fail_msg("card_read: %s", err.text);
}

static inline void run_program(struct card *card, const struct card_descriptor *program, unsigned n)
{
    struct error err = {0};
    if (card_submit(card, program, n, NULL, 0, NULL, &err)) fail_msg("card_submit: %s", err.text);
}

static inline void fill_random(struct test_random *random, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = random_float(random);
}

static inline float *random_floats(struct test_random *random, size_t n)
{
    float *to = malloc(n * sizeof *to);
    assert_non_null(to);
    fill_random(random, to, n);
    return to;
}

/* The largest difference between two vectors, relative to the largest magnitude of the second. */
static inline double distance(const float *a, const float *b, size_t n)
{
    double difference = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)a[i] - b[i]));
        largest = fmax(largest, fabs((double)b[i]));
        if (isnan(a[i]) || isnan(b[i])) return INFINITY;
    }
    return difference / (largest > 0 ? largest : 1);
}

static inline void assert_near(const char *what, const float *a, const float *b, size_t n, double tolerance)
{
    double d = distance(a, b, n);
    if (!(d <= tolerance)) fail_msg("%s: differs by %g of the largest, allowed are %g", what, d, tolerance);
}

static inline uint32_t bits_of(float value) { return bits_of_float(value); }

#endif
