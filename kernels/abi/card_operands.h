/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operands of a descriptor and its extension: which it has, where they lie and how long they are. The table of
 * card_program.h as a function, for those that check, resolve or list operands; no arithmetic, no checks.
 */
#ifndef SLUICE_CARD_OPERANDS_H
#define SLUICE_CARD_OPERANDS_H

#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_program.h"

/* Places of operands in the array that card_find_operands fills. */
enum card_place {
    CARD_DST,
    CARD_SRC,
    CARD_WEIGHT,
    CARD_AUX,
    CARD_E_DST,
    CARD_E_SRC,
    CARD_E_WEIGHT,
    CARD_E_AUX,
};
#define CARD_PLACES 8

struct card_operand {
    const char *field; /* for messages: "src", "aux (batch table)", "E.dst (state pool)"; NULL: there is none */
    card_addr address;
    uint64_t bytes;      /* of a batch table: of what is known without reading it; of what is dealt: of all banks */
    uint32_t align;      /* of the address, in bytes */
    uint32_t banks;      /* 1, or those over which it is dealt; then card_operand_range says where its parts lie */
    uint64_t tile_bytes; /* of a dealt matrix; of a pool: of a page */
    uint32_t written;    /* 1: the operation writes it, so that it may overlap no other */
    uint32_t may_be_dst; /* 1: it may be dst, at the same address with as many bytes */
};

struct card_range {
    card_addr address;
    uint64_t bytes; /* 0: nothing lies there */
};

/* The extension that belongs to program[i], NULL if it has none. The program has passed the validator. */
static inline const struct card_descriptor *card_extension(const struct card_descriptor *d)
{
    return d->flags & CARD_FLAG_EXTENDED ? d + 1 : (const struct card_descriptor *)0;
}

/* Dimensions of a value, and so of a result vector, of ATTENTION. */
static inline uint32_t card_attention_values(const struct card_descriptor *d, const struct card_descriptor *e)
{
    return e && e->cols ? e->cols : d->cols;
}

/* Banks over which the pool of KV_WRITE, ATTENTION or INDEX is dealt; at least 1. */
static inline uint32_t card_pool_banks(const struct card_descriptor *d, const struct card_descriptor *e)
{
    const uint32_t banks = d->opcode == CARD_OP_KV_WRITE ? d->param[2] : e ? e->rows : 1;
    return banks > 1 ? banks : 1;
}

/* Bytes of one page of that pool. */
static inline uint64_t card_pool_page_bytes(const struct card_descriptor *d, const struct card_descriptor *e)
{
    if (d->opcode == CARD_OP_KV_WRITE) return card_page_bytes(d->format, d->rows, d->cols, d->param[1]);
    if (d->opcode == CARD_OP_INDEX) return card_page_bytes(d->format, 1, d->cols, 0);
    return card_page_bytes(d->format, d->param[2], d->cols,
                           d->flags & CARD_FLAG_LATENT ? 0 : card_attention_values(d, e));
}

/* A matrix in a weight format, dealt over `banks` (0 counts as 1). */
static inline struct card_operand card_matrix_operand(const char *field, card_addr address, unsigned format,
                                                      uint32_t rows, uint32_t cols, uint32_t banks)
{
    struct card_operand operand = {field, address, card_matrix_bytes(format, rows, cols), CARD_WORD_BYTES, 1, 0, 0, 0};
    if (format == CARD_FORMAT_F32) operand.align = 4;
    if (banks <= 1) return operand;
    operand.banks = banks;
    operand.tile_bytes = card_tile_bytes(format, cols);
    operand.bytes = card_round_up(rows, CARD_TILE_ROWS) / CARD_TILE_ROWS * operand.tile_bytes;
    return operand;
}

/*
 * Part k < banks of an operand: all of it, or the tiles or pages of what is dealt that lie in the kth of its banks. A part that would start
 * past the end of what an address can say is given an address that no allocation has.
 */
