/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ROUTER, TOP_K, EXPERT_SUM, EXPERT_SPREAD, PUBLISH and AWAIT: HLS C against the simulator, bit for bit. Both scorings,
 * bias, groups by one and by two experts, as many choices as a card allows, ties, and data with infinities, NaN,
 * subnormals and zeros of both signs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/hls/hls_engine.h"
#include "tests/kernels/both_cards.h"
#include "tests/kernels/shapes.h"

#include <pthread.h>

#define ROUNDS 80

static struct both both;

/* Runs one descriptor whose result is n floats at dst. */
static void compare(const char *what, const struct card_descriptor *d, uint64_t n_floats)
{
    char name[120];
    snprintf(name, sizeof name, "%s format %u tokens %u rows %u cols %u flags %u P1 %u P2 %u", what, d->format,
             d->tokens, d->rows, d->cols, d->flags, d->param[1], d->param[2]);
    both_upload(&both);
    assert_int_equal(both_run(&both, name, d, 1), 0);
    assert_same_memory(&both, name, d->dst, n_floats);
}

/* Many equal values: ties go to the lower index. Zeros of both signs and subnormals are equal too. */
static void make_ties(card_addr at, uint64_t n)
{
    static const uint32_t zeros[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff};
    for (uint64_t i = 1; i < n; i++) {
        uint8_t *to = image_at(&both, at) + 4 * i;
        if (draw(&both, 3) == 0) memcpy(to, to - 4, 4);
        if (draw(&both, 16) == 0) store_u32(to, PICK(&both, zeros));
    }
}

static uint32_t pick_choices(uint32_t most)
{
    if (most > 256) most = 256;
    const uint32_t n = 1 + draw(&both, draw(&both, 4) ? most / 8 + 1 : most);
    return n < most ? n : most;
}

static card_addr take_logits(uint64_t n, int round)
{
    const card_addr at = take_floats(&both, n, round % 4 ? pick_special(&both) : 3); /* many NaN and infinities */
    if (draw(&both, 2)) make_ties(at, n);
    return at;
}

static void router(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(&both), tokens = pick_tokens(&both, cols);
        struct card_descriptor d = {.opcode = CARD_OP_ROUTER, .tokens = tokens, .cols = cols};
        d.format = i % 2 ? CARD_SCORING_SIGMOID : CARD_SCORING_SOFTMAX;
        d.rows = pick_choices(cols);
        d.flags = (uint16_t)((draw(&both, 2) ? CARD_FLAG_RENORMALIZE : 0) | (i & 2 ? CARD_FLAG_BIAS : 0));
        d.src = take_logits((uint64_t)tokens * cols, i);
        if (d.flags & CARD_FLAG_BIAS) d.aux = take_floats(&both, cols, pick_special(&both));
        d.dst = take(&both, 8ull * tokens * d.rows, 4);
        d.param[0] = bits_of_float(draw(&both, 2) ? 1.0f : 2.5f);
        d.param[1] = draw(&both, 2);
        compare("ROUTER", &d, 2ull * tokens * d.rows);
    }
}

static void router_of_groups(void **state)
{
    (void)state;
    static const uint32_t group_counts[] = {2, 3, 8, 16, 100}, sizes[] = {1, 2, 3, 5, 16, 32, 40};
    for (int i = 0; i < 2 * ROUNDS; i++) {
        const uint32_t groups = PICK(&both, group_counts), size = PICK(&both, sizes), tokens = 1 + draw(&both, 9);
        struct card_descriptor d = {.opcode = CARD_OP_ROUTER, .tokens = tokens, .cols = groups * size};
        d.format = i % 2 ? CARD_SCORING_SIGMOID : CARD_SCORING_SOFTMAX;
        d.flags = (uint16_t)((draw(&both, 2) ? CARD_FLAG_RENORMALIZE : 0) | (i & 2 ? CARD_FLAG_BIAS : 0) |
                             (size > 1 && draw(&both, 2) ? CARD_FLAG_GROUP_PAIRS : 0));
        d.src = take_logits((uint64_t)tokens * d.cols, i);
        if (d.flags & CARD_FLAG_BIAS) d.aux = take_floats(&both, d.cols, pick_special(&both));
        d.param[0] = bits_of_float(1.0f);
        d.param[1] = groups;
        d.param[2] = 1 + draw(&both, groups);
        d.rows = pick_choices(size * d.param[2]);
        d.dst = take(&both, 8ull * tokens * d.rows, 4);
        compare("ROUTER", &d, 2ull * tokens * d.rows);
    }
}

