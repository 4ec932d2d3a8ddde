/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's thread: it opens the card, loads the model, opens the engine and runs it. The loop's thread asks how far
 * it is and, from SERVING_READY on, submits completions.
 */
#ifndef SLUICE_SERVE_SERVING_H
#define SLUICE_SERVE_SERVING_H

#include "host/card/card_list.h"
#include "host/engine/engine.h"
#include "host/experts/experts.h"
#include "host/serve/serve.h"
#include "host/text/chat.h"

enum serving_state { SERVING_LOADING, SERVING_READY, SERVING_FAILED };

struct serving; /* opaque */

/*
 * Starts the thread. model is borrowed until serving_close. wake(context) is called from the thread when the state has
 * changed. *out is owned: serving_close.
 */
int serving_open(const struct model *model, const struct serve_options *options, void (*wake)(void *context),
                 void *context, struct serving **out, struct error *err);

/*
 * Ends the load or the engine's run, waits for the thread and frees all; completions that still run end with
 * FINISH_CANCELLED before it returns (their callbacks come on this thread). NULL is allowed.
 */
void serving_close(struct serving *serving);

/* Ends the engine's thread after a failure and ends what it had under way, in the same way as serving_close. */
void serving_end_engine(struct serving *serving);

enum serving_state serving_state(const struct serving *serving);
unsigned serving_percent(const struct serving *serving);          /* 0..100: weights loaded */
const struct error *serving_error(const struct serving *serving); /* SERVING_FAILED: why */

/* What is there from SERVING_READY on, immutable and owned by serving. */
struct serving_model {
    struct engine *engine;
    const struct tokenizer *tokenizer;
    struct engine_limits limits;
    int chat_status; /* 0, or chat_open's error in chat_error */
    struct chat *chat;
    struct error chat_error;
    const struct model_conversion *conversion;
    unsigned n_cards;
    struct serving_card {
        char label[CARD_LABEL_BYTES]; /* as card_list.h has it */
        const char *spec;             /* what it was asked for */
        uint32_t first_layer, n_layers;
        struct card_info info;              /* once the weights are on it */
        char residency[EXPERTS_LINE_BYTES]; /* experts_describe; empty: experts do not stream */
        const struct loaded_model *part;
    } card[CARD_LIST_MOST];
    double load_seconds;
};
const struct serving_model *serving_model(const struct serving *serving);

#endif
