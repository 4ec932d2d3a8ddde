/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs card programs in this process with the arithmetic of kernels/README.md, bit for bit. A program must have passed
 * card_check (host/card/card_check.h): shapes, formats and operands are trusted here. What a program finds in card
 * memory is not: page numbers, experts, slot addresses and indexes are checked while it runs.
 */
#ifndef SLUICE_SIM_EXECUTOR_H
#define SLUICE_SIM_EXECUTOR_H

#include "host/base/error.h"
#include "kernels/abi/card_program.h"
#include "sim/account.h"
#include "sim/agent.h"
#include "sim/clock.h"
#include "sim/memory.h"

#include <stdbool.h>

struct sim_executor;

/*
 * threads as for pool_open. memory is borrowed until sim_close. simd: the name of a tile kernel (tile_kernels.h), NULL for the
 * fastest; ERROR_UNSUPPORTED if this processor or build has it not.
 */
int sim_open(unsigned threads, const char *simd, const struct sim_memory *memory, struct sim_executor **out,
             struct error *err);
void sim_close(struct sim_executor *executor); /* NULL is allowed */
unsigned sim_threads(const struct sim_executor *executor);
const char *sim_simd(const struct sim_executor *executor); /* static */

/*
 * From now on programs are charged to the clock, which is borrowed until sim_close (NULL: to none). timing_only: they are
 * checked, their tables read, and charged, but nothing is computed; ROUTER, TOP_K and INDEX write made-up choices
 * (made_up.h), so that what follows finds some.
 */
void sim_keep_time(struct sim_executor *executor, struct sim_clock *clock, bool timing_only);

/* Who answers PUBLISH from now on; NULL: whoever reads the mailbox. Copied. */
void sim_set_agent(struct sim_executor *executor, const struct card_agent *agent);

/*
 * Runs the program to its end and adds what it did to *account. ERROR_CARD names descriptor and table entry if a table
 * lies: descriptors before it have run, it and those after have not. ERROR_NO_MEMORY before anything has run if there
 * is no scratch memory. With a clock, sim_clock_begin comes before it and sim_clock_end after it.
 */
int sim_run(struct sim_executor *executor, const struct card_descriptor *program, unsigned n_descriptors,
            struct sim_account *account, struct error *err);

#endif
