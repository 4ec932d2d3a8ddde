/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that uses client/sluice_client.h as an application would.
 *
 *     rpc_client SOCKET KEY    reads lines PATH<TAB>JSON from standard input (or a path alone: a GET), makes them all calls
 *                              at once and prints a line of JSON for each event and each answer:
 *                              {"call": n, "event": ...} and {"call": n, "status": s, "retry_after": r, "answer": ...}
 *
 * KEY is "-" for none. A PATH that begins with '!' is cancelled at its first event. Status 0: every call was answered.
 */
#include "client/sluice_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct sluice_client *client;
    unsigned number; /* of the line */
    uint32_t id;
    int cancels, answered;
};

static void on_event(void *context, const char *json, size_t length)
{
    struct call *call = context;
    printf("{\"call\": %u, \"event\": %.*s}\n", call->number, (int)length, json);
    if (call->cancels) sluice_client_cancel(call->client, call->id);
}

static void on_answer(void *context, int status, unsigned retry_after, const char *json, size_t length)
{
    struct call *call = context;
    const int has_json = status != 0 && length > 0;
    call->answered++;
    printf("{\"call\": %u, \"status\": %d, \"retry_after\": %u, \"answer\": %.*s}\n", call->number, status, retry_after,
           has_json ? (int)length : 4, has_json ? json : "null");
}

static int start(struct sluice_client *client, char *line, struct call *call)
{
    const struct sluice_call callbacks = {.event = on_event, .answer = on_answer, .context = call};
    char *body = strchr(line, '\t');
    if (body) *body++ = '\0';
    call->client = client;
    call->cancels = line[0] == '!';
    call->id = sluice_client_call(client, line + call->cancels, body, body ? strlen(body) : 0, &callbacks);
    if (!call->id) fprintf(stderr, "rpc_client: %s\n", sluice_client_error(client));
    return call->id ? 0 : -1;
}

int main(int argc, char **argv)
{
    enum { MOST = 4096 };
    struct sluice_client *client;
    char error[300], *line = NULL;
    size_t room = 0;
    unsigned n = 0;
    int status = 0, left = 1;
    struct call *calls = calloc(MOST, sizeof *calls);
    if (argc != 3 || !calls) {
        fprintf(stderr, "usage: rpc_client SOCKET KEY <CALLS\n");
        return 2;
    }
    if (sluice_client_open(argv[1], strcmp(argv[2], "-") == 0 ? NULL : argv[2], &client, error, sizeof error) < 0) {
        fprintf(stderr, "rpc_client: %s\n", error);
        return 1;
    }
    for (ssize_t got; n < MOST && status == 0 && (got = getline(&line, &room, stdin)) > 0; n++) {
        if (line[got - 1] == '\n') line[got - 1] = '\0';
        calls[n].number = n;
        status = start(client, line, &calls[n]);
    }
    while (status == 0 && left > 0) left = sluice_client_wait(client, -1);
    for (unsigned i = 0; i < n; i++) status |= calls[i].answered != 1;
    if (left < 0) fprintf(stderr, "rpc_client: %s\n", sluice_client_error(client));
    sluice_client_close(client);
    free(calls);
    free(line);
    return status || left < 0;
}
