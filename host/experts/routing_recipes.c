/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shapes from the models' published configurations (layers with experts only); parameters as README.md derives them.
 * The controls have one property each, so that a policy that lives on another one shows.
 */
#include "host/experts/routing_generate.h"

#include <string.h>

#define PREDICTED .depth = 2, .flags = ROUTING_PREDICTED
#define CONTROL .n_layers = 16, .n_experts = 64, .n_used = 6, PREDICTED

/* zipf, topic_zipf, topic_share, repeat, repeat_slope, topic_tokens, n_topics, accuracy */
static const struct routing_recipe recipes[] = {
    {{"mixtral-8x7b", .n_layers = 32, .n_experts = 8, .n_used = 2, PREDICTED}, 0.3, 1.0, 0.5, 0.2, 0.8, 300, 64, 0.85},
    {{"qwen3-30b-a3b", .n_layers = 48, .n_experts = 128, .n_used = 8, PREDICTED},
     0.7,
     1,
     0.35,
     0.15,
     0.8,
     300,
     64,
     0.947},
    {{"deepseek-v3", .n_layers = 58, .n_experts = 256, .n_used = 8, PREDICTED},
     0.75,
     0.9,
     0.35,
     0.1,
     0.8,
     300,
     64,
     0.93},
    {{"kimi-k2", .n_layers = 60, .n_experts = 384, .n_used = 8, PREDICTED}, 0.4, 1.0, 0.5, 0.3, 0.8, 300, 64, 0.93},
    {{"control-uniform", CONTROL}, 0, 0, 0, 0, 0, 300, 1, 0.9},
    {{"control-skew", CONTROL}, 0.9, 0, 0, 0, 0, 300, 1, 0.9},
    {{"control-repeat", CONTROL}, 0, 0, 0, 0.5, 0.5, 300, 1, 0.9},
    {{"control-topics", CONTROL}, 0, 1.2, 0.9, 0, 0, 300, 64, 0.9},
};

const struct routing_recipe *routing_recipe_at(unsigned index)
{
    return index < sizeof recipes / sizeof recipes[0] ? &recipes[index] : NULL;
}

const struct routing_recipe *routing_recipe_find(const char *name)
{
    for (unsigned i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        if (strcmp(recipes[i].shape.model, name) == 0) return &recipes[i];
    return NULL;
}
