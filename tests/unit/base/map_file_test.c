/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    char path[64], file[80];
};

static int setup(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    *state = folder;
    if (!folder) return -1;
    snprintf(folder->path, sizeof folder->path, "/tmp/sluice-map-XXXXXX");
    if (!mkdtemp(folder->path)) return -1;
    snprintf(folder->file, sizeof folder->file, "%s/file", folder->path);
    return 0;
}

static int teardown(void **state)
{
    struct folder *folder = *state;
    unlink(folder->file);
    rmdir(folder->path);
    free(folder);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void refused(const char *path, int code, const char *why)
{
    struct map_file map = {.size = 1};
    struct error err = {0};
    assert_int_equal(map_file_open(path, &map, &err), code);
    assert_int_equal(err.code, code);
    assert_null(map.bytes);
    assert_int_equal(map.size, 0);
    if (strncmp(err.text, path, strlen(path)) != 0 || !strstr(err.text, why)) fail_msg("%s", err.text);
}

static void a_file_is_mapped_whole(void **state)
{
    struct folder *folder = *state;
    write_file(folder->file, "twelve bytes");
    struct map_file map;
    assert_int_equal(map_file_open(folder->file, &map, NULL), 0);
    assert_int_equal(map.size, 12);
    assert_memory_equal(map.bytes, "twelve bytes", 12);
    unlink(folder->file); /* the mapping outlives the name */
    assert_memory_equal(map.bytes, "twelve bytes", 12);
    map_file_close(&map);
    assert_null(map.bytes);
    map_file_close(&map);
}

static void absent(void **state)
{
    struct folder *folder = *state;
    refused(folder->file, ERROR_NOT_FOUND, "no such file");
    write_file(folder->file, "x");
    char below[100];
    snprintf(below, sizeof below, "%s/below", folder->file);
    refused(below, ERROR_NOT_FOUND, "no such file");
}

static void empty(void **state)
{
    struct folder *folder = *state;
    write_file(folder->file, "");
    refused(folder->file, ERROR_BAD_FILE, "empty");
}

static void odd_kinds(void **state)
{
    struct folder *folder = *state;
    refused(folder->path, ERROR_BAD_FILE, "a directory");
    refused("/dev/zero", ERROR_BAD_FILE, "a device");
    assert_int_equal(mkfifo(folder->file, 0600), 0);
    alarm(20); /* a blocking open would hang here */
    refused(folder->file, ERROR_BAD_FILE, "a pipe");
    alarm(0);
}

static void unreadable(void **state)
{
    struct folder *folder = *state;
    write_file(folder->file, "secret");
    assert_int_equal(chmod(folder->file, 0), 0);
    uid_t self = geteuid();
    if (self == 0) assert_int_equal(seteuid(65534), 0); /* root may read everything; nobody may not */
    refused(folder->file, ERROR_IO, "permission denied");
    assert_int_equal(seteuid(self), 0);
}

static void other_failures_carry_the_system_s_reason(void **state)
{
    struct folder *folder = *state;
    assert_int_equal(symlink(folder->file, folder->file), 0);
    refused(folder->file, ERROR_IO, "cannot open");
}

#define IN_FOLDER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_file_is_mapped_whole),
        IN_FOLDER(absent),
        IN_FOLDER(empty),
        IN_FOLDER(odd_kinds),
        IN_FOLDER(unreadable),
        IN_FOLDER(other_failures_carry_the_system_s_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
