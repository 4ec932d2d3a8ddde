/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/rpc.h"
#include "client/rpc_frame.h"
#include "host/base/memory.h"
#include "host/serve/listener.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct rpc {
    struct event_base *base;
    struct connection_hooks hooks;
    struct connection_limits limits;
    struct listening listening;
    struct evconnlistener *listener; /* NULL: listens no more */
    struct rpc_link *first;
};

/* One client's connection. */
struct rpc_link {
    struct rpc *rpc;
    struct rpc_link *next, *previous;
    struct bufferevent *events;
    struct event *end; /* fires at once for a doomed link */
    struct rpc_call *calls;
    unsigned n_calls;
    bool greeted, doomed;
    char key[HTTP_MAX_KEY + 1];
};

struct rpc_call {
    struct connection asker; /* first: see call_of */
    struct rpc_link *link;
    struct rpc_call *next, *previous;
    uint32_t number;
    bool streaming;
    size_t answer_bytes;
    struct timespec started;
    char path[RPC_MAX_PATH + 1];
};

static struct rpc_call *call_of(struct connection *asker) { return (struct rpc_call *)asker; }

/* ---- links ---- */

static void doom(struct rpc_link *link)
{
    if (link->doomed) return;
    link->doomed = true;
    event_active(link->end, EV_TIMEOUT, 0);
}

static void call_free(struct rpc_call *call)
{
    struct rpc_link *link = call->link;
    if (call->previous) call->previous->next = call->next;
    if (link->calls == call) link->calls = call->next;
    if (call->next) call->next->previous = call->previous;
    link->n_calls--;
    free(call);
}

static void log_call(const struct rpc_call *call, int status)
{
    const struct connection_hooks *hooks = &call->link->rpc->hooks;
    struct timespec now;
    char line[1200];
    if (!hooks->log) return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double ms =
        (double)(now.tv_sec - call->started.tv_sec) * 1e3 + (double)(now.tv_nsec - call->started.tv_nsec) / 1e6;
    snprintf(line, sizeof line, "rpc CALL %s %d %zu bytes %.1f ms", call->path, status, call->answer_bytes, ms);
    hooks->log(hooks->context, line);
}

/* Only from libevent's own callbacks. */
static void drop(struct rpc_link *link)
{
    while (link->calls) {
        struct rpc_call *call = link->calls;
        log_call(call, 499);
        if (call->asker.hangup) call->asker.hangup(call->asker.hangup_context);
        call_free(call);
    }
    if (link->previous) link->previous->next = link->next;
    if (link->rpc->first == link) link->rpc->first = link->next;
    if (link->next) link->next->previous = link->previous;
    if (link->events) bufferevent_free(link->events);
    if (link->end) event_free(link->end);
    free(link);
}

/* A client that leaves too much unread is dropped. */
static void put_frame(struct rpc_link *link, uint32_t number, enum rpc_kind kind, const void *first,
                      size_t first_length, const void *second, size_t second_length)
{
    struct evbuffer *out = bufferevent_get_output(link->events);
    unsigned char header[RPC_HEADER_BYTES];
    if (link->doomed) return;
    rpc_put_header(header, (uint32_t)(first_length + second_length), number, kind);
    int failed = evbuffer_add(out, header, sizeof header);
    if (first_length) failed |= evbuffer_add(out, first, first_length);
    if (second_length) failed |= evbuffer_add(out, second, second_length);
    if (failed || evbuffer_get_length(out) > link->rpc->limits.max_unread + second_length) doom(link);
}

/* The client broke the protocol: it is told why, and the link ends when that is written. */
static void hang_up(struct rpc_link *link, const char *why)
{
    put_frame(link, 0, RPC_FAILURE, why, strlen(why), NULL, 0);
    bufferevent_disable(link->events, EV_READ);
    link->greeted = false;
    if (evbuffer_get_length(bufferevent_get_output(link->events)) == 0) doom(link);
}

/* ---- answers ---- */

static void end_call(struct rpc_call *call, int status, unsigned retry_after, const char *json, size_t length)
{
    unsigned char head[RPC_ANSWER_BYTES];
    rpc_put_u32(head, (uint32_t)status);
    rpc_put_u32(head + 4, retry_after);
    call->answer_bytes += length;
    put_frame(call->link, call->number, RPC_ANSWER, head, sizeof head, json, length);
    log_call(call, status);
    call_free(call);
}

static void rpc_reply(struct connection *asker, const struct http_answer *answer)
{
    end_call(call_of(asker), answer->status, answer->retry_after, answer->body, answer->length);
}

static void rpc_stream_start(struct connection *asker, const char *content_type)
{
    (void)content_type;
    call_of(asker)->streaming = true;
}

