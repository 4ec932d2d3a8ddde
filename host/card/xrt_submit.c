/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and programs as commands. A program is cut where it is too long for one run, and at AWAIT, where the host looks. */
#include "host/base/memory.h"
#include "host/card/card_await.h"
#include "host/card/xrt_card.h"
#include "kernels/abi/card_operands.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (UINT64_C(4) << 20) /* of a copy: while one is on its way the next is put into the window */
#define SMALL_BYTES (UINT64_C(1) << 20)
/* What a card that works does at least, for the watchdog: a tenth of the slowest profile's reach. */
#define SLOW_BYTES_PER_US 1000u
#define SLOW_MULTIPLY_ADDS_PER_US 10000u
#define SLOW_LINK_BYTES_PER_US 50u /* a fifth of Gen1 x1 */

/* ---- copies ---- */

/*
 * The inputs of a step and its logits: handing them from thread to thread costs more than they do. What is larger goes
 * its own way, beside runs.
 */
static bool goes_with_runs(struct xrt_card *card, const struct card_order *order, bool to_card, size_t bytes)
{
    if (bytes > SMALL_BYTES) return false;
    return xrt_follows_runs(card, order) || (to_card && order->n_after == 0 && xrt_runs_are_idle(card));
}

int xrt_copy(struct xrt_card *card, const struct card_order *order, card_addr address, void *dst, const void *src,
             size_t bytes, struct error *err)
{
    const unsigned bank = CARD_ADDR_BANK(address), work = src ? XRT_TO_CARD : XRT_FROM_CARD;
    const unsigned ring = goes_with_runs(card, order, src != NULL, bytes) ? XRT_RUNS : work;
    const uint64_t start = CARD_ADDR_OFFSET(address), end = start + bytes;
    for (uint64_t at = start; at < end; at += PIECE_BYTES) {
        const uint64_t stop = end - at < PIECE_BYTES ? end : at + PIECE_BYTES;
        int rc = xrt_settle_range(card, bank, at, stop, err);
        if (rc) return rc;
        struct xrt_piece piece;
        struct xrt_command *command = xrt_prepare(card, ring, order, &piece, err);
        if (!command) return ERROR_CARD;
        if (src) memcpy(xrt_window(&card->process, bank, at), (const uint8_t *)src + (at - start), stop - at);
        command->work = piece.work = work;
        command->bank = bank;
        command->offset = at;
        command->bytes = stop - at;
        command->limit_us = card->watchdog_us ? card->watchdog_us + command->bytes / SLOW_LINK_BYTES_PER_US : 0;
        piece.last = stop == end;
        piece.bank = bank;
        piece.from = at;
        piece.to = stop;
        piece.dst = dst ? (uint8_t *)dst + (at - start) : NULL;
        xrt_push(card, ring, &piece);
    }
    return 0;
}

/* ---- the table of allocations ---- */

/* Fills table with all allocations, pairs of address and bytes, sorted; their number, or more than XRT_EXTENTS. */
static uint32_t list_extents(const struct xrt_card *card, uint64_t *table)
{
    uint32_t n = 0;
    for (unsigned b = 0; b < card->request.n_banks; b++) {
        size_t count;
        const struct bank_range *range = card->extents->ranges(card->extents->context, b, &count);
        for (size_t i = 0; i < count; i++, n++) {
            if (n >= XRT_EXTENTS) return XRT_EXTENTS + 1;
            table[2 * n] = CARD_ADDR(b, range[i].offset);
            table[2 * n + 1] = range[i].bytes;
        }
    }
    return n;
}

static int put_extents(struct xrt_card *card, struct xrt_command *command, uint64_t place, struct error *err)
{
    uint8_t *shared = (uint8_t *)card->process.shared;
    uint64_t *table = (uint64_t *)(void *)(shared + card->process.shared->extents_at + place * XRT_EXTENTS_BYTES);
    const uint32_t n = list_extents(card, table);
    if (n > XRT_EXTENTS) return error_set(err, ERROR_TOO_LARGE, "XRT: more than %u allocations on a card", XRT_EXTENTS);
    command->n_extents = n;
    command->new_extents =
        !card->has_extents || n != card->n_extents_sent || memcmp(table, card->extents_sent, n * (size_t)16) != 0;
    if (!command->new_extents) return 0;
    memcpy(card->extents_sent, table, n * (size_t)16);
    card->n_extents_sent = n;
    card->has_extents = true;
    return 0;
}

/* ---- runs ---- */

