/* SPDX-License-Identifier: Apache-2.0 */
/* T5's config.json: transformers' T5Config, whose names and defaults are its own. */
#include "host/model/hf/config.h"

#include <math.h>
#include <string.h>

#define MAX_WIDTH (1u << 24)
#define MAX_HEADS 4096u
#define MAX_VOCAB (1u << 26)
#define MAX_HEAD_DIM (1u << 16)
#define MAX_DISTANCE (1u << 16)

static void read_sizes(struct hf_config *config, uint32_t *n_decoder)
{
    struct hf_shape *s = &config->shape;
    hf_need_u32(config, "num_layers", 1, HF_MAX_LAYERS, &s->n_layers);
    hf_need_u32(config, "d_model", 1, MAX_WIDTH, &s->d_model);
    hf_need_u32(config, "d_kv", 1, MAX_HEAD_DIM, &s->head_dim);
    hf_need_u32(config, "num_heads", 1, MAX_HEADS, &s->n_heads);
    hf_need_u32(config, "vocab_size", 1, MAX_VOCAB, &s->n_vocab);
    s->n_kv_heads = s->n_heads;
    *n_decoder = s->n_layers;
    hf_get_u32(config, config->root, "num_decoder_layers", 1, HF_MAX_LAYERS, n_decoder);
}

/* Version 1.0 scales the decoder's result, 1.1 does not; before transformers 5 the sign of it was tie_word_embeddings. */
static void put_output(struct hf_config *config)
{
    bool scales = true;
    hf_get_bool(config, config->root, "tie_word_embeddings", &scales);
    hf_get_bool(config, config->root, "scale_decoder_outputs", &scales);
    config->shape.tied = scales;
    hf_put_f32(config, "logit_scale", scales ? 1.0 / sqrt((double)config->shape.d_model) : 1.0);
}

static void put_ffn(struct hf_config *config)
{
    uint32_t width = 0;
    const char *kind = hf_get_string(config, config->root, "feed_forward_proj");
    bool is_gated = kind != NULL && strcmp(kind, "gated-gelu") == 0;
    if (kind != NULL && !is_gated && strcmp(kind, "relu") != 0)
        hf_refuse(config, "feed_forward_proj", "only relu and gated-gelu are supported");
    const char *function = hf_get_string(config, config->root, "dense_act_fn");
    if (function != NULL && strcmp(function, is_gated ? "gelu_new" : "relu") != 0)
        hf_refuse(config, "dense_act_fn", "an activation that this model_type is not computed with");
    hf_need_u32(config, "d_ff", 1, MAX_WIDTH, &width);
    if (config->status < 0) return;
    hf_put_u32(config, "feed_forward_length", width);
    hf_put_bool(config, "feed_forward_gated", is_gated);
}

void hf_config_t5(struct hf_config *config)
{
    const struct hf_shape *s = &config->shape;
    uint32_t n_decoder = 0, context = 512, buckets = 32, distance = 128, start = 0; /* T5Config's defaults */
    double epsilon = 1e-6;
    read_sizes(config, &n_decoder);
    hf_get_u32(config, config->root, "n_positions", 1, UINT32_MAX, &context);
    hf_get_u32(config, config->root, "relative_attention_num_buckets", 1, MAX_DISTANCE, &buckets);
    hf_get_u32(config, config->root, "relative_attention_max_distance", 1, MAX_DISTANCE, &distance);
    hf_get_u32(config, config->root, "decoder_start_token_id", 0, UINT32_MAX, &start);
    hf_get_f64(config, config->root, "layer_norm_epsilon", &epsilon);
    put_ffn(config);
    if (config->status < 0) return;
    hf_put_u32(config, "block_count", s->n_layers);
    hf_put_u32(config, "decoder_block_count", n_decoder);
    hf_put_u32(config, "context_length", context);
    hf_put_u32(config, "embedding_length", s->d_model);
    hf_put_u32(config, "vocab_size", s->n_vocab);
    hf_put_u32(config, "attention.head_count", s->n_heads);
    hf_put_u32(config, "attention.key_length", s->head_dim);
    hf_put_u32(config, "attention.value_length", s->head_dim);
    hf_put_f32(config, "attention.layer_norm_rms_epsilon", epsilon);
    hf_put_u32(config, "attention.relative_buckets_count", buckets);
    hf_put_u32(config, "attention.relative_max_distance", distance);
    hf_put_u32(config, "decoder_start_token_id", start);
    put_output(config);
}
