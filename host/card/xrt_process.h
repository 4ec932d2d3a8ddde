/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that holds XRT for a card, from the server's side. It is the program sluice-xrt, beside the one that runs, or what
 * SLUICE_XRT_PROCESS names. What it prints is kept for messages.
 */
#ifndef SLUICE_CARD_XRT_PROCESS_H
#define SLUICE_CARD_XRT_PROCESS_H

#include "host/base/error.h"
#include "host/card/xrt_shared.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct xrt_bank {
    char name[24];
    uint64_t bytes; /* of the window */
};

/* What the process is to open. */
struct xrt_request {
    unsigned device;
    uint32_t abi_version; /* of the bitstream */
    bool emulation;
    const uint8_t *xclbin; /* checked already; copied */
    size_t n_xclbin;
    unsigned n_banks;
    struct xrt_bank bank[XRT_BANKS];
};

struct xrt_process {
    struct xrt_shared *shared; /* NULL: not started */
    pid_t pid;                 /* 0: has ended and was waited for */
    int life, log;
    unsigned device;
    struct error death; /* code 0: it lives */
};

/*
 * Starts it and returns when the card is open. Errors are the process's own words. On error *out is as after
 * xrt_process_close.
 */
int xrt_process_open(const struct xrt_request *request, struct xrt_process *out, struct error *err);

/* Ends it: gives it some seconds to close the card if nothing runs. */
void xrt_process_close(struct xrt_process *process);

/* 0, or ERROR_CARD with how it ended. Costs a system call. */
int xrt_process_check(struct xrt_process *process, struct error *err);

/* The window on a range of a bank. */
static inline uint8_t *xrt_window(const struct xrt_process *process, unsigned bank, uint64_t offset)
{
    return (uint8_t *)process->shared + process->shared->bank_at[bank] + offset;
}

#endif