static inline struct card_range card_operand_range(const struct card_operand *operand, uint32_t k)
{
    struct card_range range = {operand->address, operand->bytes};
    if (operand->banks <= 1) return range;
    const uint32_t bank = CARD_ADDR_BANK(operand->address), banks = operand->banks;
    const uint64_t tiles = operand->tile_bytes ? operand->bytes / operand->tile_bytes : 0;
    const uint64_t first = ((uint64_t)k + banks - bank % banks) % banks; /* the first tile that lies there */
    const uint64_t offset =
        card_tile_offset(bank, CARD_ADDR_OFFSET(operand->address), first, banks, operand->tile_bytes);
    const uint32_t in = card_first_bank(bank, banks) + k;
    range.address = offset >> 56 || in > CARD_ADDR_BANK(UINT64_MAX) ? UINT64_MAX : CARD_ADDR(in, offset);
    range.bytes = tiles > first ? (tiles - first + banks - 1) / banks * operand->tile_bytes : 0;
    return range;
}

/*
 * Bytes of a batch table of which `extent` bytes are left in its allocation: it ends where the result begins, as what the
 * operation writes must not change numbers that were checked.
 */
static inline uint64_t card_table_bytes(card_addr table, uint64_t extent, const struct card_operand *dst)
{
    if (dst->banks > 1 && CARD_ADDR_BANK(table) >= dst->banks) return extent;
    const struct card_range result = card_operand_range(dst, CARD_ADDR_BANK(table));
    const int behind = result.bytes != 0 && result.address > table && result.address - table < extent;
    return behind ? result.address - table : extent;
}

static inline void card_put_operand(struct card_operand *operand, const char *field, card_addr address, uint64_t bytes)
{
    operand->field = field;
    operand->address = address;
    operand->bytes = bytes;
    operand->align = 4;
    operand->banks = 1;
}

/* The batch table: its entries and, if pages are read, one page number; how many there are only the entries say. */
static inline void card_put_batch(struct card_operand *o, const struct card_descriptor *d, int with_pages)
{
    card_put_operand(&o[CARD_AUX], "aux (batch table)", d->aux,
                     (uint64_t)d->tokens * sizeof(struct card_batch_token) + (with_pages ? 4 : 0));
}

static inline void card_put_choices(struct card_operand *o, const struct card_descriptor *d)
{
    card_put_operand(&o[CARD_AUX], "aux (choices)", d->aux,
                     (uint64_t)d->tokens * d->param[0] * sizeof(struct card_choice));
}

static inline void card_put_slots(struct card_operand *o, const struct card_descriptor *d)
{
    card_put_operand(&o[CARD_WEIGHT], "weight (slot table)", d->weight, (uint64_t)d->param[1] * sizeof(card_addr));
    o[CARD_WEIGHT].align = 8;
}

/* Bytes from the first to the last float of COPY's vectors. */
static inline uint64_t card_copy_bytes(const struct card_descriptor *d, uint32_t token_stride, uint32_t vector_stride)
{
    return ((uint64_t)(d->tokens - 1) * token_stride + (uint64_t)(d->rows - 1) * vector_stride + d->cols) * 4;
}

static inline void card_find_norm_operands(const struct card_descriptor *d, struct card_operand *o)
{
    const uint64_t vectors = (uint64_t)d->tokens * d->rows * d->cols * 4;
    const uint64_t weights = (uint64_t)(d->flags & CARD_FLAG_EACH ? d->rows : 1) * d->cols * 4;
    o[CARD_DST].bytes = o[CARD_SRC].bytes = vectors;
    o[CARD_SRC].may_be_dst = 1;
    if (!(d->flags & CARD_FLAG_UNWEIGHTED)) card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, weights);
    if (d->flags & CARD_FLAG_BIAS) card_put_operand(&o[CARD_AUX], "aux (bias)", d->aux, weights);
}

