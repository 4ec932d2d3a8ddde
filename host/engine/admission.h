/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which waiting sequence comes next. The most urgent go first (the lowest priority number); among those, the client of
 * whom the fewest run, then the one from whom none was taken for longest; a client's own go in order of arrival. So one
 * that floods the queue holds up itself.
 */
#ifndef SLUICE_ENGINE_ADMISSION_H
#define SLUICE_ENGINE_ADMISSION_H

#include <stdint.h>

struct sequence;
struct sequence_queue;

/* Clients whose last turn is remembered. One beyond them counts as one that has had none. */
#define ADMISSION_CLIENTS 64

struct admission {
    struct {
        uint64_t client, turn; /* turn 0: the place is free */
    } last[ADMISSION_CLIENTS];
    uint64_t n_turns;
};

/* The next of waiting, or NULL if that is empty; nothing is changed. Takes time in proportion to waiting * n_running. */
struct sequence *admission_next(const struct admission *admission, const struct sequence_queue *waiting,
                                struct sequence *const *running, uint32_t n_running);

/* The sequence was admitted: its client has had its turn. */
void admission_took(struct admission *admission, const struct sequence *sequence);

#endif
