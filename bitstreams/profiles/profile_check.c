/* SPDX-License-Identifier: Apache-2.0 */
/* Contradictions between the numbers of a profile. */
#include "bitstreams/profiles/profile_parts.h"

#include <stdio.h>

#define AXI_BORDER_BYTES 4096u /* no burst crosses it (AXI4) */
#define URAM_BYTES 36864u      /* 4096 words of 72 bits (UG573) */
#define LARGEST_SHARE 60u      /* percent of what a card leaves to kernels; bitstreams/build promises the same */

/*
 * What matmul pipelines take, measured with yosys (kernels/rtl/README.md: 12,808 LUT, 72 DSP and 15 block RAMs for one kernel
 * and one token). The same run by module: control_registers, which an engine has once, 3,578 LUT; each further token
 * of a word dot_rows and four dot_lane, 7,807 LUT and 68 DSP.
 */
static struct fpga_resources matmul_cost(const struct engine_profile *engine)
{
    uint64_t pipelines = engine->matmul_pipelines, more = engine->tokens_per_word - 1;
    return (struct fpga_resources){
        .lut = 3578 + pipelines * (12808 - 3578 + more * 7807),
        .dsp = pipelines * (72 + more * 68),
        .bram18 = pipelines * 15,
    };
}

struct resource_check {
    const char *name;
    uint64_t used, available, needed;
};

static int check_resource(const struct profile_reader *reader, const struct resource_check *check)
{
    char path[48];
    snprintf(path, sizeof path, "engine.used.%s", check->name);
    if (check->used < check->needed)
        return profile_refuse(reader, path, "%llu, but the engine's pipelines and buffers take %llu",
                              (unsigned long long)check->used, (unsigned long long)check->needed);
    if (check->used * 100 > check->available * LARGEST_SHARE)
        return profile_refuse(reader, path, "%llu is more than %u %% of the %llu available",
                              (unsigned long long)check->used, LARGEST_SHARE, (unsigned long long)check->available);
    return 0;
}

static int check_engine(const struct profile_reader *reader, const struct card_profile *card)
{
    const struct engine_profile *engine = &card->engine;
    uint32_t channels = card_profile_channels(card);
    struct fpga_resources needed = matmul_cost(engine);
    needed.uram = (engine->weight_prefetch_bytes + engine->activation_bytes + URAM_BYTES - 1) / URAM_BYTES;
    const struct resource_check checks[] = {
        {"lut", engine->used.lut, card->available.lut, needed.lut},
        {"dsp", engine->used.dsp, card->available.dsp, needed.dsp},
        {"bram18", engine->used.bram18, card->available.bram18, needed.bram18},
        {"uram", engine->used.uram, card->available.uram, needed.uram},
    };
    if (engine->matmul_pipelines > channels)
        return profile_refuse(reader, "engine.matmul_pipelines", "%u, but the card has %u channels for them to read",
                              engine->matmul_pipelines, channels);
    if (engine->attention_pipelines > channels)
        return profile_refuse(reader, "engine.attention_pipelines", "%u, but the card has %u channels for them to read",
                              engine->attention_pipelines, channels);
    if (engine->tokens_per_pass < engine->tokens_per_word)
        return profile_refuse(reader, "engine.tokens_per_pass", "%u, less than the %u tokens_per_word",
                              engine->tokens_per_pass, engine->tokens_per_word);
    for (size_t i = 0; i < N_FIELDS(checks); i++) {
        int status = check_resource(reader, &checks[i]);
        if (status < 0) return status;
    }
    return 0;
}

static int check_memory(const struct profile_reader *reader, const struct card_profile *card, uint32_t index)
{
    const struct memory_profile *memory = &card->memory[index];
    char path[48];
    snprintf(path, sizeof path, "memory[%u].refresh_time", index);
    if (memory->refresh_ps * 2 > memory->refresh_interval_ps)
        return profile_refuse(reader, path, "%g ns of each %g ns: allowed is up to half of refresh_interval",
                              (double)memory->refresh_ps / 1e3, (double)memory->refresh_interval_ps / 1e3);
    snprintf(path, sizeof path, "memory[%u].kind", index);
    if (index > 0 && memory->kind == card->memory[0].kind)
        return profile_refuse(reader, path, "a second \"%s\"; equal channels are one memory",
                              memory_kind_name(memory->kind));
    return 0;
}

