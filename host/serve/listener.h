/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that clients come to: which addresses are allowed, and what to say when it cannot be had. */
#ifndef SLUICE_SERVE_LISTENER_H
#define SLUICE_SERVE_LISTENER_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct listening {
    int fd;           /* non-blocking; the caller's */
    const char *path; /* of a socket in the file system, borrowed: whoever closes fd unlinks it; NULL: none */
    char url[128];    /* "http://127.0.0.1:8080", "unix:/run/sluice.sock" */
};

/*
 * A socket on host (an IPv4 or IPv6 address, or "localhost") and port (0: a free one). An address that is not the
 * loopback is refused unless any_address. scheme is what the URL begins with.
 *
 * "unix:PATH" is listener_open_unix, and port means nothing.
 */
int listener_open(const char *host, uint16_t port, bool any_address, const char *scheme, struct listening *out,
                  struct error *err);

/*
 * A socket in the file system, for its owner and group alone; path is borrowed. What a server that has died left at path is
 * replaced; a server that lives there, or a file that is no socket, is ERROR_BUSY.
 */
int listener_open_unix(const char *path, struct listening *out, struct error *err);

/*
 * The socket that whoever started this program has opened for it: systemd's socket activation (sd_listen_fds(3): LISTEN_PID
 * names this process, LISTEN_FDS says one). 1: *out is it, and the environment no longer says so; 0: there is none.
 * Errors: several sockets, or one that is not a listening stream. Which addresses are allowed is up to the unit that opened it.
 */
int listener_inherit(struct listening *out, struct error *err);

/* "127.0.0.1:8080", "[::1]:8080" or "unix". */
void listener_format(const struct sockaddr *address, char *out, size_t size);

#endif
