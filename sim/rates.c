/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/rates.h"

#include "sim/channel_model.h"

/* One of `per` in 2^40 / 2^20: how long it takes at `per` of them in 10^12 ps. */
static uint64_t q_of(uint64_t per_second)
{
    const unsigned __int128 ps = (unsigned __int128)UINT64_C(1000000000000) << 20;
    return (uint64_t)((ps + per_second - 1) / per_second);
}

void sim_rates_of(struct sim_rates *rates, const struct card_profile *card, const struct host_profile *host)
{
    const struct engine_profile *engine = &card->engine;
    *rates = (struct sim_rates){.card = *card, .host = *host, .channels = card_profile_channels(card)};
    rates->cycle_q = q_of(card->port.clock_mhz * UINT64_C(1000000));
    rates->dispatch = sim_cycles(rates, engine->dispatch_cycles);
    uint64_t all_bytes_per_s = 0;
    for (unsigned c = 0; c < rates->channels; c++) {
        const struct memory_profile *memory = card_profile_bank(card, c);
        struct sim_channel_rates *channel = &rates->channel[c];
        /* What a MiB takes is what a byte takes, times 2^20. */
        channel->stream_q = channel_ps_per_mib(memory, &card->port, 1);
        channel->scatter_q = channel_ps_per_mib(memory, &card->port, 2);
        channel->latency = memory->latency_ps;
        channel->cap = sim_rate(engine->weight_prefetch_bytes / rates->channels, channel->stream_q);
        channel->peak_bytes_per_s = memory->peak_bytes_per_s;
        channel->byte_fj = memory->energy_fj_per_byte;
        all_bytes_per_s += memory->peak_bytes_per_s;
    }
    /* A copy goes wherever its allocation lies; on average over all channels. */
    rates->link_share_q = (uint64_t)(((unsigned __int128)host->host_to_card_bytes_per_s << 20) / all_bytes_per_s);
}
