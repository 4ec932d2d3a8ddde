/* SPDX-License-Identifier: Apache-2.0 */
/* What stands after the colon of "sim:u55c,host=gen4x8,timing" or "sim:banks=4,simd=avx2". */
#ifndef SLUICE_CARD_CARD_SIM_SETTINGS_H
#define SLUICE_CARD_CARD_SIM_SETTINGS_H

#include "host/base/error.h"

#include <stdbool.h>

struct sim_settings {
    char profile[256]; /* name or path; empty: no clock */
    char host[256];    /* name or path; empty: the profile's */
    char simd[16];     /* empty: the fastest */
    unsigned banks;    /* left alone unless named */
    unsigned abi;      /* 0: this release's */
    bool timing;       /* nothing is computed */
};

/* text: what follows the colon. ERROR_NOT_FOUND says what is allowed. */
int sim_settings_read(const char *text, struct sim_settings *settings, struct error *err);

#endif
