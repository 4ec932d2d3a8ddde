/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cli/call_for_test.h"

#include <math.h>

static double value_of(const char *name)
{
    json_t *line = json_loads(out.bytes, 0, NULL);
    assert_non_null(line);
    double value = json_number_value(json_object_get(line, name));
    json_decref(line);
    return value;
}

static void an_answer_is_one_object(void **state)
{
    (void)state;
    assert_int_equal(call(&command_probe, "", "--card", "u280", "--kind", "hbm", "--channels", "32", NULL), EXIT_DONE);
    assert_true(value_of("gb_per_s") > 415 && value_of("gb_per_s") < 430);
    assert_int_equal(call(&command_probe, "", "--card", "u200", "--kind", "dma", "--bytes", "64", NULL), EXIT_DONE);
    assert_true(fabs(value_of("gb_per_s") * value_of("us") * 1e3 - 64) < 1e-6);
    assert_int_equal(call(&command_probe, "", "--card", "u250", "--kind", "launch", "--depth", "10", NULL), EXIT_DONE);
    assert_true(fabs(value_of("us") - 119) < 1e-6 && fabs(value_of("launches_per_s") - 84033.6) < 1);
    assert_int_equal(call(&command_probe, "", "--card", "u250", "--kind", "bridge", "--json", NULL), EXIT_DONE);
}

static void runs_timed_by_the_host_have_launches_in_them(void **state)
{
    (void)state;
    assert_int_equal(call(&command_probe, "", "--card", "u50", "--kind", "hbm", "--bytes", "4194304", NULL), EXIT_DONE);
    double kernel = value_of("us");
    assert_int_equal(
        call(&command_probe, "", "--card", "u50", "--kind", "hbm", "--bytes", "4194304", "--depth", "1", NULL),
        EXIT_DONE);
    assert_true(fabs(value_of("us") - kernel - 90.2) < 1e-6);
}

/* Wrong usage is 2 and says what is expected. */
static void bad_values_are_wrong_usage(void **state)
{
    (void)state;
    static const struct {
        const char *words[7], *says;
    } wrong[] = {
        {{"--kind", "hbm"}, "--card is missing"},
        {{"--card", "u280"}, "--kind is missing"},
        {{"--card", "u281", "--kind", "hbm"}, "u280"},
        {{"--card", "u280", "--kind", "nvme"}, "hbm, ddr, dma, launch or bridge"},
        {{"--card", "u250", "--kind", "hbm"}, "u250 has none"},
        {{"--card", "u50", "--kind", "hbm", "--channels", "33"}, "u50 has 32"},
        {{"--card", "u50", "--kind", "hbm", "--channels", "0"}, "from 1 to 64"},
        {{"--card", "u50", "--kind", "hbm", "--bytes", "0"}, "whole number"},
        {{"--card", "u50", "--kind", "hbm", "--bytes", "-5"}, "whole number"},
        {{"--card", "u50", "--kind", "hbm", "--burst", "257"}, "from 1 to 256"},
        {{"--card", "u50", "--kind", "hbm", "--width", "96"}, "32, 64, 128, 256, 512 or 1024"},
        {{"--card", "u50", "--kind", "hbm", "--direction", "h2c"}, "says nothing about --kind hbm"},
        {{"--card", "u50", "--kind", "dma", "--direction", "up"}, "h2c, c2h or both"},
        {{"--card", "u50", "--kind", "dma", "--burst", "4"}, "says nothing about --kind dma"},
        {{"--card", "u50", "--kind", "launch", "--depth", "0"}, "a launch at least"},
        {{"--card", "u50", "--host", "gen9", "--kind", "dma"}, "gen4x8"},
        {{"--card", "u200", "--kind", "bridge"}, "no host-memory bridge"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *const *w = wrong[i].words;
        assert_int_equal(call(&command_probe, "", w[0], w[1], w[2], w[3], w[4], w[5], w[6], NULL), EXIT_USAGE);
        assert_says(wrong[i].says);
        assert_int_equal(out.length, 0);
    }
    assert_int_equal(call(&command_probe, "", "--card", "u50", "--kind", "dma", "--bytes", "1125899906842624",
                          "--depth", "1000000000", NULL),
                     EXIT_USAGE);
    assert_says("more than can be counted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_one_object),
        cmocka_unit_test(runs_timed_by_the_host_have_launches_in_them),
        cmocka_unit_test(bad_values_are_wrong_usage),
    };
    return cmocka_run_group_tests(tests, NULL, free_texts);
}
