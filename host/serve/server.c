/* SPDX-License-Identifier: Apache-2.0 */
/* The server's life: model, socket, engine thread, event loop, end. */
#include "host/serve/server.h"

#include <errno.h>
#include <event2/util.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct connection_limits default_limits = {
    .max_unread = 1 << 20,
    .head_seconds = 30,
    .body_seconds = 30,
    .idle_seconds = 75, /* longer than clients keep a connection for reuse, so that they are the ones that close */
    .write_seconds = 30,
};

#define ACCEPT_WARNING_SECONDS 60
#define WANTED_FILES 65536u

static void notice(const struct server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void notice(const struct server *server, const char *format, ...)
{
    char line[700];
    va_list args;
    if (!server->options->notice) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    server->options->notice(server->options->hook_context, line);
}

/* ---- the engine's thread reports ---- */

static void announce_ready(const struct server *server)
{
    const struct serving_model *model = serving_model(server->serving);
    const struct engine_limits *limits = &model->limits;
    if (model->conversion->n_tensors)
        notice(server, "%u matrices have no exact card format and were rounded (relative error %.2g, worst %.2g in %s)",
               model->conversion->n_tensors, model->conversion->relative_rms_error,
               model->conversion->worst_relative_rms_error, model->conversion->worst_name);
    notice(server,
           "ready in %.2f s: %u tokens of context (%s), up to %u sequences at once, %u KV pages of %llu KiB, "
           "prompts in steps of %u tokens",
           model->load_seconds, limits->context,
           limits->context_is_model_limit ? "the model's own limit" : "what --ctx or the card's memory allows",
           limits->max_sequences, limits->n_pages, (unsigned long long)(limits->page_bytes >> 10), limits->chunk);
    for (unsigned i = 0; i < model->n_cards; i++) {
        const struct serving_card *card = &model->card[i];
        if (model->n_cards > 1)
            notice(server, "%s: layers %u to %u", card->label, card->first_layer,
                   card->first_layer + card->n_layers - 1);
        if (card->residency[0]) notice(server, "%s", card->residency);
    }
    if (model->chat_status < 0) notice(server, "no chat: %s", model->chat_error.text);
    if (model->chat && !chat_knows_tools(model->chat))
        notice(server, "the model's chat format has no place for tools: a request's tools go into the system message");
}

/* The engine cannot go on: what runs gets an error, and the server ends with the same one. */
static void engine_failed(struct server *server)
{
    server->failed = true;
    server->err = *serving_error(server->serving);
    generations_engine_closes(server->generations);
    serving_end_engine(server->serving);
    generations_deliver(server->generations);
}

/* The name first, so that nobody finds a socket that answers no more. */
static void stop_listening(struct server *server)
{
    if (server->listening.path) unlink(server->listening.path);
    server->listening.path = NULL;
    if (server->listener) evconnlistener_free(server->listener);
    server->listener = NULL;
    rpc_stop_listening(server->rpc);
}

static void start_drain(struct server *server)
{
    struct timeval period = {.tv_usec = 20000};
    if (server->draining) return;
    server->draining = true;
    stop_listening(server);
    event_add(server->drain_timer, &period);
}

static void on_outbox(evutil_socket_t fd, short what, void *context)
{
    struct server *server = context;
    (void)fd;
    (void)what;
    generations_deliver(server->generations);
    server_take_intake(server);
    enum serving_state state = serving_state(server->serving);
    if (state == server->seen) return;
    server->seen = state;
    if (state == SERVING_READY) {
        announce_ready(server);
        server_watch_cards(server);
    } else if (state == SERVING_FAILED) {
        engine_failed(server);
        start_drain(server);
    }
}

static void wake_loop(void *context)
{
    const struct server *server = context;
    outbox_wake(server->outbox);
}

/* ---- ending ---- */

static void on_drain_timer(evutil_socket_t fd, short what, void *context)
{
    struct server *server = context;
    (void)fd;
    (void)what;
    if (generations_empty(server->generations) && server->n_in_intake == 0 &&
        !connection_set_busy(server->connections) && !rpc_busy(server->rpc))
        event_base_loopbreak(server->base);
}

static void reload_certificate(const struct server *server)
{
    struct error err;
    if (tls_reload(server->tls, &err) < 0)
        notice(server, "SIGHUP: %s: the certificate stays as it was", err.text);
    else
        notice(server, "SIGHUP: certificate read again from %s", server->options->tls.certificate);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct server *server = context;
    (void)what;
    if (number == SIGHUP && server->tls) {
        reload_certificate(server);
        return;
    }
    if (server->draining) {
        notice(server, "cancelling what still runs");
        generations_cancel(server->generations);
        return;
    }
    notice(server, "SIG%s: finishing what runs (again to cancel it)", sigabbrev_np(number));
    start_drain(server);
}

/* ---- clients come ---- */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                      void *context)
{
    struct server *server = context;
    char peer[64];
    (void)listener;
    (void)length;
    listener_format(address, peer, sizeof peer);
    SSL *session = server->tls ? tls_session(server->tls) : NULL;
    if (server->tls && !session)
        evutil_closesocket(fd);
    else
        connection_accept(server->connections, fd, session, peer, NULL); /* no memory: the client finds it closed */
}

