/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in card memory that lie (positions, visible positions, page entries, page numbers, states, sparse positions,
 * experts, slot addresses, indexes) fail the program with ERROR_CARD, on every backend, and leave the card usable; what
 * an opcode does not read of a table may say anything. NaN and infinity in the data are no failure.
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

/* One operation under test: its descriptor and, if that is EXTENDED, the extension. */
struct step {
    struct card_descriptor d, e;
};

static unsigned put_step(struct card_descriptor *to, const struct step *step)
{
    to[0] = step->d;
    if (step->d.flags & CARD_FLAG_EXTENDED) to[1] = step->e;
    return step->d.flags & CARD_FLAG_EXTENDED ? 2 : 1;
}

static void assert_fails(struct card *card, const struct step *step, const char *says)
{
    struct error err = {0};
    card_event done;
    struct card_descriptor program[4];
    const unsigned n = put_step(program, step), twice = n + put_step(program + n, step);
    if (card_submit(card, program, twice, NULL, 0, &done, &err)) fail_msg("%s", err.text);
    if (card_wait(card, done, 10000, &err) != ERROR_CARD) fail_msg("passes, should say \"%s\"", says);
    if (!strstr(err.text, says) || !strstr(err.text, "descriptor 0 (")) {
        fail_msg("says \"%s\", should say \"%s\"", err.text, says);
    }
    /* Waiting again tells the same; without an event the call itself tells. */
    assert_int_equal(card_wait(card, done, 0, NULL), ERROR_CARD);
    assert_int_equal(card_submit(card, program, n, NULL, 0, NULL, &err), ERROR_CARD);
}

static void assert_runs(struct card *card, const struct step *step)
{
    struct card_descriptor program[2];
    run_program(card, program, put_step(program, step));
}

/* says NULL: it must run. */
static void check_step(struct card *card, const struct step *step, const char *says)
{
    if (says)
        assert_fails(card, step, says);
    else
        assert_runs(card, step);
}

/* Batch table of two tokens and four page numbers, at the end of its allocation. */
struct batch {
    struct card_batch_token token[2];
    uint32_t page[4];
};

enum { PAGES = 3, STATES = 3, KV_HEADS = 2, HEADS = 4, COLS = 8, ROOM = 65536 };

/* An operation that reads a batch table. */
static struct step batched(struct card *card, unsigned opcode)
{
    const card_addr pool = put(card, NULL, ROOM), x = put(card, NULL, ROOM), y = put(card, NULL, ROOM);
    struct step step = {
        .d = {.opcode = (uint8_t)opcode, .tokens = 2, .rows = HEADS, .cols = COLS, .dst = y, .src = x, .weight = x},
        .e = {.opcode = CARD_OP_EXTENSION, .cols = COLS, .dst = pool, .src = x, .weight = x, .aux = x},
    };
    step.d.param[0] = PAGES;
    step.d.param[1] = bits_of(1);
    switch (opcode) {
    case CARD_OP_ROPE:
        step.d.param[0] = COLS;
        step.d.param[2] = 0;
        break;
    case CARD_OP_KV_WRITE:
        step.d.format = CARD_FORMAT_F16;
        step.d.rows = KV_HEADS;
        step.d.dst = pool;
        step.d.param[1] = COLS;
        break;
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX:
        step.d.format = CARD_FORMAT_F16;
        step.d.weight = pool;
        step.d.param[2] = KV_HEADS;
        if (opcode == CARD_OP_INDEX) step.d.flags = CARD_FLAG_EXTENDED;
        if (opcode == CARD_OP_INDEX) step.d.param[3] = 5;
        break;
    default: /* SCAN, CONV */
        step.d.flags = CARD_FLAG_EXTENDED;
        step.d.param[0] = STATES;
        step.d.param[1] = 3;
        step.d.param[2] = KV_HEADS;
        break;
    }
    return step;
}

