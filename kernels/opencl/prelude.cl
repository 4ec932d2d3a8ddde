/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First of the program's texts: after it come kernels/abi/card_layout.h, card_math.h and the other .cl files, in the
 * order of host/card/opencl_source.S. OpenCL C 1.2, little-endian, no extension.
 *
 * Every kernel of an operation begins with the program's status (16 words, host/card/opencl.h): when a table has lied
 * nothing after it runs. Operands are a bank and a byte offset in it. Kernels with barriers never return before the last
 * one, not even all items alike: PoCL 3.1 then repeats what follows the last barrier. They run over nothing instead.
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

#define FAULT_POSITION 1
#define FAULT_ENTRY 2
#define FAULT_PAGE 3
#define FAULT_EXPERT 4
#define FAULT_SLOT 5
#define FAULT_INDEX 6
#define FAULT_FOLLOWS 7

#define FLAG_ADD 1u /* enum card_flag */
#define FLAG_BIAS 2u
#define FLAG_INTERLEAVED 4u
#define FLAG_RENORMALIZE 8u

#define AT(type, bank, offset) ((__global type *)((bank) + (offset)))
#define BANK __global uchar *
