/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/session.h"

#include "host/cli/pack_model.h"
#include "host/cli/progress.h"
#include "host/engine/kv_format.h"
#include "host/experts/experts.h"
#include "host/experts/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_policy(const char *name)
{
    const char *known;
    for (unsigned i = 0; (known = expert_policy_name_at(i)) != NULL; i++)
        if (strcmp(known, name) == 0) return strcmp(name, "belady") != 0; /* knows the future: of traces only */
    return false;
}

int session_check(const struct command *command, const struct session_options *options)
{
    if (options->memory_mib > UINT64_MAX >> 20)
        return usage_error(command, "--card-memory %llu: more MiB than an address can name",
                           (unsigned long long)options->memory_mib);
    if (options->card && options->cards)
        return usage_error(command, "--card and --cards: one card or several, not both");
    if (options->kv && kv_format_find(options->kv) == 0)
        return usage_error(command, "--kv %s: " KV_FORMAT_NAMES " expected", options->kv);
    if (options->expert_policy && !is_policy(options->expert_policy))
        return usage_error(command, "--expert-policy %s: lru, lfu, profile or adaptive expected",
                           options->expert_policy);
    if (options->expert_guess && !experts_guess_known(options->expert_guess))
        return usage_error(command, "--expert-guess %s: router, table, both or none expected", options->expert_guess);
    if (options->speculate && strcmp(options->speculate, "off") != 0 && !session_lookup(options))
        return usage_error(command, "--speculate %s: lookup or off expected", options->speculate);
    if (options->draft_path && options->speculate)
        return usage_error(command, "--draft and --speculate: one way to guess tokens at a time");
    return -1;
}

bool session_lookup(const struct session_options *options)
{
    return options->speculate && strcmp(options->speculate, "lookup") == 0;
}

unsigned session_kv_format(const struct session_options *options)
{
    return options->kv ? kv_format_find(options->kv) : 0;
}

int session_cached_path(const struct session_options *options, bool quiet, char **path, struct error *err)
{
    *path = NULL;
    if (!options->cache_dir || !options->model_path) return 0;
    return pack_cached(options->model_path, options->cache_dir, options->threads, quiet, path, err);
}

/* Their page formats are looked at before loading takes its time. */
static int open_cards(const struct session_options *options, struct session *session, struct error *err)
{
    const struct card_options card = {.threads = options->threads, .memory_bytes = options->memory_mib << 20};
    int status = options->cards
                     ? card_list_open(options->cards, &card, &session->cards, err)
                     : card_list_open_one(options->card ? options->card : "sim", &card, &session->cards, err);
    if (status < 0) return status;
    session->card = session->cards.card[0];
    session->cards_asked = options->cards;
    for (unsigned i = 0; i < session->cards.n && status == 0; i++) {
        struct card_info info;
        card_describe(session->cards.card[i], &info);
        status = kv_format_check(session_kv_format(options), &info, err);
    }
    return status;
}

static int start_trace(struct session *session, struct error *err)
{
    int status = trace_file_attach(session->trace, &session->cards, err);
    return status < 0 ? error_prefix(err, "--trace") : 0;
}

static int load(const struct session_options *options, bool quiet, struct session *session, struct error *err)
{
    struct progress progress;
    progress_start(&progress, model_name(session->model), quiet);
    const struct model_load_options load_options = {
        .progress = progress_update,
        .progress_context = &progress,
        .threads = options->threads,
        .exact_formats = options->exact_formats,
        .expert_slots = options->expert_slots,
        .expert_policy = options->expert_policy,
        .record_routing = options->record_routing,
        .expert_guess = options->expert_guess,
    };
    int status =
        experts_load_cards(session->model, session->cards.card, session->cards.n, &load_options, &session->loaded, err);
    progress_end(&progress);
    return status;
}

static int load_drafts(const struct session_options *options, struct session *session, struct error *err)
{
    const struct draft_load_options drafts = {
        .lookup = session_lookup(options), .model_path = options->draft_path, .threads = options->threads};
    return draft_load(&drafts, session->model, session->card, &session->drafts, err);
}

/* What a file has and nothing here uses. */
static void print_left_out(const struct session *session)
{
    const size_t n = model_left_out(session->model);
    if (n == 0) return;
    fprintf(stderr, "%zu tensors of layers that predict further tokens are left out (no multi-token prediction)\n", n);
}

static void print_conversion(const struct session *session)
{
    const struct model_conversion *conversion = loaded_model_conversion(session->loaded);
    if (conversion->n_tensors == 0) return;
    fprintf(stderr, "%u matrices have no exact card format and were rounded: relative error %.1e (worst: %s, %.1e)\n",
            conversion->n_tensors, conversion->relative_rms_error, conversion->worst_name,
            conversion->worst_relative_rms_error);
}

