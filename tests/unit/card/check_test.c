/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validator: a good descriptor of every opcode passes; each way to be wrong is refused with the descriptor's index,
 * opcode and field, and nothing has run. Operands are checked in check_operands_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/card_fixture.h"
#include "tests/unit/card/check_for_test.h"

static void good_programs_pass(void **state)
{
    (void)state;
    struct error err = {0};
    struct card_descriptor program[2 * CARD_OPCODE_END];
    unsigned n = 0;
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        if (opcode == CARD_OP_EXTENSION) continue;
        const struct test_pair pair = good_pair(opcode);
        n += put_pair(program + n, &pair);
    }
    if (card_check(program, n, &test_limits, &err)) fail_msg("%s", err.text);
    assert_int_equal(card_check(NULL, 0, &test_limits, &err), 0);
}

enum field {
    OPCODE,
    FORMAT,
    FLAGS,
    TOKENS,
    ROWS,
    COLS,
    P0,
    P1,
    P2,
    P3,
    E_FLAGS,
    E_ROWS,
    E_COLS,
    E_P0,
    E_P1,
    E_P2,
    E_P3
};

static void set(struct test_pair *pair, enum field field, uint64_t value)
{
    switch (field) {
    case OPCODE: pair->d.opcode = (uint8_t)value; break;
    case FORMAT: pair->d.format = (uint8_t)value; break;
    case FLAGS: pair->d.flags = (uint16_t)value; break;
    case TOKENS: pair->d.tokens = (uint32_t)value; break;
    case ROWS: pair->d.rows = (uint32_t)value; break;
    case COLS: pair->d.cols = (uint32_t)value; break;
    case E_FLAGS: pair->e.flags = (uint16_t)value; break;
    case E_ROWS: pair->e.rows = (uint32_t)value; break;
    case E_COLS: pair->e.cols = (uint32_t)value; break;
    case P0:
    case P1:
    case P2:
    case P3: pair->d.param[field - P0] = (uint32_t)value; break;
    default: pair->e.param[field - E_P0] = (uint32_t)value; break;
    }
}

#define NAN_BITS 0x7fc00000u
#define INFINITY_BITS 0x7f800000u
#define MINUS_ONE 0xbf800000u
#define MINUS_ZERO 0x80000000u
#define SUBNORMAL 0x007fffffu

