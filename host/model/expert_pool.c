/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/expert_pool.h"

#include "host/base/memory.h"
#include "host/model/expert_pool_load.h"

#include <string.h>

/* One layer's experts; without any, or where one matrix is gate and up, all or some of it is zero. */
struct pool_layer {
    unsigned format[EXPERT_MATRICES];
    uint64_t matrix_bytes[EXPERT_MATRICES], tile_bytes[EXPERT_MATRICES];
    uint64_t offset[EXPERT_MATRICES], bytes; /* in a piece, and of one */
    card_addr table;                         /* of the gate matrices; the others follow */
    uint8_t *host;                           /* owned; the experts one after the other; NULL: in the packed file */
    const struct slc_tensor *packed[EXPERT_MATRICES]; /* then these */
};

struct expert_pool {
    const struct model *model;
    struct expert_pool_shape shape;
    card_addr *slots; /* owned */
    struct pool_layer *layers;
};

void expert_pool_get_shape(const struct expert_pool *pool, struct expert_pool_shape *shape) { *shape = pool->shape; }

/* The pieces of a dealt slot lie at one offset in each of its banks. */
card_addr expert_pool_piece(const struct expert_pool *pool, uint32_t slot, unsigned piece)
{
    return pool->slots[slot] + CARD_ADDR(piece, 0);
}

uint64_t expert_pool_piece_bytes(const struct expert_pool *pool, uint32_t layer) { return pool->layers[layer].bytes; }

card_addr expert_pool_matrix(const struct expert_pool *pool, uint32_t layer, uint32_t slot, unsigned matrix)
{
    return pool->slots[slot] + pool->layers[layer].offset[matrix];
}

uint64_t expert_pool_bytes(const struct expert_pool *pool, uint32_t layer)
{
    return pool->layers[layer].bytes * pool->shape.n_pieces;
}

card_addr expert_pool_entry(const struct expert_pool *pool, uint32_t layer, unsigned matrix, uint32_t expert)
{
    return pool->layers[layer].table + ((uint64_t)matrix * pool->shape.n_experts + expert) * sizeof(card_addr);
}

/* Bytes of one matrix, in order, on their way to the pieces of an expert. */
struct deal {
    const struct pool_layer *layer;
    unsigned matrix, n_pieces;
    uint64_t at; /* bytes so far */
    uint8_t *pieces;
};

static int deal_bytes(void *context, const uint8_t *bytes, size_t n_bytes, struct error *err)
{
    (void)err;
    struct deal *deal = context;
    const struct pool_layer *layer = deal->layer;
    const uint64_t tile_bytes = layer->tile_bytes[deal->matrix];
    while (n_bytes > 0) {
        const uint64_t tile = deal->at / tile_bytes, in_tile = deal->at % tile_bytes;
        const size_t n = n_bytes < tile_bytes - in_tile ? n_bytes : (size_t)(tile_bytes - in_tile);
        memcpy(deal->pieces + tile % deal->n_pieces * layer->bytes + layer->offset[deal->matrix] +
                   tile / deal->n_pieces * tile_bytes + in_tile,
               bytes, n);
        bytes += n;
        n_bytes -= n;
        deal->at += n;
    }
    return 0;
}

/* Pieces, and behind them the longest matrix as it is in a file. */
uint64_t expert_pool_staging_bytes(const struct expert_pool *pool)
{
    uint64_t longest = 0;
    for (uint32_t i = 0; i < pool->shape.n_layers && pool->shape.n_pieces > 1; i++)
        for (unsigned m = 0; m < EXPERT_MATRICES; m++)
            if (pool->layers[i].matrix_bytes[m] > longest) longest = pool->layers[i].matrix_bytes[m];
    return pool->shape.slot_bytes + longest;
}