/* Events of an event stream, whole: what is behind "data: " becomes a frame, unless it is the mark of the end. */
static void rpc_stream_write(struct connection *asker, const char *bytes, size_t length)
{
    struct rpc_call *call = call_of(asker);
    while (length > 0) {
        const char *newline = memchr(bytes, '\n', length);
        const size_t line = newline ? (size_t)(newline - bytes) : length;
        const bool is_data = line > 6 && memcmp(bytes, "data: ", 6) == 0;
        if (is_data && (line != 12 || memcmp(bytes + 6, "[DONE]", 6) != 0)) {
            call->answer_bytes += line - 6;
            put_frame(call->link, call->number, RPC_EVENT, bytes + 6, line - 6, NULL, 0);
        }
        bytes += newline ? line + 1 : line;
        length -= newline ? line + 1 : line;
    }
}

static void rpc_stream_end(struct connection *asker, bool close)
{
    end_call(call_of(asker), close ? 500 : 200, 0, NULL, 0);
}

/* ---- frames that come ---- */

static struct rpc_call *find(const struct rpc_link *link, uint32_t number)
{
    struct rpc_call *call = link->calls;
    while (call && call->number != number) call = call->next;
    return call;
}

static struct rpc_call *call_new(struct rpc_link *link, uint32_t number, const char *path)
{
    struct rpc_call *call = memory_array(1, sizeof *call);
    if (!call) return NULL;
    call->asker = (struct connection){.reply = rpc_reply,
                                      .stream_start = rpc_stream_start,
                                      .stream_write = rpc_stream_write,
                                      .stream_end = rpc_stream_end};
    call->link = link;
    call->number = number;
    snprintf(call->path, sizeof call->path, "%s", path);
    clock_gettime(CLOCK_MONOTONIC, &call->started);
    call->next = link->calls;
    if (call->next) call->next->previous = call;
    link->calls = call;
    link->n_calls++;
    return call;
}

static void take_call(struct rpc_link *link, uint32_t number, const char *payload, size_t length)
{
    const size_t most = length <= RPC_MAX_PATH ? length : RPC_MAX_PATH + 1;
    const char *end = memchr(payload, '\0', most);
    struct http_request request = {.minor = 1, .keep_alive = true, .content_type = "application/json"};
    if (!end || payload[0] != '/') {
        hang_up(link, "a CALL needs a path and a NUL behind it");
    } else if (number == 0 || find(link, number)) {
        hang_up(link, "a CALL needs a number that is not 0 and not in use");
    } else if (link->n_calls >= RPC_MAX_CALLS) {
        hang_up(link, "too many calls run on this connection");
    } else {
        const size_t path = (size_t)(end - payload) + 1;
        struct rpc_call *call = call_new(link, number, payload);
        if (!call) {
            hang_up(link, "the server has no memory for this call");
            return;
        }
        snprintf(request.method, sizeof request.method, "%s", length > path ? "POST" : "GET");
        snprintf(request.path, sizeof request.path, "%s", payload);
        snprintf(request.key, sizeof request.key, "%s", link->key);
        link->rpc->hooks.request(link->rpc->hooks.context, &call->asker, &request, end + 1, length - path);
    }
}

static void take_cancel(struct rpc_link *link, uint32_t number)
{
    struct rpc_call *call = find(link, number);
    if (!call) return;
    if (call->asker.hangup) call->asker.hangup(call->asker.hangup_context);
    end_call(call, 499, 0, NULL, 0);
}

static void take_hello(struct rpc_link *link, const char *payload, size_t length)
{
    const size_t line = strlen(RPC_VERSION_LINE);
    if (length < line || memcmp(payload, RPC_VERSION_LINE, line) != 0) {
        hang_up(link, "this server speaks sluice-rpc 1");
        return;
    }
    /* A key that does not fit is none of ours, as in HTTP. */
    const bool fits = length - line <= HTTP_MAX_KEY && !memchr(payload + line, '\0', length - line);
    snprintf(link->key, sizeof link->key, "%.*s", fits ? (int)(length - line) : 1, fits ? payload + line : "?");
    link->greeted = true;
    put_frame(link, 0, RPC_WELCOME, RPC_VERSION_LINE, line, NULL, 0);
}

static void take_frame(struct rpc_link *link, uint32_t kind, uint32_t number, const char *payload, size_t length)
{
    if (kind == RPC_HELLO && !link->greeted)
        take_hello(link, payload, length);
    else if (kind == RPC_CALL && link->greeted)
        take_call(link, number, payload, length);
    else if (kind == RPC_CANCEL && link->greeted && length == 0)
        take_cancel(link, number);
    else
        hang_up(link, link->greeted ? "a frame of a kind that clients do not send" : "the first frame must be HELLO");
}

