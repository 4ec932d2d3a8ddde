/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GENERATION 6u

/* 2.5 and 5 GT/s with 8b/10b, 8 to 32 GT/s with 128b/130b, 64 GT/s in flits of 242 of 256 bytes. */
static const double lane_bytes_per_s[MAX_GENERATION + 1] = {
    0, 2.5e9 / 10, 5e9 / 10, 8e9 * 128 / 130 / 8, 16e9 * 128 / 130 / 8, 32e9 * 128 / 130 / 8, 64e9 * 242 / 256 / 8};

double pci_link_bytes_per_s(const struct pci_link *link)
{
    if (link->generation > MAX_GENERATION) return 0;
    return lane_bytes_per_s[link->generation] * link->lanes;
}

const char *pci_link_text(const struct pci_link *link, char *out, unsigned size)
{
    if (pci_link_bytes_per_s(link) > 0)
        snprintf(out, size, "Gen%u x%u", link->generation, link->lanes);
    else
        snprintf(out, size, "unknown");
    return out;
}

struct pci_link pci_link_of_sysfs(const char *speed, const char *width)
{
    static const double rates[MAX_GENERATION + 1] = {0, 2.5, 5, 8, 16, 32, 64};
    struct pci_link link = {0, 0};
    double rate = strtod(speed, NULL);
    unsigned long lanes = strtoul(width, NULL, 10);
    for (unsigned i = 1; i <= MAX_GENERATION; i++)
        if (rate == rates[i]) link.generation = i;
    if (lanes <= 32) link.lanes = (unsigned)lanes; /* the kernel says 255 for a function that is gone */
    return link;
}

static bool known(const struct pci_link *link) { return pci_link_bytes_per_s(link) > 0; }

/* What both ends can do. */
static struct pci_link common(const struct pci_link *a, const struct pci_link *b)
{
    return (struct pci_link){a->generation < b->generation ? a->generation : b->generation,
                             a->lanes < b->lanes ? a->lanes : b->lanes};
}

static bool reaches(const struct pci_link *now, const struct pci_link *want)
{
    return now->generation >= want->generation && now->lanes >= want->lanes;
}

enum pci_link_state pci_link_judge(const struct pci_link *now, const struct pci_link *most, const struct pci_link *slot)
{
    if (known(most) && now->generation > 0 && now->lanes == 0) return PCI_LINK_NONE;
    if (!known(now) || !known(most)) return PCI_LINK_UNKNOWN;
    if (reaches(now, most)) return PCI_LINK_GOOD;
    if (!known(slot)) return PCI_LINK_DOWN;
    struct pci_link could = common(most, slot);
    return reaches(now, &could) ? PCI_LINK_SLOT : PCI_LINK_DOWN;
}

const char *pci_link_sentence(const struct pci_link *now, const struct pci_link *most, const struct pci_link *slot,
                              char *out, unsigned size)
{
    char is[24], card[24], port[24];
    double rate = pci_link_bytes_per_s(now), best = pci_link_bytes_per_s(most);
    enum pci_link_state state = pci_link_judge(now, most, slot);
    pci_link_text(now, is, sizeof is);
    pci_link_text(most, card, sizeof card);
    pci_link_text(slot, port, sizeof port);
    if (state == PCI_LINK_NONE)
        snprintf(out, size, "the link is down: no lane is up (reseat the card, then reboot)");
    else if (state == PCI_LINK_UNKNOWN && !known(now))
        snprintf(out, size, "the link is not readable here");
    else if (state == PCI_LINK_UNKNOWN)
        snprintf(out, size, "%s, %.1f GB/s; what the card can do is not readable here", is, rate / 1e9);
    else if (state == PCI_LINK_GOOD)
        snprintf(out, size, "%s, %.1f GB/s: all that the card can do", is, rate / 1e9);
    else if (state == PCI_LINK_SLOT)
        snprintf(out, size,
                 "%s, %.1f GB/s: %.0f %% of what the card can do (%s), because its slot has no more than %s (move the "
                 "card to a slot with %s)",
                 is, rate / 1e9, 100 * rate / best, card, port, card);
    else if (!known(slot))
        snprintf(out, size,
                 "%s, %.1f GB/s: %.0f %% of what the card can do (%s); what the slot can do is not readable here "
                 "(look up the slot, else reseat the card)",
                 is, rate / 1e9, 100 * rate / best, card);
    else
        snprintf(out, size,
                 "%s, %.1f GB/s: %.0f %% of what the card can do (%s), and the slot can do %s, so it was trained down "
                 "(reseat the card, check riser and BIOS setting of the slot, then reboot)",
                 is, rate / 1e9, 100 * rate / best, card, port);
    return out;
}
