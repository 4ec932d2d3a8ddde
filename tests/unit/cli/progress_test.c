/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar: on a terminal, after a second, and gone when the load is done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/progress.h"

#include <pty.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LONG_AGO 5.0 /* seconds; longer than anybody waits without a bar */

/* stderr is what the caller gave as `to` until restore. */
static int redirect(int to)
{
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && dup2(to, STDERR_FILENO) >= 0);
    return kept;
}

static void restore(int kept)
{
    dup2(kept, STDERR_FILENO);
    close(kept);
}

/* Until nobody can write any more: a terminal says so by an error. */
static void read_all(int from, char *text, size_t size)
{
    size_t length = 0;
    for (ssize_t n = 1; n > 0; length += n > 0 ? (size_t)n : 0) n = read(from, text + length, size - 1 - length);
    text[length] = '\0';
}

/* What a load of 100 bytes that began seconds ago writes to a terminal, or to a pipe. */
static void load(bool terminal, bool quiet, double seconds, bool end, char text[2000])
{
    struct progress progress;
    int ends[2];
    if (terminal)
        assert_int_equal(openpty(&ends[0], &ends[1], NULL, NULL, NULL), 0);
    else
        assert_int_equal(pipe(ends), 0);
    int kept = redirect(ends[1]);
    progress_start(&progress, "a-model", quiet);
    progress.started_at -= seconds;
    int stop = progress_update(&progress, 30, 100) | progress_update(&progress, 30, 100);
    stop |= progress_update(&progress, 75, 100);
    if (end) progress_end(&progress);
    restore(kept);
    close(ends[1]);
    read_all(ends[0], text, 2000);
    close(ends[0]);
    assert_int_equal(stop, 0);
}

static void test_a_long_load_shows_a_bar(void **state)
{
    (void)state;
    char text[2000];
    load(true, false, LONG_AGO, false, text);
    const char *bar = "\ra-model [############............................]  30%", *first = strstr(text, bar);
    assert_non_null(first);
    assert_null(strstr(first + strlen(bar), " 30%")); /* nothing is drawn twice */
    assert_non_null(strstr(text, "\ra-model [##############################..........]  75%"));
    load(true, false, LONG_AGO, true, text);
    assert_string_equal(text + strlen(text) - strlen("\r\033[K"), "\r\033[K");
}

static void test_a_short_load_shows_none(void **state)
{
    (void)state;
    char text[2000];
    load(true, false, -LONG_AGO, true, text); /* has not begun yet: however slow the machine, no second has passed */
    assert_string_equal(text, "");
}

static void test_no_bar_where_nobody_looks(void **state)
{
    (void)state;
    char text[2000];
    load(false, false, LONG_AGO, true, text);
    assert_string_equal(text, "");
    load(true, true, LONG_AGO, true, text);
    assert_string_equal(text, "");
}

static void test_an_interrupt_stops_the_load(void **state)
{
    (void)state;
    struct progress progress;
    sigset_t set, before;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, &before), 0);
    progress_start(&progress, "a-model", true);
    assert_int_equal(progress_update(&progress, 1, 100), 0);
    assert_int_equal(raise(SIGINT), 0);
    assert_int_equal(progress_update(&progress, 2, 100), 1);
    assert_int_equal(sigwait(&set, &number), 0);
    assert_int_equal(progress_update(&progress, 3, 100), 0);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_long_load_shows_a_bar),
        cmocka_unit_test(test_a_short_load_shows_none),
        cmocka_unit_test(test_no_bar_where_nobody_looks),
        cmocka_unit_test(test_an_interrupt_stops_the_load),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
