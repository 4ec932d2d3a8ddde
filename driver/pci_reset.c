/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_reset.h"

#include "driver/pci_usage.h"
#include "driver/sysfs.h"
#include "host/base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BRIDGE_CONTROL = 0x3e,
    BRIDGE_CONTROL_BUS_RESET = 1 << 6,
    RESET_HOLD_MS = 2,       /* PCI: Trst is 1 ms at least */
    RESET_RECOVERY_MS = 100, /* PCIe 6.6.1: before the first request */
    RETURN_POLL_MS = 50,
    RETURN_POLLS = 100, /* a card loads its shell from flash for seconds after some resets */
};

static void wait_ms(unsigned ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

static int cannot_write(const char *path, struct error *err)
{
    int why = errno;
    return error_set(err, ERROR_IO, "cannot write %s: %s%s", path, strerror(why),
                     why == EACCES || why == EPERM ? " (needs root)" : "");
}

static int write_attribute(const char *folder, const char *name, const char *text, struct error *err)
{
    char path[PATH_MAX];
    if (!sysfs_path(path, sizeof path, "%s/%s", folder, name))
        return error_set(err, ERROR_BAD_ARGUMENT, "the path %s is too long", folder);
    return sysfs_write(path, text) ? 0 : cannot_write(path, err);
}

static int check_unused(const struct pci_source *source, const struct pci_function *function, struct error *err)
{
    struct pci_user user;
    int used = pci_usage_find(source, function, &user, err);
    if (used <= 0) return used;
    return error_set(err, ERROR_BUSY, "%s is in use: process %d (%s) has %s (end it first: kill %d)", function->text,
                     user.pid, user.program, user.what, user.pid);
}

static bool on_same_bus(const struct pci_function *a, const struct pci_function *b)
{
    return a->address.domain == b->address.domain && a->address.bus == b->address.bus;
}

static int check_card_unused(const struct pci_source *source, const struct pci_function *functions, size_t n,
                             const struct pci_function *card, struct error *err)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < n; i++)
        if (on_same_bus(&functions[i], card)) status = check_unused(source, &functions[i], err);
    return status;
}

/* The kernel saves and restores the registers around it, and tells the driver. */
static int reset_function(const struct pci_function *function, struct error *err)
{
    if (!function->facts.function_reset && !strstr(function->reset_methods, "flr"))
        return error_set(err, ERROR_UNSUPPORTED, "%s has no function-level reset (sluice cards --reset %s --by bus)",
                         function->text, function->text);
    bool choose = function->reset_methods[0] != '\0'; /* kernels from 5.15 on */
    int status = choose ? write_attribute(function->folder, "reset_method", "flr", err) : 0;
    if (status == 0) status = write_attribute(function->folder, "reset", "1", err);
    if (choose && write_attribute(function->folder, "reset_method", function->reset_methods, status ? NULL : err) < 0 &&
        status == 0)
        status = ERROR_IO;
    return status;
}

static int set_bus_reset(int config, bool on, const char *port, struct error *err)
{
    uint8_t bytes[2];
    if (pread(config, bytes, 2, BRIDGE_CONTROL) != 2)
        return error_set(err, ERROR_IO, "cannot read the bridge control of %s (needs root)", port);
    unsigned control = load_u16(bytes);
    store_u16(bytes,
              (uint16_t)(on ? control | BRIDGE_CONTROL_BUS_RESET : control & ~(unsigned)BRIDGE_CONTROL_BUS_RESET));
    if (pwrite(config, bytes, 2, BRIDGE_CONTROL) != 2)
        return error_set(err, ERROR_IO, "cannot write the bridge control of %s: %s", port, strerror(errno));
    return 0;
}

static int pulse_bus(const char *port, struct error *err)
{
    char path[PATH_MAX];
    if (!sysfs_path(path, sizeof path, "%s/config", port))
        return error_set(err, ERROR_BAD_ARGUMENT, "the path %s is too long", port);
    int config = open(path, O_RDWR | O_CLOEXEC);
    if (config < 0) return cannot_write(path, err);
    int status = set_bus_reset(config, true, port, err);
    if (status == 0) {
        wait_ms(RESET_HOLD_MS);
        status = set_bus_reset(config, false, port, err);
        wait_ms(RESET_RECOVERY_MS);
    }
    close(config);
    return status;
}

