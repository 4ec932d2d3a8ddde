/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model over several cards: what each layer takes and each card can do, which host/model/division.c divides; and loading
 * the parts. Who streams is each part's own affair (experts_load): where all experts of a card's layers fit, they stay.
 */
#include "host/base/memory.h"
#include "host/card/card_list.h"
#include "host/experts/experts.h"
#include "host/experts/routing_recorder.h"
#include "host/model/division.h"
#include "host/model/expert_pool.h"

#include <stdio.h>

#define MIB(bytes) ((double)(bytes) / (1 << 20))
#define LINK_SHARE 32 /* of a card's memory bandwidth that its link has, where neither is known */

/* What a layer takes on a card: of its experts, of one of them in a slot, and of everything else. */
struct layer_bytes {
    uint64_t experts, slot, other;
};

struct dividing {
    const struct model *model;
    const struct model_load_options *options; /* never NULL */
    uint32_t n_layers;
    struct layer_bytes *bytes;     /* owned; [n_layers] */
    struct division_layer *layers; /* owned; [n_layers] */
    struct division_card cards[DIVISION_CARDS];
    uint64_t free_bytes[DIVISION_CARDS];
    uint64_t output_bytes; /* of the last layer's, which are no load */
    unsigned n_cards;
};

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* ---- what there is ---- */

static int measure_layer(const struct dividing *d, const struct card_info *info, uint32_t layer,
                         struct layer_bytes *bytes, struct error *err)
{
    struct model *part;
    struct model_card_needs needs;
    struct expert_pool_needs streaming = {0};
    struct card_info whole = *info; /* one bank: what dealing loses is lost once for all layers, not for each */
    whole.n_banks = 1;
    int result = model_part_open(d->model, layer, layer + 1, &part, err);
    if (result < 0) return result;
    result = model_card_needs(part, &whole, &needs, err);
    if (result == 0 && needs.expert_bytes > 0)
        result =
            expert_pool_measure(part, info, d->options->expert_slots, d->options->expert_piece_bytes, &streaming, err);
    model_close(part);
    if (result < 0) return result;
    bytes->experts = larger(bytes->experts, needs.expert_bytes);
    bytes->slot = larger(bytes->slot, streaming.slot_bytes);
    bytes->other = larger(bytes->other, needs.other_bytes);
    return 0;
}

/* Cards that differ in their formats: the most that a layer takes on one of them. */
static int measure_layers(struct dividing *d, struct card *const *cards, struct error *err)
{
    uint32_t measured = 0; /* formats of the cards so far */
    for (unsigned c = 0; c < d->n_cards; c++) {
        struct card_info info;
        card_describe(cards[c], &info);
        if (c > 0 && info.weight_formats == measured) continue;
        measured = info.weight_formats;
        d->output_bytes = larger(d->output_bytes, division_output_bytes(d->model, &info));
        for (uint32_t i = 0; i < d->n_layers; i++) {
            int result = measure_layer(d, &info, i, &d->bytes[i], err);
            if (result < 0) return result;
        }
    }
    return 0;
}

/* By the clock that the card keeps; cards without one count as alike. */
static void measure_card(struct dividing *d, unsigned c, const struct card *card)
{
    struct card_info info;
    struct card_usage usage;
    card_describe(card, &info);
    for (unsigned b = 0; b < info.n_banks; b++) d->free_bytes[c] += info.bank[b].bytes_free;
    struct division_card *out = &d->cards[c];
    *out = (struct division_card){.read_bytes_per_s = 1, .copied_bytes_per_s = 1.0 / LINK_SHARE};
    if (card_measure(card, &usage, NULL) < 0) return;
    uint64_t read = 0;
    for (unsigned b = 0; b < info.n_banks; b++) read += usage.channel_bytes_per_s[b];
    if (read > 0) out->read_bytes_per_s = (double)read;
    if (usage.host_to_card_bytes_per_s > 0) out->copied_bytes_per_s = (double)usage.host_to_card_bytes_per_s;
}

