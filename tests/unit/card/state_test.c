/* SPDX-License-Identifier: Apache-2.0 */
/* SCAN and CONV of the simulated card: against double token by token, and the same bits however a sequence is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/run_for_test.h"

enum { TOKENS = 9, STATES = 3 };

/* Two sequences in one batch: tokens 0 to 4 continue state 2 at position 6, tokens 5 to 8 start state 0. */
static void fill_batch(struct card_batch_token batch[TOKENS])
{
    for (uint32_t t = 0; t < TOKENS; t++) {
        batch[t] = (struct card_batch_token){.position = t < 5 ? 6 + t : t - 5, .state = t < 5 ? 2 : 0};
    }
}

/* ---- SCAN ---- */

struct scan_case {
    uint32_t heads, key_heads, rows, cols;
    unsigned flags;
    float *query, *key, *value, *decay, *beta, *states;
    struct card_batch_token batch[TOKENS];
};

static size_t key_floats(const struct scan_case *c) { return (size_t)c->key_heads * c->rows; }
static size_t value_floats(const struct scan_case *c) { return (size_t)c->heads * c->cols; }
static size_t decay_floats(const struct scan_case *c)
{
    return (size_t)c->heads * (c->flags & CARD_FLAG_EACH ? c->rows : 1);
}
static size_t state_floats(const struct scan_case *c) { return (size_t)c->heads * c->rows * c->cols; }

static void scan_case_make(struct scan_case *c, struct test_random *random)
{
    fill_batch(c->batch);
    c->query = random_floats(random, TOKENS * key_floats(c));
    c->key = random_floats(random, TOKENS * key_floats(c));
    c->value = random_floats(random, TOKENS * value_floats(c));
    c->decay = random_floats(random, TOKENS * decay_floats(c));
    c->beta = random_floats(random, (size_t)TOKENS * c->heads);
    c->states = random_floats(random, STATES * state_floats(c));
    for (size_t i = 0; i < TOKENS * decay_floats(c); i++) c->decay[i] = -fabsf(c->decay[i]);
    for (size_t i = 0; i < TOKENS * key_floats(c); i++) c->key[i] /= sqrtf((float)c->rows);
}

static void scan_case_free(struct scan_case *c)
{
    float *all[] = {c->query, c->key, c->value, c->decay, c->beta, c->states};
    for (int i = 0; i < 6; i++) free(all[i]);
}

/* Tokens [first, first + n) on a card, from `states` to `states`. */
static void scan_on(struct card *card, const struct scan_case *c, uint32_t first, uint32_t n, float *states,
                    float *result)
{
    struct test_run run = {
        .d = {.opcode = CARD_OP_SCAN, .tokens = n, .rows = c->heads, .cols = c->rows},
        .e = {.opcode = CARD_OP_EXTENSION},
        .dst = {NULL, n * value_floats(c) * 4},
        .src = {c->query + first * key_floats(c), n * key_floats(c) * 4},
        .weight = {c->key + first * key_floats(c), n * key_floats(c) * 4},
        .aux = {c->batch + first, n * sizeof *c->batch},
        .e_dst = {states, STATES * state_floats(c) * 4},
        .e_src = {c->value + first * value_floats(c), n * value_floats(c) * 4},
        .e_weight = {c->decay + first * decay_floats(c), n * decay_floats(c) * 4},
        .e_aux = {c->beta + (size_t)first * c->heads, n * c->heads * 4u},
        .result = result,
        .e_result = states,
    };
    run.d.flags = (uint16_t)c->flags;
    run.d.param[0] = STATES;
    run.d.param[1] = c->cols;
    run.d.param[2] = c->key_heads;
    run_on(card, &run);
}

/* One token of one head in double. */
static void scan_plainly(const struct scan_case *c, uint32_t t, uint32_t h, double *s, double *out)
{
    const uint32_t key_head = c->flags & CARD_FLAG_INTERLEAVED ? h % c->key_heads : h / (c->heads / c->key_heads);
    const float *query = c->query + t * key_floats(c) + (size_t)key_head * c->rows;
    const float *key = c->key + t * key_floats(c) + (size_t)key_head * c->rows;
    for (uint32_t j = 0; j < c->cols; j++) {
        double u = 0, o = 0;
        for (uint32_t i = 0; i < c->rows; i++) {
            const size_t at = c->flags & CARD_FLAG_EACH ? (size_t)h * c->rows + i : h;
            s[i * c->cols + j] *= exp(c->decay[t * decay_floats(c) + at]);
            u += key[i] * s[i * c->cols + j];
        }
        const double value = c->value[t * value_floats(c) + (size_t)h * c->cols + j];
        const double delta = (value - u) * c->beta[t * c->heads + h];
        for (uint32_t i = 0; i < c->rows; i++) {
            s[i * c->cols + j] += key[i] * delta;
            o += query[i] * s[i * c->cols + j];
        }
        out[j] = o;
    }
}

