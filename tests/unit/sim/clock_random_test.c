/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random programs on the clock: time never goes back, nothing is busy for longer than it had, events and timing-only runs
 * change no time.
 */
#include "tests/unit/sim/clock_for_test.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS 40
#define PROGRAMS 6
#define LONGEST 24u
#define REGIONS 12u /* of BANK_BYTES / 16 in each bank; the last banks' parts hold weights */
#define PART (BANK_BYTES / 16)

static uint64_t next(uint64_t *state)
{
    /* xorshift64* (Vigna, 2016). */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint32_t below(uint64_t *state, uint32_t n) { return (uint32_t)(next(state) >> 33) % n; }

static card_addr region(uint64_t *state) { return CARD_ADDR(below(state, CHANNELS), below(state, REGIONS) * PART); }

static struct card_descriptor elementwise(uint64_t *state)
{
    static const uint8_t opcodes[] = {CARD_OP_ADD, CARD_OP_SCALE, CARD_OP_GLU, CARD_OP_NORM, CARD_OP_QUANTIZE};
    const uint8_t opcode = opcodes[below(state, 5)];
    struct card_descriptor d = {.opcode = opcode,
                                .tokens = 1 + below(state, 4),
                                .cols = 64 * (1 + below(state, 8)),
                                .dst = region(state),
                                .src = region(state)};
    if (opcode == CARD_OP_NORM) d.rows = 1;
    if (opcode != CARD_OP_QUANTIZE && opcode != CARD_OP_SCALE) d.weight = region(state);
    return d;
}

static struct card_descriptor matrix(uint64_t *state)
{
    const bool is_float = below(state, 4) == 0;
    return (struct card_descriptor){
        .opcode = CARD_OP_MATMUL,
        .format = is_float          ? CARD_FORMAT_F32
                  : below(state, 2) ? CARD_FORMAT_INT4
                                    : CARD_FORMAT_INT8,
        .tokens = 1 + below(state, 12),
        .rows = 16 * (1 + below(state, 20)),
        .cols = 64 * (1 + below(state, 4)),
        .dst = region(state),
        .src = region(state),
        .weight = CARD_ADDR(below(state, CHANNELS), (REGIONS + below(state, 3)) * PART),
        .param = {CHANNELS},
    };
}

static unsigned make_program(uint64_t *state, struct card_descriptor program[LONGEST])
{
    const unsigned n = 1 + below(state, LONGEST);
    for (unsigned i = 0; i < n; i++) program[i] = below(state, 3) ? elementwise(state) : matrix(state);
    return n;
}

/* What a run of a seed's programs and copies took. */
struct outcome {
    uint64_t now;
    struct sim_clock_usage usage;
};

static void check_usage(const struct sim_clock_usage *usage, uint64_t before)
{
    assert_true(usage->now >= before);
    for (unsigned r = 0; r < TIMELINE_RESOURCES; r++)
        if (r != TIMELINE_MEMORY) assert_true(usage->busy[r] <= usage->now);
    for (unsigned c = 0; c < CHANNELS; c++) assert_true(usage->channel_busy[c] <= usage->now);
}

static struct outcome run(uint64_t seed, bool timing_only, bool traced)
{
    uint64_t state = seed, before = 0;
    struct rig rig;
    struct error err = {0};
    struct outcome outcome;
    memset(&rig, 0, sizeof rig);
    round_card(&rig.card);
    round_host(&rig.host);
    rig.card.memory[0].peak_bytes_per_s >>= below(&state, 6);
    rig.card.engine.weight_prefetch_bytes >>= below(&state, 6);
    rig_open(&rig);
    sim_keep_time(rig.executor, rig.clock, timing_only);
    if (!traced) sim_clock_trace(rig.clock, NULL);
    for (unsigned p = 0; p < PROGRAMS; p++) {
        struct card_descriptor program[LONGEST];
        const unsigned n = make_program(&state, program);
        rig.record->n = 0;
        const uint64_t submitted = rig_submit(&rig, program, n);
        assert_true(sim_clock_event_end(rig.clock, submitted) > sim_clock_now(rig.clock));
        const struct sim_clock_order order = {.event = ++rig.events, .after = &submitted, .n_after = 1};
        const enum sim_clock_copy way = below(&state, 2) ? SIM_CLOCK_WRITE : SIM_CLOCK_READ;
        assert_int_equal(sim_clock_copy(rig.clock, way, &order, region(&state), below(&state, 100000), &err), 0);
        assert_true(sim_clock_event_end(rig.clock, order.event) >= sim_clock_event_end(rig.clock, submitted));
        if (below(&state, 2)) sim_clock_wait(rig.clock, order.event);
        assert_true(sim_clock_now(rig.clock) >= before);
        before = sim_clock_now(rig.clock);
    }
    sim_clock_wait(rig.clock, rig.events);
    sim_clock_measure(rig.clock, &outcome.usage);
    check_usage(&outcome.usage, before);
    outcome.now = sim_clock_now(rig.clock);
    rig_end(&rig);
    return outcome;
}

static void expect_same(const struct outcome *a, const struct outcome *b, uint64_t seed, const char *what)
{
    if (a->now != b->now || memcmp(&a->usage, &b->usage, sizeof a->usage) != 0)
        fail_msg("seed %llu: %s changes the time: %llu, %llu ps", (unsigned long long)seed, what,
                 (unsigned long long)a->now, (unsigned long long)b->now);
}

static void random_programs_keep_the_rules_of_time(void **state)
{
    (void)state;
    const char *given = getenv("SLUICE_SEED");
    const uint64_t start = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu (SLUICE_SEED)\n", (unsigned long long)start);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        const uint64_t seed = (start + i) * 2 + 1;
        const struct outcome first = run(seed, true, true), untraced = run(seed, true, false),
                             functional = run(seed, false, false);
        expect_same(&untraced, &first, seed, "a trace");
        expect_same(&functional, &first, seed, "arithmetic");
    }
}

