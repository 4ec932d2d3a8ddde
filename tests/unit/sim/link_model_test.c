/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/link_model.h"

/* Round figures: 10 and 20 GB/s, 10 us of set-up, half of the shorter not hidden. */
static const struct host_profile plain = {.pcie_generation = 4,
                                          .pcie_lanes = 16,
                                          .host_to_card_bytes_per_s = UINT64_C(10000000000),
                                          .card_to_host_bytes_per_s = UINT64_C(20000000000),
                                          .both_ways_bytes_per_s = UINT64_C(16000000000),
                                          .transfer_first_ps = 50000000,
                                          .transfer_ps = 10000000,
                                          .transfer_both_ps = 12000000,
                                          .transfer_serial = 50,
                                          .launch_first_ps = 80000000,
                                          .launch_ps = 3000000,
                                          .launch_again_ps = 2000000,
                                          .launch_commands = 100,
                                          .bridge_bytes_per_s = UINT64_C(20000000000),
                                          .bridge_first_ps = 2000000,
                                          .bridge_page_ps = 1000000};

static void set_up_and_transfer_overlap(void **state)
{
    (void)state;
    assert_true(link_copy_ps(&plain, LINK_HOST_TO_CARD, false, 0) == 10000000);
    assert_true(link_copy_ps(&plain, LINK_HOST_TO_CARD, false, 50000) == 10000000 + 2500000);
    assert_true(link_copy_ps(&plain, LINK_HOST_TO_CARD, false, 1000000) == 100000000 + 5000000);
    assert_true(link_copy_ps(&plain, LINK_CARD_TO_HOST, false, 1000000) == 50000000 + 5000000);
    assert_true(link_copy_ps(&plain, LINK_HOST_TO_CARD, true, 1000000) == 100000000 + 6000000);
}

static void both_ways_share_the_sum(void **state)
{
    (void)state;
    assert_true(link_copy_ps(&plain, LINK_BOTH_WAYS, true, 1000000) == 125000000);
    assert_true(link_copy_ps(&plain, LINK_BOTH_WAYS, true, 0) == 12000000);
}

static void a_queue_waits_once(void **state)
{
    (void)state;
    assert_true(link_copies_ps(&plain, LINK_HOST_TO_CARD, 0, 1) == 60000000);
    assert_true(link_copies_ps(&plain, LINK_HOST_TO_CARD, 0, 1000) == 50000000 + UINT64_C(10000000000));
    assert_true(link_launches_ps(&plain, 1) == 83000000);
    assert_true(link_launches_ps(&plain, 100) == 80000000 + 300000000);
    assert_true(link_launches_ps(&plain, 300) == 80000000 + 300000000 + 400000000);
}

static void the_bridge_goes_by_pages_or_streams(void **state)
{
    (void)state;
    assert_true(link_bridge_ps(&plain, 4096) == 1000000);
    assert_true(link_bridge_ps(&plain, 1000000) == 2000000 + 100000000);
    struct host_profile none = plain;
    none.bridge_bytes_per_s = 0;
    assert_true(link_bridge_ps(&none, 4096) == UINT64_MAX);
}

static void longer_copies_never_take_less(void **state)
{
    (void)state;
    for (const char *const *name = host_profile_names(); *name; name++) {
        struct host_profile host;
        assert_int_equal(host_profile_open(*name, &host, NULL), 0);
        for (int way = LINK_HOST_TO_CARD; way <= LINK_BOTH_WAYS; way++) {
            uint64_t before = 0;
            for (uint64_t bytes = 1; bytes < UINT64_C(1) << 36; bytes += bytes / 3 + 1) {
                uint64_t ps = link_copy_ps(&host, (enum link_direction)way, false, bytes);
                assert_true(ps >= before);
                before = ps;
            }
        }
        for (uint64_t n = 1; n < 100000; n += n / 3 + 1)
            assert_true(link_launches_ps(&host, n + 1) > link_launches_ps(&host, n));
    }
}

static void directions_are_occupied_apart(void **state)
{
    (void)state;
    struct link link = {{0, 0}};
    uint64_t begin, end;
    link_occupy(&link, &plain, LINK_HOST_TO_CARD, 1000, 1000000, &begin, &end);
    assert_true(begin == 1000 + 50000000 && end == begin + 105000000);
    uint64_t first_end = end;
    link_occupy(&link, &plain, LINK_HOST_TO_CARD, 2000, 1000000, &begin, &end); /* queued: no wait of its own */
    assert_true(begin == first_end && end == begin + 105000000);
    link_occupy(&link, &plain, LINK_CARD_TO_HOST, 2000, 1000000, &begin, &end); /* beside the other: both_ways */
    assert_true(begin == 2000 + 50000000 && end == begin + 56000000);
}

static void sums_that_do_not_fit_are_the_largest(void **state)
{
    (void)state;
    assert_true(link_copies_ps(&plain, LINK_HOST_TO_CARD, UINT64_C(1) << 50, UINT64_MAX) == UINT64_MAX);
    assert_true(link_launches_ps(&plain, UINT64_MAX) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_up_and_transfer_overlap),
        cmocka_unit_test(both_ways_share_the_sum),
        cmocka_unit_test(a_queue_waits_once),
        cmocka_unit_test(the_bridge_goes_by_pages_or_streams),
        cmocka_unit_test(longer_copies_never_take_less),
        cmocka_unit_test(directions_are_occupied_apart),
        cmocka_unit_test(sums_that_do_not_fit_are_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
