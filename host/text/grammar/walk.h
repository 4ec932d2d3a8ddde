/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The automaton while it reads. A place is a set of heads, each a state and a stack of calls that it returns to. Stacks
 * are shared: a frame is made once for its call, its count and what lies below it, so heads are equal when their
 * numbers are. Frames that a trial has made are taken back in reverse.
 */
#ifndef SLUICE_TEXT_GRAMMAR_WALK_H
#define SLUICE_TEXT_GRAMMAR_WALK_H

#include "host/text/grammar/automaton.h"
#include "host/text/grammar/token_trie.h"

#define WALK_MOST_FRAMES 16384u
#define WALK_MOST_DEPTH 1000u /* of calls in calls; deeper ones are not taken */
#define WALK_MOST_HEADS 16384u
#define WALK_MOST_AT_ONCE 1024u /* heads after one byte */
#define WALK_MOST_EXITS 16u
#define WALK_MOST_STEPS 8000000u /* heads times bytes of one mask */

#define FRAME_BOTTOM 0u /* what lies below is not known, or nothing: leaving it is an exit */

struct frame {
    uint32_t call;  /* its number; from n_calls on: a loop of the rule call - n_calls, that exits after every turn */
    uint32_t count; /* of calls that are done */
    uint32_t parent, next; /* next: of the same hash */
    uint32_t depth;
};

struct head {
    uint32_t state, frame;
};

/* A place: heads [begin, end) of the walk, and the counts of turns after which the bottom was left. */
struct place {
    uint32_t begin, end, n_frames, n_exits;
    uint8_t exits[WALK_MOST_EXITS];
};

struct walk {
    const struct automaton *automaton;
    struct frame *frames; /* [WALK_MOST_FRAMES] */
    uint32_t n_frames;
    uint32_t *buckets;  /* the last frame of each hash */
    struct head *heads; /* [WALK_MOST_HEADS] */
    struct head *seen;  /* [WALK_MOST_AT_ONCE] */
    uint32_t n_seen;
    struct place *levels; /* [n_levels], for walks through tries */
    uint32_t n_levels;
    uint32_t *renumbered; /* [WALK_MOST_FRAMES], while frames move */
    uint64_t steps;
    bool overflow; /* too many heads, frames or exits: what came out is not complete */
};

int walk_open(const struct automaton *automaton, uint32_t max_depth, struct walk *out, struct error *err);
void walk_close(struct walk *walk);

/* Makes a place of one seed: heads go behind `at`. The frames stay. */
struct place walk_place(struct walk *walk, uint32_t at, uint32_t state, uint32_t frame);
/* The place after the call of the frame has come to its end. */
struct place walk_return(struct walk *walk, uint32_t at, uint32_t frame);
/* The place after a counted call is done for good, without another turn. */
struct place walk_leave_loop(struct walk *walk, uint32_t at, uint32_t frame);
/* The place after a byte; heads go behind those of `from`. */
struct place walk_step(struct walk *walk, const struct place *from, uint8_t byte);

uint32_t walk_frame(struct walk *walk, uint32_t call, uint32_t count, uint32_t parent); /* UINT32_MAX: not possible */
void walk_take_back(struct walk *walk, uint32_t n_frames); /* all frames but the first n_frames */

/* Keeps only the frames below these heads, which are moved to the front. */
void walk_compact(struct walk *walk, struct place *place);

/*
 * Goes through the trie's nodes [first, last) from a place, and calls visit for each node whose bytes can come. Frames
 * are as before afterwards.
 */
typedef void walk_visit(void *context, const struct token_trie *trie, uint32_t node, const struct place *place);
void walk_trie(struct walk *walk, const struct place *from, const struct token_trie *trie, uint32_t first,
               uint32_t last, walk_visit *visit, void *context);

/* Whether some head can read a byte, or the bottom is left. */
static inline bool place_is_empty(const struct place *place)
{
    return place->begin == place->end && place->n_exits == 0;
}

#endif
