/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers are Philox words counted by (sequence, token, layer), so that a layer's choices do not depend on how
 * many numbers another needed. Probabilities are 32-bit thresholds: no floating point after opening.
 */
#include "host/experts/routing_generate.h"

#include "host/base/memory.h"
#include "host/base/philox.h"

#include <math.h>
#include <string.h>

#define DRAWS 64u /* of an expert that the token has not yet; then the next free one is taken */

/* What words are drawn for: the top of the counter's last word. */
enum purpose { PURPOSE_CHOICE, PURPOSE_TOPIC, PURPOSE_PREDICTION, PURPOSE_ORDER };

struct words {
    uint32_t key[2], counter[4], block[4];
    unsigned n; /* taken of the block */
};

struct routing_generator {
    struct routing_shape shape;
    uint32_t n_sequences, n_topics, token;
    uint32_t key[2];
    uint32_t topic_share, topic_end; /* thresholds of a 32-bit word */
    uint32_t *repeat;                /* [layer], thresholds */
    uint32_t *own, *topical;         /* [expert] cumulative weights by rank, 2^32 - 1 at the end */
    uint16_t *order;                 /* [1 + topic][layer][rank]: 0 is the layer's own */
    uint32_t *topic;                 /* [sequence] */
    uint32_t *sequence;              /* [row], 0, 1, ... */
    uint16_t *choice, *predicted;    /* as in a step */
    uint16_t *before;                /* [layer][sequence][used]: the token before */
    uint8_t *confidence;
    uint8_t *sure; /* [distance - 1][256]: quantiles of confidence */
};

static struct words words_for(const struct routing_generator *generator, uint32_t sequence, uint32_t layer,
                              enum purpose purpose)
{
    return (struct words){
        .key = {generator->key[0], generator->key[1]},
        .counter = {0, generator->token, sequence, (uint32_t)purpose << 24 | layer},
        .n = 4,
    };
}

static uint32_t next_word(struct words *words)
{
    if (words->n == 4) {
        memcpy(words->block, words->counter, sizeof words->block);
        philox4x32(words->block, words->key);
        words->counter[0]++;
        words->n = 0;
    }
    return words->block[words->n++];
}

/* 0 .. below - 1; a bias of below / 2^32 */
static uint32_t next_below(struct words *words, uint32_t below)
{
    return (uint32_t)((uint64_t)next_word(words) * below >> 32);
}

static uint32_t threshold(double probability)
{
    return probability >= 1 ? UINT32_MAX : (uint32_t)(probability * 4294967296.0);
}

/* Weight of rank r is (r + 1)^-exponent. */
static void fill_zipf(uint32_t *cumulative, uint32_t n, double exponent)
{
    double total = 0, sum = 0;
    for (uint32_t r = 0; r < n; r++) total += pow(r + 1, -exponent);
    for (uint32_t r = 0; r < n; r++) {
        sum += pow(r + 1, -exponent);
        cumulative[r] = r + 1 == n ? UINT32_MAX : (uint32_t)(sum / total * 4294967295.0);
    }
}

