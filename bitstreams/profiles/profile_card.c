/* SPDX-License-Identifier: Apache-2.0 */
/* Card profiles: their fields, one table a section. */
#include "bitstreams/profiles/profile_parts.h"

#include <stdio.h>
#include <string.h>

#define MEMORY(member, dimension, min, max) NUMBER_FIELD(memory_profile, member, #member, dimension, min, max)
static const struct number_field memory_fields[] = {
    MEMORY(channels, DIM_COUNT, 1, PROFILE_CHANNELS),
    MEMORY(bytes_per_channel, DIM_BYTES, UINT64_C(1) << 20, UINT64_C(1) << 40),
    NUMBER_FIELD(memory_profile, peak_bytes_per_s, "peak", DIM_RATE, 1000000, UINT64_C(1000000000000)),
    NUMBER_FIELD(memory_profile, latency_ps, "latency", DIM_TIME, 1000, 100000000),
    NUMBER_FIELD(memory_profile, stall_ps_per_kib, "stall_per_kib", DIM_TIME, 0, 1000000),
    NUMBER_FIELD(memory_profile, refresh_interval_ps, "refresh_interval", DIM_TIME, 100000, 100000000),
    NUMBER_FIELD(memory_profile, refresh_ps, "refresh_time", DIM_TIME, 0, 10000000),
    NUMBER_FIELD(memory_profile, switch_ps, "master_switch", DIM_TIME, 0, 10000000),
    NUMBER_FIELD(memory_profile, energy_fj_per_byte, "energy", DIM_ENERGY_PER_BYTE, 0, 10000000),
};

#define PORT(member, name, dimension, min, max) NUMBER_FIELD(port_profile, member, name, dimension, min, max)
static const struct number_field port_fields[] = {
    PORT(clock_mhz, "clock", DIM_FREQUENCY, 1, 2000),
    PORT(width_bits, "width", DIM_BITS, 32, 1024),
    PORT(burst_beats, "burst", DIM_COUNT, 1, 256),
    PORT(outstanding_reads, "outstanding", DIM_COUNT, 1, 1024),
};

#define RESOURCE(member) NUMBER_FIELD(fpga_resources, member, #member, DIM_COUNT, 0, 100000000)
static const struct number_field resource_fields[] = {RESOURCE(lut), RESOURCE(dsp), RESOURCE(bram18), RESOURCE(uram)};

#define ENGINE(member, dimension, min, max) NUMBER_FIELD(engine_profile, member, #member, dimension, min, max)
static const struct number_field engine_fields[] = {
    ENGINE(matmul_pipelines, DIM_COUNT, 1, PROFILE_CHANNELS),
    ENGINE(tokens_per_word, DIM_COUNT, 1, 1024),
    ENGINE(tokens_per_pass, DIM_COUNT, 1, 4096),
    ENGINE(float_lanes, DIM_COUNT, 1, 1024),
    ENGINE(attention_pipelines, DIM_COUNT, 1, PROFILE_CHANNELS),
    ENGINE(attention_lanes, DIM_COUNT, 1, 1024),
    ENGINE(scan_lanes, DIM_COUNT, 1, 4096),
    ENGINE(vector_lanes, DIM_COUNT, 1, 1024),
    NUMBER_FIELD(engine_profile, weight_prefetch_bytes, "weight_prefetch", DIM_BYTES, 0, UINT64_C(1) << 32),
    NUMBER_FIELD(engine_profile, activation_bytes, "activations", DIM_BYTES, 4096, UINT64_C(1) << 32),
    ENGINE(fetch_cycles, DIM_CYCLES, 0, 1000000),
    ENGINE(dispatch_cycles, DIM_CYCLES, 0, 1000000),
    ENGINE(drain_cycles, DIM_CYCLES, 0, 1000000),
};

#define CARD_ENERGY(member, name, dimension, max) NUMBER_FIELD(card_energy, member, name, dimension, 0, max)
static const struct number_field energy_fields[] = {
    CARD_ENERGY(static_mw, "static", DIM_POWER, 1000000),
    CARD_ENERGY(mac_fj, "mac", DIM_ENERGY, 1000000),
    CARD_ENERGY(float_fj, "float_mac", DIM_ENERGY, 1000000),
    CARD_ENERGY(on_chip_fj_per_byte, "on_chip", DIM_ENERGY_PER_BYTE, 1000000),
    CARD_ENERGY(link_fj_per_byte, "link", DIM_ENERGY_PER_BYTE, 10000000),
};

/* A section of numbers and nothing else, but for what others says. */
static int read_section(const struct profile_reader *reader, const json_t *object, const char *path, const char *name,
                        const struct number_field *fields, size_t n, const char *const *others, void *out)
{
    static const char *const nothing[] = {NULL};
    char full[64];
    const json_t *section;
    int status = profile_member(reader, object, path, name, JSON_OBJECT, &section);
    profile_path(full, sizeof full, path, name);
    if (status >= 0) status = profile_only(reader, section, full, fields, n, others ? others : nothing);
    if (status >= 0) status = profile_numbers(reader, section, full, fields, n, out);
    return status;
}

