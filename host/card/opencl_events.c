/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are not over. OpenCL works behind the host's back, but what follows a failure must not run, and a program
 * is cut at AWAIT, where the host looks whether it may go on: whichever call comes next sees what is over, settles it
 * and starts what it held up.
 */
#include "host/card/opencl_card.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- records ---- */

/* Index of the first record of an event not before `event`. */
static size_t lower_bound(const struct opencl_card *card, card_event event)
{
    size_t low = 0, high = card->n_records;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (card->record[middle]->event < event)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct opencl_record *opencl_find_record(const struct opencl_card *card, card_event event)
{
    const size_t at = lower_bound(card, event);
    return at < card->n_records && card->record[at]->event == event ? card->record[at] : NULL;
}

void opencl_free_record(struct opencl_record *record)
{
    if (!record) return;
    if (record->done) clReleaseEvent(record->done);
    free(record->program);
    free(record->after);
    free(record);
}

void opencl_keep_record(struct opencl_card *card, struct opencl_record *record)
{
    const size_t at = lower_bound(card, record->event); /* the end, unless two threads call */
    memmove(card->record + at + 1, card->record + at, (card->n_records++ - at) * sizeof card->record[0]);
    card->record[at] = record;
}

static void forget(struct opencl_card *card, struct opencl_record *record)
{
    const size_t at = lower_bound(card, record->event);
    memmove(card->record + at, card->record + at + 1, (--card->n_records - at) * sizeof card->record[0]);
    opencl_free_record(record);
}

/* Status of the record's last command: CL_COMPLETE, something above it, or an error below. */
static cl_int progress(const struct opencl_record *record)
{
    cl_int status = CL_COMPLETE, asked;
    asked = clGetEventInfo(record->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    return asked == CL_SUCCESS ? status : asked;
}

static void settle(struct opencl_card *card, struct opencl_record *record);

/* The failure of an event that the record's had to follow, if there is one. */
static void inherit_failure(struct opencl_card *card, struct opencl_record *record)
{
    for (unsigned i = 0; i < record->n_after && !record->failure.code; i++) {
        struct opencl_record *earlier = opencl_find_record(card, record->after[i]);
        if (earlier && earlier->done) settle(card, earlier);
        earlier = opencl_find_record(card, record->after[i]);
        if (!earlier) continue;
        error_set(&record->failure, ERROR_CARD, "event %" PRIu64 " that this was to follow failed: %.300s",
                  earlier->event, earlier->failure.text);
    }
}

static void give_slot(struct opencl_card *card, const struct opencl_record *record)
{
    if (record->slot >= 0) card->slots_taken &= ~(1u << record->slot);
}

/*
 * The record's commands are over: finds out how they ended and forgets the record unless they failed. Those that it
 * waited for are over too and are settled first (their events are older: this ends).
 */
static void settle(struct opencl_card *card, struct opencl_record *record)
{
    const cl_int status = progress(record);
    clReleaseEvent(record->done);
    record->done = NULL;
    inherit_failure(card, record);
    if (status < 0 && !record->failure.code) opencl_fail(&record->failure, "the device failed", status);
    if (status < 0) record->failure.code = ERROR_CARD;
    if (record->slot >= 0 && !record->failure.code) {
        (void)opencl_status_error(record->status, record->program, record->n_descriptors, &record->failure);
    }
    give_slot(card, record);
    if (record->failure.code) return;
    const uint32_t *counts = record->status + 8;
    card->account.descriptors += record->account.descriptors;
    card->account.weight_bytes += record->account.weight_bytes + (counts[0] | (uint64_t)counts[1] << 32);
    card->account.kv_bytes += record->account.kv_bytes + (counts[2] | (uint64_t)counts[3] << 32);
    card->account.multiply_adds += record->account.multiply_adds + (counts[4] | (uint64_t)counts[5] << 32);
    forget(card, record);
}

/* ---- programs that wait for experts ---- */

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* All before the AWAIT has run. Enqueues what is after it if its experts are there; a failure goes to the record. */
static void look_at_await(struct opencl_card *card, struct opencl_record *record)
{
    const struct card_descriptor *d = &record->program[record->next];
    const uint64_t now = now_us();
    struct card_look look = {0};
    if (record->await_until_us == 0) record->await_until_us = now + d->param[2];
    int rc = opencl_answer(card, record, &record->failure);
    if (!rc) rc = opencl_look_at_slots(card, record, &look, &record->failure);
    if (!rc && !look.goes_on && card->agent.missing)
        rc = card->agent.missing(card->agent.context, (uint32_t)look.missing, now >= record->await_until_us,
                                 &record->failure);
    if (rc) error_prefix(&record->failure, "descriptor %u (%s)", record->next, card_opcode_name(d->opcode));
    if (!rc && look.goes_on) {
        record->await_until_us = 0;
        record->answered = record->next + 1 + look.passed_over;
        rc = opencl_enqueue_part(card, record, record->answered, NULL, 0, &record->failure);
        if (rc) clFinish(card->machine.compute); /* what was enqueued still writes to the slot */
    } else if (!rc && now >= record->await_until_us) {
        rc = error_set(&record->failure, ERROR_CARD, "expert %" PRIu64 ": no slot after %" PRIu64 " microseconds",
                       look.missing, now - record->await_until_us + d->param[2]);
        error_prefix(&record->failure, "descriptor %u (%s)", record->next, card_opcode_name(d->opcode));
    }
    if (rc) record->failure.code = ERROR_CARD;
}

/* Whether all commands of a record that is not deferred are over; starts the next part of a program that may go on. */
static int is_over(struct opencl_card *card, struct opencl_record *record)
{
    const cl_int status = progress(record);
    if (status > CL_COMPLETE) return 0;
    if (status < 0 || !opencl_has_parts_left(record) || record->status[0] != 0) return 1;
    look_at_await(card, record);
    return record->failure.code != 0;
}

/* ---- what is held up ---- */

static int is_running(const struct opencl_record *record) { return record && (record->done || record->deferred); }

static int is_held_up(const struct opencl_card *card, const struct opencl_record *record)
{
    for (unsigned i = 0; i < record->n_after; i++) {
        if (is_running(opencl_find_record(card, record->after[i]))) return 1;
    }
    if (record->slot < 0) return 0;
    /* Programs run in the order in which they were submitted. */
    for (size_t i = 0; i < card->n_records && card->record[i]->event < record->event; i++) {
        const struct opencl_record *earlier = card->record[i];
        if (is_running(earlier) && opencl_has_parts_left(earlier)) return 1;
    }
    return 0;
}

int opencl_must_defer(const struct opencl_card *card, const struct opencl_record *record)
{
    for (unsigned i = 0; i < record->n_after; i++) {
        const struct opencl_record *earlier = opencl_find_record(card, record->after[i]);
        if (!is_running(earlier)) continue;
        /* A program's fate must be known before a copy follows it; a program that follows asks for it on the card. */
        if (earlier->deferred || opencl_has_parts_left(earlier) || (earlier->slot >= 0 && record->slot < 0)) return 1;
    }
    for (size_t i = 0; i < card->n_records && record->slot >= 0; i++) {
        if (is_running(card->record[i]) && opencl_has_parts_left(card->record[i])) return 1;
    }
    return 0;
}

/* Enqueues what nothing holds up any more, unless what it follows has failed. */
static void start_deferred(struct opencl_card *card, struct opencl_record *record)
{
    int rc = 0;
    record->deferred = 0;
    inherit_failure(card, record);
    if (!record->failure.code) {
        rc = record->slot < 0 ? opencl_enqueue_copy(card, record, NULL, 0, &record->failure)
                              : opencl_enqueue_part(card, record, 0, NULL, 0, &record->failure);
    }
    if (rc) record->failure.code = ERROR_CARD;
    if (rc && record->slot >= 0) clFinish(card->machine.compute);
    if (record->failure.code) give_slot(card, record);
}

void opencl_settle_finished(struct opencl_card *card)
{
    size_t i = 0;
    while (i < card->n_records) {
        struct opencl_record *record = card->record[i];
        const card_event event = record->event;
        if (record->deferred && !is_held_up(card, record)) start_deferred(card, record);
        if (record->done && is_over(card, record)) settle(card, record);
        i = lower_bound(card, event + 1); /* settling forgets records at and before this one */
    }
}

void opencl_abandon(struct opencl_card *card)
{
    for (size_t i = 0; i < card->n_records; i++) {
        struct opencl_record *record = card->record[i];
        if (!is_running(record)) continue;
        if (record->done) clReleaseEvent(record->done);
        record->done = NULL;
        record->deferred = 0;
        error_set(&record->failure, ERROR_CARD, "opencl: the card was reset before event %" PRIu64 " was over",
                  record->event);
        give_slot(card, record);
    }
}

/* ---- waiting ---- */

/* Whether the record's end is that of its last command: nothing of it, and of nobody else, has to be started first. */
static int can_sleep(const struct opencl_card *card, const struct opencl_record *record)
{
    if (record->deferred || opencl_has_parts_left(record)) return 0;
    for (size_t i = 0; i < card->n_records && card->record[i]->event < record->event; i++) {
        if (opencl_has_parts_left(card->record[i]) && is_running(card->record[i])) return 0;
    }
    return 1;
}

static int sleep_until(struct opencl_card *card, cl_event done, struct error *err)
{
    cl_int status = clRetainEvent(done);
    if (status == CL_SUCCESS) {
        pthread_mutex_unlock(&card->lock);
        status = clWaitForEvents(1, &done);
        pthread_mutex_lock(&card->lock);
        clReleaseEvent(done);
    }
    /* A command that failed is over too: how it ended is asked next. */
    if (status == CL_SUCCESS || status == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) return 0;
    opencl_fail(err, "the card cannot be waited for", status);
    return ERROR_CARD;
}

/*
 * Without a limit of time it sleeps until the last command is over, if that is all there is to wait for; else it looks
 * again and again: at once, then after 20 us, slowing down to every 1 ms.
 */
int opencl_wait(struct opencl_card *card, card_event event, unsigned timeout_ms, struct error *err)
{
    const uint64_t deadline_us = timeout_ms ? now_us() + timeout_ms * UINT64_C(1000) : 0;
    long pause_ns = 20000;
    for (;;) {
        opencl_settle_finished(card);
        struct opencl_record *record = opencl_find_record(card, event);
        if (!record) return 0;
        if (!is_running(record)) return error_set(err, record->failure.code, "%s", record->failure.text);
        if (deadline_us == 0 && can_sleep(card, record)) {
            const int rc = sleep_until(card, record->done, err);
            if (rc) return rc;
            continue;
        }
        if (deadline_us != 0 && now_us() >= deadline_us) {
            return error_set(err, ERROR_TIMEOUT, "opencl: event %" PRIu64 " is not over in the time given", event);
        }
        pthread_mutex_unlock(&card->lock);
        nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
        pthread_mutex_lock(&card->lock);
        if (pause_ns < 1000000) pause_ns += pause_ns / 4;
    }
}
