/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/xrt/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 14u
#define RESPONSE_BYTES 9u
#define TAG_LENGTH 0x09u /* field 1, fixed64 */
#define TAG_API 0x15u    /* field 2, fixed32 */
#define MAX_MESSAGE (UINT64_C(1) << 28)

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

int wire_open(const char *path, unsigned seconds, struct wire *out, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *out = (struct wire){.socket = -1};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_TOO_LARGE, "%s: too long for a socket's path", path);
    memcpy(address.sun_path, path, strlen(path));
    for (unsigned tries = 0;; tries++) {
        out->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (out->socket < 0) return error_set(err, ERROR_IO, "socket: %s", strerror(errno));
        if (connect(out->socket, (const struct sockaddr *)&address, sizeof address) == 0) return 0;
        const int why = errno;
        close(out->socket);
        out->socket = -1;
        if (tries >= seconds * 1000) return error_set(err, ERROR_NOT_FOUND, "%s: %s", path, strerror(why));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

void wire_close(struct wire *wire)
{
    if (wire->socket >= 0) close(wire->socket);
    free(wire->message);
    *wire = (struct wire){.socket = -1};
}

static int read_all(struct wire *wire, uint8_t *to, size_t n, struct error *err)
{
    while (n > 0) {
        const ssize_t got = read(wire->socket, to, n);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) return error_set(err, ERROR_CANCELLED, "XRT has gone");
        if (got < 0 && errno != EINTR) return error_set(err, ERROR_IO, "read: %s", strerror(errno));
        if (got < 0) continue;
        to += got;
        n -= (size_t)got;
    }
    return 0;
}

static int reserve(struct wire *wire, uint64_t bytes, struct error *err)
{
    if (bytes > MAX_MESSAGE) return error_set(err, ERROR_TOO_LARGE, "a message of %" PRIu64 " bytes", bytes);
    if (bytes <= wire->capacity) return 0;
    uint8_t *grown = realloc(wire->message, (size_t)bytes);
    if (!grown) return error_set(err, ERROR_NO_MEMORY, "no memory for a message of %" PRIu64 " bytes", bytes);
    wire->message = grown;
    wire->capacity = (size_t)bytes;
    return 0;
}

int wire_receive(struct wire *wire, uint32_t *api, struct error *err)
{
    uint8_t head[REQUEST_BYTES];
    uint64_t bytes;
    wire->n_message = wire->at = wire->n_reply = 0;
    int rc = read_all(wire, head, sizeof head, err);
    if (rc) return rc;
    if (head[0] != TAG_LENGTH || head[9] != TAG_API)
        return error_set(err, ERROR_BAD_FILE, "a request begins with %02x and %02x: another XRT?", head[0], head[9]);
    memcpy(&bytes, head + 1, sizeof bytes);
    memcpy(api, head + 10, sizeof *api);
    rc = reserve(wire, bytes, err);
    if (!rc) rc = read_all(wire, wire->message, (size_t)bytes, err);
    if (!rc) wire->n_message = (size_t)bytes;
    return rc;
}

/* ---- reading ---- */

static bool next_varint(struct wire *wire, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && wire->at < wire->n_message; shift += 7) {
        const uint8_t byte = wire->message[wire->at++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

static bool next_fixed(struct wire *wire, size_t bytes, uint64_t *value)
{
    *value = 0;
    if (wire->n_message - wire->at < bytes) return false;
    memcpy(value, wire->message + wire->at, bytes);
    wire->at += bytes;
    return true;
}

bool wire_next(struct wire *wire, struct wire_field *field)
{
    uint64_t key;
    bool whole = next_varint(wire, &key);
    *field = (struct wire_field){.number = (unsigned)(key >> 3)};
    switch (key & 7) {
    case VARINT: whole = whole && next_varint(wire, &field->value); break;
    case FIXED64: whole = whole && next_fixed(wire, 8, &field->value); break;
    case FIXED32: whole = whole && next_fixed(wire, 4, &field->value); break;
    case LENGTH:
        whole = whole && next_varint(wire, &field->value) && field->value <= wire->n_message - wire->at;
        if (!whole) break;
        field->bytes = wire->message + wire->at;
        wire->at += (size_t)field->value;
        break;
    default: whole = false; break;
    }
    if (!whole) wire->at = wire->n_message;
    return whole;
}

/* ---- writing ---- */

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;
    for (; value > 0x7f; value >>= 7) to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

static void put_key(struct wire *wire, unsigned number, unsigned type, uint64_t value)
{
    if (sizeof wire->reply - wire->n_reply < 96) return; /* no reply has so many fields */
    wire->n_reply += put_varint(wire->reply + wire->n_reply, number << 3 | type);
    wire->n_reply += put_varint(wire->reply + wire->n_reply, value);
}

void wire_put(struct wire *wire, unsigned number, uint64_t value) { put_key(wire, number, VARINT, value); }

void wire_put_bytes(struct wire *wire, unsigned number, const void *bytes, size_t n)
{
    if (n > 64) n = 64;
    put_key(wire, number, LENGTH, n);
    if (sizeof wire->reply - wire->n_reply < n) return;
    memcpy(wire->reply + wire->n_reply, bytes, n);
    wire->n_reply += n;
}

int wire_send(struct wire *wire, unsigned number, const void *bytes, size_t n, struct error *err)
{
    if (number) put_key(wire, number, LENGTH, n);
    const uint64_t length = wire->n_reply + n;
    uint8_t head[RESPONSE_BYTES] = {TAG_LENGTH};
    memcpy(head + 1, &length, sizeof length);
    struct iovec part[3] = {{head, sizeof head}, {wire->reply, wire->n_reply}, {(void *)(uintptr_t)bytes, n}};
    for (struct iovec *at = part, *end = part + 3; at < end;) {
        const struct msghdr message = {.msg_iov = at, .msg_iovlen = (size_t)(end - at)};
        ssize_t sent = sendmsg(wire->socket, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return error_set(err, ERROR_CANCELLED, "XRT has gone: %s", strerror(errno));
        for (; at < end && (size_t)sent >= at->iov_len; at++) sent -= (ssize_t)at->iov_len;
        if (at == end) break;
        at->iov_base = (uint8_t *)at->iov_base + sent;
        at->iov_len -= (size_t)sent;
    }
    return 0;
}
