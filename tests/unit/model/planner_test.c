/* SPDX-License-Identifier: Apache-2.0 */
/* The card programs that families write: which operations, in which order, over which operands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model_internal.h"
#include "tests/unit/model/tiny_model.h"

#define ARENA CARD_ADDR(7, 0) /* an address that no card uses; planning only computes with it */
#define MAX_DESCRIPTORS 128

struct plan {
    struct tiny_model tiny;
    struct model *model;
    struct card *card;
    struct loaded_model *loaded;
    struct planner planner;
    struct card_descriptor program[MAX_DESCRIPTORS];
    card_addr pools[2];
    unsigned pool_banks;
};

static void open_tiny_over(struct plan *plan, const char *card, unsigned banks)
{
    struct error err = {0};
    const struct card_options options = {.threads = 1, .memory_bytes = 8u << 20, .banks = banks};
    if (tiny_open(&plan->tiny, &plan->model, &err) < 0) fail_msg("%s", err.text);
    if (card_open(card, &options, &plan->card, &err) < 0) fail_msg("%s", err.text);
    if (model_load(plan->model, plan->card, NULL, &plan->loaded, &err) < 0) fail_msg("%s", err.text);
}

static void open_tiny(struct plan *plan, const char *card) { open_tiny_over(plan, card, 1); }

static void close_plan(struct plan *plan)
{
    loaded_model_close(plan->loaded);
    card_close(plan->card);
    model_close(plan->model);
}

/* Plans a step into plan->program, or measures it. */
static void make(struct plan *plan, bool measuring, uint32_t n_tokens, uint32_t n_rows)
{
    plan->planner =
        (struct planner){.model = plan->model, .config = &plan->model->config, .kv_format = CARD_FORMAT_F16};
    if (!measuring) {
        plan->planner.loaded = plan->loaded;
        plan->planner.pools = plan->pools;
        plan->planner.pool_banks = plan->pool_banks;
        plan->planner.n_pages = 9;
        plan->planner.arena = ARENA;
        plan->planner.program = plan->program;
        plan->planner.capacity = MAX_DESCRIPTORS;
    }
    planner_begin(&plan->planner, n_tokens, 4, n_rows);
    plan->model->family->plan(&plan->planner);
    assert_true(plan->planner.n_descriptors <= MAX_DESCRIPTORS);
}

static void expect_opcodes(const struct plan *plan, const uint8_t *opcodes, unsigned n)
{
    for (unsigned i = 0; i < n && i < plan->planner.n_descriptors; i++)
        if (plan->program[i].opcode != opcodes[i])
            fail_msg("descriptor %u is operation %u, not %u", i, plan->program[i].opcode, opcodes[i]);
    assert_int_equal(plan->planner.n_descriptors, n);
}

#define ATTENTION_OPS                                                                                                  \
    CARD_OP_NORM, CARD_OP_QUANTIZE, CARD_OP_MATMUL, CARD_OP_MATMUL, CARD_OP_MATMUL, CARD_OP_ROPE, CARD_OP_KV_WRITE,    \
        CARD_OP_ROPE, CARD_OP_ATTENTION
#define FFN_OPS                                                                                                        \
    CARD_OP_NORM, CARD_OP_QUANTIZE, CARD_OP_MATMUL, CARD_OP_MATMUL, CARD_OP_GLU, CARD_OP_QUANTIZE, CARD_OP_MATMUL
#define HEAD_OPS CARD_OP_NORM, CARD_OP_QUANTIZE, CARD_OP_MATMUL

