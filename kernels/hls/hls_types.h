/* SPDX-License-Identifier: Apache-2.0 */
/* What every kernel shares: the 512-bit word, the maxima of local buffers, the memory ports, the 16-lane sums. */
#ifndef SLUICE_HLS_TYPES_H
#define SLUICE_HLS_TYPES_H

#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_math.h"
#include "kernels/abi/card_program.h"
#include "kernels/hls/hls_pragmas.h"

#include <stdint.h>

#define HLS_LANES 16u

/* One beat of a memory port: byte 4 l of the word is the low byte of lane l. */
struct hls_word {
    uint32_t lane[HLS_LANES];
};
_Static_assert(sizeof(struct hls_word) == CARD_WORD_BYTES, "a word is 64 bytes");

/* Maxima of local buffers. None limits what a descriptor may ask: longer things are cut. */
#define HLS_CHUNK_WORDS 256u   /* of a vector in work */
#define HLS_CHUNK (16u * 256u) /* the same in floats */
#define HLS_TOKENS 8u          /* activation rows that one pass over a matrix serves */
#define HLS_TILES 8u           /* tiles read side by side: what hides the latency of an fma */
#define HLS_PANEL_COLS 2048u   /* columns of one dataflow run */
#define HLS_PANEL_GROUPS (HLS_PANEL_COLS / CARD_GROUP_COLS)
#define HLS_PANELS 16u /* panels of activations that stay on chip */
#define HLS_WINDOW 64u /* choices among which EXPERT_MATMUL looks for rows of one expert */
#define HLS_HEADS 16u  /* query heads that one pass over the pages serves */
#define HLS_EXPERTS 65536u
#define HLS_CHOICES 256u
#define HLS_MAX_PORTS 4u

/*
 * The memory ports: bank b of a card_addr is port bank b. The tool knows no array of ports, so they travel as four
 * parameters, and where an address decides, a switch calls one and the same function for each.
 */
#define HLS_BANKS struct hls_word *bank0, struct hls_word *bank1, struct hls_word *bank2, struct hls_word *bank3
#define HLS_BANK_ARGS bank0, bank1, bank2, bank3

/* A descriptor, decoded; e_: the fields of its extension, zeros if it has none. */
struct hls_step {
    uint32_t opcode, format, flags, tokens, rows, cols;
    card_addr dst, src, weight, aux;
    uint32_t param[4];
    uint32_t e_flags, e_rows, e_cols;
    card_addr e_dst, e_src, e_weight, e_aux;
    uint32_t e_param[4];
};

static inline float hls_lane_float(uint32_t bits)
{
    HLS_INLINE
    return card_float(bits);
}

/* A float as it is written to card memory: with the one NaN of the contract. */
static inline uint32_t hls_result(float value)
{
    HLS_INLINE
    return value != value ? 0x7fc00000u : card_bits(value);
}

static inline uint32_t hls_min(uint64_t a, uint32_t b)
{
    HLS_INLINE
    return a < b ? (uint32_t)a : b;
}

/* Words that n values of 32 bits take. */
static inline uint32_t hls_words(uint32_t n)
{
    HLS_INLINE
    return (n + HLS_LANES - 1) / HLS_LANES;
}

/* Byte b of a lane, signed and unsigned. */
static inline int32_t hls_int8(uint32_t lane, uint32_t b)
{
    HLS_INLINE
    return (int32_t)((lane >> (8 * b) & 0xffu) ^ 0x80u) - 0x80;
}
static inline int32_t hls_uint8(uint32_t lane, uint32_t b)
{
    HLS_INLINE
    return (int32_t)(lane >> (8 * b) & 0xffu);
}

/* Half h (0..31) of a word, as float. */
static inline float hls_half(struct hls_word word, uint32_t h)
{
    HLS_INLINE
    return card_f16_to_f32((uint16_t)(word.lane[h / 2] >> (16 * (h % 2))));
}

/* The tree that ends a sum of 16 lanes (kernels/README.md). */
static inline float hls_tree(const float lane[HLS_LANES])
{
    HLS_INLINE
    float eight[8], four[4];
tree_8:
    for (uint32_t l = 0; l < 8; l++) {
        HLS_UNROLL
        eight[l] = lane[l] + lane[l + 8];
    }
tree_4:
    for (uint32_t l = 0; l < 4; l++) {
        HLS_UNROLL
        four[l] = eight[l] + eight[l + 4];
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* One word of a dot product: lane = fma(a, b, lane) in the first `count` lanes. */
static inline void hls_dot_word(struct hls_word a, struct hls_word b, uint32_t count, float lane[HLS_LANES])
{
    HLS_INLINE
dot_lanes:
    for (uint32_t l = 0; l < HLS_LANES; l++) {
        HLS_UNROLL
        float next = card_fma(hls_lane_float(a.lane[l]), hls_lane_float(b.lane[l]), lane[l]);
        lane[l] = l < count ? next : lane[l];
    }
}

#endif
