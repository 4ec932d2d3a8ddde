/* SPDX-License-Identifier: Apache-2.0 */
/* The server as its own files see it: server.c runs it, routes.c and completions.c answer. Outside, there is serve.h. */
#ifndef SLUICE_SERVE_SERVER_H
#define SLUICE_SERVE_SERVER_H

#include "host/serve/connection.h"
#include "host/serve/generation.h"
#include "host/serve/intake.h"
#include "host/serve/key_gate.h"
#include "host/serve/listener.h"
#include "host/serve/rpc.h"
#include "host/serve/serving.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <time.h>

struct server {
    const struct serve_options *options;
    const char *model_name;
    time_t started, accept_warned;

    struct event_base *base;
    struct evconnlistener *listener; /* NULL once the server drains */
    struct listening listening;      /* path NULL: none, or gone; the listener owns fd */
    struct event *outbox_ready, *on_term, *on_int, *on_hup, *drain_timer, *accept_timer;

    struct model *model;
    struct tls *tls;       /* NULL: plain HTTP */
    struct key_gate *keys; /* NULL: nobody is asked for one */
    struct outbox *outbox;
    struct intake *intake;
    unsigned n_in_intake; /* requests on their way through it */
    struct generations *generations;
    struct connection_set *connections;
    struct rpc *rpc; /* NULL: HTTP alone */
    struct serving *serving;
    struct event *on_card; /* NULL: nobody tells of cards that go */
    uint32_t cards_gone;   /* bit i: card i of those that serve */
    unsigned cards_removed;

    enum serving_state seen; /* the state that was announced last */
    bool draining;
    bool failed; /* err says why the server ends */
    struct error err;
};

/* Both are hooks of the connections; context is the struct server. (routes.c) */
void server_answer(void *context, struct connection *connection, const struct http_request *request, const char *body,
                   size_t length);
void server_refuse(void *context, struct connection *connection, int status, const char *why);

/* Listens for the card's going away, once the card is known. Nothing is done where it has no address. (card_watch.c) */
void server_watch_cards(struct server *server);

/* 0, or -1 with what to answer where the card has gone. */
int server_check_cards(const struct server *server, struct api_error *error);

/* Starts what has come out of the intake. (completions.c) */
void server_take_intake(struct server *server);

/* Answers a POST whose body is a prompt or tokens, now or later. (completions.c) */
void server_take_prompt(struct server *server, struct connection *connection, const struct http_request *request,
                        enum intake_purpose purpose, enum request_kind kind, const char *body, size_t length);

/* Answers GET /metrics and GET /v1/cards. (status_answers.c) */
void server_answer_metrics(const struct server *server, struct connection *connection);
void server_answer_cards(const struct server *server, struct connection *connection);

void server_reply_json(struct connection *connection, int status, const struct json_out *out);
void server_reply_error(struct connection *connection, const struct api_error *error);

#endif