/* MATMUL and EXPERT_MATMUL; rows of the source and of the result. */
static inline void card_find_matmul_operands(const struct card_descriptor *d, const struct card_descriptor *e,
                                             struct card_operand *o)
{
    const uint64_t choices = (uint64_t)d->tokens * d->param[0];
    uint32_t src_rows = d->tokens;
    if (d->opcode == CARD_OP_MATMUL) {
        o[CARD_DST].bytes = (uint64_t)d->tokens * d->rows * 4;
        o[CARD_WEIGHT] = card_matrix_operand("weight", d->weight, d->format, d->rows, d->cols, d->param[0]);
        if (d->flags & CARD_FLAG_BIAS) card_put_operand(&o[CARD_AUX], "aux (bias)", d->aux, (uint64_t)d->rows * 4);
    } else {
        if (d->flags & CARD_FLAG_PER_CHOICE) src_rows = (uint32_t)choices;
        o[CARD_DST].bytes = choices * d->rows * 4;
        card_put_slots(o, d);
        if (!(d->flags & CARD_FLAG_EACH)) card_put_choices(o, d);
        if (e && e->flags & CARD_FLAG_BIAS)
            card_put_operand(&o[CARD_E_SRC], "E.src (bias)", e->src, (uint64_t)d->param[1] * d->rows * 4);
    }
    o[CARD_SRC].bytes =
        d->format == CARD_FORMAT_F32 ? (uint64_t)src_rows * d->cols * 4 : card_act_bytes(src_rows, d->cols);
}

/* The pool of KV_WRITE, ATTENTION or INDEX. */
static inline void card_put_pool(struct card_operand *operand, const char *field, card_addr address,
                                 const struct card_descriptor *d, const struct card_descriptor *e)
{
    operand->tile_bytes = card_pool_page_bytes(d, e);
    card_put_operand(operand, field, address, d->param[0] * operand->tile_bytes);
    operand->banks = card_pool_banks(d, e);
}

/* KV_WRITE, ATTENTION and INDEX: what works on pages. */
static inline void card_find_page_operands(const struct card_descriptor *d, const struct card_descriptor *e,
                                           struct card_operand *o)
{
    const uint64_t heads = (uint64_t)d->tokens * d->rows;
    o[CARD_SRC].bytes = heads * d->cols * 4;
    card_put_batch(o, d, 1);
    if (d->opcode == CARD_OP_KV_WRITE) {
        card_put_pool(&o[CARD_DST], "dst", d->dst, d, e);
        if (d->param[1]) card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, heads * d->param[1] * 4);
        return;
    }
    if (d->opcode == CARD_OP_INDEX) {
        o[CARD_DST].bytes = (uint64_t)d->tokens * d->param[3] * 4;
        card_put_pool(&o[CARD_WEIGHT], "weight", d->weight, d, e);
        if (e) card_put_operand(&o[CARD_E_SRC], "E.src", e->src, heads * 4);
        return;
    }
    const uint32_t values = card_attention_values(d, e);
    o[CARD_DST].bytes = heads * values * 4;
    card_put_pool(&o[CARD_WEIGHT], "weight", d->weight, d, e);
    if (!e) return;
    if (e->flags & CARD_FLAG_SINKS) card_put_operand(&o[CARD_E_SRC], "E.src (sinks)", e->src, (uint64_t)d->rows * 4);
    if (e->flags & CARD_FLAG_BIAS)
        card_put_operand(&o[CARD_E_WEIGHT], "E.weight (bias)", e->weight,
                         d->rows * ((uint64_t)e->param[2] * 2 + 1) * 4);
    if (e->flags & CARD_FLAG_SPARSE)
        card_put_operand(&o[CARD_E_AUX], "E.aux (positions)", e->aux, (uint64_t)d->tokens * e->param[3] * 4);
}

