/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
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

int listener_open(const char *host, uint16_t port, bool any_address, const char *scheme, int *fd, char *url,
                  size_t url_size, struct error *err)
{
    union address address;
    socklen_t length;
    char name[80];
    if (!parse_host(host, port, &address, &length))
        return error_set(err, ERROR_BAD_ARGUMENT, "--host %.100s: an IPv4 or IPv6 address or localhost expected", host);
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
    snprintf(url, url_size, "%s://%s", scheme, name);
    *fd = sock;
    return 0;
}
