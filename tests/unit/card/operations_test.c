/* SPDX-License-Identifier: Apache-2.0 */
/* Every opcode on both backends: the same program on sim and ref must agree within the tolerances of tolerance.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

struct fixture {
    struct card *sim, *ref;
    struct test_random random;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->sim = open_card("sim", 2);
    f->ref = open_card("ref", 0);
    f->random.state = 42;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    card_close(f->sim);
    card_close(f->ref);
    free(f);
    return 0;
}

/* Data to put at an operand before the program; bytes 0: the operand is not used. */
struct operand_data {
    const void *data;
    size_t bytes;
};

/* Runs d on one card with the given data, and returns the first result_bytes of dst. */
static void run_one(struct card *card, struct card_descriptor d, struct operand_data dst, struct operand_data src,
                    struct operand_data weight, struct operand_data aux, void *result)
{
    d.dst = put(card, dst.data, dst.bytes);
    if (src.bytes) d.src = put(card, src.data, src.bytes);
    if (weight.bytes) d.weight = put(card, weight.data, weight.bytes);
    if (aux.bytes) d.aux = put(card, aux.data, aux.bytes);
    run_program(card, &d, 1);
    get(card, result, d.dst, dst.bytes);
    card_free(card, d.dst);
    card_free(card, d.src);
    card_free(card, d.weight);
    card_free(card, d.aux);
}

/* The same on both cards, whose float results must be near. */
static void run_both(struct fixture *f, const char *what, const struct card_descriptor *d, struct operand_data dst,
                     struct operand_data src, struct operand_data weight, struct operand_data aux, double tolerance)
{
    float *a = calloc(dst.bytes, 1), *b = calloc(dst.bytes, 1);
    run_one(f->sim, *d, dst, src, weight, aux, a);
    run_one(f->ref, *d, dst, src, weight, aux, b);
    assert_near(what, a, b, dst.bytes / 4, tolerance);
    free(a);
    free(b);
}

static const uint32_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 256};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)

static void norm_agrees(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < N_LENGTHS; i++) {
        const uint32_t cols = lengths[i], tokens = 1 + (uint32_t)i % 3, rows = 1 + (uint32_t)i % 2 * 4;
        const size_t n = (size_t)tokens * rows * cols * 4;
        float *src = random_floats(&f->random, n / 4), *weight = random_floats(&f->random, cols);
        struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = tokens, .rows = rows, .cols = cols};
        d.param[0] = bits_of(1e-6f);
        run_both(f, "NORM", &d, (struct operand_data){NULL, n}, (struct operand_data){src, n},
                 (struct operand_data){weight, cols * 4u}, (struct operand_data){0}, TOLERANCE_FLOAT);
        free(src);
        free(weight);
    }
}

static void norm_works_in_place(void **state)
{
    struct fixture *f = *state;
    struct card *cards[] = {f->sim, f->ref};
    float src[40], weight[40], apart[40], in_place[40];
    fill_random(&f->random, src, 40);
    fill_random(&f->random, weight, 40);
    for (size_t c = 0; c < 2; c++) {
        struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = 1, .rows = 1, .cols = 40};
        d.src = put_floats(cards[c], src, 40);
        d.weight = put_floats(cards[c], weight, 40);
        d.dst = put_floats(cards[c], NULL, 40);
        run_program(cards[c], &d, 1);
        get(cards[c], apart, d.dst, sizeof apart);
        d.dst = d.src;
        run_program(cards[c], &d, 1);
        get(cards[c], in_place, d.dst, sizeof in_place);
        assert_memory_equal(apart, in_place, sizeof apart);
    }
}

