/* SPDX-License-Identifier: Apache-2.0 */
/* sluice logits: the logits of every position of a prompt, through the engine that serves. */
#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/cli/commands.h"
#include "host/cli/output_file.h"
#include "host/cli/session.h"

#include <errno.h>
#include <string.h>

struct logits_options {
    struct session_options session;
    const char *tokens, *decoder_tokens, *out;
    uint32_t beside;
    bool cached;
};

/* What runs. source: what an encoder reads; empty: the model has none, or the decoder has its start token only. */
struct prompt {
    struct token_list tokens, source;
};

/* Where the main sequence's rows go: those of positions [from, to) to the stream, the others nowhere. */
struct rows {
    FILE *stream;
    uint32_t from, to, n_cached;
    uint8_t *bytes; /* one row, little-endian */
    uint32_t n_vocab;
    bool write_failed, ended;
    struct error end_error; /* code 0: the sequence ended well */
};

/* "1,2,3" as numbers; they are held against the vocabulary by engine_submit. */
static int parse_tokens(const char *option, const char *text, struct token_list *list, struct error *err)
{
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        unsigned long long id = *at >= '0' && *at <= '9' ? strtoull(at, &end, 10) : UINT64_MAX;
        if (id > UINT32_MAX || errno != 0 || (*end != ',' && *end != '\0'))
            return error_set(err, ERROR_BAD_ARGUMENT, "%s: \"%.20s\" is not a list of token numbers like 1,2,3", option,
                             at);
        int status = token_list_push(list, (uint32_t)id, err);
        if (status < 0 || *end == '\0') return status;
        at = end;
    }
}

static void on_logits(void *context, uint32_t position, const float *logits)
{
    struct rows *rows = context;
    if (position < rows->from || position >= rows->to) return; /* they come in order of position, each once */
    for (uint32_t i = 0; i < rows->n_vocab; i++) store_u32(rows->bytes + 4ull * i, bits_of_float(logits[i]));
    if (fwrite(rows->bytes, 4, rows->n_vocab, rows->stream) != rows->n_vocab) rows->write_failed = true;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct rows *rows = context;
    rows->n_cached = usage->cached_tokens;
    rows->ended = true;
    if (reason == FINISH_ERROR) rows->end_error = *err;
}

static void on_other_end(void *context, enum finish_reason reason, const struct engine_usage *usage,
                         const struct error *err)
{
    (void)context, (void)reason, (void)usage, (void)err; /* the others are there to be in the same steps */
}

/* Sequence number `which` of those beside: a prompt of its own length, then tokens for as long as the main one may run. */
static int submit_beside(struct engine *engine, uint32_t which, uint32_t n_vocab, uint32_t n_main, struct error *err)
{
    uint32_t prompt[23];
    uint64_t id;
    struct engine_limits limits;
    engine_get_limits(engine, &limits);
    uint32_t n_prompt = 1 + which * 5 % 23;
    if (n_prompt > limits.context) n_prompt = limits.context;
    for (uint32_t i = 0; i < n_prompt; i++) prompt[i] = random_bits(which, 0, i, 0) % n_vocab;
    const struct engine_request request = {
        .prompt = prompt,
        .n_prompt = n_prompt,
        .max_tokens = n_main,
        .ignore_eos = true,
        .sampling = {.temperature = 1, .top_p = 1, .seed = which},
        .callbacks = {.end = on_other_end},
    };
    return engine_submit(engine, &request, &id, err);
}

/* Half of those beside stand before the main sequence in the step and half behind it. */
static int run_once(const struct session *session, const struct logits_options *options, const struct prompt *prompt,
                    enum engine_prefix prefix, struct rows *rows, struct error *err)
{
    const struct token_list *tokens = &prompt->tokens;
    uint64_t id;
    int status = 0;
    const struct engine_request request = {
        .prompt = tokens->ids,
        .n_prompt = tokens->count,
        .source = prompt->source.count > 0 ? prompt->source.ids : NULL,
        .n_source = prompt->source.count,
        .ignore_eos = true,
        .prefix = prefix,
        .sampling = {.top_p = 1},
        .callbacks = {.logits = on_logits, .end = on_end},
        .context = rows,
    };
    for (uint32_t i = 0; i <= options->beside && status == 0; i++) {
        if (i == options->beside / 2) status = engine_submit(session->engine, &request, &id, err);
        if (i < options->beside && status == 0)
            status = submit_beside(session->engine, i, rows->n_vocab, (uint32_t)tokens->count, err);
    }
    if (status < 0) return status;
    rows->ended = false;
    while (!rows->ended) {
        status = engine_step(session->engine, err);
        if (status < 0) return status;
    }
    if (rows->end_error.code != 0) return error_set(err, rows->end_error.code, "%s", rows->end_error.text);
    return 0;
}

