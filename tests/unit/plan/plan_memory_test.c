/* SPDX-License-Identifier: Apache-2.0 */
/* What lies where: nothing is counted twice, nothing is lost, and what does not fit is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card.h"
#include "host/plan/memory_plan.h"
#include "host/plan/shape_program.h"
#include "tests/unit/plan/plan_for_test.h"

#define GIB (UINT64_C(1) << 30)

static struct memory_demand demand_for(const struct test_model *model, uint64_t card_bytes)
{
    return (struct memory_demand){
        .architecture = &model->architecture,
        .card = {.n_classes = 1, .class_name = {"HBM"}, .banks = {32}, .bank_bytes = {card_bytes / 32}},
        .cards = 1,
        .context = 4096,
        .batch = 1,
        .chunk = 256,
        .kv_format = CARD_FORMAT_F16,
    };
}

static struct memory_layout planned(const struct memory_demand *demand)
{
    struct memory_layout layout;
    struct error err = {0};
    if (memory_plan(demand, &layout, &err) < 0) fail_msg("%s", err.text);
    return layout;
}

static uint64_t on_cards(const struct plan_memory *memory, const char *what)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < memory->n_rows; i++)
        for (unsigned c = 0; c < memory->n_classes && (!what || strcmp(memory->row[i].what, what) == 0); c++)
            sum += memory->row[i].card[c];
    return sum;
}

/* Each layer is on one card, in order; what the table shows fits on the cards. */
static void assert_sound(const struct memory_demand *demand, const struct memory_layout *layout)
{
    uint32_t next = 0;
    assert_in_range(layout->n_stages, 1, demand->cards);
    for (uint32_t i = 0; i < layout->n_stages; i++) {
        assert_int_equal(layout->stages[i].first_layer, next);
        assert_true(layout->stages[i].end_layer > next);
        next = layout->stages[i].end_layer;
    }
    assert_int_equal(next, demand->architecture->n_layers);
    assert_true(on_cards(&layout->memory, NULL) <= layout->memory.class_bytes[0]);
}

static void test_resident(void **state)
{
    (void)state;
    struct test_model model;
    struct shape_bytes bytes;
    struct error err;
    test_model_dense(&model);
    struct memory_demand demand = demand_for(&model, 16 * GIB);
    struct memory_layout layout = planned(&demand);
    const struct shape_options options = {
        .kv_format = CARD_FORMAT_F16, .max_tokens = 257, .max_logit_rows = 1, .max_sequences = 1, .max_context = 4096};
    assert_int_equal(shape_bytes(&model.architecture, &options, &bytes, &err), 0);
    assert_true(layout.memory.fits);
    assert_sound(&demand, &layout);
    assert_int_equal(on_cards(&layout.memory, "attention weights"), bytes.attention);
    assert_int_equal(on_cards(&layout.memory, "FFN weights"), bytes.ffn);
    assert_int_equal(on_cards(&layout.memory, "output matrix"), bytes.output);
    assert_int_equal(on_cards(&layout.memory, "KV pages"), 4096 / CARD_PAGE_TOKENS * bytes.kv_page);
    assert_int_equal(bytes.kv_page, 32 * card_page_bytes(CARD_FORMAT_F16, 8, 128, 128));
    assert_int_equal(layout.stages[0].expert_slots, 0);
    memory_plan_close(&layout);
}

static void test_over_cards(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    for (uint32_t cards = 1; cards <= 32; cards++) {
        struct memory_demand demand = demand_for(&model, 8 * GIB / cards + GIB / 2);
        demand.cards = cards;
        struct memory_layout layout = planned(&demand);
        if (layout.memory.fits) assert_sound(&demand, &layout);
        if (!layout.memory.fits) assert_true(layout.memory.reason[0] != '\0');
        memory_plan_close(&layout);
    }
    struct memory_demand more = demand_for(&model, 16 * GIB);
    more.cards = 40;
    struct memory_layout layout = planned(&more);
    assert_sound(&more, &layout);
    assert_in_range(layout.n_stages, 2, 32); /* no more cards than layers */
    memory_plan_close(&layout);
}

