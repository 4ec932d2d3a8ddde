/* SPDX-License-Identifier: Apache-2.0 */
/* xclbins: what is written is read, byte for byte and field for field, and every way a file can lie has its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bitstreams/xclbin_sections.h"
#include "bitstreams/xclbin_text.h"
#include "tests/unit/bitstreams/xclbin_files.h"

#include <stdio.h>

static uint32_t next_random(uint32_t *state) { return (*state = *state * 1664525u + 1013904223u) >> 8; }

/* Header and sections of random content; bytes is what they hold. */
static void random_xclbin(uint32_t *state, struct xclbin *out, struct xclbin_section *section, uint8_t *bytes, size_t n)
{
    xclbin_header_init(&out->header);
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)next_random(state);
    out->header.unique_id = next_random(state) | (uint64_t)next_random(state) << 40;
    out->header.timestamp = next_random(state);
    out->header.feature_rom_timestamp = next_random(state);
    out->header.version_patch = (uint16_t)next_random(state);
    out->header.version_minor = (uint8_t)next_random(state);
    out->header.mode = (uint16_t)(next_random(state) % XCLBIN_MODE_END);
    out->header.action_mask = (uint16_t)next_random(state);
    memcpy(out->header.uuid, bytes, 16);
    memcpy(out->header.rom_uuid, bytes + 16, 16);
    memcpy(out->header.key_block, bytes, 32);
    snprintf(out->header.platform, sizeof out->header.platform, "vendor_board_%u", next_random(state));
    snprintf(out->header.debug_file, sizeof out->header.debug_file, "%u", next_random(state) % 1000);
    out->n_sections = next_random(state) % 9;
    out->section = section;
    for (size_t i = 0; i < out->n_sections; i++) {
        section[i] = (struct xclbin_section){.kind = 100 + (uint32_t)i, .bytes = bytes + next_random(state) % 100};
        section[i].n_bytes = next_random(state) % 100;
        snprintf(section[i].name, sizeof section[i].name, "section %c", (char)('a' + i));
    }
}

static void assert_same(const struct xclbin *a, const struct xclbin *b)
{
    assert_int_equal(a->header.unique_id, b->header.unique_id);
    assert_int_equal(a->header.timestamp, b->header.timestamp);
    assert_int_equal(a->header.feature_rom_timestamp, b->header.feature_rom_timestamp);
    assert_int_equal(a->header.version_major, b->header.version_major);
    assert_int_equal(a->header.version_minor, b->header.version_minor);
    assert_int_equal(a->header.version_patch, b->header.version_patch);
    assert_int_equal(a->header.mode, b->header.mode);
    assert_int_equal(a->header.action_mask, b->header.action_mask);
    assert_memory_equal(a->header.uuid, b->header.uuid, 16);
    assert_memory_equal(a->header.rom_uuid, b->header.rom_uuid, 16);
    assert_memory_equal(a->header.key_block, b->header.key_block, 256);
    assert_memory_equal(a->header.reserved, b->header.reserved, 28);
    assert_string_equal(a->header.platform, b->header.platform);
    assert_string_equal(a->header.debug_file, b->header.debug_file);
    assert_int_equal(a->n_sections, b->n_sections);
    for (size_t i = 0; i < a->n_sections; i++) {
        assert_int_equal(a->section[i].kind, b->section[i].kind);
        assert_string_equal(a->section[i].name, b->section[i].name);
        assert_int_equal(a->section[i].n_bytes, b->section[i].n_bytes);
        assert_memory_equal(a->section[i].bytes, b->section[i].bytes, a->section[i].n_bytes);
    }
}

static void what_is_written_is_read_and_written_again(void **state)
{
    (void)state;
    uint32_t seed = 8;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 500; round++) {
        struct xclbin written = {0}, read;
        struct xclbin_section section[9];
        uint8_t content[200], *bytes, *again;
        size_t n_bytes, n_again;
        struct error err = {0};
        random_xclbin(&seed, &written, section, content, sizeof content);
        assert_int_equal(xclbin_write(&written, &bytes, &n_bytes, &err), 0);
        if (xclbin_read(bytes, n_bytes, "x", &read, &err) < 0) fail_msg("%s", err.text);
        assert_same(&written, &read);
        assert_int_equal(read.header.length, n_bytes);
        assert_int_equal(xclbin_write(&read, &again, &n_again, &err), 0);
        assert_int_equal(n_again, n_bytes);
        assert_memory_equal(again, bytes, n_bytes);
        xclbin_free(&read);
        free(bytes);
        free(again);
    }
}

