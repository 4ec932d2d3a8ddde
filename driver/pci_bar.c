/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_bar.h"

#include "driver/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel maps what is behind a disabled function too, and an access to it is an error of the bus. */
static int check_enabled(const char *folder, struct error *err)
{
    char path[PATH_MAX];
    int64_t enabled = 0;
    if (sysfs_path(path, sizeof path, "%s/enable", folder) && sysfs_read_i64(path, &enabled) && enabled == 0)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s is not enabled (bind its driver, or as root: echo 1 > %s/enable)",
                         folder, folder);
    return 0;
}

static int map(int fd, const char *path, struct pci_registers *out, struct error *err)
{
    struct stat about;
    if (fstat(fd, &about) != 0) return error_set(err, ERROR_IO, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode) || about.st_size <= 0)
        return error_set(err, ERROR_UNSUPPORTED, "%s cannot be mapped: it has no memory behind it", path);
    void *base = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return error_set(err, errno == EINVAL || errno == ENODEV ? ERROR_UNSUPPORTED : ERROR_IO, "cannot map %s: %s",
                         path, errno == EINVAL ? "these are I/O ports, not memory" : strerror(errno));
    *out = (struct pci_registers){base, (uint64_t)about.st_size};
    return 0;
}

int pci_bar_open(const char *folder, unsigned number, struct pci_registers *out, struct error *err)
{
    char path[PATH_MAX];
    *out = (struct pci_registers){NULL, 0};
    if (number > 5 || !sysfs_path(path, sizeof path, "%s/resource%u", folder, number))
        return error_set(err, ERROR_BAD_ARGUMENT, "no BAR %u", number);
    int status = check_enabled(folder, err);
    if (status < 0) return status;
    int fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) return error_set(err, ERROR_NOT_FOUND, "%s has no BAR %u", folder, number);
    if (fd < 0)
        return error_set(err, ERROR_IO, "cannot open %s: %s%s", path, strerror(errno),
                         errno == EACCES ? " (needs root)" : "");
    status = map(fd, path, out, err);
    close(fd);
    return status;
}

void pci_bar_close(struct pci_registers *registers)
{
    if (registers->base) munmap((void *)(uintptr_t)registers->base, (size_t)registers->bytes);
    *registers = (struct pci_registers){NULL, 0};
}
