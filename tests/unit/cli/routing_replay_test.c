/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces through the streaming runtime in virtual time: what it counts is what the policy alone counts, two runs take the same
 * time, nothing computes with experts before they are there, guesses make it faster and never bring what nobody used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/link_idle.h"
#include "host/cli/routing_replay.h"
#include "host/cli/routing_source.h"
#include "host/experts/policy_replay.h"

#include <stdlib.h>
#include <string.h>

#define SEED 3u
#define STEPS 20u

struct replayed {
    struct replay_sums sums;
    uint64_t expert_bytes, late_begins; /* EXPERT_MATMULs that began before their layer's AWAIT had ended */
};

struct watch {
    uint64_t begin, early; /* the layer's first EXPERT_MATMUL; before an AWAIT's end */
    uint64_t await_end;
};

static void on_event(void *context, const struct timeline_event *event)
{
    struct watch *watch = context;
    if (event->kind == TIMELINE_WAIT) watch->await_end = event->end;
    if (event->kind == TIMELINE_OPERATION && event->opcode == CARD_OP_EXPERT_MATMUL)
        watch->early += event->begin < watch->await_end;
}

static struct routing_source *source_of(const char *name, uint32_t n_sequences)
{
    struct routing_source *source;
    struct error err = {0};
    if (routing_source_open(name, SEED, n_sequences, &source, &err) < 0) fail_msg("%s", err.text);
    return source;
}

static struct replayed replay_of(const char *name, const char *policy, uint32_t slots, uint32_t rows, bool guesses)
{
    struct routing_source *source = source_of(name, rows);
    struct replayed out = {0};
    struct watch watch = {0};
    struct architecture *architecture;
    struct routing_replay *replay;
    struct routing_step step;
    struct error err = {0};
    if (architecture_by_name(name, &architecture, &err) < 0) fail_msg("%s", err.text);
    const struct replay_options options = {.architecture = architecture,
                                           .shape = routing_source_shape(source),
                                           .card = "u55c",
                                           .policy = policy,
                                           .guesses = guesses,
                                           .n_slots = slots,
                                           .max_rows = rows,
                                           .position = 100};
    if (routing_replay_open(&options, &replay, &err) < 0) fail_msg("%s", err.text);
    const struct timeline_sink sink = {on_event, &watch};
    assert_int_equal(card_trace(routing_replay_card(replay), &sink, &err), 0);
    for (uint32_t i = 0; i < STEPS; i++) {
        assert_int_equal(routing_source_next(source, &step, &err), 1);
        if (routing_replay_step(replay, &step, &err) < 0) fail_msg("%s, seed %u: %s", name, SEED, err.text);
    }
    routing_replay_sum(replay, &out.sums);
    out.expert_bytes = routing_replay_expert_bytes(replay);
    out.late_begins = watch.early;
    routing_replay_close(replay);
    architecture_close(architecture);
    routing_source_close(source);
    return out;
}

/* Without a card or a clock. */
static struct policy_counts counted(const char *name, const char *policy, uint32_t slots, uint32_t rows)
{
    struct routing_source *source = source_of(name, rows);
    const struct routing_shape *shape = routing_source_shape(source);
    struct policy_visits visits = {.n_layers = shape->n_layers, .n_experts = shape->n_experts, .n_used = shape->n_used};
    const struct policy_shape slots_shape = {shape->n_layers, shape->n_experts, slots};
    struct policy_counts counts;
    struct expert_policy *own;
    struct routing_step step;
    struct error err = {0};
    for (uint32_t i = 0; i < STEPS; i++) {
        assert_int_equal(routing_source_next(source, &step, &err), 1);
        assert_int_equal(policy_visits_add(&visits, &step, &err), 0);
    }
    const struct policy_inputs inputs = {0};
    if (expert_policy_open(policy, &slots_shape, &inputs, &own, &err) < 0) fail_msg("%s", err.text);
    policy_replay(own, &visits, 0, &counts);
    expert_policy_close(own);
    policy_visits_close(&visits);
    routing_source_close(source);
    return counts;
}

