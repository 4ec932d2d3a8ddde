/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static bool parse_host(const char *host, uint16_t port, union address *out, socklen_t *length)
{
    memset(out, 0, sizeof *out);
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        *length = sizeof out->v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *length = sizeof out->v6;
        return true;
    }
    return false;
}

static bool is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET) return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

void listener_format(const struct sockaddr *address, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "?";
    union address copy;
    snprintf(out, size, "?");
    if (address->sa_family == AF_INET) {
        memcpy(&copy.v4, address, sizeof copy.v4);
        inet_ntop(AF_INET, &copy.v4.sin_addr, text, sizeof text);
        snprintf(out, size, "%s:%u", text, ntohs(copy.v4.sin_port));
    } else if (address->sa_family == AF_INET6) {
        memcpy(&copy.v6, address, sizeof copy.v6);
        inet_ntop(AF_INET6, &copy.v6.sin6_addr, text, sizeof text);
        snprintf(out, size, "[%s]:%u", text, ntohs(copy.v6.sin6_port));
    } else if (address->sa_family == AF_UNIX) {
        snprintf(out, size, "unix");
    }
}

static int bind_and_listen(int fd, const union address *address, socklen_t length)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return -1;
    if (bind(fd, &address->any, length) < 0) return -1;
    return listen(fd, SOMAXCONN);
}

static const char *advice(int reason)
{
    switch (reason) {
    case EADDRINUSE: return " (choose another port with --port, or 0 for a free one)";
    case EACCES: return " (ports below 1024 belong to root: choose another with --port)";
    case EADDRNOTAVAIL: return " (this machine does not have the address: see ip addr)";
    default: return "";
    }
}

/* True for a socket at which nobody listens any more. A file that is none refuses connections too. */
static bool is_left_over(const struct sockaddr_un *address)
{
    struct stat info;
    if (lstat(address->sun_path, &info) < 0 || !S_ISSOCK(info.st_mode)) return false;
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool refused =
        sock >= 0 && connect(sock, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    if (sock >= 0) close(sock);
    return refused;
}

int listener_open_unix(const char *path, struct listening *out, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *out = (struct listening){.fd = -1};
    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_BAD_ARGUMENT, "unix:%.200s: a path of 1 to %zu bytes expected", path,
                         sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path));
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = sock < 0 ? -1 : bind(sock, (const struct sockaddr *)&address, sizeof address);
    if (failed && sock >= 0 && errno == EADDRINUSE && is_left_over(&address) && unlink(path) == 0)
        failed = bind(sock, (const struct sockaddr *)&address, sizeof address);
    /* Nobody can connect before listen, so the mode is right before anybody can come. */
    if (!failed) failed = chmod(path, 0660) < 0 || listen(sock, SOMAXCONN) < 0;
    if (failed) {
        int reason = errno;
        if (sock >= 0) close(sock);
        return error_set(
            err, reason == EADDRINUSE ? ERROR_BUSY : ERROR_IO, "cannot listen on unix:%s: %s%s", path, strerror(reason),
            reason == EADDRINUSE ? " (a server listens there, or it is no socket: choose another path)" : "");
    }
    snprintf(out->url, sizeof out->url, "unix:%s", path);
    out->fd = sock;
    out->path = path;
    return 0;
}

/* A variable as a number; -1 if it is not there or none. */
static long environment_number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (!text || *text < '0' || *text > '9') return -1;
    errno = 0;
    const long number = strtol(text, &end, 10);
    return errno || *end ? -1 : number;
}

int listener_inherit(struct listening *out, struct error *err)
{
    enum { FIRST = 3 }; /* SD_LISTEN_FDS_START */
    *out = (struct listening){.fd = -1};
    if (environment_number("LISTEN_PID") != getpid()) return 0;
    const long count = environment_number("LISTEN_FDS");
    unsetenv("LISTEN_PID"); /* not for the programs that this one may start */
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (count != 1)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "LISTEN_FDS: one socket expected (a socket unit with one ListenStream=)");
    union address address = {0};
    socklen_t length = sizeof address, size = sizeof(int);
    int type = 0, listens = 0;
    if (getsockopt(FIRST, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
        getsockopt(FIRST, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens ||
        getsockname(FIRST, &address.any, &length) < 0 || fcntl(FIRST, F_SETFL, O_NONBLOCK) < 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "LISTEN_FDS: descriptor %d is not a listening stream socket", FIRST);
    char name[80];
    listener_format(&address.any, name, sizeof name);
    snprintf(out->url, sizeof out->url, "%s (inherited)", name);
    out->fd = FIRST;
    return 1;
}

int listener_open(const char *host, uint16_t port, bool any_address, const char *scheme, struct listening *out,
                  struct error *err)
{
    static const char unix_prefix[] = "unix:";
    union address address;
    socklen_t length;
    char name[80];
    *out = (struct listening){.fd = -1};
    if (strncmp(host, unix_prefix, sizeof unix_prefix - 1) == 0)
        return listener_open_unix(host + sizeof unix_prefix - 1, out, err);
    if (!parse_host(host, port, &address, &length))
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "--host %.100s: an IPv4 or IPv6 address, localhost or unix:PATH expected", host);
    if (!any_address && !is_loopback(&address))
        return error_set(
            err, ERROR_BAD_ARGUMENT,
            "--host %s: other machines could reach this address, and this server asks nobody for a key "
            "(give it --keys FILE, see sluice keys --help; or serve on 127.0.0.1; or add --insecure-no-keys if "
            "the network is trusted)",
            host);
    listener_format(&address.any, name, sizeof name);
    int sock = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || bind_and_listen(sock, &address, length) < 0) {
        int reason = errno;
        if (sock >= 0) close(sock);
        return error_set(err, reason == EADDRINUSE ? ERROR_BUSY : ERROR_IO, "cannot listen on %s: %s%s", name,
                         strerror(reason), advice(reason));
    }
    length = sizeof address;
    if (getsockname(sock, &address.any, &length) == 0) listener_format(&address.any, name, sizeof name);
    snprintf(out->url, sizeof out->url, "%s://%s", scheme, name);
    out->fd = sock;
    return 0;
}
