/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes: which pools and tables an architecture needs, and what a layer has. Memory is taken in shape_allocate.c. */
#include "host/plan/shape_place.h"

#include "host/base/memory.h"

struct shape_layer_place *shape_place_layer(const struct shape_place *place, uint32_t layer)
{
    return &place->layers[layer - place->options.first_layer];
}

bool shape_place_has_output(const struct shape_place *place)
{
    return place->options.end_layer == place->architecture->n_layers;
}

uint32_t shape_place_width(const struct shape_place *place)
{
    uint32_t streams = place->architecture->hyper_streams;
    return place->architecture->d_model * (streams > 1 ? streams : 1);
}

bool shape_place_streams(const struct shape_place *place)
{
    return place->options.expert_slots != 0 || place->options.pool_slots != 0;
}

uint32_t shape_place_slots(const struct shape_place *place, const struct ffn_shape *ffn)
{
    uint32_t slots = place->options.expert_slots;
    return slots == 0 || slots > ffn->experts ? ffn->experts : slots;
}

uint64_t shape_state_bytes(const struct attention_shape *a)
{
    if (a->kind != ATTENTION_LINEAR) return 0;
    uint64_t scan = (uint64_t)a->heads * a->key_dim * a->value_dim;
    return (scan + (uint64_t)(a->conv_width - 1) * shape_conv_features(a)) * sizeof(float);
}

uint32_t shape_table_pages(const struct shape_table_kind *kind, uint32_t tokens)
{
    uint32_t entries = tokens / kind->rate + (tokens % kind->rate != 0);
    if (kind->window != 0 && kind->window < entries) entries = kind->window;
    return entries / CARD_PAGE_TOKENS + (entries % CARD_PAGE_TOKENS != 0 || entries == 0);
}

static unsigned table_of(struct shape_place *place, uint32_t rate, uint32_t window)
{
    unsigned i = 0;
    while (i < place->n_tables && (place->tables[i].rate != rate || place->tables[i].window != window)) i++;
    if (i == place->n_tables && i < sizeof place->tables / sizeof place->tables[0])
        place->tables[place->n_tables++] = (struct shape_table_kind){rate, window};
    return i;
}

static void add_pool(struct shape_place *place, struct shape_pool_place *pool, uint32_t kv_heads, uint32_t key_dim,
                     uint32_t value_dim, uint32_t rate, uint32_t window)
{
    unsigned table = table_of(place, rate, window);
    const struct shape_options *options = &place->options;
    *pool = (struct shape_pool_place){.kv_heads = kv_heads, .key_dim = key_dim, .value_dim = value_dim, .table = table};
    if (table < place->n_tables)
        pool->n_pages = options->max_sequences * shape_table_pages(&place->tables[table], options->max_context);
    pool->page_bytes = card_page_bytes(options->kv_format, kv_heads, key_dim, value_dim);
}

/* The window of compressed attention, with room for a step's own tokens before they fall out of it. */
static uint32_t kept_entries(const struct shape_place *place, const struct attention_shape *a)
{
    uint64_t kept = card_round_up((uint64_t)a->window + place->options.max_tokens, CARD_PAGE_TOKENS) + CARD_PAGE_TOKENS;
    return kept < UINT32_MAX >> 1 ? (uint32_t)kept : UINT32_MAX >> 1;
}

static void add_pools(struct shape_place *place, uint32_t layer)
{
    const struct attention_shape *a = &place->architecture->layers[layer].attention;
    struct shape_pool_place *pools = shape_place_layer(place, layer)->pools;
    bool indexes = a->indexer.top_k != 0 && !a->indexer.shared;
    switch (a->kind) {
    case ATTENTION_LINEAR: return;
    case ATTENTION_HEADS: add_pool(place, &pools[SHAPE_POOL_KV], a->kv_heads, a->key_dim, a->value_dim, 1, 0); return;
    case ATTENTION_LATENT:
        add_pool(place, &pools[SHAPE_POOL_KV], 1, a->kv_rank + a->rope_dims, 0, 1, 0);
        if (indexes) add_pool(place, &pools[SHAPE_POOL_INDEX], 1, a->indexer.head_dim, 0, 1, 0);
        return;
    case ATTENTION_COMPRESSED: break;
    }
    add_pool(place, &pools[SHAPE_POOL_KV], 1, a->key_dim, 0, 1, kept_entries(place, a));
    if (a->compress_rate == 0) return;
    add_pool(place, &pools[SHAPE_POOL_COMPRESSED], 1, a->key_dim, 0, a->compress_rate, 0);
    if (indexes) add_pool(place, &pools[SHAPE_POOL_INDEX_COMPRESSED], 1, a->indexer.head_dim, 0, a->compress_rate, 0);
}

