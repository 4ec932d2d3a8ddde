/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps. Step memory is an arena for one step's activations, whose first part the host fills with a single write, a page
 * pool for each layer that has pages and for each indexer, and states for recurrent layers. What it needs is measured by
 * planning the largest step. Dealt pools whose pages have one size follow each other as one run of pages without a gap, so
 * that a run wastes less than a page a bank.
 */
#include "host/base/memory.h"
#include "host/model/model_config.h"
#include "host/model/placement.h"
#include "host/model/step_internal.h"

#include <string.h>

/* The plan of the largest step of one kind. Returns the bytes of its inputs. */
static uint64_t measure_kind(const struct model *model, const struct step_limits *limits, bool encodes,
                             struct planner *planner)
{
    *planner = (struct planner){.model = model,
                                .config = &model->config,
                                .kv_format = limits->kv_format,
                                .expert_slots = limits->expert_slots,
                                .encodes = encodes};
    planner->pool_banks = CARD_MAX_BANKS; /* dealt pools take descriptors more than others */
    uint64_t inputs = planner_begin(planner, limits->max_tokens, limits->max_pages_in_tables, limits->max_logit_rows);
    model->family->plan(planner);
    return inputs;
}

/* Of the largest step: its peak and its number of descriptors. Returns the bytes of its inputs. */
static uint64_t measure(const struct model *model, const struct step_limits *limits, struct planner *planner)
{
    uint64_t inputs = measure_kind(model, limits, false, planner);
    if (model->config.n_encoder_layers == 0) return inputs;
    struct planner encoder;
    (void)measure_kind(model, limits, true, &encoder); /* its inputs are laid out alike */
    if (encoder.peak > planner->peak) planner->peak = encoder.peak;
    if (encoder.n_descriptors > planner->n_descriptors) planner->n_descriptors = encoder.n_descriptors;
    return inputs;
}

/* What one page of a layer takes, and one of its indexer's keys; 0: the layer has no such pages. */
static uint64_t layer_page_bytes(const struct model *model, unsigned kv_format, uint32_t layer)
{
    const struct model_config *config = &model->config;
    const struct layer_config *l = &config->layers[layer];
    if (l->attention == LAYER_LINEAR || l->shares_kv || l->is_elsewhere || layer < config->n_encoder_layers) return 0;
    if (l->attention == LAYER_LATENT) return card_page_bytes(kv_format, 1, planner_latent_of(config, layer).width, 0);
    return card_page_bytes(kv_format, l->n_kv_heads, config->head_dim, config->head_dim);
}

static uint64_t index_page_bytes(const struct model *model, unsigned kv_format, uint32_t layer)
{
    if (!model->config.layers[layer].indexes || model->config.layers[layer].is_elsewhere) return 0;
    return card_page_bytes(kv_format, 1, model->config.index.head_dim, 0);
}

/* Pools: one for each layer, then one for each layer's indexer. */
static uint64_t pool_page_bytes(const struct model *model, unsigned kv_format, uint32_t pool)
{
    uint32_t n = model->config.n_layers;
    return pool < n ? layer_page_bytes(model, kv_format, pool) : index_page_bytes(model, kv_format, pool - n);
}
static uint32_t n_pools(const struct model *model) { return 2 * model->config.n_layers; }

uint64_t model_page_bytes(const struct model *model, unsigned kv_format)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n_pools(model); i++) bytes += pool_page_bytes(model, kv_format, i);
    return bytes;
}

/* States of one layer for so many sequences: of the convolutions, then of the scan. */
static uint64_t state_bytes(const struct model *model, const struct step_limits *limits, uint32_t layer)
{
    const struct linear_config *c = &model->config.linear;
    const struct layer_config *l = &model->config.layers[layer];
    if (l->attention != LAYER_LINEAR || l->is_elsewhere) return 0;
    uint64_t channels = 2ull * l->n_kv_heads * c->key_dims + (uint64_t)l->n_heads * c->value_dims;
    uint64_t scan = (uint64_t)l->n_heads * c->key_dims * c->value_dims;
    return (channels * (c->conv_width - 1) + scan) * sizeof(float) * limits->n_states;
}

