/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapped files that somebody makes shorter: reading what is gone raises SIGBUS, which would end the process. Here it ends the
 * file instead: the page that is gone reads as zeros, and its mapping is known to have shrunk, which whoever uses what was read
 * asks for. Signals belong to the process, so the table of mappings does, too: the one such state in this house.
 */
#ifndef SLUICE_BASE_MAP_GUARD_H
#define SLUICE_BASE_MAP_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Guards a mapping from now on. Returns its number, at least 1, for map_guard_remove, before it is unmapped; 0: the table is
 * full, and the mapping is not guarded. From any thread. It sets the handler of SIGBUS; faults elsewhere go to
 * the handler that was set before.
 */
unsigned map_guard_add(const void *bytes, size_t size);
void map_guard_remove(unsigned number); /* 0 does nothing */

/* Whether something of it was gone when it was read. false for 0. */
bool map_guard_shrank(unsigned number);

#endif