static int read_matrix(const struct expert_pool *pool, const struct pool_layer *from, unsigned matrix, uint32_t expert,
                       uint8_t *staging, struct error *err)
{
    const bool dealt = pool->shape.n_pieces > 1;
    const size_t n = (size_t)from->matrix_bytes[matrix];
    uint8_t *to = staging + (dealt ? pool->shape.slot_bytes : from->offset[matrix]);
    int result = slc_read_part(pool->model->packed, from->packed[matrix], expert * (uint64_t)n, n, to, err);
    struct deal deal = {.layer = from, .matrix = matrix, .n_pieces = pool->shape.n_pieces, .pieces = staging};
    return result == 0 && dealt ? deal_bytes(&deal, to, n, err) : result;
}

int expert_pool_fetch(const struct expert_pool *pool, uint32_t layer, uint32_t expert, uint8_t *staging,
                      const uint8_t **bytes, struct error *err)
{
    const struct pool_layer *from = &pool->layers[layer];
    int result = 0;
    *bytes = from->host != NULL ? from->host + expert * expert_pool_bytes(pool, layer) : staging;
    for (unsigned m = 0; m < EXPERT_MATRICES && from->host == NULL && result == 0; m++)
        if (from->packed[m] != NULL) result = read_matrix(pool, from, m, expert, staging, err);
    return result;
}

/* ---- shapes ---- */

static int measure_layer(const struct model *model, uint32_t weight_formats, unsigned n_pieces, uint32_t layer,
                         struct pool_layer *out, struct error *err)
{
    out->bytes = 0;
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        size_t index = tensor_table_index(expert_role((enum expert_matrix)m), layer);
        struct tensor_tiles tiles;
        if (!placement_has(model, index)) continue;
        int result = placement_tiles(model, index, weight_formats, &tiles, err);
        if (result < 0) return result;
        const struct tensor_entry *entry = &model->table.entries[index];
        out->format[m] = tiles.format;
        out->offset[m] = out->bytes;
        out->matrix_bytes[m] = card_matrix_bytes(tiles.format, entry->rows, entry->cols);
        out->tile_bytes[m] = tiles.tile_bytes;
        out->bytes += n_pieces > 1 ? (tiles.n_tiles + n_pieces - 1) / n_pieces * tiles.tile_bytes
                                   : card_round_up(out->matrix_bytes[m], CARD_WORD_BYTES);
    }
    return 0;
}

/* Of a slot's pieces: as long as the longest layer's. */
static int longest_piece(const struct model *model, uint32_t weight_formats, unsigned n_pieces, uint64_t *bytes,
                         struct error *err)
{
    *bytes = 0;
    for (uint32_t layer = 0; layer < model->config.n_layers; layer++) {
        struct pool_layer measured = {0};
        int result = measure_layer(model, weight_formats, n_pieces, layer, &measured, err);
        if (result < 0) return result;
        if (measured.bytes > *bytes) *bytes = measured.bytes;
    }
    return 0;
}

static uint64_t count_experts(const struct model_config *config)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < config->n_layers; i++) n += config->layers[i].has_experts ? config->n_experts : 0;
    return n;
}

int expert_pool_measure(const struct model *model, const struct card_info *info, uint32_t n_slots, uint64_t piece_bytes,
                        struct expert_pool_needs *needs, struct error *err)
{
    const uint64_t n_experts = count_experts(&model->config);
    uint64_t piece;
    *needs = (struct expert_pool_needs){.n_pieces = info->n_banks};
    int result = longest_piece(model, info->weight_formats, info->n_banks, &piece, err);
    while (result == 0 && needs->n_pieces > 1 &&
           piece < (piece_bytes > 0 ? piece_bytes : expert_pool_least_piece(needs->n_pieces, n_slots, n_experts))) {
        needs->n_pieces /= 2;
        result = longest_piece(model, info->weight_formats, needs->n_pieces, &piece, err);
    }
    needs->slot_bytes = piece * needs->n_pieces;
    return result < 0 ? result : model_other_bytes(model, info, &needs->other_bytes, err);
}

/* ---- slots ---- */