static void test_experts_streamed(void **state)
{
    (void)state;
    struct test_model model;
    test_model_experts(&model);
    struct memory_demand demand = demand_for(&model, 6 * GIB);
    demand.host_bytes = 64 * GIB;
    struct memory_layout layout = planned(&demand);
    assert_true(layout.memory.fits);
    assert_int_equal(layout.memory.experts, PLAN_EXPERTS_HOST);
    assert_non_null(strstr(layout.memory.reason, "the weights take"));
    assert_sound(&demand, &layout);
    uint32_t slots = layout.stages[0].expert_slots;
    assert_in_range(slots, 4, 31);
    assert_true(layout.memory.hit_rate > layout.memory.resident_share && layout.memory.hit_rate < 1);
    uint64_t used = on_cards(&layout.memory, NULL), one = on_cards(&layout.memory, "expert slots") / slots;
    assert_true(used + one > 6 * GIB - 6 * GIB / 32); /* not one more slot in each layer would go in */
    memory_plan_close(&layout);

    demand.host_bytes = 8 * GIB; /* too little for the experts */
    layout = planned(&demand);
    assert_int_equal(layout.memory.experts, PLAN_EXPERTS_NVME);
    memory_plan_close(&layout);
    demand.experts = PLAN_EXPERTS_HOST;
    layout = planned(&demand);
    assert_false(layout.memory.fits);
    assert_non_null(strstr(layout.memory.reason, "host memory"));
    memory_plan_close(&layout);
    demand.experts = PLAN_EXPERTS_RESIDENT;
    layout = planned(&demand);
    assert_false(layout.memory.fits);
    memory_plan_close(&layout);
}

static void test_dense_that_does_not_fit(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    struct memory_demand demand = demand_for(&model, 4 * GIB);
    struct memory_layout layout = planned(&demand);
    assert_false(layout.memory.fits);
    assert_int_equal(layout.n_stages, 0);
    assert_non_null(strstr(layout.memory.reason, "of the 4.00 GiB that 1 card has."));
    memory_plan_close(&layout);

    /* Weights fit, pages do not. */
    demand = demand_for(&model, 5 * GIB);
    demand.batch = 64;
    demand.context = 131072;
    layout = planned(&demand);
    assert_false(layout.memory.fits);
    assert_non_null(strstr(layout.memory.reason, "leaves no room for KV"));
    memory_plan_close(&layout);
}

static void test_hit_rate(void **state)
{
    (void)state;
    double before = 0;
    for (uint32_t slots = 8; slots <= 128; slots++) {
        double rate = memory_plan_hit_rate(128, 8, slots);
        assert_true(rate > before && rate <= 1);
        before = rate;
        assert_true(memory_plan_misses(128, 8, slots, 1) <= memory_plan_misses(128, 8, slots, 2));
        assert_true(memory_plan_misses(128, 8, slots, 4096) <= 128 - slots);
    }
    assert_true(memory_plan_hit_rate(128, 8, 128) == 1);
    assert_near(memory_plan_hit_rate(8, 2, 2), 0.39, 0.005);
    assert_near(memory_plan_hit_rate(8, 2, 4), 0.64, 0.005);
    assert_near(memory_plan_misses(8, 2, 4, 1), 2 * (1 - memory_plan_hit_rate(8, 2, 4)), 1e-12);
}

/* Two classes: dealt over all banks, so the smallest bank counts. */
static void test_two_classes(void **state)
{
    (void)state;
    struct test_model model;
    test_model_dense(&model);
    struct memory_demand demand = demand_for(&model, 8 * GIB);
    demand.card = (struct card_memory){
        .n_classes = 2, .class_name = {"HBM", "DDR"}, .banks = {32, 2}, .bank_bytes = {GIB / 4, 16 * GIB}};
    struct memory_layout layout = planned(&demand);
    assert_true(layout.memory.fits);
    uint64_t hbm = 0, ddr = 0;
    for (unsigned i = 0; i < layout.memory.n_rows; i++) {
        hbm += layout.memory.row[i].card[0];
        ddr += layout.memory.row[i].card[1];
    }
    assert_true(hbm <= 8 * GIB && ddr * 15 < hbm && ddr * 17 > hbm);
    memory_plan_close(&layout);
    demand.batch = 16; /* the DDR has room for it, but not at the offsets of the HBM */
    demand.context = 16384;
    layout = planned(&demand);
    assert_false(layout.memory.fits);
    memory_plan_close(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resident),         cmocka_unit_test(test_over_cards),
        cmocka_unit_test(test_experts_streamed), cmocka_unit_test(test_dense_that_does_not_fit),
        cmocka_unit_test(test_hit_rate),         cmocka_unit_test(test_two_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
