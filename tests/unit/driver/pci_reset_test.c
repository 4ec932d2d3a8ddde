/* SPDX-License-Identifier: Apache-2.0 */
/* Resets, users and registers of cards, on a machine of files: what is looked at before, and what is written then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/pci_bar.h"
#include "driver/pci_bind.h"
#include "driver/pci_reset.h"
#include "driver/pci_usage.h"
#include "driver/sysfs.h"
#include "tests/unit/machine_for_test.h"

#define USER "sys/bus/pci/devices/0000:3b:00.1"
#define MANAGEMENT "sys/bus/pci/devices/0000:3b:00.0"
#define PORT "sys/bus/pci/devices/0000:3a:00.0"

struct rig {
    struct machine machine;
    struct pci_source source;
    struct pci_function *functions;
    size_t n;
};

static void scan(struct rig *rig)
{
    struct error err = {0};
    free(rig->functions);
    if (pci_scan(&rig->source, &rig->functions, &rig->n, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(rig->n, 2);
}

static int set_up(void **state)
{
    struct rig *rig = *state = calloc(1, sizeof *rig);
    machine_make(&rig->machine, "healthy");
    rig->source.root = rig->machine.root;
    machine_write(&rig->machine, "proc/812/comm", "sluice\n");
    machine_write(&rig->machine, "proc/812/maps", "7f00 rw-p /usr/lib/libc.so.6\n");
    machine_link(&rig->machine, "proc/812/fd/0", "/dev/null");
    machine_write(&rig->machine, "proc/meminfo", "MemTotal: 1 kB\n");
    scan(rig);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    machine_drop(&rig->machine);
    free(rig->functions);
    free(rig);
    return 0;
}

static void assert_file(const struct rig *rig, const char *path, const char *wanted)
{
    char *text = machine_read(&rig->machine, path);
    assert_string_equal(text, wanted);
    free(text);
}

static int reset(const struct rig *rig, const char *address, enum pci_reset_kind kind, const char *words)
{
    struct error err = {0};
    int status = pci_reset(&rig->source, rig->functions, rig->n, address, kind, &err);
    if (words && !strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    if (!words && status < 0) fail_msg("%s", err.text);
    return status;
}

static void bus_reset_takes_all_functions_away_and_back(void **state)
{
    struct rig *rig = *state;
    uint8_t before[2], after[2];
    char path[256];
    machine_path(&rig->machine, PORT "/config", path, sizeof path);
    FILE *config = fopen(path, "re");
    assert_non_null(config);
    fseek(config, 0x3e, SEEK_SET);
    assert_int_equal(fread(before, 1, 2, config), 2);
    assert_int_equal(reset(rig, "0000:3b:00.1", PCI_RESET_BUS, NULL), 0);
    assert_file(rig, USER "/remove", "1");
    assert_file(rig, MANAGEMENT "/remove", "1");
    assert_file(rig, PORT "/rescan", "1");
    fseek(config, 0x3e, SEEK_SET);
    assert_int_equal(fread(after, 1, 2, config), 2);
    assert_memory_equal(before, after, 2); /* the reset bit is off again */
    fclose(config);
}

static void function_reset_is_the_kernels(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(reset(rig, "3b:00.1", PCI_RESET_FUNCTION, "no function-level reset (sluice cards --reset"),
                     ERROR_UNSUPPORTED);
    assert_file(rig, USER "/reset", "");
    machine_write(&rig->machine, USER "/reset_method", "flr bus\n");
    scan(rig);
    assert_int_equal(reset(rig, "0000:3b:00.1", PCI_RESET_FUNCTION, NULL), 0);
    assert_file(rig, USER "/reset", "1");
    char *method = machine_read(&rig->machine, USER "/reset_method"); /* a file keeps what was longer behind it */
    assert_memory_equal(method, "flr bus", 7);
    free(method);
    assert_file(rig, USER "/remove", "");
}

