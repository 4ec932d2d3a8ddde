/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the memory's peak bandwidth a token uses, in virtual time: card programs of a built-in architecture, all
 * experts resident, on a card that only keeps time. The bytes of a token are what the card's counters say it read of
 * matrices and KV pages; the bound is that these bytes come at the peak of all channels together.
 *
 *   token_bandwidth [ARCH [CARD [DEPTH [BATCH]]]]     default: gpt-oss-20b u55c 1024 1
 *
 * Prints a JSON line: tokens/s, bytes, the fraction reached, what each resource was busy, and for the time in which
 * channels stood still, at which operation the card was ("lost": shares of the step, which with "fraction" add up to 1).
 */
#include "bitstreams/profiles/profile.h"
#include "host/base/memory.h"
#include "host/plan/plan_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An event's begin or end. */
struct edge {
    uint64_t ps;
    unsigned resource, opcode;
    int step; /* +1 or -1 */
};

struct trace {
    struct edge *edges; /* owned */
    size_t n, capacity;
    bool failed;
};

static void add_edge(struct trace *trace, uint64_t ps, const struct timeline_event *event, int step)
{
    if (trace->n == trace->capacity) {
        size_t capacity = trace->capacity ? 2 * trace->capacity : 65536;
        struct edge *grown = memory_grow(trace->edges, capacity, sizeof *grown);
        if (!grown) {
            trace->failed = true;
            return;
        }
        trace->edges = grown;
        trace->capacity = capacity;
    }
    trace->edges[trace->n++] = (struct edge){ps, event->resource, event->opcode, step};
}

static void on_event(void *context, const struct timeline_event *event)
{
    struct trace *trace = context;
    if (event->end <= event->begin || event->kind == TIMELINE_PROGRAM || event->kind == TIMELINE_EXPERT) return;
    add_edge(trace, event->begin, event, 1);
    add_edge(trace, event->end, event, -1);
}

static int compare_edges(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return x->ps < y->ps ? -1 : x->ps > y->ps;
}

/* Picoseconds of channel time that nothing used, by what the card was at: an opcode, 0: no operation. */
static void count_idle(struct trace *trace, uint64_t begin, uint64_t end, unsigned n_channels,
                       double idle[CARD_OPCODE_END])
{
    int busy_channels = 0, at_work[CARD_OPCODE_END] = {0};
    uint64_t now = begin;
    qsort(trace->edges, trace->n, sizeof *trace->edges, compare_edges);
    for (size_t i = 0; i <= trace->n; i++) {
        uint64_t next = i < trace->n ? trace->edges[i].ps : end;
        if (next > end) next = end;
        if (next > now) {
            unsigned opcode = 0;
            for (unsigned o = 1; o < CARD_OPCODE_END; o++)
                if (at_work[o] > 0 && (opcode == 0 || o != CARD_OP_QUANTIZE)) opcode = o;
            idle[opcode] += (double)(next - now) * (n_channels - (unsigned)busy_channels) / n_channels;
            now = next;
        }
        if (i == trace->n) break;
        const struct edge *edge = &trace->edges[i];
        if (edge->resource == TIMELINE_MEMORY) busy_channels += edge->step;
        if (edge->resource >= TIMELINE_MATMUL && edge->resource <= TIMELINE_VECTOR && edge->opcode < CARD_OPCODE_END)
            at_work[edge->opcode] += edge->step;
    }
}

