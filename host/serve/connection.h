/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client connections: bytes of a socket become requests, and answers become bytes. One thread, the event loop's, owns
 * them all. A connection reads one request at a time, hands it over, and reads the next when the answer has ended.
 *
 * Every wait has an end: for the head, for the body, for the next request, for a reader that takes nothing. What is
 * kept for a connection is bounded: the head, the body and, in a stream, what the client has not read yet.
 *
 * Nothing here frees a connection while its caller still holds it: a connection that must go is marked, its answers go
 * nowhere, and the loop frees it. A client that leaves before its answer has ended is told by the hang-up callback; one
 * that only shut down its sending side gets its answer.
 */
#ifndef SLUICE_SERVE_CONNECTION_H
#define SLUICE_SERVE_CONNECTION_H

#include "host/base/error.h"
#include "host/serve/http.h"
#include "host/serve/tls.h"

#include <event2/event.h>

struct connection;
struct connection_set; /* opaque: all HTTP connections of a server */

struct connection_hooks {
    /* A whole request; must answer now or later. body (length bytes, not terminated) is borrowed until the call returns
       or answers, whichever comes first. */
    void (*request)(void *context, struct connection *connection, const struct http_request *request, const char *body,
                    size_t length);
    /* A request that cannot be read; must be answered with status now. The connection closes after the answer. */
    void (*refuse)(void *context, struct connection *connection, int status, const char *why);
    /* One line about an answer that has ended (or whose client left: status 499). Optional. */
    void (*log)(void *context, const char *line);
    void *context;
};

struct connection_limits {
    size_t max_body;   /* bytes */
    size_t max_unread; /* bytes of a stream that a client may leave unread before it is dropped */
    unsigned head_seconds, body_seconds, idle_seconds, write_seconds;
};

/* hooks and limits are copied. *out is owned: connection_set_close, which drops what is left. */
int connection_set_open(struct event_base *base, const struct connection_hooks *hooks,
                        const struct connection_limits *limits, struct connection_set **out, struct error *err);
void connection_set_close(struct connection_set *set);

/* True while an answer is under way or bytes wait to be written. */
bool connection_set_busy(const struct connection_set *set);

/* What has passed since the set was opened. */
struct connection_counts {
    uint64_t accepted;
    uint64_t answers[6]; /* by the first digit of their status; [0]: clients that left before the end of theirs */
    unsigned open;
};
void connection_set_count(const struct connection_set *set, struct connection_counts *counts);

/* Takes over the socket fd (non-blocking) and the TLS session (NULL: plain), also on error, when they are closed. */
int connection_accept(struct connection_set *set, evutil_socket_t fd, SSL *session, const char *peer,
                      struct error *err);

struct http_answer {
    int status;
    const char *content_type; /* NULL: no body */
    const char *body;
    size_t length;
    const char *allow;    /* the Allow header, or NULL */
    unsigned retry_after; /* the Retry-After header; 0: none */
    bool close;           /* close the connection after it */
};

/*
 * Who asked: an HTTP connection or a call of the RPC (rpc.h), whose own structure begins with this one. It may be gone
 * once its answer has ended.
 */
struct connection {
    void (*reply)(struct connection *connection, const struct http_answer *answer);
    void (*stream_start)(struct connection *connection, const char *content_type);
    void (*stream_write)(struct connection *connection, const char *bytes, size_t length);
    void (*stream_end)(struct connection *connection, bool close);
    void (*hangup)(void *context);
    void *hangup_context;
};

/* The whole answer; everything is copied. */
static inline void connection_reply(struct connection *connection, const struct http_answer *answer)
{
    connection->reply(connection, answer);
}

/* An answer that comes bit by bit, in whole events: an event stream. A stream that breaks off is closed. */
static inline void connection_stream_start(struct connection *connection, const char *content_type)
{
    connection->stream_start(connection, content_type);
}
static inline void connection_stream_write(struct connection *connection, const char *bytes, size_t length)
{
    connection->stream_write(connection, bytes, length);
}
static inline void connection_stream_end(struct connection *connection, bool close)
{
    connection->stream_end(connection, close);
}

/* Calls hangup(context) once if the client goes before the answer has ended; NULL takes it back. */
static inline void connection_on_hangup(struct connection *connection, void (*hangup)(void *context), void *context)
{
    connection->hangup = hangup;
    connection->hangup_context = context;
}

#endif
