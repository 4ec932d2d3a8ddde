/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the matrices of a model lie in card memory. The rule:
 *
 *   One bank, or no room for the deal   every tensor has an allocation of its own, in the bank with most room.
 *   Several banks                       every matrix is dealt over all of them (card_layout.h). Matrices of one tile size
 *                                       follow each other without a gap, in the order of the tensor table, the experts of a
 *                                       tensor one after another (their up and down matrices turned by one and by two
 *                                       places, expert_slots.c); then come those of the next tile size, from bank 0 on. So
 *                                       a bank is at most one tile of each size fuller than another, and that is all that
 *                                       is lost.
 *
 * A matrix of F32 takes whole tiles too, though not all of its last one, in one bank as in several. Dealing needs the same
 * range in every bank; where the smallest bank has no room for its share, nothing is dealt.
 */
#ifndef SLUICE_MODEL_PLACEMENT_H
#define SLUICE_MODEL_PLACEMENT_H

#include "host/model/model_internal.h"

/* The tiles that a tensor is made of on the card. */
struct tensor_tiles {
    unsigned format;     /* enum card_format */
    uint64_t tile_bytes; /* a multiple of 64 */
    uint64_t n_tiles;    /* of one matrix: of one expert */
};

/* The tiles of one size that are dealt. */
struct tile_run {
    uint64_t tile_bytes, n_tiles;
    card_addr next; /* where the next one goes; bank 0 at first, offset from the start of the run's bank ranges */
};

struct placement {
    const struct model *model; /* borrowed */
    uint32_t weight_formats;
    bool streams;   /* experts are not placed: they go to the slots of a pool */
    unsigned banks; /* over which matrices are dealt; 1: they are not */
    struct tile_run *runs;
    size_t n_runs;       /* owned */
    uint64_t bank_bytes; /* of each of these banks, for all runs */
};

/* Whether the tensor at this index of the table is there and goes to the card as matrices. */
bool placement_has(const struct model *model, size_t index);

/* Its tiles on a card with these weight formats; ERROR_UNSUPPORTED names it if the card has no format for it. */
int placement_tiles(const struct model *model, size_t index, uint32_t weight_formats, struct tensor_tiles *tiles,
                    struct error *err);

/* Whether it has a place of its own there: not so an expert that streams. */
bool placement_wants(const struct placement *placement, size_t index);

/* Decides for this card, with the memory that it has free now. Released by placement_close, which takes a zeroed one too. */
int placement_open(const struct model *model, const struct card_info *info, struct placement *placement,
                   struct error *err);
int placement_open_streaming(const struct model *model, const struct card_info *info, struct placement *placement,
                             struct error *err); /* the same, but experts stream */
void placement_close(struct placement *placement);

/* Card memory for the tensor, in bytes: as part of what is dealt, or as an allocation of its own. */
uint64_t placement_tensor_bytes(const struct placement *placement, const struct tensor_tiles *tiles, uint32_t experts);

/* Takes card memory into loaded for all that is dealt; first thing on the card, so that the banks are as free as each other. */
int placement_reserve(struct placement *placement, struct loaded_model *loaded, struct error *err);

/* Gives the tensor at this index its place, loaded->weights[index]; each once, in order. */
int placement_take(struct placement *placement, struct loaded_model *loaded, size_t index, struct error *err);

/* The address n tiles further of what is dealt over banks (1: it is not). */
card_addr placement_advance(card_addr address, uint64_t n, unsigned banks, uint64_t tile_bytes);

/* The address of the expert in place number `expert` of a tensor whose first matrix is weight (expert_slots.c: which it has). */
card_addr placement_expert(const struct weight *weight, const struct tensor_tiles *tiles, uint32_t expert);

#endif
