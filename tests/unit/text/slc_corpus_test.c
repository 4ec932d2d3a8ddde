/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fuzzer's corpus through the fuzzer's own function, so that each build and sanitizer runs it. In this folder because the
 * fuzzer runs the tokenizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_slc.c"

#include <glob.h>
#include <stdio.h>

#define STEPS 1500u /* damaged copies of each seed */

/* Each of the interesting bytes in turn gets another value: a poor man's fuzzer that runs without clang. */
static void damage(uint8_t *bytes, size_t size)
{
    static const uint8_t values[] = {0xff, 0x00, 0x80, 0x01};
    uint64_t table = load_u64(bytes + SLC_AT_TABLE);
    uint32_t state = 11;
    for (unsigned i = 0; i < STEPS; i++) {
        state = state * 1664525u + 1013904223u;
        /* the header's numbers, the metadata and the table: what is behind them only changes weights */
        size_t reach = (size_t)table + 8 * SLC_ENTRY_BYTES < size ? (size_t)table + 8 * SLC_ENTRY_BYTES : size;
        size_t at = i % 3 == 0   ? SLC_AT_SOURCE_HASH + (state >> 8) % 104
                    : i % 3 == 1 ? SLC_PAGE + (state >> 8) % (reach - SLC_PAGE)
                                 : (size_t)table + (state >> 8) % (8 * SLC_ENTRY_BYTES);
        if (at >= size) continue;
        uint8_t old = bytes[at];
        bytes[at] = values[state % sizeof values];
        assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
        bytes[at] = old;
    }
}

static void test_seeds_open_and_damaged_ones_are_refused_or_run(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/../fuzz/corpus/slc/*", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 2, 100);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct map_file map;
        struct slc *slc;
        struct error err = {0};
        assert_int_equal(map_file_open(found.gl_pathv[i], &map, NULL), 0);
        uint8_t *bytes = malloc(map.size);
        assert_non_null(bytes);
        memcpy(bytes, map.bytes, map.size);
        make_right(bytes, map.size);
        if (slc_open_memory(bytes, map.size, "seed", &slc, &err) < 0) fail_msg("%s", err.text);
        slc_close(slc);
        assert_int_equal(LLVMFuzzerTestOneInput(bytes, map.size), 0);
        damage(bytes, map.size);
        free(bytes);
        map_file_close(&map);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds_open_and_damaged_ones_are_refused_or_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
