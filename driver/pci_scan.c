/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_scan.h"

#include "driver/pci_link.h"
#include "driver/sysfs.h"
#include "host/base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_attribute(const struct pci_function *function, const char *name, char *out, size_t size)
{
    char path[PATH_MAX];
    out[0] = '\0';
    return function->folder[0] && sysfs_path(path, sizeof path, "%s/%s", function->folder, name) &&
           sysfs_read(path, out, size);
}

static struct pci_link read_link(const struct pci_function *function, const char *speed, const char *width)
{
    char rate[64], lanes[32];
    read_attribute(function, speed, rate, sizeof rate);
    read_attribute(function, width, lanes, sizeof lanes);
    return pci_link_of_sysfs(rate, lanes);
}

/* Configuration space says it where it is readable; sysfs also to those who are not root. */
static void find_links(struct pci_function *function)
{
    function->now = function->facts.now;
    function->most = function->facts.most;
    if (function->folder[0] && function->most.generation == 0) {
        function->now = read_link(function, "current_link_speed", "current_link_width");
        function->most = read_link(function, "max_link_speed", "max_link_width");
    }
}

/* "Lines of start end flags", one a BAR; a start of 0 with a size is one that nobody assigned. */
static void read_resources(struct pci_function *function)
{
    char text[2048], path[PATH_MAX];
    if (!function->folder[0] || !sysfs_path(path, sizeof path, "%s/resource", function->folder) ||
        !sysfs_read_all(path, text, sizeof text))
        return;
    const char *line = text;
    for (unsigned i = 0; i < PCI_BARS && line; i++) {
        uint64_t start, end, flags;
        struct pci_bar *bar = &function->bar[i];
        if (sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &start, &end, &flags) == 3 && end > start) {
            *bar = (struct pci_bar){start, end - start + 1, true, flags & 0x100, flags & 0x100000, flags & 0x2000};
        }
        line = strchr(line, '\n');
        if (line) line++;
    }
}

static void find_bars(struct pci_function *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_config_bar *bar = &function->facts.bar[i];
        function->bar[i] = (struct pci_bar){bar->address, 0, bar->present, bar->io, bar->wide, bar->prefetchable};
    }
    read_resources(function);
}

/* A file aer_dev_KIND has a line for each kind of error and a sum, "TOTAL_ERR_COR 3". most: NULL or the kind with most. */
static bool read_error_file(const struct pci_function *function, const char *name, uint64_t *total, char *most,
                            size_t size)
{
    char text[2048], path[PATH_MAX], kind[40];
    uint64_t count, largest = 0;
    if (!sysfs_path(path, sizeof path, "%s/%s", function->folder, name) || !sysfs_read_all(path, text, sizeof text))
        return false;
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (sscanf(line, "%39s %" SCNu64, kind, &count) != 2) continue;
        if (strncmp(kind, "TOTAL_ERR", 9) == 0)
            *total = count;
        else if (most && count > largest) {
            largest = count;
            snprintf(most, size, "%s", kind);
        }
    }
    return true;
}

static void read_errors(struct pci_function *function)
{
    struct pci_error_counts *errors = &function->errors;
    if (!function->folder[0]) return;
    errors->known =
        read_error_file(function, "aer_dev_correctable", &errors->correctable, errors->most, sizeof errors->most);
    errors->known = read_error_file(function, "aer_dev_nonfatal", &errors->nonfatal, NULL, 0) && errors->known;
    errors->known = read_error_file(function, "aer_dev_fatal", &errors->fatal, NULL, 0) && errors->known;
}

static void read_power(struct pci_function *function)
{
    static const char *const names[] = {"D0", "D1", "D2", "D3hot"};
    if (read_attribute(function, "power_state", function->power, sizeof function->power) &&
        strcmp(function->power, "unknown") != 0)
        return;
    function->power[0] = '\0';
    if (function->facts.power != PCI_POWER_UNKNOWN)
        snprintf(function->power, sizeof function->power, "%s", names[function->facts.power]);
}

static void read_bindings(struct pci_function *function)
{
    char path[PATH_MAX], text[64];
    int64_t value;
    function->numa_node = function->iommu_group = -1;
    if (!function->folder[0]) return;
    function->driver_known = true;
    if (sysfs_path(path, sizeof path, "%s/driver", function->folder))
        sysfs_read_link(path, function->driver, sizeof function->driver);
    if (sysfs_path(path, sizeof path, "%s/iommu_group", function->folder) && sysfs_read_link(path, text, sizeof text) &&
        sscanf(text, "%d", &function->iommu_group) != 1)
        function->iommu_group = -1;
    if (sysfs_path(path, sizeof path, "%s/numa_node", function->folder) && sysfs_read_i64(path, &value) && value >= 0 &&
        value < 1 << 20)
        function->numa_node = (int)value;
    read_attribute(function, "reset_method", function->reset_methods, sizeof function->reset_methods);
}

/* The numbers of a function whose configuration space did not answer are still in sysfs. */
static void read_numbers(struct pci_function *function)
{
    struct numbers {
        const char *name;
        uint16_t *value;
    } numbers[] = {{"vendor", &function->facts.vendor},
                   {"device", &function->facts.device},
                   {"subsystem_vendor", &function->facts.subsystem_vendor},
                   {"subsystem_device", &function->facts.subsystem}};
    char path[PATH_MAX];
    int64_t value;
    for (size_t i = 0; function->folder[0] && i < sizeof numbers / sizeof numbers[0]; i++)
        if (sysfs_path(path, sizeof path, "%s/%s", function->folder, numbers[i].name) && sysfs_read_i64(path, &value) &&
            value >= 0 && value <= UINT16_MAX)
            *numbers[i].value = (uint16_t)value;
    if (function->folder[0] && function->facts.class_code == 0 &&
        sysfs_path(path, sizeof path, "%s/class", function->folder) && sysfs_read_i64(path, &value))
        function->facts.class_code = (uint32_t)value & 0xffffff;
}

