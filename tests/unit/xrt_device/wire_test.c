/* SPDX-License-Identifier: Apache-2.0 */
/* What XRT's emulation says to the device process: answered to the byte, or refused with the reason; the fuzzer's corpus, damaged too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_xrt_wire.c"

#include <glob.h>
#include <stdio.h>

#define DAMAGES 500u /* of each seed */

/* A request of message[0..n), n below 128. */
static size_t put_request(uint8_t *to, uint32_t api, const char *message, size_t n)
{
    const uint64_t length = n;
    to[0] = 0x09;
    memcpy(to + 1, &length, sizeof length);
    to[9] = 0x15;
    memcpy(to + 10, &api, sizeof api);
    memcpy(to + 14, message, n);
    return 14 + n;
}

/* Serves said[0..n) and returns how many bytes of answers come, at most `most`, in `heard`. */
static size_t answers_to(const uint8_t *said, size_t n, uint8_t *heard, size_t most, int *status, struct error *err)
{
    static uint8_t memory[64];
    int ends[2];
    size_t got = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[0], said, n), n);
    shutdown(ends[0], SHUT_WR);
    struct device device = {.wire.socket = ends[1], .space = {memory, sizeof memory}};
    memcpy(memory, "0123456789", 10);
    *status = device_serve(&device, err);
    wire_close(&device.wire);
    for (ssize_t part; (part = read(ends[0], heard + got, most - got)) > 0;) got += (size_t)part;
    close(ends[0]);
    return got;
}

static void requests_are_answered(void **state)
{
    (void)state;
    uint8_t said[256], heard[256];
    int status;
    struct error err = {0};
    size_t n = put_request(said, 8, "\x10\x04\x18\x02\x22\x02xy", 8);  /* write "xy" at 4 */
    n += put_request(said + n, 10, "\x10\x02\x18\x06", 4);             /* read 6 at 2 */
    n += put_request(said + n, 10, "\x10\x3f\x18\x02", 4);             /* read 2 at 63, of 64 */
    n += put_request(said + n, 51, "\x08\x80\x80\x80\x0c\x10\x08", 7); /* register 8 */
    const size_t got = answers_to(said, n, heard, sizeof heard, &status, &err);
    static const char want[] = "\x09\x02\0\0\0\0\0\0\0\x08\x02"
                               "\x09\x0a\0\0\0\0\0\0\0\x08\x06\x12\x06"
                               "23xy67"
                               "\x09\x04\0\0\0\0\0\0\0\x08\x00\x12\x00"
                               "\x09\x08\0\0\0\0\0\0\0\x08\x01\x12\x04ZZZZ";
    assert_int_equal(status, 0);
    assert_int_equal(got, sizeof want - 1);
    assert_memory_equal(heard, want, got);
}

static void another_protocol_is_refused(void **state)
{
    (void)state;
    uint8_t said[64], heard[64];
    int status;
    struct error err = {0};
    size_t n = put_request(said, 10, "\x10\x02", 2);
    said[0] = 0x0a;
    assert_int_equal(answers_to(said, n, heard, sizeof heard, &status, &err), 0);
    assert_int_equal(status, ERROR_BAD_FILE);
    assert_non_null(strstr(err.text, "another XRT?"));
    said[0] = 0x09;
    memset(said + 1, 0xff, 8);
    assert_int_equal(answers_to(said, n, heard, sizeof heard, &status, &err), 0);
    assert_int_equal(status, ERROR_TOO_LARGE);
    assert_int_equal(answers_to(said, 5, heard, sizeof heard, &status, &err), 0); /* cut: XRT has gone */
    assert_int_equal(status, 0);
}

static void damage(const uint8_t *seed, size_t size, uint32_t state)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (unsigned i = 0; i < DAMAGES; i++) {
        memcpy(bytes, seed, size);
        for (unsigned n = 0; n <= i % 3; n++) {
            state = state * 1664525u + 1013904223u;
            bytes[(state >> 4) % size] = (uint8_t)(state >> 24);
        }
        assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
    }
    free(bytes);
}

static void seeds_and_damaged_ones_do_no_harm(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/../fuzz/corpus/xrt_wire/*", 0, NULL, &found), 0);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(another_protocol_is_refused),
        cmocka_unit_test(seeds_and_damaged_ones_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