/* The first rank whose cumulative weight is at least the word. */
static uint32_t draw_rank(const uint32_t *cumulative, uint32_t n, uint32_t word)
{
    uint32_t low = 0, high = n - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (cumulative[middle] < word)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void fill_orders(struct routing_generator *generator)
{
    uint32_t n = generator->shape.n_experts;
    for (uint32_t t = 0; t <= generator->n_topics; t++) {
        for (uint32_t layer = 0; layer < generator->shape.n_layers; layer++) {
            uint16_t *order = generator->order + ((size_t)t * generator->shape.n_layers + layer) * n;
            struct words words = words_for(generator, t, layer, PURPOSE_ORDER);
            for (uint32_t r = 0; r < n; r++) order[r] = (uint16_t)r;
            for (uint32_t r = n - 1; r > 0; r--) {
                uint32_t other = next_below(&words, r + 1);
                uint16_t swapped = order[r];
                order[r] = order[other];
                order[other] = swapped;
            }
        }
    }
}

/* Density of a confidence c: that of u^((1 - a) / a), u uniform, which has mean a. */
static void fill_sure(uint8_t *sure, double accuracy)
{
    for (unsigned i = 0; i < 256; i++) sure[i] = (uint8_t)lrint(pow((i + 0.5) / 256, (1 - accuracy) / accuracy) * 255);
}

static int check_recipe(const struct routing_recipe *recipe, uint32_t n_sequences, struct error *err)
{
    int status = routing_shape_check(&recipe->shape, err);
    if (status < 0) return status;
    bool predicts = recipe->shape.flags & ROUTING_PREDICTED;
    const struct {
        const char *name;
        double value, least, most;
    } bounds[] = {
        {"zipf", recipe->zipf, 0, 10},
        {"topic_zipf", recipe->topic_zipf, 0, 10},
        {"topic_share", recipe->topic_share, 0, 1},
        {"repeat", recipe->repeat, 0, 1},
        {"repeat_slope", recipe->repeat_slope, 0, 1},
        {"topic_tokens", recipe->topic_tokens, 1, 1e9},
        {"n_topics", recipe->n_topics, 1, 4096},
        {"accuracy", predicts ? recipe->accuracy : 0.5, 0.01, 0.9999},
        {"sequences", n_sequences, 1, ROUTING_MAX_ROWS},
    };
    for (unsigned i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (!(bounds[i].value >= bounds[i].least && bounds[i].value <= bounds[i].most))
            return error_set(err, ERROR_BAD_ARGUMENT, "a routing trace cannot be made with %s %g (%g to %g)",
                             bounds[i].name, bounds[i].value, bounds[i].least, bounds[i].most);
    }
    if (recipe->shape.flags & ROUTING_WEIGHTS)
        return error_set(err, ERROR_BAD_ARGUMENT, "a routing trace cannot be made with weights (leave the flag out)");
    return 0;
}

static bool take_memory(struct routing_generator *generator)
{
    const struct routing_shape *shape = &generator->shape;
    size_t n = (size_t)shape->n_layers * generator->n_sequences * shape->n_used;
    generator->repeat = memory_array(shape->n_layers, sizeof *generator->repeat);
    generator->own = memory_array(shape->n_experts, sizeof *generator->own);
    generator->topical = memory_array(shape->n_experts, sizeof *generator->topical);
    generator->order =
        memory_array((size_t)(generator->n_topics + 1) * shape->n_layers * shape->n_experts, sizeof *generator->order);
    generator->topic = memory_array(generator->n_sequences, sizeof *generator->topic);
    generator->sequence = memory_array(generator->n_sequences, sizeof *generator->sequence);
    generator->choice = memory_array(n, sizeof *generator->choice);
    generator->before = memory_array(n, sizeof *generator->before);
    if (!generator->repeat || !generator->own || !generator->topical || !generator->order || !generator->topic ||
        !generator->sequence || !generator->choice || !generator->before)
        return false;
    if (shape->depth == 0) return true;
    generator->predicted = memory_array(n * shape->depth, sizeof *generator->predicted);
    generator->confidence = memory_array(n * shape->depth, sizeof *generator->confidence);
    generator->sure = memory_array((size_t)shape->depth * 256, sizeof *generator->sure);
    return generator->predicted && generator->confidence && generator->sure;
}

int routing_generator_open(const struct routing_recipe *recipe, uint64_t seed, uint32_t n_sequences,
                           struct routing_generator **out, struct error *err)
{
    *out = NULL;
    int status = check_recipe(recipe, n_sequences, err);
    if (status < 0) return status;
    struct routing_generator *generator = memory_array(1, sizeof *generator);
    if (!generator) return error_set(err, ERROR_NO_MEMORY, "no host memory to make a routing trace");
    generator->shape = recipe->shape;
    generator->n_sequences = n_sequences;
    generator->n_topics = recipe->n_topics;
    generator->key[0] = (uint32_t)seed;
    generator->key[1] = (uint32_t)(seed >> 32);
    generator->topic_share = threshold(recipe->topic_share);
    generator->topic_end = threshold(1 / recipe->topic_tokens);
    if (!take_memory(generator)) {
        routing_generator_close(generator);
        return error_set(err, ERROR_NO_MEMORY, "no host memory to make a routing trace");
    }
    uint32_t n_layers = recipe->shape.n_layers;
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        double depth = n_layers > 1 ? 2.0 * layer / (n_layers - 1) - 1 : 0; /* -1 .. 1 */
        generator->repeat[layer] = threshold(fmin(1, recipe->repeat * (1 + recipe->repeat_slope * depth)));
    }
    fill_zipf(generator->own, recipe->shape.n_experts, recipe->zipf);
    fill_zipf(generator->topical, recipe->shape.n_experts, recipe->topic_zipf);
    fill_orders(generator);
    for (uint32_t d = 0; d < recipe->shape.depth; d++)
        fill_sure(generator->sure + d * 256, pow(recipe->accuracy, d + 1));
    for (uint32_t s = 0; s < n_sequences; s++) generator->sequence[s] = s;
    *out = generator;
    return 0;
}

void routing_generator_close(struct routing_generator *generator)
{
    if (!generator) return;
    free(generator->repeat);
    free(generator->own);
    free(generator->topical);
    free(generator->order);
    free(generator->topic);
    free(generator->sequence);
    free(generator->choice);
    free(generator->predicted);
    free(generator->before);
    free(generator->confidence);
    free(generator->sure);
    free(generator);
}

static bool among(const uint16_t *experts, uint32_t n, uint32_t expert)
{
    for (uint32_t i = 0; i < n; i++)
        if (experts[i] == expert) return true;
    return false;
}

