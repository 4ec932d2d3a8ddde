/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_ids.h"

#include <stdbool.h>
#include <stddef.h>

#define F1_TOOLS "AWS F1: its own tools load images; no backend here has been tried"
#define F2_TOOLS "AWS F2: its own tools load images; no backend here has been tried"

enum runtime { XRT, XRT_TO_2023, XRT_OLD, AVED };
static const char *const runtime_words[] = {
    [XRT] = "XRT",
    [XRT_TO_2023] = "XRT up to 2023.2 (2024.1 dropped this card)",
    [XRT_OLD] = "an old XRT (today's does not list this platform)",
    [AVED] = "AVED and QDMA, not XRT: no backend here",
};

/* Alveo platforms have two functions: management with an even device number, user with the odd one behind it. */
struct alveo {
    uint16_t management, user, golden; /* golden 0: none known */
    const char *name, *profile;
    enum runtime runtime;
};
static const struct alveo alveos[] = {
    {0x5000, 0x5001, 0xd000, "Alveo U200", "u200", XRT},
    {0x5004, 0x5005, 0xd004, "Alveo U250", "u250", XRT},
    {0x5008, 0x5009, 0xd008, "Alveo U280 (ES1)", NULL, XRT_TO_2023},
    {0x500c, 0x500d, 0xd00c, "Alveo U280", "u280", XRT_TO_2023},
    {0x5010, 0x5011, 0, "Alveo U200 (QDMA)", "u200", XRT_OLD},
    {0x5014, 0x5015, 0, "Alveo U250 (QDMA)", "u250", XRT_OLD},
    {0x501c, 0x501d, 0, "Alveo U280 (QDMA)", "u280", XRT_OLD},
    {0x5020, 0x5021, 0xd020, "Alveo U50", "u50", XRT},
    {0x503c, 0x503d, 0xd03c, "Alveo U30", NULL, XRT},
    {0x5048, 0x5049, 0, "Versal VCK5000", NULL, XRT},
    {0x5050, 0x5051, 0xd04c, "Alveo U25", NULL, XRT},
    {0x5058, 0x5059, 0, "Alveo U55N", NULL, XRT_TO_2023},
    {0x505c, 0x505d, 0, "Alveo U55C", "u55c", XRT},
    {0x5060, 0x5061, 0, "Alveo U50LV", NULL, XRT_TO_2023},
    {0x506c, 0x506d, 0, "Alveo U50C", NULL, XRT},
    {0x5074, 0x5075, 0, "Alveo X3522PV", NULL, XRT},
    {0x5094, 0x5095, 0, "Alveo V70", NULL, XRT},
    {0x50b4, 0x50b5, 0, "Alveo V80", "v80", AVED},
    {0x513c, 0x513d, 0, "Alveo U30", NULL, XRT},
};

static enum pci_role identify_xilinx(uint16_t device, struct pci_model *model)
{
    for (size_t i = 0; i < sizeof alveos / sizeof alveos[0]; i++) {
        const struct alveo *card = &alveos[i];
        bool user = device == card->user, golden = card->golden && device == card->golden;
        if (!user && !golden && device != card->management) continue;
        *model = (struct pci_model){card->name, card->profile, runtime_words[card->runtime], NULL, 0};
        if (card->runtime == XRT_TO_2023) model->last_xrt = 16; /* 2023.2 */
        if (card->runtime != AVED) model->xrt_driver = user ? "xocl" : "xclmgmt";
        return user ? PCI_ROLE_USER : golden ? PCI_ROLE_GOLDEN : PCI_ROLE_MANAGEMENT;
    }
    *model = (struct pci_model){"Xilinx device", NULL, "not a card that Sluice knows", NULL, 0};
    return PCI_ROLE_OTHER;
}

/* AWS: the image names its own application function within 0xf000 to 0xffff; a cleared slot has a number of its own. */
static enum pci_role identify_amazon(uint16_t device, struct pci_model *model)
{
    if (device == 0x9048) {
        *model = (struct pci_model){"AWS F2 (VU47P)", NULL, F2_TOOLS, NULL, 0};
        return PCI_ROLE_USER;
    }
    if (device == 0x1042 || device >= 0xf000) {
        *model = (struct pci_model){device == 0x1042 ? "AWS F1 (VU9P)" : "AWS FPGA image", NULL, F1_TOOLS, "xocl", 0};
        return PCI_ROLE_USER;
    }
    if (device == 0x1041) {
        *model = (struct pci_model){"AWS F1 (VU9P)", NULL, F1_TOOLS, NULL, 0};
        return PCI_ROLE_MANAGEMENT;
    }
    return PCI_ROLE_NONE;
}

enum pci_role pci_identify(uint16_t vendor, uint16_t device, struct pci_model *model)
{
    *model = (struct pci_model){NULL, NULL, NULL, NULL, 0};
    if (vendor == PCI_VENDOR_XILINX) return identify_xilinx(device, model);
    if (vendor == PCI_VENDOR_AMAZON) return identify_amazon(device, model);
    if (vendor != PCI_VENDOR_ADVANTECH || (device != 0x0065 && device != 0x006c)) return PCI_ROLE_NONE;
    *model = (struct pci_model){"Advantech VEGA", NULL, runtime_words[XRT], device == 0x0065 ? "xocl" : "xclmgmt", 0};
    return device == 0x0065 ? PCI_ROLE_USER : PCI_ROLE_MANAGEMENT;
}

const char *pci_role_name(enum pci_role role)
{
    static const char *const names[] = {[PCI_ROLE_NONE] = "none",
                                        [PCI_ROLE_USER] = "user",
                                        [PCI_ROLE_MANAGEMENT] = "management",
                                        [PCI_ROLE_GOLDEN] = "golden",
                                        [PCI_ROLE_OTHER] = "other"};
    return names[role];
}
