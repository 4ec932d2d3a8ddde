/* SPDX-License-Identifier: Apache-2.0 */
/* The machines of tests/fixtures/pci, each by its dump (libpci's dump method) and by its sysfs (libpci's sysfs method). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/hwmon.h"
#include "driver/pci_link.h"
#include "driver/pci_scan.h"
#include "tests/unit/machine_for_test.h"

#include <math.h>

/* What a machine's cards are said to be, each way of looking at it. */
struct look {
    struct pci_function *functions;
    size_t n;
    struct machine machine;
    bool dump;
    char path[512];
};

static void look_at(struct look *look, const char *name, bool dump)
{
    struct error err = {0};
    struct pci_source source = {0};
    *look = (struct look){.dump = dump};
    if (dump) {
        snprintf(look->path, sizeof look->path, FIXTURES "/pci/%s.dump", name);
        source.dump = look->path;
    } else {
        machine_make(&look->machine, name);
        source.root = look->machine.root;
    }
    if (pci_scan(&source, &look->functions, &look->n, &err) < 0) fail_msg("%s: %s", name, err.text);
}

static void drop_look(struct look *look)
{
    free(look->functions);
    if (!look->dump) machine_drop(&look->machine);
}

static enum pci_link_state judge(const struct pci_function *function)
{
    return pci_link_judge(&function->now, &function->most, &function->slot);
}

static void assert_sentence(const struct pci_function *function, const char *words)
{
    char text[400];
    pci_link_sentence(&function->now, &function->most, &function->slot, text, sizeof text);
    if (!strstr(text, words)) fail_msg("\"%s\" does not say \"%s\"", text, words);
}

static void healthy_card(void **state)
{
    (void)state;
    for (int dump = 0; dump < 2; dump++) {
        struct look look;
        look_at(&look, "healthy", dump);
        assert_int_equal(look.n, 2);
        const struct pci_function *management = &look.functions[0], *user = &look.functions[1];
        assert_string_equal(management->text, "0000:3b:00.0");
        assert_int_equal(management->role, PCI_ROLE_MANAGEMENT);
        assert_string_equal(user->text, "0000:3b:00.1");
        assert_int_equal(user->role, PCI_ROLE_USER);
        assert_string_equal(user->model.name, "Alveo U55C");
        assert_string_equal(user->model.profile, "u55c");
        assert_int_equal(user->facts.class_code, 0x120000);
        assert_string_equal(user->port, "0000:3a:00.0");
        assert_int_equal(judge(user), PCI_LINK_GOOD);
        assert_sentence(user, "Gen3 x16, 15.8 GB/s: all that the card can do");
        assert_true(user->bar[0].present && user->bar[0].wide && user->bar[0].prefetchable && user->bar[2].present);
        assert_string_equal(user->power, "D0");
        assert_int_equal(user->facts.aer.uncorrectable | user->facts.aer.correctable, 0);
        assert_true(pci_same_slot(user, management));
        drop_look(&look);
    }
}

/* What only sysfs tells, and that a dump says that it does not. */
static void sysfs_tells_more(void **state)
{
    (void)state;
    char text[200];
    struct look look;
    look_at(&look, "healthy", false);
    const struct pci_function *user = &look.functions[1];
    assert_string_equal(user->driver, "xocl");
    assert_string_equal(look.functions[0].driver, "xclmgmt");
    assert_int_equal(user->numa_node, 0);
    assert_int_equal(user->iommu_group, 41);
    assert_int_equal(user->bar[0].address, 0x3b4000000);
    assert_int_equal(user->bar[0].bytes, 1 << 25);
    assert_int_equal(user->bar[2].bytes, 1 << 17);
    assert_string_equal(user->reset_methods, "bus");
    assert_true(user->errors.known);
    assert_int_equal(user->errors.correctable + user->errors.nonfatal + user->errors.fatal, 0);
    assert_string_equal(pci_hidden_text(user->hidden, text, sizeof text), "");
    drop_look(&look);
    look_at(&look, "healthy", true);
    user = &look.functions[1];
    assert_false(user->driver_known || user->errors.known);
    assert_int_equal(user->numa_node, -1);
    assert_int_equal(user->bar[0].address, 0x3b0000000);
    assert_int_equal(user->bar[0].bytes, 0);
    assert_string_equal(pci_hidden_text(user->hidden, text, sizeof text),
                        "driver, NUMA node, sensors and counted errors: not in a dump");
    drop_look(&look);
}

