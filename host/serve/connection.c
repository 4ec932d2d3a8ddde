/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/connection.h"
#include "host/base/memory.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MAX_READ_AHEAD 65536   /* bytes read ahead of what is being parsed */
#define MAX_PIPELINE_OUT 65536 /* unread bytes of answers at which the next pipelined request waits */
#define LINGER_SECONDS 2       /* for the client to read an answer to a request that it is still sending */
#define PROBE_MS 200           /* after which a client that shut down its side before its answer is probed */
#define HALF_OPEN_MS 20        /* between two looks at it then */

enum state {
    READING_HEAD,
    READING_BODY,
    READING_CHUNKS,
    ANSWERING,
    CLOSING,   /* the last answer is being written */
    LINGERING, /* written and shut down; what still comes is thrown away */
};

struct connection_set {
    struct event_base *base;
    struct connection_hooks hooks;
    struct connection_limits limits;
    struct http_connection *first;
    struct connection_counts counts;
};

struct http_connection {
    struct connection asker; /* first: see http_of */
    struct connection_set *set;
    struct http_connection *next, *previous;
    struct bufferevent *events;
    SSL *session;        /* of events, which owns it; NULL: plain */
    struct event *timer; /* of the state; fires at once for a doomed connection */
    enum state state;
    struct http_request request;
    struct evbuffer *body;
    uint64_t wanted;   /* bytes of the body, or of the chunk, still to come */
    bool in_chunk;     /* chunks: data comes next, not a size line */
    bool in_trailer;   /* chunks: the last one has come */
    bool head_started; /* the head's time runs */
    bool processing;   /* inside process(): answers do not start the next request themselves */
    bool peer_ended;   /* the client sends nothing more */
    bool probed;       /* and was sent something that makes it known if it has gone */
    bool doomed;       /* to be freed by the loop */
    bool streaming;
    int status; /* of the answer under way, for the log */
    size_t answer_bytes;
    struct timespec started;
    char peer[48];
};

static struct http_connection *http_of(struct connection *asker) { return (struct http_connection *)asker; }

static void set_timer(struct http_connection *c, unsigned seconds)
{
    struct timeval time = {.tv_sec = seconds};
    event_add(c->timer, &time);
}

static struct evbuffer *input_of(const struct http_connection *c) { return bufferevent_get_input(c->events); }
static struct evbuffer *output_of(const struct http_connection *c) { return bufferevent_get_output(c->events); }

static void log_answer(struct http_connection *c, int status)
{
    c->set->counts.answers[status == 499 ? 0 : status / 100 % 6]++;
    if (!c->set->hooks.log) return;
    struct timespec now;
    char line[1400];
    clock_gettime(CLOCK_MONOTONIC, &now);
    double ms = (double)(now.tv_sec - c->started.tv_sec) * 1e3 + (double)(now.tv_nsec - c->started.tv_nsec) / 1e6;
    snprintf(line, sizeof line, "%s %s %s %d %zu bytes %.1f ms", c->peer,
             c->request.method[0] ? c->request.method : "-", c->request.path[0] ? c->request.path : "-", status,
             c->answer_bytes, ms);
    c->set->hooks.log(c->set->hooks.context, line);
}

/* Frees the connection; only from libevent's own callbacks. */
static void drop(struct http_connection *c)
{
    if (c->state == ANSWERING) log_answer(c, 499);
    if (c->asker.hangup) c->asker.hangup(c->asker.hangup_context);
    if (c->previous) c->previous->next = c->next;
    if (!c->previous) c->set->first = c->next;
    if (c->next) c->next->previous = c->previous;
    c->set->counts.open--;
    if (c->events) bufferevent_free(c->events);
    if (c->timer) event_free(c->timer);
    if (c->body) evbuffer_free(c->body);
    free(c);
}

static void doom(struct http_connection *c)
{
    if (c->doomed) return;
    c->doomed = true;
    event_active(c->timer, EV_TIMEOUT, 0);
}