int card_profile_check(const struct profile_reader *reader, const struct card_profile *card)
{
    const struct port_profile *port = &card->port;
    if (card_profile_channels(card) > PROFILE_CHANNELS)
        return profile_refuse(reader, "memory", "%u channels together; allowed: up to %d", card_profile_channels(card),
                              PROFILE_CHANNELS);
    for (uint32_t i = 0; i < card->n_memories; i++) {
        int status = check_memory(reader, card, i);
        if (status < 0) return status;
    }
    if ((port->width_bits & (port->width_bits - 1)) != 0)
        return profile_refuse(reader, "port.width", "%u bits; allowed: 32, 64, 128, 256, 512, 1024", port->width_bits);
    if (port->width_bits / 8 * port->burst_beats > AXI_BORDER_BYTES)
        return profile_refuse(reader, "port.burst", "%u beats of %u bits are more than the %u bytes of a burst",
                              port->burst_beats, port->width_bits, AXI_BORDER_BYTES);
    return check_engine(reader, card);
}

/*
 * What a direction's pins carry: lanes at the generation's rate and encoding, and of each packet its payload beside 24 bytes
 * of header, sequence number and check sum (PCI Express Base Specification).
 */
static uint64_t link_bytes_per_s(const struct host_profile *host)
{
    static const uint64_t lane_bytes_per_s[] = {0, 250000000, 500000000, 984615385, 1969230769, 3938461538, 7563000000};
    if (host->pcie_lanes == 0) return UINT64_C(1000000000000); /* no PCIe: whatever its own bus has */
    return host->pcie_lanes * lane_bytes_per_s[host->pcie_generation] / (host->payload_bytes + 24) *
           host->payload_bytes;
}

static int check_rate(const struct profile_reader *reader, const char *path, uint64_t rate, uint64_t least,
                      uint64_t most)
{
    if (rate >= least && rate <= most) return 0;
    return profile_refuse(reader, path,
                          "%g GB/s; with the link and the other rates of this profile %g to %g are possible",
                          (double)rate / 1e9, (double)least / 1e9, (double)most / 1e9);
}

int host_profile_check(const struct profile_reader *reader, const struct host_profile *host)
{
    uint64_t link = link_bytes_per_s(host);
    uint64_t to = host->host_to_card_bytes_per_s, from = host->card_to_host_bytes_per_s;
    if ((host->pcie_lanes & (host->pcie_lanes - 1)) != 0)
        return profile_refuse(reader, "pcie_lanes", "%u; allowed: 0, 1, 2, 4, 8, 16", host->pcie_lanes);
    if ((host->pcie_lanes == 0) != (host->pcie_generation == 0))
        return profile_refuse(reader, "pcie_lanes", "pcie_generation and pcie_lanes are both 0 (one chip) or neither");
    int status = check_rate(reader, "host_to_card", to, 1, link);
    if (status >= 0) status = check_rate(reader, "card_to_host", from, 1, link);
    if (status >= 0)
        status = check_rate(reader, "both_ways", host->both_ways_bytes_per_s, to > from ? to : from, to + from);
    if (status >= 0 && host->bridge_bytes_per_s > 0)
        status = check_rate(reader, "bridge", host->bridge_bytes_per_s, 1, 2 * link);
    if (status < 0) return status;
    if (host->launch_again_ps > host->launch_ps)
        return profile_refuse(reader, "launch_again", "longer than launch, the first start of a command");
    if (host->transfer_both_ps < host->transfer_ps)
        return profile_refuse(reader, "transfer_both", "shorter than transfer, which has the host for itself");
    return 0;
}