static void test_a_dense_layer(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "llama");
    open_tiny(&plan, "sim");
    make(&plan, false, 3, 3);
    const uint8_t opcodes[] = {ATTENTION_OPS, CARD_OP_QUANTIZE, CARD_OP_MATMUL, FFN_OPS, HEAD_OPS};
    expect_opcodes(&plan, opcodes, sizeof opcodes);
    const struct card_descriptor *p = plan.program;
    for (unsigned i = 2; i < 5; i++) { /* value, key and query share one quantized copy */
        assert_int_equal(p[i].src, p[1].dst);
        assert_int_equal(p[i].format, CARD_FORMAT_INT4);
        assert_int_equal(p[i].flags, 0);
        assert_int_equal(p[i].rows, i == 4 ? 32 : 16);
    }
    for (unsigned i = 5; i < 8; i += 2) { /* key, then query */
        assert_int_equal(p[i].flags, CARD_FLAG_INTERLEAVED);
        assert_int_equal(p[i].param[0], 16);
        assert_int_equal(p[i].dst, p[i == 5 ? 3 : 4].dst);
    }
    assert_int_equal(p[6].param[0], 9);
    assert_int_equal(p[6].rows, 1);
    assert_int_equal(p[6].param[1], 16); /* dimensions of a value */
    assert_int_equal(p[6].src, p[3].dst);
    assert_int_equal(p[6].weight, p[2].dst);
    assert_true(float_of_bits(p[8].param[1]) == 0.25f);
    assert_int_equal(p[10].flags, CARD_FLAG_ADD);
    assert_int_equal(p[10].dst, plan.planner.embeddings.address); /* the residual stream */
    assert_int_equal(p[17].dst, plan.planner.embeddings.address);
    assert_int_equal(p[20].dst, plan.planner.logits.address);
    assert_int_equal(p[20].rows, 8);
    close_plan(&plan);
}

static void test_a_float_card_quantizes_nothing(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "qwen2");
    open_tiny(&plan, "ref");
    make(&plan, false, 3, 3);
    for (unsigned i = 0; i < plan.planner.n_descriptors; i++) {
        assert_int_not_equal(plan.program[i].opcode, CARD_OP_QUANTIZE);
        if (plan.program[i].opcode == CARD_OP_MATMUL) assert_int_equal(plan.program[i].format, CARD_FORMAT_F32);
        if (plan.program[i].opcode == CARD_OP_ROPE) assert_int_equal(plan.program[i].flags, 0);
    }
    for (unsigned i = 1; i < 4; i++) { /* value, key and query have biases */
        assert_int_equal(plan.program[i].flags, CARD_FLAG_BIAS);
        assert_int_not_equal(plan.program[i].aux, 0);
    }
    close_plan(&plan);
}

static void test_heads_are_normed_before_the_rotation(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "qwen3");
    open_tiny(&plan, "sim");
    make(&plan, false, 2, 2);
    const uint8_t opcodes[] = {CARD_OP_NORM,      CARD_OP_QUANTIZE, CARD_OP_MATMUL,   CARD_OP_MATMUL, CARD_OP_MATMUL,
                               CARD_OP_NORM,      CARD_OP_ROPE,     CARD_OP_KV_WRITE, CARD_OP_NORM,   CARD_OP_ROPE,
                               CARD_OP_ATTENTION, CARD_OP_QUANTIZE, CARD_OP_MATMUL,   FFN_OPS,        HEAD_OPS};
    expect_opcodes(&plan, opcodes, sizeof opcodes);
    assert_int_equal(plan.program[5].rows, 1);
    assert_int_equal(plan.program[5].cols, 16);
    assert_int_equal(plan.program[5].dst, plan.program[3].dst);
    assert_int_equal(plan.program[8].rows, 2);
    assert_int_equal(plan.program[8].dst, plan.program[4].dst);
    close_plan(&plan);
}

static void test_a_layer_of_experts(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "qwen3moe");
    open_tiny(&plan, "sim");
    make(&plan, false, 3, 3);
    const uint8_t experts[] = {CARD_OP_NORM,          CARD_OP_QUANTIZE,      CARD_OP_MATMUL, CARD_OP_ROUTER,
                               CARD_OP_EXPERT_MATMUL, CARD_OP_EXPERT_MATMUL, CARD_OP_GLU,    CARD_OP_QUANTIZE,
                               CARD_OP_EXPERT_MATMUL, CARD_OP_EXPERT_SUM,    HEAD_OPS};
    const struct card_descriptor *p = plan.program + plan.planner.n_descriptors - sizeof experts;
    for (unsigned i = 0; i < sizeof experts; i++) assert_int_equal(p[i].opcode, experts[i]);
    assert_int_equal(p[2].format, CARD_FORMAT_F32); /* routers stay float */
    assert_int_equal(p[2].src, p[0].dst);
    assert_int_equal(p[3].flags, CARD_FLAG_RENORMALIZE);
    for (unsigned i = 4; i <= 8; i += i == 4 ? 1 : 3) {
        assert_int_equal(p[i].aux, p[3].dst);
        assert_int_equal(p[i].flags, i == 8 ? CARD_FLAG_PER_CHOICE : 0);
        assert_int_equal(p[i].param[0], 1);
        assert_int_equal(p[i].param[1], 2);
        assert_int_equal(p[i].weight, plan.loaded->experts[0].table[i == 8 ? EXPERT_DOWN : i - 4]);
    }
    assert_int_equal(p[9].dst, plan.planner.embeddings.address);
    close_plan(&plan);
}

