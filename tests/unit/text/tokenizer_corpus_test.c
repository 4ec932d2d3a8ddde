/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fuzzer's corpus, and the corpus damaged, through the fuzzer's own function, so that each build and sanitizer runs
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "tests/fuzz/fuzz_tokenizer.c"

#include <dirent.h>

#define CORPUS FIXTURES "/../fuzz/corpus/tokenizer"

/* Runs the bytes whole, cut short at each place, and with each byte replaced. */
static void run_damaged(uint8_t *bytes, size_t size)
{
    assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
    for (size_t i = 0; i < size; i++) {
        uint8_t *cut = malloc(i + 1); /* of its own size, so that a sanitizer sees a read beyond the end */
        assert_non_null(cut);
        memcpy(cut, bytes, i);
        assert_int_equal(LLVMFuzzerTestOneInput(cut, i), 0);
        free(cut);
        static const uint8_t others[] = {0x00, 0x20, 0x80, 0xc2, 0xe2, 0xf0, 0xff};
        uint8_t kept = bytes[i];
        for (size_t k = 0; k < sizeof others; k++) {
            bytes[i] = others[k];
            assert_int_equal(LLVMFuzzerTestOneInput(bytes, size), 0);
        }
        bytes[i] = kept;
    }
}

static void corpus_runs_clean(void **state)
{
    (void)state;
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
        run_damaged(bytes, map.size);
        free(bytes);
        map_file_close(&map);
        count++;
    }
    closedir(folder);
    assert_true(count >= 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(corpus_runs_clean)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
