/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of host/model share about a model and its copy on a card. Nobody else includes this. */
#ifndef SLUICE_MODEL_MODEL_INTERNAL_H
#define SLUICE_MODEL_MODEL_INTERNAL_H

#include "host/model/family.h"
#include "host/model/model.h"
#include "host/model/slc.h"
#include "host/model/slc_fill.h"
#include "host/model/tensor_table.h"

#define MODEL_NAME_BYTES 128

struct model {
    bool is_part;       /* file and packed are another model's (model_part.c) */
    struct gguf *file;  /* owned; NULL if packed is not: then slc_file */
    struct slc *packed; /* owned; NULL: a GGUF file */
    const struct family *family;
    struct model_config config;
    struct tensor_table table;
    uint64_t weight_bytes; /* of the table's tensors, in the file */
    char name[MODEL_NAME_BYTES];
};

/* A tensor on the card. */
struct weight {
    card_addr address; /* of experts: the first one's */
    unsigned format;   /* enum card_format */
    unsigned banks;    /* over which it is dealt; 1: it is not */
    card_addr table;   /* of heads: card_addr[n] on the card */
};

/* The tables of frequencies that a model may have: of enum rope_table, and the first one's for long contexts. */
enum rope_frequencies {
    ROPE_FREQUENCIES_MAIN = ROPE_TABLE_MAIN,
    ROPE_FREQUENCIES_LOCAL = ROPE_TABLE_LOCAL,
    ROPE_FREQUENCIES_LONG,
    ROPE_FREQUENCIES
};

/* The slot tables of one layer's experts. */
enum expert_matrix { EXPERT_GATE, EXPERT_UP, EXPERT_DOWN, EXPERT_MATRICES };
struct expert_layer {
    card_addr table[EXPERT_MATRICES]; /* card_addr[n_experts] on the card */
};

/* The role of each of an expert's matrices. (expert_slots.c) */
enum tensor_role expert_role(enum expert_matrix matrix);

struct loaded_model {
    const struct model *model;
    struct card *card;
    struct weight *weights;           /* owned; by tensor_table_index */
    struct pack_result *packed;       /* owned; by tensor_table_index: what packing saw, complete after upload_finish */
    struct expert_layer *experts;     /* owned; by layer; NULL in dense models */
    card_addr rope[ROPE_FREQUENCIES]; /* f32[rope_table_dims / 2] each */
    card_addr distances[2];           /* f32[distance_table_floats] of the encoder, of the decoder */
    card_addr *allocations;           /* owned, and so is the card memory */
    size_t n_allocations;
    uint64_t card_bytes;
    struct slc_fill *fill; /* owned; what a packed file still brings; NULL: nothing */
    struct model_conversion conversion;
    struct expert_pool *pool;   /* owned; NULL: each expert has its own slot */
    uint32_t expert_limit_us;   /* with a pool */
    bool plans_guesses;         /* with a pool: programs run the next layer's router ahead */
    bool plans_waves;           /* with a pool: the card's ABI has AWAIT for some of the experts */
    struct loaded_model *next;  /* owned; the part of the model on the next card; NULL: none */
    struct model *part;         /* owned; what model is, if that is a part; NULL: it is borrowed */
    bool keeps_whole;           /* steps are not divided into groups */
    _Atomic uint64_t waited_ps; /* for other cards (relay.c) */
    void *server;               /* of the pool, with how it is closed */
    void (*close_server)(void *server);
    double error_squares, value_squares; /* of all converted tensors */
};

/* As gguf_forget, for whatever kind of file the model is from. */
void model_forget(const struct model *model, const uint8_t *bytes, size_t n_bytes);

/* As gguf_check, the same way: to be asked after what was read of the file's mapping. */
int model_check(const struct model *model, struct error *err);

/* bytes in the card's emptiest bank; *address is the caller's: card_free. */
int card_place(struct card *card, uint64_t bytes, card_addr *address, struct error *err);

/* Dimensions that a table turns: 0 if the model has no such table. (rope_table.c) */
uint32_t rope_table_dims(const struct model *model, enum rope_frequencies which);

/* Inverse frequencies theta^(-2i/dims) over scaling and the file's divisors: out[rope_table_dims / 2]. (rope_table.c) */
int rope_table(const struct model *model, enum rope_frequencies which, float *out, struct error *err);

/* What scores get by distance: f32[heads][2 distance_most + 1]; 0: nothing. (distance_table.c) */
uint64_t distance_table_floats(const struct model_config *config);

/* That of the encoder or the decoder, of f32[distance_buckets][heads]: out[distance_table_floats]. (distance_table.c) */
void distance_table(const struct model_config *config, bool decoder, const float *by_bucket, float *out);

/* base^exponent for base > 0, to the nearest float32 and the same on every machine. */
float rope_power(float base, float exponent);

#endif