/* ---- dividing ---- */

static uint32_t slots_of_each(const struct dividing *d)
{
    const uint32_t used = model_get_config(d->model)->n_experts_used;
    return d->options->expert_slots > used ? d->options->expert_slots : used;
}

/* The share of experts that a token will not find on the card, if all have an equal chance. */
static double missing_share(const struct dividing *d)
{
    double experts = 0, room = 0, slot = 0;
    for (uint32_t i = 0; i < d->n_layers; i++) {
        experts += (double)d->bytes[i].experts;
        room -= (double)d->bytes[i].other;
        slot = (double)d->bytes[i].slot > slot ? (double)d->bytes[i].slot : slot;
    }
    for (unsigned c = 0; c < d->n_cards; c++) room += (double)d->free_bytes[c];
    double held = room / 4 * 3;
    if (d->options->expert_slots > 0) held = slot * (double)d->options->expert_slots * d->n_cards;
    return held >= experts || experts <= 0 ? 0 : held <= 0 ? 1 : 1 - held / experts;
}

/* Fills in layers and what each card takes besides, with all experts on the cards or streaming. */
static void state_needs(struct dividing *d, bool streams)
{
    const struct model_config *config = model_get_config(d->model);
    const double missing = streams ? missing_share(d) : 0;
    uint64_t slot = 0;
    for (uint32_t i = 0; i < d->n_layers; i++) {
        const struct layer_bytes *bytes = &d->bytes[i];
        const uint64_t used = config->n_experts > 0 ? bytes->experts / config->n_experts * config->n_experts_used : 0;
        slot = larger(slot, bytes->slot);
        d->layers[i] = (struct division_layer){.bytes = bytes->other + (streams ? 0 : bytes->experts),
                                               .read_bytes = bytes->other + used,
                                               .copied_bytes = (uint64_t)((double)used * missing),
                                               .may_begin = model_may_cut(d->model, i)};
        if (i + 1 == d->n_layers)
            d->layers[i].read_bytes -= d->output_bytes < bytes->other ? d->output_bytes : bytes->other;
    }
    for (unsigned c = 0; c < DIVISION_CARDS; c++) d->cards[c].fixed_bytes = streams ? slot * slots_of_each(d) : 0;
}

/* With an eighth of each card for pages and steps, or if that does not do, with whatever is left. */
static int find_division(struct dividing *d, unsigned n_cards, uint32_t *ends, bool *fits, struct error *err)
{
    int result = 0;
    *fits = false;
    for (unsigned spare = 8; spare <= 64 && result == 0 && !*fits; spare *= 8) {
        for (unsigned c = 0; c < n_cards; c++) d->cards[c].bytes = d->free_bytes[c] - d->free_bytes[c] / spare;
        result = division_find(d->layers, d->n_layers, d->cards, n_cards, ends, fits, err);
    }
    return result;
}

/* With all experts on n_cards cards, if that is asked for or fits; else streaming. */
static int divide(struct dividing *d, unsigned n_cards, uint32_t *ends, bool *fits, struct error *err)
{
    const bool has_experts = model_get_config(d->model)->n_experts > 0;
    const bool may_stream = has_experts && !d->options->experts_resident;
    const bool must_stream = may_stream && d->options->expert_slots > 0;
    int result = 0;
    *fits = false;
    if (!must_stream) {
        state_needs(d, false);
        result = find_division(d, n_cards, ends, fits, err);
    }
    if (result < 0 || *fits || !may_stream) return result;
    state_needs(d, true);
    return find_division(d, n_cards, ends, fits, err);
}

