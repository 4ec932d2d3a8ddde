/* SPDX-License-Identifier: Apache-2.0 */
/* What families read besides the common part: layers that differ, windows, experts, latents, indexers, caps. */
#include "host/model/model_config.h"

#include <math.h>
#include <stdio.h>

#define MAX_EXPERTS 4096u
#define MAX_EXPERTS_USED 256u /* choices of a token that a card takes */
#define MAX_HEADS 4096u
#define MAX_WIDTH (1u << 24)
#define MAX_RANK (1u << 20)
#define KEY_BYTES 96

int model_config_heads(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    for (uint32_t i = 0; i < c->n_layers; i++) {
        struct layer_config *l = &c->layers[i];
        int found = model_config_layer_u32(file, arch, "attention.head_count", i, 1, MAX_HEADS, &l->n_heads, err);
        if (found >= 0)
            found = model_config_layer_u32(file, arch, "attention.head_count_kv", i, 0, MAX_HEADS, &l->n_kv_heads, err);
        if (found < 0) return found;
        if (l->n_kv_heads != 0 && l->n_heads % l->n_kv_heads != 0)
            return error_set(err, ERROR_BAD_FILE, "%s: layer %u has %u heads, no multiple of %u KV heads", arch, i,
                             l->n_heads, l->n_kv_heads);
        if ((uint64_t)l->n_heads * c->head_dim > MAX_WIDTH)
            return error_set(err, ERROR_BAD_FILE, "%s: %u heads of %u are more than %u wide", arch, l->n_heads,
                             c->head_dim, MAX_WIDTH);
    }
    return 0;
}

int model_config_windows(const struct gguf *file, const char *arch, uint32_t period, struct model_config *c,
                         struct error *err)
{
    const char *pattern = "attention.sliding_window_pattern";
    uint32_t window = 0;
    int found = model_config_optional_u32(file, arch, "attention.sliding_window", 0, UINT32_MAX, &window, err);
    if (found < 0) return found;
    if (window >= c->context_length) window = 0;
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s.%s", arch, pattern);
    const struct gguf_value *value = gguf_find(file, key);
    bool is_array = value != NULL && value->type == GGUF_TYPE_ARRAY;
    if (value != NULL && !is_array) {
        found = model_config_optional_u32(file, arch, pattern, 1, UINT32_MAX, &period, err);
        if (found < 0) return found;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        uint32_t slides = period == 0 || (i + 1) % period != 0;
        if (is_array) found = model_config_layer_u32(file, arch, pattern, i, 0, 1, &slides, err);
        if (found < 0) return found;
        c->layers[i].window = slides ? window : 0;
        c->layers[i].is_local = slides;
    }
    return 0;
}

static int read_gating(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    uint32_t gating = 0;
    int found = model_config_optional_u32(file, arch, "expert_gating_func", 0, 2, &gating, err);
    if (gating == 1) c->router.scoring = CARD_SCORING_SOFTMAX;
    if (gating == 2) c->router.scoring = CARD_SCORING_SIGMOID;
    if (found >= 0) found = model_config_optional_bool(file, arch, "expert_weights_norm", &c->router.renormalize, err);
    float scale = 0;
    char key[KEY_BYTES];
    (void)snprintf(key, sizeof key, "%s.expert_weights_scale", arch);
    if (found >= 0) found = gguf_get_f32(file, key, &scale, err);
    if (found < 0) return found;
    if (!isfinite(scale) || scale < 0)
        return error_set(err, ERROR_BAD_FILE, "%s is %g (must be above 0)", key, (double)scale);
    if (scale > 0) c->router.scale = scale;
    return 0;
}

static int read_groups(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    struct router_config *r = &c->router;
    r->n_groups_used = 1;
    int found = model_config_optional_u32(file, arch, "expert_group_count", 0, c->n_experts, &r->n_groups, err);
    if (found >= 0)
        found =
            model_config_optional_u32(file, arch, "expert_group_used_count", 0, c->n_experts, &r->n_groups_used, err);
    if (found < 0 || r->n_groups <= 1) return found < 0 ? found : 0;
    if (c->n_experts % r->n_groups != 0 || r->n_groups_used == 0 || r->n_groups_used > r->n_groups ||
        c->n_experts / r->n_groups < 2 || c->n_experts / r->n_groups * r->n_groups_used < c->n_experts_used)
        return error_set(err, ERROR_BAD_FILE, "%s: %u of %u experts from %u of %u groups (expert_group_count)", arch,
                         c->n_experts_used, c->n_experts, r->n_groups_used, r->n_groups);
    return 0;
}