static int check_options(const struct architecture *architecture, const struct shape_options *options,
                         struct error *err)
{
    uint32_t n = architecture->n_layers;
    if (options->end_layer > n || options->first_layer >= options->end_layer)
        return error_set(err, ERROR_BAD_ARGUMENT, "layers %u to %u of a model of %u", options->first_layer,
                         options->end_layer, n);
    if (options->max_tokens > CARD_MAX_TOKENS || options->max_logit_rows > options->max_tokens)
        return error_set(err, ERROR_BAD_ARGUMENT, "a step of %u tokens with %u rows of logits (a card takes %u)",
                         options->max_tokens, options->max_logit_rows, CARD_MAX_TOKENS);
    if (options->max_context > CARD_MAX_POSITIONS)
        return error_set(err, ERROR_TOO_LARGE, "a context of %u tokens is more than a card's %u", options->max_context,
                         CARD_MAX_POSITIONS);
    if ((uint64_t)options->max_sequences * (options->max_context / CARD_PAGE_TOKENS + 1) >= 1u << 28)
        return error_set(err, ERROR_TOO_LARGE, "%u sequences of %u tokens are more pages than a card takes",
                         options->max_sequences, options->max_context);
    if (options->expert_slots != 0 && options->pool_slots != 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "slots of each layer, and slots that layers share");
    for (uint32_t i = options->first_layer; i < options->end_layer; i++)
        if (options->expert_slots != 0 && options->expert_slots < architecture->layers[i].ffn.experts_used)
            return error_set(err, ERROR_BAD_ARGUMENT, "%u slots for experts, of which a token uses %u",
                             options->expert_slots, architecture->layers[i].ffn.experts_used);
    for (uint32_t i = options->first_layer; i < options->end_layer && options->pool_slots != 0; i++) {
        const struct ffn_shape *ffn = &architecture->layers[i].ffn;
        const uint64_t most = (uint64_t)options->max_tokens * ffn->experts_used;
        const uint64_t needed = most < ffn->experts ? most : ffn->experts;
        if (options->pool_slots < needed)
            return error_set(err, ERROR_BAD_ARGUMENT, "%u slots for experts, of which layer %u may need %llu at once",
                             options->pool_slots, i, (unsigned long long)needed);
    }
    return 0;
}

/* Bytes of all pages, which others add to: far from what 64 bits hold. */
static int check_pools(const struct shape_place *place, struct error *err)
{
    uint64_t total = 0;
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++)
        for (unsigned pool = 0; pool < SHAPE_POOLS; pool++) {
            const struct shape_pool_place *p = &shape_place_layer(place, i)->pools[pool];
            total += p->page_bytes * p->n_pages; /* each at most 2^31 * 2^28 */
            if (total > 1ull << 58) return error_set(err, ERROR_TOO_LARGE, "KV pages of more than 2^58 bytes");
        }
    return 0;
}

/* The first table is the one by which query and key turn. */
static void first_table(struct shape_place *place)
{
    const struct attention_shape *a = &place->architecture->layers[place->options.first_layer].attention;
    (void)table_of(place, 1, a->kind == ATTENTION_COMPRESSED ? kept_entries(place, a) : 0);
}

int shape_place_open(const struct architecture *architecture, const struct shape_options *options,
                     struct shape_place *place, struct error *err)
{
    *place = (struct shape_place){.architecture = architecture, .options = *options, .banks = 1, .pool_banks = 1};
    if (place->options.end_layer == 0) place->options.end_layer = architecture->n_layers;
    int result = check_options(architecture, &place->options, err);
    if (result < 0) return result;
    place->layers = memory_array(place->options.end_layer - place->options.first_layer, sizeof *place->layers);
    if (place->layers == NULL)
        return error_set(err, ERROR_NO_MEMORY, "a shape of %u layers: out of memory", architecture->n_layers);
    first_table(place);
    for (uint32_t i = place->options.first_layer; i < place->options.end_layer; i++) {
        shape_layer_tensors(architecture, i, shape_place_layer(place, i)->tensors);
        add_pools(place, i);
        if (place->n_tables < sizeof place->tables / sizeof place->tables[0]) continue;
        for (unsigned pool = 0; pool < SHAPE_POOLS && result == 0; pool++)
            if (shape_place_layer(place, i)->pools[pool].table >= place->n_tables)
                result = error_set(err, ERROR_UNSUPPORTED,
                                   "layer %u: more kinds of batch tables than a shape program has", i);
    }
    shape_model_tensors(architecture, place->model);
    return result < 0 ? result : check_pools(place, err);
}
