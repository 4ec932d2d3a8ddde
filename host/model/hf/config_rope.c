/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation. transformers 5 has rope_parameters: one object, or one for each kind of layer ("full_attention", "sliding_attention");
 * before it there were rope_theta and rope_scaling. Formulas: transformers' modeling_rope_utils.py.
 */
#include "host/model/hf/config.h"

#include "host/base/memory.h"

#include <math.h>
#include <string.h>

#define MAX_DIMENSIONS 65536u
#define TWO_PI 6.283185307179586

/* Where the main rotation's settings are: never NULL. */
static const json_t *main_rope(struct hf_config *config)
{
    const json_t *rope = json_object_get(config->root, "rope_parameters");
    if (!json_is_object(rope)) rope = json_object_get(config->root, "rope_scaling");
    const json_t *full = json_object_get(rope, "full_attention");
    if (json_is_object(full)) rope = full;
    return json_is_object(rope) ? rope : config->root;
}

static const char *type_of(struct hf_config *config, const json_t *rope)
{
    if (rope == config->root) return "default";
    const char *type = hf_get_string(config, rope, "rope_type");
    if (type == NULL) type = hf_get_string(config, rope, "type");
    return type != NULL ? type : "default";
}

static double theta_of(struct hf_config *config, const json_t *rope)
{
    double theta = 10000.0;
    hf_get_f64(config, config->root, "rotary_emb_base", &theta);
    hf_get_f64(config, config->root, "rope_theta", &theta);
    hf_get_f64(config, rope, "rope_theta", &theta);
    return theta;
}

/* Dimensions of a head that turn. */
static uint32_t dims_of(struct hf_config *config, const json_t *rope)
{
    double part = 1.0;
    if (config->family->traits & HF_TRAIT_MLA) return config->shape.rope_dims;
    hf_get_f64(config, config->root, "rotary_pct", &part);
    hf_get_f64(config, config->root, "partial_rotary_factor", &part);
    hf_get_f64(config, rope, "partial_rotary_factor", &part);
    if (!(part > 0.0 && part <= 1.0)) {
        hf_refuse(config, "partial_rotary_factor", "must be above 0 and at most 1");
        return 0;
    }
    return (uint32_t)((double)config->shape.head_dim * part);
}

/* attention_factor of configurations that state one, else what follows from mscale, else 0: the usual 0.1 ln(factor) + 1. */
static void put_yarn_factor(struct hf_config *config, const json_t *rope, double factor)
{
    double stated = 0, scale = 0, scale_all = 0, usual = factor > 1 ? 0.1 * log(factor) + 1.0 : 1.0;
    bool has_stated = hf_get_f64(config, rope, "attention_factor", &stated);
    hf_get_f64(config, rope, "mscale", &scale);
    hf_get_f64(config, rope, "mscale_all_dim", &scale_all);
    double multiplier = strcmp(config->family->architecture, "mistral3") == 0 ? scale_all : 0.1 * scale_all;
    if (scale_all != 0) hf_put_f32(config, "rope.scaling.yarn_log_multiplier", multiplier);
    double computed = scale_all != 0 ? 1.0 : usual; /* by model_config_rope.c */
    double meant = has_stated ? stated
                   : scale != 0 && scale_all != 0
                       ? (0.1 * scale * log(factor) + 1) / (0.1 * scale_all * log(factor) + 1)
                       : usual;
    if (strcmp(config->family->architecture, "mistral-large4") == 0) computed = 1.0;
    if (fabs(meant - computed) > 1e-6)
        hf_refuse(config, "attention_factor", "a factor on sine and cosine other than YaRN's");
}

