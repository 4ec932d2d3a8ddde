/* SPDX-License-Identifier: Apache-2.0 */
/* Host profiles. */
#include "bitstreams/profiles/profile_parts.h"

#include <string.h>

#define MAX_RATE UINT64_C(10000000000000)
#define MAX_TIME UINT64_C(1000000000000)
#define HOST(member, name, dimension, min, max) NUMBER_FIELD(host_profile, member, name, dimension, min, max)
static const struct number_field host_fields[] = {
    HOST(pcie_generation, "pcie_generation", DIM_COUNT, 0, 6),
    HOST(pcie_lanes, "pcie_lanes", DIM_COUNT, 0, 16),
    HOST(payload_bytes, "payload", DIM_BYTES, 128, 4096),
    HOST(host_to_card_bytes_per_s, "host_to_card", DIM_RATE, 1000000, MAX_RATE),
    HOST(card_to_host_bytes_per_s, "card_to_host", DIM_RATE, 1000000, MAX_RATE),
    HOST(both_ways_bytes_per_s, "both_ways", DIM_RATE, 1000000, MAX_RATE),
    HOST(transfer_first_ps, "transfer_first", DIM_TIME, 0, MAX_TIME),
    HOST(transfer_ps, "transfer", DIM_TIME, 0, MAX_TIME),
    HOST(transfer_both_ps, "transfer_both", DIM_TIME, 0, MAX_TIME),
    HOST(transfer_serial, "transfer_serial", DIM_COUNT, 0, 100),
    HOST(launch_first_ps, "launch_first", DIM_TIME, 0, MAX_TIME),
    HOST(launch_ps, "launch", DIM_TIME, 1, MAX_TIME),
    HOST(launch_again_ps, "launch_again", DIM_TIME, 1, MAX_TIME),
    HOST(launch_commands, "launch_commands", DIM_COUNT, 1, 1000000000),
    HOST(bridge_bytes_per_s, "bridge", DIM_RATE, 0, MAX_RATE),
    HOST(bridge_first_ps, "bridge_first", DIM_TIME, 0, MAX_TIME),
    HOST(bridge_page_ps, "bridge_page", DIM_TIME, 0, MAX_TIME),
    HOST(decision_ps, "decision", DIM_TIME, 0, MAX_TIME),
    HOST(memory_bytes_per_s, "memory_rate", DIM_RATE, 1000000, MAX_RATE),
    HOST(nvme_bytes_per_s, "nvme_rate", DIM_RATE, 1000000, MAX_RATE),
    HOST(memory_bytes, "memory_size", DIM_BYTES, UINT64_C(1) << 30, UINT64_C(1) << 50),
    HOST(idle_mw, "idle", DIM_POWER, 0, 10000000),
};

/* A price's unit is a currency's three letters and "/kWh". */
static int read_price(const struct profile_reader *reader, const json_t *root, struct host_profile *host)
{
    const char *unit;
    int status = profile_plain_number(reader, root, "", "price", 0, 1e6, &host->price_per_kwh, &unit);
    if (status < 0) return status;
    if (strlen(unit) != 7 || strcmp(unit + 3, "/kWh") != 0 || strspn(unit, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
        return profile_refuse(reader, "price", "unit \"%s\"; allowed: a currency's three letters and \"/kWh\"", unit);
    memcpy(host->currency, unit, 3);
    return 0;
}

static int read_host(const struct profile_reader *reader, const json_t *root, struct host_profile *host)
{
    static const char *const others[] = {"kind", "name", "title", "price", "notes", NULL};
    char kind[8];
    int status = profile_only(reader, root, "", host_fields, N_FIELDS(host_fields), others);
    if (status >= 0) status = profile_text(reader, root, "", "kind", kind, sizeof kind);
    if (status >= 0 && strcmp(kind, "host") != 0)
        status = profile_refuse(reader, "kind", "\"%s\"; a host's is \"host\"", kind);
    if (status >= 0) status = profile_identifier(reader, root, "", "name", host->name, sizeof host->name);
    if (status >= 0) status = profile_text(reader, root, "", "title", host->title, sizeof host->title);
    if (status >= 0) status = profile_numbers(reader, root, "", host_fields, N_FIELDS(host_fields), host);
    if (status >= 0) status = read_price(reader, root, host);
    return status < 0 ? status : host_profile_check(reader, host);
}

int host_profile_parse(const char *text, size_t n_bytes, const char *file, struct host_profile *out, struct error *err)
{
    const struct profile_reader reader = {text, n_bytes, file, err};
    json_t *root;
    memset(out, 0, sizeof *out);
    int status = profile_load(&reader, &root);
    if (status < 0) return status;
    status = read_host(&reader, root, out);
    json_decref(root);
    return status;
}

int host_profile_open(const char *name, struct host_profile *out, struct error *err)
{
    struct profile_file file;
    int status = profile_file_open(PROFILE_HOST, name, &file, err);
    if (status < 0) return status;
    status = host_profile_parse(file.text, file.n_bytes, file.label, out, err);
    profile_file_close(&file);
    return status;
}
