/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits below are far beyond any model there is, and small enough that no size computed from them overflows 64 bits:
 * tokens * experts used * width is at most 2^12 * 2^8 * 2^24.
 */
#include "host/model/model_config.h"

#include "host/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_LAYERS 1024u
#define MAX_WIDTH (1u << 20)
#define MAX_FFN_WIDTH (1u << 24)
#define MAX_HEADS 4096u
#define MAX_VOCAB (1u << 26)
#define KEY_BYTES 96

struct key {
    char text[KEY_BYTES];
};

static struct key key_of(const char *architecture, const char *suffix)
{
    struct key key;
    (void)snprintf(key.text, sizeof key.text, "%s.%s", architecture, suffix);
    return key;
}

/* 1 if there, 0 if absent, or an error. */
int model_config_optional_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t low,
                              uint32_t high, uint32_t *out, struct error *err)
{
    struct key key = key_of(architecture, suffix);
    int found = gguf_get_u32(file, key.text, out, err);
    if (found <= 0) return found;
    if (*out < low || *out > high)
        return error_set(err, ERROR_BAD_FILE, "%s is %u (must be %u to %u)", key.text, *out, low, high);
    return 1;
}

int model_config_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t low, uint32_t high,
                     uint32_t *out, struct error *err)
{
    int found = model_config_optional_u32(file, architecture, suffix, low, high, out, err);
    if (found == 0) return error_set(err, ERROR_BAD_FILE, "the header has no %s.%s", architecture, suffix);
    return found < 0 ? found : 0;
}

/* A float that must be finite and above zero. 1 if there, 0 if absent, or an error. */
int model_config_optional_f32(const struct gguf *file, const char *architecture, const char *suffix, float *out,
                              struct error *err)
{
    struct key key = key_of(architecture, suffix);
    int found = gguf_get_f32(file, key.text, out, err);
    if (found <= 0) return found;
    if (!isfinite(*out) || *out <= 0.0f)
        return error_set(err, ERROR_BAD_FILE, "%s is %g (must be above 0)", key.text, (double)*out);
    return 1;
}

static bool is_array(const struct gguf *file, const char *arch, const char *suffix)
{
    struct key key = key_of(arch, suffix);
    const struct gguf_value *value = gguf_find(file, key.text);
    return value != NULL && value->type == GGUF_TYPE_ARRAY;
}

int model_config_optional_bool(const struct gguf *file, const char *architecture, const char *suffix, bool *out,
                               struct error *err)
{
    struct key key = key_of(architecture, suffix);
    return gguf_get_bool(file, key.text, out, err);
}

int model_config_layer_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t layer,
                           uint32_t low, uint32_t high, uint32_t *out, struct error *err)
{
    struct key key = key_of(architecture, suffix);
    int64_t value;
    if (!is_array(file, architecture, suffix))
        return model_config_optional_u32(file, architecture, suffix, low, high, out, err);
    if (!gguf_array_i64(gguf_find(file, key.text), layer, &value))
        return error_set(err, ERROR_BAD_FILE, "%s has no number for layer %u", key.text, layer);
    if (value < (int64_t)low || value > (int64_t)high)
        return error_set(err, ERROR_BAD_FILE, "%s of layer %u is %lld (must be %u to %u)", key.text, layer,
                         (long long)value, low, high);
    *out = (uint32_t)value;
    return 1;
}

int model_config_layer_f32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t layer,
                           float *out, struct error *err)
{
    struct key key = key_of(architecture, suffix);
    if (!is_array(file, architecture, suffix)) return gguf_get_f32(file, key.text, out, err);
    if (!gguf_array_f32(gguf_find(file, key.text), layer, out) || !isfinite(*out))
        return error_set(err, ERROR_BAD_FILE, "%s has no number for layer %u", key.text, layer);
    return 1;
}

static int read_epsilon(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    int found = model_config_optional_f32(file, arch, "attention.layer_norm_rms_epsilon", &c->norm_epsilon, err);
    if (found == 0)
        found = model_config_optional_f32(file, arch, "attention.layer_norm_epsilon", &c->norm_epsilon, err);
    if (found == 0)
        return error_set(err, ERROR_BAD_FILE, "the header has no %s.attention.layer_norm_rms_epsilon", arch);
    return found < 0 ? found : 0;
}

