/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing straight into card memory that lies in this process (card_window): no buffer, no copy. Matrices are only noted when
 * they are added; then all threads pack them in one go, each a few MB of whatever matrix is next, so that models of many small
 * matrices keep all cores busy, and a thread is the first to touch the memory that it fills. (upload.c)
 */
#ifndef SLUICE_MODEL_UPLOAD_DIRECT_H
#define SLUICE_MODEL_UPLOAD_DIRECT_H

#include "host/model/upload.h"

/* Whether all of the matrix's place on the card lies in this process. */
bool upload_direct_reaches(const struct upload *upload, const struct pack_source *source,
                           const struct upload_target *target);

/* As upload_matrix; the source's bytes and result are borrowed until upload_direct_run or upload_direct_close. */
int upload_direct_add(struct upload *upload, const struct pack_source *source, const struct upload_target *target,
                      uint64_t source_bytes, struct pack_result *result, struct error *err);

/*
 * Packs what was added, and forgets it. Stops early, without an error, when a matrix cannot be computed with: of several
 * such matrices the result of the one that was added first says so.
 */
int upload_direct_run(struct upload *upload, struct error *err);

/* Drops what was added. */
void upload_direct_close(struct upload *upload);

#endif
