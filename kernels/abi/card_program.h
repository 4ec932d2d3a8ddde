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
 * Operands by opcode. f32[a][b] is row-major float32. T = tokens, R = rows, C = cols, Pn = param[n].
 * "act[T][C]" is the quantized activation layout, "matrix(R,C)" the tiled weight layout and "pool" the page pool of
 * card_layout.h; "batch" is the batch table below; "choice" is struct card_choice. E. marks a field of the extension: an
 * opcode with EXTENDED takes two descriptors, itself and, right after it, one with opcode EXTENSION.
 *
 *   opcode         result and operands
 *   NORM           dst f32[T][R][C] = src / rms(src) * weight f32[C]; rms over C; P0 = epsilon; dst may be src.
 *                  LAYER: the mean is subtracted first; SUM: the square sum is not divided by C (L2 norm); BIAS: + aux
 *                  f32[C]; EACH: weight and bias are f32[R][C]; UNWEIGHTED: no weight
 *   QUANTIZE       dst act[T][C] = src f32[T][C]
 *   MATMUL         dst f32[T][R] = matrix(R,C) at weight x src; src is act[T][C], or f32[T][C] when format is F32;
 *                  BIAS: + aux f32[R]; ADD: dst += instead of dst =; P0 = banks over which the matrix is dealt (0: 1)
 *   ROPE           dst f32[T][R][C] rotated in place; angles = position * weight f32[P0/2]; P0 dimensions from dimension
 *                  P2 on turn; aux batch; P1 = factor on sin and cos; INTERLEAVED: pairs (2i, 2i+1), else (i, i + P0/2)
 *   KV_WRITE       key src f32[T][R][C] and value weight f32[T][R][P1] go to their sequence's page; R = KV heads;
 *                  dst pool; aux batch; format = page format; P0 = pages in the pool; P1 = dimensions of a value,
 *                  0: pages of keys only, no weight; P2 = banks over which the pool is dealt (0: 1)
 *   ATTENTION      dst f32[T][R][V] = softmax(P1 * query . keys) values; src = query f32[T][R][C]; R = query heads;
 *                  weight pool; aux batch; format = page format; P0 = pages in the pool; P2 = KV heads; P3 = window in
 *                  tokens (0: none); LATENT: pages of keys only, a value is the first V dimensions of its key (MLA).
 *                  V = E.cols, or C when that is 0 or not EXTENDED. E.rows = banks over which the pool is dealt (0, and
 *                  when not EXTENDED: 1); an extension may be there for them alone, with 0 in all other fields. E.P0 =
 *                  soft-cap of the scores (0: none); E.P1 = chunk in tokens: only positions of the token's own chunk are
 *                  seen (0: none); E.SINKS: E.src = f32[R], one more score a head, without a value; E.BIAS: E.weight =
 *                  f32[R][2 D + 1] added to the scores by distance, position seen - own position kept within +-D, D =
 *                  E.P2; E.SPARSE: E.aux = u32[T][E.P3], the positions seen, ascending, then CARD_NO_POSITION (what INDEX
 *                  writes)
 *   ROUTER         dst choice[T][R] = the R best of src f32[T][C] logits, best first, ties to the lower index;
 *                  format = enum card_scoring: a weight is the softmax over C or the sigmoid of its logit; BIAS: aux
 *                  f32[C] is added to the scores for the choice, not for the weights; P1 = groups of experts (0: 1), of
 *                  which the P2 best by their best expert, GROUP_PAIRS: by the sum of their best two, take part;
 *                  RENORMALIZE: weights divided by their sum; P0 = factor on the weights
 *   EXPERT_MATMUL  dst f32[T][P0][R] = matrix(R,C) of the token's P0 chosen experts x src; weight = slot table
 *                  (card_addr of each expert's matrix, P1 entries); aux = choice[T][P0];
 *                  src is act[T][C] (f32[T][C] when format is F32); PER_CHOICE: src is act[T * P0][C], one row a choice;
 *                  EACH: choice j is expert j, P0 = P1, no aux; P2 = banks over which each matrix is dealt (0: 1),
 *                  those of the part that its first tile lies in (card_layout.h); rows of a choice of CARD_NO_EXPERT keep what they hold;
 *                  EXTENDED with E.BIAS: + E.src f32[P1][R], the expert's row
 *   GLU            dst f32[T][C] = activation(src f32[T][C]) * weight f32[T][C]; format = enum card_activation; dst may be
 *                  src or weight; UNWEIGHTED: no weight; BROADCAST: src is f32[T][1]; P0 = limit (0: none): src is kept
 *                  below it, weight within +-P0; P1 = steepness of SWIGLU_OAI
 *   EXPERT_SUM     dst f32[T][C] += sum over j < P0, in order, of choice weight j * src f32[T][P0][C];
 *                  aux = choice[T][P0]; UNWEIGHTED: weights count as 1, no aux
 *   GATHER         dst f32[T][C] = rows of src f32[R][C] named by u32[T] at aux
 *   EXTENSION      more operands of the descriptor before it
 *   COPY           dst = src, R vectors of C floats for each of T tokens, bits moved; in floats: P0 = from token to
 *                  token of src, P1 = from vector to vector of src, P2 and P3 the same of dst, whose vectors lie apart
 *                  (P3 >= C if R > 1, P2 >= (R - 1) P3 + C if T > 1)
 *   ADD            dst f32[T][C] = src f32[T][C] + P0 * weight f32[T][C]; BROADCAST: weight is f32[C]; dst may be src
 *   SCALE          dst f32[T][C] = P0 * src f32[T][C]; PER_TOKEN: * weight f32[T]; dst may be src
 *   SOFT_CAP       dst f32[T][C] = P0 * tanh(src f32[T][C] / P0); dst may be src
 *   TOP_K          dst choice[T][R] = the R largest of src f32[T][C], largest first, ties to the lower index: index and
 *                  value in the places of expert and weight
 *   INDEX          dst u32[T][P3] = the positions below `visible` with the P3 best scores, ascending, then
 *                  CARD_NO_POSITION; score = sum over R heads of E.src f32[T][R] * relu(P1 * query . key); src = query
 *                  f32[T][R][C]; weight pool, keys only, of one KV head; aux batch; format = page format; P0 = pages in
 *                  the pool; E.rows = banks over which it is dealt (0: 1); always EXTENDED
 *   SCAN           gated delta rule, token after token: state S[C][P1] of each of R heads: S *= exp(decay); delta =
 *                  (value - S^T key) * beta; S += key delta^T; dst f32[T][R][P1] = S^T query; src = query f32[T][P2][C];
 *                  weight = key f32[T][P2][C]; P2 = key heads, head h has key head h / (R / P2), INTERLEAVED: h % P2;
 *                  aux batch; P0 = states in the state pool E.dst f32[P0][R][C][P1]; E.src = value f32[T][R][P1];
 *                  E.weight = decay f32[T][R], EACH: f32[T][R][C]; E.aux = beta f32[T][R]; always EXTENDED
 *   CONV           dst f32[T][C] = causal convolution of width P1 (2 to 8) of src f32[T][C] along the sequence; weight
 *                  f32[C][P1], oldest input first; aux batch; P0 = states in the state pool E.dst f32[P0][P1 - 1][C]: the
 *                  last inputs, oldest first; E.BIAS: + E.src f32[C]; always EXTENDED
 *   DECAY          dst f32[T][C] = weight f32[C] * softplus(src f32[T][C] + aux f32[C]); dst may be src
 *   EXPERT_SPREAD  dst f32[T][P0][C] = choice weight j * src f32[T][C], for each j < P0; aux = choice[T][P0]
 *   PUBLISH        dst mailbox: choice[T][R] at byte 64 = src choice[T][R], then the u32 at byte 0 = P0, which the host
 *                  polls
 *   AWAIT          goes on when the slot table at weight (P1 entries) has no CARD_NO_SLOT for any expert of aux
 *                  choice[T][P0], those of CARD_NO_EXPERT left out; after P2 microseconds the program ends with an error;
 *                  no dst, no src. PER_CHOICE: goes on as soon as one in R of them (0: one) has a slot, rounded up: dst
 *                  choice[2][T][P0] = those that have one, and those that have none, CARD_NO_EXPERT and weight 0 in the
 *                  other places. Where aux asks for none, the P3 descriptors after it do not run, extensions counted
 *
 * Fields that an opcode does not name are ignored; unknown flags are refused, on an extension too. Every operand lies
 * inside one allocation, of a dealt matrix or pool what lies in each bank: matrices and mailboxes at multiples of 64, slot tables
 * of 8, matrices of F32 and everything else of 4. dst (and the state pool) overlaps no other operand unless the table says
 * that it may be one, and then it is exactly that.
 * T is at most 4096; for NORM, QUANTIZE, GLU and SCALE, which may see a row for each choice, 256 times as many. The exact
 * arithmetic is in kernels/README.md.
 */
#ifndef SLUICE_CARD_PROGRAM_H
#define SLUICE_CARD_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define CARD_ABI_VERSION 3u
#define CARD_ABI_OLDEST (CARD_ABI_VERSION - 1) /* that the host speaks, without what came later: */
#define CARD_ABI_PER_CHOICE 3u                 /* PER_CHOICE and P3 of AWAIT, choices of CARD_NO_EXPERT */

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
    CARD_OP_EXTENSION = 12,
    CARD_OP_COPY = 13,
    CARD_OP_ADD = 14,
    CARD_OP_SCALE = 15,
    CARD_OP_SOFT_CAP = 16,
    CARD_OP_TOP_K = 17,
    CARD_OP_INDEX = 18,
    CARD_OP_SCAN = 19,
    CARD_OP_CONV = 20,
    CARD_OP_DECAY = 21,
    CARD_OP_EXPERT_SPREAD = 22,
    CARD_OP_PUBLISH = 23,
    CARD_OP_AWAIT = 24,
};
#define CARD_OPCODE_END 25 /* one past the last opcode */

