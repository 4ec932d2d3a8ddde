/* SPDX-License-Identifier: Apache-2.0 */
/* Dicts: entries in order of insertion, found by hash once there are more than a few. */
#include "host/text/jinja_value.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#define SMALL 8u

struct jinja_value jinja_dict(struct jinja_run *run, enum jinja_kind kind, size_t capacity)
{
    struct jinja_dict *dict = jinja_alloc(run, 1, sizeof *dict);
    if (dict && capacity) dict->entries = jinja_alloc(run, capacity, sizeof *dict->entries);
    if (jinja_failed(run)) return jinja_nothing();
    dict->capacity = capacity;
    return (struct jinja_value){.kind = kind, .dict = dict};
}

static uint64_t hash_number(struct jinja_value value)
{
    double number = jinja_number_of(value);
    if (jinja_is_integer(value)) return XXH3_64bits(&(int64_t){jinja_integer_of(value)}, sizeof(int64_t));
    if (number >= -0x1p63 && number < 0x1p63 && number == floor(number)) /* 1.0 is the same key as 1 */
        return XXH3_64bits(&(int64_t){(int64_t)number}, sizeof(int64_t));
    return XXH3_64bits(&number, sizeof number);
}

uint64_t jinja_hash(struct jinja_run *run, struct jinja_value value)
{
    uint64_t hash = 7;
    switch (value.kind) {
    case JINJA_STRING:
        if (!jinja_step(run, value.string->length / 64)) return 0;
        return XXH3_64bits(value.string->bytes, value.string->length);
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT: return hash_number(value);
    case JINJA_LIST:
    case JINJA_DICT:
    case JINJA_VIEW: jinja_raise(run, "unhashable type: '%s'", jinja_type_name(value)); return 0;
    case JINJA_TUPLE:
        for (size_t i = 0; i < value.list->count && jinja_enter(run); i++) {
            hash = hash * 0x9e3779b97f4a7c15u + jinja_hash(run, value.list->items[i]);
            jinja_leave(run);
        }
        return hash;
    case JINJA_UNDEFINED:
    case JINJA_NONE: return (uint64_t)value.kind;
    default: return XXH3_64bits(&value.identity, sizeof value.identity);
    }
}

/* Where the key is among the slots, or the empty slot where it would be. */
static size_t probe(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value key, uint64_t hash)
{
    size_t mask = dict->n_slots - 1, slot = (size_t)hash & mask;
    while (dict->slots[slot] && jinja_step(run, 1)) {
        const struct jinja_entry *entry = &dict->entries[dict->slots[slot] - 1];
        if (entry->hash == hash && jinja_equal(run, entry->key, key)) break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static struct jinja_entry *find(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value key,
                                uint64_t hash)
{
    if (dict->slots) {
        uint32_t at = dict->slots[probe(run, dict, key, hash)];
        return at ? &dict->entries[at - 1] : NULL;
    }
    for (size_t i = 0; i < dict->count; i++) {
        struct jinja_entry *entry = &dict->entries[i];
        if (entry->hash == hash && jinja_equal(run, entry->key, key)) return entry;
    }
    return NULL;
}

struct jinja_value *jinja_dict_find(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value key)
{
    uint64_t hash = jinja_hash(run, key);
    struct jinja_entry *entry = jinja_failed(run) ? NULL : find(run, dict, key, hash);
    return entry ? &entry->value : NULL;
}

struct jinja_value *jinja_dict_find_text(struct jinja_run *run, const struct jinja_dict *dict, const char *key)
{
    struct jinja_string string = {key, strlen(key), strlen(key), NULL};
    return jinja_dict_find(run, dict, (struct jinja_value){.kind = JINJA_STRING, .string = &string});
}

static bool rehash(struct jinja_run *run, struct jinja_dict *dict)
{
    size_t n = dict->capacity * 2, slots = 16;
    while (slots < n) slots *= 2;
    dict->slots = jinja_alloc(run, slots, sizeof *dict->slots);
    if (!dict->slots) return false;
    dict->n_slots = slots;
    for (size_t i = 0; i < dict->count; i++) {
        size_t slot = (size_t)dict->entries[i].hash & (slots - 1);
        while (dict->slots[slot]) slot = (slot + 1) & (slots - 1);
        dict->slots[slot] = (uint32_t)(i + 1);
    }
    return true;
}

void jinja_dict_set(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key, struct jinja_value value)
{
    uint64_t hash = jinja_hash(run, key);
    if (jinja_failed(run)) return;
    struct jinja_entry *entry = find(run, dict, key, hash);
    if (entry) {
        entry->value = value;
        return;
    }
    if (dict->count == dict->capacity) {
        struct jinja_entry *grown =
            jinja_grow(run, dict->entries, dict->count, &dict->capacity, dict->count + 1, sizeof *grown);
        if (!grown) return;
        dict->entries = grown;
    }
    dict->entries[dict->count++] = (struct jinja_entry){key, value, hash};
    if (dict->count <= SMALL) return;
    if (!dict->slots || dict->count * 2 > dict->n_slots)
        rehash(run, dict);
    else
        dict->slots[probe(run, dict, key, hash)] = (uint32_t)dict->count;
}
