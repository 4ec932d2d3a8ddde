/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card.h"

#include "host/base/memory.h"
#include "host/card/card_backend.h"
#include "host/card/card_bank.h"
#include "host/card/card_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct card_backend_ops *const backends[] = {
    &card_sim_ops,
    &card_ref_ops,
#ifdef SLUICE_OPENCL
    &card_opencl_ops,
#endif
#ifdef SLUICE_XRT
    &card_xrt_ops,
#endif
};
/* The same, in the same order. */
static const char *const backend_names[] = {
    "sim",    "ref",
#ifdef SLUICE_OPENCL
    "opencl",
#endif
#ifdef SLUICE_XRT
    "xrt",
#endif
    NULL,
};
_Static_assert(sizeof backend_names / sizeof *backend_names == sizeof backends / sizeof *backends + 1,
               "every backend has a name in the list");

/* An event that failed, and why. Events that are not listed and not running have succeeded. */
struct failure {
    card_event event;
    struct error error;
};

struct card {
    struct card_backend *backend;
    struct card_extents extents;
    struct card_info info;
    struct bank_allocator bank[CARD_MAX_BANKS];
    uint64_t programs;
    /* Also of the second thread that may write and read (card.h). */
    _Atomic uint64_t bytes_to_card, bytes_from_card;
    _Atomic card_event last_event;
    struct failure *failures; /* sorted by event */
    size_t n_failures, failures_capacity;
    bool has_agent;
};

const char *const *card_backends(void) { return backend_names; }

/* ---- open, close ---- */

static uint64_t extent(const void *context, card_addr address)
{
    const struct card *card = context;
    unsigned bank = CARD_ADDR_BANK(address);
    return bank < card->info.n_banks ? bank_extent(&card->bank[bank], CARD_ADDR_OFFSET(address)) : 0;
}

static const struct bank_range *ranges(const void *context, unsigned bank, size_t *n)
{
    const struct card *card = context;
    *n = card->bank[bank].n;
    return card->bank[bank].range;
}

static int check_ops(const struct card_backend_ops *ops, struct error *err)
{
    const bool all = ops->now && ops->spend && ops->event_end && ops->measure && ops->trace;
    const bool none = !ops->now && !ops->spend && !ops->event_end && !ops->measure && !ops->trace;
    if (ops->open && ops->close && ops->describe && ops->count && ops->write && ops->read && ops->submit &&
        (all || none))
        return 0;
    return error_set(err, ERROR_INTERNAL, "card backend %s: a required operation is missing", ops->name);
}

/* The backend that spec names, and in *device what follows its name and a colon (NULL: nothing). */
static const struct card_backend_ops *find_backend(const char *spec, const char **device)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        const size_t length = strlen(backends[i]->name);
        if (strncmp(backends[i]->name, spec, length) != 0) continue;
        *device = spec[length] == ':' ? spec + length + 1 : NULL;
        if (spec[length] == 0 || (*device && backends[i]->takes_device)) return backends[i];
    }
    return NULL;
}

static int refuse_name(const char *spec, struct error *err)
{
    char list[200] = "";
    for (size_t i = 0; backend_names[i]; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", backend_names[i]);
    }
    return error_set(err, ERROR_NOT_FOUND, "card \"%s\": no such backend in this build (it has: %s)", spec, list);
}

int card_open(const char *spec, const struct card_options *options, struct card **out, struct error *err)
{
    *out = NULL;
    const char *device;
    const struct card_backend_ops *ops = find_backend(spec, &device);
    if (!ops) return refuse_name(spec, err);
    struct card_options chosen = options ? *options : (struct card_options){0};
    if (device) chosen.device = device;
    return card_open_backend(ops, &chosen, out, err);
}