static void find_folder(const struct pci_source *source, struct pci_function *function)
{
    struct stat about;
    if (!pci_source_has_sysfs(source) ||
        !sysfs_path(function->folder, sizeof function->folder, "%s/sys/bus/pci/devices/%s", pci_source_root(source),
                    function->text) ||
        stat(function->folder, &about) != 0)
        function->folder[0] = '\0';
}

/* Bridges and the bus behind each. */
struct ports {
    const struct pci_raw *all;
    size_t n;
    uint8_t *secondary_bus; /* [n]; 0: no bridge */
};

static int find_ports(const struct pci_raw *all, size_t n, struct ports *ports, struct error *err)
{
    struct pci_facts facts;
    *ports = (struct ports){all, n, memory_array(n, 1)};
    if (!ports->secondary_bus) return error_set(err, ERROR_NO_MEMORY, "no memory for %zu PCI functions", n);
    for (size_t i = 0; i < n; i++) {
        pci_config_decode(&all[i].config, &facts);
        if (facts.header_type == 1) ports->secondary_bus[i] = facts.secondary_bus;
    }
    return 0;
}

/* What the port above can do. */
static void find_slot(const struct pci_source *source, const struct ports *ports, struct pci_function *function)
{
    const struct pci_address *address = &function->address;
    for (size_t i = 0; i < ports->n; i++) {
        const struct pci_raw *raw = &ports->all[i];
        if (ports->secondary_bus[i] == 0 || ports->secondary_bus[i] != address->bus ||
            raw->address.domain != address->domain || raw->address.bus == address->bus)
            continue;
        struct pci_function port = {.numa_node = -1};
        pci_address_text(&raw->address, port.text);
        pci_config_decode(&raw->config, &port.facts);
        find_folder(source, &port);
        find_links(&port);
        memcpy(function->port, port.text, sizeof function->port);
        function->slot = port.most;
        return;
    }
}

static void read_function(const struct pci_source *source, const struct pci_raw *raw, struct pci_function *function)
{
    *function = (struct pci_function){.address = raw->address};
    pci_address_text(&raw->address, function->text);
    pci_config_decode(&raw->config, &function->facts);
    find_folder(source, function);
    read_numbers(function);
    function->role = pci_identify(function->facts.vendor, function->facts.device, &function->model);
    find_links(function);
    find_bars(function);
    read_bindings(function);
    read_errors(function);
    read_power(function);
    if (function->facts.capabilities_hidden) function->hidden |= PCI_HIDDEN_CAPABILITIES;
    if (!function->folder[0]) function->hidden |= PCI_HIDDEN_SYSFS;
}

bool pci_same_slot(const struct pci_function *a, const struct pci_function *b)
{
    return a->address.domain == b->address.domain && a->address.bus == b->address.bus &&
           a->address.device == b->address.device;
}

/* Of AWS the application function alone has a number that says what it is; the other one of its slot manages it. */
static bool joins_slot(struct pci_function *function, const struct pci_function *cards, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!pci_same_slot(function, &cards[i]) || function->facts.vendor != cards[i].facts.vendor ||
            cards[i].role == PCI_ROLE_NONE)
            continue;
        function->role = PCI_ROLE_MANAGEMENT;
        function->model = cards[i].model;
        function->model.xrt_driver = NULL;
        return true;
    }
    return false;
}

static int scan(const struct pci_source *source, const struct ports *ports, struct pci_function **out, size_t *n,
                struct error *err)
{
    if (!(*out = memory_array(ports->n, sizeof **out)))
        return error_set(err, ERROR_NO_MEMORY, "no memory for %zu PCI functions", ports->n);
    for (size_t i = 0; i < ports->n; i++) {
        struct pci_function *function = &(*out)[*n];
        read_function(source, &ports->all[i], function);
        bool other = source->everything && function->facts.header_type == 0;
        if (function->role == PCI_ROLE_NONE && !joins_slot(function, *out, *n) && !other) continue;
        find_slot(source, ports, function);
        ++*n;
    }
    return 0;
}

int pci_scan(const struct pci_source *source, struct pci_function **out, size_t *n, struct error *err)
{
    struct pci_raw *all;
    struct ports ports;
    size_t n_all;
    struct stat info;
    *out = NULL;
    *n = 0;
    if (source->root && stat(source->root, &info) < 0)
        return error_set(err, ERROR_NOT_FOUND, "%s: %s (a copy of a machine's files expected)", source->root,
                         strerror(errno));
    if (source->root && !S_ISDIR(info.st_mode))
        return error_set(err, ERROR_BAD_ARGUMENT, "%s: not a folder (a copy of a machine's files expected)",
                         source->root);
    int status = pci_access_read(source, &all, &n_all, err);
    if (status < 0) return status;
    status = find_ports(all, n_all, &ports, err);
    if (status == 0) status = scan(source, &ports, out, n, err);
    free(ports.secondary_bus);
    free(all);
    return status;
}

const char *pci_hidden_text(unsigned hidden, char *out, unsigned size)
{
    out[0] = '\0';
    if (hidden & PCI_HIDDEN_SYSFS)
        snprintf(out, size, "driver, NUMA node, sensors and counted errors: not in a dump");
    else if (hidden & PCI_HIDDEN_CAPABILITIES)
        snprintf(out, size, "configuration space beyond 64 bytes (error bits, FLR): needs root");
    return out;
}