/* How long a card may work on it before it counts as hanging; 0: for ever. */
static uint64_t limit_of(const struct xrt_card *card, const struct card_descriptor *program, unsigned n)
{
    uint64_t us = card->watchdog_us;
    if (us == 0) return 0;
    for (unsigned i = 0; i < n; i++) {
        const struct card_descriptor *d = &program[i];
        if (d->opcode == CARD_OP_EXTENSION) continue;
        struct card_operand operand[CARD_PLACES];
        card_find_operands(d, card_extension(d), operand);
        for (unsigned k = 0; k < CARD_PLACES; k++) us += operand[k].field ? operand[k].bytes / SLOW_BYTES_PER_US : 0;
        if (d->opcode == CARD_OP_MATMUL || d->opcode == CARD_OP_EXPERT_MATMUL)
            us += (uint64_t)d->tokens * d->rows / SLOW_MULTIPLY_ADDS_PER_US * d->cols;
    }
    return us;
}

static int push_run(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *program,
                    unsigned first, unsigned end, bool last, struct error *err)
{
    struct xrt_piece piece;
    struct xrt_command *command = xrt_prepare(card, XRT_RUNS, order, &piece, err);
    if (!command) return ERROR_CARD;
    struct xrt_shared *shared = card->process.shared;
    const uint64_t place = (atomic_load(&shared->ring[XRT_RUNS].submitted) + 1) % XRT_PLACES;
    int rc = put_extents(card, command, place, err);
    if (rc) return rc;
    memcpy((uint8_t *)shared + shared->programs_at + place * XRT_PROGRAM_BYTES, program + first,
           (end - first) * sizeof *program);
    command->work = piece.work = XRT_RUNS;
    command->n_descriptors = end - first;
    command->limit_us = limit_of(card, program + first, end - first);
    unsigned extensions = 0;
    for (unsigned i = first; i < end; i++) extensions += program[i].opcode == CARD_OP_EXTENSION;
    piece.last = last;
    piece.base = first;
    piece.descriptors = end - first - extensions;
    xrt_push(card, XRT_RUNS, &piece);
    return 0;
}

/* The end of the part that starts at first: at an AWAIT, or where a run is full. */
static unsigned part_end(const struct card_descriptor *program, unsigned first, unsigned n)
{
    unsigned end = first;
    while (end < n && end - first < XRT_DESCRIPTORS - 1 && program[end].opcode != CARD_OP_AWAIT)
        end += program[end].flags & CARD_FLAG_EXTENDED && end + 1 < n ? 2 : 1;
    return end;
}

/* ---- PUBLISH and AWAIT ---- */

/* Reads card memory now, within the event of a program whose parts so far are over. The caller frees *out. */
static int read_table(struct xrt_card *card, const struct card_order *order, card_addr address, size_t bytes,
                      void **out, struct error *err)
{
    *out = memory_array(bytes, 1);
    if (!*out) return error_set(err, ERROR_NO_MEMORY, "XRT: no memory for a table");
    const struct card_order own = {.event = order->event | UINT64_C(1) << 63};
    int rc = xrt_copy(card, &own, address, *out, NULL, bytes, err);
    return rc ? rc : xrt_wait(card, own.event, 0, err);
}

/* The PUBLISHes of a part that has run. The agent may call the card from another thread: not under the lock. */
static int answer(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *part, unsigned n,
                  struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < n && !rc && card->agent.published; i++) {
        const struct card_descriptor *d = &part[i];
        void *choices = NULL;
        if (d->opcode != CARD_OP_PUBLISH) continue;
        rc = read_table(card, order, d->dst + CARD_WORD_BYTES, (size_t)d->tokens * d->rows * sizeof(struct card_choice),
                        &choices, err);
        pthread_mutex_unlock(&card->lock);
        if (!rc && card->agent.published(card->agent.context, d, choices, err)) rc = ERROR_CARD;
        pthread_mutex_lock(&card->lock);
        free(choices);
    }
    return rc;
}

static int write_table(struct xrt_card *card, const struct card_order *order, card_addr address, const void *table,
                       size_t bytes, struct error *err)
{
    const struct card_order own = {.event = order->event | UINT64_C(1) << 63};
    int rc = xrt_copy(card, &own, address, NULL, table, bytes, err);
    return rc ? rc : xrt_wait(card, own.event, 0, err);
}

static int look_at_slots(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *d,
                         struct card_look *look, struct error *err)
{
    const size_t n = (size_t)d->tokens * d->param[0];
    void *choices = NULL, *slots = NULL;
    struct card_choice *sorted = memory_array(2 * n, sizeof *sorted);
    int rc = sorted ? 0 : error_set(err, ERROR_NO_MEMORY, "XRT: no memory for the choices of AWAIT");
    if (!rc) rc = read_table(card, order, d->aux, n * sizeof(struct card_choice), &choices, err);
    if (!rc) rc = read_table(card, order, d->weight, d->param[1] * sizeof(card_addr), &slots, err);
    if (!rc) rc = card_await_look(d, choices, slots, sorted, look, err);
    if (!rc && look->goes_on && d->flags & CARD_FLAG_PER_CHOICE)
        rc = write_table(card, order, d->dst, sorted, 2 * n * sizeof *sorted, err);
    free(choices);
    free(slots);
    free(sorted);
    return rc;
}

