/* SPDX-License-Identifier: Apache-2.0 */
/* Where profiles come from: this program, or a path. */
#include "bitstreams/profiles/profile_list.h"
#include "bitstreams/profiles/profile_parts.h"

#include <stdio.h>
#include <string.h>

#define PROFILE_FILE_BYTES (1u << 20) /* at most: a profile has some 20 KB */

#define PROFILE_SYMBOL(symbol, name, file) extern const char sluice_##symbol[], sluice_##symbol##_end[];
CARD_PROFILES(PROFILE_SYMBOL)
HOST_PROFILES(PROFILE_SYMBOL)
KERNELS_PROFILES(PROFILE_SYMBOL)

struct inside {
    enum profile_kind kind;
    const char *name, *text, *end;
};
static const struct inside inside[] = {
#define PROFILE_OF_CARD(symbol, name, file) {PROFILE_CARD, name, sluice_##symbol, sluice_##symbol##_end},
#define PROFILE_OF_HOST(symbol, name, file) {PROFILE_HOST, name, sluice_##symbol, sluice_##symbol##_end},
#define PROFILE_OF_KERNELS(symbol, name, file) {PROFILE_KERNELS, name, sluice_##symbol, sluice_##symbol##_end},
    CARD_PROFILES(PROFILE_OF_CARD) HOST_PROFILES(PROFILE_OF_HOST) KERNELS_PROFILES(PROFILE_OF_KERNELS)};
enum { N_INSIDE = sizeof inside / sizeof inside[0] };

#define PROFILE_NAME(symbol, name, file) name,
static const char *const card_names[] = {CARD_PROFILES(PROFILE_NAME) NULL};
static const char *const host_names[] = {HOST_PROFILES(PROFILE_NAME) NULL};
static const char *const kernels_names[] = {KERNELS_PROFILES(PROFILE_NAME) NULL};

const char *const *profile_file_names(enum profile_kind kind)
{
    return kind == PROFILE_CARD ? card_names : kind == PROFILE_HOST ? host_names : kernels_names;
}

const char *const *card_profile_names(void) { return card_names; }
const char *const *host_profile_names(void) { return host_names; }

static int not_found(enum profile_kind kind, const char *name, struct error *err)
{
    static const char *const kinds[] = {"card", "host", "kernels"};
    char list[256] = "";
    for (const char *const *known = profile_file_names(kind); *known; known++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *known);
    }
    return error_set(err, ERROR_NOT_FOUND,
                     "no %s profile is called \"%.64s\" (there are %s; a file's path has a '/' or a '.')", kinds[kind],
                     name, list);
}

int profile_file_open(enum profile_kind kind, const char *name, struct profile_file *out, struct error *err)
{
    *out = (struct profile_file){.label = name};
    if (strpbrk(name, "/.")) {
        int status = map_file_open(name, &out->map, err);
        if (status < 0) return status;
        out->text = (const char *)out->map.bytes;
        out->n_bytes = out->map.size;
        if (out->n_bytes <= PROFILE_FILE_BYTES) return 0;
        profile_file_close(out);
        return error_set(err, ERROR_BAD_FILE, "%s: %u bytes at most are expected of a profile", name,
                         PROFILE_FILE_BYTES);
    }
    for (unsigned i = 0; i < N_INSIDE; i++) {
        if (inside[i].kind != kind || strcmp(inside[i].name, name) != 0) continue;
        out->text = inside[i].text;
        out->n_bytes = (size_t)(inside[i].end - inside[i].text);
        return 0;
    }
    return not_found(kind, name, err);
}

void profile_file_close(struct profile_file *file)
{
    map_file_close(&file->map);
    file->text = NULL;
}
