/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a GGUF header for one layer: keys "<architecture>.*", a number or a list with one for each layer, and the shapes of
 * tensors "blk.N.*". The first thing that is wrong stays in status. Nobody outside host/plan includes this.
 */
#ifndef SLUICE_PLAN_GGUF_SHAPE_H
#define SLUICE_PLAN_GGUF_SHAPE_H

#include "host/model/gguf.h"
#include "host/plan/architecture_internal.h"

struct gguf_shape {
    const struct gguf *file; /* borrowed */
    char family[ARCHITECTURE_NAME_BYTES];
    uint32_t layer, d_model;
    struct error *err;
    int status;
};

/* Of this layer; NULL if the file does not have it. name: "attn_q.weight". */
const struct gguf_tensor *gguf_shape_tensor(const struct gguf_shape *shape, const char *name);

/* One dimension of the layer's tensor, in [1, high]: an error if it is missing. */
uint32_t gguf_shape_size(struct gguf_shape *shape, const char *name, unsigned dimension, uint32_t high);

bool gguf_shape_has_key(const struct gguf_shape *shape, const char *suffix);
/* The key's value for this layer in [low, high]; an error if it is missing or not there for the layer. */
uint32_t gguf_shape_u32(struct gguf_shape *shape, const char *suffix, uint32_t low, uint32_t high);
uint32_t gguf_shape_u32_or(struct gguf_shape *shape, const char *suffix, uint32_t low, uint32_t high,
                           uint32_t fallback);

void gguf_shape_bad(struct gguf_shape *shape, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool gguf_shape_is(const struct gguf_shape *shape, const char *family); /* general.architecture */

#endif
