/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card program: what the host asks of a card.
 *
 * A program is an array of 64-byte descriptors, run in order. Every backend (simulator, OpenCL, XRT,
 * float reference) executes the same programs; this header is the whole boundary between host and card.
 * It compiles as C11 and as HLS C. All fields are little-endian. Card memory is addressed by bank and offset.
 *
 * Descriptor
 *
 *   offset size field    meaning
 *        0    1 opcode   enum card_opcode
 *        1    1 format   weight format (enum card_format) or KV page format, by opcode
 *        2    2 flags    CARD_FLAG_*, by opcode; unknown bits are refused
 *        4    4 tokens   rows of activations
 *        8    4 rows     output features, heads, or vectors per token, by opcode
 *       12    4 cols     input features, or the length of one vector, by opcode
 *       16    8 dst      where the result goes
 *       24    8 src      first operand
 *       32    8 weight   second operand
 *       40    8 aux      table operand
 *       48   16 param[4] by opcode; floats are stored as their bits
 *
 * Operands by opcode. f32[a][b] is row-major float32. T = tokens, R = rows, C = cols.
 * "act[T][C]" is the quantized activation layout and "matrix(R,C)" the tiled weight layout of card_layout.h;
 * "batch" is the batch table below; P = param.
 *
 *   opcode         result and operands
 *   NORM           dst f32[T][R][C] = src / rms(src) * weight f32[C]; rms over C; P0 = epsilon; dst may be src
 *   QUANTIZE       dst act[T][C] = src f32[T][C]
 *   MATMUL         dst f32[T][R] = matrix(R,C) at weight x src; src is act[T][C], or f32[T][C] when format is F32;
 *                  BIAS: + f32[R] at aux; ADD: dst += instead of dst =
 *   ROPE           dst f32[T][R][C] rotated in place; angles = position * f32[P0/2] at weight; the first P0 of C
 *                  dimensions turn; aux batch; P1 = factor on sin and cos; INTERLEAVED: pairs (2i, 2i+1), else
 *                  (i, i + P0/2)
 *   KV_WRITE       key src f32[T][R][C] and value weight f32[T][R][C] go to their sequence's page; R = KV heads;
 *                  dst = the layer's page pool; aux batch; format = page format; P0 = pages in the pool
 *   ATTENTION      dst f32[T][R][C] = softmax(P1 * query . keys) values; src = query f32[T][R][C]; R = query heads;
 *                  weight = the layer's page pool; aux batch; format = page format; P0 = pages in the pool;
 *                  P2 = KV heads; P3 = window in tokens (0: everything up to the token's own position)
 *   ROUTER         dst choice[T][R] = the R best of src f32[T][C] logits, best first, ties to the lower index; weights
 *                  are the softmax over C; RENORMALIZE: divided by their sum; P0 = factor on the weights
 *   EXPERT_MATMUL  dst f32[T][P0][R] = matrix(R,C) of the token's P0 chosen experts x src; weight = slot table
 *                  (card_addr of each expert's matrix, P1 entries); aux = choice[T][P0];
 *                  src is act[T][C] (f32[T][C] when format is F32); PER_CHOICE: src is act[T * P0][C], one row a choice
 *   GLU            dst f32[T][C] = silu(src f32[T][C]) * weight f32[T][C]; dst may be src
 *   EXPERT_SUM     dst f32[T][C] += sum over j < P0, in order, of choice weight j * src f32[T][P0][C];
 *                  aux = choice[T][P0]
 *   GATHER         dst f32[T][C] = rows of src f32[R][C] named by u32[T] at aux
 *
 * Fields that an opcode does not name are ignored; unknown flags are refused. Every operand lies inside one allocation:
 * tiled matrices at multiples of 64, slot tables of 8, everything else of 4. dst overlaps no other operand unless the
 * table says that it may be src, and then it is exactly src. T is at most 4096; for NORM, QUANTIZE and GLU, which may
 * see a row for each choice, 256 times as many. The exact arithmetic is in kernels/README.md.
 */
#ifndef SLUICE_CARD_PROGRAM_H
#define SLUICE_CARD_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define CARD_ABI_VERSION 1u

/* Bank in bits 63..56, byte offset in the bank in bits 55..0. */
typedef uint64_t card_addr;
#define CARD_ADDR(bank, offset) (((card_addr)(bank) << 56) | (card_addr)(offset))
#define CARD_ADDR_BANK(addr) ((unsigned)((addr) >> 56))
#define CARD_ADDR_OFFSET(addr) ((addr)&0x00ffffffffffffffull)

enum card_opcode {
    CARD_OP_NORM = 1,
    CARD_OP_QUANTIZE = 2,
    CARD_OP_MATMUL = 3,
    CARD_OP_ROPE = 4,
    CARD_OP_KV_WRITE = 5,
    CARD_OP_ATTENTION = 6,
    CARD_OP_ROUTER = 7,
    CARD_OP_EXPERT_MATMUL = 8,
    CARD_OP_GLU = 9,
    CARD_OP_EXPERT_SUM = 10,
    CARD_OP_GATHER = 11,
};
#define CARD_OPCODE_END 12 /* one past the last opcode */

/* "MATMUL"; "unknown opcode" for what is none. Static storage. */
static inline const char *card_opcode_name(unsigned opcode)
{
    static const char *const names[CARD_OPCODE_END] = {
        "unknown opcode", "NORM",   "QUANTIZE",      "MATMUL", "ROPE",       "KV_WRITE",
        "ATTENTION",      "ROUTER", "EXPERT_MATMUL", "GLU",    "EXPERT_SUM", "GATHER",
    };
    return names[opcode < CARD_OPCODE_END ? opcode : 0];
}

enum card_flag {
    CARD_FLAG_ADD = 1 << 0,         /* MATMUL */
    CARD_FLAG_BIAS = 1 << 1,        /* MATMUL */
    CARD_FLAG_INTERLEAVED = 1 << 2, /* ROPE */
    CARD_FLAG_RENORMALIZE = 1 << 3, /* ROUTER */
    CARD_FLAG_PER_CHOICE = 1 << 4,  /* EXPERT_MATMUL */
};

struct card_descriptor {
    uint8_t opcode;
    uint8_t format;
    uint16_t flags;
    uint32_t tokens;
    uint32_t rows;
    uint32_t cols;
    card_addr dst;
    card_addr src;
    card_addr weight;
    card_addr aux;
    uint32_t param[4];
};
_Static_assert(sizeof(struct card_descriptor) == 64, "a descriptor is 64 bytes");
_Static_assert(offsetof(struct card_descriptor, dst) == 16, "operands start at 16");
_Static_assert(offsetof(struct card_descriptor, param) == 48, "parameters start at 48");

/*
 * Batch table: who the tokens of a step are. T entries of struct card_batch_token, then page numbers (u32).
 * A token at `position` of its sequence lies in page number pages[first_page + position / CARD_PAGE_TOKENS],
 * slot position % CARD_PAGE_TOKENS, where pages is the u32 array that starts right after the T entries.
 */
struct card_batch_token {
    uint32_t position;
    uint32_t first_page;
};
_Static_assert(sizeof(struct card_batch_token) == 8, "a batch entry is 8 bytes");

/* A position is below this: sin and cos of its angles are exact to 2 ulp up to here (card_math.h). */
#define CARD_MAX_POSITIONS (1u << 22)

/* Dimensions of one attention head, at most. */
#define CARD_MAX_HEAD_DIM 1024u

/* One expert that the router chose for a token. */
struct card_choice {
    uint32_t expert;
    float weight;
};
_Static_assert(sizeof(struct card_choice) == 8, "a choice is 8 bytes");

#endif
