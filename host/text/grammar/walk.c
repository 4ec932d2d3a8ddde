/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/walk.h"
#include "host/base/memory.h"

#include <string.h>

#define N_BUCKETS 4096u
#define NO_FRAME UINT32_MAX

int walk_open(const struct automaton *automaton, uint32_t max_depth, struct walk *out, struct error *err)
{
    *out = (struct walk){.automaton = automaton, .n_levels = max_depth + 2};
    out->frames = memory_array(WALK_MOST_FRAMES, sizeof *out->frames);
    out->buckets = memory_array(N_BUCKETS, sizeof *out->buckets);
    out->heads = memory_array(WALK_MOST_HEADS, sizeof *out->heads);
    out->seen = memory_array(WALK_MOST_AT_ONCE, sizeof *out->seen);
    out->levels = memory_array(out->n_levels, sizeof *out->levels);
    out->renumbered = memory_array(WALK_MOST_FRAMES, sizeof *out->renumbered);
    if (out->renumbered && out->frames && out->buckets && out->heads && out->seen && out->levels) {
        out->n_frames = 1; /* the bottom */
        return 0;
    }
    walk_close(out);
    return error_set(err, ERROR_NO_MEMORY, "no memory to follow a grammar");
}

void walk_close(struct walk *walk)
{
    free(walk->frames);
    free(walk->buckets);
    free(walk->heads);
    free(walk->seen);
    free(walk->levels);
    free(walk->renumbered);
    *walk = (struct walk){0};
}

static uint32_t *bucket_of(struct walk *walk, uint32_t call, uint32_t count, uint32_t parent)
{
    uint64_t hash = ((uint64_t)call << 32 | parent) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ count) * UINT64_C(0xd6e8feb86659fd93);
    return &walk->buckets[(hash >> 40) % N_BUCKETS];
}

uint32_t walk_frame(struct walk *walk, uint32_t call, uint32_t count, uint32_t parent)
{
    uint32_t *bucket = bucket_of(walk, call, count, parent);
    for (uint32_t i = *bucket; i; i = walk->frames[i].next) {
        const struct frame *frame = &walk->frames[i];
        if (frame->call == call && frame->count == count && frame->parent == parent) return i;
    }
    uint32_t depth = walk->frames[parent].depth + 1;
    if (depth > WALK_MOST_DEPTH) return NO_FRAME;
    if (walk->n_frames == WALK_MOST_FRAMES) {
        walk->overflow = true;
        return NO_FRAME;
    }
    walk->frames[walk->n_frames] =
        (struct frame){.call = call, .count = count, .parent = parent, .next = *bucket, .depth = depth};
    *bucket = walk->n_frames;
    return walk->n_frames++;
}

void walk_take_back(struct walk *walk, uint32_t n_frames)
{
    while (walk->n_frames > n_frames) {
        const struct frame *frame = &walk->frames[--walk->n_frames];
        *bucket_of(walk, frame->call, frame->count, frame->parent) = frame->next;
    }
}

/* ---- what follows without a byte ---- */

static void visit_head(struct walk *walk, uint32_t state, uint32_t frame)
{
    for (uint32_t i = 0; i < walk->n_seen; i++)
        if (walk->seen[i].state == state && walk->seen[i].frame == frame) return;
    walk->steps += 1 + walk->n_seen / 8;
    if (walk->n_seen == WALK_MOST_AT_ONCE) {
        walk->overflow = true;
        return;
    }
    walk->seen[walk->n_seen++] = (struct head){state, frame};
}

static void add_exit(struct walk *walk, struct place *place, uint32_t count)
{
    for (uint32_t i = 0; i < place->n_exits; i++)
        if (place->exits[i] == count) return;
    if (place->n_exits == WALK_MOST_EXITS || count > UINT8_MAX) {
        walk->overflow = true;
        return;
    }
    place->exits[place->n_exits++] = (uint8_t)count;
}

static void visit_frame(struct walk *walk, uint32_t rule, uint32_t call, uint32_t count, uint32_t parent)
{
    uint32_t frame = walk_frame(walk, call, count, parent);
    if (frame != NO_FRAME) visit_head(walk, walk->automaton->start[rule], frame);
}

static void visit_call(struct walk *walk, uint32_t number, uint32_t frame)
{
    const struct automaton *a = walk->automaton;
    const struct machine_call *call = &a->machine.calls[number];
    if (call->min == 0) visit_head(walk, call->target, frame);
    if (call->max == 0) return;
    /* Where nothing follows in the caller, its own frame is the one to return to: lists do not get deeper. */
    if (call->max == 1 && a->is_end[call->target])
        visit_head(walk, a->start[call->rule], frame);
    else
        visit_frame(walk, call->rule, number, 0, frame);
}

/* The rule on top of the frame has come to its end. */
static void visit_return(struct walk *walk, struct place *place, uint32_t number)
{
    const struct automaton *a = walk->automaton;
    if (number == FRAME_BOTTOM) {
        add_exit(walk, place, 0);
        return;
    }
    const struct frame frame = walk->frames[number];
    if (frame.call >= a->machine.n_calls) {
        if (frame.count == UINT8_MAX) return; /* no token is worth more */
        add_exit(walk, place, frame.count + 1);
        visit_frame(walk, frame.call - a->machine.n_calls, frame.call, frame.count + 1, frame.parent);
        return;
    }
    const struct machine_call *call = &a->machine.calls[frame.call];
    uint32_t done = frame.count + 1;
    if (call->max == TREE_UNLIMITED && done > call->min) done = call->min; /* more does not matter */
    if (done >= call->min) visit_head(walk, call->target, frame.parent);
    if (call->max == TREE_UNLIMITED || done < call->max) visit_frame(walk, call->rule, frame.call, done, frame.parent);
}

