/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_bind.h"

#include "driver/sysfs.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static int write_file(const char *path, const char *text, struct error *err)
{
    if (sysfs_write(path, text)) return 0;
    return error_set(err, ERROR_IO, "cannot write %s: %s%s", path, strerror(errno),
                     errno == EACCES || errno == EPERM ? " (needs root)" : "");
}

static int unbind(const struct pci_function *function, struct error *err)
{
    char path[PATH_MAX];
    struct stat about;
    if (!sysfs_path(path, sizeof path, "%s/driver", function->folder) || stat(path, &about) != 0) return 0;
    if (!sysfs_path(path, sizeof path, "%s/driver/unbind", function->folder))
        return error_set(err, ERROR_BAD_ARGUMENT, "the path of %s is too long", function->text);
    return write_file(path, function->text, err);
}

int pci_bind(const struct pci_source *source, const struct pci_function *function, const char *driver,
             struct error *err)
{
    char override[PATH_MAX], probe[PATH_MAX], bound[64], link[PATH_MAX];
    struct stat about;
    if (!function->folder[0]) return error_set(err, ERROR_UNSUPPORTED, "%s is known from a dump only", function->text);
    if (!sysfs_path(override, sizeof override, "%s/sys/bus/pci/drivers/%s", pci_source_root(source), driver) ||
        stat(override, &about) != 0)
        return error_set(err, ERROR_NOT_FOUND, "the kernel has no driver %s (modprobe %s)", driver, driver);
    if (!sysfs_path(override, sizeof override, "%s/driver_override", function->folder) ||
        !sysfs_path(probe, sizeof probe, "%s/sys/bus/pci/drivers_probe", pci_source_root(source)) ||
        !sysfs_path(link, sizeof link, "%s/driver", function->folder))
        return error_set(err, ERROR_BAD_ARGUMENT, "the path of %s is too long", function->text);
    int status = write_file(override, driver, err);
    if (status == 0) status = unbind(function, err);
    if (status == 0) status = write_file(probe, function->text, err);
    if (status < 0) return status;
    if (sysfs_read_link(link, bound, sizeof bound) && strcmp(bound, driver) == 0) return 0;
    return error_set(err, ERROR_CARD, "%s did not take %s (the kernel's log says why: dmesg | tail)", driver,
                     function->text);
}
