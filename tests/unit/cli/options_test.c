/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/options.h"

#include <stdio.h>
#include <unistd.h>

struct values {
    bool raw;
    const char *prompt;
    uint32_t count;
    uint64_t seed;
    float temperature;
    const char *operands[2];
    int n_operands;
};

static const struct command command = {.name = "test", .synopsis = "", .summary = "a command", .run = NULL};

/* Parses with stdout and stderr closed off, since messages are not what is tested here. */
static int parse(struct values *v, int argc, char **argv)
{
    const struct option table[] = {
        {"raw", 0, OPTION_FLAG, &v->raw, NULL, "a flag", 0, 0},
        {"prompt", 'p', OPTION_TEXT, &v->prompt, "TEXT", "a text", 0, 0},
        {"count", 'n', OPTION_U32, &v->count, "N", "a number", 1, 100},
        {"seed", 0, OPTION_U64, &v->seed, "N", "a long number", 0, 0},
        {"temperature", 0, OPTION_FLOAT, &v->temperature, "T", "a float", 0, 2},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    fflush(NULL);
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    int status = options_parse(&command, table, argc, argv, v->operands, 2, &v->n_operands);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    return status;
}

#define PARSE(v, ...)                                                                                                  \
    parse(v, (int)(sizeof((char *[]){"test", __VA_ARGS__}) / sizeof(char *)), (char *[]){"test", __VA_ARGS__})

static void every_kind_in_any_order(void **state)
{
    (void)state;
    struct values v = {.count = 7};
    assert_int_equal(
        PARSE(&v, "one", "--raw", "-p", "hello", "--seed=18446744073709551615", "two", "--temperature", "0.5"), -1);
    assert_true(v.raw);
    assert_string_equal(v.prompt, "hello");
    assert_int_equal(v.count, 7);
    assert_true(v.seed == UINT64_MAX);
    assert_true(v.temperature == 0.5f);
    assert_int_equal(v.n_operands, 2);
    assert_string_equal(v.operands[1], "two");
}

static void letter_with_value_attached(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, "-n42"), -1);
    assert_int_equal(v.count, 42);
}

static void two_dashes_end_options(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, "--", "--raw"), -1);
    assert_false(v.raw);
    assert_string_equal(v.operands[0], "--raw");
}

static void help_ends_with_done(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, "--help"), EXIT_DONE);
}

static void wrong_usage_is_refused(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(PARSE(&v, "--nonsense"), EXIT_USAGE);
    assert_int_equal(PARSE(&v, "--ra"), EXIT_USAGE); /* no abbreviations: they break when options are added */
    assert_int_equal(PARSE(&v, "--count"), EXIT_USAGE);
    assert_int_equal(PARSE(&v, "--raw=1"), EXIT_USAGE);
    assert_int_equal(PARSE(&v, "a", "b", "c"), EXIT_USAGE);
}

static void wrong_numbers_are_refused(void **state)
{
    (void)state;
    struct values v = {0};
    char *bad[] = {"0", "101", "-1", "+1", " 1", "1x", "", "4294967296", "99999999999999999999"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(PARSE(&v, "--count", bad[i]), EXIT_USAGE);
    char *bad_floats[] = {"nan", "inf", "2.1", "-0.1", "x", "1e99"};
    for (unsigned i = 0; i < sizeof bad_floats / sizeof bad_floats[0]; i++)
        assert_int_equal(PARSE(&v, "--temperature", bad_floats[i]), EXIT_USAGE);
    assert_int_equal(v.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_in_any_order), cmocka_unit_test(letter_with_value_attached),
        cmocka_unit_test(two_dashes_end_options),  cmocka_unit_test(help_ends_with_done),
        cmocka_unit_test(wrong_usage_is_refused),  cmocka_unit_test(wrong_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
