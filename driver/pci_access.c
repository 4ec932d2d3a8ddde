/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_access.h"

#include "driver/pci_ids.h"
#include "driver/sysfs.h"
#include "host/base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pci/pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define READ_AT_ONCE 16u

/*
 * libpci reports an error by a function that gets no context and must not return (its default ends the process), so the way back
 * and the words lie in the thread that calls it, for the time of the call.
 */
static _Thread_local struct {
    jmp_buf back;
    char words[300];
} trap;

static void leave_libpci(char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void leave_libpci(char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(trap.words, sizeof trap.words, format, args);
    va_end(args);
    longjmp(trap.back, 1);
}

static void say_nothing(char *format, ...) __attribute__((format(printf, 1, 2)));
static void say_nothing(char *format, ...) { (void)format; }

int pci_address_compare(const struct pci_address *a, const struct pci_address *b)
{
    if (a->domain != b->domain) return a->domain < b->domain ? -1 : 1;
    int x = a->bus << 16 | a->device << 8 | a->function, y = b->bus << 16 | b->device << 8 | b->function;
    return x - y;
}

static int compare_raw(const void *a, const void *b)
{
    return pci_address_compare(&((const struct pci_raw *)a)->address, &((const struct pci_raw *)b)->address);
}

void pci_address_text(const struct pci_address *address, char out[PCI_ADDRESS_BYTES])
{
    snprintf(out, PCI_ADDRESS_BYTES, "%04x:%02x:%02x.%x", address->domain, address->bus, address->device,
             address->function);
}

bool pci_address_parse(const char *text, struct pci_address *out)
{
    unsigned domain = 0, bus, device, function;
    int end = -1;
    if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end) != 4 || end < 0 || text[end]) {
        domain = 0;
        end = -1;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || end < 0 || text[end]) return false;
    }
    if (bus > 0xff || device > 0x1f || function > 7) return false;
    *out = (struct pci_address){domain, (uint8_t)bus, (uint8_t)device, (uint8_t)function};
    return true;
}

/* As much as the source gives: the kernel gives 64 bytes to those who are not root, a dump what was dumped. */
static void read_up_to(struct pci_dev *device, uint32_t limit, struct pci_config *config)
{
    while (config->n_bytes < limit &&
           pci_read_block(device, (int)config->n_bytes, config->bytes + config->n_bytes, (int)READ_AT_ONCE))
        config->n_bytes += READ_AT_ONCE;
}

/* Each read is a transaction on the bus: of what is neither card nor bridge, the header is enough. */
static void read_config(struct pci_dev *device, bool everything, struct pci_config *config)
{
    struct pci_facts facts;
    struct pci_model model;
    read_up_to(device, PCI_CONFIG_HEADER_BYTES, config);
    pci_config_decode(config, &facts);
    if (everything || pci_identify(facts.vendor, facts.device, &model) != PCI_ROLE_NONE ||
        facts.vendor == PCI_VENDOR_AMAZON)
        read_up_to(device, PCI_CONFIG_BYTES, config);
    else if (facts.header_type == 1)
        read_up_to(device, PCI_CONFIG_LEGACY_BYTES, config);
}

/* A dump or another machine's tree may say the same address twice: the first holds. */
static size_t drop_doubles(struct pci_raw *functions, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare_raw(&functions[kept - 1], &functions[i]) != 0) functions[kept++] = functions[i];
    return kept;
}

