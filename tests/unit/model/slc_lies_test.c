/* SPDX-License-Identifier: Apache-2.0 */
/* One test for every way a packed file can lie, with all hashes right unless the hash is the lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/model/model_internal.h"
#include "host/model/slc_write.h"
#include "tests/unit/model/slc_seal.h"

#include <stdio.h>
#include <stdlib.h>

#define DENSE FIXTURES "/models/llama/model-q8_0.gguf"

static uint8_t *good, *bytes; /* a whole file, and the copy that lies */
static size_t good_size, size;
static unsigned seen; /* bit for each enum slc_error */

static int make_good(void **state)
{
    (void)state;
    struct error err = {0};
    struct model *model;
    struct model_conversion conversion;
    const struct slc_write_options options = {.source_name = "model-q8_0.gguf"};
    FILE *stream = tmpfile();
    if (stream == NULL || model_open(DENSE, &model, &err) < 0) return -1;
    if (slc_write(model, &options, stream, &conversion, &err) < 0) return -1;
    model_close(model);
    fseeko(stream, 0, SEEK_END);
    good_size = (size_t)ftello(stream);
    rewind(stream);
    good = malloc(good_size);
    bytes = malloc(good_size + 2 * SLC_PAGE);
    if (good == NULL || bytes == NULL || fread(good, 1, good_size, stream) != good_size) return -1;
    fclose(stream);
    return 0;
}

static int free_good(void **state)
{
    (void)state;
    free(good);
    free(bytes);
    return 0;
}

static int restore(void **state)
{
    (void)state;
    memcpy(bytes, good, good_size);
    size = good_size;
    return 0;
}

static uint8_t *entry(unsigned i) { return bytes + load_u64(bytes + SLC_AT_TABLE) + (size_t)i * SLC_ENTRY_BYTES; }

/* Opened as a model: what the table leaves out shows there. On the heap at its exact size, for the sanitizer. */
static void expect(enum slc_error want, int code, const char *text)
{
    struct error err = {0};
    struct model *model;
    uint8_t *exact = malloc(size);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    int status = model_open_memory(exact, size, "x/file.slc", &model, &err);
    free(exact);
    if (status == 0) fail_msg("%s was not found", slc_error_name(want));
    if (slc_error_of(&err) != want)
        fail_msg("%s, not %s: %s", slc_error_name(slc_error_of(&err)), slc_error_name(want), err.text);
    assert_int_equal(status, code);
    if (strstr(err.text, text) == NULL) fail_msg("\"%s\" is not in: %s", text, err.text);
    assert_non_null(strstr(err.text, "x/file.slc"));
    assert_non_null(strstr(err.text, "(pack it again: sluice pack "));
    seen |= 1u << want;
}

static void refused(enum slc_error want, const char *text)
{
    slc_seal(bytes, size, SEAL_ALL & ~(unsigned)SEAL_TENSORS);
    expect(want, ERROR_BAD_FILE, text);
}

static void test_good_opens(void **state)
{
    (void)state;
    struct error err = {0};
    struct model *model;
    slc_seal(bytes, size, SEAL_ALL); /* changes nothing */
    assert_memory_equal(bytes, good, size);
    if (model_open_memory(bytes, size, "file.slc", &model, &err) < 0) fail_msg("%s", err.text);
    model_close(model);
}

static void test_not_a_packed_file(void **state)
{
    (void)state;
    struct slc *slc;
    struct error err = {0};
    bytes[0] = 'G';
    assert_int_equal(slc_open_memory(bytes, size, "file.slc", &slc, &err), ERROR_BAD_FILE);
    assert_int_equal(slc_error_of(&err), SLC_NOT_SLC);
    seen |= 1u << SLC_NOT_SLC;
}

static void test_another_version(void **state)
{
    (void)state;
    store_u32(bytes + SLC_AT_VERSION, SLC_VERSION + 1);
    expect(SLC_BAD_VERSION, ERROR_UNSUPPORTED, ".slc version 2, this release reads 1"); /* whatever its hashes are */
}

static void test_another_abi(void **state)
{
    (void)state;
    store_u32(bytes + SLC_AT_ABI, CARD_ABI_VERSION - 1);
    slc_seal(bytes, size, SEAL_HEADER);
    expect(SLC_BAD_ABI, ERROR_UNSUPPORTED, "sluice pack model-q8_0.gguf x/file.slc");
}

static void test_another_layout(void **state)
{
    (void)state;
    bytes[SLC_AT_LAYOUT] ^= 1;
    slc_seal(bytes, size, SEAL_HEADER);
    expect(SLC_BAD_LAYOUT, ERROR_UNSUPPORTED, "card layout");
}

