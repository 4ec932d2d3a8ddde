/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cards behind OpenCL. Three in-order queues: programs, copies to the card, copies from it. Every call returns when its
 * commands are enqueued; what is not known to be over is a record (opencl_events.c). A copy that follows a program is
 * enqueued when that one's fate is known, in whichever call sees it first: what follows a failure must not run.
 * A lock keeps apart the thread that submits and waits and the one that card.h allows beside it.
 */
#include "host/base/memory.h"
#include "host/card/card_formats.h"
#include "host/card/opencl_card.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BANK_STEP (UINT64_C(1) << 21)

/* ---- calls ---- */

/* A call's record and the events that its commands wait for. */
struct call {
    struct opencl_record *record;
    cl_event *wait; /* n_wait of them, borrowed from records */
    cl_uint n_wait;
};

static void end_call(struct call *call, int keep)
{
    free(call->wait);
    if (!keep) opencl_free_record(call->record);
}

static int make_room(struct opencl_card *card, struct error *err)
{
    if (card->n_records < card->records_capacity) return 0;
    const size_t capacity = card->records_capacity ? card->records_capacity * 2 : 64;
    struct opencl_record **grown = memory_grow(card->record, capacity, sizeof *grown);
    if (!grown) return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for an event");
    card->record = grown;
    card->records_capacity = capacity;
    return 0;
}

/* Fails if an event in `after` has failed. slot: of a program; -1: a copy. */
static int begin_call(struct opencl_card *card, const struct card_order *order, int slot, struct call *call,
                      struct error *err)
{
    *call = (struct call){0};
    opencl_settle_finished(card);
    int rc = make_room(card, err);
    if (rc) return rc;
    call->record = calloc(1, sizeof *call->record);
    call->wait = memory_array(order->n_after + 1u, sizeof *call->wait);
    if (call->record) call->record->after = memory_array(order->n_after + 1u, sizeof *call->record->after);
    if (!call->record || !call->wait || !call->record->after) {
        end_call(call, 0);
        return error_set(err, ERROR_NO_MEMORY, "opencl: no memory for an event");
    }
    struct opencl_record *record = call->record;
    record->event = order->event;
    record->slot = slot;
    for (unsigned i = 0; i < order->n_after; i++) {
        const struct opencl_record *earlier = opencl_find_record(card, order->after[i]);
        if (!earlier) continue;
        if (earlier->failure.code) {
            error_set(err, ERROR_CARD, "event %" PRIu64 " that this was to follow failed: %.300s", earlier->event,
                      earlier->failure.text);
            end_call(call, 0);
            return ERROR_CARD;
        }
        if (earlier->done) call->wait[call->n_wait++] = earlier->done;
        record->after[record->n_after++] = earlier->event;
    }
    record->deferred = opencl_must_defer(card, record);
    return 0;
}

/* Ends a call that is deferred or enqueued, or, with an error, that could not be. Returns rc. */
static int keep_call(struct opencl_card *card, struct call *call, int rc)
{
    if (rc == 0) opencl_keep_record(card, call->record);
    end_call(call, rc == 0);
    return rc;
}

