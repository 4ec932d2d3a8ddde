/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cards behind OpenCL. Three in-order queues: programs, copies to the card, copies from it. Every call returns when its
 * commands are enqueued; what is not known to be over is a record, which wait settles. A program leaves its fate in a
 * few words of card memory that are read back behind it (opencl_launch.c). A copy that follows a program is enqueued
 * when that fate is known, in whichever call sees it first: what follows a failure must not run.
 */
#include "host/base/memory.h"
#include "host/card/opencl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BANK_STEP (UINT64_C(1) << 21)

/* A call that is not over, or that failed. */
struct record {
    card_event event;
    cl_event done;   /* of its last command; NULL once settled */
    int slot;        /* of a program; -1: a copy */
    uint8_t *opcode; /* of the program's descriptors */
    unsigned n_descriptors;
    uint32_t status[OPENCL_STATUS_WORDS]; /* read back from the card */
    struct opencl_account account;
    card_event *after; /* those that were not over when the call was made */
    unsigned n_after;
    /* A copy; `deferred`: not enqueued yet, because it follows a program of which nobody knows yet whether it fails. */
    bool deferred;
    cl_mem bank;
    size_t offset, bytes;
    void *dst; /* one of the two */
    const void *src;
    struct error failure; /* code 0: none known */
};

struct opencl_card {
    struct card_backend base;
    struct opencl_machine machine;
    struct opencl_facts facts;
    cl_command_queue to_card, from_card;
    uint64_t bank_bytes[CARD_MAX_BANKS];
    struct record **record; /* sorted by event */
    size_t n_records, records_capacity;
    uint32_t slots_taken;
    uint64_t *ranges; /* what is in machine.ranges */
    struct opencl_account account;
};

static struct opencl_card *card_of(struct card_backend *backend) { return (struct opencl_card *)(void *)backend; }

/* ---- records ---- */

static struct record *find_record(const struct opencl_card *card, card_event event)
{
    size_t low = 0, high = card->n_records;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (card->record[middle]->event < event)
            low = middle + 1;
        else
            high = middle;
    }
    return low < card->n_records && card->record[low]->event == event ? card->record[low] : NULL;
}

static void free_record(struct record *record)
{
    if (!record) return;
    if (record->done) clReleaseEvent(record->done);
    free(record->opcode);
    free(record->after);
    free(record);
}

static void forget(struct opencl_card *card, struct record *record)
{
    size_t at = 0;
    while (at < card->n_records && card->record[at] != record) at++;
    memmove(card->record + at, card->record + at + 1, (--card->n_records - at) * sizeof(struct record *));
    free_record(record);
}

