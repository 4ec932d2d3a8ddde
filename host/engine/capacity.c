/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the context, how many sequences and how many KV pages. The rule:
 *
 *   budget     what is free on the card after the weights, less 1/32 as a reserve. On a card whose memory is this
 *              host's (info.threads is not 0) and if no context was asked for: at most half of it and at most 8 GiB,
 *              unless nothing fits then.
 *   sequences  as asked, else the most of 16 that the budget holds at full context, but not fewer than 4 on account of a
 *              context that nobody asked for (then the context gives way) and not fewer than 1.
 *   context    as asked, else the model's (or as far as a card counts positions, if that is less), else (if that many
 *              sequences do not fit) the longest that fits, in whole pages.
 *   drafts     a draft model on the same card has one page of its own for each page, within the budget.
 *   pages      enough for every sequence at full context; if both numbers were asked for and this is too much, what the
 *              budget holds, as long as one whole sequence fits: the others wait for pages when they need them.
 *   cards      of a model in parts each card has the pages of its layers, as many as every other: the one with room for the
 *              fewest decides.
 *   banks      pages are dealt over them, so the fullest of those used counts for each, unless this loses more than half
 *              of the budget: then all free bytes count and pages are not dealt.
 */
#include "host/base/memory.h"
#include "host/engine/kv_format.h"
#include "host/engine/sequence.h"

#define DEFAULT_CHUNK 256u
#define MOST_SEQUENCES 16u /* chosen by default */
#define FEW_SEQUENCES 4u   /* below this the context gives way first */
#define HOST_POOL_CAP (8ull << 30)
#define LOGIT_ROWS_BYTES (64ull << 20) /* host and card memory for the logits of whole prompts */

static uint64_t pages_for(uint32_t tokens) { return ((uint64_t)tokens + CARD_PAGE_TOKENS - 1) / CARD_PAGE_TOKENS; }
static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* What the model was trained for, as far as a card counts positions; long rope's other factors are for who asks. */
static uint32_t model_context(const struct model_config *config)
{
    uint32_t context = least(config->context_length, CARD_MAX_POSITIONS);
    return config->rope_has_long ? least(context, config->rope_original) : context;
}

/* Of one card: the part of the model on it. */
struct card_demand {
    const struct model *model;
    struct card_info info; /* before anything of a step is allocated */
    uint64_t budget, page_bytes;
    uint32_t n_layers, expert_slots;
    struct draft_needs draft; /* of the same card, by whoever makes drafts */
};

struct demand {
    struct card_demand *cards; /* owned; [n_cards] */
    unsigned n_cards;
    const struct model_config *config;
    uint32_t chunk;
    unsigned kv_format;
};

/* What an encoder reads at once, at most half of the context; 0: the model has none. */
static uint32_t source_for(const struct model_config *config, uint32_t context)
{
    return config->n_encoder_layers > 0 ? least(CARD_MAX_TOKENS, (context + 1) / 2) : 0;
}

/* The step limits for sequences of context tokens over n_pages pages (0: enough for all of them at full length). */
static struct step_limits limits_for(const struct demand *demand, uint32_t sequences, uint32_t context,
                                     uint64_t n_pages)
{
    uint64_t spare_rows = LOGIT_ROWS_BYTES / (4ull * demand->config->n_vocab);
    if (spare_rows > demand->chunk) spare_rows = demand->chunk;
    if (n_pages == 0) n_pages = sequences * pages_for(context);
    if (n_pages > UINT32_MAX) n_pages = UINT32_MAX;
    const uint32_t decoding = least(CARD_MAX_TOKENS, demand->chunk + sequences),
                   source = source_for(demand->config, context);
    const uint64_t in_tables = sequences * pages_for(context); /* a page may be in several: they share prefixes */
    return (struct step_limits){
        .max_tokens = decoding > source ? decoding : source,
        .max_logit_rows = least(CARD_MAX_TOKENS, sequences + (uint32_t)spare_rows),
        .n_pages = (uint32_t)n_pages,
        .max_pages_in_tables = (uint32_t)(in_tables < UINT32_MAX ? in_tables : UINT32_MAX),
        .kv_format = demand->kv_format,
        .n_states = sequences,
        .context = context,
    };
}

