/* SPDX-License-Identifier: Apache-2.0 */
#include "host/plan/plan_number.h"

#include <math.h>
#include <stdio.h>

/* Digits after the point that make three which count. */
static int decimals(double value)
{
    double size = fabs(value);
    return size < 0.0095 ? 4 : size < 0.995 ? 3 : size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
}

/* Whole numbers of four digits and more, with a comma between thousands. */
static struct number_text grouped(double value)
{
    struct number_text plain, out;
    int length = snprintf(plain.text, sizeof plain.text, "%.0f", value), used = 0;
    for (int i = 0; i < length && used + 2 < (int)sizeof out.text; i++) {
        int left = length - i;
        if (i > 0 && left % 3 == 0 && plain.text[i - 1] != '-') out.text[used++] = ',';
        out.text[used++] = plain.text[i];
    }
    out.text[used] = '\0';
    return out;
}

struct number_text number_whole(uint64_t value) { return grouped((double)value); }

struct number_text number_plain(double value)
{
    struct number_text out;
    if (!isfinite(value) || fabs(value) >= 1e15) {
        snprintf(out.text, sizeof out.text, "%.3g", value);
        return out;
    }
    if (fabs(value) >= 999.5) return grouped(value);
    snprintf(out.text, sizeof out.text, "%.*f", fabs(value) < 1e-9 ? 0 : decimals(value), value);
    return out;
}

static struct number_text with_unit(double value, const char *unit)
{
    struct number_text out, number = number_plain(value);
    snprintf(out.text, sizeof out.text, "%.20s %s", number.text, unit);
    return out;
}

/* value in the largest unit of which it is at least one; units[0] is that of 1. */
static struct number_text scaled(double value, double step, const char *const *units, unsigned n_units)
{
    unsigned i = 0;
    while (i + 1 < n_units && fabs(value) >= 0.9995 * step) {
        value /= step;
        i++;
    }
    return with_unit(value, units[i]);
}

struct number_text number_bytes(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return scaled(bytes, 1024, units, sizeof units / sizeof units[0]);
}

struct number_text number_rate(double bytes_per_s) { return with_unit(bytes_per_s / 1e9, "GB/s"); }

struct number_text number_seconds(double seconds)
{
    if (seconds >= 120) {
        struct number_text out;
        double minutes = floor(seconds / 60);
        if (minutes >= 180) return with_unit(seconds / 3600, "h");
        snprintf(out.text, sizeof out.text, "%.0f min %.0f s", minutes, floor(seconds - 60 * minutes));
        return out;
    }
    if (seconds >= 0.9995) return with_unit(seconds, "s");
    static const char *const units[] = {"ns", "µs", "ms"};
    return scaled(seconds * 1e9, 1000, units, sizeof units / sizeof units[0]);
}

struct number_text number_count(double count)
{
    static const char *const units[] = {"", "K", "M", "B", "T"};
    return scaled(count, 1000, units, sizeof units / sizeof units[0]);
}

struct number_text number_percent(double share)
{
    struct number_text out;
    double percent = 100 * share;
    snprintf(out.text, sizeof out.text, "%.*f %%", percent < 9.95 && percent >= 0.05 ? 1 : 0, percent);
    return out;
}
