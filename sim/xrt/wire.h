/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What XRT 2.13's emulation shims say to a device process over a stream socket of the Unix domain: a request is 14 bytes,
 * 0x09 and its length (u64), 0x15 and what it asks (u32, numbers of <xrt/xcl_macros.h>), and a protobuf message of that
 * length; a response is 9 bytes, 0x09 and its length, and a message. Fields are varints and strings of bytes.
 */
#ifndef SLUICE_SIM_XRT_WIRE_H
#define SLUICE_SIM_XRT_WIRE_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    int socket;
    uint8_t *message; /* of the last request; owned */
    size_t n_message, capacity, at;
    uint8_t reply[512];
    size_t n_reply;
};

struct wire_field {
    unsigned number;
    uint64_t value;       /* of a number; the length of bytes */
    const uint8_t *bytes; /* within the message, until the next wire_receive; NULL: a number */
};

/* Connects to the socket at path, which the shim makes some time after it started us: tries for seconds. */
int wire_open(const char *path, unsigned seconds, struct wire *out, struct error *err);
void wire_close(struct wire *wire);

/* The next request. ERROR_CANCELLED: the shim has gone. ERROR_BAD_FILE: it does not speak as above. */
int wire_receive(struct wire *wire, uint32_t *api, struct error *err);

/* The next field of the request; false at its end. A field that the message does not hold whole ends it. */
bool wire_next(struct wire *wire, struct wire_field *field);

/* Fields of the reply, all small. */
void wire_put(struct wire *wire, unsigned number, uint64_t value);
void wire_put_bytes(struct wire *wire, unsigned number, const void *bytes, size_t n); /* at most 64 */

/* Sends the reply, and as its last field n bytes (number 0: no such field). */
int wire_send(struct wire *wire, unsigned number, const void *bytes, size_t n, struct error *err);

#endif
