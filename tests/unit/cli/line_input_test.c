/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/line_input.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void put(int fd, const char *text) { assert_int_equal(write(fd, text, strlen(text)), strlen(text)); }

static void assert_line(struct line_input *input, const char *expected)
{
    struct text line = {0};
    struct error err = {0};
    assert_int_equal(line_input_next(input, &line, &err), LINE_READ);
    assert_int_equal(line.length, strlen(expected));
    assert_memory_equal(line.bytes, expected, line.length);
    text_free(&line);
}

static void assert_no_line(struct line_input *input, enum line_result expected)
{
    struct text line = {0};
    struct error err = {0};
    assert_int_equal(line_input_next(input, &line, &err), expected);
    assert_int_equal(expected == LINE_FAILED, err.code != 0);
    text_free(&line);
}

static void test_lines_of_a_pipe(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    struct line_input input = {.fd = ends[0], .interrupt_fd = -1};
    put(ends[1], "one\ntwo\r\n\nfo");
    assert_line(&input, "one");
    assert_line(&input, "two");
    assert_line(&input, "");
    put(ends[1], "ur\nthe last has no end");
    close(ends[1]);
    assert_line(&input, "four");
    assert_line(&input, "the last has no end");
    assert_no_line(&input, LINE_END);
    assert_no_line(&input, LINE_END);
    text_free(&input.buffer);
    close(ends[0]);
}

static void test_interrupt_and_errors(void **state)
{
    int ends[2];
    sigset_t set, old;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, &old), 0);
    struct line_input input = {.fd = ends[0], .interrupt_fd = signalfd(-1, &set, SFD_NONBLOCK)};
    assert_true(input.interrupt_fd >= 0);
    raise(SIGINT);
    assert_no_line(&input, LINE_INTERRUPTED);
    put(ends[1], "still here\n");
    assert_line(&input, "still here");
    close(input.interrupt_fd);
    sigprocmask(SIG_SETMASK, &old, NULL);

    struct line_input not_open = {.fd = ends[1], .interrupt_fd = -1}; /* the end that cannot be read */
    close(ends[0]);
    assert_no_line(&not_open, LINE_FAILED);
    close(ends[1]);
    struct line_input closed = {.fd = ends[1], .interrupt_fd = -1}; /* poll() calls that POLLNVAL */
    assert_no_line(&closed, LINE_FAILED);
    text_free(&input.buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_a_pipe),
        cmocka_unit_test(test_interrupt_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
