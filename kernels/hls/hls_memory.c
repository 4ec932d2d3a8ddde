/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/hls/hls_memory.h"

/* Lane l of the result is lane l + shift of the two words in a row. */
static struct hls_word join(struct hls_word low, struct hls_word high, uint32_t shift)
{
    HLS_INLINE
    struct hls_word out;
join_lanes:
    for (uint32_t l = 0; l < HLS_LANES; l++) {
        HLS_UNROLL
        const uint32_t at = l + shift;
        out.lane[l] = at < HLS_LANES ? low.lane[at] : high.lane[at - HLS_LANES];
    }
    return out;
}

/* The first `count` lanes of word, zeros after. */
static struct hls_word first_lanes(struct hls_word word, uint32_t count)
{
    HLS_INLINE
    struct hls_word out;
first_lanes:
    for (uint32_t l = 0; l < HLS_LANES; l++) {
        HLS_UNROLL
        out.lane[l] = l < count ? word.lane[l] : 0u;
    }
    return out;
}

static void load_port(const struct hls_word *port, uint64_t offset, uint32_t n, struct hls_word *to)
{
    HLS_INLINE
    const uint64_t first = offset / CARD_WORD_BYTES;
    const uint32_t shift = (uint32_t)(offset / 4 % HLS_LANES);
    const uint32_t words = hls_words(n), beats = hls_words(shift + n);
    const uint32_t tail = n - (words - 1) * HLS_LANES;
    struct hls_word last = {{0}};
load_beats:
    for (uint32_t i = 0; i < beats; i++) {
        HLS_TRIPS(1, 257)
        HLS_PIPELINE(1) /* carried: `last`, a register; the loop is one burst */
        const struct hls_word word = port[first + i];
        if (i > 0) to[i - 1] = first_lanes(join(last, word, shift), i == words ? tail : HLS_LANES);
        last = word;
    }
    if (beats == words) to[words - 1] = first_lanes(join(last, last, shift), tail);
}

void hls_load(HLS_BANKS, card_addr from, uint32_t n, struct hls_word *to)
{
    HLS_NO_INLINE
    switch (CARD_ADDR_BANK(from)) {
    case 0: load_port(bank0, CARD_ADDR_OFFSET(from), n, to); break;
    case 1: load_port(bank1, CARD_ADDR_OFFSET(from), n, to); break;
    case 2: load_port(bank2, CARD_ADDR_OFFSET(from), n, to); break;
    default: load_port(bank3, CARD_ADDR_OFFSET(from), n, to); break;
    }
}

static void store_port(struct hls_word *port, uint64_t offset, uint32_t n, const struct hls_word *from)
{
    HLS_INLINE
    const uint64_t first = offset / CARD_WORD_BYTES;
    const uint32_t shift = (uint32_t)(offset / 4 % HLS_LANES);
    const uint32_t words = hls_words(n), beats = hls_words(shift + n);
    const struct hls_word head = port[first], tail = port[first + beats - 1];
    struct hls_word last = {{0}};
store_beats:
    for (uint32_t i = 0; i < beats; i++) {
        HLS_TRIPS(1, 257)
        HLS_PIPELINE(1) /* carried: `last`, a register; the loop is one burst */
        const struct hls_word word = from[i < words ? i : words - 1];
        /* Lane l of the beat is value 16 i + l - shift: from the word before for the first `shift` lanes. */
        struct hls_word out = join(last, word, (HLS_LANES - shift) % HLS_LANES);
        if (shift == 0) out = word;
    store_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const uint32_t at = HLS_LANES * i + l;
            const uint32_t old = i == 0 ? head.lane[l] : tail.lane[l];
            out.lane[l] = at >= shift && at < shift + n ? out.lane[l] : old;
        }
        port[first + i] = out;
        last = word;
    }
}

void hls_store(HLS_BANKS, card_addr to, uint32_t n, const struct hls_word *from)
{
    HLS_NO_INLINE
    switch (CARD_ADDR_BANK(to)) {
    case 0: store_port(bank0, CARD_ADDR_OFFSET(to), n, from); break;
    case 1: store_port(bank1, CARD_ADDR_OFFSET(to), n, from); break;
    case 2: store_port(bank2, CARD_ADDR_OFFSET(to), n, from); break;
    default: store_port(bank3, CARD_ADDR_OFFSET(to), n, from); break;
    }
}

void hls_load_words(const struct hls_word *port, uint64_t first, uint32_t n, struct hls_word *to)
{
    HLS_INLINE
load_words:
    for (uint32_t i = 0; i < n; i++) {
        HLS_TRIPS(9, 256)
        HLS_PIPELINE(1) /* nothing carried; one burst */
        to[i] = port[first + i];
    }
}

uint32_t hls_load_one(HLS_BANKS, card_addr from)
{
    HLS_NO_INLINE
    struct hls_word word[1];
    hls_load(HLS_BANK_ARGS, from, 1, word);
    return word[0].lane[0];
}
