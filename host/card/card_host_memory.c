/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_host_memory.h"

#include <stdio.h>
#include <string.h>

int host_memory_open(struct host_memory_card *card, const struct card_backend_ops *ops,
                     const struct card_options *options, const struct card_extents *extents, struct error *err)
{
    card->base.ops = ops;
    if (card->memory.n_banks) return 0; /* the card knows its banks itself */
    uint64_t bytes = options->memory_bytes;
    if (bytes == 0 && options->sharers > 1) bytes = sim_memory_default_bytes() / options->sharers;
    return sim_memory_open(&card->memory, options->banks, bytes, extents->extent, extents->context, err);
}

void host_memory_close(struct host_memory_card *card) { sim_memory_close(&card->memory); }

void host_memory_describe(const struct host_memory_card *card, struct card_info *info)
{
    info->n_banks = card->memory.n_banks;
    for (unsigned b = 0; b < info->n_banks; b++) {
        snprintf(info->bank[b].name, sizeof info->bank[b].name, "%s", card->memory.bank[b].name);
        info->bank[b].bytes = card->memory.bank[b].bytes;
    }
}

void host_memory_count(const struct card_backend *backend, struct card_counters *counters)
{
    const struct sim_account *account = &((const struct host_memory_card *)(const void *)backend)->account;
    counters->descriptors += account->descriptors;
    counters->weight_bytes += account->weight_bytes;
    counters->kv_bytes += account->kv_bytes;
    counters->multiply_adds += account->multiply_adds;
}

static int lost(struct error *err)
{
    return error_set(err, ERROR_INTERNAL, "card memory: range outside an allocation");
}

/*
 * A word that a running program polls, or writes for the host to poll, moves as one: released after what was written
 * before it, acquired before what is read after it (sim/mailbox.h).
 */
static int write_word(uint8_t *to, const void *src, size_t bytes)
{
    uint64_t word;
    if (bytes != sizeof word || (uintptr_t)to % sizeof word != 0) return 0;
    memcpy(&word, src, sizeof word);
    __atomic_store_n((uint64_t *)(void *)to, word, __ATOMIC_RELEASE);
    return 1;
}

static int read_word(void *dst, const uint8_t *from, size_t bytes)
{
    if (bytes != sizeof(uint32_t) || (uintptr_t)from % sizeof(uint32_t) != 0) return 0;
    const uint32_t word = __atomic_load_n((const uint32_t *)(const void *)from, __ATOMIC_ACQUIRE);
    memcpy(dst, &word, sizeof word);
    return 1;
}

int host_memory_write(struct card_backend *backend, const struct card_order *order, card_addr dst, const void *src,
                      size_t bytes, struct error *err)
{
    (void)order;
    uint8_t *to = sim_memory_at(&host_memory_of(backend)->memory, dst, bytes);
    if (!to) return lost(err);
    if (!write_word(to, src, bytes)) memcpy(to, src, bytes);
    return 0;
}

int host_memory_stream_write(struct card_backend *backend, card_addr dst, const void *src, size_t bytes,
                             struct error *err)
{
    return host_memory_write(backend, NULL, dst, src, bytes, err);
}

int host_memory_read(struct card_backend *backend, const struct card_order *order, void *dst, card_addr src,
                     size_t bytes, struct error *err)
{
    (void)order;
    const uint8_t *from = sim_memory_at(&host_memory_of(backend)->memory, src, bytes);
    if (!from) return lost(err);
    if (!read_word(dst, from, bytes)) memcpy(dst, from, bytes);
    return 0;
}

void *host_memory_window(struct card_backend *backend, card_addr address, uint64_t bytes)
{
    return sim_memory_at(&host_memory_of(backend)->memory, address, bytes);
}

void host_memory_released(struct card_backend *backend, card_addr address, uint64_t bytes)
{
    sim_memory_discard(&host_memory_of(backend)->memory, address, bytes);
}
