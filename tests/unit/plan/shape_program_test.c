/* SPDX-License-Identifier: Apache-2.0 */
/* Shape programs: what the engine's planner writes where it has the family, and what a card takes for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/memory.h"
#include "host/model/model_internal.h"
#include "host/plan/shape_program.h"
#include "host/plan/shape_tensors.h"

#include <stdio.h>
#include <string.h>

#define MAX_DESCRIPTORS 512

/* ---- against the engine's planner ---- */

struct peer {
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct architecture *architecture;
    struct shape_program *shape;
    card_addr pools[16]; /* planning only copies them */
    struct card_descriptor program[MAX_DESCRIPTORS];
};

static void open_peer(struct peer *peer, const char *path, unsigned banks)
{
    struct error err = {0};
    const struct card_options options = {.threads = 1, .memory_bytes = 256u << 20, .banks = banks};
    const struct shape_options shape = {
        .kv_format = CARD_FORMAT_INT8, .max_tokens = 24, .max_logit_rows = 24, .max_sequences = 3, .max_context = 128};
    if (model_open(path, &peer->model, &err) < 0) fail_msg("%s", err.text);
    if (card_open("sim", &options, &peer->card, &err) < 0) fail_msg("%s", err.text);
    if (model_load(peer->model, peer->card, NULL, &peer->loaded, &err) < 0) fail_msg("%s", err.text);
    if (architecture_from_file(path, &peer->architecture, &err) < 0) fail_msg("%s", err.text);
    if (shape_program_open(peer->architecture, &shape, peer->card, &peer->shape, &err) < 0) fail_msg("%s", err.text);
}

static void close_peer(struct peer *peer)
{
    shape_program_close(peer->shape);
    architecture_close(peer->architecture);
    loaded_model_close(peer->loaded);
    card_close(peer->card);
    model_close(peer->model);
}

/* A float that both derive, but not by the same words. */
static bool about_equal(uint32_t a, uint32_t b)
{
    float x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return a == b || (x - y <= 1e-6f * x && y - x <= 1e-6f * x);
}

static void compare(const struct card_descriptor *ours, const struct card_descriptor *engine, unsigned index)
{
    bool same = ours->opcode == engine->opcode && ours->format == engine->format && ours->flags == engine->flags &&
                ours->tokens == engine->tokens && ours->rows == engine->rows && ours->cols == engine->cols;
    bool epsilon = ours->opcode == CARD_OP_NORM; /* a header's epsilon does not change a program's time */
    for (unsigned i = 0; i < 4; i++)
        same = same && (about_equal(ours->param[i], engine->param[i]) || (epsilon && i == 0));
    if (same) return;
    fail_msg(
        "descriptor %u: %s format %u flags 0x%x [%u][%u][%u] %u %u %u %u, engine: %s format %u flags 0x%x [%u][%u][%u] "
        "%u %u %u %u",
        index, card_opcode_name(ours->opcode), ours->format, ours->flags, ours->tokens, ours->rows, ours->cols,
        ours->param[0], ours->param[1], ours->param[2], ours->param[3], card_opcode_name(engine->opcode),
        engine->format, engine->flags, engine->tokens, engine->rows, engine->cols, engine->param[0], engine->param[1],
        engine->param[2], engine->param[3]);
}

/* One step of these sequences by both. */
static void compare_step(struct peer *peer, const struct shape_sequence *sequences, uint32_t n, unsigned banks)
{
    struct error err = {0};
    struct shape_step step;
    uint32_t tokens = 0, rows = 0;
    if (shape_program_plan(peer->shape, sequences, n, &step, &err) < 0) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n; i++) {
        tokens += sequences[i].n_tokens;
        rows += sequences[i].n_logit_rows;
    }
    struct planner planner = {.model = peer->model,
                              .config = &peer->model->config,
                              .loaded = peer->loaded,
                              .kv_format = CARD_FORMAT_INT8,
                              .n_pages = 12,
                              .pools = peer->pools,
                              .pool_banks = banks,
                              .program = peer->program,
                              .capacity = MAX_DESCRIPTORS};
    uint64_t inputs = planner_begin(&planner, tokens, n, rows);
    peer->model->family->plan(&planner);
    assert_int_equal(step.n_descriptors, planner.n_descriptors);
    for (unsigned i = 0; i < step.n_descriptors; i++) compare(&step.program[i], &peer->program[i], i);
    assert_int_equal(step.input_bytes, inputs);
    assert_int_equal(step.output_bytes, (uint64_t)rows * peer->model->config.n_vocab * sizeof(float));
}

