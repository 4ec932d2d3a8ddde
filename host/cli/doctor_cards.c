/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_link.h"
#include "driver/sysfs.h"
#include "host/cli/doctor.h"
#include "host/cli/link_cost.h"
#include "host/cli/shell_name.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MANY_CORRECTED 100u /* a link corrects some at boot; hundreds are a bad contact */

static void name_about(const char *what, const struct pci_function *card, char out[40])
{
    snprintf(out, 40, "%s %s", what, card->text);
}

static bool module_is_loaded(const struct doctor *doctor, const char *module)
{
    char path[PATH_MAX];
    struct stat there;
    return doctor_path(doctor, path, sizeof path, "/sys/bus/pci/drivers/%s", module) && stat(path, &there) == 0;
}

static void look_at_driver(struct doctor *doctor, const struct pci_function *card)
{
    const char *needed = card->model.xrt_driver;
    char about[40], mend[300];
    if (!card->driver_known || !needed) return;
    name_about("driver", card, about);
    if (strcmp(card->driver, needed) == 0) {
        doctor_add(doctor, FINDING_GOOD, about, "", "%s", needed);
    } else if (!module_is_loaded(doctor, needed)) {
        snprintf(
            mend, sizeof mend,
            "modprobe %s (no such module: install AMD's XRT package, which builds it: apt-get install ./xrt_*.deb)",
            needed);
        doctor_add(doctor, FINDING_PROBLEM, about, mend, "%s is not loaded, so the %s function has %s%s", needed,
                   pci_role_name(card->role), card->driver[0] ? "the driver " : "no driver", card->driver);
    } else if (card->driver[0] == '\0') {
        snprintf(mend, sizeof mend, "echo %s > /sys/bus/pci/drivers/%s/bind", card->text, needed);
        doctor_add(doctor, FINDING_PROBLEM, about, mend, "no driver is bound; the %s function needs %s",
                   pci_role_name(card->role), needed);
    } else {
        snprintf(mend, sizeof mend,
                 "echo %s > /sys/bus/pci/drivers/%.63s/unbind; echo > /sys/bus/pci/devices/%s/driver_override; "
                 "echo %s > /sys/bus/pci/drivers/%s/bind",
                 card->text, card->driver, card->text, card->text, needed);
        doctor_add(doctor, FINDING_PROBLEM, about, mend, "%s is bound; the %s function needs %s", card->driver,
                   pci_role_name(card->role), needed);
    }
}

static void look_at_link(struct doctor *doctor, const struct pci_function *card)
{
    char about[40], says[400], cost[220] = "";
    enum pci_link_state state = pci_link_judge(&card->now, &card->most, &card->slot);
    name_about("link", card, about);
    pci_link_sentence(&card->now, &card->most, &card->slot, says, sizeof says);
    if (state == PCI_LINK_SLOT || state == PCI_LINK_DOWN)
        link_cost_sentence(card->model.profile, &card->now, cost, sizeof cost);
    if (state == PCI_LINK_GOOD)
        doctor_add(doctor, FINDING_GOOD, about, "", "%s", says);
    else if (state == PCI_LINK_UNKNOWN)
        doctor_add(doctor, FINDING_NOTE, about, "sudo sluice doctor", "%s", says);
    else if (state == PCI_LINK_NONE)
        doctor_add(doctor, FINDING_PROBLEM, about, "reseat the card, then reboot", "%s", says);
    else
        doctor_add(doctor, FINDING_WARNING, about,
                   state == PCI_LINK_SLOT ? "move the card to a wider slot"
                                          : "reseat the card, then reboot, and look again: sluice cards",
                   "%s. Cost: %s", says, cost);
}