/* ROUTER, TOP_K, EXPERT_SUM, EXPERT_SPREAD, PUBLISH and AWAIT: what works on choices. */
static inline void card_find_choice_operands(const struct card_descriptor *d, struct card_operand *o)
{
    const uint64_t row = (uint64_t)d->tokens * d->cols * 4, rows = row * d->param[0];
    const uint64_t best = (uint64_t)d->tokens * d->rows * sizeof(struct card_choice);
    switch (d->opcode) {
    case CARD_OP_ROUTER:
    case CARD_OP_TOP_K:
        o[CARD_DST].bytes = best;
        if (d->opcode == CARD_OP_ROUTER && d->flags & CARD_FLAG_BIAS)
            card_put_operand(&o[CARD_AUX], "aux (bias)", d->aux, (uint64_t)d->cols * 4);
        break;
    case CARD_OP_EXPERT_SUM:
        o[CARD_SRC].bytes = rows;
        if (!(d->flags & CARD_FLAG_UNWEIGHTED)) card_put_choices(o, d);
        break;
    case CARD_OP_EXPERT_SPREAD:
        o[CARD_DST].bytes = rows;
        card_put_choices(o, d);
        break;
    case CARD_OP_PUBLISH:
        card_put_operand(&o[CARD_DST], "dst (mailbox)", d->dst, CARD_WORD_BYTES + best);
        o[CARD_DST].align = CARD_WORD_BYTES;
        card_put_operand(&o[CARD_SRC], "src (choices)", d->src, best);
        break;
    default: /* AWAIT */
        o[CARD_DST].field = o[CARD_SRC].field = (const char *)0;
        card_put_slots(o, d);
        card_put_choices(o, d);
        if (d->flags & CARD_FLAG_PER_CHOICE)
            card_put_operand(&o[CARD_DST], "dst (choices)", d->dst, 2 * o[CARD_AUX].bytes);
        break;
    }
}

/* SCAN and CONV; e is not NULL in a program that has passed the validator. */
static inline void card_find_state_operands(const struct card_descriptor *d, const struct card_descriptor *e,
                                            struct card_operand *o)
{
    const uint64_t states = d->param[0], width = d->param[1];
    const uint64_t heads = (uint64_t)d->tokens * d->rows, keys = (uint64_t)d->tokens * d->param[2] * d->cols * 4;
    card_put_batch(o, d, 0);
    if (d->opcode == CARD_OP_CONV) {
        card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, d->cols * width * 4);
        if (!e) return;
        card_put_operand(&o[CARD_E_DST], "E.dst (state pool)", e->dst, states * (width - 1) * d->cols * 4);
        if (e->flags & CARD_FLAG_BIAS) card_put_operand(&o[CARD_E_SRC], "E.src (bias)", e->src, (uint64_t)d->cols * 4);
        return;
    }
    o[CARD_DST].bytes = heads * width * 4;
    o[CARD_SRC].bytes = keys;
    card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, keys);
    if (!e) return;
    card_put_operand(&o[CARD_E_DST], "E.dst (state pool)", e->dst, states * d->rows * d->cols * width * 4);
    card_put_operand(&o[CARD_E_SRC], "E.src (values)", e->src, heads * width * 4);
    card_put_operand(&o[CARD_E_WEIGHT], "E.weight (decay)", e->weight,
                     heads * (d->flags & CARD_FLAG_EACH ? d->cols : 1) * 4);
    card_put_operand(&o[CARD_E_AUX], "E.aux (beta)", e->aux, heads * 4);
}

