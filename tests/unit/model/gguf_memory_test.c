/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening when memory runs out: each allocation in turn fails, and the answer is ERROR_NO_MEMORY with nothing leaked. The
 * reader's sources are compiled into this program with allocation functions that can be told to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int allocations_left; /* the one after these fails; below 0: none fails */
static int n_live;           /* blocks that were not freed */

static bool refuse(void)
{
    if (allocations_left == 0) return true;
    if (allocations_left > 0) allocations_left--;
    return false;
}

static void *counted(void *block)
{
    if (block) n_live++;
    return block;
}

static void *failing_calloc(size_t count, size_t size) { return refuse() ? NULL : counted(calloc(count, size)); }

static void *failing_realloc(void *block, size_t size)
{
    if (refuse()) return NULL;
    if (!block) n_live++;
    return realloc(block, size);
}

static char *failing_strdup(const char *text) { return refuse() ? NULL : counted(strdup(text)); }

static int failing_asprintf(char **out, const char *format, ...)
{
    if (refuse()) return -1;
    va_list args;
    va_start(args, format);
    int length = vasprintf(out, format, args);
    va_end(args);
    if (length >= 0) n_live++;
    return length;
}

static void counted_free(void *block)
{
    if (block) n_live--;
    free(block);
}

#define calloc failing_calloc
#define realloc failing_realloc
#define strdup failing_strdup
#define asprintf failing_asprintf
#define free counted_free
#include "host/model/gguf.c"
#include "host/model/gguf_header.c"
#include "host/model/gguf_index.c"
#include "host/model/gguf_split.c"
#include "host/model/gguf_tensors.c"
#include "host/model/gguf_types.c"
#include "host/model/gguf_values.c"
#undef calloc
#undef realloc
#undef strdup
#undef asprintf
#undef free

#include "tests/unit/model/gguf_writer.h"

/* Enough keys and tensors that every table grows at least once: more than 64 of each. */
enum { N_MANY = 100, N_PARTS = 2 };

static void write_part(struct writer *file, unsigned number)
{
    put_header(file, 3, N_MANY, N_MANY + 3);
    put_key(file, "split.no", GGUF_TYPE_U16), put_u16(file, (uint16_t)number);
    put_key(file, "split.count", GGUF_TYPE_U16), put_u16(file, N_PARTS);
    put_key(file, "split.tensors.count", GGUF_TYPE_U16), put_u16(file, N_PARTS * N_MANY);
    char name[16];
    for (unsigned i = 0; i < N_MANY; i++) {
        snprintf(name, sizeof name, "k%u", i);
        put_key(file, name, GGUF_TYPE_U8), put_u8(file, 0);
    }
    for (unsigned i = 0; i < N_MANY; i++) {
        snprintf(name, sizeof name, "p%u.t%u", number, i);
        put_tensor(file, name, 1, 1, GGUF_I8, 32 * i);
    }
    put_padding(file, 32);
    put_data(file, 32 * (N_MANY - 1) + 1);
}

static int setup(void **state)
{
    char(*paths)[80] = calloc(N_PARTS + 1, sizeof *paths); /* the last one is the folder */
    *state = paths;
    if (!paths) return -1;
    snprintf(paths[N_PARTS], sizeof *paths, "/tmp/sluice-memory-XXXXXX");
    if (!mkdtemp(paths[N_PARTS])) return -1;
    for (unsigned i = 0; i < N_PARTS; i++) {
        struct writer *file = calloc(1, sizeof *file);
        if (!file) return -1;
        write_part(file, i);
        snprintf(paths[i], sizeof *paths, "%.40s/m-%05u-of-%05u.gguf", paths[N_PARTS], i + 1, N_PARTS);
        FILE *out = fopen(paths[i], "wb");
        if (!out || fwrite(file->bytes, 1, file->size, out) != file->size || fclose(out) != 0) return -1;
        free(file);
    }
    return 0;
}

static int teardown(void **state)
{
    char(*paths)[80] = *state;
    for (int i = 0; i < N_PARTS; i++) unlink(paths[i]);
    rmdir(paths[N_PARTS]);
    free(paths);
    return 0;
}

static void each_allocation_may_fail(void **state)
{
    char(*paths)[80] = *state;
    int n_refused = 0;
    for (;; n_refused++) {
        struct gguf *file;
        struct error err = {0};
        allocations_left = n_refused;
        n_live = 0;
        int status = gguf_open(paths[1], &file, &err);
        allocations_left = -1;
        if (status == 0) {
            assert_int_equal(gguf_n_tensors(file), N_PARTS * N_MANY);
            gguf_close(file);
            assert_int_equal(n_live, 0);
            break;
        }
        if (status != ERROR_NO_MEMORY) fail_msg("allocation %d: %s", n_refused, err.text);
        assert_int_equal(err.code, ERROR_NO_MEMORY);
        assert_non_null(strstr(err.text, "out of memory"));
        assert_null(file);
        assert_int_equal(n_live, 0);
    }
    assert_true(n_refused > 20); /* each table of each part, and its growth */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(each_allocation_may_fail, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
