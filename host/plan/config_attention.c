/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of a layer from a config.json, for each of its kinds. */
#include "host/plan/config_families.h"

#include <string.h>

#define MAX_RANK (1u << 16)
#define MAX_SPARSE (1u << 16) /* positions that a card's attention takes */
#define INDEXED_RATE 4u       /* layers of this rate have an indexer (configuration class of deepseek_v4) */

/* "full_attention", "sliding_attention", ... of this layer; NULL if the config has no list. */
static const char *layer_type(struct config_reader *reader, const struct architecture *architecture, uint32_t layer)
{
    json_t *types = config_array(reader, "layer_types", architecture->n_layers);
    return types != NULL ? config_element_text(reader, "layer_types", types, layer) : NULL;
}

/* The rule for layers without layer_types: whether this one is the one in `period` that sees all tokens. */
static bool sees_all(struct config_reader *reader, const struct config_family *family, uint32_t layer)
{
    static const char *const keys[] = {"sliding_window_pattern", "_sliding_window_pattern", "no_rope_layer_interval",
                                       "full_attention_interval", NULL};
    uint32_t period = config_u32_or(reader, config_key_of(reader, keys), 1, ARCHITECTURE_MAX_LAYERS,
                                    family->period ? family->period : 1);
    return (layer + 1) % period == 0;
}

static bool is_windowed(struct config_reader *reader, const struct config_family *family, uint32_t layer)
{
    switch (family->windows) {
    case CONFIG_WINDOWS_NONE: return false;
    case CONFIG_WINDOWS_ALL: return config_get(reader, "sliding_window") != NULL;
    case CONFIG_WINDOWS_ON_REQUEST:
        return config_bool_or(reader, "use_sliding_window", false) &&
               layer >= config_u32_or(reader, "max_window_layers", 0, ARCHITECTURE_MAX_LAYERS, 0);
    case CONFIG_WINDOWS_PERIOD:
    case CONFIG_WINDOWS_CHUNKS: break;
    }
    return !sees_all(reader, family, layer);
}

/* Window or chunk; returns whether the layer sees only a part of the tokens. */
static bool read_window(struct config_reader *reader, const struct architecture *architecture,
                        const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    const char *type = layer_type(reader, architecture, layer);
    bool chunked = family->windows == CONFIG_WINDOWS_CHUNKS;
    bool windowed = is_windowed(reader, family, layer);
    if (type != NULL && strcmp(type, "full_attention") == 0) windowed = false;
    if (type != NULL && strcmp(type, "sliding_attention") == 0) windowed = true;
    if (type != NULL && strcmp(type, "chunked_attention") == 0) windowed = chunked = true;
    if (windowed && chunked) attention->chunk = config_u32(reader, "attention_chunk_size", 1, UINT32_MAX >> 1);
    if (windowed && !chunked) attention->window = config_u32(reader, "sliding_window", 1, UINT32_MAX >> 1);
    return windowed;
}

/* The part of a head that turns. */
static uint32_t read_rope_dims(struct config_reader *reader, uint32_t head_dim)
{
    float factor = config_f32_or(reader, "partial_rotary_factor", 0);
    json_t *rope = config_get(reader, "rope_parameters");
    if (factor == 0 && json_is_object(rope)) {
        struct config_reader inner = *reader;
        inner.object = rope;
        factor = config_f32_or(&inner, "partial_rotary_factor", 0);
        reader->status = inner.status;
    }
    if (factor > 1) config_bad(reader, ERROR_BAD_FILE, "partial_rotary_factor", "is above 1");
    return factor == 0 || factor > 1 ? head_dim : (uint32_t)((float)head_dim * factor) & ~1u;
}

static void check_heads(struct config_reader *reader, const char *key, uint32_t heads, uint32_t kv_heads)
{
    if (heads % kv_heads != 0)
        config_bad(reader, ERROR_BAD_FILE, key, "(%u) does not divide the %u heads", kv_heads, heads);
}

