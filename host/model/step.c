/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps. Step memory is an arena for one step's activations, whose first part the host fills with a single write, and
 * one page pool for each layer. What it needs is measured by planning the largest step. Dealt pools follow each other
 * as one run of pages without a gap, so that all together they waste less than a page a bank.
 */
#include "host/base/memory.h"
#include "host/model/model_internal.h"
#include "host/model/placement.h"

#include <string.h>

struct step_memory {
    const struct loaded_model *loaded; /* borrowed */
    struct step_limits limits;
    card_addr arena;
    card_addr *pools;                /* owned; [n_layers] */
    unsigned pool_banks;             /* over which they are dealt, as one allocation in each; 1: one for each pool */
    struct card_descriptor *program; /* owned; [capacity] */
    unsigned capacity;
    uint8_t *inputs; /* owned; the arena's first part on the host */
};

/* The plan of the largest step: its peak and its number of descriptors. Returns the bytes of its inputs. */
static uint64_t measure(const struct model *model, const struct step_limits *limits, struct planner *planner)
{
    *planner = (struct planner){
        .model = model, .config = &model->config, .kv_format = limits->kv_format, .expert_slots = limits->expert_slots};
    planner->pool_banks = CARD_MAX_BANKS; /* dealt pools take descriptors more than others */
    uint64_t inputs = planner_begin(planner, limits->max_tokens, limits->max_pages_in_tables, limits->max_logit_rows);
    model->family->plan(planner);
    return inputs;
}

static uint64_t layer_page_bytes(const struct model *model, unsigned kv_format)
{
    const struct model_config *config = &model->config;
    return card_page_bytes(kv_format, config->n_kv_heads, config->head_dim, config->head_dim);
}

uint64_t model_page_bytes(const struct model *model, unsigned kv_format)
{
    return model->config.n_layers * layer_page_bytes(model, kv_format);
}

/* What the pools take, as the card allocates it: of each of `banks`, or (1) of one layer's pool. */
static uint64_t share_bytes(const struct model *model, const struct step_limits *limits, unsigned banks)
{
    uint64_t pages = limits->n_pages, page = layer_page_bytes(model, limits->kv_format);
    if (banks > 1) pages = (pages * model->config.n_layers + banks - 1) / banks;
    if (pages > (UINT64_MAX - CARD_ALIGNMENT) / page) return UINT64_MAX; /* more than a card has */
    return card_round_up(pages * page, CARD_ALIGNMENT);
}

/* The most banks, from the first on, that have room for the pools beside the arena; 1 if no two have. */
static unsigned choose_banks(const struct model *model, const struct card_info *info, const struct step_limits *limits,
                             uint64_t arena_bytes)
{
    unsigned arena = step_arena_bank(info), banks = info->n_banks;
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
    uint64_t pages = model_page_bytes(model, limits->kv_format) * limits->n_pages;
    uint64_t rounding = share_bytes(model, limits, banks) * (banks > 1 ? banks : model->config.n_layers) - pages;
    return arena + rounding;
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
    if (limits->kv_format >= 32 || (info.kv_formats >> limits->kv_format & 1u) == 0)
        return error_set(err, ERROR_UNSUPPORTED, "card %s has no KV pages of format %u", info.name, limits->kv_format);
    return 0;
}

/* The pools, dealt over `banks`, whose share is free in each, but perhaps not at one offset: ERROR_NO_MEMORY. */
static int deal_pools(struct step_memory *memory, unsigned banks, struct error *err)
{
    const struct model *model = memory->loaded->model;
    uint64_t offset, page = layer_page_bytes(model, memory->limits.kv_format);
    int result =
        card_alloc_dealt(memory->loaded->card, banks, share_bytes(model, &memory->limits, banks), &offset, err);
    if (result < 0) return result;
    memory->pool_banks = banks;
    for (uint32_t layer = 0; layer < model->config.n_layers; layer++)
        memory->pools[layer] =
            placement_advance(CARD_ADDR(0, offset), (uint64_t)layer * memory->limits.n_pages, banks, page);
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
    for (uint32_t layer = 0; layer < model->config.n_layers && result == 0; layer++)
        result = card_place(memory->loaded->card, share_bytes(model, &memory->limits, 1), &memory->pools[layer], err);
    return result;
}

