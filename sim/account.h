/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs moved and multiplied, exactly, from shapes and tables alone: the same numbers on every backend. The
 * virtual clock will charge time for them; until it exists nothing here counts cycles.
 */
#ifndef SLUICE_SIM_ACCOUNT_H
#define SLUICE_SIM_ACCOUNT_H

#include "sim/step.h"

#include <stdint.h>

struct sim_account {
    uint64_t descriptors;
    uint64_t weight_bytes;  /* matrices read, each once per descriptor; of experts only those chosen */
    uint64_t kv_bytes;      /* written by KV_WRITE; of the positions that tokens see, by ATTENTION keys and values
                               (LATENT: keys), by INDEX keys; with their scales. States of SCAN and CONV, read and
                               written once for neighbouring tokens that share one; one that starts is not read */
    uint64_t multiply_adds; /* of MATMUL and EXPERT_MATMUL without padding; of ATTENTION: scores and weighted sums; of
                               INDEX: scores and their sum over the heads; of SCAN: three for each element of a
                               state; of CONV: its width */
};

/* Adds one descriptor whose tables have passed sim_step_check. */
void sim_account_add(struct sim_account *account, const struct sim_step *step);

#endif