static void look_at_errors(struct doctor *doctor, const struct pci_function *card)
{
    const struct pci_error_counts *errors = &card->errors;
    char about[40], names[300];
    name_about("errors", card, about);
    if (!errors->known && pci_aer_names(&card->facts.aer, names, sizeof names)[0])
        doctor_add(doctor, FINDING_WARNING, about, "reseat the card and check its riser and power cable; then reboot",
                   "PCIe error bits are set: %s", names);
    if (!errors->known) return;
    const char *mend = "reseat the card and check its riser and power cable; then reboot, which counts from 0";
    if (errors->fatal + errors->nonfatal > 0)
        doctor_add(doctor, errors->fatal > 0 ? FINDING_PROBLEM : FINDING_WARNING, about, mend,
                   "%llu fatal, %llu other uncorrected and %llu corrected errors on PCIe since boot",
                   (unsigned long long)errors->fatal, (unsigned long long)errors->nonfatal,
                   (unsigned long long)errors->correctable);
    else if (errors->correctable >= MANY_CORRECTED)
        doctor_add(doctor, FINDING_WARNING, about, mend, "%llu corrected errors on PCIe since boot (most: %s)",
                   (unsigned long long)errors->correctable, errors->most);
    else
        doctor_add(doctor, FINDING_GOOD, about, "", "%llu corrected, none else",
                   (unsigned long long)errors->correctable);
}

static void look_at_power(struct doctor *doctor, const struct pci_function *card)
{
    char about[40], mend[200];
    if (strncmp(card->power, "D3", 2) != 0) return;
    name_about("power", card, about);
    snprintf(mend, sizeof mend, "echo on > /sys/bus/pci/devices/%s/power/control", card->text);
    doctor_add(doctor, FINDING_PROBLEM, about, mend, "the function sleeps (%s)", card->power);
}

static void look_at_shell(struct doctor *doctor, const struct pci_function *card)
{
    char about[40], mend[200], path[PATH_MAX], shell[SHELL_NAME_BYTES];
    int64_t offline = 0;
    if (strcmp(card->driver, "xocl") != 0) return;
    name_about("shell", card, about);
    snprintf(mend, sizeof mend, "xbutil reset --device %s (after: sluice doctor)", card->text);
    if (sysfs_path(path, sizeof path, "%s/dev_offline", card->folder) && sysfs_read_i64(path, &offline) && offline)
        doctor_add(doctor, FINDING_PROBLEM, about, mend, "XRT's driver says that the card is offline");
    else if (shell_name(card, shell))
        doctor_add(doctor, FINDING_GOOD, about, "", "%s", shell);
    else
        doctor_add(doctor, FINDING_WARNING, about, "xbmgmt examine --device ADDRESS of the management function",
                   "XRT's driver does not say which shell is loaded");
}

static void look_at_card(struct doctor *doctor, const struct pci_function *card)
{
    char about[40], mend[200];
    name_about("card", card, about);
    if (card->facts.gone) {
        doctor_add(doctor, FINDING_PROBLEM, about,
                   "check slot and power cable; then, as root: echo 1 > /sys/bus/pci/rescan, or reboot",
                   "the %s does not answer: it was pulled out, has no power or fell off the bus", card->model.name);
        return;
    }
    if (card->role == PCI_ROLE_GOLDEN) {
        snprintf(mend, sizeof mend, "xbmgmt program --base --device %s, then power the machine off and on", card->text);
        doctor_add(doctor, FINDING_PROBLEM, about, mend, "the %s has its factory image and no shell", card->model.name);
        return;
    }
    if (card->role == PCI_ROLE_USER) {
        bool served = strncmp(card->model.runtime, "XRT", 3) == 0;
        doctor_add(doctor, served ? FINDING_GOOD : FINDING_WARNING, about,
                   served ? "" : "use the card sim until a backend for this one is there: sluice serve --card sim",
                   "%s, by %s", card->model.name, card->model.runtime);
        look_at_link(doctor, card);
        look_at_errors(doctor, card);
        look_at_shell(doctor, card);
    }
    look_at_driver(doctor, card);
    look_at_power(doctor, card);
}

void doctor_look_at_cards(struct doctor *doctor)
{
    if (doctor->n == 0)
        doctor_add(
            doctor, FINDING_NOTE, "cards",
            "reseat it and look at power and slot; lspci -d 10ee: must list it (none needed: sluice serve runs on "
            "the simulated card)",
            "no FPGA card on PCIe");
    for (size_t i = 0; i < doctor->n; i++) look_at_card(doctor, &doctor->functions[i]);
}