/* Entry e of the slot table of matrix m. */
static card_addr slot_of(struct plan *plan, unsigned m, unsigned e)
{
    uint8_t entry[sizeof(card_addr)];
    struct error err = {0};
    card_addr at = plan->loaded->experts[0].table[m] + sizeof(card_addr) * e;
    assert_int_equal(card_read(plan->card, entry, at, sizeof entry, NULL, 0, NULL, &err), 0);
    return load_u64(entry);
}

static void test_slot_tables_name_every_expert(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "qwen3moe");
    open_tiny(&plan, "sim");
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        const struct weight *weight = &plan.loaded->weights[tensor_table_index(expert_role(m), 0)];
        for (unsigned e = 0; e < 2; e++)
            assert_int_equal(slot_of(&plan, m, e), weight->address + e * card_matrix_bytes(CARD_FORMAT_INT4, 32, 32));
    }
    close_plan(&plan);
}

/*
 * The tiny model's matrices are all of 32 columns, so their tiles follow each other over the banks, in the order of the
 * table: output (tied) 1 tile, query 2, key 1, value 1, output of attention 2, then 2 for each expert's matrix: 19. Then
 * comes the router, the only one of F32.
 */
static void test_matrices_are_dealt_over_the_banks(void **state)
{
    (void)state;
    const uint64_t tile = card_block_bytes(CARD_FORMAT_INT4);
    const enum tensor_role roles[] = {TENSOR_OUTPUT, TENSOR_ATTN_Q, TENSOR_ATTN_K, TENSOR_ATTN_V, TENSOR_ATTN_OUTPUT};
    const unsigned before[] = {0, 1, 3, 4, 5};
    for (unsigned banks = 2; banks <= 5; banks++) {
        static struct plan plan;
        tiny_init(&plan.tiny, "qwen3moe");
        open_tiny_over(&plan, "sim", banks);
        uint64_t base = plan.loaded->weights[TENSOR_OUTPUT].address;
        assert_int_equal(CARD_ADDR_BANK(base), 0);
        for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
            const struct weight *weight = &plan.loaded->weights[tensor_table_index(roles[i], 0)];
            assert_int_equal(weight->address, CARD_ADDR(before[i] % banks, base + before[i] / banks * tile));
            assert_int_equal(weight->banks, banks);
        }
        for (unsigned m = 0; m < EXPERT_MATRICES; m++)
            for (unsigned e = 0; e < 2; e++) {
                unsigned t = 7 + 4 * m + 2 * ((e + m) % 2); /* up and down begin one and two places further */
                assert_int_equal(slot_of(&plan, m, e), CARD_ADDR(t % banks, base + t / banks * tile));
            }
        const struct weight *router = &plan.loaded->weights[tensor_table_index(TENSOR_FFN_ROUTER, 0)];
        assert_int_equal(router->address, base + (19 + banks - 1) / banks * tile);
        assert_int_equal(router->banks, banks);
        make(&plan, false, 3, 3);
        for (unsigned i = 0; i < plan.planner.n_descriptors; i++) {
            const struct card_descriptor *d = &plan.program[i];
            if (d->opcode == CARD_OP_MATMUL) assert_int_equal(d->param[0], banks);
            if (d->opcode == CARD_OP_EXPERT_MATMUL) assert_int_equal(d->param[2], banks);
        }
        close_plan(&plan);
    }
}