static int read_memory(const struct profile_reader *reader, const json_t *object, const char *path,
                       struct memory_profile *memory)
{
    static const char *const others[] = {"kind", NULL};
    char kind[8], full[64];
    if (!json_is_object(object)) return profile_refuse(reader, path, "an object is expected");
    int status = profile_only(reader, object, path, memory_fields, N_FIELDS(memory_fields), others);
    if (status >= 0) status = profile_text(reader, object, path, "kind", kind, sizeof kind);
    if (status < 0) return status;
    if (strcmp(kind, "hbm") == 0) {
        memory->kind = MEMORY_HBM;
    } else if (strcmp(kind, "ddr") == 0) {
        memory->kind = MEMORY_DDR;
    } else {
        profile_path(full, sizeof full, path, "kind");
        return profile_refuse(reader, full, "\"%s\"; allowed: \"hbm\", \"ddr\"", kind);
    }
    return profile_numbers(reader, object, path, memory_fields, N_FIELDS(memory_fields), memory);
}

static int read_memories(const struct profile_reader *reader, const json_t *root, struct card_profile *card)
{
    const json_t *list;
    int status = profile_member(reader, root, "", "memory", JSON_ARRAY, &list);
    if (status < 0) return status;
    if (json_array_size(list) < 1 || json_array_size(list) > PROFILE_MEMORIES)
        return profile_refuse(reader, "memory", "%zu kinds of memory; allowed: 1 to %d", json_array_size(list),
                              PROFILE_MEMORIES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char path[32];
        snprintf(path, sizeof path, "memory[%zu]", i);
        status = read_memory(reader, json_array_get(list, i), path, &card->memory[i]);
        if (status < 0) return status;
        card->n_memories++;
    }
    return 0;
}

static int read_engine(const struct profile_reader *reader, const json_t *root, struct card_profile *card)
{
    static const char *const others[] = {"used", NULL};
    const json_t *section;
    int status =
        read_section(reader, root, "", "engine", engine_fields, N_FIELDS(engine_fields), others, &card->engine);
    if (status >= 0) status = profile_member(reader, root, "", "engine", JSON_OBJECT, &section);
    if (status >= 0)
        status = read_section(reader, section, "engine", "used", resource_fields, N_FIELDS(resource_fields), NULL,
                              &card->engine.used);
    if (status >= 0) status = profile_identifier(reader, root, "", "kernels", card->kernels, sizeof card->kernels);
    if (status < 0) return status;
    struct error err = {0};
    status = kernels_profile_read(card->kernels, &card->engine, &err);
    return status < 0 ? profile_refuse(reader, "kernels", "%s", err.text) : 0;
}

static int read_card(const struct profile_reader *reader, const json_t *root, struct card_profile *card)
{
    static const char *const members[] = {"kind", "name",      "title",  "host",   "kernels", "memory",
                                          "port", "available", "engine", "energy", "notes",   NULL};
    char kind[8];
    int status = profile_only(reader, root, "", NULL, 0, members);
    if (status >= 0) status = profile_text(reader, root, "", "kind", kind, sizeof kind);
    if (status >= 0 && strcmp(kind, "card") != 0)
        status = profile_refuse(reader, "kind", "\"%s\"; a card's is \"card\"", kind);
    if (status >= 0) status = profile_identifier(reader, root, "", "name", card->name, sizeof card->name);
    if (status >= 0) status = profile_text(reader, root, "", "title", card->title, sizeof card->title);
    if (status >= 0) status = profile_identifier(reader, root, "", "host", card->host, sizeof card->host);
    if (status >= 0) status = read_memories(reader, root, card);
    if (status >= 0)
        status = read_section(reader, root, "", "port", port_fields, N_FIELDS(port_fields), NULL, &card->port);
    if (status >= 0)
        status = read_section(reader, root, "", "available", resource_fields, N_FIELDS(resource_fields), NULL,
                              &card->available);
    if (status >= 0) status = read_engine(reader, root, card);
    if (status >= 0)
        status = read_section(reader, root, "", "energy", energy_fields, N_FIELDS(energy_fields), NULL, &card->energy);
    return status < 0 ? status : card_profile_check(reader, card);
}

int card_profile_parse(const char *text, size_t n_bytes, const char *file, struct card_profile *out, struct error *err)
{
    const struct profile_reader reader = {text, n_bytes, file, err};
    json_t *root;
    memset(out, 0, sizeof *out);
    int status = profile_load(&reader, &root);
    if (status < 0) return status;
    status = read_card(&reader, root, out);
    json_decref(root);
    return status;
}

int card_profile_open(const char *name, struct card_profile *out, struct error *err)
{
    struct profile_file file;
    int status = profile_file_open(PROFILE_CARD, name, &file, err);
    if (status < 0) return status;
    status = card_profile_parse(file.text, file.n_bytes, file.label, out, err);
    profile_file_close(&file);
    return status;
}
