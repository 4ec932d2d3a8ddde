/* SPDX-License-Identifier: Apache-2.0 */
/* sluice probe: one micro-benchmark asked of the timing models alone, to hold against a measurement. */
#include "bitstreams/profiles/profile.h"
#include "host/cli/commands.h"
#include "sim/channel_model.h"
#include "sim/link_model.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MAX_BYTES (UINT64_C(1) << 50)
#define MAX_DEPTH 1000000000u
#define HBM_DDR_BYTES (UINT64_C(16) << 20) /* as axi_burst_performance of Vitis_Accel_Examples */
#define DMA_BYTES (UINT64_C(512) << 20)    /* as the longest copies of its host_global_bandwidth */
#define BRIDGE_BYTES (UINT64_C(8) << 20)   /* as host_memory_bandwidth_xrt at its best */
#define UNSET UINT32_MAX

enum probe_kind { PROBE_HBM, PROBE_DDR, PROBE_DMA, PROBE_LAUNCH, PROBE_BRIDGE, N_KINDS };
static const char *const kind_names[N_KINDS] = {"hbm", "ddr", "dma", "launch", "bridge"};

struct probe {
    const struct command *command;
    const char *card_name, *host_name, *kind_name, *direction_name;
    uint64_t bytes; /* UINT64_MAX: not given; of the others UNSET */
    uint32_t burst, outstanding, masters, channels, depth, clock, width;
    enum probe_kind kind;
    enum link_direction direction;
    struct card_profile card;
    struct host_profile host;
    uint64_t moved; /* bytes, of all masters or copies; result */
    uint64_t ps;
};

static int find_kind(struct probe *probe)
{
    for (int i = 0; probe->kind_name && i < N_KINDS; i++) {
        if (strcmp(probe->kind_name, kind_names[i]) != 0) continue;
        probe->kind = (enum probe_kind)i;
        return -1;
    }
    return usage_error(probe->command, "--kind %s: hbm, ddr, dma, launch or bridge expected",
                       probe->kind_name ? probe->kind_name : "is missing");
}

static int find_direction(struct probe *probe)
{
    static const char *const names[] = {"h2c", "c2h", "both"};
    for (int i = 0; i < 3; i++) {
        if (probe->direction_name && strcmp(probe->direction_name, names[i]) != 0) continue;
        probe->direction = (enum link_direction)i;
        return -1;
    }
    return usage_error(probe->command, "--direction %s: h2c, c2h or both expected", probe->direction_name);
}

/* Options that say nothing about this kind were meant for another. */
static int refuse_strangers(const struct probe *probe)
{
    bool memory = probe->kind == PROBE_HBM || probe->kind == PROBE_DDR;
    const char *stranger = NULL;
    if (!memory && probe->burst != UNSET) stranger = "burst";
    if (!memory && probe->outstanding != UNSET) stranger = "outstanding";
    if (!memory && probe->masters != UNSET) stranger = "masters";
    if (!memory && probe->channels != UNSET) stranger = "channels";
    if (!memory && probe->clock != UNSET) stranger = "clock";
    if (!memory && probe->width != UNSET) stranger = "width";
    if (probe->kind != PROBE_DMA && probe->direction_name) stranger = "direction";
    if (probe->kind == PROBE_LAUNCH && probe->bytes != UINT64_MAX) stranger = "bytes";
    if (probe->kind == PROBE_BRIDGE && probe->depth != UNSET) stranger = "depth";
    if (!stranger) return -1;
    return usage_error(probe->command, "--%s says nothing about --kind %s", stranger, kind_names[probe->kind]);
}

static int open_profiles(struct probe *probe)
{
    struct error err = {0};
    const char *const *names = card_profile_names();
    if (!probe->card_name)
        return usage_error(probe->command, "--card is missing: a profile, such as %s, or a profile's file", names[0]);
    int status = card_profile_open(probe->card_name, &probe->card, &err);
    if (status < 0) {
        if (status == ERROR_NOT_FOUND) return usage_error(probe->command, "--card: %s", err.text);
        return failure("probe: %s", err.text);
    }
    status = host_profile_open(probe->host_name ? probe->host_name : probe->card.host, &probe->host, &err);
    if (status >= 0) return -1;
    if (status == ERROR_NOT_FOUND) return usage_error(probe->command, "--host: %s", err.text);
    return failure("probe: %s", err.text);
}

static const struct memory_profile *find_memory(const struct probe *probe)
{
    enum memory_kind kind = probe->kind == PROBE_HBM ? MEMORY_HBM : MEMORY_DDR;
    for (uint32_t i = 0; i < probe->card.n_memories; i++) {
        if (probe->card.memory[i].kind == kind) return &probe->card.memory[i];
    }
    return NULL;
}