int card_open_backend(const struct card_backend_ops *ops, const struct card_options *options, struct card **out,
                      struct error *err)
{
    *out = NULL;
    int rc = check_ops(ops, err);
    if (rc) return rc;
    struct card *card = calloc(1, sizeof *card);
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card %s: no memory", ops->name);
    const struct card_options defaults = {0};
    card->extents = (struct card_extents){.extent = extent, .ranges = ranges, .context = card};
    rc = ops->open(options ? options : &defaults, &card->extents, &card->backend, err);
    if (rc) {
        free(card);
        return rc;
    }
    ops->describe(card->backend, &card->info);
    card->info.backend = ops->name;
    for (unsigned b = 0; b < card->info.n_banks; b++) bank_init(&card->bank[b], card->info.bank[b].bytes);
    *out = card;
    return 0;
}

void card_close(struct card *card)
{
    if (!card) return;
    card->backend->ops->close(card->backend);
    for (unsigned b = 0; b < card->info.n_banks; b++) bank_clear(&card->bank[b]);
    free(card->failures);
    free(card);
}

void card_describe(const struct card *card, struct card_info *info)
{
    *info = card->info;
    for (unsigned b = 0; b < info->n_banks; b++) info->bank[b].bytes_free = card->bank[b].bytes - card->bank[b].taken;
}

void card_count(const struct card *card, struct card_counters *counters)
{
    *counters = (struct card_counters){
        .programs = card->programs,
        .bytes_to_card = card->bytes_to_card,
        .bytes_from_card = card->bytes_from_card,
    };
    card->backend->ops->count(card->backend, counters);
}

/* ---- allocations ---- */

int card_alloc(struct card *card, unsigned bank, uint64_t bytes, card_addr *out, struct error *err)
{
    *out = 0;
    if (bank >= card->info.n_banks) {
        return error_set(err, ERROR_BAD_ARGUMENT, "card memory: bank %u, this card has %u", bank, card->info.n_banks);
    }
    if (bytes == 0) return error_set(err, ERROR_BAD_ARGUMENT, "card memory: an allocation of 0 bytes");
    uint64_t offset;
    if (bank_take(&card->bank[bank], bytes, &offset)) {
        uint64_t left = card->bank[bank].bytes - card->bank[bank].taken;
        return error_set(err, ERROR_NO_MEMORY,
                         "card memory: bank %u (%s) has no room for %" PRIu64 " bytes: %" PRIu64 " of %" PRIu64
                         " free (a smaller context or fewer sequences need less)",
                         bank, card->info.bank[bank].name, bytes, left, card->bank[bank].bytes);
    }
    *out = CARD_ADDR(bank, offset);
    return 0;
}

void card_free(struct card *card, card_addr address)
{
    unsigned bank = CARD_ADDR_BANK(address);
    if (address == 0 || bank >= card->info.n_banks) return;
    uint64_t bytes = bank_give(&card->bank[bank], CARD_ADDR_OFFSET(address));
    if (bytes && card->backend->ops->released) card->backend->ops->released(card->backend, address, bytes);
}

/* The lowest offset at which bytes are free in each of the first n_banks banks; 0 if there is none. */
static uint64_t find_dealt(const struct card *card, unsigned n_banks, uint64_t bytes)
{
    uint64_t offset = 0;
    for (unsigned b = 0, agreed = 0; agreed < n_banks; b = (b + 1) % n_banks) {
        uint64_t next = bank_find(&card->bank[b], bytes, offset);
        if (next == 0) return 0;
        agreed = next == offset ? agreed + 1 : 1;
        offset = next;
    }
    return offset;
}

int card_alloc_dealt(struct card *card, unsigned n_banks, uint64_t bytes, uint64_t *offset, struct error *err)
{
    *offset = 0;
    if (n_banks == 0 || n_banks > card->info.n_banks)
        return error_set(err, ERROR_BAD_ARGUMENT, "card memory: %u banks, this card has %u", n_banks,
                         card->info.n_banks);
    if (bytes == 0) return error_set(err, ERROR_BAD_ARGUMENT, "card memory: an allocation of 0 bytes");
    uint64_t found = find_dealt(card, n_banks, bytes);
    unsigned b = 0;
    while (found != 0 && b < n_banks && bank_take_at(&card->bank[b], bytes, found) == 0) b++;
    if (b == n_banks) {
        *offset = found;
        return 0;
    }
    while (b > 0) (void)bank_give(&card->bank[--b], found);
    return error_set(err, ERROR_NO_MEMORY,
                     "card memory: %u banks have no %" PRIu64 " bytes each that are free at one offset", n_banks,
                     bytes);
}