/* Pools whose pages have one size follow each other when they are dealt: where this pool's run begins, and its pages. */
static bool begins_run(const struct model *model, unsigned kv_format, uint32_t pool)
{
    uint64_t page = pool_page_bytes(model, kv_format, pool);
    for (uint32_t i = 0; i < pool; i++)
        if (pool_page_bytes(model, kv_format, i) == page) return false;
    return page != 0;
}

static uint64_t run_pools(const struct model *model, unsigned kv_format, uint64_t page)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < n_pools(model); i++) n += pool_page_bytes(model, kv_format, i) == page;
    return n;
}

/* What a run of dealt pools takes of each bank, without rounding. UINT64_MAX: more than a card has. */
static uint64_t run_bytes(const struct model *model, const struct step_limits *limits, unsigned banks, uint64_t page)
{
    uint64_t pages = (limits->n_pages * run_pools(model, limits->kv_format, page) + banks - 1) / banks;
    return pages > (UINT64_MAX / 4) / page ? UINT64_MAX : pages * page;
}

/* What dealt pools take of each of `banks`. */
static uint64_t share_bytes(const struct model *model, const struct step_limits *limits, unsigned banks)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n_pools(model); i++) {
        if (!begins_run(model, limits->kv_format, i)) continue;
        uint64_t run = run_bytes(model, limits, banks, pool_page_bytes(model, limits->kv_format, i));
        if (run > UINT64_MAX / 4 || bytes > UINT64_MAX / 4) return UINT64_MAX;
        bytes += run;
    }
    return card_round_up(bytes, CARD_ALIGNMENT);
}

/* What a pool takes that is not dealt. */
static uint64_t pool_bytes(const struct model *model, const struct step_limits *limits, uint32_t pool)
{
    uint64_t page = pool_page_bytes(model, limits->kv_format, pool);
    if (page != 0 && limits->n_pages > (UINT64_MAX / 4) / page) return UINT64_MAX;
    return card_round_up(limits->n_pages * page, CARD_ALIGNMENT);
}

/* The most banks, from the first on, that have room for the pools beside the arena; 1 if no two have. */
static unsigned choose_banks(const struct model *model, const struct card_info *info, const struct step_limits *limits,
                             uint64_t arena_bytes)
{
    unsigned arena = step_arena_bank(info), banks = info->n_banks;
    if (share_bytes(model, limits, banks) == 0) return 1; /* no layer has pages */
    for (; banks > 1; banks--) {
        uint64_t share = share_bytes(model, limits, banks);
        unsigned b = 0;
        for (; b < banks; b++) {
            uint64_t taken = b == arena ? arena_bytes : 0, room = info->bank[b].bytes_free;
            if (room < taken || room - taken < share) break;
        }
        if (b == banks) break;
    }
    return banks;
}

uint64_t model_step_bytes(const struct model *model, const struct card_info *info, const struct step_limits *limits)
{
    struct planner planner;
    (void)measure(model, limits, &planner);
    uint64_t arena = card_round_up(planner.peak, CARD_ALIGNMENT);
    unsigned banks = choose_banks(model, info, limits, arena);
    uint64_t pages = model_page_bytes(model, limits->kv_format) * limits->n_pages, taken = 0, states = 0;
    if (banks > 1) taken = share_bytes(model, limits, banks) * banks;
    for (uint32_t i = 0; banks == 1 && i < n_pools(model); i++) taken += pool_bytes(model, limits, i);
    for (uint32_t i = 0; i < model->config.n_layers; i++)
        states += card_round_up(state_bytes(model, limits, i), CARD_ALIGNMENT);
    return arena + taken - pages + states;
}

