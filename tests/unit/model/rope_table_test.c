/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/bytes.h"
#include "host/model/model_internal.h"

#include <math.h>

/* Against long double: the nearest float32 for every frequency of every usual base and head. */
static void power_is_the_nearest_float(void **state)
{
    (void)state;
    const float bases[] = {1e4f, 1e5f, 5e5f, 1e6f, 1e7f, 5e6f, 8e6f, 1.5e8f, 2.0f, 1.0f, 0.5f, 3.0f};
    const uint32_t dims[] = {2, 16, 20, 32, 64, 80, 96, 128, 192, 256, 512};
    unsigned n_checked = 0;
    for (unsigned b = 0; b < sizeof bases / sizeof bases[0]; b++) {
        for (unsigned d = 0; d < sizeof dims / sizeof dims[0]; d++) {
            for (uint32_t i = 0; i < dims[d] / 2; i++, n_checked++) {
                float exponent = (float)(2 * i) / (float)dims[d];
                float nearest = (float)powl((long double)bases[b], (long double)exponent);
                assert_int_equal(bits_of_float(rope_power(bases[b], exponent)), bits_of_float(nearest));
            }
        }
    }
    assert_true(n_checked > 5000);
}

static void ends_of_the_range(void **state)
{
    (void)state;
    assert_true(rope_power(10000.0f, 0.0f) == 1.0f);
    assert_true(rope_power(10000.0f, 0.5f) == 100.0f);
    assert_true(rope_power(0x1p100f, 1.0f) == 0x1p100f);
    assert_true(rope_power(0x1p-149f, 1.0f) == 0x1p-149f);
    assert_true(isinf(rope_power(0x1p127f, 2.0f)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_is_the_nearest_float),
        cmocka_unit_test(ends_of_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
