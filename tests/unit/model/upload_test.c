/* SPDX-License-Identifier: Apache-2.0 */
/* Weights through threads, with and without buffers: the bytes on the card are those of packing at one go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card_backend.h"
#include "host/model/upload.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *matrix_bytes(enum gguf_tensor_type type, uint32_t rows, uint32_t cols)
{
    size_t n = (size_t)rows * cols / gguf_block_elements(type) * gguf_block_bytes(type);
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)((i * 2654435761u >> 13) & 0x3b); /* no scale is infinite */
    return bytes;
}

/* The matrix at target on the card, tile by tile as the rule of card_layout.h says; the last tile of F32 has less rows. */
static void read_matrix(struct card *card, const struct upload_target *target, uint32_t cols, uint64_t bytes,
                        uint8_t *out)
{
    uint64_t tile_bytes = target->banks > 1 ? card_tile_bytes(target->format, cols) : bytes;
    for (uint64_t tile = 0; tile * tile_bytes < bytes; tile++) {
        struct error err = {0};
        unsigned bank = CARD_ADDR_BANK(target->address);
        uint64_t turn = (bank + tile) / target->banks;
        card_addr at = target->address;
        if (target->banks > 1)
            at = CARD_ADDR((bank + tile) % target->banks, CARD_ADDR_OFFSET(target->address) + turn * tile_bytes);
        uint64_t left = bytes - tile * tile_bytes, n = left < tile_bytes ? left : tile_bytes;
        if (card_read(card, out + tile * tile_bytes, at, n, NULL, 0, NULL, &err) < 0) fail_msg("%s", err.text);
    }
}

static struct card_backend_ops elsewhere_ops;

static int open_elsewhere(const struct card_options *options, const struct card_extents *extents,
                          struct card_backend **out, struct error *err)
{
    int status = card_sim_ops.open(options, extents, out, err);
    if (status == 0) (*out)->ops = &elsewhere_ops;
    return status;
}

/* A card whose memory is this process's, or one that does as if it were elsewhere. */
static void open_card(const struct card_options *options, bool elsewhere, struct card **card)
{
    struct error err = {0};
    elsewhere_ops = card_sim_ops;
    elsewhere_ops.open = open_elsewhere;
    elsewhere_ops.window = NULL;
    if (card_open_backend(elsewhere ? &elsewhere_ops : &card_sim_ops, options, card, &err) < 0)
        fail_msg("%s", err.text);
}

