/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/sysfs.h"
#include "host/cli/doctor.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMLOCK_WANTED (UINT64_C(1) << 30) /* buffers of a card that streams experts */
#define MAX_CPUS 8192u

/* The rest of the line that begins with key; NULL if there is none. */
static const char *line_of(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, length) == 0) return line + length;
    return NULL;
}

static bool read_root_file(const struct doctor *doctor, const char *name, char *out, size_t size)
{
    char path[PATH_MAX];
    return doctor_path(doctor, path, sizeof path, "%s", name) && sysfs_read_all(path, out, size);
}

static void look_at_locked_memory(struct doctor *doctor)
{
    char text[4096], soft[32];
    const char *mend = "ulimit -l unlimited; for a service: LimitMEMLOCK=infinity in its unit; for logins: a line "
                       "\"* - memlock unlimited\" in /etc/security/limits.d/sluice.conf";
    if (!read_root_file(doctor, "/proc/self/limits", text, sizeof text)) return;
    const char *line = line_of(text, "Max locked memory");
    if (!line || sscanf(line, "%31s", soft) != 1) return;
    uint64_t bytes = strcmp(soft, "unlimited") == 0 ? UINT64_MAX : strtoull(soft, NULL, 10);
    if (bytes >= MEMLOCK_WANTED)
        doctor_add(doctor, FINDING_GOOD, "locked memory", "", "%s", bytes == UINT64_MAX ? "no limit" : "enough");
    else
        doctor_add(doctor, doctor_has_xrt_card(doctor) ? FINDING_WARNING : FINDING_NOTE, "locked memory", mend,
                   "%" PRIu64 " KiB may be locked (ulimit -l): too little for the buffers of a card that streams",
                   bytes >> 10);
}

static void look_at_huge_pages(struct doctor *doctor)
{
    char meminfo[8192], mode[128];
    unsigned long long free_pages = 0, kib = 0;
    if (!read_root_file(doctor, "/proc/meminfo", meminfo, sizeof meminfo)) return;
    const char *line = line_of(meminfo, "HugePages_Free:");
    if (line && sscanf(line, "%llu", &free_pages) != 1) free_pages = 0;
    if ((line = line_of(meminfo, "Hugepagesize:")) && sscanf(line, "%llu", &kib) != 1) kib = 0;
    if (free_pages > 0) {
        doctor_add(doctor, FINDING_GOOD, "huge pages", "", "%llu of %llu KiB are free", free_pages, kib);
        return;
    }
    if (!read_root_file(doctor, "/sys/kernel/mm/transparent_hugepage/enabled", mode, sizeof mode)) return;
    if (strstr(mode, "[never]"))
        doctor_add(doctor, FINDING_WARNING, "huge pages", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
                   "off: weights in host memory are read through 4 KiB pages");
    else
        doctor_add(doctor, FINDING_GOOD, "huge pages", "", "transparent (%.*s)", (int)strcspn(mode, "\n"), mode);
}

/* Marks the numbers of a list such as "0-3,8". False if it is none. */
static bool mark_list(const char *list, bool *marks)
{
    for (const char *at = list; *at && *at != '\n';) {
        char *end;
        unsigned long first = strtoul(at, &end, 10), last = first;
        if (end == at) return false;
        if (*end == '-') {
            at = end + 1;
            last = strtoul(at, &end, 10);
            if (end == at) return false;
        }
        if (last >= MAX_CPUS || first > last) return false;
        for (unsigned long i = first; i <= last; i++) marks[i] = true;
        at = *end == ',' ? end + 1 : end;
        if (*end && *end != ',' && *end != '\n') return false;
    }
    return true;
}

/* Whether this process runs on processors of the node alone; unreadable counts as yes. */
static bool runs_on_node(const struct doctor *doctor, int node)
{
    char status[8192], cpus[4096], name[96];
    bool allowed[MAX_CPUS] = {false}, near[MAX_CPUS] = {false};
    snprintf(name, sizeof name, "/sys/devices/system/node/node%d/cpulist", node);
    if (!read_root_file(doctor, "/proc/self/status", status, sizeof status) ||
        !read_root_file(doctor, name, cpus, sizeof cpus))
        return true;
    const char *list = line_of(status, "Cpus_allowed_list:");
    if (!list || !mark_list(list + strspn(list, "\t "), allowed) || !mark_list(cpus, near)) return true;
    for (unsigned i = 0; i < MAX_CPUS; i++)
        if (allowed[i] && !near[i]) return false;
    return true;
}

static void look_at_numa(struct doctor *doctor)
{
    char online[4096], about[40], mend[200];
    bool nodes[MAX_CPUS] = {false};
    unsigned n_nodes = 0;
    if (!read_root_file(doctor, "/sys/devices/system/node/online", online, sizeof online) || !mark_list(online, nodes))
        return;
    for (unsigned i = 0; i < MAX_CPUS; i++) n_nodes += nodes[i];
    if (n_nodes < 2) {
        if (n_nodes == 1) doctor_add(doctor, FINDING_GOOD, "NUMA", "", "one node");
        return;
    }
    for (size_t i = 0; i < doctor->n; i++) {
        const struct pci_function *card = &doctor->functions[i];
        if (card->role != PCI_ROLE_USER) continue;
        snprintf(about, sizeof about, "NUMA %s", card->text);
        snprintf(mend, sizeof mend, "numactl --cpunodebind=%d --membind=%d sluice serve ...", card->numa_node,
                 card->numa_node);
        if (card->numa_node < 0)
            doctor_add(doctor, FINDING_WARNING, about, "look for a setting on NUMA or SLIT/SRAT in the BIOS",
                       "the machine has %u nodes, but not which one the card is on", n_nodes);
        else if (!runs_on_node(doctor, card->numa_node))
            doctor_add(doctor, FINDING_NOTE, about, mend,
                       "the card is on node %d of %u; a server on another node reaches it through the sockets' link",
                       card->numa_node, n_nodes);
        else
            doctor_add(doctor, FINDING_GOOD, about, "", "the card is on node %d, and so is this process",
                       card->numa_node);
    }
}

void doctor_look_at_host(struct doctor *doctor)
{
    look_at_locked_memory(doctor);
    look_at_huge_pages(doctor);
    look_at_numa(doctor);
}