static void misses_are_the_policys(void **state)
{
    (void)state;
    static const char *const policies[] = {"lru", "lfu", "adaptive"};
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        for (uint32_t rows = 1; rows <= 3; rows += 2) {
            const struct policy_counts want = counted("mixtral-8x7b", policies[i], 128, rows);
            const struct replayed got = replay_of("mixtral-8x7b", policies[i], 128, rows, false);
            assert_int_equal(got.sums.traffic.misses, want.misses);
            assert_int_equal(got.sums.traffic.hits, want.uses - want.misses);
            assert_int_equal(got.sums.traffic.bytes, want.misses * got.expert_bytes);
            assert_int_equal(got.sums.tokens, STEPS * rows);
            assert_int_equal(got.sums.traffic.ahead, 0);
            assert_true(got.sums.stall_ps > 0);
            assert_int_equal(got.sums.traffic.stall_ps, got.sums.stall_ps);
        }
    }
}

static void runs_take_the_same_time(void **state)
{
    (void)state;
    const struct replayed a = replay_of("mixtral-8x7b", NULL, 100, 1, true),
                          b = replay_of("mixtral-8x7b", NULL, 100, 1, true);
    assert_int_equal(a.sums.ps, b.sums.ps);
    assert_memory_equal(&a.sums.traffic, &b.sums.traffic, sizeof a.sums.traffic);
}

static void nothing_computes_with_experts_that_are_not_there(void **state)
{
    (void)state;
    assert_int_equal(replay_of("qwen3-30b-a3b", "lru", 1536, 1, false).late_begins, 0);
    assert_int_equal(replay_of("qwen3-30b-a3b", "lru", 1536, 1, true).late_begins, 0);
}

/* The link brings no more than its rate; all that came for guesses was used, or is said to be wasted. */
static void guesses_pay(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t slots;
    } cases[] = {{"mixtral-8x7b", 64}, {"qwen3-30b-a3b", 3072}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct replayed without = replay_of(cases[i].name, NULL, cases[i].slots, 1, false),
                              with = replay_of(cases[i].name, NULL, cases[i].slots, 1, true);
        const struct experts_traffic *traffic = &with.sums.traffic;
        if (with.sums.ps >= without.sums.ps)
            fail_msg("%s, seed %u: %llu ps with guesses, %llu without", cases[i].name, SEED,
                     (unsigned long long)with.sums.ps, (unsigned long long)without.sums.ps);
        assert_true(traffic->ahead > 0);
        assert_in_range(traffic->ahead_used, 1, traffic->ahead);
        assert_int_equal(traffic->bytes - traffic->wasted_bytes,
                         (traffic->misses + traffic->ahead_used) * with.expert_bytes);
        assert_true(with.sums.link_busy_ps <= with.sums.ps);
        assert_true(with.sums.stall_ps < without.sums.stall_ps);
    }
}

static void resident_experts_do_not_stream(void **state)
{
    (void)state;
    const struct replayed got = replay_of("mixtral-8x7b", NULL, 0, 1, true);
    assert_int_equal(got.sums.traffic.hits + got.sums.traffic.misses, 0);
    assert_int_equal(got.sums.stall_ps, 0);
    assert_int_equal(got.expert_bytes, 0);
}

static void other_models_traces_are_refused(void **state)
{
    (void)state;
    struct routing_source *source = source_of("qwen3-30b-a3b", 1);
    struct architecture *architecture;
    struct routing_replay *replay = NULL;
    struct error err = {0};
    assert_int_equal(architecture_by_name("mixtral-8x7b", &architecture, &err), 0);
    struct replay_options options = {.architecture = architecture,
                                     .shape = routing_source_shape(source),
                                     .card = "u55c",
                                     .n_slots = 64,
                                     .max_rows = 1};
    assert_int_equal(routing_replay_open(&options, &replay, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "qwen3-30b-a3b"));
    architecture_close(architecture);
    routing_source_close(source);

    source = source_of("mixtral-8x7b", 1);
    assert_int_equal(architecture_by_name("mixtral-8x7b", &architecture, &err), 0);
    options.architecture = architecture;
    options.shape = routing_source_shape(source);
    options.n_slots = 1; /* a token needs two of each layer */
    assert_int_equal(routing_replay_open(&options, &replay, &err), ERROR_BAD_ARGUMENT);
    options.n_slots = 64;
    options.card = "no-such-card";
    assert_int_equal(routing_replay_open(&options, &replay, &err), ERROR_NOT_FOUND);
    options.card = "u55c";
    assert_int_equal(routing_replay_open(&options, &replay, &err), 0);
    const uint32_t sequences[2] = {0, 1};
    const uint16_t choices[128] = {0};
    const struct routing_step large = {.n_rows = 2, .sequence = sequences, .choice = choices};
    assert_int_equal(routing_replay_step(replay, &large, &err), ERROR_TOO_LARGE);
    routing_replay_close(replay);
    architecture_close(architecture);
    routing_source_close(source);
}

