/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finite automata over bytes with calls of rules: from a rule's tree to a nondeterministic one (Thompson's
 * construction), from there to a deterministic one (subset construction), and the product of two. Calls are edges like
 * bytes; a state may have several, so what remains nondeterministic is only which rule is called.
 */
#ifndef SLUICE_TEXT_GRAMMAR_MACHINE_H
#define SLUICE_TEXT_GRAMMAR_MACHINE_H

#include "host/text/grammar/tree.h"

/* Bounds of one grammar: work is counted, not timed, so that a grammar is accepted or refused alike everywhere. */
#define MACHINE_MOST_STATES 60000u
#define MACHINE_MOST_EDGES 400000u
#define MACHINE_MOST_WORK 6000000u

/* Repeats up to this many states are written out; longer ones count. */
#define MACHINE_WRITTEN_OUT 24u

struct machine_edge {
    uint8_t first, last; /* bytes */
    uint32_t target;
};

/* The rule is called min to max times, one after the other, and then target is the state. */
struct machine_call {
    uint32_t rule, min, max, target;
};

struct machine_state {
    uint32_t first_edge, n_edges; /* apart and ascending */
    uint32_t first_call, n_calls;
    bool accepts;
};

/* A deterministic automaton; state 0 is the start. */
struct machine {
    struct machine_state *states;
    struct machine_edge *edges;
    struct machine_call *calls;
    uint32_t n_states, n_edges, n_calls;
    uint32_t states_room, edges_room, calls_room;
};
void machine_close(struct machine *machine);

/* What is spent on a whole grammar. */
struct machine_budget {
    uint32_t states, edges, work;
};

/* Which rules may match the empty text, and which are written out where they are called: [tree->n_rules]. */
struct machine_rules {
    struct tree *tree; /* borrowed */
    bool *nullable, *written_out;
    uint32_t n_given; /* rules that the notation has; those of repeats come behind and are never empty */
};

/* Finds both and gives repeats that count a rule of their own. The tree is changed. Owned: machine_rules_close. */
int machine_rules_open(struct tree *tree, struct machine_rules *out, struct error *err);
void machine_rules_close(struct machine_rules *rules);

/* The automaton of the tree at node. ERROR_TOO_LARGE if the budget is spent. Owned: machine_close. */
int machine_make(const struct machine_rules *rules, uint32_t node, struct machine_budget *budget, struct machine *out,
                 struct error *err);

/* What both match, or (except) what left matches and right does not. Neither has calls. */
int machine_product(const struct machine *left, const struct machine *right, bool except, struct machine_budget *budget,
                    struct machine *out, struct error *err);

/* Appends. The budget pays. */
int machine_add_state(struct machine *machine, struct machine_budget *budget, uint32_t *state, struct error *err);
int machine_add_edge(struct machine *machine, struct machine_budget *budget, struct machine_edge edge,
                     struct error *err);
int machine_add_call(struct machine *machine, struct machine_budget *budget, struct machine_call call,
                     struct error *err);
int machine_work(struct machine_budget *budget, uint32_t work, struct error *err);

/* The state after the byte, or UINT32_MAX. */
uint32_t machine_step(const struct machine *machine, uint32_t state, uint8_t byte);

#endif
