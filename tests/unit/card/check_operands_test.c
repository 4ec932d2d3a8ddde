/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validator and the operands of every opcode: each must be aligned and inside one allocation to its last byte, what
 * is written may overlap nothing else, and fields that the opcode does not name are ignored. The table below is the
 * contract's, computed by hand for the good descriptors, and shares nothing with card_operands.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/card/check_for_test.h"

#include <stdbool.h>
#include <stdio.h>

enum place { DST, SRC, WEIGHT, AUX, E_DST, E_SRC, E_WEIGHT, E_AUX, PLACES };

static const struct operand {
    unsigned opcode;
    enum place place;
    const char *field;
    uint64_t bytes;
    uint32_t align;
    bool may_be_dst;
} operands[] = {
    {CARD_OP_NORM, DST, "dst", 192, 4, false},
    {CARD_OP_NORM, SRC, "src", 192, 4, true},
    {CARD_OP_NORM, WEIGHT, "weight", 32, 4, false},
    {CARD_OP_NORM, AUX, "aux (bias)", 32, 4, false},
    {CARD_OP_QUANTIZE, DST, "dst", 160, 4, false},
    {CARD_OP_QUANTIZE, SRC, "src", 512, 4, false},
    {CARD_OP_MATMUL, DST, "dst", 128, 4, false},
    {CARD_OP_MATMUL, SRC, "src", 160, 4, false},
    {CARD_OP_MATMUL, WEIGHT, "weight", 576, 64, false},
    {CARD_OP_MATMUL, AUX, "aux (bias)", 64, 4, false},
    {CARD_OP_ROPE, DST, "dst", 192, 4, false},
    {CARD_OP_ROPE, WEIGHT, "weight", 8, 4, false},
    {CARD_OP_ROPE, AUX, "aux (batch table)", 32, 4, false},
    {CARD_OP_KV_WRITE, DST, "dst", 7168, 4, false},
    {CARD_OP_KV_WRITE, SRC, "src", 128, 4, false},
    {CARD_OP_KV_WRITE, WEIGHT, "weight", 96, 4, false},
    {CARD_OP_KV_WRITE, AUX, "aux (batch table)", 36, 4, false},
    {CARD_OP_ATTENTION, DST, "dst", 192, 4, false},
    {CARD_OP_ATTENTION, SRC, "src", 256, 4, false},
    {CARD_OP_ATTENTION, WEIGHT, "weight", 7168, 4, false},
    {CARD_OP_ATTENTION, AUX, "aux (batch table)", 36, 4, false},
    {CARD_OP_ATTENTION, E_SRC, "E.src (sinks)", 16, 4, false},
    {CARD_OP_ATTENTION, E_WEIGHT, "E.weight (bias)", 176, 4, false},
    {CARD_OP_ATTENTION, E_AUX, "E.aux (positions)", 24, 4, false},
    {CARD_OP_ROUTER, DST, "dst", 32, 4, false},
    {CARD_OP_ROUTER, SRC, "src", 64, 4, false},
    {CARD_OP_ROUTER, AUX, "aux (bias)", 32, 4, false},
    {CARD_OP_EXPERT_MATMUL, DST, "dst", 256, 4, false},
    {CARD_OP_EXPERT_MATMUL, SRC, "src", 160, 4, false},
    {CARD_OP_EXPERT_MATMUL, WEIGHT, "weight (slot table)", 64, 8, false},
    {CARD_OP_EXPERT_MATMUL, AUX, "aux (choices)", 32, 4, false},
    {CARD_OP_EXPERT_MATMUL, E_SRC, "E.src (bias)", 512, 4, false},
    {CARD_OP_GLU, DST, "dst", 64, 4, false},
    {CARD_OP_GLU, SRC, "src", 64, 4, true},
    {CARD_OP_GLU, WEIGHT, "weight", 64, 4, true},
    {CARD_OP_EXPERT_SUM, DST, "dst", 64, 4, false},
    {CARD_OP_EXPERT_SUM, SRC, "src", 128, 4, false},
    {CARD_OP_EXPERT_SUM, AUX, "aux (choices)", 32, 4, false},
    {CARD_OP_GATHER, DST, "dst", 64, 4, false},
    {CARD_OP_GATHER, SRC, "src", 128, 4, false},
    {CARD_OP_GATHER, AUX, "aux (indexes)", 8, 4, false},
    {CARD_OP_COPY, DST, "dst", 120, 4, false},
    {CARD_OP_COPY, SRC, "src", 144, 4, false},
    {CARD_OP_ADD, DST, "dst", 64, 4, false},
    {CARD_OP_ADD, SRC, "src", 64, 4, true},
    {CARD_OP_ADD, WEIGHT, "weight", 64, 4, false},
    {CARD_OP_SCALE, DST, "dst", 64, 4, false},
    {CARD_OP_SCALE, SRC, "src", 64, 4, true},
    {CARD_OP_SCALE, WEIGHT, "weight", 8, 4, false},
    {CARD_OP_SOFT_CAP, DST, "dst", 64, 4, false},
    {CARD_OP_SOFT_CAP, SRC, "src", 64, 4, true},
    {CARD_OP_TOP_K, DST, "dst", 32, 4, false},
    {CARD_OP_TOP_K, SRC, "src", 64, 4, false},
    {CARD_OP_INDEX, DST, "dst", 24, 4, false},
    {CARD_OP_INDEX, SRC, "src", 256, 4, false},
    {CARD_OP_INDEX, WEIGHT, "weight", 2048, 4, false},
    {CARD_OP_INDEX, AUX, "aux (batch table)", 36, 4, false},
    {CARD_OP_INDEX, E_SRC, "E.src", 32, 4, false},
    {CARD_OP_SCAN, DST, "dst", 192, 4, false},
    {CARD_OP_SCAN, SRC, "src", 128, 4, false},
    {CARD_OP_SCAN, WEIGHT, "weight", 128, 4, false},
    {CARD_OP_SCAN, AUX, "aux (batch table)", 32, 4, false},
    {CARD_OP_SCAN, E_DST, "E.dst (state pool)", 2304, 4, false},
    {CARD_OP_SCAN, E_SRC, "E.src (values)", 192, 4, false},
    {CARD_OP_SCAN, E_WEIGHT, "E.weight (decay)", 32, 4, false},
    {CARD_OP_SCAN, E_AUX, "E.aux (beta)", 32, 4, false},
    {CARD_OP_CONV, DST, "dst", 64, 4, false},
    {CARD_OP_CONV, SRC, "src", 64, 4, false},
    {CARD_OP_CONV, WEIGHT, "weight", 128, 4, false},
    {CARD_OP_CONV, AUX, "aux (batch table)", 32, 4, false},
    {CARD_OP_CONV, E_DST, "E.dst (state pool)", 288, 4, false},
    {CARD_OP_CONV, E_SRC, "E.src (bias)", 32, 4, false},
    {CARD_OP_DECAY, DST, "dst", 64, 4, false},
    {CARD_OP_DECAY, SRC, "src", 64, 4, true},
    {CARD_OP_DECAY, WEIGHT, "weight", 32, 4, false},
    {CARD_OP_DECAY, AUX, "aux", 32, 4, false},
    {CARD_OP_EXPERT_SPREAD, DST, "dst", 128, 4, false},
    {CARD_OP_EXPERT_SPREAD, SRC, "src", 64, 4, false},
    {CARD_OP_EXPERT_SPREAD, AUX, "aux (choices)", 32, 4, false},
    {CARD_OP_PUBLISH, DST, "dst (mailbox)", 96, 64, false},
    {CARD_OP_PUBLISH, SRC, "src (choices)", 32, 4, false},
    {CARD_OP_AWAIT, WEIGHT, "weight (slot table)", 64, 8, false},
    {CARD_OP_AWAIT, AUX, "aux (choices)", 32, 4, false},
};
#define N_OPERANDS (sizeof operands / sizeof *operands)

