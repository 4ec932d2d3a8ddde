/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/architecture.h"

#include "host/base/memory.h"
#include "host/plan/shape_tensors.h"

#include <stdio.h>
#include <string.h>

int architecture_new(uint32_t n_layers, struct architecture **out, struct error *err)
{
    struct architecture *architecture = memory_array(1, sizeof *architecture);
    if (architecture != NULL) architecture->layers = memory_array(n_layers, sizeof *architecture->layers);
    if (architecture == NULL || architecture->layers == NULL) {
        free(architecture);
        return error_set(err, ERROR_NO_MEMORY, "an architecture of %u layers: out of memory", n_layers);
    }
    architecture->n_layers = n_layers;
    *out = architecture;
    return 0;
}

void architecture_close(struct architecture *architecture)
{
    if (architecture == NULL) return;
    free(architecture->layers);
    free(architecture);
}

void architecture_put_text(char *field, size_t size, const char *text) { (void)snprintf(field, size, "%s", text); }

void architecture_set_formats(struct architecture *architecture, const struct architecture_formats *formats)
{
    for (uint32_t i = 0; i < architecture->n_layers; i++) {
        uint8_t *layer = architecture->layers[i].formats;
        for (unsigned role = 0; role < WEIGHT_ROLES; role++) {
            unsigned format = role <= WEIGHT_ATTENTION_OUTPUT ? formats->attention
                              : role <= WEIGHT_DOWN           ? formats->ffn
                                                              : formats->experts;
            if (format != 0) layer[role] = (uint8_t)format;
        }
    }
    if (formats->output != 0) architecture->output_format = (uint8_t)formats->output;
}

static unsigned four_bit_format(const char *released)
{
    if (strcmp(released, "mxfp4") == 0) return CARD_FORMAT_MXFP4;
    return strcmp(released, "int4") == 0 ? CARD_FORMAT_INT4 : 0;
}

void architecture_default_formats(struct architecture *architecture, const char *experts, const char *rest)
{
    struct architecture_formats formats = {CARD_FORMAT_INT4, CARD_FORMAT_INT4, CARD_FORMAT_INT4, CARD_FORMAT_INT8};
    if (four_bit_format(experts) != 0) {
        formats.experts = four_bit_format(experts);
        formats.attention = formats.ffn = four_bit_format(rest) != 0 ? four_bit_format(rest) : CARD_FORMAT_INT8;
    }
    architecture_set_formats(architecture, &formats);
    architecture_put_text(architecture->released_as, sizeof architecture->released_as, experts);
}

int architecture_check_size(const struct architecture *architecture, const char *name, struct error *err)
{
    const uint64_t most = 1ull << 50;
    struct shape_tensor tensors[SHAPE_IDS];
    uint64_t total = 0;
    for (uint32_t i = 0; i < architecture->n_layers; i++) {
        shape_layer_tensors(architecture, i, tensors);
        for (unsigned id = 0; id < SHAPE_IDS; id++) {
            total += shape_tensor_values(&tensors[id]); /* each below 2^57 */
            if (total > most)
                return error_set(err, ERROR_TOO_LARGE, "%s: more than 2^50 parameters up to layer %u", name, i);
        }
    }
    return 0;
}

const char *attention_kind_name(const struct attention_shape *a)
{
    switch (a->kind) {
    case ATTENTION_LATENT: return a->indexer.top_k != 0 ? "MLA, sparse" : "MLA";
    case ATTENTION_LINEAR: return a->decay_rank != 0 ? "linear, by channel" : "linear";
    case ATTENTION_COMPRESSED:
        return a->compress_rate == 0   ? "compressed, window"
               : a->indexer.top_k != 0 ? "compressed, sparse"
                                       : "compressed";
    case ATTENTION_HEADS: break;
    }
    bool each = a->kv_heads == a->heads;
    if (a->window != 0) return each ? "MHA, window" : "GQA, window";
    if (a->chunk != 0) return each ? "MHA, chunk" : "GQA, chunk";
    return each ? "MHA" : "GQA";
}

void architecture_count(const struct architecture *architecture, struct architecture_parameters *parameters)
{
    struct shape_tensor tensors[SHAPE_IDS], model[SHAPE_MODEL_IDS];
    uint64_t embedding = (uint64_t)architecture->n_vocab * architecture->d_model;
    shape_model_tensors(architecture, model);
    *parameters = (struct architecture_parameters){architecture->tied ? 0 : embedding, 0};
    for (unsigned id = 0; id < SHAPE_MODEL_IDS; id++) {
        parameters->total += shape_tensor_values(&model[id]);
        parameters->active += shape_tensor_values(&model[id]);
    }
    for (uint32_t i = 0; i < architecture->n_layers; i++) {
        const struct ffn_shape *ffn = &architecture->layers[i].ffn;
        shape_layer_tensors(architecture, i, tensors);
        for (unsigned id = 0; id < SHAPE_IDS; id++) {
            uint64_t values = shape_tensor_values(&tensors[id]);
            bool some = tensors[id].part == SHAPE_PART_EXPERTS;
            parameters->total += values;
            parameters->active += some ? values / ffn->experts * ffn->experts_used : values;
        }
    }
}