static void read_sizes(struct config_reader *reader, const struct architecture *architecture,
                       struct attention_shape *attention)
{
    static const char *const kv_heads[] = {"num_key_value_heads", "num_attention_groups", NULL};
    const char *key = config_key_of(reader, kv_heads);
    attention->heads = config_u32(reader, "num_attention_heads", 1, ARCHITECTURE_MAX_HEADS);
    attention->kv_heads = config_u32_or(reader, key, 1, ARCHITECTURE_MAX_HEADS, attention->heads);
    check_heads(reader, key, attention->heads, attention->kv_heads);
    uint32_t head_dim = config_u32_or(reader, "head_dim", 2, CARD_MAX_HEAD_DIM, 0);
    if (head_dim == 0) {
        head_dim = architecture->d_model / attention->heads;
        if (architecture->d_model % attention->heads != 0 || head_dim < 2 || head_dim > CARD_MAX_HEAD_DIM)
            config_bad(reader, ERROR_BAD_FILE, "hidden_size",
                       "(%u) over num_attention_heads (%u) gives no head of 2 to %u", architecture->d_model,
                       attention->heads, CARD_MAX_HEAD_DIM);
    }
    attention->key_dim = attention->value_dim = head_dim;
    attention->rope_dims = read_rope_dims(reader, head_dim);
}

void config_read_heads(struct config_reader *reader, const struct architecture *architecture,
                       const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    bool llama4 = strcmp(family->model_type, "llama4_text") == 0, gpt_oss = strcmp(family->model_type, "gpt_oss") == 0;
    read_sizes(reader, architecture, attention);
    bool windowed = read_window(reader, architecture, family, layer, attention);
    bool bias = config_bool_or(reader, "attention_bias", family->query_bias);
    attention->query_key_value_bias = bias || family->query_bias;
    attention->output_bias = gpt_oss;
    attention->sinks = gpt_oss;
    attention->score_cap = config_f32_or(reader, "attn_logit_softcapping", 0);
    attention->query_key_norm = family->query_key_norm;
    if (config_bool_or(reader, "use_qk_norm", false)) attention->query_key_norm = QUERY_KEY_NORM_HEAD;
    attention->each_head_norm = strncmp(family->model_type, "cohere", 6) == 0;
    if (llama4) {
        bool norm = windowed && config_bool_or(reader, "use_qk_norm", true);
        attention->query_key_norm = norm ? QUERY_KEY_NORM_UNWEIGHTED : QUERY_KEY_NORM_NONE;
    }
    if (!windowed && (llama4 || strcmp(family->model_type, "cohere2") == 0)) attention->rope_dims = 0;
}

void config_read_step(struct config_reader *reader, const struct architecture *architecture,
                      const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    read_sizes(reader, architecture, attention);
    attention->query_key_norm = family->query_key_norm;
    attention->gate =
        config_bool_or(reader, "use_head_wise_attn_gate", true) ? ATTENTION_GATE_HEAD : ATTENTION_GATE_NONE;
    if (!read_window(reader, architecture, family, layer, attention)) {
        attention->rope_dims = attention->key_dim / 2;
        return;
    }
    attention->rope_dims = attention->key_dim;
    attention->heads =
        config_u32_or(reader, "num_sliding_attention_heads", 1, ARCHITECTURE_MAX_HEADS, attention->heads);
    json_t *other = config_get(reader, "attention_other_setting");
    if (json_is_object(other)) {
        struct config_reader inner = *reader;
        inner.object = other;
        inner.section = "attention_other_setting.";
        attention->heads = config_u32(&inner, "num_attention_heads", 1, ARCHITECTURE_MAX_HEADS);
        reader->status = inner.status;
    }
    check_heads(reader, "num_attention_heads", attention->heads, attention->kv_heads);
}

