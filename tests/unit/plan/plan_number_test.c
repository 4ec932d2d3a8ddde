/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people read them: three digits that count, whatever the size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/plan/plan_number.h"

#include <math.h>

static void test_plain(void **state)
{
    (void)state;
    assert_string_equal(number_plain(0).text, "0");
    assert_string_equal(number_plain(0.0049).text, "0.0049");
    assert_string_equal(number_plain(0.3).text, "0.300");
    assert_string_equal(number_plain(1.2345).text, "1.23");
    assert_string_equal(number_plain(99.96).text, "100");
    assert_string_equal(number_plain(999.4).text, "999");
    assert_string_equal(number_plain(999.6).text, "1,000");
    assert_string_equal(number_plain(1234567).text, "1,234,567");
    assert_string_equal(number_plain(-1234).text, "-1,234");
    assert_string_equal(number_plain(INFINITY).text, "inf");
}

static void test_units(void **state)
{
    (void)state;
    assert_string_equal(number_bytes(0).text, "0 B");
    assert_string_equal(number_bytes(1536).text, "1.50 KiB");
    assert_string_equal(number_bytes(17179869184.0).text, "16.0 GiB");
    assert_string_equal(number_bytes(1024.0 * 1024 * 1024 * 1024 * 1024 * 9999).text, "9,999 PiB");
    assert_string_equal(number_rate(460e9).text, "460 GB/s");
    assert_string_equal(number_count(20.9e9).text, "20.9 B");
    assert_string_equal(number_percent(0.864).text, "86 %");
    assert_string_equal(number_percent(0.05).text, "5.0 %");
    assert_string_equal(number_percent(0).text, "0 %");
}

static void test_seconds(void **state)
{
    (void)state;
    assert_string_equal(number_seconds(83.1e-3).text, "83.1 ms");
    assert_string_equal(number_seconds(4.7e-6).text, "4.70 µs");
    assert_string_equal(number_seconds(1).text, "1.00 s");
    assert_string_equal(number_seconds(61.3).text, "61.3 s");
    assert_string_equal(number_seconds(125.5).text, "2 min 5 s");
    assert_string_equal(number_seconds(4 * 3600).text, "4.00 h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
