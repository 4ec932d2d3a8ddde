/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/charsmap.h"
#include "host/base/bytes.h"
#include "host/text/utf8.h"

#include <string.h>
#include <utf8proc.h>

/* Fields of a unit of the trie (darts.h of darts-clone). */
static bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
static uint32_t value_of(uint32_t unit) { return unit & 0x7fffffff; }
static uint32_t label_of(uint32_t unit) { return unit & 0x800000ff; }
static uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

static uint32_t n_trie_bytes(const struct text *map) { return load_u32((const uint8_t *)map->bytes); }

int charsmap_check(const struct text *map, struct error *err)
{
    if (map->length == 0) return 0;
    bool whole = map->length >= 4 && n_trie_bytes(map) % 4 == 0 && n_trie_bytes(map) <= map->length - 4;
    return whole ? 0
                 : error_set(err, ERROR_BAD_FILE, "precompiled_charsmap: its trie is larger than the map, or no trie");
}

/* What the shortest start of text in the map becomes, or NULL. */
static const char *find(const struct text *map, const char *text, size_t length, size_t *n)
{
    const uint8_t *units = (const uint8_t *)map->bytes + 4;
    uint32_t count = n_trie_bytes(map) / 4;
    const char *values = map->bytes + 4 + n_trie_bytes(map);
    size_t n_values = map->length - 4 - n_trie_bytes(map);
    if (count == 0) return NULL;
    uint32_t at = offset_of(load_u32(units));
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (byte == 0 || at >= count) return NULL;
        uint32_t unit = load_u32(units + 4 * (size_t)at);
        if (label_of(unit) != byte) return NULL;
        at ^= offset_of(unit);
        if (!has_leaf(unit)) continue;
        if (at >= count) return NULL;
        uint32_t value = value_of(load_u32(units + 4 * (size_t)at));
        if (value >= n_values) return NULL;
        *n = strnlen(values + value, n_values - value);
        return values + value;
    }
    return NULL;
}

static int write_characters(const struct text *map, const char *text, size_t length, struct text *out,
                            struct error *err)
{
    int status = 0;
    for (size_t i = 0; !status && i < length;) {
        unsigned n = utf8_length((uint8_t)text[i]);
        size_t n_found;
        const char *found = find(map, text + i, n, &n_found);
        status = found ? text_append(out, found, n_found, err) : text_append(out, text + i, n, err);
        i += n;
    }
    return status;
}

int charsmap_write(const struct text *map, const char *text, size_t length, struct text *out, struct error *err)
{
    if (map->length == 0) return text_append(out, text, length, err);
    size_t start = 0;
    int status = 0;
    utf8proc_int32_t state = 0, before = -1;
    for (size_t i = 0; !status && i <= length;) {
        unsigned n = i < length ? utf8_length((uint8_t)text[i]) : 1;
        utf8proc_int32_t c = i < length ? (utf8proc_int32_t)utf8_decode((const uint8_t *)text + i, n) : -1;
        if (before >= 0 && (c < 0 || utf8proc_grapheme_break_stateful(before, c, &state))) {
            size_t n_found;
            const char *found = i - start < 6 ? find(map, text + start, i - start, &n_found) : NULL;
            status = found ? text_append(out, found, n_found, err)
                           : write_characters(map, text + start, i - start, out, err);
            start = i;
            state = 0;
        }
        before = c;
        i += n;
    }
    return status;
}
