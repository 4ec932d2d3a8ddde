/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers under way: a generation is one completion request with its choices, from the moment the engine took it
 * until the last choice has ended. It outlives its connection when the client leaves: then its sequences are
 * cancelled and it goes when the engine has let go of them. All on the loop's thread.
 */
#ifndef SLUICE_SERVE_GENERATION_H
#define SLUICE_SERVE_GENERATION_H

#include "host/serve/connection.h"
#include "host/serve/key_gate.h"
#include "host/serve/outbox.h"
#include "host/serve/request.h"
#include "host/serve/serving.h"

struct generations; /* opaque: all of a server */

int generations_open(struct event_base *base, struct outbox *outbox, struct generations **out, struct error *err);
void generations_close(struct generations *set); /* only when empty; NULL is allowed */
bool generations_empty(const struct generations *set);

/*
 * Submits the request's choices with the tokens of its prompt. 0: the connection will be answered. -1: *error says what
 * to answer, and nothing runs. model_name is borrowed until the generation has ended; request and prompt are not kept.
 * user (or NULL) leaves the key gate when all choices have ended, on an error too.
 */
int generation_start(struct generations *set, const struct serving_model *model, const char *model_name,
                     const struct completion_request *request, const struct token_list *prompt,
                     struct connection *connection, struct key_user *user, struct api_error *error);

/* Hands over what the engine has posted. Call when the outbox's fd is readable. */
void generations_deliver(struct generations *set);

/* Cancels all; their clients get an error. */
void generations_cancel(struct generations *set);

/* The engine is about to be closed, which ends all by itself: from here on nothing is cancelled. */
void generations_engine_closes(struct generations *set);

#endif
