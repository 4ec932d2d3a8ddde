/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bits of the simulated card depend neither on threads nor on which tokens share a step: a small layer (norm,
 * quantize, matmul, rope, KV write, attention, experts, sum) run with 1, 2 and 3 threads, in one step, in chunks, and
 * token by token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

enum { TOKENS = 70, WIDTH = 96, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 32, EXPERTS = 6, CHOICES = 2, PAGES = 5, FF = 96 };

struct layer_data {
    float x[TOKENS * WIDTH], norm[WIDTH], router[EXPERTS * WIDTH], frequency[HEAD_DIM / 2];
    struct test_matrix query, key, value, output, up[EXPERTS], down[EXPERTS];
};

static struct layer_data *make_layer(unsigned format)
{
    struct test_random random = {.state = 2024};
    struct layer_data *layer = calloc(1, sizeof *layer);
    assert_non_null(layer);
    fill_random(&random, layer->x, TOKENS * WIDTH);
    fill_random(&random, layer->norm, WIDTH);
    fill_random(&random, layer->router, EXPERTS * WIDTH);
    for (int i = 0; i < HEAD_DIM / 2; i++) layer->frequency[i] = 1.0f / (float)(1 + i * i);
    layer->query = test_matrix_make(&random, format, HEADS * HEAD_DIM, WIDTH);
    layer->key = test_matrix_make(&random, format, KV_HEADS * HEAD_DIM, WIDTH);
    layer->value = test_matrix_make(&random, format, KV_HEADS * HEAD_DIM, WIDTH);
    layer->output = test_matrix_make(&random, format, WIDTH, HEADS * HEAD_DIM);
    for (int e = 0; e < EXPERTS; e++) layer->up[e] = test_matrix_make(&random, format, FF, WIDTH);
    for (int e = 0; e < EXPERTS; e++) layer->down[e] = test_matrix_make(&random, format, WIDTH, FF);
    return layer;
}

static void free_layer(struct layer_data *layer)
{
    test_matrix_free(&layer->query);
    test_matrix_free(&layer->key);
    test_matrix_free(&layer->value);
    test_matrix_free(&layer->output);
    for (int e = 0; e < EXPERTS; e++) test_matrix_free(&layer->up[e]);
    for (int e = 0; e < EXPERTS; e++) test_matrix_free(&layer->down[e]);
    free(layer);
}

/* The layer on a card. */
struct placed {
    card_addr norm, router, frequency, query, key, value, output, up, down, pool;
};

static card_addr put_matrix(struct card *card, const struct test_matrix *m)
{
    return put(card, m->bytes, card_matrix_bytes(m->format, m->rows, m->cols));
}

static struct placed place(struct card *card, const struct layer_data *layer)
{
    card_addr up[EXPERTS], down[EXPERTS];
    for (int e = 0; e < EXPERTS; e++) up[e] = put_matrix(card, &layer->up[e]);
    for (int e = 0; e < EXPERTS; e++) down[e] = put_matrix(card, &layer->down[e]);
    return (struct placed){
        .norm = put_floats(card, layer->norm, WIDTH),
        .router = put_floats(card, layer->router, EXPERTS * WIDTH),
        .frequency = put_floats(card, layer->frequency, HEAD_DIM / 2),
        .query = put_matrix(card, &layer->query),
        .key = put_matrix(card, &layer->key),
        .value = put_matrix(card, &layer->value),
        .output = put_matrix(card, &layer->output),
        .up = put(card, up, sizeof up),
        .down = put(card, down, sizeof down),
        .pool = put(card, NULL, PAGES * card_page_bytes(CARD_FORMAT_F16, KV_HEADS, HEAD_DIM, HEAD_DIM)),
    };
}

/* One step's tokens and buffers on the card. */
struct step {
    uint32_t n;
    unsigned format;
    card_addr x, batch, normed, act, query, key, value, mixed, choice, ff;
};

static struct card_descriptor norm(const struct step *s, const struct placed *at)
{
    return (struct card_descriptor){.opcode = CARD_OP_NORM,
                                    .tokens = s->n,
                                    .rows = 1,
                                    .cols = WIDTH,
                                    .dst = s->normed,
                                    .src = s->x,
                                    .weight = at->norm};
}

static struct card_descriptor quantize(const struct step *s, uint32_t tokens, uint32_t cols, card_addr src)
{
    return (struct card_descriptor){
        .opcode = CARD_OP_QUANTIZE, .tokens = tokens, .cols = cols, .dst = s->act, .src = src};
}

/* dst = matrix(rows, cols) x act. */
static struct card_descriptor matmul(const struct step *s, card_addr dst, card_addr weight, uint32_t rows,
                                     uint32_t cols)
{
    return (struct card_descriptor){.opcode = CARD_OP_MATMUL,
                                    .format = (uint8_t)s->format,
                                    .tokens = s->n,
                                    .rows = rows,
                                    .cols = cols,
                                    .dst = dst,
                                    .src = s->act,
                                    .weight = weight};
}

