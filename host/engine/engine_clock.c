/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/engine_clock.h"

#include <time.h>

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void engine_clock_open(struct engine_clock *clock, struct card *card)
{
    uint64_t now;
    const bool keeps_time = card_now(card, &now, NULL) == 0;
    *clock = (struct engine_clock){.card = keeps_time ? card : NULL, .started_ns = keeps_time ? 0 : wall_ns()};
}

uint64_t engine_clock_now(const struct engine_clock *clock)
{
    uint64_t now = 0;
    if (!clock->card) return (wall_ns() - clock->started_ns) * 1000u;
    (void)card_now(clock->card, &now, NULL); /* it did when the clock was opened, and a clock stays */
    return now;
}