static card_addr *address_of(struct test_pair *pair, enum place place)
{
    card_addr *const all[PLACES] = {&pair->d.dst, &pair->d.src, &pair->d.weight, &pair->d.aux,
                                    &pair->e.dst, &pair->e.src, &pair->e.weight, &pair->e.aux};
    return all[place];
}

static void refuse_at(const struct operand *o, card_addr address, const char *what)
{
    struct test_pair pair = good_pair(o->opcode);
    char says[160];
    *address_of(&pair, o->place) = address;
    snprintf(says, sizeof says, "(%s): %s: %s", card_opcode_name(o->opcode), o->field, what);
    assert_refused(&pair, says);
}

static void every_operand_lies_inside_one_allocation(void **state)
{
    (void)state;
    for (const struct operand *o = operands; o < operands + N_OPERANDS; o++) {
        struct test_pair pair = good_pair(o->opcode);
        char says[64];
        refuse_at(o, 0, "bank 0 offset 0x0 lies in no allocation");
        refuse_at(o, 10 * MIB, "bank 0 offset 0xa00000 lies in no allocation");
        refuse_at(o, CARD_ADDR(7, MIB), "bank 7 offset 0x100000 lies in no allocation");
        refuse_at(o, UINT64_MAX - 63, "bank 255 offset 0xffffffffffffc0 lies in no allocation");
        snprintf(says, sizeof says, "bank 0 offset 0x%llx is no multiple of %u", MIB + o->align / 2, o->align);
        refuse_at(o, MIB + o->align / 2, says);
        snprintf(says, sizeof says, "%llu bytes at", (unsigned long long)o->bytes);
        if (o->bytes > SMALL_BYTES) {
            refuse_at(o, SMALL, says);
            continue;
        }
        /* The last place where it fits, and the next. */
        const card_addr last = SMALL + (SMALL_BYTES - o->bytes) / o->align * o->align;
        *address_of(&pair, o->place) = last;
        assert_passes(&pair);
        refuse_at(o, last + o->align, says);
    }
}

