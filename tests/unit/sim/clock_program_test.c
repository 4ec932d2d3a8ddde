/* SPDX-License-Identifier: Apache-2.0 */
/* Begin and end of descriptors in small programs, worked out by hand. */
#include "clock_for_test.h"

/*
 * An INT4 tile of 64 columns has 576 bytes: 36 ns of a channel. One tile a pipeline: 1 cycle to start, 2 to load the
 * activations, 32 for the round, 70 to the end.
 */
#define TILE_BYTES 576u
#define TILE (36 * NS)
#define MATMUL_ONE (105 * CYCLE)

/* Places that nothing shares. */
#define PLACE(bank, i) CARD_ADDR(bank, UINT64_C(0x100000) * (i) + 4096)

static struct card_descriptor matmul(uint32_t rows, uint32_t cols, card_addr weight, card_addr src, card_addr dst)
{
    return (struct card_descriptor){.opcode = CARD_OP_MATMUL,
                                    .format = CARD_FORMAT_INT4,
                                    .tokens = 1,
                                    .rows = rows,
                                    .cols = cols,
                                    .weight = weight,
                                    .src = src,
                                    .dst = dst,
                                    .param = {CHANNELS}};
}

/* 16 floats a cycle: n / 16 cycles. */
static struct card_descriptor scale(uint32_t n, card_addr src, card_addr dst)
{
    return (struct card_descriptor){.opcode = CARD_OP_SCALE, .tokens = 1, .cols = n, .src = src, .dst = dst};
}

static void one_matmul(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const struct card_descriptor program = matmul(64, 64, PLACE(0, 1), PLACE(0, 2), PLACE(0, 3));
    const uint64_t event = rig_submit(&rig, &program, 1);
    /* The host decides 5 us; 64 bytes of program are copied in 2 + 1 us + 6.4 ns; 10 us to launch. */
    const uint64_t launched = 5 * US + 3 * US + 6400 + 10 * US;
    assert_int_equal(rig_launched(&rig), launched);
    assert_int_equal(sim_clock_now(rig.clock), 5 * US);
    const struct timeline_event *operation = rig_operation(&rig, 0);
    assert_int_equal(operation->resource, TIMELINE_MATMUL);
    assert_int_equal(operation->begin, launched + DISPATCH);
    assert_int_equal(operation->end, launched + DISPATCH + MATMUL_ONE);
    assert_int_equal(sim_clock_event_end(rig.clock, event), operation->end);
    sim_clock_wait(rig.clock, event);
    assert_int_equal(sim_clock_now(rig.clock), operation->end);
    rig_end(&rig);
}

/* Slow channels: the busiest one says how long a matrix takes, and its first word is waited for. */
static void the_busiest_channel_counts(void **state)
{
    (void)state;
    struct rig rig;
    memset(&rig, 0, sizeof rig);
    round_card(&rig.card);
    round_host(&rig.host);
    rig.card.memory[0].peak_bytes_per_s /= 100; /* a tile takes 3.6 us */
    rig.card.engine.weight_prefetch_bytes = 0;
    rig_open(&rig);
    /* Six tiles: two on channels 1 and 2. */
    const struct card_descriptor program = matmul(96, 64, PLACE(1, 1), PLACE(0, 2), PLACE(0, 3));
    rig_submit(&rig, &program, 1);
    const struct timeline_event *operation = rig_operation(&rig, 0);
    assert_int_equal(operation->end - operation->begin, 2 * 100 * TILE + LATENCY);
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    const uint64_t bytes[CHANNELS] = {TILE_BYTES, 2 * TILE_BYTES, 2 * TILE_BYTES, TILE_BYTES};
    for (unsigned c = 0; c < CHANNELS; c++) {
        assert_int_equal(usage.channel_bytes[c], bytes[c]);
        assert_int_equal(usage.channel_busy[c], bytes[c] / TILE_BYTES * 100 * TILE);
    }
    rig_end(&rig);
}

