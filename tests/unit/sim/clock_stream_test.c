/* SPDX-License-Identifier: Apache-2.0 */
/* Copies that were ready for a link with nothing else to do: when they begin, how many there is time for, what stays as it was. */
#include "tests/unit/sim/clock_for_test.h"

#include "sim/clock_state.h"
#include "sim/clock_stream.h"

#define MAILBOX CARD_ADDR(0, 4096)
#define EXPERT_BYTES 100000u
#define COPY (11 * US) /* of an expert: 1 us and 100 ps a byte */

static const struct sim_clock_order order = {.event = 1};

/* A clock with a running program, and the time of its second thread. */
static struct sim_clock *running_clock(void)
{
    const struct card_descriptor d = {.opcode = CARD_OP_PUBLISH, .tokens = 1, .rows = 1};
    struct card_profile card;
    struct host_profile host;
    struct sim_clock *clock;
    struct error err = {0};
    round_card(&card);
    round_host(&host);
    assert_int_equal(sim_clock_open(&card, &host, &clock, &err), 0);
    assert_int_equal(sim_clock_begin(clock, &order, &d, 1, &err), 0);
    return clock;
}

/* A PUBLISH that ended then; the host has answered. */
static void answer_at(struct sim_clock *clock, uint64_t ps)
{
    clock_published(clock, MAILBOX, ps);
    sim_clock_answer(clock, MAILBOX, 1);
    assert_true(clock->second_now > ps);
}

static uint64_t link_free(const struct sim_clock *clock) { return clock->link.busy_until[LINK_HOST_TO_CARD]; }

static void copies_fill_the_time_behind_others(void **state)
{
    (void)state;
    struct sim_clock *clock = running_clock();
    answer_at(clock, 100 * US);
    sim_clock_stream(clock, 0, EXPERT_BYTES, NULL, 0);
    const uint64_t wanted = link_free(clock);
    assert_int_equal(wanted, clock->second_now + 2 * US + COPY);
    assert_false(sim_clock_fill(clock, 0, EXPERT_BYTES, NULL, 0)); /* nothing is known that was not known before */
    answer_at(clock, 1000 * US);
    const uint64_t now = clock->second_now;
    uint64_t n = 0;
    while (sim_clock_fill(clock, 0, EXPERT_BYTES, NULL, 0)) n++;
    assert_int_equal(n, (now - wanted + COPY - 1) / COPY); /* the last one is under way */
    assert_int_equal(link_free(clock), wanted + n * COPY);
    assert_int_equal(clock->second_now, now);
    const uint64_t busy = clock->link_busy[0];
    assert_false(sim_clock_fill(clock, 0, EXPERT_BYTES, NULL, 0));
    assert_int_equal(clock->link_busy[0], busy);
    sim_clock_stream(clock, 0, EXPERT_BYTES, NULL, 0); /* queued behind it */
    assert_int_equal(link_free(clock), wanted + (n + 1) * COPY);
    sim_clock_end(clock);
    sim_clock_close(clock);
}

static void an_idle_link_begins_when_it_was_known(void **state)
{
    (void)state;
    struct sim_clock *clock = running_clock();
    answer_at(clock, 100 * US);
    const uint64_t known = clock->second_now;
    answer_at(clock, 300 * US);
    assert_true(sim_clock_fill(clock, 0, EXPERT_BYTES, NULL, 0));
    assert_int_equal(link_free(clock), known + 2 * US + COPY);
    assert_true(sim_clock_fill(clock, 0, EXPERT_BYTES, NULL, 0));
    assert_int_equal(link_free(clock), known + 2 * US + 2 * COPY);
    sim_clock_end(clock);
    sim_clock_close(clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_fill_the_time_behind_others),
        cmocka_unit_test(an_idle_link_begins_when_it_was_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
