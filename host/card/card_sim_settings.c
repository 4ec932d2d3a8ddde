/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card_sim_settings.h"

#include "host/card/card.h"

#include <stdlib.h>
#include <string.h>

static bool read_number(const char *text, size_t length, unsigned least, unsigned most, unsigned *number)
{
    if (length == 0 || text[0] < '0' || text[0] > '9') return false;
    char *end;
    const unsigned long n = strtoul(text, &end, 10);
    *number = n <= most ? (unsigned)n : 0;
    return end == text + length && n >= least && n <= most;
}

/* Copies what is not empty and fits. */
static bool read_text(const char *text, size_t length, char *to, size_t size)
{
    if (length == 0 || length >= size) return false;
    memcpy(to, text, length);
    to[length] = '\0';
    return true;
}

static bool begins(const char *text, size_t length, const char *name)
{
    return length >= strlen(name) && strncmp(text, name, strlen(name)) == 0;
}

/* One setting; false if there is no such setting. The first may be a profile's name. */
static bool read_setting(const char *text, size_t length, bool first, struct sim_settings *settings)
{
    if (begins(text, length, "banks=")) return read_number(text + 6, length - 6, 1, CARD_MAX_BANKS, &settings->banks);
    if (begins(text, length, "abi="))
        return read_number(text + 4, length - 4, CARD_ABI_OLDEST, CARD_ABI_VERSION, &settings->abi);
    if (begins(text, length, "simd=")) return read_text(text + 5, length - 5, settings->simd, sizeof settings->simd);
    if (begins(text, length, "host=")) return read_text(text + 5, length - 5, settings->host, sizeof settings->host);
    if (length == 6 && begins(text, length, "timing")) return settings->timing = true;
    return first && !memchr(text, '=', length) && read_text(text, length, settings->profile, sizeof settings->profile);
}

int sim_settings_read(const char *text, struct sim_settings *settings, struct error *err)
{
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        if (!read_setting(at, length, at == text, settings))
            return error_set(
                err, ERROR_NOT_FOUND,
                "card sim:%s: sim, or sim: with banks=N (1 to %d), simd=NAME and abi=N (%u to %u) after it, or "
                "sim:PROFILE with host=NAME, timing, simd=NAME and abi=N after that, comma between, expected",
                text, CARD_MAX_BANKS, CARD_ABI_OLDEST, CARD_ABI_VERSION);
        at += length;
        if (!*at) break;
    }
    if (settings->profile[0] || (!settings->host[0] && !settings->timing)) return 0;
    return error_set(err, ERROR_NOT_FOUND,
                     "card sim:%s: %s needs a profile before it: sim:PROFILE,%s, with PROFILE a name or a file", text,
                     settings->timing ? "timing" : "host=", settings->timing ? "timing" : "host=NAME");
}
