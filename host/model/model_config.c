/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits below are far beyond any model there is, and small enough that no size computed from them overflows 64 bits:
 * tokens * experts used * width is at most 2^12 * 2^8 * 2^24.
 */
#include "host/model/model_config.h"

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
static int optional_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t low,
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
    int found = optional_u32(file, architecture, suffix, low, high, out, err);
    if (found == 0) return error_set(err, ERROR_BAD_FILE, "the header has no %s.%s", architecture, suffix);
    return found < 0 ? found : 0;
}

/* A float that must be finite and above zero. 1 if there, 0 if absent, or an error. */
static int optional_f32(const struct gguf *file, const char *architecture, const char *suffix, float *out,
                        struct error *err)
{
    struct key key = key_of(architecture, suffix);
    int found = gguf_get_f32(file, key.text, out, err);
    if (found <= 0) return found;
    if (!isfinite(*out) || *out <= 0.0f)
        return error_set(err, ERROR_BAD_FILE, "%s is %g (must be above 0)", key.text, (double)*out);
    return 1;
}

static int read_sizes(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    const struct {
        const char *suffix;
        uint32_t high, *out;
    } required[] = {
        {"block_count", MAX_LAYERS, &c->n_layers},          {"embedding_length", MAX_WIDTH, &c->d_model},
        {"feed_forward_length", MAX_FFN_WIDTH, &c->d_ff},   {"attention.head_count", MAX_HEADS, &c->n_heads},
        {"context_length", UINT32_MAX, &c->context_length},
    };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        int result = model_config_u32(file, arch, required[i].suffix, 1, required[i].high, required[i].out, err);
        if (result < 0) return result;
    }
    c->n_kv_heads = c->n_heads;
    int found = optional_u32(file, arch, "attention.head_count_kv", 1, MAX_HEADS, &c->n_kv_heads, err);
    if (found < 0) return found;
    if (c->n_heads % c->n_kv_heads != 0)
        return error_set(err, ERROR_BAD_FILE, "%s.attention.head_count (%u) is no multiple of head_count_kv (%u)", arch,
                         c->n_heads, c->n_kv_heads);
    found = optional_f32(file, arch, "attention.layer_norm_rms_epsilon", &c->norm_epsilon, err);
    if (found == 0)
        return error_set(err, ERROR_BAD_FILE, "the header has no %s.attention.layer_norm_rms_epsilon", arch);
    return found < 0 ? found : 0;
}

static int read_head_dim(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    int found = optional_u32(file, arch, "attention.key_length", 2, CARD_MAX_HEAD_DIM, &c->head_dim, err);
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
    found = optional_u32(file, arch, "attention.value_length", 1, CARD_MAX_HEAD_DIM, &value_length, err);
    if (found < 0) return found;
    if (value_length != c->head_dim)
        return error_set(err, ERROR_UNSUPPORTED,
                         "%s.attention.value_length (%u) other than the key length (%u) is not supported", arch,
                         value_length, c->head_dim);
    if ((uint64_t)c->n_heads * c->head_dim > MAX_FFN_WIDTH)
        return error_set(err, ERROR_BAD_FILE, "%s: %u heads of %u are more than %u wide", arch, c->n_heads, c->head_dim,
                         MAX_FFN_WIDTH);
    return 0;
}

static bool string_is(struct gguf_string string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.bytes, text, string.length) == 0;
}

static int read_rope_scaling(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    c->rope_scaling = ROPE_SCALING_NONE;
    c->rope_scaling_factor = 1.0f;
    struct key key = key_of(arch, "rope.scaling.type");
    struct gguf_string type;
    int found = gguf_get_string(file, key.text, &type, err);
    if (found < 0) return found;
    bool linear = found == 1 && string_is(type, "linear");
    if (found == 1 && !linear && !string_is(type, "none"))
        return error_set(err, ERROR_UNSUPPORTED, "%s \"%.*s\" is not supported (supported: none, linear)", key.text,
                         (int)(type.length < 40 ? type.length : 40), type.bytes);
    const char *suffix = "rope.scaling.factor";
    if (found == 0) { /* before rope.scaling.* there was one key, and it meant linear */
        suffix = "rope.scale_linear";
        found = optional_f32(file, arch, suffix, &c->rope_scaling_factor, err);
        if (found == 1) c->rope_scaling = ROPE_SCALING_LINEAR;
    } else if (linear) {
        found = optional_f32(file, arch, suffix, &c->rope_scaling_factor, err);
        if (found == 0)
            return error_set(err, ERROR_BAD_FILE, "%s is linear but %s.%s is missing", key.text, arch, suffix);
        c->rope_scaling = ROPE_SCALING_LINEAR;
    }
    return found < 0 ? found : 0;
}

static int read_rope(const struct gguf *file, const char *arch, struct model_config *c, struct error *err)
{
    c->rope_theta = 10000.0f; /* the default of the architecture's first model */
    int found = optional_f32(file, arch, "rope.freq_base", &c->rope_theta, err);
    if (found < 0) return found;
    c->rope_dims = c->head_dim;
    found = optional_u32(file, arch, "rope.dimension_count", 2, c->head_dim, &c->rope_dims, err);
    if (found < 0) return found;
    if (c->rope_dims % 2 != 0)
        return error_set(err, ERROR_BAD_FILE, "%s.rope.dimension_count is %u (must be even)", arch, c->rope_dims);
    return read_rope_scaling(file, arch, c, err);
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
    int found = optional_u32(file, arch, "vocab_size", 1, MAX_VOCAB, &stated, err);
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
    int found = optional_u32(file, architecture, "attention.sliding_window", 0, UINT32_MAX, &window, err);
    if (found < 0) return found;
    if (window == 0 || window >= config->context_length) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "%s.attention.sliding_window (%u) is not supported", architecture, window);
}

/* Experts in a dense family would be left out of the sums. */
static int refuse_experts(const struct gguf *file, const char *arch, struct error *err)
{
    uint32_t n_experts = 0;
    int found = optional_u32(file, arch, "expert_count", 0, UINT32_MAX, &n_experts, err);
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

int model_config_read(const struct gguf *file, const struct family *family, struct model_config *config,
                      struct error *err)
{
    const char *arch = family->architecture;
    *config = (struct model_config){0};
    int result = read_sizes(file, arch, config, err);
    if (result == 0) result = read_head_dim(file, arch, config, err);
    if (result == 0) result = read_rope(file, arch, config, err);
    if (result == 0) result = read_vocabulary(file, arch, config, err);
    if (result == 0) result = model_config_refuse_settings(file, arch, config, err);
    if (result == 0) result = family->configure(file, config, err);
    if (result == 0 && config->n_experts == 0) result = refuse_experts(file, arch, err);
    if (result == 0) result = check_experts(arch, config, err);
    return result;
}
