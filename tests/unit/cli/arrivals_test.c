/* SPDX-License-Identifier: Apache-2.0 */
/* The file of bench --arrivals: what it may say, and what it is told where it says something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/arrivals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_bytes(const char *bytes, size_t length, struct arrivals *arrivals, struct error *err)
{
    char path[] = "/tmp/sluice-arrivals-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    close(fd);
    const int status = arrivals_read(path, arrivals, err);
    unlink(path);
    return status;
}

static void assert_arrival(const struct arrival *arrival, uint64_t at_ps, uint32_t prompt, uint32_t output, size_t line)
{
    assert_int_equal(arrival->at_ps, at_ps);
    assert_int_equal(arrival->prompt_tokens, prompt);
    assert_int_equal(arrival->output_tokens, output);
    assert_int_equal(arrival->line, line);
}

static void test_both_forms(void **state)
{
    (void)state;
    static const char text[] = "# measured on a Monday\n"
                               "at_ms,prompt_tokens,output_tokens\r\n"
                               "0,512,64\r\n"
                               "\n"
                               "  12.5 , 1 , 2  \n"
                               "{\"output_tokens\": 3, \"at_ms\": 12.500000001, \"prompt_tokens\": 4194304}\n"
                               "1e9,7,4194304";
    struct arrivals arrivals;
    struct error err = {0};
    if (read_bytes(text, strlen(text), &arrivals, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(arrivals.count, 4);
    assert_arrival(&arrivals.list[0], 0, 512, 64, 3);
    assert_arrival(&arrivals.list[1], 12500000000, 1, 2, 5);
    assert_arrival(&arrivals.list[2], 12500000001, 4194304, 3, 6);
    assert_arrival(&arrivals.list[3], 1000000000000000000, 7, 4194304, 7);
    arrivals_free(&arrivals);
}

/* Each after a good line, so that it is line 2. */
static void test_a_broken_line_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
    } broken[] = {
        {"1,2", "12.5,512,64 expected"},
        {"1,2,3,4", "12.5,512,64 expected"},
        {"one,2,3", "12.5,512,64 expected"},
        {"1;2;3", "12.5,512,64 expected"},
        {"1,2,3]", "12.5,512,64 expected"},
        {"1,2,[3", "12.5,512,64 expected"},
        {"-1,2,3", "at_ms: a number from 0 to 1e+09 expected"},
        {"1000000001,2,3", "at_ms: a number from 0 to 1e+09 expected"},
        {"\"1\",2,3", "at_ms: a number from 0 to 1e+09 expected"},
        {"1e999,2,3", "expected"},
        {"1,0,3", "prompt_tokens: an integer from 1 to 4194304 expected"},
        {"1,2.5,3", "prompt_tokens: an integer from 1 to 4194304 expected"},
        {"1,-2,3", "prompt_tokens: an integer from 1 to 4194304 expected"},
        {"1,4194305,3", "prompt_tokens: an integer from 1 to 4194304 expected"},
        {"1,99999999999999999999,3", "expected"},
        {"1,2,0", "output_tokens: an integer from 1 to 4194304 expected"},
        {"1,2,null", "output_tokens: an integer from 1 to 4194304 expected"},
        {"{\"at_ms\": 1, \"prompt_tokens\": 2}", "output_tokens"},
        {"{\"at_ms\": 1, \"prompt_tokens\": 2, \"output_tokens\": 3, \"seed\": 4}", "seed"},
        {"{\"at_ms\": 1, \"at_ms\": 1, \"prompt_tokens\": 2, \"output_tokens\": 3}", "duplicate"},
        {"{\"at_ms\": 1, \"prompt_tokens\": \"2\", \"output_tokens\": 3}", "prompt_tokens: an integer"},
        {"{\"at_ms\": 1, \"prompt_tokens\": 2, \"output_tokens\": 3", "{\"at_ms\": 12.5, \"prompt_tokens\": 512"},
        {"{}", "at_ms"},
        {"0.5,2,3", "at_ms is less than in line 1: arrivals in order of time expected"},
        {"\xff\xfe", "12.5,512,64 expected"},
        {"1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
         "1"
         "1111111111111111111111,2,3",
         "12.5,512,64 expected"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char text[512];
        struct arrivals arrivals;
        struct error err = {0};
        snprintf(text, sizeof text, "1,2,3\n%s\n4,5,6\n", broken[i].line);
        assert_int_equal(read_bytes(text, strlen(text), &arrivals, &err), ERROR_BAD_FILE);
        if (!strstr(err.text, ": line 2: ") || !strstr(err.text, broken[i].words))
            fail_msg("%s: \"%s\"", broken[i].line, err.text);
        arrivals_free(&arrivals);
    }
}

static void test_a_zero_byte_ends_nothing(void **state)
{
    (void)state;
    struct arrivals arrivals;
    struct error err = {0};
    assert_int_equal(read_bytes("1,2,3\0,4\n", 9, &arrivals, &err), ERROR_BAD_FILE);
    arrivals_free(&arrivals);
    assert_int_equal(read_bytes("1,2,3\0\n", 7, &arrivals, &err), ERROR_BAD_FILE);
    arrivals_free(&arrivals);
}

static void test_nothing_to_serve(void **state)
{
    (void)state;
    struct arrivals arrivals;
    struct error err = {0};
    assert_int_equal(read_bytes("# none\n\n", 8, &arrivals, &err), ERROR_BAD_FILE);
    assert_non_null(strstr(err.text, "no arrivals in it"));
    assert_int_equal(arrivals_read("/nonexistent/arrivals", &arrivals, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "/nonexistent/arrivals"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms),
        cmocka_unit_test(test_a_broken_line_is_named),
        cmocka_unit_test(test_a_zero_byte_ends_nothing),
        cmocka_unit_test(test_nothing_to_serve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