static void put_yarn(struct hf_config *config, const json_t *rope)
{
    double factor = 0, fast = 32, slow = 1;
    uint32_t original = 0;
    bool truncate = true;
    if (!hf_get_f64(config, rope, "factor", &factor)) hf_refuse(config, "rope_scaling", "yarn without a factor");
    hf_get_f64(config, rope, "beta_fast", &fast);
    hf_get_f64(config, rope, "beta_slow", &slow);
    hf_get_bool(config, rope, "truncate", &truncate);
    if (!hf_get_u32(config, rope, "original_max_position_embeddings", 1, UINT32_MAX, &original))
        hf_get_u32(config, config->root, "original_max_position_embeddings", 1, UINT32_MAX, &original);
    if (config->status < 0) return;
    hf_put_string(config, "rope.scaling.type", "yarn");
    hf_put_f32(config, "rope.scaling.factor", factor);
    if (original > 0) hf_put_u32(config, "rope.scaling.original_context_length", original);
    hf_put_f32(config, "rope.scaling.yarn_beta_fast", fast);
    hf_put_f32(config, "rope.scaling.yarn_beta_slow", slow);
    hf_put_bool(config, "rope.scaling.yarn_truncate", truncate);
    put_yarn_factor(config, rope, factor);
}

static void put_long(struct hf_config *config, const json_t *rope)
{
    uint32_t original = 0, context = 0;
    double factor = 0;
    if (!hf_get_u32(config, config->root, "original_max_position_embeddings", 2, UINT32_MAX, &original))
        hf_get_u32(config, rope, "original_max_position_embeddings", 2, UINT32_MAX, &original);
    hf_need_u32(config, "max_position_embeddings", 1, UINT32_MAX, &context);
    if (original == 0) hf_refuse(config, "original_max_position_embeddings", "is missing, and longrope needs it");
    if (config->status < 0) return;
    if (!hf_get_f64(config, rope, "attention_factor", &factor)) {
        double scale = (double)context / (double)original;
        factor = scale <= 1.0 ? 1.0 : sqrt(1.0 + log(scale) / log((double)original));
    }
    hf_put_f32(config, "rope.scaling.attn_factor", factor);
    hf_put_u32(config, "rope.scaling.original_context_length", original);
}

static void put_scaling(struct hf_config *config, const json_t *rope)
{
    const char *type = type_of(config, rope);
    double factor = 0;
    if (config->status < 0 || strcmp(type, "default") == 0 || strcmp(type, "llama3") == 0 || strcmp(type, "mrope") == 0)
        return;
    if (strcmp(type, "linear") == 0) {
        if (!hf_get_f64(config, rope, "factor", &factor)) hf_refuse(config, "rope_scaling", "linear without a factor");
        hf_put_string(config, "rope.scaling.type", "linear");
        hf_put_f32(config, "rope.scaling.factor", factor);
    } else if (strcmp(type, "dynamic") == 0) {
        /* Dynamic NTK changes the base beyond max_position_embeddings only, and no context here is longer. */
    } else if (strcmp(type, "yarn") == 0) {
        put_yarn(config, rope);
    } else if ((strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) &&
               strcmp(config->family->architecture, "phi3") == 0) {
        put_long(config, rope);
    } else {
        hf_refuse(config, "rope_type", "a scaling of the rotation that this model_type is not computed with");
    }
}

/* Gemma 3 and Step 3.5 turn their sliding layers by another base. */
static void put_local(struct hf_config *config)
{
    const json_t *rope = json_object_get(json_object_get(config->root, "rope_parameters"), "sliding_attention");
    double theta = 10000.0, part = 1.0;
    bool has_local =
        strcmp(config->family->architecture, "gemma3") == 0 || strcmp(config->family->architecture, "step35") == 0;
    if (!has_local) return;
    hf_get_f64(config, config->root, "rope_local_base_freq", &theta);
    hf_get_f64(config, rope, "rope_theta", &theta);
    hf_get_f64(config, rope, "partial_rotary_factor", &part);
    if (json_is_object(rope) && strcmp(type_of(config, rope), "default") != 0)
        hf_refuse(config, "sliding_attention", "a scaled rotation of sliding layers");
    if (part != 1.0) hf_refuse(config, "sliding_attention", "a rotation of sliding layers that is partial");
    hf_put_f32(config, "rope.freq_base_swa", theta);
}

