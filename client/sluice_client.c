/* SPDX-License-Identifier: Apache-2.0 */
#include "sluice_client.h"

#include "rpc_frame.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OPEN_MS 10000
#define READ_BYTES 65536
#define MAX_FRAME (64u << 20) /* an answer that claims to be larger is not the server's */

struct bytes {
    unsigned char *data;
    size_t start, end, capacity; /* what is used lies in [start, end) */
};

struct running {
    uint32_t number;
    struct sluice_call call;
};

struct sluice_client {
    int fd;
    int welcomed, gone;
    uint32_t last_number;
    struct bytes in, out;
    struct running *running; /* n_running of capacity, in no order */
    size_t n_running, capacity;
    char error[200];
};

/* Room for count more bytes at the end. */
static int bytes_reserve(struct bytes *b, size_t count)
{
    if (b->capacity - b->end >= count) return 0;
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    if (b->capacity - b->end >= count) return 0;
    if (count > SIZE_MAX / 2 - b->end) return -1;
    size_t capacity = b->capacity ? b->capacity : 4096;
    while (capacity < b->end + count) capacity *= 2;
    unsigned char *grown = realloc(b->data, capacity);
    if (!grown) return -1;
    b->data = grown;
    b->capacity = capacity;
    return 0;
}

static void fail(struct sluice_client *client, const char *why)
{
    snprintf(client->error, sizeof client->error, "%s", why);
}

/* The server is gone: every call is answered with status 0. */
static void give_up(struct sluice_client *client, const char *why)
{
    if (client->gone) return;
    client->gone = 1;
    fail(client, why);
    while (client->n_running > 0) {
        const struct sluice_call call = client->running[--client->n_running].call;
        call.answer(call.context, 0, 0, client->error, strlen(client->error));
    }
}

static int put_frame(struct sluice_client *client, uint32_t number, enum rpc_kind kind, const char *first,
                     size_t first_length, const char *second, size_t second_length)
{
    const size_t length = first_length + second_length;
    struct bytes *out = &client->out;
    if (length < first_length || length > MAX_FRAME || bytes_reserve(out, RPC_HEADER_BYTES + length) < 0) {
        fail(client, "no memory for this call");
        return -1;
    }
    rpc_put_header(out->data + out->end, (uint32_t)length, number, kind);
    out->end += RPC_HEADER_BYTES;
    if (first_length) memcpy(out->data + out->end, first, first_length);
    if (second_length) memcpy(out->data + out->end + first_length, second, second_length);
    out->end += length;
    return 0;
}

static void send_what_goes(struct sluice_client *client)
{
    struct bytes *out = &client->out;
    while (!client->gone && out->start < out->end) {
        ssize_t sent = send(client->fd, out->data + out->start, out->end - out->start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) give_up(client, "the server closed the connection");
        if (sent <= 0) return;
        out->start += (size_t)sent;
    }
    out->start = out->end = 0;
}

/* ---- frames that come ---- */

static struct running *find(struct sluice_client *client, uint32_t number)
{
    for (size_t i = 0; i < client->n_running; i++) {
        if (client->running[i].number == number) return &client->running[i];
    }
    return NULL;
}

static void take_answer(struct sluice_client *client, uint32_t number, const unsigned char *payload, size_t length)
{
    struct running *running = find(client, number);
    if (!running || length < RPC_ANSWER_BYTES) return;
    const struct sluice_call call = running->call;
    *running = client->running[--client->n_running];
    call.answer(call.context, (int)rpc_get_u32(payload), rpc_get_u32(payload + 4),
                (const char *)payload + RPC_ANSWER_BYTES, length - RPC_ANSWER_BYTES);
}

static void take_frame(struct sluice_client *client, unsigned kind, uint32_t number, const unsigned char *payload,
                       size_t length)
{
    char why[160];
    const struct running *running;
    switch (kind) {
    case RPC_WELCOME: client->welcomed = 1; break;
    case RPC_EVENT:
        running = find(client, number);
        if (running && running->call.event) running->call.event(running->call.context, (const char *)payload, length);
        break;
    case RPC_ANSWER: take_answer(client, number, payload, length); break;
    case RPC_FAILURE:
        snprintf(why, sizeof why, "the server hangs up: %.*s", (int)(length < 120 ? length : 120),
                 (const char *)payload);
        give_up(client, why);
        break;
    default: break; /* of a later version */
    }
}

/*
 * Takes the whole frames from the buffer. Callbacks may start calls, which touch other buffers alone, so payloads stay.
 */
static void take_frames(struct sluice_client *client)
{
    struct bytes *in = &client->in;
    while (!client->gone && in->end - in->start >= RPC_HEADER_BYTES) {
        const unsigned char *header = in->data + in->start;
        const uint32_t length = rpc_get_u32(header);
        if (length > MAX_FRAME) {
            give_up(client, "what answers does not speak the RPC");
            return;
        }
        if (in->end - in->start - RPC_HEADER_BYTES < length) return;
        in->start += RPC_HEADER_BYTES + length;
        take_frame(client, header[8], rpc_get_u32(header + 4), header + RPC_HEADER_BYTES, length);
    }
}