static const struct {
    unsigned opcode;
    enum field field;
    uint64_t value;
    const char *says;
} wrong[] = {
    {CARD_OP_NORM, OPCODE, 0, "(unknown opcode): opcode: 0 is none"},
    {CARD_OP_NORM, OPCODE, CARD_OPCODE_END, "(unknown opcode): opcode: 25 is none"},
    {CARD_OP_NORM, OPCODE, 255, "(unknown opcode): opcode: 255 is none"},
    {CARD_OP_NORM, OPCODE, CARD_OP_EXTENSION, "(EXTENSION): opcode: the descriptor before it is not EXTENDED"},
    /* formats */
    {CARD_OP_MATMUL, FORMAT, CARD_FORMAT_F16, "(MATMUL): format: this card has no weight format 2"},
    {CARD_OP_MATMUL, FORMAT, CARD_FORMAT_Q6_K, "format: this card has no weight format 9"},
    {CARD_OP_MATMUL, FORMAT, CARD_FORMAT_MXFP4, "format: this card has no weight format 10"},
    {CARD_OP_MATMUL, FORMAT, 0, "format: this card has no weight format 0"},
    {CARD_OP_MATMUL, FORMAT, 33, "format: this card has no weight format 33"},
    {CARD_OP_EXPERT_MATMUL, FORMAT, 255, "(EXPERT_MATMUL): format: this card has no weight format 255"},
    {CARD_OP_KV_WRITE, FORMAT, CARD_FORMAT_F32, "(KV_WRITE): format: this card has no page format 1"},
    {CARD_OP_ATTENTION, FORMAT, CARD_FORMAT_INT4, "(ATTENTION): format: this card has no page format 3"},
    {CARD_OP_INDEX, FORMAT, CARD_FORMAT_INT8, "(INDEX): format: this card has no page format 5"},
    {CARD_OP_GLU, FORMAT, CARD_ACTIVATION_END, "(GLU): format: this card has no activation format 6"},
    {CARD_OP_GLU, FORMAT, 255, "format: this card has no activation format 255"},
    {CARD_OP_ROUTER, FORMAT, CARD_SCORING_END, "(ROUTER): format: this card has no scoring format 2"},
    /* rows and cols beyond their limits: tokens, and zero of everything, are below */
    {CARD_OP_NORM, ROWS, 4097, "rows: 4097 is not in 1 to 4096"},
    {CARD_OP_NORM, COLS, (1u << 24) + 1, "cols: 16777217 is not in 1 to 16777216"},
    {CARD_OP_QUANTIZE, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_MATMUL, ROWS, UINT32_MAX, "rows: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_MATMUL, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_ROPE, ROWS, 4097, "rows: 4097 is not in 1 to 4096"},
    {CARD_OP_ROPE, COLS, CARD_MAX_HEAD_DIM + 1, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_KV_WRITE, ROWS, 4097, "rows: 4097 is not in 1 to 4096"},
    {CARD_OP_KV_WRITE, COLS, CARD_MAX_HEAD_DIM + 1, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_ATTENTION, ROWS, 4098, "rows: 4098 is not in 1 to 4096"},
    {CARD_OP_ATTENTION, COLS, CARD_MAX_HEAD_DIM + 1, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_ROUTER, ROWS, 257, "rows: 257 is not in 1 to 256"},
    {CARD_OP_ROUTER, COLS, 65537, "cols: 65537 is not in 1 to 65536"},
    {CARD_OP_EXPERT_MATMUL, ROWS, UINT32_MAX, "rows: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_EXPERT_MATMUL, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_GLU, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_EXPERT_SUM, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_GATHER, ROWS, UINT32_MAX, "rows: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_GATHER, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_COPY, ROWS, 4097, "rows: 4097 is not in 1 to 4096"},
    {CARD_OP_COPY, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_ADD, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_SCALE, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_SOFT_CAP, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_TOP_K, ROWS, 257, "rows: 257 is not in 1 to 256"},
    {CARD_OP_TOP_K, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_INDEX, ROWS, 4097, "rows: 4097 is not in 1 to 4096"},
    {CARD_OP_INDEX, COLS, 1025, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_SCAN, ROWS, 4097, "rows: 4097 is not in 1 to 4096"},
    {CARD_OP_SCAN, COLS, 1025, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_CONV, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_DECAY, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_EXPERT_SPREAD, COLS, UINT32_MAX, "cols: 4294967295 is not in 1 to 16777216"},
    {CARD_OP_PUBLISH, ROWS, 257, "rows: 257 is not in 1 to 256"},
    /* parameters */
    {CARD_OP_NORM, P0, NAN_BITS, "P0 (epsilon): no finite number"},
    {CARD_OP_NORM, P0, MINUS_ONE, "P0 (epsilon): negative"},
    {CARD_OP_MATMUL, P0, 5, "P0 (banks): 5 is not in 0 to 4"},
    {CARD_OP_MATMUL, P0, UINT32_MAX, "P0 (banks): 4294967295 is not in 0 to 4"},
    {CARD_OP_ROPE, P0, 3, "P0 (dimensions that turn): 3 is odd"},
    {CARD_OP_ROPE, P0, 0, "P0 (dimensions that turn): 0 is not in 2 to 8"},
    {CARD_OP_ROPE, P0, 10, "P0 (dimensions that turn): 10 is not in 2 to 8"},
    {CARD_OP_ROPE, P1, INFINITY_BITS, "P1 (factor): no finite number"},
    {CARD_OP_ROPE, P2, 5, "P2 (first that turns): 5 is not in 0 to 4"},
    {CARD_OP_ROPE, P2, UINT32_MAX, "P2 (first that turns): 4294967295 is not in 0 to 4"},
    {CARD_OP_KV_WRITE, P0, 0, "P0 (pages): 0 is not in 1 to 268435456"},
    {CARD_OP_KV_WRITE, P0, UINT32_MAX, "P0 (pages): 4294967295 is not"},
    {CARD_OP_KV_WRITE, P1, 1025, "P1 (value dimensions): 1025 is not in 0 to 1024"},
    {CARD_OP_KV_WRITE, P2, 5, "P2 (banks): 5 is not in 0 to 4"},
    {CARD_OP_KV_WRITE, P2, UINT32_MAX, "P2 (banks): 4294967295 is not in 0 to 4"},
    {CARD_OP_ATTENTION, P0, 0, "P0 (pages): 0 is not in 1 to 268435456"},
    {CARD_OP_ATTENTION, P0, UINT32_MAX, "P0 (pages): 4294967295 is not"},
    {CARD_OP_ATTENTION, P1, 0xff800000, "P1 (scale): no finite number"},
    {CARD_OP_ATTENTION, P2, 0, "P2 (KV heads): 0 is not in 1 to 4"},
    {CARD_OP_ATTENTION, P2, 3, "P2 (KV heads): 3 does not divide 4 heads"},
    {CARD_OP_ATTENTION, P2, 8, "P2 (KV heads): 8 is not in 1 to 4"},
    {CARD_OP_ATTENTION, E_COLS, 1025, "E.cols (value dimensions): 1025 is not in 0 to 1024"},
    {CARD_OP_ATTENTION, E_ROWS, 5, "E.rows (banks): 5 is not in 0 to 4"},
    {CARD_OP_ATTENTION, E_ROWS, UINT32_MAX, "E.rows (banks): 4294967295 is not in 0 to 4"},
    {CARD_OP_ATTENTION, E_P0, NAN_BITS, "E.P0 (soft-cap): not 0 and no positive normal number"},
    {CARD_OP_ATTENTION, E_P0, INFINITY_BITS, "E.P0 (soft-cap): not 0 and no positive"},
    {CARD_OP_ATTENTION, E_P0, MINUS_ONE, "E.P0 (soft-cap): not 0 and no positive"},
    {CARD_OP_ATTENTION, E_P0, MINUS_ZERO, "E.P0 (soft-cap): not 0 and no positive"},
    {CARD_OP_ATTENTION, E_P0, SUBNORMAL, "E.P0 (soft-cap): not 0 and no positive"},
    {CARD_OP_ATTENTION, E_P2, CARD_MAX_POSITIONS + 1, "E.P2 (distances): 4194305 is not in 0 to 4194304"},
    {CARD_OP_ATTENTION, E_P3, 0, "E.P3 (positions): 0 is not in 1 to 65536"},
    {CARD_OP_ATTENTION, E_P3, 65537, "E.P3 (positions): 65537 is not in 1 to 65536"},
    {CARD_OP_ROUTER, ROWS, 9, "rows (choices): 9 is not in 1 to 8"},
    {CARD_OP_ROUTER, ROWS, 5, "rows (choices): 5 is not in 1 to 4"}, /* two groups of two are kept */
    {CARD_OP_ROUTER, P0, NAN_BITS, "P0 (factor): no finite number"},
    {CARD_OP_ROUTER, P1, 3, "P1 (groups): 3 does not divide 8 experts"},
    {CARD_OP_ROUTER, P1, 16, "P1 (groups): 16 is not in 1 to 8"},
    {CARD_OP_ROUTER, P1, 8, "P1 (groups): 8 of one expert each, but GROUP_PAIRS takes two"},
    {CARD_OP_ROUTER, P2, 0, "P2 (groups that take part): 0 is not in 1 to 4"},
    {CARD_OP_ROUTER, P2, 5, "P2 (groups that take part): 5 is not in 1 to 4"},
    {CARD_OP_EXPERT_MATMUL, P0, 0, "P0 (choices): 0 is not in 1 to 256"},
    {CARD_OP_EXPERT_MATMUL, P0, 257, "P0 (choices): 257 is not in 1 to 256"},
    {CARD_OP_EXPERT_MATMUL, P1, 0, "P1 (experts): 0 is not in 1 to 65536"},
    {CARD_OP_EXPERT_MATMUL, P1, 65537, "P1 (experts): 65537 is not in 1 to 65536"},
    {CARD_OP_EXPERT_MATMUL, FLAGS, CARD_FLAG_EXTENDED | CARD_FLAG_EACH,
     "P0 (choices): 2, but EACH chooses all of 8 experts"},
    {CARD_OP_EXPERT_MATMUL, P2, 5, "P2 (banks): 5 is not in 0 to 4"},
    {CARD_OP_GLU, P0, NAN_BITS, "P0 (limit): not 0 and no positive normal number"},
    {CARD_OP_GLU, P0, MINUS_ZERO, "P0 (limit): not 0 and no positive"},
    {CARD_OP_GLU, P0, SUBNORMAL, "P0 (limit): not 0 and no positive"},
    {CARD_OP_GLU, P1, INFINITY_BITS, "P1 (steepness): no finite number"},
    {CARD_OP_EXPERT_SUM, P0, 0, "P0 (choices): 0 is not in 1 to 256"},
    {CARD_OP_EXPERT_SUM, P0, 257, "P0 (choices): 257 is not in 1 to 256"},
    {CARD_OP_COPY, P3, 3, "P3 (from vector to vector of dst): 3 is less than a vector's 4"},
    {CARD_OP_COPY, P2, 13, "P2 (from token to token of dst): 13 is less than a token's 14"},
    {CARD_OP_COPY, P3, UINT32_MAX, "P2 (from token to token of dst): 16 is less than a token's 8589934594"},
    {CARD_OP_ADD, P0, NAN_BITS, "P0 (factor): no finite number"},
    {CARD_OP_SCALE, P0, INFINITY_BITS, "P0 (factor): no finite number"},
    {CARD_OP_SOFT_CAP, P0, 0, "P0 (cap): no positive normal number"},
    {CARD_OP_SOFT_CAP, P0, MINUS_ONE, "P0 (cap): no positive normal number"},
    {CARD_OP_SOFT_CAP, P0, SUBNORMAL, "P0 (cap): no positive normal number"},
    {CARD_OP_SOFT_CAP, P0, NAN_BITS, "P0 (cap): no positive normal number"},
    {CARD_OP_TOP_K, ROWS, 9, "rows (choices): 9 is not in 1 to 8"},
    {CARD_OP_INDEX, P0, 0, "P0 (pages): 0 is not in 1 to 268435456"},
    {CARD_OP_INDEX, P1, NAN_BITS, "P1 (scale): no finite number"},
    {CARD_OP_INDEX, P3, 0, "P3 (positions): 0 is not in 1 to 65536"},
    {CARD_OP_INDEX, P3, 65537, "P3 (positions): 65537 is not in 1 to 65536"},
    {CARD_OP_INDEX, E_ROWS, 5, "E.rows (banks): 5 is not in 0 to 4"},
    {CARD_OP_SCAN, P0, 0, "P0 (states): 0 is not in 1 to 1048576"},
    {CARD_OP_SCAN, P0, UINT32_MAX, "P0 (states): 4294967295 is not in 1 to 1048576"},
    {CARD_OP_SCAN, P1, 0, "P1 (value dimensions): 0 is not in 1 to 1024"},
    {CARD_OP_SCAN, P1, 1025, "P1 (value dimensions): 1025 is not in 1 to 1024"},
    {CARD_OP_SCAN, P2, 0, "P2 (key heads): 0 is not in 1 to 4"},
    {CARD_OP_SCAN, P2, 3, "P2 (key heads): 3 does not divide 4 heads"},
    {CARD_OP_SCAN, P2, 5, "P2 (key heads): 5 is not in 1 to 4"},
    {CARD_OP_CONV, P0, 0, "P0 (states): 0 is not in 1 to 1048576"},
    {CARD_OP_CONV, P1, 1, "P1 (width): 1 is not in 2 to 8"},
    {CARD_OP_CONV, P1, 9, "P1 (width): 9 is not in 2 to 8"},
    {CARD_OP_EXPERT_SPREAD, P0, 0, "P0 (choices): 0 is not in 1 to 256"},
    {CARD_OP_EXPERT_SPREAD, P0, 257, "P0 (choices): 257 is not in 1 to 256"},
    {CARD_OP_AWAIT, P0, 0, "P0 (choices): 0 is not in 1 to 256"},
    {CARD_OP_AWAIT, P0, 257, "P0 (choices): 257 is not in 1 to 256"},
    {CARD_OP_AWAIT, P1, 0, "P1 (experts): 0 is not in 1 to 65536"},
    {CARD_OP_AWAIT, P1, 65537, "P1 (experts): 65537 is not in 1 to 65536"},
    {CARD_OP_AWAIT, P2, 0, "P2 (microseconds): 0 is not in 1 to 60000000"},
    {CARD_OP_AWAIT, P2, 60000001, "P2 (microseconds): 60000001 is not in 1 to 60000000"},
    {CARD_OP_AWAIT, P3, UINT32_MAX, "P3 (descriptors): 4294967295, "},
};

static void every_wrong_field_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct test_pair pair = good_pair(wrong[i].opcode);
        set(&pair, wrong[i].field, wrong[i].value);
        assert_refused(&pair, wrong[i].says);
    }
}

