/* SPDX-License-Identifier: Apache-2.0 */
/* One answer of the model, streamed to stdout while the engine is stepped on this thread. */
#ifndef SLUICE_CLI_GENERATE_H
#define SLUICE_CLI_GENERATE_H

#include "host/cli/session.h"
#include "host/engine/completion.h"

struct generate_options {
    uint32_t max_tokens; /* UINT32_MAX: up to the context */
    struct sampling sampling;
    const char *dry_breaker; /* the text that no repeat of DRY's goes over; NULL: the usual ones */
    struct grammar *grammar; /* what answers match, held by the caller; NULL: anything */
    bool stats;              /* speed and times on stderr */
    int interrupt_fd;        /* becomes readable when the user wants the answer to stop; -1: none */
    double process_started;  /* seconds_now() at the start, for the time to the first token */
};

struct answer {
    struct text text; /* what was printed; owned: text_free */
    enum finish_reason reason;
    struct engine_usage usage;
};

/* prompt is borrowed during the call. Prints the text and a newline; says on stderr if the context is full. */
int generate(const struct session *session, const struct generate_options *options, const struct token_list *prompt,
             struct answer *answer, struct error *err);

/* True, and the signal is taken, if fd (a signalfd) has one. */
bool take_interrupt(int fd);

#endif
