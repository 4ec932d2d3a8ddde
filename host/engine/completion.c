/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text is held back only as long as it may still become a stop string: after every token everything but the longest tail
 * that starts a stop string goes out. The first stop string to be complete ends the text, wherever tokens begin and end.
 */
#include "host/engine/completion.h"

#include "host/base/memory.h"

#include <math.h>
#include <string.h>

/* Room for held-back text and a token's bytes, so that the token path does not allocate; longer tokens still may. */
#define TEXT_ROOM 4096u

struct completion {
    struct engine *engine;
    uint64_t id;
    struct completion_options options;
    struct detokenizer detokenizer;
    struct text text; /* not handed over yet */
    size_t searched;  /* bytes of text known to hold no complete stop string */
    char *stops[COMPLETION_MAX_STOPS];
    size_t stop_length[COMPLETION_MAX_STOPS];
    size_t n_stops;
    const char *stopped;  /* the stop string after which nothing is shown, or NULL */
    struct error failure; /* of detokenizing; code 0: none */
    uint32_t *prompt;     /* [n_prompt]; owned; NULL: its logprobs were not asked for */
    size_t n_prompt;
};

/* Hands over the first length bytes of the text. */
static void hand_over(struct completion *completion, size_t length)
{
    struct text *text = &completion->text;
    if (length > 0 && completion->options.text)
        completion->options.text(completion->options.context, text->bytes, length);
    memmove(text->bytes, text->bytes + length, text->length - length);
    text->length -= length;
    completion->searched = completion->searched > length ? completion->searched - length : 0;
}

/* The stop string that ends at byte end of the text, or NULL; *start is where it starts, the first if several do. */
static const char *stop_ends_at(const struct completion *completion, size_t end, size_t *start)
{
    const char *found = NULL;
    for (size_t i = 0; i < completion->n_stops; i++) {
        size_t length = completion->stop_length[i];
        if (length > end || memcmp(completion->text.bytes + end - length, completion->stops[i], length) != 0) continue;
        if (found && end - length >= *start) continue;
        *start = end - length;
        found = completion->stops[i];
    }
    return found;
}

/* Bytes at the end of the text that are the start of a stop string. */
static size_t held_back(const struct completion *completion)
{
    const struct text *text = &completion->text;
    size_t most = 0;
    for (size_t i = 0; i < completion->n_stops; i++) {
        size_t length = completion->stop_length[i] - 1;
        if (length > text->length) length = text->length;
        while (length > most && memcmp(text->bytes + text->length - length, completion->stops[i], length) != 0)
            length--;
        if (length > most) most = length;
    }
    return most;
}

/* After new text: true if a stop string is complete; what stands before it has gone out. */
static bool advance(struct completion *completion)
{
    struct text *text = &completion->text;
    size_t start = 0;
    while (completion->n_stops > 0 && completion->searched < text->length) {
        const char *stop = stop_ends_at(completion, ++completion->searched, &start);
        if (!stop) continue;
        hand_over(completion, start);
        completion->stopped = stop;
        return true;
    }
    hand_over(completion, text->length - held_back(completion));
    return false;
}

static void on_logprobs(void *context, uint32_t token, float logprob, const struct sampler_logprobs *others)
{
    struct completion *completion = context;
    completion->options.logprobs(completion->options.context, token, logprob, others);
}

/* The logits of a token of the prompt tell how likely the next one was. */
static void on_logits(void *context, uint32_t position, const float *logits)
{
    struct completion *completion = context;
    struct sampler_logprobs others = {0};
    if ((size_t)position + 1 > completion->n_prompt) return;
    if (position == 0) on_logprobs(completion, completion->prompt[0], NAN, &others);
    if ((size_t)position + 1 == completion->n_prompt) return;
    const uint32_t token = completion->prompt[position + 1];
    others.n_top =
        completion->options.n_top_logprobs < SAMPLER_MOST_TOP ? completion->options.n_top_logprobs : SAMPLER_MOST_TOP;
    sampler_measure(logits, engine_n_vocab(completion->engine), &others);
    on_logprobs(completion, token, sampler_logprob(&others, logits[token]), &others);
}

static int keep_prompt(struct completion *completion, const struct completion_options *options, struct error *err)
{
    completion->prompt = memory_array(options->n_prompt, sizeof *completion->prompt);
    if (!completion->prompt) return error_set(err, ERROR_NO_MEMORY, "no host memory for a completion");
    memcpy(completion->prompt, options->prompt, options->n_prompt * sizeof *completion->prompt);
    completion->n_prompt = options->n_prompt;
    return 0;
}

