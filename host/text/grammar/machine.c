/* SPDX-License-Identifier: Apache-2.0 */
/* A deterministic automaton as a thing to add to and to step through, and the product of two. */
#include "host/text/grammar/machine.h"
#include "host/base/memory.h"

#include <string.h>

void machine_close(struct machine *machine)
{
    free(machine->states);
    free(machine->edges);
    free(machine->calls);
    *machine = (struct machine){0};
}

int machine_work(struct machine_budget *budget, uint32_t work, struct error *err)
{
    if (work > MACHINE_MOST_WORK - budget->work)
        return error_set(err, ERROR_TOO_LARGE,
                         "the grammar is too large: it takes too many steps to compile (fewer or simpler patterns)");
    budget->work += work;
    return 0;
}

/* Room for one more element of an array. */
static int grow(void **array, uint32_t *room, uint32_t used, size_t size, struct error *err)
{
    if (used < *room) return 0;
    uint32_t wanted = *room ? 2 * *room : 16;
    void *grown = memory_grow(*array, wanted, size);
    if (!grown) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
    *array = grown;
    *room = wanted;
    return 0;
}

int machine_add_state(struct machine *machine, struct machine_budget *budget, uint32_t *state, struct error *err)
{
    if (budget->states >= MACHINE_MOST_STATES)
        return error_set(err, ERROR_TOO_LARGE, "the grammar is too large: its automaton has more than %u states",
                         MACHINE_MOST_STATES);
    if (grow((void **)&machine->states, &machine->states_room, machine->n_states, sizeof *machine->states, err) < 0)
        return err->code;
    budget->states++;
    *state = machine->n_states++;
    machine->states[*state] = (struct machine_state){.first_edge = machine->n_edges, .first_call = machine->n_calls};
    return 0;
}

int machine_add_edge(struct machine *machine, struct machine_budget *budget, struct machine_edge edge,
                     struct error *err)
{
    if (budget->edges >= MACHINE_MOST_EDGES)
        return error_set(err, ERROR_TOO_LARGE, "the grammar is too large: its automaton has more than %u edges",
                         MACHINE_MOST_EDGES);
    if (grow((void **)&machine->edges, &machine->edges_room, machine->n_edges, sizeof edge, err) < 0) return err->code;
    budget->edges++;
    machine->edges[machine->n_edges++] = edge;
    return 0;
}

int machine_add_call(struct machine *machine, struct machine_budget *budget, struct machine_call call,
                     struct error *err)
{
    if (budget->edges >= MACHINE_MOST_EDGES)
        return error_set(err, ERROR_TOO_LARGE, "the grammar is too large: its automaton has more than %u edges",
                         MACHINE_MOST_EDGES);
    if (grow((void **)&machine->calls, &machine->calls_room, machine->n_calls, sizeof call, err) < 0) return err->code;
    budget->edges++;
    machine->calls[machine->n_calls++] = call;
    return 0;
}

uint32_t machine_step(const struct machine *machine, uint32_t state, uint8_t byte)
{
    const struct machine_state *from = &machine->states[state];
    for (uint32_t i = 0; i < from->n_edges; i++) {
        const struct machine_edge *edge = &machine->edges[from->first_edge + i];
        if (byte < edge->first) break;
        if (byte <= edge->last) return edge->target;
    }
    return UINT32_MAX;
}

/* ---- the product ---- */

struct product_pair {
    uint32_t left, right; /* states; right may be UINT32_MAX: the other is beyond all hope */
};

struct product {
    const struct machine *left, *right;
    bool except;
    struct product_pair *pairs; /* [out->n_states] */
    uint32_t pairs_room;
    uint32_t *slots; /* state + 1, by hash */
    uint32_t slot_mask;
    struct machine_budget *budget;
    struct machine *out;
};

static uint32_t hash_pair(struct product_pair pair)
{
    uint64_t hash = ((uint64_t)pair.left << 32 | pair.right) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 32);
}