static int await(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *d,
                 struct card_look *look, struct error *err)
{
    const uint64_t start = xrt_now_us();
    for (;;) {
        int rc = look_at_slots(card, order, d, look, err);
        if (rc || look->goes_on) return rc;
        const uint64_t waited = xrt_now_us() - start;
        const bool late = waited >= d->param[2];
        pthread_mutex_unlock(&card->lock);
        if (card->agent.missing) rc = card->agent.missing(card->agent.context, (uint32_t)look->missing, late, err);
        if (!rc) sched_yield();
        pthread_mutex_lock(&card->lock);
        if (rc) return ERROR_CARD;
        if (late)
            return error_set(err, ERROR_CARD, "expert %" PRIu64 ": no slot after %" PRIu64 " microseconds",
                             look->missing, waited);
    }
}

static bool waits_for_host(const struct card_descriptor *program, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (program[i].opcode == CARD_OP_AWAIT) return true;
    }
    return false;
}

/* A program that waits for experts: each part is waited for here. Its parts have events of their own. */
static int submit_in_parts(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *program,
                           unsigned n, struct error *err)
{
    int rc = 0;
    for (unsigned first = 0; first < n && !rc;) {
        const unsigned end = part_end(program, first, n);
        const struct card_order part = {.event = order->event | UINT64_C(1) << 63,
                                        .after = order->after,
                                        .n_after = first == 0 ? order->n_after : 0};
        if (end > first) rc = push_run(card, &part, program, first, end, true, err);
        if (!rc && end > first) rc = xrt_wait(card, part.event, 0, err);
        if (!rc) rc = answer(card, order, program + first, end - first, err);
        first = end;
        if (rc || end == n || program[end].opcode != CARD_OP_AWAIT) continue;
        struct card_look look = {0};
        rc = await(card, order, &program[end], &look, err);
        if (rc) error_prefix(err, "descriptor %u (%s)", end, card_opcode_name(CARD_OP_AWAIT));
        if (!rc) card->done.descriptors++;
        first = end + 1 + look.passed_over;
    }
    return rc ? ERROR_CARD : 0;
}

int xrt_submit(struct xrt_card *card, const struct card_order *order, const struct card_descriptor *program,
               unsigned n_descriptors, struct error *err)
{
    if (waits_for_host(program, n_descriptors) || card->agent.published)
        return submit_in_parts(card, order, program, n_descriptors, err);
    int rc = 0;
    for (unsigned first = 0; first < n_descriptors && !rc;) {
        const unsigned end = part_end(program, first, n_descriptors);
        rc = push_run(card, order, program, first, end, end == n_descriptors, err);
        first = end;
    }
    return rc;
}

/* ---- what a status says ---- */

/* Of enum hls_status of kernels/hls/hls_engine.h, by number. */
static const char *const status_texts[] = {
    [1] = "no such opcode, or an extension where none belongs",
    [2] = "batch table: a token's position is too large",
    [3] = "batch table: a token's page entry lies past the end of the table's allocation",
    [4] = "batch table: a page number is not in the pool",
    [5] = "a chosen expert is not in the slot table",
    [6] = "no matrix can lie at the slot of a chosen expert",
    [7] = "an index names no row",
    [8] = "batch table: too many positions are visible",
    [9] = "batch table: a token's state is not in the state pool",
    [10] = "sparse positions do not ascend, or are not visible",
    [11] = "a chosen expert did not come in time",
};

int xrt_status_error(const struct engine_status *status, unsigned base, struct error *err)
{
    unsigned at;
    int behind = 0;
    if (status->status == 0) return 0;
    if (status->text[0]) {
        if (sscanf(status->text, "descriptor %u%n", &at, &behind) == 1)
            return error_set(err, ERROR_CARD, "descriptor %u%.400s", base + at, status->text + behind);
        return error_set(err, ERROR_CARD, "%.440s", status->text);
    }
    if (status->status >= sizeof status_texts / sizeof *status_texts)
        return error_set(err, ERROR_CARD, "the engine has left no status (%u): is the bitstream of this release?",
                         status->status);
    return error_set(err, ERROR_CARD, "descriptor %u: %s (item %u, value %u)", base + status->descriptor,
                     status_texts[status->status], status->item, status->value);
}
