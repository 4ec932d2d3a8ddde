/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where experts live. The rule here: all of them in card memory, from loading to closing. A model whose experts do not
 * fit is refused before the first byte moves, with what fits and what does not.
 */
#ifndef SLUICE_EXPERTS_EXPERTS_H
#define SLUICE_EXPERTS_EXPERTS_H

#include "host/model/model.h"

/* How a model's experts go with a card's free memory. */
struct experts_residency {
    uint32_t n_layers, n_experts; /* slots that the model has: n_layers * n_experts; 0 and 0 if it is dense */
    uint32_t n_resident;          /* experts of each layer that have room beside the other weights, at most n_experts */
    uint64_t expert_bytes;        /* on the card, all experts */
    uint64_t other_bytes;         /* on the card, all other weights */
    uint64_t free_bytes;          /* of the card, now, in all banks */
    bool fits;                    /* all weights have room; KV pages and activations come on top */
};

/* ERROR_UNSUPPORTED if the card has no format for a tensor; that a model does not fit is no error here. */
int experts_measure(const struct model *model, const struct card *card, struct experts_residency *residency,
                    struct error *err);

/*
 * model_load with that rule: the same arguments and the same result, and ERROR_NO_MEMORY with the numbers of
 * experts_measure if the weights do not fit.
 */
int experts_load(const struct model *model, struct card *card, const struct model_load_options *options,
                 struct loaded_model **out, struct error *err);

#endif
