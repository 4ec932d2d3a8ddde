/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for cmocka where its library is not to be had (tests/aarch64): the part of its interface that the unit
 * tests of sim and card use, with cmocka's meaning. Each program includes it once.
 */
#ifndef SLUICE_TEST_AARCH64_CMOCKA_H
#define SLUICE_TEST_AARCH64_CMOCKA_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef void cmocka_test(void **state);
typedef int cmocka_fixture(void **state);
struct CMUnitTest {
    const char *name;
    cmocka_test *test;
    cmocka_fixture *setup, *teardown;
    void *initial_state;
};
enum cmocka_end { CMOCKA_PASSED, CMOCKA_FAILED, CMOCKA_SKIPPED };
static jmp_buf cmocka_back; /* to the runner; tests have one thread that asserts */

static inline _Noreturn void cmocka_leave(enum cmocka_end how) { longjmp(cmocka_back, how); }

__attribute__((format(printf, 3, 4))) static inline _Noreturn void cmocka_fail(const char *file, int line,
                                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    cmocka_leave(CMOCKA_FAILED);
}

static inline void cmocka_same_bytes(const void *a, const void *b, size_t n, int wanted, const char *file, int line)
{
    const unsigned char *x = a, *y = b;
    size_t i = 0;
    while (i < n && x[i] == y[i]) i++;
    if ((i == n) != wanted) cmocka_fail(file, line, "bytes: the first difference is at %zu of %zu", i, n);
}

static inline void cmocka_same_text(const char *a, const char *b, int wanted, const char *file, int line)
{
    if ((strcmp(a, b) == 0) != wanted) cmocka_fail(file, line, "\"%s\" and \"%s\"", a, b);
}

static inline void cmocka_same_int(uintmax_t a, uintmax_t b, int wanted, const char *file, int line)
{
    if ((a == b) != wanted) cmocka_fail(file, line, "0x%" PRIxMAX " and 0x%" PRIxMAX, a, b);
}

#define fail() cmocka_fail(__FILE__, __LINE__, "failed")
#define fail_msg(...) cmocka_fail(__FILE__, __LINE__, __VA_ARGS__)
#define skip() cmocka_leave(CMOCKA_SKIPPED)
#define print_message(...) printf(__VA_ARGS__)
#define assert_true(c) ((c) ? (void)0 : cmocka_fail(__FILE__, __LINE__, "%s", #c))
#define assert_false(c) assert_true(!(c))
#define assert_null(p) assert_true((p) == NULL)
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b) cmocka_same_int((uintmax_t)(a), (uintmax_t)(b), 1, __FILE__, __LINE__)
#define assert_int_not_equal(a, b) cmocka_same_int((uintmax_t)(a), (uintmax_t)(b), 0, __FILE__, __LINE__)
#define assert_in_range(x, low, high)                                                                                  \
    assert_true((uintmax_t)(x) - (uintmax_t)(low) <= (uintmax_t)(high) - (uintmax_t)(low))
#define assert_string_equal(a, b) cmocka_same_text(a, b, 1, __FILE__, __LINE__)
#define assert_string_not_equal(a, b) cmocka_same_text(a, b, 0, __FILE__, __LINE__)
#define assert_memory_equal(a, b, n) cmocka_same_bytes(a, b, n, 1, __FILE__, __LINE__)
#define assert_memory_not_equal(a, b, n) cmocka_same_bytes(a, b, n, 0, __FILE__, __LINE__)

#define cmocka_unit_test(f) cmocka_unit_test_setup_teardown(f, NULL, NULL)
#define cmocka_unit_test_setup_teardown(f, up, down)                                                                   \
    {                                                                                                                  \
#f, f, up, down, NULL                                                                                          \
    }
#define cmocka_run_group_tests(tests, up, down) cmocka_run(tests, sizeof(tests) / sizeof *(tests), up, down)
#define cmocka_run_group_tests_name(name, tests, up, down) cmocka_run_group_tests(tests, up, down)

/* Runs a fixture, which may be NULL; false if it fails. */
static inline int cmocka_fixture_passes(cmocka_fixture *fixture, void **state)
{
    return !fixture || (setjmp(cmocka_back) == CMOCKA_PASSED && fixture(state) == 0);
}

static inline enum cmocka_end cmocka_run_one(const struct CMUnitTest *test, void *shared)
{
    void *state = test->initial_state ? test->initial_state : shared;
    if (!cmocka_fixture_passes(test->setup, &state)) return CMOCKA_FAILED;
    volatile enum cmocka_end end = (enum cmocka_end)setjmp(cmocka_back);
    if (end == CMOCKA_PASSED) test->test(&state);
    return cmocka_fixture_passes(test->teardown, &state) ? end : CMOCKA_FAILED;
}

/* The number of tests that failed. */
static inline int cmocka_run(const struct CMUnitTest *tests, size_t n, cmocka_fixture *setup, cmocka_fixture *teardown)
{
    static const char *const words[] = {"OK", "FAILED", "SKIPPED"};
    unsigned count[3] = {0};
    void *state = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cmocka_fixture_passes(setup, &state)) return 1;
    for (size_t i = 0; i < n; i++) {
        const enum cmocka_end end = cmocka_run_one(&tests[i], state);
        count[end]++;
        printf("[ %s ] %s\n", words[end], tests[i].name);
    }
    if (!cmocka_fixture_passes(teardown, &state)) count[CMOCKA_FAILED]++;
    printf("tests: %u ok, %u failed, %u skipped\n", count[CMOCKA_PASSED], count[CMOCKA_FAILED], count[CMOCKA_SKIPPED]);
    return (int)count[CMOCKA_FAILED];
}

#endif