static int check_limits(const struct loaded_model *loaded, const struct step_limits *limits, struct error *err)
{
    struct card_info info;
    card_describe(loaded->card, &info);
    if (limits->max_tokens == 0 || limits->max_tokens > CARD_MAX_TOKENS)
        return error_set(err, ERROR_BAD_ARGUMENT, "a step of %u tokens: a card program takes 1 to %u",
                         limits->max_tokens, CARD_MAX_TOKENS);
    if (limits->max_logit_rows > limits->max_tokens)
        return error_set(err, ERROR_BAD_ARGUMENT, "logits of %u rows in a step of %u tokens", limits->max_logit_rows,
                         limits->max_tokens);
    if (limits->n_pages == 0) return error_set(err, ERROR_BAD_ARGUMENT, "step memory without KV pages");
    if (loaded->model->config.recurrent && limits->n_states == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "step memory of a recurrent model without states");
    if (limits->kv_format >= 32 || (info.kv_formats >> limits->kv_format & 1u) == 0)
        return error_set(err, ERROR_UNSUPPORTED, "card %s has no KV pages of format %u", info.name, limits->kv_format);
    return 0;
}

/* The pools, dealt over `banks`, whose share is free in each, but perhaps not at one offset: ERROR_NO_MEMORY. */
static int deal_pools(struct step_memory *memory, unsigned banks, struct error *err)
{
    const struct model *model = memory->loaded->model;
    unsigned kv_format = memory->limits.kv_format;
    uint64_t offset;
    int result =
        card_alloc_dealt(memory->loaded->card, banks, share_bytes(model, &memory->limits, banks), &offset, err);
    if (result < 0) return result;
    memory->pool_banks = banks;
    memory->pools_offset = offset;
    for (uint32_t first = 0; first < n_pools(model); first++) {
        if (!begins_run(model, kv_format, first)) continue;
        uint64_t page = pool_page_bytes(model, kv_format, first), n = 0;
        for (uint32_t i = first; i < n_pools(model); i++)
            if (pool_page_bytes(model, kv_format, i) == page)
                memory->pools[i] = placement_advance(CARD_ADDR(0, offset), n++ * memory->limits.n_pages, banks, page);
        offset += run_bytes(model, &memory->limits, banks, page);
    }
    return 0;
}

static int place_pools(struct step_memory *memory, unsigned banks, struct error *err)
{
    const struct model *model = memory->loaded->model;
    for (; banks > 1; banks--) {
        int result = deal_pools(memory, banks, err);
        if (result != ERROR_NO_MEMORY) return result;
    }
    int result = 0;
    for (uint32_t i = 0; i < n_pools(model) && result == 0; i++) {
        uint64_t bytes = pool_bytes(model, &memory->limits, i);
        if (bytes != 0) result = card_place(memory->loaded->card, bytes, &memory->pools[i], err);
    }
    return result;
}

/* Nothing needs to be written into states: a sequence's first token starts from zeros. */
static int place_states(struct step_memory *memory, struct error *err)
{
    const struct model *model = memory->loaded->model;
    int result = 0;
    for (uint32_t i = 0; i < model->config.n_layers && result == 0; i++) {
        uint64_t bytes = state_bytes(model, &memory->limits, i);
        if (bytes != 0) result = card_place(memory->loaded->card, bytes, &memory->states[i], err);
    }
    return result;
}

static void free_pools(struct step_memory *memory)
{
    struct card *card = memory->loaded->card;
    const struct model *model = memory->loaded->model;
    for (uint32_t i = 0; memory->states != NULL && i < model->config.n_layers; i++) card_free(card, memory->states[i]);
    if (memory->pools == NULL) return;
    if (memory->pool_banks > 1) {
        for (unsigned b = 0; b < memory->pool_banks; b++) card_free(card, CARD_ADDR(b, memory->pools_offset));
        return;
    }
    for (uint32_t i = 0; i < n_pools(model); i++) card_free(card, memory->pools[i]);
}