static bool hung_up(const struct rpc_link *link)
{
    return link->doomed || !(bufferevent_get_enabled(link->events) & EV_READ);
}

static void on_readable(struct bufferevent *events, void *context)
{
    struct rpc_link *link = context;
    struct evbuffer *in = bufferevent_get_input(events);
    const size_t most = link->rpc->limits.max_body + RPC_MAX_PATH + 1;
    unsigned char header[RPC_HEADER_BYTES];
    while (!hung_up(link) && evbuffer_copyout(in, header, sizeof header) == (ev_ssize_t)sizeof header) {
        const uint32_t length = rpc_get_u32(header);
        if (length > most) {
            hang_up(link, "a frame is longer than this server takes (--max-body)");
            return;
        }
        if (evbuffer_get_length(in) < sizeof header + length) return;
        const char *bytes = (const char *)evbuffer_pullup(in, (ev_ssize_t)(sizeof header + length));
        if (!bytes) {
            doom(link);
            return;
        }
        take_frame(link, rpc_get_u32(header + 8), rpc_get_u32(header + 4), bytes + sizeof header, length);
        evbuffer_drain(in, sizeof header + length);
    }
}

/* All output is with the kernel. */
static void on_written(struct bufferevent *events, void *context)
{
    (void)events;
    if (hung_up(context)) drop(context);
}

static void on_event(struct bufferevent *events, short what, void *context)
{
    (void)events;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) drop(context);
}

static void on_end(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    drop(context);
}

/* ---- the socket ---- */

void rpc_accept(struct rpc *rpc, evutil_socket_t fd)
{
    struct rpc_link *link = memory_array(1, sizeof *link);
    if (!link) {
        evutil_closesocket(fd);
        return;
    }
    link->rpc = rpc;
    link->next = rpc->first;
    if (link->next) link->next->previous = link;
    rpc->first = link;
    link->events = bufferevent_socket_new(rpc->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!link->events) evutil_closesocket(fd);
    link->end = event_new(rpc->base, -1, 0, on_end, link);
    if (!link->events || !link->end) { /* no memory: the client finds it closed */
        drop(link);
        return;
    }
    const struct timeval write_time = {.tv_sec = rpc->limits.write_seconds};
    bufferevent_set_timeouts(link->events, NULL, &write_time);
    bufferevent_setwatermark(link->events, EV_READ, 0, rpc->limits.max_body + RPC_MAX_PATH + 1 + RPC_HEADER_BYTES);
    bufferevent_setcb(link->events, on_readable, on_written, on_event, link);
    bufferevent_enable(link->events, EV_READ | EV_WRITE);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                      void *context)
{
    (void)listener;
    (void)address;
    (void)length;
    rpc_accept(context, fd);
}

static int listen_at(struct rpc *rpc, const char *path, struct error *err)
{
    int status = listener_open_unix(path, &rpc->listening, err);
    if (status < 0) return status;
    rpc->listener = evconnlistener_new(rpc->base, on_accept, rpc, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0,
                                       rpc->listening.fd);
    if (rpc->listener) return 0;
    close(rpc->listening.fd);
    return error_set(err, ERROR_NO_MEMORY, "no memory for the RPC's listener");
}

int rpc_open(struct event_base *base, const char *path, const struct connection_hooks *hooks,
             const struct connection_limits *limits, struct rpc **out, struct error *err)
{
    struct rpc *rpc = memory_array(1, sizeof *rpc);
    if (!rpc) return error_set(err, ERROR_NO_MEMORY, "no memory for the RPC");
    *rpc = (struct rpc){.base = base, .hooks = *hooks, .limits = *limits};
    int status = path ? listen_at(rpc, path, err) : 0;
    if (status < 0)
        rpc_close(rpc);
    else
        *out = rpc;
    return status;
}

/* The name first, so that nobody finds a socket that answers no more. */
void rpc_stop_listening(struct rpc *rpc)
{
    if (!rpc) return;
    if (rpc->listening.path) unlink(rpc->listening.path);
    rpc->listening.path = NULL;
    if (rpc->listener) evconnlistener_free(rpc->listener);
    rpc->listener = NULL;
}

bool rpc_busy(const struct rpc *rpc)
{
    for (const struct rpc_link *link = rpc ? rpc->first : NULL; link; link = link->next) {
        if (link->calls || evbuffer_get_length(bufferevent_get_output(link->events)) > 0) return true;
    }
    return false;
}

void rpc_close(struct rpc *rpc)
{
    if (!rpc) return;
    rpc_stop_listening(rpc);
    while (rpc->first) drop(rpc->first);
    free(rpc);
}