/* Each pool's banks stand in KV_WRITE, and in an extension of ATTENTION that is there for them alone. */
static void test_pools_are_dealt_over_the_banks(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "llama");
    open_tiny_over(&plan, "sim", 3);
    plan.pools[0] = CARD_ADDR(2, 4096);
    plan.pool_banks = 3;
    make(&plan, false, 3, 3);
    const uint8_t opcodes[] = {ATTENTION_OPS, CARD_OP_EXTENSION, CARD_OP_QUANTIZE, CARD_OP_MATMUL, FFN_OPS, HEAD_OPS};
    expect_opcodes(&plan, opcodes, sizeof opcodes);
    assert_int_equal(plan.program[6].dst, plan.pools[0]);
    assert_int_equal(plan.program[6].param[2], 3);
    assert_int_equal(plan.program[8].weight, plan.pools[0]);
    assert_int_equal(plan.program[8].flags, CARD_FLAG_EXTENDED);
    const struct card_descriptor extension = {.opcode = CARD_OP_EXTENSION, .rows = 3};
    assert_memory_equal(&plan.program[9], &extension, sizeof extension);
    close_plan(&plan);
}

static void test_only_wanted_rows_leave_the_last_attention(void **state)
{
    (void)state;
    static struct plan plan;
    tiny_init(&plan.tiny, "llama");
    open_tiny(&plan, "sim");
    make(&plan, false, 5, 2);
    const uint8_t some[] = {ATTENTION_OPS,  CARD_OP_GATHER, CARD_OP_GATHER, CARD_OP_QUANTIZE,
                            CARD_OP_MATMUL, FFN_OPS,        HEAD_OPS};
    expect_opcodes(&plan, some, sizeof some);
    for (unsigned i = 0; i < plan.planner.n_descriptors; i++) assert_int_equal(plan.program[i].tokens, i < 9 ? 5 : 2);
    assert_int_equal(plan.program[10].dst, plan.planner.wanted.address);
    make(&plan, false, 5, 0);
    const uint8_t none[] = {CARD_OP_NORM,   CARD_OP_QUANTIZE, CARD_OP_MATMUL,   CARD_OP_MATMUL,
                            CARD_OP_MATMUL, CARD_OP_ROPE,     CARD_OP_KV_WRITE, CARD_OP_ROPE};
    expect_opcodes(&plan, none, sizeof none);
    close_plan(&plan);
}

/* What step memory relies on: no step of at most the measured size takes more arena or more descriptors. */
static void test_measuring_bounds_every_smaller_step(void **state)
{
    (void)state;
    const char *const architectures[] = {"llama", "qwen2", "qwen3", "qwen3moe"};
    const char *const cards[] = {"ref", "sim"};
    for (size_t a = 0; a < 8; a++) {
        static struct plan plan;
        tiny_init(&plan.tiny, architectures[a / 2]);
        open_tiny(&plan, cards[a % 2]);
        for (uint32_t most_rows = 0; most_rows <= 7; most_rows++) {
            make(&plan, true, 7, most_rows);
            uint64_t peak = plan.planner.peak;
            unsigned capacity = plan.planner.n_descriptors;
            for (uint32_t tokens = 1; tokens <= 7; tokens++)
                for (uint32_t rows = 0; rows <= tokens && rows <= most_rows; rows++) {
                    make(&plan, false, tokens, rows);
                    assert_true(plan.planner.peak <= peak);
                    assert_true(plan.planner.n_descriptors <= capacity);
                }
        }
        close_plan(&plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dense_layer),
        cmocka_unit_test(test_a_float_card_quantizes_nothing),
        cmocka_unit_test(test_heads_are_normed_before_the_rotation),
        cmocka_unit_test(test_a_layer_of_experts),
        cmocka_unit_test(test_slot_tables_name_every_expert),
        cmocka_unit_test(test_matrices_are_dealt_over_the_banks),
        cmocka_unit_test(test_pools_are_dealt_over_the_banks),
        cmocka_unit_test(test_only_wanted_rows_leave_the_last_attention),
        cmocka_unit_test(test_measuring_bounds_every_smaller_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