static void check_batch(struct card *card, unsigned opcode, struct batch batch, const char *says)
{
    struct step step = batched(card, opcode);
    step.d.aux = put(card, &batch, sizeof batch);
    check_step(card, &step, says);
    assert_int_equal(card_reset(card, NULL), 0);
}

static const unsigned batched_opcodes[] = {CARD_OP_ROPE,  CARD_OP_KV_WRITE, CARD_OP_ATTENTION,
                                           CARD_OP_INDEX, CARD_OP_SCAN,     CARD_OP_CONV};
static const struct batch good = {{{33, 0, 34, 1}, {5, 2, 6, 2}}, {2, 0, 1, 0}};

static void lying_positions_and_states_fail(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 2);
        for (size_t i = 0; i < sizeof batched_opcodes / sizeof *batched_opcodes; i++) {
            const unsigned opcode = batched_opcodes[i];
            const bool sees = opcode == CARD_OP_ATTENTION || opcode == CARD_OP_INDEX;
            const bool remembers = opcode == CARD_OP_SCAN || opcode == CARD_OP_CONV;
            struct batch batch = good;
            check_batch(card, opcode, batch, NULL);
            batch.token[1].position = CARD_MAX_POSITIONS;
            check_batch(card, opcode, batch, "token 1: position 4194304, a card counts to 4194303");
            batch.token[1].position = UINT32_MAX;
            check_batch(card, opcode, batch, "token 1: position 4294967295, a card counts to 4194303");
            batch = good;
            batch.token[1].visible = CARD_MAX_POSITIONS + 1;
            check_batch(card, opcode, batch, sees ? "token 1: 4194305 positions visible, a card has 4194304" : NULL);
            batch = good;
            batch.token[1].state = STATES;
            check_batch(card, opcode, batch, remembers ? "token 1: state 3, the state pool has 3" : NULL);
            batch.token[0].state = UINT32_MAX;
            check_batch(card, opcode, batch, remembers ? "token 0: state 4294967295, the state pool has 3" : NULL);
        }
        card_close(card);
    }
}

static void lying_page_tables_fail(void **state)
{
    (void)state;
    const unsigned paged[] = {CARD_OP_KV_WRITE, CARD_OP_ATTENTION, CARD_OP_INDEX};
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 2);
        for (size_t i = 0; i < 3; i++) {
            const unsigned opcode = paged[i];
            struct batch batch = good;
            batch.token[1].first_page = 4;
            check_batch(card, opcode, batch, "token 1: page entry 4 lies past the end");
            batch.token[1].first_page = UINT32_MAX;
            check_batch(card, opcode, batch, "token 1: page entry 4294967295 lies past the end");
            batch = good;
            batch.token[0].position = 5 * 32;
            batch.token[0].visible = 5 * 32 + 1;
            check_batch(card, opcode, batch, "token 0: page entry 5 lies past the end");
            batch = good;
            batch.page[1] = PAGES;
            check_batch(card, opcode, batch, "token 0: page number 3, the pool has 3 pages");
            batch.page[1] = UINT32_MAX;
            check_batch(card, opcode, batch, "token 0: page number 4294967295, the pool has 3");
            /* KV_WRITE reads the token's page only, the others all pages that it sees. */
            batch = good;
            batch.page[0] = 77;
            check_batch(card, opcode, batch, opcode == CARD_OP_KV_WRITE ? NULL : "token 0: page number 77");
            /* What counts is `visible`, whether it lies behind the token or before it; 0 sees nothing. */
            batch = good;
            batch.token[1].visible = 65;
            check_batch(card, opcode, batch, opcode == CARD_OP_KV_WRITE ? NULL : "token 1: page entry 4 lies past");
            batch = good;
            batch.page[1] = 77;
            batch.token[0].visible = 32;
            check_batch(card, opcode, batch, opcode == CARD_OP_KV_WRITE ? "token 0: page number 77" : NULL);
            batch = good;
            batch.token[1].first_page = 99;
            batch.token[1].visible = 0;
            check_batch(card, opcode, batch, opcode == CARD_OP_KV_WRITE ? "token 1: page entry 99 lies" : NULL);
        }
        card_close(card);
    }
}