/* The runs of a queue of launches: each waits for the launch before it, or for the run. */
static uint64_t launched(const struct probe *probe, uint64_t run)
{
    const struct host_profile *host = &probe->host;
    uint64_t longer = run > host->launch_ps ? run : host->launch_ps;
    uint64_t total, all;
    if (__builtin_mul_overflow(longer, (uint64_t)probe->depth, &all) ||
        __builtin_add_overflow(all, host->launch_first_ps + (run < host->launch_ps ? run : host->launch_ps), &total))
        return UINT64_MAX;
    return total;
}

static int probe_memory(struct probe *probe)
{
    const struct memory_profile *memory = find_memory(probe);
    if (!memory)
        return usage_error(probe->command, "--kind %s: %s has none", kind_names[probe->kind], probe->card.name);
    struct port_profile port = probe->card.port;
    if (probe->burst != UNSET) port.burst_beats = probe->burst;
    if (probe->outstanding != UNSET) port.outstanding_reads = probe->outstanding;
    if (probe->clock != UNSET) port.clock_mhz = probe->clock;
    if (probe->width != UNSET) port.width_bits = probe->width;
    if ((port.width_bits & (port.width_bits - 1)) != 0)
        return usage_error(probe->command, "--width %u: 32, 64, 128, 256, 512 or 1024 expected", port.width_bits);
    /* DDR is measured port by port, HBM as a whole. */
    if (probe->channels == UNSET) probe->channels = probe->kind == PROBE_DDR ? 1 : memory->channels;
    if (probe->masters == UNSET) probe->masters = probe->channels;
    if (probe->channels > memory->channels)
        return usage_error(probe->command, "--channels %u: %s has %u of %s", probe->channels, probe->card.name,
                           memory->channels, kind_names[probe->kind]);
    if (probe->bytes == UINT64_MAX) probe->bytes = HBM_DDR_BYTES;
    if (probe->depth == UNSET) probe->depth = 0;
    const struct channel_load load = {probe->masters, probe->channels};
    probe->ps = channel_stream_ps(memory, &port, &load, probe->bytes);
    probe->moved = probe->bytes * probe->masters * (probe->depth ? probe->depth : 1);
    if (probe->depth) probe->ps = launched(probe, probe->ps);
    return -1;
}

static int probe_link(struct probe *probe)
{
    const struct host_profile *host = &probe->host;
    if (probe->kind == PROBE_LAUNCH) {
        if (probe->depth == UNSET) probe->depth = 1;
        if (probe->depth == 0) return usage_error(probe->command, "--depth 0: a launch at least is expected");
        probe->bytes = 0;
        probe->ps = link_launches_ps(host, probe->depth);
        return -1;
    }
    if (probe->kind == PROBE_BRIDGE) {
        if (host->bridge_bytes_per_s == 0)
            return usage_error(probe->command, "--kind bridge: host %s has no host-memory bridge", host->name);
        if (probe->bytes == UINT64_MAX) probe->bytes = BRIDGE_BYTES;
        probe->ps = link_bridge_ps(host, probe->bytes);
        probe->moved = 2 * probe->bytes;
        return -1;
    }
    if (probe->bytes == UINT64_MAX) probe->bytes = DMA_BYTES;
    if (probe->depth == UNSET) probe->depth = 0;
    probe->ps = probe->depth ? link_copies_ps(host, probe->direction, probe->bytes, probe->depth)
                             : link_copy_ps(host, probe->direction, false, probe->bytes);
    probe->moved = probe->bytes * (probe->direction == LINK_BOTH_WAYS ? 2 : 1) * (probe->depth ? probe->depth : 1);
    return -1;
}

static int print(const struct probe *probe)
{
    static const char *const directions[] = {"h2c", "c2h", "both"};
    double us = (double)probe->ps / 1e6;
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:I, s:I}", "name", "probe", "card", probe->card.name, "host",
                  probe->host.name, "kind", kind_names[probe->kind], "gb_per_s", (double)probe->moved / 1e3 / us, "us",
                  us, "ps", (json_int_t)probe->ps, "bytes", (json_int_t)probe->bytes);
    if (probe->kind == PROBE_HBM || probe->kind == PROBE_DDR) {
        json_object_set_new(line, "masters", json_integer(probe->masters));
        json_object_set_new(line, "channels", json_integer(probe->channels));
    }
    if (probe->kind == PROBE_DMA) json_object_set_new(line, "direction", json_string(directions[probe->direction]));
    if (probe->kind != PROBE_BRIDGE) json_object_set_new(line, "depth", json_integer(probe->depth));
    if (probe->kind == PROBE_LAUNCH) json_object_set_new(line, "launches_per_s", json_real(probe->depth * 1e6 / us));
    int failed = json_dumpf(line, stdout, JSON_REAL_PRECISION(9));
    json_decref(line);
    putchar('\n');
    return failed ? failure("probe: cannot write the result") : EXIT_DONE;
}

