/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prompt lookup. Each slot has an index of its sequence's pairs of tokens: the places of pairs with the same hash are a chain,
 * the most recent first. A look follows the chain of the last pair for a bounded number of places and compares
 * backwards, so its cost depends neither on the length of the sequence nor on what is in it.
 */
#include "host/engine/draft.h"

#include "host/base/memory.h"

#define NO_PLACE UINT32_MAX
#define SHORTEST_MATCH 2u
#define LONGEST_MATCH 16u /* tokens compared; a longer match says nothing more */
#define MOST_PLACES 64u   /* of a chain */
#define MOST_BUCKETS 16384u

/* Place i of a sequence is the one of its token i; it stands for the pair of tokens i - 1 and i. */
struct slot {
    uint32_t *buckets;  /* [n_buckets]: last place of each */
    uint32_t *previous; /* [context]: place before in the same bucket */
    uint32_t n_indexed; /* tokens whose places are in the index; pairs begin at 1 */
};

struct lookup {
    struct draft_source source;
    uint32_t n_slots, n_buckets; /* a power of two */
    struct slot *slots;
    uint32_t *words; /* what the slots point to */
};

static struct lookup *lookup_of(struct draft_source *source) { return (struct lookup *)(void *)source; }

static uint32_t bucket_of(const struct lookup *lookup, const uint32_t *tokens, uint32_t place)
{
    uint64_t pair = (uint64_t)tokens[place - 1] << 32 | tokens[place];
    return (uint32_t)(pair * 0x9e3779b97f4a7c15u >> 40) & (lookup->n_buckets - 1);
}

static int prepare(struct draft_source *source, const struct draft_limits *limits, struct error *err)
{
    struct lookup *lookup = lookup_of(source);
    lookup->n_slots = limits->max_sequences;
    for (lookup->n_buckets = 64; lookup->n_buckets < MOST_BUCKETS && lookup->n_buckets < limits->context;)
        lookup->n_buckets *= 2;
    const size_t words = (size_t)lookup->n_buckets + limits->context;
    lookup->slots = memory_array(lookup->n_slots, sizeof *lookup->slots);
    lookup->words = memory_array(lookup->n_slots, words * sizeof *lookup->words);
    if (!lookup->slots || !lookup->words)
        return error_set(err, ERROR_NO_MEMORY, "no host memory to look up drafts in %u sequences of %u tokens",
                         limits->max_sequences, limits->context);
    for (uint32_t i = 0; i < lookup->n_slots; i++) {
        lookup->slots[i].buckets = lookup->words + i * words;
        lookup->slots[i].previous = lookup->slots[i].buckets + lookup->n_buckets;
    }
    return 0;
}

static void join(struct draft_source *source, uint32_t slot)
{
    struct lookup *lookup = lookup_of(source);
    for (uint32_t i = 0; i < lookup->n_buckets; i++) lookup->slots[slot].buckets[i] = NO_PLACE;
    lookup->slots[slot].n_indexed = 1;
}

static void leave(struct draft_source *source, uint32_t slot) { (void)source, (void)slot; }

/* Tokens before places a < b, and at them, that are the same. */
static uint32_t match_length(const uint32_t *tokens, uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    while (n < LONGEST_MATCH && n <= a && tokens[a - n] == tokens[b - n]) n++;
    return n;
}

static bool look(struct draft_source *source, struct draft *draft)
{
    static const uint32_t least_match[DRAFT_GRADES] = {SHORTEST_MATCH, 3, 5, 9};
    struct lookup *lookup = lookup_of(source);
    struct slot *slot = &lookup->slots[draft->slot];
    if (draft->n_known <= SHORTEST_MATCH) return false;
    const uint32_t last = draft->n_known - 1;
    /* Without the last pair, which would find itself. */
    for (; slot->n_indexed < last; slot->n_indexed++) {
        uint32_t *bucket = &slot->buckets[bucket_of(lookup, draft->tokens, slot->n_indexed)];
        slot->previous[slot->n_indexed] = *bucket;
        *bucket = slot->n_indexed;
    }
    uint32_t longest = SHORTEST_MATCH - 1;
    uint32_t place = slot->buckets[bucket_of(lookup, draft->tokens, last)];
    for (uint32_t i = 0; i < MOST_PLACES && place != NO_PLACE && longest < LONGEST_MATCH; i++) {
        const uint32_t length = match_length(draft->tokens, place, last);
        if (length > longest) longest = length, draft->from = place + 1;
        place = slot->previous[place];
    }
    for (draft->grade = DRAFT_GRADES - 1; draft->grade > 0 && longest < least_match[draft->grade];) draft->grade--;
    return longest >= SHORTEST_MATCH;
}

/* Token by token from the front: what runs into the draft itself goes on in the same period. */
static void propose(struct draft_source *source, struct draft *drafts, uint32_t n_drafts)
{
    (void)source;
    for (uint32_t i = 0; i < n_drafts; i++) {
        const struct draft *draft = &drafts[i];
        for (uint32_t j = 0; j < draft->n; j++) draft->tokens[draft->n_known + j] = draft->tokens[draft->from + j];
    }
}

static void lookup_close(struct draft_source *source)
{
    struct lookup *lookup = lookup_of(source);
    free(lookup->slots);
    free(lookup->words);
    free(lookup);
}

int draft_lookup_make(struct draft_source **out, struct error *err)
{
    static const struct draft_source_operations operations = {
        .prepare = prepare, .join = join, .leave = leave, .look = look, .propose = propose, .close = lookup_close};
    struct lookup *lookup = memory_array(1, sizeof *lookup);
    if (!lookup) return error_set(err, ERROR_NO_MEMORY, "no host memory to look up drafts");
    lookup->source =
        (struct draft_source){.operations = &operations, .name = "lookup", .first_chance = {0.4f, 0.5f, 0.7f, 0.8f}};
    *out = &lookup->source;
    return 0;
}
