/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole grammar as a pushdown automaton over bytes: the machines of all its rules in one array of states, without what
 * leads nowhere, and what is known of the bytes that may come first and next. Immutable once made.
 */
#ifndef SLUICE_TEXT_GRAMMAR_AUTOMATON_H
#define SLUICE_TEXT_GRAMMAR_AUTOMATON_H

#include "host/text/grammar/machine.h"

struct byte_set {
    uint64_t words[4];
};
static inline bool byte_set_has(const struct byte_set *set, uint8_t byte)
{
    return set->words[byte >> 6] >> (byte & 63) & 1;
}

struct automaton {
    struct machine machine;        /* of all rules; targets and calls are within it */
    uint32_t n_rules;              /* those that the root needs, in order of their first call; 0 is the root */
    uint32_t *start;               /* by rule: its first state */
    uint32_t *rule_of;             /* by state */
    bool *is_plain;                /* by state: it has no calls and does not accept */
    bool *is_end;                  /* by state: it accepts, and nothing leaves it */
    struct byte_set *follows;      /* by rule: what may come after it; at its end, but for loops, see below */
    struct byte_set *follows_loop; /* by rule: what may come after the last of the rule's counted calls */
};

/*
 * Compiles the rules that tree->root needs. ERROR_BAD_ARGUMENT: a rule calls itself before anything else, or no text
 * matches. ERROR_TOO_LARGE. The tree is changed. Owned: automaton_close.
 */
int automaton_open(struct tree *tree, struct automaton *out, struct error *err);
void automaton_close(struct automaton *automaton);

#endif
