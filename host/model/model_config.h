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

/* For families without a sliding window: refuses a file that has one shorter than its context. */
int model_config_refuse_window(const struct gguf *file, const char *architecture, const struct model_config *config,
                               struct error *err);

/* Refuses a file with a setting that changes the arithmetic and that no family computes (model_config_neutral.c). */
int model_config_refuse_settings(const struct gguf *file, const char *architecture, const struct model_config *config,
                                 struct error *err);

#endif