static void top_k(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = i == 0 ? 100003 : pick_length(&both), tokens = pick_tokens(&both, cols);
        struct card_descriptor d = {.opcode = CARD_OP_TOP_K, .tokens = tokens, .cols = cols};
        d.rows = pick_choices(cols);
        d.src = take_logits((uint64_t)tokens * cols, i);
        d.dst = take(&both, 8ull * tokens * d.rows, 4);
        compare("TOP_K", &d, 2ull * tokens * d.rows);
    }
}

static void expert_sum(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(&both), tokens = pick_tokens(&both, cols), n_choices = 1 + draw(&both, 5);
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_SUM, .tokens = tokens, .cols = cols};
        d.flags = i % 2 ? CARD_FLAG_UNWEIGHTED : 0;
        d.dst = take_floats(&both, (uint64_t)tokens * cols, pick_special(&both));
        d.src = take_floats(&both, (uint64_t)tokens * n_choices * cols, pick_special(&both));
        if (i % 2 == 0)
            d.aux = take_floats(&both, 2ull * tokens * n_choices, pick_special(&both)); /* any bits name one */
        d.param[0] = n_choices;
        compare("EXPERT_SUM", &d, (uint64_t)tokens * cols);
    }
}

static void expert_spread(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t cols = pick_length(&both), tokens = pick_tokens(&both, cols), n_choices = 1 + draw(&both, 5);
        struct card_descriptor d = {.opcode = CARD_OP_EXPERT_SPREAD, .tokens = tokens, .cols = cols};
        d.src = take_floats(&both, (uint64_t)tokens * cols, pick_special(&both));
        d.aux = take_floats(&both, 2ull * tokens * n_choices, pick_special(&both));
        d.dst = take(&both, 4ull * tokens * n_choices * cols, 4);
        d.param[0] = n_choices;
        compare("EXPERT_SPREAD", &d, (uint64_t)tokens * n_choices * cols);
    }
}

/* The largest table of choices, in two operations. */
static void most_choices_of_a_token(void **state)
{
    (void)state;
    for (unsigned opcode = CARD_OP_EXPERT_SUM; opcode <= CARD_OP_EXPERT_SPREAD;
         opcode += CARD_OP_EXPERT_SPREAD - CARD_OP_EXPERT_SUM) {
        struct card_descriptor d = {.opcode = (uint8_t)opcode, .tokens = 2, .cols = 40};
        d.src = take_floats(&both, 2 * 256 * 40, 0);
        d.aux = take_floats(&both, 2 * 2 * 256, 0);
        d.dst = take_floats(&both, 2 * 256 * 40, 0);
        d.param[0] = 256;
        compare("256 choices", &d, 2 * 256 * 40);
    }
}

static void publish(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct card_descriptor d = {.opcode = CARD_OP_PUBLISH, .tokens = 1 + draw(&both, 40)};
        d.rows = i % 8 ? 1 + draw(&both, 9) : 256;
        const uint64_t floats = 2ull * d.tokens * d.rows;
        d.src = take_floats(&both, floats, 0);
        d.dst = take(&both, 64 + 4 * floats, 64);
        d.param[0] = draw(&both, UINT32_MAX);
        compare("PUBLISH", &d, 16 + floats);
    }
}

