/* SPDX-License-Identifier: Apache-2.0 */
/* One safetensors file: what it says is read, and each way a header can lie is refused with a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/model/hf/safetensors.h"
#include "tests/unit/model/safetensors_bytes.h"

#include <glob.h>

/* A header as it stands, and n_data bytes behind it. */
static int open_text(const char *header, size_t n_data, struct safetensors **out, struct error *err, uint8_t **bytes)
{
    size_t n = strlen(header);
    *bytes = calloc(1, 8 + n + n_data);
    assert_non_null(*bytes);
    store_u64(*bytes, n);
    memcpy(*bytes + 8, header, n);
    return safetensors_open_memory(*bytes, 8 + n + n_data, "lie", out, err);
}

static void test_what_it_says(void **state)
{
    (void)state;
    struct safetensors *file;
    struct error err = {0};
    uint8_t *bytes;
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
                         "\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]},"
                         "\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[16,16]}}   ";
    if (open_text(header, 16, &file, &err, &bytes) < 0) fail_msg("%s", err.text);
    assert_int_equal(safetensors_n_tensors(file), 3);
    const struct safetensors_tensor *a = safetensors_tensor_at(file, 0), *b = safetensors_tensor_at(file, 1);
    assert_string_equal(a->name.bytes, "a");
    assert_int_equal(a->type, SAFETENSORS_F8_E4M3);
    assert_int_equal(a->n_dimensions, 1);
    assert_int_equal(b->type, SAFETENSORS_BF16);
    assert_int_equal(b->dimension[0], 2);
    assert_int_equal(b->dimension[1], 3);
    assert_int_equal(b->n_bytes, 12);
    assert_ptr_equal(b->data, a->data + 4);
    safetensors_close(file);
    free(bytes);
}

static void test_lies(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        const char *word;
    } lies[] = {
        {"[]", 0, "object"},
        {"{\"a\":7}", 0, "described"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "F4"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "dimension"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, "dimension"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "dimensions"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "overflow"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "overflow"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, "end of the file"},
        {"{\"a\":{\"dtype\":\"U16\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "match"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, "overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "nobody"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2, "after the last"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
         1, "duplicate"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "name"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[[[[1]]]],\"data_offsets\":[0,1]}}", 1, "deep"},
        {"{\"a\":", 0, "lie"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct safetensors *file;
        struct error err = {0};
        uint8_t *bytes;
        int status = open_text(lies[i].header, lies[i].n_data, &file, &err, &bytes);
        if (status == 0 || strstr(err.text, lies[i].word) == NULL || strstr(err.text, "lie") != err.text)
            fail_msg("%s: %d, \"%s\"", lies[i].header, status, err.text);
        assert_null(file);
        free(bytes);
    }
}

/* The header's length may be any number, and its brackets any depth. */
static void test_lengths_and_depths(void **state)
{
    (void)state;
    struct safetensors *file;
    struct error err = {0};
    const uint64_t lengths[] = {1, 9, 100000001, UINT64_MAX, UINT64_MAX - 7};
    uint8_t bytes[16] = {0};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        store_u64(bytes, lengths[i]);
        assert_int_equal(safetensors_open_memory(bytes, sizeof bytes, "x", &file, &err), ERROR_BAD_FILE);
    }
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(safetensors_open_memory(bytes, n, "x", &file, &err), ERROR_BAD_FILE);
    size_t n = 1 << 20;
    uint8_t *deep = malloc(8 + n);
    assert_non_null(deep);
    store_u64(deep, n);
    memset(deep + 8, '[', n);
    assert_int_equal(safetensors_open_memory(deep, 8 + n, "x", &file, &err), ERROR_BAD_FILE);
    assert_non_null(strstr(err.text, "deep"));
    free(deep);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);
#include "tests/fuzz/fuzz_safetensors.c"

static void test_corpus(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(FIXTURES "/../fuzz/corpus/safetensors/*", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 7);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        uint8_t bytes[65536];
        FILE *stream = fopen(found.gl_pathv[i], "rb");
        assert_non_null(stream);
        size_t n = fread(bytes, 1, sizeof bytes, stream);
        assert_int_equal(fclose(stream), 0);
        for (size_t cut = 0; cut <= n; cut++) assert_int_equal(LLVMFuzzerTestOneInput(bytes, cut), 0);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_says),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_lengths_and_depths),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
