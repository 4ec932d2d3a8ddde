/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Experts that stream through fewer slots than there are. A slot is room for any one expert of any layer: its gate, up and
 * down matrices one after the other, each at a multiple of 64 bytes. It lies in one bank, so that an expert comes in one copy;
 * or, if its share of each bank is long enough for copies of its own (EXPERT_PIECE_BYTES), it is dealt over all banks
 * (card_layout.h), so that all of them read it, and comes in a piece for each. All experts stay in host memory in that form,
 * or in a packed file. A layer's slot tables say where its experts are; the
 * table of the down matrices, which AWAIT looks at, is the last to be written when an expert comes, and the first when it goes.
 * Which experts are in which slots is decided above (host/experts); nothing here moves them.
 */
#ifndef SLUICE_MODEL_EXPERT_POOL_H
#define SLUICE_MODEL_EXPERT_POOL_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"

#include <stddef.h>
#include <stdint.h>

/* A copy is set up in some 13 us (gen3x16-u55c), the time of 120 KB: with pieces of this size that is hidden but for a tenth. */
#define EXPERT_PIECE_BYTES (512u << 10)

enum { EXPERT_POOL_MATRICES = 3 }; /* gate, up, down: enum expert_matrix */

/*
 * In the number of a PUBLISH, layer + 1: the second half of its rows is what the router of the next layer with experts chooses of
 * the hidden state of this one.
 */
#define EXPERT_POOL_GUESS 0x80000000u

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
 * What streaming takes of such a card: bytes of a slot, and of everything that is no expert. piece_bytes: of a slot that is
 * dealt, at least; 0: EXPERT_PIECE_BYTES. ERROR_UNSUPPORTED names a
 * tensor that the card has no format for.
 */
struct expert_pool_needs {
    uint64_t slot_bytes, other_bytes;
    unsigned n_pieces;
};
int expert_pool_measure(const struct model *model, const struct card_info *info, uint64_t piece_bytes,
                        struct expert_pool_needs *needs, struct error *err);

#endif