/* ROPE, GATHER, COPY and what works on vectors element by element. */
static inline void card_find_vector_operands(const struct card_descriptor *d, struct card_operand *o)
{
    const uint64_t rows = (uint64_t)d->tokens * d->cols * 4; /* f32[T][C] */
    switch (d->opcode) {
    case CARD_OP_QUANTIZE: o[CARD_DST].bytes = card_act_bytes(d->tokens, d->cols); break;
    case CARD_OP_ROPE:
        o[CARD_DST].bytes = rows * d->rows;
        o[CARD_SRC].field = (const char *)0;
        card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, (uint64_t)(d->param[0] / 2) * 4);
        card_put_batch(o, d, 0);
        break;
    case CARD_OP_GATHER:
        o[CARD_SRC].bytes = (uint64_t)d->rows * d->cols * 4;
        card_put_operand(&o[CARD_AUX], "aux (indexes)", d->aux, (uint64_t)d->tokens * 4);
        break;
    case CARD_OP_COPY:
        o[CARD_SRC].bytes = card_copy_bytes(d, d->param[0], d->param[1]);
        o[CARD_DST].bytes = card_copy_bytes(d, d->param[2], d->param[3]);
        break;
    case CARD_OP_GLU:
        if (d->flags & CARD_FLAG_BROADCAST) o[CARD_SRC].bytes = (uint64_t)d->tokens * 4;
        if (!(d->flags & CARD_FLAG_UNWEIGHTED)) card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, rows);
        o[CARD_SRC].may_be_dst = o[CARD_WEIGHT].may_be_dst = 1;
        break;
    case CARD_OP_ADD:
        card_put_operand(&o[CARD_WEIGHT], "weight", d->weight,
                         d->flags & CARD_FLAG_BROADCAST ? (uint64_t)d->cols * 4 : rows);
        o[CARD_SRC].may_be_dst = 1;
        break;
    case CARD_OP_SCALE:
        if (d->flags & CARD_FLAG_PER_TOKEN)
            card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, (uint64_t)d->tokens * 4);
        o[CARD_SRC].may_be_dst = 1;
        break;
    case CARD_OP_DECAY:
        card_put_operand(&o[CARD_WEIGHT], "weight", d->weight, (uint64_t)d->cols * 4);
        card_put_operand(&o[CARD_AUX], "aux", d->aux, (uint64_t)d->cols * 4);
        o[CARD_SRC].may_be_dst = 1;
        break;
    default: o[CARD_SRC].may_be_dst = 1; break; /* SOFT_CAP */
    }
}

/*
 * Fills o[CARD_PLACES]. e: the extension of d, NULL if it has none. Within the validator's limits of shapes and
 * parameters (host/card/card_check.c) no size overflows; beyond them the sizes mean nothing. EXTENSION and what is no
 * opcode have no operands.
 */
static inline void card_find_operands(const struct card_descriptor *d, const struct card_descriptor *e,
                                      struct card_operand *o)
{
    const struct card_operand none = {(const char *)0, 0, 0, 1, 1, 0, 0, 0};
    const uint64_t rows = (uint64_t)d->tokens * d->cols * 4;
    for (unsigned i = 0; i < CARD_PLACES; i++) o[i] = none;
    if (d->opcode == 0 || d->opcode >= CARD_OPCODE_END || d->opcode == CARD_OP_EXTENSION) return;
    /* What most have; the others change it. */
    card_put_operand(&o[CARD_DST], "dst", d->dst, rows);
    card_put_operand(&o[CARD_SRC], "src", d->src, rows);
    switch (d->opcode) {
    case CARD_OP_NORM: card_find_norm_operands(d, o); break;
    case CARD_OP_MATMUL:
    case CARD_OP_EXPERT_MATMUL: card_find_matmul_operands(d, e, o); break;
    case CARD_OP_KV_WRITE:
    case CARD_OP_ATTENTION:
    case CARD_OP_INDEX: card_find_page_operands(d, e, o); break;
    case CARD_OP_ROUTER:
    case CARD_OP_TOP_K:
    case CARD_OP_EXPERT_SUM:
    case CARD_OP_EXPERT_SPREAD:
    case CARD_OP_PUBLISH:
    case CARD_OP_AWAIT: card_find_choice_operands(d, o); break;
    case CARD_OP_SCAN:
    case CARD_OP_CONV: card_find_state_operands(d, e, o); break;
    default: card_find_vector_operands(d, o); break;
    }
    o[CARD_DST].written = o[CARD_DST].field != (const char *)0;
    o[CARD_E_DST].written = o[CARD_E_DST].field != (const char *)0;
}

#endif
