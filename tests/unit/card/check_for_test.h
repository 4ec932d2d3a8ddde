/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the validator: a card without memory, and a good descriptor of every opcode. Include after cmocka.h. */
#ifndef SLUICE_TEST_CHECK_H
#define SLUICE_TEST_CHECK_H

#include "host/base/bytes.h"
#include "host/card/card_check.h"
#include "kernels/abi/card_layout.h"

#include <string.h>

/*
 * Allocation k of each of the four banks is [k MiB, k MiB + size). The good descriptors use A to H; those are larger
 * than needed, SMALL is not.
 */
#define MIB (1ull << 20)
#define A CARD_ADDR(0, 1 * MIB)
#define B CARD_ADDR(0, 2 * MIB)
#define C CARD_ADDR(0, 3 * MIB)
#define D CARD_ADDR(0, 4 * MIB)
#define E CARD_ADDR(0, 5 * MIB)
#define F CARD_ADDR(0, 6 * MIB)
#define G CARD_ADDR(0, 7 * MIB)
#define H CARD_ADDR(0, 8 * MIB)
#define SMALL CARD_ADDR(0, 9 * MIB)
#define SMALL_BYTES 1024u
#define TEST_BANKS 4u

static inline uint64_t test_extent(const void *context, card_addr address)
{
    (void)context;
    const uint64_t k = CARD_ADDR_OFFSET(address) / MIB, into = CARD_ADDR_OFFSET(address) % MIB;
    const uint64_t size = k == 9 ? SMALL_BYTES : MIB;
    return CARD_ADDR_BANK(address) < TEST_BANKS && k >= 1 && k <= 9 && into < size ? size - into : 0;
}

static const struct card_check_limits test_limits = {
    .abi_version = CARD_ABI_VERSION,
    .weight_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_INT4 | 1u << CARD_FORMAT_Q4_K,
    .kv_formats = 1u << CARD_FORMAT_F16,
    .n_banks = TEST_BANKS,
    .extent = test_extent,
};

#define ONE 0x3f800000u /* 1.0f */

