/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/hls/hls_engine.h"
#include "kernels/hls/hls_operations.h"

static uint64_t lanes_u64(struct hls_word word, uint32_t l)
{
    HLS_INLINE
    return (uint64_t)word.lane[l + 1] << 32 | word.lane[l];
}

/* Offsets of kernels/abi/card_program.h, in lanes of 4 bytes. */
static struct hls_step decode(struct hls_word word)
{
    HLS_INLINE
    struct hls_step step = {
        .opcode = word.lane[0] & 0xffu,
        .format = word.lane[0] >> 8 & 0xffu,
        .flags = word.lane[0] >> 16,
        .tokens = word.lane[1],
        .rows = word.lane[2],
        .cols = word.lane[3],
        .dst = lanes_u64(word, 4),
        .src = lanes_u64(word, 6),
        .weight = lanes_u64(word, 8),
        .aux = lanes_u64(word, 10),
    };
decode_params:
    for (uint32_t i = 0; i < 4; i++) {
        HLS_UNROLL
        step.param[i] = word.lane[12 + i];
    }
    return step;
}

/* The fields of the extension that opcodes know. */
static void decode_extension(struct hls_word word, struct hls_step *step)
{
    HLS_INLINE
    step->e_flags = word.lane[0] >> 16;
    step->e_rows = word.lane[2];
    step->e_cols = word.lane[3];
    step->e_dst = lanes_u64(word, 4);
    step->e_src = lanes_u64(word, 6);
    step->e_weight = lanes_u64(word, 8);
    step->e_aux = lanes_u64(word, 10);
decode_extension:
    for (uint32_t i = 0; i < 4; i++) {
        HLS_UNROLL
        step->e_param[i] = word.lane[12 + i];
    }
}

/* All but AWAIT, which may fail. */
static uint32_t run_step(HLS_BANKS, const struct hls_step *step)
{
    HLS_NO_INLINE
    switch (step->opcode) {
    case CARD_OP_NORM: hls_norm(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_QUANTIZE: hls_quantize(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_MATMUL: hls_matmul(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_ROPE: hls_rope(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_KV_WRITE: hls_kv_write(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_ATTENTION: hls_attention(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_ROUTER: hls_router(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_EXPERT_MATMUL: hls_expert_matmul(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_GLU: hls_glu(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_EXPERT_SUM: hls_expert_sum(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_GATHER: hls_gather(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_COPY: hls_copy(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_ADD: hls_add(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_SCALE: hls_scale(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_SOFT_CAP: hls_soft_cap(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_TOP_K: hls_top_k(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_INDEX: hls_index(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_SCAN: hls_scan(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_CONV: hls_conv(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_DECAY: hls_decay(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_EXPERT_SPREAD: hls_expert_spread(HLS_BANK_ARGS, step); return HLS_OK;
    case CARD_OP_PUBLISH: hls_publish(HLS_BANK_ARGS, step); return HLS_OK;
    default: return HLS_OPCODE;
    }
}

void sluice_engine(const struct hls_word *program, uint32_t n_descriptors, const struct hls_word *extents,
                   uint32_t n_extents, struct hls_word *status, HLS_BANKS)
{
    HLS_PORT(program)
    HLS_PORT(extents)
    HLS_PORT(status)
    HLS_PORT(bank0)
    HLS_PORT(bank1)
    HLS_PORT(bank2)
    HLS_PORT(bank3)
    HLS_SCALAR(n_descriptors)
    HLS_SCALAR(n_extents)
    HLS_CONTROL
    struct hls_fault fault = {HLS_OK, 0, 0};
    struct hls_word result = {{0}};
    uint32_t done = 0;
run_descriptors:
    for (uint32_t i = 0; i < n_descriptors && fault.status == HLS_OK; i = done) {
        HLS_TRIPS(1, 4096)
        struct hls_step step = decode(program[i]);
        const uint32_t extended = (step.flags & CARD_FLAG_EXTENDED) != 0;
        uint32_t asked = 1;
        if (extended && i + 1 < n_descriptors && (program[i + 1].lane[0] & 0xffu) == CARD_OP_EXTENSION)
            decode_extension(program[i + 1], &step);
        else if (extended)
            fault.status = HLS_OPCODE;
        if (fault.status == HLS_OK) fault = hls_check_tables(HLS_BANK_ARGS, &step, extents, n_extents);
        if (fault.status == HLS_OK && step.opcode == CARD_OP_AWAIT)
            fault = hls_await(HLS_BANK_ARGS, &step, &asked);
        else if (fault.status == HLS_OK)
            fault.status = run_step(HLS_BANK_ARGS, &step);
        if (fault.status == HLS_OK) done = i + 1 + extended + (asked == 0 ? step.param[3] : 0);
    }
    result.lane[0] = fault.status;
    result.lane[1] = done; /* also the number of the descriptor that failed */
    result.lane[2] = fault.item;
    result.lane[3] = fault.value;
    status[0] = result;
}
