/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/link_idle.h"

#include "host/base/memory.h"

struct link_edge {
    uint64_t ps;
    unsigned opcode; /* 0: a copy */
    int step;        /* +1 where it begins, -1 where it ends */
};

static void add(struct link_idle *idle, uint64_t ps, unsigned opcode, int step)
{
    if (idle->n_edges == idle->capacity) {
        const size_t capacity = idle->capacity ? 2 * idle->capacity : 4096;
        struct link_edge *grown = memory_grow(idle->edges, capacity, sizeof *grown);
        if (!grown) {
            idle->is_out_of_memory = true;
            return;
        }
        idle->edges = grown;
        idle->capacity = capacity;
    }
    idle->edges[idle->n_edges++] = (struct link_edge){ps, opcode, step};
}

void link_idle_event(void *link_idle, const struct timeline_event *event)
{
    struct link_idle *idle = link_idle;
    const bool is_copy = event->resource == TIMELINE_HOST_TO_CARD;
    const bool is_operation = event->kind == TIMELINE_OPERATION || event->kind == TIMELINE_WAIT;
    if (event->end <= event->begin || (!is_copy && !is_operation)) return;
    add(idle, event->begin, is_copy ? 0 : event->opcode, 1);
    add(idle, event->end, is_copy ? 0 : event->opcode, -1);
}

static int compare(const void *a, const void *b)
{
    const struct link_edge *x = a, *y = b;
    return x->ps < y->ps ? -1 : x->ps > y->ps;
}

/* The one that the others wait for: AWAIT only if nothing else is at work, QUANTIZE and ROUTER's kind only then too. */
static unsigned busiest(const int at_work[CARD_OPCODE_END])
{
    unsigned found = 0;
    for (unsigned o = 1; o < CARD_OPCODE_END; o++) {
        if (at_work[o] <= 0) continue;
        if (found == 0 || found == CARD_OP_AWAIT || (found == CARD_OP_QUANTIZE && o != CARD_OP_AWAIT)) found = o;
    }
    return found;
}

void link_idle_count(struct link_idle *idle, uint64_t begin, uint64_t end)
{
    int copies = 0, at_work[CARD_OPCODE_END] = {0};
    uint64_t now = begin;
    qsort(idle->edges, idle->n_edges, sizeof *idle->edges, compare);
    for (size_t i = 0; i <= idle->n_edges; i++) {
        uint64_t next = i < idle->n_edges ? idle->edges[i].ps : end;
        if (next > end) next = end;
        if (next > now) {
            if (copies == 0) idle->ps[busiest(at_work)] += next - now;
            now = next;
        }
        if (i == idle->n_edges) break;
        const struct link_edge *edge = &idle->edges[i];
        if (edge->opcode == 0)
            copies += edge->step;
        else if (edge->opcode < CARD_OPCODE_END)
            at_work[edge->opcode] += edge->step;
    }
    idle->n_edges = 0;
}

void link_idle_close(struct link_idle *idle)
{
    free(idle->edges);
    *idle = (struct link_idle){0};
}