static void units_overlap_where_operands_allow(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const card_addr x = PLACE(0, 2), y = PLACE(0, 3), z = PLACE(0, 4), w = PLACE(0, 1), a = PLACE(0, 5),
                    b = PLACE(0, 6);
    const struct card_descriptor program[] = {
        matmul(64, 64, w, x, y), /* 0: y = W x */
        scale(1600, a, b),       /* 1: nothing in common with it: beside it */
        scale(64, y, z),         /* 2: reads y: after 0 */
        scale(16, b, a),         /* 3: after 2, because the unit works in order */
        scale(64, z, x),         /* 4: writes what 0 read, which has ended */
    };
    rig_submit(&rig, program, 5);
    const struct timeline_event *at[5];
    for (unsigned i = 0; i < 5; i++) at[i] = rig_operation(&rig, i);
    assert_int_equal(at[1]->begin, at[0]->begin + DISPATCH);
    assert_int_equal(at[1]->end, at[1]->begin + 100 * CYCLE);
    assert_int_equal(at[2]->begin, at[0]->end);
    assert_int_equal(at[2]->end, at[2]->begin + 4 * CYCLE);
    assert_int_equal(at[3]->begin, at[2]->end);
    assert_int_equal(at[4]->begin, at[3]->end);
    rig_end(&rig);
}

static void a_source_is_not_overwritten(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const card_addr x = PLACE(0, 2);
    /* Both write into x: its first byte, and past it. */
    const struct card_descriptor over[] = {matmul(64, 64, PLACE(0, 1), x, PLACE(0, 3)), scale(16, PLACE(0, 4), x)};
    rig_submit(&rig, over, 2);
    assert_int_equal(rig_operation(&rig, 1)->begin, rig_operation(&rig, 0)->end);
    const card_addr past = x + card_act_bytes(1, 64);
    const struct card_descriptor beside[] = {matmul(64, 64, PLACE(0, 1), x, PLACE(0, 3)), scale(16, PLACE(0, 4), past)};
    rig_submit(&rig, beside, 2);
    assert_int_equal(rig_operation(&rig, 1)->begin, rig_operation(&rig, 0)->begin + DISPATCH);
    /* The same offset of another bank is another place. */
    const struct card_descriptor bank[] = {matmul(64, 64, PLACE(0, 1), x, PLACE(0, 3)),
                                           scale(16, PLACE(0, 4), x | CARD_ADDR(1, 0))};
    rig_submit(&rig, bank, 2);
    assert_int_equal(rig_operation(&rig, 1)->begin, rig_operation(&rig, 0)->begin + DISPATCH);
    rig_end(&rig);
}

/* Of two matrices that do not depend on each other the second is loaded while the first one's words go by. */
static void matrices_overlap_load_and_end(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const struct card_descriptor program[] = {matmul(256, 64, PLACE(0, 1), PLACE(0, 2), PLACE(0, 3)),
                                              matmul(256, 64, PLACE(0, 4), PLACE(0, 2), PLACE(0, 5)),
                                              matmul(256, 64, PLACE(0, 6), PLACE(0, 5), PLACE(0, 7))};
    const uint64_t event = rig_submit(&rig, program, 3);
    const uint64_t load = 3 * CYCLE, words = 36 * CYCLE, end = 70 * CYCLE;
    const uint64_t begin = rig_launched(&rig) + DISPATCH;
    assert_int_equal(rig_operation(&rig, 0)->end, begin + load + words + end);
    assert_int_equal(rig_operation(&rig, 1)->end, begin + load + 2 * words + end);
    /* The third reads what the second wrote. */
    assert_int_equal(sim_clock_event_end(rig.clock, event), begin + 2 * load + 3 * words + 2 * end);
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    assert_int_equal(usage.busy[TIMELINE_MATMUL], 2 * load + 3 * words + 2 * end);
    rig_end(&rig);
}

