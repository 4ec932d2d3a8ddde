/* SPDX-License-Identifier: Apache-2.0 */
/* card_idle: time that the host's thread spends with other cards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card.h"

#define BYTES (1u << 20)

struct seen {
    unsigned n;
    struct timeline_event event;
};

static void keep(void *context, const struct timeline_event *event)
{
    struct seen *seen = context;
    if (event->kind != TIMELINE_ELSEWHERE) return;
    seen->n++;
    seen->event = *event;
}

static struct card *open_card(const char *spec)
{
    struct card *card;
    struct error err = {0};
    const struct card_options options = {.threads = 1, .memory_bytes = 64 << 20};
    if (card_open(spec, &options, &card, &err) < 0) fail_msg("%s", err.text);
    return card;
}

static uint64_t now_of(const struct card *card)
{
    uint64_t now;
    assert_int_equal(card_now(card, &now, NULL), 0);
    return now;
}

static void test_a_card_with_nothing_to_do_waits(void **state)
{
    (void)state;
    struct card *card = open_card("sim:u55c");
    struct seen seen = {0};
    struct card_usage usage;
    assert_int_equal(card_trace(card, &(struct timeline_sink){.event = keep, .context = &seen}, NULL), 0);
    assert_int_equal(card_spend(card, 100, NULL), 0);
    assert_int_equal(card_idle(card, 1000, NULL), 0);
    assert_int_equal(now_of(card), 1000);
    assert_int_equal(card_measure(card, &usage, NULL), 0);
    assert_int_equal(usage.elsewhere_ps, 900);
    assert_int_equal(usage.busy_ps[TIMELINE_HOST], 100); /* the host was busy elsewhere, not for this card */
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.event.begin, 100);
    assert_int_equal(seen.event.end, 1000);
    assert_int_equal(seen.event.busy, 0);
    assert_int_equal(card_idle(card, 1000, NULL), 0); /* nothing that is past */
    assert_int_equal(card_idle(card, 7, NULL), 0);
    assert_int_equal(now_of(card), 1000);
    assert_int_equal(seen.n, 1);
    card_close(card);
}

/* What was begun goes on: of the time elsewhere only what comes after it counts as waiting. */
static void test_a_card_with_work_waits_when_it_is_done(void **state)
{
    (void)state;
    struct card *card = open_card("sim:u55c");
    static uint8_t bytes[BYTES];
    struct card_usage usage;
    struct error err = {0};
    card_addr address;
    card_event written;
    uint64_t end, later;
    assert_int_equal(card_alloc(card, 0, BYTES, &address, &err), 0);
    assert_int_equal(card_write(card, address, bytes, BYTES, NULL, 0, &written, &err), 0);
    assert_int_equal(card_event_end(card, written, &end, &err), 0);
    assert_true(end > now_of(card) + 2);
    assert_int_equal(card_idle(card, end - 1, &err), 0);
    assert_int_equal(card_measure(card, &usage, &err), 0);
    assert_int_equal(usage.elsewhere_ps, 0);
    assert_int_equal(now_of(card), end - 1);
    assert_int_equal(card_idle(card, end + 500, &err), 0);
    assert_int_equal(card_measure(card, &usage, &err), 0);
    assert_int_equal(usage.elsewhere_ps, 500);
    assert_int_equal(card_wait(card, written, 0, &err), 0); /* long over */
    later = now_of(card);
    assert_int_equal(later, end + 500);
    card_close(card);
}

static void test_bounds_and_cards_without_a_clock(void **state)
{
    (void)state;
    struct card *card = open_card("sim:u55c"), *timeless = open_card("sim");
    struct error err = {0};
    assert_int_equal(card_idle(card, UINT64_MAX, &err), ERROR_TOO_LARGE);
    assert_int_equal(now_of(card), 0);
    assert_int_equal(card_idle(timeless, 5, &err), ERROR_UNSUPPORTED);
    card_close(card);
    card_close(timeless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_card_with_nothing_to_do_waits),
        cmocka_unit_test(test_a_card_with_work_waits_when_it_is_done),
        cmocka_unit_test(test_bounds_and_cards_without_a_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
