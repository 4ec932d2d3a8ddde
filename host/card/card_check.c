/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_check.h"

#include "host/base/bytes.h"
#include "host/card/card.h"
#include "kernels/abi/card_layout.h"

#include <inttypes.h>
#include <math.h>

/*
 * Limits of one descriptor. They keep every product below 64 bits and every count of items below 32; with them no
 * operand that lies inside an allocation can make a backend overflow.
 */
#define MAX_FEATURES (1u << 24) /* rows of a matrix, length of a vector */
#define MAX_VECTORS (1u << 12)  /* heads or vectors per token */
#define MAX_EXPERTS (1u << 16)
#define MAX_CHOICES 256u
#define MAX_PAGES (1u << 28)
#define MAX_RESULT_BYTES (UINT64_C(1) << 33) /* of operations that work on float vectors */

/* Which formats the opcode's format field may name. Opcodes that have no format ignore the field. */
enum format_kind { FORMAT_NONE, FORMAT_WEIGHT, FORMAT_KV };

static const struct {
    enum format_kind format;
    uint16_t flags;
    bool takes_choices; /* a token may have a row for each choice: tokens counts up to MAX_CHOICES times as far */
    uint32_t max_rows;  /* 0: the opcode has no rows */
    uint32_t max_cols;
} rules[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {.takes_choices = true, .max_rows = MAX_VECTORS, .max_cols = MAX_FEATURES},
    [CARD_OP_QUANTIZE] = {.takes_choices = true, .max_cols = MAX_FEATURES},
    [CARD_OP_MATMUL] = {.format = FORMAT_WEIGHT,
                        .flags = CARD_FLAG_ADD | CARD_FLAG_BIAS,
                        .max_rows = MAX_FEATURES,
                        .max_cols = MAX_FEATURES},
    [CARD_OP_ROPE] = {.flags = CARD_FLAG_INTERLEAVED, .max_rows = MAX_VECTORS, .max_cols = CARD_MAX_HEAD_DIM},
    [CARD_OP_KV_WRITE] = {.format = FORMAT_KV, .max_rows = MAX_VECTORS, .max_cols = CARD_MAX_HEAD_DIM},
    [CARD_OP_ATTENTION] = {.format = FORMAT_KV, .max_rows = MAX_VECTORS, .max_cols = CARD_MAX_HEAD_DIM},
    [CARD_OP_ROUTER] = {.flags = CARD_FLAG_RENORMALIZE, .max_rows = MAX_CHOICES, .max_cols = MAX_EXPERTS},
    [CARD_OP_EXPERT_MATMUL] = {.format = FORMAT_WEIGHT,
                               .flags = CARD_FLAG_PER_CHOICE,
                               .max_rows = MAX_FEATURES,
                               .max_cols = MAX_FEATURES},
    [CARD_OP_GLU] = {.takes_choices = true, .max_cols = MAX_FEATURES},
    [CARD_OP_EXPERT_SUM] = {.max_cols = MAX_FEATURES},
    [CARD_OP_GATHER] = {.max_rows = MAX_FEATURES, .max_cols = MAX_FEATURES},
};

/* ---- shapes and parameters ---- */

static int check_between(const char *field, uint32_t value, uint32_t low, uint32_t high, struct error *err)
{
    if (value >= low && value <= high) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: %u is not in %u to %u", field, value, low, high);
}

static int check_finite(const char *field, uint32_t bits, struct error *err)
{
    if (isfinite(float_of_bits(bits))) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: no finite number", field);
}

static int check_format(const struct card_descriptor *d, const struct card_check_limits *limits, struct error *err)
{
    if (rules[d->opcode].format == FORMAT_NONE) return 0;
    const uint32_t formats = rules[d->opcode].format == FORMAT_KV ? limits->kv_formats : limits->weight_formats;
    if (d->format < CARD_FORMAT_END && (formats >> d->format & 1u)) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "format: this card has no %s format %u",
                     rules[d->opcode].format == FORMAT_KV ? "page" : "weight", d->format);
}

