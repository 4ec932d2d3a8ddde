/* SPDX-License-Identifier: Apache-2.0 */
/* Card memory for a shape program, in the order of model_load and step_memory_open: matrices, vectors and tables, pools. */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/plan/shape_place.h"

#include <string.h>

#define MAX_RUNS 64

/* Tiles, or pages, of one size that are dealt one after the other. */
struct run {
    uint64_t piece_bytes, n_pieces;
    card_addr next;
};

struct runs {
    struct run run[MAX_RUNS];
    unsigned n;
};

static card_addr advance(card_addr address, uint64_t n, unsigned banks, uint64_t piece_bytes)
{
    unsigned bank = CARD_ADDR_BANK(address);
    return CARD_ADDR(card_tile_bank(bank, n, banks),
                     card_tile_offset(bank, CARD_ADDR_OFFSET(address), n, banks, piece_bytes));
}

/* NULL if there are too many sizes: then nothing is dealt. */
static struct run *find_run(struct runs *runs, uint64_t piece_bytes)
{
    unsigned i = 0;
    while (i < runs->n && runs->run[i].piece_bytes != piece_bytes) i++;
    if (i == MAX_RUNS) return NULL;
    if (i == runs->n) runs->run[runs->n++] = (struct run){.piece_bytes = piece_bytes};
    return &runs->run[i];
}

/* Each run from bank 0 on, behind the one before it; returns the bytes of a bank. */
static uint64_t lay_out(struct runs *runs, unsigned banks, uint64_t offset)
{
    uint64_t start = offset;
    for (unsigned i = 0; i < runs->n; i++) {
        struct run *run = &runs->run[i];
        run->next = CARD_ADDR(0, offset);
        offset += (run->n_pieces + banks - 1) / banks * run->piece_bytes;
    }
    return offset - start;
}

static card_addr take_pieces(struct runs *runs, unsigned banks, uint64_t piece_bytes, uint64_t n)
{
    struct run *run = find_run(runs, piece_bytes);
    card_addr address = run->next;
    run->next = advance(address, n, banks, piece_bytes);
    return address;
}

static int remember(struct shape_place *place, card_addr address, struct error *err)
{
    if (place->n_allocations == place->allocation_capacity) {
        size_t capacity = place->allocation_capacity != 0 ? place->allocation_capacity * 2 : 256;
        card_addr *allocations = memory_grow(place->allocations, capacity, sizeof *allocations);
        if (allocations == NULL) {
            card_free(place->card, address);
            return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
        }
        place->allocations = allocations;
        place->allocation_capacity = capacity;
    }
    place->allocations[place->n_allocations++] = address;
    return 0;
}

int shape_place_take(struct shape_place *place, unsigned bank, uint64_t bytes, card_addr *out, struct error *err)
{
    int result = card_alloc(place->card, bank, bytes != 0 ? bytes : 1, out, err);
    return result < 0 ? result : remember(place, *out, err);
}

/* In the bank with most room. */
static int take_anywhere(struct shape_place *place, uint64_t bytes, card_addr *out, struct error *err)
{
    struct card_info info;
    card_describe(place->card, &info);
    unsigned best = 0;
    for (unsigned b = 1; b < info.n_banks; b++)
        if (info.bank[b].bytes_free > info.bank[best].bytes_free) best = b;
    return shape_place_take(place, best, bytes, out, err);
}

int shape_place_take_dealt(struct shape_place *place, unsigned banks, uint64_t bytes, uint64_t *offset,
                           struct error *err)
{
    int result = card_alloc_dealt(place->card, banks, bytes != 0 ? bytes : 1, offset, err);
    for (unsigned b = 0; b < banks && result == 0; b++) result = remember(place, CARD_ADDR(b, *offset), err);
    return result;
}

