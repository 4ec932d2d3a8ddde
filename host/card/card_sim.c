/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated card: sim/ behind the card interface. Calls do their work before they return; only virtual time is later. */
#include "bitstreams/profiles/profile.h"
#include "host/card/card_formats.h"
#include "host/card/card_host_memory.h"
#include "host/card/card_sim_settings.h"
#include "sim/clock.h"
#include "sim/clock_stream.h"
#include "sim/executor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BANK_STEP (UINT64_C(1) << 21) /* what memory_bytes makes of banks is whole huge pages */

struct sim_card {
    struct host_memory_card host;
    struct sim_executor *executor;
    struct sim_clock *clock; /* NULL: no profile */
    bool timing;
    unsigned abi; /* 0: this release's */
    char profile[PROFILE_NAME_BYTES], title[64];
};

static struct sim_card *card_of(struct card_backend *backend) { return (struct sim_card *)(void *)backend; }
static const struct sim_card *const_card_of(const struct card_backend *backend)
{
    return (const struct sim_card *)(const void *)backend;
}

static void close_card(struct card_backend *backend)
{
    struct sim_card *card = card_of(backend);
    sim_close(card->executor);
    sim_clock_close(card->clock);
    host_memory_close(&card->host);
    free(card);
}

/* ---- a card with a profile ---- */

/* Its channels as banks, in all memory_bytes (0: what the profile says), divided as the profile's are. */
static int open_channels(struct sim_card *card, const struct card_profile *profile, uint64_t memory_bytes,
                         const struct card_extents *extents, struct error *err)
{
    const uint64_t all = card_profile_memory_bytes(profile);
    struct sim_bank banks[SIM_MAX_BANKS];
    unsigned n = 0;
    for (unsigned m = 0; m < profile->n_memories; m++) {
        const struct memory_profile *memory = &profile->memory[m];
        uint64_t bytes = memory->bytes_per_channel;
        if (memory_bytes) bytes = (uint64_t)((unsigned __int128)bytes * memory_bytes / all) / BANK_STEP * BANK_STEP;
        if (bytes < BANK_STEP) bytes = BANK_STEP;
        for (unsigned c = 0; c < memory->channels && n < SIM_MAX_BANKS; c++, n++) {
            banks[n].bytes = bytes;
            snprintf(banks[n].name, sizeof banks[n].name, "%s %u", memory->kind == MEMORY_HBM ? "HBM" : "DDR", c);
        }
    }
    return sim_memory_open_banks(&card->host.memory, banks, n, card->timing, extents->extent, extents->context, err);
}

static int open_profile(struct sim_card *card, const struct sim_settings *settings, const struct card_options *options,
                        const struct card_extents *extents, struct error *err)
{
    struct card_profile profile;
    struct host_profile host;
    int rc = card_profile_open(settings->profile, &profile, err);
    if (rc == ERROR_NOT_FOUND)
        error_prefix(err, "card sim:%s: not a setting (banks=N (1 to %d), simd=NAME)", settings->profile,
                     CARD_MAX_BANKS);
    if (!rc) rc = host_profile_open(settings->host[0] ? settings->host : profile.host, &host, err);
    if (rc) return rc;
    if (options->banks && options->banks != card_profile_channels(&profile))
        return error_set(err, ERROR_BAD_ARGUMENT, "card sim:%s: %u banks: the profile says how many, %u",
                         settings->profile, options->banks, card_profile_channels(&profile));
    card->timing = settings->timing;
    memcpy(card->profile, profile.name, sizeof card->profile);
    memcpy(card->title, profile.title, sizeof card->title);
    rc = open_channels(card, &profile, options->memory_bytes, extents, err);
    return rc ? rc : sim_clock_open(&profile, &host, &card->clock, err);
}

/* ---- every card ---- */

static int open_card(const struct card_options *asked, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct card_options options = *asked;
    struct sim_settings settings = {.banks = asked->banks};
    int rc = options.device ? sim_settings_read(options.device, &settings, err) : 0;
    if (rc) return rc;
    options.banks = settings.banks;
    struct sim_card *card = calloc(1, sizeof *card);
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card sim: no memory");
    if (settings.profile[0]) rc = open_profile(card, &settings, &options, extents, err);
    if (!rc) rc = host_memory_open(&card->host, &card_sim_ops, &options, extents, err);
    if (!rc)
        rc = sim_open(options.threads, settings.simd[0] ? settings.simd : NULL, &card->host.memory, &card->executor,
                      err);
    if (rc) {
        close_card(&card->host.base);
        return rc;
    }
    sim_keep_time(card->executor, card->clock, card->timing);
    card->abi = settings.abi;
    *out = &card->host.base;
    return 0;
}

static void describe(const struct card_backend *backend, struct card_info *info)
{
    const struct sim_card *card = const_card_of(backend);
    card_describe_formats(info);
    if (card->abi) info->abi_version = card->abi;
    info->threads = sim_threads(card->executor);
    const char *how = card->timing ? "timing only" : sim_simd(card->executor);
    snprintf(info->name, sizeof info->name, "simulated %.40s, %s", card->clock ? card->title : "card", how);
    snprintf(info->profile, sizeof info->profile, "%s", card->profile);
    host_memory_describe(&card->host, info);
}

static void count(const struct card_backend *backend, struct card_counters *counters)
{
    const struct sim_card *card = const_card_of(backend);
    host_memory_count(backend, counters);
    if (!card->clock) return;
    struct sim_clock_usage usage;
    sim_clock_measure(card->clock, &usage);
    counters->cycles += usage.cycles;
}

