/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a model: the layers that one card of several has. */
#include "host/base/memory.h"
#include "host/model/division.h"
#include "host/model/model_internal.h"
#include "host/model/placement.h"

#include <string.h>

/* Whether layers from first to end - 1 are where the tensor at this index of the table belongs. */
static bool has_tensor(size_t index, uint32_t first, uint32_t end, uint32_t n_layers)
{
    if (index >= TENSOR_FIRST_LAYER_ROLE) {
        const size_t layer = (index - TENSOR_FIRST_LAYER_ROLE) / TENSOR_ROLES_PER_LAYER;
        return layer >= first && layer < end;
    }
    switch ((enum tensor_role)index) {
    case TENSOR_TOKEN_EMBD: return first == 0;
    case TENSOR_OUTPUT:
    case TENSOR_OUTPUT_NORM:
    case TENSOR_OUTPUT_NORM_BIAS: return end == n_layers;
    default: return true; /* what every layer turns by */
    }
}

static void leave_out(struct model *part, uint32_t first, uint32_t end)
{
    part->weight_bytes = 0;
    for (size_t i = 0; i < part->table.n_entries; i++) {
        struct tensor_entry *entry = &part->table.entries[i];
        if (!has_tensor(i, first, end, part->config.n_layers)) {
            entry->tensor = NULL;
            entry->packed = NULL;
        }
        if (entry->tensor != NULL) part->weight_bytes += entry->tensor->n_bytes;
    }
    for (uint32_t i = 0; i < part->config.n_layers; i++) {
        struct layer_config *layer = &part->config.layers[i];
        layer->is_elsewhere = layer->is_elsewhere || i < first || i >= end;
        if (layer->is_elsewhere) layer->has_experts = false;
    }
}

int model_part_open(const struct model *model, uint32_t first, uint32_t end, struct model **out, struct error *err)
{
    const uint32_t n_layers = model->config.n_layers;
    *out = NULL;
    if (first >= end || end > n_layers)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s has no layers %u to %u: it has %u", model->name, first, end,
                         n_layers);
    struct model *part = memory_array(1, sizeof *part);
    struct layer_config *layers = memory_array(n_layers, sizeof *layers);
    struct tensor_entry *entries = memory_array(model->table.n_entries, sizeof *entries);
    if (part == NULL || layers == NULL || entries == NULL) {
        free(part);
        free(layers);
        free(entries);
        return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", model->name);
    }
    *part = *model;
    part->is_part = true;
    part->config.layers = layers;
    part->table.entries = entries;
    memcpy(layers, model->config.layers, n_layers * sizeof *layers);
    memcpy(entries, model->table.entries, model->table.n_entries * sizeof *entries);
    leave_out(part, first, end);
    *out = part;
    return 0;
}

void model_part_layers(const struct model *part, uint32_t *first, uint32_t *end)
{
    const struct model_config *config = &part->config;
    *first = 0;
    *end = config->n_layers;
    while (*first < *end && config->layers[*first].is_elsewhere) ++*first;
    while (*end > *first && config->layers[*end - 1].is_elsewhere) --*end;
}

bool model_may_cut(const struct model *model, uint32_t layer)
{
    const struct model_config *config = &model->config;
    if (config->n_encoder_layers > 0) return false; /* what the encoder made is read by every layer of the decoder */
    for (uint32_t i = layer; i < config->n_layers; i++)
        if (config->layers[i].shares_kv && config->layers[i].kv_layer < layer) return false;
    for (; layer < config->n_layers && !config->layers[layer].indexes; layer++)
        if (config->layers[layer].is_sparse) return false;
    return true;
}

uint64_t division_output_bytes(const struct model *model, const struct card_info *info)
{
    struct tensor_tiles tiles;
    if (model->table.entries[TENSOR_OUTPUT].tensor == NULL ||
        placement_tiles(model, TENSOR_OUTPUT, info->weight_formats, &tiles, NULL) < 0)
        return 0;
    return tiles.n_tiles * tiles.tile_bytes;
}
