/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of host/model share about a model and its copy on a card. Nobody else includes this. */
#ifndef SLUICE_MODEL_MODEL_INTERNAL_H
#define SLUICE_MODEL_MODEL_INTERNAL_H

#include "host/model/family.h"
#include "host/model/model.h"
#include "host/model/tensor_table.h"

#define MODEL_NAME_BYTES 128

struct model {
    struct gguf *file; /* owned */
    const struct family *family;
    struct model_config config;
    struct tensor_table table;
    uint64_t weight_bytes; /* of the table's tensors, in the file */
    char name[MODEL_NAME_BYTES];
};

/* A tensor on the card. */
struct weight {
    card_addr address;
    unsigned format; /* enum card_format */
};

/* The experts of one layer: a slot holds one expert's three matrices; the tables name the slot of each expert. */
enum expert_matrix { EXPERT_GATE, EXPERT_UP, EXPERT_DOWN, EXPERT_MATRICES };
struct expert_layer {
    card_addr slots;                  /* n_experts slots, one after the other */
    uint64_t slot_bytes;              /* of one */
    uint64_t offset[EXPERT_MATRICES]; /* of each matrix in a slot */
    unsigned format[EXPERT_MATRICES]; /* enum card_format */
    card_addr table[EXPERT_MATRICES]; /* card_addr[n_experts] on the card */
};

struct loaded_model {
    const struct model *model;
    struct card *card;
    struct weight *weights;       /* owned; by tensor_table_index */
    struct expert_layer *experts; /* owned; by layer; NULL in dense models */
    card_addr rope_frequencies;   /* f32[rope_dims / 2] */
    card_addr *allocations;       /* owned, and so is the card memory */
    size_t n_allocations;
    uint64_t card_bytes;
    struct model_conversion conversion;
    double error_squares, value_squares; /* of all converted tensors */
};

/* bytes in the card's emptiest bank, so that weights spread over all channels; *address is the caller's: card_free. */
int card_place(struct card *card, uint64_t bytes, card_addr *address, struct error *err);

/* Inverse frequencies theta^(-2i/dims) over scaling and rope_freqs.weight: out[rope_dims / 2]. (rope_table.c) */
int rope_table(const struct model *model, float *out, struct error *err);

/* base^exponent for base > 0, to the nearest float32 and the same on every machine. */
float rope_power(float base, float exponent);

/* The sizes and offsets of a layer's slots on a card with these weight formats. (expert_slots.c) */
int expert_layer_measure(const struct model *model, uint32_t layer, uint32_t weight_formats,
                         struct expert_layer *experts, struct error *err);

#endif
