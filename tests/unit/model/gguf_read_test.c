/* SPDX-License-Identifier: Apache-2.0 */
/* What an honest GGUF file says is what the reader gives: every metadata type, arrays, tensors, look-ups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/memory.h"
#include "tests/unit/model/gguf_writer.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

static void put_f64(struct writer *file, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u64(file, bits);
}

static void put_scalars(struct writer *f)
{
    put_key(f, "v.u8", GGUF_TYPE_U8), put_u8(f, 200);
    put_key(f, "v.i8", GGUF_TYPE_I8), put_u8(f, (uint8_t)-100);
    put_key(f, "v.u16", GGUF_TYPE_U16), put_u16(f, 60000);
    put_key(f, "v.i16", GGUF_TYPE_I16), put_u16(f, (uint16_t)-30000);
    put_key(f, "v.u32", GGUF_TYPE_U32), put_u32(f, 4000000000u);
    put_key(f, "v.i32", GGUF_TYPE_I32), put_u32(f, (uint32_t)-2000000000);
    put_key(f, "v.u64", GGUF_TYPE_U64), put_u64(f, UINT64_MAX);
    put_key(f, "v.i64", GGUF_TYPE_I64), put_u64(f, (uint64_t)INT64_MIN);
    put_key(f, "v.f32", GGUF_TYPE_F32), put_u32(f, bits_of_float(1.5f));
    put_key(f, "v.f64", GGUF_TYPE_F64), put_f64(f, 0.1);
    put_key(f, "v.f64.large", GGUF_TYPE_F64), put_f64(f, 1e300);
    put_key(f, "v.bool", GGUF_TYPE_BOOL), put_u8(f, 1);
    put_key(f, "v.string", GGUF_TYPE_STRING), put_string(f, "text");
    put_key(f, "v.empty", GGUF_TYPE_STRING), put_string(f, "");
}
enum { N_SCALARS = 14 };

static struct gguf *open_bytes(const struct writer *file)
{
    struct gguf *out;
    struct error err = {0};
    if (gguf_open_memory(file->bytes, file->size, "test.gguf", &out, &err) < 0) fail_msg("%s", err.text);
    return out;
}

static void scalars_are_read(void **state)
{
    (void)state;
    struct writer bytes = {0};
    put_header(&bytes, 3, 0, N_SCALARS);
    put_scalars(&bytes);
    struct gguf *file = open_bytes(&bytes);
    struct error err = {0};
    static const struct {
        const char *key;
        int64_t value;
    } whole[] = {{"v.u8", 200},         {"v.i8", -100},         {"v.u16", 60000},    {"v.i16", -30000},
                 {"v.u32", 4000000000}, {"v.i32", -2000000000}, {"v.i64", INT64_MIN}};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        int64_t value;
        assert_true(gguf_value_i64(gguf_find(file, whole[i].key), &value));
        assert_true(value == whole[i].value);
        uint32_t narrow = 77;
        int status = gguf_get_u32(file, whole[i].key, &narrow, &err);
        assert_int_equal(status, whole[i].value >= 0 ? 1 : ERROR_BAD_FILE);
        assert_true(narrow == (whole[i].value >= 0 ? (uint32_t)whole[i].value : 77));
        if (status < 0) assert_non_null(strstr(err.text, whole[i].key));
    }
    uint64_t wide;
    assert_int_equal(gguf_get_u64(file, "v.u64", &wide, &err), 1);
    assert_true(wide == UINT64_MAX);
    int64_t is_signed;
    assert_false(gguf_value_i64(gguf_find(file, "v.u64"), &is_signed));
    uint32_t narrow;
    assert_int_equal(gguf_get_u32(file, "v.u64", &narrow, &err), ERROR_BAD_FILE);
    assert_int_equal(gguf_get_u64(file, "v.i64", &wide, &err), ERROR_BAD_FILE);
    float real;
    assert_int_equal(gguf_get_f32(file, "v.f32", &real, &err), 1);
    assert_true(real == 1.5f);
    assert_int_equal(gguf_get_f32(file, "v.f64", &real, &err), 1);
    assert_true(real == 0.1f);
    assert_int_equal(gguf_get_f32(file, "v.f64.large", &real, &err), ERROR_BAD_FILE);
    bool flag = false;
    assert_int_equal(gguf_get_bool(file, "v.bool", &flag, &err), 1);
    assert_true(flag);
    struct gguf_string text;
    assert_int_equal(gguf_get_string(file, "v.string", &text, &err), 1);
    assert_int_equal(text.length, 4);
    assert_memory_equal(text.bytes, "text", 4);
    assert_int_equal(gguf_get_string(file, "v.empty", &text, &err), 1);
    assert_int_equal(text.length, 0);
    gguf_close(file);
}

static void kinds_are_not_mixed(void **state)
{
    (void)state;
    struct writer bytes = {0};
    put_header(&bytes, 3, 0, N_SCALARS);
    put_scalars(&bytes);
    struct gguf *file = open_bytes(&bytes);
    struct error err = {0};
    uint32_t u32;
    uint64_t u64;
    float f32;
    bool flag;
    struct gguf_string text;
    assert_int_equal(gguf_get_u32(file, "v.bool", &u32, &err), ERROR_BAD_FILE);
    assert_int_equal(gguf_get_u64(file, "v.f32", &u64, &err), ERROR_BAD_FILE);
    assert_int_equal(gguf_get_f32(file, "v.u8", &f32, &err), ERROR_BAD_FILE);
    assert_int_equal(gguf_get_bool(file, "v.u8", &flag, &err), ERROR_BAD_FILE);
    assert_int_equal(gguf_get_string(file, "v.u8", &text, &err), ERROR_BAD_FILE);
    assert_string_equal(err.text, "metadata key v.u8: a string expected, this u8 does not fit");
    assert_int_equal(gguf_get_u32(file, "absent", &u32, &err), 0);
    assert_int_equal(gguf_get_u64(file, "absent", &u64, &err), 0);
    assert_int_equal(gguf_get_f32(file, "absent", &f32, &err), 0);
    assert_int_equal(gguf_get_bool(file, "absent", &flag, &err), 0);
    assert_int_equal(gguf_get_string(file, "absent", &text, &err), 0);
    assert_null(gguf_find(file, "v.u"));
    assert_null(gguf_find(file, "v.u88"));
    assert_null(gguf_find(file, ""));
    gguf_close(file);
}

static void arrays_are_read(void **state)
{
    (void)state;
    struct writer bytes = {0};
    put_header(&bytes, 3, 0, 5);
    put_key(&bytes, "a.i16", GGUF_TYPE_ARRAY), put_array(&bytes, GGUF_TYPE_I16, 2);
    put_u16(&bytes, 7), put_u16(&bytes, (uint16_t)-7);
    put_key(&bytes, "a.f32", GGUF_TYPE_ARRAY), put_array(&bytes, GGUF_TYPE_F32, 1), put_u32(&bytes, bits_of_float(-2));
    put_key(&bytes, "a.bool", GGUF_TYPE_ARRAY), put_array(&bytes, GGUF_TYPE_BOOL, 2), put_u8(&bytes, 0);
    put_u8(&bytes, 1);
    put_key(&bytes, "a.string", GGUF_TYPE_ARRAY), put_array(&bytes, GGUF_TYPE_STRING, 3);
    put_string(&bytes, "x"), put_string(&bytes, ""), put_string(&bytes, "yz");
    put_key(&bytes, "a.empty", GGUF_TYPE_ARRAY), put_array(&bytes, GGUF_TYPE_STRING, 0);
    struct gguf *file = open_bytes(&bytes);

    const struct gguf_value *array = gguf_find(file, "a.i16");
    int64_t whole;
    float real;
    assert_true(gguf_array_i64(array, 1, &whole));
    assert_true(whole == -7);
    assert_false(gguf_array_i64(array, 2, &whole));
    assert_false(gguf_array_f32(array, 0, &real));
    assert_true(gguf_array_f32(gguf_find(file, "a.f32"), 0, &real));
    assert_true(real == -2.0f);
    assert_false(gguf_array_i64(gguf_find(file, "a.f32"), 0, &whole));
    assert_true(gguf_array_i64(gguf_find(file, "a.bool"), 1, &whole));
    assert_true(whole == 1);

    array = gguf_find(file, "a.string");
    assert_int_equal(array->count, 3);
    struct gguf_cursor cursor = {0};
    struct gguf_string text;
    static const char *const expected[] = {"x", "", "yz"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gguf_next_string(array, &cursor, &text), 1);
        assert_int_equal(text.length, strlen(expected[i]));
        assert_memory_equal(text.bytes, expected[i], text.length);
    }
    assert_int_equal(gguf_next_string(array, &cursor, &text), 0);
    assert_int_equal(cursor.offset, array->n_bytes);
    cursor = (struct gguf_cursor){0};
    assert_int_equal(gguf_next_string(gguf_find(file, "a.empty"), &cursor, &text), 0);
    assert_int_equal(gguf_next_string(gguf_find(file, "a.i16"), &cursor, &text), 0);
    assert_false(gguf_array_i64(array, 0, &whole));
    gguf_close(file);
}

static void nested_arrays_are_read(void **state)
{
    (void)state;
    struct writer bytes = {0};
    put_header(&bytes, 3, 0, 2);
    put_key(&bytes, "nested", GGUF_TYPE_ARRAY), put_array(&bytes, GGUF_TYPE_ARRAY, 3);
    put_array(&bytes, GGUF_TYPE_STRING, 2), put_string(&bytes, "ab"), put_string(&bytes, "c");
    put_array(&bytes, GGUF_TYPE_ARRAY, 1), put_array(&bytes, GGUF_TYPE_U16, 2), put_u32(&bytes, 0x00020001);
    put_array(&bytes, GGUF_TYPE_U8, 1), put_u8(&bytes, 9);
    put_key(&bytes, "after", GGUF_TYPE_U8), put_u8(&bytes, 3);
    struct gguf *file = open_bytes(&bytes);
    const struct gguf_value *outer = gguf_find(file, "nested");
    struct gguf_cursor cursor = {0}, inner_cursor = {0};
    struct gguf_value inner, innermost;
    struct gguf_string text;
    assert_int_equal(gguf_next_array(outer, &cursor, &inner), 1);
    assert_int_equal(inner.count, 2);
    assert_int_equal(gguf_next_string(&inner, &inner_cursor, &text), 1);
    assert_int_equal(text.length, 2);
    assert_int_equal(gguf_next_array(outer, &cursor, &inner), 1);
    inner_cursor = (struct gguf_cursor){0};
    assert_int_equal(gguf_next_array(&inner, &inner_cursor, &innermost), 1);
    int64_t whole;
    assert_true(gguf_array_i64(&innermost, 1, &whole));
    assert_true(whole == 2);
    assert_int_equal(gguf_next_array(outer, &cursor, &inner), 1);
    assert_true(gguf_array_i64(&inner, 0, &whole));
    assert_true(whole == 9);
    assert_int_equal(gguf_next_array(outer, &cursor, &inner), 0);
    assert_int_equal(cursor.offset, outer->n_bytes);
    uint32_t after;
    assert_int_equal(gguf_get_u32(file, "after", &after, NULL), 1);
    assert_int_equal(after, 3);
    gguf_close(file);
}

static void tensors_are_found(void **state)
{
    (void)state;
    struct writer bytes = {0};
    put_header(&bytes, 2, 3, 1);
    put_key(&bytes, "general.alignment", GGUF_TYPE_U32), put_u32(&bytes, 64);
    put_tensor(&bytes, "last", 32, 3, GGUF_Q8_0, 64); /* the table need not be in the data's order */
    put_tensor(&bytes, "first", 4, 2, GGUF_F32, 0);
    put_tensor(&bytes, "unsupported", 256, 1, GGUF_Q1_0, 192);
    put_padding(&bytes, 64);
    size_t start = bytes.size;
    put_data(&bytes, 192 + 36);
    struct gguf *file = open_bytes(&bytes);
    assert_int_equal(gguf_version(file), 2);
    assert_int_equal(gguf_n_parts(file), 1);
    assert_int_equal(gguf_file_bytes(file), bytes.size);
    assert_int_equal(gguf_n_tensors(file), 3);
    assert_string_equal(gguf_path(file), "test.gguf");
    const struct gguf_tensor *tensor = gguf_find_tensor(file, "last");
    assert_ptr_equal(tensor, gguf_tensor_at(file, 0));
    assert_int_equal(tensor->n_elements, 96);
    assert_int_equal(tensor->n_bytes, 102);
    assert_int_equal(tensor->n_dimensions, 2);
    assert_int_equal(tensor->dimension[0], 32);
    assert_int_equal(tensor->dimension[3], 1);
    assert_ptr_equal(tensor->data, bytes.bytes + start + 64);
    assert_ptr_equal(gguf_find_tensor(file, "first")->data, bytes.bytes + start);
    tensor = gguf_find_tensor(file, "unsupported");
    assert_int_equal(tensor->n_bytes, 36);
    assert_false(gguf_type_supported(tensor->type));
    assert_null(gguf_find_tensor(file, "firs"));
    gguf_close(file);
}

