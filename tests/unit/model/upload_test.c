/* SPDX-License-Identifier: Apache-2.0 */
/* Weights through threads and buffers: the bytes on the card are those of packing at one go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static void check_upload(enum gguf_tensor_type type, unsigned format, uint32_t rows, uint32_t cols, unsigned threads)
{
    const struct card_options card_options = {.threads = 1, .memory_bytes = 64u << 20};
    const struct model_load_options options = {.threads = threads};
    uint8_t *data = matrix_bytes(type, rows, cols);
    const struct pack_source source = {type, data, rows, cols};
    size_t n = card_matrix_bytes(format, rows, cols);
    uint8_t *want = malloc(n), *got = malloc(n);
    struct pack_result result = {0}, at_once = {0};
    struct error err = {0};
    struct card *card;
    struct upload upload;
    card_addr address;
    card_event done;
    pack_pieces(&source, format, 0, pack_n_pieces(rows), want, &at_once);
    assert_int_equal(card_open("sim", &card_options, &card, &err), 0);
    assert_int_equal(card_alloc(card, 0, n, &address, &err), 0);
    assert_int_equal(upload_open(&upload, card, &options, 100, &err), 0);
    if (upload_matrix(&upload, &source, format, address, 100, &result, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(upload_finish(&upload, &err), 0);
    assert_int_equal(upload.done, 100);
    upload_close(&upload);
    assert_int_equal(card_read(card, got, address, n, NULL, 0, &done, &err), 0);
    assert_int_equal(card_wait(card, done, 0, &err), 0);
    assert_memory_equal(got, want, n);
    assert_int_equal(result.not_finite, at_once.not_finite);
    double difference = result.value_squares - at_once.value_squares; /* sums of parts may round differently */
    assert_true(difference <= 1e-12 * at_once.value_squares && difference >= -1e-12 * at_once.value_squares);
    card_close(card);
    free(data);
    free(want);
    free(got);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_threads),
        cmocka_unit_test(test_more_than_the_buffers_hold),
        cmocka_unit_test(test_a_tile_wider_than_a_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