/* Flags that each opcode knows, and its extension: spelled out here as the contract has them. */
static const struct {
    uint16_t flags, e_flags;
} known[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {0x780 | CARD_FLAG_BIAS, 0},
    [CARD_OP_MATMUL] = {CARD_FLAG_ADD | CARD_FLAG_BIAS, 0},
    [CARD_OP_ROPE] = {CARD_FLAG_INTERLEAVED, 0},
    [CARD_OP_ATTENTION] = {CARD_FLAG_LATENT | CARD_FLAG_EXTENDED, CARD_FLAG_SINKS | CARD_FLAG_BIAS | CARD_FLAG_SPARSE},
    [CARD_OP_ROUTER] = {CARD_FLAG_BIAS | CARD_FLAG_GROUP_PAIRS | CARD_FLAG_RENORMALIZE, 0},
    [CARD_OP_EXPERT_MATMUL] = {CARD_FLAG_PER_CHOICE | CARD_FLAG_EACH | CARD_FLAG_EXTENDED, CARD_FLAG_BIAS},
    [CARD_OP_GLU] = {CARD_FLAG_UNWEIGHTED | CARD_FLAG_BROADCAST, 0},
    [CARD_OP_EXPERT_SUM] = {CARD_FLAG_UNWEIGHTED, 0},
    [CARD_OP_ADD] = {CARD_FLAG_BROADCAST, 0},
    [CARD_OP_SCALE] = {CARD_FLAG_PER_TOKEN, 0},
    [CARD_OP_INDEX] = {CARD_FLAG_EXTENDED, 0},
    [CARD_OP_SCAN] = {CARD_FLAG_EXTENDED | CARD_FLAG_INTERLEAVED | CARD_FLAG_EACH, 0},
    [CARD_OP_CONV] = {CARD_FLAG_EXTENDED, CARD_FLAG_BIAS},
    [CARD_OP_AWAIT] = {CARD_FLAG_PER_CHOICE, 0},
};

