/* SPDX-License-Identifier: Apache-2.0 */
/* Where a replay's routing comes from: a trace's file, or a generator by the name of its recipe. */
#ifndef SLUICE_CLI_ROUTING_SOURCE_H
#define SLUICE_CLI_ROUTING_SOURCE_H

#include "host/experts/routing_generate.h"

struct routing_source; /* opaque */

/*
 * name: a recipe of host/experts/routing_recipes.c, made with that seed for n_sequences; else a file. The source is the
 * caller's, who closes it. Errors of routing_trace_open and routing_generator_open; a name that is neither says so.
 */
int routing_source_open(const char *name, uint64_t seed, uint32_t n_sequences, struct routing_source **out,
                        struct error *err);
void routing_source_close(struct routing_source *source); /* NULL does nothing */

const struct routing_shape *routing_source_shape(const struct routing_source *source);
bool routing_source_is_made(const struct routing_source *source);

/* 1 and a step, which is borrowed until the next call; 0 at the end of a file; or ERROR_BAD_FILE. */
int routing_source_next(struct routing_source *source, struct routing_step *step, struct error *err);

/* From its first step on again. */
int routing_source_rewind(struct routing_source *source, struct error *err);

#endif
