/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the body of a completion request to tokens: parse, check, tokenize. Some megabytes of it take half a second, in
 * which the loop would send nobody a token; so large bodies go through a thread of their own, and small ones, for
 * which the way there and back would cost more than the work, are done on the spot.
 */
#ifndef SLUICE_SERVE_INTAKE_H
#define SLUICE_SERVE_INTAKE_H

#include "host/serve/outbox.h"
#include "host/serve/request.h"
#include "host/serve/serving.h"

/* Whether the body may take more than a moment: it is large, or has a grammar to compile. */
bool intake_is_work(const char *body, size_t length);

#define INTAKE_SMALL_BODY 16384 /* bytes, about 2 ms of work */

enum intake_purpose {
    INTAKE_COMPLETE,
    INTAKE_TOKENIZE,   /* what would be completed, of any length: prompt */
    INTAKE_COUNT,      /* and only how many */
    INTAKE_RENDER,     /* and as text */
    INTAKE_DETOKENIZE, /* tokens as text */
};

struct intake_job {
    enum intake_purpose purpose;
    enum request_kind kind;
    const struct serving_model *model; /* borrowed */
    const char *model_name;            /* borrowed; a request for another is refused */
    float timeout_seconds;             /* that the request's head asks for; 0: none */
    void *owner;                       /* the submitter's */

    /* The result: status 0 with request and prompt, or -1 with error. */
    int status;
    struct completion_request request;
    struct token_list prompt;
    struct text text; /* of INTAKE_RENDER and INTAKE_DETOKENIZE */
    struct api_error error;

    char *body; /* a large one's copy, until it is done */
    size_t length;
    struct intake_job *next;
};

/* Does the work. The job's first group of fields is set; intake_job_clear frees the result. */
void intake_run(struct intake_job *job, const char *body, size_t length);
void intake_job_clear(struct intake_job *job);

struct intake; /* opaque: the thread and its queue */

/* Wakes the outbox's loop when a job is done. *out is owned: intake_close. */
int intake_open(struct outbox *outbox, struct intake **out, struct error *err);

/* Ends the thread; jobs that it has not begun are done with status -1. From here on intake_take returns what is left. */
void intake_stop(struct intake *intake);
void intake_close(struct intake *intake); /* after intake_stop and the last intake_take; NULL is allowed */

/* Copies the body and queues the job, which must stay until intake_take returns it. -1 with job->error: no memory. */
int intake_submit(struct intake *intake, struct intake_job *job, const char *body, size_t length);

/* The next job that is done, or NULL. */
struct intake_job *intake_take(struct intake *intake);

#endif