/* How many cards, of which those beyond the last are like it, would do; 0: none of up to DIVISION_CARDS. */
static unsigned cards_that_do(struct dividing *d)
{
    uint32_t ends[DIVISION_CARDS];
    for (unsigned n = d->n_cards + 1; n <= DIVISION_CARDS && n <= d->n_layers; n++) {
        bool fits;
        d->cards[n - 1] = d->cards[d->n_cards - 1];
        d->free_bytes[n - 1] = d->free_bytes[d->n_cards - 1];
        if (divide(d, n, ends, &fits, NULL) == 0 && fits) return n;
    }
    return 0;
}

static int does_not_fit(struct dividing *d, struct error *err)
{
    uint64_t experts = 0, other = 0, room = 0, largest = 0;
    char do_what[120] = "cards with more memory, or a smaller model";
    for (uint32_t i = 0; i < d->n_layers; i++) {
        experts += d->bytes[i].experts;
        other += d->bytes[i].other;
        largest = larger(largest, d->layers[i].bytes);
    }
    for (unsigned c = 0; c < d->n_cards; c++) room += d->free_bytes[c];
    const unsigned enough = cards_that_do(d);
    if (enough > 0) (void)snprintf(do_what, sizeof do_what, "%u cards like the last one would do", enough);
    return error_set(
        err, ERROR_NO_MEMORY,
        "%s does not fit on %u cards: its experts take %.1f MiB of card memory, all other weights %.1f MiB, the "
        "largest layer %.1f MiB of what must be there, and %.1f MiB are free on all cards together (%s)",
        model_name(d->model), d->n_cards, MIB(experts), MIB(other), MIB(largest), MIB(room), do_what);
}

static int find_ends(struct dividing *d, struct card *const *cards, uint32_t *ends, struct error *err)
{
    bool fits;
    d->bytes = memory_array(d->n_layers, sizeof *d->bytes);
    d->layers = memory_array(d->n_layers, sizeof *d->layers);
    if (d->bytes == NULL || d->layers == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    int result = measure_layers(d, cards, err);
    for (unsigned c = 0; c < d->n_cards; c++) measure_card(d, c, cards[c]);
    if (result == 0) result = divide(d, d->n_cards, ends, &fits, err);
    return result < 0 || fits ? result : does_not_fit(d, err);
}

/* ---- loading ---- */

/* The parts' bytes one after the other as one load. */
struct parts_progress {
    model_progress progress;
    void *context;
    uint64_t before, part, total;
};

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    struct parts_progress *parts = context;
    parts->part = total;
    const uint64_t all = larger(parts->total, parts->before + total);
    return parts->progress(parts->context, parts->before + done, all);
}

/* What the options of all are for a part: with nothing to stream it has no slots. */
static int part_options(const struct model *part, const struct card *card, struct model_load_options *how,
                        struct error *err)
{
    struct experts_residency residency;
    const bool records = how->record_routing != NULL;
    how->record_routing = NULL; /* one recorder for all parts */
    int result = experts_measure(part, card, &residency, err);
    if (result < 0) return result;
    const uint32_t most = residency.n_layers * residency.n_experts;
    if (most == 0) how->expert_slots = 0;
    if (records && how->expert_slots == 0 && most > 0 && residency.fits) {
        const bool all = residency.streaming_bytes + most * residency.slot_bytes <= residency.free_bytes;
        how->expert_slots = all ? most : residency.n_slots;
    }
    return 0;
}

static int load_part(const struct model *model, struct card *card, uint32_t first, uint32_t end,
                     const struct model_load_options *options, struct loaded_model **out, struct error *err)
{
    struct model *part;
    struct model_load_options how = *options;
    int result = model_part_open(model, first, end, &part, err);
    if (result < 0) return result;
    result = part_options(part, card, &how, err);
    if (result == 0) result = experts_load(part, card, &how, out, err);
    if (result == 0)
        loaded_model_own_part(*out, part);
    else
        model_close(part);
    return result;
}