static int copy(struct card_backend *backend, const struct card_order *order, card_addr address, void *dst,
                const void *src, size_t bytes, struct error *err)
{
    struct opencl_card *card = opencl_card_of(backend);
    struct call call;
    pthread_mutex_lock(&card->lock);
    int rc = begin_call(card, order, -1, &call, err);
    if (!rc) {
        struct opencl_record *record = call.record;
        record->bank = card->machine.bank[CARD_ADDR_BANK(address)];
        record->offset = (size_t)CARD_ADDR_OFFSET(address);
        record->bytes = bytes;
        record->dst = dst;
        record->src = src;
        if (!record->deferred) rc = opencl_enqueue_copy(card, record, call.wait, call.n_wait, err);
        rc = keep_call(card, &call, rc);
    }
    pthread_mutex_unlock(&card->lock);
    return rc;
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

/* A free slot for a program's status; waits for the oldest program if there is none. -1: there is none. */
static int take_slot(struct opencl_card *card)
{
    card_event oldest = 0;
    opencl_settle_finished(card);
    for (size_t i = card->n_records; i-- > 0;) {
        const struct opencl_record *record = card->record[i];
        if (record->slot >= 0 && (record->done || record->deferred)) oldest = record->event;
    }
    if (card->slots_taken == UINT32_MAX && oldest) (void)opencl_wait(card, oldest, 0, NULL);
    for (int slot = 0; slot < (int)OPENCL_SLOTS; slot++) {
        if (card->slots_taken >> slot & 1u) continue;
        card->slots_taken |= 1u << slot;
        return slot;
    }
    return -1;
}

static int submit_locked(struct opencl_card *card, const struct card_order *order,
                         const struct card_descriptor *program, unsigned n_descriptors, struct error *err)
{
    struct call call;
    const int slot = take_slot(card); /* first, as it may settle what the call would wait for */
    if (slot < 0) return error_set(err, ERROR_BUSY, "opencl: %u programs run already", OPENCL_SLOTS);
    int rc = begin_call(card, order, slot, &call, err);
    if (!rc) {
        struct opencl_record *record = call.record;
        record->n_descriptors = n_descriptors;
        record->program = memory_array(n_descriptors + 1u, sizeof *program);
        if (!record->program) rc = error_set(err, ERROR_NO_MEMORY, "opencl: no memory for a program");
        if (!rc) memcpy(record->program, program, n_descriptors * sizeof *program);
        if (!rc && !record->deferred) rc = opencl_enqueue_part(card, record, 0, call.wait, call.n_wait, err);
        if (rc) clFinish(card->machine.compute); /* what was enqueued still writes to the slot */
        rc = keep_call(card, &call, rc);
    }
    if (rc) card->slots_taken &= ~(1u << slot);
    return rc;
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    struct opencl_card *card = opencl_card_of(backend);
    pthread_mutex_lock(&card->lock);
    const int rc = submit_locked(card, order, program, n_descriptors, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

static int wait_event(struct card_backend *backend, card_event event, unsigned timeout_ms, struct error *err)
{
    struct opencl_card *card = opencl_card_of(backend);
    pthread_mutex_lock(&card->lock);
    const int rc = opencl_wait(card, event, timeout_ms, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

static void set_agent(struct card_backend *backend, const struct card_agent *agent)
{
    opencl_card_of(backend)->agent = agent ? *agent : (struct card_agent){0};
}

/* By the queue of copies, which may be used by any thread; without the lock, which who waits for the copy may hold. */
static int stream_write(struct card_backend *backend, card_addr dst, const void *src, size_t bytes, struct error *err)
{
    struct opencl_card *card = opencl_card_of(backend);
    const cl_int status = clEnqueueWriteBuffer(card->to_card, card->machine.bank[CARD_ADDR_BANK(dst)], CL_TRUE,
                                               (size_t)CARD_ADDR_OFFSET(dst), bytes, src, 0, NULL, NULL);
    return status == CL_SUCCESS ? 0 : opencl_fail(err, "copy to the card", status);
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
    struct opencl_card *card = opencl_card_of(backend);
    struct opencl_machine *machine = &card->machine;
    finish_all(card);
    for (size_t i = 0; i < card->n_records; i++) opencl_free_record(card->record[i]);
    for (unsigned k = 0; k < KERNEL_COUNT; k++) {
        if (machine->kernel[k]) clReleaseKernel(machine->kernel[k]);
    }
    for (unsigned b = 0; b < machine->n_banks; b++) clReleaseMemObject(machine->bank[b]);
    for (unsigned s = 0; s < OPENCL_SLOTS; s++) {
        if (machine->status[s]) clReleaseMemObject(machine->status[s]);
    }
    if (machine->ranges) clReleaseMemObject(machine->ranges);
    if (machine->scratch) clReleaseMemObject(machine->scratch);
    if (card->to_card) clReleaseCommandQueue(card->to_card);
    if (card->from_card) clReleaseCommandQueue(card->from_card);
    if (machine->compute) clReleaseCommandQueue(machine->compute);
    if (machine->context) clReleaseContext(machine->context);
    free(card->ranges);
    free(card->record);
    pthread_mutex_destroy(&card->lock);
    free(card);
}

/* Banks as large as one buffer may be, or smaller if so many are asked for, until there are `bytes` of them. */
static int make_banks(struct opencl_card *card, const struct card_options *options, struct error *err)
{
    uint64_t bytes = options->memory_bytes;
    const unsigned banks = options->banks;
    struct opencl_machine *machine = &card->machine;
    uint64_t largest = card->facts.largest_buffer_bytes / BANK_STEP * BANK_STEP;
    if (bytes == 0) bytes = card->facts.memory_bytes / 4 * 3 / (options->sharers > 0 ? options->sharers : 1);
    if (bytes > card->facts.memory_bytes) {
        return error_set(err, ERROR_NO_MEMORY,
                         "opencl: %" PRIu64 " MiB of card memory asked for, \"%.80s\" has %" PRIu64, bytes >> 20,
                         card->facts.name, (uint64_t)card->facts.memory_bytes >> 20);
    }
    if (bytes < BANK_STEP) bytes = BANK_STEP;
    bytes = bytes / BANK_STEP * BANK_STEP;
    if (banks > 1 && bytes / banks < largest) largest = card_round_up(bytes / banks, BANK_STEP);
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
    pthread_mutex_init(&card->lock, NULL);
    card->machine.extents = extents;
    int rc = opencl_find_device(options->device, &device, &card->facts, err);
    if (!rc) {
        card->machine.context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
        if (status != CL_SUCCESS) rc = opencl_fail(err, "clCreateContext", status);
    }
    if (!rc) rc = make_queues(card, device, err);
    if (!rc) rc = load_kernels(card, device, err);
    if (!rc) rc = make_banks(card, options, err);
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
    card_describe_formats(info);
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
    struct opencl_card *card = opencl_card_of(backend);
    (void)err;
    finish_all(card);
    opencl_settle_finished(card); /* may start what was held up */
    finish_all(card);
    opencl_settle_finished(card);
    opencl_abandon(card);
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
    .set_agent = set_agent,
    .stream_write = stream_write,
    .reset = reset,
};