/* Between setjmp and longjmp: what changes here lives in *access and *out, not in variables of the caller. */
static int read_functions(struct pci_access *access, bool everything, struct pci_raw **out, size_t *n,
                          struct error *err)
{
    size_t count = 0;
    pci_init(access);
    pci_scan_bus(access);
    for (const struct pci_dev *device = access->devices; device; device = device->next) count++;
    if (count > PCI_MAX_FUNCTIONS) return error_set(err, ERROR_TOO_LARGE, "%zu PCI functions: too many", count);
    if (!(*out = memory_array(count, sizeof **out)))
        return error_set(err, ERROR_NO_MEMORY, "no memory for %zu PCI functions", count);
    for (struct pci_dev *device = access->devices; device; device = device->next) {
        if (device->domain < 0 || device->dev > 0x1f || device->func > 7) continue;
        struct pci_raw *raw = &(*out)[(*n)++];
        raw->address = (struct pci_address){(uint32_t)device->domain, device->bus, device->dev, device->func};
        read_config(device, everything, &raw->config);
    }
    return 0;
}

static int read_all(struct pci_access *access, const struct pci_source *source, struct pci_raw **out, size_t *n,
                    struct error *err)
{
    if (setjmp(trap.back) != 0)
        return source->dump ? error_set(err, ERROR_BAD_FILE, "%s: %s (it must be what `lspci -xxxx` printed)",
                                        source->dump, trap.words)
                            : error_set(err, ERROR_IO, "cannot read the PCI bus: %s", trap.words);
    return read_functions(access, source->everything, out, n, err);
}

static int check_dump(const char *path, struct error *err)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return error_set(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "cannot open the dump %s: %s", path,
                         strerror(errno));
    if (!S_ISREG(about.st_mode)) return error_set(err, ERROR_BAD_FILE, "the dump %s is no file", path);
    if (about.st_size > (off_t)PCI_MAX_DUMP_BYTES)
        return error_set(err, ERROR_TOO_LARGE, "the dump %s is larger than %u MiB", path, PCI_MAX_DUMP_BYTES >> 20);
    return 0;
}

/* Whether there is a bus at all: libpci takes its absence for an error. */
static int has_bus(const char *devices, bool *has, struct error *err)
{
    DIR *folder = opendir(devices);
    *has = folder != NULL;
    if (folder)
        closedir(folder);
    else if (errno != ENOENT)
        return error_set(err, ERROR_IO, "cannot read %s: %s", devices, strerror(errno));
    return 0;
}

static int choose_method(struct pci_access *access, const struct pci_source *source, bool *empty, struct error *err)
{
    char path[PATH_MAX];
    access->error = leave_libpci;
    access->warning = access->debug = say_nothing;
    access->buscentric = 1; /* addresses and bytes as on the bus: the kernel's words are read by pci_scan */
    if (source->dump) {
        access->method = PCI_ACCESS_DUMP;
        return pci_set_param(access, (char[]){"dump.name"}, (char *)(uintptr_t)source->dump) == 0
                   ? check_dump(source->dump, err)
                   : error_set(err, ERROR_UNSUPPORTED, "this libpci reads no dumps");
    }
    access->method = PCI_ACCESS_SYS_BUS_PCI;
    if (!sysfs_path(path, sizeof path, "%s/sys/bus/pci/devices", pci_source_root(source)))
        return error_set(err, ERROR_BAD_ARGUMENT, "the path %s is too long", pci_source_root(source));
    bool has;
    int status = has_bus(path, &has, err);
    *empty = !has;
    *strrchr(path, '/') = '\0';
    if (status == 0 && pci_set_param(access, (char[]){"sysfs.path"}, path) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "this libpci cannot be told where sysfs is");
    return status;
}

int pci_access_read(const struct pci_source *source, struct pci_raw **out, size_t *n, struct error *err)
{
    bool empty = false;
    *out = NULL;
    *n = 0;
    struct pci_access *access = pci_alloc();
    int status = choose_method(access, source, &empty, err);
    if (status == 0 && !empty) status = read_all(access, source, out, n, err);
    pci_cleanup(access);
    if (status < 0) {
        free(*out);
        *out = NULL;
        *n = 0;
        return status;
    }
    if (*n > 0) {
        qsort(*out, *n, sizeof **out, compare_raw);
        *n = drop_doubles(*out, *n);
    }
    return 0;
}
