/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a tree to a deterministic automaton: Thompson's construction ("Programming techniques: regular expression search
 * algorithm", CACM 11, 1968), then sets of its states (Rabin and Scott 1959). Characters become UTF-8.
 */
#include "host/base/memory.h"
#include "host/text/grammar/machine.h"

#include <string.h>

#define NO_EDGE UINT32_MAX
#define NFA_MOST 300000u /* states, and edges: no grammar within the budget needs more */

enum nfa_kind { NFA_EMPTY, NFA_BYTES, NFA_CALL };

struct nfa_edge {
    uint8_t kind, first, last;
    uint32_t rule, min, max;
    uint32_t target, next; /* next edge of the same state */
};

/* States are numbers; 0 is the start. */
struct nfa {
    const struct machine_rules *rules;
    struct machine_budget *budget;
    uint32_t *first_edge; /* by state */
    uint32_t n_states, states_room;
    struct nfa_edge *edges;
    uint32_t n_edges, edges_room;
    uint32_t end; /* the accepting state */
};

static uint32_t nfa_state(struct nfa *nfa, struct error *err)
{
    if (err->code) return 0;
    if (nfa->n_states >= NFA_MOST) {
        error_set(err, ERROR_TOO_LARGE, "the grammar is too large: a rule has more than %u states", NFA_MOST);
        return 0;
    }
    if (nfa->n_states == nfa->states_room) {
        uint32_t room = nfa->states_room ? 2 * nfa->states_room : 64;
        uint32_t *grown = memory_grow(nfa->first_edge, room, sizeof *grown);
        if (!grown) {
            error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
            return 0;
        }
        nfa->first_edge = grown;
        nfa->states_room = room;
    }
    nfa->first_edge[nfa->n_states] = NO_EDGE;
    return nfa->n_states++;
}

static void nfa_add(struct nfa *nfa, uint32_t from, struct nfa_edge edge, struct error *err)
{
    if (err->code) return;
    if (nfa->n_edges >= NFA_MOST) {
        error_set(err, ERROR_TOO_LARGE, "the grammar is too large: a rule has more than %u edges", NFA_MOST);
        return;
    }
    if (nfa->n_edges == nfa->edges_room) {
        uint32_t room = nfa->edges_room ? 2 * nfa->edges_room : 64;
        struct nfa_edge *grown = memory_grow(nfa->edges, room, sizeof *grown);
        if (!grown) {
            error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
            return;
        }
        nfa->edges = grown;
        nfa->edges_room = room;
    }
    edge.next = nfa->first_edge[from];
    nfa->edges[nfa->n_edges] = edge;
    nfa->first_edge[from] = nfa->n_edges++;
}

static void nfa_empty(struct nfa *nfa, uint32_t from, uint32_t to, struct error *err)
{
    nfa_add(nfa, from, (struct nfa_edge){.kind = NFA_EMPTY, .target = to}, err);
}

static void nfa_bytes(struct nfa *nfa, uint32_t from, uint32_t first, uint32_t last, uint32_t to, struct error *err)
{
    nfa_add(nfa, from,
            (struct nfa_edge){.kind = NFA_BYTES, .first = (uint8_t)first, .last = (uint8_t)last, .target = to}, err);
}

/* ---- characters ---- */

static unsigned utf8_length(uint32_t code) { return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4; }

static void utf8_encode(uint32_t code, unsigned length, uint8_t bytes[4])
{
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (unsigned i = length; i-- > 1; code >>= 6) bytes[i] = (uint8_t)(0x80 | (code & 0x3F));
    bytes[0] = (uint8_t)(lead[length] | code);
}

