/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sluice doctor`: what stands between this machine and a card that serves. Each doctor_*.c looks at one part and adds findings; none
 * changes anything. Files are read below the source's root, so that a copy of another machine can be looked at.
 */
#ifndef SLUICE_CLI_DOCTOR_H
#define SLUICE_CLI_DOCTOR_H

#include "driver/pci_scan.h"

#include <sys/types.h>

enum finding_level {
    FINDING_GOOD,
    FINDING_NOTE,    /* worth knowing; nothing to do, or as one likes */
    FINDING_WARNING, /* it serves, but slower or less safely than it could */
    FINDING_PROBLEM, /* it does not serve */
};

struct finding {
    enum finding_level level;
    char about[40]; /* "XRT", "link 0000:3b:00.1" */
    char text[640]; /* what is so */
    char mend[400]; /* the command; "" for FINDING_GOOD */
};

struct findings {
    struct finding *list; /* owned */
    size_t n, room;
    bool lost; /* no memory for one */
};

/* The account that serves, or is to. */
struct serving_user {
    char name[64];
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    unsigned n_groups;
};

struct doctor {
    struct pci_source source;
    const char *bitstream; /* NULL, or an xclbin that is to be loaded */
    struct serving_user user;
    const struct pci_function *functions; /* borrowed; [n] */
    size_t n;
    struct findings findings;
};

/* Adds a finding; mend is "" where nothing is to be done. Foreign text in either is made harmless. */
void doctor_add(struct doctor *doctor, enum finding_level level, const char *about, const char *mend,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

/* root + path, formatted; false if that is too long. */
bool doctor_path(const struct doctor *doctor, char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether a card is there that XRT is to serve. */
bool doctor_has_xrt_card(const struct doctor *doctor);

void doctor_look_at_cards(struct doctor *doctor);     /* doctor_cards.c: driver, link, errors, power, shell */
void doctor_look_at_xrt(struct doctor *doctor);       /* doctor_xrt.c: libraries, modules, ICDs */
void doctor_look_at_access(struct doctor *doctor);    /* doctor_access.c: device nodes and who may open them */
void doctor_look_at_host(struct doctor *doctor);      /* doctor_host.c: locked memory, huge pages, NUMA */
void doctor_look_at_bitstream(struct doctor *doctor); /* doctor_bitstream.c: ABI and platform */

/* By name, or of this process (NULL). ERROR_NOT_FOUND if there is no such account. */
int doctor_find_user(const struct pci_source *source, const char *name, struct serving_user *out, struct error *err);

#endif
