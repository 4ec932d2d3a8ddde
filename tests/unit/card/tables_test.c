/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in card memory that lie (positions, page entries, page numbers, experts, slot addresses, indexes) fail the
 * program with ERROR_CARD, on every backend, and leave the card usable. NaN and infinity in the data are no failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"

#ifdef SLUICE_OPENCL
static const char *const backends[] = {"sim", "ref", "opencl"};
#else
static const char *const backends[] = {"sim", "ref"};
#endif
#define N_BACKENDS (sizeof backends / sizeof *backends)

static void assert_fails(struct card *card, const struct card_descriptor *d, const char *says)
{
    struct error err = {0};
    card_event done;
    const struct card_descriptor program[2] = {*d, *d};
    assert_int_equal(card_submit(card, program, 2, NULL, 0, &done, &err), 0);
    assert_int_equal(card_wait(card, done, 1000, &err), ERROR_CARD);
    if (!strstr(err.text, says) || !strstr(err.text, "descriptor 0 (")) {
        fail_msg("says \"%s\", should say \"%s\"", err.text, says);
    }
    /* Waiting again tells the same; without an event the call itself tells. */
    assert_int_equal(card_wait(card, done, 0, NULL), ERROR_CARD);
    assert_int_equal(card_submit(card, d, 1, NULL, 0, NULL, &err), ERROR_CARD);
}

/* Batch table of two tokens and four page numbers, at the end of its allocation. */
struct batch {
    struct card_batch_token token[2];
    uint32_t page[4];
};

enum { PAGES = 3, KV_HEADS = 2, HEADS = 4, COLS = 8 };

static struct card_descriptor paged(struct card *card, unsigned opcode)
{
    struct card_descriptor d = {.opcode = (uint8_t)opcode, .format = CARD_FORMAT_F16, .tokens = 2, .cols = COLS};
    const card_addr pool = put(card, NULL, PAGES * card_page_bytes(CARD_FORMAT_F16, KV_HEADS, COLS));
    const card_addr x = put(card, NULL, 2 * HEADS * COLS * 4), y = put(card, NULL, 2 * HEADS * COLS * 4);
    d.rows = opcode == CARD_OP_KV_WRITE ? KV_HEADS : HEADS;
    d.src = x;
    d.dst = opcode == CARD_OP_KV_WRITE ? pool : y;
    d.weight = opcode == CARD_OP_KV_WRITE ? y : opcode == CARD_OP_ROPE ? x : pool;
    d.param[0] = PAGES;
    d.param[1] = bits_of(1);
    d.param[2] = KV_HEADS;
    if (opcode == CARD_OP_ROPE) d.param[0] = COLS;
    return d;
}

static void check_batch(struct card *card, unsigned opcode, struct batch batch, const char *says)
{
    struct card_descriptor d = paged(card, opcode);
    d.aux = put(card, &batch, sizeof batch);
    if (says)
        assert_fails(card, &d, says);
    else
        run_program(card, &d, 1);
    assert_int_equal(card_reset(card, NULL), 0);
}

static void lying_batch_tables_fail(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 2);
        const struct batch good = {{{33, 0}, {5, 2}}, {2, 0, 1, 0}};
        for (unsigned opcode = CARD_OP_ROPE; opcode <= CARD_OP_ATTENTION; opcode++) {
            struct batch batch = good;
            check_batch(card, opcode, batch, NULL);
            batch.token[1].position = CARD_MAX_POSITIONS;
            check_batch(card, opcode, batch, "token 1: position 4194304, a card counts to 4194303");
            if (opcode == CARD_OP_ROPE) continue;
            batch = good;
            batch.token[1].first_page = 4;
            check_batch(card, opcode, batch, "token 1: page entry 4 lies past the end");
            batch.token[1].first_page = UINT32_MAX;
            check_batch(card, opcode, batch, "token 1: page entry 4294967295 lies past the end");
            batch = good;
            batch.token[0].position = 5 * 32;
            check_batch(card, opcode, batch, "token 0: page entry 5 lies past the end");
            batch = good;
            batch.page[1] = PAGES;
            check_batch(card, opcode, batch, "token 0: page number 3, the pool has 3 pages");
            batch.page[1] = UINT32_MAX;
            check_batch(card, opcode, batch, "token 0: page number 4294967295, the pool has 3");
        }
        /* Attention reads all pages up to the token, KV_WRITE the token's only. */
        struct batch batch = good;
        batch.page[0] = 77;
        check_batch(card, CARD_OP_KV_WRITE, batch, NULL);
        check_batch(card, CARD_OP_ATTENTION, batch, "token 0: page number 77");
        card_close(card);
    }
}

