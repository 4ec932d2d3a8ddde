/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables in card memory that lie, and programs of many descriptors: the HLS C engine stops where the simulator stops,
 * says the same kind of thing about the same entry, and leaves the same memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/hls/hls_engine.h"
#include "tests/kernels/both_cards.h"

enum { PAGES = 3, KV_HEADS = 2, HEADS = 4, COLS = 8 };

static struct both both;

/* NORM, the descriptor in question, NORM: the first has run when the second fails, the third has not. */
static void assert_fails_alike(const struct card_descriptor *d, const char *says)
{
    struct error sim = {0}, hls = {0};
    struct card_descriptor norm = {.opcode = CARD_OP_NORM, .tokens = 1, .rows = 1, .cols = 32};
    norm.src = take_floats(&both, 32, 0);
    norm.weight = take_floats(&both, 32, 0);
    norm.dst = take(&both, 128, 4);
    struct card_descriptor program[3] = {norm, *d, norm};
    program[2].dst = take(&both, 128, 4);
    both_upload(&both);
    assert_int_equal(card_submit(both.sim, program, 3, NULL, 0, NULL, &sim), says ? ERROR_CARD : 0);
    assert_int_equal(card_submit(both.hls, program, 3, NULL, 0, NULL, &hls), says ? ERROR_CARD : 0);
    if (says && (!strstr(hls.text, says) || strncmp(hls.text, "descriptor 1 (", 14) != 0)) {
        fail_msg("says \"%s\", should say \"%s\"; the simulator: %s", hls.text, says, sim.text);
    }
    if (says) assert_int_equal(strncmp(sim.text, "descriptor 1 (", 14), 0);
    /* F16 results of garbage pages may be NaN: only floats of dst are let off. */
    assert_same_memory(&both, "tables", d->dst, d->opcode == CARD_OP_ATTENTION ? 2 * HEADS * COLS : 0);
}

struct batch {
    struct card_batch_token token[2];
    uint32_t page[4];
};

/* The table is the last thing before dst, so that its end is known: 4 page entries. */
static void batch_case(unsigned opcode, struct batch batch, const char *says)
{
    struct card_descriptor d = {.opcode = (uint8_t)opcode, .format = CARD_FORMAT_F16, .tokens = 2, .cols = COLS};
    const uint64_t pool_bytes = PAGES * card_page_bytes(CARD_FORMAT_F16, KV_HEADS, COLS);
    d.rows = opcode == CARD_OP_KV_WRITE ? KV_HEADS : HEADS;
    d.src = take_floats(&both, 2 * HEADS * COLS, 0);
    d.weight = opcode == CARD_OP_ATTENTION ? take(&both, pool_bytes, 4) : take_floats(&both, 2 * HEADS * COLS, 0);
    d.aux = take_words(&both, &batch, sizeof batch, 4);
    d.dst = d.aux + sizeof batch;
    const uint64_t dst_bytes = opcode == CARD_OP_KV_WRITE ? pool_bytes : 2 * HEADS * COLS * 4;
    both.used += dst_bytes;
    d.param[0] = opcode == CARD_OP_ROPE ? COLS : PAGES;
    d.param[1] = bits_of_float(1);
    d.param[2] = KV_HEADS;
    assert_fails_alike(&d, says);
}

static void lying_batch_tables(void **state)
{
    (void)state;
    const struct batch good = {{{33, 0}, {5, 2}}, {2, 0, 1, 0}};
    for (unsigned opcode = CARD_OP_ROPE; opcode <= CARD_OP_ATTENTION; opcode++) {
        struct batch batch = good;
        batch_case(opcode, batch, NULL);
        batch.token[1].position = CARD_MAX_POSITIONS;
        batch_case(opcode, batch, "status 2, item 1, value 4194304");
        batch.token[1].position = UINT32_MAX;
        batch_case(opcode, batch, "status 2, item 1, value 4294967295");
        if (opcode == CARD_OP_ROPE) continue;
        batch = good;
        batch.token[1].first_page = 4;
        batch_case(opcode, batch, "status 3, item 1");
        batch.token[1].first_page = UINT32_MAX;
        batch_case(opcode, batch, "status 3, item 1");
        batch = good;
        batch.token[0].position = 5 * 32;
        batch_case(opcode, batch, "status 3, item 0, value 5");
        batch = good;
        batch.page[1] = PAGES;
        batch_case(opcode, batch, "status 4, item 0, value 3");
        batch.page[1] = UINT32_MAX;
        batch_case(opcode, batch, "status 4, item 0, value 4294967295");
    }
    struct batch batch = good;
    batch.page[0] = 77; /* attention reads all pages up to the token, KV_WRITE the token's only */
    batch_case(CARD_OP_KV_WRITE, batch, NULL);
    batch_case(CARD_OP_ATTENTION, batch, "status 4, item 0, value 77");
    batch_case(CARD_OP_ATTENTION, (struct batch){{{31, 0}, {32, 0}}, {0, 9, 0, 0}}, "status 4, item 1, value 9");
    batch_case(CARD_OP_ATTENTION, (struct batch){{{31, 1}, {63, 0}}, {9, 0, 0, 0}}, "status 4, item 1, value 9");
    batch_case(CARD_OP_ATTENTION, (struct batch){{{95, 0}, {31, 0}}, {0, 1, 2, 9}}, NULL);
}

