/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/text/grammar/compiled.h"

#include <string.h>

struct grammar_matcher {
    struct grammar *grammar;
    struct walk walk;
    struct place now; /* heads from 0 on */
    uint32_t *bits;   /* [n_words] */
    uint32_t n_words;
    bool at_start; /* no token has been accepted */
};

int grammar_matcher_open(struct grammar *grammar, struct grammar_matcher **out, struct error *err)
{
    const struct grammar_vocabulary *v = grammar->vocabulary;
    struct grammar_matcher *matcher = memory_array(1, sizeof *matcher);
    *out = NULL;
    if (!matcher) return error_set(err, ERROR_NO_MEMORY, "no memory to follow a grammar");
    matcher->grammar = grammar_hold(grammar);
    matcher->n_words = (v->n_tokens + 31) / 32;
    matcher->bits = memory_array(matcher->n_words, sizeof *matcher->bits);
    int status = matcher->bits ? 0 : error_set(err, ERROR_NO_MEMORY, "no memory to follow a grammar");
    if (status == 0) status = walk_open(&grammar->automaton, v->trie.max_depth, &matcher->walk, err);
    if (status < 0) {
        grammar_matcher_close(matcher);
        return status;
    }
    matcher->at_start = true;
    matcher->now = walk_place(&matcher->walk, 0, grammar->automaton.start[0], FRAME_BOTTOM);
    *out = matcher;
    return 0;
}

void grammar_matcher_close(struct grammar_matcher *matcher)
{
    if (!matcher) return;
    walk_close(&matcher->walk);
    free(matcher->bits);
    grammar_release(matcher->grammar);
    free(matcher);
}

bool grammar_matcher_may_end(const struct grammar_matcher *matcher) { return matcher->now.n_exits > 0; }

bool grammar_matcher_must_end(const struct grammar_matcher *matcher)
{
    return matcher->now.n_exits > 0 && matcher->now.begin == matcher->now.end;
}

/* ---- masks ---- */

static void set_tokens(void *context, const struct token_trie *trie, uint32_t node, const struct place *place)
{
    uint32_t *bits = context;
    (void)place;
    for (uint32_t t = trie->nodes[node].first_token; t < trie->nodes[node + 1].first_token; t++)
        bits[trie->tokens[t] / 32] |= 1u << trie->tokens[t] % 32;
}

/* Tries what is left of tokens after a rule's end against the caller. */
static void try_leftovers(struct grammar_matcher *matcher, const struct mask_entry *entry, uint32_t frame_number)
{
    struct walk *walk = &matcher->walk;
    const struct token_trie *trie = &entry->leftover;
    const struct frame *frame = &walk->frames[frame_number];
    if (frame_number == FRAME_BOTTOM || trie->n_nodes == 0) return;
    const struct machine_call *call = &walk->automaton->machine.calls[frame->call];
    const uint32_t n_frames = walk->n_frames, count = frame->count;
    const bool counted = entry->loop != MASK_NO_LOOP;
    struct place after = counted ? walk_leave_loop(walk, matcher->now.end, frame_number)
                                 : walk_return(walk, matcher->now.end, frame_number);
    for (uint32_t node = 0; node < trie->n_nodes; node = trie->nodes[node].skip) {
        uint64_t done = (uint64_t)count + trie->nodes[node].byte;
        if (counted && (done < call->min || done > call->max)) continue;
        walk_trie(walk, &after, trie, node + 1, trie->nodes[node].skip, set_tokens, matcher->bits);
    }
    walk_take_back(walk, n_frames);
}

static int add_head(struct grammar_matcher *matcher, struct head head, struct error *err)
{
    struct grammar *grammar = matcher->grammar;
    const struct automaton *a = &grammar->automaton;
    uint32_t loop = MASK_NO_LOOP, turns = 0;
    if (head.frame != FRAME_BOTTOM) {
        const struct frame *frame = &matcher->walk.frames[head.frame];
        const struct machine_call *call = &a->machine.calls[frame->call];
        if (call->max > 1) {
            loop = call->rule;
            turns = call->max == TREE_UNLIMITED ? UINT32_MAX : call->max - frame->count;
        }
    }
    struct mask_entry *entry;
    int status = mask_entry_get(&grammar->masks, grammar->vocabulary, &matcher->walk, matcher->now.end, head.state,
                                loop, &entry, err);
    if (status == 0)
        status = mask_entry_add(&grammar->masks, entry, grammar->vocabulary->n_tokens, turns, matcher->bits, err);
    if (status == 0) try_leftovers(matcher, entry, head.frame);
    return status;
}

/* A first token's space is not shown: what begins with one is judged by what is behind it. */
static void judge_first_spaces(struct grammar_matcher *matcher)
{
    const struct token_trie *trie = &matcher->grammar->vocabulary->trie;
    uint32_t node = 0;
    while (node < trie->n_nodes && trie->nodes[node].byte != ' ') node = trie->nodes[node].skip;
    if (node == trie->n_nodes) return;
    for (uint32_t t = trie->nodes[node].first_token; t < trie->nodes[trie->nodes[node].skip].first_token; t++)
        matcher->bits[trie->tokens[t] / 32] &= ~(1u << trie->tokens[t] % 32);
    walk_trie(&matcher->walk, &matcher->now, trie, node + 1, trie->nodes[node].skip, set_tokens, matcher->bits);
}

