/* SPDX-License-Identifier: Apache-2.0 */
/* Architectures that nobody has trained, of the sizes of large models. Stands after cmocka.h. */
#ifndef SLUICE_TESTS_PLAN_FOR_TEST_H
#define SLUICE_TESTS_PLAN_FOR_TEST_H

#include "host/base/memory.h"
#include "host/plan/architecture.h"
#include "kernels/abi/card_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static inline void assert_near(double value, double expected, double within)
{
    if (!(fabs(value - expected) <= within)) fail_msg("%.9g is not within %g of %.9g", value, within, expected);
}

struct test_model {
    struct architecture architecture;
    struct architecture_layer layers[128];
};

static inline void test_model_init(struct test_model *model, const char *name, uint32_t n_layers, uint32_t d_model,
                                   uint32_t n_vocab, const struct attention_shape *attention,
                                   const struct ffn_shape *ffn)
{
    model->architecture = (struct architecture){.model_type = "test",
                                                .source = "made up",
                                                .released_as = "bf16",
                                                .n_layers = n_layers,
                                                .layers = model->layers,
                                                .d_model = d_model,
                                                .n_vocab = n_vocab,
                                                .max_context = 131072,
                                                .pre_norms = true,
                                                .norm_epsilon = 1e-5f,
                                                .output_format = CARD_FORMAT_INT8};
    snprintf(model->architecture.name, sizeof model->architecture.name, "%s", name);
    for (uint32_t i = 0; i < n_layers; i++) {
        memset(&model->layers[i], 0, sizeof model->layers[i]);
        model->layers[i].attention = *attention;
        model->layers[i].ffn = *ffn;
        for (unsigned role = 0; role < WEIGHT_ROLES; role++) model->layers[i].formats[role] = CARD_FORMAT_INT4;
    }
}

/* 7.5 B parameters in INT4, grouped queries. */
static inline void test_model_dense(struct test_model *model)
{
    test_model_init(
        model, "dense 8B", 32, 4096, 128256,
        &(struct attention_shape){.heads = 32, .kv_heads = 8, .key_dim = 128, .value_dim = 128, .rope_dims = 128},
        &(struct ffn_shape){.width = 14336});
}

/* 20 B parameters in MXFP4, of which a token uses 4 of 32 experts in each layer; every other layer has a window. */
static inline void test_model_experts(struct test_model *model)
{
    test_model_init(
        model, "experts 20B", 24, 2880, 201088,
        &(struct attention_shape){.heads = 64, .kv_heads = 8, .key_dim = 64, .value_dim = 64, .rope_dims = 64},
        &(struct ffn_shape){.experts = 32, .experts_used = 4, .expert_width = 2880, .renormalize = true});
    for (uint32_t i = 0; i < 24; i++) {
        if (i % 2 == 0) model->layers[i].attention.window = 128;
        model->layers[i].formats[WEIGHT_EXPERT_GATE] = CARD_FORMAT_MXFP4;
        model->layers[i].formats[WEIGHT_EXPERT_UP] = CARD_FORMAT_MXFP4;
        model->layers[i].formats[WEIGHT_EXPERT_DOWN] = CARD_FORMAT_MXFP4;
    }
}

#endif