/* "MATMUL"; "unknown opcode" for what is none. Static storage. */
static inline const char *card_opcode_name(unsigned opcode)
{
    static const char *const names[CARD_OPCODE_END] = {
        "unknown opcode", "NORM",  "QUANTIZE",   "MATMUL", "ROPE",      "KV_WRITE", "ATTENTION",     "ROUTER",
        "EXPERT_MATMUL",  "GLU",   "EXPERT_SUM", "GATHER", "EXTENSION", "COPY",     "ADD",           "SCALE",
        "SOFT_CAP",       "TOP_K", "INDEX",      "SCAN",   "CONV",      "DECAY",    "EXPERT_SPREAD", "PUBLISH",
        "AWAIT",
    };
    return names[opcode < CARD_OPCODE_END ? opcode : 0];
}

/* What each means is said with the opcodes that know it. */
enum card_flag {
    CARD_FLAG_ADD = 1 << 0,
    CARD_FLAG_BIAS = 1 << 1,
    CARD_FLAG_INTERLEAVED = 1 << 2,
    CARD_FLAG_RENORMALIZE = 1 << 3,
    CARD_FLAG_PER_CHOICE = 1 << 4,
    CARD_FLAG_EXTENDED = 1 << 5,
    CARD_FLAG_LATENT = 1 << 6,
    CARD_FLAG_LAYER = 1 << 7,
    CARD_FLAG_UNWEIGHTED = 1 << 8,
    CARD_FLAG_SUM = 1 << 9,
    CARD_FLAG_EACH = 1 << 10,
    CARD_FLAG_GROUP_PAIRS = 1 << 11,
    CARD_FLAG_BROADCAST = 1 << 12,
    CARD_FLAG_PER_TOKEN = 1 << 13,
    CARD_FLAG_SINKS = 1 << 14,
    CARD_FLAG_SPARSE = 1 << 15,
};