static void refuse(struct http_connection *c, int status, const char *why)
{
    c->state = ANSWERING;
    c->request.keep_alive = false;
    event_del(c->timer);
    c->set->hooks.refuse(c->set->hooks.context, &c->asker, status, why);
}

/* ---- reading: each step returns true if the next may follow at once ---- */

static void start_head(struct http_connection *c)
{
    c->state = READING_HEAD;
    c->head_started = false;
    c->streaming = c->in_chunk = c->in_trailer = false;
    c->answer_bytes = 0;
    evbuffer_drain(c->body, evbuffer_get_length(c->body));
    set_timer(c, c->set->limits.idle_seconds);
}

static bool hand_over(struct http_connection *c)
{
    size_t length = evbuffer_get_length(c->body);
    const char *body = length ? (const char *)evbuffer_pullup(c->body, -1) : "";
    c->state = ANSWERING;
    event_del(c->timer);
    if (!body) {
        doom(c);
        return false;
    }
    c->set->hooks.request(c->set->hooks.context, &c->asker, &c->request, body, length);
    return true;
}

static bool too_large(struct http_connection *c)
{
    refuse(c, 413, "The request body is too large.");
    return false;
}

static bool start_body(struct http_connection *c)
{
    const struct http_request *request = &c->request;
    if (request->has_length && request->content_length > c->set->limits.max_body) return too_large(c);
    if (!request->chunked && request->content_length == 0) return hand_over(c);
    c->state = request->chunked ? READING_CHUNKS : READING_BODY;
    c->wanted = request->content_length;
    if (request->expect_continue) evbuffer_add_printf(output_of(c), "HTTP/1.1 100 Continue\r\n\r\n");
    set_timer(c, c->set->limits.body_seconds);
    return true;
}

/* Empty lines before a request line are skipped (RFC 9112, section 2.2). */
static void skip_empty_lines(struct evbuffer *input)
{
    char start[2];
    while (evbuffer_copyout(input, start, 2) == 2 && start[0] == '\r' && start[1] == '\n') evbuffer_drain(input, 2);
}

static bool read_head(struct http_connection *c)
{
    struct evbuffer *input = input_of(c);
    const char *why;
    skip_empty_lines(input);
    size_t length = evbuffer_get_length(input);
    if (length == 0 || (length == 1 && *evbuffer_pullup(input, 1) == '\r')) return false;
    if (!c->head_started) {
        c->head_started = true;
        clock_gettime(CLOCK_MONOTONIC, &c->started);
        c->request = (struct http_request){0};
        set_timer(c, c->set->limits.head_seconds);
    }
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    size_t seen = length < HTTP_MAX_HEAD ? length : HTTP_MAX_HEAD;
    size_t head = end.pos < 0 ? seen : (size_t)end.pos + 4;
    const char *bytes = head <= HTTP_MAX_HEAD ? (const char *)evbuffer_pullup(input, (ev_ssize_t)head) : NULL;
    int status = bytes ? http_check_start(bytes, head, &why) : 0;
    if (status == 0 && (!bytes || (end.pos < 0 && length >= HTTP_MAX_HEAD))) {
        status = 431;
        why = "The request's headers are too large.";
    }
    if (status == 0 && end.pos < 0) return false;
    if (status == 0) status = http_parse_head(bytes, head, &c->request, &why);
    if (status) {
        refuse(c, status, why);
        return false;
    }
    evbuffer_drain(input, head);
    return start_body(c);
}

/* Moves what has come of `wanted` bytes to the body. True when all are there. */
static bool take_body(struct http_connection *c)
{
    size_t length = evbuffer_get_length(input_of(c));
    size_t take = length < c->wanted ? length : (size_t)c->wanted;
    int moved = evbuffer_remove_buffer(input_of(c), c->body, take);
    if (moved > 0) c->wanted -= (uint64_t)moved;
    return c->wanted == 0;
}