static int check_params(const struct card_descriptor *d, struct error *err)
{
    const uint32_t *p = d->param;
    int rc = 0;
    switch (d->opcode) {
    case CARD_OP_NORM:
        rc = check_finite("P0 (epsilon)", p[0], err);
        if (!rc && float_of_bits(p[0]) < 0) rc = error_set(err, ERROR_BAD_ARGUMENT, "P0 (epsilon): negative");
        break;
    case CARD_OP_ROPE:
        rc = check_between("P0 (dimensions that turn)", p[0], 2, d->cols, err);
        if (!rc && p[0] % 2) rc = error_set(err, ERROR_BAD_ARGUMENT, "P0 (dimensions that turn): %u is odd", p[0]);
        if (!rc) rc = check_finite("P1 (factor)", p[1], err);
        break;
    case CARD_OP_KV_WRITE: rc = check_between("P0 (pages)", p[0], 1, MAX_PAGES, err); break;
    case CARD_OP_ATTENTION:
        rc = check_between("P0 (pages)", p[0], 1, MAX_PAGES, err);
        if (!rc) rc = check_finite("P1 (scale)", p[1], err);
        if (!rc) rc = check_between("P2 (KV heads)", p[2], 1, d->rows, err);
        if (!rc && d->rows % p[2]) {
            rc = error_set(err, ERROR_BAD_ARGUMENT, "P2 (KV heads): %u does not divide %u heads", p[2], d->rows);
        }
        break;
    case CARD_OP_ROUTER:
        rc = check_between("rows (choices)", d->rows, 1, d->cols, err);
        if (!rc) rc = check_finite("P0 (factor)", p[0], err);
        break;
    case CARD_OP_EXPERT_MATMUL:
        rc = check_between("P0 (choices)", p[0], 1, MAX_CHOICES, err);
        if (!rc) rc = check_between("P1 (experts)", p[1], 1, MAX_EXPERTS, err);
        break;
    case CARD_OP_EXPERT_SUM: rc = check_between("P0 (choices)", p[0], 1, MAX_CHOICES, err); break;
    default: break;
    }
    return rc;
}

static int check_shape(const struct card_descriptor *d, const struct card_check_limits *limits, struct error *err)
{
    if (d->opcode == 0 || d->opcode >= CARD_OPCODE_END) {
        return error_set(err, ERROR_BAD_ARGUMENT, "opcode: %u is none", d->opcode);
    }
    if (d->flags & ~(unsigned)rules[d->opcode].flags) {
        return error_set(err, ERROR_BAD_ARGUMENT, "flags: 0x%x has bits that this opcode does not know", d->flags);
    }
    const uint32_t most_tokens = CARD_MAX_TOKENS * (rules[d->opcode].takes_choices ? MAX_CHOICES : 1);
    int rc = check_format(d, limits, err);
    if (!rc) rc = check_between("tokens", d->tokens, 1, most_tokens, err);
    if (!rc && rules[d->opcode].max_rows) rc = check_between("rows", d->rows, 1, rules[d->opcode].max_rows, err);
    if (!rc) rc = check_between("cols", d->cols, 1, rules[d->opcode].max_cols, err);
    return rc ? rc : check_params(d, err);
}

/* ---- operands ---- */

struct operand {
    const char *field; /* NULL: the opcode does not have it */
    card_addr address;
    uint64_t bytes;
    unsigned align;
};

struct operands {
    struct operand dst, src, weight, aux;
    int in_place; /* dst may be src */
};

/* 4 bytes for each element of f32[a][b][c]; the rules above keep it below 2^62. */
static uint64_t floats(uint64_t a, uint64_t b, uint64_t c) { return a * b * c * 4; }

/* The source of a matmul: quantized activations, or floats for a matrix of floats. */
static struct operand activations(const struct card_descriptor *d, uint32_t rows)
{
    const int plain = d->format == CARD_FORMAT_F32;
    return (struct operand){"src", d->src, plain ? floats(rows, d->cols, 1) : card_act_bytes(rows, d->cols), 4};
}

/* Batch entries, with at least one page number if the opcode reads pages; the rest is checked when it is read. */
static struct operand batch(const struct card_descriptor *d, int with_pages)
{
    return (struct operand){"aux (batch table)", d->aux, (uint64_t)d->tokens * 8 + (with_pages ? 4 : 0), 4};
}

static struct operand pool(const char *field, const struct card_descriptor *d, card_addr address, uint32_t kv_heads)
{
    return (struct operand){field, address, d->param[0] * card_page_bytes(d->format, kv_heads, d->cols), 4};
}

static void find_moe_operands(const struct card_descriptor *d, struct operands *o)
{
    const uint64_t choices = (uint64_t)d->tokens * d->param[0];
    if (d->opcode == CARD_OP_EXPERT_SUM) {
        o->dst = (struct operand){"dst", d->dst, floats(d->tokens, d->cols, 1), 4};
        o->src = (struct operand){"src", d->src, floats(choices, d->cols, 1), 4};
    } else {
        o->dst = (struct operand){"dst", d->dst, floats(choices, d->rows, 1), 4};
        o->src = activations(d, d->flags & CARD_FLAG_PER_CHOICE ? (uint32_t)choices : d->tokens);
        o->weight = (struct operand){"weight (slot table)", d->weight, (uint64_t)d->param[1] * 8, 8};
    }
    o->aux = (struct operand){"aux (choices)", d->aux, choices * 8, 4};
}