static void compare_model(const char *path, unsigned banks)
{
    static struct peer peer;
    const struct shape_sequence decode[3] = {{20, 1, 1}, {7, 1, 1}, {30, 1, 1}};
    const struct shape_sequence prefill = {0, 24, 0}, last = {0, 24, 1}, mixed[2] = {{3, 5, 2}, {0, 4, 0}};
    open_peer(&peer, path, banks);
    compare_step(&peer, decode, 3, banks);
    compare_step(&peer, decode, 1, banks);
    compare_step(&peer, &prefill, 1, banks);
    compare_step(&peer, &last, 1, banks);
    compare_step(&peer, mixed, 2, banks);
    close_peer(&peer);
}

static void test_the_engines_planner_writes_the_same(void **state)
{
    (void)state;
    static const char *const paths[] = {
        FIXTURES "/models/llama/model-q4_0.gguf",     FIXTURES "/models/llama_k256/model-q4_k.gguf",
        FIXTURES "/models/qwen2/model-q8_0.gguf",     FIXTURES "/models/qwen3/model-q4_0.gguf",
        FIXTURES "/models/qwen3_moe/model-q4_0.gguf", FIXTURES "/models/qwen3_moe/model-q8_0.gguf",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        compare_model(paths[i], 1);
        compare_model(paths[i], 4);
    }
}

/* ---- what a card takes ---- */

/* Every built-in architecture's first layers, up to one of each kind that it has, on a simulated card that checks programs. */
static void run_some_layers(struct architecture *architecture, uint32_t first, uint32_t end, uint32_t slots)
{
    struct error err = {0};
    struct card *card;
    struct shape_program *shape;
    uint32_t used = 0;
    for (uint32_t i = first; i < end; i++)
        if (architecture->layers[i].ffn.experts_used > used) used = architecture->layers[i].ffn.experts_used;
    const struct card_options options = {.threads = 1, .memory_bytes = 1ull << 40};
    const struct shape_options limits = {.first_layer = first,
                                         .end_layer = end,
                                         .kv_format = CARD_FORMAT_INT8,
                                         .expert_slots = slots != 0 && used != 0 ? used + slots : 0,
                                         .max_tokens = 64,
                                         .max_logit_rows = 4,
                                         .max_sequences = 4,
                                         .max_context = 4096};
    const struct shape_sequence steps[][2] = {
        {{1024, 1, 1}, {3000, 1, 1}}, {{0, 32, 0}, {64, 32, 1}}, {{4032, 33, 1}, {127, 1, 1}}, {{0, 1, 0}, {1, 1, 0}}};
    if (card_open("sim:u55c,timing", &options, &card, &err) < 0) fail_msg("%s", err.text);
    if (shape_program_open(architecture, &limits, card, &shape, &err) < 0)
        fail_msg("%s: %s", architecture->name, err.text);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (shape_program_step(shape, steps[i], 2, &err) < 0)
            fail_msg("%s, layers %u to %u, step %zu: %s", architecture->name, first, end, i, err.text);
    shape_program_close(shape);
    struct card_info info;
    card_describe(card, &info);
    for (unsigned b = 0; b < info.n_banks; b++) /* all is given back */
        assert_true(info.bank[b].bytes - info.bank[b].bytes_free <= CARD_ALIGNMENT);
    card_close(card);
}

static void test_a_card_takes_every_architecture(void **state)
{
    (void)state;
    struct architecture_name name;
    for (size_t i = 0; architecture_list(i, &name); i++) {
        struct architecture *architecture;
        struct error err = {0};
        if (name.missing[0] != '\0') continue;
        if (architecture_by_name(name.name, &architecture, &err) < 0) fail_msg("%s", err.text);
        uint32_t n = architecture->n_layers;
        run_some_layers(architecture, 0, 5, 0);
        run_some_layers(architecture, n - 4, n, 0);
        run_some_layers(architecture, 3, 6, 3);
        architecture_close(architecture);
    }
}

/* Bytes of the tensor's matrices that one token needs. */
static uint64_t needed_bytes(const struct shape_tensor *tensor, const struct ffn_shape *ffn)
{
    if (tensor->rows == 0 || tensor->kind == SHAPE_VECTOR) return 0;
    uint32_t matrices = tensor->kind == SHAPE_EXPERTS ? ffn->experts_used : tensor->matrices;
    return matrices * card_matrix_bytes(tensor->format, tensor->rows, tensor->cols);
}

