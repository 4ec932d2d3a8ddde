/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenCL has the simulator's bits: operations on vectors, choices and matrices in edge shapes. More random programs are
 * in tests/kernels, which run on OpenCL too; this one is small enough for oclgrind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/opencl_fixture.h"

static const uint32_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 256, 1000};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)

/* Shape number i: rows 1 or 5; strange data in the second half. */
struct shape {
    uint32_t tokens, rows, cols;
    int strange;
    size_t all, one; /* bytes of f32[T][R][C] and f32[T][C] */
};

static struct shape shape_of(size_t i)
{
    struct shape s = {.tokens = i % 3 == 2 ? MOST_TOKENS : 1 + (uint32_t)i % 3, .rows = i % 2 ? 1 : 5};
    s.cols = lengths[i % N_LENGTHS];
    s.strange = i >= N_LENGTHS;
    s.one = (size_t)s.tokens * s.cols * 4;
    s.all = s.one * s.rows;
    return s;
}

static struct card_descriptor descriptor(unsigned opcode, const struct shape *s)
{
    return (struct card_descriptor){.opcode = (uint8_t)opcode, .tokens = s->tokens, .rows = s->rows, .cols = s->cols};
}

static void norms(struct fixture *f, const struct shape *s, const float *x, const float *weight, unsigned flags)
{
    struct card_descriptor d = descriptor(CARD_OP_NORM, s);
    const struct data each = {weight, (flags & CARD_FLAG_EACH ? s->rows : 1) * s->cols * 4u};
    d.flags = (uint16_t)flags;
    d.param[0] = bits_of(1e-6f);
    run_same(f, "NORM", d, NULL,
             (struct operands){.dst = {NULL, s->all}, .src = {x, s->all}, .weight = each, .aux = each});
}

static void elementwise(struct fixture *f, const struct shape *s, const float *x, const float *y, unsigned i)
{
    const struct data dst = {NULL, s->one}, src = {x, s->one}, column = {y, s->cols * 4u};
    struct card_descriptor d = descriptor(CARD_OP_GLU, s);
    d.param[1] = bits_of(1.702f);
    for (unsigned activation = 0; activation < CARD_ACTIVATION_END; activation++) {
        d.format = (uint8_t)activation;
        d.param[0] = activation % 2 ? bits_of(0.5f) : 0;
        d.flags = (uint16_t)((i + activation) % 3 == 1 ? CARD_FLAG_UNWEIGHTED : 0);
        run_same(f, "GLU", d, NULL, (struct operands){.dst = dst, .src = src, .weight = {y, s->one}});
    }
    d.flags = CARD_FLAG_BROADCAST;
    run_same(f, "GLU BROADCAST", d, NULL,
             (struct operands){.dst = dst, .src = {x, s->tokens * 4u}, .weight = {y, s->one}});
    d = descriptor(CARD_OP_ADD, s);
    d.param[0] = bits_of(0.7f);
    run_same(f, "ADD", d, NULL, (struct operands){.dst = dst, .src = src, .weight = {y, s->one}});
    d.flags = CARD_FLAG_BROADCAST;
    run_same(f, "ADD BROADCAST", d, NULL, (struct operands){.dst = dst, .src = src, .weight = column});
    d = descriptor(CARD_OP_SCALE, s);
    d.param[0] = bits_of(i % 2 ? 1.0f : 0.99999994f);
    run_same(f, "SCALE", d, NULL, (struct operands){.dst = dst, .src = src});
    d.flags = CARD_FLAG_PER_TOKEN;
    run_same(f, "SCALE", d, NULL, (struct operands){.dst = dst, .src = src, .weight = {y, s->tokens * 4u}});
    d = descriptor(CARD_OP_SOFT_CAP, s);
    d.param[0] = bits_of(3.0f);
    run_same(f, "SOFT_CAP", d, NULL, (struct operands){.dst = dst, .src = src});
    d = descriptor(CARD_OP_DECAY, s);
    run_same(f, "DECAY", d, NULL, (struct operands){.dst = dst, .src = src, .weight = column, .aux = column});
}

