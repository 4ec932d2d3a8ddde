/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH: choices to a mailbox of the host's, then the number that says they are there. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

void hls_publish(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word choice[HLS_CHUNK_WORDS], number[1] = {{{0}}};
    HLS_WIDE(choice)
    const uint64_t n = 2ull * step->tokens * step->rows;
publish_chunks:
    for (uint64_t from = 0; from < n; from += HLS_CHUNK) {
        HLS_TRIPS(1, 16)
        const uint32_t part = hls_min(n - from, HLS_CHUNK);
        hls_load(HLS_BANK_ARGS, step->src + 4 * from, part, choice);
        hls_store(HLS_BANK_ARGS, step->dst + CARD_WORD_BYTES + 4 * from, part, choice);
    }
    /* By the same port, and its own call: a store ends when memory has answered for it. */
    number[0].lane[0] = step->param[0];
    hls_store(HLS_BANK_ARGS, step->dst, 1, number);
}