/* How many of n slots each bank takes: as alike as their room allows. Returns how many find none. */
static uint32_t share(const struct card_info *info, uint64_t slot_bytes, uint32_t n, uint32_t share_of[CARD_MAX_BANKS])
{
    uint64_t room[CARD_MAX_BANKS];
    memset(share_of, 0, CARD_MAX_BANKS * sizeof *share_of);
    for (unsigned b = 0; b < info->n_banks; b++) room[b] = info->bank[b].bytes_free / slot_bytes;
    for (uint32_t before = n + 1; n > 0 && n < before;) {
        before = n;
        for (unsigned b = 0; b < info->n_banks && n > 0; b++) {
            uint32_t each = n / info->n_banks > 0 ? n / info->n_banks : 1;
            uint64_t left = room[b] - share_of[b];
            uint32_t more = left < each ? (uint32_t)left : each;
            share_of[b] += more;
            n -= more;
        }
    }
    return n;
}

/* Slots with neighbouring numbers lie in different parts of the banks. */
static int place_dealt(struct expert_pool *pool, struct loaded_model *loaded, struct error *err)
{
    struct card_info info;
    card_describe(loaded->card, &info);
    const unsigned banks = pool->shape.n_pieces, parts = info.n_banks / banks;
    const uint64_t piece = pool->shape.slot_bytes / banks, rounds = (pool->shape.n_slots + parts - 1) / parts;
    card_addr first;
    int result = loaded_model_take_dealt(loaded, banks * parts, rounds * piece, &first, err);
    for (uint32_t i = 0; i < pool->shape.n_slots && result == 0; i++)
        pool->slots[i] = first + CARD_ADDR(i % parts * banks, i / parts * piece);
    return result;
}

/* Slots with neighbouring numbers lie in different banks: experts of a layer that came together are read together. */
static int place_slots(struct expert_pool *pool, struct loaded_model *loaded, struct error *err)
{
    struct card_info info;
    uint32_t share_of[CARD_MAX_BANKS], n_slots = pool->shape.n_slots;
    card_addr first[CARD_MAX_BANKS] = {0};
    card_describe(loaded->card, &info);
    uint32_t lacking = share(&info, pool->shape.slot_bytes, n_slots, share_of);
    if (lacking > 0)
        return error_set(err, ERROR_NO_MEMORY, "%u expert slots of %.1f MiB: the card has room for %u (--expert-slots)",
                         n_slots, (double)pool->shape.slot_bytes / (1 << 20), n_slots - lacking);
    for (unsigned b = 0; b < info.n_banks; b++) {
        if (share_of[b] == 0) continue;
        int result = loaded_model_take(loaded, b, share_of[b] * pool->shape.slot_bytes, &first[b], err);
        if (result < 0) return result;
    }
    for (uint32_t i = 0, round = 0; i < n_slots; round++)
        for (unsigned b = 0; b < info.n_banks; b++)
            if (round < share_of[b]) pool->slots[i++] = first[b] + round * pool->shape.slot_bytes;
    return 0;
}

/* ---- the experts on the host ---- */

/* Whether the layer's experts can be read from the packed file as they are. */
static bool lies_in_file(const struct loaded_model *loaded, const struct pool_layer *layer, uint32_t number)
{
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        size_t index = tensor_table_index(expert_role((enum expert_matrix)m), number);
        if (!placement_has(loaded->model, index)) continue;
        const struct slc_tensor *packed = loaded->model->table.entries[index].packed;
        if (packed == NULL || packed->format != layer->format[m]) return false;
    }
    return true;
}