static void every_flag_is_known_or_refused(void **state)
{
    (void)state;
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        if (opcode == CARD_OP_EXTENSION) continue;
        for (unsigned bit = 0; bit < 16; bit++) {
            struct test_pair pair = good_pair(opcode);
            char says[64];
            pair.d.flags = (uint16_t)(pair.d.flags | 1u << bit);
            snprintf(says, sizeof says, "(%s): flags: 0x%x has", card_opcode_name(opcode), pair.d.flags);
            if (!(known[opcode].flags >> bit & 1u)) {
                assert_refused(&pair, says);
            } else if (1u << bit != CARD_FLAG_EXTENDED) {
                if (opcode == CARD_OP_EXPERT_MATMUL) pair.d.param[0] = pair.d.param[1]; /* EACH wants it so */
                assert_passes(&pair);
            }
            pair = good_pair(opcode);
            if (!pair.e.opcode) continue;
            pair.e.flags = (uint16_t)(pair.e.flags | 1u << bit);
            snprintf(says, sizeof says, "(%s): E.flags: 0x%x has", card_opcode_name(opcode), pair.e.flags);
            if (known[opcode].e_flags >> bit & 1u)
                assert_passes(&pair);
            else
                assert_refused(&pair, says);
        }
    }
}

/* Every opcode has tokens; none of what it has may be zero. */
static void shapes_of_zero_and_too_many_tokens_are_refused(void **state)
{
    (void)state;
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        if (opcode == CARD_OP_EXTENSION) continue;
        const bool many =
            opcode == CARD_OP_NORM || opcode == CARD_OP_QUANTIZE || opcode == CARD_OP_GLU || opcode == CARD_OP_SCALE;
        const uint32_t most = many ? 256 * CARD_MAX_TOKENS : CARD_MAX_TOKENS, tokens[] = {0, most + 1, UINT32_MAX};
        for (size_t i = 0; i < 3; i++) {
            struct test_pair pair = good_pair(opcode);
            char says[64];
            pair.d.tokens = tokens[i];
            snprintf(says, sizeof says, "(%s): tokens: %u is not in 1 to %u", card_opcode_name(opcode), tokens[i],
                     most);
            assert_refused(&pair, says);
        }
        struct test_pair pair = good_pair(opcode);
        if (pair.d.rows) {
            pair.d.rows = 0;
            assert_refused(&pair, "): rows: 0 is not in 1 to");
        }
        pair = good_pair(opcode);
        if (pair.d.cols) {
            pair.d.cols = 0;
            assert_refused(&pair, "): cols: 0 is not in 1 to");
        }
    }
}

