/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/bitstream_check.h"
#include "host/cli/doctor.h"
#include "host/cli/shell_name.h"
#include "kernels/abi/card_program.h"

#include <stdio.h>
#include <string.h>

/* Whether it can be loaded on a card; unknown shells and cards without a profile count as yes. */
static bool suits(const struct bitstream *bitstream, const struct pci_function *card)
{
    char shell[SHELL_NAME_BYTES];
    if (card->model.profile && strcmp(card->model.profile, bitstream->manifest.card) != 0) return false;
    return !shell_name(card, shell) || shell_same(bitstream->xclbin.header.platform, shell);
}

/* It must suit one card; that it does not suit the others is worth a note then. */
static void compare_with_card(struct doctor *doctor, const struct bitstream *bitstream, const struct pci_function *card,
                              enum finding_level unsuited)
{
    char shell[SHELL_NAME_BYTES], mend[300];
    if (suits(bitstream, card)) {
        doctor_add(doctor, FINDING_GOOD, "bitstream", "", "suits %s, card and shell", card->text);
        return;
    }
    if (!shell_name(card, shell)) shell[0] = '\0';
    snprintf(mend, sizeof mend,
             "take a bitstream for %s%s%.100s, or load its shell: xbmgmt program --shell FILE.xsabin",
             card->model.profile ? card->model.profile : card->model.name, shell[0] ? " and the shell " : "", shell);
    doctor_add(doctor, unsuited, "bitstream", mend, "made for the card %s with the shell %s; %s is %s with %s",
               bitstream->manifest.card, bitstream->xclbin.header.platform, card->text,
               card->model.profile ? card->model.profile : card->model.name, shell[0] ? shell : "an unknown shell");
}

static void compare_with_cards(struct doctor *doctor, const struct bitstream *bitstream)
{
    bool suits_one = false;
    for (size_t i = 0; i < doctor->n; i++)
        suits_one =
            suits_one || (doctor->functions[i].role == PCI_ROLE_USER && suits(bitstream, &doctor->functions[i]));
    for (size_t i = 0; i < doctor->n; i++)
        if (doctor->functions[i].role == PCI_ROLE_USER)
            compare_with_card(doctor, bitstream, &doctor->functions[i], suits_one ? FINDING_NOTE : FINDING_PROBLEM);
}

static void look_inside(struct doctor *doctor, struct bitstream *bitstream)
{
    struct bitstream_policy policy = {.allow_unsigned = false};
    struct error err = {0};
    char mend[300];
    if (manifest_check_abi(&bitstream->manifest, &err) < 0)
        doctor_add(doctor, FINDING_PROBLEM, "bitstream", "build one for this release: bitstreams/build/README.md", "%s",
                   err.text);
    else
        doctor_add(doctor, FINDING_GOOD, "bitstream", "", "card ABI %u, which this release speaks",
                   bitstream->manifest.abi_version);
    compare_with_cards(doctor, bitstream);
    snprintf(mend, sizeof mend, "sluice bitstream verify %.200s", doctor->bitstream);
    err = (struct error){0};
    if (bitstream_check(bitstream, doctor->bitstream, &policy, &err) < 0)
        doctor_add(doctor, FINDING_WARNING, "bitstream", mend, "not to be trusted as it is: %s", err.text);
    else
        doctor_add(doctor, FINDING_GOOD, "bitstream", "", "content as its manifest says, signed by %s",
                   bitstream->key_name);
}

void doctor_look_at_bitstream(struct doctor *doctor)
{
    struct bitstream bitstream;
    struct error err = {0};
    if (!doctor->bitstream) {
        doctor_add(doctor, FINDING_NOTE, "bitstream", "sluice doctor --bitstream FILE.xclbin",
                   "none was named; this release speaks card ABI %u and %u", CARD_ABI_VERSION, CARD_ABI_OLDEST);
        return;
    }
    if (bitstream_open(doctor->bitstream, NULL, &bitstream, &err) < 0) {
        doctor_add(doctor, FINDING_PROBLEM, "bitstream", "sluice bitstream inspect FILE shows what it is", "%s",
                   err.text);
        return;
    }
    look_inside(doctor, &bitstream);
    bitstream_close(&bitstream);
}
