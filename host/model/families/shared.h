/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of families that are alike but for a name and a setting. */
#ifndef SLUICE_MODEL_FAMILIES_SHARED_H
#define SLUICE_MODEL_FAMILIES_SHARED_H

#include "host/model/model_config.h"

/* DeepSeek V3.2's layers: latent attention to the keys that an indexer chooses, experts. (sparse_latent.c) */
int sparse_latent_configure(const struct gguf *file, const char *architecture, bool interleaved_index,
                            struct model_config *config, struct error *err);

/* V3's and V3.2's tensors: a bias for the choice of experts where the file has it. */
void latent_experts_declare(const struct model_config *config, struct tensor_table *table);

/* Qwen3-Next's and 3.5's layers: gated delta nets, every fourth layer attention with a gate; with or without experts. (gated_delta.c) */
int gated_delta_configure(const struct gguf *file, const char *architecture, bool has_experts, bool tiled_keys,
                          struct model_config *config, struct error *err);

/* one_beta_alpha: both of one matrix. */
void gated_delta_declare(const struct model_config *config, struct tensor_table *table, bool one_beta_alpha);

#endif
