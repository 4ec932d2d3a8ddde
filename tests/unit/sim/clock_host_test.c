/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, launches, events and the host's two threads in virtual time, worked out by hand. */
#include "clock_for_test.h"

/* Bytes at 10 GB/s. */
#define LINK(bytes) (UINT64_C(100) * (bytes))
#define PROGRAM_BYTES 64u

static uint64_t copy_after(struct rig *rig, enum sim_clock_copy direction, card_addr address, uint64_t bytes,
                           const uint64_t *after, unsigned n_after)
{
    struct error err;
    const struct sim_clock_order order = {.event = ++rig->events, .after = after, .n_after = n_after};
    assert_int_equal(sim_clock_copy(rig->clock, direction, &order, address, bytes, &err), 0);
    return order.event;
}

static uint64_t write_bytes(struct rig *rig, uint64_t bytes)
{
    return copy_after(rig, SIM_CLOCK_WRITE, CARD_ADDR(0, 4096), bytes, NULL, 0);
}

static uint64_t end_of(const struct rig *rig, uint64_t event) { return sim_clock_event_end(rig->clock, event); }

static struct card_descriptor scale(uint32_t n)
{
    return (struct card_descriptor){
        .opcode = CARD_OP_SCALE, .tokens = 1, .cols = n, .src = CARD_ADDR(0, 4096), .dst = CARD_ADDR(1, 4096)};
}

static void copies_of_one_direction_follow_each_other(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const uint64_t one = write_bytes(&rig, 1000), two = write_bytes(&rig, 3000);
    assert_int_equal(sim_clock_now(rig.clock), 0);
    assert_int_equal(end_of(&rig, one), 3 * US + LINK(1000));
    assert_int_equal(end_of(&rig, two), end_of(&rig, one) + US + LINK(3000));
    sim_clock_wait(rig.clock, one);
    assert_int_equal(sim_clock_now(rig.clock), 3 * US + LINK(1000));
    sim_clock_wait(rig.clock, two);
    const uint64_t now = 4 * US + LINK(4000);
    assert_int_equal(sim_clock_now(rig.clock), now);
    sim_clock_wait(rig.clock, one); /* long over */
    assert_int_equal(sim_clock_now(rig.clock), now);
    struct error err;
    assert_int_equal(sim_clock_spend(rig.clock, 7 * US, &err), 0);
    assert_int_equal(end_of(&rig, write_bytes(&rig, 1000)), now + 10 * US + LINK(1000));
    assert_int_equal(sim_clock_spend(rig.clock, UINT64_MAX, &err), ERROR_TOO_LARGE);
    rig_end(&rig);
}

static void directions_are_independent_but_for_events(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const uint64_t write = write_bytes(&rig, 100000);
    const uint64_t beside = copy_after(&rig, SIM_CLOCK_READ, CARD_ADDR(0, 4096), 1000, NULL, 0);
    assert_int_equal(end_of(&rig, beside), 3 * US + LINK(1000));
    const uint64_t after = copy_after(&rig, SIM_CLOCK_READ, CARD_ADDR(0, 4096), 1000, &write, 1);
    assert_true(end_of(&rig, after) >= end_of(&rig, write) + US + LINK(1000));
    rig_end(&rig);
}

/* A program that waits for a copy runs after it; a copy that nobody waits for runs beside programs. */
static void programs_wait_for_their_events_only(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const struct card_descriptor d = scale(1600);
    const uint64_t program_end = 5 * US + 3 * US + LINK(PROGRAM_BYTES) + 10 * US + DISPATCH + 100 * CYCLE;
    const uint64_t first = rig_submit(&rig, &d, 1);
    assert_int_equal(end_of(&rig, first), program_end);
    /* 10 MB: a millisecond. */
    const uint64_t large = write_bytes(&rig, 10000000);
    const uint64_t before = end_of(&rig, large);
    /* The next program's descriptors queue behind it on the link. */
    const uint64_t second = rig_submit(&rig, &d, 1);
    assert_int_equal(end_of(&rig, second), before + US + LINK(PROGRAM_BYTES) + 10 * US + DISPATCH + 100 * CYCLE);
    rig_end(&rig);
}

static void a_queued_program_follows_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const struct card_descriptor d = scale(400000); /* 100 us */
    const uint64_t first = rig_submit(&rig, &d, 1), second = rig_submit(&rig, &d, 1);
    assert_int_equal(sim_clock_now(rig.clock), 2 * 5 * US);
    assert_int_equal(end_of(&rig, second), end_of(&rig, first) + 2 * US + DISPATCH + 25000 * CYCLE);
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    assert_int_equal(usage.busy[TIMELINE_VECTOR], 2 * 25000 * CYCLE);
    assert_int_equal(usage.busy[TIMELINE_HOST_TO_CARD], 2 * (US + LINK(PROGRAM_BYTES)));
    rig_end(&rig);
}

