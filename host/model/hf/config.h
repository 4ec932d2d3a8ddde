/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json of a folder, said in the keys of a GGUF header ("llama.block_count", ...), so that model_config.c and the families
 * read and check one kind of header. Keys: transformers' configuration classes, in the layout of version 5 (rope_parameters) and
 * in the older one (rope_theta, rope_scaling).
 */
#ifndef SLUICE_MODEL_HF_CONFIG_H
#define SLUICE_MODEL_HF_CONFIG_H

#include "host/model/hf/header_writer.h"

#include <jansson.h>

#define HF_MAX_LAYERS 1024u

/* What the order of rows in a folder's matrices depends on. */
struct hf_shape {
    uint32_t n_layers, n_heads, n_kv_heads, head_dim, d_model, n_vocab;
    uint32_t kv_rank, nope_dims, rope_dims, value_dims; /* MLA */
    uint32_t linear_keys, linear_values, linear_key_dims, linear_value_dims;
    bool tied;
};

struct hf_rope; /* config_rope.c */

/* One kind of model: how its config.json is read and, in names.c, what its tensors are called. */
struct hf_family {
    const char *model_type;   /* of config.json, or of its text_config */
    const char *architecture; /* general.architecture */
    const char *activation;   /* hidden_act that the family computes */
    unsigned traits;          /* HF_TRAIT_* */
};

#define HF_TRAIT_ROPE_PAIRS 1u       /* rows of query and key are put in pairs, as llama.cpp's converter does */
#define HF_TRAIT_NORM_PLUS_ONE 2u    /* norms multiply by 1 + weight */
#define HF_TRAIT_POST_NORM 4u        /* post_attention_layernorm is "post_attention_norm", not the FFN's norm */
#define HF_TRAIT_MLA 8u              /* latent attention */
#define HF_TRAIT_INDEXER 16u         /* sparse attention */
#define HF_TRAIT_LINEAR 32u          /* gated delta nets (Qwen) */
#define HF_TRAIT_TILED_VALUES 64u    /* their value heads lie in turn (llama.cpp's order for Qwen 3.5) */
#define HF_TRAIT_EXPERTS 128u        /* may have experts */
#define HF_TRAIT_LAYER_NORM 256u     /* layer_norm_eps instead of rms_norm_eps */
#define HF_TRAIT_WINDOW 512u         /* computes sliding_window */
#define HF_TRAIT_FUSED_EXPERTS 1024u /* gate and up of experts stay one matrix */
#define HF_TRAIT_ENCODER                                                                                               \
    2048u /* encoder and decoder (T5), whose configuration has other names for all that others share */

struct hf_config {
    json_t *root;         /* borrowed: of the text model */
    json_t *quantization; /* borrowed; NULL: none */
    const char *file;     /* config.json's path, for messages */
    const struct hf_family *family;
    struct hf_shape shape;
    struct header_writer *out;
    struct error *err;
    int status; /* of the first error: what follows it does nothing */
};

/*
 * Recognises the model and writes its keys to out. root is config.json's, borrowed as long as config. ERROR_UNSUPPORTED names the key
 * that says what is not supported.
 */
int hf_config_read(json_t *root, const char *file, struct header_writer *out, struct hf_config *config,
                   struct error *err);

/* For config*.c and weights.c. Numbers are refused outside [low, high]; *value stays where the key is absent or null. */
bool hf_get_u32(struct hf_config *config, const json_t *from, const char *key, uint32_t low, uint32_t high,
                uint32_t *value);
bool hf_get_f64(struct hf_config *config, const json_t *from, const char *key, double *value);
bool hf_get_bool(struct hf_config *config, const json_t *from, const char *key, bool *value);
const char *hf_get_string(struct hf_config *config, const json_t *from, const char *key); /* NULL: absent or null */
json_t *hf_get_list(struct hf_config *config, const json_t *from, const char *key);       /* NULL: absent or null */
void hf_need_u32(struct hf_config *config, const char *key, uint32_t low, uint32_t high, uint32_t *value);
void hf_refuse(struct hf_config *config, const char *key, const char *why);

/* Writes "<architecture>.<suffix>". */
void hf_put_u32(struct hf_config *config, const char *suffix, uint32_t value);
void hf_put_f32(struct hf_config *config, const char *suffix, double value);
void hf_put_bool(struct hf_config *config, const char *suffix, bool value);
void hf_put_string(struct hf_config *config, const char *suffix, const char *text);
void hf_put_list(struct hf_config *config, const char *suffix, enum gguf_type type, uint32_t count);

/* Rotation and its scaling; MLA's factor on the scores. Layers of two kinds: the main table is that of full attention. (config_rope.c) */
void hf_config_rope(struct hf_config *config);

/*
 * What the inverse frequencies are divided by, [rope dims / 2], or NULL (no scaling by divisors, *n is 0). which 0: for all contexts, or
 * short ones; 1: for long ones. Owned by the caller. (config_rope.c)
 */
float *hf_rope_divisors(struct hf_config *config, unsigned which, uint32_t *n);

/* Experts and their router; latent attention and its indexer; gated delta nets; which layers slide. (config_layers.c) */
void hf_config_experts(struct hf_config *config);
void hf_config_latent(struct hf_config *config);
void hf_config_linear(struct hf_config *config);
void hf_config_windows(struct hf_config *config);

/* All of T5's. (config_t5.c) */
void hf_config_t5(struct hf_config *config);

/* What only one family has. (config_families.c) */
void hf_config_special(struct hf_config *config);

#endif
