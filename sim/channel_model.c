/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/channel_model.h"

#define MIB (UINT64_C(1) << 20)
#define PS_PER_S UINT64_C(1000000000000)

typedef unsigned __int128 wide;

static uint64_t divide_up(wide a, wide b)
{
    wide quotient = (a + b - 1) / b;
    return quotient > UINT64_MAX ? UINT64_MAX : (uint64_t)quotient;
}

/* Longer by the time in which the channel refreshes itself. */
static uint64_t with_refresh(const struct memory_profile *memory, uint64_t ps)
{
    return divide_up((wide)ps * memory->refresh_interval_ps, memory->refresh_interval_ps - memory->refresh_ps);
}

/* A burst of the port, cut at the 4 KB border. */
static uint64_t burst_bytes(const struct port_profile *port)
{
    uint64_t beats = port->burst_beats < AXI_BURST_BEATS ? port->burst_beats : AXI_BURST_BEATS;
    uint64_t bytes = beats * port->width_bits / 8;
    return bytes < AXI_BURST_BYTES ? bytes : AXI_BURST_BYTES;
}

static uint64_t port_ps_per_mib(const struct memory_profile *memory, const struct port_profile *port)
{
    uint64_t beats = divide_up((wide)MIB * 8 * 1000000, (wide)port->width_bits * port->clock_mhz); /* 1e6 ps a us */
    return with_refresh(memory, beats + 1024 * memory->stall_ps_per_kib);
}

static uint64_t shared_ps_per_mib(const struct memory_profile *memory, const struct port_profile *port,
                                  uint32_t masters)
{
    uint64_t pins = divide_up((wide)MIB * PS_PER_S, memory->peak_bytes_per_s);
    uint64_t changes = divide_up((wide)MIB * memory->switch_ps * (masters - 1), (wide)masters * burst_bytes(port));
    return with_refresh(memory, pins + 1024 * memory->stall_ps_per_kib + changes);
}

uint64_t channel_ps_per_mib(const struct memory_profile *memory, const struct port_profile *port, uint32_t masters)
{
    uint64_t ports = divide_up(port_ps_per_mib(memory, port), masters);
    uint64_t shared = shared_ps_per_mib(memory, port, masters);
    return ports > shared ? ports : shared;
}

uint64_t channel_ps(uint64_t bytes, uint64_t ps_per_mib) { return divide_up((wide)bytes * ps_per_mib, MIB); }

uint64_t channel_bytes_per_s(const struct memory_profile *memory, const struct port_profile *port, uint32_t masters)
{
    return (uint64_t)((wide)MIB * PS_PER_S / channel_ps_per_mib(memory, port, masters));
}

/* bytes of one master, whose bursts take their turn on a channel with others. */
static uint64_t master_ps(const struct memory_profile *memory, const struct port_profile *port, uint32_t sharing,
                          uint64_t bytes)
{
    uint64_t burst = burst_bytes(port), outstanding = port->outstanding_reads;
    uint64_t turn = channel_ps((uint64_t)sharing * burst, channel_ps_per_mib(memory, port, sharing));
    uint64_t round = outstanding * turn; /* of as many bursts as may be asked for */
    if (round < memory->latency_ps + turn) round = memory->latency_ps + turn;
    uint64_t bursts = bytes / burst + (bytes % burst != 0);
    uint64_t missing = bursts * burst - bytes; /* of the last one */
    if (bursts == 0) return 0;
    wide ps = (wide)((bursts - 1) / outstanding) * round + memory->latency_ps +
              (wide)((bursts - 1) % outstanding + 1) * turn - (wide)turn * missing / burst;
    return ps > UINT64_MAX ? UINT64_MAX : (uint64_t)ps;
}

uint64_t channel_stream_ps(const struct memory_profile *memory, const struct port_profile *port,
                           const struct channel_load *load, uint64_t bytes)
{
    uint32_t sharing = load->masters / load->channels + (load->masters % load->channels != 0);
    if (load->masters < load->channels) /* a share on each of its channels; the largest one ends last */
        bytes = divide_up((wide)bytes * load->masters, load->channels);
    return master_ps(memory, port, sharing, bytes);
}

void channel_occupy(struct channel *channel, uint64_t ready, uint64_t bytes, uint64_t ps_per_mib, uint64_t *begin,
                    uint64_t *end)
{
    *begin = ready > channel->busy_until ? ready : channel->busy_until;
    *end = *begin + channel_ps(bytes, ps_per_mib);
    channel->busy_until = *end;
}