/*
 * The rows of all positions; with --cached in two runs, of which the second starts from what the first left in the
 * prefix cache: the rows of the positions that it finds there are the first's, the others the second's.
 */
static int run_sequences(const struct session *session, const struct logits_options *options,
                         const struct prompt *prompt, struct rows *rows, struct error *err)
{
    const uint32_t n = (uint32_t)prompt->tokens.count, n_cached = (n - 1) / CARD_PAGE_TOKENS * CARD_PAGE_TOKENS;
    rows->to = options->cached ? n_cached : n;
    int status = run_once(session, options, prompt, PREFIX_COMPUTED, rows, err);
    if (status < 0 || !options->cached) return status;
    rows->from = n_cached;
    rows->to = n;
    status = run_once(session, options, prompt, PREFIX_CACHED, rows, err);
    if (status == 0 && rows->n_cached != n_cached)
        return error_set(err, ERROR_INTERNAL, "--cached: %u tokens came from the cache, not %u", rows->n_cached,
                         n_cached);
    return status;
}

static int write_logits(const struct logits_options *options, const struct prompt *prompt, struct error *err)
{
    struct session session = {0};
    struct output_file out = {0};
    struct rows rows = {0};
    int status = session_open(&options->session, false, true, &session, err);
    if (status < 0) goto done;
    rows.n_vocab = model_get_config(session.model)->n_vocab;
    rows.bytes = memory_array(rows.n_vocab, sizeof(float));
    if (!rows.bytes) {
        status = error_set(err, ERROR_NO_MEMORY, "no host memory for a row of %u logits", rows.n_vocab);
        goto done;
    }
    status = output_file_open(options->out, &out, err);
    if (status < 0) goto done;
    rows.stream = out.stream;
    status = run_sequences(&session, options, prompt, &rows, err);
    if (status == 0 && rows.write_failed)
        status = error_set(err, ERROR_IO, "cannot write %s: %s", options->out, strerror(errno));
    if (status == 0) status = session_end_trace(&session, err);
    if (status == 0) status = output_file_commit(&out, err);
done:
    session_close(&session); /* the others end here */
    output_file_close(&out);
    free(rows.bytes);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct logits_options o = {0};
    const struct option table[] = {
        {"tokens", 0, OPTION_TEXT, &o.tokens, "IDS", "the prompt as token numbers: 1,2,3", 0, 0},
        {"decoder-tokens", 0, OPTION_TEXT, &o.decoder_tokens, "IDS",
         "of a model with an encoder, which reads --tokens: what its decoder begins with (default: its start token)", 0,
         0},
        {"out", 0, OPTION_TEXT, &o.out, "FILE", "where the rows go; - is stdout", 0, 0},
        {"beside", 0, OPTION_U32, &o.beside, "N", "run N other sequences in the same steps", 0, 1023},
        {"cached", 0, OPTION_FLAG, &o.cached, NULL, "run twice; the second time the prefix comes from the cache", 0, 0},
        SESSION_OPTION_ROWS(&o.session),
        TRACE_OPTION_ROW(&o.session),
        {0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, &o.session.model_path, 1, &n_operands);
    if (status < 0) status = session_check(self, &o.session);
    if (status >= 0) return status;
    if (!o.tokens) return usage_error(self, "--tokens is missing");
    if (!o.out) return usage_error(self, "--out is missing");
    if (!o.session.max_sequences) o.session.max_sequences = (1 + o.beside) * (o.cached ? 2 : 1);

    struct error err = {0};
    struct prompt prompt = {0};
    bool has_source = o.decoder_tokens != NULL;
    status = parse_tokens("--tokens", o.tokens, has_source ? &prompt.source : &prompt.tokens, &err);
    if (status == 0 && has_source) status = parse_tokens("--decoder-tokens", o.decoder_tokens, &prompt.tokens, &err);
    if (status < 0)
        status = usage_error(self, "%s", err.text);
    else
        status = write_logits(&o, &prompt, &err) < 0 ? failure("logits: %s", err.text) : EXIT_DONE;
    token_list_free(&prompt.tokens);
    token_list_free(&prompt.source);
    return status;
}

const struct command command_logits = {
    .name = "logits",
    .synopsis = "[MODEL] --tokens 1,2,3 --out FILE",
    .summary = "Writes the logits of every position of a prompt.",
    .details = "Little-endian float32, one row of the vocabulary for each token of the prompt, or of a decoder's. The "
               "rows are the same "
               "bytes with any\n"
               "--chunk, --threads and --beside, and with --cached; FILE appears only when it is whole.",
    .run = run,
};