/* Two tokens of one sequence share checked pages; the later token's own pages must still be looked at. */
static void pages_of_later_tokens_are_checked_too(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        check_batch(card, CARD_OP_ATTENTION, (struct batch){{{31, 0, 32, 0}, {32, 0, 33, 0}}, {0, 9, 0, 0}},
                    "token 1: page number 9");
        check_batch(card, CARD_OP_ATTENTION, (struct batch){{{31, 1, 32, 0}, {63, 0, 64, 0}}, {9, 0, 0, 0}},
                    "token 1: page number 9");
        check_batch(card, CARD_OP_ATTENTION, (struct batch){{{95, 0, 96, 0}, {31, 0, 32, 0}}, {0, 1, 2, 9}}, NULL);
        card_close(card);
    }
}

/* With a window or a chunk only the pages that the token sees must exist. */
static void pages_that_are_not_seen_are_not_read(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct step step = batched(card, CARD_OP_ATTENTION);
        const struct batch batch = {{{64, 0, 65, 0}, {95, 0, 96, 0}}, {99, 1, 2, 99}};
        step.d.aux = put(card, &batch, sizeof batch);
        step.d.param[3] = 33;
        assert_runs(card, &step);
        step.d.param[3] = 34; /* token 0 now sees position 31 */
        assert_fails(card, &step, "token 0: page number 99");
        step.d.param[3] = 0;
        step.d.flags = CARD_FLAG_EXTENDED;
        step.e.param[1] = 32;
        assert_runs(card, &step);
        step.e.param[1] = 16; /* chunks of half a page */
        assert_runs(card, &step);
        step.e.param[1] = 96; /* both in the first chunk */
        assert_fails(card, &step, "token 0: page number 99");
        card_close(card);
    }
}

static void lying_sparse_positions_fail(void **state)
{
    (void)state;
    const uint32_t no = CARD_NO_POSITION;
    const struct {
        uint32_t position[4];
        const char *says;
    } cases[] = {
        {{0, 3, 33, no}, NULL},
        {{no, no, no, no}, NULL},
        {{64, 65, 66, 67}, NULL},
        {{3, 3, no, no}, "sparse positions: token 1: 3 after 3"},
        {{4, 3, no, no}, "sparse positions: token 1: 3 after 4"},
        {{4, no, 5, no}, "sparse positions: token 1: 5 after 4294967295"},
        {{4, 68, no, no}, "sparse positions: token 1: position 68, 68 are visible"},
        {{4, no - 1, no, no}, "sparse positions: token 1: position 4294967294, 68 are visible"},
        {{0, 32, 64, no}, NULL},
    };
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct step step = batched(card, CARD_OP_ATTENTION);
        struct batch batch = {{{0, 0, 1, 0}, {67, 0, 68, 0}}, {2, 1, 0, 0}};
        uint32_t list[8] = {0, no, no, no};
        step.d.flags = CARD_FLAG_EXTENDED;
        step.e.flags = CARD_FLAG_SPARSE;
        step.e.param[3] = 4;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            memcpy(list + 4, cases[i].position, 16);
            step.d.aux = put(card, &batch, sizeof batch);
            step.e.aux = put(card, list, sizeof list);
            check_step(card, &step, cases[i].says);
        }
        /* Only the pages of the positions that are listed and seen are read. */
        batch.page[1] = 99;
        step.d.aux = put(card, &batch, sizeof batch);
        assert_fails(card, &step, "token 1: page number 99");
        step.d.param[3] = 4; /* a window that hides it */
        assert_runs(card, &step);
        step.d.param[3] = 0;
        memcpy(list + 4, cases[2].position, 16);
        step.e.aux = put(card, list, sizeof list);
        assert_runs(card, &step);
        card_close(card);
    }
}

static struct step expert_matmul(struct card *card, unsigned format, uint32_t rows)
{
    struct step step = {.d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = 2, .rows = rows}};
    step.d.cols = 64;
    step.d.src = put(card, NULL, ROOM);
    step.d.dst = put(card, NULL, ROOM);
    step.d.param[0] = 1;
    step.d.param[1] = 3;
    return step;
}

