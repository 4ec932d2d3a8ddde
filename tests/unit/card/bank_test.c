/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/error.h"
#include "host/card/card_bank.h"
#include "tests/unit/card/card_fixture.h"

#define PAGES 64u
#define BANK_BYTES (CARD_ALIGNMENT * (uint64_t)PAGES)

static void first_fit_takes_the_lowest_gap(void **state)
{
    (void)state;
    struct bank_allocator bank;
    uint64_t a, b, c, d;
    bank_init(&bank, BANK_BYTES);
    assert_int_equal(bank_take(&bank, 1, &a), 0);
    assert_int_equal(bank_take(&bank, CARD_ALIGNMENT + 1, &b), 0);
    assert_int_equal(bank_take(&bank, CARD_ALIGNMENT, &c), 0);
    assert_int_equal(a, CARD_ALIGNMENT); /* offset 0 is none */
    assert_int_equal(b, 2 * CARD_ALIGNMENT);
    assert_int_equal(c, 4 * CARD_ALIGNMENT);
    assert_int_equal(bank_give(&bank, b), CARD_ALIGNMENT + 1);
    assert_int_equal(bank_take(&bank, 3 * CARD_ALIGNMENT, &d), 0); /* the gap is too small */
    assert_int_equal(d, 5 * CARD_ALIGNMENT);
    assert_int_equal(bank_take(&bank, 5, &d), 0);
    assert_int_equal(d, b);
    assert_true(bank_validate(&bank));
    bank_clear(&bank);
    assert_true(bank_validate(&bank));
}

static void extent_counts_the_bytes_that_were_asked_for(void **state)
{
    (void)state;
    struct bank_allocator bank;
    uint64_t a;
    bank_init(&bank, BANK_BYTES);
    assert_int_equal(bank_take(&bank, 100, &a), 0);
    assert_int_equal(bank_extent(&bank, a), 100);
    assert_int_equal(bank_extent(&bank, a + 99), 1);
    assert_int_equal(bank_extent(&bank, a + 100), 0);
    assert_int_equal(bank_extent(&bank, a - 1), 0);
    assert_int_equal(bank_extent(&bank, UINT64_MAX), 0);
    assert_int_equal(bank_give(&bank, a + 1), 0);
    assert_int_equal(bank_give(&bank, a), 100);
    assert_int_equal(bank_give(&bank, a), 0);
    assert_int_equal(bank_extent(&bank, a), 0);
    bank_clear(&bank);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct bank_allocator bank;
    uint64_t a;
    bank_init(&bank, BANK_BYTES);
    assert_int_equal(bank_take(&bank, BANK_BYTES, &a), ERROR_NO_MEMORY);
    assert_int_equal(bank_take(&bank, UINT64_MAX, &a), ERROR_NO_MEMORY);
    assert_int_equal(bank_take(&bank, UINT64_MAX - CARD_ALIGNMENT / 2, &a), ERROR_NO_MEMORY);
    assert_int_equal(bank_take(&bank, 0, &a), ERROR_NO_MEMORY);
    assert_int_equal(bank_take(&bank, BANK_BYTES - CARD_ALIGNMENT, &a), 0);
    assert_int_equal(bank_take(&bank, 1, &a), ERROR_NO_MEMORY);
    assert_true(bank_validate(&bank));
    bank_clear(&bank);
}

