/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual clock of a simulated card: begin and end of every copy and every descriptor, from the resources that they
 * use and what they depend on. Discrete events in integers of picoseconds, so that two runs give the same times, on any
 * machine and with any number of threads; nothing here reads a clock of this machine.
 *
 * Copies. One at a time in each direction of the link (link_model.h), in order of the calls, each after its events.
 *
 * Programs. One at a time, in order. A program's descriptors are copied to the card, it is launched, and descriptors are
 * dispatched in order. A descriptor begins when the dispatcher has come to it, its unit is free, descriptors before it
 * have begun, and those still at work that write what it reads, or read or write what it writes, have ended. So units
 * overlap where operands do not depend on each other, and the matmul array loads one matrix's activations and empties itself
 * of another's sums while the words of the one between them go by.
 *
 * Memory. Every channel does one thing at a time and remembers until when. Weights are streamed: while its units work on
 * something else, an idle channel reads ahead the next matrices of the program into its share of the on-chip memory, those
 * of experts from the end of their ROUTER on. What was read ahead need not be read when its descriptor begins. This is kept
 * as a level for each channel (the time of its work that has been done ahead), not as a queue. Pages, states and
 * activations that do not fit on chip are read and written when their descriptor works.
 *
 * The host. It has one thread, whose time is sim_clock_now: calls that wait move it on, submissions cost what the profile
 * says, sim_clock_spend adds to it. A second thread that serves PUBLISH and AWAIT of a running program has a time of its
 * own: it learns of a PUBLISH when it can have read it, its copies wait for each other, and AWAIT ends when the slots of its
 * experts were written. Its calls may overlap the others.
 */
#ifndef SLUICE_SIM_CLOCK_H
#define SLUICE_SIM_CLOCK_H

#include "bitstreams/profiles/profile.h"
#include "host/base/error.h"
#include "sim/account.h"
#include "sim/step.h"
#include "sim/timeline.h"

#include <stdint.h>

struct sim_clock;

/* What calls before it gave, and is to be complete first; 0 is complete. */
struct sim_clock_order {
    uint64_t event; /* the call's own number; they ascend */
    const uint64_t *after;
    unsigned n_after;
};

enum sim_clock_copy { SIM_CLOCK_WRITE, SIM_CLOCK_READ };

/* The profiles are copied. *out: sim_clock_close. */
int sim_clock_open(const struct card_profile *card, const struct host_profile *host, struct sim_clock **out,
                   struct error *err);
void sim_clock_close(struct sim_clock *clock); /* NULL is allowed */

uint64_t sim_clock_now(const struct sim_clock *clock);
int sim_clock_spend(struct sim_clock *clock, uint64_t ps, struct error *err);
int sim_clock_idle(struct sim_clock *clock, uint64_t until_ps, struct error *err);

/* A copy of bytes at address of card memory. ERROR_NO_MEMORY if its end cannot be remembered. */
int sim_clock_copy(struct sim_clock *clock, enum sim_clock_copy direction, const struct sim_clock_order *order,
                   card_addr address, uint64_t bytes, struct error *err);

/*
 * A program, which is borrowed until its end: begin, each descriptor whose tables are good (they are read now, times are
 * found later), end (also of one that failed on its way).
 */
int sim_clock_begin(struct sim_clock *clock, const struct sim_clock_order *order, const struct card_descriptor *program,
                    unsigned n_descriptors, struct error *err);
void sim_clock_run(struct sim_clock *clock, const struct sim_step *step, const struct sim_work *work,
                   unsigned descriptor);
/* Behind an AWAIT: descriptors before `next` do not run. */
void sim_clock_pass_over(struct sim_clock *clock, unsigned next);
void sim_clock_end(struct sim_clock *clock);

/* When the event ended or will; 0 for one that was complete at the host's present time already. */
uint64_t sim_clock_event_end(const struct sim_clock *clock, uint64_t event);

/* The host waits for the event. */
void sim_clock_wait(struct sim_clock *clock, uint64_t event);

/* Since open; host/card/card.h says what the fields of struct card_usage of these names are. */
struct sim_clock_usage {
    uint64_t now, cycles, waits, elsewhere, clock_hz;
    uint64_t host_to_card, card_to_host; /* bytes per second of long copies */
    uint64_t busy[TIMELINE_RESOURCES];
    uint64_t energy_nj[TIMELINE_ENERGIES];
    unsigned channels;
    uint64_t channel_busy[PROFILE_CHANNELS], channel_bytes[PROFILE_CHANNELS], channel_peak[PROFILE_CHANNELS];
};
void sim_clock_measure(const struct sim_clock *clock, struct sim_clock_usage *usage);

/* NULL: events go nowhere. */
void sim_clock_trace(struct sim_clock *clock, const struct timeline_sink *sink);

#endif
