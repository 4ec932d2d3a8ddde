/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validator: a good descriptor of every opcode passes; each way to be wrong is refused with the descriptor's index,
 * opcode and field, and nothing has run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card_check.h"
#include "tests/unit/card/card_fixture.h"

/*
 * A card without memory: allocation k of bank 0 is [k MiB, k MiB + size[k]). The good descriptors use A..E; allocations
 * are larger than needed but for E.
 */
#define MIB (1ull << 20)
#define A CARD_ADDR(0, 1 * MIB)
#define B CARD_ADDR(0, 2 * MIB)
#define C CARD_ADDR(0, 3 * MIB)
#define D CARD_ADDR(0, 4 * MIB)
#define SMALL CARD_ADDR(0, 5 * MIB)
static const uint64_t sizes[] = {0, MIB, MIB, MIB, MIB, 1024};

static uint64_t extent(const void *context, card_addr address)
{
    (void)context;
    const uint64_t k = CARD_ADDR_OFFSET(address) / MIB, into = CARD_ADDR_OFFSET(address) % MIB;
    if (CARD_ADDR_BANK(address) != 0 || k >= sizeof sizes / sizeof *sizes || into >= sizes[k]) return 0;
    return sizes[k] - into;
}

static const struct card_check_limits limits = {
    .weight_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_INT4 | 1u << CARD_FORMAT_Q4_K,
    .kv_formats = 1u << CARD_FORMAT_F16,
    .extent = extent,
};

#define ONE 0x3f800000u /* 1.0f */

static const struct card_descriptor good[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {.opcode = CARD_OP_NORM, .tokens = 2, .rows = 3, .cols = 8, .dst = A, .src = B, .weight = C},
    [CARD_OP_QUANTIZE] = {.opcode = CARD_OP_QUANTIZE, .tokens = 2, .cols = 64, .dst = A, .src = B},
    [CARD_OP_MATMUL] = {.opcode = CARD_OP_MATMUL,
                        .format = CARD_FORMAT_INT4,
                        .flags = CARD_FLAG_BIAS,
                        .tokens = 2,
                        .rows = 16,
                        .cols = 64,
                        .dst = A,
                        .src = B,
                        .weight = C,
                        .aux = D},
    [CARD_OP_ROPE] =
        {.opcode = CARD_OP_ROPE, .tokens = 2, .rows = 3, .cols = 8, .dst = A, .weight = C, .aux = D, .param = {6, ONE}},
    [CARD_OP_KV_WRITE] = {.opcode = CARD_OP_KV_WRITE,
                          .format = CARD_FORMAT_F16,
                          .tokens = 2,
                          .rows = 2,
                          .cols = 8,
                          .dst = A,
                          .src = B,
                          .weight = C,
                          .aux = D,
                          .param = {4}},
    [CARD_OP_ATTENTION] = {.opcode = CARD_OP_ATTENTION,
                           .format = CARD_FORMAT_F16,
                           .tokens = 2,
                           .rows = 4,
                           .cols = 8,
                           .dst = A,
                           .src = B,
                           .weight = C,
                           .aux = D,
                           .param = {4, ONE, 2, 0}},
    [CARD_OP_ROUTER] =
        {.opcode = CARD_OP_ROUTER, .tokens = 2, .rows = 2, .cols = 8, .dst = A, .src = B, .param = {ONE}},
    [CARD_OP_EXPERT_MATMUL] = {.opcode = CARD_OP_EXPERT_MATMUL,
                               .format = CARD_FORMAT_INT4,
                               .tokens = 2,
                               .rows = 16,
                               .cols = 64,
                               .dst = A,
                               .src = B,
                               .weight = C,
                               .aux = D,
                               .param = {2, 8}},
    [CARD_OP_GLU] = {.opcode = CARD_OP_GLU, .tokens = 2, .cols = 8, .dst = A, .src = B, .weight = C},
    [CARD_OP_EXPERT_SUM] =
        {.opcode = CARD_OP_EXPERT_SUM, .tokens = 2, .cols = 8, .dst = A, .src = B, .aux = D, .param = {2}},
    [CARD_OP_GATHER] = {.opcode = CARD_OP_GATHER, .tokens = 2, .rows = 4, .cols = 8, .dst = A, .src = B, .aux = D},
};