/* Whoever has a node of either function open, or registers mapped, is named, and nothing is touched. */
static void a_card_in_use_is_left_alone(void **state)
{
    static const char *const nodes[] = {"/dev/dri/renderD128", "/dev/xclmgmt15104",
                                        "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/resource2"};
    struct rig *rig = *state;
    for (size_t i = 0; i < 3; i++) {
        machine_link(&rig->machine, "proc/812/fd/9", nodes[i]);
        assert_int_equal(reset(rig, "0000:3b:00.1", PCI_RESET_BUS, "process 812 (sluice) has /"), ERROR_BUSY);
    }
    machine_remove(&rig->machine, "proc/812/fd/9");
    machine_write(&rig->machine, "proc/812/maps",
                  "7f00-7f10 rw-s 0 00:15 99    /sys/devices/x/0000:3b:00.1/resource0\n");
    assert_int_equal(reset(rig, "0000:3b:00.1", PCI_RESET_BUS, "is in use"), ERROR_BUSY);
    machine_write(&rig->machine, "proc/812/maps",
                  "7f00-7f10 rw-s 0 00:15 99    /sys/devices/x/0000:af:00.1/resource0\n");
    machine_link(&rig->machine, "proc/812/fd/9", "/dev/dri/renderD129");
    assert_file(rig, USER "/remove", "");
    assert_int_equal(reset(rig, "0000:3b:00.1", PCI_RESET_BUS, NULL), 0); /* another card's */
}

static void vfio_users_are_seen(void **state)
{
    struct rig *rig = *state;
    struct pci_user user;
    struct error err = {0};
    machine_link(&rig->machine, USER "/driver", "../../../../bus/pci/drivers/vfio-pci");
    machine_link(&rig->machine, "proc/812/fd/9", "/dev/vfio/41");
    scan(rig);
    assert_int_equal(pci_usage_find(&rig->source, &rig->functions[1], &user, &err), 1);
    assert_string_equal(user.what, "/dev/vfio/41");
    assert_string_equal(user.program, "sluice");
    assert_int_equal(pci_usage_find(&rig->source, &rig->functions[0], &user, &err), 0);
}

static void what_cannot_be_reset(void **state)
{
    struct rig *rig = *state;
    struct error err = {0};
    assert_int_equal(reset(rig, "0000:99:00.0", PCI_RESET_BUS, "no FPGA card at 0000:99:00.0"), ERROR_NOT_FOUND);
    assert_int_equal(reset(rig, "here", PCI_RESET_BUS, "is no PCI address"), ERROR_BAD_ARGUMENT);
    machine_write(&rig->machine, PORT "/0000:3b:02.0/class", "0x020000\n");
    assert_int_equal(reset(rig, "3b:00.1", PCI_RESET_BUS, "0000:3b:02.0 is on the same bus and no FPGA card"),
                     ERROR_UNSUPPORTED);
    assert_file(rig, USER "/remove", "");
    free(rig->functions);
    struct pci_source dump = {.dump = FIXTURES "/pci/healthy.dump"};
    assert_int_equal(pci_scan(&dump, &rig->functions, &rig->n, &err), 0);
    assert_int_equal(reset(rig, "3b:00.1", PCI_RESET_BUS, "known from a dump only"), ERROR_UNSUPPORTED);
}

/* The last function that cannot be taken away: what went before comes back all the same. */
static void a_failed_reset_brings_back_what_it_took(void **state)
{
    struct rig *rig = *state;
    machine_remove(&rig->machine, USER "/remove");
    assert_int_equal(reset(rig, "3b:00.1", PCI_RESET_BUS, "/remove: No such file"), ERROR_IO);
    assert_file(rig, MANAGEMENT "/remove", "1");
    assert_file(rig, PORT "/rescan", "1");
}