/* ---- events ---- */

static const struct failure *find_failure(const struct card *card, card_event event)
{
    size_t low = 0, high = card->n_failures;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (card->failures[middle].event < event)
            low = middle + 1;
        else
            high = middle;
    }
    return low < card->n_failures && card->failures[low].event == event ? &card->failures[low] : NULL;
}

/* Keeps the error for card_wait. 0, or the error itself if there is no memory to keep it. */
static int keep_failure(struct card *card, card_event event, const struct error *error, struct error *err)
{
    if (card->n_failures == card->failures_capacity) {
        size_t capacity = card->failures_capacity ? card->failures_capacity * 2 : 4;
        struct failure *grown = memory_grow(card->failures, capacity, sizeof *grown);
        if (!grown) return error_set(err, error->code, "%s", error->text);
        card->failures = grown;
        card->failures_capacity = capacity;
    }
    card->failures[card->n_failures++] = (struct failure){.event = event, .error = *error};
    return 0;
}

static int check_after(const struct card *card, const card_event *after, unsigned n_after, struct error *err)
{
    for (unsigned i = 0; i < n_after; i++) {
        if (after[i] > card->last_event) {
            return error_set(err, ERROR_BAD_ARGUMENT, "event %" PRIu64 ": this card has given none after %" PRIu64,
                             after[i], card->last_event);
        }
    }
    return 0;
}

/* A failed event among those to wait for: what depends on it does not run. */
static const struct failure *failed_before(const struct card *card, const card_event *after, unsigned n_after)
{
    for (unsigned i = 0; i < n_after; i++) {
        const struct failure *failure = find_failure(card, after[i]);
        if (failure) return failure;
    }
    return NULL;
}

/*
 * Ends a call: rc is the backend's. A failure of the work itself belongs to the event, if the caller takes one; it
 * comes back from card_wait.
 */
static int finish(struct card *card, card_event event, int rc, const struct error *error, card_event *done,
                  struct error *err)
{
    struct error late = {0};
    if (!rc && !done && card->backend->ops->wait) {
        rc = card->backend->ops->wait(card->backend, event, 0, &late);
        error = &late;
    }
    if (rc == ERROR_CARD && done) {
        rc = keep_failure(card, event, error, err);
    } else if (rc) {
        error_set(err, rc, "%s", error->text);
    }
    if (done) *done = rc ? 0 : event;
    return rc;
}

/* Starts a call: 0, or ERROR_CARD in *error if an event that it comes after has failed. */
static int start(struct card *card, struct card_order *order, struct error *error)
{
    order->event = ++card->last_event;
    const struct failure *failure = failed_before(card, order->after, order->n_after);
    if (!failure) return 0;
    /* The code says why; the file behind an expert that did not come, perhaps. */
    (void)error_set(error, failure->error.code, "event %" PRIu64 " that this was to follow failed: %.300s",
                    failure->event, failure->error.text);
    return ERROR_CARD;
}

/* ---- work ---- */

static int check_range(const struct card *card, const char *what, card_addr address, size_t bytes, struct error *err)
{
    if (extent(card, address) >= bytes) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT,
                     "%s: %zu bytes at bank %u offset 0x%" PRIx64 " are not inside one allocation", what, bytes,
                     CARD_ADDR_BANK(address), (uint64_t)CARD_ADDR_OFFSET(address));
}

/* A card that computes copies something. */
static int check_host_range(const struct card *card, const char *what, const void *range, size_t bytes,
                            struct error *err)
{
    const struct card_backend_ops *ops = card->backend->ops;
    if (range || bytes == 0 || (ops->takes_nothing && ops->takes_nothing(card->backend))) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%s: no memory on the host for %zu bytes", what, bytes);
}