/*
 * Pages that can be dealt over two or more banks, from the first on, beside the memory of a step in one of them: the
 * share of each is what the fullest has. 0 on a card of one bank.
 */
static uint64_t dealt_pages(const struct card_demand *demand, uint64_t step_bytes)
{
    const struct card_info *info = &demand->info;
    if (info->n_banks < 2) return 0;
    const uint64_t layer_page = demand->page_bytes / demand->n_layers;
    const uint64_t lost =
        layer_page + demand->draft.page_bytes + 2 * CARD_ALIGNMENT; /* at the end of a bank, at most */
    const unsigned arena = step_arena_bank(info);
    uint64_t share = UINT64_MAX, most = 0;
    for (unsigned b = 0; b < info->n_banks; b++) {
        const uint64_t room = info->bank[b].bytes_free - info->bank[b].bytes_free / 32;
        const uint64_t taken = lost + (b == arena ? step_bytes : 0), left = room > taken ? room - taken : 0;
        if (left < share) share = left;
        if (b > 0 && share * (b + 1) > most) most = share * (b + 1);
    }
    return most / (demand->page_bytes + demand->draft.page_bytes);
}

/* Pages that the card's budget holds beside the step memory within these limits; at most those of the limits. */
static uint64_t card_pages(const struct card_demand *card, const struct step_limits *limits)
{
    struct step_limits own = *limits;
    own.expert_slots = card->expert_slots;
    const uint64_t step_bytes = model_step_bytes(card->model, &card->info, &own) + card->draft.other_bytes;
    const uint64_t page_bytes = card->page_bytes + card->draft.page_bytes;
    if (step_bytes >= card->budget) return 0;
    if (page_bytes == 0) return limits->n_pages; /* none of its layers has pages */
    uint64_t pages = (card->budget - step_bytes) / page_bytes;
    const uint64_t dealt = dealt_pages(card, step_bytes);
    if (dealt > 0 && dealt < pages && dealt >= pages / 2) pages = dealt;
    return pages < limits->n_pages ? pages : limits->n_pages;
}

/* The same of all cards, for so many sequences; at most the pages of full contexts. */
static uint64_t affordable_pages(const struct demand *demand, uint32_t sequences, uint32_t context)
{
    const struct step_limits limits = limits_for(demand, sequences, context, 0);
    uint64_t fewest = limits.n_pages;
    for (unsigned c = 0; c < demand->n_cards; c++) {
        const uint64_t pages = card_pages(&demand->cards[c], &limits);
        if (pages < fewest) fewest = pages;
    }
    return fewest;
}

static bool all_fit(const struct demand *demand, uint32_t sequences, uint32_t context)
{
    return affordable_pages(demand, sequences, context) >= sequences * pages_for(context);
}

/* The longest context up to most at which so many sequences fit, else in whole pages; 0 if not even one page each. */
static uint32_t longest_context(const struct demand *demand, uint32_t sequences, uint32_t most)
{
    if (all_fit(demand, sequences, most)) return most;
    uint64_t low = 0, high = pages_for(most); /* pages of a sequence: low fits, high does not */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (all_fit(demand, sequences, (uint32_t)(middle * CARD_PAGE_TOKENS)))
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)(low * CARD_PAGE_TOKENS);
}

/* The card with room for the fewest pages of one sequence. */
static unsigned fullest_card(const struct demand *demand)
{
    const struct step_limits limits = limits_for(demand, 1, model_context(demand->config), 0);
    uint64_t fewest = UINT64_MAX;
    unsigned fullest = 0;
    for (unsigned c = 0; c < demand->n_cards; c++) {
        const uint64_t pages = card_pages(&demand->cards[c], &limits);
        if (pages >= fewest) continue;
        fewest = pages;
        fullest = c;
    }
    return fullest;
}

/* An error of one of several cards. */
static int name_card(const struct demand *demand, unsigned place, int code, struct error *err)
{
    const struct card_info *info = &demand->cards[place].info;
    if (demand->n_cards == 1 || !err) return code;
    return error_prefix(err, "card %u of %u (%s%s%s)", place + 1, demand->n_cards, info->backend,
                        info->profile[0] ? ":" : "", info->profile);
}

