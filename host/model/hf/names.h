/* SPDX-License-Identifier: Apache-2.0 */
/* From a folder's matrices to the tensors of a GGUF file of the same model: names, and what must happen to the rows. */
#ifndef SLUICE_MODEL_HF_NAMES_H
#define SLUICE_MODEL_HF_NAMES_H

#include "host/model/hf/rows.h"

#define HF_NAME_BYTES 64 /* as GGUF's tensor names */

struct hf_tensor {
    char name[HF_NAME_BYTES];
    struct hf_rows rows;
};

struct hf_tensor_list {
    struct hf_tensor *items; /* owned, with their rows' parts */
    size_t count, capacity;
};

/*
 * Fills list with what these weights make of a model of this configuration. weights is borrowed by list. ERROR_UNSUPPORTED names a
 * tensor that has no place. Left out on purpose: vision and audio towers (text only), and the layers after the last one, which predict
 * further tokens.
 */
int hf_names_map(const struct hf_config *config, const struct hf_weights *weights, struct hf_tensor_list *list,
                 struct error *err);
/* Whether a tensor of this name belongs to a layer that predicts further tokens. */
bool hf_names_predicts(const struct hf_config *config, const char *name);
/* Whether a tensor of this name is left out: its type and shape are nobody's business then. */
bool hf_names_leave_out(const char *name);
void hf_tensor_list_release(struct hf_tensor_list *list);

#endif
