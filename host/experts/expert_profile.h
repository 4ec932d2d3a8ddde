/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each expert was used in earlier traffic: counted while serving, saved, and loaded at the next start.
 *
 * The file, little-endian: magic "SLUPROFI", u32 version, u32 layers, u32 experts of a layer, u32 experts used, u64 hash
 * of the model, u64 tokens counted, 64 bytes of zero-padded name, u64 uses[layer][expert], and the XXH3 of all that.
 */
#ifndef SLUICE_EXPERTS_EXPERT_PROFILE_H
#define SLUICE_EXPERTS_EXPERT_PROFILE_H

#include "host/experts/routing_trace.h"

struct expert_profile {
    struct routing_shape shape; /* depth and flags are 0 */
    uint64_t n_tokens;
    uint64_t *uses; /* [layer][expert]; owned */
};

/* All zero. The caller closes it. */
int expert_profile_open(const struct routing_shape *shape, struct expert_profile *profile, struct error *err);
void expert_profile_close(struct expert_profile *profile); /* leaves {0}; allowed on {0} */

/* Counts a layer's choices of n_rows tokens: n_rows * n_used experts. The tokens count with the first layer. */
void expert_profile_count(struct expert_profile *profile, uint32_t layer, const uint16_t *choice, uint32_t n_rows);

/* Halves all counts, so that old traffic fades: for a server that saves the same profile again and again. */
void expert_profile_fade(struct expert_profile *profile);

/* Written beside path and renamed: the old profile stays if anything fails. */
int expert_profile_save(const struct expert_profile *profile, const char *path, struct error *err);

/*
 * ERROR_BAD_FILE for anything that save has not written, ERROR_BAD_ARGUMENT for the profile of another model: another
 * hash (unless one is 0) or other counts. On error *profile is {0}.
 */
int expert_profile_load(const char *path, const struct routing_shape *model, struct expert_profile *profile,
                        struct error *err);

#endif
