/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/grammar/automaton.h"
#include "host/base/memory.h"

#include <string.h>

#define NO_RULE UINT32_MAX

/* While it is made. States and rules are the automaton's. */
struct linker {
    struct automaton *out;
    struct machine_rules rules;
    struct machine_budget budget;
    uint32_t *number_of;    /* by the tree's rule: the automaton's, or NO_RULE */
    uint32_t *origin;       /* by the automaton's rule: the tree's */
    uint32_t *n_states;     /* by the automaton's rule: where its states end */
    bool *productive;       /* by rule: some text matches */
    bool *nullable;         /* by rule */
    bool *alive;            /* by state: the rule's end can be reached */
    bool *can_leave;        /* by state: the rule's end can be reached without a byte */
    struct byte_set *first; /* by state: the bytes that may come first */
};

void automaton_close(struct automaton *automaton)
{
    machine_close(&automaton->machine);
    free(automaton->start);
    free(automaton->rule_of);
    free(automaton->is_plain);
    free(automaton->is_end);
    free(automaton->follows);
    free(automaton->follows_loop);
    *automaton = (struct automaton){0};
}

static void linker_close(struct linker *linker)
{
    machine_rules_close(&linker->rules);
    free(linker->number_of);
    free(linker->origin);
    free(linker->n_states);
    free(linker->productive);
    free(linker->nullable);
    free(linker->alive);
    free(linker->can_leave);
    free(linker->first);
}

static uint32_t rule_number(struct linker *linker, uint32_t tree_rule_number)
{
    uint32_t *number = &linker->number_of[tree_rule_number];
    if (*number == NO_RULE) {
        *number = linker->out->n_rules++;
        linker->origin[*number] = tree_rule_number;
    }
    return *number;
}

/* Appends one rule's machine. */
static int link_machine(struct linker *linker, uint32_t rule, const struct machine *from, struct error *err)
{
    struct machine *all = &linker->out->machine;
    struct machine_budget free_of_charge = {0}; /* it was paid for when the machine was made */
    uint32_t base = all->n_states, state;
    linker->out->start[rule] = base;
    for (uint32_t i = 0; i < from->n_states; i++) {
        const struct machine_state *source = &from->states[i];
        if (machine_add_state(all, &free_of_charge, &state, err) < 0) return err->code;
        all->states[state].accepts = source->accepts;
        for (uint32_t e = 0; e < source->n_edges; e++) {
            struct machine_edge edge = from->edges[source->first_edge + e];
            edge.target += base;
            if (machine_add_edge(all, &free_of_charge, edge, err) < 0) return err->code;
        }
        for (uint32_t c = 0; c < source->n_calls; c++) {
            struct machine_call call = from->calls[source->first_call + c];
            call.target += base;
            call.rule = rule_number(linker, call.rule);
            if (machine_add_call(all, &free_of_charge, call, err) < 0) return err->code;
        }
        all->states[state].n_edges = source->n_edges;
        all->states[state].n_calls = source->n_calls;
    }
    linker->n_states[rule] = all->n_states;
    return 0;
}

static int link_rules(struct linker *linker, struct error *err)
{
    struct tree *tree = linker->rules.tree;
    rule_number(linker, tree->root);
    for (uint32_t rule = 0; rule < linker->out->n_rules; rule++) {
        struct machine machine;
        uint32_t origin = linker->origin[rule];
        if (tree->rules[origin].root == 0)
            return error_set(err, ERROR_BAD_ARGUMENT, "rule %s is used but not defined", tree->rules[origin].name);
        int status = machine_make(&linker->rules, tree->rules[origin].root, &linker->budget, &machine, err);
        if (status < 0) return status;
        linker->nullable[rule] = linker->rules.nullable[origin];
        status = link_machine(linker, rule, &machine, err);
        machine_close(&machine);
        if (status < 0) return status;
    }
    return 0;
}

static int allocate_by_rule(struct linker *linker, struct error *err)
{
    size_t n = linker->rules.tree->n_rules;
    linker->number_of = memory_array(n, sizeof *linker->number_of);
    linker->origin = memory_array(n, sizeof *linker->origin);
    linker->n_states = memory_array(n, sizeof *linker->n_states);
    linker->productive = memory_array(n, sizeof *linker->productive);
    linker->nullable = memory_array(n, sizeof *linker->nullable);
    linker->out->start = memory_array(n, sizeof *linker->out->start);
    linker->out->follows = memory_array(n, sizeof *linker->out->follows);
    linker->out->follows_loop = memory_array(n, sizeof *linker->out->follows_loop);
    if (!linker->number_of || !linker->origin || !linker->n_states || !linker->productive || !linker->nullable ||
        !linker->out->start || !linker->out->follows || !linker->out->follows_loop)
        return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar");
    memset(linker->number_of, 0xFF, n * sizeof *linker->number_of);
    return 0;
}

