/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streaming: the card's agent (sim/agent.h) of a model whose experts have fewer slots than there are. For each PUBLISH it
 * decides who stays and who goes, starts the copies in the order of the choices, and lets the copier move them.
 */
#ifndef SLUICE_EXPERTS_STREAM_H
#define SLUICE_EXPERTS_STREAM_H

#include "host/experts/copier.h"
#include "host/experts/experts.h"

struct expert_stream; /* opaque */

/* Serves loaded, which has a pool, from now on; goes with loaded. Of the options: those of experts. */
int expert_stream_open(struct loaded_model *loaded, const struct model_load_options *options, struct error *err);

/* As experts_settle. */
void expert_stream_settle(struct expert_stream *stream);

/* From any thread. */
void expert_stream_count(struct expert_stream *stream, uint32_t layer, struct experts_traffic *traffic);
bool expert_stream_count_guesses(struct expert_stream *stream, enum experts_guess source,
                                 struct experts_guessed *guessed); /* false: nobody guesses */
void expert_stream_measure(struct expert_stream *stream, struct copier_times *times);

#endif
