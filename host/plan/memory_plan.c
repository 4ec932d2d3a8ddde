/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/memory_plan.h"

#include "host/base/memory.h"
#include "host/plan/plan_number.h"
#include "host/plan/shape_program.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_REASON 300 /* bytes of one reason why a model does not fit */

/* What one layer takes of a card. */
struct layer_need {
    uint64_t fixed;      /* weights that every token reads, and the tables */
    uint64_t experts;    /* all of them */
    uint64_t one_expert; /* 0: the layer has none */
    uint64_t pages;      /* of all sequences at full length, and their states */
    uint32_t n_experts, n_used;
};

struct planning {
    const struct memory_demand *demand;
    struct layer_need *layers; /* owned; [n_layers] */
    uint64_t output;           /* with the last layer */
    uint64_t step;             /* on each card */
    uint64_t capacity;         /* of one card */
    struct shape_bytes all;    /* of the whole model */
};

static uint64_t add(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
static uint64_t multiply(uint64_t a, uint64_t b) { return a != 0 && b > UINT64_MAX / a ? UINT64_MAX : a * b; }

static uint64_t total_banks(const struct card_memory *card)
{
    uint64_t banks = 0;
    for (unsigned c = 0; c < card->n_classes; c++) banks += card->banks[c];
    return banks;
}

/* Bytes that can be dealt over all banks. */
static uint64_t dealt_bytes(const struct card_memory *card)
{
    uint64_t least = UINT64_MAX;
    for (unsigned c = 0; c < card->n_classes; c++)
        if (card->bank_bytes[c] < least) least = card->bank_bytes[c];
    return multiply(least, total_banks(card));
}

static struct shape_options options_for(const struct memory_demand *demand, uint32_t first, uint32_t end)
{
    return (struct shape_options){
        .first_layer = first,
        .end_layer = end,
        .kv_format = demand->kv_format,
        .max_tokens = demand->chunk + demand->batch,
        .max_logit_rows = demand->batch,
        .max_sequences = demand->batch,
        .max_context = demand->context,
    };
}

static int measure_layer(const struct planning *planning, uint32_t index, struct layer_need *need, struct error *err)
{
    const struct memory_demand *demand = planning->demand;
    struct shape_options options = options_for(demand, index, index + 1);
    struct shape_bytes bytes;
    struct shape_experts experts;
    options.max_tokens = options.max_logit_rows = 0; /* the step is measured once, of all layers */
    int status = shape_bytes(demand->architecture, &options, &bytes, err);
    if (status < 0) return status;
    shape_layer_experts(&demand->architecture->layers[index], demand->architecture->d_model, &experts);
    uint64_t pages = ((uint64_t)demand->context + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS;
    *need = (struct layer_need){
        .fixed = bytes.attention + bytes.ffn + bytes.shared_experts + bytes.routers + bytes.vectors + bytes.tables,
        .experts = experts.all_bytes,
        .one_expert = experts.one_bytes,
        .pages = multiply(demand->batch, add(multiply(pages, bytes.kv_page), bytes.state)),
        .n_experts = experts.experts,
        .n_used = experts.experts_used,
    };
    return 0;
}

static int measure(struct planning *planning, struct error *err)
{
    const struct memory_demand *demand = planning->demand;
    uint32_t n_layers = demand->architecture->n_layers;
    const struct shape_options options = options_for(demand, 0, n_layers);
    int status = shape_bytes(demand->architecture, &options, &planning->all, err);
    planning->layers = memory_array(n_layers, sizeof *planning->layers);
    if (status == 0 && !planning->layers)
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for a plan of %u layers", n_layers);
    for (uint32_t i = 0; i < n_layers && status == 0; i++)
        status = measure_layer(planning, i, &planning->layers[i], err);
    planning->output = planning->all.output;
    planning->step = planning->all.step;
    planning->capacity = dealt_bytes(&demand->card);
    return status;
}

/* Slots of experts with which a layer can work: those that one token uses. */
static uint64_t fewest_slots(const struct layer_need *need, bool resident)
{
    return resident ? need->experts : multiply(need->n_used, need->one_expert);
}

/* What layers [first, end) take of a card's memory, with its reserve. */
static uint64_t stage_need(const struct planning *planning, uint32_t first, uint32_t end, bool resident)
{
    uint64_t weights = end == planning->demand->architecture->n_layers ? planning->output : 0, rest = planning->step;
    for (uint32_t i = first; i < end; i++) {
        const struct layer_need *need = &planning->layers[i];
        weights = add(weights, add(need->fixed, fewest_slots(need, resident)));
        rest = add(rest, need->pages);
    }
    return add(weights, add(rest, rest / 31)); /* 1/32 of what is left is rest's 1/31 */
}

/* Cards that hold no more than limit each; more than `most`: most + 1. ends[i] (if not NULL) is the end of card i. */
static uint32_t fill_cards(const struct planning *planning, uint64_t limit, bool resident, uint32_t most,
                           uint32_t *ends)
{
    uint32_t n_layers = planning->demand->architecture->n_layers, first = 0, n = 0;
    while (first < n_layers && n < most) {
        uint32_t end = first;
        while (end < n_layers && stage_need(planning, first, end + 1, resident) <= limit) end++;
        if (end == first) return most + 1;
        if (ends) ends[n] = end;
        first = end;
        n++;
    }
    return first < n_layers ? most + 1 : n;
}

/* The smallest limit for which the layers fit on the cards; 0 if the cards' capacity does not do. */
static uint64_t least_limit(const struct planning *planning, bool resident)
{
    uint32_t cards = planning->demand->cards;
    if (fill_cards(planning, planning->capacity, resident, cards, NULL) > cards) return 0;
    uint64_t low = 0, high = planning->capacity; /* low does not do, high does */
    while (high - low > 65536) {
        uint64_t middle = low + (high - low) / 2;
        if (fill_cards(planning, middle, resident, cards, NULL) <= cards)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* As many slots in each layer of a stage as its card holds. */
static uint32_t slots_of(const struct planning *planning, const struct plan_stage *stage)
{
    uint64_t one = 0, used = 0;
    uint32_t most = 0;
    for (uint32_t i = stage->first_layer; i < stage->end_layer; i++) {
        const struct layer_need *need = &planning->layers[i];
        one = add(one, need->one_expert);
        used = add(used, fewest_slots(need, false));
        if (need->n_experts > most) most = need->n_experts;
    }
    if (one == 0) return 0;
    uint64_t taken = stage_need(planning, stage->first_layer, stage->end_layer, false) - used;
    uint64_t slots = (planning->capacity - taken) / one;
    return slots < most ? (uint32_t)slots : most;
}

/* The n cards' layers; those that stay without any are not counted. */
static int divide(const struct planning *planning, bool resident, uint64_t limit, struct memory_layout *out,
                  struct error *err)
{
    uint32_t cards = planning->demand->cards, first = 0;
    uint32_t *ends = memory_array(cards, sizeof *ends);
    out->stages = memory_array(cards, sizeof *out->stages);
    if (!ends || !out->stages) {
        free(ends);
        return error_set(err, ERROR_NO_MEMORY, "no host memory for a plan of %u cards", cards);
    }
    out->n_stages = fill_cards(planning, limit, resident, cards, ends);
    for (uint32_t i = 0; i < out->n_stages; i++) {
        out->stages[i] = (struct plan_stage){.first_layer = first, .end_layer = ends[i]};
        if (!resident) out->stages[i].expert_slots = slots_of(planning, &out->stages[i]);
        first = ends[i];
    }
    free(ends);
    return 0;
}

double memory_plan_hit_rate(uint32_t experts, uint32_t experts_used, uint32_t slots)
{
    if (slots >= experts || experts == 0) return 1;
    return 1 - memory_plan_misses(experts, experts_used, slots, 1) / experts_used;
}

/* 1 - (1 - p)^n, by squares: the same bits on every machine, which pow does not promise. */
static double at_least_once(double p, uint32_t n)
{
    double never = 1, factor = 1 - p;
    for (; n > 0; n >>= 1, factor *= factor)
        if (n & 1) never *= factor;
    return 1 - never;
}

/* sqrt is rounded as IEEE 754 says, so this is the same everywhere too. */
static double inverse_root(uint32_t n) { return 1 / sqrt(n); }

double memory_plan_misses(uint32_t experts, uint32_t experts_used, uint32_t slots, uint32_t tokens)
{
    double sum = 0, misses = 0;
    if (slots >= experts) return 0;
    for (uint32_t i = 1; i <= experts; i++) sum += inverse_root(i);
    for (uint32_t i = slots + 1; i <= experts; i++) {
        double chosen = experts_used * inverse_root(i) / sum;
        misses += at_least_once(chosen < 1 ? chosen : 1, tokens);
    }
    return misses;
}

/* Adds a row for bytes that lie on the cards, dealt over all their banks. */
static void add_row(const struct planning *planning, struct plan_memory *memory, const char *what, uint64_t bytes,
                    uint64_t host, uint64_t nvme)
{
    const struct card_memory *card = &planning->demand->card;
    uint64_t left = bytes;
    if ((bytes | host | nvme) == 0) return;
    struct plan_memory_row *row = &memory->row[memory->n_rows++];
    *row = (struct plan_memory_row){.what = what, .host = host, .nvme = nvme};
    for (unsigned c = 0; c < card->n_classes; c++) {
        row->card[c] = c + 1 == card->n_classes ? left : bytes / total_banks(card) * card->banks[c];
        left -= row->card[c];
    }
}

static uint64_t slots_bytes(const struct planning *planning, const struct memory_layout *layout)
{
    uint64_t bytes = 0;
    for (uint32_t s = 0; s < layout->n_stages; s++)
        for (uint32_t i = layout->stages[s].first_layer; i < layout->stages[s].end_layer; i++)
            bytes += layout->stages[s].expert_slots * planning->layers[i].one_expert;
    return bytes;
}

/* The table. Of a model that does not fit it is what it would take with all experts resident. */
static void write_rows(const struct planning *planning, struct memory_layout *out)
{
    const struct shape_bytes *all = &planning->all;
    struct plan_memory *memory = &out->memory;
    uint64_t pages = 0, states = 0, experts = 0;
    uint32_t n_layers = planning->demand->architecture->n_layers;
    uint32_t cards = out->n_stages > 0 ? out->n_stages : planning->demand->cards;
    for (uint32_t i = 0; i < n_layers; i++) {
        pages = add(pages, planning->layers[i].pages);
        experts = add(experts, planning->layers[i].experts);
    }
    states = multiply(all->state, planning->demand->batch);
    out->weight_bytes =
        all->attention + all->ffn + all->shared_experts + all->routers + all->vectors + all->output + experts;
    bool streamed = memory->experts != PLAN_EXPERTS_RESIDENT;
    bool on_host = memory->experts == PLAN_EXPERTS_HOST;
    add_row(planning, memory, "attention weights", all->attention, 0, 0);
    add_row(planning, memory, "FFN weights", all->ffn, 0, 0);
    add_row(planning, memory, "shared experts", all->shared_experts, 0, 0);
    if (streamed) add_row(planning, memory, "expert slots", slots_bytes(planning, out), 0, 0);
    add_row(planning, memory, "expert weights", streamed ? 0 : experts, on_host ? experts : 0,
            streamed && !on_host ? experts : 0);
    add_row(planning, memory, "routers, norms, biases", add(all->routers, all->vectors), 0, 0);
    add_row(planning, memory, "output matrix", all->output, 0, 0);
    add_row(planning, memory, "token embedding", 0, all->embedding, 0);
    add_row(planning, memory, "KV pages", pages - (states < pages ? states : pages), 0, 0);
    add_row(planning, memory, "recurrent states", states, 0, 0);
    add_row(planning, memory, "step and staging", add(multiply(planning->step, cards), all->tables), 0, 0);
}

static void describe_places(const struct planning *planning, struct plan_memory *memory)
{
    const struct memory_demand *demand = planning->demand;
    memory->n_classes = demand->card.n_classes;
    for (unsigned c = 0; c < memory->n_classes; c++) {
        memcpy(memory->class_name[c], demand->card.class_name[c], sizeof memory->class_name[c]);
        memory->class_bytes[c] = demand->cards * demand->card.banks[c] * demand->card.bank_bytes[c];
    }
    if (memory->n_classes > 1)
        snprintf(memory->note, sizeof memory->note,
                 "Everything is dealt over all banks alike, so %s of a card's %s and %s count: what its smallest bank "
                 "has, times "
                 "its banks.",
                 number_bytes((double)planning->capacity).text, memory->class_name[0], memory->class_name[1]);
    memory->host_bytes = demand->host_bytes;
    memory->nvme_bytes = demand->nvme_bytes;
}

/* Why the layers do not fit on the cards, with the numbers that decide. */
static void explain(const struct planning *planning, bool resident, char *text, size_t size)
{
    const struct memory_demand *demand = planning->demand;
    uint32_t n_layers = demand->architecture->n_layers;
    uint64_t weights = planning->output, pages = 0, usable = multiply(planning->capacity, demand->cards);
    for (uint32_t i = 0; i < n_layers; i++) {
        weights = add(weights, add(planning->layers[i].fixed, fewest_slots(&planning->layers[i], resident)));
        pages = add(pages, planning->layers[i].pages);
    }
    uint64_t rest = add(pages, multiply(planning->step, demand->cards));
    const char *what =
        resident ? "the weights take" : "with experts elsewhere, the other weights and the fewest slots take";
    struct number_text need = number_bytes((double)weights), has = number_bytes((double)usable);
    if (weights > usable)
        snprintf(text, size, "%s %s of the %s that %u card%s.", what, need.text, has.text, demand->cards,
                 demand->cards == 1 ? " has" : "s have");
    else if (add(weights, rest) > usable - (usable - weights) / 32)
        snprintf(text, size,
                 "%s %s of the %s that %u card%s, which leaves no room for KV: %u sequence%s of %u tokens, with the "
                 "memory of a "
                 "step, need%s %s.",
                 what, need.text, has.text, demand->cards, demand->cards == 1 ? " has" : "s have", demand->batch,
                 demand->batch == 1 ? "" : "s", demand->context, demand->batch == 1 ? "s" : "",
                 number_bytes((double)rest).text);
    else
        snprintf(text, size,
                 "%s %s of the %s that %u cards have, but whole layers do not divide over them so that each fits.",
                 what, need.text, has.text, demand->cards);
}

/* Tries one way to keep experts. *fits, or text says why not. */
static int try_experts(const struct planning *planning, enum plan_experts experts, struct memory_layout *out,
                       bool *fits, char *text, size_t size, struct error *err)
{
    const struct memory_demand *demand = planning->demand;
    bool resident = experts == PLAN_EXPERTS_RESIDENT;
    uint64_t all = 0;
    for (uint32_t i = 0; i < demand->architecture->n_layers; i++) all = add(all, planning->layers[i].experts);
    uint64_t limit = least_limit(planning, resident);
    *fits = false;
    if (limit == 0) {
        explain(planning, resident, text, size);
        return 0;
    }
    uint64_t on_host = add(planning->all.embedding, experts == PLAN_EXPERTS_HOST ? all : 0);
    if (demand->host_bytes > 0 && on_host > demand->host_bytes) {
        snprintf(text, size, "%s of experts and embedding do not fit in host memory of %s.",
                 number_bytes((double)on_host).text, number_bytes((double)demand->host_bytes).text);
        return 0;
    }
    if (experts == PLAN_EXPERTS_NVME && demand->nvme_bytes > 0 && all > demand->nvme_bytes) {
        snprintf(text, size, "%s of experts do not fit on NVMe of %s.", number_bytes((double)all).text,
                 number_bytes((double)demand->nvme_bytes).text);
        return 0;
    }
    *fits = true;
    out->memory.experts = experts;
    return divide(planning, resident, limit, out, err);
}

/* Resident share and hit rate over all layers with experts. */
static void rate_experts(const struct planning *planning, struct memory_layout *out)
{
    struct plan_memory *memory = &out->memory;
    double slots = 0, experts = 0, hits = 0, asked = 0;
    for (uint32_t s = 0; s < out->n_stages; s++) {
        const struct plan_stage *stage = &out->stages[s];
        for (uint32_t i = stage->first_layer; i < stage->end_layer; i++) {
            const struct layer_need *need = &planning->layers[i];
            uint32_t here = stage->expert_slots == 0 || stage->expert_slots > need->n_experts ? need->n_experts
                                                                                              : stage->expert_slots;
            slots += here;
            experts += need->n_experts;
            hits += need->n_used * memory_plan_hit_rate(need->n_experts, need->n_used, here);
            asked += need->n_used;
        }
    }
    memory->resident_share = experts > 0 ? slots / experts : 1;
    memory->hit_rate = asked > 0 ? hits / asked : 1;
    if (memory->experts == PLAN_EXPERTS_RESIDENT) return;
    snprintf(
        memory->assumption, sizeof memory->assumption,
        "Assumed: the n-th most used expert of a layer is asked for as often as 1/sqrt(n), and the slots (%s of the "
        "experts) keep the most used: %s are there when a token asks; the others come after the router's choice, "
        "nothing "
        "is predicted.",
        number_percent(memory->resident_share).text, number_percent(memory->hit_rate).text);
}

/* One reason after the other; the same is not said twice. */
static void add_reason(struct plan_memory *memory, const char *text)
{
    size_t used = strlen(memory->reason);
    if (used > 0 && strstr(memory->reason, text)) return;
    snprintf(memory->reason + used, sizeof memory->reason - used, "%s%s", used > 0 ? " " : "", text);
}

static int choose(const struct planning *planning, struct memory_layout *out, struct error *err)
{
    static const enum plan_experts all[] = {PLAN_EXPERTS_RESIDENT, PLAN_EXPERTS_HOST, PLAN_EXPERTS_NVME};
    struct plan_memory *memory = &out->memory;
    bool has_experts = false;
    for (uint32_t i = 0; i < planning->demand->architecture->n_layers; i++)
        has_experts = has_experts || planning->layers[i].n_experts > 0;
    for (unsigned i = 0; i < sizeof all / sizeof all[0] && !memory->fits; i++) {
        enum plan_experts asked = has_experts ? planning->demand->experts : PLAN_EXPERTS_RESIDENT;
        char text[MOST_REASON];
        if (asked != PLAN_EXPERTS_AUTO && asked != all[i]) continue;
        if (!has_experts && i > 0) break;
        int status = try_experts(planning, all[i], out, &memory->fits, text, sizeof text, err);
        if (status < 0) return status;
        if (!memory->fits) add_reason(memory, text);
    }
    if (!memory->fits) memory->experts = PLAN_EXPERTS_RESIDENT;
    return 0;
}

int memory_plan(const struct memory_demand *demand, struct memory_layout *out, struct error *err)
{
    struct planning planning = {.demand = demand};
    *out = (struct memory_layout){0};
    int status = measure(&planning, err);
    if (status == 0) status = choose(&planning, out, err);
    if (status == 0) {
        describe_places(&planning, &out->memory);
        write_rows(&planning, out);
        if (out->memory.fits) rate_experts(&planning, out);
    }
    free(planning.layers);
    if (status < 0) memory_plan_close(out);
    return status;
}

void memory_plan_close(struct memory_layout *layout)
{
    free(layout->stages);
    *layout = (struct memory_layout){0};
}
