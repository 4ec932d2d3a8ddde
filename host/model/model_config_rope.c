/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation: base, dimensions, and how frequencies are scaled for contexts longer than the original one. */
#include "host/model/model_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES 96

static bool string_is(struct gguf_string string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.bytes, text, string.length) == 0;
}

static int read_linear(const struct gguf *file, const char *arch, const char *suffix, bool required,
                       struct model_config *c, struct error *err)
{
    int found = model_config_optional_f32(file, arch, suffix, &c->rope_scaling_factor, err);
    if (found == 0 && required)
        return error_set(err, ERROR_BAD_FILE, "%s.rope.scaling.type is linear but %s.%s is missing", arch, arch,
                         suffix);
    if (found == 1) c->rope_scaling = ROPE_SCALING_LINEAR;
    return found < 0 ? found : 0;
}

/* The factor on sine and cosine: 0.1 ln(factor) + 1 (YaRN, equation 22), unless the scores have it (DeepSeek's mscale). */
static int read_yarn(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    float multiplier = 0;
    c->rope_scaling = ROPE_SCALING_YARN;
    c->rope_original = c->context_length;
    c->yarn_beta_fast = 32.0f; /* the paper's defaults */
    c->yarn_beta_slow = 1.0f;
    int found = model_config_optional_f32(file, arch, "rope.scaling.factor", &c->rope_scaling_factor, err);
    if (found == 0)
        return error_set(err, ERROR_BAD_FILE, "%s.rope.scaling.type is yarn but %s.rope.scaling.factor is missing",
                         arch, arch);
    if (found > 0)
        found = model_config_optional_u32(file, arch, "rope.scaling.original_context_length", 1, UINT32_MAX,
                                          &c->rope_original, err);
    bool truncate = true; /* of safetensors folders; GGUF files do not say it */
    if (found >= 0) found = model_config_optional_bool(file, arch, "rope.scaling.yarn_truncate", &truncate, err);
    c->yarn_exact_range = !truncate;
    if (found >= 0)
        found = model_config_optional_f32(file, arch, "rope.scaling.yarn_beta_fast", &c->yarn_beta_fast, err);
    if (found >= 0)
        found = model_config_optional_f32(file, arch, "rope.scaling.yarn_beta_slow", &c->yarn_beta_slow, err);
    if (found >= 0) found = model_config_optional_f32(file, arch, "rope.scaling.yarn_log_multiplier", &multiplier, err);
    if (found < 0) return found;
    if (c->rope_theta <= 1.0f || c->yarn_beta_fast < c->yarn_beta_slow)
        return error_set(err, ERROR_BAD_FILE, "%s: yarn with rope.freq_base %g, beta_fast %g, beta_slow %g", arch,
                         (double)c->rope_theta, (double)c->yarn_beta_fast, (double)c->yarn_beta_slow);
    if (multiplier == 0 && c->rope_scaling_factor > 1.0f)
        c->rope_factor = (float)(0.1 * model_log((double)c->rope_scaling_factor) + 1.0);
    return 0;
}

static int read_scaling(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    c->rope_scaling = ROPE_SCALING_NONE;
    c->rope_scaling_factor = c->rope_factor = 1.0f;
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    struct gguf_string type;
    int found = gguf_get_string(file, key, &type, err);
    if (found < 0) return found;
    if (found == 0) /* before rope.scaling.* there was one key, and it meant linear */
        return read_linear(file, arch, "rope.scale_linear", false, c, err);
    if (string_is(type, "linear")) return read_linear(file, arch, "rope.scaling.factor", true, c, err);
    if (string_is(type, "yarn")) return read_yarn(file, arch, c, err);
    if (string_is(type, "none") || string_is(type, "longrope")) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s \"%.*s\" is not supported (supported: none, linear, yarn, longrope)",
                     key, (int)(type.length < 40 ? type.length : 40), type.bytes);
}

int model_config_rope(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    c->rope_theta = 10000.0f; /* the default of the architecture's first model */
    int found = model_config_optional_f32(file, arch, "rope.freq_base", &c->rope_theta, err);
    if (found < 0) return found;
    c->rope_dims = c->head_dim;
    found = model_config_optional_u32(file, arch, "rope.dimension_count", 2, c->head_dim, &c->rope_dims, err);
    if (found < 0) return found;
    if (c->rope_dims % 2 != 0)
        return error_set(err, ERROR_BAD_FILE, "%s.rope.dimension_count is %u (must be even)", arch, c->rope_dims);
    return read_scaling(file, arch, c, err);
}
