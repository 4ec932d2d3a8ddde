/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual time through card.h: which cards keep it, settings of "sim:PROFILE", large cards, timing only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "bitstreams/profiles/profile.h"
#include "host/card/card.h"

/* More than any card and any test machine has; what shadows memory, as the thread sanitizer does, reserves less. */
#ifdef __SANITIZE_THREAD__
#define LARGE (UINT64_C(1) << 36)
#else
#define LARGE (UINT64_C(1) << 40)
#endif

static struct card *open_card(const char *spec, uint64_t memory_bytes, unsigned threads)
{
    struct error err = {0};
    struct card *card;
    const struct card_options options = {.memory_bytes = memory_bytes, .threads = threads};
    if (card_open(spec, &options, &card, &err)) fail_msg("%s: %s", spec, err.text);
    return card;
}

static void cards_without_a_profile_keep_no_time(void **state)
{
    (void)state;
    const char *const specs[] = {"sim", "sim:banks=4", "ref"};
    for (unsigned i = 0; i < 3; i++) {
        struct card *card = open_card(specs[i], 1 << 24, 1);
        struct card_info info;
        struct card_usage usage;
        struct card_counters counters;
        struct error err;
        uint64_t ps = 1;
        card_describe(card, &info);
        card_count(card, &counters);
        assert_string_equal(info.profile, "");
        assert_int_equal(counters.cycles, 0);
        assert_int_equal(card_now(card, &ps, &err), ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.text, "sim:PROFILE"));
        assert_int_equal(ps, 0);
        assert_int_equal(card_spend(card, 1, &err), ERROR_UNSUPPORTED);
        assert_int_equal(card_event_end(card, 0, &ps, &err), ERROR_UNSUPPORTED);
        assert_int_equal(card_measure(card, &usage, &err), ERROR_UNSUPPORTED);
        assert_int_equal(card_trace(card, NULL, &err), ERROR_UNSUPPORTED);
        card_addr address;
        assert_int_equal(card_alloc(card, 0, 64, &address, &err), 0);
        assert_int_equal(card_write(card, address, NULL, 64, NULL, 0, NULL, &err), ERROR_BAD_ARGUMENT);
        assert_int_equal(card_read(card, NULL, address, 64, NULL, 0, NULL, &err), ERROR_BAD_ARGUMENT);
        card_close(card);
    }
}

static void expect_refused(const char *spec, int code, const char *word)
{
    struct error err = {0};
    struct card *card;
    assert_int_equal(card_open(spec, NULL, &card, &err), code);
    assert_null(card);
    if (!strstr(err.text, word)) fail_msg("%s: %s", spec, err.text);
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    expect_refused("sim:nosuch", ERROR_NOT_FOUND, "u55c");
    expect_refused("sim:u55c,host=nosuch", ERROR_NOT_FOUND, "gen4x8");
    expect_refused("sim:u55c,host=", ERROR_NOT_FOUND, "host=NAME");
    expect_refused("sim:u55c,u50", ERROR_NOT_FOUND, "PROFILE");
    expect_refused("sim:u55c,", ERROR_NOT_FOUND, "PROFILE");
    expect_refused("sim:timing", ERROR_NOT_FOUND, "sim:PROFILE,timing");
    expect_refused("sim:host=gen4x8", ERROR_NOT_FOUND, "sim:PROFILE,host=NAME");
    expect_refused("sim:u55c,banks=4", ERROR_BAD_ARGUMENT, "32");
}

/* Every profile's channels are banks, whatever this machine's memory is. */
static void banks_are_the_profiles_channels(void **state)
{
    (void)state;
    struct error err;
    for (const char *const *name = card_profile_names(); *name; name++) {
        struct card_profile profile;
        struct card_info info;
        char spec[64] = "sim:";
        assert_int_equal(card_profile_open(*name, &profile, &err), 0);
        strncat(spec, *name, 32);
        strncat(spec, ",timing", 16);
        struct card *card = open_card(spec, 0, 1);
        card_describe(card, &info);
        assert_string_equal(info.profile, *name);
        assert_int_equal(info.n_banks, card_profile_channels(&profile));
        for (unsigned b = 0; b < info.n_banks; b++) {
            assert_int_equal(info.bank[b].bytes, card_profile_bank(&profile, b)->bytes_per_channel);
            assert_non_null(
                strstr(info.bank[b].name, card_profile_bank(&profile, b)->kind == MEMORY_HBM ? "HBM" : "DDR"));
        }
        card_close(card);
    }
}

