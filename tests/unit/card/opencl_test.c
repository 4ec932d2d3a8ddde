/* SPDX-License-Identifier: Apache-2.0 */
/* OpenCL has the simulator's bits: random programs over every operation, format and edge shape, compared bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

#include <time.h>

/* Under oclgrind, which interprets, a few of the shapes. */
#ifdef SLUICE_FEW_SHAPES
enum { EVERY = 7, MOST_TOKENS = 9 };
#else
enum { EVERY = 1, MOST_TOKENS = 33 };
#endif

struct fixture {
    struct card *card[2]; /* sim, opencl */
    struct test_random random;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->random.state = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)f->random.state);
    f->card[0] = open_card("sim", 1);
    f->card[1] = open_card("opencl", 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    card_close(f->card[0]);
    card_close(f->card[1]);
    free(f);
    return 0;
}

/* ---- the same descriptor on both cards ---- */

struct operand_data {
    const void *data;
    size_t bytes;
};

/* Floats as bits; a NaN of one is any NaN of the other. floats: how the result is to be read. */
static void compare(const char *what, const uint8_t *a, const uint8_t *b, size_t bytes, int floats)
{
    if (memcmp(a, b, bytes) == 0) return;
    for (size_t i = 0; i + 4 <= bytes; i += 4) {
        float x, y;
        memcpy(&x, a + i, 4);
        memcpy(&y, b + i, 4);
        if (memcmp(a + i, b + i, 4) == 0 || (floats && isnan(x) && isnan(y))) continue;
        fail_msg("%s: word %zu is 0x%08x (%g) on sim, 0x%08x (%g) on opencl", what, i / 4, bits_of(x), (double)x,
                 bits_of(y), (double)y);
    }
}

static void run_same(struct fixture *f, const char *what, struct card_descriptor d, struct operand_data dst,
                     struct operand_data src, struct operand_data weight, struct operand_data aux, int floats)
{
    uint8_t *result[2] = {calloc(dst.bytes + 4, 1), calloc(dst.bytes + 4, 1)};
    for (int c = 0; c < 2; c++) {
        struct card *card = f->card[c];
        uint8_t *start = calloc(dst.bytes + 4, 1);
        if (dst.data) memcpy(start, dst.data, dst.bytes);
        memset(start + dst.bytes, 0xa5, 4); /* nobody writes past the end */
        d.dst = put(card, start, dst.bytes + 4);
        if (src.bytes) d.src = put(card, src.data, src.bytes);
        if (weight.bytes) d.weight = put(card, weight.data, weight.bytes);
        if (aux.bytes) d.aux = put(card, aux.data, aux.bytes);
        run_program(card, &d, 1);
        get(card, result[c], d.dst, dst.bytes + 4);
        const card_addr used[] = {d.dst, src.bytes ? d.src : 0, weight.bytes ? d.weight : 0, aux.bytes ? d.aux : 0};
        for (int i = 0; i < 4; i++) card_free(card, used[i]);
        free(start);
    }
    compare(what, result[0], result[1], dst.bytes + 4, floats);
    free(result[0]);
    free(result[1]);
}

/* Mostly ordinary numbers; with `strange`, some infinities, NaN, zeros of both signs, subnormal and huge ones. */
static float *floats_for(struct fixture *f, size_t n, int strange)
{
    static const uint32_t special[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x80000000u, 0x00000001u,
                                       0x807fffffu, 0x00800000u, 0x7f7fffffu, 0x00000000u, 0x33800000u};
    float *x = random_floats(&f->random, n);
    for (size_t i = 0; strange && i < n; i++) {
        if (random_below(&f->random, 20) == 0) memcpy(&x[i], &special[random_below(&f->random, 10)], 4);
        if (random_below(&f->random, 10) == 0) x[i] *= 1e-38f;
    }
    return x;
}

static const uint32_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 256, 1000};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)

