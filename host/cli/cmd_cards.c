/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/pci_reset.h"
#include "host/card/card.h"
#include "host/cli/cards_report.h"
#include "host/cli/cards_watch.h"
#include "host/cli/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cards_options {
    struct watch_options watch;
    bool watching;
    const char *reset, *by;
};

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

/* A backend that was not told with what is no failure: nothing of it was tried. */
static const char *failed_state(const struct error *err)
{
    return err->detail == CARD_NOT_CONFIGURED ? "not configured" : "failed";
}

static void print_backends(void)
{
    for (const char *const *name = card_backends(); *name; name++) {
        struct card_info info;
        struct error err = {0};
        if (describe_backend(*name, &info, &err) < 0) {
            const char *state = failed_state(&err);
            printf("%-14s %-10s %-10s%s %s\n", *name, "-", state, strlen(state) > 10 ? ":" : "", err.text);
            continue;
        }
        char memory[16];
        snprintf(memory, sizeof memory, "%.1f GiB", (double)total_bytes(&info) / (1 << 30));
        printf("%-14s %-10s %-10s %s\n", *name, memory, "ready", info.name);
    }
}

static void add_backends(json_t *cards)
{
    for (const char *const *name = card_backends(); *name; name++) {
        struct card_info info;
        struct error err = {0};
        json_t *card;
        if (describe_backend(*name, &info, &err) < 0)
            card = json_pack("{s:s, s:s, s:s}", "card", *name, "state", failed_state(&err), "error", err.text);
        else
            card = json_pack("{s:s, s:s, s:s, s:I, s:i}", "card", *name, "state", "ready", "name", info.name,
                             "memory_bytes", (json_int_t)total_bytes(&info), "abi", (int)info.abi_version);
        json_array_append_new(cards, card);
    }
}

/* Backends are this machine's: they are left out where another machine is looked at. */
static bool elsewhere(const struct pci_source *source) { return source->root || source->dump; }

static int print_all(const struct pci_source *source, const struct pci_function *functions, size_t n)
{
    printf("%-14s %-10s %-10s %s\n", "CARD", "MEMORY", "STATE", "WHAT IT IS");
    if (!elsewhere(source)) print_backends();
    cards_print(functions, n);
    return EXIT_DONE;
}

static int print_json(const struct pci_source *source, const struct pci_function *functions, size_t n)
{
    json_t *cards = json_array();
    if (!elsewhere(source)) add_backends(cards);
    for (size_t i = 0; i < n; i++) json_array_append_new(cards, cards_json(&functions[i]));
    int failed = json_dumpf(cards, stdout, JSON_INDENT(2));
    json_decref(cards);
    putchar('\n');
    return failed ? failure("cards: cannot write the list") : EXIT_DONE;
}

static int reset(const struct cards_options *o, const struct pci_function *functions, size_t n)
{
    struct error err = {0};
    enum pci_reset_kind kind = strcmp(o->by, "bus") == 0 ? PCI_RESET_BUS : PCI_RESET_FUNCTION;
    if (pci_reset(&o->watch.source, functions, n, o->reset, kind, &err) < 0) return failure("cards: %s", err.text);
    printf("%s is reset\n", o->reset);
    return EXIT_DONE;
}

static int list(const struct cards_options *o)
{
    struct pci_function *functions;
    size_t n;
    struct error err = {0};
    if (pci_scan(&o->watch.source, &functions, &n, &err) < 0) return failure("cards: %s", err.text);
    int status = o->reset        ? reset(o, functions, n)
                 : o->watch.json ? print_json(&o->watch.source, functions, n)
                                 : print_all(&o->watch.source, functions, n);
    free(functions);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct cards_options o = {.watch = {.interval = 1}};
    const struct option table[] = {
        {"json", 0, OPTION_FLAG, &o.watch.json, NULL, "print a JSON array (--watch: an object a line)", 0, 0},
        {"watch", 'w', OPTION_FLAG, &o.watching, NULL, "sensors again and again; cards that come and go", 0, 0},
        {"interval", 0, OPTION_FLOAT, &o.watch.interval, "S", "seconds between two rounds of --watch (default 1)", 0.05,
         86400},
        {"rounds", 'n', OPTION_U32, &o.watch.rounds, "N", "end --watch after so many rounds", 1, 4294967295.0},
        {"reset", 0, OPTION_TEXT, &o.reset, "ADDRESS", "reset a card that nobody uses (root); --by says how", 0, 0},
        {"by", 0, OPTION_TEXT, &o.by, "HOW", "flr: this function; bus: the whole card, its link anew (default flr)", 0,
         0},
        {"dump", 0, OPTION_TEXT, &o.watch.source.dump, "FILE", "cards of another machine, from its `lspci -xxxx`", 0,
         0},
        {"root", 0, OPTION_TEXT, &o.watch.source.root, "DIR", "cards of another machine, from a copy of its /sys", 0,
         0},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, NULL, 0, &n_operands);
    if (status >= 0) return status;
    if (o.by && !o.reset) return usage_error(self, "--by needs --reset ADDRESS");
    if (!o.by) o.by = "flr";
    if (strcmp(o.by, "flr") != 0 && strcmp(o.by, "bus") != 0)
        return usage_error(self, "--by %s: allowed is flr, bus", o.by);
    if (o.watching && o.reset) return usage_error(self, "--watch and --reset: one of them");
    if (o.watch.rounds > 0 && !o.watching) return usage_error(self, "--rounds needs --watch");
    return o.watching ? cards_watch(&o.watch) : list(&o);
}

const struct command command_cards = {
    .name = "cards",
    .synopsis = "[--json] [--watch] [--reset ADDRESS [--by flr|bus]] [--dump FILE | --root DIR]",
    .summary = "list every card: backend or PCIe address, link, sensors, errors, state",
    .details =
        "The sim and ref cards are always there. Reading needs no root; what needs it is said. `sluice doctor` tells\n"
        "what is missing before a card serves.",
    .run = run,
};