static void downtrained_and_narrow_links(void **state)
{
    (void)state;
    for (int dump = 0; dump < 2; dump++) {
        struct look look;
        look_at(&look, "downtrained", dump);
        assert_int_equal(judge(&look.functions[1]), PCI_LINK_DOWN);
        assert_sentence(&look.functions[1], "Gen1 x4, 1.0 GB/s: 6 % of what the card can do (Gen3 x16), and the slot "
                                            "can do Gen4 x16, so it was trained down (reseat");
        drop_look(&look);
        look_at(&look, "narrow-slot", dump);
        assert_int_equal(judge(&look.functions[1]), PCI_LINK_SLOT);
        assert_sentence(&look.functions[1], "because its slot has no more than Gen3 x4 (move the card to a slot with "
                                            "Gen3 x16)");
        drop_look(&look);
    }
}

static void errors_are_counted_and_named(void **state)
{
    (void)state;
    char names[300];
    struct look look;
    for (int dump = 0; dump < 2; dump++) {
        look_at(&look, "aer", dump);
        const struct pci_function *user = &look.functions[1];
        assert_string_equal(pci_aer_names(&user->facts.aer, names, sizeof names),
                            "Completion Timeout, Bad TLP, Replay Timeout");
        assert_int_equal(user->errors.known, !dump);
        if (!dump) {
            assert_int_equal(user->errors.correctable, 1853);
            assert_int_equal(user->errors.nonfatal, 2);
            assert_int_equal(user->errors.fatal, 0);
            assert_string_equal(user->errors.most, "BadTLP");
        }
        drop_look(&look);
    }
}

static void no_driver_is_bound(void **state)
{
    (void)state;
    struct look look;
    look_at(&look, "no-driver", false);
    assert_true(look.functions[1].driver_known);
    assert_string_equal(look.functions[1].driver, "");
    assert_string_equal(look.functions[1].model.xrt_driver, "xocl");
    drop_look(&look);
}

/* The kernel gives others than root 64 bytes; links, NUMA node and counted errors are in sysfs for all. */
static void without_root(void **state)
{
    (void)state;
    char text[200];
    struct look look;
    look_at(&look, "not-root", false);
    const struct pci_function *user = &look.functions[1];
    assert_int_equal(user->role, PCI_ROLE_USER);
    assert_true(user->facts.capabilities_hidden && !user->facts.express);
    assert_int_equal(judge(user), PCI_LINK_DOWN);
    assert_sentence(user, "Gen3 x8");
    assert_true(user->errors.known);
    assert_non_null(strstr(pci_hidden_text(user->hidden, text, sizeof text), "needs root"));
    drop_look(&look);
}

static void two_cards_on_two_nodes(void **state)
{
    (void)state;
    for (int dump = 0; dump < 2; dump++) {
        struct look look;
        look_at(&look, "two-cards", dump);
        assert_int_equal(look.n, 4);
        assert_string_equal(look.functions[1].model.name, "Alveo U55C");
        assert_string_equal(look.functions[3].model.name, "Alveo U50");
        assert_string_equal(look.functions[3].text, "0000:af:00.1");
        assert_string_equal(look.functions[3].port, "0000:ae:00.0");
        assert_false(pci_same_slot(&look.functions[1], &look.functions[3]));
        assert_int_equal(look.functions[1].numa_node, dump ? -1 : 0);
        assert_int_equal(look.functions[3].numa_node, dump ? -1 : 1);
        drop_look(&look);
    }
}