static void vector_operations(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 2 * N_LENGTHS; i += EVERY) {
        const uint32_t cols = lengths[i % N_LENGTHS], tokens = i % 3 == 2 ? MOST_TOKENS : 1 + (uint32_t)i % 3,
                       rows = i % 2 ? 1 : 5;
        const int strange = i >= N_LENGTHS;
        const size_t n = (size_t)tokens * rows * cols, one = (size_t)tokens * cols;
        float *src = floats_for(f, n, strange), *other = floats_for(f, n, strange);
        struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = tokens, .rows = rows, .cols = cols};
        d.param[0] = bits_of(1e-6f);
        run_same(f, "NORM", d, (struct operand_data){NULL, n * 4}, (struct operand_data){src, n * 4},
                 (struct operand_data){other, cols * 4u}, (struct operand_data){0}, 1);
        d.opcode = CARD_OP_GLU;
        run_same(f, "GLU", d, (struct operand_data){NULL, one * 4}, (struct operand_data){src, one * 4},
                 (struct operand_data){other, one * 4}, (struct operand_data){0}, 1);
        d.opcode = CARD_OP_QUANTIZE;
        run_same(f, "QUANTIZE", d, (struct operand_data){NULL, card_act_bytes(tokens, cols)},
                 (struct operand_data){src, one * 4}, (struct operand_data){0}, (struct operand_data){0}, 1);
        uint32_t *index = calloc(tokens, 4);
        for (uint32_t t = 0; t < tokens; t++) index[t] = random_below(&f->random, tokens);
        d.opcode = CARD_OP_GATHER;
        d.rows = tokens;
        run_same(f, "GATHER", d, (struct operand_data){NULL, one * 4}, (struct operand_data){src, one * 4},
                 (struct operand_data){0}, (struct operand_data){index, tokens * 4u}, 1);
        free(index);
        free(src);
        free(other);
    }
}

static void rope(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 24; i += EVERY) {
        const uint32_t cols = 16 + 8 * (i % 12), tokens = i % 2 ? MOST_TOKENS : 1, heads = 1 + i % 3;
        const uint32_t turn = i % 4 == 3 ? 2 : cols / 4 * 2 * (1 + i % 2);
        struct card_batch_token *batch = calloc(tokens, sizeof *batch);
        for (uint32_t t = 0; t < tokens; t++)
            batch[t].position = random_below(&f->random, CARD_MAX_POSITIONS) >> i % 22;
        float *x = floats_for(f, (size_t)tokens * heads * cols, i >= 12), *frequency = floats_for(f, turn / 2, 0);
        struct card_descriptor d = {.opcode = CARD_OP_ROPE, .tokens = tokens, .rows = heads, .cols = cols};
        d.flags = i % 3 == 1 ? CARD_FLAG_INTERLEAVED : 0;
        d.param[0] = turn;
        d.param[1] = bits_of(1.0f + (float)i / 7);
        run_same(f, "ROPE", d, (struct operand_data){x, (size_t)tokens * heads * cols * 4}, (struct operand_data){0},
                 (struct operand_data){frequency, turn * 2u}, (struct operand_data){batch, tokens * sizeof *batch}, 1);
        free(x);
        free(frequency);
        free(batch);
    }
}

static void router_and_expert_sum(void **state)
{
    struct fixture *f = *state;
    const uint32_t experts[] = {1, 2, 8, 17, 63, 64, 65, 128, 300};
    for (uint32_t i = 0; i < 18; i += EVERY) {
        const uint32_t n = experts[i % 9],
                       chosen = n < 8   ? n
                                : i % 2 ? 8
                                        : 5,
                       tokens = i % 3 == 2 ? MOST_TOKENS : 1, cols = 40 + i;
        const int strange = i >= 9;
        float *logit = floats_for(f, (size_t)tokens * n, strange);
        for (uint32_t k = 0; k < tokens * n; k++) { /* ties */
            if (random_below(&f->random, 4) == 0) logit[k] = 0.5f;
        }
        struct card_descriptor d = {.opcode = CARD_OP_ROUTER, .tokens = tokens, .rows = chosen, .cols = n};
        d.flags = i % 2 ? CARD_FLAG_RENORMALIZE : 0;
        d.param[0] = bits_of(2.5f);
        run_same(f, "ROUTER", d, (struct operand_data){NULL, (size_t)tokens * chosen * 8},
                 (struct operand_data){logit, (size_t)tokens * n * 4}, (struct operand_data){0},
                 (struct operand_data){0}, 1);
        float *src = floats_for(f, (size_t)tokens * chosen * cols, strange), *old = floats_for(f, tokens * cols, 0);
        struct card_choice *choice = calloc((size_t)tokens * chosen, sizeof *choice);
        for (uint32_t k = 0; k < tokens * chosen; k++) choice[k].weight = random_float(&f->random);
        d = (struct card_descriptor){.opcode = CARD_OP_EXPERT_SUM, .tokens = tokens, .cols = cols, .param = {chosen}};
        run_same(f, "EXPERT_SUM", d, (struct operand_data){old, (size_t)tokens * cols * 4},
                 (struct operand_data){src, (size_t)tokens * chosen * cols * 4}, (struct operand_data){0},
                 (struct operand_data){choice, (size_t)tokens * chosen * sizeof *choice}, 1);
        free(logit);
        free(src);
        free(old);
        free(choice);
    }
}