/* Random takes and gives against a map of pages; the invariants hold after each step. */
static void random_use_keeps_the_invariants(void **state)
{
    (void)state;
    struct test_random random = {.state = 99};
    struct bank_allocator bank;
    uint64_t live[PAGES];
    uint32_t n = 0;
    uint8_t owner[PAGES] = {1}; /* page 0 is never handed out */
    bank_init(&bank, BANK_BYTES);
    for (int step = 0; step < 20000; step++) {
        if (n > 0 && random_below(&random, 2)) {
            const uint32_t i = random_below(&random, n);
            const uint64_t bytes = bank_give(&bank, live[i]);
            assert_true(bytes > 0);
            memset(owner + live[i] / CARD_ALIGNMENT, 0, (bytes + CARD_ALIGNMENT - 1) / CARD_ALIGNMENT);
            live[i] = live[--n];
        } else {
            const uint64_t bytes = 1 + random_below(&random, 9 * CARD_ALIGNMENT);
            const uint32_t pages = (uint32_t)((bytes + CARD_ALIGNMENT - 1) / CARD_ALIGNMENT);
            uint64_t offset = 0;
            uint32_t run = 0, first = 0;
            for (uint32_t p = 0; p < PAGES && run < pages; p++) {
                run = owner[p] ? 0 : run + 1;
                first = p + 1 - run;
            }
            const int fits = run == pages;
            assert_int_equal(bank_take(&bank, bytes, &offset), fits ? 0 : ERROR_NO_MEMORY);
            if (fits) {
                assert_int_equal(offset, first * (uint64_t)CARD_ALIGNMENT);
                memset(owner + first, 1, pages);
                live[n++] = offset;
            }
        }
        assert_true(bank_validate(&bank));
    }
    bank_clear(&bank);
}

static void gaps_are_found_from_an_offset_on(void **state)
{
    (void)state;
    struct bank_allocator bank;
    uint64_t a, b, c;
    bank_init(&bank, BANK_BYTES);
    assert_int_equal(bank_find(&bank, 1, 0), CARD_ALIGNMENT);
    assert_int_equal(bank_take(&bank, 2 * CARD_ALIGNMENT, &a), 0);
    assert_int_equal(bank_take(&bank, 2 * CARD_ALIGNMENT, &b), 0);
    assert_int_equal(bank_take(&bank, 1, &c), 0);
    assert_int_equal(bank_give(&bank, b), 2 * CARD_ALIGNMENT); /* pages 3 and 4 are free, and those from 6 on */
    assert_int_equal(bank_find(&bank, 2 * CARD_ALIGNMENT, 0), 3 * CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, 2 * CARD_ALIGNMENT, 3 * CARD_ALIGNMENT), 3 * CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, 2 * CARD_ALIGNMENT, 3 * CARD_ALIGNMENT + 1), 6 * CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, 1, 3 * CARD_ALIGNMENT + 1), 4 * CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, 1, 5 * CARD_ALIGNMENT), 6 * CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, 1, 9 * CARD_ALIGNMENT), 9 * CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, 2, BANK_BYTES - CARD_ALIGNMENT), BANK_BYTES - CARD_ALIGNMENT);
    assert_int_equal(bank_find(&bank, CARD_ALIGNMENT + 1, BANK_BYTES - CARD_ALIGNMENT), 0);
    assert_int_equal(bank_find(&bank, 1, BANK_BYTES), 0);
    assert_int_equal(bank_take_at(&bank, CARD_ALIGNMENT, 4 * CARD_ALIGNMENT), 0);
    assert_true(bank_validate(&bank));
    assert_int_equal(bank_find(&bank, CARD_ALIGNMENT, 0), 3 * CARD_ALIGNMENT);
    assert_int_equal(bank_give(&bank, 4 * CARD_ALIGNMENT), CARD_ALIGNMENT);
    bank_clear(&bank);
}

/* The checker sees what it is there for. */
static void validate_sees_damage(void **state)
{
    (void)state;
    struct bank_allocator bank;
    uint64_t a, b;
    bank_init(&bank, BANK_BYTES);
    assert_int_equal(bank_take(&bank, CARD_ALIGNMENT, &a), 0);
    assert_int_equal(bank_take(&bank, CARD_ALIGNMENT, &b), 0);
    bank.range[1].offset = bank.range[0].offset;
    assert_false(bank_validate(&bank));
    bank.range[1].offset = b + 1;
    assert_false(bank_validate(&bank));
    bank.range[1].offset = BANK_BYTES;
    assert_false(bank_validate(&bank));
    bank.range[1].offset = b;
    bank.taken++;
    assert_false(bank_validate(&bank));
    bank_clear(&bank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_fit_takes_the_lowest_gap),
        cmocka_unit_test(extent_counts_the_bytes_that_were_asked_for),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(random_use_keeps_the_invariants),
        cmocka_unit_test(gaps_are_found_from_an_offset_on),
        cmocka_unit_test(validate_sees_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