static void bytes_may_lie_at_any_address(void **state)
{
    (void)state;
    struct writer bytes = {0};
    put_header(&bytes, 3, 0, N_SCALARS);
    put_scalars(&bytes);
    uint8_t *shifted = malloc(bytes.size + 1);
    assert_non_null(shifted);
    memcpy(shifted + 1, bytes.bytes, bytes.size);
    struct gguf *file;
    assert_int_equal(gguf_open_memory(shifted + 1, bytes.size, "shifted", &file, NULL), 0);
    uint64_t wide;
    assert_int_equal(gguf_get_u64(file, "v.u64", &wide, NULL), 1);
    assert_true(wide == UINT64_MAX);
    gguf_close(file);
    free(shifted);
}

static void type_names(void **state)
{
    (void)state;
    assert_string_equal(gguf_type_name(GGUF_TYPE_U8), "u8");
    assert_string_equal(gguf_type_name(GGUF_TYPE_F64), "f64");
    assert_string_equal(gguf_type_name(13), "unknown");
}

/* A growing heap buffer: the vocabulary does not fit a struct writer. */
struct large {
    uint8_t *bytes;
    size_t size, capacity;
};

static void append(struct large *file, const void *bytes, size_t n)
{
    if (n > file->capacity - file->size) {
        file->capacity = 2 * (file->size + n);
        file->bytes = memory_grow(file->bytes, file->capacity, 1);
        assert_non_null(file->bytes);
    }
    memcpy(file->bytes + file->size, bytes, n);
    file->size += n;
}