/* ---- matrices ---- */

static const unsigned formats[] = {CARD_FORMAT_F32,      CARD_FORMAT_INT4, CARD_FORMAT_INT4_MIN, CARD_FORMAT_INT8,
                                   CARD_FORMAT_INT8_MIN, CARD_FORMAT_Q4_K, CARD_FORMAT_Q5_K,     CARD_FORMAT_Q6_K};
#define N_FORMATS (sizeof formats / sizeof *formats)

/* Whole groups; weights past cols meet activations of 0. */
static struct test_matrix make_matrix(struct fixture *f, unsigned format, uint32_t rows, uint32_t cols)
{
    const uint32_t wide = format == CARD_FORMAT_F32 ? cols : (uint32_t)card_round_up(cols, 32);
    return test_matrix_make(&f->random, format, rows, wide);
}

/* Quantized activations of x as sim makes them, or x itself for matrices of floats. */
static struct operand_data activations(struct fixture *f, unsigned format, const float *x, uint32_t tokens,
                                       uint32_t cols)
{
    const size_t floats = (size_t)tokens * cols * 4;
    const size_t bytes = format == CARD_FORMAT_F32 ? floats : card_act_bytes(tokens, cols);
    uint8_t *act = calloc(bytes, 1);
    if (format == CARD_FORMAT_F32) {
        memcpy(act, x, floats);
        return (struct operand_data){act, bytes};
    }
    struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols};
    d.dst = put(f->card[0], NULL, bytes);
    d.src = put(f->card[0], x, floats);
    run_program(f->card[0], &d, 1);
    get(f->card[0], act, d.dst, bytes);
    card_free(f->card[0], d.dst);
    card_free(f->card[0], d.src);
    return (struct operand_data){act, bytes};
}

static void matmul(void **state)
{
    struct fixture *f = *state;
    const uint32_t shapes[][3] = {{1, 1, 1},   {1, 16, 32},  {1, 17, 33}, {2, 15, 64},   {33, 40, 256}, {1, 100, 512},
                                  {7, 5, 300}, {8, 16, 257}, {9, 33, 96}, {64, 48, 128}, {65, 1, 576},  {1, 64, 1000}};
    for (size_t k = 0; k < N_FORMATS; k++) {
        for (size_t s = k % EVERY; s < sizeof shapes / sizeof *shapes; s += EVERY) {
            const uint32_t tokens = shapes[s][0], rows = shapes[s][1], cols = shapes[s][2];
            struct test_matrix m = make_matrix(f, formats[k], rows, cols);
            float *x = floats_for(f, (size_t)tokens * cols, s % 3 == 2), *bias = floats_for(f, rows, 0);
            float *old = floats_for(f, (size_t)tokens * rows, 0);
            struct operand_data act = activations(f, formats[k], x, tokens, cols);
            struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)formats[k], .tokens = tokens};
            d.flags = (uint16_t)(s % 4); /* ADD, BIAS */
            d.rows = rows;
            d.cols = cols;
            run_same(f, "MATMUL", d, (struct operand_data){old, (size_t)tokens * rows * 4}, act,
                     (struct operand_data){m.bytes, card_matrix_bytes(formats[k], rows, cols)},
                     (struct operand_data){bias, rows * 4u}, 1);
            free((void *)act.data);
            free(x);
            free(bias);
            free(old);
            test_matrix_free(&m);
        }
    }
}

enum { EXPERTS = 6 };