static void moves(struct fixture *f, const struct shape *s, const float *x)
{
    struct card_descriptor d = descriptor(CARD_OP_QUANTIZE, s);
    run_same(f, "QUANTIZE", d, NULL,
             (struct operands){.dst = {NULL, card_act_bytes(s->tokens, s->cols)}, .src = {x, s->one}});
    uint32_t *index = calloc(s->tokens, 4);
    for (uint32_t t = 0; t < s->tokens; t++) index[t] = random_below(&f->random, s->tokens);
    d = descriptor(CARD_OP_GATHER, s);
    d.rows = s->tokens;
    run_same(f, "GATHER", d, NULL,
             (struct operands){.dst = {NULL, s->one}, .src = {x, s->one}, .aux = {index, s->tokens * 4u}});
    free(index);
    d = descriptor(CARD_OP_COPY, s);
    d.param[0] = s->rows * s->cols;
    d.param[1] = s->cols;
    d.param[3] = s->cols + 3;
    d.param[2] = s->rows * d.param[3];
    const size_t bytes = ((size_t)(s->tokens - 1) * d.param[2] + (s->rows - 1) * d.param[3] + s->cols) * 4;
    run_same(f, "COPY", d, NULL, (struct operands){.dst = {NULL, bytes}, .src = {x, s->all}});
}

static void vector_operations(void **state)
{
    static const unsigned flags[] = {0,
                                     CARD_FLAG_LAYER | CARD_FLAG_BIAS,
                                     CARD_FLAG_SUM | CARD_FLAG_UNWEIGHTED,
                                     CARD_FLAG_EACH,
                                     CARD_FLAG_EACH | CARD_FLAG_BIAS | CARD_FLAG_LAYER | CARD_FLAG_SUM,
                                     CARD_FLAG_UNWEIGHTED | CARD_FLAG_BIAS};
    struct fixture *f = *state;
    for (size_t i = 0; i < 2 * N_LENGTHS; i += EVERY) {
        const struct shape s = shape_of(i);
        float *x = floats_for(f, s.all / 4, s.strange), *y = floats_for(f, s.all / 4, s.strange);
        for (size_t k = 0; k < sizeof flags / sizeof *flags; k++) norms(f, &s, x, y, flags[k]);
        elementwise(f, &s, x, y, (unsigned)i);
        moves(f, &s, x);
        free(x);
        free(y);
    }
}

/* Groups whose scale is at the border below which it counts as zero. */
static void quantize_at_its_threshold(void **state)
{
    struct fixture *f = *state;
    enum { GROUPS = 64 };
    uint32_t x[GROUPS * 32] = {0};
    for (uint32_t g = 0; g < GROUPS; g++) {
        for (uint32_t i = 0; i < 32; i += 3) x[g * 32 + i] = bits_of(0x1.fcp-58f) - GROUPS / 2 + g - i;
    }
    const struct shape s = {.tokens = 1, .rows = 1, .cols = GROUPS * 32};
    run_same(f, "QUANTIZE", descriptor(CARD_OP_QUANTIZE, &s), NULL,
             (struct operands){.dst = {NULL, card_act_bytes(1, s.cols)}, .src = {x, sizeof x}});
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
        const size_t n = (size_t)tokens * heads * cols;
        float *x = floats_for(f, n, i >= 12), *frequency = floats_for(f, turn / 2, 0);
        struct card_descriptor d = {.opcode = CARD_OP_ROPE, .tokens = tokens, .rows = heads, .cols = cols};
        d.flags = i % 3 == 1 ? CARD_FLAG_INTERLEAVED : 0;
        d.param[0] = turn;
        d.param[1] = bits_of(1.0f + (float)i / 7);
        d.param[2] = random_below(&f->random, cols - turn + 1);
        run_same(f, "ROPE", d, NULL,
                 (struct operands){
                     .dst = {x, n * 4}, .weight = {frequency, turn * 2u}, .aux = {batch, tokens * sizeof *batch}});
        free(x);
        free(frequency);
        free(batch);
    }
}

/* ---- choices ---- */

static void choose(struct fixture *f, uint32_t i, uint32_t tokens, uint32_t n, uint32_t chosen)
{
    const size_t all = (size_t)tokens * n;
    float *logit = floats_for(f, all, i >= 9), *bias = floats_for(f, n, i >= 14);
    for (size_t k = 0; k < all; k++) { /* ties */
        if (random_below(&f->random, 4) == 0) logit[k] = 0.5f;
        if (i >= 9 && random_below(&f->random, 8) == 0) logit[k] = random_below(&f->random, 2) ? 1e-40f : -0.0f;
    }
    const struct data dst = {NULL, (size_t)tokens * chosen * 8}, src = {logit, all * 4}, each = {bias, n * 4u};
    struct card_descriptor d = {.opcode = CARD_OP_TOP_K, .tokens = tokens, .rows = chosen, .cols = n};
    run_same(f, "TOP_K", d, NULL, (struct operands){.dst = dst, .src = src});
    d.opcode = CARD_OP_ROUTER;
    d.param[0] = bits_of(2.5f);
    for (unsigned k = 0; k<8; k += EVERY> 1 ? 3 : 1) {
        d.format = (uint8_t)(k % 2);
        d.flags = (uint16_t)((k & 2 ? CARD_FLAG_BIAS : 0) | (k & 4 ? CARD_FLAG_RENORMALIZE : 0));
        d.param[1] = 0;
        run_same(f, "ROUTER", d, NULL, (struct operands){.dst = dst, .src = src, .aux = each});
        if (n % 8 || chosen > n / 8 * 3) continue;
        d.param[1] = 8;
        d.param[2] = 3;
        d.flags = (uint16_t)(d.flags | (k & 1 && n >= 16 ? CARD_FLAG_GROUP_PAIRS : 0));
        run_same(f, "ROUTER with groups", d, NULL, (struct operands){.dst = dst, .src = src, .aux = each});
    }
    free(logit);
    free(bias);
}

