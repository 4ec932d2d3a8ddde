/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs over the RPC and over HTTP, both on Unix sockets of the same server, in turn:
 *
 *     sluice serve --host unix:/tmp/http --rpc /tmp/rpc &
 *     rpc_speed /tmp/http /tmp/rpc [ROUNDS]
 *
 * Prints a line of JSON for each kind of request: medians over the rounds of requests a second, one after another or several
 * at once, on connections that stay open, and the ratio RPC / HTTP.
 */
#include "client/sluice_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST_ROUNDS 99
#define MOST_AT_ONCE 16

struct request {
    const char *name, *path, *body;
    unsigned side_by_side; /* requests under way at once: HTTP has a connection for each, the RPC has one */
    unsigned count;        /* in a round, a multiple of side_by_side */
};

static const struct request requests[] = {
    {"health", "/health", NULL, 1, 4000},
    {"health", "/health", NULL, MOST_AT_ONCE, 8000},
    {"tokenize", "/tokenize", "{\"prompt\":\"How do I list the cards of this machine?\"}", 1, 2000},
    {"tokenize", "/tokenize", "{\"prompt\":\"How do I list the cards of this machine?\"}", MOST_AT_ONCE, 4000},
};

static double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void give_up(const char *why)
{
    fprintf(stderr, "rpc_speed: %s\n", why);
    exit(1);
}

static int open_http(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) give_up("the path is too long");
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) give_up("HTTP: cannot connect");
    return fd;
}

static void send_http(int fd, const struct request *request)
{
    char buffer[1024];
    const char *body = request->body ? request->body : "";
    int n = snprintf(buffer, sizeof buffer, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                     request->body ? "POST" : "GET", request->path, strlen(body), body);
    if (send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n) give_up("HTTP: cannot send");
}

/* A whole answer, by its Content-Length. */
static void receive_http(int fd)
{
    char buffer[16384];
    size_t got = 0, wanted = 0;
    while (wanted == 0 || got < wanted) {
        ssize_t more = recv(fd, buffer + got, sizeof buffer - 1 - got, 0);
        if (more <= 0) give_up("HTTP: the answer broke off");
        got += (size_t)more;
        buffer[got] = '\0';
        const char *end = strstr(buffer, "\r\n\r\n"), *field = strstr(buffer, "Content-Length: ");
        if (end && field) wanted = (size_t)(end - buffer) + 4 + strtoul(field + 16, NULL, 10);
    }
    if (strncmp(buffer, "HTTP/1.1 200", 12) != 0) give_up("HTTP: the answer is not 200");
}

static void on_answer(void *context, int status, unsigned retry_after, const char *json, size_t length)
{
    unsigned *left = context;
    (void)retry_after;
    if (status != 200 || length == 0 || json[0] != '{') give_up("RPC: the answer is not 200");
    --*left;
}

static double seconds_of_http(const int *fds, const struct request *request)
{
    const double start = now_seconds();
    for (unsigned i = 0; i < request->count; i += request->side_by_side) {
        for (unsigned k = 0; k < request->side_by_side; k++) send_http(fds[k], request);
        for (unsigned k = 0; k < request->side_by_side; k++) receive_http(fds[k]);
    }
    return now_seconds() - start;
}

static double seconds_of_rpc(struct sluice_client *client, const struct request *request)
{
    unsigned left = 0;
    const struct sluice_call call = {.answer = on_answer, .context = &left};
    const size_t length = request->body ? strlen(request->body) : 0;
    const double start = now_seconds();
    for (unsigned i = 0; i < request->count; i += request->side_by_side) {
        for (; left < request->side_by_side; left++) {
            if (!sluice_client_call(client, request->path, request->body, length, &call))
                give_up(sluice_client_error(client));
        }
        while (left > 0) {
            if (sluice_client_wait(client, -1) < 0) give_up(sluice_client_error(client));
        }
    }
    return now_seconds() - start;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int main(int argc, char **argv)
{
    struct sluice_client *client;
    char error[300];
    const unsigned rounds = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 11;
    if (argc < 3 || rounds == 0 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "usage: rpc_speed HTTP_SOCKET RPC_SOCKET [ROUNDS]\n");
        return 2;
    }
    if (sluice_client_open(argv[2], NULL, &client, error, sizeof error) < 0) give_up(error);
    int http[MOST_AT_ONCE];
    for (unsigned i = 0; i < MOST_AT_ONCE; i++) http[i] = open_http(argv[1]);
    for (size_t r = 0; r < sizeof requests / sizeof *requests; r++) {
        const struct request *request = &requests[r];
        double http_rate[MOST_ROUNDS], rpc_rate[MOST_ROUNDS];
        for (unsigned round = 0; round < rounds; round++) {
            http_rate[round] = request->count / seconds_of_http(http, request);
            rpc_rate[round] = request->count / seconds_of_rpc(client, request);
        }
        const double of_http = median(http_rate, rounds), of_rpc = median(rpc_rate, rounds);
        printf("{\"bench\": \"rpc\", \"request\": \"%s\", \"at_once\": %u, \"http_per_s\": %.0f, \"rpc_per_s\": %.0f, "
               "\"ratio\": %.3f, "
               "\"rounds\": %u}\n",
               request->name, request->side_by_side, of_http, of_rpc, of_rpc / of_http, rounds);
    }
    sluice_client_close(client);
    for (unsigned i = 0; i < MOST_AT_ONCE; i++) close(http[i]);
    return 0;
}
