/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON array that is whole at every moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/json_stream.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BEGIN "{\"kind\": \"of a test\", \"list\": ["
#define END "]}\n"

static char folder[] = "/tmp/sluice-stream-XXXXXX", path[64];
static struct json_stream stream;

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/out.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void begin_stream(void)
{
    struct error err = {0};
    if (json_stream_open(path, BEGIN, END, &stream, &err) < 0 || json_stream_begin(&stream, &err) < 0)
        fail_msg("%s", err.text);
}

/* Elements of up to 1000 bytes, of which number i has i in it. */
static void add(unsigned i)
{
    char element[1100];
    const int n = snprintf(element, sizeof element, "[%u,\"%*s\"]", i, 1 + (int)(i * 37 % 1000), "");
    json_stream_add(&stream, element, (size_t)n);
}

/* The file parses, and holds the elements 0, 1, 2, ... in order; how many. */
static size_t count(void)
{
    json_error_t why;
    json_t *whole = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!whole) fail_msg("%s at byte %d", why.text, why.position);
    const json_t *list = json_object_get(whole, "list");
    const size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) assert_int_equal(json_integer_value(json_array_get(json_array_get(list, i), 0)), i);
    json_decref(whole);
    return n;
}

static void test_whole_at_every_moment(void **state)
{
    (void)state;
    struct error err = {0};
    begin_stream();
    assert_int_equal(count(), 0);
    size_t seen = 0;
    for (unsigned i = 0; i < 1000; i++) {
        add(i);
        const size_t n = count();
        assert_true(n >= seen && n <= i + 1 && n + 200 > i); /* at most a block is not there yet */
        seen = n;
    }
    assert_true(seen > 0);
    assert_int_equal(json_stream_close(&stream, &err), 0);
    assert_int_equal(count(), 1000);
}

/* A shorter one over a longer one leaves nothing of it behind. */
static void test_written_over(void **state)
{
    (void)state;
    struct error err = {0};
    begin_stream();
    add(0);
    assert_int_equal(json_stream_close(&stream, &err), 0);
    assert_int_equal(count(), 1);
}

static void test_a_file_named_by_mistake_stays(void **state)
{
    (void)state;
    struct error err = {0};
    char text[32] = {0};
    FILE *file = fopen(path, "w");
    fputs("GGUF and much more", file);
    fclose(file);
    assert_int_equal(json_stream_open(path, BEGIN, END, &stream, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "something else"));
    file = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, file));
    assert_string_equal(text, "GGUF and much more");
    fclose(file);
    unlink(path);
}

/* Whoever opens and never begins has changed nothing, not even that there is no file. */
static void test_never_begun(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(json_stream_open(path, BEGIN, END, &stream, &err), 0);
    assert_int_equal(json_stream_close(&stream, &err), 0);
    assert_int_equal(access(path, F_OK), -1);
    begin_stream();
    add(0);
    assert_int_equal(json_stream_close(&stream, &err), 0);
    assert_int_equal(json_stream_open(path, BEGIN, END, &stream, &err), 0);
    assert_int_equal(json_stream_close(&stream, &err), 0);
    assert_int_equal(count(), 1);
}

static void test_unwritable(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(json_stream_open("/nonexistent/out.json", BEGIN, END, &stream, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "cannot write /nonexistent/out.json"));
    assert_int_equal(json_stream_open(folder, BEGIN, END, &stream, &err), ERROR_IO);
    assert_int_equal(json_stream_open("/dev/full", BEGIN, END, &stream, &err), 0);
    assert_int_equal(json_stream_begin(&stream, &err), ERROR_IO);
    assert_int_equal(json_stream_close(&stream, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "No space left"));
}

/* What fitted before the disk was full is a whole file still. */
static void test_no_more_room(void **state)
{
    (void)state;
    struct error err = {0};
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 200000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    begin_stream();
    setrlimit(RLIMIT_FSIZE, &small);
    for (unsigned i = 0; i < 2000; i++) add(i);
    const int status = json_stream_close(&stream, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, ERROR_IO);
    assert_non_null(strstr(err.text, "cannot write"));
    assert_in_range(count(), 100, 400);
}

static void test_a_pipe(void **state)
{
    (void)state;
    struct error err = {0};
    int ends[2];
    char name[32], text[256] = {0};
    assert_int_equal(pipe(ends), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[1]);
    assert_int_equal(json_stream_open(name, BEGIN, END, &stream, &err), 0);
    assert_int_equal(json_stream_begin(&stream, &err), 0);
    json_stream_add(&stream, "1", 1);
    json_stream_add(&stream, "2", 1);
    assert_int_equal(json_stream_close(&stream, &err), 0);
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], text + length, sizeof text - length - 1)) > 0) length += (size_t)got;
    close(ends[0]);
    assert_string_equal(text, BEGIN "\n1,\n2" END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_at_every_moment),
        cmocka_unit_test(test_written_over),
        cmocka_unit_test(test_a_file_named_by_mistake_stays),
        cmocka_unit_test(test_never_begun),
        cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_no_more_room),
        cmocka_unit_test(test_a_pipe),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