static void one_expert_matmul(struct fixture *f, unsigned format, uint32_t tokens, uint32_t choices, uint32_t rows,
                              uint32_t cols, int per_choice)
{
    const uint32_t outputs = tokens * choices, inputs = per_choice ? outputs : tokens;
    struct test_matrix m[EXPERTS];
    struct card_choice *choice = calloc(outputs, sizeof *choice);
    for (uint32_t i = 0; i < outputs; i++) choice[i].expert = random_below(&f->random, EXPERTS - 1);
    for (int e = 0; e < EXPERTS; e++) m[e] = make_matrix(f, format, rows, cols);
    float *x = floats_for(f, (size_t)inputs * cols, 0);
    struct operand_data act = activations(f, format, x, inputs, cols);
    const size_t bytes = (size_t)outputs * rows * 4;
    uint8_t *result[2];
    for (int c = 0; c < 2; c++) {
        struct card *card = f->card[c];
        card_addr slot[EXPERTS];
        for (int e = 0; e < EXPERTS; e++) slot[e] = put(card, m[e].bytes, card_matrix_bytes(format, rows, cols));
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = tokens};
        d.flags = per_choice ? CARD_FLAG_PER_CHOICE : 0;
        d.rows = rows;
        d.cols = cols;
        d.param[0] = choices;
        d.param[1] = EXPERTS;
        d.src = put(card, act.data, act.bytes);
        d.weight = put(card, slot, sizeof slot);
        d.aux = put(card, choice, outputs * sizeof *choice);
        d.dst = put(card, NULL, bytes);
        run_program(card, &d, 1);
        result[c] = calloc(bytes, 1);
        get(card, result[c], d.dst, bytes);
        assert_int_equal(card_reset(card, NULL), 0);
    }
    compare("EXPERT_MATMUL", result[0], result[1], bytes, 1);
    free(result[0]);
    free(result[1]);
    free((void *)act.data);
    free(x);
    free(choice);
    for (int e = 0; e < EXPERTS; e++) test_matrix_free(&m[e]);
}

static void expert_matmul(void **state)
{
    struct fixture *f = *state;
    for (size_t k = 0; k < N_FORMATS; k++) {
        one_expert_matmul(f, formats[k], 1, 2, 17, 96, 0);
        one_expert_matmul(f, formats[k], MOST_TOKENS, 2, 16, 64, 1);
        if (EVERY > 1) continue;
        one_expert_matmul(f, formats[k], 5, 4, 33, 300, 0);
        one_expert_matmul(f, formats[k], 1, 1, 1, 1, 1);
    }
}

/* ---- pages ---- */

struct pages_case {
    uint32_t length, queries, heads, kv_heads, cols, window;
    unsigned format;
    int strange;
};