static int allocate(struct step_memory *memory, struct error *err)
{
    const struct model *model = memory->loaded->model;
    struct planner planner;
    uint64_t inputs = measure(model, &memory->limits, &planner);
    memory->capacity = planner.n_descriptors;
    memory->input_bytes = memory->group_rows != NULL ? relay_input_bytes(model, &memory->limits) : inputs;
    memory->inputs = memory_array(memory->input_bytes, 1);
    memory->program = memory_array(memory->capacity, sizeof *memory->program);
    memory->pools = memory_array(n_pools(model), sizeof *memory->pools);
    memory->states = memory_array(model->config.n_layers, sizeof *memory->states);
    if (memory->inputs == NULL || memory->program == NULL || memory->pools == NULL || memory->states == NULL)
        return error_set(err, ERROR_NO_MEMORY, "step memory: out of memory");
    struct card_info info;
    card_describe(memory->loaded->card, &info);
    unsigned banks = choose_banks(model, &info, &memory->limits, card_round_up(planner.peak, CARD_ALIGNMENT));
    int result = card_alloc(memory->loaded->card, step_arena_bank(&info), planner.peak, &memory->arena, err);
    if (result == 0) result = place_pools(memory, banks, err);
    return result < 0 ? result : place_states(memory, err);
}

/* in_parts: inputs have room for groups. */
static int open_one(const struct loaded_model *loaded, const struct step_limits *limits, bool in_parts,
                    struct step_memory **out, struct error *err)
{
    int result = check_limits(loaded, limits, err);
    if (result < 0) return result;
    struct step_memory *memory = memory_array(1, sizeof *memory);
    if (memory == NULL) return error_set(err, ERROR_NO_MEMORY, "step memory: out of memory");
    memory->loaded = loaded;
    memory->limits = *limits;
    memory->limits.expert_slots = loaded_model_expert_slots(loaded);
    memory->pool_banks = 1;
    if (in_parts) {
        memory->group_rows = memory_array(limits->max_logit_rows + 1u, sizeof *memory->group_rows);
        if (memory->group_rows == NULL) result = error_set(err, ERROR_NO_MEMORY, "step memory: out of memory");
    }
    if (result == 0) result = allocate(memory, err);
    if (result < 0) {
        step_memory_close(memory);
        return result;
    }
    *out = memory;
    return 0;
}

int step_memory_open(const struct loaded_model *loaded, const struct step_limits *limits, struct step_memory **out,
                     struct error *err)
{
    const bool in_parts = loaded->next != NULL;
    struct step_memory *first = NULL, **place = &first;
    int result = 0;
    for (; loaded != NULL && result == 0; loaded = loaded->next) {
        result = open_one(loaded, limits, in_parts, place, err);
        if (result == 0) place = &(*place)->next;
    }
    if (result < 0) {
        step_memory_close(first);
        return result;
    }
    *out = first;
    return 0;
}

void step_memory_close(struct step_memory *memory)
{
    if (memory == NULL) return;
    step_memory_close(memory->next);
    card_free(memory->loaded->card, memory->arena);
    free_pools(memory);
    free(memory->inputs);
    free(memory->program);
    free(memory->pools);
    free(memory->states);
    free(memory->group_rows);
    free(memory);
}

/* Kind of step, and what its tokens see of what an encoder made. */
static int check_sources(const struct model *model, const struct step *step, struct error *err)
{
    const bool has_encoder = model->config.n_encoder_layers != 0;
    if (step->encodes && (!has_encoder || step->n_logit_rows != 0))
        return error_set(err, ERROR_BAD_ARGUMENT, "a step that encodes: %u rows of logits, %u layers to encode with",
                         step->n_logit_rows, model->config.n_encoder_layers);
    if (has_encoder && !step->encodes && step->sources == NULL)
        return error_set(err, ERROR_BAD_ARGUMENT, "a decoder's step without what an encoder made");
    for (uint32_t i = 0; i < step->n_tokens && has_encoder && !step->encodes; i++) {
        const struct card_batch_token *source = &step->sources[i];
        if (source->visible == 0 || source->visible > CARD_MAX_POSITIONS || source->position != 0 ||
            (uint64_t)source->first_page + (source->visible - 1) / CARD_PAGE_TOKENS >= step->n_pages)
            return error_set(err, ERROR_BAD_ARGUMENT, "token %u of the step sees %u positions of its encoder's pages",
                             i, source->visible);
    }
    return 0;
}

