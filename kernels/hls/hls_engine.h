/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: one launch runs a whole card program. The host has checked the descriptors (host/card/card_check.h); what
 * the program finds in card memory (positions, page numbers, experts, slot addresses, indexes) is checked here, before
 * the descriptor that reads it runs.
 *
 *   program   n_descriptors words, a descriptor each: kernels/abi/card_program.h
 *   extents   the card's allocations, sorted by address, four to a word: u64 card_addr of the first byte, u64 bytes.
 *             Page entries and slot addresses are held against them
 *   status    one word, written at the end: lane 0 enum hls_status; lane 1 descriptor; lane 2 number of the token,
 *             choice or index that is wrong; lane 3 its value. Only lane 0 and, on success, lane 1 (the number of
 *             descriptors run) mean something else than 0 where no table lies
 *   bank0..3  the banks that a card_addr names, as 512-bit ports
 */
#ifndef SLUICE_HLS_ENGINE_H
#define SLUICE_HLS_ENGINE_H

#include "kernels/hls/hls_types.h"

enum hls_status {
    HLS_OK = 0,
    HLS_OPCODE = 1,      /* no such opcode, or an extension where none belongs or none where one does */
    HLS_POSITION = 2,    /* of a token: 2^22 or more */
    HLS_PAGE_ENTRY = 3,  /* of a token: past the end of the table */
    HLS_PAGE_NUMBER = 4, /* of a token: not in the pool */
    HLS_EXPERT = 5,      /* of a choice: not in the slot table */
    HLS_SLOT = 6,        /* of a choice: no such matrix can lie there; value: the expert */
    HLS_INDEX = 7,       /* of GATHER: no such row */
    HLS_VISIBLE = 8,     /* of a token: above 2^22 */
    HLS_STATE = 9,       /* of a token: not in the state pool */
    HLS_SPARSE = 10,     /* of a token: its positions do not ascend, or one is not visible; value: the position */
    HLS_AWAIT = 11,      /* of a choice: it did not come in time; value: the expert */
};

/* The first wrong entry of a table. */
struct hls_fault {
    uint32_t status, item, value;
};

void sluice_engine(const struct hls_word *program, uint32_t n_descriptors, const struct hls_word *extents,
                   uint32_t n_extents, struct hls_word *status, HLS_BANKS);

/* The tables of one descriptor; status HLS_OK if all is well. */
struct hls_fault hls_check_tables(HLS_BANKS, const struct hls_step *step, const struct hls_word *extents,
                                  uint32_t n_extents);

/* AWAIT; status HLS_OK if the experts were there before the time was up. *asked: choices that name an expert. */
struct hls_fault hls_await(HLS_BANKS, const struct hls_step *step, uint32_t *asked);

#endif
