/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/memory.h"

#include <string.h>

/* Hidden from the compiler, which would warn about the sizes that these tests are about. */
static size_t hidden(size_t value)
{
    volatile size_t copy = value;
    return copy;
}

static void ranges(void **state)
{
    (void)state;
    assert_true(range_fits(0, 0, 0));
    assert_true(range_fits(10, 0, 10));
    assert_true(range_fits(3, 7, 10));
    assert_false(range_fits(3, 8, 10));
    assert_false(range_fits(11, 0, 10));
    assert_false(range_fits(UINT64_MAX, 2, 10)); /* the sum wraps to 1 */
    assert_false(range_fits(2, UINT64_MAX, 10));
    assert_true(range_fits(UINT64_MAX, 0, UINT64_MAX));
}

static void arrays_are_zero(void **state)
{
    (void)state;
    uint8_t *block = memory_array(100, 3);
    assert_non_null(block);
    for (int i = 0; i < 300; i++) assert_int_equal(block[i], 0);
    free(block);
    block = memory_array(0, 8); /* no elements is not an error */
    assert_non_null(block);
    free(block);
}

static void products_that_overflow_are_refused(void **state)
{
    (void)state;
    assert_null(memory_array(hidden(SIZE_MAX / 2 + 1), 2));
    assert_null(memory_array(hidden((size_t)1 << 33), hidden((size_t)1 << 33)));
    assert_null(memory_grow(NULL, hidden(SIZE_MAX / 2 + 1), 2));
}

static void a_refused_growth_keeps_the_block(void **state)
{
    (void)state;
    char *block = memory_grow(NULL, 4, 1);
    assert_non_null(block);
    memcpy(block, "abc", 4);
    assert_null(memory_grow(block, hidden(SIZE_MAX), 2));
    assert_string_equal(block, "abc");
    char *larger = memory_grow(block, 1000, 8);
    assert_non_null(larger);
    assert_string_equal(larger, "abc");
    larger = memory_grow(larger, 0, 8);
    assert_non_null(larger);
    free(larger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(arrays_are_zero),
        cmocka_unit_test(products_that_overflow_are_refused),
        cmocka_unit_test(a_refused_growth_keeps_the_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
