/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/cards_report.h"

#include "driver/hwmon.h"
#include "driver/pci_link.h"
#include "driver/xmc.h"
#include "host/cli/link_cost.h"
#include "host/cli/print_text.h"
#include "host/cli/shell_name.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *card_state(const struct pci_function *function)
{
    const char *needed = function->model.xrt_driver;
    if (function->facts.gone) return "gone";
    if (function->role == PCI_ROLE_GOLDEN) return "golden image";
    if (function->role == PCI_ROLE_OTHER || !needed || !function->driver_known) return "found";
    if (function->driver[0] == '\0') return "no driver";
    if (strcmp(function->driver, needed) != 0) return "wrong driver";
    return function->role == PCI_ROLE_MANAGEMENT ? "management" : "ready";
}

/* By hwmon, else as XRT's own tools read them. */
static size_t read_sensors(const struct pci_function *function, struct sensor *sensors)
{
    size_t n = hwmon_read(function->folder, sensors, CARDS_MAX_SENSORS);
    if (n == 0) n = xmc_read(function->folder, sensors, CARDS_MAX_SENSORS);
    return n < CARDS_MAX_SENSORS ? n : CARDS_MAX_SENSORS;
}

/* Names of drivers, sensors and error kinds come from outside. */
static void print_foreign(const char *text) { print_text(text, strlen(text), SIZE_MAX, ""); }

static void print_numbers(const struct pci_function *function)
{
    struct sensor sensors[CARDS_MAX_SENSORS];
    double temperature, power;
    char link[24];
    hwmon_summary(sensors, read_sensors(function, sensors), &temperature, &power);
    printf("  %-10s", pci_link_text(&function->now, link, sizeof link));
    if (function->numa_node >= 0) printf("  node %d", function->numa_node);
    if (function->iommu_group >= 0) printf("  iommu group %d", function->iommu_group);
    if (function->power[0]) {
        fputs("  ", stdout);
        print_foreign(function->power);
    }
    if (!isnan(temperature)) printf("  %.0f C", temperature);
    if (!isnan(power)) printf("  %.1f W", power);
    putchar('\n');
}

static void print_content(const struct pci_function *function)
{
    char shell[SHELL_NAME_BYTES], bitstream[SHELL_NAME_BYTES];
    if (shell_name(function, shell)) {
        fputs("    shell: ", stdout);
        print_foreign(shell);
        putchar('\n');
    }
    if (loaded_bitstream(function, bitstream)) {
        fputs("    bitstream: ", stdout);
        print_foreign(bitstream);
        putchar('\n');
    }
}

/* The link is the card's: it is told once, with its user function or what stands for it. */
static void print_link(const struct pci_function *function)
{
    char text[500], cost[600];
    enum pci_link_state state = pci_link_judge(&function->now, &function->most, &function->slot);
    if (state == PCI_LINK_GOOD || state == PCI_LINK_UNKNOWN) return;
    printf("    link: %s\n", pci_link_sentence(&function->now, &function->most, &function->slot, text, sizeof text));
    if (state != PCI_LINK_NONE && function->model.profile)
        printf("    cost: %s\n", link_cost_sentence(function->model.profile, &function->now, cost, sizeof cost));
}

static void print_errors(const struct pci_function *function)
{
    const struct pci_error_counts *errors = &function->errors;
    char names[300];
    if (errors->known && errors->correctable + errors->nonfatal + errors->fatal > 0) {
        printf("    errors since boot: %llu corrected", (unsigned long long)errors->correctable);
        if (errors->most[0]) {
            fputs(" (most: ", stdout);
            print_foreign(errors->most);
            putchar(')');
        }
        printf(", %llu not fatal, %llu fatal\n", (unsigned long long)errors->nonfatal,
               (unsigned long long)errors->fatal);
    }
    if (pci_aer_names(&function->facts.aer, names, sizeof names)[0]) printf("    error bits: %s\n", names);
}

static void print_trouble(const struct pci_function *function)
{
    char text[300];
    const char *needed = function->model.xrt_driver;
    if (function->facts.gone) puts("    it does not answer: pulled out, without power, or fallen off the bus");
    if (function->facts.damaged) puts("    its list of capabilities is damaged");
    if (needed && function->driver_known && strcmp(function->driver, needed) != 0 && !function->facts.gone)
        printf("    it needs the driver %s: `sluice doctor` tells how\n", needed);
    if (function->role == PCI_ROLE_GOLDEN) puts("    factory image: no shell is loaded (xbmgmt program --base)");
    if (function->role == PCI_ROLE_USER && strcmp(function->model.runtime, "XRT") != 0)
        printf("    runtime: %s\n", function->model.runtime);
    if (pci_hidden_text(function->hidden, text, sizeof text)[0]) printf("    not shown: %s\n", text);
}

void cards_print(const struct pci_function *functions, size_t n)
{
    if (n == 0) puts("No FPGA card on PCIe.");
    for (size_t i = 0; i < n; i++) {
        const struct pci_function *function = &functions[i];
        bool leads = function->role != PCI_ROLE_MANAGEMENT || i + 1 == n || !pci_same_slot(function, &functions[i + 1]);
        printf("%-14s %-10s %-10s %s, %s", function->text, "-", card_state(function), function->model.name,
               pci_role_name(function->role));
        if (function->driver[0]) {
            fputs(", driver ", stdout);
            print_foreign(function->driver);
        }
        putchar('\n');
        fputs("    ", stdout);
        print_numbers(function);
        print_content(function);
        if (leads) print_link(function);
        print_errors(function);
        print_trouble(function);
    }
}

