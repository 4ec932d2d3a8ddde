/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drafts of a second model. It has step memory and KV pages of its own, and computes in rounds: the first brings its pages
 * up to the sequence's last token and picks the draft's first, each further round feeds what the one before picked.
 * At most a chunk of tokens is brought up at once, so that a long prompt, which this model has not seen, does not stop
 * the sequences that decode: until it is through, its sequence has no drafts.
 */
#include "host/engine/draft.h"

#include "host/base/memory.h"
#include "host/engine/engine.h"
#include "host/engine/engine_clock.h"
#include "host/engine/pages.h"

#define MOST_FAILURES 3u /* failed steps in a row after which there are no drafts any more */

struct slot {
    struct page_table table; /* nothing reserved: the sequence has no drafts, or has not asked for one */
    uint32_t n_computed;     /* tokens of the sequence whose keys and values are in the pages */
};

struct draft_model {
    struct draft_source source;
    struct loaded_model *loaded;
    struct step_memory *memory;
    struct page_pool pool;
    struct sampler *sampler;
    struct engine_clock clock; /* of its card */
    uint32_t n_vocab, context, chunk;
    struct slot *slots; /* [n_slots] */
    uint32_t n_slots, n_failures;

    /* One step's arrays. */
    uint32_t *words; /* what the pointers below and the tables of the slots point to */
    uint32_t *tokens, *page_numbers, *logit_rows;
    uint32_t *wanted; /* [n_slots]: tokens of each draft, 0 once it can have no more */
    struct card_batch_token *batch;
    float *logits; /* float32[n_slots][n_vocab] */
};

static struct draft_model *model_of(const struct draft_source *source)
{
    return (struct draft_model *)(uintptr_t)source;
}