static uint64_t tiles_of(const struct shape_place *place, const struct shape_tensor *tensor,
                         const struct ffn_shape *ffn)
{
    uint64_t tiles = card_round_up(tensor->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
    return tiles * (tensor->kind == SHAPE_EXPERTS ? shape_place_slots(place, ffn) : tensor->matrices);
}

/* Calls visit for each matrix, or matrices behind one table, that is there. */
typedef int (*visit_matrix)(struct shape_place *place, void *context, const struct shape_tensor *tensor, uint64_t tiles,
                            card_addr *address, struct error *err);

static int for_each_matrix(struct shape_place *place, visit_matrix visit, void *context, struct error *err)
{
    int result = 0;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++) {
        struct shape_layer_place *layer = shape_place_layer(place, i);
        const struct ffn_shape *ffn = &place->architecture->layers[i].ffn;
        for (unsigned id = 0; id < SHAPE_IDS && result == 0; id++) {
            const struct shape_tensor *tensor = &layer->tensors[id];
            if (tensor->rows == 0 || tensor->kind == SHAPE_VECTOR) continue;
            if (tensor->kind == SHAPE_EXPERTS && place->options.pool_slots != 0) continue; /* shape_pool.c */
            result = visit(place, context, tensor, tiles_of(place, tensor, ffn), &layer->address[id], err);
        }
    }
    if (!shape_place_has_output(place)) return result;
    for (unsigned id = 0; id < SHAPE_MODEL_IDS && result == 0; id++) {
        const struct shape_tensor *tensor = &place->model[id];
        if (tensor->rows == 0 || tensor->kind == SHAPE_VECTOR) continue;
        result = visit(place, context, tensor, tiles_of(place, tensor, NULL), &place->model_address[id], err);
    }
    return result;
}

static int count_matrix(struct shape_place *place, void *context, const struct shape_tensor *tensor, uint64_t tiles,
                        card_addr *address, struct error *err)
{
    (void)place;
    (void)address;
    struct run *run = find_run(context, card_tile_bytes(tensor->format, tensor->cols));
    if (run == NULL) return error_set(err, ERROR_TOO_LARGE, "more than %u sizes of tiles", MAX_RUNS);
    run->n_pieces += tiles;
    return 0;
}

static int deal_matrix(struct shape_place *place, void *context, const struct shape_tensor *tensor, uint64_t tiles,
                       card_addr *address, struct error *err)
{
    (void)err;
    *address = take_pieces(context, place->banks, card_tile_bytes(tensor->format, tensor->cols), tiles);
    return 0;
}

static int place_matrix(struct shape_place *place, void *context, const struct shape_tensor *tensor, uint64_t tiles,
                        card_addr *address, struct error *err)
{
    (void)context;
    return take_anywhere(place, tiles * card_tile_bytes(tensor->format, tensor->cols), address, err);
}

/* Dealt over all banks if each has room for its share; else one by one. */
static int place_matrices(struct shape_place *place, unsigned n_banks, struct error *err)
{
    struct runs runs = {.n = 0};
    uint64_t offset;
    int result = for_each_matrix(place, count_matrix, &runs, err);
    if (result == 0 && n_banks > 1) {
        result = shape_place_take_dealt(place, n_banks, lay_out(&runs, n_banks, 0), &offset, err);
        if (result == 0) {
            place->banks = n_banks;
            (void)lay_out(&runs, n_banks, offset);
            return for_each_matrix(place, deal_matrix, &runs, err);
        }
    }
    if (result < 0 && result != ERROR_NO_MEMORY && result != ERROR_TOO_LARGE) return result;
    return for_each_matrix(place, place_matrix, NULL, err);
}

/*
 * The table of a tensor's matrices: expert e is in slot (e + shift) % slots. Where an expert's gate has a tile more in some
 * banks than in others, its up matrix, one slot further, has it in those that follow. out[matrices]
 */
static void fill_table(const struct shape_place *place, const struct shape_tensor *tensor, uint32_t slots,
                       uint32_t shift, card_addr address, uint8_t *out)
{
    uint64_t tiles = card_round_up(tensor->rows, CARD_TILE_ROWS) / CARD_TILE_ROWS;
    uint64_t bytes = card_tile_bytes(tensor->format, tensor->cols);
    for (uint32_t e = 0; e < tensor->matrices; e++)
        store_u64(out + (size_t)e * sizeof(card_addr),
                  advance(address, (e + shift) % slots * tiles, place->banks, bytes));
}

