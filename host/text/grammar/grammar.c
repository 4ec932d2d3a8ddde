/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "host/text/grammar/compiled.h"
#include "host/text/grammar/structure.h"

#define MOST_SOURCE (1u << 20)

/* What is spent on masks before the first answer, in steps: about 20 ms. The rest is made as it is needed. */
#define WARM_STEPS 2000000u

static void read_source(struct tree *tree, const struct grammar_vocabulary *vocabulary, enum grammar_kind kind,
                        const char *text, size_t length)
{
    if (length > MOST_SOURCE) {
        tree_fail(tree, ERROR_TOO_LARGE, "the grammar is too large: %zu bytes, at most %u are possible", length,
                  MOST_SOURCE);
        return;
    }
    switch (kind) {
    case GRAMMAR_GBNF: gbnf_read(tree, text, length); return;
    case GRAMMAR_REGEX: regex_read(tree, text, length); return;
    case GRAMMAR_CHOICE: choice_read(tree, text, length); return;
    case GRAMMAR_JSON_SCHEMA: schema_read(tree, text, length); return;
    case GRAMMAR_JSON_OBJECT: json_object_read(tree); return;
    case GRAMMAR_STRUCTURE: structure_read(tree, vocabulary, text, length); return;
    }
}

/* Whether a state may read many bytes, so that its mask takes long to make. */
static bool is_broad(const struct machine *machine, uint32_t state)
{
    uint32_t n_bytes = 0;
    const struct machine_state *s = &machine->states[state];
    for (uint32_t e = s->first_edge; e < s->first_edge + s->n_edges; e++)
        n_bytes += machine->edges[e].last - machine->edges[e].first + 1u;
    return n_bytes >= 20;
}

/* Makes the masks that take longest: those of counted loops, and of states that read nearly anything. */
static int warm(struct grammar *grammar, struct error *err)
{
    const struct machine *m = &grammar->automaton.machine;
    struct walk walk;
    struct mask_entry *entry;
    struct error ignored;
    int status = walk_open(&grammar->automaton, grammar->vocabulary->trie.max_depth, &walk, err);
    if (status < 0) return status;
    for (uint32_t c = 0; c < m->n_calls && walk.steps < WARM_STEPS && !walk.overflow; c++) {
        uint32_t rule = m->calls[c].rule;
        if (m->calls[c].max <= 1 || !is_broad(m, grammar->automaton.start[rule])) continue;
        if (mask_entry_get(&grammar->masks, grammar->vocabulary, &walk, 0, grammar->automaton.start[rule], rule, &entry,
                           &ignored) < 0)
            break;
    }
    for (uint32_t i = 0; i < m->n_states && walk.steps < WARM_STEPS && !walk.overflow; i++) {
        if (!is_broad(m, i)) continue;
        if (mask_entry_get(&grammar->masks, grammar->vocabulary, &walk, 0, i, MASK_NO_LOOP, &entry, &ignored) < 0)
            break;
    }
    walk_close(&walk);
    return 0;
}

int grammar_open(const struct grammar_vocabulary *vocabulary, enum grammar_kind kind, const char *text, size_t length,
                 struct grammar **out, struct error *err)
{
    struct tree tree;
    *out = NULL;
    struct grammar *grammar = memory_array(1, sizeof *grammar);
    if (!grammar) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar");
    grammar->vocabulary = vocabulary;
    atomic_init(&grammar->holders, 1);
    int status = tree_open(&tree, err);
    if (status == 0) {
        read_source(&tree, vocabulary, kind, text, length);
        status = automaton_open(&tree, &grammar->automaton, err);
        tree_close(&tree);
    }
    if (status == 0) status = warm(grammar, err);
    if (status < 0) {
        grammar_release(grammar);
        return status;
    }
    *out = grammar;
    return 0;
}

struct grammar *grammar_hold(struct grammar *grammar)
{
    if (grammar) atomic_fetch_add_explicit(&grammar->holders, 1, memory_order_relaxed);
    return grammar;
}

void grammar_release(struct grammar *grammar)
{
    if (!grammar || atomic_fetch_sub_explicit(&grammar->holders, 1, memory_order_acq_rel) > 1) return;
    mask_table_clear(&grammar->masks);
    automaton_close(&grammar->automaton);
    free(grammar);
}
