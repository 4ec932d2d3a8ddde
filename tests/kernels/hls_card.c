/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kernels/hls_card.h"

#include "host/base/bytes.h"
#include "host/base/float_mode.h"
#include "host/card/card_host_memory.h"
#include "kernels/hls/hls_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EXTENTS 4096u

struct hls_card {
    struct host_memory_card host;
    const struct card_extents *extents;
    struct hls_word table[MAX_EXTENTS / 4]; /* the allocations, as the engine reads them */
};

static int open_card(const struct card_options *options, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct hls_card *card = aligned_alloc(64, card_round_up(sizeof *card, 64));
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card hls: no memory");
    memset(card, 0, sizeof *card);
    card->extents = extents;
    int rc = host_memory_open(&card->host, &hls_card_ops, options, extents, err);
    if (rc) {
        free(card);
        return rc;
    }
    *out = &card->host.base;
    return 0;
}

static void close_card(struct card_backend *backend)
{
    struct hls_card *card = (struct hls_card *)(void *)backend;
    host_memory_close(&card->host);
    free(card);
}

static void describe(const struct card_backend *backend, struct card_info *info)
{
    info->abi_version = CARD_ABI_VERSION;
    for (unsigned format = 0; format < CARD_FORMAT_END; format++) {
        if (card_block_cols(format)) info->weight_formats |= 1u << format;
        if (card_page_block_bytes(format, 1)) info->kv_formats |= 1u << format;
    }
    info->kv_default = CARD_FORMAT_F16;
    snprintf(info->name, sizeof info->name, "HLS C kernels");
    host_memory_describe((const struct host_memory_card *)(const void *)backend, info);
}

/* The allocations of all banks as the engine reads them; their number. */
static uint32_t write_extents(struct hls_card *card)
{
    uint32_t at = 0;
    for (unsigned b = 0; b < card->host.memory.n_banks; b++) {
        size_t n;
        const struct bank_range *range = card->extents->ranges(card->extents->context, b, &n);
        for (size_t i = 0; i < n && at < MAX_EXTENTS; i++, at++) {
            const uint64_t entry[2] = {CARD_ADDR(b, range[i].offset), range[i].bytes};
            memcpy(&card->table[at / 4].lane[at % 4 * 4], entry, sizeof entry);
        }
    }
    return at;
}

/* Where a bank lies; for one that the card does not have, where nothing is read. */
static struct hls_word *bank_at(const struct hls_card *card, unsigned bank)
{
    return (struct hls_word *)(void *)card->host.memory.bank[bank < card->host.memory.n_banks ? bank : 0].base;
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    (void)order;
    struct hls_card *card = (struct hls_card *)(void *)backend;
    struct hls_word status, *words = calloc(n_descriptors + 1u, sizeof *words);
    if (!words) return error_set(err, ERROR_NO_MEMORY, "card hls: no memory");
    memcpy(words, program, n_descriptors * sizeof *program);
    const uint32_t n_extents = write_extents(card);
    const uint64_t mode = float_mode_enter(); /* as AMD's floating-point operators have it */
    sluice_engine(words, n_descriptors, card->table, n_extents, &status, bank_at(card, 0), bank_at(card, 1),
                  bank_at(card, 2), bank_at(card, 3));
    float_mode_set(mode);
    free(words);
    card->host.account.descriptors += status.lane[1];
    if (status.lane[0] == HLS_OK) return 0;
    return error_set(err, ERROR_CARD, "descriptor %u (%s): status %u, item %u, value %u", status.lane[1],
                     card_opcode_name(program[status.lane[1]].opcode), status.lane[0], status.lane[2], status.lane[3]);
}

const struct card_backend_ops hls_card_ops = {
    .name = "hls",
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = host_memory_count,
    .write = host_memory_write,
    .read = host_memory_read,
    .submit = submit,
    .released = host_memory_released,
};
