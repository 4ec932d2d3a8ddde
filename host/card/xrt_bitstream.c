/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt_bitstream.h"

#include "bitstreams/bitstream_check.h"
#include "bitstreams/simulator_bitstream.h"
#include "bitstreams/xclbin_sections.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BANK_STEP (UINT64_C(1) << 21)
#define PROGRAM_ROOM (UINT64_C(16) << 20)      /* of bank 0: programs, tables, statuses, which XRT places itself */
#define EMULATION_LIMIT (UINT64_C(0xffe00000)) /* XRT 2.13's emulation counts a buffer's bytes in 32 bits */

/* ---- settings ---- */

static bool read_number(const char *text, size_t length, unsigned max, unsigned *number)
{
    char *end;
    if (length == 0 || text[0] < '0' || text[0] > '9') return false;
    const unsigned long n = strtoul(text, &end, 10);
    *number = (unsigned)n;
    return end == text + length && n <= max;
}

static bool read_path(const char *text, size_t length, char *to, size_t size)
{
    if (length == 0 || length >= size) return false;
    memcpy(to, text, length);
    to[length] = 0;
    return true;
}

static bool is(const char *text, size_t length, const char *name)
{
    return length >= strlen(name) && strncmp(text, name, strlen(name)) == 0;
}

static bool read_setting(const char *text, size_t length, bool first, struct xrt_settings *out)
{
    if (is(text, length, "bitstream=")) return read_path(text + 10, length - 10, out->bitstream, sizeof out->bitstream);
    if (is(text, length, "keys=")) return read_path(text + 5, length - 5, out->keys, sizeof out->keys);
    if (is(text, length, "watchdog=")) {
        out->has_watchdog = true;
        return read_number(text + 9, length - 9, 3600000, &out->watchdog_ms);
    }
    if (is(text, length, "address=")) return read_path(text + 8, length - 8, out->address, sizeof out->address);
    if (length == 8 && is(text, length, "unsigned")) return out->allow_unsigned = true;
    return first && read_number(text, length, 255, &out->device);
}

int xrt_settings_read(const char *text, struct xrt_settings *out, struct error *err)
{
    const char *policy = getenv("SLUICE_UNSIGNED_BITSTREAMS");
    *out = (struct xrt_settings){.allow_unsigned = policy && strcmp(policy, "1") == 0};
    for (const char *at = text ? text : ""; *at;) {
        const size_t length = strcspn(at, ",");
        if (!read_setting(at, length, at == text, out))
            return error_set(err, ERROR_NOT_FOUND,
                             "card xrt:%s: xrt, or xrt: with the number of a card, bitstream=FILE, keys=DIR, unsigned, "
                             "watchdog=MS and address=PCI, comma between, expected",
                             text);
        at += length;
        if (*at) at++;
    }
    const char *named = getenv("SLUICE_BITSTREAM");
    if (!out->bitstream[0] && named && !read_path(named, strlen(named), out->bitstream, sizeof out->bitstream))
        return error_set(err, ERROR_NOT_FOUND, "SLUICE_BITSTREAM is not a path");
    if (out->bitstream[0]) return 0;
    error_set(err, ERROR_NOT_FOUND,
              "card xrt: which bitstream is not said (--card xrt:bitstream=FILE, or SLUICE_BITSTREAM=FILE; "
              "bitstreams/build makes one)");
    if (err) err->detail = CARD_NOT_CONFIGURED;
    return ERROR_NOT_FOUND;
}

/* ---- banks ---- */

/* The memory that is argument `argument` of the engine; false if there is no such connection. */
static bool find_memory(const struct xclbin *xclbin, uint32_t argument, struct xclbin_memory *memory)
{
    const struct xclbin_section *connections = xclbin_find(xclbin, XCLBIN_CONNECTIVITY);
    const struct xclbin_section *memories = xclbin_find(xclbin, XCLBIN_MEM_TOPOLOGY);
    uint32_t n;
    struct xclbin_connection connection;
    if (!connections || !memories || xclbin_count(connections, &n, NULL)) return false;
    for (uint32_t i = 0; i < n; i++) {
        xclbin_connection_at(connections, i, &connection);
        if (connection.argument != argument) continue;
        xclbin_memory_at(memories, connection.memory, memory);
        return true;
    }
    return false;
}

