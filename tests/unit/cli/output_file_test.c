/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/output_file.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sluice-output-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/out", folder);
    unlink(path);
    return rmdir(folder); /* fails if anything else was left behind */
}

static unsigned files_in_folder(void)
{
    unsigned n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n - 2; /* . and .. */
}

static void assert_content(const char *path, const char *expected)
{
    char text[64] = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
}

static void write_file(const char *path, const char *text, bool commit)
{
    struct output_file file;
    struct error err = {0};
    if (output_file_open(path, &file, &err) < 0) fail_msg("%s", err.text);
    fputs(text, file.stream);
    if (commit) assert_int_equal(output_file_commit(&file, &err), 0);
    output_file_close(&file);
    output_file_close(&file);
}

static void test_appears_only_when_committed(void **state)
{
    char path[128];
    struct stat info;
    (void)state;
    snprintf(path, sizeof path, "%s/out", folder);
    write_file(path, "half", false);
    assert_int_equal(files_in_folder(), 0);
    write_file(path, "first", true);
    assert_content(path, "first");
    write_file(path, "half of the second", false);
    assert_content(path, "first");
    write_file(path, "second", true);
    assert_content(path, "second");
    assert_int_equal(files_in_folder(), 1);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0666 & ~mask); /* as any new file, not as mkstemp's */
}

static void test_errors(void **state)
{
    struct output_file file;
    struct error err = {0};
    (void)state;
    assert_int_equal(output_file_open("/nonexistent/out", &file, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "cannot write /nonexistent/out: No such file"));
    output_file_close(&file);
    assert_int_equal(output_file_open("/dev/full", &file, &err), 0); /* a device is written in place */
    fputs("text", file.stream);
    assert_int_equal(output_file_commit(&file, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "No space left"));
    output_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_appears_only_when_committed, make_folder, remove_folder),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
