/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a card did between two moments: counts, and on a card with a virtual clock also time, how busy each of its resources
 * was, and energy. bench, run --stats and --arrivals print the same figures from it.
 *
 * Utilisation is busy time over time; that of memory is the mean over its channels. The limiting resource is the one that
 * is busy most, memory by its busiest channel. Energy is the board's, without the host's.
 */
#ifndef SLUICE_CLI_USAGE_REPORT_H
#define SLUICE_CLI_USAGE_REPORT_H

#include "host/card/card_list.h"
#include "host/model/model.h"

#include <jansson.h>
#include <stdio.h>

struct usage_window {
    struct card_counters counters;
    struct card_usage usage;
    bool has_clock; /* usage is known */
};

/* The name of the profile that its clock goes by; NULL without a clock. */
const char *card_profile(const struct card_info *info);

/* Between these two the window holds what was before it, then what was in it. */
void usage_begin(const struct card *card, struct usage_window *window);
void usage_end(const struct card *card, struct usage_window *window);

/*
 * The same of several cards. all: of one card what it did; of several the sum of counts and energy, the first one's time
 * (which all have at the end of a step), the mean of busy times and the busiest of channels.
 */
struct usage_cards {
    struct usage_window all;
    unsigned n;
    struct usage_window card[CARD_LIST_MOST];
};
void usage_cards_begin(const struct card_list *cards, struct usage_cards *usage);
void usage_cards_end(const struct card_list *cards, struct usage_cards *usage);

/* A line or an object for each of several cards, nothing of one: its layers, what it did, and what it waited for others. */
void usage_cards_print(const struct card_list *cards, const struct loaded_model *loaded,
                       const struct usage_cards *usage, FILE *stream);
bool usage_cards_set_json(const struct card_list *cards, const struct loaded_model *loaded,
                          const struct usage_cards *usage, json_t *line);

double usage_seconds(const struct usage_window *window);                        /* 0 without a clock */
double usage_joules(const struct usage_window *window);                         /* of the board */
double usage_utilisation(const struct usage_window *window, unsigned resource); /* enum timeline_resource; 0 to 1 */
unsigned usage_limiting(const struct usage_window *window);                     /* enum timeline_resource */

/* Bytes that the limiting resource moved over what it could; of memory, where neither direction of the link limits. */
double usage_bandwidth_fraction(const struct usage_window *window);

/*
 * Sets picoseconds_virtual (exact), tokens_per_s_virtual, j_per_token, watts, bandwidth_fraction, limiting_resource,
 * utilisation and energy_j of line: null without a clock. False if it could not.
 */
bool usage_set_json(const struct usage_window *window, uint64_t tokens, json_t *line);

/* Two lines for people: speed, energy and power for so many tokens; utilisation. Nothing without a clock. */
void usage_print(const struct usage_window *window, uint64_t tokens, FILE *stream);

#endif
