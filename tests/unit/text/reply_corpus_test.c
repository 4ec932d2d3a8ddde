/* SPDX-License-Identifier: Apache-2.0 */
/* The fuzzer's corpus, and damaged copies of it, through the fuzzer's own function, so that each build and sanitizer runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_reply.c"

#include <glob.h>
#include <stdio.h>

#define STEPS 100u /* damaged copies of each seed */

static void damage(uint8_t *bytes, size_t size)
{
    static const char values[] = "{}\"[]<>/|,:=\\ 01ae\n";
    uint32_t state = 11;
    for (unsigned i = 0; i < STEPS && size; i++) {
        state = state * 1664525u + 1013904223u;
        size_t at = (state >> 8) % size;
        uint8_t old = bytes[at];
        bytes[at] = (uint8_t)values[(state >> 3) % (sizeof values - 1)];
        assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
        bytes[at] = old;
    }
}

static void test_seeds_and_damaged_ones_are_read_the_same_however_cut(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/../fuzz/corpus/reply/*", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 10, 1000);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct map_file map;
        assert_int_equal(map_file_open(found.gl_pathv[i], &map, NULL), 0);
        uint8_t *bytes = malloc(map.size + 1);
        assert_non_null(bytes);
        memcpy(bytes, map.bytes, map.size);
        assert_int_equal(LLVMFuzzerTestOneInput(bytes, map.size), 0);
        damage(bytes, map.size);
        free(bytes);
        map_file_close(&map);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds_and_damaged_ones_are_read_the_same_however_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