static void check_scan(struct card *card, const struct scan_case *c)
{
    const size_t head = (size_t)c->rows * c->cols;
    float *result = calloc(TOKENS * value_floats(c), 4), *states = malloc(STATES * state_floats(c) * 4);
    double *want = calloc(TOKENS * value_floats(c), sizeof *want), *s = calloc(head, sizeof *s);
    memcpy(states, c->states, STATES * state_floats(c) * 4);
    scan_on(card, c, 0, TOKENS, states, result);
    for (uint32_t h = 0; h < c->heads; h++) {
        for (uint32_t t = 0; t < TOKENS; t++) {
            const size_t of_state = (size_t)c->batch[t].state * state_floats(c) + h * head;
            for (size_t i = 0; t == 0 && i < head; i++) s[i] = c->states[of_state + i];
            if (c->batch[t].position == 0) memset(s, 0, head * sizeof *s);
            scan_plainly(c, t, h, s, want + t * value_floats(c) + (size_t)h * c->cols);
            if (t == 4 || t == 8) assert_close("SCAN state", states + of_state, s, head, 3e-6);
        }
    }
    assert_close("SCAN", result, want, TOKENS * value_floats(c), 3e-6);
    /* State 1 is nobody's. */
    assert_memory_equal(states + state_floats(c), c->states + state_floats(c), state_floats(c) * 4);
    free(result);
    free(states);
    free(want);
    free(s);
}

static void scan_agrees_with_double(void **state)
{
    struct test_random random = seeded("scan");
    const uint32_t shapes[][4] = {{1, 1, 1, 1}, {4, 2, 16, 33}, {6, 3, 40, 64}, {2, 2, 128, 31}, {4, 1, 5, 100}};
    for (unsigned i = 0; i < 5 * 4; i++) {
        const uint32_t *shape = shapes[i % 5];
        struct scan_case c = {.heads = shape[0], .key_heads = shape[1], .rows = shape[2], .cols = shape[3]};
        c.flags = (i / 5 & 1 ? CARD_FLAG_EACH : 0u) | (i / 5 & 2 ? CARD_FLAG_INTERLEAVED : 0u);
        scan_case_make(&c, &random);
        check_scan(*state, &c);
        scan_case_free(&c);
    }
}

static void scan_is_the_same_in_any_chunks_and_threads(void **state)
{
    (void)state;
    struct test_random random = seeded("scan_chunks");
    struct scan_case c = {.heads = 8, .key_heads = 4, .rows = 64, .cols = 96};
    scan_case_make(&c, &random);
    const size_t n = TOKENS * value_floats(&c), all = STATES * state_floats(&c);
    float *result[2], *states[2];
    for (unsigned i = 0; i < 2; i++) {
        struct card *card = open_card("sim", 1 + i);
        result[i] = calloc(n, 4);
        states[i] = malloc(all * 4);
        memcpy(states[i], c.states, all * 4);
        for (uint32_t t = 0; t < TOKENS; t += i ? 1 : TOKENS)
            scan_on(card, &c, t, i ? 1 : TOKENS, states[i], result[i] + t * value_floats(&c));
        card_close(card);
    }
    assert_memory_equal(result[0], result[1], n * 4);
    assert_memory_equal(states[0], states[1], all * 4);
    for (unsigned i = 0; i < 2; i++) {
        free(result[i]);
        free(states[i]);
    }
    scan_case_free(&c);
}

/* ---- CONV ---- */

struct conv_case {
    uint32_t cols, width;
    int biased;
    float *src, *weight, *bias, *states;
    struct card_batch_token batch[TOKENS];
};

static void conv_case_make(struct conv_case *c, struct test_random *random)
{
    fill_batch(c->batch);
    c->src = random_floats(random, (size_t)TOKENS * c->cols);
    c->weight = random_floats(random, (size_t)c->cols * c->width);
    c->bias = random_floats(random, c->cols);
    c->states = random_floats(random, (size_t)STATES * (c->width - 1) * c->cols);
    c->src[0] = float_of_bits(0xffc54321); /* a state moves bits */
    c->src[(size_t)(TOKENS - 1) * c->cols] = float_of_bits(0x7f812345);
    c->src[(size_t)(TOKENS - 1) * c->cols + c->cols / 2] = 0x1p-140f;
}

static void conv_case_free(struct conv_case *c)
{
    free(c->src);
    free(c->weight);
    free(c->bias);
    free(c->states);
}