int card_write(struct card *card, card_addr dst, const void *src, size_t bytes, const card_event *after,
               unsigned n_after, card_event *done, struct error *err)
{
    int rc = check_range(card, "card write", dst, bytes, err);
    if (!rc) rc = check_host_range(card, "card write", src, bytes, err);
    if (!rc) rc = check_after(card, after, n_after, err);
    if (rc) return rc;
    struct error error = {0};
    struct card_order order = {.after = after, .n_after = n_after};
    rc = start(card, &order, &error);
    if (!rc && bytes) rc = card->backend->ops->write(card->backend, &order, dst, src, bytes, &error);
    if (!rc) card->bytes_to_card += bytes;
    return finish(card, order.event, rc, &error, done, err);
}

void *card_window(struct card *card, card_addr address, uint64_t bytes)
{
    if (!card->backend->ops->window || bytes == 0 || extent(card, address) < bytes) return NULL;
    return card->backend->ops->window(card->backend, address, bytes);
}

int card_read(struct card *card, void *dst, card_addr src, size_t bytes, const card_event *after, unsigned n_after,
              card_event *done, struct error *err)
{
    int rc = check_range(card, "card read", src, bytes, err);
    if (!rc) rc = check_host_range(card, "card read", dst, bytes, err);
    if (!rc) rc = check_after(card, after, n_after, err);
    if (rc) return rc;
    struct error error = {0};
    struct card_order order = {.after = after, .n_after = n_after};
    rc = start(card, &order, &error);
    if (!rc && bytes) rc = card->backend->ops->read(card->backend, &order, dst, src, bytes, &error);
    if (!rc) card->bytes_from_card += bytes;
    return finish(card, order.event, rc, &error, done, err);
}

int card_submit(struct card *card, const struct card_descriptor *program, unsigned n_descriptors,
                const card_event *after, unsigned n_after, card_event *done, struct error *err)
{
    const struct card_check_limits limits = {
        .abi_version = card->info.abi_version,
        .weight_formats = card->info.weight_formats,
        .kv_formats = card->info.kv_formats,
        .n_banks = card->info.n_banks,
        .extent = extent,
        .context = card,
    };
    int rc = card_check(program, n_descriptors, &limits, err);
    if (!rc) rc = check_after(card, after, n_after, err);
    if (rc) return rc;
    struct error error = {0};
    struct card_order order = {.after = after, .n_after = n_after};
    rc = start(card, &order, &error);
    if (!rc) rc = card->backend->ops->submit(card->backend, &order, program, n_descriptors, &error);
    if (!rc) card->programs++;
    return finish(card, order.event, rc, &error, done, err);
}

int card_set_agent(struct card *card, const struct card_agent *agent, struct error *err)
{
    if (!card->backend->ops->set_agent || !card->backend->ops->stream_write)
        return error_set(err, ERROR_UNSUPPORTED, "card %s: experts cannot be streamed to it", card->info.name);
    if (agent && card->has_agent)
        return error_set(err, ERROR_BUSY, "card %s: another model streams its experts already", card->info.name);
    card->backend->ops->set_agent(card->backend, agent);
    card->has_agent = agent != NULL;
    return 0;
}

void card_stream_start(struct card *card, card_addr dst, uint64_t bytes, const card_addr *entries, unsigned n)
{
    card->bytes_to_card += bytes;
    if (card->backend->ops->stream_start) card->backend->ops->stream_start(card->backend, dst, bytes, entries, n);
}

bool card_stream_fill(struct card *card, card_addr dst, uint64_t bytes, const card_addr *entries, unsigned n)
{
    const struct card_backend_ops *ops = card->backend->ops;
    if (!ops->stream_fill || !ops->stream_fill(card->backend, dst, bytes, entries, n)) return false;
    card->bytes_to_card += bytes;
    return true;
}

int card_stream_write(struct card *card, card_addr dst, const void *src, size_t bytes, struct error *err)
{
    int rc = check_range(card, "card write", dst, bytes, err);
    return rc ? rc : card->backend->ops->stream_write(card->backend, dst, src, bytes, err);
}