static void lying_slot_tables_fail(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        const card_addr matrix = put(card, NULL, card_matrix_bytes(CARD_FORMAT_F32, 16, 64));
        struct step step = expert_matmul(card, CARD_FORMAT_F32, 16);
        const struct {
            uint32_t expert;
            card_addr slot;
            const char *says;
        } cases[] = {
            {1, matrix, NULL},
            {3, matrix, "choice 1: expert 3, the slot table has 3"},
            {UINT32_MAX - 1, matrix, "choice 1: expert 4294967294, the slot table has 3"},
            {CARD_NO_EXPERT, matrix, NULL},
            {1, matrix + 4, "slot of expert 1: no matrix of 4096 bytes"},
            {1, matrix + 2, "slot of expert 1"},
            {1, 0, "slot of expert 1"},
            {1, CARD_NO_SLOT, "slot of expert 1: no matrix of 4096 bytes"},
            {1, CARD_ADDR(1, CARD_ADDR_OFFSET(matrix)), "slot of expert 1"},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const card_addr slot[3] = {matrix, cases[i].slot, CARD_NO_SLOT};
            const struct card_choice choice[2] = {{0, 1}, {cases[i].expert, 1}};
            step.d.weight = put(card, slot, sizeof slot);
            step.d.aux = put(card, choice, sizeof choice);
            step.d.flags = 0;
            step.d.param[0] = 1;
            check_step(card, &step, cases[i].says);
            /* EACH reads every slot, no choice. */
            step.d.flags = CARD_FLAG_EACH;
            step.d.param[0] = 3;
            assert_fails(card, &step, cases[i].slot == matrix ? "slot of expert 2" : "slot of expert 1");
        }
        const card_addr all[3] = {matrix, matrix, matrix};
        step.d.weight = put(card, all, sizeof all);
        step.d.aux = UINT64_MAX;
        assert_runs(card, &step);
        card_close(card);
    }
}

/* Matrices of two tiles over two banks. Tile t from bank b on is in bank (b + t) % 2. */
static void check_dealt_slots(const char *backend, unsigned format, uint32_t cols, uint32_t rows)
{
    struct error err = {0};
    struct card *card;
    char big[64];
    const struct card_options options = {.threads = 1, .memory_bytes = TEST_MEMORY, .banks = 2};
    assert_int_equal(card_open(backend, &options, &card, &err), 0);
    const uint64_t tile = card_tile_bytes(format, cols);
    struct step step = expert_matmul(card, format, rows);
    step.d.cols = cols;
    (void)snprintf(big, sizeof big, "slot of expert 1: no matrix of %llu bytes", (unsigned long long)(2 * tile));
    const struct card_choice choice[2] = {{0, 1}, {1, 1}};
    card_addr high;
    uint64_t room;
    assert_int_equal(card_alloc_dealt(card, 2, CARD_ALIGNMENT, &room, &err), 0);
    assert_int_equal(card_alloc(card, 1, 256 * CARD_ALIGNMENT, &high, &err), 0);
    step.d.aux = put(card, choice, sizeof choice);
    step.d.param[2] = 2;
    const struct {
        card_addr slot;
        const char *says;
    } cases[] = {
        {room, NULL},
        {room | CARD_ADDR(1, 0), NULL},
        {room + CARD_ALIGNMENT - tile, NULL},
        {room + CARD_ALIGNMENT - tile + 64, big},
        {CARD_ADDR(1, room + CARD_ALIGNMENT - tile - 64), "slot of expert 1"}, /* tile 1 is a tile further in bank 0 */
        {room + 32, format == CARD_FORMAT_F32 ? NULL : "slot of expert 1"},
        {room + 30, "slot of expert 1"},
        {CARD_ADDR(2, room), "slot of expert 1"},
        {high + 255 * CARD_ALIGNMENT, "slot of expert 1"},
        /* nothing there in bank 0 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const card_addr slot[3] = {room, cases[i].slot, CARD_NO_SLOT};
        step.d.weight = put(card, slot, sizeof slot);
        check_step(card, &step, cases[i].says);
    }
    card_close(card);
}

static void every_part_of_a_dealt_slot_must_lie_in_its_bank(void **state)
{
    (void)state;
    check_dealt_slots("sim", CARD_FORMAT_INT4, 64, 32);
    for (size_t b = 0; b < N_BACKENDS; b++)
        check_dealt_slots(backends[b], CARD_FORMAT_F32, 11, 17); /* 1 row in tile 1 */
}

static void lying_indexes_fail(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct step step = {.d = {.opcode = CARD_OP_GATHER, .tokens = 2, .rows = 3, .cols = 8}};
        const uint32_t fine[2] = {2, 0}, bad[2] = {0, 3};
        step.d.src = put(card, NULL, 3 * 8 * 4);
        step.d.dst = put(card, NULL, 2 * 8 * 4);
        step.d.aux = put(card, fine, sizeof fine);
        assert_runs(card, &step);
        step.d.aux = put(card, bad, sizeof bad);
        assert_fails(card, &step, "index 1: row 3 of 3");
        card_close(card);
    }
}

