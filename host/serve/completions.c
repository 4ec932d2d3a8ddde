/* SPDX-License-Identifier: Apache-2.0 */
/* The POST endpoints: from a request to its prompt, through the intake when the body is large, and to a generation. */
#include "host/base/memory.h"
#include "host/serve/server.h"

#include <string.h>

/* A request in the intake's thread, and who waits for it. */
struct pending {
    struct intake_job job;
    struct connection *connection; /* NULL: the client has gone */
    struct key_user *user;         /* inside the gate */
};

/* 0, or -1 with the reason why no completion can start at present. */
static int check_serving(const struct server *server, struct api_error *error)
{
    if (server->draining || server->seen == SERVING_FAILED) {
        api_error_set(error, 503, "server_stopping", NULL, "The server is stopping.");
    } else if (server->seen == SERVING_LOADING) {
        api_error_set(error, 503, "model_loading", NULL, "The model is loading (%u %%). Try again in a moment.",
                      serving_percent(server->serving));
    } else {
        return 0;
    }
    error->retry_after = 1;
    return -1;
}

/*
 * The body is taken for JSON whatever it is called (curl calls everything a form), except from a web page, which sends
 * Origin: it may send forms and plain text to the loopback address without being asked, but for application/json the
 * browser asks first, and this server does not answer that.
 */
static int check_content_type(const struct http_request *request, struct api_error *error)
{
    if (request->encoded)
        return api_error_set(error, 415, NULL, NULL,
                             "This server takes no compressed bodies: leave out Content-Encoding.");
    if (!request->has_origin || strcmp(request->content_type, "application/json") == 0) return 0;
    return api_error_set(error, 415, NULL, NULL,
                         "The body must be JSON: send the header Content-Type: application/json.");
}

/* What needs no engine: the tokens or the text. The names are those of vLLM and, for `content`, llama.cpp. */
static void reply_text(struct connection *connection, const struct intake_job *job)
{
    struct json_out out = {0};
    if (job->purpose == INTAKE_TOKENIZE) {
        json_out_text(&out, "{\"tokens\":[");
        for (size_t i = 0; i < job->prompt.count; i++) json_out_format(&out, i ? ",%u" : "%u", job->prompt.ids[i]);
        json_out_format(&out, "],\"count\":%zu,\"max_model_len\":%u}", job->prompt.count, job->model->limits.context);
    } else if (job->purpose == INTAKE_COUNT) {
        json_out_format(&out, "{\"input_tokens\":%zu}", job->prompt.count);
    } else {
        json_out_text(&out, "{\"prompt\":");
        json_out_string(&out, job->text.bytes, job->text.length);
        if (job->purpose == INTAKE_DETOKENIZE) {
            json_out_text(&out, ",\"content\":");
            json_out_string(&out, job->text.bytes, job->text.length);
        }
        json_out_text(&out, "}");
    }
    server_reply_json(connection, 200, &out);
    json_out_free(&out);
}

/* The user leaves the gate when the generation ends, or now. */
static void start_or_refuse(struct server *server, struct connection *connection, struct intake_job *job,
                            struct key_user *user)
{
    if (job->status == 0 && job->purpose == INTAKE_COMPLETE) job->status = server_check_cards(server, &job->error);
    const bool starts = job->status == 0 && job->purpose == INTAKE_COMPLETE;
    if (starts)
        job->status = generation_start(server->generations, job->model, job->model_name, &job->request, &job->prompt,
                                       connection, user, &job->error);
    else
        key_gate_leave(user);
    if (job->status < 0)
        server_reply_error(connection, &job->error);
    else if (!starts)
        reply_text(connection, job);
}

static void on_hangup(void *context)
{
    struct pending *pending = context;
    pending->connection = NULL;
}

static int send_through_intake(struct server *server, struct connection *connection, const struct intake_job *job,
                               struct key_user *user, const char *body, size_t length, struct api_error *error)
{
    struct pending *pending = memory_array(1, sizeof *pending);
    if (!pending) return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
    pending->job = *job;
    pending->job.owner = pending;
    pending->connection = connection;
    pending->user = user;
    if (intake_submit(server->intake, &pending->job, body, length) < 0) {
        *error = pending->job.error;
        free(pending);
        return -1;
    }
    connection_on_hangup(connection, on_hangup, pending);
    server->n_in_intake++;
    return 0;
}

void server_take_intake(struct server *server)
{
    struct intake_job *job;
    while ((job = intake_take(server->intake)) != NULL) {
        struct pending *pending = job->owner;
        server->n_in_intake--;
        if (pending->connection) {
            connection_on_hangup(pending->connection, NULL, NULL);
            if (job->status == 0 && server->seen == SERVING_FAILED) job->status = check_serving(server, &job->error);
            start_or_refuse(server, pending->connection, job, pending->user);
        } else {
            key_gate_leave(pending->user);
        }
        intake_job_clear(job);
        free(pending);
    }
}

void server_take_prompt(struct server *server, struct connection *connection, const struct http_request *request,
                        enum intake_purpose purpose, enum request_kind kind, const char *body, size_t length)
{
    struct intake_job job = {.purpose = purpose,
                             .kind = kind,
                             .model = serving_model(server->serving),
                             .model_name = server->model_name,
                             .timeout_seconds = request->timeout_seconds};
    struct api_error error;
    struct key_user *user = NULL;
    int status = check_content_type(request, &error);
    if (status == 0) status = check_serving(server, &error);
    if (status == 0) status = key_gate_enter(server->keys, request, &user, &error);
    if (status == 0 && intake_is_work(body, length)) {
        status = send_through_intake(server, connection, &job, user, body, length, &error);
        if (status < 0) key_gate_leave(user);
    } else if (status == 0) {
        intake_run(&job, body, length);
        start_or_refuse(server, connection, &job, user);
        intake_job_clear(&job);
    }
    if (status < 0) server_reply_error(connection, &error);
}