static int allocate_by_state(struct linker *linker, struct error *err)
{
    size_t n = linker->out->machine.n_states;
    linker->alive = memory_array(n, sizeof *linker->alive);
    linker->can_leave = memory_array(n, sizeof *linker->can_leave);
    linker->first = memory_array(n, sizeof *linker->first);
    linker->out->rule_of = memory_array(n, sizeof *linker->out->rule_of);
    linker->out->is_plain = memory_array(n, sizeof *linker->out->is_plain);
    linker->out->is_end = memory_array(n, sizeof *linker->out->is_end);
    if (!linker->alive || !linker->can_leave || !linker->first || !linker->out->rule_of || !linker->out->is_plain ||
        !linker->out->is_end)
        return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar");
    uint32_t state = 0;
    for (uint32_t rule = 0; rule < linker->out->n_rules; rule++) {
        while (state < linker->n_states[rule]) linker->out->rule_of[state++] = rule;
    }
    return 0;
}

/* ---- what leads nowhere ---- */

static bool state_is_alive(const struct linker *linker, uint32_t number)
{
    const struct machine *m = &linker->out->machine;
    const struct machine_state *state = &m->states[number];
    if (state->accepts) return true;
    for (uint32_t e = state->first_edge; e < state->first_edge + state->n_edges; e++)
        if (linker->alive[m->edges[e].target]) return true;
    for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++) {
        const struct machine_call *call = &m->calls[c];
        if (linker->alive[call->target] && (call->min == 0 || linker->productive[call->rule])) return true;
    }
    return false;
}

/* Work of one pass over all states. */
static int pay_for_pass(struct linker *linker, struct error *err)
{
    const struct machine *m = &linker->out->machine;
    return machine_work(&linker->budget, (m->n_states + m->n_edges + m->n_calls) / 8, err);
}

/* Until nothing changes; backwards, as ends mostly come last. */
static int find_alive(struct linker *linker, struct error *err)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = linker->out->machine.n_states; i-- > 0;) {
            uint32_t rule = linker->out->rule_of[i];
            if (linker->alive[i] || !state_is_alive(linker, i)) continue;
            linker->alive[i] = changed = true;
            if (i == linker->out->start[rule]) linker->productive[rule] = true;
        }
        if (pay_for_pass(linker, err) < 0) return err->code;
    }
    if (linker->productive[0]) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "the grammar admits nothing: no text whatever matches it");
}

static void cut_dead(struct linker *linker)
{
    struct machine *m = &linker->out->machine;
    for (uint32_t i = 0; i < m->n_states; i++) {
        struct machine_state *state = &m->states[i];
        uint32_t n = 0;
        for (uint32_t e = 0; e < state->n_edges; e++) {
            struct machine_edge edge = m->edges[state->first_edge + e];
            if (linker->alive[edge.target]) m->edges[state->first_edge + n++] = edge;
        }
        state->n_edges = n;
        n = 0;
        for (uint32_t c = 0; c < state->n_calls; c++) {
            struct machine_call call = m->calls[state->first_call + c];
            if (!linker->productive[call.rule]) call.max = 0; /* it can only be passed over */
            if (linker->alive[call.target] && call.max >= call.min) m->calls[state->first_call + n++] = call;
        }
        state->n_calls = n;
        linker->out->is_plain[i] = n == 0 && !state->accepts;
        linker->out->is_end[i] = n == 0 && state->accepts && state->n_edges == 0;
    }
}

/* ---- rules that begin with themselves ---- */

static bool may_pass(const struct linker *linker, const struct machine_call *call)
{
    return call->min == 0 || linker->nullable[call->rule];
}

/* Marks the states that the rule reaches from its start without a byte; mark holds the rule + 1. */
static uint32_t reach_without_byte(const struct linker *linker, uint32_t rule, uint32_t *mark, uint32_t *reached)
{
    const struct machine *m = &linker->out->machine;
    uint32_t n = 0;
    reached[n++] = linker->out->start[rule];
    mark[linker->out->start[rule]] = rule + 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct machine_state *state = &m->states[reached[i]];
        for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++) {
            const struct machine_call *call = &m->calls[c];
            if (!may_pass(linker, call) || mark[call->target] == rule + 1) continue;
            mark[call->target] = rule + 1;
            reached[n++] = call->target;
        }
    }
    return n;
}

/* Takes away rules that begin with no rule that is left, until none is left (Kahn's algorithm, CACM 5, 1962). */
static int find_left_recursion(struct linker *linker, uint32_t *mark, uint32_t *reached, uint32_t *n_left,
                               struct error *err)
{
    const struct machine *m = &linker->out->machine;
    uint32_t n_rules = linker->out->n_rules;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t rule = n_rules; rule-- > 0;) {
            if (n_left[rule] == 0) continue;
            bool begins = false;
            uint32_t n = reach_without_byte(linker, rule, mark, reached);
            if (machine_work(&linker->budget, n / 4 + 1, err) < 0) return err->code;
            for (uint32_t i = 0; i < n && !begins; i++) {
                const struct machine_state *state = &m->states[reached[i]];
                for (uint32_t c = state->first_call; c < state->first_call + state->n_calls && !begins; c++)
                    begins = m->calls[c].max > 0 && n_left[m->calls[c].rule] > 0;
            }
            for (uint32_t i = 0; i < n; i++) mark[reached[i]] = 0;
            if (begins) continue;
            n_left[rule] = 0;
            changed = true;
        }
    }
    for (uint32_t rule = 0; rule < n_rules; rule++) {
        if (n_left[rule] > 0)
            return error_set(err, ERROR_BAD_ARGUMENT,
                             "rule %s can begin with itself (write the recursion behind what it begins with)",
                             linker->rules.tree->rules[linker->origin[rule]].name);
    }
    return 0;
}