/* Follows what was visited to its end; heads that can read a byte are kept. */
static void settle(struct walk *walk, struct place *place)
{
    const struct automaton *a = walk->automaton;
    for (uint32_t i = 0; i < walk->n_seen; i++) {
        const struct head head = walk->seen[i];
        const struct machine_state *state = &a->machine.states[head.state];
        if (state->n_edges > 0) {
            if (place->end == WALK_MOST_HEADS) {
                walk->overflow = true;
                return;
            }
            walk->heads[place->end++] = head;
        }
        if (state->accepts) visit_return(walk, place, head.frame);
        for (uint32_t c = 0; c < state->n_calls; c++) visit_call(walk, state->first_call + c, head.frame);
    }
    place->n_frames = walk->n_frames;
}

struct place walk_place(struct walk *walk, uint32_t at, uint32_t state, uint32_t frame)
{
    struct place place = {.begin = at, .end = at};
    walk->n_seen = 0;
    visit_head(walk, state, frame);
    settle(walk, &place);
    return place;
}

struct place walk_return(struct walk *walk, uint32_t at, uint32_t frame)
{
    struct place place = {.begin = at, .end = at};
    walk->n_seen = 0;
    visit_return(walk, &place, frame);
    settle(walk, &place);
    return place;
}

struct place walk_leave_loop(struct walk *walk, uint32_t at, uint32_t number)
{
    const struct frame frame = walk->frames[number];
    return walk_place(walk, at, walk->automaton->machine.calls[frame.call].target, frame.parent);
}

struct place walk_step(struct walk *walk, const struct place *from, uint8_t byte)
{
    struct place place = {.begin = from->end, .end = from->end};
    const struct automaton *a = walk->automaton;
    walk->n_seen = 0;
    walk->steps += from->end - from->begin;
    for (uint32_t i = from->begin; i < from->end; i++) {
        uint32_t target = machine_step(&a->machine, walk->heads[i].state, byte);
        if (target == UINT32_MAX) continue;
        if (from->end - from->begin == 1 && a->is_plain[target] && place.end < WALK_MOST_HEADS) {
            walk->heads[place.end++] = (struct head){target, walk->heads[i].frame};
            place.n_frames = walk->n_frames;
            return place;
        }
        visit_head(walk, target, walk->heads[i].frame);
    }
    settle(walk, &place);
    return place;
}

/* ---- tidying up ---- */

#define MANY_FRAMES 2048u

/* Which frames lie below the heads: 1, others 0. A frame's parent has a lower number. */
static void mark_frames(struct walk *walk, const struct place *place)
{
    uint32_t *mark = walk->renumbered;
    memset(mark, 0, walk->n_frames * sizeof *mark);
    for (uint32_t i = place->begin; i < place->end; i++) mark[walk->heads[i].frame] = 1;
    for (uint32_t i = walk->n_frames; i-- > 1;)
        if (mark[i]) mark[walk->frames[i].parent] = 1;
}

void walk_compact(struct walk *walk, struct place *place)
{
    uint32_t n_heads = place->end - place->begin, n = 1, n_before = walk->n_frames;
    uint32_t *number = walk->renumbered;
    memmove(walk->heads, walk->heads + place->begin, n_heads * sizeof *walk->heads);
    place->begin = 0;
    place->end = n_heads;
    place->n_frames = walk->n_frames;
    if (n_before < MANY_FRAMES) return;

    mark_frames(walk, place);
    memset(walk->buckets, 0, N_BUCKETS * sizeof *walk->buckets);
    number[FRAME_BOTTOM] = FRAME_BOTTOM;
    for (uint32_t i = 1; i < n_before; i++) {
        if (!number[i]) continue;
        struct frame frame = walk->frames[i];
        frame.parent = number[frame.parent];
        uint32_t *bucket = bucket_of(walk, frame.call, frame.count, frame.parent);
        frame.next = *bucket;
        walk->frames[n] = frame;
        number[i] = *bucket = n++;
    }
    for (uint32_t i = 0; i < n_heads; i++) walk->heads[i].frame = number[walk->heads[i].frame];
    walk->n_frames = place->n_frames = n;
}

/* ---- tries ---- */

void walk_trie(struct walk *walk, const struct place *from, const struct token_trie *trie, uint32_t first,
               uint32_t last, walk_visit *visit, void *context)
{
    if (first >= last) return;
    const uint32_t base = trie->nodes[first].depth - 1u, n_frames = walk->n_frames;
    walk->levels[0] = *from;
    walk->levels[0].n_frames = n_frames;
    for (uint32_t i = first; i < last && !walk->overflow && walk->steps <= WALK_MOST_STEPS;) {
        const struct trie_node *node = &trie->nodes[i];
        const uint32_t level = node->depth - base;
        const struct place *above = &walk->levels[level - 1];
        walk_take_back(walk, above->n_frames);
        walk->levels[level] = walk_step(walk, above, node->byte);
        const struct place *here = &walk->levels[level];
        if (!place_is_empty(here)) visit(context, trie, i, here);
        i = here->begin == here->end ? node->skip : i + 1;
    }
    walk_take_back(walk, n_frames);
}