/* One step through a chunked body: a size line, data with its CRLF, or a line of the trailer, which is thrown away. */
static bool read_chunks(struct http_connection *c)
{
    struct evbuffer *input = input_of(c);
    if (c->in_chunk && c->wanted && !take_body(c)) return false;
    char line[HTTP_MAX_CHUNK_LINE + 2];
    ev_ssize_t copied = evbuffer_copyout(input, line, sizeof line);
    char *newline = copied > 0 ? memchr(line, '\n', (size_t)copied) : NULL;
    if (!newline && copied < (ev_ssize_t)sizeof line) return false;
    bool good = newline && newline > line && newline[-1] == '\r';
    size_t length = good ? (size_t)(newline - line) - 1 : 0;
    if (good && c->in_chunk) {
        good = length == 0;
        c->in_chunk = false;
    } else if (good && c->in_trailer) {
        if (length == 0) {
            evbuffer_drain(input, 2);
            return hand_over(c);
        }
    } else if (good) {
        good = http_parse_chunk_size(line, length, &c->wanted);
        if (good && c->wanted > c->set->limits.max_body - evbuffer_get_length(c->body)) return too_large(c);
        c->in_chunk = c->wanted > 0;
        c->in_trailer = c->wanted == 0;
    }
    if (!good) {
        refuse(c, 400, "A chunk of the request body is malformed.");
        return false;
    }
    evbuffer_drain(input, length + 2);
    return true;
}

static bool read_step(struct http_connection *c)
{
    switch (c->state) {
    case READING_HEAD: return evbuffer_get_length(output_of(c)) <= MAX_PIPELINE_OUT && read_head(c);
    case READING_BODY: return take_body(c) && hand_over(c);
    case READING_CHUNKS: return read_chunks(c);
    case LINGERING: evbuffer_drain(input_of(c), evbuffer_get_length(input_of(c))); return false;
    case CLOSING: evbuffer_drain(input_of(c), evbuffer_get_length(input_of(c))); return false;
    case ANSWERING: return false;
    }
    return false;
}

/* Reads requests until one has to wait: for bytes, for its answer, or for a client that does not read its answers. */
static void process(struct http_connection *c)
{
    if (c->processing) return;
    c->processing = true;
    while (!c->doomed && read_step(c)) {}
    c->processing = false;
}

/* ---- answering ---- */

static void put_head(struct http_connection *c, const struct http_answer *answer, bool chunked)
{
    struct evbuffer *out = output_of(c);
    char date[40] = "";
    time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts)) strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nServer: sluice\r\nDate: %s\r\n", answer->status,
                        http_reason(answer->status), date);
    if (answer->content_type) evbuffer_add_printf(out, "Content-Type: %s\r\n", answer->content_type);
    if (chunked) evbuffer_add_printf(out, "Cache-Control: no-store\r\n");
    if (chunked && c->request.minor == 1) evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    if (!chunked && answer->status != 204) evbuffer_add_printf(out, "Content-Length: %zu\r\n", answer->length);
    if (answer->status == 401) evbuffer_add_printf(out, "WWW-Authenticate: Bearer\r\n");
    if (answer->allow) evbuffer_add_printf(out, "Allow: %s\r\n", answer->allow);
    if (answer->retry_after) evbuffer_add_printf(out, "Retry-After: %u\r\n", answer->retry_after);
    const char *stays = c->request.minor == 0 ? "Connection: keep-alive\r\n" : "";
    evbuffer_add_printf(out, "%s\r\n", c->request.keep_alive ? stays : "Connection: close\r\n");
    c->status = answer->status;
}

/* The answer is written; what comes next is another request or the end. */
static void end_answer(struct http_connection *c)
{
    log_answer(c, c->status);
    c->asker.hangup = NULL;
    if (c->request.keep_alive) {
        start_head(c);
        process(c);
        return;
    }
    c->state = CLOSING;
    event_del(c->timer); /* it may run for a client that shut down its side; the write time-out watches from here */
    if (evbuffer_get_length(output_of(c)) == 0) doom(c);
}

static void http_reply(struct connection *asker, const struct http_answer *answer)
{
    struct http_connection *c = http_of(asker);
    if (c->doomed || c->state != ANSWERING) return;
    if (answer->close) c->request.keep_alive = false;
    put_head(c, answer, false);
    if (answer->length && strcmp(c->request.method, "HEAD") != 0 &&
        evbuffer_add(output_of(c), answer->body, answer->length) < 0) {
        doom(c);
        return;
    }
    c->answer_bytes = answer->length;
    end_answer(c);
}

