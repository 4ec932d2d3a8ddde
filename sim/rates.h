/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card and its host as the integers that the clock multiplies with: what is charged for each descriptor is a product and
 * a shift, the same on every machine. Times are picoseconds; *_q are picoseconds for one of the unit, times 2^20, rounded
 * up once when the clock opens.
 */
#ifndef SLUICE_SIM_RATES_H
#define SLUICE_SIM_RATES_H

#include "bitstreams/profiles/profile.h"
#include "kernels/abi/card_program.h"

#include <stdint.h>

struct sim_channel_rates {
    uint64_t stream_q;  /* a byte of a stream that has the channel for itself: weights */
    uint64_t scatter_q; /* a byte beside the bursts of another master: KV pages, states, activations */
    uint64_t latency;   /* from asking for the first word to having it */
    uint64_t cap;       /* of this channel's time that fits on chip ahead of its use */
    uint64_t peak_bytes_per_s;
    uint64_t byte_fj;
};

struct sim_rates {
    struct card_profile card;
    struct host_profile host;
    uint64_t cycle_q;
    uint64_t dispatch;     /* from one descriptor to the next */
    uint64_t link_share_q; /* of every channel's time that a copy takes while it runs, times 2^20 */
    unsigned channels;
    struct sim_channel_rates channel[PROFILE_CHANNELS];
};

void sim_rates_of(struct sim_rates *rates, const struct card_profile *card, const struct host_profile *host);

/* amount of what takes q each, rounded up. */
static inline uint64_t sim_rate(uint64_t amount, uint64_t q)
{
    return (uint64_t)(((unsigned __int128)amount * q + ((1u << 20) - 1)) >> 20);
}
/* The same of an amount up to sim_few(q). */
static inline uint64_t sim_rate_of_few(uint64_t amount, uint64_t q) { return (amount * q + ((1u << 20) - 1)) >> 20; }
static inline uint64_t sim_few(uint64_t q) { return (UINT64_MAX - (1u << 20)) / q; }

static inline uint64_t sim_cycles(const struct sim_rates *rates, uint64_t cycles)
{
    return sim_rate(cycles, rates->cycle_q);
}

#endif