static uint16_t draw_expert(const struct routing_generator *generator, uint32_t sequence, uint32_t layer,
                            struct words *words)
{
    const struct routing_shape *shape = &generator->shape;
    bool topical = next_word(words) < generator->topic_share;
    uint32_t rank = draw_rank(topical ? generator->topical : generator->own, shape->n_experts, next_word(words));
    uint32_t order = topical ? 1 + generator->topic[sequence] : 0;
    return generator->order[((size_t)order * shape->n_layers + layer) * shape->n_experts + rank];
}

/* One that is neither among the n taken nor the m others; n + m may not be all experts. */
static uint16_t draw_other(const struct routing_generator *generator, uint32_t sequence, uint32_t layer,
                           struct words *words, const uint16_t *taken, uint32_t n, const uint16_t *others, uint32_t m)
{
    uint32_t expert = draw_expert(generator, sequence, layer, words);
    for (unsigned i = 1; i < DRAWS && (among(taken, n, expert) || among(others, m, expert)); i++)
        expert = draw_expert(generator, sequence, layer, words);
    while (among(taken, n, expert) || among(others, m, expert)) expert = (expert + 1) % generator->shape.n_experts;
    return (uint16_t)expert;
}

/* Repeated experts first, so that they keep their place, then new ones in the places that are left. */
static void choose(struct routing_generator *generator, uint32_t sequence, uint32_t layer, uint16_t *choice,
                   const uint16_t *before)
{
    const struct routing_shape *shape = &generator->shape;
    struct words words = words_for(generator, sequence, layer, PURPOSE_CHOICE);
    for (uint32_t i = 0; i < shape->n_used; i++) {
        bool repeats = next_word(&words) < generator->repeat[layer] && generator->token > 0;
        choice[i] = repeats ? before[i] : ROUTING_NO_EXPERT;
    }
    for (uint32_t i = 0; i < shape->n_used; i++)
        if (choice[i] == ROUTING_NO_EXPERT)
            choice[i] = draw_other(generator, sequence, layer, &words, choice, shape->n_used, NULL, 0);
}

static void predict(struct routing_generator *generator, uint32_t sequence, uint32_t layer, uint32_t distance,
                    const uint16_t *choice, uint16_t *predicted, uint8_t *confidence)
{
    const struct routing_shape *shape = &generator->shape;
    struct words words = words_for(generator, sequence, layer | distance << 16, PURPOSE_PREDICTION);
    const uint8_t *sure = generator->sure + (distance - 1) * 256;
    /* a wrong one must be free to choose: 2 * used experts are enough */
    bool room = 2 * shape->n_used <= shape->n_experts;
    for (uint32_t i = 0; i < shape->n_used; i++) {
        confidence[i] = sure[next_word(&words) >> 24];
        bool right = next_below(&words, 255) < confidence[i] || !room;
        predicted[i] =
            right ? choice[i] : draw_other(generator, sequence, layer, &words, choice, shape->n_used, predicted, i);
    }
}

static void predict_none(uint16_t *predicted, uint8_t *confidence, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) predicted[i] = ROUTING_NO_EXPERT;
    memset(confidence, 0, n);
}

static void make_layer(struct routing_generator *generator, uint32_t sequence, uint32_t layer)
{
    const struct routing_shape *shape = &generator->shape;
    uint32_t n = shape->n_used;
    uint16_t *choice = generator->choice + ((size_t)layer * generator->n_sequences + sequence) * n;
    choose(generator, sequence, layer, choice, generator->before + (choice - generator->choice));
    for (uint32_t d = 1; d <= shape->depth; d++) {
        size_t at = (((size_t)layer * shape->depth + d - 1) * generator->n_sequences + sequence) * n;
        if (layer < d)
            predict_none(generator->predicted + at, generator->confidence + at, n);
        else
            predict(generator, sequence, layer, d, choice, generator->predicted + at, generator->confidence + at);
    }
}

void routing_generator_next(struct routing_generator *generator, struct routing_step *step)
{
    const struct routing_shape *shape = &generator->shape;
    size_t n = (size_t)shape->n_layers * generator->n_sequences * shape->n_used;
    memcpy(generator->before, generator->choice, n * sizeof *generator->before);
    for (uint32_t s = 0; s < generator->n_sequences; s++) {
        struct words words = words_for(generator, s, 0, PURPOSE_TOPIC);
        if (next_word(&words) < generator->topic_end || generator->token == 0)
            generator->topic[s] = next_below(&words, generator->n_topics);
        for (uint32_t layer = 0; layer < shape->n_layers; layer++) make_layer(generator, s, layer);
    }
    generator->token++;
    *step = (struct routing_step){
        .n_rows = generator->n_sequences,
        .sequence = generator->sequence,
        .choice = generator->choice,
        .predicted = generator->predicted,
        .confidence = generator->confidence,
    };
}
