/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a client sends over one connection, in pieces whose size the first byte gives. Every request that
 * is handed over is well-formed and gets its answer; what comes back starts with HTTP/1.1 each time.
 */
#include "host/serve/connection.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

#define MAX_BODY 2000

static void on_request(void *context, struct connection *connection, const struct http_request *request,
                       const char *body, size_t length)
{
    unsigned *answers = context, sum = 0;
    REQUIRE(request->method[0] && (request->path[0] == '/' || request->path[0] == '*') && length <= MAX_BODY);
    REQUIRE(!(request->chunked && request->has_length));
    REQUIRE(request->chunked || length == request->content_length);
    for (size_t i = 0; i < length; i++) sum += (unsigned char)body[i];
    char path[sizeof request->path];
    memcpy(path, request->path, sizeof path);
    if (http_decode_path(path)) REQUIRE(strlen(path) <= strlen(request->path));
    ++*answers;
    if (request->path[1] == 's') {
        connection_stream_start(connection, "text/plain");
        connection_stream_write(connection, "x", 1);
        connection_stream_end(connection, sum & 1);
        return;
    }
    connection_reply(connection,
                     &(struct http_answer){.status = 200, .content_type = "text/plain", .body = "y", .length = 1});
}

static void on_refuse(void *context, struct connection *connection, int status, const char *why)
{
    unsigned *answers = context;
    REQUIRE(status >= 400 && strcmp(http_reason(status), "Unknown") != 0);
    ++*answers;
    connection_reply(
        connection,
        &(struct http_answer){
            .status = status, .content_type = "text/plain", .body = why, .length = strlen(why), .close = true});
}

static void talk(struct event_base *base, int fd, const uint8_t *bytes, size_t n_bytes, size_t piece, unsigned *answers)
{
    char received[4096];
    bool first = true;
    for (size_t sent = 0; sent < n_bytes || piece;) {
        if (sent < n_bytes) {
            ssize_t n = send(fd, bytes + sent, n_bytes - sent < piece ? n_bytes - sent : piece, MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
            if (n <= 0) sent = n_bytes;
        } else {
            shutdown(fd, SHUT_WR);
            piece = 0;
        }
        for (int i = 0; i < 3; i++) event_base_loop(base, EVLOOP_NONBLOCK);
        ssize_t got;
        while ((got = recv(fd, received, sizeof received, 0)) > 0) {
            if (first && got >= 9) REQUIRE(memcmp(received, "HTTP/1.1 ", 9) == 0);
            first = false;
        }
    }
    REQUIRE(first || *answers > 0 || n_bytes > 20); /* a body may be asked for with 100 and not come */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    int pair[2];
    unsigned answers = 0;
    const struct connection_hooks hooks = {on_request, on_refuse, NULL, &answers};
    const struct connection_limits limits = {MAX_BODY, 1 << 16, 30, 30, 30, 30};
    struct connection_set *set;
    struct error err;
    if (n_bytes == 0 || n_bytes > 30000) return 0;
    struct event_base *base = event_base_new();
    REQUIRE(base && connection_set_open(base, &hooks, &limits, &set, &err) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    REQUIRE(connection_accept(set, pair[1], NULL, "fuzz", NULL) == 0);
    talk(base, pair[0], bytes + 1, n_bytes - 1, bytes[0] ? bytes[0] : 10000, &answers);
    close(pair[0]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    connection_set_close(set);
    event_base_free(base);
    return 0;
}
