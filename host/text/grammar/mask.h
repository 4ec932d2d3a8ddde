/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a state of the automaton before anybody is there, for a whole vocabulary: the tokens that stay within
 * the rule whatever it was called from, and for those that come to its end what is left of them there, as a trie that
 * is tried against the caller. (The idea is XGrammar's, Dong et al., arXiv:2411.15100, section 3.1.)
 *
 * In a counted loop (a string of 3 to 20 characters) it is known of each token how many turns it needs, so that one
 * entry serves all counts.
 */
#ifndef SLUICE_TEXT_GRAMMAR_MASK_H
#define SLUICE_TEXT_GRAMMAR_MASK_H

#include "host/text/grammar/vocabulary.h"
#include "host/text/grammar/walk.h"

#define MASK_NO_LOOP UINT32_MAX

struct mask_entry {
    uint32_t state, loop;       /* loop: the rule that is repeated, or MASK_NO_LOOP */
    uint32_t *tokens;           /* that stay within, those that need the fewest turns first */
    uint32_t n_within[257];     /* by turns: how many tokens need no more */
    uint32_t most_turns;        /* that a token needs */
    uint32_t **bits;            /* [most_turns + 1] masks, made when first needed; NULL inside: not yet */
    struct token_trie leftover; /* of the others: first byte, the turns they have made; then what is left */
};

struct mask_table {
    struct mask_entry **slots; /* by hash */
    uint32_t n_entries, slot_mask;
    size_t bytes;
};
void mask_table_clear(struct mask_table *table);

/*
 * The entry, which is made if there is none; it stays until the next call. walk: its heads from `at` on are free.
 * ERROR_TOO_LARGE if making it takes more than WALK_MOST_STEPS.
 */
int mask_entry_get(struct mask_table *table, const struct grammar_vocabulary *vocabulary, struct walk *walk,
                   uint32_t at, uint32_t state, uint32_t loop, struct mask_entry **out, struct error *err);

/* Adds the tokens that need at most so many turns to the bits. */
int mask_entry_add(struct mask_table *table, struct mask_entry *entry, uint32_t n_tokens, uint32_t turns,
                   uint32_t *bits, struct error *err);

#endif
