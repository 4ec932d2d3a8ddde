/* SPDX-License-Identifier: Apache-2.0 */
/* How far results may lie apart: every number that a test of the card compares with. */
#ifndef SLUICE_TEST_TOLERANCE_H
#define SLUICE_TEST_TOLERANCE_H

/* Float operations of sim against double or ref, relative to the largest magnitude of the result. */
#define TOLERANCE_FLOAT 2e-6
/* Attention: scores pass exp, whose argument keeps about 1e-6 of its magnitude. */
#define TOLERANCE_ATTENTION 1e-5
/* The same with keys and values in F16 on one side and F32 on the other: 2^-11, twice. */
#define TOLERANCE_KV_F16 2e-3
/* sim's quantized matmul against double on the same integers and scales: float sums only. */
#define TOLERANCE_EXACT_WEIGHTS 2e-6
/* sim's quantized matmul against ref on floats: activations lose half a step of 1/127 of their group's largest. */
#define TOLERANCE_INT8_ACTIVATIONS 1.5e-2

/* sim against ref, root mean square of the difference over that of the result. An operation of a few roundings; */
#define RMS_FLOAT 1e-6
/* pages of integers, of which one in some thousands may lie at a middle and be rounded to the other side; */
#define RMS_PAGE 1e-2
/* softmax over scores, from pages of either kind; */
#define RMS_ATTENTION 3e-6
/* activations or queries that were rounded to 8 bits, half a step of 1/127 of their group's largest at most. */
#define RMS_INT8 3e-2

#endif