static int check_step(const struct model *model, const struct step_limits *limits, const struct step *step,
                      struct error *err)
{
    if (step->n_tokens == 0 || step->n_tokens > limits->max_tokens || step->n_logit_rows > limits->max_logit_rows ||
        step->n_pages > limits->max_pages_in_tables)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "step of %u tokens, %u rows of logits, %u table pages: limits are %u, %u, %u", step->n_tokens,
                         step->n_logit_rows, step->n_pages, limits->max_tokens, limits->max_logit_rows,
                         limits->max_pages_in_tables);
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        if (model->config.recurrent && step->batch[i].state >= limits->n_states)
            return error_set(err, ERROR_BAD_ARGUMENT, "state %u of %u", step->batch[i].state, limits->n_states);
        if (step->tokens[i] >= model->config.n_vocab)
            return error_set(err, ERROR_BAD_ARGUMENT, "token %u is outside the vocabulary of %u", step->tokens[i],
                             model->config.n_vocab);
        if (step->batch[i].position >= CARD_MAX_POSITIONS)
            return error_set(err, ERROR_BAD_ARGUMENT, "position %u is not below the card's %u", step->batch[i].position,
                             CARD_MAX_POSITIONS);
        if (step->batch[i].visible > CARD_MAX_POSITIONS)
            return error_set(err, ERROR_BAD_ARGUMENT, "%u visible positions are more than the card's %u",
                             step->batch[i].visible, CARD_MAX_POSITIONS);
        uint32_t last = step->batch[i].position; /* that the token writes or sees */
        if (step->batch[i].visible > last + 1) last = step->batch[i].visible - 1;
        if ((uint64_t)step->batch[i].first_page + last / CARD_PAGE_TOKENS >= step->n_pages)
            return error_set(err, ERROR_BAD_ARGUMENT, "token %u of the step has no page for position %u", i, last);
    }
    for (uint32_t i = 0; i < step->n_pages; i++)
        if (step->pages[i] >= limits->n_pages)
            return error_set(err, ERROR_BAD_ARGUMENT, "page %u of a pool of %u", step->pages[i], limits->n_pages);
    for (uint32_t i = 0; i < step->n_logit_rows; i++)
        if (step->logit_rows[i] >= step->n_tokens || (i > 0 && step->logit_rows[i] <= step->logit_rows[i - 1]))
            return error_set(err, ERROR_BAD_ARGUMENT, "rows of logits must ascend and be below %u", step->n_tokens);
    return check_sources(model, step, err);
}

static void fill_query_scales(const struct query_scale *scale, const struct step *step, float *out)
{
    for (uint32_t i = 0; i < step->n_tokens; i++) {
        uint64_t periods = ((uint64_t)step->batch[i].position + scale->shift) / scale->period;
        double logarithm = model_log(1.0 + (double)periods);
        out[i] = (float)(scale->is_logarithm ? logarithm : 1.0 + (double)scale->beta * logarithm);
    }
}

/* A batch table: entries, then page numbers. */
static void fill_batch(const struct step *step, const struct card_batch_token *batch, uint8_t *table)
{
    memcpy(table, batch, step->n_tokens * sizeof *batch);
    if (step->n_pages > 0)
        memcpy(table + step->n_tokens * sizeof *batch, step->pages, step->n_pages * sizeof *step->pages);
}

uint64_t step_input_bytes(const struct model *model, uint32_t n_tokens, uint32_t n_pages, uint32_t n_logit_rows)
{
    struct planner planner = {.model = model, .config = &model->config};
    return planner_begin(&planner, n_tokens, n_pages, n_logit_rows);
}

