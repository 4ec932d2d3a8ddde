/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_config.h"

#include "host/base/bytes.h"

#include <stdio.h>
#include <string.h>

enum {
    CAPABILITY_POWER = 0x01,
    CAPABILITY_EXPRESS = 0x10,
    EXTENDED_AER = 0x0001,
    STATUS_HAS_CAPABILITIES = 1 << 4,
};

/* What does not lie within the bytes that were read counts as zero; fields that matter are looked at only where it does. */
static bool readable(const struct pci_config *config, uint32_t at, uint32_t n_bytes)
{
    return at <= config->n_bytes && n_bytes <= config->n_bytes - at && config->n_bytes <= PCI_CONFIG_BYTES;
}
static uint8_t get8(const struct pci_config *config, uint32_t at)
{
    return readable(config, at, 1) ? config->bytes[at] : 0;
}
static uint16_t get16(const struct pci_config *config, uint32_t at)
{
    return readable(config, at, 2) ? load_u16(config->bytes + at) : 0;
}
static uint32_t get32(const struct pci_config *config, uint32_t at)
{
    return readable(config, at, 4) ? load_u32(config->bytes + at) : 0;
}

static void decode_bars(const struct pci_config *config, struct pci_facts *facts)
{
    unsigned places = facts->header_type == 0 ? PCI_BARS : facts->header_type == 1 ? 2 : 0;
    for (unsigned i = 0; i < places; i++) {
        uint32_t low = get32(config, 0x10 + 4 * i);
        struct pci_config_bar *bar = &facts->bar[i];
        if (low == 0) continue;
        bar->present = true;
        bar->io = low & 1;
        bar->address = low & (bar->io ? ~UINT32_C(3) : ~UINT32_C(15));
        if (bar->io) continue;
        bar->prefetchable = low & 8;
        if ((low & 6) == 4 && i + 1 < places) {
            bar->wide = true;
            bar->address |= (uint64_t)get32(config, 0x14 + 4 * i) << 32;
            i++;
        }
    }
}

static void decode_express(const struct pci_config *config, uint32_t at, struct pci_facts *facts)
{
    if (!readable(config, at, 0x14)) return;
    uint32_t link_capabilities = get32(config, at + 0x0c);
    uint16_t link_status = get16(config, at + 0x12);
    facts->express = true;
    facts->function_reset = get32(config, at + 0x04) >> 28 & 1;
    facts->most = (struct pci_link){link_capabilities & 15, link_capabilities >> 4 & 63};
    facts->now = (struct pci_link){link_status & 15u, link_status >> 4 & 63u};
    facts->link_training = link_status >> 11 & 1;
}

static void decode_capabilities(const struct pci_config *config, struct pci_facts *facts)
{
    uint8_t at = get8(config, 0x34) & 0xfc;
    if (!(get16(config, 0x06) & STATUS_HAS_CAPABILITIES) || at == 0) return;
    facts->capabilities_hidden = config->n_bytes <= PCI_CONFIG_HEADER_BYTES;
    if (facts->capabilities_hidden) return;
    for (unsigned seen = 0; at != 0; seen++) {
        if (at < PCI_CONFIG_HEADER_BYTES || !readable(config, at, 2) || seen >= (256 - 64) / 4) {
            facts->damaged = true;
            return;
        }
        uint8_t id = config->bytes[at];
        if (id == CAPABILITY_POWER && readable(config, at, 6))
            facts->power = (enum pci_power)(get16(config, at + 4u) & 3);
        if (id == CAPABILITY_EXPRESS) decode_express(config, at, facts);
        at = config->bytes[at + 1] & 0xfc;
    }
}

static void decode_extended(const struct pci_config *config, struct pci_facts *facts)
{
    uint32_t at = PCI_CONFIG_LEGACY_BYTES;
    if (!readable(config, at, 4)) return;
    for (unsigned seen = 0; at != 0; seen++) {
        if (at < PCI_CONFIG_LEGACY_BYTES || !readable(config, at, 4) ||
            seen >= (PCI_CONFIG_BYTES - PCI_CONFIG_LEGACY_BYTES) / 8) {
            facts->damaged = true;
            return;
        }
        uint32_t header = get32(config, at);
        if (header == 0 || header == UINT32_MAX) return;
        if ((header & 0xffff) == EXTENDED_AER && readable(config, at, 0x14))
            facts->aer = (struct pci_config_aer){true, get32(config, at + 0x04), get32(config, at + 0x10)};
        at = header >> 20 & 0xffc;
    }
}

void pci_config_decode(const struct pci_config *config, struct pci_facts *facts)
{
    *facts = (struct pci_facts){.power = PCI_POWER_UNKNOWN};
    facts->vendor = get16(config, 0);
    facts->device = get16(config, 2);
    facts->gone = readable(config, 0, 4) && get32(config, 0) == UINT32_MAX;
    facts->short_header = config->n_bytes < PCI_CONFIG_HEADER_BYTES;
    if (facts->gone || facts->short_header) return;
    facts->command = get16(config, 0x04);
    facts->revision = get8(config, 0x08);
    facts->class_code = get32(config, 0x08) >> 8;
    facts->header_type = get8(config, 0x0e) & 0x7f;
    if (facts->header_type == 1)
        facts->secondary_bus = get8(config, 0x19);
    else if (facts->header_type == 0) {
        facts->subsystem_vendor = get16(config, 0x2c);
        facts->subsystem = get16(config, 0x2e);
    }
    decode_bars(config, facts);
    decode_capabilities(config, facts);
    decode_extended(config, facts);
}

struct bit_name {
    unsigned bit;
    const char *name;
};
static const struct bit_name uncorrectable[] = {
    {4, "Data Link Protocol"},
    {5, "Surprise Down"},
    {12, "Poisoned TLP"},
    {13, "Flow Control Protocol"},
    {14, "Completion Timeout"},
    {15, "Completer Abort"},
    {16, "Unexpected Completion"},
    {17, "Receiver Overflow"},
    {18, "Malformed TLP"},
    {19, "ECRC"},
    {20, "Unsupported Request"},
    {21, "ACS Violation"},
    {22, "Internal"},
};
static const struct bit_name correctable[] = {
    {0, "Receiver Error"},      {6, "Bad TLP"},         {7, "Bad DLLP"},
    {8, "Replay Rollover"},     {12, "Replay Timeout"}, {13, "Advisory Non-Fatal"},
    {14, "Corrected Internal"},
};

static void add_names(const struct bit_name *names, unsigned n, uint32_t bits, char *out, unsigned size)
{
    for (unsigned i = 0; i < n; i++) {
        size_t used = strlen(out);
        if (bits >> names[i].bit & 1) snprintf(out + used, size - used, "%s%s", used ? ", " : "", names[i].name);
    }
}

const char *pci_aer_names(const struct pci_config_aer *aer, char *out, unsigned size)
{
    out[0] = '\0';
    add_names(uncorrectable, sizeof uncorrectable / sizeof uncorrectable[0], aer->uncorrectable, out, size);
    add_names(correctable, sizeof correctable / sizeof correctable[0], aer->correctable, out, size);
    return out;
}