static void float_matmul_agrees(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < N_LENGTHS; i++) {
        const uint32_t cols = lengths[i], rows = lengths[N_LENGTHS - 1 - i], tokens = i % 2 ? 33 : 1;
        float *x = random_floats(&f->random, (size_t)tokens * cols);
        float *w = random_floats(&f->random, (size_t)rows * cols);
        float *old = random_floats(&f->random, (size_t)tokens * rows), *bias = random_floats(&f->random, rows);
        struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = CARD_FORMAT_F32, .tokens = tokens};
        d.rows = rows;
        d.cols = cols;
        for (unsigned flags = 0; flags < 4; flags++) {
            d.flags = (uint16_t)(flags); /* ADD, BIAS in all combinations */
            run_both(f, "MATMUL F32", &d, (struct operand_data){old, (size_t)tokens * rows * 4},
                     (struct operand_data){x, (size_t)tokens * cols * 4},
                     (struct operand_data){w, (size_t)rows * cols * 4}, (struct operand_data){bias, rows * 4u},
                     TOLERANCE_FLOAT);
        }
        free(x);
        free(w);
        free(old);
        free(bias);
    }
}

static void rope_agrees(void **state)
{
    struct fixture *f = *state;
    const uint32_t positions[] = {0, 1, 31, 32, 1000, 131071, 1000000};
    enum { N = sizeof positions / sizeof *positions, HEADS = 3, COLS = 80, TURN = 64 };
    struct card_batch_token batch[N] = {0};
    float frequency[TURN / 2];
    for (size_t t = 0; t < N; t++) batch[t].position = positions[t];
    for (int i = 0; i < TURN / 2; i++) frequency[i] = powf(10000.0f, -2.0f * (float)i / TURN);
    float *x = random_floats(&f->random, N * HEADS * COLS);
    for (unsigned flags = 0; flags < 2; flags++) {
        struct card_descriptor d = {.opcode = CARD_OP_ROPE, .tokens = N, .rows = HEADS, .cols = COLS};
        d.flags = flags ? CARD_FLAG_INTERLEAVED : 0;
        d.param[0] = TURN;
        d.param[1] = bits_of(1.25f);
        run_both(f, "ROPE", &d, (struct operand_data){x, N * HEADS * COLS * 4}, (struct operand_data){0},
                 (struct operand_data){frequency, sizeof frequency}, (struct operand_data){batch, sizeof batch},
                 TOLERANCE_FLOAT);
    }
    free(x);
}

static void glu_agrees(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < N_LENGTHS; i++) {
        const size_t n = 3u * lengths[i];
        float *gate = random_floats(&f->random, n), *up = random_floats(&f->random, n);
        for (size_t k = 0; k < n; k++) gate[k] *= 20;
        struct card_descriptor d = {.opcode = CARD_OP_GLU, .tokens = 3, .cols = lengths[i]};
        run_both(f, "GLU", &d, (struct operand_data){NULL, n * 4}, (struct operand_data){gate, n * 4},
                 (struct operand_data){up, n * 4}, (struct operand_data){0}, TOLERANCE_FLOAT);
        free(gate);
        free(up);
    }
}

static void gather_copies_rows(void **state)
{
    struct fixture *f = *state;
    struct card *cards[] = {f->sim, f->ref};
    float src[5 * 7], result[4 * 7];
    const uint32_t index[4] = {4, 0, 4, 2};
    fill_random(&f->random, src, 35);
    for (size_t c = 0; c < 2; c++) {
        struct card_descriptor d = {.opcode = CARD_OP_GATHER, .tokens = 4, .rows = 5, .cols = 7};
        run_one(cards[c], d, (struct operand_data){NULL, sizeof result}, (struct operand_data){src, sizeof src},
                (struct operand_data){0}, (struct operand_data){index, sizeof index}, result);
        for (size_t t = 0; t < 4; t++) assert_memory_equal(result + 7 * t, src + 7 * index[t], 28);
    }
}

static void expert_sum_agrees(void **state)
{
    struct fixture *f = *state;
    enum { T = 3, K = 2, C = 37 };
    struct card_choice choice[T * K];
    for (size_t i = 0; i < T * K; i++) choice[i] = (struct card_choice){.weight = random_float(&f->random)};
    float *src = random_floats(&f->random, T * K * C), *old = random_floats(&f->random, T * C);
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_SUM, .tokens = T, .cols = C, .param = {K}};
    run_both(f, "EXPERT_SUM", &d, (struct operand_data){old, T * C * 4}, (struct operand_data){src, T * K * C * 4},
             (struct operand_data){0}, (struct operand_data){choice, sizeof choice}, TOLERANCE_FLOAT);
    free(src);
    free(old);
}

