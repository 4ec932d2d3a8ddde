/* SPDX-License-Identifier: Apache-2.0 */
/* CONV: a short causal convolution along each sequence, channel by channel. */
#include "kernels/hls/hls_batch.h"
#include "kernels/hls/hls_operations.h"

#define MAX_WIDTH 8u
#define CHANNELS (HLS_CHUNK / MAX_WIDTH) /* that are worked on together */
#define CHANNEL_WORDS (CHANNELS / HLS_LANES)

/* Channels [first, first + n) of a descriptor. */
struct block {
    uint32_t first, n, width;
    int biased;
};

/* tap[k] = the block's weights of input k; they lie channel by channel. */
static void load_taps(HLS_BANKS, const struct hls_step *step, struct block block,
                      struct hls_word tap[MAX_WIDTH][CHANNEL_WORDS])
{
    HLS_NO_INLINE
    struct hls_word weight[HLS_CHUNK_WORDS];
    const uint32_t n = block.n * block.width;
    uint32_t channel = 0, k = 0;
    hls_load(HLS_BANK_ARGS, step->weight + 4ull * block.first * block.width, n, weight);
conv_taps:
    for (uint32_t i = 0; i < n; i++) {
        HLS_TRIPS(16, 4096)
        HLS_PIPELINE(1) /* carried: two counters */
        tap[k][channel / HLS_LANES].lane[channel % HLS_LANES] = weight[i / HLS_LANES].lane[i % HLS_LANES];
        channel += k + 1 == block.width;
        k = k + 1 == block.width ? 0 : k + 1;
    }
}

/* acc = 0, then for each input, oldest first: acc = fma(weight, input, acc). */
static struct hls_word convolve_word(const struct hls_word input[MAX_WIDTH], const struct hls_word weight[MAX_WIDTH],
                                     uint32_t width)
{
    HLS_INLINE
    struct hls_word acc = {{0}};
conv_steps:
    for (uint32_t k = 0; k < MAX_WIDTH; k++) {
        HLS_UNROLL
    conv_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float a = card_float(weight[k].lane[l]), b = card_float(input[k].lane[l]);
            acc.lane[l] = k < width ? card_bits(card_fma(a, b, card_float(acc.lane[l]))) : acc.lane[l];
        }
    }
    return acc;
}

/* One token: x, its inputs, becomes its result; the history moves on by it. */
static void convolve(struct block block, const struct hls_word tap[MAX_WIDTH][CHANNEL_WORDS],
                     const struct hls_word bias[CHANNEL_WORDS], struct hls_word history[MAX_WIDTH][CHANNEL_WORDS],
                     struct hls_word x[CHANNEL_WORDS])
{
    HLS_NO_INLINE
conv_words:
    for (uint32_t i = 0; i < hls_words(block.n); i++) {
        HLS_TRIPS(1, 32)
        HLS_PIPELINE(1) /* carried by the tokens' loop only: a word of the history is read and written once */
        HLS_INDEPENDENT(history)
        struct hls_word input[MAX_WIDTH], weight[MAX_WIDTH];
    conv_inputs:
        for (uint32_t k = 0; k < MAX_WIDTH; k++) {
            HLS_UNROLL
            input[k] = k + 1 == block.width ? x[i] : history[k][i];
            weight[k] = tap[k][i];
        }
        const struct hls_word sum = convolve_word(input, weight, block.width);
    conv_moves:
        for (uint32_t k = 0; k + 1 < MAX_WIDTH; k++) {
            HLS_UNROLL
            history[k][i] = input[k + 1];
        }
    conv_results:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float value = card_float(sum.lane[l]);
            x[i].lane[l] = hls_result(block.biased ? value + card_float(bias[i].lane[l]) : value);
        }
    }
}

/* A state's inputs, oldest first, into the history, or back; from: the block's first channel of the oldest. */
static void load_history(HLS_BANKS, card_addr from, uint32_t channels, struct block block,
                         struct hls_word history[MAX_WIDTH][CHANNEL_WORDS])
{
    HLS_NO_INLINE
conv_load:
    for (uint32_t k = 0; k + 1 < block.width; k++) {
        HLS_TRIPS(1, 7)
        hls_load(HLS_BANK_ARGS, from + 4ull * k * channels, block.n, history[k]);
    }
}
static void store_history(HLS_BANKS, card_addr to, uint32_t channels, struct block block,
                          struct hls_word history[MAX_WIDTH][CHANNEL_WORDS])
{
    HLS_NO_INLINE
conv_store:
    for (uint32_t k = 0; k + 1 < block.width; k++) {
        HLS_TRIPS(1, 7)
        hls_store(HLS_BANK_ARGS, to + 4ull * k * channels, block.n, history[k]);
    }
}

static void clear_history(struct hls_word history[MAX_WIDTH][CHANNEL_WORDS])
{
    HLS_NO_INLINE
    const struct hls_word zero = {{0}};
conv_clear:
    for (uint32_t i = 0; i < CHANNEL_WORDS; i++) {
        HLS_PIPELINE(1) /* nothing carried */
    conv_clear_inputs:
        for (uint32_t k = 0; k < MAX_WIDTH; k++) {
            HLS_UNROLL
            history[k][i] = zero;
        }
    }
}

/* All tokens for one block of channels: the history stays on chip as long as the state is the same. */
static void convolve_tokens(HLS_BANKS, const struct hls_step *step, struct block block,
                            const struct hls_word tap[MAX_WIDTH][CHANNEL_WORDS],
                            const struct hls_word bias[CHANNEL_WORDS])
{
    struct hls_word x[CHANNEL_WORDS], history[MAX_WIDTH][CHANNEL_WORDS];
    HLS_PARTITION(history, 1)
    const uint32_t n = step->cols;
    card_addr held = 0;
    clear_history(history);
conv_tokens:
    for (uint32_t t = 0; t < step->tokens; t++) {
        HLS_TRIPS(1, 4096)
        const struct card_batch_token token = hls_load_token(HLS_BANK_ARGS, step, t);
        const card_addr state = step->e_dst + 4 * ((uint64_t)token.state * (block.width - 1) * n + block.first);
        const uint64_t at = 4 * ((uint64_t)t * n + block.first);
        if (t > 0 && state != held) store_history(HLS_BANK_ARGS, held, n, block, history);
        if (token.position == 0)
            clear_history(history);
        else if (t == 0 || state != held)
            load_history(HLS_BANK_ARGS, state, n, block, history);
        held = state;
        hls_load(HLS_BANK_ARGS, step->src + at, block.n, x);
        convolve(block, tap, bias, history, x);
        hls_store(HLS_BANK_ARGS, step->dst + at, block.n, x);
    }
    store_history(HLS_BANK_ARGS, held, n, block, history);
}

void hls_conv(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word tap[MAX_WIDTH][CHANNEL_WORDS] = {{{{0}}}}, bias[CHANNEL_WORDS] = {{{0}}};
    HLS_PARTITION(tap, 1)
    struct block block = {.width = step->param[1], .biased = (step->e_flags & CARD_FLAG_BIAS) != 0};
conv_blocks:
    for (uint32_t first = 0; first < step->cols; first += CHANNELS) {
        HLS_TRIPS(1, 32)
        block.first = first;
        block.n = hls_min(step->cols - first, CHANNELS);
        load_taps(HLS_BANK_ARGS, step, block, tap);
        if (block.biased) hls_load(HLS_BANK_ARGS, step->e_src + 4ull * first, block.n, bias);
        convolve_tokens(HLS_BANK_ARGS, step, block, tap, bias);
    }
}