void hf_config_rope(struct hf_config *config)
{
    const json_t *rope = main_rope(config);
    double theta = theta_of(config, rope);
    uint32_t dims = dims_of(config, rope);
    if (config->status < 0) return;
    hf_put_f32(config, "rope.freq_base", theta);
    if (strcmp(config->family->architecture, "step35") == 0) {
        if (dims != config->shape.head_dim / 2)
            hf_refuse(config, "partial_rotary_factor", "must be 0.5 for this model_type");
    } else if (dims > 0) {
        hf_put_u32(config, "rope.dimension_count", dims);
    }
    put_scaling(config, rope);
    put_local(config);
}

/* ---- divisors ---- */

/* Llama 3: low frequencies by the factor, high ones not at all, those between smoothly. */
static void llama3_divisors(struct hf_config *config, const json_t *rope, uint32_t dims, float *out)
{
    double factor = 0, low = 1, high = 4, original = 0, theta = theta_of(config, rope);
    hf_get_f64(config, rope, "factor", &factor);
    hf_get_f64(config, rope, "low_freq_factor", &low);
    hf_get_f64(config, rope, "high_freq_factor", &high);
    hf_get_f64(config, rope, "original_max_position_embeddings", &original);
    if (!(factor > 0 && original > 0 && low > 0 && high >= low))
        hf_refuse(config, "rope_scaling", "llama3 with settings that contradict each other");
    for (uint32_t i = 0; i < dims / 2 && config->status == 0; i++) {
        double wave = TWO_PI * pow(theta, 2.0 * i / dims), smooth = (original / wave - low) / (high - low);
        if (wave < original / high)
            out[i] = 1.0f;
        else if (wave > original / low)
            out[i] = (float)factor;
        else
            out[i] = (float)(1.0 / ((1.0 - smooth) / factor + smooth));
    }
}

static void read_divisors(struct hf_config *config, const json_t *rope, const char *key, uint32_t n, float *out)
{
    const json_t *list = hf_get_list(config, rope, key);
    if (config->status == 0 && json_array_size(list) != n) hf_refuse(config, key, "not one number for each frequency");
    for (uint32_t i = 0; i < n && config->status == 0; i++) {
        out[i] = (float)json_number_value(json_array_get(list, i));
        if (!isfinite(out[i]) || out[i] <= 0) hf_refuse(config, key, "a number that is not above 0");
    }
}

float *hf_rope_divisors(struct hf_config *config, unsigned which, uint32_t *n)
{
    const json_t *rope = main_rope(config);
    const char *type = type_of(config, rope);
    bool is_llama3 = strcmp(type, "llama3") == 0, is_long = strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0;
    uint32_t dims = dims_of(config, rope);
    *n = 0;
    if (config->status < 0 || (!is_llama3 && !is_long) || (is_llama3 && which != 0)) return NULL;
    /* Step 3.5 has room for all of a head's frequencies, of which the layers concerned turn half. */
    bool whole_head = strcmp(config->family->architecture, "step35") == 0;
    uint32_t count = whole_head ? config->shape.head_dim / 2 : dims / 2;
    float *out = count > 0 && count <= MAX_DIMENSIONS ? memory_array(count, sizeof *out) : NULL;
    if (out == NULL) {
        config->status =
            error_set(config->err, ERROR_NO_MEMORY, "%s: no memory for %u frequencies", config->file, count);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) out[i] = 1.0f;
    if (is_llama3)
        llama3_divisors(config, rope, dims, out);
    else
        read_divisors(config, rope, which == 0 ? "short_factor" : "long_factor", count, out);
    *n = count;
    if (config->status == 0) return out;
    free(out);
    return NULL;
}
