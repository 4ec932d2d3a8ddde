/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_usage.h"

#include "driver/sysfs.h"
#include "host/base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_NODES 16
#define LINE_BYTES (PATH_MAX + 128)

/* The DEVNAME of folder/uevent; "" if it is no device node. */
static void read_node_name(const char *folder, char *out, size_t size)
{
    char path[PATH_MAX], text[1024];
    out[0] = '\0';
    if (!sysfs_path(path, sizeof path, "%s/uevent", folder) || !sysfs_read_all(path, text, sizeof text)) return;
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, "DEVNAME=", 8) == 0) snprintf(out, size, "%.*s", (int)strcspn(line + 8, "\n"), line + 8);
}

/* Nodes of one class: folder/drm/renderD128/uevent. */
static bool walk_class(const char *folder, bool (*node)(void *context, const char *name), void *context)
{
    char path[PATH_MAX], name[128];
    bool more = true;
    DIR *class = opendir(folder);
    for (const struct dirent *entry; class && more && (entry = readdir(class));) {
        if (entry->d_name[0] == '.' || !sysfs_path(path, sizeof path, "%s/%s", folder, entry->d_name)) continue;
        read_node_name(path, name, sizeof name);
        if (name[0]) more = node(context, name);
    }
    if (class) closedir(class);
    return more;
}

void pci_usage_nodes(const struct pci_function *function, bool (*node)(void *context, const char *name), void *context)
{
    char path[PATH_MAX];
    bool more = function->folder[0] != '\0';
    DIR *folder = more ? opendir(function->folder) : NULL;
    for (const struct dirent *entry; folder && more && (entry = readdir(folder));) {
        bool leads_away = entry->d_type == DT_LNK || entry->d_name[0] == '.';
        if (!leads_away && sysfs_path(path, sizeof path, "%s/%s", function->folder, entry->d_name))
            more = walk_class(path, node, context);
    }
    if (folder) closedir(folder);
}

/* What a process that uses the function has: names of nodes, and a piece of the paths of its registers. */
struct traces {
    char node[MAX_NODES][160];
    unsigned n_nodes;
    char registers[64];
};

static bool add_node(void *context, const char *name)
{
    struct traces *traces = context;
    snprintf(traces->node[traces->n_nodes++], sizeof traces->node[0], "/dev/%s", name);
    return traces->n_nodes < MAX_NODES - 1; /* one place is for vfio */
}

static void find_traces(const struct pci_function *function, struct traces *traces)
{
    *traces = (struct traces){.n_nodes = 0};
    pci_usage_nodes(function, add_node, traces);
    if (strcmp(function->driver, "vfio-pci") == 0 && function->iommu_group >= 0)
        snprintf(traces->node[traces->n_nodes++], sizeof traces->node[0], "/dev/vfio/%d", function->iommu_group);
    snprintf(traces->registers, sizeof traces->registers, "/%s/resource", function->text);
}

static bool matches(const struct traces *traces, const char *path)
{
    for (unsigned i = 0; i < traces->n_nodes; i++)
        if (strcmp(path, traces->node[i]) == 0) return true;
    return strstr(path, traces->registers) != NULL;
}

/* 1 found, 0 not, -1 not to be seen; a process that ends meanwhile uses nothing. */
static int look_at_files(const char *process, const struct traces *traces, char *what, size_t size)
{
    char folder[PATH_MAX], path[PATH_MAX], target[PATH_MAX];
    int found = 0;
    if (!sysfs_path(folder, sizeof folder, "%s/fd", process)) return 0;
    DIR *files = opendir(folder);
    if (!files) return errno == EACCES || errno == EPERM ? -1 : 0;
    for (const struct dirent *entry; found == 0 && (entry = readdir(files));) {
        if (!sysfs_path(path, sizeof path, "%s/%s", folder, entry->d_name)) continue;
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length <= 0) continue;
        target[length] = '\0';
        found = matches(traces, target);
        if (found) snprintf(what, size, "%.*s", (int)size - 1, target);
    }
    closedir(files);
    return found;
}

static int look_at_mappings(const char *process, const struct traces *traces, char *what, size_t size)
{
    char path[PATH_MAX], line[LINE_BYTES];
    int found = 0;
    if (!sysfs_path(path, sizeof path, "%s/maps", process)) return 0;
    FILE *maps = fopen(path, "re");
    if (!maps) return errno == EACCES || errno == EPERM ? -1 : 0;
    while (found == 0 && fgets(line, sizeof line, maps)) {
        const char *name = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        found = name && matches(traces, name);
        if (found) snprintf(what, size, "%.*s", (int)size - 1, name);
    }
    fclose(maps);
    return found;
}

static int look_at(const char *process, const struct traces *traces, struct pci_user *user)
{
    char path[PATH_MAX];
    int found = look_at_files(process, traces, user->what, sizeof user->what);
    if (found == 0) found = look_at_mappings(process, traces, user->what, sizeof user->what);
    if (found == 1 && sysfs_path(path, sizeof path, "%s/comm", process))
        sysfs_read(path, user->program, sizeof user->program);
    return found;
}

int pci_usage_find(const struct pci_source *source, const struct pci_function *function, struct pci_user *user,
                   struct error *err)
{
    char root[PATH_MAX], process[PATH_MAX];
    struct traces traces;
    int found = 0, unseen = 0;
    *user = (struct pci_user){0, "", ""};
    find_traces(function, &traces);
    if (!sysfs_path(root, sizeof root, "%s/proc", pci_source_root(source)))
        return error_set(err, ERROR_BAD_ARGUMENT, "the path %s is too long", pci_source_root(source));
    DIR *processes = opendir(root);
    if (!processes) return error_set(err, ERROR_IO, "cannot read %s: %s", root, strerror(errno));
    for (const struct dirent *entry; found != 1 && (entry = readdir(processes));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        bool self = !source->root && pid == (long)getpid();
        if (*end || pid <= 0 || self || !sysfs_path(process, sizeof process, "%s/%s", root, entry->d_name)) continue;
        found = look_at(process, &traces, user);
        if (found < 0) unseen++;
        user->pid = (int)pid;
    }
    closedir(processes);
    if (found == 1) return 1;
    if (unseen == 0) return 0;
    return error_set(err, ERROR_IO, "%d processes of other users may use %s: only root can tell (run this as root)",
                     unseen, function->text);
}
