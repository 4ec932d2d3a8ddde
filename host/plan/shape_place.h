/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an architecture's tensors, pools and states lie on a card: matrices dealt over its banks by the rule of
 * host/model/placement.h, page pools as host/model/step.c deals them. Nobody outside host/plan includes this.
 */
#ifndef SLUICE_PLAN_SHAPE_PLACE_H
#define SLUICE_PLAN_SHAPE_PLACE_H

#include "host/plan/shape_program.h"
#include "host/plan/shape_tensors.h"

/* The page pools that a layer may have. */
enum shape_pool { SHAPE_POOL_KV, SHAPE_POOL_INDEX, SHAPE_POOL_COMPRESSED, SHAPE_POOL_INDEX_COMPRESSED, SHAPE_POOLS };

/* Which batch table the tokens of a pool have. */
struct shape_table_kind {
    uint32_t rate;   /* tokens of one entry; 1: an entry for each token */
    uint32_t window; /* entries kept of a sequence, in pages that are used again; 0: all */
};

struct shape_pool_place {
    uint32_t kv_heads, key_dim, value_dim; /* kv_heads 0: the layer has no such pool; value_dim 0: keys only */
    uint32_t n_pages;                      /* of all sequences */
    unsigned table;                        /* index in shape_place.tables */
    uint64_t page_bytes;
    card_addr address;
};

struct shape_layer_place {
    struct shape_tensor tensors[SHAPE_IDS];
    card_addr address[SHAPE_IDS]; /* of TABLED and EXPERTS: of the table of addresses */
    struct shape_pool_place pools[SHAPE_POOLS];
    card_addr scan_states, conv_states, mailbox;
};

struct shape_place {
    const struct architecture *architecture; /* borrowed */
    struct card *card;                       /* borrowed; NULL: only sizes are known */
    struct shape_options options;            /* end_layer is set */
    struct shape_layer_place *layers;        /* owned; from options.first_layer on */
    struct shape_tensor model[SHAPE_MODEL_IDS];
    card_addr model_address[SHAPE_MODEL_IDS];
    card_addr rope; /* inverse frequencies, more than any head has */
    struct shape_table_kind tables[4];
    unsigned n_tables;
    unsigned banks, pool_banks;
    /* Of options.pool_slots. */
    card_addr *slots; /* owned */
    uint64_t slot_bytes;
    unsigned slot_pieces; /* banks over which a slot is dealt; 0: layers have slots of their own, or every expert has */
    card_addr *allocations; /* owned, and the card memory */
    size_t n_allocations, allocation_capacity;
};

/* Sizes of everything, without a card. Released by shape_place_close, which takes a zeroed place too. */
int shape_place_open(const struct architecture *architecture, const struct shape_options *options,
                     struct shape_place *place, struct error *err);
void shape_place_close(struct shape_place *place); /* gives its card memory back */

/* Takes card memory for all but the arena and writes the tables of addresses. */
int shape_place_allocate(struct shape_place *place, struct card *card, struct error *err);
/* One more allocation, given back with the others. */
int shape_place_take(struct shape_place *place, unsigned bank, uint64_t bytes, card_addr *out, struct error *err);

/* The same bytes at one offset in each of the first banks. ERROR_NO_MEMORY without an error's text if there is no room. */
int shape_place_take_dealt(struct shape_place *place, unsigned banks, uint64_t bytes, uint64_t *offset,
                           struct error *err);

/* Slots that the layers share (shape_pool.c): their memory, and, once tables have theirs, the pool; *out is owned. */
int shape_place_slots_of_pool(struct shape_place *place, unsigned n_banks, struct error *err);
int shape_place_open_pool(const struct shape_place *place, struct expert_pool **out, struct error *err);

struct shape_layer_place *shape_place_layer(const struct shape_place *place, uint32_t layer);
bool shape_place_has_output(const struct shape_place *place); /* its last layer is the model's */
/* Residual values of a token between layers. */
uint32_t shape_place_width(const struct shape_place *place);

/* Entries of a table of this kind that a sequence of so many tokens has, and pages of a sequence at most. */
uint32_t shape_table_pages(const struct shape_table_kind *kind, uint32_t tokens);

/* Bytes of states of one sequence in a layer. */
uint64_t shape_state_bytes(const struct attention_shape *attention);
bool shape_place_streams(const struct shape_place *place);
/* Experts of a layer that have a place. */
uint32_t shape_place_slots(const struct shape_place *place, const struct ffn_shape *ffn);

#endif