/* As planner_begin laid them out. */
void step_fill(const struct planner *planner, const struct step *step, uint8_t *inputs)
{
    const struct model *model = planner->model;
    float *row = (float *)(void *)inputs;
    for (uint32_t i = 0; i < step->n_tokens && !model->config.layers[0].is_elsewhere; i++, row += model->config.d_model)
        model_embed(model, step->tokens[i], row);
    fill_batch(step, step->batch, inputs + (planner->batch - planner->arena));
    if (model->config.n_encoder_layers != 0) /* a step that encodes has no use for them, but they are sent */
        fill_batch(step, step->encodes ? step->batch : step->sources, inputs + (planner->sources - planner->arena));
    if (model->config.query_scale.period != 0)
        fill_query_scales(&model->config.query_scale, step,
                          (float *)(void *)(inputs + (planner->query_scales - planner->arena)));
    if (step->n_logit_rows > 0)
        memcpy(inputs + (planner->logit_rows - planner->arena), step->logit_rows,
               step->n_logit_rows * sizeof *step->logit_rows);
}

/* Inputs to the card, program, logits back. */
static int run(const struct step_memory *memory, const struct planner *planner, const struct step *step,
               uint64_t inputs, float *logits, struct error *err)
{
    struct card *card = memory->loaded->card;
    size_t bytes = (size_t)step->n_logit_rows * planner->config->n_vocab * sizeof *logits;
    card_event written = 0, computed = 0, read = 0;
    int result = card_write(card, planner->arena, memory->inputs, inputs, NULL, 0, &written, err);
    if (result == 0) result = card_submit(card, planner->program, planner->n_descriptors, &written, 1, &computed, err);
    if (result == 0 && bytes > 0)
        result = card_read(card, logits, planner->logits.address, bytes, &computed, 1, &read, err);
    /* After an error too: what was submitted before it still uses memory->inputs. A call that failed left 0. */
    card_event last = read ? read : computed ? computed : written;
    int waited = card_wait(card, last, 0, result < 0 ? NULL : err);
    return result < 0 ? result : waited;
}

/* Whether long rope's factors for contexts beyond the original one are those to use. */
static bool is_long(const struct loaded_model *loaded, const struct step_limits *limits)
{
    return rope_table_dims(loaded->model, ROPE_FREQUENCIES_LONG) != 0 &&
           limits->context > loaded->model->config.rope_original;
}

int step_plan(const struct loaded_model *loaded, struct step_memory *memory, const struct step *step,
              struct planner *planner, uint64_t *inputs, struct error *err)
{
    *planner = (struct planner){
        .model = loaded->model,
        .config = &loaded->model->config,
        .loaded = loaded,
        .kv_format = memory->limits.kv_format,
        .expert_slots = memory->limits.expert_slots,
        .n_pages = memory->limits.n_pages,
        .pools = memory->pools,
        .index_pools = memory->pools + loaded->model->config.n_layers,
        .states = memory->states,
        .n_states = memory->limits.n_states,
        .encodes = step->encodes,
        .is_long = is_long(loaded, &memory->limits),
        .pool_banks = memory->pool_banks,
        .arena = memory->arena,
        .program = memory->program,
        .capacity = memory->capacity,
    };
    *inputs = planner_begin(planner, step->n_tokens, step->n_pages, step->n_logit_rows);
    loaded->model->family->plan(planner);
    if (planner->n_descriptors > memory->capacity)
        return error_set(err, ERROR_INTERNAL, "%s planned %u descriptors, measured %u",
                         loaded->model->family->architecture, planner->n_descriptors, memory->capacity);
    return 0;
}

/* The first step waits until the packed file is there and verified. */
static int wait_for_file(const struct loaded_model *loaded, struct error *err)
{
    int result = 0;
    for (; loaded != NULL && result == 0; loaded = loaded->next)
        if (loaded->fill != NULL) result = slc_fill_wait(loaded->fill, err);
    return result;
}

int model_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err)
{
    struct planner planner;
    uint64_t inputs;
    int result = check_step(loaded->model, &memory->limits, step, err);
    if (result == 0) result = wait_for_file(loaded, err);
    if (result == 0 && loaded->next != NULL) return relay_step(loaded, memory, step, logits, err);
    if (result == 0) result = step_plan(loaded, memory, step, &planner, &inputs, err);
    if (result < 0) return result;
    step_fill(&planner, step, memory->inputs);
    result = model_check(loaded->model, err);
    return result < 0 ? result : run(memory, &planner, step, inputs, logits, err);
}