static const struct model_config *config_of(const struct draft_model *model)
{
    return model_get_config(loaded_model_source(model->loaded));
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t pages_for(uint32_t tokens) { return (tokens + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS; }

static unsigned kv_format(const struct draft_model *model)
{
    struct card_info info;
    card_describe(loaded_model_card(model->loaded), &info);
    return info.kv_default;
}

static uint32_t context_for(const struct draft_model *model, const struct draft_limits *limits)
{
    return least(limits->context, least(config_of(model)->context_length, CARD_MAX_POSITIONS));
}

/* Every slot at full length has pages; the tables of one step may name them all. */
static struct step_limits step_limits_for(const struct draft_model *model, const struct draft_limits *limits)
{
    const uint64_t pages = (uint64_t)limits->max_sequences * pages_for(context_for(model, limits));
    const uint32_t n_pages = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
    return (struct step_limits){
        .max_tokens = least(CARD_MAX_TOKENS, limits->chunk + limits->max_sequences),
        .max_logit_rows = limits->max_sequences,
        .n_pages = n_pages,
        .max_pages_in_tables = n_pages,
        .kv_format = kv_format(model),
    };
}

static void measure(const struct draft_source *source, const struct card *card, const struct draft_limits *limits,
                    struct draft_needs *needs)
{
    const struct draft_model *model = model_of(source);
    const struct model *file = loaded_model_source(model->loaded);
    if (loaded_model_card(model->loaded) != card) return;
    const struct step_limits step = step_limits_for(model, limits);
    needs->page_bytes = model_page_bytes(file, step.kv_format);
    struct card_info info;
    card_describe(card, &info);
    needs->other_bytes = model_step_bytes(file, &info, &step);
}

/* Fewer pages than all slots want will do: a sequence that gets none has no drafts. */
static int open_memory(struct draft_model *model, struct step_limits *step, struct error *err)
{
    const uint32_t fewest = step->n_pages / model->n_slots;
    for (;;) {
        const int status = step_memory_open(model->loaded, step, &model->memory, err);
        if (status == 0) return page_pool_open(&model->pool, step->n_pages, err);
        if (status != ERROR_NO_MEMORY || step->n_pages == fewest) return error_prefix(err, "the draft model");
        const uint32_t fewer = step->n_pages - (step->n_pages + 7) / 8;
        step->n_pages = fewer < fewest ? fewest : fewer;
    }
}

static int allocate(struct draft_model *model, const struct step_limits *step, struct error *err)
{
    const size_t table = pages_for(model->context);
    const size_t n_words = (size_t)step->max_tokens + step->max_pages_in_tables + 2 * (size_t)model->n_slots;
    model->slots = memory_array(model->n_slots, sizeof *model->slots);
    model->words = memory_array(n_words + table * model->n_slots, sizeof *model->words);
    model->batch = memory_array(step->max_tokens, sizeof *model->batch);
    model->logits = memory_array(model->n_slots, model->n_vocab * sizeof *model->logits);
    if (!model->slots || !model->words || !model->batch || !model->logits)
        return error_set(err, ERROR_NO_MEMORY, "no host memory for drafts of %u sequences", model->n_slots);
    model->tokens = model->words;
    model->page_numbers = model->tokens + step->max_tokens;
    model->logit_rows = model->page_numbers + step->max_pages_in_tables;
    model->wanted = model->logit_rows + model->n_slots;
    for (uint32_t i = 0; i < model->n_slots; i++) model->slots[i].table.pages = model->words + n_words + i * table;
    return 0;
}

static int prepare(struct draft_source *source, const struct draft_limits *limits, struct error *err)
{
    struct draft_model *model = model_of(source);
    struct step_limits step = step_limits_for(model, limits);
    engine_clock_open(&model->clock, loaded_model_card(model->loaded));
    model->n_slots = limits->max_sequences;
    model->n_vocab = config_of(model)->n_vocab;
    model->context = context_for(model, limits);
    model->chunk = step.max_tokens - least(step.max_tokens, model->n_slots);
    int status = open_memory(model, &step, err);
    if (status == 0) status = sampler_open(model->n_vocab, &model->sampler, err);
    return status < 0 ? status : allocate(model, &step, err);
}

static void leave(struct draft_source *source, uint32_t slot)
{
    struct draft_model *model = model_of(source);
    pages_release(&model->pool, &model->slots[slot].table);
    model->slots[slot].n_computed = 0;
}

static bool look(struct draft_source *source, struct draft *draft)
{
    struct draft_model *model = model_of(source);
    struct slot *slot = &model->slots[draft->slot];
    draft->grade = 0;
    if (model->n_failures >= MOST_FAILURES || draft->n_known >= model->context) return false;
    if (slot->table.n_reserved > 0) {
        pages_remember(&model->pool, &slot->table, draft->tokens, slot->n_computed);
        return true;
    }
    const uint32_t n_pages = pages_for(least(draft->n_longest, model->context));
    if (!pages_reserve(&model->pool, &slot->table, n_pages, draft->tokens, draft->n_known - 1)) return false;
    slot->n_computed = slot->table.n_pages * CARD_PAGE_TOKENS;
    return true;
}

/* Adds tokens [n_computed, end) of a draft's sequence to the step, and with_logits a row for the last. */
static void add_tokens(struct draft_model *model, const struct draft *draft, uint32_t end, bool with_logits,
                       struct step *step)
{
    struct slot *slot = &model->slots[draft->slot];
    pages_take(&model->pool, &slot->table, pages_for(end));
    for (uint32_t position = slot->n_computed; position < end; position++, step->n_tokens++) {
        model->tokens[step->n_tokens] = draft->tokens[position];
        model->batch[step->n_tokens] = (struct card_batch_token){
            .position = position, .first_page = step->n_pages, .visible = position + 1, .state = draft->slot};
    }
    for (uint32_t i = 0; i < slot->table.n_pages; i++) model->page_numbers[step->n_pages + i] = slot->table.pages[i];
    step->n_pages += slot->table.n_pages;
    slot->n_computed = end;
    if (with_logits) model->logit_rows[step->n_logit_rows++] = step->n_tokens - 1;
}

/* What the pages hold is lost. */
static void forget_all(struct draft_model *model)
{
    for (uint32_t i = 0; i < model->n_slots; i++) leave(&model->source, i);
    pages_forget_all(&model->pool);
}

static bool run(struct draft_model *model, const struct step *step)
{
    struct error err = {0};
    if (model_step(model->loaded, model->memory, step, model->logits, &err) == 0) {
        model->n_failures = 0;
        return true;
    }
    model->n_failures++;
    return false;
}

/* Whether a token may be fed: the other model's vocabulary may have a longer tail. */
static bool all_known(const struct draft_model *model, const struct draft *draft, uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++)
        if (draft->tokens[i] >= model->n_vocab) return false;
    return true;
}

/* One round: draft i gets its token number n; those that are not ready for it get no more. False if the card failed. */
static bool draft_round(struct draft_model *model, struct draft *drafts, uint32_t n_drafts, uint32_t *room)
{
    struct step step = {
        .tokens = model->tokens, .batch = model->batch, .pages = model->page_numbers, .logit_rows = model->logit_rows};
    for (uint32_t i = 0; i < n_drafts; i++) {
        struct draft *draft = &drafts[i];
        const uint32_t from = model->slots[draft->slot].n_computed, known = draft->n_known + draft->n;
        if (draft->n >= model->wanted[i]) continue;
        const uint32_t end = from + least(known - from, 1 + *room);
        if (known > model->context || !all_known(model, draft, from, end)) {
            model->wanted[i] = 0;
            continue;
        }
        *room -= end - from - 1;
        add_tokens(model, draft, end, end == known, &step);
        if (end < known) model->wanted[i] = 0;
    }
    if (step.n_tokens == 0) return true;
    if (!run(model, &step)) return false;
    uint32_t row = 0;
    for (uint32_t i = 0; i < n_drafts; i++) {
        struct draft *draft = &drafts[i];
        if (draft->n >= model->wanted[i]) continue;
        const uint32_t position = draft->n_known + draft->n++;
        draft->tokens[position] =
            sampler_pick(model->sampler, draft->sampling, position, model->logits + (size_t)row++ * model->n_vocab);
    }
    return true;
}

static double least_seconds(double a, double b) { return a < b ? a : b; }

static void propose(struct draft_source *source, struct draft *drafts, uint32_t n_drafts)
{
    struct draft_model *model = model_of(source);
    uint32_t n_rounds = 0, room = model->chunk;
    for (uint32_t i = 0; i < n_drafts; i++) {
        model->wanted[i] = drafts[i].n;
        if (drafts[i].n > n_rounds) n_rounds = drafts[i].n;
        drafts[i].n = 0;
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        const uint64_t start = engine_clock_now(&model->clock);
        const uint32_t before = room;
        if (!draft_round(model, drafts, n_drafts, &room)) {
            for (uint32_t i = 0; i < n_drafts; i++) drafts[i].n = 0;
            forget_all(model);
            return;
        }
        const double seconds = engine_clock_seconds(start, engine_clock_now(&model->clock));
        if (before - room > n_drafts) continue; /* it read prompts, which says nothing about the next rounds */
        if (source->round_seconds <= 0) source->round_seconds = seconds;
        source->round_seconds += (least_seconds(seconds, 3 * source->round_seconds) - source->round_seconds) / 16;
    }
}

/* The draft's tokens that were right are known now; the token after them, and what came behind, was another. */
static void settle(struct draft_source *source, uint32_t slot, uint32_t n_known)
{
    struct draft_model *model = model_of(source);
    model->slots[slot].n_computed = least(model->slots[slot].n_computed, n_known - 1);
}

static void join(struct draft_source *source, uint32_t slot) { (void)source, (void)slot; }

static void source_close(struct draft_source *source)
{
    struct draft_model *model = model_of(source);
    sampler_close(model->sampler);
    page_pool_close(&model->pool);
    step_memory_close(model->memory);
    free(model->slots);
    free(model->words);
    free(model->batch);
    free(model->logits);
    free(model);
}

int draft_model_make(struct loaded_model *loaded, struct draft_source **out, struct error *err)
{
    static const struct draft_source_operations operations = {
        .measure = measure,
        .prepare = prepare,
        .join = join,
        .leave = leave,
        .look = look,
        .propose = propose,
        .settle = settle,
        .close = source_close,
    };
    if (model_get_config(loaded_model_source(loaded))->n_encoder_layers > 0)
        return error_set(err, ERROR_UNSUPPORTED, "a draft model must go on from a text, and this one has an encoder");
    if (model_get_config(loaded_model_source(loaded))->recurrent)
        return error_set(err, ERROR_UNSUPPORTED,
                         "a draft model must take wrong tokens back, and this one's states cannot");
    struct draft_model *model = memory_array(1, sizeof *model);
    if (!model) return error_set(err, ERROR_NO_MEMORY, "no host memory for a draft model");
    model->source = (struct draft_source){.operations = &operations, .name = "model", .first_chance = {0.7f}};
    model->loaded = loaded;
    *out = &model->source;
    return 0;
}
