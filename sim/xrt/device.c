/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests by their numbers in <xrt/xcl_macros.h> of XRT 2.13 (Apache-2.0), as its shims were seen to use them; the
 * fields of each are beside it. Numbers are written here so that this builds where XRT is not.
 */
#include "sim/xrt/device.h"

#include <string.h>

enum request {
    REQUEST_CLOSE = 1,          /* 3 all: of sw_emu, the last one */
    REQUEST_LOAD_BITSTREAM = 3, /* 1 XML file, 2 BITSTREAM's file, 8 banks {7 size} */
    REQUEST_ALLOCATE = 4,       /* 1 address, 2 size; the reply's 2: a file that is shared, or empty */
    REQUEST_FREE = 5,           /* 1 address */
    REQUEST_HOST_TO_DEVICE = 6, /* 3 address, 4 data, 5 size, 6 seek */
    REQUEST_DEVICE_TO_HOST = 7, /* 4 address, 5 size, 6 seek; the reply: 1 size, 2 data */
    REQUEST_WRITE_MEMORY = 8,   /* 2 address, 3 size, 4 data */
    REQUEST_WRITE_CONTROL = 9,  /* 2 address, 3 size, 4 data */
    REQUEST_READ_MEMORY = 10,   /* 2 address, 3 size; the reply: 1 valid, 2 data */
    REQUEST_READ_CONTROL = 11,  /* as 10 */
    REQUEST_DEBUG_MESSAGES = 19,
    REQUEST_SETUP_INSTANCE = 28,
    REQUEST_READ_REGISTER = 51,  /* 1 base, 2 offset, 3 size; the reply: 1 valid, 2 data */
    REQUEST_WRITE_REGISTER = 52, /* 1 base, 2 offset, 3 data */
};
#define MAX_FIELD 8u
#define MAX_REGISTER_BYTES 64u

/* The fields of a request by number: their values, and the bytes of those that have some. */
struct request_fields {
    uint64_t value[MAX_FIELD + 1];
    const uint8_t *bytes[MAX_FIELD + 1];
};

static struct request_fields read_fields(struct wire *wire)
{
    struct request_fields fields = {0};
    struct wire_field field;
    while (wire_next(wire, &field)) {
        if (field.number > MAX_FIELD) continue;
        fields.value[field.number] = field.value;
        fields.bytes[field.number] = field.bytes;
    }
    return fields;
}

/* ---- memory ---- */

static int put_memory(struct device *device, uint64_t address, const uint8_t *bytes, uint64_t n, struct error *err)
{
    uint8_t *to = card_space_at(&device->space, address, n);
    if (to && bytes) memcpy(to, bytes, (size_t)n);
    wire_put(&device->wire, 1, to && bytes ? n : 0);
    return wire_send(&device->wire, 0, NULL, 0, err);
}

static int get_memory(struct device *device, uint64_t address, uint64_t n, struct error *err)
{
    const uint8_t *from = card_space_at(&device->space, address, n);
    if (!from) n = 0;
    wire_put(&device->wire, 1, n);
    return wire_send(&device->wire, 2, from, (size_t)n, err);
}

/* ---- registers ---- */

static int write_registers(struct device *device, uint64_t address, const uint8_t *bytes, uint64_t n, struct error *err)
{
    const bool inside = address >= ENGINE_UNIT_BASE && address - ENGINE_UNIT_BASE < ENGINE_UNIT_REGISTERS && bytes;
    if (inside) engine_unit_write(device->unit, address - ENGINE_UNIT_BASE, bytes, (size_t)n);
    wire_put(&device->wire, 1, inside);
    return wire_send(&device->wire, 0, NULL, 0, err);
}

static int read_registers(struct device *device, uint64_t address, uint64_t n, struct error *err)
{
    uint8_t bytes[MAX_REGISTER_BYTES] = {0};
    const bool inside = address >= ENGINE_UNIT_BASE && address - ENGINE_UNIT_BASE < ENGINE_UNIT_REGISTERS;
    if (n > sizeof bytes) n = sizeof bytes;
    if (inside) engine_unit_read(device->unit, address - ENGINE_UNIT_BASE, bytes, (size_t)n);
    wire_put(&device->wire, 1, inside);
    wire_put_bytes(&device->wire, 2, bytes, (size_t)n);
    return wire_send(&device->wire, 0, NULL, 0, err);
}

/* ---- requests ---- */

static int acknowledge(struct device *device, struct error *err)
{
    wire_put(&device->wire, 1, 1);
    return wire_send(&device->wire, 0, NULL, 0, err);
}

static int answer(struct device *device, uint32_t api, const struct request_fields *fields, struct error *err)
{
    const uint64_t *v = fields->value;
    const uint64_t seek = device->hw_emu ? v[6] : 0;
    switch (api) {
    case REQUEST_ALLOCATE:
        wire_put(&device->wire, 1, card_space_at(&device->space, v[1], v[2]) != NULL);
        wire_put_bytes(&device->wire, 2, "", 0);
        return wire_send(&device->wire, 0, NULL, 0, err);
    case REQUEST_HOST_TO_DEVICE: return put_memory(device, v[3] + seek, fields->bytes[4], v[4], err);
    case REQUEST_DEVICE_TO_HOST: return get_memory(device, v[4] + seek, v[5], err);
    case REQUEST_WRITE_MEMORY: return put_memory(device, v[2], fields->bytes[4], v[4], err);
    case REQUEST_READ_MEMORY: return get_memory(device, v[2], v[3], err);
    case REQUEST_WRITE_CONTROL: return write_registers(device, v[2], fields->bytes[4], v[4], err);
    case REQUEST_READ_CONTROL: return read_registers(device, v[2], v[3], err);
    case REQUEST_WRITE_REGISTER: return write_registers(device, v[1] + v[2], fields->bytes[3], v[3], err);
    case REQUEST_READ_REGISTER: return read_registers(device, v[1] + v[2], 4, err);
    case REQUEST_DEBUG_MESSAGES: return wire_send(&device->wire, 0, NULL, 0, err);
    default: return acknowledge(device, err); /* nothing to do for this card, and all is well */
    }
}

/* Whether the fault that tests ask for is to happen now. */
static bool stalls(struct device *device, uint32_t api)
{
    return (api == REQUEST_HOST_TO_DEVICE || api == REQUEST_DEVICE_TO_HOST) &&
           ++device->copies == device->stall_at_copy;
}

int device_serve(struct device *device, struct error *err)
{
    for (bool stalled = false;;) {
        uint32_t api;
        int rc = wire_receive(&device->wire, &api, err);
        if (rc == ERROR_CANCELLED) return 0;
        if (rc) return rc;
        stalled = stalled || stalls(device, api);
        if (stalled) continue;
        const struct request_fields fields = read_fields(&device->wire);
        rc = answer(device, api, &fields, err);
        if (rc == ERROR_CANCELLED) return 0;
        if (rc) return rc;
        if (api == REQUEST_CLOSE && (device->hw_emu || fields.value[3])) return 0;
    }
}
