/* SPDX-License-Identifier: Apache-2.0 */
/* Which path means what, and the answers that need no engine. */
#include "host/serve/server.h"

#include <stdio.h>
#include <string.h>

enum { GET = 1, POST = 2 };

/* One request on its way to its answer. */
struct exchange {
    struct server *server;
    struct connection *connection;
    const struct http_request *request;
    const char *body;
    size_t length;
    const char *rest; /* of the path, behind a route that ends with a slash */
};

struct route {
    const char *path; /* one that ends with '/' takes everything below it */
    unsigned methods;
    bool needs_key; /* where the server asks for keys */
    void (*answer)(struct exchange *exchange);
};

void server_reply_json(struct connection *connection, int status, const struct json_out *out)
{
    connection_reply(connection, &(struct http_answer){.status = status,
                                                       .content_type = "application/json",
                                                       .body = out->bytes,
                                                       .length = out->failed ? 0 : out->length});
}

void server_reply_error(struct connection *connection, const struct api_error *error)
{
    struct json_out out = {0};
    api_error_write(error, &out);
    connection_reply(connection, &(struct http_answer){.status = error->status,
                                                       .content_type = "application/json",
                                                       .body = out.bytes,
                                                       .length = out.failed ? 0 : out.length,
                                                       .retry_after = error->retry_after});
    json_out_free(&out);
}

static void answer_health(struct exchange *exchange)
{
    struct json_out out = {0};
    json_out_text(&out, "{\"status\":\"ok\"}");
    server_reply_json(exchange->connection, 200, &out);
    json_out_free(&out);
}

static void answer_ready(struct exchange *exchange)
{
    const struct server *server = exchange->server;
    struct json_out out = {0};
    int status = 503;
    if (server->seen == SERVING_LOADING && !server->draining) {
        json_out_format(&out, "{\"status\":\"loading\",\"percent\":%u}", serving_percent(server->serving));
    } else if (server->seen == SERVING_READY) {
        struct engine_counters counters;
        engine_count(serving_model(server->serving)->engine, &counters);
        status = server->draining || server->cards_gone ? 503 : 200;
        json_out_format(&out,
                        "{\"status\":\"%s\",\"running\":%u,\"waiting\":%u,\"pages_used\":%u,\"pages_reserved\":%u,"
                        "\"pages_cached\":%u,\"pages\":%u,\"tokens\":%llu,\"drafted_tokens\":%llu,"
                        "\"accepted_tokens\":%llu}",
                        server->draining     ? "draining"
                        : server->cards_gone ? "card gone"
                                             : "serving",
                        counters.running, counters.waiting, counters.pages_used, counters.pages_reserved,
                        counters.pages_cached, counters.n_pages, (unsigned long long)counters.completion_tokens,
                        (unsigned long long)counters.drafted_tokens, (unsigned long long)counters.accepted_tokens);
    } else {
        json_out_format(&out, "{\"status\":\"%s\"}", server->failed ? "failed" : "draining");
    }
    server_reply_json(exchange->connection, status, &out);
    json_out_free(&out);
}

static void put_model(const struct server *server, struct json_out *out)
{
    json_out_text(out, "{\"id\":");
    json_out_string(out, server->model_name, strlen(server->model_name));
    json_out_format(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"sluice\"}", (long long)server->started);
}

static void answer_models(struct exchange *exchange)
{
    struct json_out out = {0};
    json_out_text(&out, "{\"object\":\"list\",\"data\":[");
    put_model(exchange->server, &out);
    json_out_text(&out, "]}");
    server_reply_json(exchange->connection, 200, &out);
    json_out_free(&out);
}

static void answer_model(struct exchange *exchange)
{
    char name[sizeof exchange->request->path];
    struct api_error error;
    snprintf(name, sizeof name, "%s", exchange->rest);
    if (!http_decode_path(name)) {
        api_error_set(&error, 400, NULL, NULL, "The path has a bad %%-escape.");
        server_reply_error(exchange->connection, &error);
        return;
    }
    if (strcmp(name, exchange->server->model_name) != 0) {
        api_error_set(&error, 404, "model_not_found", "model",
                      "The model '%.100s' does not exist. This server serves '%.100s'.", name,
                      exchange->server->model_name);
        server_reply_error(exchange->connection, &error);
        return;
    }
    struct json_out out = {0};
    put_model(exchange->server, &out);
    server_reply_json(exchange->connection, 200, &out);
    json_out_free(&out);
}

static void take_prompt(struct exchange *exchange, enum intake_purpose purpose, enum request_kind kind)
{
    server_take_prompt(exchange->server, exchange->connection, exchange->request, purpose, kind, exchange->body,
                       exchange->length);
}