/* Those of a pool's experts follow each other without gaps, as expert_pool_entry has them; none but them come after. */
static uint64_t table_bytes(const struct shape_place *place, const struct shape_tensor *tensor)
{
    const uint64_t bytes = (uint64_t)tensor->matrices * sizeof(card_addr);
    return tensor->kind == SHAPE_EXPERTS && place->options.pool_slots != 0 ? bytes
                                                                           : card_round_up(bytes, CARD_WORD_BYTES);
}

static uint64_t layer_table_bytes(const struct shape_place *place, const struct shape_layer_place *layer)
{
    uint64_t bytes = 0;
    for (unsigned id = 0; id < SHAPE_IDS; id++)
        if (layer->tensors[id].rows != 0 && layer->tensors[id].kind >= SHAPE_TABLED)
            bytes += table_bytes(place, &layer->tensors[id]);
    return card_round_up(bytes, CARD_WORD_BYTES);
}

/* The layer's tables, written at `tables`; the addresses of tensors become those of their tables. */
static int write_tables(struct shape_place *place, uint32_t index, card_addr tables, uint64_t bytes, struct error *err)
{
    struct shape_layer_place *layer = shape_place_layer(place, index);
    const struct ffn_shape *ffn = &place->architecture->layers[index].ffn;
    if (bytes == 0) return 0;
    uint8_t *text = memory_array(bytes, 1);
    if (text == NULL) return error_set(err, ERROR_NO_MEMORY, "a shape program: out of memory");
    uint64_t used = 0;
    for (unsigned id = 0; id < SHAPE_IDS; id++) {
        const struct shape_tensor *tensor = &layer->tensors[id];
        if (tensor->rows == 0 || tensor->kind < SHAPE_TABLED) continue;
        uint32_t slots = tensor->kind == SHAPE_EXPERTS ? shape_place_slots(place, ffn) : tensor->matrices;
        uint32_t shift = id == SHAPE_EXPERT_UP ? 1 : id == SHAPE_EXPERT_DOWN ? 2 : 0; /* host/model/expert_slots.c */
        if (tensor->kind == SHAPE_EXPERTS && place->options.pool_slots != 0)
            memset(text + used, 0xff, table_bytes(place, tensor)); /* CARD_NO_SLOT */
        else
            fill_table(place, tensor, slots, shift, layer->address[id], text + used);
        layer->address[id] = tables + used;
        used += table_bytes(place, tensor);
    }
    int result = card_write(place->card, tables, text, bytes, NULL, 0, NULL, err);
    free(text);
    return result;
}

/* Vectors, tables and mailbox of a layer in one piece, layers in bank after bank. */
static int place_vectors(struct shape_place *place, uint32_t index, unsigned n_banks, struct error *err)
{
    struct shape_layer_place *layer = shape_place_layer(place, index);
    const struct ffn_shape *ffn = &place->architecture->layers[index].ffn;
    uint64_t tables = layer_table_bytes(place, layer), bytes = tables, mailbox = 0;
    if (ffn->experts != 0 && shape_place_streams(place))
        mailbox = CARD_WORD_BYTES + (uint64_t)(1 + place->options.guesses) * place->options.max_tokens *
                                        ffn->experts_used * sizeof(struct card_choice);
    for (unsigned id = 0; id < SHAPE_IDS; id++)
        if (layer->tensors[id].kind == SHAPE_VECTOR) bytes += shape_tensor_bytes(&layer->tensors[id]);
    card_addr address;
    int result = shape_place_take(place, index % n_banks, bytes + mailbox, &address, NULL);
    if (result < 0) result = take_anywhere(place, bytes + mailbox, &address, err);
    if (result < 0) return result;
    layer->mailbox = address + bytes;
    result = write_tables(place, index, address, tables, err);
    address += tables;
    for (unsigned id = 0; id < SHAPE_IDS; id++) {
        if (layer->tensors[id].rows == 0 || layer->tensors[id].kind != SHAPE_VECTOR) continue;
        layer->address[id] = address;
        address += shape_tensor_bytes(&layer->tensors[id]);
    }
    return result;
}

