/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what XRT's emulation says to the device process over its socket: the process ends with the reason, nothing outside card
 * memory and the registers is touched, and each answer is framed as sim/xrt/wire.h says. The engine is not there: its registers are.
 * tests/unit/xrt_device/wire_test.c replays the corpus.
 */
#include "sim/xrt/device.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)
#define MEMORY_BYTES 256u
#define HEAD_BYTES 9u
#define MAX_BYTES 1400u /* a hundred requests */

/* In place of sim/xrt/engine_unit.c: all that is handed over is there to be read, or to be written. */
void engine_unit_write(struct engine_unit *unit, uint64_t offset, const uint8_t *bytes, size_t n)
{
    uint8_t copy[ENGINE_UNIT_REGISTERS];
    (void)unit;
    REQUIRE(offset < ENGINE_UNIT_REGISTERS);
    memcpy(copy, bytes, n < sizeof copy ? n : sizeof copy);
}

void engine_unit_read(struct engine_unit *unit, uint64_t offset, uint8_t *bytes, size_t n)
{
    (void)unit;
    REQUIRE(offset < ENGINE_UNIT_REGISTERS && n <= 64);
    memset(bytes, 0x5a, n);
}

/* Each answer is framed; none says more than card memory holds. */
static void hear(int socket)
{
    static uint8_t heard[MEMORY_BYTES + 600]; /* the longest answer: all of card memory, and small fields */
    uint8_t head[HEAD_BYTES];
    while (recv(socket, head, sizeof head, MSG_WAITALL) == (ssize_t)sizeof head) {
        uint64_t length;
        memcpy(&length, head + 1, sizeof length);
        REQUIRE(head[0] == 0x09 && length <= sizeof heard);
        REQUIRE(length == 0 || recv(socket, heard, (size_t)length, MSG_WAITALL) == (ssize_t)length);
    }
}

/* The first byte says which emulation; all is said before it is heard, so there is no more than a socket keeps. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    int ends[2];
    struct error err = {0};
    if (n_bytes == 0 || n_bytes > MAX_BYTES) return 0;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    REQUIRE(n_bytes == 1 || send(ends[0], bytes + 1, n_bytes - 1, MSG_NOSIGNAL) == (ssize_t)n_bytes - 1);
    shutdown(ends[0], SHUT_WR);
    struct device device = {.wire.socket = ends[1], .hw_emu = bytes[0] & 1};
    device.space = (struct card_space){.base = calloc(MEMORY_BYTES, 1), .bytes = MEMORY_BYTES};
    REQUIRE(device.space.base);
    const int status = device_serve(&device, &err);
    REQUIRE(status == 0 || (err.code == status && err.text[0]));
    wire_close(&device.wire);
    hear(ends[0]);
    close(ends[0]);
    free(device.space.base);
    return 0;
}