/* Four cards of a terabyte each, whose memory nobody has: a plan for a model that fits nowhere. */
static void more_memory_than_the_profile_has(void **state)
{
    (void)state;
    struct card *card[4];
    for (unsigned i = 0; i < 4; i++) {
        struct card_info info;
        card[i] = open_card("sim:u280,timing", LARGE, 1);
        card_describe(card[i], &info);
        uint64_t bytes = 0;
        for (unsigned b = 0; b < info.n_banks; b++) bytes += info.bank[b].bytes;
        assert_true(bytes <= LARGE && bytes >= LARGE - info.n_banks * (UINT64_C(1) << 21));
    }
    for (unsigned i = 0; i < 4; i++) card_close(card[i]);
}

/* ---- the same times, however it is run ---- */

/*
 * A small layer of a model with experts: norm, router, two matrices of each expert in use, sum. Five steps, of which the
 * host waits for the last one only.
 */
enum { WIDTH = 256, HIDDEN = 512, EXPERTS = 8, TOKENS = 3 };

static card_addr room(struct card *card, unsigned bank, uint64_t bytes)
{
    struct error err;
    card_addr address;
    assert_int_equal(card_alloc(card, bank, bytes, &address, &err), 0);
    return address;
}

struct layer {
    card_addr x, weight, normed, act, logits_matrix, logits, choices, slots, hidden, act_hidden, out;
};

static card_addr filled(struct card *card, unsigned bank, const float *values, size_t n)
{
    struct error err;
    const card_addr address = room(card, bank, n * 4);
    assert_int_equal(card_write(card, address, values, n * 4, NULL, 0, NULL, &err), 0);
    return address;
}

/* Weights of experts are zeros; every expert is chosen by its bias, the first two of each token. */
static void make_layer(struct card *card, struct layer *layer)
{
    struct error err;
    float ones[TOKENS * WIDTH], router[EXPERTS * WIDTH] = {0};
    for (unsigned i = 0; i < TOKENS * WIDTH; i++) ones[i] = 1.0f;
    layer->x = filled(card, 0, ones, TOKENS * WIDTH);
    layer->weight = filled(card, 1, ones, WIDTH);
    layer->logits_matrix = filled(card, 2, router, EXPERTS * WIDTH);
    layer->normed = room(card, 0, TOKENS * WIDTH * 4);
    layer->act = room(card, 0, card_act_bytes(TOKENS, WIDTH));
    layer->logits = room(card, 0, TOKENS * EXPERTS * 4);
    layer->choices = room(card, 0, TOKENS * 2 * sizeof(struct card_choice));
    layer->hidden = room(card, 0, TOKENS * 2 * HIDDEN * 4);
    layer->out = room(card, 0, TOKENS * WIDTH * 4);
    layer->slots = room(card, 0, EXPERTS * 8);
    const uint64_t bytes = card_matrix_bytes(CARD_FORMAT_INT8, HIDDEN, WIDTH);
    card_addr slots[EXPERTS];
    uint8_t *zeros = calloc(1, bytes);
    assert_non_null(zeros);
    for (unsigned e = 0; e < EXPERTS; e++) {
        slots[e] = room(card, e % 4, bytes);
        assert_int_equal(card_write(card, slots[e], zeros, bytes, NULL, 0, NULL, &err), 0);
    }
    assert_int_equal(card_write(card, layer->slots, slots, sizeof slots, NULL, 0, NULL, &err), 0);
    free(zeros);
}

static unsigned write_program(const struct layer *layer, struct card_descriptor program[6])
{
    unsigned n = 0;
    program[n++] = (struct card_descriptor){.opcode = CARD_OP_NORM,
                                            .tokens = TOKENS,
                                            .rows = 1,
                                            .cols = WIDTH,
                                            .src = layer->x,
                                            .weight = layer->weight,
                                            .dst = layer->normed,
                                            .param = {0x3727c5ac}}; /* 1e-5 */
    program[n++] = (struct card_descriptor){.opcode = CARD_OP_MATMUL,
                                            .format = CARD_FORMAT_F32,
                                            .tokens = TOKENS,
                                            .rows = EXPERTS,
                                            .cols = WIDTH,
                                            .src = layer->normed,
                                            .weight = layer->logits_matrix,
                                            .dst = layer->logits};
    program[n++] = (struct card_descriptor){.opcode = CARD_OP_TOP_K,
                                            .tokens = TOKENS,
                                            .rows = 2,
                                            .cols = EXPERTS,
                                            .src = layer->logits,
                                            .dst = layer->choices};
    program[n++] = (struct card_descriptor){
        .opcode = CARD_OP_QUANTIZE, .tokens = TOKENS, .cols = WIDTH, .src = layer->normed, .dst = layer->act};
    program[n++] = (struct card_descriptor){.opcode = CARD_OP_MATMUL,
                                            .format = CARD_FORMAT_INT8,
                                            .tokens = TOKENS,
                                            .rows = WIDTH,
                                            .cols = WIDTH,
                                            .src = layer->act,
                                            .weight = layer->hidden, /* anything will do */
                                            .dst = layer->out};
    return n;
}