static void http_stream_start(struct connection *asker, const char *content_type)
{
    struct http_connection *c = http_of(asker);
    if (c->doomed || c->state != ANSWERING) return;
    if (c->request.minor == 0) c->request.keep_alive = false; /* the end of the stream is the end of the connection */
    c->streaming = true;
    put_head(c, &(struct http_answer){.status = 200, .content_type = content_type}, true);
}

static void http_stream_write(struct connection *asker, const char *bytes, size_t length)
{
    struct http_connection *c = http_of(asker);
    if (c->doomed || !c->streaming || length == 0) return;
    struct evbuffer *out = output_of(c);
    bool chunked = c->request.minor == 1;
    int failed = chunked ? evbuffer_add_printf(out, "%zx\r\n", length) < 0 : 0;
    failed |= evbuffer_add(out, bytes, length);
    if (chunked) failed |= evbuffer_add(out, "\r\n", 2);
    c->answer_bytes += length;
    if (failed || evbuffer_get_length(out) > c->set->limits.max_unread) doom(c);
}

static void http_stream_end(struct connection *asker, bool close)
{
    struct http_connection *c = http_of(asker);
    if (c->doomed || !c->streaming) return;
    if (close) c->request.keep_alive = false;
    if (c->request.minor == 1) evbuffer_add(output_of(c), "0\r\n\r\n", 5);
    c->streaming = false;
    end_answer(c);
}

/* ---- libevent's callbacks ---- */

static void on_readable(struct bufferevent *events, void *context)
{
    (void)events;
    process(context);
}

/* All output is with the kernel. */
static void on_written(struct bufferevent *events, void *context)
{
    struct http_connection *c = context;
    (void)events;
    if (c->state == READING_HEAD) process(c);
    if (c->doomed || c->state == ANSWERING || evbuffer_get_length(output_of(c)) > 0) return;
    if (c->peer_ended) {
        drop(c);
    } else if (c->state == CLOSING) {
        /* Closing with unread bytes would reset the connection and could take the answer from the client. */
        c->state = LINGERING;
        if (c->session) tls_say_end(c->session);
        shutdown(bufferevent_getfd(c->events), SHUT_WR);
        set_timer(c, LINGER_SECONDS);
    }
}

static void look_again(struct http_connection *c, unsigned ms)
{
    struct timeval time = {.tv_usec = ms * 1000};
    event_add(c->timer, &time);
}

/*
 * The client will send no more. Whether it has gone or waits for its answer cannot be seen until something is sent: the
 * system of a client that has gone answers with a reset. Before the answer that is the interim response 100, of which
 * a client must take any number (RFC 9110, section 15.2; HTTP/1.0 has none); in an event stream, a comment.
 */
static void probe_client(struct http_connection *c)
{
    if (c->streaming)
        http_stream_write(&c->asker, ":\n\n", 3);
    else if (c->request.minor == 1)
        evbuffer_add_printf(output_of(c), "HTTP/1.1 100 Continue\r\n\r\n");
    c->probed = true;
}

/* True when the system knows that the other side is gone. */
static bool connection_is_dead(const struct http_connection *c)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int failed = getsockopt(bufferevent_getfd(c->events), IPPROTO_TCP, TCP_INFO, &info, &size);
    if (failed && errno == EOPNOTSUPP) return false; /* a Unix socket: writing to one that is gone fails at once */
    return failed || info.tcpi_state == TCP_CLOSE;
}

