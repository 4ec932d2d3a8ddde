/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/generation.h"
#include "host/base/memory.h"
#include "host/serve/answer_items.h"
#include "host/serve/reading.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define MOST_RETRY_SECONDS 600

struct generations {
    struct event_base *base;
    struct outbox *outbox;
    struct generation *first;
    struct json_out scratch; /* what is being written */
    size_t n_under_way;      /* sequences that the engine has, running or waiting */
    double end_seconds;      /* between the ends of two of them, smoothed; 0: not known */
    double last_end;         /* on the monotonic clock; 0: none yet */
    bool engine_closes;      /* no choice may be cancelled: the engine ends them all, or has done so */
};

struct generation {
    struct generations *set;
    struct generation *next, *previous;
    struct connection *connection; /* NULL: the client is gone or has its answer */
    struct key_user *user;
    struct event *deadline; /* NULL: none */
    struct answer_identity identity;
    bool stream, logprobs;
    size_t offsets[REQUEST_MAX_CHOICES]; /* of the text that logprobs of completions have been told of */
    uint32_t n_choices, n_started, n_ended;
    struct answer_usage usage;
    struct json_out *texts;                        /* of completions: what is still to be sent of each choice */
    struct json_out *logprobs_of;                  /* whole answers: the logprobs of each choice */
    struct reading *readings[REQUEST_MAX_CHOICES]; /* of a chat's choices, else NULL */
    enum finish_reason *reasons;                   /* of each ended choice */
    struct choice choices[REQUEST_MAX_CHOICES];
};

int generations_open(struct event_base *base, struct outbox *outbox, struct generations **out, struct error *err)
{
    *out = memory_array(1, sizeof **out);
    if (!*out) return error_set(err, ERROR_NO_MEMORY, "no memory for the server");
    (*out)->base = base;
    (*out)->outbox = outbox;
    return 0;
}

void generations_close(struct generations *set)
{
    if (!set) return;
    json_out_free(&set->scratch);
    free(set);
}

bool generations_empty(const struct generations *set) { return set->first == NULL; }

static void generation_free(struct generation *g)
{
    if (g->previous) g->previous->next = g->next;
    if (g->set->first == g) g->set->first = g->next;
    if (g->next) g->next->previous = g->previous;
    for (uint32_t i = 0; i < g->n_choices; i++) {
        completion_close(g->choices[i].handle);
        choice_release(&g->choices[i]);
        if (g->texts) json_out_free(&g->texts[i]);
        if (g->logprobs_of) json_out_free(&g->logprobs_of[i]);
    }
    for (uint32_t i = 0; i < REQUEST_MAX_CHOICES; i++) reading_close(g->readings[i]);
    answer_items_free(g->identity.items);
    free(g->texts);
    free(g->logprobs_of);
    free(g->reasons);
    if (g->deadline) event_free(g->deadline);
    key_gate_leave(g->user);
    free(g);
}

static void cancel_choices(struct generation *g)
{
    for (uint32_t i = 0; i < g->n_started && !g->set->engine_closes; i++) {
        completion_cancel(g->choices[i].handle);
    }
}

static void on_hangup(void *context)
{
    struct generation *g = context;
    g->connection = NULL;
    cancel_choices(g);
}

/* The client has what it gets; the choices that still run are of no use. */
static void detach(struct generation *g)
{
    if (!g->connection) return;
    connection_on_hangup(g->connection, NULL, NULL);
    g->connection = NULL;
}

/* ---- the queue ---- */

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A sequence has ended: how long that took since the last one is the queue's pace. */
static void measure_pace(struct generations *set)
{
    const double now = now_seconds(), took = now - set->last_end;
    if (set->last_end > 0) set->end_seconds = set->end_seconds > 0 ? 0.9 * set->end_seconds + 0.1 * took : took;
    set->last_end = --set->n_under_way > 0 ? now : 0; /* idle time is no pace */
}

