/* SPDX-License-Identifier: Apache-2.0 */
/* ROPE: pairs of each head turned by position times frequency; dimensions before P2 and after P2 + P0 stay. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

#define PAIRS (CARD_MAX_HEAD_DIM / 2)
#define WORDS (CARD_MAX_HEAD_DIM / HLS_LANES)

static void find_angles(const struct hls_word *frequency, uint32_t half, float position, float factor,
                        float sine[PAIRS], float cosine[PAIRS])
{
rope_angles:
    for (uint32_t i = 0; i < half; i++) {
        HLS_TRIPS(16, 512)
        HLS_PIPELINE(1) /* nothing carried */
        float s, c;
        card_sincos(position * card_float(frequency[i / HLS_LANES].lane[i % HLS_LANES]), &s, &c);
        sine[i] = s * factor;
        cosine[i] = c * factor;
    }
}

static void turn_pairs(struct hls_word *x, uint32_t half, int interleaved, const float sine[PAIRS],
                       const float cosine[PAIRS])
{
rope_pairs:
    for (uint32_t i = 0; i < half; i++) {
        HLS_TRIPS(16, 512)
        HLS_PIPELINE(2)    /* two reads and two writes of the head's memory a pair */
        HLS_INDEPENDENT(x) /* a pair's two places are its own */
        const uint32_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + half;
        const float a = card_float(x[first / HLS_LANES].lane[first % HLS_LANES]);
        const float b = card_float(x[second / HLS_LANES].lane[second % HLS_LANES]);
        x[first / HLS_LANES].lane[first % HLS_LANES] = hls_result(card_fma(-b, sine[i], a * cosine[i]));
        x[second / HLS_LANES].lane[second % HLS_LANES] = hls_result(card_fma(b, cosine[i], a * sine[i]));
    }
}

void hls_rope(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word x[WORDS], frequency[WORDS / 2];
    float sine[PAIRS], cosine[PAIRS];
    const uint32_t half = step->param[0] / 2;
    const int interleaved = (step->flags & CARD_FLAG_INTERLEAVED) != 0;
    const float factor = card_float(step->param[1]);
    hls_load(HLS_BANK_ARGS, step->weight, half, frequency);
rope_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const uint32_t position = hls_load_one(HLS_BANK_ARGS, step->aux + sizeof(struct card_batch_token) * t);
        find_angles(frequency, half, (float)position, factor, sine, cosine);
    rope_heads:
        for (uint32_t h = 0; h < step->rows; h++) {
            HLS_TRIPS(1, 128)
            const card_addr head = step->dst + 4 * (((uint64_t)t * step->rows + h) * step->cols + step->param[2]);
            hls_load(HLS_BANK_ARGS, head, 2 * half, x);
            turn_pairs(x, half, interleaved, sine, cosine);
            hls_store(HLS_BANK_ARGS, head, 2 * half, x);
        }
    }
}
