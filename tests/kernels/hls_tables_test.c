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

/* NORM, the n descriptors in question, NORM: the first has run when the second fails, the last has not. */
static void assert_fails_alike(const struct card_descriptor *d, unsigned n, const char *says)
{
    struct error sim = {0}, hls = {0};
    struct card_descriptor norm = {.opcode = CARD_OP_NORM, .tokens = 1, .rows = 1, .cols = 32};
    norm.src = take_floats(&both, 32, 0);
    norm.weight = take_floats(&both, 32, 0);
    norm.dst = take(&both, 128, 4);
    struct card_descriptor program[4] = {norm, d[0], norm, norm};
    if (n == 2) program[2] = d[1];
    program[n + 1].dst = take(&both, 128, 4);
    both_upload(&both);
    const int a = card_submit(both.sim, program, n + 2, NULL, 0, NULL, &sim);
    const int b = card_submit(both.hls, program, n + 2, NULL, 0, NULL, &hls);
    const int want = says ? ERROR_CARD : 0;
    if (a != want || b != want) fail_msg("sim: %d %s; HLS C: %d %s; should say %s", a, sim.text, b, hls.text, says);
#ifdef hls_card_ops /* the OpenCL backend in its place: its texts are the simulator's */
    if (says) assert_string_equal(hls.text, sim.text);
#else
    if (says && (!strstr(hls.text, says) || strncmp(hls.text, "descriptor 1 (", 14) != 0)) {
        fail_msg("says \"%s\", should say \"%s\"; the simulator: %s", hls.text, says, sim.text);
    }
#endif
    if (says) assert_int_equal(strncmp(sim.text, "descriptor 1 (", 14), 0);
    assert_same_memory(&both, "tables", d->dst, 0);
}

struct batch {
    struct card_batch_token token[2];
    uint32_t page[4];
};

/* ATTENTION's window and chunk, and lists of positions: 0, or 3 for each token. */
struct view {
    uint32_t window, chunk, listed;
    uint32_t position[6];
};

/* The table is the last thing before dst, so that its end is known: 4 page entries. */
static void view_case(unsigned opcode, struct batch batch, struct view view, const char *says)
{
    struct card_descriptor d[2] = {{.opcode = (uint8_t)opcode, .format = CARD_FORMAT_F16, .tokens = 2, .cols = COLS},
                                   {.opcode = CARD_OP_EXTENSION, .cols = COLS}};
    const int index = opcode == CARD_OP_INDEX, extended = index || view.chunk || view.listed;
    const uint64_t pool_bytes = PAGES * card_page_bytes(CARD_FORMAT_F16, KV_HEADS, COLS, COLS);
    const int reads = index || opcode == CARD_OP_ATTENTION;
    d->rows = opcode == CARD_OP_KV_WRITE ? KV_HEADS : HEADS;
    if (extended) d->flags = CARD_FLAG_EXTENDED;
    d->src = take_floats(&both, 2 * HEADS * COLS, 0);
    d->weight = reads ? take(&both, pool_bytes, 4) : take_floats(&both, 2 * HEADS * COLS, 0);
    if (index) d[1].src = take_floats(&both, 2 * HEADS, 0);
    if (view.listed) d[1].flags = CARD_FLAG_SPARSE;
    if (view.listed) d[1].aux = take_words(&both, view.position, sizeof view.position, 4);
    d[1].param[1] = view.chunk;
    d[1].param[3] = view.listed;
    d->aux = take_words(&both, &batch, sizeof batch, 4);
    d->dst = d->aux + sizeof batch;
    both.used += opcode == CARD_OP_KV_WRITE ? pool_bytes : 2 * HEADS * COLS * 4;
    d->param[0] = opcode == CARD_OP_ROPE ? COLS : PAGES;
    d->param[1] = opcode == CARD_OP_KV_WRITE ? COLS : bits_of_float(1);
    d->param[2] = opcode == CARD_OP_ATTENTION ? KV_HEADS : 0;
    d->param[3] = index ? 5 : view.window;
    assert_fails_alike(d, extended ? 2 : 1, says);
}

static void batch_case(unsigned opcode, struct batch batch, const char *says)
{
    view_case(opcode, batch, (struct view){0}, says);
}

#ifdef hls_card_ops
#define PAGE_ENTRY_OF_TOKEN_1 "token 1: page entry"
#else
#define PAGE_ENTRY_OF_TOKEN_1 "status 3, item 1"
#endif

