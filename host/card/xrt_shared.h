/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server (card_xrt.c) and the process that holds XRT (host/card/xrt) share: one memory file, mapped by both.
 *
 *   struct xrt_shared | programs, one a place of the ring of runs | tables of allocations, the same | the xclbin | a window
 *   on each bank of the card: XRT copies between it and the card
 *
 * Commands go through three rings, copies to the card, copies from it and runs. The server fills the place of command
 * number n (from 1; place n % XRT_PLACES) and then says submitted = n; the process handles a ring in order, one thread each,
 * writes the outcome there and then says completed = n. A place is filled again when its command is completed and read. Who
 * waits sleeps on a futex: `bell` of a ring is rung for its thread, `answers` for the server. Words that both sides use at
 * once are atomic; all else is written before the word that hands it over.
 *
 * The process gets the memory file as descriptor XRT_SHARED_FD, and XRT_LIFE_FD, which ends when the server does.
 */
#ifndef SLUICE_CARD_XRT_SHARED_H
#define SLUICE_CARD_XRT_SHARED_H

#include "kernels/abi/card_program.h"
#include "sim/engine_status.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define XRT_SHARED_FD 3
#define XRT_LIFE_FD 4
#define XRT_PLACES 16u
#define XRT_BANKS 4u
#define XRT_AFTER 8u
#define XRT_DESCRIPTORS 16384u /* of one run: a longer program becomes several */
#define XRT_EXTENTS 65536u     /* allocations of a card */
#define XRT_PROGRAM_BYTES (XRT_DESCRIPTORS * sizeof(struct card_descriptor))
#define XRT_EXTENTS_BYTES (XRT_EXTENTS * 16u)

enum xrt_ring_name { XRT_TO_CARD, XRT_FROM_CARD, XRT_RUNS, XRT_RINGS };
enum xrt_state { XRT_STARTING, XRT_READY, XRT_FAILED };

/* Command `number` of a ring. */
struct xrt_ticket {
    uint32_t ring;
    uint64_t number; /* 0: none */
};

struct xrt_command {
    /* The server's. */
    uint32_t
        work; /* enum xrt_ring_name: a small copy may be in the ring of runs, to follow or lead one on one thread */
    uint32_t bank, n_after;
    uint64_t offset, bytes; /* of a copy, in the bank and its window */
    uint32_t n_descriptors, n_extents, new_extents;
    uint64_t limit_us; /* for the watchdog; 0: it may take for ever */
    struct xrt_ticket after[XRT_AFTER];
    /* The process's. */
    int32_t error; /* enum error_code */
    char text[400];
    struct engine_status status; /* of a run */
};

struct xrt_ring {
    _Atomic uint32_t bell;
    _Atomic uint64_t submitted, completed;
    struct xrt_command command[XRT_PLACES];
};

struct xrt_shared {
    /* The server's, before the process starts. */
    uint32_t version, device, n_banks, emulation;
    uint64_t bank_bytes[XRT_BANKS], bank_at[XRT_BANKS];
    uint64_t programs_at, extents_at, xclbin_at, xclbin_bytes, bytes;
    /* The process's, before it says XRT_READY or XRT_FAILED. */
    _Atomic uint32_t state;
    int32_t error; /* enum error_code */
    char text[480];
    char address[20]; /* of the PCI function; "": not known */
    /* Both. */
    _Atomic uint32_t answers;
    _Atomic uint64_t wanted; /* xrt_ticket_code of the one that the server sleeps for; 0: it wakes for each */
    struct xrt_ring ring[XRT_RINGS];
};

/* A process of another build, which would see other places, is refused. */
#define XRT_SHARED_VERSION ((uint32_t)sizeof(struct xrt_shared))

static inline void xrt_bell_ring(_Atomic uint32_t *bell)
{
    atomic_fetch_add(bell, 1);
    syscall(SYS_futex, bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Sleeps until the bell is no longer at `heard`, or for so long. */
static inline void xrt_bell_wait(_Atomic uint32_t *bell, uint32_t heard, unsigned milliseconds)
{
    const struct timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    syscall(SYS_futex, bell, FUTEX_WAIT, heard, &limit, NULL, 0);
}

static inline uint64_t xrt_ticket_code(struct xrt_ticket ticket) { return ticket.number * XRT_RINGS + ticket.ring; }

static inline uint64_t xrt_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

#endif