/* More events than are kept at first, waited for in any order. */
static void many_events_are_remembered(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    uint64_t end = 2 * US;
    for (unsigned i = 1; i <= 1000; i++) {
        end += US + LINK(i);
        assert_int_equal(end_of(&rig, write_bytes(&rig, i)), end);
    }
    sim_clock_wait(rig.clock, 500);
    const uint64_t middle = sim_clock_now(rig.clock);
    assert_true(middle < end);
    for (unsigned i = 0; i < 2000; i++) write_bytes(&rig, 1);
    assert_int_equal(end_of(&rig, 1000), end);
    sim_clock_wait(rig.clock, 1000);
    assert_int_equal(sim_clock_now(rig.clock), end);
    sim_clock_wait(rig.clock, 3);
    assert_int_equal(sim_clock_now(rig.clock), end);
    rig_end(&rig);
}

/* ---- PUBLISH and AWAIT ---- */

#define MAILBOX CARD_ADDR(0, 0x100000)
#define CHOICES CARD_ADDR(0, 0x200000)
#define SLOTS CARD_ADDR(0, 0x300000)

/* The step of a descriptor whose tables lie in the rig's memory. */
static void charge(struct rig *rig, const struct card_descriptor *d, unsigned i)
{
    struct sim_step step;
    sim_step_find(&step, d, &rig->memory);
    const struct sim_work work = sim_work_of(&step);
    sim_clock_run(rig->clock, &step, &work, i);
}

/*
 * The second thread reads the mailbox `reads` times too early and `again` times too often; what it brings is there at the same
 * time.
 */
static uint64_t stream_one_expert(unsigned reads, unsigned again)
{
    struct rig rig;
    rig_start(&rig);
    ((struct card_choice *)rig_at(&rig, CHOICES))[0] = (struct card_choice){.expert = 3};
    const struct card_descriptor publish = {
        .opcode = CARD_OP_PUBLISH, .tokens = 1, .rows = 1, .dst = MAILBOX, .src = CHOICES, .param = {1}};
    const struct card_descriptor await = {
        .opcode = CARD_OP_AWAIT, .tokens = 1, .weight = SLOTS, .aux = CHOICES, .param = {1, 8, 1000}};
    struct error err;
    const struct sim_clock_order order = {.event = ++rig.events};
    const struct card_descriptor program[] = {publish, await};
    assert_int_equal(sim_clock_begin(rig.clock, &order, program, 2, &err), 0);
    for (unsigned i = 0; i < reads; i++) copy_after(&rig, SIM_CLOCK_READ, MAILBOX, 4, NULL, 0);
    charge(&rig, &publish, 0);
    const uint64_t published = rig_operation(&rig, 0)->end;
    for (unsigned i = 0; i <= again; i++) copy_after(&rig, SIM_CLOCK_READ, MAILBOX, 4, NULL, 0);
    copy_after(&rig, SIM_CLOCK_READ, MAILBOX + 64, 8, NULL, 0);
    copy_after(&rig, SIM_CLOCK_WRITE, CARD_ADDR(1, 0x100000), 1000000, NULL, 0);
    copy_after(&rig, SIM_CLOCK_WRITE, SLOTS + 3 * 8, 8, NULL, 0);
    charge(&rig, &await, 1);
    sim_clock_end(rig.clock);
    assert_int_equal(sim_clock_now(rig.clock), 5 * US); /* the owner's time is its own */
    const struct timeline_event *waited = rig_operation(&rig, 1);
    /* One after the other: word, choices, matrix, slot; each is asked for when the one before has ended. */
    const uint64_t written = published + 4 * 3 * US + LINK(4 + 8 + 1000000 + 8);
    assert_int_equal(waited->kind, TIMELINE_WAIT);
    assert_true(waited->end >= written && waited->end < written + 2 * LATENCY);
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    assert_int_equal(usage.waits, written - waited->begin);
    const uint64_t end = waited->end;
    rig_end(&rig);
    return end;
}

static void await_ends_when_slots_are_written(void **state)
{
    (void)state;
    const uint64_t end = stream_one_expert(0, 0);
    assert_int_equal(stream_one_expert(5, 0), end);
    assert_int_equal(stream_one_expert(0, 9), end);
    assert_int_equal(stream_one_expert(1000, 1000), end);
}

