/* SPDX-License-Identifier: Apache-2.0 */
/* A card's memories as banks. */
#include "bitstreams/profiles/profile.h"

const char *memory_kind_name(enum memory_kind kind) { return kind == MEMORY_HBM ? "hbm" : "ddr"; }

uint32_t card_profile_channels(const struct card_profile *card)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < card->n_memories; i++) sum += card->memory[i].channels;
    return sum;
}

uint64_t card_profile_memory_bytes(const struct card_profile *card)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < card->n_memories; i++) sum += card->memory[i].channels * card->memory[i].bytes_per_channel;
    return sum;
}

const struct memory_profile *card_profile_bank(const struct card_profile *card, uint32_t bank)
{
    for (uint32_t i = 0; i < card->n_memories; i++) {
        if (bank < card->memory[i].channels) return &card->memory[i];
        bank -= card->memory[i].channels;
    }
    return NULL;
}