static void good_programs_pass(void **state)
{
    (void)state;
    struct error err = {0};
    if (card_check(&good[1], CARD_OPCODE_END - 1, &limits, &err)) fail_msg("%s", err.text);
    assert_int_equal(card_check(NULL, 0, &limits, &err), 0);
}

enum field { OPCODE, FORMAT, FLAGS, TOKENS, ROWS, COLS, DST, SRC, WEIGHT, AUX, P0, P1, P2, P3 };

static void set(struct card_descriptor *d, enum field field, uint64_t value)
{
    switch (field) {
    case OPCODE: d->opcode = (uint8_t)value; break;
    case FORMAT: d->format = (uint8_t)value; break;
    case FLAGS: d->flags = (uint16_t)value; break;
    case TOKENS: d->tokens = (uint32_t)value; break;
    case ROWS: d->rows = (uint32_t)value; break;
    case COLS: d->cols = (uint32_t)value; break;
    case DST: d->dst = value; break;
    case SRC: d->src = value; break;
    case WEIGHT: d->weight = value; break;
    case AUX: d->aux = value; break;
    default: d->param[field - P0] = (uint32_t)value; break;
    }
}

static const struct {
    unsigned opcode;
    enum field field;
    uint64_t value;
    const char *says;
} wrong[] = {
    {CARD_OP_NORM, OPCODE, 0, "(unknown opcode): opcode: 0 is none"},
    {CARD_OP_NORM, OPCODE, CARD_OPCODE_END, "(unknown opcode): opcode: 12 is none"},
    {CARD_OP_NORM, OPCODE, 255, "(unknown opcode): opcode: 255 is none"},
    /* flags: every opcode knows its own only */
    {CARD_OP_NORM, FLAGS, CARD_FLAG_ADD, "(NORM): flags: 0x1"},
    {CARD_OP_QUANTIZE, FLAGS, CARD_FLAG_BIAS, "(QUANTIZE): flags: 0x2"},
    {CARD_OP_MATMUL, FLAGS, CARD_FLAG_PER_CHOICE, "(MATMUL): flags: 0x10"},
    {CARD_OP_ROPE, FLAGS, CARD_FLAG_ADD, "(ROPE): flags: 0x1"},
    {CARD_OP_KV_WRITE, FLAGS, CARD_FLAG_ADD, "(KV_WRITE): flags: 0x1"},
    {CARD_OP_ATTENTION, FLAGS, CARD_FLAG_INTERLEAVED, "(ATTENTION): flags: 0x4"},
    {CARD_OP_ROUTER, FLAGS, 0x8000, "(ROUTER): flags: 0x8000"},
    {CARD_OP_EXPERT_MATMUL, FLAGS, CARD_FLAG_BIAS, "(EXPERT_MATMUL): flags: 0x2"},
    {CARD_OP_GLU, FLAGS, 1, "(GLU): flags: 0x1"},
    {CARD_OP_EXPERT_SUM, FLAGS, 1, "(EXPERT_SUM): flags: 0x1"},
    {CARD_OP_GATHER, FLAGS, 1, "(GATHER): flags: 0x1"},
    /* formats */
    {CARD_OP_MATMUL, FORMAT, CARD_FORMAT_F16, "(MATMUL): format: this card has no weight format 2"},
    {CARD_OP_MATMUL, FORMAT, CARD_FORMAT_Q6_K, "format: this card has no weight format 9"},
    {CARD_OP_MATMUL, FORMAT, 0, "format: this card has no weight format 0"},
    {CARD_OP_MATMUL, FORMAT, 33, "format: this card has no weight format 33"},
    {CARD_OP_EXPERT_MATMUL, FORMAT, 255, "format: this card has no weight format 255"},
    {CARD_OP_KV_WRITE, FORMAT, CARD_FORMAT_F32, "format: this card has no page format 1"},
    {CARD_OP_ATTENTION, FORMAT, CARD_FORMAT_INT4, "format: this card has no page format 3"},
    /* shapes */
    {CARD_OP_MATMUL, TOKENS, 0, "tokens: 0 is not in 1 to 4096"},
    {CARD_OP_MATMUL, TOKENS, CARD_MAX_TOKENS + 1, "tokens: 4097 is not in 1 to 4096"},
    {CARD_OP_GLU, TOKENS, UINT32_MAX, "tokens: 4294967295"},
    {CARD_OP_MATMUL, ROWS, 0, "rows: 0 is not"},
    {CARD_OP_MATMUL, ROWS, UINT32_MAX, "rows: 4294967295 is not"},
    {CARD_OP_MATMUL, COLS, 0, "cols: 0 is not"},
    {CARD_OP_MATMUL, COLS, UINT32_MAX, "cols: 4294967295 is not"},
    {CARD_OP_ATTENTION, COLS, CARD_MAX_HEAD_DIM + 1, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_KV_WRITE, COLS, CARD_MAX_HEAD_DIM + 1, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_ROPE, COLS, CARD_MAX_HEAD_DIM + 1, "cols: 1025 is not in 1 to 1024"},
    {CARD_OP_NORM, ROWS, 5000, "rows: 5000 is not"},
    {CARD_OP_ROUTER, ROWS, 9, "rows (choices): 9 is not in 1 to 8"},
    {CARD_OP_ROUTER, COLS, 1u << 17, "cols: 131072 is not"},
    {CARD_OP_GATHER, ROWS, 0, "rows: 0 is not"},
    /* parameters */
    {CARD_OP_NORM, P0, 0x7fc00000, "P0 (epsilon): no finite number"},
    {CARD_OP_NORM, P0, 0xbf800000, "P0 (epsilon): negative"},
    {CARD_OP_ROPE, P0, 7, "P0 (dimensions that turn): 7 is odd"},
    {CARD_OP_ROPE, P0, 0, "P0 (dimensions that turn): 0 is not in 2 to 8"},
    {CARD_OP_ROPE, P0, 10, "P0 (dimensions that turn): 10 is not in 2 to 8"},
    {CARD_OP_ROPE, P1, 0x7f800000, "P1 (factor): no finite number"},
    {CARD_OP_KV_WRITE, P0, 0, "P0 (pages): 0 is not"},
    {CARD_OP_KV_WRITE, P0, UINT32_MAX, "P0 (pages): 4294967295 is not"},
    {CARD_OP_ATTENTION, P0, 0, "P0 (pages): 0 is not"},
    {CARD_OP_ATTENTION, P1, 0xff800000, "P1 (scale): no finite number"},
    {CARD_OP_ATTENTION, P2, 0, "P2 (KV heads): 0 is not in 1 to 4"},
    {CARD_OP_ATTENTION, P2, 3, "P2 (KV heads): 3 does not divide 4 heads"},
    {CARD_OP_ROUTER, P0, 0x7fc00000, "P0 (factor): no finite number"},
    {CARD_OP_EXPERT_MATMUL, P0, 0, "P0 (choices): 0 is not"},
    {CARD_OP_EXPERT_MATMUL, P0, 257, "P0 (choices): 257 is not in 1 to 256"},
    {CARD_OP_EXPERT_MATMUL, P1, 0, "P1 (experts): 0 is not"},
    {CARD_OP_EXPERT_MATMUL, P1, 65537, "P1 (experts): 65537 is not in 1 to 65536"},
    {CARD_OP_EXPERT_SUM, P0, 0, "P0 (choices): 0 is not"},
    /* operands: no allocation, wrong bank, past the end, not aligned */
    {CARD_OP_NORM, DST, 0, "(NORM): dst: bank 0 offset 0x0 lies in no allocation"},
    {CARD_OP_NORM, SRC, 6 * MIB, "src: bank 0 offset 0x600000 lies in no allocation"},
    {CARD_OP_NORM, WEIGHT, CARD_ADDR(3, MIB), "weight: bank 3 offset 0x100000 lies in no allocation"},
    {CARD_OP_NORM, WEIGHT, SMALL + 1000, "weight: 32 bytes at bank 0 offset 0x5003e8 end outside"},
    {CARD_OP_NORM, SRC, B + 2, "src: bank 0 offset 0x200002 is no multiple of 4"},
    {CARD_OP_QUANTIZE, DST, SMALL + 880, "dst: 160 bytes at bank 0 offset 0x500370 end outside"},
    {CARD_OP_QUANTIZE, SRC, SMALL + 516, "src: 512 bytes"},
    {CARD_OP_MATMUL, WEIGHT, C + 32, "weight: bank 0 offset 0x300020 is no multiple of 64"},
    {CARD_OP_MATMUL, WEIGHT, SMALL + 512, "(MATMUL): weight: 576 bytes at bank 0 offset 0x500200 end outside"},
    {CARD_OP_MATMUL, SRC, SMALL + 880, "src: 160 bytes"},
    {CARD_OP_MATMUL, DST, SMALL + 900, "dst: 128 bytes"},
    {CARD_OP_MATMUL, AUX, SMALL + 964, "aux (bias): 64 bytes"},
    {CARD_OP_ROPE, DST, SMALL + 836, "dst: 192 bytes"},
    {CARD_OP_ROPE, WEIGHT, SMALL + 1016, "weight: 12 bytes"},
    {CARD_OP_ROPE, AUX, SMALL + 1012, "aux (batch table): 16 bytes"},
    {CARD_OP_KV_WRITE, DST, SMALL, "dst: 8192 bytes"},
    {CARD_OP_KV_WRITE, SRC, SMALL + 900, "src: 128 bytes"},
    {CARD_OP_KV_WRITE, WEIGHT, SMALL + 900, "weight: 128 bytes"},
    {CARD_OP_KV_WRITE, AUX, SMALL + 1008, "aux (batch table): 20 bytes"},
    {CARD_OP_ATTENTION, WEIGHT, SMALL, "weight: 8192 bytes"},
    {CARD_OP_ATTENTION, P0, 1u << 28, "weight: 549755813888 bytes"},
    {CARD_OP_ATTENTION, AUX, SMALL + 1008, "aux (batch table): 20 bytes"},
    {CARD_OP_ROUTER, DST, SMALL + 1000, "dst: 32 bytes"},
    {CARD_OP_ROUTER, SRC, SMALL + 964, "src: 64 bytes"},
    {CARD_OP_EXPERT_MATMUL, WEIGHT, SMALL + 964, "weight (slot table): bank 0 offset 0x5003c4 is no multiple of 8"},
    {CARD_OP_EXPERT_MATMUL, WEIGHT, SMALL + 968, "weight (slot table): 64 bytes"},
    {CARD_OP_EXPERT_MATMUL, AUX, SMALL + 1000, "aux (choices): 32 bytes"},
    {CARD_OP_EXPERT_MATMUL, DST, SMALL + 772, "dst: 256 bytes"},
    {CARD_OP_EXPERT_MATMUL, FLAGS, 0x20, "flags: 0x20"},
    {CARD_OP_GLU, WEIGHT, SMALL + 964, "weight: 64 bytes"},
    {CARD_OP_EXPERT_SUM, SRC, SMALL + 900, "src: 128 bytes"},
    {CARD_OP_EXPERT_SUM, AUX, SMALL + 1000, "aux (choices): 32 bytes"},
    {CARD_OP_GATHER, SRC, SMALL + 900, "src: 128 bytes"},
    {CARD_OP_GATHER, AUX, SMALL + 1020, "aux (indexes): 8 bytes"},
    {CARD_OP_GATHER, COLS, 1u << 24, "dst: 134217728 bytes"},
    {CARD_OP_GLU, COLS, 1u << 24, "dst: 134217728 bytes"},
    /* dst over what the operation reads */
    {CARD_OP_NORM, DST, B + 4, "dst: overlaps src"},
    {CARD_OP_NORM, DST, C, "dst: overlaps weight"},
    {CARD_OP_QUANTIZE, DST, B, "dst: overlaps src"},
    {CARD_OP_MATMUL, DST, B + 96, "dst: overlaps src"},
    {CARD_OP_MATMUL, DST, C + 572, "dst: overlaps weight"},
    {CARD_OP_MATMUL, DST, D, "dst: overlaps aux (bias)"},
    {CARD_OP_ROPE, DST, C, "dst: overlaps weight"},
    {CARD_OP_ROPE, DST, D + 8, "dst: overlaps aux (batch table)"},
    {CARD_OP_KV_WRITE, DST, B, "dst: overlaps src"},
    {CARD_OP_KV_WRITE, DST, C, "dst: overlaps weight"},
    {CARD_OP_KV_WRITE, DST, D, "dst: overlaps aux (batch table)"},
    {CARD_OP_ATTENTION, DST, B, "dst: overlaps src"},
    {CARD_OP_ATTENTION, DST, C + 8000, "dst: overlaps weight"},
    {CARD_OP_ATTENTION, DST, D, "dst: overlaps aux (batch table)"},
    {CARD_OP_ROUTER, DST, B, "dst: overlaps src"},
    {CARD_OP_EXPERT_MATMUL, DST, B, "dst: overlaps src"},
    {CARD_OP_EXPERT_MATMUL, DST, C, "dst: overlaps weight (slot table)"},
    {CARD_OP_EXPERT_MATMUL, DST, D, "dst: overlaps aux (choices)"},
    {CARD_OP_GLU, DST, B + 4, "dst: overlaps src"},
    {CARD_OP_GLU, DST, C, "dst: overlaps weight"},
    {CARD_OP_EXPERT_SUM, DST, B, "dst: overlaps src"},
    {CARD_OP_EXPERT_SUM, DST, D, "dst: overlaps aux (choices)"},
    {CARD_OP_GATHER, DST, B, "dst: overlaps src"},
    {CARD_OP_GATHER, DST, D, "dst: overlaps aux (indexes)"},
};

