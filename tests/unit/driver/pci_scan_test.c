/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/pci_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_bus {
    char root[64];
};

static void write_attribute(const struct fake_bus *bus, const char *address, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", bus->root, address);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", bus->root, address, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_function(const struct fake_bus *bus, const char *address)
{
    const char *names[] = {"vendor", "device", "current_link_speed", "current_link_width"};
    char path[256];
    for (unsigned i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", bus->root, address, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/%s", bus->root, address);
    rmdir(path);
}

static int make_bus(void **state)
{
    struct fake_bus *bus = calloc(1, sizeof *bus);
    snprintf(bus->root, sizeof bus->root, "/tmp/sluice-pci-XXXXXX");
    *state = bus;
    return mkdtemp(bus->root) ? 0 : -1;
}

static int drop_bus(void **state)
{
    struct fake_bus *bus = *state;
    remove_function(bus, "0000:00:02.0");
    remove_function(bus, "0000:3b:00.0");
    remove_function(bus, "0000:3b:00.1");
    int failed = rmdir(bus->root);
    free(bus);
    return failed;
}

static void finds_only_xilinx_in_order(void **state)
{
    const struct fake_bus *bus = *state;
    write_attribute(bus, "0000:3b:00.1", "vendor", "0x10ee\n");
    write_attribute(bus, "0000:3b:00.1", "device", "0x505d\n");
    write_attribute(bus, "0000:3b:00.1", "current_link_speed", "8.0 GT/s PCIe\n");
    write_attribute(bus, "0000:3b:00.1", "current_link_width", "16\n");
    write_attribute(bus, "0000:3b:00.0", "vendor", "0x10ee\n");
    write_attribute(bus, "0000:00:02.0", "vendor", "0x8086\n");
    struct pci_function functions[4];
    struct error err = {0};
    unsigned n_found;
    assert_int_equal(pci_scan(bus->root, functions, 4, &n_found, &err), 0);
    assert_int_equal(n_found, 2);
    assert_string_equal(functions[0].address, "0000:3b:00.0");
    assert_int_equal(functions[0].device, 0); /* unreadable */
    assert_int_equal(functions[1].device, 0x505d);
    assert_int_equal(functions[1].link_width, 16);
    assert_string_equal(functions[1].link_speed, "8.0 GT/s PCIe");

    assert_int_equal(pci_scan(bus->root, functions, 1, &n_found, &err), 0);
    assert_int_equal(n_found, 2); /* more than there was room for */
}

static void machine_without_pci_has_no_cards(void **state)
{
    (void)state;
    unsigned n_found = 99;
    struct error err = {0};
    assert_int_equal(pci_scan("/nonexistent/pci", NULL, 0, &n_found, &err), 0);
    assert_int_equal(n_found, 0);
}

static void unreadable_folder_is_an_error(void **state)
{
    (void)state;
    unsigned n_found;
    struct error err = {0};
    assert_int_equal(pci_scan("/proc/self/status", NULL, 0, &n_found, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "/proc/self/status"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_only_xilinx_in_order, make_bus, drop_bus),
        cmocka_unit_test(machine_without_pci_has_no_cards),
        cmocka_unit_test(unreadable_folder_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
