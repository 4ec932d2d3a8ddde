/* SPDX-License-Identifier: Apache-2.0 */
/* Card memory of an architecture by what it is for, without a card. */
#include "host/plan/shape_place.h"
#include "host/plan/shape_planner.h"

static void add_tensor(const struct shape_tensor *tensor, struct shape_bytes *bytes)
{
    uint64_t size = shape_tensor_bytes(tensor);
    if (tensor->kind == SHAPE_VECTOR) {
        bytes->vectors += size;
        return;
    }
    switch (tensor->part) {
    case SHAPE_PART_ATTENTION: bytes->attention += size; break;
    case SHAPE_PART_FFN: bytes->ffn += size; break;
    case SHAPE_PART_SHARED: bytes->shared_experts += size; break;
    case SHAPE_PART_EXPERTS: bytes->experts += size; break;
    case SHAPE_PART_ROUTERS: bytes->routers += size; break;
    }
}

void shape_layer_experts(const struct architecture_layer *layer, uint32_t d_model, struct shape_experts *out)
{
    const struct ffn_shape *f = &layer->ffn;
    *out = (struct shape_experts){.experts = f->experts, .experts_used = f->experts_used};
    if (f->experts == 0) return;
    const struct shape_tensor matrices[3] = {
        {f->expert_width, d_model, 1, layer->formats[WEIGHT_EXPERT_GATE], SHAPE_MATRIX, 0},
        {f->expert_width, d_model, 1, layer->formats[WEIGHT_EXPERT_UP], SHAPE_MATRIX, 0},
        {d_model, f->expert_width, 1, layer->formats[WEIGHT_EXPERT_DOWN], SHAPE_MATRIX, 0},
    };
    for (unsigned i = 0; i < 3; i++) out->one_bytes += shape_tensor_bytes(&matrices[i]);
    out->all_bytes = out->one_bytes * f->experts;
}

/* Weights that a step of one token reads. */
static uint64_t token_weights(const struct shape_bytes *bytes, const struct shape_place *place)
{
    uint64_t sum =
        bytes->attention + bytes->ffn + bytes->shared_experts + bytes->routers + bytes->output + bytes->vectors;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++) {
        struct shape_experts experts;
        shape_layer_experts(&place->architecture->layers[i], place->architecture->d_model, &experts);
        sum += experts.one_bytes * experts.experts_used;
    }
    return sum;
}

static void add_pools(const struct shape_place *place, const struct shape_layer_place *layer, struct shape_bytes *bytes)
{
    for (unsigned pool = 0; pool < SHAPE_POOLS; pool++) {
        const struct shape_pool_place *p = &layer->pools[pool];
        if (p->kv_heads == 0) continue;
        const struct shape_table_kind *kind = &place->tables[p->table];
        if (kind->window != 0)
            bytes->state += p->page_bytes * shape_table_pages(kind, place->options.max_context);
        else
            bytes->kv_page += (p->page_bytes + kind->rate - 1) / kind->rate;
    }
}

static void add_layer(const struct shape_place *place, uint32_t index, struct shape_bytes *bytes)
{
    const struct shape_layer_place *layer = shape_place_layer(place, index);
    struct shape_experts experts;
    for (unsigned id = 0; id < SHAPE_IDS; id++) {
        const struct shape_tensor *tensor = &layer->tensors[id];
        if (tensor->rows != 0 && tensor->kind >= SHAPE_TABLED)
            bytes->tables += card_round_up((uint64_t)tensor->matrices * sizeof(card_addr), CARD_WORD_BYTES);
        add_tensor(tensor, bytes);
    }
    shape_layer_experts(&place->architecture->layers[index], place->architecture->d_model, &experts);
    if (experts.one_bytes > bytes->expert) bytes->expert = experts.one_bytes;
    bytes->state += shape_state_bytes(&place->architecture->layers[index].attention);
    add_pools(place, layer, bytes);
}

int shape_bytes(const struct architecture *architecture, const struct shape_options *options, struct shape_bytes *bytes,
                struct error *err)
{
    struct shape_place place;
    *bytes = (struct shape_bytes){0};
    int result = shape_place_open(architecture, options, &place, err);
    if (result == 0) {
        for (uint32_t i = place.options.first_layer; i < place.options.end_layer; i++) add_layer(&place, i, bytes);
        for (unsigned id = 0; id < SHAPE_MODEL_IDS && shape_place_has_output(&place); id++)
            bytes->output += shape_tensor_bytes(&place.model[id]);
        bytes->embedding = (uint64_t)architecture->n_vocab * architecture->d_model * 2; /* F16 */
        bytes->token_weights = token_weights(bytes, &place);
        if (options->max_tokens > 0) result = shape_measure_step(&place, &bytes->step, err);
    }
    shape_place_close(&place);
    return result;
}