/* Two tokens of one sequence share checked pages; the later token's own pages must still be looked at. */
static void pages_of_later_tokens_are_checked_too(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        check_batch(card, CARD_OP_ATTENTION, (struct batch){{{31, 0}, {32, 0}}, {0, 9, 0, 0}},
                    "token 1: page number 9");
        check_batch(card, CARD_OP_ATTENTION, (struct batch){{{31, 1}, {63, 0}}, {9, 0, 0, 0}},
                    "token 1: page number 9");
        check_batch(card, CARD_OP_ATTENTION, (struct batch){{{95, 0}, {31, 0}}, {0, 1, 2, 9}}, NULL);
        card_close(card);
    }
}

/* With a window only the pages that the token sees must exist. */
static void pages_before_the_window_are_not_read(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct card_descriptor d = paged(card, CARD_OP_ATTENTION);
        const struct batch batch = {{{64, 0}, {95, 0}}, {99, 1, 2, 99}};
        d.aux = put(card, &batch, sizeof batch);
        d.param[3] = 33;
        run_program(card, &d, 1);
        d.param[3] = 34; /* token 0 now sees position 31 */
        assert_fails(card, &d, "token 0: page number 99");
        card_close(card);
    }
}

static void lying_slot_tables_fail(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        const size_t bytes = card_matrix_bytes(CARD_FORMAT_F32, 16, 64);
        const card_addr matrix = put(card, NULL, bytes);
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = CARD_FORMAT_F32, .tokens = 2};
        d.rows = 16;
        d.cols = 64;
        d.src = put(card, NULL, 2 * 64 * 4);
        d.dst = put(card, NULL, 2 * 16 * 4);
        d.param[0] = 1;
        d.param[1] = 3;
        const struct {
            uint32_t expert;
            card_addr slot;
            const char *says;
        } cases[] = {
            {1, matrix, NULL},
            {3, matrix, "choice 1: expert 3, the slot table has 3"},
            {UINT32_MAX, matrix, "choice 1: expert 4294967295, the slot table has 3"},
            {1, matrix + 4, "slot of expert 1: no matrix of 4096 bytes"},
            {1, matrix + 2, "slot of expert 1"},
            {1, 0, "slot of expert 1"},
            {1, UINT64_MAX, "slot of expert 1: no matrix of 4096 bytes can lie at bank 255 offset 0xffffffffffffff"},
            {1, CARD_ADDR(1, CARD_ADDR_OFFSET(matrix)), "slot of expert 1"},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const card_addr slot[3] = {matrix, cases[i].slot, UINT64_MAX};
            const struct card_choice choice[2] = {{0, 1}, {cases[i].expert, 1}};
            d.weight = put(card, slot, sizeof slot);
            d.aux = put(card, choice, sizeof choice);
            if (cases[i].says)
                assert_fails(card, &d, cases[i].says);
            else
                run_program(card, &d, 1);
        }
        card_close(card);
    }
}

static void lying_indexes_fail(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct card_descriptor d = {.opcode = CARD_OP_GATHER, .tokens = 2, .rows = 3, .cols = 8};
        const uint32_t good[2] = {2, 0}, bad[2] = {0, 3};
        d.src = put(card, NULL, 3 * 8 * 4);
        d.dst = put(card, NULL, 2 * 8 * 4);
        d.aux = put(card, good, sizeof good);
        run_program(card, &d, 1);
        d.aux = put(card, bad, sizeof bad);
        assert_fails(card, &d, "index 1: row 3 of 3");
        card_close(card);
    }
}