bool card_computes(const struct card *card)
{
    const struct card_backend_ops *ops = card->backend->ops;
    return !ops->takes_nothing || !ops->takes_nothing(card->backend);
}

int card_wait(struct card *card, card_event event, unsigned timeout_ms, struct error *err)
{
    int rc = check_after(card, &event, 1, err);
    if (rc) return rc;
    const struct failure *failure = find_failure(card, event);
    if (failure) {
        (void)error_set(err, failure->error.code, "%s", failure->error.text);
        return ERROR_CARD;
    }
    if (event == 0 || !card->backend->ops->wait) return 0;
    return card->backend->ops->wait(card->backend, event, timeout_ms, err);
}

/* ---- virtual time ---- */

static int check_clock(const struct card *card, struct error *err)
{
    const struct card_backend_ops *ops = card->backend->ops;
    if (ops->now && (!ops->has_clock || ops->has_clock(card->backend))) return 0;
    return error_set(err, ERROR_UNSUPPORTED, "card %s keeps no virtual time (sim:PROFILE does, as sim:u55c)",
                     card->info.backend);
}

int card_now(const struct card *card, uint64_t *ps, struct error *err)
{
    int rc = check_clock(card, err);
    *ps = rc ? 0 : card->backend->ops->now(card->backend);
    return rc;
}

int card_spend(struct card *card, uint64_t ps, struct error *err)
{
    int rc = check_clock(card, err);
    return rc ? rc : card->backend->ops->spend(card->backend, ps, err);
}

int card_idle(struct card *card, uint64_t until_ps, struct error *err)
{
    int rc = check_clock(card, err);
    if (rc) return rc;
    const struct card_backend_ops *ops = card->backend->ops;
    if (ops->idle) return ops->idle(card->backend, until_ps, err);
    const uint64_t now = ops->now(card->backend);
    return until_ps > now ? ops->spend(card->backend, until_ps - now, err) : 0;
}

int card_event_end(const struct card *card, card_event event, uint64_t *ps, struct error *err)
{
    int rc = check_clock(card, err);
    if (!rc) rc = check_after(card, &event, 1, err);
    *ps = rc ? 0 : card->backend->ops->event_end(card->backend, event);
    return rc;
}

int card_measure(const struct card *card, struct card_usage *usage, struct error *err)
{
    memset(usage, 0, sizeof *usage);
    int rc = check_clock(card, err);
    if (!rc) card->backend->ops->measure(card->backend, usage);
    return rc;
}

int card_trace(struct card *card, const struct timeline_sink *sink, struct error *err)
{
    int rc = check_clock(card, err);
    if (!rc) card->backend->ops->trace(card->backend, sink);
    return rc;
}

/* ---- the rest ---- */

int card_read_sensors(struct card *card, struct card_sensors *sensors, struct error *err)
{
    *sensors = (struct card_sensors){.temperature_c = NAN, .power_w = NAN};
    return card->backend->ops->read_sensors ? card->backend->ops->read_sensors(card->backend, sensors, err) : 0;
}

int card_reset(struct card *card, struct error *err)
{
    for (unsigned b = 0; b < card->info.n_banks; b++) {
        for (size_t i = 0; card->backend->ops->released && i < card->bank[b].n; i++) {
            const struct bank_range *range = &card->bank[b].range[i];
            card->backend->ops->released(card->backend, CARD_ADDR(b, range->offset), range->bytes);
        }
        bank_clear(&card->bank[b]);
    }
    return card->backend->ops->reset ? card->backend->ops->reset(card->backend, err) : 0;
}

int card_load_bitstream(struct card *card, const char *path, struct error *err)
{
    if (card->backend->ops->load_bitstream) return card->backend->ops->load_bitstream(card->backend, path, err);
    return error_set(err, ERROR_UNSUPPORTED, "%s: the card \"%s\" takes no bitstream", path, card->info.backend);
}