static void one_attention(struct fixture *f, const struct pages_case *c)
{
    const uint32_t pages = (c->length + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS, pool_pages = pages + 3;
    const size_t kv = (size_t)c->length * c->kv_heads * c->cols, q = (size_t)c->queries * c->heads * c->cols;
    const size_t pool_bytes = pool_pages * card_page_bytes(c->format, c->kv_heads, c->cols);
    float *key = floats_for(f, kv, c->strange), *value = floats_for(f, kv, c->strange), *query = floats_for(f, q, 0);
    const size_t table_words = 2 * (size_t)c->length + 2 * (size_t)c->queries + 2 * (size_t)pages;
    uint32_t *table = calloc(table_words, 4), *second = table + 2 * (size_t)c->length + pages;
    for (uint32_t t = 0; t < c->length; t++) table[2 * t] = t;
    for (uint32_t t = 0; t < c->queries; t++) second[2 * t] = c->length - c->queries + t;
    for (uint32_t p = 0; p < pages; p++) table[2 * c->length + p] = second[2 * c->queries + p] = pool_pages - 1 - p;
    uint8_t *pool[2], *result[2], *zeros = calloc(pool_bytes, 1);
    for (int k = 0; k < 2; k++) {
        struct card *card = f->card[k];
        struct card_descriptor program[2] = {
            {.opcode = CARD_OP_KV_WRITE, .tokens = c->length, .rows = c->kv_heads, .param = {pool_pages}},
            {.opcode = CARD_OP_ATTENTION, .tokens = c->queries, .rows = c->heads}};
        program[0].cols = program[1].cols = c->cols;
        program[0].format = program[1].format = (uint8_t)c->format;
        program[0].dst = program[1].weight = put(card, zeros, pool_bytes);
        program[0].src = put_floats(card, key, kv);
        program[0].weight = put_floats(card, value, kv);
        program[0].aux = put(card, table, (2 * (size_t)c->length + pages) * 4);
        program[1].aux = put(card, second, (2 * (size_t)c->queries + pages) * 4);
        program[1].src = put_floats(card, query, q);
        program[1].dst = put_floats(card, NULL, q);
        program[1].param[0] = pool_pages;
        program[1].param[1] = bits_of(4.0f / sqrtf((float)c->cols));
        program[1].param[2] = c->kv_heads;
        program[1].param[3] = c->window;
        run_program(card, program, 2);
        pool[k] = calloc(pool_bytes, 1);
        result[k] = calloc(q, 4);
        get(card, pool[k], program[0].dst, pool_bytes);
        get(card, result[k], program[1].dst, q * 4);
        assert_int_equal(card_reset(card, NULL), 0);
    }
    compare("KV_WRITE", pool[0], pool[1], pool_bytes, c->format == CARD_FORMAT_F32);
    compare("ATTENTION", result[0], result[1], q * 4, 1);
    for (int k = 0; k < 2; k++) {
        free(pool[k]);
        free(result[k]);
    }
    free(zeros);
    free(key);
    free(value);
    free(query);
    free(table);
}

static void attention(void **state)
{
    struct fixture *f = *state;
    const uint32_t sizes[] = {1, 2, 31, 32, 33, 64, 65, 97}, dims[] = {1, 15, 16, 24, 64, 65, 128, 200};
    for (uint32_t i = 0; i < 8 * 8; i += EVERY) {
        struct pages_case c = {.length = sizes[i % 8], .heads = 6, .kv_heads = i % 3 == 0 ? 6 : i % 3};
        c.cols = dims[(i / 8 + i) % 8];
        c.queries = i % 2 ? c.length : 1;
        c.window = i % 4 < 2 ? 0 : 1 + i * 7 % 40;
        c.format = i / 32 ? CARD_FORMAT_F16 : CARD_FORMAT_F32;
        c.strange = i % 5 == 4;
        one_attention(f, &c);
    }
    if (EVERY == 1) one_attention(f, &(struct pages_case){40, 40, 1, 1, CARD_MAX_HEAD_DIM, 0, CARD_FORMAT_F16, 0});
}

#ifndef SLUICE_FEW_SHAPES
/* Every half in a page: what attention reads is what card_f16_to_f32 says. */
static void every_half(void **state)
{
    struct fixture *f = *state;
    enum { DIM = 512, PAGES = 4 }; /* 4 pages x 32 positions x 512: 65536 keys; the same again as values */
    uint16_t *pool = calloc(2 * 65536, 2);
    struct card_batch_token *table = calloc(PAGES * CARD_PAGE_TOKENS + PAGES, sizeof *table);
    float *query = calloc((size_t)PAGES * CARD_PAGE_TOKENS * DIM, 4);
    const uint32_t n = PAGES * CARD_PAGE_TOKENS;
    for (uint32_t p = 0; p < PAGES; p++) {
        for (uint32_t i = 0; i < 16384; i++)
            pool[p * 32768 + i] = pool[p * 32768 + 16384 + i] = (uint16_t)(p * 16384 + i);
    }
    for (uint32_t t = 0; t < n; t++) table[t].position = t;
    uint32_t *page = (uint32_t *)(table + n);
    for (uint32_t p = 0; p < PAGES; p++) page[p] = p;
    for (uint32_t i = 0; i < n * DIM; i++) query[i] = i % 3 ? 0.0f : 1e-4f;
    struct card_descriptor d = {.opcode = CARD_OP_ATTENTION, .format = CARD_FORMAT_F16, .tokens = n, .rows = 1};
    d.cols = DIM;
    d.param[0] = PAGES;
    d.param[1] = bits_of(1e-3f);
    d.param[2] = 1;
    d.param[3] = 1; /* a token sees itself only: its result is its value */
    run_same(f, "ATTENTION of every half", d, (struct operand_data){NULL, (size_t)n * DIM * 4},
             (struct operand_data){query, (size_t)n * DIM * 4}, (struct operand_data){pool, 2 * 65536 * 2},
             (struct operand_data){table, n * sizeof *table + PAGES * 4}, 1);
    free(pool);
    free(table);
    free(query);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_operations),
        cmocka_unit_test(rope),
        cmocka_unit_test(router_and_expert_sum),
        cmocka_unit_test(matmul),
        cmocka_unit_test(expert_matmul),
        cmocka_unit_test(attention),
#ifndef SLUICE_FEW_SHAPES
        cmocka_unit_test(every_half),
#endif
    };
    return cmocka_run_group_tests_name("opencl", tests, setup, teardown);
}
