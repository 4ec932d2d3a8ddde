/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs moved and multiplied, exactly, from shapes and tables alone: the same numbers on every backend. The
 * virtual clock (clock.h) charges time for them.
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

/* The same of one descriptor, and what its time depends on. */
struct sim_work {
    uint64_t weight_bytes, kv_bytes, multiply_adds;
    uint64_t positions; /* of ATTENTION and INDEX: seen, summed over the tokens */
    uint64_t states;    /* of SCAN and CONV: read or written */
    uint32_t experts;   /* of EXPERT_MATMUL: that at least one token chose */
    uint64_t rows;      /* of it: choices that name an expert */
};

/* Of a descriptor whose tables have passed sim_step_check. */
struct sim_work sim_work_of(const struct sim_step *step);

void sim_account_add(struct sim_account *account, const struct sim_work *work);

#endif