/* What each of several cards has, and how experts stream. */
static void print_parts(const struct session *session)
{
    const struct loaded_model *part = session->loaded;
    for (unsigned i = 0; i < session->cards.n; i++, part = loaded_model_next(part)) {
        char label[CARD_LABEL_BYTES], layers[EXPERTS_PART_BYTES], residency[EXPERTS_LINE_BYTES];
        card_list_label(&session->cards, i, label);
        experts_describe_part(part, layers);
        if (session->cards.n > 1) fprintf(stderr, "%s: %s\n", label, layers);
        if (experts_describe(part, residency)) fprintf(stderr, "%s\n", residency);
    }
}

static void print_choice(const struct session_options *options, const struct session *session)
{
    struct card_info info;
    struct engine_limits limits;
    card_describe(session->card, &info);
    engine_get_limits(session->engine, &limits);
    uint32_t trained = model_get_config(session->model)->context_length;
    char why[80];
    if (options->context)
        snprintf(why, sizeof why, "as asked");
    else if (limits.context_is_model_limit)
        snprintf(why, sizeof why, "the model's");
    else
        snprintf(why, sizeof why, "what card memory holds; the model has %u", trained);
    char others[40] = "";
    if (session->cards.n > 1) snprintf(others, sizeof others, ", the first of %u cards", session->cards.n);
    fprintf(stderr, "%s on %s (%s)%s: context of %u tokens (%s), %u sequence%s, KV %s, %.1f MiB of pages\n",
            model_name(session->model), info.backend, info.name, others, limits.context, why, limits.max_sequences,
            limits.max_sequences == 1 ? "" : "s", kv_format_name(limits.kv_format),
            (double)limits.n_pages * (double)limits.page_bytes / (1 << 20));
    print_parts(session);
    if (session->drafts.source && !limits.speculates)
        fprintf(stderr, "no drafts: %s %s\n", model_name(session->model),
                model_get_config(session->model)->n_encoder_layers > 0
                    ? "has an encoder"
                    : "has states that cannot take a wrong token back");
}

int session_open(const struct session_options *options, bool need_tokenizer, bool quiet, struct session *session,
                 struct error *err)
{
    struct engine_options engine_options = {
        .context = options->context,
        .max_sequences = options->max_sequences,
        .chunk = options->chunk,
        .kv_format = session_kv_format(options),
        .queue_limit = options->queue_limit,
    };
    *session = (struct session){0};
    char *cached = NULL;
    int status = options->trace ? trace_file_open(options->trace, &session->trace, err) : 0;
    if (status == 0) status = session_cached_path(options, quiet, &cached, err);
    if (status == 0) status = model_open(cached ? cached : options->model_path, &session->model, err);
    free(cached);
    if (status < 0) goto failed;
    status = tokenizer_open(model_file(session->model), &session->tokenizer, err);
    if (status < 0) {
        session->tokenizer = NULL;
        error_prefix(err, "%s", gguf_path(model_file(session->model)));
        if (need_tokenizer) goto failed;
    }
    status = open_cards(options, session, err);
    if (status < 0) goto failed;
    if (session->trace) status = start_trace(session, err);
    if (status < 0) goto failed;
    status = load(options, quiet, session, err);
    if (status < 0) goto failed;
    status = load_drafts(options, session, err);
    if (status < 0) goto failed;
    engine_options.draft = session->drafts.source;
    status = engine_open(session->loaded, session->tokenizer, &engine_options, &session->engine, err);
    if (status < 0) goto failed;
    if (session->trace) trace_file_follow(session->trace, session->engine);
    if (!quiet) {
        print_left_out(session);
        print_conversion(session);
        print_choice(options, session);
    }
    return 0;
failed:
    session_close(session);
    return status;
}

int session_end_trace(struct session *session, struct error *err)
{
    int status = session->loaded ? experts_end_recording(session->loaded, err) : 0;
    if (!session->trace) return status;
    for (unsigned i = 0; i < session->cards.n; i++) card_trace(session->cards.card[i], NULL, NULL);
    const int closed = trace_file_close(session->trace, status < 0 ? NULL : err);
    session->trace = NULL;
    return status < 0 ? status : closed;
}

void session_close(struct session *session)
{
    if (session->card) session_end_trace(session, NULL);
    trace_file_close(session->trace, NULL);
    engine_close(session->engine);
    draft_load_close(&session->drafts);
    loaded_model_close(session->loaded);
    card_list_close(&session->cards);
    tokenizer_close(session->tokenizer);
    model_close(session->model);
    *session = (struct session){0};
}