/* A pool over three banks, a page in each, right behind a table that lies in one of them. */
static void a_table_ends_where_a_dealt_pool_begins(void **state)
{
    (void)state;
    struct batch batch = {.token = {{.position = 0}, {.position = 1}}};
    struct card_descriptor d = {.opcode = CARD_OP_KV_WRITE, .format = CARD_FORMAT_F16, .tokens = 2, .rows = KV_HEADS};
    d.cols = COLS;
    d.param[0] = PAGES;
    d.param[1] = COLS;
    d.param[2] = 3;
    d.dst = CARD_ADDR(0, both.dealt + sizeof batch);
    d.src = d.weight = take_floats(&both, 2 * KV_HEADS * COLS, 0);
    both_upload(&both);
    for (uint32_t bank = 0; bank < 3; bank++) {
        d.aux = CARD_ADDR(bank, both.dealt);
        for (uint32_t last = 3; last <= 4; last++) { /* the table has 4 entries */
            struct error err = {0};
            batch.token[1].first_page = last;
            int rc = card_write(both.sim, d.aux, &batch, sizeof batch, NULL, 0, NULL, &err);
            if (!rc) rc = card_write(both.hls, d.aux, &batch, sizeof batch, NULL, 0, NULL, &err);
            if (rc) fail_msg("%s", err.text);
            struct error sim = {0}, hls = {0};
            const int want = last == 3 ? 0 : ERROR_CARD;
            assert_int_equal(card_submit(both.sim, &d, 1, NULL, 0, NULL, &sim), want);
            assert_int_equal(card_submit(both.hls, &d, 1, NULL, 0, NULL, &hls), want);
            if (want) assert_non_null(strstr(sim.text, "token 1: page entry"));
            if (want) assert_non_null(strstr(hls.text, PAGE_ENTRY_OF_TOKEN_1));
        }
    }
}

/* Every token sees up to itself. */
static struct batch causal(struct batch batch)
{
    for (int t = 0; t < 2; t++) batch.token[t].visible = batch.token[t].position + 1;
    return batch;
}

