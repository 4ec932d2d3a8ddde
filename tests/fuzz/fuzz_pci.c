/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what other machines say of their PCI bus: first as a dump (`lspci -xxxx`) through libpci, then as configuration
 * space and as a hot-plug message. tests/unit/driver/pci_hostile_test.c has the cases that have names.
 */
#include "driver/pci_events.h"
#include "driver/pci_link.h"
#include "driver/pci_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

static void tell(const struct pci_function *function)
{
    char text[600];
    REQUIRE(function->role != PCI_ROLE_NONE || function->facts.header_type == 0);
    REQUIRE(pci_link_sentence(&function->now, &function->most, &function->slot, text, sizeof text)[0] != '\0');
    pci_aer_names(&function->facts.aer, text, sizeof text);
    pci_hidden_text(function->hidden, text, sizeof text);
}

static void scan(const uint8_t *bytes, size_t n_bytes)
{
    char path[64];
    struct pci_function *functions;
    size_t n;
    struct error err = {0};
    int fd = memfd_create("dump", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, bytes, n_bytes) == (ssize_t)n_bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int status = pci_scan(&(struct pci_source){.dump = path, .everything = true}, &functions, &n, &err);
    REQUIRE(status == 0 || (!functions && n == 0 && err.code == status && err.text[0]));
    for (size_t i = 0; i < n; i++) {
        REQUIRE(i == 0 || pci_address_compare(&functions[i - 1].address, &functions[i].address) < 0);
        tell(&functions[i]);
    }
    free(functions);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct pci_config config; /* of this call alone: too large for some stacks */
    struct pci_facts facts;
    struct pci_event event;
    struct pci_address address;
    scan(bytes, n_bytes);
    config.n_bytes = n_bytes < PCI_CONFIG_BYTES ? (uint32_t)n_bytes : PCI_CONFIG_BYTES;
    memcpy(config.bytes, bytes, config.n_bytes);
    pci_config_decode(&config, &facts);
    pci_event_parse((const char *)bytes, n_bytes, &event);
    REQUIRE(event.kind == PCI_EVENT_OTHER || pci_address_parse(event.address, &address));
    return 0;
}
