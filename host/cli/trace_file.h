/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --trace: the timeline of a card with a virtual clock as a file in Chrome's trace format, which Perfetto and
 * chrome://tracing open. Lanes: each direction of the link, the matmul array, the attention and vector units, the
 * dispatcher and the host; memory channels; expert slots. Times are virtual, in microseconds; begins and ends are
 * rounded down to a nanosecond, which is what viewers count in.
 *
 * Memory channels stand in groups of 8 neighbours: what all of a group do together is one event in the group's lane, all
 * else is in the lane of its channel. So events of one lane never overlap. An event's busy_ps is what it adds to the busy
 * time of card_usage, where that is not its length: an operation lasts until its operands have come, and what a channel
 * read ahead counts when it is used. A group's busy_ps is each channel's. An expert's lane shows its part of the matmul
 * array's work, which the array's own lane has too.
 */
#ifndef SLUICE_CLI_TRACE_FILE_H
#define SLUICE_CLI_TRACE_FILE_H

#include "host/card/card_list.h"
#include "host/engine/engine.h"

struct trace_file;

/* Opens the file (json_stream.h). path is borrowed. *out is owned by the caller: trace_file_close. */
int trace_file_open(const char *path, struct trace_file **out, struct error *err);

/* Begins the file and writes down what the cards do from now on, each under its name. ERROR_UNSUPPORTED: a card without a clock. */
int trace_file_attach(struct trace_file *trace, const struct card_list *cards, struct error *err);

/* Events name the token from now on: how many tokens the engine had picked when the program of the event was submitted. */
void trace_file_follow(struct trace_file *trace, const struct engine *engine);

/* When the card traces no more. An error of any write shows here. NULL is allowed: 0. */
int trace_file_close(struct trace_file *trace, struct error *err);

#endif
