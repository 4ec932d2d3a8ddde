/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What streaming experts did between two moments, for bench and run --stats: hits, misses, bytes, and the time that
 * programs stood still for them, in the card's time and in real time. Layers are counted since loading.
 */
#ifndef SLUICE_CLI_EXPERTS_REPORT_H
#define SLUICE_CLI_EXPERTS_REPORT_H

#include "host/experts/experts.h"

#include <jansson.h>
#include <stdio.h>

struct experts_window {
    bool streams; /* the rest is 0 if not */
    struct experts_traffic traffic;
    struct experts_times times;
    bool guesses;
    struct experts_guessed guessed[EXPERTS_GUESSES];
};

/* Between these two the window holds what was before it, then what was in it. */
void experts_window_begin(struct loaded_model *loaded, struct experts_window *window);
void experts_window_end(struct loaded_model *loaded, struct experts_window *window);

/* Sets experts of line: an object, null where none stream. False if it could not. */
bool experts_set_json(const struct loaded_model *loaded, const struct experts_window *window, json_t *line);

/* A line for all layers and one for each. Nothing where none stream. */
void experts_print(const struct loaded_model *loaded, const struct experts_window *window, FILE *stream);

#endif
