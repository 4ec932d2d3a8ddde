/* SPDX-License-Identifier: Apache-2.0 */
/* The fuzzer's corpus, and damaged copies of it, through the fuzzer's own function: each build and sanitizer runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_xclbin.c"

#include <glob.h>

#define DAMAGES 2000u /* of each seed */

static void damage(const uint8_t *seed, size_t size, uint32_t state)
{
    static const uint8_t values[] = {0xff, 0x00, 0x80, 0x01, 0x7f, '<', '&', '"'};
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (unsigned i = 0; i < DAMAGES; i++) {
        memcpy(bytes, seed, size);
        for (unsigned n = 0; n <= i % 3; n++) {
            state = state * 1664525u + 1013904223u;
            size_t at = (state >> 4) % size;
            bytes[at] = values[(state >> 28) % sizeof values];
        }
        assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
    }
    free(bytes);
}

static void seeds_and_damaged_ones_are_told_or_refused(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/../fuzz/corpus/xclbin/*", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 4, 100);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct map_file map;
        assert_int_equal(map_file_open(found.gl_pathv[i], &map, NULL), 0);
        assert_int_equal(LLVMFuzzerTestOneInput(map.bytes, map.size), 0);
        print_message("%s, seed %zu\n", found.gl_pathv[i], i + 1);
        damage(map.bytes, map.size, (uint32_t)i + 1);
        map_file_close(&map);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(seeds_and_damaged_ones_are_told_or_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