static int read_shared(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    uint32_t n = 0;
    int found = model_config_optional_u32(file, arch, "expert_shared_count", 0, 256, &n, err);
    if (found >= 0 && (uint64_t)n * c->d_expert_ff > MAX_WIDTH)
        return error_set(err, ERROR_BAD_FILE, "%s: %u shared experts of %u are more than %u wide", arch, n,
                         c->d_expert_ff, MAX_WIDTH);
    if (n > 0) c->router.d_shared_ff = n * c->d_expert_ff;
    if (found >= 0)
        found = model_config_optional_u32(file, arch, "expert_shared_feed_forward_length", 0, MAX_WIDTH,
                                          &c->router.d_shared_ff, err);
    return found < 0 ? found : 0;
}

int model_config_experts(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    uint32_t dense = 0;
    int result = model_config_u32(file, arch, "expert_count", 1, MAX_EXPERTS, &c->n_experts, err);
    if (result == 0)
        result = model_config_u32(file, arch, "expert_used_count", 1, MAX_EXPERTS_USED, &c->n_experts_used, err);
    if (result < 0) return result;
    c->d_expert_ff = c->d_ff;
    int found = model_config_optional_u32(file, arch, "expert_feed_forward_length", 1, MAX_WIDTH, &c->d_expert_ff, err);
    if (found >= 0)
        found = model_config_optional_u32(file, arch, "leading_dense_block_count", 0, c->n_layers, &dense, err);
    if (found < 0) return found;
    if (dense > 0 && c->d_ff == 0)
        return error_set(err, ERROR_BAD_FILE, "%s has dense layers and no %s.feed_forward_length", arch, arch);
    for (uint32_t i = dense; i < c->n_layers; i++) c->layers[i].has_experts = true;
    result = read_gating(file, arch, c, err);
    if (result == 0) result = read_groups(file, arch, c, err);
    return result < 0 ? result : read_shared(file, arch, c, err);
}

int model_config_latent(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    struct latent_config *m = &c->latent;
    uint32_t head = 0;
    float multiplier = 0;
    int result = model_config_u32(file, arch, "attention.kv_lora_rank", 1, CARD_MAX_HEAD_DIM, &m->kv_rank, err);
    if (result == 0)
        result = model_config_u32(file, arch, "attention.key_length_mla", 2, CARD_MAX_HEAD_DIM, &head, err);
    if (result == 0)
        result = model_config_u32(file, arch, "attention.value_length_mla", 1, CARD_MAX_HEAD_DIM, &m->value_dims, err);
    if (result < 0) return result;
    int found = model_config_optional_u32(file, arch, "attention.q_lora_rank", 0, MAX_RANK, &m->query_rank, err);
    if (found >= 0) found = model_config_optional_f32(file, arch, "rope.scaling.yarn_log_multiplier", &multiplier, err);
    if (found < 0) return found;
    m->rope_dims = c->rope_dims;
    if (head <= m->rope_dims || m->kv_rank + m->rope_dims > CARD_MAX_HEAD_DIM)
        return error_set(
            err, ERROR_BAD_FILE,
            "%s: attention.key_length_mla %u, rope.dimension_count %u and attention.kv_lora_rank %u do not "
            "fit together",
            arch, head, m->rope_dims, m->kv_rank);
    m->nope_dims = head - m->rope_dims;
    for (uint32_t i = 0; i < c->n_layers; i++) c->layers[i].attention = LAYER_LATENT;
    c->attention_scale = 1.0f / sqrtf((float)head);
    if (c->rope_scaling == ROPE_SCALING_YARN && c->rope_scaling_factor > 1.0f) {
        double factor = 1.0 + (double)multiplier * model_log((double)c->rope_scaling_factor);
        c->attention_scale *= (float)(factor * factor);
    }
    return 0;
}

