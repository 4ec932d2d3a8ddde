/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T5 (Raffel et al., 2020): an encoder that sees all of its input at once, and a decoder with attention to what it made. Positions
 * are in what is added to the scores by distance, which the first layer of each has for all; scores are not scaled. Version 1.0 has a
 * dense FFN with ReLU and, tied to the embeddings, an output that is scaled; 1.1 and what came after it a gated one with GELU.
 */
#include "host/base/memory.h"
#include "host/model/model_config.h"

#include <math.h>

#define MOST_DISTANCE 128u /* relative_attention_max_distance of the released models; GGUF headers do not say it */
#define MAX_LAYERS 1024u
#define MAX_BUCKETS 65536u
#define MAX_DISTANCE 65536u

static const char *const computes[] = {"logit_scale", NULL};

/* The encoder's layers, then the decoder's. */
static int read_layers(const struct gguf *file, struct model_config *config, struct error *err)
{
    uint32_t n_decoder = config->n_layers;
    int found = model_config_optional_u32(file, "t5", "decoder_block_count", 1, MAX_LAYERS, &n_decoder, err);
    if (found < 0) return found;
    struct layer_config *layers = memory_grow(config->layers, config->n_layers + (size_t)n_decoder, sizeof *layers);
    if (layers == NULL) return error_set(err, ERROR_NO_MEMORY, "layers: out of memory");
    config->layers = layers;
    config->n_encoder_layers = config->n_layers;
    config->n_layers += n_decoder;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->layers[i] = (struct layer_config){.n_heads = config->n_heads, .n_kv_heads = config->n_kv_heads};
    return 0;
}

static int read_distances(const struct gguf *file, struct model_config *config, struct error *err)
{
    config->distance_most = MOST_DISTANCE;
    int result = model_config_u32(file, "t5", "attention.relative_buckets_count", 4, MAX_BUCKETS,
                                  &config->distance_buckets, err);
    if (result < 0) return result;
    int found = model_config_optional_u32(file, "t5", "attention.relative_max_distance", 1, MAX_DISTANCE,
                                          &config->distance_most, err);
    if (found < 0) return found;
    if (config->distance_buckets % 4 == 0 && config->distance_most > config->distance_buckets / 2) return 0;
    return error_set(
        err, ERROR_UNSUPPORTED,
        "t5.attention.relative_buckets_count is %u (supported: a multiple of 4, less than twice the longest distance "
        "of %u)",
        config->distance_buckets, config->distance_most);
}

/* Which version: folders of safetensors say it, GGUF headers leave it to the tensors. */
static int read_version(const struct gguf *file, struct model_config *config, struct error *err)
{
    const bool has_gate = gguf_find_tensor(file, "dec.blk.0.ffn_gate.weight") != NULL;
    const bool is_tied = gguf_find_tensor(file, "output.weight") == NULL;
    bool is_gated = has_gate;
    config->activation = has_gate ? CARD_ACTIVATION_GELU : CARD_ACTIVATION_RELU;
    if (!has_gate && is_tied) config->logit_scale = 1.0f / sqrtf((float)config->d_model);
    int found = model_config_optional_f32(file, "t5", "logit_scale", &config->logit_scale, err);
    if (found >= 0) found = model_config_optional_bool(file, "t5", "feed_forward_gated", &is_gated, err);
    if (found < 0) return found;
    if (is_gated == has_gate) return 0;
    return error_set(err, ERROR_BAD_FILE, "t5.feed_forward_gated and the tensors contradict each other");
}

static int configure(const struct gguf *file, struct model_config *config, struct error *err)
{
    int result = read_layers(file, config, err);
    if (result == 0) result = read_distances(file, config, err);
    if (result == 0) result = read_version(file, config, err);
    if (result < 0) return result;
    int found =
        model_config_optional_u32(file, "t5", "decoder_start_token_id", 0, UINT32_MAX, &config->start_token, err);
    if (found < 0) return found;
    if (config->start_token >= config->n_vocab && config->n_vocab > 0)
        return error_set(err, ERROR_BAD_FILE, "t5.decoder_start_token_id is %u, the vocabulary has %u tokens",
                         config->start_token, config->n_vocab);
    config->rope_dims = 0;
    config->attention_scale = 1.0f;
    /* The header's is that of each; here they share one. */
    config->context_length = config->context_length > UINT32_MAX / 2 ? UINT32_MAX : 2 * config->context_length;
    return 0;
}

static void declare_cross(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    const struct layer_config *l = &config->layers[layer];
    uint32_t query = l->n_heads * config->head_dim, kv = l->n_kv_heads * config->head_dim;
    tensor_table_add(table, TENSOR_CROSS_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_CROSS_Q, layer, query, config->d_model);
    tensor_table_add(table, TENSOR_CROSS_K, layer, kv, config->d_model);
    tensor_table_add(table, TENSOR_CROSS_V, layer, kv, config->d_model);
    tensor_table_add(table, TENSOR_CROSS_OUTPUT, layer, config->d_model, query);
}

static void declare(const struct model_config *config, struct tensor_table *table)
{
    planner_declare_layers(config, table);
    tensor_table_rename(table, TENSOR_OUTPUT_NORM, 0, "dec.output_norm.weight");
    tensor_table_add(table, TENSOR_ENCODER_NORM, 0, 1, config->d_model);
    tensor_table_add(table, TENSOR_ENCODER_DISTANCES, 0, config->distance_buckets, config->n_heads);
    tensor_table_add(table, TENSOR_DECODER_DISTANCES, 0, config->distance_buckets, config->n_heads);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        tensor_table_rename(table, TENSOR_ATTN_OUTPUT, layer, "attn_o.weight");
        if (config->activation == CARD_ACTIVATION_RELU) tensor_table_remove(table, TENSOR_FFN_GATE, layer);
        if (layer >= config->n_encoder_layers) declare_cross(config, table, layer);
    }
}

const struct family family_t5 = {
    .architecture = "t5",
    .computes = computes,
    .configure = configure,
    .declare = declare,
    .plan = planner_layers,
};
