/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RPC's frames, version 1: what passes over the Unix socket of `sluice serve --rpc PATH`, both ways. A frame is a
 * header of 12 bytes, numbers little-endian, and its payload:
 *
 *     bytes 0..3   length of the payload
 *     bytes 4..7   the call that it belongs to, a number of the client's choice; 0 in HELLO, WELCOME and FAILURE
 *     byte  8      what it is (enum rpc_kind)
 *     bytes 9..11  zero
 *
 * The client says HELLO and the server WELCOME; then calls run side by side on the one connection. Each gets any number
 * of EVENTs and one ANSWER, after which its number is free again.
 */
#ifndef SLUICE_CLIENT_RPC_FRAME_H
#define SLUICE_CLIENT_RPC_FRAME_H

#include <stdint.h>

#define RPC_VERSION_LINE "sluice-rpc 1\n"
#define RPC_HEADER_BYTES 12
#define RPC_ANSWER_BYTES 8 /* in front of the JSON of an ANSWER: status, and the seconds of Retry-After (0: none) */
#define RPC_MAX_PATH 1023
#define RPC_MAX_CALLS 4096 /* under way on one connection */

enum rpc_kind {
    /* of the client */
    RPC_HELLO = 1,  /* RPC_VERSION_LINE and an API key, or nothing behind it */
    RPC_CALL = 2,   /* a path of the HTTP API, a NUL, and the JSON of its body; without a body it is a GET */
    RPC_CANCEL = 3, /* nothing; the ANSWER still comes, with status 499, unless it was on its way */
    /* of the server */
    RPC_WELCOME = 16, /* RPC_VERSION_LINE */
    RPC_EVENT = 17,   /* the JSON of one event of a stream */
    RPC_ANSWER = 18,  /* RPC_ANSWER_BYTES and JSON, which a stream that ended well has none of */
    RPC_FAILURE = 19, /* why the server hangs up, as text */
};

static inline void rpc_put_u32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(value >> (8 * i));
}

static inline uint32_t rpc_get_u32(const unsigned char *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static inline void rpc_put_header(unsigned char header[RPC_HEADER_BYTES], uint32_t length, uint32_t call,
                                  enum rpc_kind kind)
{
    rpc_put_u32(header, length);
    rpc_put_u32(header + 4, call);
    rpc_put_u32(header + 8, (uint32_t)kind);
}

#endif