static void on_event(struct bufferevent *events, short what, void *context)
{
    struct http_connection *c = context;
    bool ended = what & BEV_EVENT_EOF;
    bool answered = c->state == CLOSING || (c->state == READING_HEAD && evbuffer_get_length(output_of(c)) > 0);
    (void)events;
    if (what & BEV_EVENT_CONNECTED) { /* the handshake is done */
        if (c->state == READING_HEAD && !c->head_started) set_timer(c, c->set->limits.idle_seconds);
        return;
    }
    if (!ended || (!answered && c->state != ANSWERING)) {
        drop(c);
        return;
    }
    c->peer_ended = true; /* a client that shut down its side still gets what it asked for */
    if (c->state == ANSWERING && !c->doomed) look_again(c, c->streaming ? 0 : PROBE_MS); /* most answers come first */
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct http_connection *c = context;
    (void)fd;
    (void)what;
    if (c->state == ANSWERING && !c->doomed && !connection_is_dead(c)) { /* it runs for a client that may have gone */
        if (!c->probed) probe_client(c);
        if (!c->doomed) look_again(c, HALF_OPEN_MS);
        return;
    }
    bool partial =
        c->state == READING_BODY || c->state == READING_CHUNKS || (c->state == READING_HEAD && c->head_started);
    if (c->doomed || !partial) {
        drop(c);
        return;
    }
    refuse(c, 408, "The request did not arrive in time.");
}

static struct bufferevent *open_events(struct event_base *base, evutil_socket_t fd, SSL *session)
{
    struct bufferevent *events =
        session ? bufferevent_openssl_socket_new(base, fd, session, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
                : bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    /* A client that leaves without TLS's own goodbye has left all the same; lengths and chunks tell a cut request. */
    if (events && session) bufferevent_openssl_set_allow_dirty_shutdown(events, 1);
    return events;
}

int connection_accept(struct connection_set *set, evutil_socket_t fd, SSL *session, const char *peer, struct error *err)
{
    int on = 1;
    struct http_connection *c = memory_array(1, sizeof *c);
    if (!c) {
        SSL_free(session);
        evutil_closesocket(fd);
        return error_set(err, ERROR_NO_MEMORY, "no memory for a connection");
    }
    c->asker = (struct connection){.reply = http_reply,
                                   .stream_start = http_stream_start,
                                   .stream_write = http_stream_write,
                                   .stream_end = http_stream_end};
    c->set = set;
    c->next = set->first;
    if (c->next) c->next->previous = c;
    set->first = c;
    set->counts.accepted++;
    set->counts.open++;
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    c->events = open_events(set->base, fd, session);
    c->session = c->events ? session : NULL;
    if (!c->events) {
        SSL_free(session);
        evutil_closesocket(fd);
    }
    c->timer = event_new(set->base, -1, 0, on_timer, c);
    c->body = evbuffer_new();
    if (!c->events || !c->timer || !c->body) {
        drop(c);
        return error_set(err, ERROR_NO_MEMORY, "no memory for a connection");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a token leaves when it is there */
    struct timeval write_time = {.tv_sec = set->limits.write_seconds};
    bufferevent_set_timeouts(c->events, NULL, &write_time);
    bufferevent_setwatermark(c->events, EV_READ, 0, MAX_READ_AHEAD);
    bufferevent_setcb(c->events, on_readable, on_written, on_event, c);
    start_head(c);
    if (session) set_timer(c, set->limits.head_seconds); /* for the handshake */
    bufferevent_enable(c->events, EV_READ | EV_WRITE);
    return 0;
}

int connection_set_open(struct event_base *base, const struct connection_hooks *hooks,
                        const struct connection_limits *limits, struct connection_set **out, struct error *err)
{
    struct connection_set *set = memory_array(1, sizeof *set);
    if (!set) return error_set(err, ERROR_NO_MEMORY, "no memory for the connections");
    *set = (struct connection_set){.base = base, .hooks = *hooks, .limits = *limits};
    *out = set;
    return 0;
}

void connection_set_close(struct connection_set *set)
{
    if (!set) return;
    while (set->first) drop(set->first);
    free(set);
}

void connection_set_count(const struct connection_set *set, struct connection_counts *counts) { *counts = set->counts; }

bool connection_set_busy(const struct connection_set *set)
{
    for (const struct http_connection *c = set->first; c; c = c->next) {
        if (c->state == ANSWERING || c->state == CLOSING || evbuffer_get_length(output_of(c)) > 0) return true;
    }
    return false;
}
