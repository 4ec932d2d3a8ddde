/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card of round figures for the clock's tests, so that times can be worked out by hand: a cycle is 4 ns, each of four
 * channels moves a byte in 62.5 ps and answers after 100 ns, a copy takes 1 us and 100 ps a byte (and 2 us more where none was
 * queued), a launch 10 us alone and 2 us behind another, the host decides for 5 us.
 */
#ifndef SLUICE_TEST_CLOCK_FOR_TEST_H
#define SLUICE_TEST_CLOCK_FOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "sim/clock.h"
#include "sim/executor.h"

#define CHANNELS 4u
#define CYCLE UINT64_C(4000)
#define NS UINT64_C(1000)
#define US UINT64_C(1000000)
#define LATENCY (100 * NS)
#define DISPATCH CYCLE
#define PREFETCH_BYTES (CHANNELS * 16384u)
#define BANK_BYTES (UINT64_C(1) << 24)

static inline void round_card(struct card_profile *card)
{
    *card = (struct card_profile){
        .name = "round",
        .n_memories = 1,
        .memory = {{.channels = CHANNELS,
                    .bytes_per_channel = BANK_BYTES,
                    .peak_bytes_per_s = UINT64_C(16000000000),
                    .latency_ps = LATENCY,
                    .refresh_interval_ps = US,
                    .energy_fj_per_byte = 1000}},
        .port = {.clock_mhz = 250, .width_bits = 512, .burst_beats = 64, .outstanding_reads = 64},
        .engine = {.matmul_pipelines = CHANNELS,
                   .tokens_per_word = 1,
                   .tokens_per_pass = 8,
                   .float_lanes = 16,
                   .attention_pipelines = 1,
                   .attention_lanes = 16,
                   .scan_lanes = 16,
                   .vector_lanes = 16,
                   .weight_prefetch_bytes = PREFETCH_BYTES,
                   .activation_bytes = 1 << 24,
                   .dispatch_cycles = 1,
                   .fma_cycles = 12,
                   .add_cycles = 8,
                   .compare_cycles = 2,
                   .matmul = {1, 1, 1, 36, 32, 70}},
        .energy =
            {.static_mw = 10000, .mac_fj = 500, .float_fj = 2000, .on_chip_fj_per_byte = 10, .link_fj_per_byte = 5000},
    };
    /* Every loop takes one cycle. */
#define ONE(name) card->engine.interval.name = 1;
    PROFILE_LOOPS(ONE)
#undef ONE
}

static inline void round_host(struct host_profile *host)
{
    *host = (struct host_profile){
        .name = "round",
        .host_to_card_bytes_per_s = UINT64_C(10000000000),
        .card_to_host_bytes_per_s = UINT64_C(10000000000),
        .both_ways_bytes_per_s = UINT64_C(20000000000),
        .transfer_first_ps = 2 * US,
        .transfer_ps = US,
        .transfer_both_ps = US,
        .transfer_serial = 100,
        .launch_first_ps = 8 * US,
        .launch_ps = 2 * US,
        .launch_again_ps = 2 * US,
        .launch_commands = 1000,
        .decision_ps = 5 * US,
        .idle_mw = 50000,
    };
}

/* Events of a run. */
struct record {
    struct timeline_event event[4096];
    unsigned n;
};

static inline void keep_event(void *context, const struct timeline_event *event)
{
    struct record *record = context;
    assert_true(event->begin <= event->end);
    assert_true(record->n < sizeof record->event / sizeof *record->event);
    record->event[record->n++] = *event;
}

struct rig {
    struct card_profile card;
    struct host_profile host;
    struct sim_memory memory;
    struct sim_executor *executor;
    struct sim_clock *clock;
    struct record *record;
    struct sim_account account;
    uint64_t events;
};

static inline uint64_t all_of_bank(const void *context, card_addr address)
{
    (void)context;
    return CARD_ADDR_BANK(address) < CHANNELS && CARD_ADDR_OFFSET(address) < BANK_BYTES
               ? BANK_BYTES - CARD_ADDR_OFFSET(address)
               : 0;
}

/* Opens with rig->card and rig->host, which round_card and round_host have filled. */
static inline void rig_open(struct rig *rig)
{
    struct error err;
    struct sim_bank banks[CHANNELS];
    for (unsigned b = 0; b < CHANNELS; b++) banks[b] = (struct sim_bank){.name = "HBM", .bytes = BANK_BYTES};
    assert_int_equal(sim_memory_open_banks(&rig->memory, banks, CHANNELS, true, all_of_bank, NULL, &err), 0);
    assert_int_equal(sim_open(1, NULL, &rig->memory, &rig->executor, &err), 0);
    assert_int_equal(sim_clock_open(&rig->card, &rig->host, &rig->clock, &err), 0);
    sim_keep_time(rig->executor, rig->clock, true);
    rig->record = calloc(1, sizeof *rig->record);
    assert_non_null(rig->record);
    sim_clock_trace(rig->clock, &(struct timeline_sink){keep_event, rig->record});
}

static inline void rig_start(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    round_card(&rig->card);
    round_host(&rig->host);
    rig_open(rig);
}

static inline void rig_end(struct rig *rig)
{
    sim_close(rig->executor);
    sim_clock_close(rig->clock);
    sim_memory_close(&rig->memory);
    free(rig->record);
}

static inline void *rig_at(struct rig *rig, card_addr address)
{
    return rig->memory.bank[CARD_ADDR_BANK(address)].base + CARD_ADDR_OFFSET(address);
}

/* The program's event; nothing waits. */
static inline uint64_t rig_submit(struct rig *rig, const struct card_descriptor *program, unsigned n)
{
    struct error err = {0};
    const struct sim_clock_order order = {.event = ++rig->events};
    assert_int_equal(sim_clock_begin(rig->clock, &order, program, n, &err), 0);
    const int rc = sim_run(rig->executor, program, n, &rig->account, &err);
    if (rc) fail_msg("%s", err.text);
    sim_clock_end(rig->clock);
    return order.event;
}

/* Event of descriptor i of the last program, on its unit. */
static inline const struct timeline_event *rig_operation(const struct rig *rig, unsigned i)
{
    for (unsigned k = rig->record->n; k-- > 0;) {
        const struct timeline_event *event = &rig->record->event[k];
        if ((event->kind == TIMELINE_OPERATION || event->kind == TIMELINE_WAIT) && event->descriptor == i) return event;
    }
    fail_msg("descriptor %u has no event", i);
    return NULL;
}

/* Begin of the last program: its launch. */
static inline uint64_t rig_launched(const struct rig *rig)
{
    for (unsigned k = rig->record->n; k-- > 0;) {
        const struct timeline_event *event = &rig->record->event[k];
        if (event->resource == TIMELINE_DISPATCH && event->kind == TIMELINE_PROGRAM) return event->begin;
    }
    fail_msg("no program");
    return 0;
}

#endif
