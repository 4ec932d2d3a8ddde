/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --record-routing: what the routers of a loaded model chose, into a routing trace. A token is recorded if its row goes through
 * all layers: every token that is generated, and of a prompt the last one, as the last layer leaves out the rows whose
 * logits nobody wants. Its sequence is a number that rises with each sequence that begins; the first row of a sequence counts
 * as its prompt's. Drafts that turn out wrong are recorded like other tokens, and
 * the sequence then counts as another.
 */
#ifndef SLUICE_EXPERTS_ROUTING_RECORDER_H
#define SLUICE_EXPERTS_ROUTING_RECORDER_H

#include "host/experts/routing_trace.h"
#include "host/model/model.h"

struct routing_recorder; /* opaque */

/* The recorder is the caller's, who closes it. ERROR_BAD_ARGUMENT for a model without experts; ERROR_IO names the path. */
int routing_recorder_open(const char *path, const struct model *model, struct routing_recorder **out,
                          struct error *err);

/*
 * A step: begin, before it is computed; layer, for each publication of one of the model's layers, in the order of its rows;
 * end, when all went well. What fails is told by close, and nothing more is recorded then: a step does not fail for it.
 */
void routing_recorder_begin(struct routing_recorder *recorder, const struct step *step);
void routing_recorder_layer(struct routing_recorder *recorder, uint32_t layer, const struct card_choice *choices,
                            uint32_t n_tokens);
void routing_recorder_end(struct routing_recorder *recorder);

/* Completes the file and frees; NULL does nothing. The first error there was. */
int routing_recorder_close(struct routing_recorder *recorder, struct error *err);

#endif
