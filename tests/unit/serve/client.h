/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of connections: a pair of sockets, one end a connection of the server's, the other in the test's hand. */
#ifndef SLUICE_TESTS_UNIT_SERVE_CLIENT_H
#define SLUICE_TESTS_UNIT_SERVE_CLIENT_H

#include "host/serve/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    struct event_base *base;
    int fd;
    char received[1 << 16];
    size_t n_received;
    bool ended; /* the server closed its side */
};

static inline void client_open(struct client *client, struct event_base *base, struct connection_set *set)
{
    int pair[2];
    signal(SIGPIPE, SIG_IGN); /* as the server has it: a client that is gone is an error of a write */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    *client = (struct client){.base = base, .fd = pair[0]};
    assert_int_equal(connection_accept(set, pair[1], NULL, "test", NULL), 0);
}

static inline void client_send(struct client *client, const char *text)
{
    assert_int_equal(send(client->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Runs the loop for some milliseconds and takes what the server has said, unless the client does not read. */
static inline void client_run(struct client *client, unsigned ms, bool reads)
{
    struct timespec pause = {.tv_nsec = 1000000};
    for (unsigned i = 0; i <= ms; i++) {
        event_base_loop(client->base, EVLOOP_NONBLOCK);
        while (reads && client->n_received < sizeof client->received - 1) {
            size_t room = sizeof client->received - 1 - client->n_received;
            ssize_t got = recv(client->fd, client->received + client->n_received, room, 0);
            client->ended = client->ended || got == 0 || (got < 0 && errno == ECONNRESET);
            if (got <= 0) break;
            client->n_received += (size_t)got;
        }
        if (i < ms) nanosleep(&pause, NULL);
    }
    client->received[client->n_received] = '\0';
}

/* Runs until text has come; forgets all that came. */
static inline void client_expect(struct client *client, const char *text)
{
    for (int i = 0; i < 2000 && !strstr(client->received, text); i++) client_run(client, 1, true);
    if (!strstr(client->received, text)) fail_msg("no \"%s\" in: %s", text, client->received);
    client->n_received = 0;
    client->received[0] = '\0';
}

static inline void client_expect_end(struct client *client, unsigned ms)
{
    for (unsigned i = 0; i < ms && !client->ended; i++) client_run(client, 1, true);
    assert_true(client->ended);
}

#endif