static struct card_descriptor rope(const struct step *s, const struct placed *at, card_addr dst, uint32_t heads)
{
    return (struct card_descriptor){.opcode = CARD_OP_ROPE,
                                    .tokens = s->n,
                                    .rows = heads,
                                    .cols = HEAD_DIM,
                                    .dst = dst,
                                    .weight = at->frequency,
                                    .aux = s->batch,
                                    .param = {HEAD_DIM, bits_of(1)}};
}

/* dst = the chosen experts' matrix(rows, cols) x act. */
static struct card_descriptor expert_matmul(const struct step *s, card_addr dst, card_addr slots, uint32_t rows,
                                            uint32_t cols, uint16_t flags)
{
    struct card_descriptor d = matmul(s, dst, slots, rows, cols);
    d.opcode = CARD_OP_EXPERT_MATMUL;
    d.flags = flags;
    d.aux = s->choice;
    d.param[0] = CHOICES;
    d.param[1] = EXPERTS;
    return d;
}

/* x += attention(norm(x)) */
static void run_attention(struct card *card, const struct step *s, const struct placed *at)
{
    struct card_descriptor program[] = {
        norm(s, at),
        quantize(s, s->n, WIDTH, s->normed),
        matmul(s, s->query, at->query, HEADS * HEAD_DIM, WIDTH),
        matmul(s, s->key, at->key, KV_HEADS * HEAD_DIM, WIDTH),
        matmul(s, s->value, at->value, KV_HEADS * HEAD_DIM, WIDTH),
        rope(s, at, s->query, HEADS),
        rope(s, at, s->key, KV_HEADS),
        {.opcode = CARD_OP_KV_WRITE,
         .format = CARD_FORMAT_F16,
         .tokens = s->n,
         .rows = KV_HEADS,
         .cols = HEAD_DIM,
         .dst = at->pool,
         .src = s->key,
         .weight = s->value,
         .aux = s->batch,
         .param = {PAGES, HEAD_DIM}},
        {.opcode = CARD_OP_ATTENTION,
         .format = CARD_FORMAT_F16,
         .tokens = s->n,
         .rows = HEADS,
         .cols = HEAD_DIM,
         .dst = s->mixed,
         .src = s->query,
         .weight = at->pool,
         .aux = s->batch,
         .param = {PAGES, bits_of(0.176776695f), KV_HEADS, 50}},
        quantize(s, s->n, HEADS * HEAD_DIM, s->mixed),
        matmul(s, s->x, at->output, WIDTH, HEADS * HEAD_DIM),
    };
    program[10].flags = CARD_FLAG_ADD;
    run_program(card, program, sizeof program / sizeof *program);
}

/* x += experts(norm(x)), with the gate of GLU in query. */
static void run_experts(struct card *card, const struct step *s, const struct placed *at)
{
    const struct card_descriptor program[] = {
        norm(s, at),
        {.opcode = CARD_OP_MATMUL,
         .format = CARD_FORMAT_F32,
         .tokens = s->n,
         .rows = EXPERTS,
         .cols = WIDTH,
         .dst = s->mixed,
         .src = s->normed,
         .weight = at->router},
        {.opcode = CARD_OP_ROUTER,
         .flags = CARD_FLAG_RENORMALIZE,
         .tokens = s->n,
         .rows = CHOICES,
         .cols = EXPERTS,
         .dst = s->choice,
         .src = s->mixed,
         .param = {bits_of(1)}},
        quantize(s, s->n, WIDTH, s->normed),
        expert_matmul(s, s->ff, at->up, FF, WIDTH, 0),
        {.opcode = CARD_OP_GLU, .tokens = s->n * CHOICES, .cols = FF, .dst = s->ff, .src = s->ff, .weight = s->query},
        quantize(s, s->n * CHOICES, FF, s->ff),
        expert_matmul(s, s->mixed, at->down, WIDTH, FF, CARD_FLAG_PER_CHOICE),
        {.opcode = CARD_OP_EXPERT_SUM,
         .tokens = s->n,
         .cols = WIDTH,
         .dst = s->x,
         .src = s->mixed,
         .aux = s->choice,
         .param = {CHOICES}},
    };
    run_program(card, program, sizeof program / sizeof *program);
}

/* The gate is there for its bits only: token t's must come from token t's rows. */
static void put_gate(struct card *card, const struct layer_data *layer, uint32_t first, const struct step *s)
{
    const size_t n = (size_t)s->n * CHOICES * FF;
    struct error err;
    float *gate = calloc(n, sizeof *gate);
    assert_non_null(gate);
    for (size_t i = 0; i < n; i++) gate[i] = layer->x[(first * CHOICES * FF + i) % (TOKENS * WIDTH)];
    assert_int_equal(card_write(card, s->query, gate, n * sizeof *gate, NULL, 0, NULL, &err), 0);
    free(gate);
}