/* A slot table of 8, of which the choices name some; one entry is empty (8: none). Both cards say the same. */
static void await_of(uint32_t empty, uint32_t tokens, uint32_t n_choices, int choose_empty)
{
    card_addr slot[8];
    uint32_t choice[2 * 3 * 70];
    for (uint32_t e = 0; e < 8; e++) slot[e] = e == empty ? CARD_NO_SLOT : CARD_ADDR(0, 64 * e);
    for (uint32_t i = 0; i < tokens * n_choices; i++) {
        uint32_t expert = draw(&both, 8);
        if (expert == empty) expert = (empty + 1) % 8;
        choice[2 * i] = expert;
        choice[2 * i + 1] = draw(&both, UINT32_MAX);
    }
    const uint32_t late = draw(&both, tokens * n_choices);
    if (choose_empty) choice[2 * late] = empty;
    struct card_descriptor d = {.opcode = CARD_OP_AWAIT, .tokens = tokens};
    d.weight = take_words(&both, slot, sizeof slot, 8);
    d.aux = take_words(&both, choice, 8ull * tokens * n_choices, 4);
    d.param[0] = n_choices;
    d.param[1] = 8;
    d.param[2] = 50;
    both_upload(&both);
    assert_int_equal(both_run(&both, "AWAIT", &d, 1), choose_empty ? ERROR_CARD : 0);
    assert_same_memory(&both, "AWAIT", both.arena, 0);
#ifndef hls_card_ops /* else the OpenCL backend in its place, which says it as the simulator does */
    if (!choose_empty) return;
    char says[64];
    struct error err = {0};
    snprintf(says, sizeof says, "descriptor 0 (AWAIT): status %u, item %u, value %u", HLS_AWAIT, late, empty);
    assert_int_equal(card_submit(both.hls, &d, 1, NULL, 0, NULL, &err), ERROR_CARD);
    assert_string_equal(err.text, says);
#endif
}

/* A table that nobody changes: goes on where nothing is missing that is asked for, and ends with the error else. */
static void await_ends(void **state)
{
    (void)state;
    for (uint32_t empty = 0; empty <= 8; empty++) {
        await_of(empty, 1, 1, 0);
        await_of(empty, 70, 3, 0);
        if (empty == 8) continue;
        await_of(empty, 1, 1, 1);
        await_of(empty, 70, 3, 1); /* in any window of choices */
    }
}

/*
 * PER_CHOICE, on a slot table of 8 with the empty entries of a mask: which choices are there and which are not, and both
 * cards pass over the program's next descriptor where nothing is asked for.
 */
static void await_sorts_of(uint32_t empty, uint32_t tokens, uint32_t n_choices, uint32_t ask)
{
    card_addr slot[8];
    uint32_t choice[2 * 3 * 70], asked = 0, there = 0;
    for (uint32_t e = 0; e < 8; e++) slot[e] = empty >> e & 1u ? CARD_NO_SLOT : CARD_ADDR(0, 64 * e);
    for (uint32_t i = 0; i < tokens * n_choices; i++) {
        choice[2 * i] = draw(&both, 8) < ask ? draw(&both, 8) : CARD_NO_EXPERT;
        choice[2 * i + 1] = draw(&both, UINT32_MAX);
        if (choice[2 * i] == CARD_NO_EXPERT) continue;
        asked++;
        there += !(empty >> choice[2 * i] & 1u);
    }
    struct card_descriptor d[2] = {{.opcode = CARD_OP_AWAIT, .flags = CARD_FLAG_PER_CHOICE, .tokens = tokens}};
    const uint32_t n = tokens * n_choices;
    d[0].weight = take_words(&both, slot, sizeof slot, 8);
    d[0].aux = take_words(&both, choice, 8ull * n, 4);
    d[0].dst = take(&both, 16ull * n, 4);
    d[0].rows = draw(&both, 5);
    d[0].param[0] = n_choices;
    d[0].param[1] = 8;
    d[0].param[2] = 50;
    d[0].param[3] = 1;
    const card_addr from = take_floats(&both, 8, 0), to = take(&both, 32, 4);
    d[1] = (struct card_descriptor){.opcode = CARD_OP_SCALE, .tokens = 1, .cols = 8, .dst = to, .src = from};
    const uint8_t *before = image_at(&both, to);
    both_upload(&both);
    const uint32_t least = d[0].rows ? (asked + d[0].rows - 1) / d[0].rows : asked > 0;
    const int fails = there < least;
    assert_int_equal(both_run(&both, "AWAIT", d, 2), fails ? ERROR_CARD : 0);
    if (fails) return;
    assert_same_memory(&both, "AWAIT", both.arena, 0);
    static uint32_t sorted[4 * 3 * 70];
    uint8_t after[32];
    struct error err = {0};
    assert_int_equal(card_read(both.sim, sorted, d[0].dst, 16ull * n, NULL, 0, NULL, &err), 0);
    assert_int_equal(card_read(both.sim, after, to, sizeof after, NULL, 0, NULL, &err), 0);
    assert_int_equal(memcmp(after, before, sizeof after) != 0, asked > 0);
    for (uint32_t i = 0; i < n; i++) {
        const int asks = choice[2 * i] != CARD_NO_EXPERT, has = asks && !(empty >> choice[2 * i] & 1u);
        assert_int_equal(sorted[2 * i], has ? choice[2 * i] : CARD_NO_EXPERT);
        assert_int_equal(sorted[2 * (n + i)], asks && !has ? choice[2 * i] : CARD_NO_EXPERT);
        assert_int_equal(sorted[2 * i + 1], has ? choice[2 * i + 1] : 0);
        assert_int_equal(sorted[2 * (n + i) + 1], asks && !has ? choice[2 * i + 1] : 0);
    }
}

