/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from the engine's thread to the event loop's. A choice is one sequence of the engine, as both threads see
 * it: what the engine says about it is added to its post, the choice goes into the list of those with post, and an
 * eventfd wakes the loop. The lock is held for a copy of a few bytes.
 */
#ifndef SLUICE_SERVE_OUTBOX_H
#define SLUICE_SERVE_OUTBOX_H

#include "host/engine/completion.h"
#include "host/serve/json_out.h"

/* What came for a choice since the loop looked last. */
struct post {
    struct json_out text;     /* bytes as they are; failed: no memory, text is missing */
    struct json_out logprobs; /* JSON of the tokens' probabilities (answer_put_logprobs), with commas between */
    bool ended;
    enum finish_reason reason;
    struct engine_usage usage;
    struct error err; /* with FINISH_ERROR */
};

struct choice {
    struct outbox *outbox;
    void *owner;                       /* the loop's */
    uint32_t index;                    /* the loop's */
    struct completion *handle;         /* the loop's */
    const struct tokenizer *tokenizer; /* set before the completion starts */
    bool older_logprobs;               /* those of /v1/completions; likewise */
    bool text_begun;                   /* of what they are about; the engine's */
    struct post taken;                 /* the loop's, after outbox_take */
    struct post post;                  /* under the outbox's lock, as is all below */
    bool listed;
    struct choice *next;
};

struct outbox; /* opaque */

int outbox_open(struct outbox **out, struct error *err);
void outbox_close(struct outbox *outbox);   /* NULL is allowed; no choice may be in use */
int outbox_fd(const struct outbox *outbox); /* readable when there is post, or after outbox_wake */

/* Any thread. context is a struct choice: these are the completion's callbacks. */
void outbox_text(void *context, const char *bytes, size_t length);
void outbox_logprobs(void *context, uint32_t token, float logprob, const struct sampler_logprobs *others);
void outbox_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err);
void outbox_wake(struct outbox *outbox);

/* The loop. Clears the wake-up; then the next choice with post, its post moved to `taken`, or NULL. */
void outbox_clear(struct outbox *outbox);
struct choice *outbox_take(struct outbox *outbox);

/* Frees what a choice holds (not the choice). Only when its end was taken, or it was never submitted. */
void choice_release(struct choice *choice);

#endif
