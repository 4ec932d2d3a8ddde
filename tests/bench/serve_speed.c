/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completions over HTTP as clients see them, from any server that speaks OpenAI's /v1/completions:
 *
 *     serve_speed HOST PORT STREAMS PROMPT_TOKENS TOKENS ROUNDS
 *
 * A round opens STREAMS connections and asks on each, at once, for TOKENS tokens after a prompt of PROMPT_TOKENS random
 * token ids, streamed. It prints a line of JSON, medians over the rounds: the seconds to the first token (of the slowest
 * stream), the tokens a second of all streams, from the first request to the last token and from the moment at which
 * every stream had its first, and the longest gap between two tokens of a stream. One thread, poll(2); what it costs is
 * little against a token.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_STREAMS = 256, MOST_ROUNDS = 99, MOST_PROMPT = 4096, LINE = 1 << 16 };

struct stream {
    int fd;
    double first; /* when its first token came; 0: not yet */
    double last, longest_gap;
    unsigned tokens;
    int done;
    char line[LINE]; /* of the stream, so far */
    size_t length;
};

static double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void give_up(const char *what)
{
    fprintf(stderr, "serve_speed: %s\n", what);
    exit(1);
}

static int connect_to(const char *host, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) give_up("HOST must be an IPv4 address");
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) give_up(strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The prompt is different each time, so that no server finds it in a cache. */
static void ask(int fd, unsigned n_prompt, unsigned n_tokens, unsigned *random)
{
    static char body[16 * MOST_PROMPT + 256], head[256];
    size_t length = 0;
    length += (size_t)snprintf(body, sizeof body, "{\"prompt\":[");
    for (unsigned i = 0; i < n_prompt; i++) {
        *random = *random * 1664525u + 1013904223u;
        length += (size_t)snprintf(body + length, sizeof body - length, i ? ",%u" : "%u", 300 + (*random >> 16) % 1500);
    }
    length += (size_t)snprintf(
        body + length, sizeof body - length,
        "],\"max_tokens\":%u,\"stream\":true,\"ignore_eos\":true,\"temperature\":0,\"cache_prompt\":false}", n_tokens);
    const int head_length = snprintf(head, sizeof head,
                                     "POST /v1/completions HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
                                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                                     length);
    if (send(fd, head, (size_t)head_length, MSG_NOSIGNAL | MSG_MORE) != head_length ||
        send(fd, body, length, MSG_NOSIGNAL) != (ssize_t)length)
        give_up("cannot send the request");
}

/* One line of what the server says. Chunk sizes and headers are passed over. */
static void take_line(struct stream *s, const char *line)
{
    if (strncmp(line, "HTTP/1.1 ", 9) == 0 && strncmp(line + 9, "200", 3) != 0) give_up(line);
    if (strncmp(line, "data: ", 6) != 0 || strcmp(line, "data: [DONE]") == 0) return;
    if (strstr(line, "\"error\"")) give_up(line);
    if (!strstr(line, "\"text\"") && !strstr(line, "\"content\"")) return;
    const double now = now_seconds();
    if (s->first <= 0) s->first = now;
    if (s->tokens > 0 && now - s->last > s->longest_gap) s->longest_gap = now - s->last;
    s->last = now;
    s->tokens++;
}

static void take_bytes(struct stream *s)
{
    ssize_t got = recv(s->fd, s->line + s->length, LINE - 1 - s->length, 0);
    if (got < 0) give_up(strerror(errno));
    if (got == 0) {
        s->done = 1;
        return;
    }
    s->length += (size_t)got;
    s->line[s->length] = '\0';
    char *start = s->line;
    for (char *end; (end = strchr(start, '\n')); start = end + 1) {
        *end = '\0';
        if (end > start && end[-1] == '\r') end[-1] = '\0';
        take_line(s, start);
    }
    s->length -= (size_t)(start - s->line);
    memmove(s->line, start, s->length);
    if (s->length == LINE - 1) give_up("a line is too long");
}

struct round {
    double first_token, tokens_per_s, decode_per_s, longest_gap;
};

static struct round one_round(const char *host, unsigned port, unsigned n, unsigned n_prompt, unsigned n_tokens,
                              struct stream *streams, unsigned *random)
{
    struct pollfd pollers[MOST_STREAMS];
    unsigned left = n;
    for (unsigned i = 0; i < n; i++) {
        streams[i].fd = connect_to(host, port);
        streams[i].first = streams[i].longest_gap = 0;
        streams[i].tokens = 0;
        streams[i].done = 0;
        streams[i].length = 0;
    }
    const double start = now_seconds();
    double first = 0, end = 0, gap = 0;
    for (unsigned i = 0; i < n; i++) ask(streams[i].fd, n_prompt, n_tokens, random);
    while (left > 0) {
        for (unsigned i = 0; i < n; i++)
            pollers[i] = (struct pollfd){.fd = streams[i].done ? -1 : streams[i].fd, .events = POLLIN};
        if (poll(pollers, n, -1) < 0) give_up(strerror(errno));
        for (unsigned i = 0; i < n; i++) {
            if (streams[i].done || !pollers[i].revents) continue;
            take_bytes(&streams[i]);
            left -= streams[i].done != 0;
        }
    }
    end = now_seconds();
    for (unsigned i = 0; i < n; i++) {
        if (streams[i].tokens == 0) give_up("a stream had no token");
        if (streams[i].first > first) first = streams[i].first;
        if (streams[i].longest_gap > gap) gap = streams[i].longest_gap;
        close(streams[i].fd);
    }
    const double tokens = (double)n * n_tokens;
    return (struct round){first - start, tokens / (end - start), n_tokens > 1 ? (tokens - n) / (end - first) : 0, gap};
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
    double first[MOST_ROUNDS], all[MOST_ROUNDS], decode[MOST_ROUNDS], gap[MOST_ROUNDS];
    unsigned number[5] = {0};
    for (int i = 0; argc == 7 && i < 5; i++) number[i] = (unsigned)strtoul(argv[2 + i], NULL, 10);
    const unsigned port = number[0], n = number[1], n_prompt = number[2], n_tokens = number[3], rounds = number[4];
    if (n == 0 || n > MOST_STREAMS || n_prompt == 0 || n_prompt > MOST_PROMPT || n_tokens == 0 || rounds == 0 ||
        rounds > MOST_ROUNDS) {
        fprintf(stderr, "usage: serve_speed HOST PORT STREAMS PROMPT_TOKENS TOKENS ROUNDS\n");
        return 2;
    }
    struct stream *streams = calloc(n, sizeof *streams);
    unsigned random = (unsigned)getpid() * 2654435761u;
    if (!streams) give_up("no memory");
    for (unsigned i = 0; i < rounds; i++) {
        const struct round round = one_round(argv[1], port, n, n_prompt, n_tokens, streams, &random);
        first[i] = round.first_token;
        all[i] = round.tokens_per_s;
        decode[i] = round.decode_per_s;
        gap[i] = round.longest_gap;
    }
    printf("{\"bench\": \"serve\", \"streams\": %u, \"prompt_tokens\": %u, \"tokens\": %u, \"first_token_s\": %.6f, "
           "\"tokens_per_s\": %.2f, \"decode_tokens_per_s\": %.2f, \"longest_gap_s\": %.6f, \"rounds\": %u}\n",
           n, n_prompt, n_tokens, median(first, rounds), median(all, rounds), median(decode, rounds),
           median(gap, rounds), rounds);
    free(streams);
    return 0;
}