static void test_truncated_anywhere(void **state)
{
    (void)state;
    for (size = 8; size < good_size; size += size < 2 * SLC_PAGE ? 509 : 40961)
        expect(SLC_TRUNCATED, ERROR_BAD_FILE, "");
    size = good_size + SLC_PAGE;
    memset(bytes + good_size, 0, SLC_PAGE);
    expect(SLC_TRUNCATED, ERROR_BAD_FILE, "instead of");
}

static void test_damaged_header(void **state)
{
    for (size_t at = SLC_AT_ABI; at < SLC_PAGE; at += at < 420 ? 1 : 97) {
        restore(state);
        bytes[at] ^= 4;
        expect(SLC_BAD_HEADER, ERROR_BAD_FILE, "header is damaged");
    }
    restore(state);
    memset(bytes + SLC_AT_SOURCE_NAME, 'x', SLC_SOURCE_NAME_BYTES);
    slc_seal(bytes, size, SEAL_HEADER);
    expect(SLC_BAD_HEADER, ERROR_BAD_FILE, "name does not end");
}

static void test_damaged_metadata(void **state)
{
    uint64_t at = load_u64(good + SLC_AT_METADATA), n = load_u64(good + SLC_AT_METADATA_BYTES);
    for (uint64_t i = 0; i < n; i += 37) {
        restore(state);
        bytes[at + i] ^= 1;
        expect(SLC_BAD_METADATA, ERROR_BAD_FILE, "metadata is damaged");
    }
    restore(state);
    store_u64(bytes + at, n);
    refused(SLC_BAD_METADATA, "longer than all");
    restore(state);
    store_u64(bytes + at, UINT64_MAX - 3);
    refused(SLC_BAD_METADATA, "longer than all");
    static const uint32_t parts[] = {0, 2, 100000, UINT32_MAX};
    for (unsigned i = 0; i < 4; i++) {
        restore(state);
        store_u32(bytes + SLC_AT_N_PARTS, parts[i]);
        refused(SLC_BAD_METADATA, "metadata");
    }
}

static void test_damaged_table(void **state)
{
    uint64_t at = load_u64(good + SLC_AT_TABLE), n = load_u32(good + SLC_AT_N_TENSORS) * (uint64_t)SLC_ENTRY_BYTES;
    for (uint64_t i = 0; i < n; i += 29) {
        restore(state);
        bytes[at + i] ^= 0x40;
        expect(SLC_BAD_TABLE, ERROR_BAD_FILE, "table of tensors is damaged");
    }
}

static void test_ranges_outside_the_file(void **state)
{
    static const struct {
        size_t offset_at, bytes_at;
    } ranges[] = {{SLC_AT_METADATA, SLC_AT_METADATA_BYTES}, {SLC_AT_TABLE, 0}};
    const uint64_t offsets[] = {0, 8, good_size, good_size - 8, UINT64_MAX - 7, UINT64_MAX, SLC_PAGE + 4};
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
            restore(state);
            store_u64(bytes + ranges[r].offset_at, offsets[i]);
            refused(SLC_BAD_RANGE, "outside the file");
        }
    restore(state);
    store_u64(bytes + SLC_AT_METADATA_BYTES, UINT64_MAX - 100);
    refused(SLC_BAD_RANGE, "metadata");
    restore(state);
    store_u32(bytes + SLC_AT_N_TENSORS, UINT32_MAX);
    refused(SLC_BAD_RANGE, "table");
}

static void test_tensors_outside_the_file(void **state)
{
    const uint64_t offsets[] = {0, good_size, card_round_up(good_size, SLC_PAGE), UINT64_MAX - 4095, SLC_PAGE + 64};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        restore(state);
        store_u64(entry(3) + SLC_ENTRY_OFFSET, offsets[i]);
        refused(SLC_BAD_RANGE, "tensor rope_freqs.weight");
    }
}

static void test_overlaps(void **state)
{
    (void)state;
    store_u64(entry(4) + SLC_ENTRY_OFFSET, load_u64(entry(3) + SLC_ENTRY_OFFSET));
    refused(SLC_OVERLAP, "rope_freqs.weight");
    restore(state);
    store_u64(entry(3) + SLC_ENTRY_OFFSET, SLC_PAGE); /* where the metadata are */
    refused(SLC_OVERLAP, "the metadata");
    restore(state);
    store_u64(bytes + SLC_AT_TABLE, load_u64(entry(3) + SLC_ENTRY_OFFSET));
    memcpy(entry(0), good + load_u64(good + SLC_AT_TABLE), load_u32(good + SLC_AT_N_TENSORS) * (size_t)SLC_ENTRY_BYTES);
    refused(SLC_OVERLAP, "the table of tensors");
}

