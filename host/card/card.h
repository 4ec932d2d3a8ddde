/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one interface to a card. What is behind it (simulator, float reference, OpenCL, XRT) is chosen by name when the
 * card is opened and never shows again: the host writes memory, submits card programs (kernels/abi/card_program.h),
 * and waits. One thread owns a card; calls on one card must not overlap.
 *
 * Four lifetimes: the backend (static), the card (open to close), an allocation (alloc to free or close), an event
 * (from the call that made it to the close of its card; waiting twice is allowed).
 */
#ifndef SLUICE_CARD_CARD_H
#define SLUICE_CARD_CARD_H

#include "host/base/error.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CARD_MAX_BANKS 64
#define CARD_ALIGNMENT 4096u  /* of every allocation, in bytes */
#define CARD_MAX_TOKENS 4096u /* tokens of one program, at most */

struct card; /* opaque */

struct card_options {
    const char *device;    /* which device of a backend that has several; NULL: what the name says, or its first */
    unsigned threads;      /* compute threads of backends that run on this host; 0: one per core */
    uint64_t memory_bytes; /* 0: three quarters of what this host has available (sim, ref) or the device has (opencl) */
};

struct card_bank {
    char name[24];
    uint64_t bytes;
    uint64_t bytes_free;
};

struct card_info {
    const char *backend; /* "sim", "ref", "opencl"; static storage */
    char name[64];       /* for people */
    uint32_t abi_version;
    uint32_t weight_formats; /* bit (1 << enum card_format): formats that MATMUL takes */
    uint32_t kv_formats;     /* bit (1 << enum card_format): page formats */
    unsigned kv_default;     /* enum card_format: the page format when nobody asks for one */
    unsigned threads;        /* compute threads in use; 0 for real hardware */
    unsigned n_banks;
    struct card_bank bank[CARD_MAX_BANKS];
};

/* What the card has done since it was opened; exact counts, no clock. */
struct card_counters {
    uint64_t programs, descriptors;
    uint64_t bytes_to_card, bytes_from_card; /* DMA */
    uint64_t weight_bytes, kv_bytes; /* read from card memory by MATMUL/EXPERT_MATMUL, moved by KV_WRITE/ATTENTION */
    uint64_t multiply_adds;          /* of MATMUL, EXPERT_MATMUL and ATTENTION */
    uint64_t cycles;                 /* virtual time; 0 while the card has no clock */
};

/* Completion of an asynchronous call: a number that grows in order of submission. 0 is complete. */
typedef uint64_t card_event;

/*
 * Opens the card that spec names: "sim", "ref", "opencl" (the first device that can be a card), "opencl:1" (the second
 * device). *out is owned by the caller: card_close.
 * ERROR_NOT_FOUND for a backend that this build does not have (the message lists those it has); never falls back.
 */
int card_open(const char *spec, const struct card_options *options, struct card **out, struct error *err);

/* Waits for what is running, frees every allocation and the card. NULL is allowed. */
void card_close(struct card *card);

/* Names of the backends of this build, NULL at the end; static storage. */
const char *const *card_backends(void);

void card_describe(const struct card *card, struct card_info *info);
void card_count(const struct card *card, struct card_counters *counters);

/*
 * bytes (at least 1) of bank, aligned to CARD_ALIGNMENT, content undefined. ERROR_NO_MEMORY names bank, need and free.
 * The range is owned by the caller: card_free, which takes the address that card_alloc gave (0 is ignored).
 */
int card_alloc(struct card *card, unsigned bank, uint64_t bytes, card_addr *out, struct error *err);
void card_free(struct card *card, card_addr address);

/*
 * Copies between host and card. The host range is borrowed until *done is complete (card_wait). The range on the card
 * must lie in one allocation. after[0..n_after) are events that must be complete first. With done NULL the call waits,
 * and a failure of the work itself is the call's error.
 */
int card_write(struct card *card, card_addr dst, const void *src, size_t bytes, const card_event *after,
               unsigned n_after, card_event *done, struct error *err);
int card_read(struct card *card, void *dst, card_addr src, size_t bytes, const card_event *after, unsigned n_after,
              card_event *done, struct error *err);

/*
 * Runs a program after the given events. Every descriptor is checked first (operands inside their allocation, shapes,
 * formats, flags): ERROR_BAD_ARGUMENT names the descriptor's index and field, and nothing has run. program is borrowed
 * until the call returns.
 */
int card_submit(struct card *card, const struct card_descriptor *program, unsigned n_descriptors,
                const card_event *after, unsigned n_after, card_event *done, struct error *err);

/*
 * Waits until event is complete. ERROR_TIMEOUT after timeout_ms (0: no limit); ERROR_CARD if it failed (a table in card
 * memory that lies, an earlier event that it had to follow and that failed) or the card is lost.
 */
int card_wait(struct card *card, card_event event, unsigned timeout_ms, struct error *err);

/* Sensors; a value that the card does not have is NAN. */
struct card_sensors {
    float temperature_c, power_w;
};
int card_read_sensors(struct card *card, struct card_sensors *sensors, struct error *err);

/* Back to the state after open: allocations are gone. */
int card_reset(struct card *card, struct error *err);

/* ERROR_UNSUPPORTED on cards without a bitstream. */
int card_load_bitstream(struct card *card, const char *path, struct error *err);

#endif