static void await_fails_for_experts_that_are_none_and_that_do_not_come(void **state)
{
    (void)state;
    for (size_t b = 0; b < N_BACKENDS; b++) {
        struct card *card = open_card(backends[b], 1);
        struct step step = {.d = {.opcode = CARD_OP_AWAIT, .tokens = 2, .param = {1, 3, 2000}}};
        const card_addr slot[3] = {0, CARD_NO_SLOT, 77}; /* what else an entry says is no matter to AWAIT */
        const struct {
            uint32_t expert;
            const char *says;
        } cases[] = {
            {0, NULL}, {2, NULL}, {1, "expert 1: no slot after "}, {3, "choice 1: expert 3, the slot table has 3"}};
        step.d.weight = put(card, slot, sizeof slot);
        for (size_t i = 0; i < 4; i++) {
            const struct card_choice choice[2] = {{0, 1}, {cases[i].expert, 1}};
            step.d.aux = put(card, choice, sizeof choice);
            check_step(card, &step, cases[i].says);
        }
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
        struct step step = batched(card, CARD_OP_KV_WRITE);
        struct batch batch = {{{0, 0, 1, 0}, {1, 3, 2, 0}}, {0, 0, 0, 0}};
        step.d.aux = put(card, NULL, 4096 + PAGES * card_page_bytes(CARD_FORMAT_F16, KV_HEADS, COLS, COLS));
        step.d.dst = step.d.aux + sizeof batch;
        assert_int_equal(card_write(card, step.d.aux, &batch, sizeof batch, NULL, 0, NULL, NULL), 0);
        assert_runs(card, &step);
        batch.token[1].first_page = 4;
        assert_int_equal(card_write(card, step.d.aux, &batch, sizeof batch, NULL, 0, NULL, NULL), 0);
        assert_fails(card, &step, "token 1: page entry 4 lies past the end");
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
        cmocka_unit_test(lying_positions_and_states_fail),
        cmocka_unit_test(lying_page_tables_fail),
        cmocka_unit_test(pages_of_later_tokens_are_checked_too),
        cmocka_unit_test(pages_that_are_not_seen_are_not_read),
        cmocka_unit_test(lying_sparse_positions_fail),
        cmocka_unit_test(lying_slot_tables_fail),
        cmocka_unit_test(every_part_of_a_dealt_slot_must_lie_in_its_bank),
        cmocka_unit_test(lying_indexes_fail),
        cmocka_unit_test(await_fails_for_experts_that_are_none_and_that_do_not_come),
        cmocka_unit_test(a_table_ends_where_the_result_begins),
        cmocka_unit_test(nan_and_infinity_stay_visible),
        cmocka_unit_test(nan_passes_quantized_matmul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
