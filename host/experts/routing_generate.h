/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synthetic routing traces with stated skew and locality, the same for the same recipe and seed. Per layer and token,
 * each of the token's experts is
 *   - with probability `repeat` of the layer (small in the first layers, larger in the last) the one that the
 *     sequence's token before used in its place,
 *   - else, with probability topic_share, drawn by Zipf's law from the order of the sequence's topic, one of n_topics
 *     that are the same for all sequences; a token starts another topic with probability 1 / topic_tokens,
 *   - else drawn by Zipf's law from the layer's own order, which never changes,
 * and drawn again if the token has it already. Orders are random permutations.
 *
 * A prediction of distance d names each right expert with probability accuracy^d, and else one drawn as above that is not
 * among the right ones. Its confidence c is calibrated: predictions of confidence c are right with probability c.
 *
 * Which parameters give which hit rates, and the sources, are in README.md. They were fixed before any policy was tuned.
 */
#ifndef SLUICE_EXPERTS_ROUTING_GENERATE_H
#define SLUICE_EXPERTS_ROUTING_GENERATE_H

#include "host/experts/routing_trace.h"

struct routing_recipe {
    struct routing_shape shape; /* weights are never made; model_hash 0 */
    double zipf;                /* exponent of the layer's own order; 0: uniform */
    double topic_zipf;          /* of a topic's order */
    double topic_share;         /* of draws, 0 .. 1 */
    double repeat;              /* mean over layers, 0 .. 1 */
    double repeat_slope;        /* the first layer has repeat * (1 - slope), the last repeat * (1 + slope); 0 .. 1 */
    double topic_tokens;        /* mean length of a topic, at least 1 */
    uint32_t n_topics;          /* at least 1 */
    double accuracy; /* of predictions one layer ahead, 0 < accuracy < 1; ignored without ROUTING_PREDICTED */
};

/* The recipes of README.md: "mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3", "kimi-k2", "control-...". NULL past the last. Static. */
const struct routing_recipe *routing_recipe_at(unsigned index);
const struct routing_recipe *routing_recipe_find(const char *name); /* by shape.model; NULL: none */

struct routing_generator;

/*
 * A generator of steps in which each of n_sequences sequences has one token. The caller closes it. ERROR_BAD_ARGUMENT
 * names the parameter that is out of its range.
 */
int routing_generator_open(const struct routing_recipe *recipe, uint64_t seed, uint32_t n_sequences,
                           struct routing_generator **out, struct error *err);
void routing_generator_close(struct routing_generator *generator); /* NULL does nothing */

/* The next step, without end; its arrays are the generator's until the next call. Allocates nothing. */
void routing_generator_next(struct routing_generator *generator, struct routing_step *step);

#endif
