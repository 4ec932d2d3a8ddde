/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the link between host and card takes.
 *
 * A copy by DMA is a set-up by the host and a transfer at its direction's rate. In a queue the host sets up the next copy
 * while one is under way, but for a share s of the shorter of the two (descriptors and notices go by the same link):
 *     copy = max(set-up, bytes / rate) + s min(set-up, bytes / rate).
 * The first of a queue waits for transfer_first besides: the way through the driver to the card, and of the end back to a
 * thread that sleeps. Launches of a kernel are the same without bytes; commands that have run before start faster.
 *
 * No state but link.busy_until. All times in ps, rounded up; UINT64_MAX where a sum does not fit.
 */
#ifndef SLUICE_SIM_LINK_MODEL_H
#define SLUICE_SIM_LINK_MODEL_H

#include "bitstreams/profiles/profile.h"

#include <stdbool.h>
#include <stdint.h>

enum link_direction { LINK_HOST_TO_CARD, LINK_CARD_TO_HOST, LINK_BOTH_WAYS };

/* Both directions of one card's link: zero at the start. */
struct link {
    uint64_t busy_until[2]; /* ps, by LINK_HOST_TO_CARD and LINK_CARD_TO_HOST */
};

/*
 * One copy of `bytes` of a queue in this direction: from the end of the one before to its own. both_ways: while the other
 * direction is busy too. LINK_BOTH_WAYS: one copy each way, until both have ended.
 */
uint64_t link_copy_ps(const struct host_profile *host, enum link_direction direction, bool both_ways, uint64_t bytes);

/* `copies` of `bytes` each (at least one), asked for at once: until the host knows that all have ended. */
uint64_t link_copies_ps(const struct host_profile *host, enum link_direction direction, uint64_t bytes,
                        uint64_t copies);

/* `launches` of an empty kernel, asked for at once: until the host knows that all have ended. */
uint64_t link_launches_ps(const struct host_profile *host, uint64_t launches);

/*
 * A kernel reads and writes a buffer of `bytes` each of host memory, over and over: one round. Short buffers go page by
 * page, long ones as a stream once it flows. UINT64_MAX: the host has no bridge.
 */
uint64_t link_bridge_ps(const struct host_profile *host, uint64_t bytes);

/*
 * A copy that may start at `ready`: occupies its direction and sets *begin and *end, between which it is busy. When the
 * direction was idle at `ready`, transfer_first comes before *begin.
 */
void link_occupy(struct link *link, const struct host_profile *host, enum link_direction direction, uint64_t ready,
                 uint64_t bytes, uint64_t *begin, uint64_t *end);

#endif