/* What is written, one byte short of apart and just apart from every other operand. */
static void what_is_written_overlaps_nothing(void **state)
{
    (void)state;
    for (const struct operand *w = operands; w < operands + N_OPERANDS; w++) {
        if (w->place != DST && w->place != E_DST) continue;
        for (const struct operand *o = operands; o < operands + N_OPERANDS; o++) {
            if (o->opcode != w->opcode || o == w) continue;
            struct test_pair pair = good_pair(o->opcode);
            const card_addr at = *address_of(&pair, o->place);
            char says[64];
            /* E.dst over dst is told as dst over E.dst: dst is looked at first. */
            snprintf(says, sizeof says, "overlaps %s", o->place == DST ? w->field : o->field);
            *address_of(&pair, w->place) = (at + o->bytes - 4) / w->align * w->align;
            assert_refused(&pair, says);
            *address_of(&pair, w->place) = (at + o->bytes + w->align - 1) / w->align * w->align;
            assert_passes(&pair);
            *address_of(&pair, w->place) = at;
            if (o->may_be_dst)
                assert_passes(&pair);
            else
                assert_refused(&pair, says);
        }
    }
}

/* dst may be src only as a whole, and only the right one. */
static void in_place_is_exact(void **state)
{
    (void)state;
    struct test_pair pair = good_pair(CARD_OP_GLU);
    pair.d.weight = pair.d.src = pair.d.dst;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_GLU);
    pair.d.flags = CARD_FLAG_BROADCAST; /* src is shorter than dst */
    pair.d.src = pair.d.dst;
    assert_refused(&pair, "dst: overlaps src");
    pair = good_pair(CARD_OP_ADD);
    pair.d.flags = CARD_FLAG_BROADCAST;
    pair.d.weight = pair.d.dst;
    assert_refused(&pair, "dst: overlaps weight");
    pair = good_pair(CARD_OP_ADD);
    pair.d.src = pair.d.weight; /* what is only read may overlap */
    assert_passes(&pair);
}

static void fields_without_a_meaning_are_ignored(void **state)
{
    (void)state;
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        if (opcode == CARD_OP_EXTENSION) continue;
        struct test_pair pair = good_pair(opcode);
        for (enum place place = DST; place < PLACES; place++) {
            bool used = false;
            for (size_t i = 0; i < N_OPERANDS; i++) used |= operands[i].opcode == opcode && operands[i].place == place;
            if (!used) *address_of(&pair, place) = UINT64_MAX;
        }
        assert_passes(&pair);
    }
}