static int load_parts(const struct dividing *d, struct card *const *cards, const uint32_t *ends,
                      struct loaded_model **out, struct error *err)
{
    struct model_load_options how = *d->options;
    struct parts_progress parts = {how.progress, how.progress_context, 0, 0, model_weight_bytes(d->model)};
    if (how.progress != NULL) {
        how.progress = on_progress;
        how.progress_context = &parts;
    }
    for (unsigned c = 0; c < d->n_cards; c++) {
        struct loaded_model *part;
        int result = load_part(d->model, cards[c], c > 0 ? ends[c - 1] : 0, ends[c], &how, &part, err);
        if (result < 0) {
            char label[CARD_LABEL_BYTES];
            card_label(cards[c], c, d->n_cards, label);
            return error_prefix(err, "%s", label);
        }
        parts.before += parts.part;
        if (c == 0)
            *out = part;
        else
            loaded_model_join(*out, part);
    }
    return 0;
}

/* A step is recorded at once, so it is not taken apart. */
static int start_recording(struct loaded_model *loaded, const struct dividing *d, struct error *err)
{
    struct routing_recorder *recorder;
    if (d->options->record_routing == NULL) return 0;
    if (d->options->experts_resident || model_get_config(d->model)->n_experts == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s has no experts that stream, whose routing could be recorded",
                         model_name(d->model));
    int result = routing_recorder_open(d->options->record_routing, d->model, &recorder, err);
    if (result == 0) experts_record(loaded, recorder);
    if (result == 0) loaded_model_keep_whole(loaded);
    return result;
}

/* Cards over which the model can be divided. */
static uint32_t most_cards(const struct model *model)
{
    uint32_t n = 1;
    for (uint32_t i = 1; i < model_get_config(model)->n_layers; i++) n += model_may_cut(model, i);
    return n;
}

static int check_cards(const struct model *model, unsigned n_cards, const struct model_load_options *options,
                       struct error *err)
{
    const struct model_config *config = model_get_config(model);
    if (n_cards == 0) return error_set(err, ERROR_BAD_ARGUMENT, "%s: no card to load it on", model_name(model));
    if (n_cards > DIVISION_CARDS)
        return error_set(err, ERROR_BAD_ARGUMENT, "%u cards: a model runs on %u at most", n_cards, DIVISION_CARDS);
    if (n_cards > most_cards(model))
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "%s has %u layers, which cannot be divided over %u cards (%u cards at most)",
                         model_name(model), config->n_layers, n_cards, most_cards(model));
    if (options->expert_slots > 0 && config->n_experts == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s has no experts that could stream (--expert-slots)",
                         model_name(model));
    return 0;
}

int experts_load_cards(const struct model *model, struct card *const *cards, unsigned n_cards,
                       const struct model_load_options *options, struct loaded_model **out, struct error *err)
{
    const struct model_load_options defaults = {0};
    uint32_t ends[DIVISION_CARDS];
    if (n_cards == 1) return experts_load(model, cards[0], options, out, err);
    struct dividing d = {.model = model,
                         .options = options != NULL ? options : &defaults,
                         .n_layers = model_get_config(model)->n_layers,
                         .n_cards = n_cards};
    *out = NULL;
    int result = check_cards(model, n_cards, d.options, err);
    if (result == 0) result = find_ends(&d, cards, ends, err);
    if (result == 0) result = load_parts(&d, cards, ends, out, err);
    if (result == 0) result = start_recording(*out, &d, err);
    free(d.bytes);
    free(d.layers);
    if (result == 0) return 0;
    loaded_model_close(*out);
    *out = NULL;
    return result;
}

void experts_describe_part(const struct loaded_model *part, char line[EXPERTS_PART_BYTES])
{
    uint32_t first, end;
    model_part_layers(loaded_model_source(part), &first, &end);
    (void)snprintf(line, EXPERTS_PART_BYTES, "layers %u to %u of %u, %.1f MiB of weights%s", first, end - 1,
                   model_get_config(loaded_model_source(part))->n_layers, MIB(loaded_model_card_bytes(part)),
                   loaded_model_expert_slots(part) > 0 ? " and slots" : "");
}
