/* SPDX-License-Identifier: Apache-2.0 */
/* A family's rules, and the readers of attention that families share. Nobody outside host/plan includes this. */
#ifndef SLUICE_PLAN_CONFIG_FAMILIES_H
#define SLUICE_PLAN_CONFIG_FAMILIES_H

#include "host/plan/architecture_internal.h"

/* Which layers have a window when the config has no layer_types. */
enum config_windows {
    CONFIG_WINDOWS_NONE,
    CONFIG_WINDOWS_ALL,        /* all, if there is a sliding_window */
    CONFIG_WINDOWS_ON_REQUEST, /* from layer max_window_layers on, if use_sliding_window */
    CONFIG_WINDOWS_PERIOD,     /* all but every period-th */
    CONFIG_WINDOWS_CHUNKS,     /* the same, with chunks */
};

struct config_family;
/* Fills one layer's attention; errors stay in reader. */
typedef void (*config_attention_reader)(struct config_reader *reader, const struct architecture *architecture,
                                        const struct config_family *family, uint32_t layer,
                                        struct attention_shape *attention);

struct config_family {
    const char *model_type;
    config_attention_reader read;
    enum config_windows windows;
    uint32_t period; /* every period-th layer sees all tokens, if the config does not say */
    enum query_key_norm query_key_norm;
    bool query_bias; /* of query, key and value, if the config does not say */
    bool tied, experts, shared_gate, sigmoid, renormalize;
};

/* (config_attention.c) */
void config_read_heads(struct config_reader *reader, const struct architecture *architecture,
                       const struct config_family *family, uint32_t layer, struct attention_shape *attention);
void config_read_step(struct config_reader *reader, const struct architecture *architecture,
                      const struct config_family *family, uint32_t layer, struct attention_shape *attention);
void config_read_delta(struct config_reader *reader, const struct architecture *architecture,
                       const struct config_family *family, uint32_t layer, struct attention_shape *attention);
void config_read_latent(struct config_reader *reader, const struct architecture *architecture,
                        const struct config_family *family, uint32_t layer, struct attention_shape *attention);
void config_read_compressed(struct config_reader *reader, const struct architecture *architecture,
                            const struct config_family *family, uint32_t layer, struct attention_shape *attention);
void config_read_channel_delta(struct config_reader *reader, const struct architecture *architecture,
                               const struct config_family *family, uint32_t layer, struct attention_shape *attention);

#endif
