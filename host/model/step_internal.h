/* SPDX-License-Identifier: Apache-2.0 */
/* A step on one card, as step.c has it for itself and for relay.c, which takes it through the cards of several parts. */
#ifndef SLUICE_MODEL_STEP_INTERNAL_H
#define SLUICE_MODEL_STEP_INTERNAL_H

#include "host/model/model_internal.h"
#include "host/model/planner.h"

struct step_memory {
    const struct loaded_model *loaded; /* borrowed */
    struct step_limits limits;
    card_addr arena;
    card_addr *pools;                /* owned; [n_layers], then of indexers [n_layers]; 0: none */
    card_addr *states;               /* owned; [n_layers]; 0: none */
    uint64_t pools_offset;           /* of dealt pools, in each bank */
    unsigned pool_banks;             /* over which they are dealt, as one allocation in each; 1: one for each pool */
    struct card_descriptor *program; /* owned; [capacity] */
    unsigned capacity;
    uint8_t *inputs;      /* owned; the arena's first part on the host: of one step, or of all groups of one */
    uint64_t input_bytes; /* of inputs */

    /* Of a model in parts. */
    struct step_memory *next; /* owned; of the part on the next card; NULL: none */
    uint32_t *group_rows;     /* owned; [max_logit_rows] */
};

/* Bytes of the inputs of a step of so many tokens, pages in tables and rows of logits. */
uint64_t step_input_bytes(const struct model *model, uint32_t n_tokens, uint32_t n_pages, uint32_t n_logit_rows);

/* Writes the step's program into memory->program and describes it in *planner; *inputs: bytes that it reads from the host. */
int step_plan(const struct loaded_model *loaded, struct step_memory *memory, const struct step *step,
              struct planner *planner, uint64_t *inputs, struct error *err);

/* These inputs, but for the hidden state if another card has it. */
void step_fill(const struct planner *planner, const struct step *step, uint8_t *inputs);

/*
 * model_step for a model in parts, checked. A step goes from card to card through the host; one of many tokens goes in
 * groups, so that the cards work at the same time.
 */
int relay_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err);

/* Bytes of step_memory.inputs for groups of steps within these limits. */
uint64_t relay_input_bytes(const struct model *model, const struct step_limits *limits);

#endif
