/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Card memory through the ports. Addresses are multiples of 4; words on a port are 64 bytes, so a range is shifted into
 * place on its way. A store reads the first and the last word first and puts back what is not its own: nobody else may
 * write the same 64 bytes while a program runs.
 */
#ifndef SLUICE_HLS_MEMORY_H
#define SLUICE_HLS_MEMORY_H

#include "kernels/hls/hls_types.h"

/* n (at least 1) values of 32 bits to the first hls_words(n) of `to`; lanes after them become 0. */
void hls_load(HLS_BANKS, card_addr from, uint32_t n, struct hls_word *to);
void hls_store(HLS_BANKS, card_addr to, uint32_t n, const struct hls_word *from);

/* n whole words of one port, from word number `first` on: for processes that have a port each. */
void hls_load_words(const struct hls_word *port, uint64_t first, uint32_t n, struct hls_word *to);

/* One value: where a table is followed, never in a loop that must pipeline. */
uint32_t hls_load_one(HLS_BANKS, card_addr from);

#endif
