/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/simulator_bitstream.h"
#include "bitstreams/manifest.h"
#include "bitstreams/profiles/profile.h"
#include "bitstreams/xclbin_sections.h"
#include "bitstreams/zip_store.h"
#include "host/base/bytes.h"
#include "kernels/abi/card_program.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { POINTER_ARGUMENTS = 3, N_SECTIONS = 7 };
enum { AT_BITSTREAM, AT_METADATA, AT_MEMORIES, AT_CONNECTIONS, AT_UNITS, AT_CLOCKS, AT_MANIFEST };

static const char simulate_sh[] = "#!/bin/sh\n"
                                  "# Started by XRT's hardware emulation in the folder where it unpacked the xclbin.\n"
                                  "exec \"${SLUICE_XRT_DEVICE:?must name the program that is the simulated card}\"\n";

struct engine_argument {
    const char *name, *type;
    uint32_t bytes, offset;
};

static const struct engine_argument fixed_arguments[ENGINE_FIXED_ARGUMENTS] = {
    {"program", "void*", 8, 0x10},  {"n_descriptors", "uint", 4, 0x1c}, {"extents", "void*", 8, 0x24},
    {"n_extents", "uint", 4, 0x30}, {"status", "void*", 8, 0x38},
};

struct build {
    const struct simulator_bitstream *request;
    struct card_profile card;
    uint32_t n_banks;
    uint64_t bank_bytes;
    struct xclbin_section section[N_SECTIONS];
    uint8_t *owned[N_SECTIONS]; /* free() */
    struct xclbin xclbin;
};

static int no_memory(struct error *err) { return error_set(err, ERROR_NO_MEMORY, "out of memory for an xclbin"); }

static int choose_banks(struct build *build, struct error *err)
{
    const struct memory_profile *memory = &build->card.memory[0];
    uint32_t banks = build->request->banks;
    for (uint32_t n = ENGINE_MAX_BANKS; banks == 0; n--) {
        if (memory->channels % n == 0) banks = n;
    }
    if (banks > ENGINE_MAX_BANKS || memory->channels % banks != 0)
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "%s: %u channels cannot be dealt over %u banks (1 to %u that divide them)", build->card.name,
                         memory->channels, banks, ENGINE_MAX_BANKS);
    build->n_banks = banks;
    build->bank_bytes = build->request->bank_bytes;
    if (build->bank_bytes == 0) build->bank_bytes = memory->channels / banks * memory->bytes_per_channel;
    if (build->bank_bytes % 1024 || build->bank_bytes > UINT64_C(1) << 48)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: a bank of %" PRIu64 " bytes (a multiple of 1024 below 2^48)",
                         build->card.name, build->bank_bytes);
    return 0;
}

static int set_section(struct build *build, unsigned at, uint32_t kind, const char *name, uint8_t *bytes,
                       size_t n_bytes, struct error *err)
{
    struct xclbin_section *section = &build->section[at];
    if (!bytes) return no_memory(err);
    *section = (struct xclbin_section){.kind = kind, .bytes = bytes, .n_bytes = n_bytes};
    snprintf(section->name, sizeof section->name, "%s", name);
    build->owned[at] = bytes;
    return 0;
}

static int add_payload(struct build *build, struct error *err)
{
    size_t n = build->request->n_payload;
    uint8_t *bytes;
    if (build->request->payload) {
        bytes = malloc(n ? n : 1);
        if (bytes) memcpy(bytes, build->request->payload, n);
    } else {
        bytes = zip_store("behav_waveform/xsim/simulate.sh", (const uint8_t *)simulate_sh, sizeof simulate_sh - 1, &n);
    }
    return set_section(build, AT_BITSTREAM, XCLBIN_BITSTREAM, "simulator", bytes, n, err);
}

static void print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("<>&\"'", *text))
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
}

static void print_argument(FILE *out, unsigned id, const char *name, const char *type, uint32_t bytes, uint32_t offset)
{
    bool pointer = bytes == 8;
    fprintf(out,
            "          <arg name=\"%s\" addressQualifier=\"%d\" id=\"%u\" port=\"%s\" size=\"0x%x\" offset=\"0x%x\" "
            "hostOffset=\"0x0\" hostSize=\"0x%x\" type=\"%s\"/>\n",
            name, pointer, id, pointer ? "M_AXI_GMEM" : "S_AXI_CONTROL", bytes, offset, bytes, type);
}

