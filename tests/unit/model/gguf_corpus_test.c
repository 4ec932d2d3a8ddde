/* SPDX-License-Identifier: Apache-2.0 */
/* The fuzzer's corpus through the fuzzer's own function, so that each build and sanitizer runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_gguf.c"

#include <dirent.h>
#include <stdio.h>

#define CORPUS FIXTURES "/../fuzz/corpus/gguf"

/* Calls visit with each file's bytes on the heap, where a sanitizer sees a read beyond the end. Returns the number of files. */
static unsigned each_seed(void (*visit)(const char *name, uint8_t *bytes, size_t size))
{
    DIR *folder = opendir(CORPUS);
    assert_non_null(folder);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        char path[1000];
        struct map_file map;
        snprintf(path, sizeof path, "%s/%s", CORPUS, entry->d_name);
        assert_int_equal(map_file_open(path, &map, NULL), 0);
        uint8_t *bytes = malloc(map.size);
        assert_non_null(bytes);
        memcpy(bytes, map.bytes, map.size);
        visit(entry->d_name, bytes, map.size);
        free(bytes);
        map_file_close(&map);
        count++;
    }
    closedir(folder);
    return count;
}

static void walk(const char *name, uint8_t *bytes, size_t size)
{
    (void)name;
    assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
}

/* Two seeds are there for their refusal; a valid file that stops opening would make the corpus worthless. */
static void open_as_expected(const char *name, uint8_t *bytes, size_t size)
{
    struct gguf *file;
    struct error err = {0};
    enum gguf_error expected = strcmp(name, "big-endian") == 0 ? GGUF_BIG_ENDIAN
                               : strcmp(name, "split") == 0    ? GGUF_SPLIT_MISSING
                                                               : GGUF_NO_ERROR;
    gguf_open_memory(bytes, size, name, &file, &err);
    if (gguf_error_of(&err) != expected) fail_msg("%s", err.text);
    assert_int_equal(file != NULL, expected == GGUF_NO_ERROR);
    gguf_close(file);
}

/* Each byte in turn becomes 0xff: a poor man's fuzzer that runs without clang. */
static void damage(const char *name, uint8_t *bytes, size_t size)
{
    (void)name;
    for (size_t i = 0; i < size && i < 600; i++) {
        uint8_t old = bytes[i];
        bytes[i] = 0xff;
        LLVMFuzzerTestOneInput(bytes, size);
        bytes[i] = old;
    }
}

static void seeds_are_walked(void **state)
{
    (void)state;
    assert_true(each_seed(walk) >= 40);
}

static void seeds_open(void **state)
{
    (void)state;
    each_seed(open_as_expected);
}

static void damaged_seeds_are_walked_or_refused(void **state)
{
    (void)state;
    each_seed(damage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_are_walked),
        cmocka_unit_test(seeds_open),
        cmocka_unit_test(damaged_seeds_are_walked_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