/* Of the first layer; families whose layers differ read the others (model_config_heads). */
static int read_heads(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    int found = model_config_layer_u32(file, arch, "attention.head_count", 0, 1, MAX_HEADS, &c->n_heads, err);
    if (found == 0) return error_set(err, ERROR_BAD_FILE, "the header has no %s.attention.head_count", arch);
    if (found < 0) return found;
    c->n_kv_heads = c->n_heads;
    found = model_config_layer_u32(file, arch, "attention.head_count_kv", 0, 0, MAX_HEADS, &c->n_kv_heads, err);
    if (found < 0) return found;
    if (c->n_kv_heads == 0 && !is_array(file, arch, "attention.head_count_kv"))
        return error_set(err, ERROR_BAD_FILE, "%s.attention.head_count_kv is 0 (must be 1 to %u)", arch, MAX_HEADS);
    if (c->n_kv_heads == 0) c->n_kv_heads = 1; /* no pages in the first layer */
    if (c->n_heads % c->n_kv_heads != 0)
        return error_set(err, ERROR_BAD_FILE, "%s.attention.head_count (%u) is no multiple of head_count_kv (%u)", arch,
                         c->n_heads, c->n_kv_heads);
    return 0;
}

static int read_sizes(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    const struct {
        const char *suffix;
        uint32_t high, *out;
    } required[] = {
        {"block_count", MAX_LAYERS, &c->n_layers},
        {"embedding_length", MAX_WIDTH, &c->d_model},
        {"context_length", UINT32_MAX, &c->context_length},
    };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        int result = model_config_u32(file, arch, required[i].suffix, 1, required[i].high, required[i].out, err);
        if (result < 0) return result;
    }
    uint32_t width = 0; /* of experts: models with nothing else have no other */
    int found = model_config_optional_u32(file, arch, "expert_feed_forward_length", 1, MAX_FFN_WIDTH, &width, err);
    if (found == 0) found = model_config_u32(file, arch, "feed_forward_length", 1, MAX_FFN_WIDTH, &c->d_ff, err);
    if (found == 1)
        found = model_config_optional_u32(file, arch, "feed_forward_length", 1, MAX_FFN_WIDTH, &c->d_ff, err);
    if (found < 0) return found;
    int result = read_heads(file, arch, c, err);
    return result < 0 ? result : read_epsilon(file, arch, c, err);
}

/* Layers that predict further tokens are among block_count's, after all others. */
static int read_predictions(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    int found =
        model_config_optional_u32(file, arch, "nextn_predict_layers", 0, c->n_layers - 1, &c->n_prediction_layers, err);
    if (found >= 0)
        found =
            model_config_optional_u32(file, arch, "prediction_tensors", 0, UINT32_MAX, &c->n_prediction_tensors, err);
    if (found < 0) return found;
    c->n_layers -= c->n_prediction_layers;
    return 0;
}

static int read_head_dim(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    int found = model_config_optional_u32(file, arch, "attention.key_length", 2, CARD_MAX_HEAD_DIM, &c->head_dim, err);
    if (found < 0) return found;
    if (found == 0) {
        c->head_dim = c->d_model / c->n_heads;
        if (c->d_model % c->n_heads != 0 || c->head_dim < 2 || c->head_dim > CARD_MAX_HEAD_DIM)
            return error_set(err, ERROR_BAD_FILE,
                             "%s.embedding_length (%u) over attention.head_count (%u) gives no head size of 2 to %u",
                             arch, c->d_model, c->n_heads, CARD_MAX_HEAD_DIM);
    }
    if (c->head_dim % 2 != 0) return error_set(err, ERROR_BAD_FILE, "%s: head size %u is odd", arch, c->head_dim);
    uint32_t value_length = c->head_dim;
    found = model_config_optional_u32(file, arch, "attention.value_length", 1, CARD_MAX_HEAD_DIM, &value_length, err);
    if (found < 0) return found;
    uint32_t rank = 0; /* of MLA, whose pages hold keys only */
    if (found == 0 || value_length == c->head_dim) found = 1;
    if (value_length != c->head_dim)
        found = model_config_optional_u32(file, arch, "attention.kv_lora_rank", 1, CARD_MAX_HEAD_DIM, &rank, err);
    if (found < 0) return found;
    if (value_length != c->head_dim && found == 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s.attention.value_length (%u) other than the key length (%u) is not supported", arch,
                         value_length, c->head_dim);
    if ((uint64_t)c->n_heads * c->head_dim > MAX_FFN_WIDTH)
        return error_set(err, ERROR_BAD_FILE, "%s: %u heads of %u are more than %u wide", arch, c->n_heads, c->head_dim,
                         MAX_FFN_WIDTH);
    return 0;
}

