/* SPDX-License-Identifier: Apache-2.0 */
/* The fuzzer's corpus through the fuzzer's own function, and damaged copies of it, so that each build runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_routing.c"

#include <glob.h>

static void test_seeds_are_read_and_damaged_ones_refused_or_read(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/../fuzz/corpus/routing/*", 0, NULL, &found), 0);
    assert_in_range(found.gl_pathc, 3, 100);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct map_file map;
        assert_int_equal(map_file_open(found.gl_pathv[i], &map, NULL), 0);
        struct routing_trace *trace;
        struct routing_step step;
        struct error err = {0};
        if (routing_trace_open(found.gl_pathv[i], &trace, &err) < 0) fail_msg("%s", err.text);
        assert_int_equal(routing_trace_next(trace, &step, &err), 1);
        routing_trace_close(trace);
        uint8_t *bytes = malloc(map.size);
        assert_non_null(bytes);
        memcpy(bytes, map.bytes, map.size);
        static const uint8_t values[] = {0xff, 0x00, 0x80, 0x01};
        for (size_t at = 0; at < map.size; at++) {
            for (unsigned v = 0; v < sizeof values; v++) {
                bytes[at] = values[v];
                assert_int_equal(LLVMFuzzerTestOneInput(bytes, map.size), 0);
            }
            bytes[at] = map.bytes[at];
        }
        free(bytes);
        map_file_close(&map);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds_are_read_and_damaged_ones_refused_or_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
