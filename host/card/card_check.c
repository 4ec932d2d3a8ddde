/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_check.h"

#include "host/card/card.h"
#include "host/card/card_check_params.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_operands.h"

#include <inttypes.h>

#define MAX_RESULT_BYTES (UINT64_C(1) << 33) /* of operations that work on float vectors */

/* What the opcode's format field may name. Opcodes that have no format ignore the field. */
enum format_kind { FORMAT_NONE, FORMAT_WEIGHT, FORMAT_KV, FORMAT_ACTIVATION, FORMAT_SCORING };

static const struct {
    enum format_kind format;
    uint16_t flags;     /* that it knows; EXTENDED if it can have an extension */
    uint16_t e_flags;   /* that its extension knows */
    bool extended;      /* always */
    bool takes_choices; /* a token may have a row for each choice: tokens counts up to MAX_CHOICES times as far */
    uint32_t max_rows;  /* 0: the opcode has no rows */
    uint32_t max_cols;  /* 0: the opcode has no cols */
    check_params *params;
} rules[CARD_OPCODE_END] = {
    [CARD_OP_NORM] = {.flags = CARD_FLAG_LAYER | CARD_FLAG_SUM | CARD_FLAG_BIAS | CARD_FLAG_EACH | CARD_FLAG_UNWEIGHTED,
                      .takes_choices = true,
                      .max_rows = MAX_VECTORS,
                      .max_cols = MAX_FEATURES,
                      .params = check_norm_params},
    [CARD_OP_QUANTIZE] = {.takes_choices = true, .max_cols = MAX_FEATURES},
    [CARD_OP_MATMUL] = {.format = FORMAT_WEIGHT,
                        .flags = CARD_FLAG_ADD | CARD_FLAG_BIAS,
                        .max_rows = MAX_FEATURES,
                        .max_cols = MAX_FEATURES,
                        .params = check_matmul_params},
    [CARD_OP_ROPE] = {.flags = CARD_FLAG_INTERLEAVED,
                      .max_rows = MAX_VECTORS,
                      .max_cols = CARD_MAX_HEAD_DIM,
                      .params = check_rope_params},
    [CARD_OP_KV_WRITE] = {.format = FORMAT_KV,
                          .max_rows = MAX_VECTORS,
                          .max_cols = CARD_MAX_HEAD_DIM,
                          .params = check_kv_write_params},
    [CARD_OP_ATTENTION] = {.format = FORMAT_KV,
                           .flags = CARD_FLAG_EXTENDED | CARD_FLAG_LATENT,
                           .e_flags = CARD_FLAG_SINKS | CARD_FLAG_BIAS | CARD_FLAG_SPARSE,
                           .max_rows = MAX_VECTORS,
                           .max_cols = CARD_MAX_HEAD_DIM,
                           .params = check_attention_params},
    [CARD_OP_ROUTER] = {.format = FORMAT_SCORING,
                        .flags = CARD_FLAG_RENORMALIZE | CARD_FLAG_BIAS | CARD_FLAG_GROUP_PAIRS,
                        .max_rows = MAX_CHOICES,
                        .max_cols = MAX_EXPERTS,
                        .params = check_router_params},
    [CARD_OP_EXPERT_MATMUL] = {.format = FORMAT_WEIGHT,
                               .flags = CARD_FLAG_EXTENDED | CARD_FLAG_PER_CHOICE | CARD_FLAG_EACH,
                               .e_flags = CARD_FLAG_BIAS,
                               .max_rows = MAX_FEATURES,
                               .max_cols = MAX_FEATURES,
                               .params = check_expert_matmul_params},
    [CARD_OP_GLU] = {.format = FORMAT_ACTIVATION,
                     .flags = CARD_FLAG_UNWEIGHTED | CARD_FLAG_BROADCAST,
                     .takes_choices = true,
                     .max_cols = MAX_FEATURES,
                     .params = check_glu_params},
    [CARD_OP_EXPERT_SUM] = {.flags = CARD_FLAG_UNWEIGHTED, .max_cols = MAX_FEATURES, .params = check_choices_params},
    [CARD_OP_GATHER] = {.max_rows = MAX_FEATURES, .max_cols = MAX_FEATURES},
    [CARD_OP_COPY] = {.max_rows = MAX_VECTORS, .max_cols = MAX_FEATURES, .params = check_copy_params},
    [CARD_OP_ADD] = {.flags = CARD_FLAG_BROADCAST, .max_cols = MAX_FEATURES, .params = check_factor_params},
    [CARD_OP_SCALE] = {.flags = CARD_FLAG_PER_TOKEN,
                       .takes_choices = true,
                       .max_cols = MAX_FEATURES,
                       .params = check_factor_params},
    [CARD_OP_SOFT_CAP] = {.max_cols = MAX_FEATURES, .params = check_soft_cap_params},
    [CARD_OP_TOP_K] = {.max_rows = MAX_CHOICES, .max_cols = MAX_FEATURES, .params = check_top_k_params},
    [CARD_OP_INDEX] = {.format = FORMAT_KV,
                       .flags = CARD_FLAG_EXTENDED,
                       .extended = true,
                       .max_rows = MAX_VECTORS,
                       .max_cols = CARD_MAX_HEAD_DIM,
                       .params = check_index_params},
    [CARD_OP_SCAN] = {.flags = CARD_FLAG_EXTENDED | CARD_FLAG_INTERLEAVED | CARD_FLAG_EACH,
                      .extended = true,
                      .max_rows = MAX_VECTORS,
                      .max_cols = CARD_MAX_HEAD_DIM,
                      .params = check_scan_params},
    [CARD_OP_CONV] = {.flags = CARD_FLAG_EXTENDED,
                      .e_flags = CARD_FLAG_BIAS,
                      .extended = true,
                      .max_cols = MAX_FEATURES,
                      .params = check_conv_params},
    [CARD_OP_DECAY] = {.max_cols = MAX_FEATURES},
    [CARD_OP_EXPERT_SPREAD] = {.max_cols = MAX_FEATURES, .params = check_choices_params},
    [CARD_OP_PUBLISH] = {.max_rows = MAX_CHOICES},
    [CARD_OP_AWAIT] = {.flags = CARD_FLAG_PER_CHOICE, .params = check_await_params},
};