/* Operands that come, go and change their size with a flag: what stands at SMALL decides. */
static void flags_change_operands(void **state)
{
    (void)state;
    static const struct {
        unsigned opcode;
        uint16_t flags, e_flags; /* all of them */
        enum place place;
        const char *says; /* NULL: the operand is gone */
    } cases[] = {
        {CARD_OP_NORM, CARD_FLAG_UNWEIGHTED, 0, WEIGHT, NULL},
        {CARD_OP_NORM, 0, 0, AUX, NULL},
        {CARD_OP_NORM, CARD_FLAG_EACH | CARD_FLAG_BIAS, 0, WEIGHT, "weight: 96 bytes"},
        {CARD_OP_NORM, CARD_FLAG_EACH | CARD_FLAG_BIAS, 0, AUX, "aux (bias): 96 bytes"},
        {CARD_OP_MATMUL, 0, 0, AUX, NULL},
        {CARD_OP_ATTENTION, CARD_FLAG_EXTENDED | CARD_FLAG_LATENT, 0, WEIGHT, "weight: 4096 bytes"},
        {CARD_OP_ATTENTION, CARD_FLAG_EXTENDED, 0, E_SRC, NULL},
        {CARD_OP_ATTENTION, CARD_FLAG_EXTENDED, 0, E_WEIGHT, NULL},
        {CARD_OP_ATTENTION, CARD_FLAG_EXTENDED, 0, E_AUX, NULL},
        {CARD_OP_ROUTER, 0, 0, AUX, NULL},
        {CARD_OP_EXPERT_MATMUL, CARD_FLAG_EXTENDED | CARD_FLAG_PER_CHOICE, 0, SRC, "src: 320 bytes"},
        {CARD_OP_EXPERT_MATMUL, CARD_FLAG_EXTENDED, 0, E_SRC, NULL},
        {CARD_OP_GLU, CARD_FLAG_UNWEIGHTED, 0, WEIGHT, NULL},
        {CARD_OP_GLU, CARD_FLAG_BROADCAST, 0, SRC, "src: 8 bytes"},
        {CARD_OP_EXPERT_SUM, CARD_FLAG_UNWEIGHTED, 0, AUX, NULL},
        {CARD_OP_ADD, CARD_FLAG_BROADCAST, 0, WEIGHT, "weight: 32 bytes"},
        {CARD_OP_SCALE, 0, 0, WEIGHT, NULL},
        {CARD_OP_SCAN, CARD_FLAG_EXTENDED | CARD_FLAG_EACH, 0, E_WEIGHT, "E.weight (decay): 256 bytes"},
        {CARD_OP_CONV, CARD_FLAG_EXTENDED, 0, E_SRC, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_pair pair = good_pair(cases[i].opcode);
        pair.d.flags = cases[i].flags;
        pair.e.flags = cases[i].e_flags;
        *address_of(&pair, cases[i].place) = SMALL + SMALL_BYTES - 4;
        if (cases[i].says)
            assert_refused(&pair, cases[i].says);
        else
            assert_passes(&pair);
    }
    /* KV_WRITE of keys only has no values; ATTENTION without extension has values as long as keys. */
    struct test_pair pair = good_pair(CARD_OP_KV_WRITE);
    pair.d.param[1] = 0;
    pair.d.weight = UINT64_MAX;
    assert_passes(&pair);
    pair.d.dst = SMALL;
    assert_refused(&pair, "dst: 4096 bytes");
    pair = good_pair(CARD_OP_ATTENTION);
    pair.d.flags = 0;
    pair.e.opcode = 0;
    assert_passes(&pair);
    pair.d.dst = SMALL + SMALL_BYTES - 252;
    assert_refused(&pair, "dst: 256 bytes");
    pair = good_pair(CARD_OP_EXPERT_MATMUL);
    pair.d.flags |= CARD_FLAG_EACH;
    pair.d.param[0] = 8;
    pair.d.aux = UINT64_MAX;
    assert_passes(&pair);
    pair = good_pair(CARD_OP_MATMUL);
    pair.d.format = CARD_FORMAT_F32;
    pair.d.weight = C + 4;
    assert_passes(&pair);
    pair.d.src = SMALL + SMALL_BYTES - 508;
    assert_refused(&pair, "src: 512 bytes");
}

/* Over three banks from bank 1 on: tile 0 and 3 in bank 1, tile 1 in bank 2, tile 2 in bank 0 one tile further. */
static void every_part_of_a_dealt_matrix_is_checked(void **state)
{
    (void)state;
    struct test_pair pair = good_pair(CARD_OP_MATMUL);
    pair.d.param[0] = 3;
    pair.d.weight = SMALL | CARD_ADDR(1, 0);
    pair.d.rows = 32;
    assert_passes(&pair);
    pair.d.dst = SMALL | CARD_ADDR(2, 572); /* the end of tile 1 */
    assert_refused(&pair, "dst: overlaps weight");
    pair.d.dst = SMALL | CARD_ADDR(2, 576);
    assert_passes(&pair);
    pair.d.dst = SMALL; /* bank 0 has no tile yet */
    assert_passes(&pair);
    pair.d.rows = 33;
    assert_refused(&pair, "weight: 576 bytes at bank 0 offset 0x900240 end outside");
    pair.d.rows = 49;
    pair.d.weight = (SMALL - MIB) | CARD_ADDR(1, 0);
    pair.d.dst = A;
    assert_passes(&pair);
    pair.d.dst = CARD_ADDR(1, 8 * MIB + 576);
    assert_refused(&pair, "dst: overlaps weight");
    pair.d.dst = CARD_ADDR(1, 8 * MIB + 1152);
    assert_passes(&pair);
    pair.d.dst = CARD_ADDR(0, 8 * MIB + 1148);
    assert_refused(&pair, "dst: overlaps weight");
    pair.d.dst = CARD_ADDR(0, 8 * MIB + 184);
    assert_passes(&pair);
    pair.d.dst = A;
    pair.d.weight = SMALL | CARD_ADDR(1, 0);
    assert_refused(&pair, "weight: 576 bytes at bank 0 offset 0x900240 end outside");
    pair.d.weight = C | CARD_ADDR(3, 0);
    assert_refused(&pair, "weight: bank 3 is not among the 3 over which it is dealt");
    pair.d.weight = CARD_ADDR(2, CARD_ADDR_OFFSET(UINT64_MAX) - 63); /* tile 1 would start past what an address says */
    assert_refused(&pair, "lies in no allocation");
}

/* As above with floats: tiles of 512 bytes, of which the last is there whole, whatever rows it has. */
static void a_dealt_matrix_of_floats_takes_whole_tiles(void **state)
{
    (void)state;
    struct test_pair pair = good_pair(CARD_OP_MATMUL);
    pair.d.format = CARD_FORMAT_F32;
    pair.d.param[0] = 3;
    pair.d.cols = 8;
    pair.d.weight = SMALL | CARD_ADDR(1, 0);
    for (pair.d.rows = 1; pair.d.rows <= 80; pair.d.rows++) assert_passes(&pair);
    assert_refused(&pair, "weight: 1024 bytes at bank 0 offset 0x900200 end outside"); /* 81 rows: tiles 2 and 5 */
    pair.d.weight += 4;
    pair.d.rows = 32;
    assert_passes(&pair);
    pair.d.rows = 33;
    assert_refused(&pair, "weight: 512 bytes at bank 0 offset 0x900204 end outside");
    pair.d.weight -= 2;
    assert_refused(&pair, "weight: bank 1 offset 0x900002 is no multiple of 4");
    pair.d.weight = C | CARD_ADDR(1, 0);
    pair.d.rows = 17;
    pair.d.dst = CARD_ADDR(2, CARD_ADDR_OFFSET(C) + 508);
    assert_refused(&pair, "dst: overlaps weight");
    pair.d.dst += 4;
    assert_passes(&pair);
    pair.d.param[0] = 1; /* in one piece it is its rows and no more */
    pair.d.weight = SMALL + SMALL_BYTES - 17 * 32;
    assert_passes(&pair);
    pair.d.weight += 4;
    assert_refused(&pair, "weight: 544 bytes at");
}

/* A pool of four pages at `address`, dealt over banks. */
static struct test_pair dealt_pool(unsigned opcode, card_addr address, uint32_t banks)
{
    struct test_pair pair = good_pair(opcode);
    if (opcode == CARD_OP_INDEX) pair.d.cols = 32; /* pages of 2048 bytes; the others have 1792 */
    *address_of(&pair, opcode == CARD_OP_KV_WRITE ? DST : WEIGHT) = address;
    *(opcode == CARD_OP_KV_WRITE ? &pair.d.param[2] : &pair.e.rows) = banks;
    return pair;
}

static void pass_pool(unsigned opcode, card_addr address, uint32_t banks)
{
    const struct test_pair pair = dealt_pool(opcode, address, banks);
    assert_passes(&pair);
}

static void refuse_pool(unsigned opcode, card_addr address, uint32_t banks, const char *what)
{
    const struct test_pair pair = dealt_pool(opcode, address, banks);
    char says[160];
    snprintf(says, sizeof says, "(%s): %s: %s", card_opcode_name(opcode), opcode == CARD_OP_KV_WRITE ? "dst" : "weight",
             what);
    assert_refused(&pair, says);
}

/* As test_extent, but bank 3, the last, lacks the last 4 bytes before SMALL. */
static uint64_t short_last_bank(const void *context, card_addr address)
{
    const uint64_t left = test_extent(context, address);
    if (CARD_ADDR_BANK(address) != 3 || CARD_ADDR_OFFSET(address) / MIB != 8) return left;
    return left > 4 ? left - 4 : 0;
}

static void every_part_of_a_dealt_pool_is_checked(void **state)
{
    (void)state;
    static const unsigned opcodes[] = {CARD_OP_KV_WRITE, CARD_OP_ATTENTION, CARD_OP_INDEX};
    const uint64_t end = 9 * MIB; /* what follows, SMALL, holds no page */
    for (size_t i = 0; i < 3; i++) {
        const unsigned opcode = opcodes[i], page = opcode == CARD_OP_INDEX ? 2048 : 1792;
        char says[120];
        /* From bank 1 of three: pages 0 and 3 in bank 1, page 1 in bank 2, page 2 in bank 0, one page further. */
        pass_pool(opcode, CARD_ADDR(1, end - 2 * page), 3);
        snprintf(says, sizeof says, "%u bytes at bank 0 offset 0x%llx end outside their allocation", page,
                 (unsigned long long)(end - page + 4));
        refuse_pool(opcode, CARD_ADDR(1, end - 2 * page + 4), 3, says); /* bank 0 is looked at first */
        refuse_pool(opcode, CARD_ADDR(3, 3 * MIB), 3, "bank 3 is not among the 3 over which it is dealt");
        refuse_pool(opcode, CARD_ADDR(4, 3 * MIB), 4, "bank 4 is not among the 4 over which it is dealt");
        refuse_pool(opcode, CARD_ADDR(2, 3 * MIB + 2), 3, "bank 2 offset 0x300002 is no multiple of 4");
        refuse_pool(opcode, CARD_ADDR(2, CARD_ADDR_OFFSET(UINT64_MAX) - 3), 3, ""); /* page 1: past all offsets */
        refuse_pool(opcode, CARD_ADDR(0, end - page), 1, "");                       /* in one piece it is longer */
        /* A page in each of four banks, of which the last has 4 bytes less. */
        struct card_check_limits limits = test_limits;
        const struct test_pair pair = dealt_pool(opcode, CARD_ADDR(0, end - page), 4);
        struct card_descriptor program[2];
        struct error err = {0};
        const unsigned n = put_pair(program, &pair);
        assert_passes(&pair);
        limits.extent = short_last_bank;
        assert_int_equal(card_check(program, n, &limits, &err), ERROR_BAD_ARGUMENT);
        snprintf(says, sizeof says, "%u bytes at bank 3 offset 0x%llx end outside their allocation", page,
                 (unsigned long long)(end - page));
        assert_non_null(strstr(err.text, says));
        program[0].param[0] = 3; /* which then has no page */
        assert_int_equal(card_check(program, n, &limits, &err), 0);
    }
}

/* What KV_WRITE writes overlaps nothing in any bank. */
static void what_is_dealt_and_written_overlaps_nothing(void **state)
{
    (void)state;
    const uint64_t at = 3 * MIB + 8192;
    struct test_pair pair = dealt_pool(CARD_OP_KV_WRITE, CARD_ADDR(1, at), 3);
    static const struct {
        unsigned bank, begin, end;
    } parts[] = {{1, 0, 3584}, {2, 0, 1792}, {0, 1792, 3584}};
    for (size_t i = 0; i < 3; i++) {
        pair.d.weight = G;
        pair.d.src = CARD_ADDR(parts[i].bank, at + parts[i].end);
        assert_passes(&pair);
        pair.d.src -= 4;
        assert_refused(&pair, "dst: overlaps src");
        pair.d.src = CARD_ADDR(parts[i].bank, at + parts[i].begin - 124); /* 128 bytes */
        assert_refused(&pair, "dst: overlaps src");
        pair.d.src -= 4;
        assert_passes(&pair);
        pair.d.src = B;
        pair.d.weight = CARD_ADDR(parts[i].bank, at + parts[i].begin);
        assert_refused(&pair, "dst: overlaps weight");
    }
    pair.d.weight = CARD_ADDR(3, at); /* a bank over which it is not dealt */
    assert_passes(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operand_lies_inside_one_allocation),
        cmocka_unit_test(what_is_written_overlaps_nothing),
        cmocka_unit_test(in_place_is_exact),
        cmocka_unit_test(fields_without_a_meaning_are_ignored),
        cmocka_unit_test(flags_change_operands),
        cmocka_unit_test(every_part_of_a_dealt_matrix_is_checked),
        cmocka_unit_test(a_dealt_matrix_of_floats_takes_whole_tiles),
        cmocka_unit_test(every_part_of_a_dealt_pool_is_checked),
        cmocka_unit_test(what_is_dealt_and_written_overlaps_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