/* The tensors say how many rows the vocabulary has; the tokenizer's list may be shorter (padding), never longer. */
static int read_vocabulary(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    const struct gguf_tensor *embedding = gguf_find_tensor(file, "token_embd.weight");
    if (embedding == NULL) return 0; /* the tensor table will list it as missing, with the others */
    uint64_t rows = embedding->dimension[1];
    if (rows > MAX_VOCAB)
        return error_set(err, ERROR_BAD_FILE, "token_embd.weight has %llu rows (at most %u)", (unsigned long long)rows,
                         MAX_VOCAB);
    c->n_vocab = (uint32_t)rows;
    const struct gguf_value *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    if (tokens != NULL && tokens->type == GGUF_TYPE_ARRAY && tokens->count > rows)
        return error_set(err, ERROR_BAD_FILE,
                         "the vocabulary does not match the tensors: %llu tokens, but token_embd.weight has %llu rows",
                         (unsigned long long)tokens->count, (unsigned long long)rows);
    uint32_t stated = 0;
    int found = model_config_optional_u32(file, arch, "vocab_size", 1, MAX_VOCAB, &stated, err);
    if (found < 0) return found;
    if (found == 1 && stated > rows)
        return error_set(
            err, ERROR_BAD_FILE,
            "the vocabulary does not match the tensors: %s.vocab_size is %u, but token_embd.weight has %llu "
            "rows",
            arch, stated, (unsigned long long)rows);
    return 0;
}

int model_config_refuse_window(const struct gguf *file, const char *architecture, const struct model_config *config,
                               struct error *err)
{
    uint32_t window = 0;
    int found = model_config_optional_u32(file, architecture, "attention.sliding_window", 0, UINT32_MAX, &window, err);
    if (found < 0) return found;
    if (window == 0 || window >= config->context_length) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s.attention.sliding_window (%u) is not supported", architecture, window);
}

/* Experts in a dense family would be left out of the sums. */
static int refuse_experts(const struct gguf *file, const char *arch, struct error *err)
{
    uint32_t n_experts = 0;
    int found = model_config_optional_u32(file, arch, "expert_count", 0, UINT32_MAX, &n_experts, err);
    if (found < 0) return found;
    if (n_experts == 0) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "architecture %s with experts (%s.expert_count is %u) is not supported",
                     arch, arch, n_experts);
}

static int check_experts(const char *arch, const struct model_config *c, struct error *err)
{
    if (c->n_experts_used <= c->n_experts) return 0;
    return error_set(err, ERROR_BAD_FILE, "%s.expert_used_count (%u) is more than expert_count (%u)", arch,
                     c->n_experts_used, c->n_experts);
}

/* What layers are before the family says more: all alike, and nothing scaled. */
static int set_defaults(struct model_config *c, struct error *err)
{
    c->layers = memory_array(c->n_layers, sizeof *c->layers);
    if (c->layers == NULL) return error_set(err, ERROR_NO_MEMORY, "layers: out of memory");
    for (uint32_t i = 0; i < c->n_layers; i++)
        c->layers[i] =
            (struct layer_config){.n_heads = c->n_heads, .n_kv_heads = c->n_kv_heads, .rope_dims = c->rope_dims};
    c->attention_scale = 1.0f / sqrtf((float)c->head_dim);
    c->embedding_scale = c->logit_scale = 1.0f;
    c->router.scale = 1.0f;
    return 0;
}

int model_config_read(const struct gguf *file, const struct family *family, struct model_config *config,
                      struct error *err)
{
    const char *arch = family->architecture;
    *config = (struct model_config){0};
    int result = read_sizes(file, arch, config, err);
    if (result == 0) result = read_predictions(file, arch, config, err);
    if (result == 0) result = read_head_dim(file, arch, config, err);
    if (result == 0) result = model_config_rope(file, arch, config, err);
    if (result == 0) result = read_vocabulary(file, arch, config, err);
    if (result == 0) result = model_config_refuse_settings(file, family, config, err);
    if (result == 0) result = set_defaults(config, err);
    if (result == 0) result = family->configure(file, config, err);
    if (result == 0 && config->n_experts == 0) result = refuse_experts(file, arch, err);
    if (result == 0) result = check_experts(arch, config, err);
    return result;
}