/* Takes what has come; waits for the first of it if told to. */
static void receive(struct sluice_client *client, int waits)
{
    struct bytes *in = &client->in;
    for (;; waits = 0) {
        if (bytes_reserve(in, READ_BYTES) < 0) {
            give_up(client, "no memory for an answer");
            return;
        }
        const size_t room = in->capacity - in->end;
        ssize_t got = recv(client->fd, in->data + in->end, room, waits ? 0 : MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (got > 0) in->end += (size_t)got;
        if (got > 0) take_frames(client);
        if (got <= 0) give_up(client, got == 0 ? "the server closed the connection" : strerror(errno));
        if (client->gone || (size_t)got < room) return;
    }
}

/* ---- the library ---- */

int sluice_client_wait(struct sluice_client *client, int timeout_ms)
{
    send_what_goes(client);
    if (client->gone) return -1;
    if (timeout_ms < 0 && client->out.start == client->out.end) { /* one system call in place of two */
        receive(client, 1);
    } else {
        struct pollfd poller = {.fd = client->fd, .events = POLLIN};
        if (client->out.start < client->out.end) poller.events |= POLLOUT;
        int ready = poll(&poller, 1, timeout_ms);
        if (ready > 0 && (poller.revents & (POLLIN | POLLHUP | POLLERR))) receive(client, 0);
    }
    send_what_goes(client); /* calls that were made from callbacks */
    return client->gone ? -1 : (int)client->n_running;
}

static int connect_to(const char *path, char *error, size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        snprintf(error, error_size, "%.80s...: the path is longer than a socket's may be", path);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
    snprintf(error, error_size, "%s: %s (is `sluice serve --rpc` running, and may this user open its socket?)", path,
             strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

int sluice_client_open(const char *path, const char *key, struct sluice_client **out, char *error, size_t error_size)
{
    struct sluice_client *client = calloc(1, sizeof *client);
    *out = NULL;
    if (!client) {
        snprintf(error, error_size, "no memory");
        return -1;
    }
    client->fd = connect_to(path, error, error_size);
    if (client->fd < 0) {
        free(client);
        return -1;
    }
    int status =
        put_frame(client, 0, RPC_HELLO, RPC_VERSION_LINE, strlen(RPC_VERSION_LINE), key, key ? strlen(key) : 0);
    while (status >= 0 && !client->welcomed) {
        const size_t before = client->in.end;
        status = sluice_client_wait(client, OPEN_MS);
        if (status == 0 && !client->welcomed && client->in.end == before) {
            fail(client, "the server does not answer");
            status = -1;
        }
    }
    if (status < 0) {
        snprintf(error, error_size, "%s: %s", path, client->error);
        sluice_client_close(client);
        return -1;
    }
    *out = client;
    return 0;
}

void sluice_client_close(struct sluice_client *client)
{
    if (!client) return;
    close(client->fd);
    free(client->in.data);
    free(client->out.data);
    free(client->running);
    free(client);
}

uint32_t sluice_client_call(struct sluice_client *client, const char *path, const char *json, size_t length,
                            const struct sluice_call *call)
{
    if (client->gone) return 0;
    if (strlen(path) > RPC_MAX_PATH) {
        fail(client, "the path is too long");
        return 0;
    }
    if (client->n_running == client->capacity) {
        const size_t capacity = client->capacity ? 2 * client->capacity : 16;
        struct running *grown =
            capacity > SIZE_MAX / sizeof *grown ? NULL : realloc(client->running, capacity * sizeof *grown);
        if (!grown) {
            fail(client, "no memory for this call");
            return 0;
        }
        client->running = grown;
        client->capacity = capacity;
    }
    uint32_t number = client->last_number;
    do {
        if (++number == 0) number = 1;
    } while (find(client, number));
    if (put_frame(client, number, RPC_CALL, path, strlen(path) + 1, json, length) < 0) return 0;
    client->last_number = number;
    client->running[client->n_running++] = (struct running){number, *call};
    return number;
}

void sluice_client_cancel(struct sluice_client *client, uint32_t number)
{
    if (!client->gone && find(client, number)) put_frame(client, number, RPC_CANCEL, NULL, 0, NULL, 0);
}

int sluice_client_fd(const struct sluice_client *client) { return client->fd; }
int sluice_client_wants_to_write(const struct sluice_client *client) { return client->out.start < client->out.end; }
const char *sluice_client_error(const struct sluice_client *client) { return client->error; }

/* ---- one call from start to end ---- */

struct asked {
    int answered, status;
    char *json;
};

static void on_answer(void *context, int status, unsigned retry_after, const char *json, size_t length)
{
    struct asked *asked = context;
    (void)retry_after;
    asked->answered = 1;
    asked->status = status;
    asked->json = malloc(length + 1);
    if (!asked->json) return;
    memcpy(asked->json, json, length);
    asked->json[length] = '\0';
}

int sluice_client_ask(struct sluice_client *client, const char *path, const char *body, char **json)
{
    struct asked asked = {0};
    const struct sluice_call call = {.answer = on_answer, .context = &asked};
    *json = NULL;
    if (!sluice_client_call(client, path, body, body ? strlen(body) : 0, &call)) return 0;
    while (!asked.answered && sluice_client_wait(client, -1) >= 0) {}
    *json = asked.json;
    return asked.status;
}