/* Uploads to a card of so many banks, from bank `first` on, and compares every byte. */
static void check_card(bool elsewhere, enum gguf_tensor_type type, unsigned format, uint32_t rows, uint32_t cols,
                       unsigned threads, unsigned banks, unsigned first)
{
    const struct card_options card_options = {.threads = 1, .memory_bytes = 128u << 20, .banks = banks};
    const struct model_load_options options = {.threads = threads};
    uint8_t *data = matrix_bytes(type, rows, cols);
    const struct pack_source source = {.type = type, .data = data, .rows = rows, .cols = cols};
    size_t n = card_matrix_bytes(format, rows, cols), bank_bytes = n;
    if (banks > 1) bank_bytes = (n / card_tile_bytes(format, cols) / banks + 2) * card_tile_bytes(format, cols);
    uint8_t *want = malloc(n), *got = malloc(n);
    struct pack_result result = {0}, at_once = {0};
    struct error err = {0};
    struct card *card;
    struct upload upload;
    uint64_t offset;
    pack_pieces(&source, format, 0, pack_n_pieces(rows), want, &at_once);
    open_card(&card_options, elsewhere, &card);
    assert_int_equal(card_alloc_dealt(card, banks, bank_bytes, &offset, &err), 0);
    const struct upload_target target = {.address = CARD_ADDR(first, offset), .format = format, .banks = banks};
    assert_int_equal(upload_open(&upload, card, &options, 100, &err), 0);
    if (upload_matrix(&upload, &source, &target, 100, &result, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(upload_finish(&upload, &err), 0);
    assert_int_equal(upload.done, 100);
    upload_close(&upload);
    read_matrix(card, &target, cols, n, got);
    assert_memory_equal(got, want, n);
    assert_int_equal(result.not_finite, at_once.not_finite);
    double difference = result.value_squares - at_once.value_squares; /* sums of parts may round differently */
    assert_true(difference <= 1e-12 * at_once.value_squares && difference >= -1e-12 * at_once.value_squares);
    card_close(card);
    free(data);
    free(want);
    free(got);
}

static void check_dealt(enum gguf_tensor_type type, unsigned format, uint32_t rows, uint32_t cols, unsigned threads,
                        unsigned banks, unsigned first)
{
    check_card(false, type, format, rows, cols, threads, banks, first);
    check_card(true, type, format, rows, cols, threads, banks, first);
}

static void check_upload(enum gguf_tensor_type type, unsigned format, uint32_t rows, uint32_t cols, unsigned threads)
{
    check_dealt(type, format, rows, cols, threads, 1, 0);
}

static void test_any_number_of_threads(void **state)
{
    (void)state;
    const unsigned threads[] = {0, 1, 2, 3, 7, 1000};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        check_upload(GGUF_Q4_0, CARD_FORMAT_INT4, 1000, 2048, threads[i]);
        check_upload(GGUF_F16, CARD_FORMAT_INT8, 515, 1000, threads[i]);
    }
}

static void test_more_than_the_buffers_hold(void **state)
{
    (void)state;
    check_upload(GGUF_Q8_0, CARD_FORMAT_INT8, 4001, 4096, 2); /* several chunks */
    check_upload(GGUF_Q4_0, CARD_FORMAT_F32, 1031, 4096, 2);  /* and a short last piece that is not padded */
}

static void test_a_tile_wider_than_a_buffer(void **state)
{
    (void)state;
    check_upload(GGUF_F32, CARD_FORMAT_F32, 33, 70000, 2); /* 16 rows are 4.5 MB */
}

static void test_dealt_over_any_number_of_banks(void **state)
{
    (void)state;
    const unsigned banks[] = {2, 3, 5, 32};
    for (size_t i = 0; i < sizeof banks / sizeof banks[0]; i++)
        for (unsigned threads = 1; threads <= 3; threads++) {
            check_dealt(GGUF_Q4_0, CARD_FORMAT_INT4, 1000, 2048, threads, banks[i], banks[i] / 2);
            check_dealt(GGUF_Q8_0, CARD_FORMAT_INT8, 4001, 4096, threads, banks[i], banks[i] - 1); /* several chunks */
            check_dealt(GGUF_MXFP4, CARD_FORMAT_MXFP4, 33, 2880, threads, banks[i], 1); /* fewer tiles than banks */
            check_dealt(GGUF_F16, CARD_FORMAT_INT8, 1, 100, threads, banks[i], 0);
            check_dealt(GGUF_F32, CARD_FORMAT_F32, 130, 7, threads, banks[i], 1);      /* the last tile has two rows */
            check_dealt(GGUF_Q4_0, CARD_FORMAT_F32, 1031, 4096, threads, banks[i], 0); /* several chunks */
            check_dealt(GGUF_F32, CARD_FORMAT_F32, 5, 33, threads, banks[i], 1);
        }
}

/* A chunk goes to each bank in one copy: no more copies than that. */
static void test_each_bank_gets_its_tiles_at_once(void **state)
{
    (void)state;
    const struct card_options card_options = {.threads = 1, .memory_bytes = 64u << 20, .banks = 4};
    struct upload upload;
    struct card *card;
    struct error err = {0};
    struct pack_result result = {0};
    uint64_t offset;
    card_event before, after;
    uint8_t *data = matrix_bytes(GGUF_Q4_0, 640, 2048), probe = 0;
    const struct pack_source source = {.type = GGUF_Q4_0, .data = data, .rows = 640, .cols = 2048};
    open_card(&card_options, true, &card);
    assert_int_equal(card_alloc_dealt(card, 4, 1u << 20, &offset, &err), 0);
    const struct upload_target target = {.address = CARD_ADDR(2, offset), .format = CARD_FORMAT_INT4, .banks = 4};
    assert_int_equal(upload_open(&upload, card, NULL, 1, &err), 0);
    assert_int_equal(card_read(card, &probe, CARD_ADDR(0, offset), 1, NULL, 0, &before, &err), 0);
    assert_int_equal(upload_matrix(&upload, &source, &target, 1, &result, &err), 0);
    assert_int_equal(card_read(card, &probe, CARD_ADDR(0, offset), 1, NULL, 0, &after, &err), 0);
    assert_int_equal(after - before, 4 + 1); /* events are numbered by call */
    upload_close(&upload);
    card_close(card);
    free(data);
}

/* Into card memory of this process: no copy, and what lies around a matrix stays. */
static void test_card_memory_is_written_without_copies(void **state)
{
    (void)state;
    const struct card_options card_options = {.threads = 1, .memory_bytes = 64u << 20};
    const struct model_load_options options = {.threads = 3};
    struct upload upload;
    struct card *card;
    struct error err = {0};
    struct pack_result result = {0};
    card_addr address;
    card_event before, after;
    uint8_t *data = matrix_bytes(GGUF_F32, 33, 60), probe = 0;
    const struct pack_source source = {.type = GGUF_F32, .data = data, .rows = 33, .cols = 60};
    const size_t n = card_matrix_bytes(CARD_FORMAT_F32, 33, 60);
    open_card(&card_options, false, &card);
    assert_int_equal(card_alloc(card, 0, n + 64, &address, &err), 0);
    memset(card_window(card, address, n + 64), 0xee, n + 64);
    const struct upload_target target = {.address = address, .format = CARD_FORMAT_F32, .banks = 1};
    assert_int_equal(upload_open(&upload, card, &options, 1, &err), 0);
    assert_int_equal(card_read(card, &probe, address, 1, NULL, 0, &before, &err), 0);
    assert_int_equal(upload_matrix(&upload, &source, &target, 1, &result, &err), 0);
    assert_int_equal(upload_finish(&upload, &err), 0);
    assert_int_equal(card_read(card, &probe, address, 1, NULL, 0, &after, &err), 0);
    assert_int_equal(after - before, 1); /* events are numbered by call */
    const uint8_t *bytes = card_window(card, address, n + 64);
    assert_memory_equal(bytes, data, n);
    for (size_t i = n; i < n + 64; i++) assert_int_equal(bytes[i], 0xee);
    upload_close(&upload);
    card_close(card);
    free(data);
}

/* However many threads see however many bad matrices, the first one says so; what was not asked for is not packed. */
static void test_the_first_bad_matrix_says_so(void **state)
{
    (void)state;
    enum { MATRICES = 40, ROWS = 64, COLS = 1024, BAD = 11 };
    const struct card_options card_options = {.threads = 1, .memory_bytes = 64u << 20};
    for (unsigned threads = 1; threads <= 4; threads++) {
        const struct model_load_options options = {.threads = threads};
        struct pack_result results[MATRICES] = {0};
        uint8_t *good = matrix_bytes(GGUF_Q8_0, ROWS, COLS), *bad = matrix_bytes(GGUF_Q8_0, ROWS, COLS);
        struct upload upload;
        struct card *card;
        struct error err = {0};
        memset(bad + 34 * 1000, 0xff, 2); /* a scale that is not a number */
        open_card(&card_options, false, &card);
        assert_int_equal(upload_open(&upload, card, &options, MATRICES, &err), 0);
        for (unsigned i = 0; i < MATRICES; i++) {
            const struct pack_source source = {
                .type = GGUF_Q8_0, .data = i >= BAD ? bad : good, .rows = ROWS, .cols = COLS};
            struct upload_target target = {.format = CARD_FORMAT_INT8, .banks = 1};
            uint64_t bytes = card_matrix_bytes(CARD_FORMAT_INT8, ROWS, COLS);
            assert_int_equal(card_alloc(card, 0, bytes, &target.address, &err), 0);
            assert_int_equal(upload_matrix(&upload, &source, &target, 1, &results[i], &err), 0);
        }
        assert_int_equal(upload_finish(&upload, &err), 0);
        for (unsigned i = 0; i < BAD; i++) assert_false(results[i].not_finite);
        assert_true(results[BAD].not_finite);
        assert_true(upload.done >= BAD - threads && upload.done < MATRICES);
        upload_close(&upload);
        card_close(card);
        free(good);
        free(bad);
    }
}

/* Sums of rounding errors do not depend on who packed what. */
static void test_sums_are_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    const struct card_options card_options = {.threads = 1, .memory_bytes = 64u << 20};
    uint8_t *data = matrix_bytes(GGUF_BF16, 5000, 1024);
    const struct pack_source source = {.type = GGUF_BF16, .data = data, .rows = 5000, .cols = 1024};
    struct pack_result first = {0};
    for (unsigned threads = 1; threads <= 5; threads++) {
        const struct model_load_options options = {.threads = threads};
        struct upload_target target = {.format = CARD_FORMAT_INT8, .banks = 1};
        struct pack_result result = {0};
        struct upload upload;
        struct card *card;
        struct error err = {0};
        open_card(&card_options, false, &card);
        assert_int_equal(card_alloc(card, 0, card_matrix_bytes(CARD_FORMAT_INT8, 5000, 1024), &target.address, &err),
                         0);
        assert_int_equal(upload_open(&upload, card, &options, 1, &err), 0);
        assert_int_equal(upload_matrix(&upload, &source, &target, 1, &result, &err), 0);
        assert_int_equal(upload_finish(&upload, &err), 0);
        upload_close(&upload);
        card_close(card);
        if (threads == 1) first = result;
        assert_true(first.error_squares > 0 && first.value_squares > 0);
        assert_memory_equal(&result.error_squares, &first.error_squares, sizeof(double));
        assert_memory_equal(&result.value_squares, &first.value_squares, sizeof(double));
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_threads),
        cmocka_unit_test(test_card_memory_is_written_without_copies),
        cmocka_unit_test(test_the_first_bad_matrix_says_so),
        cmocka_unit_test(test_sums_are_the_same_for_any_number_of_threads),
        cmocka_unit_test(test_more_than_the_buffers_hold),
        cmocka_unit_test(test_a_tile_wider_than_a_buffer),
        cmocka_unit_test(test_dealt_over_any_number_of_banks),
        cmocka_unit_test(test_each_bank_gets_its_tiles_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