static uint64_t window_bytes(const struct xclbin_memory *memory, unsigned bank, bool emulation, uint64_t asked)
{
    uint64_t bytes = memory->kib > UINT64_MAX / 1024 ? UINT64_MAX : memory->kib * 1024;
    if (bank == 0) bytes = bytes > PROGRAM_ROOM ? bytes - PROGRAM_ROOM : 0;
    if (emulation && bytes > EMULATION_LIMIT) bytes = EMULATION_LIMIT;
    if (asked && bytes > asked) bytes = asked < BANK_STEP ? BANK_STEP : asked;
    return bytes / BANK_STEP * BANK_STEP;
}

static int find_banks(const struct xclbin *xclbin, const struct card_options *options, struct xrt_request *request,
                      const char *path, struct error *err)
{
    struct xclbin_memory memory[XRT_BANKS];
    unsigned n = 0;
    while (n < XRT_BANKS && find_memory(xclbin, ENGINE_FIXED_ARGUMENTS + n, &memory[n])) n++;
    if (n == 0) return error_set(err, ERROR_BAD_FILE, "%s: its engine is connected to no memory", path);
    if (options->banks && options->banks != n)
        return error_set(err, ERROR_BAD_ARGUMENT, "card xrt: %u banks: the bitstream says how many, %u", options->banks,
                         n);
    for (unsigned b = 0; b < n; b++) {
        request->bank[b].bytes = window_bytes(&memory[b], b, request->emulation, options->memory_bytes / n);
        snprintf(request->bank[b].name, sizeof request->bank[b].name, "%s", memory[b].tag);
        if (request->bank[b].bytes == 0)
            return error_set(err, ERROR_BAD_FILE, "%s: bank %u (%s) of %" PRIu64 " KiB is too small", path, b,
                             memory[b].tag, memory[b].kib);
    }
    request->n_banks = n;
    return 0;
}

static int take(const struct bitstream *bitstream, const char *path, const struct card_options *options,
                struct xrt_request *request, struct error *err)
{
    const uint16_t mode = bitstream->xclbin.header.mode;
    request->emulation = mode == XCLBIN_HW_EMU || mode == XCLBIN_SW_EMU || mode == XCLBIN_HW_EMU_PR;
    const char *asked = getenv("XCL_EMULATION_MODE");
    if (request->emulation != (asked != NULL))
        return error_set(err, ERROR_BAD_ARGUMENT,
                         request->emulation
                             ? "%s: for XRT's emulation (set XCL_EMULATION_MODE; sim/xrt/emulate.sh does)"
                             : "%s: for a card, but XCL_EMULATION_MODE asks for XRT's emulation (unset it)",
                         path);
    int rc = find_banks(&bitstream->xclbin, options, request, path, err);
    if (rc) return rc;
    uint8_t *copy;
    rc = bitstream_copy(bitstream, path, &copy, err);
    if (rc) return rc;
    request->xclbin = copy;
    request->abi_version = bitstream->manifest.abi_version;
    request->n_xclbin = bitstream->map.size;
    return 0;
}

int xrt_bitstream_open(const struct xrt_settings *settings, const struct card_options *options,
                       struct xrt_request *request, char *card, size_t size, struct error *err)
{
    const struct bitstream_policy policy = {.allow_unsigned = settings->allow_unsigned,
                                            .keys_folder = settings->keys[0] ? settings->keys : NULL};
    struct bitstream bitstream;
    *request = (struct xrt_request){.device = settings->device};
    int rc = bitstream_open(settings->bitstream, NULL, &bitstream, err);
    if (rc) return rc;
    rc = bitstream_check(&bitstream, settings->bitstream, &policy, err);
    if (!rc) rc = take(&bitstream, settings->bitstream, options, request, err);
    if (!rc) snprintf(card, size, "%s", bitstream.manifest.card);
    bitstream_close(&bitstream);
    return rc;
}