/* Seconds until half of what is under way is done at the pace of late: by then there is room for those that were refused. */
static unsigned seconds_until_room(const struct generations *set)
{
    const double seconds = ceil(set->end_seconds * (double)set->n_under_way / 2);
    return seconds < 1 ? 1 : seconds > MOST_RETRY_SECONDS ? MOST_RETRY_SECONDS : (unsigned)seconds;
}

/* ---- starting ---- */

/* What a chat's answers are read with. */
static int open_readings(struct generation *g, const struct serving_model *model,
                         const struct completion_request *request, struct api_error *error)
{
    const struct reply_dialect *dialect = chat_dialect(model->chat);
    struct reply_options options = {
        .tools = request->tools, .one_call = request->one_call, .reasoning_opened = request->reasoning_opened};
    for (uint32_t i = 0; i < g->n_choices; i++) {
        if (getrandom(&options.seed, sizeof options.seed, 0) < 0)
            return api_error_set(error, 500, NULL, NULL, "The system has no random numbers for the ids of calls.");
        g->readings[i] = reading_open(dialect, &options, &g->identity, i);
        if (!g->readings[i]) return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
    }
    return 0;
}

/* A completion's text begins with its prompt. */
static int echo_prompt(struct generation *g, const struct serving_model *model,
                       const struct completion_request *request, struct api_error *error)
{
    struct text text = {0};
    struct error err = {0};
    int status = 0;
    if (request->prompt)
        status = text_append(&text, request->prompt, request->prompt_length, &err);
    else
        status = detokenize_bytes(model->tokenizer, request->prompt_tokens, request->n_prompt_tokens, &text, &err);
    for (uint32_t i = 0; i < g->n_choices && status == 0; i++) json_out_raw(&g->texts[i], text.bytes, text.length);
    text_free(&text);
    return status < 0 ? api_error_of(&err, error) : 0;
}

/* The lists of logprobs that completions have, of what was noted of a choice's tokens. */
static void make_token_lists(struct generation *g, uint32_t index, struct json_out *notes)
{
    struct json_out lists = {0};
    answer_token_lists(notes, &g->offsets[index], &lists);
    json_out_clear(notes);
    json_out_raw(notes, lists.bytes ? lists.bytes : "", lists.length);
    if (lists.failed) notes->failed = true;
    json_out_free(&lists);
}

static int submit(struct generation *g, const struct serving_model *model, const struct completion_request *request,
                  const struct token_list *prompt, struct api_error *error)
{
    struct completion_options options = {
        .prompt = prompt->ids,
        .n_prompt = prompt->count,
        .max_tokens = request->max_tokens,
        .ignore_eos = request->ignore_eos,
        .sampling = request->sampling,
        .grammar = request->grammar,
        .dry_breakers = request->has_dry_breakers ? request->dry_breakers : NULL,
        .n_dry_breakers = request->n_dry_breakers,
        .stops = request->stops,
        .n_stops = request->n_stops,
        .text = outbox_text,
        .logprobs = request->logprobs ? outbox_logprobs : NULL,
        .n_top_logprobs = request->n_top_logprobs,
        .prompt_logprobs = request->echo,
        .end = outbox_end,
        .priority = key_user_priority(g->user) + (int32_t)request->priority,
        .client = key_user_number(g->user),
    };
    const bool is_chat = request->kind == REQUEST_CHAT && model->chat;
    if (request->echo && echo_prompt(g, model, request, error) < 0) return -1;
    if (is_chat && open_readings(g, model, request, error) < 0) return -1;
    if (is_chat) options.shown = chat_shown(model->chat, request->tools != NULL, &options.n_shown);
    uint32_t room = model->limits.context - (uint32_t)prompt->count;
    if (options.max_tokens != UINT32_MAX && options.max_tokens > room) options.max_tokens = UINT32_MAX;
    if (!request->has_seed && getrandom(&options.sampling.seed, sizeof options.sampling.seed, 0) < 0)
        return api_error_set(error, 500, NULL, NULL, "The system has no random numbers for a seed.");
    for (uint32_t i = 0; i < g->n_choices; i++) {
        struct error err = {0};
        options.sampling.choice = i;
        options.context = &g->choices[i];
        g->choices[i].tokenizer = model->tokenizer;
        g->choices[i].older_logprobs = !is_chat;
        if (completion_start(model->engine, model->tokenizer, &options, &g->choices[i].handle, &err) < 0) {
            api_error_of(&err, error);
            if (error->status == 429) error->retry_after = seconds_until_room(g->set);
            if (error->status == 400)
                snprintf(error->param, sizeof error->param, "%s", request_prompt_field(request->kind));
            return -1;
        }
        g->n_started++;
        g->set->n_under_way++;
    }
    return 0;
}