/* A range whose ends differ in a lead byte must fill the bytes behind it; else it is cut where it does not. */
static void nfa_range(struct nfa *nfa, uint32_t from, uint32_t first, uint32_t last, uint32_t to, struct error *err)
{
    static const uint32_t limits[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    while (first <= last && !err->code) {
        unsigned length = utf8_length(first);
        uint32_t end = last < limits[length - 1] ? last : limits[length - 1];
        for (unsigned i = 1; i < length; i++) {
            uint32_t mask = (1u << (6 * i)) - 1;
            if ((first & ~mask) == (end & ~mask)) continue;
            if ((first & mask) != 0) {
                end = first | mask;
            } else if ((end & mask) != mask) {
                end = (end & ~mask) - 1;
            }
        }
        uint8_t low[4], high[4];
        utf8_encode(first, length, low);
        utf8_encode(end, length, high);
        uint32_t at = from;
        for (unsigned i = 0; i < length; i++) {
            uint32_t next = i + 1 == length ? to : nfa_state(nfa, err);
            nfa_bytes(nfa, at, low[i], high[i], next, err);
            at = next;
        }
        first = end + 1;
    }
}

/* ---- trees ---- */

static void build(struct nfa *nfa, uint32_t node, uint32_t from, uint32_t to, struct error *err);

static void build_text(struct nfa *nfa, const struct tree_node *node, uint32_t from, uint32_t to, struct error *err)
{
    if (node->count == 0) nfa_empty(nfa, from, to, err);
    for (uint32_t i = 0; i < node->count; i++) {
        uint8_t byte = nfa->rules->tree->bytes[node->begin + i];
        uint32_t next = i + 1 == node->count ? to : nfa_state(nfa, err);
        nfa_bytes(nfa, from, byte, byte, next, err);
        from = next;
    }
}

static void build_repeat(struct nfa *nfa, const struct tree_node *node, uint32_t from, uint32_t to, struct error *err)
{
    uint32_t child = node->first_child, at = from;
    for (uint32_t i = 0; i < node->min && !err->code; i++) {
        uint32_t next = nfa_state(nfa, err);
        build(nfa, child, at, next, err);
        at = next;
    }
    if (node->max == TREE_UNLIMITED) {
        uint32_t loop = nfa_state(nfa, err), back = nfa_state(nfa, err);
        nfa_empty(nfa, at, loop, err);
        build(nfa, child, loop, back, err);
        nfa_empty(nfa, back, loop, err);
        nfa_empty(nfa, loop, to, err);
        return;
    }
    for (uint32_t i = node->min; i < node->max && !err->code; i++) {
        uint32_t next = nfa_state(nfa, err);
        nfa_empty(nfa, at, to, err);
        build(nfa, child, at, next, err);
        at = next;
    }
    nfa_empty(nfa, at, to, err);
}

/* Puts a finished machine without calls between two states. */
static void embed(struct nfa *nfa, const struct machine *machine, uint32_t from, uint32_t to, struct error *err)
{
    uint32_t base = nfa->n_states;
    for (uint32_t i = 0; i < machine->n_states; i++) nfa_state(nfa, err);
    if (err->code) return;
    nfa_empty(nfa, from, base, err);
    for (uint32_t i = 0; i < machine->n_states; i++) {
        const struct machine_state *state = &machine->states[i];
        for (uint32_t e = state->first_edge; e < state->first_edge + state->n_edges; e++)
            nfa_bytes(nfa, base + i, machine->edges[e].first, machine->edges[e].last, base + machine->edges[e].target,
                      err);
        if (state->accepts) nfa_empty(nfa, base + i, to, err);
    }
}

static void build_product(struct nfa *nfa, const struct tree_node *node, uint32_t from, uint32_t to, struct error *err)
{
    uint32_t left_node = node->first_child, right_node = nfa->rules->tree->nodes[left_node].next;
    bool except = node->kind == TREE_EXCEPT;
    struct machine left = {0}, right = {0}, product = {0};
    if (machine_make(nfa->rules, left_node, nfa->budget, &left, err) == 0 &&
        machine_make(nfa->rules, right_node, nfa->budget, &right, err) == 0 &&
        machine_product(&left, &right, except, nfa->budget, &product, err) == 0)
        embed(nfa, &product, from, to, err);
    machine_close(&left);
    machine_close(&right);
    machine_close(&product);
}

/* A state for each remainder: after digit d it goes from r to (10 r + d) mod n. No leading zeros. */
static void build_multiple(struct nfa *nfa, const struct tree_node *node, uint32_t from, uint32_t to, struct error *err)
{
    uint32_t n = node->min, base = nfa->n_states;
    for (uint32_t i = 0; i < n && !err->code; i++) nfa_state(nfa, err);
    nfa_bytes(nfa, from, '0', '0', to, err);
    for (uint32_t digit = 1; digit < 10 && !err->code; digit++)
        nfa_bytes(nfa, from, '0' + digit, '0' + digit, base + digit % n, err);
    for (uint32_t i = 0; i < n && !err->code; i++) {
        for (uint32_t digit = 0; digit < 10; digit++)
            nfa_bytes(nfa, base + i, '0' + digit, '0' + digit, base + (uint32_t)((10ull * i + digit) % n), err);
    }
    if (!err->code) nfa_empty(nfa, base, to, err);
}

static void build_call(struct nfa *nfa, uint32_t rule, uint32_t min, uint32_t max, uint32_t from, uint32_t to,
                       struct error *err)
{
    if (nfa->rules->written_out[rule] && max == 1) {
        build(nfa, nfa->rules->tree->rules[rule].root, from, to, err);
        return;
    }
    nfa_add(nfa, from, (struct nfa_edge){.kind = NFA_CALL, .rule = rule, .min = min, .max = max, .target = to}, err);
}

static void build(struct nfa *nfa, uint32_t number, uint32_t from, uint32_t to, struct error *err)
{
    const struct tree *tree = nfa->rules->tree;
    const struct tree_node *node = &tree->nodes[number];
    if (err->code || machine_work(nfa->budget, 1, err) < 0) return;
    switch ((enum tree_kind)node->kind) {
    case TREE_NEVER: return;
    case TREE_TEXT: build_text(nfa, node, from, to, err); return;
    case TREE_CLASS:
        for (uint32_t i = 0; i < node->count && !err->code; i++)
            nfa_range(nfa, from, tree->ranges[node->begin + i].first, tree->ranges[node->begin + i].last, to, err);
        return;
    case TREE_SEQUENCE:
        for (uint32_t child = node->first_child; child && !err->code; child = tree->nodes[child].next) {
            uint32_t next = nfa_state(nfa, err);
            build(nfa, child, from, next, err);
            from = next;
        }
        nfa_empty(nfa, from, to, err);
        return;
    case TREE_CHOICE:
        for (uint32_t child = node->first_child; child && !err->code; child = tree->nodes[child].next) {
            uint32_t start = nfa_state(nfa, err);
            nfa_empty(nfa, from, start, err);
            build(nfa, child, start, to, err);
        }
        return;
    case TREE_REPEAT: build_repeat(nfa, node, from, to, err); return;
    case TREE_RULE: build_call(nfa, node->begin, 1, 1, from, to, err); return;
    case TREE_COUNTED: build_call(nfa, node->begin, node->min, node->max, from, to, err); return;
    case TREE_BOTH:
    case TREE_EXCEPT: build_product(nfa, node, from, to, err); return;
    case TREE_MULTIPLE: build_multiple(nfa, node, from, to, err); return;
    }
}

/* ---- sets of states ---- */

struct subset {
    uint32_t begin, count, hash; /* of members */
};

struct determinizer {
    const struct nfa *nfa;
    struct machine *out;
    uint32_t *members; /* of all sets */
    size_t n_members, members_room;
    struct subset *subsets; /* [out->n_states] */
    uint32_t subsets_room;
    uint32_t *slots, slot_mask; /* state + 1, by hash */
    uint32_t *seen, stamp;      /* by state of the nfa */
    uint32_t *set, *pending;    /* [nfa->n_states] each: the set being made */
    uint32_t n_set, n_pending;
};

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void begin_set(struct determinizer *d)
{
    d->stamp++;
    d->n_set = d->n_pending = 0;
}

static void put_in_set(struct determinizer *d, uint32_t state)
{
    if (d->seen[state] == d->stamp) return;
    d->seen[state] = d->stamp;
    d->pending[d->n_pending++] = state;
}

/* Follows empty edges; keeps the states that something else leaves, and the end. */
static int close_set(struct determinizer *d, struct error *err)
{
    uint32_t work = 0;
    while (d->n_pending > 0) {
        uint32_t state = d->pending[--d->n_pending];
        bool kept = state == d->nfa->end;
        for (uint32_t e = d->nfa->first_edge[state]; e != NO_EDGE; e = d->nfa->edges[e].next) {
            if (d->nfa->edges[e].kind == NFA_EMPTY)
                put_in_set(d, d->nfa->edges[e].target);
            else
                kept = true;
            work++;
        }
        if (kept) d->set[d->n_set++] = state;
        work++;
    }
    if (d->n_set > 1) qsort(d->set, d->n_set, sizeof *d->set, compare_numbers);
    return machine_work(d->nfa->budget, work + d->n_set, err);
}

static uint32_t hash_set(const uint32_t *set, uint32_t n)
{
    uint64_t hash = n;
    for (uint32_t i = 0; i < n; i++) hash = (hash ^ set[i]) * UINT64_C(0x9e3779b97f4a7c15) ^ (hash >> 29);
    return (uint32_t)(hash >> 32);
}

static int grow_slots(struct determinizer *d, struct error *err)
{
    uint32_t n = d->slots ? 2 * (d->slot_mask + 1) : 64;
    uint32_t *slots = memory_array(n, sizeof *slots);
    if (!slots) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
    free(d->slots);
    d->slots = slots;
    d->slot_mask = n - 1;
    for (uint32_t i = 0; i < d->out->n_states; i++) {
        uint32_t at = d->subsets[i].hash & d->slot_mask;
        while (d->slots[at]) at = (at + 1) & d->slot_mask;
        d->slots[at] = i + 1;
    }
    return 0;
}

/* Keeps the set that was made last as that of the next state. */
static int keep_set(struct determinizer *d, uint32_t hash, struct error *err)
{
    if (d->n_members + d->n_set > d->members_room) {
        size_t room = d->members_room ? 2 * d->members_room : 256;
        while (room < d->n_members + d->n_set) room *= 2;
        uint32_t *grown = memory_grow(d->members, room, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
        d->members = grown;
        d->members_room = room;
    }
    if (d->out->n_states == d->subsets_room) {
        uint32_t room = d->subsets_room ? 2 * d->subsets_room : 64;
        struct subset *grown = memory_grow(d->subsets, room, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
        d->subsets = grown;
        d->subsets_room = room;
    }
    if (d->n_set > 0) memcpy(d->members + d->n_members, d->set, d->n_set * sizeof *d->set);
    d->subsets[d->out->n_states] = (struct subset){(uint32_t)d->n_members, d->n_set, hash};
    d->n_members += d->n_set;
    return 0;
}

/* The state of the pending set, a new one if it is. */
static int state_of_set(struct determinizer *d, uint32_t *state, struct error *err)
{
    if (close_set(d, err) < 0) return err->code;
    if (2 * (d->out->n_states + 1) > d->slot_mask && grow_slots(d, err) < 0) return err->code;
    uint32_t hash = hash_set(d->set, d->n_set), at = hash & d->slot_mask;
    for (; d->slots[at]; at = (at + 1) & d->slot_mask) {
        const struct subset *subset = &d->subsets[d->slots[at] - 1];
        if (subset->hash != hash || subset->count != d->n_set) continue;
        if (d->n_set > 0 && memcmp(d->members + subset->begin, d->set, d->n_set * sizeof *d->set) != 0) continue;
        *state = d->slots[at] - 1;
        return 0;
    }
    if (keep_set(d, hash, err) < 0 || machine_add_state(d->out, d->nfa->budget, state, err) < 0) return err->code;
    d->slots[at] = *state + 1;
    for (uint32_t i = 0; i < d->n_set; i++) d->out->states[*state].accepts |= d->set[i] == d->nfa->end;
    return 0;
}

/* Edges of a state of the result: bytes are cut at every end of a range, so that what lies between goes one way. */
static int add_edges(struct determinizer *d, uint32_t state, struct error *err)
{
    bool cut[257] = {false};
    uint32_t n_ranges = 0;
    struct subset subset = d->subsets[state];
    for (uint32_t i = 0; i < subset.count; i++) {
        for (uint32_t e = d->nfa->first_edge[d->members[subset.begin + i]]; e != NO_EDGE; e = d->nfa->edges[e].next) {
            const struct nfa_edge *edge = &d->nfa->edges[e];
            if (edge->kind != NFA_BYTES) continue;
            cut[edge->first] = cut[edge->last + 1u] = true;
            n_ranges++;
        }
    }
    d->out->states[state].first_edge = d->out->n_edges;
    for (uint32_t first = 0, end; n_ranges > 0 && first < 256; first = end) {
        end = first + 1;
        while (end < 256 && !cut[end]) end++;
        begin_set(d);
        for (uint32_t i = 0; i < subset.count; i++) {
            for (uint32_t e = d->nfa->first_edge[d->members[subset.begin + i]]; e != NO_EDGE;
                 e = d->nfa->edges[e].next) {
                const struct nfa_edge *edge = &d->nfa->edges[e];
                if (edge->kind == NFA_BYTES && edge->first <= first && first <= edge->last) put_in_set(d, edge->target);
            }
        }
        if (machine_work(d->nfa->budget, n_ranges / 4, err) < 0) return err->code;
        if (d->n_pending == 0) continue;
        struct machine_edge made = {.first = (uint8_t)first, .last = (uint8_t)(end - 1)};
        if (state_of_set(d, &made.target, err) < 0) return err->code;
        struct machine_state *from = &d->out->states[state];
        struct machine_edge *before = from->n_edges ? &d->out->edges[d->out->n_edges - 1] : NULL;
        if (before && before->target == made.target && before->last + 1u == first) {
            before->last = made.last;
            continue;
        }
        if (machine_add_edge(d->out, d->nfa->budget, made, err) < 0) return err->code;
        from->n_edges++;
    }
    return 0;
}

static bool same_call(const struct nfa_edge *a, const struct nfa_edge *b)
{
    return a->kind == NFA_CALL && a->rule == b->rule && a->min == b->min && a->max == b->max;
}

/* Calls of a state: one for each rule and count, to the set of all the states that it may go on in. */
static int add_calls(struct determinizer *d, uint32_t state, struct error *err)
{
    struct subset subset = d->subsets[state];
    d->out->states[state].first_call = d->out->n_calls;
    for (uint32_t i = 0; i < subset.count; i++) {
        for (uint32_t e = d->nfa->first_edge[d->members[subset.begin + i]]; e != NO_EDGE; e = d->nfa->edges[e].next) {
            const struct nfa_edge *edge = &d->nfa->edges[e];
            if (edge->kind != NFA_CALL) continue;
            bool done = false;
            struct machine_state *from = &d->out->states[state];
            for (uint32_t c = from->first_call; c < from->first_call + from->n_calls && !done; c++) {
                const struct machine_call *call = &d->out->calls[c];
                done = call->rule == edge->rule && call->min == edge->min && call->max == edge->max;
            }
            if (machine_work(d->nfa->budget, subset.count + from->n_calls, err) < 0) return err->code;
            if (done) continue;
            begin_set(d);
            for (uint32_t j = i; j < subset.count; j++) {
                uint32_t other = d->nfa->first_edge[d->members[subset.begin + j]];
                for (; other != NO_EDGE; other = d->nfa->edges[other].next)
                    if (same_call(&d->nfa->edges[other], edge)) put_in_set(d, d->nfa->edges[other].target);
            }
            struct machine_call call = {.rule = edge->rule, .min = edge->min, .max = edge->max};
            if (state_of_set(d, &call.target, err) < 0) return err->code;
            if (machine_add_call(d->out, d->nfa->budget, call, err) < 0) return err->code;
            d->out->states[state].n_calls++;
        }
    }
    return 0;
}

static int determinize(const struct nfa *nfa, struct machine *out, struct error *err)
{
    struct determinizer d = {.nfa = nfa, .out = out};
    uint32_t start;
    d.seen = memory_array(nfa->n_states, sizeof *d.seen);
    d.set = memory_array(nfa->n_states, sizeof *d.set);
    d.pending = memory_array(nfa->n_states, sizeof *d.pending);
    int status = 0;
    if (!d.seen || !d.set || !d.pending)
        status = error_set(err, ERROR_NO_MEMORY, "no memory for a grammar's automaton");
    if (status == 0) {
        begin_set(&d);
        put_in_set(&d, 0);
        status = state_of_set(&d, &start, err);
    }
    for (uint32_t i = 0; status == 0 && i < out->n_states; i++) {
        status = add_edges(&d, i, err);
        if (status == 0) status = add_calls(&d, i, err);
    }
    free(d.members);
    free(d.subsets);
    free(d.slots);
    free(d.seen);
    free(d.set);
    free(d.pending);
    return status;
}

int machine_make(const struct machine_rules *rules, uint32_t node, struct machine_budget *budget, struct machine *out,
                 struct error *err)
{
    struct nfa nfa = {.rules = rules, .budget = budget};
    struct error failure = {0};
    *out = (struct machine){0};
    uint32_t start = nfa_state(&nfa, &failure);
    nfa.end = nfa_state(&nfa, &failure);
    build(&nfa, node, start, nfa.end, &failure);
    if (failure.code == 0) determinize(&nfa, out, &failure);
    free(nfa.first_edge);
    free(nfa.edges);
    if (failure.code == 0) return 0;
    machine_close(out);
    return error_set(err, failure.code, "%s", failure.text);
}
