/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: profiles inside the program, and the steps of reading one. */
#ifndef SLUICE_BITSTREAMS_PROFILE_PARTS_H
#define SLUICE_BITSTREAMS_PROFILE_PARTS_H

#include "bitstreams/profiles/profile.h"
#include "bitstreams/profiles/profile_reader.h"
#include "host/base/map_file.h"

enum profile_kind { PROFILE_CARD, PROFILE_HOST, PROFILE_KERNELS };

/* A profile's text, inside the program or mapped from a file: profile_file_close. */
struct profile_file {
    const char *text;
    size_t n_bytes;
    const char *label; /* for messages; name or borrowed from it */
    struct map_file map;
};
int profile_file_open(enum profile_kind kind, const char *name, struct profile_file *out, struct error *err);
void profile_file_close(struct profile_file *file);
const char *const *profile_file_names(enum profile_kind kind);

/* Reads engine.matmul, .interval, .fixed_cycles and latencies from the kernels profile that card names. */
int kernels_profile_read(const char *name, struct engine_profile *engine, struct error *err);

/* What no single field can tell: the parts of a card or host against each other. */
int card_profile_check(const struct profile_reader *reader, const struct card_profile *card);
int host_profile_check(const struct profile_reader *reader, const struct host_profile *host);

#define N_FIELDS(fields) (sizeof(fields) / sizeof((fields)[0]))

#endif