static void other_cards(void **state)
{
    (void)state;
    for (int dump = 0; dump < 2; dump++) {
        struct look look;
        look_at(&look, "u280", dump);
        assert_string_equal(look.functions[1].model.profile, "u280");
        assert_non_null(strstr(look.functions[1].model.runtime, "2024.1 dropped"));
        drop_look(&look);
        look_at(&look, "v80", dump);
        assert_string_equal(look.functions[1].model.name, "Alveo V80");
        assert_null(look.functions[1].model.xrt_driver);
        assert_sentence(&look.functions[1], "Gen5 x8, 31.5 GB/s: all");
        drop_look(&look);
        look_at(&look, "aws-f1", dump);
        assert_int_equal(look.n, 2);
        assert_int_equal(look.functions[0].role, PCI_ROLE_USER);
        assert_int_equal(look.functions[1].role, PCI_ROLE_MANAGEMENT);
        assert_string_equal(look.functions[0].port, "");
        assert_int_equal(judge(&look.functions[0]), PCI_LINK_GOOD);
        drop_look(&look);
        look_at(&look, "aws-f2", dump);
        assert_int_equal(look.n, 2);
        assert_string_equal(look.functions[0].model.name, "AWS F2 (VU47P)");
        assert_int_equal(look.functions[1].role, PCI_ROLE_MANAGEMENT);
        drop_look(&look);
        look_at(&look, "no-cards", dump);
        assert_int_equal(look.n, 0);
        drop_look(&look);
    }
}

static void a_card_off_the_bus(void **state)
{
    (void)state;
    struct look look;
    look_at(&look, "gone", false);
    assert_int_equal(look.n, 2);
    assert_true(look.functions[1].facts.gone);
    assert_string_equal(look.functions[1].model.name, "Alveo U55C");
    assert_int_equal(judge(&look.functions[1]), PCI_LINK_UNKNOWN);
    drop_look(&look);
}

static void sensors_have_labels_and_units(void **state)
{
    (void)state;
    struct sensor sensors[16];
    double temperature, power;
    struct look look;
    look_at(&look, "healthy", false);
    assert_int_equal(hwmon_read(look.functions[1].folder, sensors, 16), 5);
    assert_string_equal(sensors[1].label, "FPGA");
    assert_float_equal(sensors[1].value, 46.59, 1e-6);
    assert_float_equal(sensors[1].critical, 97, 1e-6);
    assert_true(isnan(sensors[0].critical));
    assert_int_equal(sensors[3].kind, SENSOR_VOLTAGE);
    assert_float_equal(sensors[3].value, 12.137, 1e-6);
    hwmon_summary(sensors, 5, &temperature, &power);
    assert_float_equal(temperature, 46.59, 1e-6);
    assert_float_equal(power, 24.31, 1e-6);
    assert_int_equal(hwmon_read(look.functions[1].folder, sensors, 2), 5); /* says how many there are */
    assert_int_equal(hwmon_read(look.functions[0].folder, sensors, 16), 0);
    machine_write(&look.machine, "sys/bus/pci/devices/0000:3b:00.1/hwmon/hwmon3/temp2_input", "high\n");
    assert_int_equal(hwmon_read(look.functions[1].folder, sensors, 16), 4);
    drop_look(&look);
}

static void machines_without_pci(void **state)
{
    (void)state;
    struct machine machine;
    struct error err = {0};
    struct pci_function *functions;
    size_t n = 7;
    machine_make(&machine, NULL);
    assert_int_equal(pci_scan(&(struct pci_source){.root = machine.root}, &functions, &n, &err), 0);
    assert_int_equal(n, 0);
    free(functions);
    machine_drop(&machine);
    assert_int_equal(pci_scan(&(struct pci_source){.dump = "/no/such/dump"}, &functions, &n, &err), ERROR_NOT_FOUND);
    assert_null(functions);
    assert_int_equal(pci_scan(&(struct pci_source){.dump = "/dev/zero"}, &functions, &n, &err), ERROR_BAD_FILE);
}

/* This machine's own bus, whatever is on it, is read without an error. */
static void this_machine(void **state)
{
    (void)state;
    struct error err = {0};
    struct pci_function *functions;
    size_t n;
    if (pci_scan(&(struct pci_source){.everything = true}, &functions, &n, &err) < 0) fail_msg("%s", err.text);
    free(functions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy_card),
        cmocka_unit_test(sysfs_tells_more),
        cmocka_unit_test(downtrained_and_narrow_links),
        cmocka_unit_test(errors_are_counted_and_named),
        cmocka_unit_test(no_driver_is_bound),
        cmocka_unit_test(without_root),
        cmocka_unit_test(two_cards_on_two_nodes),
        cmocka_unit_test(other_cards),
        cmocka_unit_test(a_card_off_the_bus),
        cmocka_unit_test(sensors_have_labels_and_units),
        cmocka_unit_test(machines_without_pci),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