static bool drops_space(const struct grammar_matcher *matcher)
{
    return matcher->at_start && matcher->grammar->vocabulary->drops_first_space;
}

static bool any_bit(const struct grammar_matcher *matcher)
{
    for (uint32_t i = 0; i < matcher->n_words; i++)
        if (matcher->bits[i]) return true;
    return false;
}

int grammar_matcher_mask(struct grammar_matcher *matcher, const uint32_t **bits, struct error *err)
{
    const struct grammar_vocabulary *v = matcher->grammar->vocabulary;
    memset(matcher->bits, 0, matcher->n_words * sizeof *matcher->bits);
    for (uint32_t i = matcher->now.begin; i < matcher->now.end; i++) {
        matcher->walk.steps = 0;
        int status = add_head(matcher, matcher->walk.heads[i], err);
        if (status < 0) return status;
        if (matcher->walk.overflow || matcher->walk.steps > WALK_MOST_STEPS)
            return error_set(err, ERROR_TOO_LARGE, "the grammar is too ambiguous: it takes too many steps to follow");
    }
    if (drops_space(matcher)) judge_first_spaces(matcher);
    for (uint32_t i = 0; i < v->n_ends && matcher->now.n_exits > 0; i++)
        matcher->bits[v->ends[i] / 32] |= 1u << v->ends[i] % 32;
    if (!any_bit(matcher))
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "no token may come next: the vocabulary has none for what the grammar needs here");
    *bits = matcher->bits;
    return 0;
}

/* ---- reading ---- */

/* Reads bytes from a place on; heads come behind those of now. False: they cannot come. */
static bool read_bytes(struct grammar_matcher *matcher, struct place *place, const uint8_t *bytes, uint32_t length)
{
    struct walk *walk = &matcher->walk;
    for (uint32_t i = 0; i < length; i++) {
        struct place next = walk_step(walk, place, bytes[i]);
        if (walk->overflow || place_is_empty(&next)) return false;
        uint32_t n = next.end - next.begin;
        memmove(walk->heads + matcher->now.end, walk->heads + next.begin, n * sizeof *walk->heads);
        next.begin = matcher->now.end;
        next.end = matcher->now.end + n;
        *place = next;
    }
    return true;
}

static bool read_token(struct grammar_matcher *matcher, struct place *place, uint32_t token, bool drop_space)
{
    const struct grammar_vocabulary *v = matcher->grammar->vocabulary;
    uint32_t length;
    if (token >= v->n_tokens) return false;
    const uint8_t *bytes = grammar_token(v, token, &length);
    if (drop_space && length > 0 && bytes[0] == ' ') {
        bytes++;
        length--;
    }
    return length > 0 && read_bytes(matcher, place, bytes, length);
}

int grammar_matcher_accept(struct grammar_matcher *matcher, uint32_t token, struct error *err)
{
    struct place place = matcher->now;
    const uint32_t n_frames = matcher->walk.n_frames;
    matcher->walk.steps = 0;
    if (!read_token(matcher, &place, token, drops_space(matcher))) {
        walk_take_back(&matcher->walk, n_frames);
        if (matcher->walk.overflow)
            return error_set(err, ERROR_TOO_LARGE, "the grammar is too ambiguous: it takes too many steps to follow");
        return error_set(err, ERROR_BAD_ARGUMENT, "token %u may not come here", token);
    }
    walk_compact(&matcher->walk, &place);
    matcher->now = place;
    matcher->at_start = false;
    return 0;
}

uint32_t grammar_matcher_try(struct grammar_matcher *matcher, const uint32_t *tokens, uint32_t n)
{
    struct place place = matcher->now;
    const uint32_t n_frames = matcher->walk.n_frames;
    uint32_t done = 0;
    while (done < n && read_token(matcher, &place, tokens[done], done == 0 && drops_space(matcher))) done++;
    walk_take_back(&matcher->walk, n_frames);
    matcher->walk.overflow = false;
    return done;
}

int grammar_matches(struct grammar *grammar, const char *text, size_t length, struct error *err)
{
    struct grammar_matcher *matcher;
    int status = grammar_matcher_open(grammar, &matcher, err);
    if (status < 0) return status;
    status = 1;
    for (size_t i = 0; i < length && status == 1; i++) {
        struct place place = matcher->now;
        matcher->walk.steps = 0;
        if (!read_bytes(matcher, &place, (const uint8_t *)text + i, 1)) status = 0;
        if (matcher->walk.overflow)
            status = error_set(err, ERROR_TOO_LARGE, "the grammar is too ambiguous: it takes too many steps to follow");
        if (status != 1) break;
        walk_compact(&matcher->walk, &place);
        matcher->now = place;
    }
    if (status == 1) status = grammar_matcher_may_end(matcher);
    grammar_matcher_close(matcher);
    return status;
}
