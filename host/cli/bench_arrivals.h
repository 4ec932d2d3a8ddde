/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice bench --arrivals: requests that arrive at given moments of a card's virtual time, through the engine as it
 * serves. Nothing in it depends on this machine or the number of threads: the same file gives the same bytes.
 */
#ifndef SLUICE_CLI_BENCH_ARRIVALS_H
#define SLUICE_CLI_BENCH_ARRIVALS_H

#include "host/cli/arrivals.h"
#include "host/cli/session.h"

/*
 * Runs all of them and prints a JSON line for each, in order of arrival, and one with percentiles. A request's tokens are
 * made up, its prefix is computed, end tokens do not end it. hash: of the model's file, or NULL. ERROR_UNSUPPORTED on a card
 * without a clock; ERROR_TOO_LARGE names the line of a request that the context cannot hold. After an error session->engine
 * may be NULL.
 */
int bench_arrivals(struct session *session, const struct arrivals *arrivals, const char *hash, struct error *err);

#endif
