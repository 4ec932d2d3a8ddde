/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one interface to a card. What is behind it (simulator, float reference, OpenCL, XRT) is chosen by name when the
 * card is opened and never shows again: the host writes memory, submits card programs (kernels/abi/card_program.h),
 * and waits. One thread owns a card; calls on one card must not overlap, with one exception.
 *
 * The exception: PUBLISH and AWAIT let a program that runs talk with the host. For that one other thread may call
 * card_write and card_read on the same card, with no events and done NULL, also while the owner is in card_submit (but
 * not in card_alloc, card_free, card_reset or card_close), on what no running descriptor uses: it reads a mailbox once
 * the mailbox's first word, a card_read of 4 bytes, says so, and writes a matrix and then its entry of the slot table, a
 * card_write of 8 bytes, for an expert that has no slot.
 *
 * Four lifetimes: the backend (static), the card (open to close), an allocation (alloc to free or close), an event
 * (from the call that made it to the close of its card; waiting twice is allowed).
 */
#ifndef SLUICE_CARD_CARD_H
#define SLUICE_CARD_CARD_H

#include "host/base/error.h"
#include "kernels/abi/card_layout.h"
#include "kernels/abi/card_program.h"
#include "sim/agent.h"
#include "sim/timeline.h"

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
    uint64_t memory_bytes; /* 0: what the profile has (sim with one), else three quarters of what this host has
                              available (sim, ref) or the device has (opencl) */
    unsigned sharers;      /* cards that share what this host or device has, this one with them; 0: 1 */
    unsigned banks;        /* over which memory is divided evenly; 0: 1, or as many as the device needs (opencl) */
};

struct card_bank {
    char name[24];
    uint64_t bytes;
    uint64_t bytes_free;
};

struct card_info {
    const char *backend;     /* "sim", "ref", "opencl", "xrt"; static storage */
    char name[64];           /* for people */
    char address[20];        /* of its PCI function, "0000:3b:00.1"; empty: not on PCI, or not known */
    char profile[32];        /* of the card whose time it keeps: "u55c"; empty without a clock */
    uint32_t abi_version;    /* CARD_ABI_OLDEST to CARD_ABI_VERSION: programs use nothing that came later */
    uint32_t weight_formats; /* bit (1 << enum card_format): formats that MATMUL takes */
    uint32_t kv_formats;     /* bit (1 << enum card_format): page formats */
    unsigned kv_default;     /* enum card_format: the page format when nobody asks for one */
    unsigned threads;        /* compute threads in use; 0 for real hardware */
    unsigned n_banks;
    struct card_bank bank[CARD_MAX_BANKS];
};

/* What the card has done since it was opened; exact counts. */
struct card_counters {
    uint64_t programs, descriptors;
    uint64_t bytes_to_card, bytes_from_card; /* DMA */
    uint64_t weight_bytes, kv_bytes; /* matrices read; KV pages and states moved (sim/account.h says how counted) */
    uint64_t multiply_adds;          /* of matrices, attention and states */
    uint64_t cycles;                 /* of the kernel clock, in virtual time; 0 if the card has no clock */
};

/*
 * Virtual time and energy since the card was opened. Take two and subtract: every field but the rates adds up. energy_nj
 * of TIMELINE_ENERGY_HOST is not the card's: energy of the board is the sum of the others.
 */
struct card_usage {
    uint64_t now_ps;                          /* as card_now */
    uint64_t busy_ps[TIMELINE_RESOURCES];     /* of MEMORY: the sum over channels */
    uint64_t channel_busy_ps[CARD_MAX_BANKS]; /* the channel of each bank at work, at the speed it reaches */
    uint64_t channel_bytes[CARD_MAX_BANKS];
    uint64_t energy_nj[TIMELINE_ENERGIES];
    uint64_t waits_ps;                            /* of programs, in AWAIT */
    uint64_t elsewhere_ps;                        /* nothing to do, as the host was with another card (card_idle) */
    uint64_t clock_hz;                            /* the kernel clock */
    uint64_t channel_bytes_per_s[CARD_MAX_BANKS]; /* peak of each bank's channel */
    uint64_t host_to_card_bytes_per_s, card_to_host_bytes_per_s; /* of long copies */
};

/* Completion of an asynchronous call: a number that grows in order of submission. 0 is complete. */
typedef uint64_t card_event;

/*
 * Opens the card that spec names: "sim", "sim:banks=4" (its memory in 4 banks), "sim:simd=avx2" (avx512, avx2, neon,
 * generic: the instructions it computes with, the fastest unless asked otherwise), "ref", "opencl" (the first device that
 * can be a card), "opencl:1" (the second device), "xrt", "xrt:1,bitstream=FILE" (README.md). *out is owned by the caller: card_close.
 *
 * "sim:abi=2": it speaks that version of the card ABI, as a card with an older bitstream does.
 *
 * "sim:u55c" (a profile's name, or the path of one: whatever has a '/' or a '.') is a card with that profile's banks and
 * memory and a virtual clock; "sim:u55c,host=NAME": in that host and not the profile's own; "sim:u55c,timing": nothing is
 * computed, what ROUTER, TOP_K and INDEX choose is made up, and memory that programs read is not touched.
 * memory_bytes of the options overrides the profile's, divided over the banks as the profile's is.
 * ERROR_NOT_FOUND for a backend that this build does not have (the message lists those it has); never falls back. Where
 * nothing was tried because nobody has said with what (xrt without a bitstream), the error's detail is CARD_NOT_CONFIGURED.
 */