static void extensions_come_in_pairs(void **state)
{
    (void)state;
    struct error err = {0};
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        struct test_pair pair = good_pair(opcode), plain = good_pair(CARD_OP_GLU);
        if (!good[opcode].e.opcode) continue;
        struct card_descriptor program[3] = {pair.d, plain.d, pair.e};
        /* Nothing after it, something else after it. */
        for (unsigned n = 1; n <= 3; n++) {
            assert_int_equal(card_check(program, n, &test_limits, &err), ERROR_BAD_ARGUMENT);
            assert_non_null(strstr(err.text, "flags: EXTENDED, but the next descriptor is no EXTENSION"));
            assert_non_null(strstr(err.text, "descriptor 0 ("));
        }
        /* Two extensions: the second belongs to nobody. */
        program[1] = program[2] = pair.e;
        assert_int_equal(card_check(program, 2, &test_limits, &err), 0);
        assert_int_equal(card_check(program, 3, &test_limits, &err), ERROR_BAD_ARGUMENT);
        assert_non_null(strstr(err.text, "descriptor 2 (EXTENSION): opcode: the descriptor before it is not EXTENDED"));
        /* Without the flag: the extension belongs to nobody, and some opcodes must have one. */
        program[0].flags = 0;
        const bool always = opcode == CARD_OP_INDEX || opcode == CARD_OP_SCAN || opcode == CARD_OP_CONV;
        assert_int_equal(card_check(program, 2, &test_limits, &err), ERROR_BAD_ARGUMENT);
        assert_non_null(strstr(err.text, always ? "flags: 0x0 lacks EXTENDED" : "descriptor 1 (EXTENSION): opcode:"));
        assert_int_equal(card_check(program, 1, &test_limits, &err), always ? ERROR_BAD_ARGUMENT : 0);
    }
    const struct card_descriptor alone = {.opcode = CARD_OP_EXTENSION};
    assert_int_equal(card_check(&alone, 1, &test_limits, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "descriptor 0 (EXTENSION): opcode: the descriptor before it"));
}

