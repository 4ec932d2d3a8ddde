/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first line of folder/address/name without its newline; empty if it cannot be read. */
static void read_attribute(int folder, const char *address, const char *name, char *out, size_t size)
{
    out[0] = '\0';
    char path[300];
    if (snprintf(path, sizeof path, "%s/%s", address, name) >= (int)sizeof path) return;
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t length = read(fd, out, size - 1);
    close(fd);
    out[length > 0 ? (size_t)length : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static unsigned read_number(int folder, const char *address, const char *name, int base)
{
    char text[32];
    read_attribute(folder, address, name, text, sizeof text);
    unsigned long value = strtoul(text, NULL, base);
    return value > UINT16_MAX ? 0 : (unsigned)value;
}

static void read_function(int folder, const char *address, struct pci_function *function)
{
    *function = (struct pci_function){.vendor = (uint16_t)read_number(folder, address, "vendor", 16),
                                      .device = (uint16_t)read_number(folder, address, "device", 16),
                                      .link_width = read_number(folder, address, "current_link_width", 10)};
    snprintf(function->address, sizeof function->address, "%.15s", address);
    read_attribute(folder, address, "current_link_speed", function->link_speed, sizeof function->link_speed);
}

int pci_scan(const char *root, struct pci_function *functions, unsigned max, unsigned *n_found, struct error *err)
{
    *n_found = 0;
    struct dirent **entries;
    int n_entries = scandir(root, &entries, NULL, alphasort);
    if (n_entries < 0) {
        if (errno == ENOENT) return 0;
        return error_set(err, ERROR_IO, "cannot read %s: %s", root, strerror(errno));
    }
    int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < n_entries; i++) {
        const char *address = entries[i]->d_name;
        if (folder >= 0 && address[0] != '.' && strlen(address) < sizeof functions->address &&
            read_number(folder, address, "vendor", 16) == PCI_VENDOR_XILINX) {
            if (*n_found < max) read_function(folder, address, &functions[*n_found]);
            ++*n_found;
        }
        free(entries[i]);
    }
    free(entries);
    if (folder < 0) return error_set(err, ERROR_IO, "cannot open %s: %s", root, strerror(errno));
    close(folder);
    return 0;
}