/* Layers are told apart by the NORMs before their attention. */
static void events_know_their_layer(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const card_addr table = PLACE(1, 7);
    *(struct card_batch_token *)rig_at(&rig, table) = (struct card_batch_token){.position = 0, .visible = 1};
    const struct card_descriptor norm = {.opcode = CARD_OP_NORM,
                                         .flags = CARD_FLAG_UNWEIGHTED,
                                         .tokens = 1,
                                         .rows = 1,
                                         .cols = 64,
                                         .src = PLACE(0, 2),
                                         .dst = PLACE(0, 3)};
    const struct card_descriptor attention = {.opcode = CARD_OP_ATTENTION,
                                              .format = CARD_FORMAT_F16,
                                              .tokens = 1,
                                              .rows = 1,
                                              .cols = 16,
                                              .src = PLACE(0, 4),
                                              .dst = PLACE(0, 5),
                                              .weight = PLACE(0, 8),
                                              .aux = table,
                                              .param = {8, 0, 1, 0}};
    const struct card_descriptor other = scale(16, PLACE(0, 4), PLACE(0, 6));
    /* norm, q, attention, o, norm, ffn; the same again; norm, head. */
    const struct card_descriptor program[] = {other, norm,      other, attention, other, norm, other, norm,
                                              other, attention, other, norm,      other, norm, other};
    const uint32_t none = TIMELINE_UNKNOWN;
    const uint32_t layer[] = {none, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, none, none};
    rig_submit(&rig, program, sizeof program / sizeof *program);
    for (unsigned i = 0; i < sizeof program / sizeof *program; i++)
        if (rig_operation(&rig, i)->layer != layer[i])
            fail_msg("descriptor %u: layer %u, not %u", i, rig_operation(&rig, i)->layer, layer[i]);
    rig_end(&rig);
}

/*
 * While a vector operation works, the channels read the next matrix ahead: none of it is waited for if there was time and
 * room, and what there was no room for is.
 */
static void weights_are_read_ahead(void **state)
{
    (void)state;
    for (unsigned room = 0; room < 3; room++) {
        struct rig rig;
        memset(&rig, 0, sizeof rig);
        round_card(&rig.card);
        round_host(&rig.host);
        rig.card.memory[0].peak_bytes_per_s /= 100; /* a tile takes 3.6 us */
        rig.card.engine.weight_prefetch_bytes = room * CHANNELS * TILE_BYTES;
        rig_open(&rig);
        const card_addr x = PLACE(0, 2), y = PLACE(0, 3);
        const struct card_descriptor program[] = {
            scale(160000, x, y),                          /* 40 us */
            matmul(128, 64, PLACE(0, 1), y, PLACE(0, 4)), /* two tiles of each channel */
        };
        rig_submit(&rig, program, 2);
        const struct timeline_event *operation = rig_operation(&rig, 1);
        assert_int_equal(operation->begin, rig_operation(&rig, 0)->end);
        const uint64_t computed = (1 + 2 + 32 + 70) * CYCLE;
        const uint64_t expected[] = {2 * 100 * TILE + LATENCY, 100 * TILE, computed};
        assert_int_equal(operation->end - operation->begin, expected[room]);
        rig_end(&rig);
    }
}

/* Half of the time that reading takes saves half of it. */
static void no_more_is_read_ahead_than_there_was_time_for(void **state)
{
    (void)state;
    struct rig rig;
    memset(&rig, 0, sizeof rig);
    round_card(&rig.card);
    round_host(&rig.host);
    rig.card.memory[0].peak_bytes_per_s /= 100;
    rig_open(&rig);
    const card_addr x = PLACE(0, 2), y = PLACE(0, 3);
    const struct card_descriptor program[] = {scale(14400, x, y), /* 900 cycles: a tile's 3.6 us */
                                              matmul(128, 64, PLACE(0, 1), y, PLACE(0, 4))};
    rig_submit(&rig, program, 2);
    const struct timeline_event *operation = rig_operation(&rig, 1);
    /* Reading ahead began with the program, a dispatch before the first descriptor. */
    assert_int_equal(operation->end - operation->begin, 100 * TILE - DISPATCH);
    rig_end(&rig);
}

