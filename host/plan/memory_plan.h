/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies where. The rules:
 *
 *   cards      The layers are divided over the cards in order, each card a run of neighbours, so that the fullest card is
 *              as empty as possible. The output matrix goes with the last layer, the embedding stays on the host.
 *   a card     Matrices, pages and states are dealt over all banks, so of each bank counts what the smallest has. One part
 *              in 32 of what the weights leave stays free, as in host/engine/capacity.c.
 *   resident   Every expert is on its card.
 *   host       The rest of the card becomes expert slots, as many in each layer of a card; all experts lie in host memory.
 *   nvme       The same, with the experts on NVMe.
 *   auto       The first of these three that fits. A model without experts is resident or does not fit.
 */
#ifndef SLUICE_PLAN_MEMORY_PLAN_H
#define SLUICE_PLAN_MEMORY_PLAN_H

#include "host/plan/architecture.h"
#include "host/plan/plan.h"

/* Memory of one card. */
struct card_memory {
    unsigned n_classes;
    char class_name[PLAN_MEMORY_CLASSES][16];
    unsigned banks[PLAN_MEMORY_CLASSES];
    uint64_t bank_bytes[PLAN_MEMORY_CLASSES];
};

/* What the cards shall hold, and what stands around them. */
struct memory_demand {
    const struct architecture *architecture; /* borrowed */
    struct card_memory card;
    uint64_t host_bytes, nvme_bytes; /* 0: not known, taken as enough */
    uint32_t cards, context, batch, chunk;
    unsigned kv_format;
    enum plan_experts experts;
};

/* Layers of one card. */
struct plan_stage {
    uint32_t first_layer, end_layer;
    uint32_t expert_slots; /* in each layer with experts; 0: all are resident */
};

struct memory_layout {
    struct plan_memory memory;
    uint64_t weight_bytes;     /* of the whole model, without the embedding */
    uint32_t n_stages;         /* 0 if it does not fit */
    struct plan_stage *stages; /* owned; [n_stages] */
};

/*
 * *out: released by memory_plan_close, which takes a zeroed one too. That a model does not fit is no error: memory.fits is
 * false and memory.reason says why. ERROR_NO_MEMORY, or what shape_bytes says of the architecture.
 */
int memory_plan(const struct memory_demand *demand, struct memory_layout *out, struct error *err);
void memory_plan_close(struct memory_layout *layout);

/* The share of the experts that tokens ask for which lies in a layer's slots. README.md says what is assumed. */
double memory_plan_hit_rate(uint32_t experts, uint32_t experts_used, uint32_t slots);

/* Experts of a layer that a step of so many tokens asks for and that no slot has, as expected. */
double memory_plan_misses(uint32_t experts, uint32_t experts_used, uint32_t slots, uint32_t tokens);

#endif
