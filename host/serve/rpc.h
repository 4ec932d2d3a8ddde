/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RPC: the HTTP API's requests and answers as frames (client/rpc_frame.h) over a Unix socket, many at a time on one
 * connection. A call is a struct connection like an HTTP request, so everything behind that is the same. All on the
 * loop's thread.
 */
#ifndef SLUICE_SERVE_RPC_H
#define SLUICE_SERVE_RPC_H

#include "host/serve/connection.h"

struct rpc; /* opaque */

/*
 * Listens on the socket path (listener_open_unix; NULL: nowhere). hooks (refuse is not used) and limits are copied, path
 * is borrowed. *out is owned: rpc_close.
 */
int rpc_open(struct event_base *base, const char *path, const struct connection_hooks *hooks,
             const struct connection_limits *limits, struct rpc **out, struct error *err);

/* Takes over a connected socket, non-blocking. */
void rpc_accept(struct rpc *rpc, evutil_socket_t fd);

void rpc_stop_listening(struct rpc *rpc); /* NULL is allowed; calls that run go on */

/* True while a call runs or bytes wait to be written. NULL is allowed. */
bool rpc_busy(const struct rpc *rpc);

void rpc_close(struct rpc *rpc); /* hangs up on all; NULL is allowed */

#endif