/* A program of a router, something long, and experts: these are read from the router's end on, not before. */
static void experts_wait_for_their_router(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct rig rig;
        memset(&rig, 0, sizeof rig);
        round_card(&rig.card);
        round_host(&rig.host);
        rig.card.memory[0].peak_bytes_per_s /= 100;
        rig_open(&rig);
        const card_addr slots = PLACE(0, 7), choices = PLACE(0, 6), act = PLACE(0, 5), logits = PLACE(0, 3);
        for (unsigned e = 0; e < 4; e++) ((card_addr *)rig_at(&rig, slots))[e] = PLACE(0, 8) + 4096 * e;
        const struct card_descriptor router = {
            .opcode = CARD_OP_ROUTER, .tokens = 1, .rows = 2, .cols = 4, .src = logits, .dst = choices};
        const struct card_descriptor busy = scale(160000, PLACE(0, 2), act); /* 40 us */
        const struct card_descriptor experts = {.opcode = CARD_OP_EXPERT_MATMUL,
                                                .format = CARD_FORMAT_INT4,
                                                .tokens = 1,
                                                .rows = 64,
                                                .cols = 64,
                                                .weight = slots,
                                                .src = act,
                                                .aux = choices,
                                                .dst = PLACE(1, 9),
                                                .param = {2, 4, CHANNELS}};
        const struct card_descriptor program[] = {late ? busy : router, late ? router : busy, experts};
        rig_submit(&rig, program, 3);
        const struct timeline_event *operation = rig_operation(&rig, 2);
        const uint64_t read = 2 * 100 * TILE + LATENCY; /* a tile of each of two experts a channel */
        /* Both tiles go through in one round, which waits for its sums. */
        const uint64_t computed = (1 + 2 + 32 + 70) * CYCLE;
        assert_int_equal(operation->begin, rig_operation(&rig, 1)->end);
        assert_int_equal(operation->end - operation->begin, late ? read : computed);
        assert_int_equal(rig.account.weight_bytes, 2 * CHANNELS * TILE_BYTES);
        rig_end(&rig);
    }
}

/* A prompt's tokens: each pass of 8 reads the weights again, each token multiplies them again. */
static void tokens_multiply_and_passes_read(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    struct card_descriptor d = matmul(256, 64, PLACE(0, 1), PLACE(0, 2), PLACE(0, 3));
    d.tokens = 20;
    rig_submit(&rig, &d, 1);
    const struct timeline_event *operation = rig_operation(&rig, 0);
    /* Four tiles a pipeline: a full round of 36 cycles for each token; 2 cycles to load each token's activations. */
    assert_int_equal(operation->end - operation->begin, (1 + 2 * 20 + 36 * 20 + 70) * CYCLE);
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    for (unsigned c = 0; c < CHANNELS; c++) assert_int_equal(usage.channel_bytes[c], 3 * 4 * TILE_BYTES);
    rig_end(&rig);
}