static struct timeline_event event_of(unsigned resource, unsigned kind, unsigned opcode, uint64_t begin, uint64_t end)
{
    return (struct timeline_event){.resource = resource, .kind = kind, .opcode = opcode, .begin = begin, .end = end};
}

/* Copies 20-30 and 70-80 of 10-100; AWAIT 10-40, MATMUL 35-60, QUANTIZE 50-90. */
static void idle_time_is_shared_out(void **state)
{
    (void)state;
    const struct timeline_event events[] = {
        event_of(TIMELINE_MATMUL, TIMELINE_OPERATION, CARD_OP_MATMUL, 35, 60),
        event_of(TIMELINE_HOST_TO_CARD, TIMELINE_WRITE, 0, 20, 30),
        event_of(TIMELINE_DISPATCH, TIMELINE_WAIT, CARD_OP_AWAIT, 10, 40),
        event_of(TIMELINE_HOST_TO_CARD, TIMELINE_WRITE, 0, 70, 80),
        event_of(TIMELINE_VECTOR, TIMELINE_OPERATION, CARD_OP_QUANTIZE, 50, 90),
        event_of(TIMELINE_MEMORY, TIMELINE_TRAFFIC, CARD_OP_MATMUL, 0, 100),
        event_of(TIMELINE_CARD_TO_HOST, TIMELINE_READ, 0, 0, 100),
    };
    struct link_idle idle = {0};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) link_idle_event(&idle, &events[i]);
    link_idle_count(&idle, 10, 100);
    assert_false(idle.is_out_of_memory);
    assert_int_equal(idle.ps[CARD_OP_AWAIT], 10 + 5);     /* 10-20, 30-35 */
    assert_int_equal(idle.ps[CARD_OP_MATMUL], 25);        /* 35-60 */
    assert_int_equal(idle.ps[CARD_OP_QUANTIZE], 10 + 10); /* 60-70, 80-90 */
    assert_int_equal(idle.ps[0], 10);                     /* 90-100 */
    link_idle_close(&idle);
}

/* The trace that is committed, on the model that it was recorded from. */
static void the_demo_models_trace_replays(void **state)
{
    (void)state;
    struct routing_source *source = source_of(FIXTURES "/routing/demo.routing", 1);
    const struct routing_shape *shape = routing_source_shape(source);
    struct architecture *architecture;
    struct routing_replay *replay;
    struct routing_step step;
    struct replay_sums sums;
    struct error err = {0};
    assert_false(routing_source_is_made(source));
    assert_int_equal(architecture_from_file(NULL, &architecture, &err), 0);
    const struct replay_options options = {.architecture = architecture,
                                           .shape = shape,
                                           .card = "u55c",
                                           .n_slots = shape->n_layers * shape->n_experts / 2,
                                           .max_rows = 1,
                                           .position = 100};
    if (routing_replay_open(&options, &replay, &err) < 0) fail_msg("%s", err.text);
    uint32_t n = 0;
    for (; n < 200 && routing_source_next(source, &step, &err) == 1; n++)
        if (routing_replay_step(replay, &step, &err) < 0) fail_msg("%s", err.text);
    routing_replay_sum(replay, &sums);
    assert_int_equal(n, 200);
    assert_true(sums.traffic.misses > options.n_slots);
    assert_int_equal(sums.traffic.hits + sums.traffic.misses, (uint64_t)n * shape->n_layers * shape->n_used);
    routing_replay_close(replay);
    architecture_close(architecture);
    routing_source_close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misses_are_the_policys),
        cmocka_unit_test(runs_take_the_same_time),
        cmocka_unit_test(nothing_computes_with_experts_that_are_not_there),
        cmocka_unit_test(guesses_pay),
        cmocka_unit_test(resident_experts_do_not_stream),
        cmocka_unit_test(other_models_traces_are_refused),
        cmocka_unit_test(idle_time_is_shared_out),
        cmocka_unit_test(the_demo_models_trace_replays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
