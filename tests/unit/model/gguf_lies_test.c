/* SPDX-License-Identifier: Apache-2.0 */
/* Each way a GGUF file can lie: a valid file, one thing broken, the error's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/model/gguf_writer.h"

#include <stdio.h>

#define NAME "lying.gguf"

/* A valid file, and where its fields are. */
struct sample {
    struct writer file;
    size_t version, n_tensors, n_keys;
    size_t arch_key, arch_type, arch_value; /* lengths of key and value, type */
    size_t alignment_value, flag_value;
    size_t list_type, list_count, list_first; /* element type, count, length of the first string */
    size_t second_key;                        /* length of the second key, which has as many letters as the first */
    size_t tensor_a, tensor_b;                /* lengths of the names "a.weight" and "b.weight" */
    size_t data;
};

/* Offsets of a tensor entry's fields from its name's length, when the name has 8 letters. */
enum { T_NAME = 8, T_N_DIMENSIONS = 16, T_COLS = 20, T_ROWS = 28, T_TYPE = 36, T_OFFSET = 40 };

static int setup(void **state)
{
    struct sample *s = calloc(1, sizeof *s);
    struct writer *f = &s->file;
    *state = s;
    if (!s) return -1;
    s->version = 4;
    s->n_tensors = 8;
    s->n_keys = 16;
    put_header(f, 3, 2, 5);
    s->arch_key = f->size;
    s->arch_type = f->size + 8 + strlen("general.architecture");
    s->arch_value = s->arch_type + 4;
    put_key(f, "general.architecture", GGUF_TYPE_STRING);
    put_string(f, "llama");
    s->second_key = f->size;
    put_key(f, "general.archixecture", GGUF_TYPE_STRING);
    put_string(f, "x");
    put_key(f, "general.alignment", GGUF_TYPE_U32);
    s->alignment_value = f->size;
    put_u32(f, 32);
    put_key(f, "test.flag", GGUF_TYPE_BOOL);
    s->flag_value = f->size;
    put_u8(f, 1);
    put_key(f, "test.list", GGUF_TYPE_ARRAY);
    s->list_type = f->size;
    s->list_count = f->size + 4;
    put_array(f, GGUF_TYPE_STRING, 2);
    s->list_first = f->size;
    put_string(f, "one");
    put_string(f, "two");
    s->tensor_a = f->size;
    put_tensor(f, "a.weight", 4, 2, GGUF_F32, 0);
    s->tensor_b = f->size;
    put_tensor(f, "b.weight", 32, 3, GGUF_Q8_0, 32);
    put_padding(f, 32);
    s->data = f->size;
    put_data(f, 32 + 3 * 34);
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* The file's bytes are on the heap and no longer than the file, so that a sanitizer sees each read beyond the end. */
static int open_copy(const struct writer *file, size_t size, struct gguf **out, uint8_t **copy, struct error *err)
{
    *copy = malloc(size ? size : 1);
    assert_non_null(*copy);
    memcpy(*copy, file->bytes, size);
    return gguf_open_memory(*copy, size, NAME, out, err);
}

/* Opening fails with this name; the text names the file and what (a key, a tensor, or a word of the reason). */
static void refused(const struct writer *file, enum gguf_error expected, const char *what)
{
    struct gguf *out;
    uint8_t *copy;
    struct error err = {0};
    int status = open_copy(file, file->size, &out, &copy, &err);
    free(copy);
    assert_int_equal(status, ERROR_BAD_FILE);
    assert_int_equal(err.code, ERROR_BAD_FILE);
    assert_null(out);
    if (gguf_error_of(&err) != expected)
        fail_msg("%s expected, got %s: %s", gguf_error_name(expected), gguf_error_name(gguf_error_of(&err)), err.text);
    if (strncmp(err.text, NAME ": ", strlen(NAME) + 2) != 0 || !strstr(err.text, what) || strchr(err.text, '\n'))
        fail_msg("the text names no %s: %s", what, err.text);
}

static void accepted(const struct writer *file)
{
    struct gguf *out;
    uint8_t *copy;
    struct error err = {0};
    if (open_copy(file, file->size, &out, &copy, &err) < 0) fail_msg("%s", err.text);
    gguf_close(out);
    free(copy);
}

static void patch_u32(struct sample *s, size_t at, uint32_t value) { store_u32(s->file.bytes + at, value); }
static void patch_u64(struct sample *s, size_t at, uint64_t value) { store_u64(s->file.bytes + at, value); }

static void the_sample_is_valid(void **state)
{
    struct sample *s = *state;
    accepted(&s->file);
    patch_u32(s, s->version, 2);
    accepted(&s->file);
}

static void not_gguf(void **state)
{
    struct sample *s = *state;
    memcpy(s->file.bytes, "GGUX", 4);
    refused(&s->file, GGUF_NOT_GGUF, "does not begin");
    static const struct {
        const char *start, *hint;
    } others[] = {
        {"PK\x03\x04", "zip"},
        {"version https://git-lfs.github.com/spec/v1\n", "LFS"},
        {"<!DOCTYPE html>", "web page"},
        {"tjgg", "GGML"},
        {"lmgg", "GGML"},
        {"fmgg", "GGML"},
        {"GG", "not a GGUF"},
        {"\x02\0\0\0\0\0\0\0{}", "not a GGUF"},
        {"", "not a GGUF"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct writer file = {0};
        put_bytes(&file, others[i].start, i == 7 ? 10 : strlen(others[i].start));
        if (i == 7) put_data(&file, 10);
        refused(&file, GGUF_NOT_GGUF, i == 7 ? "safetensors" : others[i].hint);
    }
}

static void big_endian(void **state)
{
    struct sample *s = *state;
    patch_u32(s, s->version, 0x03000000);
    refused(&s->file, GGUF_BIG_ENDIAN, "big-endian");
}

static void bad_version(void **state)
{
    struct sample *s = *state;
    static const uint32_t versions[] = {0, 1, 4, 0xffffffff};
    for (size_t i = 0; i < 4; i++) {
        patch_u32(s, s->version, versions[i]);
        refused(&s->file, GGUF_BAD_VERSION, "version");
    }
}

static void truncated_header(void **state)
{
    struct sample *s = *state;
    s->file.size = 20;
    refused(&s->file, GGUF_TRUNCATED_HEADER, "truncated");
    s->file.size = s->alignment_value + 3;
    patch_u64(s, s->n_keys, 3);
    refused(&s->file, GGUF_TRUNCATED_HEADER, "general.alignment");
}

static void too_many_keys(void **state)
{
    struct sample *s = *state;
    static const uint64_t counts[] = {1000, UINT32_MAX, UINT64_MAX / 14 + 1, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        patch_u64(s, s->n_keys, counts[i]);
        refused(&s->file, GGUF_TOO_MANY_KEYS, "keys");
    }
}

static void too_many_tensors(void **state)
{
    struct sample *s = *state;
    static const uint64_t counts[] = {1000, UINT32_MAX, UINT64_MAX / 33 + 1, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        patch_u64(s, s->n_tensors, counts[i]);
        refused(&s->file, GGUF_TOO_MANY_TENSORS, "tensors");
    }
}

static void bad_key(void **state)
{
    struct sample *s = *state;
    s->file.bytes[s->second_key + 8] = '\n';
    refused(&s->file, GGUF_BAD_KEY, "metadata key 1");
    s->file.bytes[s->second_key + 8] = 0xff;
    refused(&s->file, GGUF_BAD_KEY, "metadata key 1");

    struct writer empty = {0};
    put_header(&empty, 3, 0, 1);
    put_key(&empty, "", GGUF_TYPE_U8);
    put_u64(&empty, 0);
    refused(&empty, GGUF_BAD_KEY, "metadata key 0");
}

static void key_longer_than_the_format_allows(void **state)
{
    (void)state;
    size_t length = 65536, size = 24 + 8 + length + 5;
    uint8_t *bytes = calloc(1, size);
    assert_non_null(bytes);
    for (int pass = 0; pass < 2; pass++) {
        struct writer head = {0};
        put_header(&head, 3, 0, 1);
        put_u64(&head, length - (pass == 0));
        memcpy(bytes, head.bytes, head.size);
        memset(bytes + head.size, 'k', length);
        memset(bytes + head.size + length - (pass == 0), 0, 6 - (size_t)pass); /* type U8 and its value */
        struct gguf *out;
        struct error err = {0};
        int status = gguf_open_memory(bytes, size - (pass == 0), NAME, &out, &err);
        assert_int_equal(status, pass == 0 ? 0 : ERROR_BAD_FILE);
        if (pass == 1) assert_int_equal(gguf_error_of(&err), GGUF_BAD_KEY);
        gguf_close(out);
    }
    free(bytes);
}

static void duplicate_key(void **state)
{
    struct sample *s = *state;
    memcpy(s->file.bytes + s->second_key, s->file.bytes + s->arch_key, 28);
    refused(&s->file, GGUF_DUPLICATE_KEY, "general.architecture");
}

static void bad_value_type(void **state)
{
    struct sample *s = *state;
    patch_u32(s, s->list_type, 13);
    refused(&s->file, GGUF_BAD_VALUE_TYPE, "test.list");
    patch_u32(s, s->arch_type, 13);
    refused(&s->file, GGUF_BAD_VALUE_TYPE, "general.architecture");
    patch_u32(s, s->arch_type, 0xffffffff);
    refused(&s->file, GGUF_BAD_VALUE_TYPE, "general.architecture");
}

static void bad_bool(void **state)
{
    struct sample *s = *state;
    patch_u32(s, s->list_type, GGUF_TYPE_BOOL);
    refused(&s->file, GGUF_BAD_BOOL, "test.list"); /* the length 3 of "one" is no bool */
    s->file.bytes[s->flag_value] = 2;
    refused(&s->file, GGUF_BAD_BOOL, "test.flag");
}

static void string_overrun(void **state)
{
    struct sample *s = *state;
    static const uint64_t lengths[] = {5000, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        patch_u64(s, s->list_first, lengths[i]);
        refused(&s->file, GGUF_STRING_OVERRUN, "test.list");
    }
    patch_u64(s, s->arch_value, UINT64_MAX);
    refused(&s->file, GGUF_STRING_OVERRUN, "general.architecture");
    patch_u64(s, s->arch_key, UINT64_MAX);
    refused(&s->file, GGUF_STRING_OVERRUN, "metadata key 0");
}

static void array_overrun(void **state)
{
    struct sample *s = *state;
    static const uint64_t counts[] = {5000, UINT64_MAX / 8 + 1, UINT64_MAX};
    static const uint32_t types[] = {GGUF_TYPE_STRING, GGUF_TYPE_U8, GGUF_TYPE_F64, GGUF_TYPE_ARRAY, GGUF_TYPE_BOOL};
    for (size_t i = 0; i < 15; i++) {
        patch_u64(s, s->list_count, counts[i % 3]);
        patch_u32(s, s->list_type, types[i / 3]);
        refused(&s->file, GGUF_ARRAY_OVERRUN, "test.list");
    }
}

static void array_too_deep(void **state)
{
    (void)state;
    for (int depth = 4; depth <= 300; depth += depth == 4 ? 1 : 295) {
        struct writer file = {0};
        put_header(&file, 3, 0, 1);
        put_key(&file, "test.nested", GGUF_TYPE_ARRAY);
        for (int i = 1; i < depth; i++) put_array(&file, GGUF_TYPE_ARRAY, 1);
        put_array(&file, GGUF_TYPE_U8, 0);
        if (depth == 4) {
            accepted(&file);
        } else {
            refused(&file, GGUF_ARRAY_TOO_DEEP, "test.nested");
        }
    }
}

static void bad_alignment(void **state)
{
    struct sample *s = *state;
    static const uint32_t alignments[] = {0, 4, 33, 48, 1u << 25, 0xffffffff};
    for (size_t i = 0; i < 6; i++) {
        patch_u32(s, s->alignment_value, alignments[i]);
        refused(&s->file, GGUF_BAD_ALIGNMENT, "general.alignment");
    }
    patch_u32(s, s->alignment_value, 32);
    patch_u32(s, s->alignment_value - 4, GGUF_TYPE_F32);
    refused(&s->file, GGUF_BAD_ALIGNMENT, "general.alignment");
}

static void bad_tensor_name(void **state)
{
    struct sample *s = *state;
    s->file.bytes[s->tensor_b + T_NAME] = 0;
    refused(&s->file, GGUF_BAD_TENSOR_NAME, "tensor 1");
    for (size_t length = 64; length <= 65; length++) {
        struct writer file = {0};
        char name[80] = "";
        memset(name, 'n', length);
        put_header(&file, 3, 1, 0);
        put_tensor(&file, name, 1, 1, GGUF_I8, 0);
        put_padding(&file, 32);
        put_data(&file, 1);
        if (length == 64) {
            accepted(&file);
        } else {
            refused(&file, GGUF_BAD_TENSOR_NAME, "tensor 0");
        }
    }
    struct writer empty = {0};
    put_header(&empty, 3, 1, 0);
    put_tensor(&empty, "", 1, 1, GGUF_I8, 0);
    put_data(&empty, 64);
    refused(&empty, GGUF_BAD_TENSOR_NAME, "tensor 0");
}

static void duplicate_tensor(void **state)
{
    struct sample *s = *state;
    s->file.bytes[s->tensor_b + T_NAME] = 'a';
    refused(&s->file, GGUF_DUPLICATE_TENSOR, "a.weight");
}

static void bad_dimensions(void **state)
{
    struct sample *s = *state;
    static const uint32_t counts[] = {0, 5, 0xffffffff};
    for (size_t i = 0; i < 3; i++) {
        patch_u32(s, s->tensor_b + T_N_DIMENSIONS, counts[i]);
        refused(&s->file, GGUF_BAD_DIMENSIONS, "b.weight");
    }
    patch_u32(s, s->tensor_b + T_N_DIMENSIONS, 2);
    patch_u64(s, s->tensor_b + T_ROWS, 0);
    refused(&s->file, GGUF_BAD_DIMENSIONS, "b.weight");
}

static void size_overflow(void **state)
{
    struct sample *s = *state;
    patch_u64(s, s->tensor_a + T_COLS, 1ull << 32);
    patch_u64(s, s->tensor_a + T_ROWS, 1ull << 32);
    refused(&s->file, GGUF_SIZE_OVERFLOW, "a.weight"); /* elements */
    patch_u64(s, s->tensor_a + T_ROWS, 1ull << 30);
    refused(&s->file, GGUF_SIZE_OVERFLOW, "a.weight"); /* bytes */
}

static void bad_tensor_type(void **state)
{
    struct sample *s = *state;
    static const uint32_t unknown[] = {42, 1000, 0xffffffff};
    for (size_t i = 0; i < 3; i++) {
        patch_u32(s, s->tensor_b + T_TYPE, unknown[i]);
        refused(&s->file, GGUF_BAD_TENSOR_TYPE, GGUF_SUPPORTED_TYPES);
    }
    static const struct {
        uint32_t number;
        const char *name;
    } removed[] = {{4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
                   {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}};
    for (size_t i = 0; i < 8; i++) {
        patch_u32(s, s->tensor_b + T_TYPE, removed[i].number);
        refused(&s->file, GGUF_BAD_TENSOR_TYPE, removed[i].name);
    }
}

static void bad_row(void **state)
{
    struct sample *s = *state;
    patch_u64(s, s->tensor_b + T_COLS, 33);
    refused(&s->file, GGUF_BAD_ROW, "b.weight");
    patch_u64(s, s->tensor_b + T_COLS, 32);
    patch_u32(s, s->tensor_b + T_TYPE, GGUF_Q4_K); /* 32 is no whole block of 256 */
    refused(&s->file, GGUF_BAD_ROW, "b.weight");
}

static void misaligned_tensor(void **state)
{
    struct sample *s = *state;
    patch_u64(s, s->tensor_b + T_OFFSET, 33);
    refused(&s->file, GGUF_MISALIGNED_TENSOR, "b.weight");
}

static void tensor_overrun(void **state)
{
    struct sample *s = *state;
    s->file.size--;
    refused(&s->file, GGUF_TENSOR_OVERRUN, "b.weight");
    s->file.size = s->data - 1; /* not even the padding is whole */
    refused(&s->file, GGUF_TENSOR_OVERRUN, "a.weight");
    s->file.size = s->data + 32 + 3 * 34;
    static const uint64_t offsets[] = {64, 1ull << 40, UINT64_MAX - 31};
    for (size_t i = 0; i < 3; i++) {
        patch_u64(s, s->tensor_b + T_OFFSET, offsets[i]);
        refused(&s->file, GGUF_TENSOR_OVERRUN, "b.weight");
    }
}

static void tensors_overlap(void **state)
{
    struct sample *s = *state;
    patch_u64(s, s->tensor_b + T_OFFSET, 0);
    refused(&s->file, GGUF_TENSORS_OVERLAP, "b.weight");
    patch_u64(s, s->tensor_a + T_OFFSET, 96); /* inside b, at 32 to 134 */
    patch_u64(s, s->tensor_b + T_OFFSET, 32);
    refused(&s->file, GGUF_TENSORS_OVERLAP, "a.weight");
}

/* GGUF_SPLIT_MISMATCH and the other cases of GGUF_SPLIT_MISSING: gguf_split_test.c. */
static void split_missing(void **state)
{
    (void)state;
    struct writer file = {0};
    put_header(&file, 3, 0, 3);
    put_key(&file, "split.no", GGUF_TYPE_U16);
    put_u16(&file, 0);
    put_key(&file, "split.count", GGUF_TYPE_U16);
    put_u16(&file, 2);
    put_key(&file, "split.tensors.count", GGUF_TYPE_I32);
    put_u32(&file, 0);
    refused(&file, GGUF_SPLIT_MISSING, "2 parts");
}

static void every_truncation_is_refused(void **state)
{
    struct sample *s = *state;
    for (size_t size = 0; size < s->file.size; size++) {
        struct gguf *out;
        uint8_t *copy;
        struct error err = {0};
        assert_int_equal(open_copy(&s->file, size, &out, &copy, &err), ERROR_BAD_FILE);
        assert_int_not_equal(gguf_error_of(&err), GGUF_NO_ERROR);
        free(copy);
    }
}

/* With any one byte changed the file opens or is refused by name; a sanitizer build sees what is wrong beyond that. */
static void every_flipped_byte_is_harmless(void **state)
{
    struct sample *s = *state;
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    unsigned n_refused = 0;
    for (size_t i = 0; i < s->data * 3; i++) {
        s->file.bytes[i / 3] ^= flips[i % 3];
        struct gguf *out;
        uint8_t *copy;
        struct error err = {0};
        int status = open_copy(&s->file, s->file.size, &out, &copy, &err);
        if (status < 0) {
            n_refused++;
            assert_int_not_equal(gguf_error_of(&err), GGUF_NO_ERROR);
        }
        gguf_close(out);
        free(copy);
        s->file.bytes[i / 3] ^= flips[i % 3];
    }
    assert_true(n_refused > s->data);
}

static void a_long_path_leaves_the_reason(void **state)
{
    struct sample *s = *state;
    char path[1000];
    memset(path, 'p', sizeof path);
    memcpy(path + sizeof path - 6, ".gguf", 6);
    s->file.bytes[s->flag_value] = 2;
    struct gguf *out;
    struct error err = {0};
    assert_int_equal(gguf_open_memory(s->file.bytes, s->file.size, path, &out, &err), ERROR_BAD_FILE);
    assert_non_null(strstr(err.text, "test.flag"));
    assert_non_null(strstr(err.text, "neither 0 nor 1"));
}

static void names_belong_to_errors_of_the_reader_only(void **state)
{
    (void)state;
    struct error err = {0};
    error_set(&err, ERROR_BAD_FILE, "something else");
    assert_int_equal(gguf_error_of(&err), GGUF_NO_ERROR);
    struct gguf *out;
    assert_int_equal(gguf_open("/nonexistent/model.gguf", &out, &err), ERROR_NOT_FOUND);
    assert_int_equal(gguf_error_of(&err), GGUF_NO_ERROR);
    assert_string_equal(gguf_error_name(GGUF_TENSOR_OVERRUN), "GGUF_TENSOR_OVERRUN");
    assert_string_equal(gguf_error_name(GGUF_NO_ERROR), "GGUF_NO_ERROR");
}

#define LIE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIE(the_sample_is_valid),
        LIE(not_gguf),
        LIE(big_endian),
        LIE(bad_version),
        LIE(truncated_header),
        LIE(too_many_keys),
        LIE(too_many_tensors),
        LIE(bad_key),
        LIE(key_longer_than_the_format_allows),
        LIE(duplicate_key),
        LIE(bad_value_type),
        LIE(bad_bool),
        LIE(string_overrun),
        LIE(array_overrun),
        LIE(array_too_deep),
        LIE(bad_alignment),
        LIE(bad_tensor_name),
        LIE(duplicate_tensor),
        LIE(bad_dimensions),
        LIE(size_overflow),
        LIE(bad_tensor_type),
        LIE(bad_row),
        LIE(misaligned_tensor),
        LIE(tensor_overrun),
        LIE(tensors_overlap),
        LIE(split_missing),
        LIE(every_truncation_is_refused),
        LIE(every_flipped_byte_is_harmless),
        LIE(a_long_path_leaves_the_reason),
        LIE(names_belong_to_errors_of_the_reader_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