static json_t *link_json(const struct pci_link *link)
{
    double rate = pci_link_bytes_per_s(link);
    if (rate <= 0) return json_null();
    return json_pack("{s:i, s:i, s:f}", "generation", (int)link->generation, "lanes", (int)link->lanes, "gb_per_s",
                     rate / 1e9);
}

static json_t *link_report(const struct pci_function *function)
{
    static const char *const states[] = {[PCI_LINK_UNKNOWN] = "unknown",
                                         [PCI_LINK_GOOD] = "good",
                                         [PCI_LINK_SLOT] = "slot is too small",
                                         [PCI_LINK_DOWN] = "trained down",
                                         [PCI_LINK_NONE] = "down"};
    char text[500], cost[600];
    enum pci_link_state state = pci_link_judge(&function->now, &function->most, &function->slot);
    json_t *link = json_pack("{s:s, s:o, s:o, s:o, s:s}", "state", states[state], "now", link_json(&function->now),
                             "card", link_json(&function->most), "slot", link_json(&function->slot), "says",
                             pci_link_sentence(&function->now, &function->most, &function->slot, text, sizeof text));
    if (link && function->model.profile && (state == PCI_LINK_SLOT || state == PCI_LINK_DOWN))
        json_object_set_new(
            link, "cost", json_string(link_cost_sentence(function->model.profile, &function->now, cost, sizeof cost)));
    return link;
}

static json_t *errors_json(const struct pci_function *function)
{
    const struct pci_error_counts *errors = &function->errors;
    char names[300];
    json_t *report = json_object();
    if (errors->known) {
        json_object_set_new(report, "corrected", json_integer((json_int_t)errors->correctable));
        json_object_set_new(report, "not_fatal", json_integer((json_int_t)errors->nonfatal));
        json_object_set_new(report, "fatal", json_integer((json_int_t)errors->fatal));
        json_object_set_new(report, "most", json_string(errors->most));
    }
    if (function->facts.aer.found)
        json_object_set_new(report, "bits", json_string(pci_aer_names(&function->facts.aer, names, sizeof names)));
    return report;
}

static json_t *bars_json(const struct pci_function *function)
{
    json_t *bars = json_array();
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &function->bar[i];
        if (bar->present)
            json_array_append_new(bars, json_pack("{s:i, s:I, s:I, s:b, s:b}", "number", (int)i, "address",
                                                  (json_int_t)bar->address, "bytes", (json_int_t)bar->bytes, "io",
                                                  bar->io, "prefetchable", bar->prefetchable));
    }
    return bars;
}

/* What a script would have to take for a string is one: a driver's label that is no UTF-8 is left out. */
static json_t *sensors_json(const struct pci_function *function)
{
    struct sensor sensors[CARDS_MAX_SENSORS];
    size_t n = read_sensors(function, sensors);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *label = json_string(sensors[i].label);
        json_t *one = json_pack("{s:s, s:o*, s:f, s:s}", "kind", sensor_kind_name(sensors[i].kind), "label", label,
                                "value", sensors[i].value, "unit", sensor_unit(sensors[i].kind));
        if (!isnan(sensors[i].critical)) json_object_set_new(one, "critical", json_real(sensors[i].critical));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *number_or_null(int value) { return value >= 0 ? json_integer(value) : json_null(); }

json_t *cards_json(const struct pci_function *function)
{
    char hidden[300], speed[24], text[SHELL_NAME_BYTES];
    snprintf(speed, sizeof speed, "Gen%u", function->now.generation);
    json_t *card = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:s, s:i}", "card", function->text, "state",
                             card_state(function), "name", function->model.name, "role", pci_role_name(function->role),
                             "runtime", function->model.runtime, "vendor", (int)function->facts.vendor, "device",
                             (int)function->facts.device, "class", (int)function->facts.class_code, "link_speed",
                             function->now.generation ? speed : "", "link_width", (int)function->now.lanes);
    if (!card) return NULL;
    json_object_set_new(card, "link", link_report(function));
    json_object_set_new(card, "bars", bars_json(function));
    json_object_set_new(card, "numa_node", number_or_null(function->numa_node));
    json_object_set_new(card, "iommu_group", number_or_null(function->iommu_group));
    json_object_set_new(card, "driver", function->driver_known ? json_string(function->driver) : json_null());
    json_object_set_new(card, "power_state", json_string(function->power));
    json_object_set_new(card, "port", json_string(function->port));
    json_object_set_new(card, "function_reset", json_boolean(function->facts.function_reset));
    json_object_set_new(card, "shell", shell_name(function, text) ? json_string(text) : json_null());
    json_object_set_new(card, "bitstream", loaded_bitstream(function, text) ? json_string(text) : json_null());
    json_object_set_new(card, "errors", errors_json(function));
    json_object_set_new(card, "sensors", sensors_json(function));
    json_object_set_new(card, "not_readable", json_string(pci_hidden_text(function->hidden, hidden, sizeof hidden)));
    return card;
}

json_t *cards_sensors_json(const struct pci_function *function)
{
    return json_pack("{s:s, s:s, s:s, s:o}", "card", function->text, "name", function->model.name, "state",
                     card_state(function), "sensors", sensors_json(function));
}

void cards_print_sensors(const struct pci_function *function)
{
    struct sensor sensors[CARDS_MAX_SENSORS];
    size_t n = read_sensors(function, sensors);
    printf("%-14s %-12s %-14s", function->text, card_state(function), function->model.name);
    if (n == 0) fputs("  no sensors", stdout);
    for (size_t i = 0; i < n; i++) {
        fputs("  ", stdout);
        print_foreign(sensors[i].label);
        printf(" %.4g %s", sensors[i].value, sensor_unit(sensors[i].kind));
        if (sensors[i].value >= sensors[i].critical) fputs(" (CRITICAL)", stdout);
    }
    putchar('\n');
}
