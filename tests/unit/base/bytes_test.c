/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/bytes.h"

#include <math.h>

static const uint8_t sample[] = {0xff, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x81};

static void loads_are_little_endian_at_any_address(void **state)
{
    (void)state;
    assert_int_equal(load_u16(sample + 1), 0xcdef);
    assert_int_equal(load_u32(sample + 1), 0x89abcdefu);
    assert_true(load_u64(sample + 1) == 0x8123456789abcdefull);
}

static void stores_are_their_inverse(void **state)
{
    (void)state;
    uint8_t bytes[10] = {0};
    store_u16(bytes + 1, 0xcdef);
    assert_memory_equal(bytes + 1, sample + 1, 2);
    assert_int_equal(bytes[3], 0);
    store_u32(bytes + 1, 0x89abcdefu);
    assert_memory_equal(bytes + 1, sample + 1, 4);
    assert_int_equal(bytes[5], 0);
    store_u64(bytes + 1, 0x8123456789abcdefull);
    assert_memory_equal(bytes + 1, sample + 1, 8);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(bytes[9], 0);
}

static void floats_keep_their_bits(void **state)
{
    (void)state;
    static const uint32_t bits[] = {0, 0x80000000u, 1, 0x3f800000u, 0x7f7fffffu, 0x7f800000u, 0xffc00001u};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        assert_int_equal(bits_of_float(float_of_bits(bits[i])), bits[i]);
        uint8_t bytes[4];
        store_u32(bytes, bits[i]);
        assert_int_equal(bits_of_float(load_f32(bytes)), bits[i]);
    }
    assert_true(float_of_bits(0x40490fdbu) > 3.14159f && float_of_bits(0x40490fdbu) < 3.1416f);
    assert_true(isnan(float_of_bits(0x7fc00000u)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_are_little_endian_at_any_address),
        cmocka_unit_test(stores_are_their_inverse),
        cmocka_unit_test(floats_keep_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
