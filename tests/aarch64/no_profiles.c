/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitstreams/profiles without jansson, which a cross build has not: no profile opens, and what a card finds in one stays. Tests
 * that need a profile skip on ERROR_UNSUPPORTED.
 */
#include "bitstreams/profiles/profile.h"

#include <string.h>

int card_profile_open(const char *name, struct card_profile *out, struct error *err)
{
    (void)out;
    const int known = name[0] == 'u' || strcmp(name, "v80") == 0 || strcmp(name, "kv260") == 0;
    return error_set(err, known ? ERROR_UNSUPPORTED : ERROR_NOT_FOUND, "%s: this build reads no profiles", name);
}

int host_profile_open(const char *name, struct host_profile *out, struct error *err)
{
    (void)out;
    return error_set(err, ERROR_UNSUPPORTED, "%s: this build reads no profiles", name);
}

static const char *const no_names[] = {NULL};
const char *const *card_profile_names(void) { return no_names; }
const char *const *host_profile_names(void) { return no_names; }
