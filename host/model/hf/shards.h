/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors files of one folder: as model.safetensors.index.json says, or else all that are there. */
#ifndef SLUICE_MODEL_HF_SHARDS_H
#define SLUICE_MODEL_HF_SHARDS_H

#include "host/model/hf/safetensors.h"

struct hf_shards {
    struct safetensors **files; /* owned */
    unsigned n_files;
    const struct safetensors_tensor **tensors; /* owned; of all files, by name */
    size_t n_tensors;
};

/* On error *shards is as hf_shards_close leaves it or needs it. */
int hf_shards_open(const char *folder, struct hf_shards *shards, struct error *err);
void hf_shards_close(struct hf_shards *shards);

/* The tensor with this name, or NULL; context is a struct hf_shards. */
const struct safetensors_tensor *hf_shards_find(const void *context, const char *name);

#endif
