/* SPDX-License-Identifier: Apache-2.0 */
/* Slots that the layers of a shape share, laid out by the rules of host/model/expert_pool.c. */
#include "host/base/memory.h"
#include "host/model/expert_pool.h"
#include "host/plan/shape_place.h"

static const enum shape_id matrices[EXPERT_POOL_MATRICES] = {SHAPE_EXPERT_GATE, SHAPE_EXPERT_UP, SHAPE_EXPERT_DOWN};

/* A layer's expert in pieces for so many banks. */
static struct expert_pool_layer lay_out(const struct shape_layer_place *layer, unsigned n_pieces)
{
    struct expert_pool_layer out = {0};
    for (unsigned m = 0; m < EXPERT_POOL_MATRICES; m++) {
        const struct shape_tensor *tensor = &layer->tensors[matrices[m]];
        const uint64_t tiles = card_round_up(tensor->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
        out.offset[m] = out.piece_bytes;
        if (tensor->rows == 0) continue;
        out.piece_bytes +=
            card_round_up((tiles + n_pieces - 1) / n_pieces * card_tile_bytes(tensor->format, tensor->cols),
                          n_pieces > 1 ? 1 : CARD_WORD_BYTES);
    }
    out.tables = layer->address[SHAPE_EXPERT_GATE];
    return out;
}

static uint64_t longest_piece(const struct shape_place *place, unsigned n_pieces)
{
    uint64_t longest = 0;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++) {
        const struct expert_pool_layer layer = lay_out(shape_place_layer(place, i), n_pieces);
        if (layer.piece_bytes > longest) longest = layer.piece_bytes;
    }
    return longest;
}

static uint64_t count_experts(const struct shape_place *place)
{
    uint64_t n = 0;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++)
        n += place->architecture->layers[i].ffn.experts;
    return n;
}

int shape_place_slots_of_pool(struct shape_place *place, unsigned n_banks, struct error *err)
{
    const uint32_t n = place->options.pool_slots;
    unsigned banks = n_banks;
    uint64_t piece = longest_piece(place, banks), offset = 0;
    if (piece == 0) return error_set(err, ERROR_BAD_ARGUMENT, "%s has no experts", place->architecture->name);
    place->slots = memory_array(n, sizeof *place->slots);
    if (place->slots == NULL) return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    const uint32_t dealt_as = place->options.pool_dealt_as != 0 ? place->options.pool_dealt_as : n;
    while (banks > 1 && piece < expert_pool_least_piece(banks, dealt_as, count_experts(place)))
        piece = longest_piece(place, banks /= 2);
    place->slot_pieces = banks;
    place->slot_bytes = piece * banks;
    if (banks > 1) {
        const unsigned parts = n_banks / banks;
        int result = shape_place_take_dealt(place, banks * parts, (n + parts - 1) / parts * piece, &offset, err);
        for (uint32_t i = 0; i < n && result == 0; i++)
            place->slots[i] = CARD_ADDR(i % parts * banks, offset + i / parts * piece);
        return result;
    }
    for (unsigned b = 0; b < n_banks && b < n; b++) {
        const uint32_t share = (n - b + n_banks - 1) / n_banks;
        card_addr first;
        int result = shape_place_take(place, b, share * place->slot_bytes, &first, err);
        if (result < 0) return result;
        for (uint32_t i = 0; i < share; i++) place->slots[b + i * n_banks] = first + i * place->slot_bytes;
    }
    return 0;
}

int shape_place_open_pool(const struct shape_place *place, struct expert_pool **out, struct error *err)
{
    const uint32_t end = place->options.end_layer;
    struct expert_pool_shape shape = {.n_slots = place->options.pool_slots,
                                      .n_layers = end,
                                      .slot_bytes = place->slot_bytes,
                                      .n_pieces = place->slot_pieces};
    struct expert_pool_layer *layers = memory_array(end, sizeof *layers);
    if (layers == NULL) return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    for (uint32_t i = place->options.first_layer; i < end; i++) {
        const struct ffn_shape *ffn = &place->architecture->layers[i].ffn;
        if (ffn->experts == 0) continue;
        if (ffn->experts > shape.n_experts) shape.n_experts = ffn->experts;
        if (ffn->experts_used > shape.n_used) shape.n_used = ffn->experts_used;
        layers[i] = lay_out(shape_place_layer(place, i), place->slot_pieces);
    }
    int result = 0;
    for (uint32_t i = place->options.first_layer; i < end && result == 0; i++)
        if (place->architecture->layers[i].ffn.experts % shape.n_experts != 0)
            result = error_set(err, ERROR_UNSUPPORTED, "layer %u: %u experts, other layers have %u", i,
                               place->architecture->layers[i].ffn.experts, shape.n_experts);
    if (result == 0) result = expert_pool_open_bare(&shape, place->slots, layers, out, err);
    free(layers);
    return result;
}
