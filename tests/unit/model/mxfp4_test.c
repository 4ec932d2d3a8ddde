/* SPDX-License-Identifier: Apache-2.0 */
/* MXFP4 from the file's blocks to products on the simulated card, held against the decoded floats in double precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/memory.h"
#include "host/model/upload.h"
#include "tests/unit/model/tiny_model.h"

#include <math.h>

static uint32_t random_state;

static uint32_t random_u32(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state ^ random_state >> 15;
}

/* Blocks with exponents from `least` on, so many of them; codes are random. */
static void random_blocks(uint8_t *blocks, size_t n, unsigned least, unsigned range)
{
    for (size_t i = 0; i < n; i++) {
        for (unsigned j = 1; j < 17; j++) blocks[17 * i + j] = (uint8_t)random_u32();
        blocks[17 * i] = (uint8_t)(least + random_u32() % range);
    }
}

struct product {
    uint32_t tokens, rows, cols;
    uint8_t *blocks;
    float *src, *dst;
    uint8_t *act;
};

static card_addr place(struct card *card, uint64_t bytes)
{
    struct error err = {0};
    card_addr address;
    if (card_alloc(card, 0, bytes, &address, &err) < 0) fail_msg("%s", err.text);
    return address;
}

/* Quantizes src and multiplies on a card of so many banks; keeps the quantized activations too. */
static void run_product(const struct product *p, unsigned banks)
{
    const struct card_options options = {.threads = 2, .memory_bytes = 64u << 20, .banks = banks};
    const struct pack_source source = {.type = GGUF_MXFP4, .data = p->blocks, .rows = p->rows, .cols = p->cols};
    size_t src_bytes = sizeof(float) * p->tokens * p->cols, dst_bytes = sizeof(float) * p->tokens * p->rows;
    struct pack_result packed = {0};
    struct upload upload;
    struct card *card;
    struct error err = {0};
    uint64_t offset;
    assert_int_equal(card_open("sim", &options, &card, &err), 0);
    assert_int_equal(
        card_alloc_dealt(card, banks, card_matrix_bytes(CARD_FORMAT_MXFP4, p->rows, p->cols), &offset, &err), 0);
    const struct upload_target target = {CARD_ADDR(banks - 1, offset), CARD_FORMAT_MXFP4, banks};
    assert_int_equal(upload_open(&upload, card, NULL, 1, &err), 0);
    assert_int_equal(upload_matrix(&upload, &source, &target, 1, &packed, &err), 0);
    assert_int_equal(upload_finish(&upload, &err), 0);
    upload_close(&upload);
    assert_false(packed.not_finite);
    card_addr src = place(card, src_bytes), act = place(card, card_act_bytes(p->tokens, p->cols));
    card_addr dst = place(card, dst_bytes);
    const struct card_descriptor program[] = {
        {.opcode = CARD_OP_QUANTIZE, .tokens = p->tokens, .cols = p->cols, .dst = act, .src = src},
        {.opcode = CARD_OP_MATMUL,
         .format = CARD_FORMAT_MXFP4,
         .tokens = p->tokens,
         .rows = p->rows,
         .cols = p->cols,
         .dst = dst,
         .src = act,
         .weight = target.address,
         .param = {banks}},
    };
    assert_int_equal(card_write(card, src, p->src, src_bytes, NULL, 0, NULL, &err), 0);
    if (card_submit(card, program, 2, NULL, 0, NULL, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(card_read(card, p->dst, dst, dst_bytes, NULL, 0, NULL, &err), 0);
    assert_int_equal(card_read(card, p->act, act, card_act_bytes(p->tokens, p->cols), NULL, 0, NULL, &err), 0);
    card_close(card);
}

/* Every result against the decoded weights times the quantized activations, in double precision. */
static void check_product(const struct product *p)
{
    size_t groups = card_act_groups(p->cols);
    float *weights = memory_array((size_t)p->rows * p->cols, sizeof *weights);
    gguf_decode(GGUF_MXFP4, p->blocks, (size_t)p->rows * p->cols, weights);
    const uint8_t *scales = p->act + card_act_scale_offset(p->tokens, p->cols);
    for (uint32_t t = 0; t < p->tokens; t++)
        for (uint32_t r = 0; r < p->rows; r++) {
            double sum = 0, size = 0;
            for (uint32_t c = 0; c < p->cols; c++) {
                double q = (int8_t)p->act[t * groups * 32 + c];
                double scale = (double)load_f32(scales + 4 * (t * groups + c / 32));
                double product = q * scale * (double)weights[(size_t)r * p->cols + c];
                sum += product;
                size += fabs(product);
            }
            double got = (double)p->dst[t * p->rows + r];
            /* One rounding for each of the groups, and one for each scale. */
            if (fabs(got - sum) > size * 0x1p-24 * (double)(groups + 2))
                fail_msg("%ux%u token %u row %u: %.9g, not %.9g", p->rows, p->cols, t, r, got, sum);
        }
    free(weights);
}

static void multiply(uint32_t tokens, uint32_t rows, uint32_t cols, unsigned least, unsigned range)
{
    struct product p = {.tokens = tokens, .rows = rows, .cols = cols};
    size_t n_blocks = (size_t)rows * cols / 32, n = (size_t)tokens * rows;
    float *first = memory_array(n, sizeof *first);
    p.blocks = memory_array(n_blocks, 17);
    p.src = memory_array((size_t)tokens * cols, sizeof *p.src);
    p.dst = memory_array(n, sizeof *p.dst);
    p.act = memory_array(card_act_bytes(tokens, cols), 1);
    random_blocks(p.blocks, n_blocks, least, range);
    for (size_t i = 0; i < (size_t)tokens * cols; i++) p.src[i] = (float)(int32_t)random_u32() * 0x1p-29f;
    for (unsigned banks = 1; banks <= 4; banks++) {
        run_product(&p, banks);
        if (banks == 1) {
            check_product(&p);
            memcpy(first, p.dst, n * sizeof *first);
        }
        assert_memory_equal(p.dst, first, n * sizeof *first); /* dealt: the same bits */
    }
    free(first);
    free(p.blocks);
    free(p.src);
    free(p.dst);
    free(p.act);
}

static void test_products_are_those_of_the_decoded_floats(void **state)
{
    (void)state;
    random_state = 11;
    static const uint32_t rows[] = {1, 16, 17, 100}, cols[] = {32, 96, 128, 160, 512, 2880};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (size_t c = 0; c < sizeof cols / sizeof cols[0]; c++) {
            multiply(1, rows[r], cols[c], 110, 20);
            multiply(7, rows[r], cols[c], CARD_MXFP4_LEAST, 8); /* the least scales that count */
        }
}

/* A whole model of MXFP4 weights: loads, and the simulated card says nearly what the float reference says. */
static void logits_of_tiny(struct tiny_model *tiny, const char *spec, float *logits)
{
    enum { N = 6 };
    const struct card_options options = {.threads = 1, .memory_bytes = 8u << 20};
    const struct step_limits limits = {
        .max_tokens = N, .max_logit_rows = N, .n_pages = 1, .max_pages_in_tables = 1, .kv_format = CARD_FORMAT_F32};
    uint32_t tokens[N], rows[N];
    const uint32_t page = 0;
    struct card_batch_token batch[N];
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct step_memory *memory;
    struct error err = {0};
    if (model_open_memory(tiny->file.bytes, tiny->file.size, "tiny", &model, &err) < 0) fail_msg("%s", err.text);
    if (card_open(spec, &options, &card, &err) < 0) fail_msg("%s", err.text);
    if (model_load(model, card, NULL, &loaded, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(loaded_model_conversion(loaded)->n_tensors, 0); /* nothing is rounded */
    if (step_memory_open(loaded, &limits, &memory, &err) < 0) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < N; i++) {
        tokens[i] = i % 8;
        rows[i] = i;
        batch[i] = (struct card_batch_token){.position = i, .visible = i + 1};
    }
    const struct step step = {N, tokens, batch, 1, &page, N, rows, .sources = NULL};
    if (model_step(loaded, memory, &step, logits, &err) < 0) fail_msg("%s", err.text);
    step_memory_close(memory);
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
}

/* Writes the file, Q4_0 as MXFP4, and fills it. */
static void write_tiny(struct tiny_model *tiny)
{
    for (unsigned i = 0; i < tiny->n_tensors; i++)
        if (tiny->tensors[i].type == GGUF_Q4_0) tiny->tensors[i].type = GGUF_MXFP4;
    tiny_write(tiny);
    for (unsigned i = 0; i < tiny->n_tensors; i++) {
        const struct tiny_tensor *tensor = &tiny->tensors[i];
        uint8_t *data = tiny->file.bytes + tensor->at;
        uint64_t n = tensor->dimension[0] * tensor->dimension[1] * tensor->dimension[2];
        if (tensor->type == GGUF_MXFP4) random_blocks(data, n / 32, 123, 3);
        for (uint64_t j = 0; tensor->type == GGUF_F32 && j < n; j++)
            store_u32(data + 4 * j, bits_of_float(1.0f + (float)(random_u32() % 64) * 0x1p-7f));
    }
}

static void test_a_model_of_mxfp4(void **state)
{
    (void)state;
    struct tiny_model tiny;
    float sim[6 * 8], dealt[6 * 8], ref[6 * 8];
    random_state = 12;
    tiny_init(&tiny, "qwen3moe");
    write_tiny(&tiny);
    logits_of_tiny(&tiny, "sim", sim);
    logits_of_tiny(&tiny, "sim:banks=3", dealt);
    logits_of_tiny(&tiny, "ref", ref);
    assert_memory_equal(sim, dealt, sizeof sim);
    double errors = 0, squares = 0;
    for (unsigned i = 0; i < 6 * 8; i++) {
        assert_true(isfinite(sim[i]));
        errors += ((double)sim[i] - (double)ref[i]) * ((double)sim[i] - (double)ref[i]);
        squares += (double)ref[i] * (double)ref[i];
    }
    /* Activations of 8 bits are off by up to 1/254 of the largest of their 32, which here is all of a token. */
    printf("normalized squared error of sim against ref: %.2e\n", errors / squares);
    assert_true(squares > 0 && errors < 4e-3 * squares);
}

/* What loading says; 0 or an error. */
static int load_tiny(struct tiny_model *tiny, const char *spec, struct error *err)
{
    const struct card_options options = {.threads = 1, .memory_bytes = 8u << 20};
    struct model *model;
    struct card *card;
    struct loaded_model *loaded = NULL;
    if (model_open_memory(tiny->file.bytes, tiny->file.size, "tiny", &model, err) < 0) fail_msg("%s", err->text);
    if (card_open(spec, &options, &card, err) < 0) fail_msg("%s", err->text);
    int result = model_load(model, card, NULL, &loaded, err);
    loaded_model_close(loaded);
    card_close(card);
    model_close(model);
    return result;
}

/* Exponent 255, in the last block of any tensor and where all codes are zeros, on cards with and without MXFP4. */
static void test_a_scale_that_is_not_a_number_is_refused(void **state)
{
    (void)state;
    static const char *const specs[] = {"sim", "sim:banks=3", "ref"};
    struct tiny_model tiny;
    struct error err = {0};
    unsigned refused = 0;
    random_state = 13;
    tiny_init(&tiny, "qwen3moe");
    tiny_add(&tiny, "output.weight", GGUF_Q4_0, 32, 8, 1); /* so that embeddings stay on the host */
    tiny_tensor(&tiny, "output_norm.weight")->type = GGUF_Q4_0;
    tiny_tensor(&tiny, "blk.0.ffn_gate_inp.weight")->type = GGUF_Q4_0;
    write_tiny(&tiny);
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        if (load_tiny(&tiny, specs[s], &err) < 0) fail_msg("%s", err.text);
        for (unsigned i = 0; i < tiny.n_tensors; i++) {
            const struct tiny_tensor *tensor = &tiny.tensors[i];
            if (tensor->type != GGUF_MXFP4) continue;
            uint8_t *block = tiny.file.bytes + tensor->at + tiny_bytes(tensor) - 17, keep[17];
            memcpy(keep, block, 17);
            memset(block, 0, 17);
            block[0] = 255;
            assert_int_equal(load_tiny(&tiny, specs[s], &err), ERROR_BAD_FILE);
            assert_non_null(strstr(err.text, tensor->name));
            assert_non_null(strstr(err.text, ": has a weight or a scale that is infinite or not a number"));
            memcpy(block, keep, 17);
            refused++;
        }
    }
    assert_in_range(refused, 3 * 10, 3 * 12);
    /* A finite scale of infinite values: an embedding would come to a step as it is. */
    uint8_t *block = tiny.file.bytes + tiny_tensor(&tiny, "token_embd.weight")->at;
    memset(block, 0x77, 17);
    block[0] = 254;
    assert_int_equal(load_tiny(&tiny, "sim", &err), ERROR_BAD_FILE);
    assert_non_null(strstr(err.text, "tensor token_embd.weight: has a weight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_those_of_the_decoded_floats),
        cmocka_unit_test(test_a_model_of_mxfp4),
        cmocka_unit_test(test_a_scale_that_is_not_a_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