#define CARD_NOT_CONFIGURED 1
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
 * Room for matrices that are dealt over banks 0 to n_banks - 1 (card_layout.h): bytes in each of them, all at one offset.
 * n_banks allocations, each of which goes back by card_free of its CARD_ADDR(bank, *offset). ERROR_NO_MEMORY if the
 * banks have no such gap in common.
 */
int card_alloc_dealt(struct card *card, unsigned n_banks, uint64_t bytes, uint64_t *offset, struct error *err);

/*
 * Copies between host and card. The host range is borrowed until *done is complete (card_wait). The range on the card
 * must lie in one allocation. after[0..n_after) are events that must be complete first. With done NULL the call waits,
 * and a failure of the work itself is the call's error. On a card with the setting "timing" src and dst may be NULL: time is
 * charged and nothing copied.
 */
int card_write(struct card *card, card_addr dst, const void *src, size_t bytes, const card_event *after,
               unsigned n_after, card_event *done, struct error *err);
int card_read(struct card *card, void *dst, card_addr src, size_t bytes, const card_event *after, unsigned n_after,
              card_event *done, struct error *err);

/*
 * Where a range inside one allocation lies in this process, for as long as the allocation does; NULL where card memory is
 * elsewhere. For filling it before any program uses it, also by other threads: what a card_write of the same would do.
 */
void *card_window(struct card *card, card_addr address, uint64_t bytes);

/*
 * Runs a program after the given events. Every descriptor is checked first (operands inside their allocation, shapes,
 * formats, flags): ERROR_BAD_ARGUMENT names the descriptor's index and field, and nothing has run. program is borrowed
 * until the call returns.
 */
int card_submit(struct card *card, const struct card_descriptor *program, unsigned n_descriptors,
                const card_event *after, unsigned n_after, card_event *done, struct error *err);

/*
 * Streaming: an agent answers PUBLISH on the thread that submits or waits. In published it starts copies for the program
 * that runs; how they move is its own affair. Copied; NULL: none any more. ERROR_BUSY if the card has one already.
 */
int card_set_agent(struct card *card, const struct card_agent *agent, struct error *err);

/*
 * The agent, in published: a copy of bytes to dst starts now, behind those before it, and the n entries of slot tables are
 * there when it ends. Counts it, and charges it on a card with a clock; the bytes are moved by card_stream_write.
 */
void card_stream_start(struct card *card, card_addr dst, uint64_t bytes, const card_addr *entries, unsigned n);

/*
 * The agent, in published: a copy that it had ready since the publication before this one, for when nothing else was to be copied.
 * true: the link came to it before this publication was known; it counts, and has begun as soon as it could. false: not so,
 * and nothing is counted; also on cards without a clock.
 */
bool card_stream_fill(struct card *card, card_addr dst, uint64_t bytes, const card_addr *entries, unsigned n);

/*
 * Moves bytes that card_stream_start has counted, now, from any thread, to what no running descriptor uses; 8 bytes at a
 * multiple of 8 as one. Bytes that were moved before are seen by who sees these.
 */
int card_stream_write(struct card *card, card_addr dst, const void *src, size_t bytes, struct error *err);

/* Whether the card computes; not with the setting "timing", which moves no bytes but those of tables. */
bool card_computes(const struct card *card);

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

/*
 * Virtual time, in picoseconds since the card was opened, as the host's thread that owns the card sees it: calls that
 * wait move it to the end of what they waited for, calls that start something by what the host does for it.
 * ERROR_UNSUPPORTED if the card has no clock (all but "sim:PROFILE").
 */
int card_now(const struct card *card, uint64_t *ps, struct error *err);

/* The host was busy, or had nothing to do, for so long. ERROR_UNSUPPORTED as card_now; ERROR_TOO_LARGE past 2^63 ps. */
int card_spend(struct card *card, uint64_t ps, struct error *err);

/*
 * The host's thread was with other cards until then, of which this one has heard nothing: moves card_now there unless it is
 * later. What the card has begun goes on meanwhile. ERROR_UNSUPPORTED and ERROR_TOO_LARGE as card_spend.
 */
int card_idle(struct card *card, uint64_t until_ps, struct error *err);

/* Virtual end of an event that this card gave, which may lie ahead of card_now; for what is long over, any time before it. */
int card_event_end(const struct card *card, card_event event, uint64_t *ps, struct error *err);

int card_measure(const struct card *card, struct card_usage *usage, struct error *err);

/* From now on events go to *sink, which is copied; NULL: to nobody. Its function may not call the card. */
int card_trace(struct card *card, const struct timeline_sink *sink, struct error *err);

/* Back to the state after open, but for the clock, which goes on: allocations are gone. */
int card_reset(struct card *card, struct error *err);

/* ERROR_UNSUPPORTED on cards without a bitstream. */
int card_load_bitstream(struct card *card, const char *path, struct error *err);

#endif