static void expect_each_matrix_once(const struct architecture *architecture, uint32_t first)
{
    struct error err = {0};
    struct card *card;
    struct shape_program *shape;
    struct shape_tensor tensors[SHAPE_IDS], model[SHAPE_MODEL_IDS];
    struct card_counters counters;
    uint64_t needed = 0;
    const struct card_options options = {.threads = 1, .memory_bytes = 1ull << 40};
    const struct shape_options limits = {.first_layer = first,
                                         .end_layer = architecture->n_layers,
                                         .kv_format = CARD_FORMAT_INT8,
                                         .max_tokens = 1,
                                         .max_logit_rows = 1,
                                         .max_sequences = 1,
                                         .max_context = 4096};
    const struct shape_sequence sequence = {3071, 1, 1}; /* ends an entry of every rate */
    for (uint32_t i = first; i < architecture->n_layers; i++) {
        shape_layer_tensors(architecture, i, tensors);
        for (unsigned id = 0; id < SHAPE_IDS; id++) needed += needed_bytes(&tensors[id], &architecture->layers[i].ffn);
    }
    shape_model_tensors(architecture, model);
    for (unsigned id = 0; id < SHAPE_MODEL_IDS; id++) needed += needed_bytes(&model[id], NULL);
    if (card_open("sim:u55c,timing", &options, &card, &err) < 0) fail_msg("%s", err.text);
    if (shape_program_open(architecture, &limits, card, &shape, &err) < 0) fail_msg("%s", err.text);
    if (shape_program_step(shape, &sequence, 1, &err) < 0) fail_msg("%s: %s", architecture->name, err.text);
    card_count(card, &counters);
    if (counters.weight_bytes != needed)
        fail_msg("%s from layer %u on: %llu bytes of matrices were read, its tensors have %llu", architecture->name,
                 first, (unsigned long long)counters.weight_bytes, (unsigned long long)needed);
    shape_program_close(shape);
    card_close(card);
}

static void test_a_token_reads_each_matrix_once(void **state)
{
    (void)state;
    struct architecture_name name;
    for (size_t i = 0; architecture_list(i, &name); i++) {
        struct architecture *architecture;
        struct error err = {0};
        if (name.missing[0] != '\0') continue;
        if (architecture_by_name(name.name, &architecture, &err) < 0) fail_msg("%s", err.text);
        expect_each_matrix_once(architecture, architecture->n_layers - 6);
        expect_each_matrix_once(architecture, 0);
        architecture_close(architecture);
    }
}

