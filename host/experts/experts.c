/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/experts.h"

#include "host/experts/routing_recorder.h"
#include "host/experts/stream.h"
#include "host/model/expert_pool.h"

#include <stdio.h>
#include <string.h>

#define MIB(bytes) ((double)(bytes) / (1 << 20))

/* Slots of these needs that the rule gives; the other weights are spread over the banks. */
static uint32_t count_slots(const struct card_info *info, const struct expert_pool_needs *needs, uint64_t most)
{
    uint64_t n = 0, fewest = UINT64_MAX, each = needs->other_bytes / info->n_banks;
    for (unsigned b = 0; b < info->n_banks; b++) {
        const uint64_t room = info->bank[b].bytes_free > each ? (info->bank[b].bytes_free - each) / 4 * 3 : 0;
        const uint64_t in_bank = room / (needs->slot_bytes / needs->n_pieces);
        n += in_bank;
        if (in_bank < fewest) fewest = in_bank;
    }
    if (needs->n_pieces > 1) n = fewest * (info->n_banks / needs->n_pieces); /* a piece in each bank of its part */
    return (uint32_t)(n < most ? n : most);
}

/* How slots are dealt depends on how many there are: of as many as would be if they were not. */
static int measure_slots(const struct model *model, const struct card_info *info, struct experts_residency *residency,
                         struct error *err)
{
    const uint64_t most = (uint64_t)residency->n_layers * residency->n_experts;
    struct expert_pool_needs needs;
    if (most == 0) return 0; /* no experts, or a part of a model whose layers have none */
    int result = expert_pool_measure(model, info, 0, UINT64_MAX, &needs, err);
    if (result == 0) result = expert_pool_measure(model, info, count_slots(info, &needs, most), 0, &needs, err);
    if (result < 0) return result;
    residency->slot_bytes = needs.slot_bytes;
    residency->streaming_bytes = needs.other_bytes;
    residency->n_slots = count_slots(info, &needs, most);
    return 0;
}

static uint32_t layers_with_experts(const struct model_config *config)
{
    uint32_t n = 0;
    for (uint32_t i = 0; config->n_experts > 0 && i < config->n_layers; i++) n += config->layers[i].has_experts;
    return n;
}

int experts_measure(const struct model *model, const struct card *card, struct experts_residency *residency,
                    struct error *err)
{
    const struct model_config *config = model_get_config(model);
    struct card_info info;
    card_describe(card, &info);
    struct model_card_needs needs;
    int result = model_card_needs(model, &info, &needs, err);
    if (result < 0) return result;
    *residency = (struct experts_residency){
        .n_layers = layers_with_experts(config),
        .n_experts = config->n_experts,
        .expert_bytes = needs.expert_bytes,
        .other_bytes = needs.other_bytes,
    };
    for (unsigned b = 0; b < info.n_banks; b++) residency->free_bytes += info.bank[b].bytes_free;
    result = measure_slots(model, &info, residency, err);
    if (result < 0) return result;
    if (needs.other_bytes > residency->free_bytes) return 0;
    uint64_t room = residency->free_bytes - needs.other_bytes;
    residency->fits = needs.expert_bytes <= room;
    /* Experts of one layer share a size and layers may differ, so the same number of each takes its share of the sum. */
    residency->n_resident = residency->fits
                                ? config->n_experts
                                : (uint32_t)((double)room / (double)needs.expert_bytes * (double)config->n_experts);
    return 0;
}

static int does_not_fit(const struct model *model, const struct experts_residency *r, struct error *err)
{
    if (r->n_experts == 0 || r->n_layers == 0)
        return error_set(
            err, ERROR_NO_MEMORY,
            "%s does not fit: its weights take %.1f MiB of card memory and %.1f MiB are free (give the card "
            "more memory, or take a smaller model)",
            model_name(model), MIB(r->other_bytes), MIB(r->free_bytes));
    return error_set(err, ERROR_NO_MEMORY,
                     "%s does not fit: %u experts in each of %u layers take %.1f MiB of card memory, all other weights "
                     "%.1f MiB, and %.1f MiB are free, room for %u of %u experts (give the card more memory, or take a "
                     "smaller model)",
                     model_name(model), r->n_experts, r->n_layers, MIB(r->expert_bytes), MIB(r->other_bytes),
                     MIB(r->free_bytes), r->n_resident, r->n_experts);
}