/* Status of the record's last command: CL_COMPLETE, something above it, or an error below. */
static cl_int progress(const struct record *record)
{
    cl_int status = CL_COMPLETE, asked;
    asked = clGetEventInfo(record->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    return asked == CL_SUCCESS ? status : asked;
}

static void settle(struct opencl_card *card, struct record *record);

/* The failure of an event that the record's had to follow, if there is one. */
static void inherit_failure(struct opencl_card *card, struct record *record)
{
    for (unsigned i = 0; i < record->n_after && !record->failure.code; i++) {
        struct record *earlier = find_record(card, record->after[i]);
        if (!earlier) continue;
        if (earlier->done) settle(card, earlier);
        earlier = find_record(card, record->after[i]);
        if (!earlier) continue;
        error_set(&record->failure, ERROR_CARD, "event %" PRIu64 " that this was to follow failed: %.300s",
                  earlier->event, earlier->failure.text);
    }
}

/*
 * The record's commands are over: finds out how they ended and forgets the record unless they failed. Those that it
 * waited for are over too and are settled first (their events are older: this ends).
 */
static void settle(struct opencl_card *card, struct record *record)
{
    const cl_int status = progress(record);
    clReleaseEvent(record->done);
    record->done = NULL;
    inherit_failure(card, record);
    if (status < 0 && !record->failure.code) opencl_fail(&record->failure, "the device failed", status);
    if (status < 0) record->failure.code = ERROR_CARD;
    if (record->slot >= 0) {
        const uint32_t failed = record->status[0];
        const unsigned opcode = failed && failed <= record->n_descriptors ? record->opcode[failed - 1] : 0;
        if (!record->failure.code) (void)opencl_status_error(record->status, opcode, &record->failure);
        card->slots_taken &= ~(1u << record->slot);
    }
    if (record->failure.code) return;
    const uint32_t *counts = record->status + 8;
    card->account.descriptors += record->account.descriptors;
    card->account.weight_bytes += record->account.weight_bytes + (counts[0] | (uint64_t)counts[1] << 32);
    card->account.kv_bytes += record->account.kv_bytes + (counts[2] | (uint64_t)counts[3] << 32);
    card->account.multiply_adds += record->account.multiply_adds + (counts[4] | (uint64_t)counts[5] << 32);
    forget(card, record);
}

/* Whether something that the record follows still runs. */
static bool is_held_up(const struct opencl_card *card, const struct record *record)
{
    for (unsigned i = 0; i < record->n_after; i++) {
        const struct record *earlier = find_record(card, record->after[i]);
        if (earlier && earlier->done) return true;
    }
    return false;
}

static cl_int enqueue_copy(struct opencl_card *card, struct record *record, cl_uint n_wait, const cl_event *wait)
{
    cl_command_queue queue = record->dst ? card->from_card : card->to_card;
    if (n_wait == 0) wait = NULL;
    cl_int status = record->dst ? clEnqueueReadBuffer(queue, record->bank, CL_FALSE, record->offset, record->bytes,
                                                      record->dst, n_wait, wait, &record->done)
                                : clEnqueueWriteBuffer(queue, record->bank, CL_FALSE, record->offset, record->bytes,
                                                       record->src, n_wait, wait, &record->done);
    return status == CL_SUCCESS ? clFlush(queue) : status;
}

/* Enqueues a copy that nothing holds up any more, unless what it follows has failed. */
static void start_deferred(struct opencl_card *card, struct record *record)
{
    record->deferred = false;
    inherit_failure(card, record);
    if (record->failure.code) return;
    const cl_int status = enqueue_copy(card, record, 0, NULL);
    if (status == CL_SUCCESS) return;
    opencl_fail(&record->failure, "a copy", status);
    record->failure.code = ERROR_CARD;
}

/* Settles what is over and starts what it held up. */
static void settle_finished(struct opencl_card *card)
{
    size_t i = 0;
    while (i < card->n_records) {
        struct record *record = card->record[i];
        const card_event event = record->event;
        if (record->deferred && !is_held_up(card, record)) start_deferred(card, record);
        if (record->done && progress(record) <= CL_COMPLETE) settle(card, record);
        /* Settling forgets records at and before this one. */
        i = 0;
        while (i < card->n_records && card->record[i]->event <= event) i++;
    }
}

/* ---- waiting ---- */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*
 * Waits until the record's commands are over or the clock is at deadline_ms (0: no limit), and settles it. With a limit
 * it looks again and again, as OpenCL has no such wait: at once, then after 20 us, slowing down to every 1 ms.
 */
static int wait_record(struct opencl_card *card, struct record *record, uint64_t deadline_ms, struct error *err)
{
    long pause_ns = 20000;
    if (deadline_ms == 0) (void)clWaitForEvents(1, &record->done); /* how it ended is asked next */
    while (progress(record) > CL_COMPLETE) {
        if (deadline_ms == 0) return error_set(err, ERROR_CARD, "opencl: the card cannot be waited for");
        if (now_ms() >= deadline_ms) {
            return error_set(err, ERROR_TIMEOUT, "opencl: event %" PRIu64 " is not over in the time given",
                             record->event);
        }
        nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
        if (pause_ns < 1000000) pause_ns += pause_ns / 4;
    }
    settle(card, record);
    return 0;
}

/* Waits for what holds up a copy and enqueues it. */
static int release_deferred(struct opencl_card *card, struct record *record, uint64_t deadline_ms, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < record->n_after && !rc; i++) {
        struct record *earlier = find_record(card, record->after[i]);
        if (earlier && earlier->done) rc = wait_record(card, earlier, deadline_ms, err);
    }
    if (!rc) start_deferred(card, record);
    return rc;
}

static int wait_event(struct card_backend *backend, card_event event, unsigned timeout_ms, struct error *err)
{
    struct opencl_card *card = card_of(backend);
    struct record *record = find_record(card, event);
    const uint64_t deadline_ms = timeout_ms ? now_ms() + timeout_ms : 0;
    int rc = 0;
    if (record && record->deferred) rc = release_deferred(card, record, deadline_ms, err);
    if (record && !rc && record->done) rc = wait_record(card, record, deadline_ms, err);
    if (rc) return rc;
    record = find_record(card, event);
    return record ? error_set(err, record->failure.code, "%s", record->failure.text) : 0;
}

/* ---- calls ---- */

/* A call's record and the events that its commands wait for. */
struct call {
    struct record *record;
    cl_event *wait; /* n_wait of them, borrowed from records */
    cl_uint n_wait;
};

static void end_call(struct call *call, int keep)
{
    free(call->wait);
    if (!keep) free_record(call->record);
}