static void use_choices(struct fixture *f, uint32_t tokens, uint32_t chosen, uint32_t cols, int strange)
{
    const size_t one = (size_t)tokens * cols * 4;
    float *src = floats_for(f, one / 4 * chosen, strange), *old = floats_for(f, one / 4, 0);
    struct card_choice *choice = calloc((size_t)tokens * chosen, sizeof *choice);
    for (uint32_t k = 0; k < tokens * chosen; k++) choice[k].weight = random_float(&f->random);
    const struct data choices = {choice, (size_t)tokens * chosen * sizeof *choice};
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_SUM, .tokens = tokens, .cols = cols, .param = {chosen}};
    const struct operands sum = {.dst = {old, one}, .src = {src, one * chosen}, .aux = choices};
    run_same(f, "EXPERT_SUM", d, NULL, sum);
    d.flags = CARD_FLAG_UNWEIGHTED;
    run_same(f, "EXPERT_SUM", d, NULL, sum);
    d = (struct card_descriptor){.opcode = CARD_OP_EXPERT_SPREAD, .tokens = tokens, .cols = cols, .param = {chosen}};
    run_same(f, "EXPERT_SPREAD", d, NULL,
             (struct operands){.dst = {NULL, one * chosen}, .src = {old, one}, .aux = choices});
    d = (struct card_descriptor){.opcode = CARD_OP_PUBLISH, .tokens = tokens, .rows = chosen, .param = {77}};
    run_same(f, "PUBLISH", d, NULL, (struct operands){.dst = {NULL, 64 + choices.bytes}, .src = choices});
    free(src);
    free(old);
    free(choice);
}

static void choices(void **state)
{
    struct fixture *f = *state;
    const uint32_t experts[] = {1, 2, 8, 17, 63, 64, 65, 128, 300};
    for (uint32_t i = 0; i < 18; i += EVERY) {
        const uint32_t n = experts[i % 9], chosen = n < 8 ? n : i % 2 ? 8 : 5, tokens = i % 3 == 2 ? MOST_TOKENS : 1;
        choose(f, i, tokens, n, chosen);
        use_choices(f, tokens, chosen, 40 + i, i >= 9);
    }
    choose(f, 0, 1, 64, 8);
}

/* ---- matrices ---- */

static const unsigned formats[] = {CARD_FORMAT_F32,  CARD_FORMAT_INT4,     CARD_FORMAT_INT4_MIN,
                                   CARD_FORMAT_INT8, CARD_FORMAT_INT8_MIN, CARD_FORMAT_Q4_K,
                                   CARD_FORMAT_Q5_K, CARD_FORMAT_Q6_K,     CARD_FORMAT_MXFP4};
#define N_FORMATS (sizeof formats / sizeof *formats)

/* Whole groups; weights past cols meet activations of 0. */
static struct test_matrix make_matrix(struct fixture *f, unsigned format, uint32_t rows, uint32_t cols)
{
    const uint32_t wide = format == CARD_FORMAT_F32 ? cols : (uint32_t)card_round_up(cols, 32);
    return test_matrix_make(&f->random, format, rows, wide);
}