/* What no command line may make overflow: all masters and copies together. */
static int check_total(const struct probe *probe)
{
    unsigned __int128 total = probe->bytes == UINT64_MAX ? 0 : probe->bytes;
    total *= probe->masters == UNSET ? PROFILE_CHANNELS : probe->masters;
    total *= probe->depth == UNSET || probe->depth == 0 ? 2 : 2 * (unsigned __int128)probe->depth;
    if (total <= UINT64_MAX / 2) return -1;
    return usage_error(probe->command, "--bytes of all masters and launches together are more than can be counted");
}

static int answer(struct probe *probe)
{
    int status = find_kind(probe);
    if (status < 0) status = find_direction(probe);
    if (status < 0) status = refuse_strangers(probe);
    if (status < 0) status = check_total(probe);
    if (status < 0) status = open_profiles(probe);
    if (status < 0)
        status = probe->kind == PROBE_HBM || probe->kind == PROBE_DDR ? probe_memory(probe) : probe_link(probe);
    if (status >= 0) return status;
    if (probe->ps == UINT64_MAX || probe->ps == 0)
        return usage_error(probe->command, "that takes longer than can be counted");
    return print(probe);
}

static int run(const struct command *self, int argc, char **argv)
{
    struct probe probe = {.command = self,
                          .bytes = UINT64_MAX,
                          .burst = UNSET,
                          .outstanding = UNSET,
                          .masters = UNSET,
                          .channels = UNSET,
                          .depth = UNSET,
                          .clock = UNSET,
                          .width = UNSET};
    bool json = false;
    const struct option table[] = {
        {"card", 0, OPTION_TEXT, &probe.card_name, "PROFILE", "the card: a profile's name, or its file", 0, 0},
        {"host", 0, OPTION_TEXT, &probe.host_name, "NAME", "the host it is in (the card profile's own)", 0, 0},
        {"kind", 0, OPTION_TEXT, &probe.kind_name, "K", "hbm, ddr, dma, launch or bridge", 0, 0},
        {"bytes", 0, OPTION_U64, &probe.bytes, "N", "of each master's buffer, or of a copy", 1, (double)MAX_BYTES},
        {"burst", 0, OPTION_U32, &probe.burst, "N", "beats of a read burst (cut at 4 KiB)", 1, 256},
        {"outstanding", 0, OPTION_U32, &probe.outstanding, "N", "bursts asked for and not yet back", 1, 1024},
        {"masters", 0, OPTION_U32, &probe.masters, "N", "that read at once (one a channel)", 1, 4096},
        {"channels", 0, OPTION_U32, &probe.channels, "N", "that they read from (hbm: all; ddr: 1)", 1,
         PROFILE_CHANNELS},
        {"depth", 0, OPTION_U32, &probe.depth, "N", "launches or copies queued; hbm, ddr: runs timed by the host", 0,
         MAX_DEPTH},
        {"direction", 0, OPTION_TEXT, &probe.direction_name, "D", "h2c, c2h or both (h2c)", 0, 0},
        {"clock", 0, OPTION_U32, &probe.clock, "MHZ", "of the kernel's port", 1, 2000},
        {"width", 0, OPTION_U32, &probe.width, "BITS", "of the kernel's port", 32, 1024},
        {"json", 0, OPTION_FLAG, &json, NULL, "one JSON object, which it is anyway", 0, 0},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, NULL, 0, &n_operands);
    return status >= 0 ? status : answer(&probe);
}

const struct command command_probe = {
    .name = "probe",
    .synopsis = "--card PROFILE --kind hbm/ddr/dma/launch/bridge [options]",
    .summary = "what the clock says of one micro-benchmark",
    .details = "hbm, ddr: masters read a buffer each; burst, outstanding, clock and width are the profile's\n"
               "unless given. The time is the kernel's, as by a counter in it; with --depth N it is the\n"
               "host's, of N launches of that kernel.\n"
               "dma: one copy of a long queue; with --depth N, N copies from asking to knowing the end.\n"
               "launch: --depth N empty kernels queued. bridge: a kernel reads and writes host memory.\n"
               "Prints {\"gb_per_s\":..., \"us\":..., ...}: all bytes moved, and the time of it all.\n"
               "Three buffers of 4 MiB in one pseudo-channel, one run timed by the host (hbm_simple_xrt of\n"
               "Vitis_Accel_Examples): --card u50 --kind hbm --masters 3 --channels 1 --bytes 4194304 --depth 1",
    .run = run,
};
