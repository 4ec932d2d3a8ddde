/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of `sluice bench --arrivals F`: a text file with a line for each, in the order in which they arrive, as
 *
 *   {"at_ms": 12.5, "prompt_tokens": 512, "output_tokens": 64}
 *   12.5,512,64
 *
 * in either form. Empty lines, lines that begin with # and the line "at_ms,prompt_tokens,output_tokens" say nothing.
 */
#ifndef SLUICE_CLI_ARRIVALS_H
#define SLUICE_CLI_ARRIVALS_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define ARRIVAL_MOST_MS 1e9         /* eleven days */
#define ARRIVAL_MOST_TOKENS 4194304 /* CARD_MAX_POSITIONS */

struct arrival {
    uint64_t at_ps; /* after the start */
    uint32_t prompt_tokens, output_tokens;
    size_t line; /* in the file, from 1 */
};

struct arrivals {
    struct arrival *list; /* owned; at_ps never falls */
    size_t count, capacity;
};

/* ERROR_BAD_FILE names the line and what is expected there. Released by arrivals_free, after an error too. */
int arrivals_read(const char *path, struct arrivals *arrivals, struct error *err);
/* The same of bytes that are there already; name is for messages. */
int arrivals_parse(const char *name, const char *bytes, size_t n_bytes, struct arrivals *arrivals, struct error *err);
void arrivals_free(struct arrivals *arrivals);

#endif