/* Limits that hold only with a flag or a format, and parameters that count only then. */
static void parameters_follow_flags_and_formats(void **state)
{
    (void)state;
    struct test_pair pair = good_pair(CARD_OP_ATTENTION);
    pair.e.cols = 9;
    assert_passes(&pair); /* values wider than keys */
    pair.d.flags |= CARD_FLAG_LATENT;
    assert_refused(&pair, "E.cols (value dimensions): 9 is not in 0 to 8");
    pair.e.cols = 0; /* as wide as the keys, latent or not */
    assert_passes(&pair);
    pair = good_pair(CARD_OP_ATTENTION);
    pair.e.flags = 0;
    pair.e.param[2] = pair.e.param[3] = UINT32_MAX;
    pair.e.src = pair.e.weight = pair.e.aux = UINT64_MAX;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_GLU);
    pair.d.format = CARD_ACTIVATION_SILU;
    pair.d.param[1] = NAN_BITS;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_ROUTER);
    pair.d.param[1] = 1;
    pair.d.param[2] = 77;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_ROUTER);
    pair.d.flags = 0;
    pair.d.param[1] = 8;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_COPY);
    pair.d.tokens = pair.d.rows = 1;
    pair.d.param[2] = pair.d.param[3] = 0;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_MATMUL);
    pair.d.format = CARD_FORMAT_F32;
    pair.d.param[0] = 4;
    assert_passes(&pair);
    pair.d.param[0] = 5;
    assert_refused(&pair, "P0 (banks): 5 is not in 0 to 4");
    pair = good_pair(CARD_OP_EXPERT_MATMUL);
    pair.d.format = CARD_FORMAT_F32;
    pair.d.param[2] = 4;
    assert_passes(&pair);
}

