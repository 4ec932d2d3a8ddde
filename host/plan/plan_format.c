/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_format.h"

#include "kernels/abi/card_layout.h"

#include <stddef.h>
#include <strings.h>

unsigned plan_format_of(const char *name)
{
    static const struct {
        const char *name;
        unsigned format;
    } known[] = {
        {"q4_0", CARD_FORMAT_INT4},    {"int4", CARD_FORMAT_INT4},     {"q4_1", CARD_FORMAT_INT4_MIN},
        {"awq", CARD_FORMAT_INT4_MIN}, {"gptq", CARD_FORMAT_INT4_MIN}, {"q4_k", CARD_FORMAT_Q4_K},
        {"q5_k", CARD_FORMAT_Q5_K},    {"q6_k", CARD_FORMAT_Q6_K},     {"q8_0", CARD_FORMAT_INT8},
        {"int8", CARD_FORMAT_INT8},    {"mxfp4", CARD_FORMAT_MXFP4},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(name, known[i].name) == 0) return known[i].format;
    return 0;
}

const char *plan_format_name(unsigned format)
{
    static const char *const names[CARD_FORMAT_END] = {
        [CARD_FORMAT_F32] = "F32",           [CARD_FORMAT_F16] = "F16",   [CARD_FORMAT_INT4] = "INT4",
        [CARD_FORMAT_INT4_MIN] = "INT4_MIN", [CARD_FORMAT_INT8] = "INT8", [CARD_FORMAT_INT8_MIN] = "INT8_MIN",
        [CARD_FORMAT_Q4_K] = "Q4_K",         [CARD_FORMAT_Q5_K] = "Q5_K", [CARD_FORMAT_Q6_K] = "Q6_K",
        [CARD_FORMAT_MXFP4] = "MXFP4",
    };
    return format < CARD_FORMAT_END && names[format] ? names[format] : "unknown";
}
