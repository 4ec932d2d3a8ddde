/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the engine over card memory, by the fast executors or by the code of kernels/hls. */
#ifndef SLUICE_SIM_XRT_ENGINE_RUN_H
#define SLUICE_SIM_XRT_ENGINE_RUN_H

#include "sim/engine_status.h"
#include "sim/xrt/engine_unit.h"

/* What the argument registers say: addresses in card memory. */
struct engine_arguments {
    uint64_t program, extents, status, bank[ENGINE_UNIT_BANKS];
    uint32_t n_descriptors, n_extents;
};

struct engine_runner;

int engine_runner_open(const struct engine_unit_settings *settings, const struct card_space *space,
                       struct engine_runner **out, struct error *err);
void engine_runner_close(struct engine_runner *runner); /* NULL is allowed */

/* Runs it and writes the status where the arguments say. Whatever they say, nothing outside card memory is touched. */
void engine_runner_run(struct engine_runner *runner, const struct engine_arguments *arguments,
                       struct engine_status *status);

#endif