static int read_linear_sizes(const struct gguf *file, const char *arch, struct model_config *c, uint32_t *n_values,
                             uint32_t *n_keys, struct error *err)
{
    uint32_t inner = 0;
    const struct {
        const char *suffix;
        uint32_t low, high, *out;
    } keys[] = {
        {"ssm.conv_kernel", 2, 8, &c->linear.conv_width}, {"ssm.state_size", 2, CARD_MAX_HEAD_DIM, &c->linear.key_dims},
        {"ssm.group_count", 1, MAX_HEADS, n_keys},        {"ssm.time_step_rank", 1, MAX_HEADS, n_values},
        {"ssm.inner_size", 1, MAX_WIDTH, &inner},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int result = model_config_u32(file, arch, keys[i].suffix, keys[i].low, keys[i].high, keys[i].out, err);
        if (result < 0) return result;
    }
    c->linear.value_dims = inner / *n_values;
    if (inner % *n_values != 0 || *n_values % *n_keys != 0 || c->linear.value_dims > CARD_MAX_HEAD_DIM)
        return error_set(err, ERROR_BAD_FILE,
                         "%s: ssm.inner_size %u, ssm.time_step_rank %u and ssm.group_count %u do not fit together",
                         arch, inner, *n_values, *n_keys);
    return 0;
}

int model_config_linear(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    uint32_t n_values, n_keys, period = 4; /* of the released models */
    int result = read_linear_sizes(file, arch, c, &n_values, &n_keys, err);
    if (result < 0) return result;
    int found = model_config_optional_u32(file, arch, "full_attention_interval", 1, c->n_layers, &period, err);
    if (found < 0) return found;
    c->recurrent = true;
    c->linear.activation = CARD_ACTIVATION_SILU;
    bool attends = false;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        struct layer_config *l = &c->layers[i];
        uint32_t linear = (i + 1) % period != 0;
        found = model_config_layer_u32(file, arch, "attention.recurrent_layers", i, 0, 1, &linear, err);
        if (found < 0) return found;
        attends = attends || !linear;
        if (linear)
            *l = (struct layer_config){
                .attention = LAYER_LINEAR, .n_heads = n_values, .n_kv_heads = n_keys, .has_experts = l->has_experts};
    }
    if (attends) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s.attention.recurrent_layers leaves no layer with attention", arch);
}

int model_config_indexer(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    struct index_config *x = &c->index;
    int result = model_config_u32(file, arch, "attention.indexer.head_count", 1, MAX_HEADS, &x->n_heads, err);
    if (result == 0)
        result = model_config_u32(file, arch, "attention.indexer.key_length", 2, CARD_MAX_HEAD_DIM, &x->head_dim, err);
    if (result == 0) result = model_config_u32(file, arch, "attention.indexer.top_k", 1, 1u << 16, &x->top_k, err);
    if (result < 0) return result;
    if (x->head_dim < c->latent.rope_dims || (uint64_t)x->n_heads * x->head_dim > MAX_WIDTH)
        return error_set(err, ERROR_BAD_FILE, "%s.attention.indexer: %u heads of %u, of which %u rotate", arch,
                         x->n_heads, x->head_dim, c->latent.rope_dims);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        uint32_t own = 1;
        int found = model_config_layer_u32(file, arch, "attention.indexer.types", i, 0, 1, &own, err);
        if (found < 0) return found;
        if (i == 0 && own == 0)
            return error_set(err, ERROR_BAD_FILE, "%s.attention.indexer.types: the first layer has no indexer to share",
                             arch);
        c->layers[i].indexes = own != 0;
        c->layers[i].is_sparse = true;
    }
    return 0;
}

int model_config_caps(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    const struct {
        const char *suffix;
        float *out;
    } keys[] = {
        {"attn_logit_softcapping", &c->score_cap}, {"final_logit_softcapping", &c->logit_cap},
        {"logit_scale", &c->logit_scale},          {"embedding_scale", &c->embedding_scale},
        {"attention.scale", &c->attention_scale},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        float value = 0;
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof key, "%s.%s", arch, keys[i].suffix);
        int found = gguf_get_f32(file, key, &value, err);
        if (found < 0) return found;
        if (!isfinite(value) || value < 0)
            return error_set(err, ERROR_BAD_FILE, "%s is %g (must be above 0)", key, (double)value);
        if (value > 0) *keys[i].out = value;
    }
    return 0;
}
