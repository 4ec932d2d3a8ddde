/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function for each operation of the contract, on a descriptor whose tables have been checked. The order of every
 * sum is that of kernels/README.md; how work is cut never shows in the bits.
 */
#ifndef SLUICE_HLS_OPERATIONS_H
#define SLUICE_HLS_OPERATIONS_H

#include "kernels/hls/hls_types.h"

/*
 * Latencies in cycles at 300 MHz that the initiation intervals below are reckoned with: AMD's floating-point operator in
 * full DSP use. A tool that needs more raises the intervals, never the results.
 */
#define HLS_FMA_CYCLES 12
#define HLS_ADD_CYCLES 8

void hls_norm(HLS_BANKS, const struct hls_step *step);
void hls_quantize(HLS_BANKS, const struct hls_step *step);
void hls_matmul(HLS_BANKS, const struct hls_step *step);
void hls_rope(HLS_BANKS, const struct hls_step *step);
void hls_kv_write(HLS_BANKS, const struct hls_step *step);
void hls_attention(HLS_BANKS, const struct hls_step *step);
void hls_router(HLS_BANKS, const struct hls_step *step);
void hls_expert_matmul(HLS_BANKS, const struct hls_step *step);
void hls_glu(HLS_BANKS, const struct hls_step *step);
void hls_expert_sum(HLS_BANKS, const struct hls_step *step);
void hls_gather(HLS_BANKS, const struct hls_step *step);
void hls_copy(HLS_BANKS, const struct hls_step *step);
void hls_add(HLS_BANKS, const struct hls_step *step);
void hls_scale(HLS_BANKS, const struct hls_step *step);
void hls_soft_cap(HLS_BANKS, const struct hls_step *step);
void hls_top_k(HLS_BANKS, const struct hls_step *step);
void hls_index(HLS_BANKS, const struct hls_step *step);
void hls_scan(HLS_BANKS, const struct hls_step *step);
void hls_conv(HLS_BANKS, const struct hls_step *step);
void hls_decay(HLS_BANKS, const struct hls_step *step);
void hls_expert_spread(HLS_BANKS, const struct hls_step *step);
void hls_publish(HLS_BANKS, const struct hls_step *step);

/*
 * The product of one matrix with up to HLS_TOKENS rows of activations: output row dst_row[i] of dst takes activation
 * row src_row[i] of src_rows. What EXPERT_MATMUL and MATMUL share.
 */
struct hls_matrix {
    card_addr at;
    uint32_t banks; /* over which its tiles are dealt (0 or 1: they are not) */
    int has_bias;
    card_addr bias; /* f32, one for each of its rows */
};
struct hls_rows {
    uint32_t n;
    uint32_t src_rows;
    uint32_t src_row[HLS_TOKENS];
    uint32_t dst_row[HLS_TOKENS];
};
void hls_matmul_rows(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                     const struct hls_rows *rows);
void hls_matmul_quantized(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                          const struct hls_rows *rows);
void hls_matmul_float(HLS_BANKS, const struct hls_step *step, const struct hls_matrix *matrix,
                      const struct hls_rows *rows);

#endif
