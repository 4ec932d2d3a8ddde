/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/error.h"

#include <string.h>

static void set_fills_all_fields(void **state)
{
    (void)state;
    struct error err = {.code = 1, .detail = 2, .text = "old"};
    assert_int_equal(error_set(&err, ERROR_IO, "%s: %d", "why", 7), ERROR_IO);
    assert_int_equal(err.code, ERROR_IO);
    assert_int_equal(err.detail, 0);
    assert_string_equal(err.text, "why: 7");
}

static void nobody_needs_to_listen(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERROR_BUSY, "x"), ERROR_BUSY);
    assert_true(error_prefix(NULL, "x") < 0);
}

static void prefix_keeps_code_and_detail(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, ERROR_BAD_FILE, "inner");
    err.detail = 5;
    assert_int_equal(error_prefix(&err, "tensor %s", "a"), ERROR_BAD_FILE);
    assert_string_equal(err.text, "tensor a: inner");
    assert_int_equal(err.detail, 5);
}

static void long_texts_are_cut_and_terminated(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct error err;
    error_set(&err, ERROR_IO, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    error_prefix(&err, "before");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "before: xxx", 11);
    error_set(&err, ERROR_IO, "inner");
    error_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, ERROR_IO, "a\x1b[31m\nb\x7f \xc2\x9b \xc3\xa9");
    assert_string_equal(err.text, "a?[31m?b? ?? \xc3\xa9");
    error_prefix(&err, "%s", "x\r");
    assert_string_equal(err.text, "x?: a?[31m?b? ?? \xc3\xa9");
}

static void every_code_has_a_name(void **state)
{
    (void)state;
    static const int codes[] = {
#define CODE(name, value, text) name,
        ERROR_CODES(CODE)
#undef CODE
    };
    enum { COUNT = sizeof codes / sizeof codes[0] };
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(codes[i], -1 - i);
        assert_string_not_equal(error_name(codes[i]), "unknown error");
        for (int j = 0; j < i; j++) assert_string_not_equal(error_name(codes[i]), error_name(codes[j]));
    }
    assert_string_equal(error_name(ERROR_NONE), "no error");
    assert_string_equal(error_name(1), "unknown error");
    assert_string_equal(error_name(-1 - COUNT), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_all_fields),
        cmocka_unit_test(nobody_needs_to_listen),
        cmocka_unit_test(prefix_keeps_code_and_detail),
        cmocka_unit_test(long_texts_are_cut_and_terminated),
        cmocka_unit_test(control_characters_do_not_reach_a_terminal),
        cmocka_unit_test(every_code_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
