/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completions for a C program on the same host as `sluice serve --rpc PATH`: one Unix socket, many calls at a time, no
 * HTTP. Paths and JSON are those of the HTTP API (GET /openapi.json). Two source files without dependencies:
 * sluice_client.c and rpc_frame.h.
 *
 * A client belongs to one thread. Nothing blocks but sluice_client_open, sluice_client_wait and sluice_client_ask.
 */
#ifndef SLUICE_CLIENT_H
#define SLUICE_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct sluice_client; /* opaque */

/* Called from sluice_client_wait. Texts are borrowed during the call and not terminated. New calls may be made inside. */
struct sluice_call {
    /* One event of a stream ("stream": true): the JSON that HTTP has behind "data: ". May be NULL. */
    void (*event)(void *context, const char *json, size_t length);
    /*
     * Exactly once, last. status is HTTP's; 499 after sluice_client_cancel, 0 if the server went away (json is then a
     * text for people). retry_after: seconds until a call that was refused with 429 or 503 may do better; 0: not said.
     */
    void (*answer)(void *context, int status, unsigned retry_after, const char *json, size_t length);
    void *context;
};

/*
 * Connects and greets, within 10 seconds. key: an API key, or NULL. *out is owned: sluice_client_close. 0, or -1 with why
 * in error (error_size bytes, terminated).
 */
int sluice_client_open(const char *socket_path, const char *key, struct sluice_client **out, char *error,
                       size_t error_size);

/* Calls that still run get no answer. NULL is allowed. */
void sluice_client_close(struct sluice_client *client);

/*
 * Starts a call; json (length bytes) is copied, and 0 bytes make it a GET. Returns its number, or 0: no memory, a path of
 * more than 1023 bytes, or the server is gone (sluice_client_error says which).
 */
uint32_t sluice_client_call(struct sluice_client *client, const char *path, const char *json, size_t length,
                            const struct sluice_call *call);

/* Ends a call that nobody waits for. One that has been answered is ignored. */
void sluice_client_cancel(struct sluice_client *client, uint32_t number);

/*
 * Sends and receives what there is, waiting up to timeout_ms for the first (-1: for ever), and calls back. Returns how many
 * calls still run, or -1 once the server is gone.
 */
int sluice_client_wait(struct sluice_client *client, int timeout_ms);

/* For poll(2): readable, and writable while sluice_client_wants_to_write, means that sluice_client_wait has work. */
int sluice_client_fd(const struct sluice_client *client);
int sluice_client_wants_to_write(const struct sluice_client *client);

/* Why the last operation failed. */
const char *sluice_client_error(const struct sluice_client *client);

/*
 * One call from start to end; others go on meanwhile. Returns its status, or 0 if the server went away. *json (free; may be
 * NULL if out of memory) is terminated.
 */
int sluice_client_ask(struct sluice_client *client, const char *path, const char *body, char **json);

#endif