/* Tokens [first, first + n) through the layer; out gets their result. */
static void run_step(struct card *card, const struct layer_data *layer, const struct placed *at, uint32_t first,
                     uint32_t n, float *out)
{
    struct card_batch_token table[TOKENS + PAGES] = {0};
    for (uint32_t t = 0; t < n; t++) table[t] = (struct card_batch_token){first + t, 0, first + t + 1, 0};
    for (uint32_t p = 0; p < PAGES; p++) ((uint32_t *)(table + n))[p] = PAGES - 1 - p;
    card_addr buffer[8];
    for (int i = 0; i < 8; i++) buffer[i] = put(card, NULL, (size_t)n * CHOICES * 4 * HEADS * HEAD_DIM * 4);
    const struct step step = {
        .n = n,
        .format = layer->query.format,
        .x = put_floats(card, layer->x + (size_t)first * WIDTH, n * WIDTH),
        .batch = put(card, table, n * sizeof *table + PAGES * 4),
        .normed = buffer[0],
        .act = buffer[1],
        .query = buffer[2],
        .key = buffer[3],
        .value = buffer[4],
        .mixed = buffer[5],
        .choice = buffer[6],
        .ff = buffer[7],
    };
    run_attention(card, &step, at);
    put_gate(card, layer, first, &step);
    run_experts(card, &step, at);
    get(card, out, step.x, (size_t)n * WIDTH * 4);
    for (int i = 0; i < 8; i++) card_free(card, buffer[i]);
    card_free(card, step.x);
    card_free(card, step.batch);
}

/* All tokens in steps of `chunk`. */
static void run_layer(const struct layer_data *layer, const char *spec, unsigned threads, uint32_t chunk, float *out)
{
    struct card *card = open_card(spec, threads);
    const struct placed at = place(card, layer);
    for (uint32_t first = 0; first < TOKENS; first += chunk) {
        const uint32_t n = TOKENS - first < chunk ? TOKENS - first : chunk;
        run_step(card, layer, &at, first, n, out + (size_t)first * WIDTH);
    }
    card_close(card);
}

/* FNV-1a. */
static uint64_t hash_of(const void *data, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
    return hash;
}

/*
 * The hashes are of this layer's bits as the contract of kernels/README.md gives them. They are the same for every
 * compiler, optimization and processor; a change of the contract changes them, and CARD_ABI_VERSION with them.
 */
static const struct {
    unsigned format;
    uint64_t hash;
} formats[] = {{CARD_FORMAT_INT4, 0xc0226e901fe4cb9e},
               {CARD_FORMAT_INT8_MIN, 0x249ccc0b1202b9b4},
               {CARD_FORMAT_Q4_K, 0x83d451b049f0e311},
               {CARD_FORMAT_Q6_K, 0x1cf59d865e9a4c39},
               {CARD_FORMAT_MXFP4, 0x9f7b56dbef54b512}};

static void bits_do_not_depend_on_threads_batch_or_build(void **state)
{
    (void)state;
    const struct {
        const char *card;
        unsigned threads;
        uint32_t chunk;
    } ways[] = {
        {"sim", 2, TOKENS},    {"sim", 3, TOKENS}, {"sim", 1, 1},     {"sim", 3, 1},
        {"sim", 2, 33},        {"sim", 1, 32},     {"sim", 3, 7},
#ifdef SLUICE_OPENCL
        {"opencl", 0, TOKENS}, {"opencl", 0, 1},   {"opencl", 0, 33}, {"opencl", 0, 7},
#endif
    };
    static float want[TOKENS * WIDTH], got[TOKENS * WIDTH];
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        struct layer_data *layer = make_layer(formats[f].format);
        run_layer(layer, "sim", 1, TOKENS, want);
        for (size_t i = 0; i < TOKENS * WIDTH; i++) assert_true(isfinite(want[i]));
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            run_layer(layer, ways[w].card, ways[w].threads, ways[w].chunk, got);
            if (memcmp(want, got, sizeof want)) {
                fail_msg("format %u: %s, %u threads, steps of %u tokens: other bits", formats[f].format, ways[w].card,
                         ways[w].threads, ways[w].chunk);
            }
        }
        if (hash_of(want, sizeof want) != formats[f].hash) {
            fail_msg("format %u: the bits have hash 0x%llx", formats[f].format,
                     (unsigned long long)hash_of(want, sizeof want));
        }
        free_layer(layer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits_do_not_depend_on_threads_batch_or_build)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
