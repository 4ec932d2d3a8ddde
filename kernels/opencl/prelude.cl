/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First of the program's texts: after it come kernels/abi/card_layout.h, card_math.h and the other .cl files, in the
 * order of host/card/opencl_source.S. OpenCL C 1.2, little-endian, no extension.
 *
 * Every kernel of an operation begins with the program's status (16 words, host/card/opencl.h): when a table has lied
 * nothing after it runs. Then come the banks of a page pool (pages.cl) and the operands, a bank and a byte offset in it, then 64-bit numbers, then 32-bit ones.
 * Kernels with barriers never return before the last one, not even all items alike: PoCL 3.1 then repeats what follows
 * the last barrier. They run over nothing instead.
 *
 * Built with -cl-denorms-are-zero: the device flushes subnormals (opencl_probe.c sees to it). A product by a constant 1 would be left out
 * by the compiler and flush nothing, so there is none.
 */
#pragma OPENCL FP_CONTRACT OFF

typedef uchar uint8_t;
typedef char int8_t;
typedef ushort uint16_t;
typedef uint uint32_t;
typedef int int32_t;
typedef ulong uint64_t;
#define half half_ /* a type that nobody here uses, and a variable in card_math.h */
#define UINT64_MAX 0xffffffffffffffffUL

#define STATUS_FAILED 0 /* 0, or 1 + the index of the descriptor that failed */
#define STATUS_KIND 1
#define STATUS_ITEM 2 /* token, choice or index; of a slot the expert */
#define STATUS_VALUE 4 /* 64 bits: what the table says, low word first */
#define STATUS_LIMIT 6 /* 64 bits */
#define STATUS_WEIGHT_BYTES 8 /* 64 bits each: what depends on tables of what the program moved and multiplied */
#define STATUS_KV_BYTES 10
#define STATUS_MULTIPLY_ADDS 12

#define CARD_NO_EXPERT 0xffffffffu

#define FAULT_POSITION 1
#define FAULT_ENTRY 2
#define FAULT_PAGE 3
#define FAULT_EXPERT 4
#define FAULT_SLOT 5
#define FAULT_INDEX 6
#define FAULT_FOLLOWS 7
#define FAULT_VISIBLE 8
#define FAULT_STATE 9
#define FAULT_SPARSE_ORDER 10
#define FAULT_SPARSE 11

#define FLAG_ADD 0x1u /* enum card_flag */
#define FLAG_BIAS 0x2u
#define FLAG_INTERLEAVED 0x4u
#define FLAG_RENORMALIZE 0x8u
#define FLAG_LATENT 0x40u
#define FLAG_LAYER 0x80u
#define FLAG_UNWEIGHTED 0x100u
#define FLAG_SUM 0x200u
#define FLAG_EACH 0x400u
#define FLAG_GROUP_PAIRS 0x800u
#define FLAG_BROADCAST 0x1000u
#define FLAG_PER_TOKEN 0x2000u
#define FLAG_SINKS 0x4000u
#define FLAG_SPARSE 0x8000u

#define AT(type, bank, offset) ((__global type *)((bank) + (offset)))
#define BANK __global uchar *
#define OPERAND(name) BANK name##_bank, ulong name##_at
#define GROUP_OF(n) __kernel __attribute__((reqd_work_group_size(n, 1, 1))) void

/* struct card_batch_token of token t of a batch table: x position, y first_page, z visible, w state. */
#define ENTRY(batch, t) vload4(t, batch)
#define BATCH_WORDS 4u
#define NO_POSITION 0xffffffffu

/* What is written of x: a NaN is the one NaN. */
static float written(float x)
{
    const uint bits = as_uint(x);
    return as_float((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits);
}

/* x as an operand: a subnormal is a zero with its sign. */
static float flushed(float x)
{
    const uint bits = as_uint(x);
    return as_float((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

/*
 * Numbers in the order of "best" (kernels/README.md): a greater one for a better x, 0 for NaN. Zeros of both signs and
 * subnormals are alike.
 */
static uint order_of(float x)
{
    const uint bits = as_uint(x), magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0;
    if (magnitude < 0x00800000u) return 0x80000000u;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
