/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for people, three digits that count and a unit: "14.9 GiB", "83.1 ms", "20.9 B". */
#ifndef SLUICE_PLAN_PLAN_NUMBER_H
#define SLUICE_PLAN_PLAN_NUMBER_H

#include <stdint.h>

struct number_text {
    char text[32];
};

struct number_text number_plain(double value);      /* "48.3", "1,234" */
struct number_text number_whole(uint64_t value);    /* "7", "32,768" */
struct number_text number_bytes(double bytes);      /* in KiB, MiB, GiB, TiB: memory */
struct number_text number_rate(double bytes_per_s); /* in GB/s of 10^9 */
struct number_text number_seconds(double seconds);  /* "83.1 ms", "2 min 5 s" */
struct number_text number_count(double count);      /* "20.9 B" of parameters */
struct number_text number_percent(double share);    /* "86 %" of 0.86; one decimal below 10 % */

#endif