static void tables_are_read_as_they_were_put(void **state)
{
    (void)state;
    const struct xclbin_memory memory[2] = {{XCLBIN_MEM_HBM, true, 524288, 1ull << 33, "HBM[1]"},
                                            {XCLBIN_MEM_DDR4, false, UINT64_MAX, 7, "sixteen letters!"}};
    const struct xclbin_ip ip = {XCLBIN_IP_KERNEL, 0x105, 0x1800000, "kernel:unit"};
    const struct xclbin_connection connection = {3, 0, 1};
    const struct xclbin_clock clock = {300, XCLBIN_CLOCK_KERNEL, "KERNEL_CLK"};
    struct xclbin_section section = {.kind = XCLBIN_MEM_TOPOLOGY};
    uint8_t *bytes[4];
    uint32_t n;
    struct xclbin_memory memory_out;
    section.bytes = bytes[0] = xclbin_put_memories(memory, 2, &section.n_bytes);
    assert_int_equal(xclbin_count(&section, &n, NULL), 0);
    assert_int_equal(n, 2);
    for (uint32_t i = 0; i < 2; i++) {
        xclbin_memory_at(&section, i, &memory_out);
        assert_int_equal(memory_out.type, memory[i].type);
        assert_int_equal(memory_out.used, memory[i].used);
        assert_true(memory_out.kib == memory[i].kib && memory_out.base_address == memory[i].base_address);
        assert_string_equal(memory_out.tag, memory[i].tag);
    }
    struct xclbin_ip ip_out;
    section.kind = XCLBIN_IP_LAYOUT;
    section.bytes = bytes[1] = xclbin_put_ips(&ip, 1, &section.n_bytes);
    assert_int_equal(section.n_bytes, 88);
    xclbin_ip_at(&section, 0, &ip_out);
    assert_true(ip_out.type == ip.type && ip_out.properties == ip.properties && ip_out.base_address == ip.base_address);
    assert_string_equal(ip_out.name, ip.name);
    struct xclbin_connection connection_out;
    section.kind = XCLBIN_CONNECTIVITY;
    section.bytes = bytes[2] = xclbin_put_connections(&connection, 1, &section.n_bytes);
    assert_int_equal(section.n_bytes, 16);
    xclbin_connection_at(&section, 0, &connection_out);
    assert_memory_equal(&connection_out, &connection, sizeof connection);
    struct xclbin_clock clock_out;
    section.kind = XCLBIN_CLOCK_FREQ_TOPOLOGY;
    section.bytes = bytes[3] = xclbin_put_clocks(&clock, 1, &section.n_bytes);
    assert_int_equal(section.n_bytes, 138);
    xclbin_clock_at(&section, 0, &clock_out);
    assert_int_equal(clock_out.mhz, 300);
    assert_int_equal(clock_out.type, XCLBIN_CLOCK_KERNEL);
    assert_string_equal(clock_out.name, "KERNEL_CLK");
    for (int i = 0; i < 4; i++) free(bytes[i]);
}

static void expect_fault(const uint8_t *bytes, size_t n_bytes, enum xclbin_fault fault)
{
    struct xclbin xclbin;
    struct error err = {0};
    int status = xclbin_read(bytes, n_bytes, "file.xclbin", &xclbin, &err);
    if (status == 0) status = xclbin_check_tables(&xclbin, &err);
    xclbin_free(&xclbin);
    assert_int_equal(status, ERROR_BAD_FILE);
    if (err.detail != (int)fault) fail_msg("fault %d, expected %d: %s", err.detail, (int)fault, err.text);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = made_xclbin("u50", &n_bytes);
    for (size_t n = 0; n < n_bytes; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* of its own, so that the sanitizer sees a read behind it */
        assert_non_null(cut);
        memcpy(cut, bytes, n);
        expect_fault(cut, n, n < 8 ? XCLBIN_FAULT_MAGIC : XCLBIN_FAULT_SHORT);
        free(cut);
    }
    free(bytes);
}

/* One change of a good file, undone after the check. */
static void expect_lie(uint8_t *bytes, size_t n_bytes, uint8_t *at, uint64_t value, unsigned width,
                       enum xclbin_fault fault)
{
    uint8_t old[8];
    memcpy(old, at, width);
    if (width == 8)
        store_u64(at, value);
    else
        store_u32(at, (uint32_t)value);
    expect_fault(bytes, n_bytes, fault);
    memcpy(at, old, width);
}

