/* SPDX-License-Identifier: Apache-2.0 */
/* What cards whose memory is this process's have in common: the simulator and the float reference. */
#ifndef SLUICE_CARD_HOST_MEMORY_H
#define SLUICE_CARD_HOST_MEMORY_H

#include "host/card/card_backend.h"
#include "sim/account.h"
#include "sim/memory.h"

/* First member of such a backend's struct. */
struct host_memory_card {
    struct card_backend base;
    struct sim_memory memory;
    struct sim_account account;
};

static inline struct host_memory_card *host_memory_of(struct card_backend *backend)
{
    return (struct host_memory_card *)(void *)backend;
}

int host_memory_open(struct host_memory_card *card, const struct card_backend_ops *ops,
                     const struct card_options *options, const struct card_extents *extents, struct error *err);
void host_memory_close(struct host_memory_card *card);

/* The banks' part of describe. */
void host_memory_describe(const struct host_memory_card *card, struct card_info *info);

/* Slots of card_backend_ops. */
void host_memory_count(const struct card_backend *backend, struct card_counters *counters);
int host_memory_write(struct card_backend *backend, const struct card_order *order, card_addr dst, const void *src,
                      size_t bytes, struct error *err);
int host_memory_stream_write(struct card_backend *backend, card_addr dst, const void *src, size_t bytes,
                             struct error *err);
int host_memory_read(struct card_backend *backend, const struct card_order *order, void *dst, card_addr src,
                     size_t bytes, struct error *err);
void *host_memory_window(struct card_backend *backend, card_addr address, uint64_t bytes);
void host_memory_released(struct card_backend *backend, card_addr address, uint64_t bytes);

#endif
