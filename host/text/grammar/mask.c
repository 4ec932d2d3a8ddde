/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/mask.h"
#include "host/base/memory.h"

#include <string.h>

#define MOST_LEFTOVERS 2000000u
#define MOST_TABLE_BYTES ((size_t)96 << 20) /* then all is forgotten, and made again as it is needed */

static void entry_free(struct mask_entry *entry)
{
    if (!entry) return;
    for (uint32_t i = 0; entry->bits && i <= entry->most_turns; i++) free(entry->bits[i]);
    free(entry->bits);
    free(entry->tokens);
    token_trie_close(&entry->leftover);
    free(entry);
}

void mask_table_clear(struct mask_table *table)
{
    for (uint32_t i = 0; table->slots && i <= table->slot_mask; i++) entry_free(table->slots[i]);
    free(table->slots);
    *table = (struct mask_table){0};
}

/* ---- making an entry ---- */

struct reach {
    uint32_t token, turns;
};

struct maker {
    const struct grammar_vocabulary *vocabulary;
    struct walk *walk;
    uint32_t loop;
    const struct byte_set *follows;
    struct reach *within;
    size_t n_within, within_room;
    struct trie_item *leftovers;
    size_t n_leftovers, leftovers_room;
    struct error err;
};

static bool grow(struct maker *maker, void **array, size_t *room, size_t used, size_t size)
{
    if (maker->err.code) return false;
    if (used < *room) return true;
    size_t wanted = *room ? 2 * *room : 64;
    void *grown = memory_grow(*array, wanted, size);
    if (!grown) {
        error_set(&maker->err, ERROR_NO_MEMORY, "no memory for the masks of a grammar");
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

/* Turns that are done in the outermost loop that the head is in. */
static uint32_t turns_of(const struct walk *walk, uint32_t frame)
{
    while (walk->frames[frame].parent != FRAME_BOTTOM) frame = walk->frames[frame].parent;
    return walk->frames[frame].count;
}

/* The fewest turns that a token needs that ends in this place: the one it is in has to be ended. */
static uint32_t turns_needed(const struct maker *maker, const struct place *place)
{
    if (maker->loop == MASK_NO_LOOP) return 0;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < place->n_exits; i++) least = place->exits[i] < least ? place->exits[i] : least;
    for (uint32_t i = place->begin; i < place->end; i++) {
        uint32_t turns = turns_of(maker->walk, maker->walk->heads[i].frame) + 1;
        least = turns < least ? turns : least;
    }
    return least;
}

static void keep_leftovers(struct maker *maker, const struct token_trie *trie, uint32_t node, uint8_t exit)
{
    const uint32_t depth = trie->nodes[node].depth;
    for (uint32_t child = node + 1; child < trie->nodes[node].skip; child = trie->nodes[child].skip) {
        if (!byte_set_has(maker->follows, trie->nodes[child].byte)) continue;
        uint32_t end = trie->nodes[trie->nodes[child].skip].first_token;
        for (uint32_t t = trie->nodes[child].first_token; t < end; t++) {
            if (!grow(maker, (void **)&maker->leftovers, &maker->leftovers_room, maker->n_leftovers,
                      sizeof *maker->leftovers))
                return;
            if (maker->n_leftovers == MOST_LEFTOVERS) {
                error_set(&maker->err, ERROR_TOO_LARGE, "the grammar is too ambiguous: a rule may end anywhere");
                return;
            }
            uint32_t length;
            const uint8_t *bytes = grammar_token(maker->vocabulary, trie->tokens[t], &length);
            maker->leftovers[maker->n_leftovers++] =
                (struct trie_item){bytes + depth, length - depth, exit, trie->tokens[t]};
        }
    }
}

static void visit(void *context, const struct token_trie *trie, uint32_t node, const struct place *place)
{
    struct maker *maker = context;
    uint32_t first = trie->nodes[node].first_token, end = trie->nodes[node + 1].first_token;
    uint32_t turns = first < end ? turns_needed(maker, place) : 0;
    for (uint32_t t = first; t < end && turns < 256; t++) {
        if (!grow(maker, (void **)&maker->within, &maker->within_room, maker->n_within, sizeof *maker->within)) return;
        maker->within[maker->n_within++] = (struct reach){trie->tokens[t], turns};
    }
    for (uint32_t i = 0; i < place->n_exits; i++) keep_leftovers(maker, trie, node, place->exits[i]);
}

/* Tokens in order of the turns that they need. */
static int sort_tokens(struct mask_entry *entry, const struct maker *maker, struct error *err)
{
    uint32_t *n = entry->n_within, place[257] = {0};
    entry->tokens = memory_array(maker->n_within, sizeof *entry->tokens);
    if (!entry->tokens) return error_set(err, ERROR_NO_MEMORY, "no memory for the masks of a grammar");
    for (size_t i = 0; i < maker->n_within; i++) {
        n[maker->within[i].turns]++;
        if (maker->within[i].turns > entry->most_turns) entry->most_turns = maker->within[i].turns;
    }
    for (uint32_t turns = 1; turns < 257; turns++) {
        n[turns] += n[turns - 1];
        place[turns] = n[turns - 1];
    }
    for (size_t i = 0; i < maker->n_within; i++)
        entry->tokens[place[maker->within[i].turns]++] = maker->within[i].token;
    entry->bits = memory_array((size_t)entry->most_turns + 1, sizeof *entry->bits);
    return entry->bits ? 0 : error_set(err, ERROR_NO_MEMORY, "no memory for the masks of a grammar");
}

static int entry_make(const struct grammar_vocabulary *vocabulary, struct walk *walk, uint32_t at,
                      struct mask_entry *entry, struct error *err)
{
    const struct automaton *a = walk->automaton;
    uint32_t n_frames = walk->n_frames, frame = FRAME_BOTTOM;
    struct maker maker = {.vocabulary = vocabulary, .walk = walk, .loop = entry->loop};
    if (entry->loop != MASK_NO_LOOP) {
        frame = walk_frame(walk, a->machine.n_calls + entry->loop, 0, FRAME_BOTTOM);
        maker.follows = &a->follows_loop[entry->loop];
    } else {
        maker.follows = &a->follows[a->rule_of[entry->state]];
    }
    if (frame != UINT32_MAX) {
        struct place place = {.begin = at, .end = at + 1};
        walk->heads[at] = (struct head){entry->state, frame};
        place.n_frames = walk->n_frames;
        walk_trie(walk, &place, &vocabulary->trie, 0, vocabulary->trie.n_nodes, visit, &maker);
    }
    walk_take_back(walk, n_frames);
    int status = maker.err.code;
    if (status < 0) *err = maker.err;
    if (status == 0 && (walk->overflow || walk->steps > WALK_MOST_STEPS))
        status = error_set(err, ERROR_TOO_LARGE, "the grammar is too ambiguous: it takes too many steps to follow");
    if (status == 0) status = sort_tokens(entry, &maker, err);
    if (status == 0) status = token_trie_make(maker.leftovers, maker.n_leftovers, &entry->leftover, err);
    free(maker.within);
    free(maker.leftovers);
    return status;
}

/* ---- the table ---- */

static uint32_t hash_of(uint32_t state, uint32_t loop)
{
    uint64_t hash = ((uint64_t)state << 32 | loop) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

/* The slot of the entry, or the empty one where it belongs. */
static struct mask_entry **find_slot(const struct mask_table *table, uint32_t state, uint32_t loop)
{
    uint32_t at = hash_of(state, loop) & table->slot_mask;
    while (table->slots[at] && (table->slots[at]->state != state || table->slots[at]->loop != loop))
        at = (at + 1) & table->slot_mask;
    return &table->slots[at];
}

static int make_room(struct mask_table *table, struct error *err)
{
    if (table->bytes > MOST_TABLE_BYTES) mask_table_clear(table);
    if (table->slots && 2 * (table->n_entries + 1) <= table->slot_mask) return 0;
    uint32_t n = table->slots ? 2 * (table->slot_mask + 1) : 64;
    struct mask_table larger = {.slot_mask = n - 1, .n_entries = table->n_entries, .bytes = table->bytes};
    larger.slots = memory_array(n, sizeof(struct mask_entry *));
    if (!larger.slots) return error_set(err, ERROR_NO_MEMORY, "no memory for the masks of a grammar");
    for (uint32_t i = 0; table->slots && i <= table->slot_mask; i++) {
        struct mask_entry *entry = table->slots[i];
        if (entry) *find_slot(&larger, entry->state, entry->loop) = entry;
    }
    free(table->slots);
    *table = larger;
    return 0;
}

int mask_entry_get(struct mask_table *table, const struct grammar_vocabulary *vocabulary, struct walk *walk,
                   uint32_t at, uint32_t state, uint32_t loop, struct mask_entry **out, struct error *err)
{
    if (make_room(table, err) < 0) return err->code;
    struct mask_entry **slot = find_slot(table, state, loop);
    *out = *slot;
    if (*slot) return 0;
    struct mask_entry *entry = memory_array(1, sizeof *entry);
    if (!entry) return error_set(err, ERROR_NO_MEMORY, "no memory for the masks of a grammar");
    entry->state = state;
    entry->loop = loop;
    int status = entry_make(vocabulary, walk, at, entry, err);
    if (status < 0) {
        entry_free(entry);
        return status;
    }
    table->n_entries++;
    table->bytes += sizeof *entry + entry->n_within[256] * sizeof(uint32_t) +
                    entry->leftover.n_nodes * sizeof(struct trie_node) + entry->leftover.n_tokens * sizeof(uint32_t);
    *out = *slot = entry;
    return 0;
}

static inline void set_bit(uint32_t *bits, uint32_t token) { bits[token / 32] |= 1u << token % 32; }

int mask_entry_add(struct mask_table *table, struct mask_entry *entry, uint32_t n_tokens, uint32_t turns,
                   uint32_t *bits, struct error *err)
{
    if (turns > entry->most_turns) turns = entry->most_turns;
    const uint32_t n = entry->n_within[turns], n_words = (n_tokens + 31) / 32;
    if (n < n_words / 4) {
        for (uint32_t i = 0; i < n; i++) set_bit(bits, entry->tokens[i]);
        return 0;
    }
    if (!entry->bits[turns]) {
        uint32_t *made = memory_array(n_words, sizeof *made);
        if (!made) return error_set(err, ERROR_NO_MEMORY, "no memory for the masks of a grammar");
        for (uint32_t i = 0; i < n; i++) set_bit(made, entry->tokens[i]);
        entry->bits[turns] = made;
        table->bytes += n_words * sizeof *made;
    }
    const uint32_t *made = entry->bits[turns];
    for (uint32_t i = 0; i < n_words; i++) bits[i] |= made[i];
    return 0;
}