static void test_marks_divide_the_program(void **state)
{
    (void)state;
    struct error err = {0};
    struct architecture *architecture;
    struct card *card;
    struct shape_program *shape;
    struct shape_step step;
    const struct card_options options = {.threads = 1, .memory_bytes = 64ull << 30};
    const struct shape_options limits = {.kv_format = CARD_FORMAT_INT8,
                                         .expert_slots = 8,
                                         .max_tokens = 4,
                                         .max_logit_rows = 4,
                                         .max_sequences = 4,
                                         .max_context = 256};
    const struct shape_sequence sequence = {100, 1, 1};
    if (architecture_by_name("gpt-oss-20b", &architecture, &err) < 0) fail_msg("%s", err.text);
    if (card_open("sim:u55c,timing", &options, &card, &err) < 0) fail_msg("%s", err.text);
    if (shape_program_open(architecture, &limits, card, &shape, &err) < 0) fail_msg("%s", err.text);
    if (shape_program_plan(shape, &sequence, 1, &step, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(step.n_marks, 24);
    for (uint32_t i = 0; i < step.n_marks; i++) {
        const struct shape_layer_mark *mark = &step.marks[i];
        assert_int_equal(mark->layer, i);
        assert_int_equal(mark->first, i == 0 ? 0 : step.marks[i - 1].end);
        assert_true(mark->first < mark->experts && mark->experts < mark->end);
        assert_int_equal(step.program[mark->experts].opcode, CARD_OP_AWAIT);
        unsigned published = 0;
        for (unsigned d = mark->first; d < mark->experts; d++) published += step.program[d].opcode == CARD_OP_PUBLISH;
        assert_int_equal(published, 1);
    }
    shape_program_close(shape);
    card_close(card);
    architecture_close(architecture);
}

/* ---- bytes ---- */

static void test_bytes_are_what_a_card_gives(void **state)
{
    (void)state;
    struct error err = {0};
    struct architecture *architecture;
    struct card *card;
    struct shape_program *shape;
    struct shape_bytes bytes;
    struct card_info before, after;
    const struct card_options options = {.threads = 1, .memory_bytes = 64ull << 30};
    const struct shape_options limits = {
        .kv_format = CARD_FORMAT_INT8, .max_tokens = 32, .max_logit_rows = 8, .max_sequences = 8, .max_context = 1024};
    if (architecture_by_name("gpt-oss-20b", &architecture, &err) < 0) fail_msg("%s", err.text);
    if (shape_bytes(architecture, &limits, &bytes, &err) < 0) fail_msg("%s", err.text);
    if (card_open("sim:u55c,timing", &options, &card, &err) < 0) fail_msg("%s", err.text);
    card_describe(card, &before);
    if (shape_program_open(architecture, &limits, card, &shape, &err) < 0) fail_msg("%s", err.text);
    card_describe(card, &after);
    uint64_t taken = 0, sum = bytes.attention + bytes.ffn + bytes.shared_experts + bytes.experts + bytes.routers +
                              bytes.output + bytes.vectors + bytes.step + bytes.tables +
                              bytes.kv_page * (1024 / CARD_PAGE_TOKENS) * 8;
    for (unsigned b = 0; b < before.n_banks; b++) taken += before.bank[b].bytes_free - after.bank[b].bytes_free;
    assert_true(taken >= sum && taken < sum + sum / 500); /* rounding to banks and pages */
    struct shape_experts experts;
    shape_layer_experts(&architecture->layers[0], architecture->d_model, &experts);
    assert_int_equal(experts.all_bytes, experts.one_bytes * 32);
    assert_int_equal(experts.one_bytes, bytes.expert);
    /* Two halves are the whole, but for the arena. */
    struct shape_options half = limits;
    struct shape_bytes lower, upper;
    half.end_layer = 12;
    assert_int_equal(shape_bytes(architecture, &half, &lower, &err), 0);
    half.first_layer = 12;
    half.end_layer = 24;
    assert_int_equal(shape_bytes(architecture, &half, &upper, &err), 0);
    assert_int_equal(lower.output, 0);
    assert_int_equal(lower.attention + upper.attention, bytes.attention);
    assert_int_equal(lower.experts + upper.experts, bytes.experts);
    assert_int_equal(lower.kv_page + upper.kv_page, bytes.kv_page);
    shape_program_close(shape);
    card_close(card);
    architecture_close(architecture);
}

static void test_wrong_steps_and_options_are_refused(void **state)
{
    (void)state;
    struct error err = {0};
    struct architecture *architecture;
    struct shape_bytes bytes;
    if (architecture_by_name("gpt-oss-20b", &architecture, &err) < 0) fail_msg("%s", err.text);
    struct shape_options options = {.kv_format = CARD_FORMAT_INT8, .end_layer = 25, .max_tokens = 4, .max_context = 64};
    assert_int_equal(shape_bytes(architecture, &options, &bytes, &err), ERROR_BAD_ARGUMENT);
    options.end_layer = 0;
    options.expert_slots = 3; /* a token uses 4 */
    assert_int_equal(shape_bytes(architecture, &options, &bytes, &err), ERROR_BAD_ARGUMENT);
    options.expert_slots = 0;
    options.max_context = CARD_MAX_POSITIONS + 1;
    assert_int_equal(shape_bytes(architecture, &options, &bytes, &err), ERROR_TOO_LARGE);
    struct card *card;
    struct shape_program *shape;
    const struct card_options small = {.threads = 1, .memory_bytes = 1u << 30};
    options.max_context = 64;
    options.max_sequences = 1;
    if (card_open("sim:u55c,timing", &small, &card, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(shape_program_open(architecture, &options, card, &shape, &err), ERROR_NO_MEMORY);
    card_close(card);
    architecture_close(architecture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_engines_planner_writes_the_same),
        cmocka_unit_test(test_a_card_takes_every_architecture),
        cmocka_unit_test(test_a_token_reads_each_matrix_once),
        cmocka_unit_test(test_marks_divide_the_program),
        cmocka_unit_test(test_bytes_are_what_a_card_gives),
        cmocka_unit_test(test_wrong_steps_and_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
