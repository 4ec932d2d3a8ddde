/* SPDX-License-Identifier: Apache-2.0 */
/* What a slow PCIe link costs in tokens/s, by the clock model of the card (host/plan). */
#ifndef SLUICE_CLI_LINK_COST_H
#define SLUICE_CLI_LINK_COST_H

#include "driver/pci_link.h"
#include "host/base/error.h"

#define LINK_COST_MODELS 2

struct link_cost {
    const char *model; /* static storage */
    const char *where; /* what goes over the link: "experts streamed from host memory"; static storage */
    double now, best;  /* tokens/s, one sequence: with this link, with the one that the card's profile has */
};

/*
 * Plans LINK_COST_MODELS models on the card of a profile ("u55c"), one that streams its experts and one that lies in card memory.
 * ERROR_UNSUPPORTED for a link that the clock has no model of (lanes that are no power of two). Takes some 0.1 s.
 */
int link_cost(const char *profile, const struct pci_link *now, struct link_cost out[LINK_COST_MODELS],
              struct error *err);

/* "gpt-oss-120b (experts streamed from host memory) 0.9 instead of 7.2 tokens/s, ..."; says why not, if not. Returns out. */
const char *link_cost_sentence(const char *profile, const struct pci_link *now, char *out, unsigned size);

#endif