static int on_token(void *context, uint32_t token)
{
    struct completion *completion = context;
    if (detokenize_next(&completion->detokenizer, token, &completion->text, &completion->failure) < 0) return 1;
    return advance(completion);
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct completion *completion = context;
    struct error failure = completion->failure;
    if (failure.code == 0 && !completion->stopped &&
        detokenize_end(&completion->detokenizer, &completion->text, &failure) == 0 && !advance(completion))
        hand_over(completion, completion->text.length);
    if (failure.code != 0 && reason != FINISH_ERROR) {
        reason = FINISH_ERROR;
        err = &failure;
    }
    completion->options.end(completion->options.context, reason, usage, err); /* may close the completion */
}

static int copy_stops(struct completion *completion, const struct completion_options *options, struct error *err)
{
    if (options->n_stops > COMPLETION_MAX_STOPS)
        return error_set(err, ERROR_BAD_ARGUMENT, "%zu stop strings, %d are allowed", options->n_stops,
                         COMPLETION_MAX_STOPS);
    for (size_t i = 0; i < options->n_stops; i++) {
        const char *stop = options->stops[i];
        if (stop[0] == '\0') return error_set(err, ERROR_BAD_ARGUMENT, "stop string %zu is empty", i + 1);
        /* Text is cut where a stop string starts, which must not be inside a character. */
        if (((unsigned char)stop[0] & 0xC0u) == 0x80u)
            return error_set(err, ERROR_BAD_ARGUMENT, "stop string %zu is not UTF-8", i + 1);
        completion->stops[i] = strdup(stop);
        if (!completion->stops[i]) return error_set(err, ERROR_NO_MEMORY, "no host memory for the stop strings");
        completion->stop_length[i] = strlen(stop);
        completion->n_stops = i + 1;
    }
    return 0;
}

/* Gives the text its room once. */
static int make_room(struct text *text, struct error *err)
{
    char *bytes = malloc(TEXT_ROOM);
    if (!bytes) return error_set(err, ERROR_NO_MEMORY, "no host memory for a completion");
    memset(bytes, ' ', TEXT_ROOM);
    int status = text_append(text, bytes, TEXT_ROOM, err);
    free(bytes);
    text->length = 0;
    return status;
}

int completion_start(struct engine *engine, const struct tokenizer *tokenizer, const struct completion_options *options,
                     struct completion **out, struct error *err)
{
    *out = NULL;
    struct completion *completion = memory_array(1, sizeof *completion);
    if (!completion) return error_set(err, ERROR_NO_MEMORY, "no host memory for a completion");
    completion->engine = engine;
    completion->options = *options;
    completion->options.prompt = NULL; /* the caller's, not ours beyond this call */
    completion->options.stops = NULL;
    completion->options.dry_breakers = NULL;
    completion->options.sampling.biases = NULL;
    completion->options.grammar = NULL;
    detokenizer_start(&completion->detokenizer, tokenizer, false);
    completion->detokenizer.shown = options->shown;
    completion->detokenizer.n_shown = options->n_shown;
    struct engine_request request = {
        .prompt = options->prompt,
        .n_prompt = options->n_prompt,
        .max_tokens = options->max_tokens,
        .ignore_eos = options->ignore_eos,
        .sampling = options->sampling,
        .grammar = options->grammar,
        .dry_breakers = options->dry_breakers,
        .n_dry_breakers = options->n_dry_breakers,
        .n_top_logprobs = options->n_top_logprobs,
        .priority = options->priority,
        .client = options->client,
        .callbacks = {.token = on_token, .logprobs = options->logprobs ? on_logprobs : NULL, .end = on_end},
        .context = completion,
    };
    int status = copy_stops(completion, options, err);
    if (status == 0 && options->prompt_logprobs && options->logprobs && options->n_prompt > 0) {
        request.callbacks.logits = on_logits;
        status = keep_prompt(completion, options, err);
    }
    if (status == 0) status = make_room(&completion->text, err);
    if (status == 0) {
        *out = completion; /* before submitting: the engine's thread may end and close it before this call returns */
        status = engine_submit(engine, &request, &completion->id, err);
    }
    if (status < 0) {
        *out = NULL;
        completion_close(completion);
    }
    return status;
}

void completion_cancel(struct completion *completion) { engine_cancel(completion->engine, completion->id); }

const char *completion_stop_string(const struct completion *completion) { return completion->stopped; }

void completion_close(struct completion *completion)
{
    if (!completion) return;
    for (size_t i = 0; i < completion->n_stops; i++) free(completion->stops[i]);
    text_free(&completion->text);
    free(completion->prompt);
    free(completion);
}