static int make_identity(struct generation *g, const char *model_name, const struct completion_request *request,
                         size_t n_prompt)
{
    unsigned char random[12];
    char hex[2 * sizeof random + 1];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return -1;
    for (size_t i = 0; i < sizeof random; i++) snprintf(hex + 2 * i, 3, "%02x", random[i]);
    g->identity = (struct answer_identity){.kind = request->kind,
                                           .format = request->format,
                                           .created = time(NULL),
                                           .model = model_name,
                                           .with_usage = request->include_usage};
    snprintf(g->identity.id, sizeof g->identity.id, "%s%s", request->format->id_prefix, hex);
    if (!request->format->item_events) return 0;
    g->identity.items = answer_items_new(request->stream, n_prompt, request->repeats);
    return g->identity.items ? 0 : -1;
}

static struct generation *generation_new(struct generations *set, const char *model_name,
                                         const struct completion_request *request, size_t n_prompt)
{
    struct generation *g = memory_array(1, sizeof *g);
    if (!g) return NULL;
    g->set = set;
    g->stream = request->stream;
    g->logprobs = request->logprobs;
    g->n_choices = request->n_choices;
    g->texts = memory_array(g->n_choices, sizeof *g->texts);
    g->reasons = memory_array(g->n_choices, sizeof *g->reasons);
    g->logprobs_of = memory_array(g->n_choices, sizeof *g->logprobs_of);
    for (uint32_t i = 0; i < g->n_choices; i++)
        g->choices[i] = (struct choice){.outbox = set->outbox, .owner = g, .index = i};
    if (!g->texts || !g->reasons || !g->logprobs_of || make_identity(g, model_name, request, n_prompt) < 0) {
        free(g->texts);
        free(g->logprobs_of);
        free(g->reasons);
        free(g);
        return NULL;
    }
    g->next = set->first;
    if (g->next) g->next->previous = g;
    set->first = g;
    return g;
}

static void start_stream(struct generation *g)
{
    struct json_out *out = &g->set->scratch;
    json_out_clear(out);
    for (uint32_t i = 0; i < g->n_choices; i++) g->identity.format->start(&g->identity, i, out);
    connection_stream_start(g->connection, "text/event-stream; charset=utf-8");
    if (!out->failed) connection_stream_write(g->connection, out->bytes, out->length);
}

/* ---- delivering ---- */

static void send_error(struct generation *g, const struct api_error *error)
{
    struct json_out *out = &g->set->scratch;
    struct connection *connection = g->connection;
    detach(g);
    cancel_choices(g);
    json_out_clear(out);
    if (g->stream) {
        g->identity.format->error(&g->identity, error, out);
        if (!out->failed) connection_stream_write(connection, out->bytes, out->length);
        connection_stream_end(connection, true);
        return;
    }
    api_error_write(error, out);
    connection_reply(connection, &(struct http_answer){.status = error->status,
                                                       .content_type = "application/json",
                                                       .body = out->bytes,
                                                       .length = out->failed ? 0 : out->length,
                                                       .close = true});
}

static void send_no_memory(struct generation *g)
{
    struct api_error error;
    api_error_set(&error, 500, NULL, NULL, "The server ran out of memory during the answer.");
    send_error(g, &error);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct generation *g = context;
    struct api_error error;
    (void)fd;
    (void)what;
    if (!g->connection) return;
    api_error_set(&error, 408, "deadline_exceeded", "timeout",
                  "The request's time was over before its answer was whole.");
    send_error(g, &error);
}