static void route(struct card *card, const float *logit, uint32_t tokens, uint32_t n, uint32_t chosen, unsigned flags,
                  float factor, struct card_choice *choice)
{
    struct card_descriptor d = {.opcode = CARD_OP_ROUTER, .flags = (uint16_t)flags, .tokens = tokens, .rows = chosen};
    d.cols = n;
    d.param[0] = bits_of(factor);
    run_one(card, d, (struct operand_data){NULL, (size_t)tokens * chosen * sizeof *choice},
            (struct operand_data){logit, (size_t)tokens * n * 4}, (struct operand_data){0}, (struct operand_data){0},
            choice);
}

static void router_agrees(void **state)
{
    struct fixture *f = *state;
    const uint32_t experts[] = {1, 8, 17, 128};
    for (size_t i = 0; i < 4; i++) {
        const uint32_t n = experts[i], chosen = n < 8 ? n : 8;
        struct card_choice a[5 * 8], b[5 * 8];
        float *logit = random_floats(&f->random, 5u * n);
        for (unsigned renormalize = 0; renormalize < 2; renormalize++) {
            route(f->sim, logit, 5, n, chosen, renormalize ? CARD_FLAG_RENORMALIZE : 0, 2.5f, a);
            route(f->ref, logit, 5, n, chosen, renormalize ? CARD_FLAG_RENORMALIZE : 0, 2.5f, b);
            for (uint32_t k = 0; k < 5 * chosen; k++) {
                assert_int_equal(a[k].expert, b[k].expert);
                assert_near("ROUTER", &a[k].weight, &b[k].weight, 1, TOLERANCE_FLOAT);
            }
        }
        free(logit);
    }
}

static void router_breaks_ties_to_the_lower_index_and_puts_nan_last(void **state)
{
    struct fixture *f = *state;
    struct card *cards[] = {f->sim, f->ref};
    const float ties[6] = {1, 2, 1, 2, 2, 0}, nans[6] = {NAN, -1, NAN, 3, -INFINITY, NAN};
    const uint32_t ties_want[5] = {1, 3, 4, 0, 2}, nans_want[5] = {3, 1, 4, 0, 2};
    for (size_t c = 0; c < 2; c++) {
        struct card_choice choice[5];
        route(cards[c], ties, 1, 6, 5, 0, 1.0f, choice);
        for (size_t i = 0; i < 5; i++) assert_int_equal(choice[i].expert, ties_want[i]);
        assert_true(choice[0].weight == choice[1].weight);
        route(cards[c], nans, 1, 6, 5, 0, 1.0f, choice);
        for (size_t i = 0; i < 5; i++) assert_int_equal(choice[i].expert, nans_want[i]);
    }
}

/* ---- paged attention ---- */

/* A sequence of `length` positions written in one step over shuffled pages, then attended by its last `queries`. */
struct attention_case {
    uint32_t length, queries, heads, kv_heads, cols, window;
    unsigned format;
};

static void attend(struct card *card, const struct attention_case *c, const float *key, const float *value,
                   const float *query, float *result)
{
    const uint32_t pages = (c->length + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS, pool_pages = pages + 3;
    const size_t kv = (size_t)c->length * c->kv_heads * c->cols * 4, q = (size_t)c->queries * c->heads * c->cols * 4;
    const size_t table_bytes = c->length * sizeof(struct card_batch_token) + pages * 4;
    struct card_batch_token *table = calloc(1, table_bytes);
    for (uint32_t t = 0; t < c->length; t++) table[t] = (struct card_batch_token){.position = t, .visible = t + 1};
    for (uint32_t p = 0; p < pages; p++) ((uint32_t *)(table + c->length))[p] = pool_pages - 1 - p;
    struct card_descriptor write = {.opcode = CARD_OP_KV_WRITE, .format = (uint8_t)c->format, .tokens = c->length};
    write.rows = c->kv_heads;
    write.cols = c->cols;
    write.param[0] = pool_pages;
    write.param[1] = c->cols;
    write.dst = put(card, NULL, pool_pages * card_page_bytes(c->format, c->kv_heads, c->cols, c->cols));
    write.src = put(card, key, kv);
    write.weight = put(card, value, kv);
    write.aux = put(card, table, table_bytes);
    run_program(card, &write, 1);

    memmove(table, table + c->length - c->queries, table_bytes - (c->length - c->queries) * sizeof *table);
    struct card_descriptor d = {.opcode = CARD_OP_ATTENTION, .format = (uint8_t)c->format, .tokens = c->queries};
    d.rows = c->heads;
    d.cols = c->cols;
    d.dst = put(card, NULL, q);
    d.src = put(card, query, q);
    d.weight = write.dst;
    d.aux = put(card, table, c->queries * sizeof *table + pages * 4);
    d.param[0] = pool_pages;
    d.param[1] = bits_of(1.0f / sqrtf((float)c->cols) * 4);
    d.param[2] = c->kv_heads;
    d.param[3] = c->window;
    run_program(card, &d, 1);
    get(card, result, d.dst, q);
    const card_addr all[] = {write.dst, write.src, write.weight, write.aux, d.dst, d.src, d.aux};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) card_free(card, all[i]);
    free(table);
}

