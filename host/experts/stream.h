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

/*
 * The same over a pool on its own, for card programs without a loaded model: card and pool are borrowed until
 * expert_stream_close. The caller makes it the card's agent (expert_stream_agent, card_set_agent), or the one behind his own.
 */
int expert_stream_open_pool(struct card *card, const struct expert_pool *pool, const struct model_load_options *options,
                            struct expert_stream **out, struct error *err);
struct card_agent expert_stream_agent(struct expert_stream *stream);
void expert_stream_close(struct expert_stream *stream); /* NULL is allowed */

/* Writes down the choices of all publications from now on; goes with the stream. NULL: it has none. */
struct routing_recorder;
void expert_stream_record(struct expert_stream *stream, struct routing_recorder *recorder, bool owns);
struct routing_recorder *expert_stream_recorder(struct expert_stream *stream);

/* As experts_settle. */
void expert_stream_settle(struct expert_stream *stream);

/* From any thread. */
void expert_stream_count(struct expert_stream *stream, uint32_t layer, struct experts_traffic *traffic);
bool expert_stream_count_guesses(struct expert_stream *stream, enum experts_guess source,
                                 struct experts_guessed *guessed); /* false: nobody guesses */
void expert_stream_measure(struct expert_stream *stream, struct copier_times *times);

#endif
