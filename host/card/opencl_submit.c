/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies and parts of programs into the queues. A program leaves its fate in a few words of card memory that are read
 * back behind each of its parts (opencl_checks.c).
 */
#include "host/base/memory.h"
#include "host/card/opencl_card.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int opencl_enqueue_copy(struct opencl_card *card, struct opencl_record *record, const cl_event *wait, cl_uint n_wait,
                        struct error *err)
{
    const int read = record->dst != NULL;
    cl_command_queue queue = read ? card->from_card : card->to_card;
    if (n_wait == 0) wait = NULL;
    cl_int status = read ? clEnqueueReadBuffer(queue, record->bank, CL_FALSE, record->offset, record->bytes,
                                               record->dst, n_wait, wait, &record->done)
                         : clEnqueueWriteBuffer(queue, record->bank, CL_FALSE, record->offset, record->bytes,
                                                record->src, n_wait, wait, &record->done);
    if (status == CL_SUCCESS) status = clFlush(queue);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, read ? "copy from the card" : "copy to the card", status);
}

/* ---- programs ---- */

/* Puts the list of allocations on the card if it has changed. What runs keeps the memory that it was given. */
static int update_ranges(struct opencl_card *card, struct error *err)
{
    const struct card_extents *extents = card->machine.extents;
    const struct bank_range *range[CARD_MAX_BANKS];
    size_t n[CARD_MAX_BANKS], total = 0, at = 0;
    for (unsigned b = 0; b < card->machine.n_banks; b++) {
        range[b] = extents->ranges(extents->context, b, &n[b]);
        total += n[b];
    }
    uint64_t *list = memory_array(2 * total + 1, sizeof *list);
    if (!list || total > UINT32_MAX / 2) {
        free(list);
        return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for the list of allocations");
    }
    for (unsigned b = 0; b < card->machine.n_banks; b++) {
        for (size_t i = 0; i < n[b]; i++) {
            list[at++] = CARD_ADDR(b, range[b][i].offset);
            list[at++] = range[b][i].bytes;
        }
    }
    if (card->machine.ranges && total == card->machine.n_ranges && memcmp(list, card->ranges, at * sizeof *list) == 0) {
        free(list);
        return 0;
    }
    cl_int status;
    cl_mem memory = clCreateBuffer(card->machine.context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                                   (at + 1) * sizeof *list, list, &status);
    if (status != CL_SUCCESS) {
        free(list);
        return opencl_fail(err, "the list of allocations", status);
    }
    if (card->machine.ranges) clReleaseMemObject(card->machine.ranges);
    free(card->ranges);
    card->machine.ranges = memory;
    card->machine.n_ranges = (unsigned)total;
    card->ranges = list;
    return 0;
}

/* The program does not run if one of those that it follows fails while it waits. */
static int follow_programs(struct opencl_card *card, const struct opencl_record *later, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < later->n_after && !rc; i++) {
        const struct opencl_record *earlier = opencl_find_record(card, later->after[i]);
        if (earlier && earlier->slot >= 0 && earlier->done)
            rc = opencl_enqueue_follow(&card->machine, (unsigned)later->slot, (unsigned)earlier->slot, err);
    }
    return rc;
}

/* What goes before the first part. */
static int begin_program(struct opencl_card *card, const struct opencl_record *record, const cl_event *wait,
                         cl_uint n_wait, struct error *err)
{
    const uint32_t zero = 0;
    const cl_int status =
        clEnqueueFillBuffer(card->machine.compute, card->machine.status[record->slot], &zero, sizeof zero, 0,
                            sizeof record->status, n_wait, n_wait ? wait : NULL, NULL);
    if (status != CL_SUCCESS) return opencl_fail(err, "clEnqueueFillBuffer", status);
    return follow_programs(card, record, err);
}

int opencl_enqueue_part(struct opencl_card *card, struct opencl_record *record, unsigned first, const cl_event *wait,
                        cl_uint n_wait, struct error *err)
{
    struct opencl_machine *machine = &card->machine;
    const unsigned slot = (unsigned)record->slot;
    int experts = 0;
    for (unsigned i = first; i < record->n_descriptors; i++) {
        experts |= record->program[i].opcode == CARD_OP_EXPERT_MATMUL;
    }
    int rc = experts ? update_ranges(card, err) : 0;
    if (!rc && first == 0) rc = begin_program(card, record, wait, n_wait, err);
    if (!rc) {
        rc = opencl_enqueue(machine, slot, record->program, record->n_descriptors, first, &record->next,
                            &record->account, err);
    }
    if (rc) return rc;
    cl_event done = NULL;
    cl_int status = clEnqueueReadBuffer(machine->compute, machine->status[slot], CL_FALSE, 0, sizeof record->status,
                                        record->status, 0, NULL, &done);
    if (done && record->done) clReleaseEvent(record->done);
    if (done) record->done = done;
    if (status == CL_SUCCESS) status = clFlush(machine->compute);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, "the end of a program", status);
}

/* ---- AWAIT ---- */

/* Reads card memory now; the caller frees *out. */
static int read_table(struct opencl_card *card, card_addr address, size_t bytes, void **out, struct error *err)
{
    *out = memory_array(bytes, 1);
    if (!*out) return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for a table");
    const cl_int status = clEnqueueReadBuffer(card->from_card, card->machine.bank[CARD_ADDR_BANK(address)], CL_TRUE,
                                              (size_t)CARD_ADDR_OFFSET(address), bytes, *out, 0, NULL, NULL);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, "a table of AWAIT", status);
}

int opencl_answer(struct opencl_card *card, struct opencl_record *record, struct error *err)
{
    int rc = 0;
    for (; record->answered < record->next && !rc; record->answered++) {
        const struct card_descriptor *d = &record->program[record->answered];
        if (d->opcode != CARD_OP_PUBLISH || !card->agent.published) continue;
        void *choices = NULL;
        rc = read_table(card, d->dst + CARD_WORD_BYTES, (size_t)d->tokens * d->rows * sizeof(struct card_choice),
                        &choices, err);
        if (!rc) rc = card->agent.published(card->agent.context, d, choices, err);
        free(choices);
    }
    return rc;
}

static int write_table(struct opencl_card *card, card_addr address, const void *table, size_t bytes, struct error *err)
{
    const cl_int status = clEnqueueWriteBuffer(card->to_card, card->machine.bank[CARD_ADDR_BANK(address)], CL_TRUE,
                                               (size_t)CARD_ADDR_OFFSET(address), bytes, table, 0, NULL, NULL);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, "choices of AWAIT", status);
}

int opencl_look_at_slots(struct opencl_card *card, const struct opencl_record *record, struct card_look *look,
                         struct error *err)
{
    const struct card_descriptor *d = &record->program[record->next];
    const size_t n = (size_t)d->tokens * d->param[0];
    void *choices = NULL, *slots = NULL;
    struct card_choice *sorted = memory_array(2 * n, sizeof *sorted);
    int rc = sorted ? 0 : error_set(err, ERROR_NO_MEMORY, "opencl: no memory for the choices of AWAIT");
    if (!rc) rc = read_table(card, d->aux, n * sizeof(struct card_choice), &choices, err);
    if (!rc) rc = read_table(card, d->weight, d->param[1] * sizeof(card_addr), &slots, err);
    if (!rc) rc = card_await_look(d, choices, slots, sorted, look, err);
    if (!rc && look->goes_on && d->flags & CARD_FLAG_PER_CHOICE)
        rc = write_table(card, d->dst, sorted, 2 * n * sizeof *sorted, err);
    free(choices);
    free(slots);
    free(sorted);
    return rc;
}
