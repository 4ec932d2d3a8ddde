/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/xrt/card_address.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES "/dev/dri/"

/* The last part of what sysfs says the node's device is. */
static bool address_of_node(const char *sys, const char *node, char *out, size_t size)
{
    char path[PATH_MAX], device[PATH_MAX];
    if (strchr(node, '/') || snprintf(path, sizeof path, "%s/class/drm/%s/device", sys, node) >= (int)sizeof path ||
        !realpath(path, device))
        return false;
    const char *name = strrchr(device, '/') + 1; /* realpath gives a whole path */
    unsigned domain, bus, slot, function;
    char end;
    if (sscanf(name, "%x:%x:%x.%x%c", &domain, &bus, &slot, &function, &end) != 4) return false;
    return snprintf(out, size, "%s", name) < (int)size;
}

bool card_address_find(const char *descriptors, const char *sys, char *out, size_t size)
{
    DIR *folder = opendir(descriptors);
    bool found = false;
    for (const struct dirent *entry; folder && !found && (entry = readdir(folder));) {
        char target[PATH_MAX];
        const ssize_t n = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        if (n <= 0) continue;
        target[n] = 0;
        found = strncmp(target, NODES, strlen(NODES)) == 0 && address_of_node(sys, target + strlen(NODES), out, size);
    }
    if (folder) closedir(folder);
    if (!found) out[0] = 0;
    return found;
}
