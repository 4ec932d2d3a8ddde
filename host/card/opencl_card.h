/* SPDX-License-Identifier: Apache-2.0 */
/* What card_opencl.c, opencl_events.c and opencl_submit.c share: the card and its calls that are not over. */
#ifndef SLUICE_CARD_OPENCL_CARD_H
#define SLUICE_CARD_OPENCL_CARD_H

#include "host/card/card_await.h"
#include "host/card/opencl.h"

#include <pthread.h>

/* A call that is not over, or that failed. */
struct opencl_record {
    card_event event;
    cl_event done;     /* of its last command that is enqueued; NULL before the first and once settled */
    int deferred;      /* not enqueued yet: what it follows is not known to have ended well */
    card_event *after; /* those that were not over when the call was made */
    unsigned n_after;
    struct error failure; /* code 0: none known */
    /* A program. */
    int slot;                        /* -1: a copy */
    struct card_descriptor *program; /* own copy */
    unsigned n_descriptors, next;    /* next: the first that is not enqueued, an AWAIT unless it is the first of all */
    unsigned answered;               /* PUBLISHes before this descriptor were given to the agent */
    uint64_t await_until_us;         /* when that AWAIT has waited long enough; 0: not looked at yet */
    uint32_t status[OPENCL_STATUS_WORDS]; /* read back from the card */
    struct opencl_account account;
    /* A copy. */
    cl_mem bank;
    size_t offset, bytes;
    void *dst; /* one of the two */
    const void *src;
};

struct opencl_card {
    struct card_backend base;
    pthread_mutex_t lock; /* held by who calls a function of this header */
    struct opencl_machine machine;
    struct opencl_facts facts;
    cl_command_queue to_card, from_card;
    uint64_t bank_bytes[CARD_MAX_BANKS];
    struct opencl_record **record; /* sorted by event */
    size_t n_records, records_capacity;
    uint32_t slots_taken;
    struct card_agent agent;
    uint64_t *ranges; /* what is in machine.ranges */
    struct opencl_account account;
};

static inline struct opencl_card *opencl_card_of(struct card_backend *backend)
{
    return (struct opencl_card *)(void *)backend;
}

/* A program of which something is not enqueued. */
static inline int opencl_has_parts_left(const struct opencl_record *record)
{
    return record->slot >= 0 && record->next < record->n_descriptors && !record->failure.code;
}

/* ---- opencl_events.c ---- */

struct opencl_record *opencl_find_record(const struct opencl_card *card, card_event event);
void opencl_keep_record(struct opencl_card *card, struct opencl_record *record); /* the array has room for it */
void opencl_free_record(struct opencl_record *record);                           /* NULL is allowed */

/* Settles what is over and starts what it held up, without waiting. Frees records. */
void opencl_settle_finished(struct opencl_card *card);

/* Fails what cannot be started or continued any more, after all queues are empty. */
void opencl_abandon(struct opencl_card *card);

/* As card_wait; gives the lock away while it sleeps. Frees records. */
int opencl_wait(struct opencl_card *card, card_event event, unsigned timeout_ms, struct error *err);

/* Whether a call with these predecessors, or a program at all, has to be deferred. */
int opencl_must_defer(const struct opencl_card *card, const struct opencl_record *record);

/* ---- opencl_submit.c: enqueueing; `wait`: events that the first command waits for ---- */

int opencl_enqueue_copy(struct opencl_card *card, struct opencl_record *record, const cl_event *wait, cl_uint n_wait,
                        struct error *err);

/* The descriptors from `first` on to the next AWAIT. */
int opencl_enqueue_part(struct opencl_card *card, struct opencl_record *record, unsigned first, const cl_event *wait,
                        cl_uint n_wait, struct error *err);

/* Gives the agent what the PUBLISHes before record->next have written. */
int opencl_answer(struct opencl_card *card, struct opencl_record *record, struct error *err);

/* Looks at the slot table of the AWAIT at record->next; a PER_CHOICE that goes on has written its dst then. */
int opencl_look_at_slots(struct opencl_card *card, const struct opencl_record *record, struct card_look *look,
                         struct error *err);

#endif