static void await_of_experts_that_are_there_is_one_read(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const struct card_descriptor await = {
        .opcode = CARD_OP_AWAIT, .tokens = 1, .weight = SLOTS, .aux = CHOICES, .param = {1, 8, 1000}};
    rig_submit(&rig, &await, 1);
    const struct timeline_event *waited = rig_operation(&rig, 0);
    assert_true(waited->end - waited->begin <= LATENCY + 2 * DISPATCH);
    rig_end(&rig);
}

/* Four experts, one copy and one entry each: what a PER_CHOICE takes is what virtual time says, and nothing passes an AWAIT. */
static void await_takes_what_virtual_time_says(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    struct card_choice *choice = rig_at(&rig, CHOICES);
    for (uint32_t i = 0; i < 4; i++) choice[i] = (struct card_choice){.expert = i};
    const struct card_descriptor publish = {
        .opcode = CARD_OP_PUBLISH, .tokens = 1, .rows = 4, .dst = MAILBOX, .src = CHOICES, .param = {1}};
    struct card_descriptor await[2];
    for (unsigned k = 0; k < 2; k++)
        await[k] = (struct card_descriptor){.opcode = CARD_OP_AWAIT,
                                            .flags = CARD_FLAG_PER_CHOICE,
                                            .tokens = 1,
                                            .dst = CHOICES + 0x1000 * (k + 1),
                                            .weight = SLOTS,
                                            .aux = k ? CHOICES + 0x1000 + 32 : CHOICES,
                                            .param = {4, 8, 1000}};
    const struct card_descriptor scale = {
        .opcode = CARD_OP_SCALE, .tokens = 1, .cols = 16, .dst = CHOICES + 0x8000, .src = CHOICES + 0x9000};
    struct card_descriptor half_of = await[1],
                           all_of; /* of 0, 1 and 2, of which 0 has come, one in two: 1, too; then all */
    half_of.rows = 2;
    half_of.dst = CHOICES + 0x3000;
    all_of = half_of;
    all_of.aux = CHOICES;
    all_of.dst = CHOICES + 0x4000;
    all_of.rows = 1;
    struct error err;
    const struct sim_clock_order order = {.event = ++rig.events};
    const struct card_descriptor program[] = {publish, await[0], scale, await[1], scale, half_of, all_of};
    assert_int_equal(sim_clock_begin(rig.clock, &order, program, 7, &err), 0);
    charge(&rig, &publish, 0);
    copy_after(&rig, SIM_CLOCK_READ, MAILBOX, 4, NULL, 0);
    for (uint32_t i = 0; i < 3; i++) { /* expert 3 was there before */
        copy_after(&rig, SIM_CLOCK_WRITE, CARD_ADDR(1, 0x100000), i == 0 ? 1000 : 1000000, NULL, 0);
        copy_after(&rig, SIM_CLOCK_WRITE, SLOTS + i * 8, 8, NULL, 0);
    }
    charge(&rig, &await[0], 1);
    charge(&rig, &scale, 2);
    charge(&rig, &await[1], 3);
    charge(&rig, &scale, 4);
    charge(&rig, &half_of, 5);
    charge(&rig, &all_of, 6);
    sim_clock_end(rig.clock);
    const struct card_choice *half = rig_at(&rig, CHOICES + 0x3000), *whole = rig_at(&rig, CHOICES + 0x4000);
    assert_int_equal(half[1].expert, 1);
    assert_int_equal(half[2].expert, CARD_NO_EXPERT);
    assert_int_equal(half[6].expert, 2);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(whole[i].expert, i);
    const struct card_choice *first = rig_at(&rig, await[0].dst), *second = rig_at(&rig, await[1].dst);
    const uint32_t none = CARD_NO_EXPERT;
    const uint32_t want[2][8] = {{none, none, none, 3, 0, 1, 2, none}, {0, none, none, none, none, 1, 2, none}};
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(first[i].expert, want[0][i]);
        assert_int_equal(second[i].expert, want[1][i]);
    }
    assert_true(rig_operation(&rig, 2)->begin >= rig_operation(&rig, 1)->end);
    assert_true(rig_operation(&rig, 3)->end > rig_operation(&rig, 1)->end + 2 * US); /* entry 0 has come */
    assert_true(rig_operation(&rig, 4)->begin >= rig_operation(&rig, 3)->end);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_one_direction_follow_each_other),
        cmocka_unit_test(directions_are_independent_but_for_events),
        cmocka_unit_test(programs_wait_for_their_events_only),
        cmocka_unit_test(a_queued_program_follows_at_once),
        cmocka_unit_test(many_events_are_remembered),
        cmocka_unit_test(await_ends_when_slots_are_written),
        cmocka_unit_test(await_of_experts_that_are_there_is_one_read),
        cmocka_unit_test(await_takes_what_virtual_time_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