/* The slots through which experts stream; 0: each has its own. An error if neither works. */
static int choose_slots(const struct model *model, const struct model_load_options *options,
                        const struct experts_residency *residency, uint32_t *n_slots, struct error *err)
{
    const uint64_t most = (uint64_t)residency->n_layers * residency->n_experts;
    if (options != NULL && options->record_routing != NULL && (most == 0 || options->experts_resident))
        return error_set(err, ERROR_BAD_ARGUMENT, "%s has no experts that stream, whose routing could be recorded",
                         model_name(model));
    *n_slots = options != NULL && !options->experts_resident ? options->expert_slots : 0;
    if (*n_slots > 0 && most == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s has no experts that could stream (--expert-slots)",
                         model_name(model));
    if (*n_slots > most) *n_slots = (uint32_t)most;
    if (*n_slots == 0 && residency->fits) {
        /* The card tells of its choices where experts stream: they all come once, and stay. */
        if (options != NULL && options->record_routing != NULL) *n_slots = (uint32_t)most;
        if (residency->streaming_bytes + *n_slots * residency->slot_bytes > residency->free_bytes)
            *n_slots = residency->n_slots;
        return 0;
    }
    const uint64_t asked = residency->streaming_bytes + *n_slots * residency->slot_bytes;
    if (*n_slots > 0 && asked > residency->free_bytes)
        return error_set(
            err, ERROR_NO_MEMORY,
            "%s: %u expert slots of %.1f MiB and %.1f MiB of other weights do not fit in the %.1f MiB that "
            "are free (--expert-slots %u fits)",
            model_name(model), *n_slots, MIB(residency->slot_bytes), MIB(residency->streaming_bytes),
            MIB(residency->free_bytes), residency->n_slots);
    if (*n_slots > 0) return 0;
    if (options != NULL && options->experts_resident) return does_not_fit(model, residency, err);
    *n_slots = residency->n_slots;
    return *n_slots >= model_get_config(model)->n_experts_used && most > 0 ? 0 : does_not_fit(model, residency, err);
}

void experts_record(struct loaded_model *loaded, struct routing_recorder *recorder)
{
    for (bool owns = true; loaded != NULL; loaded = loaded_model_next(loaded)) {
        struct expert_stream *stream = loaded_model_attached(loaded);
        if (stream == NULL) continue;
        expert_stream_record(stream, recorder, owns);
        owns = false;
    }
}

static int start_recording(struct loaded_model *loaded, const char *path, struct error *err)
{
    struct routing_recorder *recorder;
    if (path == NULL) return 0;
    int result = routing_recorder_open(path, loaded_model_source(loaded), &recorder, err);
    if (result == 0) experts_record(loaded, recorder);
    return result;
}

static const char *const guess_names[] = {
    [EXPERTS_GUESS_ROUTER] = "router", [EXPERTS_GUESS_TABLE] = "table", [EXPERTS_GUESSES] = NULL};

const char *experts_guess_name(unsigned source) { return source < EXPERTS_GUESSES ? guess_names[source] : NULL; }

bool experts_guess_known(const char *name)
{
    bool known = strcmp(name, "none") == 0 || strcmp(name, "both") == 0;
    for (unsigned s = 0; s < EXPERTS_GUESSES; s++) known |= strcmp(name, guess_names[s]) == 0;
    return known;
}

int experts_load(const struct model *model, struct card *card, const struct model_load_options *options,
                 struct loaded_model **out, struct error *err)
{
    struct experts_residency residency;
    struct model_load_options how = options != NULL ? *options : (struct model_load_options){0};
    int result = experts_measure(model, card, &residency, err);
    if (result == 0) result = choose_slots(model, options, &residency, &how.expert_slots, err);
    if (how.expert_guess != NULL && !experts_guess_known(how.expert_guess) && result == 0)
        result = error_set(err, ERROR_BAD_ARGUMENT, "%s: no way to guess experts (none, router, table, both)",
                           how.expert_guess);
    if (how.expert_guess == NULL) how.expert_guess = card_computes(card) ? guess_names[EXPERTS_GUESS_ROUTER] : "none";
    how.plans_guesses = strcmp(how.expert_guess, "none") != 0;
    if (result == 0) result = model_load(model, card, &how, out, err);
    if (result < 0 || how.expert_slots == 0) return result;
    result = expert_stream_open(*out, &how, err);
    if (result == 0) result = start_recording(*out, how.record_routing, err);
    if (result == 0) return 0;
    loaded_model_close(*out);
    *out = NULL;
    return error_prefix(err, "%s", model_name(model));
}