/* One descriptor of every opcode with all operands that it can have, and its extension (no opcode: none). */
static const struct test_pair {
    struct card_descriptor d, e;
} good[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {{.flags = CARD_FLAG_BIAS, .tokens = 2, .rows = 3, .cols = 8, .aux = D}, {0}},
    [CARD_OP_QUANTIZE] = {{.tokens = 2, .cols = 64}, {0}},
    [CARD_OP_MATMUL] = {{.format = CARD_FORMAT_INT4, .flags = CARD_FLAG_BIAS, .tokens = 2, .rows = 16, .cols = 64},
                        {0}},
    [CARD_OP_ROPE] = {{.tokens = 2, .rows = 3, .cols = 8, .param = {4, ONE, 2}}, {0}},
    [CARD_OP_KV_WRITE] = {{.format = CARD_FORMAT_F16, .tokens = 2, .rows = 2, .cols = 8, .param = {4, 6}}, {0}},
    [CARD_OP_ATTENTION] = {{.format = CARD_FORMAT_F16,
                            .flags = CARD_FLAG_EXTENDED,
                            .tokens = 2,
                            .rows = 4,
                            .cols = 8,
                            .param = {4, ONE, 2, 0}},
                           {.opcode = CARD_OP_EXTENSION,
                            .flags = CARD_FLAG_SINKS | CARD_FLAG_BIAS | CARD_FLAG_SPARSE,
                            .cols = 6,
                            .param = {ONE, 0, 5, 3}}},
    [CARD_OP_ROUTER] =
        {{.flags = CARD_FLAG_BIAS | CARD_FLAG_GROUP_PAIRS, .tokens = 2, .rows = 2, .cols = 8, .param = {ONE, 4, 2}},
         {0}},
    [CARD_OP_EXPERT_MATMUL] = {{.format = CARD_FORMAT_INT4,
                                .flags = CARD_FLAG_EXTENDED,
                                .tokens = 2,
                                .rows = 16,
                                .cols = 64,
                                .param = {2, 8}},
                               {.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_BIAS}},
    [CARD_OP_GLU] = {{.format = CARD_ACTIVATION_SWIGLU_OAI, .tokens = 2, .cols = 8, .param = {ONE, ONE}}, {0}},
    [CARD_OP_EXPERT_SUM] = {{.tokens = 2, .cols = 8, .param = {2}}, {0}},
    [CARD_OP_GATHER] = {{.tokens = 2, .rows = 4, .cols = 8}, {0}},
    [CARD_OP_COPY] = {{.tokens = 2, .rows = 3, .cols = 4, .param = {20, 6, 16, 5}}, {0}},
    [CARD_OP_ADD] = {{.tokens = 2, .cols = 8, .param = {ONE}}, {0}},
    [CARD_OP_SCALE] = {{.flags = CARD_FLAG_PER_TOKEN, .tokens = 2, .cols = 8, .param = {ONE}}, {0}},
    [CARD_OP_SOFT_CAP] = {{.tokens = 2, .cols = 8, .param = {ONE}}, {0}},
    [CARD_OP_TOP_K] = {{.tokens = 2, .rows = 2, .cols = 8}, {0}},
    [CARD_OP_INDEX] = {{.format = CARD_FORMAT_F16,
                        .flags = CARD_FLAG_EXTENDED,
                        .tokens = 2,
                        .rows = 4,
                        .cols = 8,
                        .param = {4, ONE, 0, 3}},
                       {.opcode = CARD_OP_EXTENSION}},
    [CARD_OP_SCAN] = {{.flags = CARD_FLAG_EXTENDED, .tokens = 2, .rows = 4, .cols = 8, .param = {3, 6, 2}},
                      {.opcode = CARD_OP_EXTENSION}},
    [CARD_OP_CONV] = {{.flags = CARD_FLAG_EXTENDED, .tokens = 2, .cols = 8, .param = {3, 4}},
                      {.opcode = CARD_OP_EXTENSION, .flags = CARD_FLAG_BIAS}},
    [CARD_OP_DECAY] = {{.tokens = 2, .cols = 8}, {0}},
    [CARD_OP_EXPERT_SPREAD] = {{.tokens = 2, .cols = 8, .param = {2}}, {0}},
    [CARD_OP_PUBLISH] = {{.tokens = 2, .rows = 2, .param = {7}}, {0}},
    [CARD_OP_AWAIT] = {{.tokens = 2, .param = {2, 8, 1000}}, {0}},
};

/* The good pair with its addresses: dst A, src B, weight C, aux D, E.dst E, E.src F, E.weight G, E.aux H. */
static inline struct test_pair good_pair(unsigned opcode)
{
    struct test_pair pair = good[opcode];
    pair.d.opcode = (uint8_t)opcode;
    pair.d.dst = A;
    pair.d.src = B;
    pair.d.weight = C;
    pair.d.aux = D;
    pair.e.dst = E;
    pair.e.src = F;
    pair.e.weight = G;
    pair.e.aux = H;
    return pair;
}

/* Puts the pair at to, as one or two descriptors; how many. */
static inline unsigned put_pair(struct card_descriptor *to, const struct test_pair *pair)
{
    to[0] = pair->d;
    if (pair->e.opcode) to[1] = pair->e;
    return pair->e.opcode ? 2 : 1;
}

/* The checked pair, after two other descriptors; fails unless it is refused as descriptor 2 with these words. */
static inline void assert_refused(const struct test_pair *pair, const char *says)
{
    const struct test_pair before = good_pair(CARD_OP_CONV);
    struct card_descriptor program[4];
    struct error err = {0};
    unsigned n = put_pair(program, &before);
    n += put_pair(program + n, pair);
    if (card_check(program, n, &test_limits, &err) != ERROR_BAD_ARGUMENT) {
        fail_msg("%s: accepted, but should say \"%s\"", card_opcode_name(pair->d.opcode), says);
    }
    if (!strstr(err.text, "descriptor 2 (") || !strstr(err.text, says)) {
        fail_msg("says \"%s\", should say \"%s\"", err.text, says);
    }
}

static inline void assert_passes(const struct test_pair *pair)
{
    struct card_descriptor program[2];
    struct error err = {0};
    if (card_check(program, put_pair(program, pair), &test_limits, &err)) fail_msg("%s", err.text);
}

#endif
