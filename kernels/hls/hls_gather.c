/* SPDX-License-Identifier: Apache-2.0 */
/* GATHER: rows of a table, copied. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

void hls_gather(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS];
    HLS_WIDE(x)
    const uint32_t n = step->cols;
gather_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const uint64_t row = hls_load_one(HLS_BANK_ARGS, step->aux + 4ull * t);
    gather_chunks:
        for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            hls_load(HLS_BANK_ARGS, step->src + 4 * (row * n + from), part, x);
            hls_store(HLS_BANK_ARGS, step->dst + 4 * ((uint64_t)t * n + from), part, x);
        }
    }
}