/* Mostly no file descriptor is left: wait for some to be closed instead of trying in a circle. */
static void on_accept_error(struct evconnlistener *listener, void *context)
{
    struct server *server = context;
    struct timeval pause = {.tv_usec = 100000};
    const char *reason = evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR());
    time_t now = time(NULL);
    if (now - server->accept_warned >= ACCEPT_WARNING_SECONDS) {
        notice(server, "cannot accept clients: %s (they wait; ulimit -n sets how many files are allowed)", reason);
        server->accept_warned = now;
    }
    evconnlistener_disable(listener);
    event_add(server->accept_timer, &pause);
}

static void on_accept_timer(evutil_socket_t fd, short what, void *context)
{
    const struct server *server = context;
    (void)fd;
    (void)what;
    if (server->listener) evconnlistener_enable(server->listener);
}

static void on_log(void *context, const char *line)
{
    const struct server *server = context;
    server->options->access_log(server->options->hook_context, line);
}

static void keys_notice(void *context, const char *line) { notice(context, "%s", line); }

/* ---- putting it together ---- */

/* Each client is an open file, and the soft limit is for programs that use select. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    const rlim_t most =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > WANTED_FILES ? WANTED_FILES : limit.rlim_max;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < most) {
        limit.rlim_cur = most;
        setrlimit(RLIMIT_NOFILE, &limit); /* if not, file_limit_notice says what there is */
    }
}

static int make_events(struct server *server, struct error *err)
{
    struct event_base *base = server->base;
    server->outbox_ready = event_new(base, outbox_fd(server->outbox), EV_READ | EV_PERSIST, on_outbox, server);
    server->on_term = evsignal_new(base, SIGTERM, on_signal, server);
    server->on_int = evsignal_new(base, SIGINT, on_signal, server);
    server->on_hup = evsignal_new(base, SIGHUP, on_signal, server);
    server->drain_timer = event_new(base, -1, EV_PERSIST, on_drain_timer, server);
    server->accept_timer = event_new(base, -1, 0, on_accept_timer, server);
    if (!server->outbox_ready || !server->on_term || !server->on_int || !server->on_hup || !server->drain_timer ||
        !server->accept_timer)
        return error_set(err, ERROR_NO_MEMORY, "no memory for the event loop");
    if (event_add(server->outbox_ready, NULL) < 0 || event_add(server->on_term, NULL) < 0 ||
        event_add(server->on_int, NULL) < 0)
        return error_set(err, ERROR_IO, "cannot start the event loop");
    /* The terminal closes: as SIGTERM, unless whoever started the server (nohup) had it ignored. With TLS: see on_signal. */
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && (hangup.sa_handler != SIG_IGN || server->tls) &&
        event_add(server->on_hup, NULL) < 0)
        return error_set(err, ERROR_IO, "cannot start the event loop");
    return 0;
}