/* Fails if an event in `after` has failed. */
static int begin_call(struct opencl_card *card, const struct card_order *order, struct call *call, struct error *err)
{
    *call = (struct call){0};
    settle_finished(card);
    if (card->n_records == card->records_capacity) {
        const size_t capacity = card->records_capacity ? card->records_capacity * 2 : 64;
        struct record **grown = memory_grow(card->record, capacity, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for an event");
        card->record = grown;
        card->records_capacity = capacity;
    }
    call->record = calloc(1, sizeof *call->record);
    call->wait = memory_array(order->n_after + 1u, sizeof *call->wait);
    if (call->record) call->record->after = memory_array(order->n_after + 1u, sizeof *call->record->after);
    if (!call->record || !call->wait || !call->record->after) {
        end_call(call, 0);
        return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for an event");
    }
    call->record->event = order->event;
    call->record->slot = -1;
    for (unsigned i = 0; i < order->n_after; i++) { /* before any event is borrowed: this settles records */
        struct record *earlier = find_record(card, order->after[i]);
        if (earlier && earlier->deferred) (void)release_deferred(card, earlier, 0, NULL);
    }
    for (unsigned i = 0; i < order->n_after; i++) {
        const struct record *earlier = find_record(card, order->after[i]);
        if (!earlier) continue;
        if (earlier->failure.code) {
            error_set(err, ERROR_CARD, "event %" PRIu64 " that this was to follow failed: %.300s", earlier->event,
                      earlier->failure.text);
            end_call(call, 0);
            return ERROR_CARD;
        }
        call->wait[call->n_wait++] = earlier->done;
        call->record->after[call->record->n_after++] = earlier->event;
    }
    return 0;
}

static void keep_call(struct opencl_card *card, struct call *call)
{
    card->record[card->n_records++] = call->record;
    end_call(call, 1);
}

/* ---- copies ---- */

static int copy(struct card_backend *backend, const struct card_order *order, card_addr address, void *dst,
                const void *src, size_t bytes, struct error *err)
{
    struct opencl_card *card = card_of(backend);
    struct call call;
    int rc = begin_call(card, order, &call, err);
    if (rc) return rc;
    struct record *record = call.record;
    record->bank = card->machine.bank[CARD_ADDR_BANK(address)];
    record->offset = (size_t)CARD_ADDR_OFFSET(address);
    record->bytes = bytes;
    record->dst = dst;
    record->src = src;
    for (unsigned i = 0; i < record->n_after; i++) record->deferred |= find_record(card, record->after[i])->slot >= 0;
    const cl_int status = record->deferred ? CL_SUCCESS : enqueue_copy(card, record, call.n_wait, call.wait);
    if (status == CL_SUCCESS)
        keep_call(card, &call);
    else
        end_call(&call, 0);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, dst ? "copy from the card" : "copy to the card", status);
}

static int write_card(struct card_backend *backend, const struct card_order *order, card_addr dst, const void *src,
                      size_t bytes, struct error *err)
{
    return copy(backend, order, dst, NULL, src, bytes, err);
}

static int read_card(struct card_backend *backend, const struct card_order *order, void *dst, card_addr src,
                     size_t bytes, struct error *err)
{
    return copy(backend, order, src, dst, NULL, bytes, err);
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

static int take_slot(struct opencl_card *card)
{
    struct record *oldest = NULL;
    for (size_t i = card->n_records; i-- > 0;) {
        if (card->record[i]->slot >= 0 && card->record[i]->done) oldest = card->record[i];
    }
    if (card->slots_taken == UINT32_MAX && oldest) (void)wait_record(card, oldest, 0, NULL);
    for (int slot = 0; slot < (int)OPENCL_SLOTS; slot++) {
        if (card->slots_taken >> slot & 1u) continue;
        card->slots_taken |= 1u << slot;
        return slot;
    }
    return -1;
}

/* The program does not run if one of those that it follows fails while it waits. */
static int follow_programs(struct opencl_card *card, const struct record *later, unsigned slot, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < later->n_after && !rc; i++) {
        const struct record *earlier = find_record(card, later->after[i]);
        if (earlier && earlier->slot >= 0)
            rc = opencl_enqueue_follow(&card->machine, slot, (unsigned)earlier->slot, err);
    }
    return rc;
}

