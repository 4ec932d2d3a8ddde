/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_scan.h"
#include "host/card/card.h"
#include "host/cli/commands.h"

#include <jansson.h>
#include <stdio.h>

#define MAX_PCI_FUNCTIONS 64

/* Opens the backend, describes it and closes it again. */
static int describe_backend(const char *name, struct card_info *info, struct error *err)
{
    struct card *card;
    int status = card_open(name, &(struct card_options){0}, &card, err);
    if (status < 0) return status;
    card_describe(card, info);
    card_close(card);
    return 0;
}

static uint64_t total_bytes(const struct card_info *info)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < info->n_banks; i++) sum += info->bank[i].bytes;
    return sum;
}

static void print_table(const struct pci_function *functions, unsigned n_functions, unsigned n_found)
{
    printf("%-14s %-10s %-10s %s\n", "CARD", "MEMORY", "STATE", "WHAT IT IS");
    for (const char *const *name = card_backends(); *name; name++) {
        struct card_info info;
        struct error err = {0};
        if (describe_backend(*name, &info, &err) < 0) {
            printf("%-14s %-10s %-10s %s\n", *name, "-", "failed", err.text);
            continue;
        }
        char memory[16];
        snprintf(memory, sizeof memory, "%.1f GiB", (double)total_bytes(&info) / (1 << 30));
        printf("%-14s %-10s %-10s %s\n", *name, memory, "ready", info.name);
    }
    for (unsigned i = 0; i < n_functions; i++)
        printf("%-14s %-10s %-10s Xilinx device %04x, PCIe x%u %s; this build has no backend for it\n",
               functions[i].address, "-", "found", functions[i].device, functions[i].link_width,
               functions[i].link_speed);
    if (n_found == 0) puts("No Xilinx card on PCIe.");
    if (n_found > n_functions) printf("... and %u more PCIe functions\n", n_found - n_functions);
}

static int print_json(const struct pci_function *functions, unsigned n_functions)
{
    json_t *cards = json_array();
    for (const char *const *name = card_backends(); *name; name++) {
        struct card_info info;
        struct error err = {0};
        json_t *card;
        if (describe_backend(*name, &info, &err) < 0)
            card = json_pack("{s:s, s:s, s:s}", "card", *name, "state", "failed", "error", err.text);
        else
            card = json_pack("{s:s, s:s, s:s, s:I, s:i}", "card", *name, "state", "ready", "name", info.name,
                             "memory_bytes", (json_int_t)total_bytes(&info), "abi", (int)info.abi_version);
        json_array_append_new(cards, card);
    }
    for (unsigned i = 0; i < n_functions; i++)
        json_array_append_new(cards, json_pack("{s:s, s:s, s:i, s:i, s:s, s:i}", "card", functions[i].address, "state",
                                               "found", "vendor", functions[i].vendor, "device", functions[i].device,
                                               "link_speed", functions[i].link_speed, "link_width",
                                               (int)functions[i].link_width));
    int failed = json_dumpf(cards, stdout, JSON_INDENT(2));
    json_decref(cards);
    putchar('\n');
    return failed ? failure("cards: cannot write the list") : EXIT_DONE;
}

static int run(const struct command *self, int argc, char **argv)
{
    bool json = false;
    const struct option table[] = {
        {"json", 0, OPTION_FLAG, &json, NULL, "print a JSON array", 0, 0},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, NULL, 0, &n_operands);
    if (status >= 0) return status;

    struct pci_function functions[MAX_PCI_FUNCTIONS];
    unsigned n_found;
    struct error err = {0};
    if (pci_scan("/sys/bus/pci/devices", functions, MAX_PCI_FUNCTIONS, &n_found, &err) < 0)
        return failure("cards: %s", err.text);
    unsigned n_functions = n_found < MAX_PCI_FUNCTIONS ? n_found : MAX_PCI_FUNCTIONS;
    if (json) return print_json(functions, n_functions);
    print_table(functions, n_functions, n_found);
    return EXIT_DONE;
}

const struct command command_cards = {
    .name = "cards",
    .synopsis = "[--json]",
    .summary = "list every card: backend or PCIe address, memory, state",
    .details = "The sim and ref cards are always there. Live sensors (--watch) come with the hardware backend.",
    .run = run,
};
