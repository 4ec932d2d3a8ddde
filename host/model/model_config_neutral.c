/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings that change a model's arithmetic and that only some families compute. Files of the others have them
 * rarely, and then with the value that changes nothing; any other value is refused, as the answers would be wrong.
 * Names: gguf-py's constants.py.
 */
#include "host/model/model_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct setting {
    const char *suffix;
    double neutral[2]; /* the values that change nothing: usually 0 for "not set", and what it means */
};

static const struct setting settings[] = {
    {"attention.causal", {1, 1}},
    {"attention.clamp_kqv", {0, 0}},
    {"attention.max_alibi_bias", {0, 0}},
    {"attn_logit_softcapping", {0, 0}},
    {"final_logit_softcapping", {0, 0}},
    {"logit_scale", {0, 1}},
    {"embedding_scale", {0, 1}},
    {"residual_scale", {0, 1}},
    {"use_parallel_residual", {0, 0}},
    {"rope.scaling.attn_factor", {0, 1}},
    {"leading_dense_block_count", {0, 0}},
    {"expert_shared_count", {0, 0}},
    {"expert_group_count", {0, 1}},
    {"expert_gating_func", {0, 1}}, /* 1: softmax */
    {"expert_weights_norm", {1, 1}},
    {"expert_weights_scale", {0, 1}},
    {"attention.temperature_scale", {0, 0}},
    {"rope.scaling.yarn_log_multiplier", {0, 0}},
};

/* A bool counts as 0 or 1. False if value is no single number. */
static bool number_of(const struct gguf_value *value, double *out)
{
    int64_t whole;
    bool is_whole = gguf_value_i64(value, &whole);
    if (value->type == GGUF_TYPE_BOOL)
        *out = value->bytes[0] != 0;
    else if (is_whole)
        *out = (double)whole;
    return value->type == GGUF_TYPE_BOOL || is_whole || gguf_value_f64(value, out);
}

static int check(const struct gguf *file, const char *architecture, const struct setting *setting, struct error *err)
{
    char key[96];
    (void)snprintf(key, sizeof key, "%s.%s", architecture, setting->suffix);
    const struct gguf_value *value = gguf_find(file, key);
    if (value == NULL) return 0;
    double number;
    if (!number_of(value, &number))
        return error_set(err, ERROR_UNSUPPORTED, "%s is not one number (supported: %g)", key, setting->neutral[1]);
    for (unsigned i = 0; i < 2; i++)
        if (fabs(number - setting->neutral[i]) <= 1e-6 * setting->neutral[i]) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s is %g, which is not supported (supported: %g)", key, number,
                     setting->neutral[1]);
}

/* What model_config_experts reads. */
static const char *const router_settings[] = {
    "leading_dense_block_count", "expert_shared_count", "expert_group_count",
    "expert_gating_func",        "expert_weights_norm", "expert_weights_scale",
};

static bool computes(const struct family *family, const char *suffix)
{
    for (size_t i = 0; family->computes_router && i < sizeof router_settings / sizeof router_settings[0]; i++)
        if (strcmp(router_settings[i], suffix) == 0) return true;
    for (const char *const *name = family->computes; name != NULL && *name != NULL; name++)
        if (strcmp(*name, suffix) == 0) return true;
    return false;
}

int model_config_refuse_settings(const struct gguf *file, const struct family *family,
                                 const struct model_config *config, struct error *err)
{
    struct setting scale = {"attention.scale", {0, 1.0 / sqrt((double)config->head_dim)}};
    int result = computes(family, scale.suffix) ? 0 : check(file, family->architecture, &scale, err);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0] && result == 0; i++)
        if (!computes(family, settings[i].suffix)) result = check(file, family->architecture, &settings[i], err);
    return result;
}
