/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that clients come to: which addresses are allowed, and what to say when it cannot be had. */
#ifndef SLUICE_SERVE_LISTENER_H
#define SLUICE_SERVE_LISTENER_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * A listening, non-blocking socket on host (an IPv4 or IPv6 address, or "localhost") and port (0: a free one). An
 * address that is not the loopback is refused unless any_address. url gets "SCHEME://127.0.0.1:8080".
 */
int listener_open(const char *host, uint16_t port, bool any_address, const char *scheme, int *fd, char *url,
                  size_t url_size, struct error *err);

/* "127.0.0.1:8080" or "[::1]:8080". */
void listener_format(const struct sockaddr *address, char *out, size_t size);

#endif