static void every_lie_of_a_header_has_its_name(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = made_xclbin("u55c", &n_bytes), *second = table_entry(bytes, 1);
    uint64_t first_offset = load_u64(table_entry(bytes, 0) + XCLBIN_SECTION_AT_OFFSET);
    expect_lie(bytes, n_bytes, bytes, 1, 4, XCLBIN_FAULT_MAGIC);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_LENGTH, n_bytes + 1, 8, XCLBIN_FAULT_SHORT);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_LENGTH, UINT64_MAX, 8, XCLBIN_FAULT_SHORT);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_LENGTH, n_bytes - 1, 8, XCLBIN_FAULT_LENGTH);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_LENGTH, 0, 8, XCLBIN_FAULT_LENGTH);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_SIGNATURE_LENGTH, (uint32_t)-2, 4, XCLBIN_FAULT_SIGNATURE);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_SIGNATURE_LENGTH, INT32_MAX, 4, XCLBIN_FAULT_SIGNATURE);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_N_SECTIONS, UINT32_MAX, 4, XCLBIN_FAULT_COUNT);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_N_SECTIONS, 0x10001, 4, XCLBIN_FAULT_COUNT);
    expect_lie(bytes, n_bytes, bytes + XCLBIN_AT_N_SECTIONS, n_bytes / 40, 4, XCLBIN_FAULT_COUNT);
    expect_lie(bytes, n_bytes, second + XCLBIN_SECTION_AT_OFFSET, 8, 8, XCLBIN_FAULT_RANGE);
    expect_lie(bytes, n_bytes, second + XCLBIN_SECTION_AT_OFFSET, UINT64_MAX - 7, 8, XCLBIN_FAULT_RANGE);
    expect_lie(bytes, n_bytes, second + XCLBIN_SECTION_AT_BYTES, UINT64_MAX, 8, XCLBIN_FAULT_RANGE);
    expect_lie(bytes, n_bytes, second + XCLBIN_SECTION_AT_OFFSET, first_offset + 1, 8, XCLBIN_FAULT_ALIGNMENT);
    expect_lie(bytes, n_bytes, second + XCLBIN_SECTION_AT_OFFSET, first_offset, 8, XCLBIN_FAULT_OVERLAP);
    expect_lie(bytes, n_bytes, second + XCLBIN_SECTION_AT_KIND, XCLBIN_BITSTREAM, 4, XCLBIN_FAULT_TWICE);
    free(bytes);
}

static void every_lie_of_a_table_has_its_name(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0x80000000u, UINT32_MAX, INT32_MAX, 2, 0x10000001u, 100};
    size_t n_bytes;
    uint8_t *bytes = made_xclbin("u55c", &n_bytes);
    struct xclbin xclbin;
    assert_int_equal(xclbin_read(bytes, n_bytes, "x", &xclbin, NULL), 0);
    for (size_t i = 0; i < xclbin.n_sections; i++) {
        uint8_t *table = bytes + xclbin.section[i].offset;
        uint32_t kind = xclbin.section[i].kind;
        if (!xclbin_is_table(kind) || kind == XCLBIN_CLOCK_FREQ_TOPOLOGY) continue;
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
            expect_lie(bytes, n_bytes, table, counts[c], 4, XCLBIN_FAULT_CONTENT);
        if (kind != XCLBIN_CONNECTIVITY) continue;
        expect_lie(bytes, n_bytes, table + 4, UINT32_MAX, 4, XCLBIN_FAULT_CONTENT); /* argument */
        expect_lie(bytes, n_bytes, table + 8, 1, 4, XCLBIN_FAULT_CONTENT);          /* compute unit */
        expect_lie(bytes, n_bytes, table + 12, 4, 4, XCLBIN_FAULT_CONTENT);         /* memory */
    }
    xclbin_free(&xclbin);
    free(bytes);
}

/* JSON of our tables against the texts that a real xclbinutil takes: shared/xrt/xclbinutil-json. */
static void tables_are_told_as_xrt_tells_them(void **state)
{
    (void)state;
    const struct xclbin_memory memory = {XCLBIN_MEM_HBM, true, 0x80000, 0x20000000, "HBM[1]"};
    const struct xclbin_ip ip = {XCLBIN_IP_KERNEL, 0, 0x1800000, "vadd:vadd_1"};
    const char *expected[2] = {
        "{\"m_count\": \"1\", \"m_mem_data\": [{\"m_type\": \"MEM_HBM\", \"m_used\": \"1\", \"m_sizeKB\": \"0x80000\", "
        "\"m_tag\": \"HBM[1]\", \"m_base_address\": \"0x20000000\"}]}",
        "{\"m_count\": \"1\", \"m_ip_data\": [{\"m_type\": \"IP_KERNEL\", \"m_int_enable\": \"0\", \"m_interrupt_id\": "
        "\"0\", \"m_ip_control\": \"AP_CTRL_HS\", \"m_base_address\": \"0x1800000\", \"m_name\": \"vadd:vadd_1\"}]}"};
    struct xclbin_section section[2] = {{.kind = XCLBIN_MEM_TOPOLOGY}, {.kind = XCLBIN_IP_LAYOUT}};
    uint8_t *bytes[2] = {xclbin_put_memories(&memory, 1, &section[0].n_bytes),
                         xclbin_put_ips(&ip, 1, &section[1].n_bytes)};
    for (int i = 0; i < 2; i++) {
        json_t *json;
        section[i].bytes = bytes[i];
        assert_int_equal(xclbin_section_json(&section[i], &json, NULL), 0);
        char *text = json_dumps(json, 0);
        assert_string_equal(text, expected[i]);
        free(text);
        json_decref(json);
        free(bytes[i]);
    }
}

static void the_same_request_gives_the_same_bytes(void **state)
{
    (void)state;
    size_t n_a, n_b;
    uint8_t *a = made_xclbin("u280", &n_a), *b = made_xclbin("u280", &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_written_again),
        cmocka_unit_test(tables_are_read_as_they_were_put),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(every_lie_of_a_header_has_its_name),
        cmocka_unit_test(every_lie_of_a_table_has_its_name),
        cmocka_unit_test(tables_are_told_as_xrt_tells_them),
        cmocka_unit_test(the_same_request_gives_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
