/* SPDX-License-Identifier: Apache-2.0 */
/* KV_WRITE: the step's keys and values into the pages of their sequences, token after token in the batch's order. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define WORDS (CARD_MAX_HEAD_DIM / HLS_LANES)

/* Half number i - odd of x in the place of `old`, where there is one. */
static uint32_t half_or(const struct hls_word *x, uint32_t n, uint32_t i, uint32_t odd, uint32_t old)
{
    HLS_INLINE
    const uint32_t at = i < odd ? n : i - odd;
    if (at >= n) return old;
    return card_f32_to_f16(card_float(x[at / HLS_LANES].lane[at % HLS_LANES]));
}

/* n values as halves, from half `odd` (0 or 1) of the first lane of `to` on. */
static void place_halves(const struct hls_word *x, uint32_t n, uint32_t odd, struct hls_word *to)
{
kv_lanes:
    for (uint32_t i = 0; i < (odd + n + 1) / 2; i++) {
        HLS_TRIPS(32, 513)
        HLS_PIPELINE(1)
        HLS_INDEPENDENT(to) /* a lane is read and written by its own iteration only */
        const uint32_t old = to[i / HLS_LANES].lane[i % HLS_LANES];
        const uint32_t low = half_or(x, n, 2 * i, odd, old & 0xffffu);
        to[i / HLS_LANES].lane[i % HLS_LANES] = half_or(x, n, 2 * i + 1, odd, old >> 16) << 16 | low;
    }
}

/* One head's n floats at src to n elements at byte dst, which is a multiple of the element. */
static void write_head(HLS_BANKS, uint32_t format, card_addr src, card_addr dst, uint32_t n)
{
    HLS_NO_INLINE
    struct hls_word x[WORDS], page[WORDS];
    hls_load(HLS_BANK_ARGS, src, n, x);
    if (format == CARD_FORMAT_F32) {
        hls_store(HLS_BANK_ARGS, dst, n, x);
        return;
    }
    const uint32_t odd = (uint32_t)(dst / 2 % 2), lanes = (odd + n + 1) / 2;
    hls_load(HLS_BANK_ARGS, dst - 2 * odd, lanes, page); /* its first and last lane may hold a neighbour's half */
    place_halves(x, n, odd, page);
    hls_store(HLS_BANK_ARGS, dst - 2 * odd, lanes, page);
}

void hls_kv_write(HLS_BANKS, const struct hls_step *step)
{
    const uint32_t n = step->cols, heads = step->rows, element = card_kv_element_bytes(step->format);
    const uint64_t page_bytes = card_page_bytes(step->format, heads, n);
    const card_addr pages = step->aux + 8ull * step->tokens;
kv_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const uint32_t position = hls_load_one(HLS_BANK_ARGS, step->aux + 8ull * t);
        const uint64_t first = hls_load_one(HLS_BANK_ARGS, step->aux + 8ull * t + 4);
        const uint64_t page = hls_load_one(HLS_BANK_ARGS, pages + 4 * (first + position / CARD_PAGE_TOKENS));
        const card_addr dst = step->dst + page * page_bytes;
    kv_heads:
        for (uint32_t h = 0; h < heads; h++) {
            HLS_TRIPS(1, 128)
            const uint64_t from = 4 * (((uint64_t)t * heads + h) * n);
            const uint64_t to = ((uint64_t)h * CARD_PAGE_TOKENS + position % CARD_PAGE_TOKENS) * n * element;
            write_head(HLS_BANK_ARGS, step->format, step->src + from, dst + to, n);
            write_head(HLS_BANK_ARGS, step->format, step->weight + from, dst + page_bytes / 2 + to, n);
        }
    }
}