/* False: no memory. */
static bool set_deadline(struct generation *g, float seconds)
{
    if (seconds <= 0) return true;
    const struct timeval time = {.tv_sec = (time_t)seconds,
                                 .tv_usec = (suseconds_t)((seconds - floorf(seconds)) * 1e6f)};
    g->deadline = event_new(g->set->base, -1, 0, on_deadline, g);
    return g->deadline && event_add(g->deadline, &time) == 0;
}

/* The choice ended without a finish reason that OpenAI has. */
static void send_failure(struct generation *g, const struct post *post)
{
    struct api_error error;
    if (post->reason == FINISH_ERROR) {
        api_error_set(&error, 500, "engine_error", NULL, "%s", post->err.text);
    } else {
        api_error_set(&error, 503, "server_stopping", NULL, "The server is stopping and has cancelled this request.");
    }
    send_error(g, &error);
}

static const char *finish_name(const struct generation *g, uint32_t index, enum finish_reason reason)
{
    const bool called = g->readings[index] && reading_has_calls(g->readings[index]);
    return called && reason == FINISH_STOP ? "tool_calls" : finish_reason_name(reason);
}

/* What only formats of items say, once their choice has ended. */
static void finish_items(struct generation *g)
{
    struct answer_items *items = g->identity.items;
    struct json_out reasoning = {0};
    struct token_list tokens = {0};
    struct error err;
    if (!items) return;
    items->stop_string = completion_stop_string(g->choices[0].handle);
    answer_items_all_reasoning(items, &reasoning);
    if (reasoning.length && !reasoning.failed &&
        tokenize(g->choices[0].tokenizer, reasoning.bytes, reasoning.length, 0, &tokens, &err) == 0)
        g->usage.reasoning_tokens =
            tokens.count < g->usage.completion_tokens ? tokens.count : g->usage.completion_tokens;
    token_list_free(&tokens);
    json_out_free(&reasoning);
}

static void send_whole(struct generation *g)
{
    struct json_out *out = &g->set->scratch;
    struct answer_choice choices[REQUEST_MAX_CHOICES];
    struct connection *connection = g->connection;
    bool failed = false;
    for (uint32_t i = 0; i < g->n_choices; i++) {
        choices[i] = (struct answer_choice){.text = g->texts[i].bytes,
                                            .length = g->texts[i].length,
                                            .finish_reason = finish_name(g, i, g->reasons[i]),
                                            .logprobs = g->logprobs ? &g->logprobs_of[i] : NULL};
        if (g->readings[i]) reading_message(g->readings[i], &choices[i]);
        if (g->logprobs && g->identity.kind == REQUEST_COMPLETION) make_token_lists(g, i, &g->logprobs_of[i]);
        failed = failed || g->logprobs_of[i].failed;
    }
    json_out_clear(out);
    out->failed = failed;
    finish_items(g);
    if (g->identity.items) g->identity.format->finish(&g->identity, 0, choices[0].finish_reason, out);
    g->identity.format->whole(&g->identity, choices, g->n_choices, &g->usage, out);
    if (out->failed) {
        send_no_memory(g);
        return;
    }
    detach(g);
    connection_reply(connection,
                     &(struct http_answer){
                         .status = 200, .content_type = "application/json", .body = out->bytes, .length = out->length});
}

