/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend gives to card.c. card.c has checked every argument before it calls: ranges lie inside one allocation,
 * programs have passed card_check, events exist and none that a call waits for has failed. One thread calls.
 *
 * A backend whose calls do their work before they return leaves `wait` out, and its error return is the failure of the
 * call's event. One that works behind the host's back keeps `event`, starts the work after the events in `after` (one of
 * which may fail later: then this call's event fails too), and answers for it in `wait`, again and again if it failed.
 */
#ifndef SLUICE_CARD_BACKEND_H
#define SLUICE_CARD_BACKEND_H

#include "host/card/card.h"
#include "host/card/card_bank.h"

struct card_backend_ops;

/* First member of every backend's own struct. */
struct card_backend {
    const struct card_backend_ops *ops;
};

/* Where allocations lie. */
struct card_extents {
    /* Bytes from address to the end of the allocation that holds it; 0 if none does. */
    uint64_t (*extent)(const void *context, card_addr address);
    /* The *n allocations of a bank, sorted; valid until the next card_alloc or card_free. */
    const struct bank_range *(*ranges)(const void *context, unsigned bank, size_t *n);
    const void *context;
};

/* The event of a call and those it comes after. */
struct card_order {
    card_event event;
    const card_event *after; /* borrowed for the call */
    unsigned n_after;
};

struct card_backend_ops {
    const char *name;  /* what card_open asks for */
    bool takes_device; /* "name:device" is allowed; the device comes in the options */

    /* Opens the card. extents stays valid until close. *out is owned by card.c: close. */
    int (*open)(const struct card_options *options, const struct card_extents *extents, struct card_backend **out,
                struct error *err);
    /* Waits for what runs, releases everything. */
    void (*close)(struct card_backend *backend);
    /* Fills info but for `backend` and bytes_free. Sizes and formats never change after open. */
    void (*describe)(const struct card_backend *backend, struct card_info *info);
    /* Adds what programs did since open: descriptors, weight_bytes, kv_bytes, multiply_adds, cycles. */
    void (*count)(const struct card_backend *backend, struct card_counters *counters);
    int (*write)(struct card_backend *backend, const struct card_order *order, card_addr dst, const void *src,
                 size_t bytes, struct error *err);
    int (*read)(struct card_backend *backend, const struct card_order *order, void *dst, card_addr src, size_t bytes,
                struct error *err);
    int (*submit)(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err);

    /* As the functions of card.h; of the agent the calls may come before others return. */
    void (*set_agent)(struct card_backend *backend, const struct card_agent *agent);
    int (*stream_write)(struct card_backend *backend, card_addr dst, const void *src, size_t bytes, struct error *err);

    /* (optional: NULL) As card_window. */
    void *(*window)(struct card_backend *backend, card_addr address, uint64_t bytes);
    /* (optional: calls have finished when they return) As card_wait. */
    int (*wait)(struct card_backend *backend, card_event event, unsigned timeout_ms, struct error *err);
    /* (optional: the card has no clock) As the functions of card.h. All or none. */
    uint64_t (*now)(const struct card_backend *backend);
    int (*spend)(struct card_backend *backend, uint64_t ps, struct error *err);
    uint64_t (*event_end)(const struct card_backend *backend, card_event event);
    void (*measure)(const struct card_backend *backend, struct card_usage *usage);
    void (*trace)(struct card_backend *backend, const struct timeline_sink *sink);
    /* (optional: the time is spent) As card_idle. */
    int (*idle)(struct card_backend *backend, uint64_t until_ps, struct error *err);
    /* (optional: it has no time) As card_stream_start. */
    void (*stream_start)(struct card_backend *backend, card_addr dst, uint64_t bytes, const card_addr *entries,
                         unsigned n);
    /* (optional: false) As card_stream_fill. */
    bool (*stream_fill)(struct card_backend *backend, card_addr dst, uint64_t bytes, const card_addr *entries,
                        unsigned n);
    /* (optional: the functions above are for every card of the backend) Whether this card has a clock. */
    bool (*has_clock)(const struct card_backend *backend);
    /* (optional: no) Whether src of write and dst of read may be NULL: nothing is copied. */
    bool (*takes_nothing)(const struct card_backend *backend);
    /* (optional: nothing to do) The range was freed; its content may go. */
    void (*released)(struct card_backend *backend, card_addr address, uint64_t bytes);
    /* (optional: no sensors) */
    int (*read_sensors)(struct card_backend *backend, struct card_sensors *sensors, struct error *err);
    /* (optional: nothing to do) All allocations are gone already. */
    int (*reset)(struct card_backend *backend, struct error *err);
    /* (optional: ERROR_UNSUPPORTED) */
    int (*load_bitstream)(struct card_backend *backend, const char *path, struct error *err);
};

extern const struct card_backend_ops card_sim_ops, card_ref_ops;
#ifdef SLUICE_OPENCL
extern const struct card_backend_ops card_opencl_ops;
#endif
#ifdef SLUICE_XRT
extern const struct card_backend_ops card_xrt_ops;
#endif

/* card_open with a backend that is not in the list of names: how tests put their own behind the interface. */
int card_open_backend(const struct card_backend_ops *ops, const struct card_options *options, struct card **out,
                      struct error *err);

#endif
