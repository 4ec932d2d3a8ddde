/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan.h"

#include "host/base/memory.h"
#include "host/card/card.h"
#include "host/plan/plan_format.h"
#include "host/plan/plan_make.h"
#include "host/plan/plan_number.h"

#include <stdio.h>
#include <string.h>

#define CHUNK 256u /* as the engine's default */
#define DEFAULT_DEPTH 1024u
#define MOST_DECODED 32u

const char *plan_experts_name(enum plan_experts experts)
{
    static const char *const names[] = {"auto", "resident", "host", "nvme"};
    return (unsigned)experts < sizeof names / sizeof names[0] ? names[experts] : "unknown";
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* What is asked for, checked, with its defaults. */
static int settle(const struct plan_request *request, struct plan_request *out, struct error *err)
{
    uint32_t longest = least(request->architecture->max_context, CARD_MAX_POSITIONS);
    *out = *request;
    if (request->cards < 1 || request->cards > PLAN_MAX_CARDS)
        return error_set(err, ERROR_BAD_ARGUMENT, "%u cards: a plan is for 1 to %u", request->cards, PLAN_MAX_CARDS);
    if (request->batch < 1 || request->batch > PLAN_MAX_BATCH)
        return error_set(err, ERROR_BAD_ARGUMENT, "a batch of %u: a plan is for 1 to %u sequences", request->batch,
                         PLAN_MAX_BATCH);
    if (request->context > longest)
        return error_set(err, ERROR_BAD_ARGUMENT, "a context of %u tokens was asked for, the model has %u (--ctx)",
                         request->context, longest);
    if (out->context == 0) out->context = least(PLAN_DEFAULT_CONTEXT, longest);
    if (out->depth >= out->context)
        return error_set(err, ERROR_BAD_ARGUMENT, "--depth %u leaves no room for a token in a context of %u",
                         request->depth, out->context);
    if (out->depth == 0) out->depth = least(DEFAULT_DEPTH, out->context - 1);
    if (out->prompt == 0) out->prompt = PLAN_DEFAULT_PROMPT;
    if (out->prompt > CARD_MAX_POSITIONS)
        return error_set(err, ERROR_BAD_ARGUMENT, "a prompt of %u tokens: a card counts to %u (--prompt)", out->prompt,
                         CARD_MAX_POSITIONS);
    return 0;
}

static int copy_architecture(const struct plan_request *request, struct plan_setting *out, struct error *err)
{
    const struct architecture *from = request->architecture;
    out->architecture = *from;
    out->layers = memory_array(from->n_layers, sizeof *out->layers);
    if (!out->layers) return error_set(err, ERROR_NO_MEMORY, "no host memory for a plan of %u layers", from->n_layers);
    memcpy(out->layers, from->layers, from->n_layers * sizeof *out->layers);
    out->architecture.layers = out->layers;
    unsigned f = request->weight_format;
    if (f != 0) architecture_set_formats(&out->architecture, &(struct architecture_formats){f, f, f, f});
    return 0;
}

int plan_setting_open(const struct plan_request *request, struct plan_setting *out, struct error *err)
{
    *out = (struct plan_setting){0};
    int status = settle(request, &out->request, err);
    if (status == 0) status = copy_architecture(request, out, err);
    if (status == 0) status = plan_read_profiles(request->card, request->host, &out->places, err);
    if (status < 0) {
        plan_setting_close(out);
        return status;
    }
    out->request.architecture = &out->architecture;
    uint32_t sequences = most(MOST_DECODED, out->request.batch);
    out->speed = (struct plan_speed){
        .options = {.architecture = &out->architecture,
                    .card = request->card,
                    .host = request->host,
                    .kv_format = request->kv_format,
                    .max_tokens = CHUNK + sequences,
                    .max_sequences = sequences,
                    .max_context = most(most(out->request.prompt, PLAN_LONG_PROMPT), out->request.depth) + 8},
        .memory = out->places.memory,
        .cards = request->cards,
        .chunk = CHUNK,
        .eur_per_kwh = request->eur_per_kwh < 0 ? out->places.eur_per_kwh : request->eur_per_kwh,
    };
    return 0;
}

void plan_setting_close(struct plan_setting *setting)
{
    plan_speed_close(&setting->speed);
    free(setting->layers);
    *setting = (struct plan_setting){0};
}

int plan_setting_layout(const struct plan_setting *setting, uint32_t batch, uint32_t context,
                        struct memory_layout *layout, struct error *err)
{
    const struct memory_demand demand = {
        .architecture = &setting->architecture,
        .card = setting->places.memory,
        .host_bytes = setting->places.host_bytes,
        .nvme_bytes = setting->places.nvme_bytes,
        .cards = setting->request.cards,
        .context = context,
        .batch = batch,
        .chunk = CHUNK,
        .kv_format = setting->request.kv_format,
        .experts = setting->request.experts,
    };
    return memory_plan(&demand, layout, err);
}

/* The clocks of a layout charge NVMe if its experts lie there; those of other layouts are closed. */
static void serve_from(struct plan_setting *setting, const struct memory_layout *layout)
{
    struct plan_speed *speed = &setting->speed;
    uint64_t rate = layout->memory.experts == PLAN_EXPERTS_NVME ? setting->places.nvme_bytes_per_s : 0;
    if (speed->options.nvme_bytes_per_s == rate) return;
    for (uint32_t i = 0; i < speed->n_stages; i++) plan_clock_close(speed->stages[i].clock);
    speed->n_stages = 0;
    speed->options.nvme_bytes_per_s = rate;
}

int plan_setting_decode(struct plan_setting *setting, struct plan_decode *out, struct error *err)
{
    struct memory_layout layout;
    int status = plan_setting_layout(setting, out->batch, setting->request.context, &layout, err);
    if (status < 0) return status;
    out->fits = layout.memory.fits;
    out->experts = layout.memory.experts;
    serve_from(setting, &layout);
    if (out->fits) status = plan_speed_decode(&setting->speed, &layout, setting->request.depth, out, err);
    memory_plan_close(&layout);
    return status;
}

int plan_setting_prefill(struct plan_setting *setting, struct plan_prefill *out, struct error *err)
{
    struct memory_layout layout;
    uint32_t longest = setting->architecture.max_context;
    if (out->prompt > longest) {
        snprintf(out->why_not, sizeof out->why_not, "longer than the model's context of %s tokens",
                 number_whole(longest).text);
        return 0;
    }
    uint32_t context = most(setting->request.context, least(out->prompt + 1, longest));
    int status = plan_setting_layout(setting, 1, context, &layout, err);
    if (status < 0) return status;
    out->fits = layout.memory.fits;
    serve_from(setting, &layout);
    if (out->fits)
        status = plan_speed_prefill(&setting->speed, &layout, false, out, err);
    else
        snprintf(out->why_not, sizeof out->why_not, "no room for the KV pages of so many tokens");
    memory_plan_close(&layout);
    return status;
}

/* "MXFP4", or "MXFP4 and INT8": the formats of the matrices, each once. */
static void name_formats(const struct architecture *architecture, char *text, size_t size)
{
    uint32_t seen = 1u << architecture->output_format;
    for (uint32_t i = 0; i < architecture->n_layers; i++) {
        const struct architecture_layer *layer = &architecture->layers[i];
        for (unsigned r = 0; r < WEIGHT_ROLES; r++)
            if (layer->formats[r] < CARD_FORMAT_END) seen |= 1u << layer->formats[r];
    }
    size_t used = 0;
    text[0] = '\0';
    for (unsigned f = 1; f < CARD_FORMAT_END && used < size; f++) {
        if ((seen >> f & 1u) == 0) continue;
        int n = snprintf(text + used, size - used, "%s%s", used > 0 ? " + " : "", plan_format_name(f));
        used += n > 0 ? (size_t)n : 0;
    }
}

static void describe(const struct plan_setting *setting, const struct memory_layout *layout, struct plan *out)
{
    const struct architecture *architecture = &setting->architecture;
    const struct plan_request *request = &setting->request;
    struct architecture_parameters parameters;
    architecture_count(architecture, &parameters);
    plan_copy_text(out->model, sizeof out->model, architecture->name);
    plan_copy_text(out->model_source, sizeof out->model_source, architecture->source);
    plan_copy_text(out->card, sizeof out->card, setting->places.card);
    plan_copy_text(out->host, sizeof out->host, setting->places.host);
    plan_copy_text(out->card_title, sizeof out->card_title, setting->places.card_title);
    plan_copy_text(out->host_title, sizeof out->host_title, setting->places.host_title);
    name_formats(architecture, out->weight_format, sizeof out->weight_format);
    snprintf(out->kv_format, sizeof out->kv_format, "%s", plan_format_name(request->kv_format));
    out->cards = request->cards;
    out->context = request->context;
    out->batch = request->batch;
    out->depth = request->depth;
    out->chunk = CHUNK;
    out->parameters = parameters.total;
    out->active_parameters = parameters.active;
    out->eur_per_kwh = setting->speed.eur_per_kwh;
    out->peak_bytes_per_s = setting->places.peak_bytes_per_s;
    out->memory = layout->memory;
    for (uint32_t i = 0; i < architecture->n_layers; i++)
        out->has_experts = out->has_experts || architecture->layers[i].ffn.experts > 0;
    out->weight_bytes = layout->weight_bytes;
}

/* How many sequences of the context have room while the experts stay where they are. */
static int count_sequences(const struct plan_setting *setting, struct plan_memory *memory, struct error *err)
{
    struct plan_setting with = *setting;
    uint32_t low = setting->request.batch, high = PLAN_MAX_BATCH + 1; /* low fits, high does not */
    with.request.experts = memory->experts;
    while (memory->fits && high - low > 1) {
        struct memory_layout layout;
        uint32_t middle = low + (high - low) / 2;
        int status = plan_setting_layout(&with, middle, setting->request.context, &layout, err);
        if (status < 0) return status;
        *(layout.memory.fits ? &low : &high) = middle;
        memory_plan_close(&layout);
    }
    memory->max_sequences = memory->fits ? low : 0;
    return 0;
}

static int time_all(struct plan_setting *setting, struct plan *out, struct error *err)
{
    const uint32_t batches[PLAN_BATCHES] = {1, 8, 32, setting->request.batch};
    int status = 0;
    for (unsigned i = 0; i < PLAN_BATCHES && status == 0; i++) {
        unsigned same = 0;
        while (same < out->n_decode && out->decode[same].batch != batches[i]) same++;
        if (batches[i] == setting->request.batch) out->asked = same;
        if (same < out->n_decode) continue;
        out->decode[out->n_decode] = (struct plan_decode){.batch = batches[i]};
        status = plan_setting_decode(setting, &out->decode[out->n_decode++], err);
    }
    const uint32_t prompts[PLAN_PROMPTS] = {setting->request.prompt,
                                            setting->request.prompt == PLAN_LONG_PROMPT ? 0 : PLAN_LONG_PROMPT};
    for (unsigned i = 0; i < PLAN_PROMPTS && status == 0; i++) {
        out->prefill[i].prompt = prompts[i];
        if (prompts[i] > 0) status = plan_setting_prefill(setting, &out->prefill[i], err);
    }
    return status;
}

int plan_make(const struct plan_request *request, struct plan *out, struct error *err)
{
    struct plan_setting setting;
    struct memory_layout layout = {0};
    *out = (struct plan){0};
    int status = plan_setting_open(request, &setting, err);
    if (status < 0) return status;
    status = plan_setting_layout(&setting, setting.request.batch, setting.request.context, &layout, err);
    if (status == 0) describe(&setting, &layout, out);
    if (status == 0) status = count_sequences(&setting, &out->memory, err);
    if (status == 0) status = plan_list_sources(request->card, request->host, out, err);
    if (status == 0 && out->memory.fits) status = time_all(&setting, out, err);
    if (status == 0 && out->memory.fits && !request->no_changes) status = plan_find_changes(&setting, out, err);
    if (status == 0 && !out->memory.fits) status = plan_find_cards(&setting, out->smallest, sizeof out->smallest, err);
    memory_plan_close(&layout);
    plan_setting_close(&setting);
    return status;
}