/* Quantized activations of x as sim makes them, or x itself for matrices of floats. The caller frees data. */
static struct data activations(struct fixture *f, unsigned format, const float *x, uint32_t tokens, uint32_t cols)
{
    const size_t floats = (size_t)tokens * cols * 4;
    const size_t bytes = format == CARD_FORMAT_F32 ? floats : card_act_bytes(tokens, cols);
    uint8_t *act = calloc(bytes, 1);
    if (format == CARD_FORMAT_F32) {
        memcpy(act, x, floats);
        return (struct data){act, bytes};
    }
    struct card_descriptor d = {.opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols};
    d.dst = put(f->card[0], NULL, bytes);
    d.src = put(f->card[0], x, floats);
    run_program(f->card[0], &d, 1);
    get(f->card[0], act, d.dst, bytes);
    card_free(f->card[0], d.dst);
    card_free(f->card[0], d.src);
    return (struct data){act, bytes};
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
            struct data act = activations(f, formats[k], x, tokens, cols);
            struct card_descriptor d = {.opcode = CARD_OP_MATMUL, .format = (uint8_t)formats[k], .tokens = tokens};
            d.flags = (uint16_t)(s % 4); /* ADD, BIAS */
            d.rows = rows;
            d.cols = cols;
            run_same(f, "MATMUL", d, NULL,
                     (struct operands){.dst = {old, (size_t)tokens * rows * 4},
                                       .src = act,
                                       .weight = {m.bytes, card_matrix_bytes(formats[k], rows, cols)},
                                       .aux = {bias, rows * 4u}});
            free((void *)act.data);
            free(x);
            free(bias);
            free(old);
            test_matrix_free(&m);
        }
    }
}

enum { EXPERTS = 6 };

/* flags: PER_CHOICE, EACH; biased: with the extension's BIAS. */
static void one_expert_matmul(struct fixture *f, unsigned format, uint32_t tokens, uint32_t choices, uint32_t rows,
                              uint32_t cols, unsigned flags, int biased)
{
    const uint32_t outputs = tokens * choices, inputs = flags & CARD_FLAG_PER_CHOICE ? outputs : tokens;
    struct test_matrix m[EXPERTS];
    struct card_choice *choice = calloc(outputs, sizeof *choice);
    for (uint32_t i = 0; i < outputs; i++) choice[i].expert = random_below(&f->random, EXPERTS - 1);
    for (int e = 0; e < EXPERTS; e++) m[e] = make_matrix(f, format, rows, cols);
    float *x = floats_for(f, (size_t)inputs * cols, 0), *bias = floats_for(f, (size_t)EXPERTS * rows, 0);
    struct data act = activations(f, format, x, inputs, cols);
    const size_t bytes = (size_t)outputs * rows * 4;
    uint8_t *result[2];
    for (int c = 0; c < 2; c++) {
        struct card *card = f->card[c];
        card_addr slot[EXPERTS];
        for (int e = 0; e < EXPERTS; e++) slot[e] = put(card, m[e].bytes, card_matrix_bytes(format, rows, cols));
        struct card_descriptor d[2] = {{.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = tokens},
                                       {.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_BIAS}};
        d[0].flags = (uint16_t)(flags | (biased ? CARD_FLAG_EXTENDED : 0u));
        d[0].rows = rows;
        d[0].cols = cols;
        d[0].param[0] = choices;
        d[0].param[1] = EXPERTS;
        d[0].src = put(card, act.data, act.bytes);
        d[0].weight = put(card, slot, sizeof slot);
        d[0].aux = put(card, choice, outputs * sizeof *choice);
        d[0].dst = put(card, NULL, bytes);
        d[1].src = put_floats(card, bias, (size_t)EXPERTS * rows);
        run_program(card, d, biased ? 2 : 1);
        result[c] = calloc(bytes, 1);
        get(card, result[c], d[0].dst, bytes);
        assert_int_equal(card_reset(card, NULL), 0);
    }
    compare("EXPERT_MATMUL", result[0], result[1], bytes);
    free(result[0]);
    free(result[1]);
    free((void *)act.data);
    free(x);
    free(bias);
    free(choice);
    for (int e = 0; e < EXPERTS; e++) test_matrix_free(&m[e]);
}

static void expert_matmul(void **state)
{
    struct fixture *f = *state;
    for (size_t k = 0; k < N_FORMATS; k++) {
        one_expert_matmul(f, formats[k], 1, 2, 17, 96, 0, 0);
        one_expert_matmul(f, formats[k], MOST_TOKENS, 2, 16, 64, CARD_FLAG_PER_CHOICE, 0);
        one_expert_matmul(f, formats[k], 1, EXPERTS, 18, 65, CARD_FLAG_EACH, 1);
        if (EVERY > 1) continue;
        one_expert_matmul(f, formats[k], 5, 4, 33, 300, 0, 1);
        one_expert_matmul(f, formats[k], 1, 1, 1, 1, CARD_FLAG_PER_CHOICE, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_operations),
        cmocka_unit_test(quantize_at_its_threshold),
        cmocka_unit_test(rope),
        cmocka_unit_test(choices),
        cmocka_unit_test(matmul),
        cmocka_unit_test(expert_matmul),
    };
    return cmocka_run_group_tests_name("opencl", tests, setup, teardown);
}