static void test_tensors_that_contradict_the_metadata(void **state)
{
    static const size_t fields[] = {SLC_ENTRY_FORMAT,  SLC_ENTRY_TYPE,    SLC_ENTRY_ROWS,       SLC_ENTRY_COLS,
                                    SLC_ENTRY_EXPERTS, SLC_ENTRY_N_BYTES, SLC_ENTRY_N_BYTES + 4};
    static const uint32_t values[] = {1, 2, 3, 11, 100, 0x7fffffff, UINT32_MAX, 0};
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            restore(state);
            if (load_u32(entry(5) + fields[f]) == values[v]) continue;
            if (fields[f] == SLC_ENTRY_FORMAT && values[v] == 0)
                continue; /* Q8_0 has as many bytes: it is missing then */
            store_u32(entry(5) + fields[f], values[v]);
            refused(SLC_BAD_TENSOR, "tensor blk.0.attn_q.weight");
        }
    restore(state);
    memcpy(entry(5), "nobody.knows", 13);
    refused(SLC_BAD_TENSOR, "tensor nobody.knows is not in its metadata");
}

static void test_duplicates_and_what_is_missing(void **state)
{
    uint8_t *last = entry(load_u32(bytes + SLC_AT_N_TENSORS) - 1);
    char name[SLC_NAME_BYTES + 1] = {0};
    memcpy(name, last, SLC_NAME_BYTES);
    store_u32(bytes + SLC_AT_N_TENSORS, load_u32(bytes + SLC_AT_N_TENSORS) - 1);
    refused(SLC_MISSING_TENSOR, name);
    restore(state);
    memcpy(entry(3), entry(12), SLC_ENTRY_BYTES);
    refused(SLC_DUPLICATE_TENSOR, "is there twice");
    restore(state);
    store_u32(bytes + SLC_AT_N_TENSORS, 0);
    refused(SLC_MISSING_TENSOR, "token_embd.weight");
}

static void test_damaged_tensor(void **state)
{
    (void)state;
    struct slc *slc;
    struct error err = {0};
    bytes[load_u64(entry(5) + SLC_ENTRY_OFFSET) + 17] ^= 1;
    assert_int_equal(slc_open_memory(bytes, size, "file.slc", &slc, &err), 0);
    for (size_t i = 0; i < slc_n_tensors(slc); i++)
        assert_int_equal(slc_verify(slc, slc_tensor_at(slc, i), &err), i == 5 ? ERROR_BAD_FILE : 0);
    assert_int_equal(slc_error_of(&err), SLC_DAMAGED_TENSOR);
    slc_close(slc);
    seen |= 1u << SLC_DAMAGED_TENSOR;
}

/* Last: each name of SLC_ERRORS was the answer to some lie above. */
static void test_every_error_was_seen(void **state)
{
    (void)state;
#define CHECK_SEEN(name, text)                                                                                         \
    if (!(seen & 1u << (name))) fail_msg("no test for " #name);
    SLC_ERRORS(CHECK_SEEN)
#undef CHECK_SEEN
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good_opens, restore),
        cmocka_unit_test_setup(test_not_a_packed_file, restore),
        cmocka_unit_test_setup(test_another_version, restore),
        cmocka_unit_test_setup(test_another_abi, restore),
        cmocka_unit_test_setup(test_another_layout, restore),
        cmocka_unit_test_setup(test_truncated_anywhere, restore),
        cmocka_unit_test_setup(test_damaged_header, restore),
        cmocka_unit_test_setup(test_damaged_metadata, restore),
        cmocka_unit_test_setup(test_damaged_table, restore),
        cmocka_unit_test_setup(test_ranges_outside_the_file, restore),
        cmocka_unit_test_setup(test_tensors_outside_the_file, restore),
        cmocka_unit_test_setup(test_overlaps, restore),
        cmocka_unit_test_setup(test_tensors_that_contradict_the_metadata, restore),
        cmocka_unit_test_setup(test_duplicates_and_what_is_missing, restore),
        cmocka_unit_test_setup(test_damaged_tensor, restore),
        cmocka_unit_test(test_every_error_was_seen),
    };
    return cmocka_run_group_tests(tests, make_good, free_good);
}