static int no_room(const struct demand *demand, uint32_t sequences, uint32_t context, struct error *err)
{
    uint32_t fits = longest_context(demand, 1, model_context(demand->config));
    const double mib = 1 << 20;
    const unsigned fullest = fullest_card(demand);
    const struct card_demand *card = &demand->cards[fullest];
    double needed = (double)pages_for(context) * (double)(card->page_bytes + card->draft.page_bytes) / mib;
    if (fits == 0)
        error_set(
            err, ERROR_NO_MEMORY,
            "the card has %.1f MiB left after the weights, too little for one KV page and the memory of a step (a "
            "smaller --chunk than %u, a smaller model or a larger card)",
            (double)card->budget / mib, demand->chunk);
    else
        error_set(err, ERROR_NO_MEMORY,
                  "%u sequence%s of %u tokens, %.1f MiB of KV pages each, do not fit in the %.1f MiB left after the "
                  "weights (one sequence fits with --ctx %u)",
                  sequences, sequences == 1 ? "" : "s", context, needed, (double)card->budget / mib, fits);
    return name_card(demand, fullest, ERROR_NO_MEMORY, err);
}

/* Decides sequences, context and pages by the rule above. */
static int choose(const struct demand *demand, const struct engine_options *options, struct engine_limits *limits,
                  struct error *err)
{
    uint32_t most = model_context(demand->config);
    uint32_t context = options->context ? options->context : most;
    uint32_t sequences = options->max_sequences ? options->max_sequences : MOST_SEQUENCES;
    if (!options->max_sequences) {
        uint32_t fewest = options->context ? 1 : FEW_SEQUENCES;
        while (sequences > fewest && !all_fit(demand, sequences, context)) sequences--;
    }
    if (!options->context && !all_fit(demand, sequences, context)) {
        uint32_t shorter = longest_context(demand, sequences, context);
        while (shorter == 0 && !options->max_sequences && sequences > 1)
            shorter = longest_context(demand, --sequences, context);
        if (shorter == 0) return no_room(demand, sequences, CARD_PAGE_TOKENS, err);
        context = shorter;
    }
    uint64_t pages = affordable_pages(demand, sequences, context);
    if (pages < pages_for(context)) return no_room(demand, 1, context, err);
    limits->context = context;
    limits->max_sequences = sequences;
    limits->n_pages = (uint32_t)pages;
    limits->context_is_model_limit = context == demand->config->context_length;
    return 0;
}

static int check_options(const struct engine_options *options, const struct model_config *config, struct error *err)
{
    if (options->context > config->context_length)
        return error_set(err, ERROR_BAD_ARGUMENT, "a context of %u tokens was asked for, the model has %u (--ctx)",
                         options->context, config->context_length);
    if (options->context > CARD_MAX_POSITIONS)
        return error_set(err, ERROR_BAD_ARGUMENT, "a context of %u tokens was asked for, a card counts to %u (--ctx)",
                         options->context, CARD_MAX_POSITIONS);
    if (options->max_sequences > CARD_MAX_TOKENS)
        return error_set(err, ERROR_BAD_ARGUMENT, "%u sequences were asked for, a step takes %u at most (--max-seqs)",
                         options->max_sequences, CARD_MAX_TOKENS);
    if (options->chunk > CARD_MAX_TOKENS)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "a chunk of %u tokens was asked for, a step takes %u at most (--chunk)", options->chunk,
                         CARD_MAX_TOKENS);
    return 0;
}

static uint64_t whole_budget(const struct card_info *info)
{
    uint64_t free_bytes = 0;
    for (unsigned i = 0; i < info->n_banks; i++) free_bytes += info->bank[i].bytes_free;
    return free_bytes - free_bytes / 32;
}

/* What a default start takes of it. */
static uint64_t modest_budget(const struct card_info *info, const struct engine_options *options)
{
    uint64_t budget = whole_budget(info);
    if (info->threads == 0 || options->context) return budget;
    budget /= 2;
    return budget < HOST_POOL_CAP ? budget : HOST_POOL_CAP;
}

/*
 * Opens step memory. The free bytes of several banks do not always join to what was counted on, so a pool that the
 * card refuses shrinks by eighths, down to one whole sequence.
 */
