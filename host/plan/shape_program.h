/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card program of one step of an architecture, without weights: matrices, KV pools, states and the step's arena get real
 * places on a card, dealt over its banks as host/model/placement.h deals them, and the program is what the engine's
 * planner writes for the families that it runs. Meant for a card that only keeps time ("sim:PROFILE,timing"); nothing is
 * written into the matrices.
 *
 * A model that is larger than the card is a matter of address space only: open the card with more memory_bytes. What fits
 * is told by shape_bytes, which needs no card.
 */
#ifndef SLUICE_PLAN_SHAPE_PROGRAM_H
#define SLUICE_PLAN_SHAPE_PROGRAM_H

#include "host/card/card.h"
#include "host/model/expert_pool.h"
#include "host/plan/architecture.h"

#include <stdbool.h>

/* Layers [first_layer, end_layer) of the model are on this card; the last layer's card has the output matrix too. */
struct shape_options {
    uint32_t first_layer, end_layer; /* end 0: all */
    unsigned kv_format;              /* enum card_format */
    /*
     * 0: every expert is resident. Otherwise each layer has this many slots of experts, at least experts_used: expert e is
     * found in slot e % slots, PUBLISH and AWAIT stand after each ROUTER, and bringing experts in is the caller's.
     */
    uint32_t expert_slots;
    /*
     * Or this: slots that all layers share, as host/model/expert_pool.h has them. Nothing is in them, and whoever serves the
     * card's PUBLISH (shape_program_pool) fills them. At least what a step needs in one layer.
     */
    uint32_t pool_slots;
    /* With pool_slots: slots are dealt over banks as so many would be; 0: as these. */
    uint32_t pool_dealt_as;
    /* With pool_slots: so many next layers' routers run on each layer's input, and PUBLISH has what they would choose as guesses. */
    uint32_t guesses;
    /* The largest step. */
    uint32_t max_tokens, max_logit_rows, max_sequences;
    uint32_t max_context; /* positions of one sequence: pages for max_sequences of them are allocated */
};

/* Card memory in bytes, without rounding to banks. */
struct shape_bytes {
    uint64_t attention, ffn, shared_experts, experts, routers, output, vectors; /* weights; vectors: norms and biases */
    uint64_t embedding;                                                         /* on the host, as F16 */
    uint64_t kv_page;       /* CARD_PAGE_TOKENS tokens, all layers */
    uint64_t state;         /* of one sequence: LINEAR layers, and windows of COMPRESSED ones */
    uint64_t step;          /* arena of the largest step */
    uint64_t tables;        /* slot tables and mailboxes */
    uint64_t expert;        /* one expert of one layer, the largest */
    uint64_t token_weights; /* weights that one token of a step of one reads */
};
int shape_bytes(const struct architecture *architecture, const struct shape_options *options, struct shape_bytes *bytes,
                struct error *err);

/* Bytes of one layer's experts (all of them; one) in card layout; 0 if the layer has none. */
struct shape_experts {
    uint32_t experts, experts_used;
    uint64_t all_bytes, one_bytes;
};
void shape_layer_experts(const struct architecture_layer *layer, uint32_t d_model, struct shape_experts *out);

struct shape_program; /* opaque */

/*
 * Allocates on card and writes tables and slot tables there. architecture and card are borrowed until shape_program_close.
 * ERROR_NO_MEMORY says what did not fit.
 */
int shape_program_open(const struct architecture *architecture, const struct shape_options *options, struct card *card,
                       struct shape_program **out, struct error *err);
void shape_program_close(struct shape_program *program); /* NULL is allowed; frees its card memory */

/* The slots of options.pool_slots, borrowed until close; NULL without them. */
const struct expert_pool *shape_program_pool(const struct shape_program *program);

/* Tokens of one sequence in a step: positions first_position to first_position + n_tokens - 1; logits of its last tokens. */
struct shape_sequence {
    uint32_t first_position, n_tokens, n_logit_rows;
};

/* Where in the program a layer of experts asks for them: DMA of what is missing goes between the two. */
struct shape_layer_mark {
    uint32_t layer;
    unsigned first;   /* the layer's first descriptor */
    unsigned experts; /* the first descriptor that needs the chosen experts (AWAIT, or EXPERT_MATMUL); == end: none */
    unsigned end;     /* one past the layer's last descriptor */
};

/* Borrowed until the next call on the same shape_program. */
struct shape_step {
    const struct card_descriptor *program;
    unsigned n_descriptors;
    const struct shape_layer_mark *marks; /* [n_marks], one a layer */
    uint32_t n_marks;
    const void *inputs; /* what the host writes before: hidden states of the tokens, batch table, rows of logits */
    uint64_t input_bytes;
    card_addr input_address;
    uint64_t output_bytes; /* what the host reads after: logits, or the hidden states for the next card */
    card_addr output_address;
};

/* Writes the program of one step; sequence i keeps its pages from step to step. Runs nothing. */
int shape_program_plan(struct shape_program *program, const struct shape_sequence *sequences, uint32_t n_sequences,
                       struct shape_step *step, struct error *err);

/* Plans and runs one step as model_step does: inputs to the card, program, logits back. Waits. */
int shape_program_step(struct shape_program *program, const struct shape_sequence *sequences, uint32_t n_sequences,
                       struct error *err);

#endif
