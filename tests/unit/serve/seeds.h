/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's function over its corpus, so that every build and sanitizer does it, also without clang. */
#ifndef SLUICE_TESTS_UNIT_SERVE_SEEDS_H
#define SLUICE_TESTS_UNIT_SERVE_SEEDS_H

#include "host/base/map_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each file's bytes lie on the heap, where a sanitizer sees a read beyond the end. Returns the number of files. */
static inline unsigned each_seed(const char *corpus, int (*visit)(const uint8_t *bytes, size_t size))
{
    char path[1000];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/../fuzz/corpus/%s", FIXTURES, corpus);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        struct map_file map;
        snprintf(path, sizeof path, "%s/../fuzz/corpus/%s/%s", FIXTURES, corpus, entry->d_name);
        assert_int_equal(map_file_open(path, &map, NULL), 0);
        uint8_t *bytes = malloc(map.size);
        assert_non_null(bytes);
        memcpy(bytes, map.bytes, map.size);
        assert_int_equal(visit(bytes, map.size), 0);
        free(bytes);
        map_file_close(&map);
        count++;
    }
    closedir(folder);
    return count;
}

#endif