/* The kernel takes the functions of a bus away and back: their drivers let go before, and begin anew behind. */
static int remove_functions(const struct pci_function *functions, size_t n, const struct pci_function *card,
                            struct error *err)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < n; i++)
        if (on_same_bus(&functions[i], card)) status = write_attribute(functions[i].folder, "remove", "1", err);
    return status;
}

static int await_return(const struct pci_function *functions, size_t n, const struct pci_function *card,
                        struct error *err)
{
    struct stat about;
    unsigned polls = 0;
    for (size_t i = 0; i < n; i++) {
        if (!on_same_bus(&functions[i], card)) continue;
        while (stat(functions[i].folder, &about) != 0) {
            if (++polls > RETURN_POLLS)
                return error_set(err, ERROR_CARD,
                                 "%s did not come back from the reset (power the machine off and on; then reseat it)",
                                 functions[i].text);
            wait_ms(RETURN_POLL_MS);
        }
    }
    return 0;
}

/* A bus may hold what is no card (no PCIe slot does, but old buses and some emulators do): that would be reset too. */
static int check_bus(const char *port, const struct pci_function *functions, size_t n, struct error *err)
{
    int status = 0;
    DIR *folder = opendir(port);
    if (!folder) return error_set(err, ERROR_IO, "cannot read %s: %s", port, strerror(errno));
    for (const struct dirent *entry; status == 0 && (entry = readdir(folder));) {
        struct pci_address address;
        bool ours = !pci_address_parse(entry->d_name, &address);
        for (size_t i = 0; !ours && i < n; i++) ours = pci_address_compare(&functions[i].address, &address) == 0;
        if (!ours)
            status = error_set(err, ERROR_UNSUPPORTED, "%s is on the same bus and no FPGA card: it would be reset too",
                               entry->d_name);
    }
    closedir(folder);
    return status;
}

static int reset_bus(const struct pci_source *source, const struct pci_function *functions, size_t n,
                     const struct pci_function *card, struct error *err)
{
    char port[PATH_MAX];
    if (!card->port[0] ||
        !sysfs_path(port, sizeof port, "%s/sys/bus/pci/devices/%s", pci_source_root(source), card->port))
        return error_set(err, ERROR_UNSUPPORTED, "no bridge is known above %s: its bus cannot be reset", card->text);
    int status = check_bus(port, functions, n, err);
    if (status < 0) return status;
    status = remove_functions(functions, n, card, err);
    if (status == 0) status = pulse_bus(port, err);
    /* Whatever went wrong, what was taken away must come back. */
    int found = write_attribute(port, "rescan", "1", status ? NULL : err);
    if (status == 0) status = found;
    return status == 0 ? await_return(functions, n, card, err) : status;
}

int pci_reset(const struct pci_source *source, const struct pci_function *functions, size_t n, const char *address,
              enum pci_reset_kind kind, struct error *err)
{
    struct pci_address wanted;
    const struct pci_function *card = NULL;
    if (!pci_address_parse(address, &wanted))
        return error_set(err, ERROR_BAD_ARGUMENT, "\"%s\" is no PCI address (e.g. 0000:3b:00.1)", address);
    for (size_t i = 0; i < n; i++)
        if (pci_address_compare(&functions[i].address, &wanted) == 0) card = &functions[i];
    if (!card) return error_set(err, ERROR_NOT_FOUND, "no FPGA card at %s (sluice cards lists them)", address);
    if (!card->folder[0]) return error_set(err, ERROR_UNSUPPORTED, "%s is known from a dump only", address);
    int status = check_card_unused(source, functions, n, card, err);
    if (status < 0) return status;
    return kind == PCI_RESET_FUNCTION ? reset_function(card, err) : reset_bus(source, functions, n, card, err);
}