static void print_kernel(FILE *out, const struct build *build)
{
    fputs("        <kernel name=\"" ENGINE_KERNEL "\" language=\"c\" type=\"pl\" hwControlProtocol=\"ap_ctrl_hs\" "
          "interrupt=\"false\" swReset=\"false\">\n"
          "          <port name=\"M_AXI_GMEM\" mode=\"master\" range=\"0xFFFFFFFFFFFFFFFF\" dataWidth=\"512\" "
          "portType=\"addressable\" base=\"0x0\"/>\n"
          "          <port name=\"S_AXI_CONTROL\" mode=\"slave\" range=\"0x1000\" dataWidth=\"32\" "
          "portType=\"addressable\" base=\"0x0\"/>\n",
          out);
    for (unsigned i = 0; i < ENGINE_FIXED_ARGUMENTS; i++) {
        const struct engine_argument *at = &fixed_arguments[i];
        print_argument(out, i, at->name, at->type, at->bytes, at->offset);
    }
    for (unsigned b = 0; b < build->n_banks; b++) {
        char name[16];
        snprintf(name, sizeof name, "bank%u", b);
        print_argument(out, ENGINE_FIXED_ARGUMENTS + b, name, "void*", 8, 0x44 + 12 * b);
    }
    fprintf(out,
            "          <instance name=\"" ENGINE_UNIT "\">\n"
            "            <addrRemap base=\"0x%x\" range=\"0x10000\" port=\"S_AXI_CONTROL\"/>\n"
            "          </instance>\n        </kernel>\n",
            ENGINE_BASE);
}

/*
 * What XRT reads of the XML: UG1393's kernel XML within a project, a platform, a device, a core; the form is that of the
 * sections that a real xclbinutil accepts (shared/xrt/xclbinutil-json).
 */
static int add_metadata(struct build *build, struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out) return no_memory(err);
    unsigned mhz = build->card.port.clock_mhz;
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project name=\"sluice\">\n"
          "  <platform vendor=\"sluice\" boardid=\"",
          out);
    print_escaped(out, build->card.name);
    fputs("\" name=\"", out);
    print_escaped(out, build->xclbin.header.platform);
    fprintf(
        out,
        "\" featureRomTime=\"0\">\n    <device name=\"fpga0\" fpgaDevice=\"simulated\" addrWidth=\"0\">\n"
        "      <core name=\"OCL_REGION_0\" target=\"csim\" type=\"clc_region\" clockFreq=\"%uMHz\" "
        "numComputeUnits=\"1\">\n"
        "        <kernelClocks>\n          <clock port=\"KERNEL_CLK\" frequency=\"%uMHz\"/>\n        </kernelClocks>\n",
        mhz, mhz);
    print_kernel(out, build);
    fputs("      </core>\n    </device>\n  </platform>\n</project>\n", out);
    bool lost = ferror(out) != 0;
    if (fclose(out) != 0 || lost) {
        free(text);
        return no_memory(err);
    }
    return set_section(build, AT_METADATA, XCLBIN_EMBEDDED_METADATA, "metadata", (uint8_t *)text, n, err);
}

static int add_memories(struct build *build, struct error *err)
{
    struct xclbin_memory memory[ENGINE_MAX_BANKS] = {0};
    const struct memory_profile *profile = &build->card.memory[0];
    uint32_t channels = profile->channels / build->n_banks;
    for (uint32_t b = 0; b < build->n_banks; b++) {
        memory[b] = (struct xclbin_memory){.type = profile->kind == MEMORY_HBM ? XCLBIN_MEM_HBM : XCLBIN_MEM_DDR4,
                                           .used = true,
                                           .kib = build->bank_bytes / 1024,
                                           .base_address = b * build->bank_bytes};
        const char *name = profile->kind == MEMORY_HBM ? "HBM" : "DDR";
        if (channels == 1)
            snprintf(memory[b].tag, sizeof memory[b].tag, "%s[%u]", name, b & 63);
        else
            snprintf(memory[b].tag, sizeof memory[b].tag, "%s[%u:%u]", name, b * channels & 63,
                     ((b + 1) * channels - 1) & 63);
    }
    size_t n;
    uint8_t *bytes = xclbin_put_memories(memory, build->n_banks, &n);
    return set_section(build, AT_MEMORIES, XCLBIN_MEM_TOPOLOGY, "mem_topology", bytes, n, err);
}

