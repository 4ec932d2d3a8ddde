/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/session.h"

#include "host/cli/progress.h"
#include "host/experts/experts.h"

#include <stdio.h>
#include <string.h>

static const char *kv_name(unsigned format)
{
    return format == CARD_FORMAT_F16 ? "f16" : format == CARD_FORMAT_F32 ? "f32" : "unknown";
}

/* The page format that --kv names: 0 without --kv. int8 and int4 are names of the house that no card here has. */
static int find_kv_format(const struct session_options *options, const struct card_info *info, unsigned *format,
                          struct error *err)
{
    static const struct {
        const char *name;
        unsigned format; /* 0: known, but in no card of this build */
    } names[] = {{"f16", CARD_FORMAT_F16}, {"f32", CARD_FORMAT_F32}, {"int8", 0}, {"int4", 0}};
    *format = 0;
    if (!options->kv) return 0;
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(options->kv, names[i].name) != 0) continue;
        known = true;
        *format = names[i].format;
    }
    if (*format != 0 && info->kv_formats & 1u << *format) return 0;
    bool f16 = info->kv_formats & 1u << CARD_FORMAT_F16, f32 = info->kv_formats & 1u << CARD_FORMAT_F32;
    return error_set(err, known ? ERROR_UNSUPPORTED : ERROR_BAD_ARGUMENT, "--kv %s: %s; the %s card has %s%s%s",
                     options->kv, known ? "no such KV pages" : "not a page format", info->backend, f16 ? "f16" : "",
                     f16 && f32 ? " and " : "", f32 ? "f32" : "");
}

static int open_card(const struct session_options *options, struct session *session, struct error *err)
{
    if (options->memory_mib > UINT64_MAX >> 20)
        return error_set(err, ERROR_BAD_ARGUMENT, "--card-memory %llu MiB is more than an address can name",
                         (unsigned long long)options->memory_mib);
    const struct card_options card = {.threads = options->threads, .memory_bytes = options->memory_mib << 20};
    return card_open(options->card ? options->card : "sim", &card, &session->card, err);
}

static int load(const struct session_options *options, bool quiet, struct session *session, struct error *err)
{
    struct progress progress;
    progress_start(&progress, model_name(session->model), quiet);
    const struct model_load_options load_options = {
        .progress = progress_update, .progress_context = &progress, .threads = options->threads};
    int status = experts_load(session->model, session->card, &load_options, &session->loaded, err);
    progress_end(&progress);
    return status;
}

static void print_conversion(const struct session *session)
{
    const struct model_conversion *conversion = loaded_model_conversion(session->loaded);
    if (conversion->n_tensors == 0) return;
    fprintf(stderr, "%u matrices of F32, F16 or BF16 became INT8: relative error %.1e (worst: %s, %.1e)\n",
            conversion->n_tensors, conversion->relative_rms_error, conversion->worst_name,
            conversion->worst_relative_rms_error);
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
    fprintf(stderr, "%s on %s (%s): context of %u tokens (%s), %u sequence%s, KV %s, %.1f MiB of pages\n",
            model_name(session->model), info.backend, info.name, limits.context, why, limits.max_sequences,
            limits.max_sequences == 1 ? "" : "s", kv_name(limits.kv_format),
            (double)limits.n_pages * (double)limits.page_bytes / (1 << 20));
}

int session_open(const struct session_options *options, bool need_tokenizer, bool quiet, struct session *session,
                 struct error *err)
{
    struct card_info info;
    struct engine_options engine_options = {
        .context = options->context, .max_sequences = options->max_sequences, .chunk = options->chunk};
    *session = (struct session){0};
    int status = model_open(options->model_path, &session->model, err);
    if (status < 0) goto failed;
    status = tokenizer_open(model_file(session->model), &session->tokenizer, err);
    if (status < 0) {
        session->tokenizer = NULL;
        error_prefix(err, "%s", gguf_path(model_file(session->model)));
        if (need_tokenizer) goto failed;
    }
    status = open_card(options, session, err);
    if (status < 0) goto failed;
    card_describe(session->card, &info);
    status = find_kv_format(options, &info, &engine_options.kv_format, err);
    if (status < 0) goto failed;
    status = load(options, quiet, session, err);
    if (status < 0) goto failed;
    status = engine_open(session->loaded, session->tokenizer, &engine_options, &session->engine, err);
    if (status < 0) goto failed;
    if (!quiet) {
        print_conversion(session);
        print_choice(options, session);
    }
    return 0;
failed:
    session_close(session);
    return status;
}

void session_close(struct session *session)
{
    engine_close(session->engine);
    loaded_model_close(session->loaded);
    card_close(session->card);
    tokenizer_close(session->tokenizer);
    model_close(session->model);
    *session = (struct session){0};
}
