/* SPDX-License-Identifier: Apache-2.0 */
/* COPY: vectors from one spacing to another, bits as they are. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

void hls_copy(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[HLS_CHUNK_WORDS];
    HLS_WIDE(x)
    const uint32_t n = step->cols;
copy_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
    copy_vectors:
        for (uint32_t r = 0; r < step->rows; r++) {
            HLS_TRIPS(1, 128)
            const uint64_t src = (uint64_t)t * step->param[0] + (uint64_t)r * step->param[1];
            const uint64_t dst = (uint64_t)t * step->param[2] + (uint64_t)r * step->param[3];
        copy_chunks:
            for (uint32_t from = 0; from < n; from += HLS_CHUNK) {
                HLS_TRIPS(1, 4)
                const uint32_t part = hls_min(n - from, HLS_CHUNK);
                hls_load(HLS_BANK_ARGS, step->src + 4 * (src + from), part, x);
                hls_store(HLS_BANK_ARGS, step->dst + 4 * (dst + from), part, x);
            }
        }
    }
}