/* The function of GLU, in its format field. x: src, y: weight. */
enum card_activation {
    CARD_ACTIVATION_SILU = 0,
    CARD_ACTIVATION_GELU = 1,     /* the tanh form */
    CARD_ACTIVATION_GELU_ERF = 2, /* the exact form */
    CARD_ACTIVATION_RELU = 3,
    CARD_ACTIVATION_SIGMOID = 4,
    CARD_ACTIVATION_SWIGLU_OAI = 5, /* x sigmoid(P1 x) (y + 1), of gpt-oss */
};
#define CARD_ACTIVATION_END 6

/* How ROUTER makes weights of logits, in its format field. */
enum card_scoring {
    CARD_SCORING_SOFTMAX = 0,
    CARD_SCORING_SIGMOID = 1,
};
#define CARD_SCORING_END 2

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
 * slot position % CARD_PAGE_TOKENS, where pages is the u32 array that starts right after the T entries. ATTENTION sees the
 * positions below `visible` (position + 1 for a causal model) as far as window, chunk and sparse positions allow.
 * SCAN and CONV keep what they remember of a sequence in state number `state` of their pools; at position 0 they start
 * from zeros. Tokens with one state are neighbours in the table and in the order of their positions.
 */
struct card_batch_token {
    uint32_t position;
    uint32_t first_page;
    uint32_t visible;
    uint32_t state;
};
_Static_assert(sizeof(struct card_batch_token) == 16, "a batch entry is 16 bytes");

/* Ends a list of positions that is shorter than its place. */
#define CARD_NO_POSITION 0xffffffffu

/* How many of the choices that an AWAIT with PER_CHOICE asks for must have a slot; rows: its R. */
static inline uint64_t card_await_least(uint64_t asked, uint32_t rows)
{
    const uint64_t least = rows == 0 ? 1 : asked / rows + (asked % rows != 0);
    return least < asked ? least : asked;
}

/* A slot table's entry for an expert that is not in card memory. */
#define CARD_NO_SLOT 0xffffffffffffffffull

/* In place of a choice's expert: none. */
#define CARD_NO_EXPERT 0xffffffffu

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
