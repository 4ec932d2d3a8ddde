/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice bench --routing: decode of a model that need not exist, by a routing trace, in virtual time (routing_replay.h). The
 * same trace gives the same bytes on any machine.
 */
#ifndef SLUICE_CLI_BENCH_ROUTING_H
#define SLUICE_CLI_BENCH_ROUTING_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_routing_options {
    const char *routing;                         /* a trace's file, or the name of a recipe of the generator */
    const char *architecture;                    /* NULL: of the name that the trace has, or the demo model */
    const char *model_path;                      /* or a model's file, for its shape; NULL */
    const char *card;                            /* "sim:PROFILE" */
    const char *policy;                          /* NULL: the default */
    bool no_guesses;                             /* what the trace predicts is not copied ahead */
    uint32_t slots;                              /* 0: resident_percent */
    uint32_t resident_percent;                   /* of all experts; 0: 25, 50 and 75 */
    uint32_t steps, warm_steps, batch, position; /* batch: sequences of a recipe */
    uint64_t seed;                               /* of a recipe */
};

/*
 * A JSON line for each share resident: speed; the bytes of experts that were used before they went, over what the link
 * brings in experts of that size; the time over the longest of what link, memory, and launch and host need at least; hits,
 * misses, bytes and stalls, of each layer too. warm_steps come before and are not counted.
 */
int bench_routing(const struct bench_routing_options *options, struct error *err);

#endif
