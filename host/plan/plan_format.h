/* SPDX-License-Identifier: Apache-2.0 */
/* Weight formats by the names that people use. */
#ifndef SLUICE_PLAN_PLAN_FORMAT_H
#define SLUICE_PLAN_PLAN_FORMAT_H

/* enum card_format of "q4_0", "awq", "mxfp4", ...; 0: not known. */
unsigned plan_format_of(const char *name);

/* "INT4"; "unknown". Static storage. */
const char *plan_format_name(unsigned format);

/* Every name that plan_format_of takes, for messages. */
#define PLAN_FORMAT_NAMES "q4_0, int4, q4_1, awq, gptq, q4_k, q5_k, q6_k, q8_0, int8, mxfp4"

#endif