bool experts_describe(const struct loaded_model *loaded, char line[EXPERTS_LINE_BYTES])
{
    struct expert_pool_shape shape;
    struct card_info info;
    if (loaded_model_pool(loaded) == NULL) return false;
    expert_pool_get_shape(loaded_model_pool(loaded), &shape);
    card_describe(loaded_model_card(loaded), &info);
    uint64_t all = 0, left = 0;
    for (unsigned b = 0; b < info.n_banks; b++) {
        all += info.bank[b].bytes;
        left += info.bank[b].bytes_free;
    }
    const uint32_t n_layers = layers_with_experts(model_get_config(loaded_model_source(loaded)));
    char dealt[48] = "in one bank each";
    if (shape.n_pieces > 1)
        (void)snprintf(dealt, sizeof dealt, "dealt over %s%u banks", shape.n_pieces < info.n_banks ? "" : "all ",
                       shape.n_pieces);
    const uint64_t weights = loaded_model_card_bytes(loaded), slots = shape.n_slots * shape.slot_bytes;
    (void)snprintf(
        line, EXPERTS_LINE_BYTES,
        "experts stream: %u slots of %.1f MiB, %s, for %u experts in each of %u layers (%.0f %%); card memory of "
        "%.1f MiB: %.1f slots, %.1f other weights, %.1f pages and steps, %.1f free",
        shape.n_slots, MIB(shape.slot_bytes), dealt, shape.n_experts, n_layers,
        100.0 * shape.n_slots / ((double)shape.n_experts * n_layers), MIB(all), MIB(slots), MIB(weights - slots),
        MIB(all - left - weights), MIB(left));
    return true;
}

bool experts_count(const struct loaded_model *loaded, uint32_t layer, struct experts_traffic *traffic)
{
    *traffic = (struct experts_traffic){0};
    for (bool streams = false;; loaded = loaded_model_next(loaded)) {
        if (loaded == NULL) return streams;
        uint32_t first, end;
        model_part_layers(loaded_model_source(loaded), &first, &end);
        struct expert_stream *stream = loaded_model_attached(loaded);
        if (stream != NULL && layer >= first && layer < end) expert_stream_count(stream, layer, traffic);
        streams |= stream != NULL;
    }
}

bool experts_count_all(const struct loaded_model *loaded, struct experts_traffic *traffic)
{
    const uint32_t n_layers = model_get_config(loaded_model_source(loaded))->n_layers;
    bool streams = false;
    *traffic = (struct experts_traffic){0};
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        struct experts_traffic of_layer;
        streams = experts_count(loaded, layer, &of_layer);
        traffic->hits += of_layer.hits;
        traffic->misses += of_layer.misses;
        traffic->ahead += of_layer.ahead;
        traffic->ahead_used += of_layer.ahead_used;
        traffic->bytes += of_layer.bytes;
        traffic->used_bytes += of_layer.used_bytes;
        traffic->wasted_bytes += of_layer.wasted_bytes;
        traffic->stall_ps += of_layer.stall_ps;
    }
    return streams;
}

bool experts_count_guesses(const struct loaded_model *loaded, enum experts_guess source,
                           struct experts_guessed *guessed)
{
    bool guesses = false;
    *guessed = (struct experts_guessed){0};
    for (; loaded != NULL; loaded = loaded_model_next(loaded)) {
        struct expert_stream *stream = loaded_model_attached(loaded);
        struct experts_guessed part = {0};
        if (stream == NULL || !expert_stream_count_guesses(stream, source, &part)) continue;
        guesses = true;
        guessed->right += part.right;
        guessed->wrong += part.wrong;
        guessed->sent += part.sent;
        guessed->wasted += part.wasted;
        guessed->wasted_bytes += part.wasted_bytes;
        guessed->switched += part.switched;
    }
    return guesses;
}

void experts_settle(struct loaded_model *loaded)
{
    for (; loaded != NULL; loaded = loaded_model_next(loaded)) {
        struct expert_stream *stream = loaded_model_attached(loaded);
        if (stream != NULL) expert_stream_settle(stream);
    }
}

/* All parts whose experts stream have the same one, or none has one. */
static struct routing_recorder *recorder_of(const struct loaded_model *loaded)
{
    for (; loaded != NULL; loaded = loaded_model_next(loaded)) {
        struct expert_stream *stream = loaded_model_attached(loaded);
        if (stream != NULL) return expert_stream_recorder(stream);
    }
    return NULL;
}

void experts_begin_step(struct loaded_model *loaded, const struct step *step)
{
    if (recorder_of(loaded) != NULL) routing_recorder_begin(recorder_of(loaded), step);
}

void experts_end_step(struct loaded_model *loaded)
{
    if (recorder_of(loaded) != NULL) routing_recorder_end(recorder_of(loaded));
}

int experts_end_recording(struct loaded_model *loaded, struct error *err)
{
    struct routing_recorder *recorder = recorder_of(loaded);
    if (recorder == NULL) return 0;
    experts_record(loaded, NULL);
    return routing_recorder_close(recorder, err);
}

void experts_measure_times(const struct loaded_model *loaded, struct experts_times *times)
{
    *times = (struct experts_times){0};
    for (; loaded != NULL; loaded = loaded_model_next(loaded)) {
        struct expert_stream *stream = loaded_model_attached(loaded);
        struct copier_times of_copier = {0};
        if (stream != NULL) expert_stream_measure(stream, &of_copier);
        times->waited_ns += of_copier.waited_ns;
        times->copied_ns += of_copier.copied_ns;
    }
}