/* Two fields at once, as no single one can reach these. */
static void a_result_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    struct test_pair pair = good_pair(CARD_OP_NORM);
    pair.d.tokens = 1u << 20;
    pair.d.rows = 1u << 12;
    pair.d.cols = 1u << 24;
    assert_refused(&pair, "dst: 288230376151711744 bytes are more than one operation may write");
    pair = good_pair(CARD_OP_MATMUL);
    pair.d.rows = pair.d.cols = 1u << 24;
    pair.d.tokens = 4096;
    assert_refused(&pair, "dst: 274877906944 bytes are more than");
}

static uint64_t endless(const void *context, card_addr address)
{
    (void)context;
    (void)address;
    return UINT64_C(1) << 52;
}

/* The largest operands of all do not overflow: on a card of endless banks they are refused with their true size. */
static void the_largest_sizes_do_not_overflow(void **state)
{
    (void)state;
    const struct card_check_limits limits = {
        .abi_version = CARD_ABI_VERSION, .kv_formats = UINT32_MAX, .extent = endless};
    struct error err = {0};
    struct test_pair pair = good_pair(CARD_OP_SCAN);
    pair.d.tokens = 1;
    pair.d.rows = 1u << 12;
    pair.d.cols = pair.d.param[1] = 1u << 10;
    pair.d.param[0] = 1u << 20;
    struct card_descriptor d[2] = {pair.d, pair.e};
    assert_int_equal(card_check(d, 2, &limits, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "E.dst (state pool): 18014398509481984 bytes at"));
    pair = good_pair(CARD_OP_KV_WRITE);
    pair.d.rows = 1u << 12;
    pair.d.cols = pair.d.param[1] = 1u << 10;
    pair.d.param[0] = 1u << 28;
    pair.d.format = CARD_FORMAT_F32;
    assert_int_equal(card_check(&pair.d, 1, &limits, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "dst: 288230376151711744 bytes at"));
}

/* What came with a later ABI than the card's is refused by name; all else is as ever. */
static void an_older_card_is_given_nothing_newer(void **state)
{
    (void)state;
    struct card_check_limits limits = test_limits;
    limits.abi_version = CARD_ABI_PER_CHOICE - 1;
    struct error err = {0};
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        if (opcode == CARD_OP_EXTENSION) continue;
        const struct test_pair pair = good_pair(opcode);
        struct card_descriptor program[2];
        const unsigned n = put_pair(program, &pair);
        if (card_check(program, n, &limits, &err)) fail_msg("%s", err.text);
    }
    struct card_descriptor program[2] = {good_pair(CARD_OP_AWAIT).d, good_pair(CARD_OP_AWAIT).d};
    program[0].param[3] = 1;
    assert_int_equal(card_check(program, 2, &test_limits, &err), 0);
    assert_int_equal(card_check(program, 2, &limits, &err), ERROR_BAD_ARGUMENT);
    assert_string_equal(err.text, "descriptor 0 (AWAIT): P3 (descriptors): of card ABI 3, this card speaks 2");
    program[0].param[3] = 0;
    program[0].flags = CARD_FLAG_PER_CHOICE;
    assert_int_equal(card_check(program, 2, &test_limits, &err), 0);
    assert_int_equal(card_check(program, 2, &limits, &err), ERROR_BAD_ARGUMENT);
    assert_string_equal(err.text, "descriptor 0 (AWAIT): flags: PER_CHOICE: of card ABI 3, this card speaks 2");
}