/*
 * A pool that starts inside the batch table's allocation: page numbers end where the pool begins, so that what KV_WRITE
 * stores can never become a page number that nobody checked.
 */
static void a_table_ends_where_the_result_begins(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct card_descriptor d = paged(card, CARD_OP_KV_WRITE);
        struct batch batch = {{{0, 0}, {1, 3}}, {0, 0, 0, 0}};
        d.aux = put(card, NULL, 4096 + PAGES * card_page_bytes(CARD_FORMAT_F16, KV_HEADS, COLS));
        d.dst = d.aux + sizeof batch;
        assert_int_equal(card_write(card, d.aux, &batch, sizeof batch, NULL, 0, NULL, NULL), 0);
        run_program(card, &d, 1);
        batch.token[1].first_page = 4;
        assert_int_equal(card_write(card, d.aux, &batch, sizeof batch, NULL, 0, NULL, NULL), 0);
        assert_fails(card, &d, "token 1: page entry 4 lies past the end");
        card_close(card);
    }
}

/* NaN and infinity go through every operation on vectors and end as NaN or infinity, never as a wrong finite number. */
static void nan_and_infinity_stay_visible(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        for (size_t i = 0; i < 3; i++) {
            float x[64], one[64], y[64];
            for (int k = 0; k < 64; k++) x[k] = one[k] = 1;
            x[37] = bad[i];
            const card_addr src = put_floats(card, x, 64), ones = put_floats(card, one, 64);
            const card_addr dst = put_floats(card, NULL, 64);
            struct card_descriptor d = {.opcode = CARD_OP_NORM, .tokens = 1, .rows = 1, .cols = 64, .dst = dst};
            d.src = src;
            d.weight = ones;
            run_program(card, &d, 1);
            get(card, y, dst, sizeof y);
            assert_true(isnan(y[37]));
            d.opcode = CARD_OP_MATMUL;
            d.format = CARD_FORMAT_F32;
            run_program(card, &d, 1);
            get(card, y, dst, 4);
            assert_true(!isfinite(y[0]));
            d.opcode = CARD_OP_GLU;
            run_program(card, &d, 1);
            get(card, y, dst, sizeof y);
            assert_true(!isfinite(y[37]));
            assert_true(isfinite(y[36]));
        }
        card_close(card);
    }
}

/* On sim a NaN in the activations reaches every output of a quantized matmul. */
static void nan_passes_quantized_matmul(void **state)
{
    (void)state;
    struct test_random random = {.state = 1};
    struct card *card = open_card("sim", 1);
    struct test_matrix m = test_matrix_make(&random, CARD_FORMAT_INT4, 16, 64);
    float x[64] = {0}, y[16];
    x[40] = NAN;
    const card_addr act = put(card, NULL, card_act_bytes(1, 64));
    const struct card_descriptor program[2] = {
        {.opcode = CARD_OP_QUANTIZE, .tokens = 1, .cols = 64, .dst = act, .src = put_floats(card, x, 64)},
        {.opcode = CARD_OP_MATMUL,
         .format = CARD_FORMAT_INT4,
         .tokens = 1,
         .rows = 16,
         .cols = 64,
         .dst = put_floats(card, NULL, 16),
         .src = act,
         .weight = put(card, m.bytes, card_matrix_bytes(CARD_FORMAT_INT4, 16, 64))},
    };
    run_program(card, program, 2);
    get(card, y, program[1].dst, sizeof y);
    for (int r = 0; r < 16; r++) assert_true(isnan(y[r]));
    test_matrix_free(&m);
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lying_batch_tables_fail),
        cmocka_unit_test(pages_of_later_tokens_are_checked_too),
        cmocka_unit_test(pages_before_the_window_are_not_read),
        cmocka_unit_test(lying_slot_tables_fail),
        cmocka_unit_test(lying_indexes_fail),
        cmocka_unit_test(a_table_ends_where_the_result_begins),
        cmocka_unit_test(nan_and_infinity_stay_visible),
        cmocka_unit_test(nan_passes_quantized_matmul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
