/* SPDX-License-Identifier: Apache-2.0 */
/* Hyperparameters from the header, every value checked before anything is computed from it. */
#ifndef SLUICE_MODEL_MODEL_CONFIG_H
#define SLUICE_MODEL_MODEL_CONFIG_H

#include "host/model/family.h"
#include "host/model/model.h"

/*
 * Fills config from the "<architecture>.*" keys of file, then lets the family's configure add its own. n_vocab is taken
 * from the rows of token_embd.weight and compared with the tokenizer's list. ERROR_BAD_FILE names the key that is
 * missing, out of range or in contradiction to another; ERROR_UNSUPPORTED a setting that is not implemented.
 */
int model_config_read(const struct gguf *file, const struct family *family, struct model_config *config,
                      struct error *err);

/* For families: an integer key "<architecture>.<suffix>" that must be there and lie in [low, high]. */
int model_config_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t low, uint32_t high,
                     uint32_t *out, struct error *err);

/* The same of keys that may be absent: 1 if there, 0 if not (*out stays), or an error. Floats must be finite and above 0. */
int model_config_optional_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t low,
                              uint32_t high, uint32_t *out, struct error *err);
int model_config_optional_f32(const struct gguf *file, const char *architecture, const char *suffix, float *out,
                              struct error *err);
int model_config_optional_bool(const struct gguf *file, const char *architecture, const char *suffix, bool *out,
                               struct error *err);

/* Of a layer: the key's number for all layers, or an element of its array of numbers or bools. 1, 0 or an error. */
int model_config_layer_u32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t layer,
                           uint32_t low, uint32_t high, uint32_t *out, struct error *err);
int model_config_layer_f32(const struct gguf *file, const char *architecture, const char *suffix, uint32_t layer,
                           float *out, struct error *err);

/* Heads of each layer, where head_count and head_count_kv may be arrays. (model_config_layers.c, as what follows) */
int model_config_heads(const struct gguf *file, const char *architecture, struct model_config *config,
                       struct error *err);

/*
 * A sliding window: every period-th layer sees all (period 0: none does), unless sliding_window_pattern says which
 * slide. Windows as long as the context are none.
 */
int model_config_windows(const struct gguf *file, const char *architecture, uint32_t period,
                         struct model_config *config, struct error *err);

/*
 * Experts: counts, widths, groups, shared ones and the router's keys, over what config->router says already (the
 * family's defaults, scale 0: 1). Layers from leading_dense_block_count on have experts.
 */
int model_config_experts(const struct gguf *file, const char *architecture, struct model_config *config,
                         struct error *err);

/* MLA: ranks and dimensions; every layer becomes LAYER_LATENT; YaRN's factor goes to the scores. */
int model_config_latent(const struct gguf *file, const char *architecture, struct model_config *config,
                        struct error *err);

/* Gated delta nets (ssm.*): layers that recurrent_layers or full_attention_interval name become LAYER_LINEAR. */
int model_config_linear(const struct gguf *file, const char *architecture, struct model_config *config,
                        struct error *err);

/* The indexer of sparse attention, for every layer or those that indexer.types names. */
int model_config_indexer(const struct gguf *file, const char *architecture, struct model_config *config,
                         struct error *err);

/* The caps and scales of scores and logits that a family computes. */
int model_config_caps(const struct gguf *file, const char *architecture, struct model_config *config,
                      struct error *err);

/* The natural logarithm of x > 0 to 2^-46, the same on every machine. (rope_table.c) */
double model_log(double x);

/* Rotation: base, dimensions, scaling. (model_config_rope.c) */
int model_config_rope(const struct gguf *file, const char *architecture, struct model_config *config,
                      struct error *err);

/* For families without a sliding window: refuses a file that has one shorter than its context. */
int model_config_refuse_window(const struct gguf *file, const char *architecture, const struct model_config *config,
                               struct error *err);

/* Refuses a file with a setting that changes the arithmetic and that the family does not compute (model_config_neutral.c). */
int model_config_refuse_settings(const struct gguf *file, const struct family *family,
                                 const struct model_config *config, struct error *err);

#endif