/* Any bytes are either refused or lie inside their allocations: nothing overflows, nothing crashes. */
static void random_descriptors_are_refused_or_sane(void **state)
{
    (void)state;
    struct test_random random = {.state = 17};
    unsigned passed = 0;
    print_message("seed 17\n");
    for (int i = 0; i < 300000; i++) {
        unsigned opcode = 1 + random_below(&random, CARD_OPCODE_END - 1);
        if (opcode == CARD_OP_EXTENSION) opcode = CARD_OP_ATTENTION;
        const struct test_pair pair = good_pair(opcode);
        struct card_descriptor d[2];
        const unsigned n = put_pair(d, &pair);
        for (uint32_t k = random_below(&random, 4); k > 0; k--) {
            uint8_t *bytes = (uint8_t *)d;
            bytes[random_below(&random, n * (uint32_t)sizeof *d)] = (uint8_t)random_u32(&random);
        }
        struct error err = {0};
        int rc = card_check(d, n, &test_limits, &err);
        passed += rc == 0;
        assert_true(rc == 0 || (rc == ERROR_BAD_ARGUMENT && strncmp(err.text, "descriptor ", 11) == 0));
        if (rc) continue;
        assert_true(d->opcode > 0 && d->opcode < CARD_OPCODE_END && d->opcode != CARD_OP_EXTENSION && d->tokens > 0);
        assert_true(d->opcode == CARD_OP_AWAIT || test_extent(NULL, d->dst) > 0);
    }
    assert_true(passed > 1000 && passed < 299000);
}

/* Through the card: a refused program has run nothing, not even what came before the wrong descriptor. */
static void a_refused_program_runs_nothing(void **state)
{
    (void)state;
    const char *const specs[] = {"sim", "ref"};
    for (size_t s = 0; s < 2; s++) {
        struct card *card = open_card(specs[s], 1);
        const float in[4] = {1, 2, 3, 4};
        float out[4] = {0};
        struct error err = {0};
        struct card_counters counters;
        struct card_descriptor p[2] = {{.opcode = CARD_OP_GLU, .tokens = 1, .cols = 4}, {.opcode = 99}};
        p[0].src = put_floats(card, in, 4);
        p[0].weight = p[0].src;
        p[0].dst = put_floats(card, out, 4);
        card_event done = 77;
        assert_int_equal(card_submit(card, p, 2, NULL, 0, &done, &err), ERROR_BAD_ARGUMENT);
        assert_non_null(strstr(err.text, "descriptor 1 (unknown opcode)"));
        get(card, out, p[0].dst, sizeof out);
        for (int i = 0; i < 4; i++) assert_true(out[i] == 0);
        card_count(card, &counters);
        assert_int_equal(counters.programs, 0);
        assert_int_equal(counters.descriptors, 0);
        card_close(card);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_programs_pass),
        cmocka_unit_test(every_wrong_field_is_refused_by_name),
        cmocka_unit_test(every_flag_is_known_or_refused),
        cmocka_unit_test(shapes_of_zero_and_too_many_tokens_are_refused),
        cmocka_unit_test(extensions_come_in_pairs),
        cmocka_unit_test(parameters_follow_flags_and_formats),
        cmocka_unit_test(a_result_beyond_the_limit_is_refused),
        cmocka_unit_test(the_largest_sizes_do_not_overflow),
        cmocka_unit_test(an_older_card_is_given_nothing_newer),
        cmocka_unit_test(random_descriptors_are_refused_or_sane),
        cmocka_unit_test(a_refused_program_runs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
