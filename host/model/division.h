/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the layers of a model are divided over the cards of a host. The rule:
 *
 *   Each card has layers that follow each other, in the order of the cards, and at least one.
 *   What a card has fits in its memory.
 *   Of all such divisions that one whose busiest card has least to do for a token; of those that are alike in this, one
 *   in which the others are as even as can be.
 *
 * What a card has to do for a layer is time: the bytes that a token reads, over what the card reads in a second, and the bytes
 * of experts that will have to come, over what its link brings. The output matrix takes memory with the last layer and is no
 * load: what cards do at the same time are prompts (relay.c), which hardly ask for it; where one card waits for the other it
 * does not matter who does what.
 *
 * Found by going through the cards and, for each, through where its layers may end: O(cards * layers^2). That the busiest
 * card has as little as possible is exact; evenness beyond that is kept from prefix to prefix.
 */
#ifndef SLUICE_MODEL_DIVISION_H
#define SLUICE_MODEL_DIVISION_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct card_info;
struct model;

#define DIVISION_CARDS 16u

struct division_layer {
    uint64_t bytes;        /* of card memory */
    uint64_t read_bytes;   /* by one token */
    uint64_t copied_bytes; /* over the link for one token */
    bool may_begin;        /* a card's layers may begin with it */
};

struct division_card {
    uint64_t bytes;            /* of memory for layers */
    uint64_t fixed_bytes;      /* which it takes whichever layers it has: slots for one token's experts */
    double read_bytes_per_s;   /* above 0; 1 for all where nothing is known */
    double copied_bytes_per_s; /* the same */
};

/*
 * Sets ends[n_cards], behind the last layer of each card: ends[n_cards - 1] is n_layers. False if no division fits. n_cards
 * is 1 to DIVISION_CARDS. ERROR_NO_MEMORY without host memory: then *fits is not set.
 */
int division_find(const struct division_layer *layers, uint32_t n_layers, const struct division_card *cards,
                  unsigned n_cards, uint32_t *ends, bool *fits, struct error *err);

/* What the layers [first, end) take of a second on the card, for one token. */
double division_seconds(const struct division_layer *layers, uint32_t first, uint32_t end,
                        const struct division_card *card);

/* Of what the model's last layer reads for a token, the output matrix; 0 if the card has no format for it. (model_part.c) */
uint64_t division_output_bytes(const struct model *model, const struct card_info *info);

#endif
