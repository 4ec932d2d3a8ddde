/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3" (SC 2011), section 4.3: 128 bits of counter and 64 bits of key become 128 random bits, without a state.
 * The multipliers and the two Weyl constants are those of the paper.
 */
#ifndef SLUICE_BASE_PHILOX_H
#define SLUICE_BASE_PHILOX_H

#include <stdint.h>

#define PHILOX_ROUNDS 10

/* counter and key go in, the random words come out in counter. */
static inline void philox4x32(uint32_t counter[4], const uint32_t key[2])
{
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t left = 0xD2511F53ull * counter[0];
        uint64_t right = 0xCD9E8D57ull * counter[2];
        uint32_t c1 = counter[1], c3 = counter[3];
        counter[0] = (uint32_t)(right >> 32) ^ c1 ^ k0;
        counter[1] = (uint32_t)right;
        counter[2] = (uint32_t)(left >> 32) ^ c3 ^ k1;
        counter[3] = (uint32_t)left;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
}

#endif
