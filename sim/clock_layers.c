/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/memory.h"
#include "sim/clock_state.h"

#include <stdlib.h>

static bool has_state(const struct card_descriptor *d)
{
    return d->opcode == CARD_OP_ATTENTION || d->opcode == CARD_OP_SCAN;
}

/* A NORM over the stream that goes from layer to layer. */
static bool norms_stream(const struct card_descriptor *d, uint32_t width)
{
    return d->opcode == CARD_OP_NORM && d->rows == 1 && d->cols == width;
}

static uint32_t width_of(const struct card_descriptor *program, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (program[i].opcode == CARD_OP_NORM && program[i].rows == 1) return program[i].cols;
    return 0;
}

static bool reserve(struct sim_clock *clock, unsigned n)
{
    if (n <= clock->layer_capacity) return true;
    uint32_t *grown = memory_grow(clock->layer, n, sizeof *grown);
    if (!grown) return false;
    clock->layer = grown;
    clock->layer_capacity = n;
    return true;
}

/* Where the layer begins that the descriptor at `at` is the attention of: not before `from`. */
static unsigned begin_of_layer(const struct card_descriptor *program, uint32_t width, unsigned from, unsigned at)
{
    for (unsigned i = at; i > from; i--)
        if (norms_stream(&program[i - 1], width)) return i - 1;
    return from;
}

/* Where what is behind the last layer begins; its attention is at `last`, and `norms` are from one attention to the next. */
static unsigned end_of_layers(const struct card_descriptor *program, unsigned n, uint32_t width, unsigned last,
                              unsigned norms)
{
    unsigned found = 0, end = n;
    for (unsigned i = last; i < n; i++) {
        if (!norms_stream(&program[i], width)) continue;
        end = i;
        found++;
    }
    return found >= norms ? end : n;
}

void clock_find_layers(struct sim_clock *clock, const struct card_descriptor *program, unsigned n)
{
    const uint32_t width = width_of(program, n);
    unsigned last = 0, begun = 0, norms = 2, between = 0; /* NORMs since the last attention; a layer alone has two */
    uint32_t layers = 0;
    clock->n_layers_known = 0;
    if (!reserve(clock, n)) return;
    for (unsigned i = 0; i < n; i++) {
        clock->layer[i] = TIMELINE_UNKNOWN;
        between += norms_stream(&program[i], width);
        if (!has_state(&program[i])) continue;
        const unsigned begin = begin_of_layer(program, width, layers ? last : 0, i);
        for (unsigned k = layers ? begun : begin; k < begin; k++) clock->layer[k] = layers - 1;
        if (layers) norms = between;
        between = 0;
        begun = begin;
        last = i;
        layers++;
    }
    const unsigned end = layers ? end_of_layers(program, n, width, last, norms) : 0;
    for (unsigned k = begun; layers && k < end; k++) clock->layer[k] = layers - 1;
    clock->n_layers_known = n;
}