/* The textbook: one token, one head, everything in double. */
static void attend_plainly(const struct attention_case *c, const float *key, const float *value, const float *query,
                           float *result)
{
    double *weight = calloc(c->length, sizeof *weight);
    for (uint32_t t = 0; t < c->queries; t++) {
        const uint32_t position = c->length - c->queries + t;
        const uint32_t first = c->window && position + 1 > c->window ? position + 1 - c->window : 0;
        for (uint32_t h = 0; h < c->heads; h++) {
            const size_t at = ((size_t)t * c->heads + h) * c->cols, kv_head = h / (c->heads / c->kv_heads);
            double sum = 0;
            for (uint32_t p = first; p <= position; p++) {
                double dot = 0;
                for (uint32_t i = 0; i < c->cols; i++) {
                    dot += (double)query[at + i] * key[(p * c->kv_heads + kv_head) * c->cols + i];
                }
                weight[p] = exp(dot * (double)(1.0f / sqrtf((float)c->cols) * 4));
                sum += weight[p];
            }
            for (uint32_t i = 0; i < c->cols; i++) {
                double acc = 0;
                for (uint32_t p = first; p <= position; p++) {
                    acc += weight[p] * value[(p * c->kv_heads + kv_head) * c->cols + i];
                }
                result[at + i] = (float)(acc / sum);
            }
        }
    }
    free(weight);
}

static void attention_agrees(void **state)
{
    struct fixture *f = *state;
    const uint32_t sizes[] = {1, 2, 31, 32, 33, 64, 65, 97};
    for (uint32_t i = 0; i < 8 * 6; i++) {
        struct attention_case c = {.length = sizes[i % 8], .heads = 6, .kv_heads = i % 3 == 0 ? 6 : i % 3, .cols = 24};
        c.queries = i % 2 ? c.length : 1;
        c.window = i % 4 < 2 ? 0 : 1 + i * 7 % 40;
        c.format = i / 24 ? CARD_FORMAT_F16 : CARD_FORMAT_F32;
        const size_t kv = (size_t)c.length * c.kv_heads * c.cols, q = (size_t)c.queries * c.heads * c.cols;
        float *key = random_floats(&f->random, kv), *value = random_floats(&f->random, kv);
        float *query = random_floats(&f->random, q), *a = calloc(q, 4), *b = calloc(q, 4), *want = calloc(q, 4);
        attend(f->sim, &c, key, value, query, a);
        attend(f->ref, &c, key, value, query, b);
        attend_plainly(&c, key, value, query, want);
        assert_near("ATTENTION sim", a, b, q, TOLERANCE_ATTENTION);
        assert_near("ATTENTION ref", b, want, q, c.format == CARD_FORMAT_F32 ? TOLERANCE_ATTENTION : TOLERANCE_KV_F16);
        free(key);
        free(value);
        free(query);
        free(a);
        free(b);
        free(want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(norm_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(norm_works_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(float_matmul_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(rope_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(glu_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(gather_copies_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(expert_sum_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(router_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(router_breaks_ties_to_the_lower_index_and_puts_nan_last, setup, teardown),
        cmocka_unit_test_setup_teardown(attention_agrees, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