static void print_line(const char *arch, const char *card, uint32_t depth, uint32_t batch,
                       const struct clock_step *step, double peak, unsigned n_channels,
                       const double idle[CARD_OPCODE_END])
{
    double seconds = (double)step->ps * 1e-12, bytes = (double)(step->weight_bytes + step->kv_bytes);
    double busy = (double)step->used.busy_ps[TIMELINE_MEMORY] / n_channels / (double)step->ps;
    printf("{\"name\":\"token_bandwidth\",\"model\":\"%s\",\"card\":\"%s\",\"depth\":%u,\"batch\":%u,\"tokens_per_s_"
           "virtual\":"
           "%.3f,\"step_us\":%.3f,\"weight_bytes\":%llu,\"kv_bytes\":%llu,\"peak_gb_per_s\":%.1f,\"bandwidth_"
           "fraction\":%.4f,"
           "\"busy\":{\"memory\":%.4f",
           arch, card, depth, batch, batch / seconds, seconds * 1e6, (unsigned long long)step->weight_bytes,
           (unsigned long long)step->kv_bytes, peak / 1e9, bytes / seconds / peak, busy);
    for (unsigned r = 0; r < TIMELINE_RESOURCES; r++)
        if (r != TIMELINE_MEMORY)
            printf(",\"%s\":%.4f", timeline_resource_name(r), (double)step->used.busy_ps[r] / (double)step->ps);
    printf("},\"lost\":{\"memory slower than its peak\":%.4f", busy - bytes / seconds / peak);
    for (unsigned o = 0; o < CARD_OPCODE_END; o++)
        if (idle[o] > 0) printf(",\"%s\":%.4f", o ? card_opcode_name(o) : "no operation", idle[o] / (double)step->ps);
    printf("}}\n");
}

static int measure(const struct architecture *architecture, const char *arch, const char *card, uint32_t depth,
                   uint32_t batch, struct error *err)
{
    const struct clock_options options = {.architecture = architecture,
                                          .card = card,
                                          .kv_format = CARD_FORMAT_F16,
                                          .max_tokens = batch,
                                          .max_sequences = batch,
                                          .max_context = depth + 2};
    const struct plan_stage stage = {.end_layer = architecture->n_layers};
    struct shape_sequence sequences[64];
    struct trace trace = {0};
    struct card_profile profile;
    struct plan_clock *clock = NULL;
    struct clock_step step;
    double idle[CARD_OPCODE_END] = {0}, peak = 0;
    uint64_t begin = 0, end = 0;
    int status = card_profile_open(card, &profile, err);
    if (status == 0) status = plan_clock_open(&options, &stage, &clock, err);
    for (unsigned pass = 0; pass < 2 && status == 0; pass++) {
        for (uint32_t i = 0; i < batch; i++) sequences[i] = (struct shape_sequence){depth + pass, 1, 1};
        trace.n = 0;
        status = card_trace(plan_clock_card(clock), &(struct timeline_sink){on_event, &trace}, err);
        if (status == 0) status = card_now(plan_clock_card(clock), &begin, err);
        if (status == 0) status = plan_clock_step(clock, sequences, batch, &step, err);
        if (status == 0) status = card_now(plan_clock_card(clock), &end, err);
    }
    if (status == 0 && trace.failed) status = error_set(err, ERROR_NO_MEMORY, "no memory for the trace");
    for (unsigned i = 0; status == 0 && i < profile.n_memories; i++)
        peak += (double)profile.memory[i].channels * (double)profile.memory[i].peak_bytes_per_s;
    if (status == 0) {
        count_idle(&trace, begin, end, card_profile_channels(&profile), idle);
        print_line(arch, card, depth, batch, &step, peak, card_profile_channels(&profile), idle);
    }
    plan_clock_close(clock);
    free(trace.edges);
    return status;
}

int main(int argc, char **argv)
{
    const char *arch = argc > 1 ? argv[1] : "gpt-oss-20b", *card = argc > 2 ? argv[2] : "u55c";
    unsigned long depth = argc > 3 ? strtoul(argv[3], NULL, 10) : 1024,
                  batch = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
    struct architecture *architecture = NULL;
    struct error err = {0};
    if (depth < 1 || depth > 1u << 20 || batch < 1 || batch > 64) {
        fprintf(stderr, "usage: token_bandwidth [ARCH [CARD [DEPTH up to 2^20 [BATCH up to 64]]]]\n");
        return 2;
    }
    int status = architecture_by_name(arch, &architecture, &err);
    if (status == 0) status = measure(architecture, arch, card, (uint32_t)depth, (uint32_t)batch, &err);
    if (status < 0) fprintf(stderr, "token_bandwidth: %s\n", err.text);
    architecture_close(architecture);
    return status < 0;
}
