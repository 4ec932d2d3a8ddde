/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/serving.h"
#include "host/base/memory.h"
#include "host/engine/draft_load.h"
#include "host/engine/kv_format.h"
#include "host/experts/experts.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct serving {
    const struct model *source;
    struct serve_options options;
    void (*wake)(void *context);
    void *wake_context;

    pthread_t thread;
    bool joined;
    _Atomic int state; /* enum serving_state; what it announces was written before it */
    _Atomic unsigned percent;
    _Atomic bool stop_asked; /* while loading */

    /* Written by the thread before SERVING_READY or SERVING_FAILED, read-only after. */
    struct error err;
    struct serving_model model;
    struct card_list cards;
    struct tokenizer *tokenizer;
    struct loaded_model *loaded;
    struct draft_load drafts;
};

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    struct serving *serving = context;
    double share = total ? (double)done / (double)total : 1;
    unsigned percent = share < 1 ? (unsigned)(share * 100) : 100;
    atomic_store_explicit(&serving->percent, percent, memory_order_relaxed);
    return atomic_load_explicit(&serving->stop_asked, memory_order_relaxed);
}

static void describe_cards(struct serving *serving)
{
    const struct loaded_model *part = serving->loaded;
    serving->model.n_cards = serving->cards.n;
    for (unsigned i = 0; i < serving->cards.n; i++, part = loaded_model_next(part)) {
        struct serving_card *card = &serving->model.card[i];
        uint32_t end;
        card_list_label(&serving->cards, i, card->label);
        card->spec = serving->cards.spec[i];
        card_describe(serving->cards.card[i], &card->info);
        model_part_layers(loaded_model_source(part), &card->first_layer, &end);
        card->n_layers = end - card->first_layer;
        card->part = part;
        (void)experts_describe(part, card->residency);
    }
}

static int load(struct serving *serving, struct error *err)
{
    const struct serve_options *options = &serving->options;
    struct serving_model *model = &serving->model;
    int status = tokenizer_open(model_file(serving->source), &serving->tokenizer, err);
    if (status < 0) return error_prefix(err, "%s", gguf_path(model_file(serving->source)));
    model->tokenizer = serving->tokenizer;
    model->chat_status = chat_open(model_file(serving->source), model->tokenizer, &model->chat, &model->chat_error);

    const struct model_load_options how = {.progress = on_progress,
                                           .progress_context = serving,
                                           .threads = options->threads,
                                           .exact_formats = options->exact_formats,
                                           .expert_slots = options->expert_slots,
                                           .expert_policy = options->expert_policy,
                                           .expert_guess = options->expert_guess,
                                           .record_routing = options->record_routing};
    status = experts_load_cards(serving->source, serving->cards.card, serving->cards.n, &how, &serving->loaded, err);
    if (status < 0) return status;
    const struct draft_load_options drafts = {
        .lookup = options->lookup, .model_path = options->draft_path, .threads = options->threads};
    status = draft_load(&drafts, serving->source, serving->cards.card[0], &serving->drafts, err);
    if (status < 0) return status;
    const struct engine_options engine = {.context = options->context,
                                          .max_sequences = options->max_sequences,
                                          .chunk = options->chunk,
                                          .kv_format = options->kv_format,
                                          .queue_limit = options->queue_limit,
                                          .draft = serving->drafts.source};
    status = engine_open(serving->loaded, serving->tokenizer, &engine, &model->engine, err);
    if (status < 0) return status;
    engine_get_limits(model->engine, &model->limits);
    model->conversion = loaded_model_conversion(serving->loaded);
    describe_cards(serving);
    return 0;
}

static void announce(struct serving *serving, enum serving_state state)
{
    atomic_store(&serving->state, (int)state);
    serving->wake(serving->wake_context);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
}

static void *run(void *context)
{
    struct serving *serving = context;
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int status = load(serving, &serving->err);
    if (status == 0) {
        serving->model.load_seconds = seconds_since(&start);
        announce(serving, SERVING_READY);
        /* Whoever stops sets stop_asked and then looks at the state; here it is the other way round, so one of the two
           sees the other (both are sequentially consistent). */
        if (!atomic_load(&serving->stop_asked)) status = engine_run(serving->model.engine, &serving->err);
        if (status == 0) status = experts_end_recording(serving->loaded, &serving->err);
    }
    if (status < 0) announce(serving, SERVING_FAILED);
    return NULL;
}

static int open_cards(struct serving *serving, struct error *err)
{
    const struct serve_options *options = &serving->options;
    const struct card_options how = {.threads = options->threads, .memory_bytes = options->card_memory_bytes};
    int status = options->cards ? card_list_open(options->cards, &how, &serving->cards, err)
                                : card_list_open_one(options->card, &how, &serving->cards, err);
    for (unsigned i = 0; i < serving->cards.n && status == 0; i++) {
        struct card_info info;
        card_describe(serving->cards.card[i], &info);
        status = kv_format_check(options->kv_format, &info, err); /* before loading takes its time */
    }
    if (status < 0) card_list_close(&serving->cards);
    return status;
}

/* The cards are opened here, so that a wrong name is an error at start, and they are the thread's from then on. */
static int start_thread(struct serving *serving, struct error *err)
{
    int status = open_cards(serving, err);
    if (status < 0) return status;
    int failed = pthread_create(&serving->thread, NULL, run, serving);
    if (failed) {
        card_list_close(&serving->cards);
        return error_set(err, ERROR_NO_MEMORY, "cannot start the engine's thread: %s", strerror(failed));
    }
    pthread_setname_np(serving->thread, "sluice-engine");
    return 0;
}

int serving_open(const struct model *model, const struct serve_options *options, void (*wake)(void *context),
                 void *context, struct serving **out, struct error *err)
{
    struct serving *serving = memory_array(1, sizeof *serving);
    if (!serving) return error_set(err, ERROR_NO_MEMORY, "no memory for the server");
    serving->source = model;
    serving->options = *options;
    serving->wake = wake;
    serving->wake_context = context;
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);                   /* a thread's own: host/base/map_guard.h */
    pthread_sigmask(SIG_BLOCK, &all, &before); /* new threads, the card's too, leave signals to the loop */
    int status = start_thread(serving, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status < 0) {
        free(serving);
        return status;
    }
    *out = serving;
    return 0;
}

void serving_end_engine(struct serving *serving)
{
    if (serving->joined) return;
    atomic_store(&serving->stop_asked, true);
    if (serving_state(serving) == SERVING_READY) engine_stop(serving->model.engine, false);
    pthread_join(serving->thread, NULL);
    serving->joined = true;
    engine_close(serving->model.engine); /* this thread is its owner now */
    serving->model.engine = NULL;
}

void serving_close(struct serving *serving)
{
    if (!serving) return;
    serving_end_engine(serving);
    draft_load_close(&serving->drafts);
    loaded_model_close(serving->loaded);
    card_list_close(&serving->cards);
    chat_close(serving->model.chat);
    tokenizer_close(serving->tokenizer);
    free(serving);
}

enum serving_state serving_state(const struct serving *serving)
{
    return (enum serving_state)atomic_load(&serving->state);
}

unsigned serving_percent(const struct serving *serving)
{
    return atomic_load_explicit(&serving->percent, memory_order_relaxed);
}

const struct error *serving_error(const struct serving *serving) { return &serving->err; }
const struct serving_model *serving_model(const struct serving *serving) { return &serving->model; }