static void answer_chat_completions(struct exchange *exchange) { take_prompt(exchange, INTAKE_COMPLETE, REQUEST_CHAT); }
static void answer_completions(struct exchange *exchange)
{
    take_prompt(exchange, INTAKE_COMPLETE, REQUEST_COMPLETION);
}
static void answer_messages_post(struct exchange *exchange)
{
    take_prompt(exchange, INTAKE_COMPLETE, REQUEST_MESSAGES);
}
static void answer_count_tokens(struct exchange *exchange) { take_prompt(exchange, INTAKE_COUNT, REQUEST_COUNT); }
static void answer_responses_post(struct exchange *exchange)
{
    take_prompt(exchange, INTAKE_COMPLETE, REQUEST_RESPONSES);
}
static void answer_tokenize(struct exchange *exchange) { take_prompt(exchange, INTAKE_TOKENIZE, REQUEST_EITHER); }
static void answer_apply_template(struct exchange *exchange) { take_prompt(exchange, INTAKE_RENDER, REQUEST_CHAT); }
static void answer_detokenize(struct exchange *exchange)
{
    take_prompt(exchange, INTAKE_DETOKENIZE, REQUEST_COMPLETION);
}

static void answer_metrics(struct exchange *exchange) { server_answer_metrics(exchange->server, exchange->connection); }
static void answer_cards(struct exchange *exchange) { server_answer_cards(exchange->server, exchange->connection); }

extern const char sluice_openapi[], sluice_openapi_end[]; /* openapi.S */

static void answer_openapi(struct exchange *exchange)
{
    connection_reply(exchange->connection,
                     &(struct http_answer){.status = 200,
                                           .content_type = "application/json",
                                           .body = sluice_openapi,
                                           .length = (size_t)(sluice_openapi_end - sluice_openapi)});
}

static const struct route routes[] = {
    {"/v1/chat/completions", POST, true, answer_chat_completions},
    {"/v1/completions", POST, true, answer_completions},
    {"/v1/messages", POST, true, answer_messages_post},
    {"/v1/messages/count_tokens", POST, true, answer_count_tokens},
    {"/v1/responses", POST, true, answer_responses_post},
    {"/v1/models", GET, true, answer_models},
    {"/v1/models/", GET, true, answer_model},
    {"/v1/cards", GET, true, answer_cards},
    {"/tokenize", POST, true, answer_tokenize},
    {"/detokenize", POST, true, answer_detokenize},
    {"/apply-template", POST, true, answer_apply_template},
    {"/metrics", GET, true, answer_metrics},
    {"/openapi.json", GET, false, answer_openapi},
    {"/health", GET, false, answer_health},
    {"/ready", GET, false, answer_ready},
};

static const struct route *find_route(struct exchange *exchange)
{
    const char *path = exchange->request->path;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t length = strlen(routes[i].path);
        bool below = routes[i].path[length - 1] == '/';
        if (below ? strncmp(path, routes[i].path, length) != 0 || path[length] == '\0'
                  : strcmp(path, routes[i].path) != 0)
            continue;
        exchange->rest = path + length;
        return &routes[i];
    }
    return NULL;
}

static unsigned method_bit(const char *method)
{
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) return GET;
    return strcmp(method, "POST") == 0 ? POST : 0;
}

static void refuse_method(struct exchange *exchange, const char *allow)
{
    struct api_error error;
    struct json_out out = {0};
    api_error_set(&error, 405, "method_not_allowed", NULL, "%s does not take %s, but %s.", exchange->request->path,
                  exchange->request->method, allow);
    api_error_write(&error, &out);
    connection_reply(exchange->connection, &(struct http_answer){.status = 405,
                                                                 .content_type = "application/json",
                                                                 .body = out.bytes,
                                                                 .length = out.failed ? 0 : out.length,
                                                                 .allow = allow});
    json_out_free(&out);
}

void server_answer(void *context, struct connection *connection, const struct http_request *request, const char *body,
                   size_t length)
{
    struct exchange exchange = {context, connection, request, body, length, NULL};
    const struct route *route = find_route(&exchange);
    bool options = strcmp(request->method, "OPTIONS") == 0;
    struct api_error error;
    const char *allow = !route || route->methods == GET ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
    if (options && (route || strcmp(request->path, "*") == 0)) {
        connection_reply(connection,
                         &(struct http_answer){.status = 204, .allow = route ? allow : "GET, HEAD, POST, OPTIONS"});
    } else if (!route) {
        api_error_set(&error, 404, "unknown_url", NULL, "Unknown request URL: %s %s.", request->method, request->path);
        server_reply_error(connection, &error);
    } else if (!(method_bit(request->method) & route->methods)) {
        refuse_method(&exchange, allow);
    } else if (route->needs_key && key_gate_check(exchange.server->keys, request, &error) < 0) {
        server_reply_error(connection, &error);
    } else {
        route->answer(&exchange);
    }
}

void server_refuse(void *context, struct connection *connection, int status, const char *why)
{
    const struct server *server = context;
    struct api_error error;
    struct json_out out = {0};
    if (status == 413) {
        api_error_set(&error, status, "request_too_large", NULL, "%s This server takes up to %zu bytes.", why,
                      server->options->max_body);
    } else {
        api_error_set(&error, status, NULL, NULL, "%s", why);
    }
    api_error_write(&error, &out);
    connection_reply(connection, &(struct http_answer){.status = status,
                                                       .content_type = "application/json",
                                                       .body = out.bytes,
                                                       .length = out.failed ? 0 : out.length,
                                                       .close = true});
    json_out_free(&out);
}