static int load_layer(struct expert_pool *pool, struct loaded_model *loaded, struct upload *upload, uint32_t number,
                      struct error *err)
{
    struct pool_layer *layer = &pool->layers[number];
    bool in_file = lies_in_file(loaded, layer, number);
    int result = 0;
    if (layer->bytes == 0) return 0;
    if (!in_file) {
        layer->host = memory_array(pool->shape.n_experts, (size_t)expert_pool_bytes(pool, number));
        if (layer->host == NULL)
            return error_set(err, ERROR_NO_MEMORY, "loading: no host memory for the experts of layer %u", number);
    }
    for (unsigned m = 0; m < EXPERT_MATRICES && result == 0; m++) {
        size_t index = tensor_table_index(expert_role((enum expert_matrix)m), number);
        if (!placement_has(loaded->model, index)) continue;
        loaded->weights[index] = (struct weight){.format = layer->format[m], .banks = pool->shape.n_pieces};
        if (in_file) {
            layer->packed[m] = loaded->model->table.entries[index].packed;
            loaded_model_verify(loaded, upload, index);
        }
        for (uint32_t e = 0; e < pool->shape.n_experts && !in_file && result == 0; e++) {
            struct deal deal = {.layer = layer, .matrix = m, .n_pieces = pool->shape.n_pieces};
            deal.pieces = layer->host + e * expert_pool_bytes(pool, number);
            result = loaded_model_pack(loaded, upload, index, e, deal_bytes, &deal, err);
        }
    }
    return result;
}

/* ---- open, close ---- */

int expert_pool_open(struct loaded_model *loaded, const struct expert_pool_needs *needs, uint32_t n_slots,
                     struct upload *upload, struct error *err)
{
    const struct model_config *config = &loaded->model->config;
    struct card_info info;
    card_describe(loaded->card, &info);
    struct expert_pool *pool = loaded->pool = memory_array(1, sizeof *pool);
    if (pool == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    pool->model = loaded->model;
    pool->shape = (struct expert_pool_shape){
        .n_slots = n_slots,
        .slot_bytes = needs->slot_bytes,
        .n_pieces = needs->n_pieces,
        .n_layers = config->n_layers,
        .n_experts = config->n_experts,
        .n_used = config->n_experts_used,
    };
    pool->slots = memory_array(n_slots, sizeof *pool->slots);
    pool->layers = memory_array(config->n_layers, sizeof *pool->layers);
    if (pool->slots == NULL || pool->layers == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    int result = 0;
    for (uint32_t i = 0; i < config->n_layers && result == 0; i++) {
        result = measure_layer(loaded->model, info.weight_formats, needs->n_pieces, i, &pool->layers[i], err);
        pool->layers[i].table = loaded->experts[i].table[EXPERT_GATE];
    }
    if (result == 0) result = (needs->n_pieces > 1 ? place_dealt : place_slots)(pool, loaded, err);
    for (uint32_t i = 0; i < config->n_layers && result == 0; i++) result = load_layer(pool, loaded, upload, i, err);
    return result;
}

int expert_pool_open_bare(const struct expert_pool_shape *shape, const card_addr *slots,
                          const struct expert_pool_layer *layers, struct expert_pool **out, struct error *err)
{
    struct expert_pool *pool = memory_array(1, sizeof *pool);
    if (pool == NULL) return error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    pool->shape = *shape;
    pool->slots = memory_array(shape->n_slots, sizeof *pool->slots);
    pool->layers = memory_array(shape->n_layers, sizeof *pool->layers);
    if (pool->slots == NULL || pool->layers == NULL) {
        expert_pool_close(pool);
        return error_set(err, ERROR_NO_MEMORY, "expert slots: out of memory");
    }
    memcpy(pool->slots, slots, shape->n_slots * sizeof *slots);
    for (uint32_t i = 0; i < shape->n_layers; i++) {
        pool->layers[i].bytes = layers[i].piece_bytes;
        pool->layers[i].table = layers[i].tables;
        memcpy(pool->layers[i].offset, layers[i].offset, sizeof layers[i].offset);
    }
    *out = pool;
    return 0;
}

void expert_pool_close(struct expert_pool *pool)
{
    if (pool == NULL) return;
    for (uint32_t i = 0; pool->layers != NULL && i < pool->shape.n_layers; i++) free(pool->layers[i].host);
    free(pool->layers);
    free(pool->slots);
    free(pool);
}