/* The events of one post, and the end of the stream after the last choice's. */
static void send_events(struct generation *g, uint32_t index, const struct post *post)
{
    struct json_out *out = &g->set->scratch;
    const struct answer_format *format = g->identity.format;
    bool last = post->ended && g->n_ended == g->n_choices;
    json_out_clear(out);
    if (g->readings[index]) { /* a piece of text and one of its reading need not end together: logprobs have an event */
        if (post->logprobs.length) format->text(&g->identity, index, "", 0, &post->logprobs, out);
        if (reading_post(g->readings[index], post->text.bytes, post->text.length, post->ended, out) < 0) {
            send_no_memory(g);
            return;
        }
    } else if (post->text.length || post->logprobs.length || g->texts[index].length) {
        struct json_out *text = &g->texts[index], *notes = &g->logprobs_of[index];
        json_out_raw(text, post->text.bytes, post->text.length);
        json_out_clear(notes);
        json_out_raw(notes, post->logprobs.bytes, post->logprobs.length);
        if (g->logprobs) make_token_lists(g, index, notes);
        format->text(&g->identity, index, text->bytes, text->length, g->logprobs ? notes : NULL, out);
        out->failed = out->failed || text->failed || notes->failed;
        json_out_clear(text);
    }
    if (post->ended) format->finish(&g->identity, index, finish_name(g, index, post->reason), out);
    if (last) finish_items(g);
    if (last) format->end(&g->identity, &g->usage, out);
    if (out->failed) {
        send_no_memory(g);
        return;
    }
    if (out->length) connection_stream_write(g->connection, out->bytes, out->length);
    if (!last) return;
    struct connection *connection = g->connection;
    detach(g);
    connection_stream_end(connection, false);
}

static void deliver(struct generation *g, uint32_t index, const struct post *post)
{
    if (post->ended) {
        measure_pace(g->set);
        g->n_ended++;
        g->reasons[index] = post->reason;
        g->usage.prompt_tokens = post->usage.prompt_tokens; /* the same for every choice, and counted once */
        g->usage.completion_tokens += post->usage.completion_tokens;
        if (g->n_ended == 1 || post->usage.cached_tokens < g->usage.cached_tokens)
            g->usage.cached_tokens = post->usage.cached_tokens;
    }
    if (!g->connection) return;
    if (post->text.failed || post->logprobs.failed) {
        send_no_memory(g);
    } else if (post->ended && post->reason != FINISH_STOP && post->reason != FINISH_LENGTH) {
        send_failure(g, post);
    } else if (g->stream) {
        send_events(g, index, post);
    } else {
        int status = 0;
        json_out_clear(&g->set->scratch);
        if (g->readings[index]) /* items take the pieces of a stream, and write nothing */
            status = reading_post(g->readings[index], post->text.bytes, post->text.length, post->ended,
                                  g->identity.items ? &g->set->scratch : NULL);
        else
            json_out_raw(&g->texts[index], post->text.bytes, post->text.length);
        if (post->logprobs.length) {
            if (g->logprobs_of[index].length) json_out_text(&g->logprobs_of[index], ",");
            json_out_raw(&g->logprobs_of[index], post->logprobs.bytes, post->logprobs.length);
        }
        if (status < 0 || g->texts[index].failed || g->logprobs_of[index].failed) {
            send_no_memory(g);
        } else if (g->n_ended == g->n_choices) {
            send_whole(g);
        }
    }
}

int generation_start(struct generations *set, const struct serving_model *model, const char *model_name,
                     const struct completion_request *request, const struct token_list *prompt,
                     struct connection *connection, struct key_user *user, struct api_error *error)
{
    struct generation *g = generation_new(set, model_name, request, prompt->count);
    if (!g) {
        key_gate_leave(user);
        return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
    }
    g->user = user;
    if (submit(g, model, request, prompt, error) == 0) {
        g->connection = connection;
        connection_on_hangup(connection, on_hangup, g);
        if (g->stream) start_stream(g);
        if (!set_deadline(g, request->timeout_seconds)) send_no_memory(g);
        return 0;
    }
    if (g->n_started == 0) {
        generation_free(g);
    } else {
        cancel_choices(g); /* it goes when those that started have ended */
        g->n_choices = g->n_started;
    }
    return -1;
}

void generations_deliver(struct generations *set)
{
    struct choice *choice;
    outbox_clear(set->outbox);
    while ((choice = outbox_take(set->outbox)) != NULL) {
        struct generation *g = choice->owner;
        deliver(g, choice->index, &choice->taken);
        if (g->n_ended == g->n_choices) generation_free(g);
    }
}

void generations_cancel(struct generations *set)
{
    for (struct generation *g = set->first; g; g = g->next) cancel_choices(g);
}

void generations_engine_closes(struct generations *set) { set->engine_closes = true; }