/* ---- work ---- */

static struct sim_clock_order order_of(const struct card_order *order)
{
    return (struct sim_clock_order){.event = order->event, .after = order->after, .n_after = order->n_after};
}

static int write_card(struct card_backend *backend, const struct card_order *order, card_addr dst, const void *src,
                      size_t bytes, struct error *err)
{
    struct sim_card *card = card_of(backend);
    const struct sim_clock_order when = order_of(order);
    /* Before the copy: a program that waits for a slot goes on, in real time, as soon as the slot is there. */
    int rc = card->clock ? sim_clock_copy(card->clock, SIM_CLOCK_WRITE, &when, dst, bytes, err) : 0;
    if (rc || !src) return rc;
    return host_memory_write(backend, order, dst, src, bytes, err);
}

static int read_card(struct card_backend *backend, const struct card_order *order, void *dst, card_addr src,
                     size_t bytes, struct error *err)
{
    struct sim_card *card = card_of(backend);
    const struct sim_clock_order when = order_of(order);
    /* After it: a mailbox that was read before its PUBLISH is not to count as one that was read after. */
    int rc = dst ? host_memory_read(backend, order, dst, src, bytes, err) : 0;
    return rc || !card->clock ? rc : sim_clock_copy(card->clock, SIM_CLOCK_READ, &when, src, bytes, err);
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    struct sim_card *card = card_of(backend);
    const struct sim_clock_order when = order_of(order);
    int rc = card->clock ? sim_clock_begin(card->clock, &when, program, n_descriptors, err) : 0;
    if (rc) return rc;
    rc = sim_run(card->executor, program, n_descriptors, &card->host.account, err);
    if (card->clock) sim_clock_end(card->clock);
    return rc;
}

static int wait_card(struct card_backend *backend, card_event event, unsigned timeout_ms, struct error *err)
{
    (void)timeout_ms; /* real time: it is complete */
    (void)err;
    struct sim_card *card = card_of(backend);
    if (card->clock) sim_clock_wait(card->clock, event);
    return 0;
}

static void set_agent(struct card_backend *backend, const struct card_agent *agent)
{
    sim_set_agent(card_of(backend)->executor, agent);
}

/* ---- virtual time ---- */

static void stream_start(struct card_backend *backend, card_addr dst, uint64_t bytes, const card_addr *entries,
                         unsigned n)
{
    struct sim_clock *clock = card_of(backend)->clock;
    if (clock) sim_clock_stream(clock, dst, bytes, entries, n);
}

static bool stream_fill(struct card_backend *backend, card_addr dst, uint64_t bytes, const card_addr *entries,
                        unsigned n)
{
    struct sim_clock *clock = card_of(backend)->clock;
    return clock && sim_clock_fill(clock, dst, bytes, entries, n);
}

static bool has_clock(const struct card_backend *backend) { return const_card_of(backend)->clock != NULL; }
static bool takes_nothing(const struct card_backend *backend) { return const_card_of(backend)->timing; }
static uint64_t now(const struct card_backend *backend) { return sim_clock_now(const_card_of(backend)->clock); }

static int spend(struct card_backend *backend, uint64_t ps, struct error *err)
{
    return sim_clock_spend(card_of(backend)->clock, ps, err);
}

static int idle(struct card_backend *backend, uint64_t until_ps, struct error *err)
{
    return sim_clock_idle(card_of(backend)->clock, until_ps, err);
}

static uint64_t event_end(const struct card_backend *backend, card_event event)
{
    return sim_clock_event_end(const_card_of(backend)->clock, event);
}

static void trace(struct card_backend *backend, const struct timeline_sink *sink)
{
    sim_clock_trace(card_of(backend)->clock, sink);
}

static void measure(const struct card_backend *backend, struct card_usage *usage)
{
    struct sim_clock_usage clock;
    sim_clock_measure(const_card_of(backend)->clock, &clock);
    usage->now_ps = clock.now;
    usage->waits_ps = clock.waits;
    usage->elsewhere_ps = clock.elsewhere;
    usage->clock_hz = clock.clock_hz;
    usage->host_to_card_bytes_per_s = clock.host_to_card;
    usage->card_to_host_bytes_per_s = clock.card_to_host;
    memcpy(usage->busy_ps, clock.busy, sizeof usage->busy_ps);
    memcpy(usage->energy_nj, clock.energy_nj, sizeof usage->energy_nj);
    for (unsigned c = 0; c < clock.channels; c++) {
        usage->channel_busy_ps[c] = clock.channel_busy[c];
        usage->channel_bytes[c] = clock.channel_bytes[c];
        usage->channel_bytes_per_s[c] = clock.channel_peak[c];
    }
}

const struct card_backend_ops card_sim_ops = {
    .name = "sim",
    .takes_device = true,
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = count,
    .write = write_card,
    .read = read_card,
    .window = host_memory_window,
    .submit = submit,
    .wait = wait_card,
    .set_agent = set_agent,
    .stream_write = host_memory_stream_write,
    .stream_start = stream_start,
    .stream_fill = stream_fill,
    .has_clock = has_clock,
    .takes_nothing = takes_nothing,
    .now = now,
    .spend = spend,
    .idle = idle,
    .event_end = event_end,
    .measure = measure,
    .trace = trace,
    .released = host_memory_released,
};