struct sums {
    uint64_t n, ends;
};

static void sum_event(void *context, const struct timeline_event *event)
{
    struct sums *sums = context;
    sums->n++;
    sums->ends = sums->ends * 31 + event->end;
}

/* Virtual time, use and events of five steps. */
static void run_layer(const char *spec, unsigned threads, struct card_usage *usage, struct sums *sums)
{
    struct error err = {0};
    struct card *card = open_card(spec, UINT64_C(1) << 30, threads);
    struct layer layer;
    struct card_descriptor program[6];
    float out[TOKENS * WIDTH];
    memset(sums, 0, sizeof *sums);
    assert_int_equal(card_trace(card, &(struct timeline_sink){sum_event, sums}, &err), 0);
    make_layer(card, &layer);
    layer.hidden = room(card, 5, card_matrix_bytes(CARD_FORMAT_INT8, WIDTH, WIDTH));
    const unsigned n = write_program(&layer, program);
    card_event event = 0;
    for (unsigned step = 0; step < 5; step++) {
        if (card_submit(card, program, n, &event, 1, &event, &err)) fail_msg("%s", err.text);
        assert_int_equal(card_spend(card, 1000, &err), 0);
    }
    uint64_t before, after, end;
    assert_int_equal(card_now(card, &before, &err), 0);
    assert_int_equal(card_event_end(card, event, &end, &err), 0);
    assert_true(end > before);
    assert_int_equal(card_wait(card, event, 0, &err), 0);
    assert_int_equal(card_now(card, &after, &err), 0);
    assert_int_equal(after, end);
    assert_int_equal(card_read(card, out, layer.out, sizeof out, &event, 1, NULL, &err), 0);
    assert_int_equal(card_now(card, &before, &err), 0);
    assert_true(before > after);
    assert_int_equal(card_measure(card, usage, &err), 0);
    assert_int_equal(usage->now_ps, before);
    struct card_counters counters;
    card_count(card, &counters);
    assert_int_equal(counters.cycles, (unsigned __int128)before * usage->clock_hz / UINT64_C(1000000000000));
    card_close(card);
}

static void the_same_times_in_every_run(void **state)
{
    (void)state;
    const char *const specs[] = {"sim:u55c", "sim:u55c,simd=generic", "sim:u55c,timing"};
    struct card_usage first, usage;
    struct sums first_sums, sums;
    run_layer("sim:u55c", 1, &first, &first_sums);
    assert_true(first_sums.n > 50);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned threads = 1; threads <= 2; threads++) {
            run_layer(specs[i], threads, &usage, &sums);
            assert_memory_equal(&usage, &first, sizeof usage);
            assert_memory_equal(&sums, &first_sums, sizeof sums);
        }
    }
    run_layer("sim:u50", 1, &usage, &sums);
    assert_true(sums.ends != first_sums.ends);
}

/* What is streamed by a plan is charged and not moved. */
static void a_timing_card_copies_nothing_from_nowhere(void **state)
{
    (void)state;
    struct error err;
    struct card *card = open_card("sim:u55c,timing", LARGE, 1);
    const uint64_t bytes = UINT64_C(20) << 30;
    const card_addr address = room(card, 3, bytes);
    uint64_t begin, end;
    assert_int_equal(card_now(card, &begin, &err), 0);
    assert_int_equal(card_write(card, address, NULL, bytes, NULL, 0, NULL, &err), 0);
    assert_int_equal(card_now(card, &end, &err), 0);
    struct card_usage usage;
    assert_int_equal(card_measure(card, &usage, &err), 0);
    const double seconds = 1e-12 * (double)(end - begin),
                 expected = (double)bytes / (double)usage.host_to_card_bytes_per_s;
    assert_true(seconds >= expected && seconds < 1.01 * expected);
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cards_without_a_profile_keep_no_time),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(banks_are_the_profiles_channels),
        cmocka_unit_test(more_memory_than_the_profile_has),
        cmocka_unit_test(the_same_times_in_every_run),
        cmocka_unit_test(a_timing_card_copies_nothing_from_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