/* One sequence of 128 positions over F16 pages of one KV head of 16: 2 KiB a page, 32 positions each. */
static void pages_are_read_where_they_lie(void **state)
{
    (void)state;
    for (unsigned dealt = 0; dealt < 2; dealt++) {
        struct rig rig;
        memset(&rig, 0, sizeof rig);
        round_card(&rig.card);
        round_host(&rig.host);
        rig.card.memory[0].peak_bytes_per_s /= 1000; /* 62.5 ns a byte */
        rig_open(&rig);
        const card_addr table = PLACE(0, 7);
        struct card_batch_token *token = rig_at(&rig, table);
        *token = (struct card_batch_token){.position = 127, .visible = 128};
        uint32_t *pages = (uint32_t *)(void *)(token + 1);
        for (uint32_t p = 0; p < 4; p++) pages[p] = p + 1;
        const struct card_descriptor program[] = {
            {.opcode = CARD_OP_ATTENTION,
             .format = CARD_FORMAT_F16,
             .flags = CARD_FLAG_EXTENDED,
             .tokens = 1,
             .rows = 1,
             .cols = 16,
             .src = PLACE(0, 2),
             .dst = PLACE(0, 3),
             .weight = PLACE(0, 8),
             .aux = table,
             .param = {8, 0, 1, 0}},
            {.opcode = CARD_OP_EXTENSION, .rows = dealt ? CHANNELS : 1, .cols = 16},
        };
        rig_submit(&rig, program, 2);
        const struct timeline_event *operation = rig_operation(&rig, 0);
        assert_int_equal(operation->resource, TIMELINE_ATTENTION);
        const uint64_t bytes = 128 * 2 * 16 * 2;
        assert_int_equal(operation->end - operation->begin, (dealt ? bytes / CHANNELS : bytes) * 62500 + LATENCY);
        rig_end(&rig);
    }
}

/* What is too large for the chip goes to the channel where it lies and comes back. */
static void large_results_go_to_memory(void **state)
{
    (void)state;
    struct rig rig;
    memset(&rig, 0, sizeof rig);
    round_card(&rig.card);
    round_host(&rig.host);
    rig.card.engine.activation_bytes = 4 * 4 * 1000;
    rig_open(&rig);
    const struct card_descriptor program[] = {scale(1000, PLACE(0, 1), PLACE(1, 1)),
                                              scale(1001, PLACE(2, 1), PLACE(3, 1))};
    rig_submit(&rig, program, 2);
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    assert_int_equal(usage.channel_bytes[0] + usage.channel_bytes[1], 0);
    assert_int_equal(usage.channel_bytes[2], 4004);
    assert_int_equal(usage.channel_bytes[3], 4004);
    rig_end(&rig);
}

static void energy_is_what_was_done(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig);
    const struct card_descriptor program = matmul(64, 64, PLACE(0, 1), PLACE(0, 2), PLACE(0, 3));
    sim_clock_wait(rig.clock, rig_submit(&rig, &program, 1));
    struct sim_clock_usage usage;
    sim_clock_measure(rig.clock, &usage);
    const uint64_t now = sim_clock_now(rig.clock); /* 10 W: 10000 nJ a us */
    assert_int_equal(usage.energy_nj[TIMELINE_ENERGY_STATIC], now / 100);
    assert_int_equal(usage.energy_nj[TIMELINE_ENERGY_HOST], now / 20);
    assert_int_equal(usage.energy_nj[TIMELINE_ENERGY_MATMUL], 64 * 64 * 500 / 1000000);
    assert_int_equal(usage.energy_nj[TIMELINE_ENERGY_MEMORY], 4 * (TILE_BYTES * 1000 / 1000000));
    assert_int_equal(usage.busy[TIMELINE_MATMUL], MATMUL_ONE);
    assert_int_equal(usage.busy[TIMELINE_HOST], 5 * US);
    assert_int_equal(usage.cycles, now / CYCLE);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_matmul),
        cmocka_unit_test(the_busiest_channel_counts),
        cmocka_unit_test(units_overlap_where_operands_allow),
        cmocka_unit_test(a_source_is_not_overwritten),
        cmocka_unit_test(matrices_overlap_load_and_end),
        cmocka_unit_test(events_know_their_layer),
        cmocka_unit_test(weights_are_read_ahead),
        cmocka_unit_test(no_more_is_read_ahead_than_there_was_time_for),
        cmocka_unit_test(experts_wait_for_their_router),
        cmocka_unit_test(tokens_multiply_and_passes_read),
        cmocka_unit_test(pages_are_read_where_they_lie),
        cmocka_unit_test(large_results_go_to_memory),
        cmocka_unit_test(energy_is_what_was_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
