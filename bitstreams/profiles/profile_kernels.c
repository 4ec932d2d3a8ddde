/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels profiles: cycles and intervals of an engine, the same on every card that it is built for. */
#include "bitstreams/profiles/profile_parts.h"

#include <string.h>

#define CYCLES(type, member, max) NUMBER_FIELD(type, member, #member, DIM_CYCLES, 0, max)
static const struct number_field latency_fields[] = {
    CYCLES(engine_profile, fma_cycles, 1000),
    CYCLES(engine_profile, add_cycles, 1000),
    CYCLES(engine_profile, compare_cycles, 1000),
};

static const struct number_field matmul_fields[] = {
    CYCLES(matmul_cycles, start, 100000),           CYCLES(matmul_cycles, load_per_block, 1000),
    CYCLES(matmul_cycles, load_per_8_blocks, 1000), CYCLES(matmul_cycles, full_round, 100000),
    CYCLES(matmul_cycles, part_round, 100000),      CYCLES(matmul_cycles, end, 100000),
};

static const struct number_field interval_fields[] = {
#define INTERVAL(name) NUMBER_FIELD(loop_intervals, name, #name, DIM_CYCLES, 1, 10000),
    PROFILE_LOOPS(INTERVAL)
#undef INTERVAL
};

/* fixed_cycles has a member for each operation, by its name. */
static void name_operations(struct number_field fields[CARD_OPCODE_END], size_t *n)
{
    *n = 0;
    for (unsigned opcode = 1; opcode < CARD_OPCODE_END; opcode++) {
        if (opcode == CARD_OP_EXTENSION) continue;
        fields[(*n)++] = (struct number_field){card_opcode_name(opcode), DIM_CYCLES, opcode * sizeof(uint32_t),
                                               sizeof(uint32_t),         0,          1000000};
    }
}

static int read_part(const struct profile_reader *reader, const json_t *root, const char *name,
                     const struct number_field *fields, size_t n, void *out)
{
    static const char *const nothing[] = {NULL};
    const json_t *section;
    int status = profile_member(reader, root, "", name, JSON_OBJECT, &section);
    if (status >= 0) status = profile_only(reader, section, name, fields, n, nothing);
    return status < 0 ? status : profile_numbers(reader, section, name, fields, n, out);
}

static int read_kernels(const struct profile_reader *reader, const json_t *root, struct engine_profile *engine)
{
    static const char *const members[] = {"kind",     "name",         "title", "latency", "matmul",
                                          "interval", "fixed_cycles", "notes", NULL};
    struct number_field operations[CARD_OPCODE_END];
    size_t n_operations;
    name_operations(operations, &n_operations);
    int status = profile_only(reader, root, "", NULL, 0, members);
    if (status >= 0) status = read_part(reader, root, "latency", latency_fields, N_FIELDS(latency_fields), engine);
    if (status >= 0)
        status = read_part(reader, root, "matmul", matmul_fields, N_FIELDS(matmul_fields), &engine->matmul);
    if (status >= 0)
        status = read_part(reader, root, "interval", interval_fields, N_FIELDS(interval_fields), &engine->interval);
    if (status >= 0) status = read_part(reader, root, "fixed_cycles", operations, n_operations, engine->fixed_cycles);
    return status;
}

int kernels_profile_read(const char *name, struct engine_profile *engine, struct error *err)
{
    struct profile_file file;
    json_t *root;
    int status = profile_file_open(PROFILE_KERNELS, name, &file, err);
    if (status < 0) return status;
    const struct profile_reader reader = {file.text, file.n_bytes, file.label, err};
    status = profile_load(&reader, &root);
    if (status >= 0) {
        status = read_kernels(&reader, root, engine);
        json_decref(root);
    }
    profile_file_close(&file);
    return status;
}