/* The slot of the pair, or the empty one where it belongs. */
static uint32_t *pair_slot(struct product *p, struct product_pair pair)
{
    uint32_t at = hash_pair(pair) & p->slot_mask;
    while (p->slots[at]) {
        const struct product_pair *there = &p->pairs[p->slots[at] - 1];
        if (there->left == pair.left && there->right == pair.right) break;
        at = (at + 1) & p->slot_mask;
    }
    return &p->slots[at];
}

static int double_slots(struct product *p, struct error *err)
{
    uint32_t n = p->slots ? 2 * (p->slot_mask + 1) : 64;
    uint32_t *slots = memory_array(n, sizeof *slots);
    if (!slots) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
    free(p->slots);
    p->slots = slots;
    p->slot_mask = n - 1;
    for (uint32_t i = 0; i < p->out->n_states; i++) *pair_slot(p, p->pairs[i]) = i + 1;
    return 0;
}

static int product_state(struct product *p, struct product_pair pair, uint32_t *state, struct error *err)
{
    if (2 * (p->out->n_states + 1) > p->slot_mask && double_slots(p, err) < 0) return err->code;
    uint32_t *slot = pair_slot(p, pair);
    if (*slot) {
        *state = *slot - 1;
        return 0;
    }
    if (grow((void **)&p->pairs, &p->pairs_room, p->out->n_states, sizeof pair, err) < 0) return err->code;
    p->pairs[p->out->n_states] = pair;
    int status = machine_add_state(p->out, p->budget, state, err);
    if (status < 0) return status;
    *slot = *state + 1;
    bool right = pair.right != UINT32_MAX && p->right->states[pair.right].accepts;
    p->out->states[*state].accepts = p->left->states[pair.left].accepts && right != p->except;
    return 0;
}

/* The last byte of the run from byte on that leads each machine where byte does. */
static uint32_t end_of_run(const struct machine *machine, uint32_t state, uint32_t byte, uint32_t last)
{
    if (state == UINT32_MAX) return last;
    const struct machine_state *from = &machine->states[state];
    for (uint32_t i = 0; i < from->n_edges; i++) {
        const struct machine_edge *edge = &machine->edges[from->first_edge + i];
        if (byte < edge->first) return edge->first - 1u < last ? edge->first - 1u : last;
        if (byte <= edge->last) return edge->last < last ? edge->last : last;
    }
    return last;
}

static int product_edges(struct product *p, uint32_t state, struct error *err)
{
    struct product_pair pair = p->pairs[state];
    const struct machine_state *left = &p->left->states[pair.left];
    int status = 0;
    p->out->states[state].first_edge = p->out->n_edges;
    for (uint32_t i = 0; i < left->n_edges && status == 0; i++) {
        struct machine_edge edge = p->left->edges[left->first_edge + i];
        for (uint32_t byte = edge.first; byte <= edge.last && status == 0;) {
            uint32_t end = end_of_run(p->right, pair.right, byte, edge.last), target;
            struct product_pair next = {edge.target, UINT32_MAX};
            if (pair.right != UINT32_MAX) next.right = machine_step(p->right, pair.right, (uint8_t)byte);
            if (p->except || next.right != UINT32_MAX) {
                status = product_state(p, next, &target, err);
                struct machine_edge made = {(uint8_t)byte, (uint8_t)end, target};
                if (status == 0) status = machine_add_edge(p->out, p->budget, made, err);
                if (status == 0) p->out->states[state].n_edges++;
            }
            if (status == 0) status = machine_work(p->budget, 4, err);
            byte = end + 1;
        }
    }
    return status;
}

int machine_product(const struct machine *left, const struct machine *right, bool except, struct machine_budget *budget,
                    struct machine *out, struct error *err)
{
    struct product p = {.left = left, .right = right, .except = except, .budget = budget, .out = out};
    uint32_t start;
    *out = (struct machine){0};
    int status = product_state(&p, (struct product_pair){0, 0}, &start, err);
    for (uint32_t i = 0; status == 0 && i < out->n_states; i++) status = product_edges(&p, i, err);
    free(p.pairs);
    free(p.slots);
    if (status < 0) machine_close(out);
    return status;
}