/* Whether the layer of a family that mixes both has linear attention. */
static bool is_linear(struct config_reader *reader, const struct architecture *architecture,
                      const struct config_family *family, uint32_t layer)
{
    const char *type = layer_type(reader, architecture, layer);
    return type != NULL ? strcmp(type, "linear_attention") == 0 : !sees_all(reader, family, layer);
}

void config_read_delta(struct config_reader *reader, const struct architecture *architecture,
                       const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    if (!is_linear(reader, architecture, family, layer)) {
        read_sizes(reader, architecture, attention);
        attention->query_key_norm = family->query_key_norm;
        attention->gate =
            config_bool_or(reader, "attn_output_gate", true) ? ATTENTION_GATE_ELEMENT : ATTENTION_GATE_NONE;
        return;
    }
    attention->kind = ATTENTION_LINEAR;
    attention->heads = config_u32(reader, "linear_num_value_heads", 1, ARCHITECTURE_MAX_HEADS);
    attention->kv_heads = config_u32(reader, "linear_num_key_heads", 1, ARCHITECTURE_MAX_HEADS);
    check_heads(reader, "linear_num_key_heads", attention->heads, attention->kv_heads);
    attention->key_dim = config_u32(reader, "linear_key_head_dim", 2, CARD_MAX_HEAD_DIM);
    attention->value_dim = config_u32(reader, "linear_value_head_dim", 2, CARD_MAX_HEAD_DIM);
    attention->conv_width = config_u32(reader, "linear_conv_kernel_dim", 2, 8);
}

static struct indexer read_indexer(struct config_reader *reader, const struct architecture *architecture,
                                   uint32_t layer)
{
    struct indexer indexer = {0};
    if (config_get(reader, "index_topk") == NULL) return indexer;
    indexer.top_k = config_u32(reader, "index_topk", 1, MAX_SPARSE);
    indexer.heads = config_u32(reader, "index_n_heads", 1, ARCHITECTURE_MAX_HEADS);
    indexer.head_dim = config_u32(reader, "index_head_dim", 2, CARD_MAX_HEAD_DIM);
    json_t *types = config_array(reader, "indexer_types", architecture->n_layers);
    if (types != NULL)
        indexer.shared = strcmp(config_element_text(reader, "indexer_types", types, layer), "shared") == 0;
    if (indexer.shared && layer == 0) config_bad(reader, ERROR_BAD_FILE, "indexer_types", "starts with a shared layer");
    return indexer;
}

void config_read_latent(struct config_reader *reader, const struct architecture *architecture,
                        const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    (void)family;
    attention->kind = ATTENTION_LATENT;
    attention->heads = config_u32(reader, "num_attention_heads", 1, ARCHITECTURE_MAX_CHOICES);
    attention->kv_heads = 1;
    attention->query_rank = config_u32_or(reader, "q_lora_rank", 1, MAX_RANK, 0);
    attention->kv_rank = config_u32(reader, "kv_lora_rank", 1, CARD_MAX_HEAD_DIM);
    attention->rope_dims = config_u32(reader, "qk_rope_head_dim", 2, CARD_MAX_HEAD_DIM);
    attention->key_dim = config_u32(reader, "qk_nope_head_dim", 1, CARD_MAX_HEAD_DIM) + attention->rope_dims;
    attention->value_dim = config_u32(reader, "v_head_dim", 1, CARD_MAX_HEAD_DIM);
    uint32_t whole = config_u32_or(reader, "qk_head_dim", 1, CARD_MAX_HEAD_DIM, attention->key_dim);
    if (whole != attention->key_dim)
        config_bad(reader, ERROR_BAD_FILE, "qk_head_dim", "is %u, but qk_nope_head_dim and qk_rope_head_dim make %u",
                   whole, attention->key_dim);
    if (attention->kv_rank + attention->rope_dims > CARD_MAX_HEAD_DIM)
        config_bad(reader, ERROR_UNSUPPORTED, "kv_lora_rank", "and qk_rope_head_dim make %u, more than a card's %u",
                   attention->kv_rank + attention->rope_dims, CARD_MAX_HEAD_DIM);
    attention->indexer = read_indexer(reader, architecture, layer);
}

