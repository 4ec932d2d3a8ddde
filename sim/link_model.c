/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/link_model.h"

#define PS_PER_S UINT64_C(1000000000000)
#define PAGE_BYTES 4096u

typedef unsigned __int128 wide;

static uint64_t fit(wide ps) { return ps > UINT64_MAX ? UINT64_MAX : (uint64_t)ps; }
static uint64_t divide_up(wide a, wide b) { return fit((a + b - 1) / b); }

static uint64_t at_rate(uint64_t bytes, uint64_t bytes_per_s) { return divide_up((wide)bytes * PS_PER_S, bytes_per_s); }

static uint64_t set_up_and_transfer(const struct host_profile *host, uint64_t set_up, uint64_t transfer)
{
    uint64_t longer = set_up > transfer ? set_up : transfer, shorter = set_up > transfer ? transfer : set_up;
    return fit((wide)longer + divide_up((wide)shorter * host->transfer_serial, 100));
}

static uint64_t one_way(const struct host_profile *host, enum link_direction direction, uint64_t set_up, uint64_t bytes)
{
    uint64_t rate = direction == LINK_HOST_TO_CARD ? host->host_to_card_bytes_per_s : host->card_to_host_bytes_per_s;
    return set_up_and_transfer(host, set_up, at_rate(bytes, rate));
}

uint64_t link_copy_ps(const struct host_profile *host, enum link_direction direction, bool both_ways, uint64_t bytes)
{
    if (direction != LINK_BOTH_WAYS)
        return one_way(host, direction, both_ways ? host->transfer_both_ps : host->transfer_ps, bytes);
    uint64_t to = one_way(host, LINK_HOST_TO_CARD, host->transfer_both_ps, bytes);
    uint64_t from = one_way(host, LINK_CARD_TO_HOST, host->transfer_both_ps, bytes);
    uint64_t together = divide_up((wide)bytes * 2 * PS_PER_S, host->both_ways_bytes_per_s);
    uint64_t longer = to > from ? to : from;
    return longer > together ? longer : together;
}

uint64_t link_copies_ps(const struct host_profile *host, enum link_direction direction, uint64_t bytes, uint64_t copies)
{
    return fit((wide)link_copy_ps(host, direction, false, bytes) * copies + host->transfer_first_ps);
}

uint64_t link_launches_ps(const struct host_profile *host, uint64_t launches)
{
    uint64_t first = launches < host->launch_commands ? launches : host->launch_commands;
    return fit((wide)host->launch_first_ps + (wide)first * host->launch_ps +
               (wide)(launches - first) * host->launch_again_ps);
}

uint64_t link_bridge_ps(const struct host_profile *host, uint64_t bytes)
{
    if (host->bridge_bytes_per_s == 0) return UINT64_MAX;
    uint64_t stream =
        fit((wide)host->bridge_first_ps + divide_up((wide)bytes * 2 * PS_PER_S, host->bridge_bytes_per_s));
    uint64_t pages = divide_up((wide)bytes * host->bridge_page_ps, PAGE_BYTES);
    return pages < stream ? pages : stream;
}

void link_occupy(struct link *link, const struct host_profile *host, enum link_direction direction, uint64_t ready,
                 uint64_t bytes, uint64_t *begin, uint64_t *end)
{
    uint64_t busy_until = link->busy_until[direction];
    bool both_ways = link->busy_until[!direction] > ready;
    *begin = ready >= busy_until ? ready + host->transfer_first_ps : busy_until;
    *end = *begin + link_copy_ps(host, direction, both_ways, bytes);
    link->busy_until[direction] = *end;
}