/* How long the program takes once launched, on a card that waits for it. */
static uint64_t duration(struct rig *rig, const struct card_descriptor *program, unsigned n)
{
    rig->record->n = 0;
    const uint64_t event = rig_submit(rig, program, n), end = sim_clock_event_end(rig->clock, event);
    sim_clock_wait(rig->clock, event);
    return end - rig_launched(rig);
}

/* What the clock keeps of programs that have run changes no time: each is as long as on a card that knows nothing. */
static void what_is_kept_of_programs_changes_no_time(void **test)
{
    (void)test;
    const char *given = getenv("SLUICE_SEED");
    const uint64_t start = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu (SLUICE_SEED)\n", (unsigned long long)start);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        const uint64_t seed = (start + i) * 2 + 1;
        struct card_descriptor program[LONGEST];
        uint64_t state = seed;
        struct rig rig;
        rig_start(&rig);
        unsigned n = make_program(&state, program);
        for (unsigned p = 0; p < 6 * PROGRAMS; p++) {
            /* The same again, or some of it changed, or another one. */
            const unsigned what = below(&state, 4);
            if (what == 1) n = make_program(&state, program);
            if (what >= 2) program[below(&state, n)] = what == 2 ? elementwise(&state) : matrix(&state);
            struct rig fresh;
            rig_start(&fresh);
            const uint64_t kept = duration(&rig, program, n), anew = duration(&fresh, program, n);
            rig_end(&fresh);
            if (kept != anew)
                fail_msg("seed %llu: program %u takes %llu ps, on a new card %llu", (unsigned long long)seed, p,
                         (unsigned long long)kept, (unsigned long long)anew);
        }
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_programs_keep_the_rules_of_time),
                                       cmocka_unit_test(what_is_kept_of_programs_changes_no_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