void config_read_channel_delta(struct config_reader *reader, const struct architecture *architecture,
                               const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    json_t *linear = config_get(reader, "linear_attn_config");
    bool listed = false;
    if (json_is_object(linear) && layer_type(reader, architecture, layer) == NULL) {
        size_t index;
        json_t *entry;
        json_array_foreach(json_object_get(linear, "kda_layers"), index, entry) /* counted from 1 */
            listed = listed || (json_is_integer(entry) && json_integer_value(entry) == (json_int_t)layer + 1);
    }
    const char *type = layer_type(reader, architecture, layer);
    if (type != NULL ? strcmp(type, "linear_attention") != 0 : !listed) {
        config_read_latent(reader, architecture, family, layer, attention);
        if (config_bool_or(reader, "mla_use_nope", false)) attention->no_rotation = true;
        return;
    }
    struct config_reader inner = *reader;
    inner.object = linear;
    inner.section = "linear_attn_config.";
    attention->kind = ATTENTION_LINEAR;
    attention->heads = attention->kv_heads = config_u32(&inner, "num_heads", 1, ARCHITECTURE_MAX_HEADS);
    attention->key_dim = attention->value_dim = config_u32(&inner, "head_dim", 2, CARD_MAX_HEAD_DIM);
    attention->conv_width = config_u32(&inner, "short_conv_kernel_size", 2, 8);
    attention->decay_rank = attention->key_dim;
    reader->status = inner.status;
}

/* Tokens of one compressed entry: by number, or by the layer's type. */
static uint32_t read_rate(struct config_reader *reader, const struct architecture *architecture, uint32_t layer)
{
    json_t *ratios = config_array(reader, "compress_ratios", architecture->n_layers);
    if (ratios != NULL) return config_element_u32(reader, "compress_ratios", ratios, layer, 0, 1u << 16);
    const char *type = layer_type(reader, architecture, layer);
    if (type == NULL) {
        config_bad(reader, ERROR_BAD_FILE, "compress_ratios", "is missing (an entry for each layer)");
        return 0;
    }
    if (strcmp(type, "sliding_attention") == 0) return 0;
    struct config_reader inner = *reader;
    inner.object = config_get(reader, "compress_rates");
    inner.section = "compress_rates.";
    uint32_t rate = config_u32(&inner, type, 1, 1u << 16);
    reader->status = inner.status;
    return rate;
}

void config_read_compressed(struct config_reader *reader, const struct architecture *architecture,
                            const struct config_family *family, uint32_t layer, struct attention_shape *attention)
{
    (void)family;
    attention->kind = ATTENTION_COMPRESSED;
    attention->heads = config_u32(reader, "num_attention_heads", 1, ARCHITECTURE_MAX_HEADS);
    attention->kv_heads = 1;
    attention->key_dim = attention->value_dim = config_u32(reader, "head_dim", 2, CARD_MAX_HEAD_DIM);
    attention->rope_dims = config_u32(reader, "qk_rope_head_dim", 2, attention->key_dim);
    attention->query_rank = config_u32(reader, "q_lora_rank", 1, MAX_RANK);
    attention->output_groups = config_u32(reader, "o_groups", 1, ARCHITECTURE_MAX_CHOICES);
    attention->output_rank = config_u32(reader, "o_lora_rank", 1, MAX_RANK);
    attention->window = config_u32(reader, "sliding_window", 1, UINT32_MAX >> 1);
    attention->sinks = true;
    attention->compress_rate = read_rate(reader, architecture, layer);
    check_heads(reader, "o_groups", attention->heads, attention->output_groups);
    const char *type = layer_type(reader, architecture, layer);
    if (type != NULL ? strcmp(type, "compressed_sparse_attention") == 0 : attention->compress_rate == INDEXED_RATE)
        attention->indexer = read_indexer(reader, architecture, layer);
}