static void every_wrong_field_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct card_descriptor program[3] = {good[CARD_OP_GLU], good[CARD_OP_NORM], good[wrong[i].opcode]};
        struct error err = {0};
        set(&program[2], wrong[i].field, wrong[i].value);
        if (card_check(program, 3, &limits, &err) != ERROR_BAD_ARGUMENT) {
            fail_msg("accepted, but should say \"%s\"", wrong[i].says);
        }
        if (!strstr(err.text, "descriptor 2 (") || !strstr(err.text, wrong[i].says)) {
            fail_msg("says \"%s\", should say \"%s\"", err.text, wrong[i].says);
        }
    }
}

/* Two fields at once, as no single one can reach these. */
static void a_result_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    struct error err = {0};
    struct card_descriptor d = good[CARD_OP_NORM];
    d.tokens = 1u << 20;
    d.rows = 1u << 12;
    d.cols = 1u << 24;
    assert_int_equal(card_check(&d, 1, &limits, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "dst: 288230376151711744 bytes are more than one operation may write"));
    d = good[CARD_OP_MATMUL];
    d.rows = d.cols = 1u << 24;
    d.tokens = 1;
    assert_int_equal(card_check(&d, 1, &limits, &err), ERROR_BAD_ARGUMENT);
}

static void norm_and_glu_may_work_in_place(void **state)
{
    (void)state;
    struct error err = {0};
    struct card_descriptor d[2] = {good[CARD_OP_NORM], good[CARD_OP_GLU]};
    d[0].dst = d[0].src;
    d[1].dst = d[1].src;
    assert_int_equal(card_check(d, 2, &limits, &err), 0);
}

