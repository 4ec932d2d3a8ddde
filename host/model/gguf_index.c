/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/model/gguf_internal.h"

#include <string.h>

/* FNV-1a (Fowler, Noll, Vo), then the finalizer of MurmurHash3 so that the low bits depend on all of it. */
static uint64_t hash_of(struct gguf_string name)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < name.length; i++) hash = (hash ^ (uint8_t)name.bytes[i]) * 0x100000001b3ull;
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
    return hash ^ hash >> 33;
}

static struct gguf_string name_at(const void *items, size_t item_bytes, size_t position)
{
    struct gguf_string name;
    memcpy(&name, (const char *)items + position * item_bytes, sizeof name);
    return name;
}

/* The slot that holds name, or the free slot where it belongs. */
static struct gguf_slot *slot_of(const struct gguf_index *index, const void *items, size_t item_bytes,
                                 struct gguf_string name, uint64_t hash)
{
    for (size_t i = hash & (index->n_slots - 1);; i = (i + 1) & (index->n_slots - 1)) {
        struct gguf_slot *slot = &index->slots[i];
        if (slot->number == 0) return slot;
        if (slot->hash != hash) continue;
        struct gguf_string other = name_at(items, item_bytes, slot->number - 1);
        if (other.length == name.length && memcmp(other.bytes, name.bytes, name.length) == 0) return slot;
    }
}

int64_t gguf_index_find(const struct gguf_index *index, const void *items, size_t item_bytes, struct gguf_string name)
{
    if (index->n_slots == 0) return -1;
    return (int64_t)slot_of(index, items, item_bytes, name, hash_of(name))->number - 1;
}

static int grow(struct gguf_index *index)
{
    struct gguf_index larger = {.n_slots = index->n_slots ? index->n_slots * 2 : 64, .n_used = index->n_used};
    larger.slots = memory_array(larger.n_slots, sizeof *larger.slots);
    if (!larger.slots) return ERROR_NO_MEMORY;
    for (size_t i = 0; i < index->n_slots; i++) {
        if (index->slots[i].number == 0) continue;
        size_t at = index->slots[i].hash & (larger.n_slots - 1);
        while (larger.slots[at].number != 0) at = (at + 1) & (larger.n_slots - 1);
        larger.slots[at] = index->slots[i];
    }
    free(index->slots);
    *index = larger;
    return 0;
}

int gguf_index_add(struct gguf_index *index, const void *items, size_t item_bytes, size_t position)
{
    if (index->n_used >= index->n_slots / 2) {
        int status = grow(index);
        if (status < 0) return status;
    }
    struct gguf_string name = name_at(items, item_bytes, position);
    uint64_t hash = hash_of(name);
    struct gguf_slot *slot = slot_of(index, items, item_bytes, name, hash);
    if (slot->number != 0) return 1;
    *slot = (struct gguf_slot){.hash = hash, .number = position + 1};
    index->n_used++;
    return 0;
}

void gguf_index_free(struct gguf_index *index)
{
    free(index->slots);
    *index = (struct gguf_index){0};
}