static void append_tokens(struct large *file, unsigned count, const char *prefix)
{
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        uint8_t length[8];
        snprintf(text, sizeof text, "%s %u", prefix, i);
        store_u64(length, strlen(text));
        append(file, length, sizeof length);
        append(file, text, strlen(text));
    }
}

/* 150 000 tokens and 150 000 merges open in in a few ms; the limit leaves room for sanitizers and busy machines. */
static void large_vocabularies_open_fast(void **state)
{
    (void)state;
    enum { COUNT = 150000 };
    struct large file = {0};
    struct writer part = {0};
    put_header(&part, 3, 0, 2);
    put_key(&part, "tokenizer.ggml.tokens", GGUF_TYPE_ARRAY), put_array(&part, GGUF_TYPE_STRING, COUNT);
    append(&file, part.bytes, part.size);
    append_tokens(&file, COUNT, "token");
    part.size = 0;
    put_key(&part, "tokenizer.ggml.merges", GGUF_TYPE_ARRAY), put_array(&part, GGUF_TYPE_STRING, COUNT);
    append(&file, part.bytes, part.size);
    append_tokens(&file, COUNT, "merge");

    struct timespec before, after;
    struct gguf *out;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(gguf_open_memory(file.bytes, file.size, "vocabulary", &out, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    print_message("opened in %.2f ms\n", ms);
    assert_true(ms < 300);
    assert_int_equal(gguf_find(out, "tokenizer.ggml.merges")->count, COUNT);
    gguf_close(out);
    free(file.bytes);
}

/* Look-up does not slow down with the number of names, and none is lost when the index grows. */
static void thousands_of_keys_are_found(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct large file = {0};
    struct writer part = {0};
    put_header(&part, 3, 0, COUNT);
    append(&file, part.bytes, part.size);
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "key.%u", i);
        part.size = 0;
        put_key(&part, name, GGUF_TYPE_U32), put_u32(&part, i);
        append(&file, part.bytes, part.size);
    }
    struct gguf *out;
    assert_int_equal(gguf_open_memory(file.bytes, file.size, "keys", &out, NULL), 0);
    assert_int_equal(gguf_n_keys(out), COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[32];
        uint32_t value;
        snprintf(name, sizeof name, "key.%u", i);
        assert_int_equal(gguf_get_u32(out, name, &value, NULL), 1);
        assert_int_equal(value, i);
    }
    gguf_close(out);
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_read),
        cmocka_unit_test(kinds_are_not_mixed),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(nested_arrays_are_read),
        cmocka_unit_test(tensors_are_found),
        cmocka_unit_test(bytes_may_lie_at_any_address),
        cmocka_unit_test(type_names),
        cmocka_unit_test(large_vocabularies_open_fast),
        cmocka_unit_test(thousands_of_keys_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