static void await_sorts_who_is_there(void **state)
{
    (void)state;
    for (uint32_t ask = 0; ask <= 8; ask += 4) {
        await_sorts_of(0, 1, 1, ask);
        await_sorts_of(0x55, 1, 3, ask);
        await_sorts_of(0xf0, 70, 3, ask);
        await_sorts_of(0xff, 70, 3, ask);
        await_sorts_of(draw(&both, 256), 1 + draw(&both, 70), 1 + draw(&both, 3), ask);
    }
}

struct engine_job {
    struct hls_word program, status;
    struct hls_word *bank;
};

static void *run_engine(void *opaque)
{
    struct engine_job *job = opaque;
    const struct hls_word extents = {{0}};
    sluice_engine(&job->program, 1, &extents, 0, &job->status, job->bank, job->bank, job->bank, job->bank);
    return NULL;
}

/* The table changes while the engine waits: it reads it anew each time. */
static void await_sees_what_comes(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* the port is shared memory by design: neither side has atomics that a thread sanitizer knows */
#endif
    struct hls_word *bank = aligned_alloc(64, 2 * sizeof *bank);
    struct engine_job job = {.bank = bank};
    struct card_descriptor d = {.opcode = CARD_OP_AWAIT, .tokens = 1, .weight = 0, .aux = 64};
    d.param[0] = 2;
    d.param[1] = 8;
    d.param[2] = UINT32_MAX;
    memcpy(&job.program, &d, sizeof d);
    assert_non_null(bank);
    memset(bank, 0xff, sizeof *bank);
    memset(bank + 1, 0, sizeof *bank);
    bank[1].lane[0] = 5;
    bank[1].lane[2] = 2;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_engine, &job), 0);
    uint64_t *slot = (uint64_t *)(void *)bank;
    for (int e = 0; e < 8; e++) {
        const struct timespec nap = {.tv_nsec = 1000000};
        nanosleep(&nap, NULL);
        __atomic_store_n(&slot[e], CARD_ADDR(0, 64), __ATOMIC_RELEASE);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(job.status.lane[0], HLS_OK);
    assert_int_equal(job.status.lane[1], 1);
    free(bank);
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
        cmocka_unit_test(router),
        cmocka_unit_test(router_of_groups),
        cmocka_unit_test(top_k),
        cmocka_unit_test(expert_sum),
        cmocka_unit_test(expert_spread),
        cmocka_unit_test(most_choices_of_a_token),
        cmocka_unit_test(publish),
        cmocka_unit_test(await_ends),
        cmocka_unit_test(await_sees_what_comes),
        cmocka_unit_test(await_sorts_who_is_there),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