/* ---- opcode, flags, extension, format, shape ---- */

static int check_flags(const char *field, unsigned flags, unsigned known, struct error *err)
{
    if (!(flags & ~known)) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: 0x%x has bits that this opcode does not know", field, flags);
}

/* d is followed by n_after descriptors; *e becomes its extension, NULL if it has none. */
static int check_extension(const struct card_descriptor *d, unsigned n_after, const struct card_descriptor **e,
                           struct error *err)
{
    *e = NULL;
    if (!(d->flags & CARD_FLAG_EXTENDED)) {
        if (!rules[d->opcode].extended) return 0;
        return error_set(err, ERROR_BAD_ARGUMENT, "flags: 0x%x lacks EXTENDED, which this opcode always has", d->flags);
    }
    if (n_after == 0 || d[1].opcode != CARD_OP_EXTENSION) {
        return error_set(err, ERROR_BAD_ARGUMENT, "flags: EXTENDED, but the next descriptor is no EXTENSION");
    }
    *e = d + 1;
    return check_flags("E.flags", d[1].flags, rules[d->opcode].e_flags, err);
}

static int check_format(const struct card_descriptor *d, const struct card_check_limits *limits, struct error *err)
{
    static const char *const names[] = {"", "weight", "page", "activation", "scoring"};
    const enum format_kind kind = rules[d->opcode].format;
    uint32_t formats = 0;
    switch (kind) {
    case FORMAT_NONE: return 0;
    case FORMAT_WEIGHT: formats = limits->weight_formats; break;
    case FORMAT_KV: formats = limits->kv_formats; break;
    case FORMAT_ACTIVATION: formats = (1u << CARD_ACTIVATION_END) - 1; break;
    case FORMAT_SCORING: formats = (1u << CARD_SCORING_END) - 1; break;
    }
    if (d->format < 32 && (formats >> d->format & 1u)) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "format: this card has no %s format %u", names[kind], d->format);
}

static int check_shape(const struct card_descriptor *d, const struct card_check_limits *limits, struct error *err)
{
    const uint32_t most_tokens = CARD_MAX_TOKENS * (rules[d->opcode].takes_choices ? MAX_CHOICES : 1);
    int rc = check_format(d, limits, err);
    if (!rc) rc = check_between("tokens", d->tokens, 1, most_tokens, err);
    if (!rc && rules[d->opcode].max_rows) rc = check_between("rows", d->rows, 1, rules[d->opcode].max_rows, err);
    if (!rc && rules[d->opcode].max_cols) rc = check_between("cols", d->cols, 1, rules[d->opcode].max_cols, err);
    return rc;
}

/* ---- operands ---- */

static int check_place(const struct card_operand *operand, const struct card_check_limits *limits, struct error *err)
{
    if (!operand->field) return 0;
    if (CARD_ADDR_OFFSET(operand->address) % operand->align) {
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: bank %u offset 0x%" PRIx64 " is no multiple of %u",
                         operand->field, CARD_ADDR_BANK(operand->address), (uint64_t)CARD_ADDR_OFFSET(operand->address),
                         operand->align);
    }
    if (operand->banks > 1 && CARD_ADDR_BANK(operand->address) >= operand->banks) {
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: bank %u is not among the %u over which it is dealt",
                         operand->field, CARD_ADDR_BANK(operand->address), operand->banks);
    }
    for (uint32_t k = 0; k < operand->banks; k++) {
        const struct card_range range = card_operand_range(operand, k);
        if (range.bytes == 0) continue;
        const unsigned bank = CARD_ADDR_BANK(range.address);
        const uint64_t offset = CARD_ADDR_OFFSET(range.address),
                       extent = limits->extent(limits->context, range.address);
        if (extent == 0) {
            return error_set(err, ERROR_BAD_ARGUMENT, "%s: bank %u offset 0x%" PRIx64 " lies in no allocation",
                             operand->field, bank, offset);
        }
        if (range.bytes > extent) {
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "%s: %" PRIu64 " bytes at bank %u offset 0x%" PRIx64 " end outside their allocation",
                             operand->field, range.bytes, bank, offset);
        }
    }
    return 0;
}

