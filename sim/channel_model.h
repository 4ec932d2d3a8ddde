/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a memory channel takes (HBM pseudo-channel or DDR bank) for streams that masters read from it.
 *
 * What a byte costs a channel: its time on the pins and the row changes of a sequential stream (stall), longer by the
 * share of time that refreshes take; of each burst also the change from another master's, which every one but 1 in m is
 * for m masters that take turns:
 *     c = (1 / peak + stall + (m - 1) / m switch / B) tREFI / (tREFI - tRFC), bursts of B bytes.
 * A master's port has the same row changes to wait for between its beats:
 *     p = (1 / port + stall) tREFI / (tREFI - tRFC).
 * Masters take turns, so a burst takes t = B max(p, m c). A master that has asked for n bursts asks for the next when the
 * first comes back, after the latency L and t: by Little's law it gets n bursts in max(n t, L + t).
 *
 * No state but channel.busy_until. All times in ps, rounded up.
 */
#ifndef SLUICE_SIM_CHANNEL_MODEL_H
#define SLUICE_SIM_CHANNEL_MODEL_H

#include "bitstreams/profiles/profile.h"

#include <stdint.h>

#define AXI_BURST_BYTES 4096u /* a burst crosses no 4 KB border, and has 256 beats at most (AXI4, A3.4.1) */
#define AXI_BURST_BEATS 256u

/*
 * Masters that read at the same time, spread evenly over channels: with more masters than channels they share; with
 * fewer, each has a port on every channel that it reads, as a kernel with a bundle for each bank.
 */
struct channel_load {
    uint32_t masters, channels;
};

/* One channel of a card at work: zero at the start. */
struct channel {
    uint64_t busy_until; /* ps */
};

/* What one MiB costs the channel when enough is asked for, by masters that take turns; the ports' speed counts too. */
uint64_t channel_ps_per_mib(const struct memory_profile *memory, const struct port_profile *port, uint32_t masters);

/* bytes at that rate. */
uint64_t channel_ps(uint64_t bytes, uint64_t ps_per_mib);

/* The same as bytes per second, for reports. */
uint64_t channel_bytes_per_s(const struct memory_profile *memory, const struct port_profile *port, uint32_t masters);

/*
 * From the first request to the last byte, each master reading a buffer of `bytes` (at most 2^50): what `sluice probe` asks.
 * UINT64_MAX if it is longer than 200 days.
 */
uint64_t channel_stream_ps(const struct memory_profile *memory, const struct port_profile *port,
                           const struct channel_load *load, uint64_t bytes);

/*
 * A stream of `bytes` that may start at `ready`, on a channel that serves its streams one after the other: occupies it and
 * sets *begin and *end, between which it is busy. The latency is not in it: reads asked for ahead hide it.
 */
void channel_occupy(struct channel *channel, uint64_t ready, uint64_t bytes, uint64_t ps_per_mib, uint64_t *begin,
                    uint64_t *end);

#endif
