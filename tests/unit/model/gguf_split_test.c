/* SPDX-License-Identifier: Apache-2.0 */
/* Split models: any part opens all; parts that are missing or belong elsewhere are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/model/gguf_writer.h"

#include <stdio.h>
#include <unistd.h>

enum { N_PARTS = 3 };

struct folder {
    char path[64];
    char part[N_PARTS][128];
};

/* What one part claims; write_part makes the file. Part i holds one tensor "t<i>" of one byte, valued 10 + i. */
struct claims {
    unsigned number, count, n_tensors;
    const char *tensor;
};

static void write_part(const char *path, unsigned index, struct claims claims)
{
    struct writer file = {0};
    put_header(&file, 3, 1, 4);
    put_key(&file, "part.index", GGUF_TYPE_U32), put_u32(&file, index);
    put_key(&file, "split.no", GGUF_TYPE_U16), put_u16(&file, (uint16_t)claims.number);
    put_key(&file, "split.count", GGUF_TYPE_U16), put_u16(&file, (uint16_t)claims.count);
    put_key(&file, "split.tensors.count", GGUF_TYPE_I32), put_u32(&file, claims.n_tensors);
    put_tensor(&file, claims.tensor, 1, 1, GGUF_I8, 0);
    put_padding(&file, 32);
    put_u8(&file, (uint8_t)(10 + index));
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.bytes, 1, file.size, out), file.size);
    assert_int_equal(fclose(out), 0);
}

static const char *const tensor_names[N_PARTS] = {"t0", "t1", "t2"};

static struct claims honest(unsigned index)
{
    return (struct claims){.number = index, .count = N_PARTS, .n_tensors = N_PARTS, .tensor = tensor_names[index]};
}

static int setup(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    *state = folder;
    if (!folder) return -1;
    snprintf(folder->path, sizeof folder->path, "/tmp/sluice-split-XXXXXX");
    if (!mkdtemp(folder->path)) return -1;
    for (unsigned i = 0; i < N_PARTS; i++) {
        snprintf(folder->part[i], sizeof folder->part[i], "%s/model-%05u-of-%05u.gguf", folder->path, i + 1, N_PARTS);
        write_part(folder->part[i], i, honest(i));
    }
    return 0;
}

static int teardown(void **state)
{
    struct folder *folder = *state;
    for (int i = 0; i < N_PARTS; i++) unlink(folder->part[i]);
    rmdir(folder->path);
    free(folder);
    return 0;
}

static void refused(const char *path, enum gguf_error expected, const char *what)
{
    struct gguf *file;
    struct error err = {0};
    assert_int_equal(gguf_open(path, &file, &err), ERROR_BAD_FILE);
    assert_null(file);
    if (gguf_error_of(&err) != expected || !strstr(err.text, what))
        fail_msg("%s naming %s expected, got %s: %s", gguf_error_name(expected), what,
                 gguf_error_name(gguf_error_of(&err)), err.text);
}

static void any_part_opens_all(void **state)
{
    struct folder *folder = *state;
    for (int i = 0; i < N_PARTS; i++) {
        struct gguf *file;
        struct error err = {0};
        if (gguf_open(folder->part[i], &file, &err) < 0) fail_msg("%s", err.text);
        assert_int_equal(gguf_n_parts(file), N_PARTS);
        assert_int_equal(gguf_n_tensors(file), N_PARTS);
        assert_string_equal(gguf_path(file), folder->part[0]);
        uint64_t n_bytes = 0;
        for (unsigned p = 0; p < N_PARTS; p++) {
            size_t size;
            assert_memory_equal(gguf_part_bytes(file, p, &size), "GGUF", 4);
            n_bytes += size;
        }
        assert_int_equal(n_bytes, gguf_file_bytes(file));
        uint32_t index = 9;
        assert_int_equal(gguf_get_u32(file, "part.index", &index, &err), 1);
        assert_int_equal(index, 0); /* the metadata is the first part's */
        for (int t = 0; t < N_PARTS; t++) {
            const struct gguf_tensor *tensor = gguf_find_tensor(file, tensor_names[t]);
            assert_ptr_equal(tensor, gguf_tensor_at(file, (size_t)t));
            assert_int_equal(tensor->data[0], 10 + t);
        }
        gguf_close(file);
    }
}