static int listen_for_clients(struct server *server, struct error *err)
{
    const struct serve_options *options = server->options;
    int status = listener_inherit(&server->listening, err);
    if (status == 0)
        status = listener_open(options->host, options->port,
                               options->without_keys || options->keys_path || options->tls.client_ca,
                               server->tls ? "https" : "http", &server->listening, err);
    if (status < 0) return status;
    server->listener = evconnlistener_new(server->base, on_accept, server,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, server->listening.fd);
    if (!server->listener) {
        close(server->listening.fd);
        return error_set(err, ERROR_NO_MEMORY, "no memory for the listener");
    }
    evconnlistener_set_error_cb(server->listener, on_accept_error);
    return 0;
}

static void file_limit_notice(const struct server *server)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= WANTED_FILES)
        return;
    notice(server,
           "up to %llu clients at once: no more files may be open (raise the hard limit: LimitNOFILE= in the unit)",
           (unsigned long long)limit.rlim_cur);
}

static int server_open(struct server *server, struct error *err)
{
    const struct serve_options *options = server->options;
    const struct connection_hooks hooks = {server_answer, server_refuse, options->access_log ? on_log : NULL, server};
    struct connection_limits limits = default_limits;
    limits.max_body = options->max_body;
    int status = model_open(options->model_path, &server->model, err);
    if (status < 0) return status;
    server->model_name = model_name(server->model);
    raise_file_limit();
    if (options->keys_path) status = key_gate_open(options->keys_path, keys_notice, server, &server->keys, err);
    if (status == 0 && options->tls.certificate) status = tls_open(&options->tls, &server->tls, err);
    if (status < 0) return status;
    server->base = event_base_new();
    if (!server->base) return error_set(err, ERROR_NO_MEMORY, "no memory for the event loop");
    if ((status = outbox_open(&server->outbox, err)) < 0) return status;
    if ((status = intake_open(server->outbox, &server->intake, err)) < 0) return status;
    if ((status = generations_open(server->base, server->outbox, &server->generations, err)) < 0) return status;
    if ((status = connection_set_open(server->base, &hooks, &limits, &server->connections, err)) < 0) return status;
    if ((status = listen_for_clients(server, err)) < 0) return status;
    if (options->rpc_path) status = rpc_open(server->base, options->rpc_path, &hooks, &limits, &server->rpc, err);
    if (status < 0) return status;
    if ((status = make_events(server, err)) < 0) return status;
    if ((status = serving_open(server->model, options, wake_loop, server, &server->serving, err)) < 0) return status;
    notice(server, "listening on %s (model %s, card %s)", server->listening.url, server->model_name,
           options->cards ? options->cards : options->card);
    file_limit_notice(server);
    if (server->rpc) notice(server, "the RPC listens on unix:%s", options->rpc_path);
    return 0;
}

static void free_event(struct event *event)
{
    if (event) event_free(event);
}

static void server_close(struct server *server)
{
    /* Connections first: what they wait for is cancelled; then the engine ends it, and its posts are taken. */
    connection_set_close(server->connections);
    rpc_close(server->rpc);
    server->rpc = NULL;
    if (server->intake) {
        intake_stop(server->intake);
        server_take_intake(server);
        intake_close(server->intake);
    }
    if (server->generations) generations_engine_closes(server->generations);
    if (server->serving) serving_end_engine(server->serving);
    if (server->generations) generations_deliver(server->generations);
    generations_close(server->generations);
    key_gate_close(server->keys);
    tls_close(server->tls);
    serving_close(server->serving);
    stop_listening(server);
    free_event(server->on_card);
    free_event(server->outbox_ready);
    free_event(server->on_term);
    free_event(server->on_int);
    free_event(server->on_hup);
    free_event(server->drain_timer);
    free_event(server->accept_timer);
    outbox_close(server->outbox);
    if (server->base) event_base_free(server->base);
    model_close(server->model);
}

int serve_run(const struct serve_options *options, struct error *err)
{
    struct server server = {.options = options, .started = time(NULL)};
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before); /* a client that is gone is an error of its write */
    int status = server_open(&server, err);
    if (status == 0) {
        if (event_base_dispatch(server.base) < 0) status = error_set(err, ERROR_IO, "the event loop failed");
        if (server.failed) {
            *err = server.err;
            status = err->code;
        }
    }
    server_close(&server);
    sigaction(SIGPIPE, &before, NULL);
    return status;
}