static void conv_on(struct card *card, const struct conv_case *c, uint32_t first, uint32_t n, float *states,
                    float *result)
{
    struct test_run run = {
        .d = {.opcode = CARD_OP_CONV, .tokens = n, .cols = c->cols, .param = {STATES, c->width}},
        .e = {.opcode = CARD_OP_EXTENSION, .flags = c->biased ? CARD_FLAG_BIAS : 0},
        .dst = {NULL, (size_t)n * c->cols * 4},
        .src = {c->src + (size_t)first * c->cols, (size_t)n * c->cols * 4},
        .weight = {c->weight, (size_t)c->cols * c->width * 4},
        .aux = {c->batch + first, n * sizeof *c->batch},
        .e_dst = {states, (size_t)STATES * (c->width - 1) * c->cols * 4},
        .e_src = {c->bias, c->biased ? c->cols * 4u : 0},
        .result = result,
        .e_result = states,
    };
    run_on(card, &run);
}

/* By its words, one fma after another. states: the pool, which changes. */
static void conv_plainly(const struct conv_case *c, float *states, float *out)
{
    const size_t cols = c->cols;
    for (uint32_t t = 0; t < TOKENS; t++) {
        float *state = states + c->batch[t].state * (c->width - 1) * cols;
        if (c->batch[t].position == 0) memset(state, 0, (c->width - 1) * cols * 4);
        for (size_t i = 0; i < cols; i++) {
            float acc = 0;
            for (uint32_t k = 0; k < c->width; k++) {
                float input = k + 1 < c->width ? state[k * cols + i] : c->src[t * cols + i];
                if (!(bits_of(input) & 0x7f800000u)) input = 0;
                acc = fmaf(c->weight[i * c->width + k], input, acc);
            }
            out[t * cols + i] = c->biased ? acc + c->bias[i] : acc;
        }
        memmove(state, state + cols, (c->width - 2) * cols * 4);
        memcpy(state + (c->width - 2) * cols, c->src + t * cols, cols * 4);
    }
}

static void conv_is_its_fmas_in_order_in_any_chunks(void **state)
{
    struct test_random random = seeded("conv");
    const uint32_t lengths[] = {1, 15, 16, 17, 50};
    for (unsigned i = 0; i < 5 * 7 * 2; i++) {
        struct conv_case c = {.cols = lengths[i % 5], .width = 2 + i / 5 % 7, .biased = i >= 35};
        conv_case_make(&c, &random);
        const size_t n = (size_t)TOKENS * c.cols, all = (size_t)STATES * (c.width - 1) * c.cols;
        float *result = calloc(n, 4), *want = calloc(n, 4), *states = malloc(all * 4), *want_states = malloc(all * 4);
        memcpy(want_states, c.states, all * 4);
        conv_plainly(&c, want_states, want);
        for (uint32_t chunk = 1; chunk <= TOKENS; chunk += 4) {
            memcpy(states, c.states, all * 4);
            for (uint32_t t = 0; t < TOKENS; t += chunk) {
                const uint32_t left = TOKENS - t < chunk ? TOKENS - t : chunk;
                conv_on(*state, &c, t, left, states, result + (size_t)t * c.cols);
            }
            assert_same_bits("CONV", result, want, n);
            assert_memory_equal(states, want_states, all * 4);
        }
        free(result);
        free(want);
        free(states);
        free(want_states);
        conv_case_free(&c);
    }
}

static void counts_are_exact(void **state)
{
    (void)state;
    struct card *card = open_card("sim", 1);
    struct test_random random = seeded("counts");
    struct card_counters before, after;
    struct scan_case scan = {.heads = 2, .key_heads = 1, .rows = 3, .cols = 5};
    struct conv_case conv = {.cols = 7, .width = 4};
    scan_case_make(&scan, &random);
    conv_case_make(&conv, &random);
    float result[TOKENS * 10];
    card_count(card, &before);
    scan_on(card, &scan, 0, TOKENS, scan.states, result);
    card_count(card, &after);
    /* One state is read and written, the other starts from zeros and is written. */
    assert_int_equal(after.kv_bytes - before.kv_bytes, 3 * 2 * 3 * 5 * 4);
    assert_int_equal(after.multiply_adds - before.multiply_adds, TOKENS * 3 * 2 * 3 * 5);
    assert_int_equal(after.descriptors - before.descriptors, 1);
    before = after;
    conv_on(card, &conv, 0, TOKENS, conv.states, result);
    card_count(card, &after);
    assert_int_equal(after.kv_bytes - before.kv_bytes, 3 * 3 * 7 * 4);
    assert_int_equal(after.multiply_adds - before.multiply_adds, TOKENS * 7 * 4);
    scan_case_free(&scan);
    conv_case_free(&conv);
    card_close(card);
}

static int setup(void **state)
{
    *state = open_card("sim", 2);
    return 0;
}

static int teardown(void **state)
{
    card_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_agrees_with_double),
        cmocka_unit_test(scan_is_the_same_in_any_chunks_and_threads),
        cmocka_unit_test(conv_is_its_fmas_in_order_in_any_chunks),
        cmocka_unit_test(counts_are_exact),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