/* Both lie inside allocations: addresses of one bank compare as offsets, and no sum overflows. */
static bool ranges_meet(struct card_range a, struct card_range b)
{
    return a.bytes && b.bytes && a.address < b.address + b.bytes && b.address < a.address + a.bytes;
}

static int check_apart(const struct card_operand *written, const struct card_operand *other, struct error *err)
{
    for (uint32_t w = 0; w < written->banks; w++) {
        const struct card_range range = card_operand_range(written, w);
        for (uint32_t k = 0; k < other->banks; k++) {
            if (!ranges_meet(range, card_operand_range(other, k))) continue;
            return error_set(err, ERROR_BAD_ARGUMENT, "%s: overlaps %s", written->field, other->field);
        }
    }
    return 0;
}

/* What one operand is written over: nothing, but for those that may be dst and are it exactly. */
static int check_overlaps(const struct card_operand *operands, unsigned place, struct error *err)
{
    const struct card_operand *written = &operands[place];
    for (unsigned i = 0; i < CARD_PLACES; i++) {
        const struct card_operand *other = &operands[i];
        if (i == place || !other->field) continue;
        if (place == CARD_DST && other->may_be_dst && other->address == written->address &&
            other->bytes == written->bytes) {
            continue;
        }
        int rc = check_apart(written, other, err);
        if (rc) return rc;
    }
    return 0;
}

static int check_operands(const struct card_descriptor *d, const struct card_descriptor *e,
                          const struct card_check_limits *limits, struct error *err)
{
    struct card_operand operands[CARD_PLACES];
    card_find_operands(d, e, operands);
    if (d->opcode != CARD_OP_KV_WRITE && operands[CARD_DST].bytes > MAX_RESULT_BYTES) {
        return error_set(err, ERROR_BAD_ARGUMENT, "dst: %" PRIu64 " bytes are more than one operation may write",
                         operands[CARD_DST].bytes);
    }
    for (unsigned i = 0; i < CARD_PLACES; i++) {
        int rc = check_place(&operands[i], limits, err);
        if (rc) return rc;
    }
    for (unsigned i = 0; i < CARD_PLACES; i++) {
        int rc = operands[i].written ? check_overlaps(operands, i, err) : 0;
        if (rc) return rc;
    }
    return 0;
}

/* What AWAIT may pass over lies in the program, and ends before a descriptor and not before an extension. */
static int check_passed_over(const struct card_descriptor *d, unsigned n_after, struct error *err)
{
    if (d->opcode != CARD_OP_AWAIT) return 0;
    if (d->param[3] > n_after)
        return error_set(err, ERROR_BAD_ARGUMENT, "P3 (descriptors): %u, %u are after it", d->param[3], n_after);
    if (d->param[3] < n_after && d[1 + d->param[3]].opcode == CARD_OP_EXTENSION)
        return error_set(err, ERROR_BAD_ARGUMENT, "P3 (descriptors): %u end before an EXTENSION", d->param[3]);
    return 0;
}

/* One descriptor with its extension, *e, which may be NULL. */
static int check_descriptor(const struct card_descriptor *d, unsigned n_after, const struct card_check_limits *limits,
                            const struct card_descriptor **e, struct error *err)
{
    if (d->opcode == 0 || d->opcode >= CARD_OPCODE_END) {
        return error_set(err, ERROR_BAD_ARGUMENT, "opcode: %u is none", d->opcode);
    }
    if (d->opcode == CARD_OP_EXTENSION) {
        return error_set(err, ERROR_BAD_ARGUMENT, "opcode: the descriptor before it is not EXTENDED");
    }
    int rc = check_flags("flags", d->flags, rules[d->opcode].flags, err);
    if (!rc) rc = check_extension(d, n_after, e, err);
    if (!rc) rc = check_shape(d, limits, err);
    if (!rc && rules[d->opcode].params) rc = rules[d->opcode].params(d, *e, limits, err);
    if (!rc) rc = check_passed_over(d, n_after, err);
    return rc ? rc : check_operands(d, *e, limits, err);
}

int card_check(const struct card_descriptor *program, unsigned n_descriptors, const struct card_check_limits *limits,
               struct error *err)
{
    for (unsigned i = 0; i < n_descriptors; i++) {
        const unsigned index = i;
        const struct card_descriptor *extension = NULL;
        int rc = check_descriptor(&program[i], n_descriptors - i - 1, limits, &extension, err);
        if (rc) {
            error_prefix(err, "descriptor %u (%s)", index, card_opcode_name(program[index].opcode));
            return rc;
        }
        if (extension) i++;
    }
    return 0;
}
