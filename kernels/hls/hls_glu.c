/* SPDX-License-Identifier: Apache-2.0 */
/* GLU: dst = silu(src) * weight, element by element. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

static void gate_words(struct hls_word *gate, const struct hls_word *up, uint32_t words)
{
glu_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(1, 256)
        HLS_PIPELINE(1) /* nothing carried: a word is read and written in its own iteration */
    glu_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            gate[i].lane[l] = card_bits(card_silu(card_float(gate[i].lane[l])) * card_float(up[i].lane[l]));
        }
    }
}

void hls_glu(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word gate[HLS_CHUNK_WORDS], up[HLS_CHUNK_WORDS];
    HLS_WIDE(gate)
    HLS_WIDE(up)
    const uint64_t n = (uint64_t)step->tokens * step->cols;
glu_chunks:
    for (uint64_t from = 0; from < n; from += HLS_CHUNK) {
        HLS_TRIPS(1, 4096)
        const uint32_t part = hls_min(n - from, HLS_CHUNK);
        hls_load(HLS_BANK_ARGS, step->src + 4 * from, part, gate);
        hls_load(HLS_BANK_ARGS, step->weight + 4 * from, part, up);
        gate_words(gate, up, hls_words(part));
        hls_store(HLS_BANK_ARGS, step->dst + 4 * from, part, gate);
    }
}