static int place_states(struct shape_place *place, uint32_t index, struct error *err)
{
    const struct attention_shape *a = &place->architecture->layers[index].attention;
    struct shape_layer_place *layer = shape_place_layer(place, index);
    if (a->kind != ATTENTION_LINEAR) return 0;
    uint64_t states = place->options.max_sequences * sizeof(float);
    int result = take_anywhere(place, states * a->heads * a->key_dim * a->value_dim, &layer->scan_states, err);
    if (result < 0) return result;
    return take_anywhere(place, states * (a->conv_width - 1) * shape_conv_features(a), &layer->conv_states, err);
}

static int place_model_vectors(struct shape_place *place, struct error *err)
{
    int result = take_anywhere(place, CARD_MAX_HEAD_DIM * sizeof(float), &place->rope, err);
    for (unsigned id = 0; id < SHAPE_MODEL_IDS && result == 0; id++)
        if (place->model[id].rows != 0 && place->model[id].kind == SHAPE_VECTOR)
            result = take_anywhere(place, shape_tensor_bytes(&place->model[id]), &place->model_address[id], err);
    return result;
}

static void count_pools(struct shape_place *place, struct runs *runs)
{
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++)
        for (unsigned pool = 0; pool < SHAPE_POOLS; pool++) {
            const struct shape_pool_place *p = &shape_place_layer(place, i)->pools[pool];
            if (p->kv_heads != 0) find_run(runs, p->page_bytes)->n_pieces += p->n_pages; /* a handful of sizes */
        }
}

static int place_pools(struct shape_place *place, struct runs *runs, struct error *err)
{
    int result = 0;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++)
        for (unsigned pool = 0; pool < SHAPE_POOLS && result == 0; pool++) {
            struct shape_pool_place *p = &shape_place_layer(place, i)->pools[pool];
            if (p->kv_heads == 0) continue;
            if (place->pool_banks > 1)
                p->address = take_pieces(runs, place->pool_banks, p->page_bytes, p->n_pages);
            else
                result = take_anywhere(place, p->page_bytes * p->n_pages, &p->address, err);
        }
    return result;
}

/* Pages dealt over as many banks, from the first on, as have room for their share (host/model/step.c). */
static int deal_pools(struct shape_place *place, unsigned n_banks, struct error *err)
{
    struct runs runs = {.n = 0};
    uint64_t offset;
    count_pools(place, &runs);
    for (unsigned banks = runs.n != 0 ? n_banks : 1; banks > 1; banks--) {
        int result = shape_place_take_dealt(place, banks, lay_out(&runs, banks, 0), &offset, err);
        if (result < 0 && result != ERROR_NO_MEMORY) return result;
        if (result < 0) continue;
        place->pool_banks = banks;
        (void)lay_out(&runs, banks, offset);
        break;
    }
    return place_pools(place, &runs, err);
}

int shape_place_allocate(struct shape_place *place, struct card *card, struct error *err)
{
    struct card_info info;
    card_describe(card, &info);
    place->card = card;
    if (place->options.kv_format >= 32 || (info.kv_formats >> place->options.kv_format & 1u) == 0)
        return error_set(err, ERROR_UNSUPPORTED, "card %s has no KV pages of format %u", info.name,
                         place->options.kv_format);
    int result = place_matrices(place, info.n_banks, err);
    if (result == 0 && place->options.pool_slots != 0) result = shape_place_slots_of_pool(place, info.n_banks, err);
    if (result == 0) result = place_model_vectors(place, err);
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer && result == 0; i++) {
        result = place_vectors(place, i, info.n_banks, err);
        if (result == 0) result = place_states(place, i, err);
    }
    return result < 0 ? result : deal_pools(place, info.n_banks, err);
}

void shape_place_close(struct shape_place *place)
{
    while (place->n_allocations > 0) card_free(place->card, place->allocations[--place->n_allocations]);
    free(place->allocations);
    free(place->slots);
    free(place->layers);
    *place = (struct shape_place){0};
}
