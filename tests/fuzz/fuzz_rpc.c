/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes from a client of the RPC, in pieces: every call that is taken is answered at once, later, as a stream, or
 * never, and the link ends without a leak.
 */
#include "client/rpc_frame.h"
#include "host/serve/rpc.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define MOST_WAITING 8

struct waiting {
    struct connection *connection[MOST_WAITING];
    size_t count;
};

static void on_hangup(void *context)
{
    struct connection **slot = context;
    *slot = NULL;
}

static void on_request(void *context, struct connection *connection, const struct http_request *request,
                       const char *body, size_t length)
{
    struct waiting *waiting = context;
    unsigned sum = (unsigned)strlen(request->path) + (unsigned)strlen(request->key);
    for (size_t i = 0; i < length; i++) sum += (unsigned char)body[i];
    if (sum % 3 == 0 && waiting->count < MOST_WAITING) {
        waiting->connection[waiting->count] = connection;
        connection_on_hangup(connection, on_hangup, &waiting->connection[waiting->count]);
        waiting->count++;
        return;
    }
    if (sum % 3 == 1) {
        connection_stream_start(connection, "text/event-stream");
        connection_stream_write(connection, "data: {}\n\nevent: x\ndata: {\"a\":1}\n\ndata: [DONE]\n\n:\n\n", 51);
        connection_stream_end(connection, sum & 1);
        return;
    }
    connection_reply(connection, &(struct http_answer){.status = 200, .body = "{}", .length = 2});
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct event_base *base;
    const struct connection_limits limits = {4096, 1 << 16, 30, 30, 30, 30};
    struct waiting waiting = {0};
    const struct connection_hooks hooks = {.request = on_request, .context = &waiting};
    struct rpc *rpc;
    struct error err;
    int pair[2];
    if (!base) base = event_base_new();
    if (n_bytes == 0 || !base || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0) return 0;
    if (rpc_open(base, NULL, &hooks, &limits, &rpc, &err) < 0) __builtin_trap();
    rpc_accept(rpc, pair[1]);
    const size_t piece = 1 + bytes[0];
    for (size_t at = 1; at < n_bytes; at += piece) {
        const size_t length = n_bytes - at < piece ? n_bytes - at : piece;
        if (send(pair[0], bytes + at, length, MSG_NOSIGNAL) != (ssize_t)length) break;
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    for (size_t i = 0; i < waiting.count; i++) {
        if (!waiting.connection[i]) continue;
        connection_on_hangup(waiting.connection[i], NULL, NULL);
        connection_reply(waiting.connection[i], &(struct http_answer){.status = 200});
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
    close(pair[0]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    rpc_close(rpc);
    return 0;
}