static int add_connections(struct build *build, struct error *err)
{
    struct xclbin_connection connection[POINTER_ARGUMENTS + ENGINE_MAX_BANKS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < ENGINE_FIXED_ARGUMENTS; i++) {
        if (fixed_arguments[i].bytes == 8) connection[count++] = (struct xclbin_connection){.argument = i};
    }
    for (uint32_t b = 0; b < build->n_banks; b++)
        connection[count++] = (struct xclbin_connection){.argument = ENGINE_FIXED_ARGUMENTS + b, .memory = b};
    size_t n;
    uint8_t *bytes = xclbin_put_connections(connection, count, &n);
    return set_section(build, AT_CONNECTIONS, XCLBIN_CONNECTIVITY, "connectivity", bytes, n, err);
}

static int add_units(struct build *build, struct error *err)
{
    const struct xclbin_ip unit = {
        .type = XCLBIN_IP_KERNEL, .base_address = ENGINE_BASE, .name = ENGINE_KERNEL ":" ENGINE_UNIT};
    size_t n;
    uint8_t *bytes = xclbin_put_ips(&unit, 1, &n);
    return set_section(build, AT_UNITS, XCLBIN_IP_LAYOUT, "ip_layout", bytes, n, err);
}

static int add_clocks(struct build *build, struct error *err)
{
    uint32_t mhz = build->card.port.clock_mhz;
    const struct xclbin_clock clock = {
        .mhz = (uint16_t)(mhz < UINT16_MAX ? mhz : UINT16_MAX), .type = XCLBIN_CLOCK_DATA, .name = "DATA_CLK"};
    size_t n;
    uint8_t *bytes = xclbin_put_clocks(&clock, 1, &n);
    return set_section(build, AT_CLOCKS, XCLBIN_CLOCK_FREQ_TOPOLOGY, "clocks", bytes, n, err);
}

static int add_manifest(struct build *build, struct error *err)
{
    const uint32_t abi = build->request->abi_version;
    const struct manifest_facts facts = {.abi_version = abi ? abi : CARD_ABI_VERSION,
                                         .card = build->card.name,
                                         .design = "simulator",
                                         .revision = build->request->revision,
                                         .tools = "sluice bitstream build"};
    json_t *json;
    build->xclbin.n_sections = AT_MANIFEST; /* those that it lists */
    int status = manifest_make(&build->xclbin, &facts, &json, err);
    if (status < 0) return status;
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    build->xclbin.n_sections = N_SECTIONS;
    return set_section(build, AT_MANIFEST, XCLBIN_USER_METADATA, MANIFEST_SECTION, (uint8_t *)text,
                       text ? strlen(text) : 0, err);
}

/* A UUID of version 8 (RFC 9562) from the content, so that other content is another bitstream to XRT. */
static void name_by_content(struct build *build)
{
    crypto_hash_sha256_state state;
    uint8_t digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)build->xclbin.header.platform,
                              sizeof build->xclbin.header.platform);
    for (unsigned i = 0; i < N_SECTIONS; i++)
        crypto_hash_sha256_update(&state, build->section[i].bytes, build->section[i].n_bytes);
    crypto_hash_sha256_final(&state, digest);
    digest[6] = (uint8_t)((digest[6] & 0x0f) | 0x80);
    digest[8] = (uint8_t)((digest[8] & 0x3f) | 0x80);
    memcpy(build->xclbin.header.uuid, digest, sizeof build->xclbin.header.uuid);
    build->xclbin.header.unique_id = load_u64(digest + 16);
}

static int fill(struct build *build, struct error *err)
{
    struct xclbin_header *header = &build->xclbin.header;
    int status = card_profile_open(build->request->card, &build->card, err);
    if (status == 0) status = choose_banks(build, err);
    if (status < 0) return status;
    xclbin_header_init(header);
    header->version_minor = 13; /* of the XRT whose format it is */
    header->mode = build->request->mode;
    header->timestamp = build->request->timestamp;
    snprintf(header->platform, sizeof header->platform, "sluice_%s_simulator_1", build->card.name);
    build->xclbin.section = build->section;
    status = add_payload(build, err);
    if (status == 0) status = add_metadata(build, err);
    if (status == 0) status = add_memories(build, err);
    if (status == 0) status = add_connections(build, err);
    if (status == 0) status = add_units(build, err);
    if (status == 0) status = add_clocks(build, err);
    if (status == 0) status = add_manifest(build, err);
    if (status == 0) name_by_content(build);
    return status;
}

int simulator_bitstream_make(const struct simulator_bitstream *request, uint8_t **out, size_t *n_bytes,
                             struct error *err)
{
    struct build build = {.request = request};
    *out = NULL;
    int status = fill(&build, err);
    if (status == 0) status = xclbin_write(&build.xclbin, out, n_bytes, err);
    for (unsigned i = 0; i < N_SECTIONS; i++) free(build.owned[i]);
    return status;
}