static int refuse_left_recursion(struct linker *linker, struct error *err)
{
    size_t n = linker->out->machine.n_states;
    uint32_t *mark = memory_array(n, sizeof *mark), *reached = memory_array(n, sizeof *reached);
    uint32_t *n_left = memory_array(linker->out->n_rules, sizeof *n_left);
    int status = 0;
    if (mark && reached && n_left) {
        for (uint32_t i = 0; i < linker->out->n_rules; i++) n_left[i] = 1;
        status = find_left_recursion(linker, mark, reached, n_left, err);
    } else {
        status = error_set(err, ERROR_NO_MEMORY, "no memory for a grammar");
    }
    free(mark);
    free(reached);
    free(n_left);
    return status;
}

/* ---- first and next bytes ---- */

/* Whether anything was added. */
static bool byte_set_add(struct byte_set *set, const struct byte_set *more)
{
    uint64_t added = 0;
    for (unsigned i = 0; i < 4; i++) {
        added |= more->words[i] & ~set->words[i];
        set->words[i] |= more->words[i];
    }
    return added != 0;
}

static bool add_first(struct linker *linker, uint32_t number)
{
    const struct machine *m = &linker->out->machine;
    const struct machine_state *state = &m->states[number];
    bool changed = false;
    for (uint32_t c = state->first_call; c < state->first_call + state->n_calls; c++) {
        const struct machine_call *call = &m->calls[c];
        if (call->max > 0)
            changed |= byte_set_add(&linker->first[number], &linker->first[linker->out->start[call->rule]]);
        if (!may_pass(linker, call)) continue;
        changed |= byte_set_add(&linker->first[number], &linker->first[call->target]);
        if (linker->can_leave[call->target] && !linker->can_leave[number]) changed = linker->can_leave[number] = true;
    }
    return changed;
}

static int find_first(struct linker *linker, struct error *err)
{
    const struct machine *m = &linker->out->machine;
    for (uint32_t i = 0; i < m->n_states; i++) {
        const struct machine_state *state = &m->states[i];
        linker->can_leave[i] = state->accepts;
        for (uint32_t e = state->first_edge; e < state->first_edge + state->n_edges; e++) {
            for (uint32_t byte = m->edges[e].first; byte <= m->edges[e].last; byte++)
                linker->first[i].words[byte >> 6] |= UINT64_C(1) << (byte & 63);
        }
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = m->n_states; i-- > 0;)
            if (m->states[i].n_calls > 0) changed |= add_first(linker, i);
        if (pay_for_pass(linker, err) < 0) return err->code;
    }
    return 0;
}

static int find_follows(struct linker *linker, struct error *err)
{
    const struct machine *m = &linker->out->machine;
    struct byte_set *follows = linker->out->follows, *loop = linker->out->follows_loop;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < m->n_states; i++) {
            for (uint32_t c = m->states[i].first_call; c < m->states[i].first_call + m->states[i].n_calls; c++) {
                const struct machine_call *call = &m->calls[c];
                struct byte_set next = linker->first[call->target];
                if (linker->can_leave[call->target]) byte_set_add(&next, &follows[linker->out->rule_of[i]]);
                changed |= byte_set_add(&follows[call->rule], &next);
                if (call->max <= 1) continue;
                changed |= byte_set_add(&loop[call->rule], &next);
                changed |= byte_set_add(&follows[call->rule], &linker->first[linker->out->start[call->rule]]);
            }
        }
        if (pay_for_pass(linker, err) < 0) return err->code;
    }
    return 0;
}

int automaton_open(struct tree *tree, struct automaton *out, struct error *err)
{
    struct linker linker = {.out = out};
    *out = (struct automaton){0};
    if (tree_failed(tree)) return error_set(err, tree->err.code, "%s", tree->err.text);
    int status = machine_rules_open(tree, &linker.rules, err);
    if (status == 0) status = allocate_by_rule(&linker, err);
    if (status == 0) status = link_rules(&linker, err);
    if (status == 0) status = allocate_by_state(&linker, err);
    if (status == 0) status = find_alive(&linker, err);
    if (status == 0) {
        cut_dead(&linker);
        status = refuse_left_recursion(&linker, err);
    }
    if (status == 0) status = find_first(&linker, err);
    if (status == 0) status = find_follows(&linker, err);
    linker_close(&linker);
    if (status < 0) automaton_close(out);
    return status;
}
