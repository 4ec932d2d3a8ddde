/* SPDX-License-Identifier: Apache-2.0 */
/* A real model on the simulated card with an engine, opened and closed in one call. */
#ifndef SLUICE_TESTS_MODEL_ENGINE_H
#define SLUICE_TESTS_MODEL_ENGINE_H

#include "host/engine/engine.h"

struct model_engine {
    struct model *model;
    struct tokenizer *tokenizer; /* NULL if the file has none that is supported */
    struct card *card;
    struct loaded_model *loaded;
    struct engine *engine;
};

/* path NULL: the demo model. */
static inline void model_engine_open(struct model_engine *all, const char *path, unsigned threads,
                                     const struct engine_options *options)
{
    struct error err = {0};
    const struct card_options card_options = {.threads = threads, .memory_bytes = 256u << 20};
    const struct model_load_options load_options = {.threads = threads};
    *all = (struct model_engine){0};
    int status = model_open(path, &all->model, &err);
    if (status == 0 && tokenizer_open(model_file(all->model), &all->tokenizer, NULL) < 0) all->tokenizer = NULL;
    if (status == 0) status = card_open("sim", &card_options, &all->card, &err);
    if (status == 0) status = model_load(all->model, all->card, &load_options, &all->loaded, &err);
    if (status == 0) status = engine_open(all->loaded, all->tokenizer, options, &all->engine, &err);
    if (status < 0) fail_msg("%s: %s", path ? path : "demo model", err.text);
}

static inline void model_engine_close(struct model_engine *all)
{
    engine_close(all->engine);
    loaded_model_close(all->loaded);
    card_close(all->card);
    tokenizer_close(all->tokenizer);
    model_close(all->model);
}

#endif