static void lying_batch_tables(void **state)
{
    (void)state;
    static const unsigned opcodes[] = {CARD_OP_ROPE, CARD_OP_KV_WRITE, CARD_OP_ATTENTION, CARD_OP_INDEX};
    const struct batch good = causal((struct batch){{{33, 0, 0, UINT32_MAX}, {5, 2, 0, UINT32_MAX}}, {2, 0, 1, 0}});
    for (unsigned o = 0; o < 4; o++) {
        const unsigned opcode = opcodes[o];
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
        batch_case(opcode, causal(batch), "status 3, item 0, value 5");
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
    batch_case(CARD_OP_INDEX, batch, "status 4, item 0, value 77");
    batch_case(CARD_OP_ATTENTION, causal((struct batch){{{31, 0, 0, 0}, {32, 0, 0, 0}}, {0, 9, 0, 0}}),
               "status 4, item 1, value 9");
    batch_case(CARD_OP_ATTENTION, causal((struct batch){{{31, 1, 0, 0}, {63, 0, 0, 0}}, {9, 0, 0, 0}}),
               "status 4, item 1, value 9");
    batch_case(CARD_OP_ATTENTION, causal((struct batch){{{95, 0, 0, 0}, {31, 0, 0, 0}}, {0, 1, 2, 9}}), NULL);
}

/* Page entry 1 names no page: whoever sees a position of it fails, and nobody else. */
static void what_is_seen_is_checked(void **state)
{
    (void)state;
    const struct batch batch = {{{20, 0, 21, 0}, {70, 0, 71, 0}}, {0, 9, 2, 1}};
    const char *const wrong = "status 4, item 1, value 9";
    struct batch other = batch;
    view_case(CARD_OP_ATTENTION, batch, (struct view){0}, wrong);
    view_case(CARD_OP_ATTENTION, batch, (struct view){.window = 7}, NULL);
    view_case(CARD_OP_ATTENTION, batch, (struct view){.window = 8}, wrong);
    view_case(CARD_OP_ATTENTION, batch, (struct view){.chunk = 64}, NULL);
    view_case(CARD_OP_ATTENTION, batch, (struct view){.chunk = 63}, wrong);
    view_case(CARD_OP_ATTENTION, batch, (struct view){.chunk = 68, .window = 60}, NULL);
    view_case(CARD_OP_ATTENTION, batch, (struct view){.chunk = UINT32_MAX}, wrong);
    other.token[1].visible = 32;
    view_case(CARD_OP_ATTENTION, other, (struct view){0}, NULL);
    view_case(CARD_OP_INDEX, other, (struct view){0}, NULL);
    other.token[1].visible = 33;
    view_case(CARD_OP_ATTENTION, other, (struct view){0}, wrong);
    view_case(CARD_OP_INDEX, other, (struct view){0}, wrong);
    other.token[1].visible = 0;
    other.token[1].first_page = UINT32_MAX; /* nothing is seen: no page is looked for */
    view_case(CARD_OP_ATTENTION, other, (struct view){0}, NULL);
    view_case(CARD_OP_INDEX, other, (struct view){0}, NULL);
    other.token[1].visible = CARD_MAX_POSITIONS + 1;
    view_case(CARD_OP_ATTENTION, other, (struct view){0}, "status 8, item 1, value 4194305");
    view_case(CARD_OP_INDEX, other, (struct view){0}, "status 8, item 1, value 4194305");
    view_case(CARD_OP_ROPE, other, (struct view){0}, NULL);
    other.token[1].visible = CARD_MAX_POSITIONS;
    view_case(CARD_OP_ATTENTION, other, (struct view){0}, "status 3, item 1");
    view_case(CARD_OP_ATTENTION, other, (struct view){.chunk = 100}, "status 3, item 1");
    other.token[1].first_page = 0;
    other.token[1].visible = 129; /* past the token, and past the table's 4 entries */
    view_case(CARD_OP_ATTENTION, other, (struct view){.window = 7}, "status 3, item 1, value 4");
    view_case(CARD_OP_ATTENTION, other, (struct view){.window = 7, .chunk = 64}, NULL);
}

static void lying_lists(void **state)
{
    (void)state;
    enum { NONE = CARD_NO_POSITION };
    static const struct {
        struct view view;
        const char *says;
    } cases[] = {
        {{0, 0, 3, {0, 5, 20, 0, 31, 70}}, NULL},
        {{0, 0, 3, {0, 5, NONE, NONE, NONE, NONE}}, NULL},
        {{0, 0, 3, {0, 5, 21, 0, 31, 70}}, "status 10, item 0, value 21"},
        {{0, 0, 3, {0, 5, 5, 0, 31, 70}}, "status 10, item 0, value 5"},
        {{0, 0, 3, {0, 5, 4, 0, 31, 70}}, "status 10, item 0, value 4"},
        {{0, 0, 3, {0, 5, 20, 0, NONE, 70}}, "status 10, item 1, value 70"},
        {{0, 0, 3, {0, 5, 20, 0, 31, 71}}, "status 10, item 1, value 71"},
        {{0, 0, 3, {0, 5, 20, 0, 31, UINT32_MAX - 1}}, "status 10, item 1, value 4294967294"},
        {{0, 0, 3, {0, 5, 20, 0, 32, 70}}, "status 4, item 1, value 9"}, /* in the page that is none */
        {{7, 0, 3, {0, 5, 20, 0, 32, 70}}, NULL},                        /* but not seen */
        {{0, 64, 3, {0, 5, 20, 0, 32, 70}}, NULL},
    };
    const struct batch batch = {{{20, 0, 21, 0}, {70, 0, 71, 0}}, {0, 9, 2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        view_case(CARD_OP_ATTENTION, batch, cases[i].view, cases[i].says);
    }
    struct batch far = batch;
    far.token[1].visible = 200;
    view_case(CARD_OP_ATTENTION, far, (struct view){0, 0, 3, {0, 5, 20, 0, 70, 127}}, NULL);
    view_case(CARD_OP_ATTENTION, far, (struct view){0, 0, 3, {0, 5, 20, 0, 70, 128}}, "status 3, item 1, value 4");
}

static void lying_states(void **state)
{
    (void)state;
    for (unsigned opcode = CARD_OP_SCAN; opcode <= CARD_OP_CONV; opcode++) {
        for (uint32_t bad = 0; bad < 4; bad++) {
            struct card_batch_token token[2] = {{9, UINT32_MAX, UINT32_MAX, 2}, {0, UINT32_MAX, UINT32_MAX, 0}};
            struct card_descriptor d[2] = {{.opcode = (uint8_t)opcode, .flags = CARD_FLAG_EXTENDED, .tokens = 2},
                                           {.opcode = CARD_OP_EXTENSION}};
            if (bad == 1) token[0].state = 3;
            if (bad == 2) token[1].state = UINT32_MAX;
            if (bad == 3) token[1].position = CARD_MAX_POSITIONS;
            d->rows = 1;
            d->cols = COLS;
            d->src = take_floats(&both, 2 * COLS, 0);
            d->weight = take_floats(&both, 2 * COLS, 0);
            d->aux = take_words(&both, token, sizeof token, 4);
            d->dst = take(&both, 2 * COLS * 4, 4);
            d->param[0] = 3;
            d->param[1] = 2;
            d->param[2] = 1;
            d[1].dst = take_floats(&both, 3 * COLS * 2, 0);
            d[1].src = take_floats(&both, 4, 0);
            d[1].weight = take_floats(&both, 2, 0);
            d[1].aux = take_floats(&both, 2, 0);
            assert_fails_alike(d, 2,
                               bad == 0   ? NULL
                               : bad == 1 ? "status 9, item 0, value 3"
                               : bad == 2 ? "status 9, item 1, value 4294967295"
                                          : "status 2, item 1, value 4194304");
        }
    }
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
    assert_fails_alike(&d, 1, says);
}

static void lying_slots_and_choices(void **state)
{
    (void)state;
    static const unsigned formats[] = {CARD_FORMAT_F32, CARD_FORMAT_INT4, CARD_FORMAT_Q6_K};
    const uint32_t good[8] = {0, 0, 2, 0, 1, 0, 0, 0}, no_such[8] = {0, 0, 2, 0, 3, 0, 0, 0};
    const uint32_t huge[8] = {0, 0, 2, 0, 1, 0, UINT32_MAX - 1, 0}, no_second[8] = {0};
    const card_addr truth[3] = {0}, odd[3] = {0, 2, 0}, outside[3] = {0, 2 * ARENA_BYTES, 0};
    const card_addr other_bank[3] = {0, CARD_ADDR(7, 0), 0};
    for (size_t f = 0; f < 3; f++) {
        expert_case(formats[f], good, truth, NULL);
        expert_case(formats[f], no_such, truth, "status 5, item 2, value 3");
        expert_case(formats[f], huge, truth, "status 5, item 3, value 4294967294");
        expert_case(formats[f], good, odd, "status 6, item 2, value 1");
        expert_case(formats[f], good, outside, "status 6, item 2, value 1");
        expert_case(formats[f], good, other_bank, "status 6, item 2, value 1");
        expert_case(formats[f], no_second, outside, NULL); /* a slot that nobody chose is not looked at */
    }
}

/* EACH uses every slot of the table, chosen or not. */
static void each_slot_is_checked(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = CARD_FORMAT_INT8, .tokens = 2};
        card_addr slot[3];
        d.flags = CARD_FLAG_EACH;
        d.rows = 16;
        d.cols = 64;
        d.src = take(&both, card_act_bytes(2, 64), 4);
        memset(image_at(&both, d.src), 0, card_act_bytes(2, 64));
        for (int e = 0; e < 3; e++) slot[e] = take_matrix(&both, d.format, 16, 64);
        if (bad) slot[2] = CARD_NO_SLOT;
        d.weight = take_words(&both, slot, sizeof slot, 8);
        d.dst = take(&both, 2 * 3 * 16 * 4, 4);
        d.param[0] = d.param[1] = 3;
        assert_fails_alike(&d, 1, bad ? "status 6, item 2, value 2" : NULL);
    }
}