static void find_operands(const struct card_descriptor *d, struct operands *o)
{
    const uint64_t vectors = floats(d->tokens, d->rows, d->cols); /* f32[T][R][C] */
    const uint64_t rows = floats(d->tokens, d->cols, 1);          /* f32[T][C] */
    *o = (struct operands){.dst = {"dst", d->dst, rows, 4}, .src = {"src", d->src, rows, 4}};
    switch (d->opcode) {
    case CARD_OP_NORM:
        o->in_place = 1;
        o->dst.bytes = o->src.bytes = vectors;
        o->weight = (struct operand){"weight", d->weight, floats(d->cols, 1, 1), 4};
        break;
    case CARD_OP_QUANTIZE: o->dst.bytes = card_act_bytes(d->tokens, d->cols); break;
    case CARD_OP_MATMUL:
        o->dst.bytes = floats(d->tokens, d->rows, 1);
        o->src = activations(d, d->tokens);
        o->weight = (struct operand){"weight", d->weight, card_matrix_bytes(d->format, d->rows, d->cols),
                                     d->format == CARD_FORMAT_F32 ? 4 : CARD_WORD_BYTES};
        if (d->flags & CARD_FLAG_BIAS) o->aux = (struct operand){"aux (bias)", d->aux, floats(d->rows, 1, 1), 4};
        break;
    case CARD_OP_ROPE:
        o->dst.bytes = vectors;
        o->src.field = NULL;
        o->weight = (struct operand){"weight", d->weight, floats(d->param[0] / 2, 1, 1), 4};
        o->aux = batch(d, 0);
        break;
    case CARD_OP_KV_WRITE:
        o->src.bytes = vectors;
        o->weight = (struct operand){"weight", d->weight, vectors, 4};
        o->dst = pool("dst", d, d->dst, d->rows);
        o->aux = batch(d, 1);
        break;
    case CARD_OP_ATTENTION:
        o->dst.bytes = o->src.bytes = vectors;
        o->weight = pool("weight", d, d->weight, d->param[2]);
        o->aux = batch(d, 1);
        break;
    case CARD_OP_ROUTER: o->dst.bytes = (uint64_t)d->tokens * d->rows * 8; break;
    case CARD_OP_EXPERT_MATMUL:
    case CARD_OP_EXPERT_SUM: find_moe_operands(d, o); break;
    case CARD_OP_GLU:
        o->in_place = 1;
        o->weight = (struct operand){"weight", d->weight, rows, 4};
        break;
    case CARD_OP_GATHER:
        o->src.bytes = floats(d->rows, d->cols, 1);
        o->aux = (struct operand){"aux (indexes)", d->aux, (uint64_t)d->tokens * 4, 4};
        break;
    default: break;
    }
}

static int check_place(const struct operand *operand, const struct card_check_limits *limits, struct error *err)
{
    if (!operand->field) return 0;
    const unsigned bank = CARD_ADDR_BANK(operand->address);
    const uint64_t offset = CARD_ADDR_OFFSET(operand->address);
    if (offset % operand->align) {
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: bank %u offset 0x%" PRIx64 " is no multiple of %u",
                         operand->field, bank, offset, operand->align);
    }
    const uint64_t extent = limits->extent(limits->context, operand->address);
    if (extent == 0) {
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: bank %u offset 0x%" PRIx64 " lies in no allocation",
                         operand->field, bank, offset);
    }
    if (operand->bytes > extent) {
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "%s: %" PRIu64 " bytes at bank %u offset 0x%" PRIx64 " end outside their allocation",
                         operand->field, operand->bytes, bank, offset);
    }
    return 0;
}

/* Both lie inside allocations: addresses of one bank compare as offsets, and no sum overflows. */
static int check_apart(const struct operand *dst, const struct operand *other, struct error *err)
{
    if (!other->field) return 0;
    if (dst->address >= other->address + other->bytes || other->address >= dst->address + dst->bytes) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "dst: overlaps %s", other->field);
}

static int check_operands(const struct card_descriptor *d, const struct card_check_limits *limits, struct error *err)
{
    struct operands o;
    find_operands(d, &o);
    if (d->opcode != CARD_OP_KV_WRITE && o.dst.bytes > MAX_RESULT_BYTES) {
        return error_set(err, ERROR_BAD_ARGUMENT, "dst: %" PRIu64 " bytes are more than one operation may write",
                         o.dst.bytes);
    }
    int rc = check_place(&o.dst, limits, err);
    if (!rc) rc = check_place(&o.src, limits, err);
    if (!rc) rc = check_place(&o.weight, limits, err);
    if (!rc) rc = check_place(&o.aux, limits, err);
    if (!rc && !(o.in_place && d->dst == d->src)) rc = check_apart(&o.dst, &o.src, err);
    if (!rc) rc = check_apart(&o.dst, &o.weight, err);
    if (!rc) rc = check_apart(&o.dst, &o.aux, err);
    return rc;
}

int card_check(const struct card_descriptor *program, unsigned n_descriptors, const struct card_check_limits *limits,
               struct error *err)
{
    for (unsigned i = 0; i < n_descriptors; i++) {
        int rc = check_shape(&program[i], limits, err);
        if (!rc) rc = check_operands(&program[i], limits, err);
        if (rc) {
            error_prefix(err, "descriptor %u (%s)", i, card_opcode_name(program[i].opcode));
            return rc;
        }
    }
    return 0;
}
