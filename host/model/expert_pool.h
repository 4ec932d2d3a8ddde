/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experts that stream through fewer slots than there are. A slot is room for any one expert of any layer: its gate, up and
 * down matrices one after the other, each at a multiple of 64 bytes. It is dealt over as many banks as make its piece of each
 * long enough for a copy of its own (expert_pool_least_piece; card_layout.h): all banks, a part of them, of which there are as many
 * as go into the card's, or one; neighbouring slots lie in different parts. All experts stay in host memory in that form,
 * or in a packed file. A layer's slot tables say where its experts are; the
 * table of the down matrices, which AWAIT looks at, is the last to be written when an expert comes, and the first when it goes.
 * Which experts are in which slots is decided above (host/experts); nothing here moves them.
 */
#ifndef SLUICE_MODEL_EXPERT_POOL_H
#define SLUICE_MODEL_EXPERT_POOL_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Over how many banks. A copy is set up in some 13 us (gen3x16-u55c), of which 8 are not hidden behind the copy before, and the
 * link does nothing in them; the array computes an expert in the time in which its banks are read. So the fewer experts have
 * slots, the more the link decides, and the longer the pieces are: of EXPERT_PIECE_BYTES, or for few banks
 * EXPERT_SHORT_PIECE_BYTES, times the share of the experts that has no slot (tests/bench/EXPERTS.md has what that brings).
 */
#define EXPERT_PIECE_BYTES (5u << 20)
#define EXPERT_SHORT_PIECE_BYTES (1u << 20)
#define EXPERT_FEW_BANKS 2u /* over the same share */
#define EXPERT_LEAST_PIECE_BYTES (64u << 10)

/* Bytes that a piece of a slot has at least that is dealt over n_pieces banks, where n_slots of n_experts have slots. */
static inline uint64_t expert_pool_least_piece(unsigned n_pieces, uint64_t n_slots, uint64_t n_experts)
{
    const uint64_t missing = n_slots < n_experts ? n_experts - n_slots : 0;
    const bool are_few = n_pieces * missing <= EXPERT_FEW_BANKS * n_experts;
    const uint64_t least = (are_few ? EXPERT_SHORT_PIECE_BYTES : EXPERT_PIECE_BYTES) * missing / n_experts;
    return least > EXPERT_LEAST_PIECE_BYTES ? least : EXPERT_LEAST_PIECE_BYTES;
}

enum { EXPERT_POOL_MATRICES = 3 }; /* gate, up, down: enum expert_matrix */

/*
 * The number of a PUBLISH: layer + 1, and above it of how many layers its rows say more than of this one. As many rows for each
 * follow: what the routers of the next layers with experts, the nearest first, choose of the hidden state of this one.
 */
#define EXPERT_POOL_GUESSES_SHIFT 24
#define EXPERT_POOL_LAYER(number) (((number) & ((1u << EXPERT_POOL_GUESSES_SHIFT) - 1)) - 1)
#define EXPERT_POOL_GUESS_DEPTH 2u /* layers, where routers run ahead */

struct expert_pool;
struct loaded_model;
struct model;
struct card_info;

/* NULL: every expert has a slot of its own. Borrowed until loaded_model_close. */
const struct expert_pool *loaded_model_pool(const struct loaded_model *loaded);

struct expert_pool_shape {
    uint32_t n_slots, n_layers, n_experts, n_used; /* n_used: experts of a token in each layer */
    uint64_t slot_bytes;                           /* in all banks */
    unsigned n_pieces;                             /* banks over which a slot is dealt; 1: it is not */
};
void expert_pool_get_shape(const struct expert_pool *pool, struct expert_pool_shape *shape);

/* Where a slot's piece lies, bytes of each piece of a layer's expert, and the address of one of its matrices in a slot. */
card_addr expert_pool_piece(const struct expert_pool *pool, uint32_t slot, unsigned piece);
uint64_t expert_pool_piece_bytes(const struct expert_pool *pool, uint32_t layer);
card_addr expert_pool_matrix(const struct expert_pool *pool, uint32_t layer, uint32_t slot, unsigned matrix);
uint64_t expert_pool_bytes(const struct expert_pool *pool, uint32_t layer); /* of all pieces; 0: it has no experts */

/* Of the layer's slot tables, which follow each other: the entry of an expert for one of its matrices. */
card_addr expert_pool_entry(const struct expert_pool *pool, uint32_t layer, unsigned matrix, uint32_t expert);

/*
 * The expert's pieces, one after the other: in host memory, or read into staging, which has room for
 * expert_pool_staging_bytes. From any thread. ERROR_IO names the file that cannot be read.
 */
uint64_t expert_pool_staging_bytes(const struct expert_pool *pool);
int expert_pool_fetch(const struct expert_pool *pool, uint32_t layer, uint32_t expert, uint8_t *staging,
                      const uint8_t **bytes, struct error *err);

/*
 * What streaming through n_slots takes of such a card: bytes of a slot, and of everything that is no expert. piece_bytes: of a
 * slot that is dealt, at least; 0: as expert_pool_least_piece has it. ERROR_UNSUPPORTED names a tensor that the card has no
 * format for.
 */
struct expert_pool_needs {
    uint64_t slot_bytes, other_bytes;
    unsigned n_pieces;
};
int expert_pool_measure(const struct model *model, const struct card_info *info, uint32_t n_slots, uint64_t piece_bytes,
                        struct expert_pool_needs *needs, struct error *err);

/* How a layer's experts lie in a slot: bytes of a piece, 0: it has none; where its matrices begin in a piece. */
struct expert_pool_layer {
    uint64_t piece_bytes, offset[EXPERT_POOL_MATRICES];
    card_addr tables; /* of gate, up and down, one after the other */
};

/*
 * A pool whose experts have places and no bytes, for cards that only keep time: all but expert_pool_fetch works. slots
 * [n_slots] and layers [n_layers] are copied; card memory stays the caller's. *out is owned: expert_pool_close.
 */
int expert_pool_open_bare(const struct expert_pool_shape *shape, const card_addr *slots,
                          const struct expert_pool_layer *layers, struct expert_pool **out, struct error *err);
void expert_pool_close(struct expert_pool *pool); /* NULL is allowed */

#endif
