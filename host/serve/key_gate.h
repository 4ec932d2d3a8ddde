/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who comes in: compares the key of a request with those of the key file and counts what each key uses. All on the
 * loop's thread. The file is read again once it has changed, so a revoked key ends within a second; one that cannot be
 * read leaves the keys as they were.
 */
#ifndef SLUICE_SERVE_KEY_GATE_H
#define SLUICE_SERVE_KEY_GATE_H

#include "host/serve/api_error.h"
#include "host/serve/http.h"

struct key_gate; /* opaque */
struct key_user; /* opaque: a key at work */

/* notice(context, line) tells people that the file was read again, or why not. *out is owned: key_gate_close. */
int key_gate_open(const char *path, void (*notice)(void *context, const char *line), void *context,
                  struct key_gate **out, struct error *err);
void key_gate_close(struct key_gate *gate); /* no user may be inside; NULL is allowed */

/* 0 if the request brings a key of the file; else -1 and *error is a 401. gate NULL: no keys are asked for. */
int key_gate_check(struct key_gate *gate, const struct http_request *request, struct api_error *error);

/*
 * The same for a request that takes the engine's time: it counts against the key's limits, and 429 with the seconds to wait says
 * that they are reached. 0: *user is inside until key_gate_leave; NULL if gate is.
 */
int key_gate_enter(struct key_gate *gate, const struct http_request *request, struct key_user **user,
                   struct api_error *error);
void key_gate_leave(struct key_user *user); /* NULL is allowed */

/* How early its requests come (engine_request), and a number that tells it from others. 0 for NULL. */
int32_t key_user_priority(const struct key_user *user);
uint64_t key_user_number(const struct key_user *user);

#endif
