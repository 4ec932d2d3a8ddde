/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/shell_name.h"

#include "driver/sysfs.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

/* XRT's driver makes a folder for each of its parts, with a number behind its name: "rom.u.5242880". */
bool shell_name(const struct pci_function *function, char out[SHELL_NAME_BYTES])
{
    char path[PATH_MAX];
    bool found = false;
    DIR *folder = function->folder[0] ? opendir(function->folder) : NULL;
    out[0] = '\0';
    for (const struct dirent *entry; folder && !found && (entry = readdir(folder));)
        found = strncmp(entry->d_name, "rom.", 4) == 0 &&
                sysfs_path(path, sizeof path, "%s/%s/VBNV", function->folder, entry->d_name) &&
                sysfs_read(path, out, SHELL_NAME_BYTES) && out[0];
    if (folder) closedir(folder);
    return found;
}

bool loaded_bitstream(const struct pci_function *function, char out[SHELL_NAME_BYTES])
{
    char path[PATH_MAX];
    out[0] = '\0';
    return function->folder[0] && sysfs_path(path, sizeof path, "%s/xclbinuuid", function->folder) &&
           sysfs_read(path, out, SHELL_NAME_BYTES) && strspn(out, "0-") < strlen(out); /* zeros: none */
}

static char plain(char c) { return c == ':' || c == '.' ? '_' : c; }

bool shell_same(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b)) a++, b++;
    return *a == '\0' && *b == '\0';
}