static void free_pools(struct step_memory *memory)
{
    struct card *card = memory->loaded->card;
    if (memory->pools == NULL) return;
    if (memory->pool_banks > 1) { /* the first pool begins where the run does */
        for (unsigned b = 0; b < memory->pool_banks; b++)
            card_free(card, CARD_ADDR(b, CARD_ADDR_OFFSET(memory->pools[0])));
        return;
    }
    for (uint32_t layer = 0; layer < memory->loaded->model->config.n_layers; layer++)
        card_free(card, memory->pools[layer]);
}

static int allocate(struct step_memory *memory, struct error *err)
{
    const struct model *model = memory->loaded->model;
    struct planner planner;
    uint64_t inputs = measure(model, &memory->limits, &planner);
    memory->capacity = planner.n_descriptors;
    memory->inputs = memory_array(inputs, 1);
    memory->program = memory_array(memory->capacity, sizeof *memory->program);
    memory->pools = memory_array(model->config.n_layers, sizeof *memory->pools);
    if (memory->inputs == NULL || memory->program == NULL || memory->pools == NULL)
        return error_set(err, ERROR_NO_MEMORY, "step memory: out of memory");
    struct card_info info;
    card_describe(memory->loaded->card, &info);
    unsigned banks = choose_banks(model, &info, &memory->limits, card_round_up(planner.peak, CARD_ALIGNMENT));
    int result = card_alloc(memory->loaded->card, step_arena_bank(&info), planner.peak, &memory->arena, err);
    return result < 0 ? result : place_pools(memory, banks, err);
}

int step_memory_open(const struct loaded_model *loaded, const struct step_limits *limits, struct step_memory **out,
                     struct error *err)
{
    int result = check_limits(loaded, limits, err);
    if (result < 0) return result;
    struct step_memory *memory = memory_array(1, sizeof *memory);
    if (memory == NULL) return error_set(err, ERROR_NO_MEMORY, "step memory: out of memory");
    memory->loaded = loaded;
    memory->limits = *limits;
    memory->limits.expert_slots = loaded_model_expert_slots(loaded);
    memory->pool_banks = 1;
    result = allocate(memory, err);
    if (result < 0) {
        step_memory_close(memory);
        return result;
    }
    *out = memory;
    return 0;
}

void step_memory_close(struct step_memory *memory)
{
    if (memory == NULL) return;
    card_free(memory->loaded->card, memory->arena);
    free_pools(memory);
    free(memory->inputs);
    free(memory->program);
    free(memory->pools);
    free(memory);
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
    return 0;
}

/* The inputs as planner_begin laid them out. */
static void fill_inputs(const struct step_memory *memory, const struct planner *planner, const struct step *step)
{
    const struct model *model = memory->loaded->model;
    float *row = (float *)(void *)memory->inputs;
    for (uint32_t i = 0; i < step->n_tokens; i++, row += model->config.d_model)
        model_embed(model, step->tokens[i], row);
    uint8_t *table = memory->inputs + (planner->batch - planner->arena);
    memcpy(table, step->batch, step->n_tokens * sizeof *step->batch);
    if (step->n_pages > 0)
        memcpy(table + step->n_tokens * sizeof *step->batch, step->pages, step->n_pages * sizeof *step->pages);
    if (step->n_logit_rows > 0)
        memcpy(memory->inputs + (planner->logit_rows - planner->arena), step->logit_rows,
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

int model_step(struct loaded_model *loaded, struct step_memory *memory, const struct step *step, float *logits,
               struct error *err)
{
    int result = check_step(loaded->model, &memory->limits, step, err);
    if (result < 0) return result;
    if (loaded->fill != NULL) { /* the first step waits until the packed file is there and verified */
        result = slc_fill_wait(loaded->fill, err);
        if (result < 0) return result;
    }
    struct planner planner = {
        .model = loaded->model,
        .config = &loaded->model->config,
        .loaded = loaded,
        .kv_format = memory->limits.kv_format,
        .expert_slots = memory->limits.expert_slots,
        .n_pages = memory->limits.n_pages,
        .pools = memory->pools,
        .pool_banks = memory->pool_banks,
        .arena = memory->arena,
        .program = memory->program,
        .capacity = memory->capacity,
    };
    uint64_t inputs = planner_begin(&planner, step->n_tokens, step->n_pages, step->n_logit_rows);
    loaded->model->family->plan(&planner);
    if (planner.n_descriptors > memory->capacity)
        return error_set(err, ERROR_INTERNAL, "%s planned %u descriptors, measured %u",
                         loaded->model->family->architecture, planner.n_descriptors, memory->capacity);
    fill_inputs(memory, &planner, step);
    return run(memory, &planner, step, inputs, logits, err);
}