static int enqueue_program(struct opencl_card *card, struct call *call, const struct card_descriptor *program,
                           unsigned n_descriptors, struct error *err)
{
    struct record *record = call->record;
    const unsigned slot = (unsigned)record->slot;
    cl_mem memory = card->machine.status[slot];
    const uint32_t zero = 0;
    cl_int status = clEnqueueFillBuffer(card->machine.compute, memory, &zero, sizeof zero, 0, sizeof record->status,
                                        call->n_wait, call->n_wait ? call->wait : NULL, NULL);
    if (status != CL_SUCCESS) return opencl_fail(err, "clEnqueueFillBuffer", status);
    int rc = follow_programs(card, record, slot, err);
    if (!rc) rc = opencl_enqueue(&card->machine, slot, program, n_descriptors, &record->account, err);
    if (rc) return rc;
    status = clEnqueueReadBuffer(card->machine.compute, memory, CL_FALSE, 0, sizeof record->status, record->status, 0,
                                 NULL, &record->done);
    if (status == CL_SUCCESS) status = clFlush(card->machine.compute);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, "the end of a program", status);
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    struct opencl_card *card = card_of(backend);
    struct call call;
    int experts = 0;
    const int slot = take_slot(card); /* first, as it may settle what the call would wait for */
    if (slot < 0) return error_set(err, ERROR_BUSY, "opencl: %u programs run already", OPENCL_SLOTS);
    int rc = begin_call(card, order, &call, err);
    if (rc) {
        card->slots_taken &= ~(1u << slot);
        return rc;
    }
    call.record->slot = slot;
    call.record->n_descriptors = n_descriptors;
    call.record->opcode = memory_array(n_descriptors, 1);
    if (!call.record->opcode) rc = error_set(err, ERROR_NO_MEMORY, "opencl: no memory for a program");
    for (unsigned i = 0; i < n_descriptors && !rc; i++) {
        call.record->opcode[i] = program[i].opcode;
        experts |= program[i].opcode == CARD_OP_EXPERT_MATMUL;
    }
    if (!rc && experts) rc = update_ranges(card, err);
    if (!rc) rc = enqueue_program(card, &call, program, n_descriptors, err);
    if (rc) {
        clFinish(card->machine.compute); /* what was enqueued still writes to the slot */
        card->slots_taken &= ~(1u << slot);
        end_call(&call, 0);
        return rc;
    }
    keep_call(card, &call);
    return 0;
}

/* ---- open, close ---- */

static void finish_all(struct opencl_card *card)
{
    if (card->to_card) clFinish(card->to_card);
    if (card->machine.compute) clFinish(card->machine.compute);
    if (card->from_card) clFinish(card->from_card);
}

static void close_card(struct card_backend *backend)
{
    struct opencl_card *card = card_of(backend);
    struct opencl_machine *machine = &card->machine;
    finish_all(card);
    for (size_t i = 0; i < card->n_records; i++) free_record(card->record[i]);
    for (unsigned k = 0; k < KERNEL_COUNT; k++) {
        if (machine->kernel[k]) clReleaseKernel(machine->kernel[k]);
    }
    for (unsigned b = 0; b < machine->n_banks; b++) clReleaseMemObject(machine->bank[b]);
    for (unsigned s = 0; s < OPENCL_SLOTS; s++) {
        if (machine->status[s]) clReleaseMemObject(machine->status[s]);
    }
    if (machine->ranges) clReleaseMemObject(machine->ranges);
    if (card->to_card) clReleaseCommandQueue(card->to_card);
    if (card->from_card) clReleaseCommandQueue(card->from_card);
    if (machine->compute) clReleaseCommandQueue(machine->compute);
    if (machine->context) clReleaseContext(machine->context);
    free(card->ranges);
    free(card->record);
    free(card);
}

/* Banks as large as one buffer may be, until there are `bytes` of them. */
static int make_banks(struct opencl_card *card, uint64_t bytes, struct error *err)
{
    struct opencl_machine *machine = &card->machine;
    const uint64_t largest = card->facts.largest_buffer_bytes / BANK_STEP * BANK_STEP;
    if (bytes == 0) bytes = card->facts.memory_bytes / 4 * 3;
    if (bytes > card->facts.memory_bytes) {
        return error_set(err, ERROR_NO_MEMORY,
                         "opencl: %" PRIu64 " MiB of card memory asked for, \"%.80s\" has %" PRIu64, bytes >> 20,
                         card->facts.name, (uint64_t)card->facts.memory_bytes >> 20);
    }
    if (bytes < BANK_STEP) bytes = BANK_STEP;
    bytes = bytes / BANK_STEP * BANK_STEP;
    while (bytes && machine->n_banks < CARD_MAX_BANKS) {
        const uint64_t size = bytes < largest ? bytes : largest;
        cl_int status;
        cl_mem bank = clCreateBuffer(machine->context, CL_MEM_READ_WRITE, (size_t)size, NULL, &status);
        if (status != CL_SUCCESS) {
            opencl_fail(err, "card memory", status);
            return error_prefix(err, "bank %u of %" PRIu64 " MiB (ask for less)", machine->n_banks, size >> 20);
        }
        card->bank_bytes[machine->n_banks] = size;
        machine->bank[machine->n_banks++] = bank;
        bytes -= size;
    }
    return 0;
}