/* Any bytes are either refused or lie inside their allocations: nothing overflows, nothing crashes. */
static void random_descriptors_are_refused_or_sane(void **state)
{
    (void)state;
    struct test_random random = {.state = 17};
    unsigned passed = 0;
    for (int i = 0; i < 300000; i++) {
        struct card_descriptor d = good[1 + random_below(&random, CARD_OPCODE_END - 1)];
        for (uint32_t k = random_below(&random, 4); k > 0; k--) {
            uint8_t *bytes = (uint8_t *)&d;
            bytes[random_below(&random, sizeof d)] = (uint8_t)random_u32(&random);
        }
        struct error err = {0};
        int rc = card_check(&d, 1, &limits, &err);
        passed += rc == 0;
        assert_true(rc == 0 || (rc == ERROR_BAD_ARGUMENT && strncmp(err.text, "descriptor 0 (", 14) == 0));
        if (rc == 0) assert_true(d.opcode > 0 && d.opcode < CARD_OPCODE_END && d.tokens > 0 && extent(NULL, d.dst) > 0);
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
        cmocka_unit_test(a_result_beyond_the_limit_is_refused),
        cmocka_unit_test(norm_and_glu_may_work_in_place),
        cmocka_unit_test(random_descriptors_are_refused_or_sane),
        cmocka_unit_test(a_refused_program_runs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