static void a_count_of_one_is_a_whole_file(void **state)
{
    struct folder *folder = *state;
    write_part(folder->part[0], 0, (struct claims){.number = 0, .count = 1, .n_tensors = 1, .tensor = "t0"});
    struct gguf *file;
    assert_int_equal(gguf_open(folder->part[0], &file, NULL), 0);
    assert_int_equal(gguf_n_parts(file), 1);
    gguf_close(file);
}

static void missing_part(void **state)
{
    struct folder *folder = *state;
    unlink(folder->part[1]);
    refused(folder->part[0], GGUF_SPLIT_MISSING, "model-00002-of-00003.gguf");
    refused(folder->part[2], GGUF_SPLIT_MISSING, "model-00002-of-00003.gguf");
}

static void renamed_part(void **state)
{
    struct folder *folder = *state;
    char other[160];
    snprintf(other, sizeof other, "%s/model.gguf", folder->path);
    assert_int_equal(rename(folder->part[0], other), 0);
    refused(other, GGUF_SPLIT_MISSING, "rename");
    unlink(other);
}

static void mismatched_parts(void **state)
{
    struct folder *folder = *state;
    static const struct {
        struct claims claims; /* of the second part */
        const char *what;
    } cases[] = {
        {{.number = 2, .count = 3, .n_tensors = 3, .tensor = "t1"}, "split.no"},
        {{.number = 1, .count = 4, .n_tensors = 3, .tensor = "t1"}, "split.count"},
        {{.number = 1, .count = 3, .n_tensors = 9, .tensor = "t1"}, "split.tensors.count"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_part(folder->part[1], 1, cases[i].claims);
        refused(folder->part[0], GGUF_SPLIT_MISMATCH, cases[i].what);
    }
}

static void parts_with_too_few_tensors(void **state)
{
    struct folder *folder = *state;
    for (unsigned i = 0; i < N_PARTS; i++) {
        struct claims claims = honest(i);
        claims.n_tensors = N_PARTS + 1;
        write_part(folder->part[i], i, claims);
    }
    refused(folder->part[0], GGUF_SPLIT_MISMATCH, "split.tensors.count");
}

static void a_number_beyond_the_count(void **state)
{
    struct folder *folder = *state;
    write_part(folder->part[0], 0, (struct claims){.number = 3, .count = 3, .n_tensors = 3, .tensor = "t0"});
    refused(folder->part[0], GGUF_SPLIT_MISMATCH, "split.no");
}

static void the_same_tensor_in_two_parts(void **state)
{
    struct folder *folder = *state;
    struct claims claims = honest(2);
    claims.tensor = "t0";
    write_part(folder->part[2], 2, claims);
    refused(folder->part[0], GGUF_DUPLICATE_TENSOR, "t0");
}

static void a_damaged_part_is_named(void **state)
{
    struct folder *folder = *state;
    assert_int_equal(truncate(folder->part[2], 40), 0);
    struct gguf *file;
    struct error err = {0};
    assert_int_equal(gguf_open(folder->part[0], &file, &err), ERROR_BAD_FILE);
    assert_non_null(strstr(err.text, "model-00003-of-00003.gguf"));
}

#define SPLIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT(any_part_opens_all),
        SPLIT(a_count_of_one_is_a_whole_file),
        SPLIT(missing_part),
        SPLIT(renamed_part),
        SPLIT(mismatched_parts),
        SPLIT(parts_with_too_few_tensors),
        SPLIT(a_number_beyond_the_count),
        SPLIT(the_same_tensor_in_two_parts),
        SPLIT(a_damaged_part_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