/* 5 tiles over 3 banks, the last not full; each bank's part must lie in an allocation. */
static void check_dealt_slots(unsigned format)
{
    for (int i = 0; i < 6; i++) {
        const uint32_t choice[2] = {0, 0};
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = 1};
        d.rows = 70;
        d.cols = 64;
        d.src = take(&both, 4 * 64, 4); /* act[1][64] is smaller */
        memset(image_at(&both, d.src), 0, 4 * 64);
        const card_addr matrix = take_matrix(&both, d.format, 70, 64);
        const uint64_t tile = card_tile_bytes(d.format, 64), end = both.dealt + DEALT_BYTES;
        card_addr slot = deal(&both, matrix, d.format, 70, 64, 3);
        if (i == 1) slot += format == CARD_FORMAT_F32 ? 2 : 4;
        if (i == 2) slot = CARD_ADDR(3, both.dealt);     /* not one of the 3 banks */
        if (i == 3) slot = CARD_ADDR(1, end - 2 * tile); /* two tiles in each bank: banks 0 and 1 from here, 2 full */
        if (i == 4) slot = CARD_ADDR(0, end - tile);     /* the second row of tiles lies outside */
        if (i == 5) slot = CARD_ADDR(0, both.dealt + 64 * (DEALT_BYTES / 64) - 64);
        d.weight = take_words(&both, &slot, sizeof slot, 8);
        d.aux = take_words(&both, choice, sizeof choice, 4);
        d.dst = take(&both, 70 * 4, 4);
        d.param[0] = d.param[1] = 1;
        d.param[2] = 3;
        assert_fails_alike(&d, 1, i == 0 || i == 3 ? NULL : "status 6, item 0, value 0");
    }
}