static int make_queues(struct opencl_card *card, cl_device_id device, struct error *err)
{
    struct opencl_machine *machine = &card->machine;
    cl_command_queue *const queue[] = {&machine->compute, &card->to_card, &card->from_card};
    cl_int status;
    for (unsigned i = 0; i < 3; i++) {
        *queue[i] = clCreateCommandQueue(machine->context, device, 0, &status);
        if (status != CL_SUCCESS) return opencl_fail(err, "clCreateCommandQueue", status);
    }
    for (unsigned s = 0; s < OPENCL_SLOTS; s++) {
        machine->status[s] =
            clCreateBuffer(machine->context, CL_MEM_READ_WRITE, OPENCL_STATUS_WORDS * sizeof(uint32_t), NULL, &status);
        if (status != CL_SUCCESS) return opencl_fail(err, "memory for statuses", status);
    }
    return 0;
}

static int load_kernels(struct opencl_card *card, cl_device_id device, struct error *err)
{
    struct opencl_machine *machine = &card->machine;
    size_t bytes;
    const char *text = opencl_source(&bytes);
    char *cache = opencl_cache_folder();
    cl_program program = NULL;
    int rc = opencl_build(machine->context, device, &card->facts, text, bytes, cache, &program, err);
    free(cache);
    if (!rc) rc = opencl_probe(machine->context, machine->compute, program, card->facts.name, err);
    if (!rc) rc = opencl_make_kernels(machine, program, err);
    if (program) clReleaseProgram(program);
    return rc;
}

static int open_card(const struct card_options *options, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct opencl_card *card = calloc(1, sizeof *card);
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card opencl: no memory");
    cl_device_id device = NULL;
    cl_int status;
    card->base.ops = &card_opencl_ops;
    card->machine.extents = extents;
    int rc = opencl_find_device(options->device, &device, &card->facts, err);
    if (!rc) {
        card->machine.context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
        if (status != CL_SUCCESS) rc = opencl_fail(err, "clCreateContext", status);
    }
    if (!rc) rc = make_queues(card, device, err);
    if (!rc) rc = load_kernels(card, device, err);
    if (!rc) rc = make_banks(card, options->memory_bytes, err);
    if (rc) {
        close_card(&card->base);
        return rc;
    }
    *out = &card->base;
    return 0;
}

static void describe(const struct card_backend *backend, struct card_info *info)
{
    const struct opencl_card *card = (const struct opencl_card *)(const void *)backend;
    info->abi_version = CARD_ABI_VERSION;
    info->weight_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_INT4 | 1u << CARD_FORMAT_INT4_MIN |
                           1u << CARD_FORMAT_INT8 | 1u << CARD_FORMAT_INT8_MIN | 1u << CARD_FORMAT_Q4_K |
                           1u << CARD_FORMAT_Q5_K | 1u << CARD_FORMAT_Q6_K;
    info->kv_formats = 1u << CARD_FORMAT_F16 | 1u << CARD_FORMAT_F32;
    info->kv_default = CARD_FORMAT_F16;
    snprintf(info->name, sizeof info->name, "%.*s", (int)sizeof info->name - 1, card->facts.name);
    info->n_banks = card->machine.n_banks;
    for (unsigned b = 0; b < info->n_banks; b++) {
        snprintf(info->bank[b].name, sizeof info->bank[b].name, info->n_banks == 1 ? "memory" : "memory %u", b);
        info->bank[b].bytes = card->bank_bytes[b];
    }
}

static void count(const struct card_backend *backend, struct card_counters *counters)
{
    const struct opencl_account *account = &((const struct opencl_card *)(const void *)backend)->account;
    counters->descriptors += account->descriptors;
    counters->weight_bytes += account->weight_bytes;
    counters->kv_bytes += account->kv_bytes;
    counters->multiply_adds += account->multiply_adds;
}

static int reset(struct card_backend *backend, struct error *err)
{
    struct opencl_card *card = card_of(backend);
    (void)err;
    finish_all(card);
    settle_finished(card);
    return 0;
}

const struct card_backend_ops card_opencl_ops = {
    .name = "opencl",
    .takes_device = true,
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = count,
    .write = write_card,
    .read = read_card,
    .submit = submit,
    .wait = wait_event,
    .reset = reset,
};