static void expert_case(unsigned format, const uint32_t choice[8], const card_addr lie[3], const char *says)
{
    struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = 2};
    card_addr slot[3];
    d.rows = 16;
    d.cols = 64;
    d.src = take_floats(&both, 512, 0);
    for (int e = 0; e < 3; e++) slot[e] = take_matrix(&both, format, 16, 64) + lie[e];
    d.aux = take_words(&both, choice, 32, 4);
    d.weight = take_words(&both, slot, sizeof slot, 8);
    d.dst = take(&both, 4 * 4 * 16, 4);
    d.param[0] = 2;
    d.param[1] = 3;
    if (format != CARD_FORMAT_F32) {
        /* Activations that a card could have made: nothing here looks at results of garbage. */
        memset(image_at(&both, d.src), 0, card_act_bytes(2, 64));
    }
    assert_fails_alike(&d, says);
}

static void lying_slots_and_choices(void **state)
{
    (void)state;
    static const unsigned formats[] = {CARD_FORMAT_F32, CARD_FORMAT_INT4, CARD_FORMAT_Q6_K};
    const uint32_t good[8] = {0, 0, 2, 0, 1, 0, 0, 0}, no_such[8] = {0, 0, 2, 0, 3, 0, 0, 0};
    const uint32_t huge[8] = {0, 0, 2, 0, 1, 0, UINT32_MAX, 0}, no_second[8] = {0};
    const card_addr truth[3] = {0}, odd[3] = {0, 2, 0}, outside[3] = {0, ARENA_BYTES, 0};
    const card_addr other_bank[3] = {0, CARD_ADDR(7, 0), 0};
    for (size_t f = 0; f < 3; f++) {
        expert_case(formats[f], good, truth, NULL);
        expert_case(formats[f], no_such, truth, "status 5, item 2, value 3");
        expert_case(formats[f], huge, truth, "status 5, item 3, value 4294967295");
        expert_case(formats[f], good, odd, "status 6, item 2, value 1");
        expert_case(formats[f], good, outside, "status 6, item 2, value 1");
        expert_case(formats[f], good, other_bank, "status 6, item 2, value 1");
        expert_case(formats[f], no_second, outside, NULL); /* a slot that nobody chose is not looked at */
    }
}

static void lying_indexes(void **state)
{
    (void)state;
    for (uint32_t bad = 0; bad < 3; bad++) {
        const uint32_t index[3] = {bad == 1 ? 5 : 4, 0, bad == 2 ? UINT32_MAX : 1};
        struct card_descriptor d = {.opcode = CARD_OP_GATHER, .tokens = 3, .rows = 5, .cols = 7};
        d.src = take(&both, 5 * 7 * 4, 4);
        d.aux = take_words(&both, index, sizeof index, 4);
        d.dst = take(&both, 3 * 7 * 4, 4);
        assert_fails_alike(&d, bad == 0   ? NULL
                               : bad == 1 ? "status 7, item 0, value 5"
                                          : "status 7, item 2, value 4294967295");
    }
}

/* The engine refuses what no validator let through to it. */
static void unknown_opcode_stops_the_engine(void **state)
{
    (void)state;
    struct hls_word program[2] = {{{CARD_OPCODE_END}}, {{0}}}, status = {{0}}, bank = {{0}};
    sluice_engine(program, 2, program, 0, &status, &bank, &bank, &bank, &bank);
    assert_int_equal(status.lane[0], HLS_OPCODE);
    assert_int_equal(status.lane[1], 0);
    sluice_engine(program, 0, program, 0, &status, &bank, &bank, &bank, &bank);
    assert_int_equal(status.lane[0], HLS_OK);
}

static int open_both(void **state)
{
    (void)state;
    both_open(&both, seed_of_run());
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    both_close(&both);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lying_batch_tables),
        cmocka_unit_test(lying_slots_and_choices),
        cmocka_unit_test(lying_indexes),
        cmocka_unit_test(unknown_opcode_stops_the_engine),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