static void registers_are_read_and_written_by_width(void **state)
{
    struct rig *rig = *state;
    struct error err = {0};
    struct pci_registers registers;
    uint8_t bytes[4096] = {0x78, 0x56, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x90};
    char *after;
    machine_write_bytes(&rig->machine, USER "/resource0", bytes, sizeof bytes);
    assert_int_equal(pci_bar_open(rig->functions[1].folder, 0, &registers, &err), 0);
    assert_int_equal(registers.bytes, 4096);
    assert_int_equal(pci_read8(&registers, 1), 0x56);
    assert_int_equal(pci_read16(&registers, 2), 0x1234);
    assert_int_equal(pci_read32(&registers, 0), 0x12345678);
    assert_true(pci_read64(&registers, 0) == UINT64_C(0x90abcdef12345678));
    assert_int_equal(pci_read32(&registers, 4096), UINT32_MAX); /* outside, as from a card that is gone */
    assert_int_equal(pci_read32(&registers, 2), UINT32_MAX);    /* not aligned */
    assert_true(pci_read64(&registers, UINT64_MAX - 7) == UINT64_MAX);
    pci_write32(&registers, 4, 0x11223344);
    pci_write8(&registers, 0, 0x55);
    pci_write16(&registers, 4095, 0x5555);
    pci_bar_close(&registers);
    assert_null(registers.base);
    after = machine_read(&rig->machine, USER "/resource0");
    assert_memory_equal(after, "\x55\x56\x34\x12\x44\x33\x22\x11", 8);
    assert_int_equal(after[4095], 0);
    free(after);
}

static void registers_that_cannot_be_mapped(void **state)
{
    struct rig *rig = *state;
    struct error err = {0};
    struct pci_registers registers;
    assert_int_equal(pci_bar_open(rig->functions[1].folder, 4, &registers, &err), ERROR_NOT_FOUND);
    assert_int_equal(pci_bar_open(rig->functions[1].folder, 6, &registers, &err), ERROR_BAD_ARGUMENT);
    machine_write(&rig->machine, USER "/resource0", "");
    assert_int_equal(pci_bar_open(rig->functions[1].folder, 0, &registers, &err), ERROR_UNSUPPORTED);
    machine_write(&rig->machine, USER "/enable", "0\n");
    assert_int_equal(pci_bar_open(rig->functions[1].folder, 0, &registers, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "echo 1 >"));
    assert_null(registers.base);
}

static void binding_writes_what_the_kernel_reads(void **state)
{
    struct rig *rig = *state;
    struct error err = {0};
    assert_int_equal(pci_bind(&rig->source, &rig->functions[1], "vfio-pci", &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "modprobe vfio-pci"));
    machine_write(&rig->machine, "sys/bus/pci/drivers/vfio-pci/bind", "");
    machine_write(&rig->machine, "sys/bus/pci/drivers_probe", "");
    machine_write(&rig->machine, USER "/driver_override", "");
    assert_int_equal(pci_bind(&rig->source, &rig->functions[1], "vfio-pci", &err), ERROR_CARD); /* still xocl */
    assert_file(rig, USER "/driver_override", "vfio-pci");
    assert_file(rig, "sys/bus/pci/drivers_probe", "0000:3b:00.1");
    machine_link(&rig->machine, USER "/driver", "/sys/bus/pci/drivers/vfio-pci");
    assert_int_equal(pci_bind(&rig->source, &rig->functions[1], "vfio-pci", &err), 0);
}

int main(void)
{
#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RIGGED(bus_reset_takes_all_functions_away_and_back),
        RIGGED(function_reset_is_the_kernels),
        RIGGED(a_card_in_use_is_left_alone),
        RIGGED(vfio_users_are_seen),
        RIGGED(what_cannot_be_reset),
        RIGGED(a_failed_reset_brings_back_what_it_took),
        RIGGED(registers_are_read_and_written_by_width),
        RIGGED(registers_that_cannot_be_mapped),
        RIGGED(binding_writes_what_the_kernel_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