static int open_memory(struct engine *engine, const struct demand *demand, struct error *err)
{
    struct engine_limits *limits = &engine->limits;
    uint64_t fewest = pages_for(limits->context);
    for (;;) {
        engine->step_limits = limits_for(demand, limits->max_sequences, limits->context, limits->n_pages);
        int status = step_memory_open(engine->loaded, &engine->step_limits, &engine->memory, err);
        if (status != ERROR_NO_MEMORY || limits->n_pages == fewest) return status;
        uint64_t fewer = limits->n_pages - (limits->n_pages + 7ull) / 8;
        limits->n_pages = (uint32_t)(fewer < fewest ? fewest : fewer);
    }
}

static void measure_drafts(const struct engine *engine, const struct engine_options *options,
                           const struct demand *demand, const struct card *card, struct draft_needs *needs)
{
    const struct draft_source *source = options->draft;
    const struct draft_limits most = {
        .max_sequences = options->max_sequences ? options->max_sequences : MOST_SEQUENCES,
        .context = options->context ? options->context : model_context(demand->config),
        .chunk = demand->chunk,
        .n_vocab = engine->n_vocab,
    };
    if (source && source->operations->measure && !engine->recurrent && !engine->has_encoder)
        source->operations->measure(source, card, &most, needs);
}

/* What each card has and its part wants. The page format is the first card's default, if none is asked for. */
static int measure_cards(const struct engine *engine, const struct engine_options *options, struct demand *demand,
                         struct error *err)
{
    const struct loaded_model *part = engine->loaded;
    for (; part; part = loaded_model_next(part)) demand->n_cards++;
    demand->cards = memory_array(demand->n_cards, sizeof *demand->cards);
    if (!demand->cards) return error_set(err, ERROR_NO_MEMORY, "no host memory for the engine");
    part = engine->loaded;
    for (unsigned c = 0; c < demand->n_cards; c++, part = loaded_model_next(part)) {
        struct card_demand *card = &demand->cards[c];
        const struct model_config *config = model_get_config(loaded_model_source(part));
        card->model = loaded_model_source(part);
        card_describe(loaded_model_card(part), &card->info);
        if (c == 0) demand->kv_format = options->kv_format ? options->kv_format : card->info.kv_default;
        int status = kv_format_check(demand->kv_format, &card->info, err);
        if (status < 0) return name_card(demand, c, status, err);
        card->page_bytes = model_page_bytes(card->model, demand->kv_format);
        card->expert_slots = loaded_model_expert_slots(part);
        for (uint32_t i = 0; i < config->n_layers && config->layers; i++)
            card->n_layers += !config->layers[i].is_elsewhere;
        if (card->n_layers == 0) card->n_layers = 1;
        measure_drafts(engine, options, demand, loaded_model_card(part), &card->draft);
    }
    return 0;
}

static int choose_pages(struct engine *engine, const struct engine_options *options, struct demand *demand,
                        struct error *err)
{
    struct engine_limits *limits = &engine->limits;
    *limits = (struct engine_limits){.chunk = demand->chunk, .kv_format = demand->kv_format};
    for (unsigned c = 0; c < demand->n_cards; c++) {
        demand->cards[c].budget = modest_budget(&demand->cards[c].info, options);
        limits->page_bytes += demand->cards[c].page_bytes;
    }
    int status = choose(demand, options, limits, err);
    if (status == ERROR_NO_MEMORY) {
        for (unsigned c = 0; c < demand->n_cards; c++) demand->cards[c].budget = whole_budget(&demand->cards[c].info);
        status = choose(demand, options, limits, err);
    }
    for (unsigned c = 0; c < demand->n_cards; c++) limits->card_bytes_free += demand->cards[c].budget;
    return status < 0 ? status : open_memory(engine, demand, err);
}

int engine_choose_capacity(struct engine *engine, const struct engine_options *options, struct error *err)
{
    const struct model_config *config = model_get_config(loaded_model_source(engine->loaded));
    struct demand demand = {.config = config, .chunk = options->chunk ? options->chunk : DEFAULT_CHUNK};
    int status = check_options(options, config, err);
    if (status == 0) status = measure_cards(engine, options, &demand, err);
    if (status == 0) status = choose_pages(engine, options, &demand, err);
    engine->limits.source = source_for(config, engine->limits.context);
    free(demand.cards);
    return status;
}