/* 3 tiles over 2 banks: the second part of the banks has them, a third one does not. */
static void check_parts(unsigned format)
{
    for (int i = 0; i < 4; i++) {
        const uint32_t choice[2] = {0, 0};
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_MATMUL, .format = (uint8_t)format, .tokens = 1};
        d.rows = 40;
        d.cols = 64;
        d.src = take(&both, 4 * 64, 4); /* act[1][64] is smaller */
        memset(image_at(&both, d.src), 0, 4 * 64);
        const card_addr matrix = take_matrix(&both, d.format, 40, 64);
        both.part = 1;
        card_addr slot = deal(&both, matrix, d.format, 40, 64, 2);
        both.part = 0;
        if (i == 1) slot = CARD_ADDR(BANKS, CARD_ADDR_OFFSET(slot));
        if (i == 2) slot = CARD_ADDR(255, CARD_ADDR_OFFSET(slot));
        if (i == 3) slot = CARD_ADDR(BANKS - 1, both.dealt + DEALT_BYTES - card_tile_bytes(d.format, 64));
        d.weight = take_words(&both, &slot, sizeof slot, 8);
        d.aux = take_words(&both, choice, sizeof choice, 4);
        d.dst = take(&both, 40 * 4, 4);
        d.param[0] = d.param[1] = 1;
        d.param[2] = 2;
        assert_fails_alike(&d, 1, i == 0 ? NULL : "status 6, item 0, value 0");
    }
}

static void dealt_slots(void **state)
{
    (void)state;
    check_parts(CARD_FORMAT_INT4);
    check_parts(CARD_FORMAT_F32);
    check_dealt_slots(CARD_FORMAT_INT4);
    check_dealt_slots(CARD_FORMAT_F32);
}

static void lying_choices_of_await(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        const uint32_t choice[4] = {0, 0, bad ? 2 : 1, 0};
        const card_addr slot[2] = {4, 8}; /* what they are is no business of AWAIT */
        struct card_descriptor d = {.opcode = CARD_OP_AWAIT, .tokens = 2};
        d.aux = take_words(&both, choice, sizeof choice, 4);
        d.weight = take_words(&both, slot, sizeof slot, 8);
        d.param[0] = 1;
        d.param[1] = 2;
        d.param[2] = 1000;
        assert_fails_alike(&d, 1, bad ? "status 5, item 1, value 2" : NULL);
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
        assert_fails_alike(&d, 1,
                           bad == 0   ? NULL
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
    program[0].lane[0] = CARD_OP_EXTENSION; /* alone */
    sluice_engine(program, 2, program, 0, &status, &bank, &bank, &bank, &bank);
    assert_int_equal(status.lane[0], HLS_OPCODE);
    program[0].lane[0] = CARD_OP_CONV | CARD_FLAG_EXTENDED << 16; /* and nothing comes after, or no extension */
    for (uint32_t n = 1; n <= 2; n++) {
        sluice_engine(program, n, program, 0, &status, &bank, &bank, &bank, &bank);
        assert_int_equal(status.lane[0], HLS_OPCODE);
        assert_int_equal(status.lane[1], 0);
    }
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
        cmocka_unit_test(a_table_ends_where_a_dealt_pool_begins),
        cmocka_unit_test(lying_batch_tables),
        cmocka_unit_test(what_is_seen_is_checked),
        cmocka_unit_test(lying_lists),
        cmocka_unit_test(lying_states),
        cmocka_unit_test(lying_slots_and_choices),
        cmocka_unit_test(each_slot_is_checked),
        cmocka_unit_test(dealt_slots),
        cmocka_unit_test(lying_choices_of_await),
        cmocka_unit_test(lying_indexes),
        cmocka_unit_test(unknown_opcode_stops_the_engine),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
