/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that are not over, and waiting for them. The process answers each ring in order; whoever holds the lock reads what
 * is answered, copies what came from the card to where it belongs, and closes events whose last command that was.
 */
#include "host/base/memory.h"
#include "host/card/xrt_card.h"

#include <inttypes.h>
#include <string.h>

static const struct xrt_ticket any;

#define SPINS 600    /* before sleeping: some microseconds */
#define SLICE_MS 50u /* of a sleep, after which it is looked whether the process lives */

/* ---- failures ---- */

static size_t failure_place(const struct xrt_card *card, card_event event)
{
    size_t low = 0, high = card->n_failures;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (card->failure[middle].event < event)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct xrt_failure *find_failure(const struct xrt_card *card, card_event event)
{
    const size_t at = failure_place(card, event);
    return at < card->n_failures && card->failure[at].event == event ? &card->failure[at] : NULL;
}

/* The event's first failure is kept. Without memory for it the whole card has failed. */
static void keep_failure(struct xrt_card *card, card_event event, const struct xrt_piece *piece,
                         const struct error *error)
{
    const size_t at = failure_place(card, event);
    if (find_failure(card, event)) return;
    if (card->n_failures == card->failures_capacity) {
        const size_t capacity = card->failures_capacity ? card->failures_capacity * 2 : 16;
        struct xrt_failure *grown = memory_grow(card->failure, capacity, sizeof *grown);
        if (!grown) {
            error_set(&card->process.death, ERROR_CARD, "XRT: no memory to remember that an event failed");
            return;
        }
        card->failure = grown;
        card->failures_capacity = capacity;
    }
    memmove(card->failure + at + 1, card->failure + at, (card->n_failures++ - at) * sizeof *card->failure);
    card->failure[at] = (struct xrt_failure){.event = event, .error = *error};
    card->failure[at].error.code = ERROR_CARD;
    if (!piece) return;
    memcpy(card->failure[at].cause, piece->after, sizeof piece->after);
    card->failure[at].n_causes = piece->n_after;
}

/* The failure that this one comes from; itself if there is none, or it is not known. */
static const struct xrt_failure *root_of(const struct xrt_card *card, const struct xrt_failure *failure)
{
    for (unsigned i = 0; i < failure->n_causes; i++) {
        const struct xrt_failure *cause = find_failure(card, failure->cause[i]);
        if (cause && cause->event < failure->event) return root_of(card, cause);
    }
    return failure;
}

/* What the caller hears of it. */
static int tell_failure(const struct xrt_card *card, const struct xrt_failure *failure, struct error *err)
{
    const struct xrt_failure *root = root_of(card, failure);
    if (root == failure) return error_set(err, ERROR_CARD, "%s", root->error.text);
    return error_set(err, ERROR_CARD, "event %" PRIu64 " that this was to follow failed: %.400s", root->event,
                     root->error.text);
}

/* ---- answers ---- */

static struct xrt_open_event *find_open(struct xrt_card *card, card_event event)
{
    for (unsigned i = 0; i < card->n_open; i++) {
        if (card->open[i].event == event) return &card->open[i];
    }
    return NULL;
}

static void close_event(struct xrt_card *card, card_event event)
{
    struct xrt_open_event *open = find_open(card, event);
    if (open) *open = card->open[--card->n_open];
}

static int read_run(struct xrt_card *card, const struct xrt_command *command, const struct xrt_piece *piece,
                    struct error *err)
{
    const struct engine_status *status = &command->status;
    int rc = xrt_status_error(status, piece->base, err);
    if (!rc) card->done.descriptors += piece->descriptors;
    card->done.weight_bytes += status->weight_bytes;
    card->done.kv_bytes += status->kv_bytes;
    card->done.multiply_adds += status->multiply_adds;
    card->done.cycles += status->cycles;
    return rc;
}

static void read_answer(struct xrt_card *card, unsigned ring, uint64_t number)
{
    struct xrt_command *command = &card->process.shared->ring[ring].command[number % XRT_PLACES];
    const struct xrt_piece *piece = &card->piece[ring][number % XRT_PLACES];
    struct error error = {0};
    int rc = command->error;
    command->text[sizeof command->text - 1] = 0;
    if (rc)
        error_set(&error, ERROR_CARD, "%s", command->text);
    else if (piece->work == XRT_RUNS)
        rc = read_run(card, command, piece, &error);
    else if (piece->work == XRT_FROM_CARD)
        memcpy(piece->dst, xrt_window(&card->process, piece->bank, piece->from), piece->to - piece->from);
    if (rc && piece->work == XRT_RUNS) card->has_extents = false; /* it may have failed before its table was sent */
    if (rc) keep_failure(card, piece->event, command->error ? piece : NULL, &error);
    if (piece->last) close_event(card, piece->event);
}

static void read_answers(struct xrt_card *card)
{
    for (unsigned ring = 0; card->process.shared && ring < XRT_RINGS; ring++) {
        const uint64_t completed = atomic_load(&card->process.shared->ring[ring].completed);
        const uint64_t submitted = atomic_load(&card->process.shared->ring[ring].submitted);
        while (card->read[ring] < completed && card->read[ring] < submitted)
            read_answer(card, ring, ++card->read[ring]);
    }
}

void xrt_abandon(struct xrt_card *card, const struct error *why)
{
    read_answers(card);
    for (unsigned i = 0; i < card->n_open; i++) keep_failure(card, card->open[i].event, NULL, why);
    card->n_open = 0;
}

/*
 * Reads what is answered; if that is nothing new, sleeps for a slice, or until `wanted` is answered (number 0: anything).
 * An error: the process has gone.
 */
static int wait_for_answers(struct xrt_card *card, struct xrt_ticket wanted, unsigned milliseconds, struct error *err)
{
    struct xrt_shared *shared = card->process.shared;
    const uint32_t heard = atomic_load(&shared->answers);
    struct error death = {0};
    uint64_t before = 0, after = 0;
    for (unsigned ring = 0; ring < XRT_RINGS; ring++) before += card->read[ring];
    read_answers(card);
    for (unsigned ring = 0; ring < XRT_RINGS; ring++) after += card->read[ring];
    if (before != after) return 0;
    const bool alone = ++card->sleepers == 1 && wanted.number > 0;
    atomic_store(&shared->wanted, alone ? xrt_ticket_code(wanted) : 0);
    pthread_mutex_unlock(&card->lock);
    int spins = 0;
    while (spins < SPINS && atomic_load(&shared->answers) == heard) spins++;
    if (spins == SPINS) xrt_bell_wait(&shared->answers, heard, milliseconds);
    pthread_mutex_lock(&card->lock);
    card->sleepers--;
    if (atomic_load(&shared->answers) != heard) return 0;
    if (xrt_process_check(&card->process, &death) == 0) return 0;
    xrt_abandon(card, &death);
    return error_set(err, ERROR_CARD, "%s", death.text);
}

/* ---- commands ---- */

/* The commands that a call follows; waits for some if there are too many. */
static int resolve(struct xrt_card *card, const struct card_order *order, struct xrt_ticket *after,
                   struct xrt_piece *piece, struct error *err)
{
    const struct xrt_open_event *own = find_open(card, order->event);
    *piece = (struct xrt_piece){.event = order->event};
    if (own) {
        after[0] = own->last;
        piece->after[piece->n_after++] = own->event;
        return 0;
    }
    for (unsigned i = 0; i < order->n_after; i++) {
        if (piece->n_after == XRT_AFTER) {
            int rc = xrt_wait(card, order->after[i], 0, err);
            if (rc) return rc;
        }
        const struct xrt_failure *failure = find_failure(card, order->after[i]);
        if (failure) {
            const struct xrt_failure *root = root_of(card, failure);
            return error_set(err, ERROR_CARD, "event %" PRIu64 " that this was to follow failed: %.400s", root->event,
                             root->error.text);
        }
        const struct xrt_open_event *open = find_open(card, order->after[i]);
        if (!open) continue;
        after[piece->n_after] = open->last;
        piece->after[piece->n_after++] = open->event;
    }
    return 0;
}

struct xrt_command *xrt_prepare(struct xrt_card *card, unsigned ring, const struct card_order *order,
                                struct xrt_piece *piece, struct error *err)
{
    struct xrt_ring *at = &card->process.shared->ring[ring];
    struct xrt_ticket after[XRT_AFTER];
    if (resolve(card, order, after, piece, err)) return NULL;
    /* Commands that were open then may be over now: to follow them does no harm. */
    for (;;) {
        if (card->process.death.code) {
            error_set(err, ERROR_CARD, "%s", card->process.death.text);
            return NULL;
        }
        if (atomic_load(&at->submitted) - card->read[ring] < XRT_PLACES) break;
        if (wait_for_answers(card, any, SLICE_MS, err)) return NULL;
    }
    struct xrt_command *command = &at->command[(atomic_load(&at->submitted) + 1) % XRT_PLACES];
    memset(command, 0, sizeof *command);
    memcpy(command->after, after, piece->n_after * sizeof *after);
    command->n_after = piece->n_after;
    return command;
}

void xrt_push(struct xrt_card *card, unsigned ring, const struct xrt_piece *piece)
{
    struct xrt_ring *at = &card->process.shared->ring[ring];
    const uint64_t number = atomic_load(&at->submitted) + 1;
    struct xrt_open_event *open = find_open(card, piece->event);
    if (!open) open = &card->open[card->n_open++];
    *open = (struct xrt_open_event){.event = piece->event, .last = {.ring = ring, .number = number}};
    card->piece[ring][number % XRT_PLACES] = *piece;
    atomic_store(&at->submitted, number);
    xrt_bell_ring(&at->bell);
}

bool xrt_runs_are_idle(const struct xrt_card *card)
{
    return atomic_load(&card->process.shared->ring[XRT_RUNS].submitted) == card->read[XRT_RUNS];
}

bool xrt_follows_runs(struct xrt_card *card, const struct card_order *order)
{
    const uint64_t newest = atomic_load(&card->process.shared->ring[XRT_RUNS].submitted);
    for (unsigned i = 0; i < order->n_after; i++) {
        const struct xrt_open_event *open = find_open(card, order->after[i]);
        if (open && open->last.ring == XRT_RUNS && open->last.number == newest) return true;
    }
    return false;
}

/* ---- waiting ---- */

static bool uses(const struct xrt_card *card, unsigned bank, uint64_t from, uint64_t to)
{
    for (unsigned ring = 0; ring < XRT_RINGS; ring++) {
        const uint64_t submitted = atomic_load(&card->process.shared->ring[ring].submitted);
        for (uint64_t number = card->read[ring] + 1; number <= submitted; number++) {
            const struct xrt_piece *piece = &card->piece[ring][number % XRT_PLACES];
            if (piece->work != XRT_RUNS && piece->bank == bank && piece->from < to && from < piece->to) return true;
        }
    }
    return false;
}

int xrt_settle_range(struct xrt_card *card, unsigned bank, uint64_t from, uint64_t to, struct error *err)
{
    while (uses(card, bank, from, to)) {
        int rc = card->process.death.code ? error_set(err, ERROR_CARD, "%s", card->process.death.text)
                                          : wait_for_answers(card, any, SLICE_MS, err);
        if (rc) return rc;
    }
    return 0;
}

int xrt_wait(struct xrt_card *card, card_event event, unsigned timeout_ms, struct error *err)
{
    const uint64_t end = timeout_ms ? xrt_now_us() + timeout_ms * UINT64_C(1000) : UINT64_MAX;
    read_answers(card);
    while (find_open(card, event)) {
        const uint64_t now = xrt_now_us();
        if (now >= end)
            return error_set(err, ERROR_TIMEOUT, "XRT: event %" PRIu64 " is not over in the time given", event);
        const uint64_t left_ms = (end - now) / 1000 + 1;
        int rc = wait_for_answers(card, find_open(card, event)->last, left_ms < SLICE_MS ? (unsigned)left_ms : SLICE_MS,
                                  err);
        if (rc && !find_failure(card, event)) return rc;
    }
    const struct xrt_failure *failure = find_failure(card, event);
    return failure ? tell_failure(card, failure, err) : 0;
}
