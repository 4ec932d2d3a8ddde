/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice doctor`: a machine on which all is well, and one thing after the other that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/abi/card_program.h"
#include "tests/unit/cli/call_for_test.h"
#include "tests/unit/machine_for_test.h"

#define USER "sys/bus/pci/devices/0000:3b:00.1"

static struct machine machine;

/* Modes stand for who may open a node: the files are the account's that runs the test. */
static void set_mode(const char *path, unsigned mode)
{
    char full[256];
    machine_path(&machine, path, full, sizeof full);
    assert_int_equal(chmod(full, mode), 0);
}

/* The account "serving" has an id that nobody has here, and is in the group of the files. */
static void write_accounts(const char *members)
{
    char group[200];
    machine_write(&machine, "etc/passwd",
                  "root:x:0:0::/:/bin/sh\nserving:x:54321:54321::/:/bin/false\nalien:x:54322:54322::/:/bin/false\n");
    snprintf(group, sizeof group, "render:x:%u:%s\nserving:x:54321:\n", (unsigned)getgid(), members);
    machine_write(&machine, "etc/group", group);
}

static void make_machine(const char *name)
{
    machine_make(&machine, name);
    write_accounts("serving");
    machine_write(&machine, "dev/dri/renderD128", "");
    machine_write(&machine, "dev/xclmgmt15104", "");
    set_mode("dev/dri/renderD128", 0660);
    set_mode("dev/xclmgmt15104", 0600);
    machine_write(&machine, "opt/xilinx/xrt/lib/libxrt_coreutil.so.2.13.0", "");
    machine_link(&machine, "opt/xilinx/xrt/lib/libxrt_coreutil.so.2", "libxrt_coreutil.so.2.13.0");
    machine_write(&machine, "sys/module/xocl/version", "2.13.466,f5505e402c2ca1ffe45eb6d3a9399b23a0dc8776\n");
    machine_write(&machine, "sys/module/xclmgmt/version", "2.13.466\n");
    machine_write(&machine, "etc/OpenCL/vendors/xilinx.icd", "libxilinxopencl.so\n");
    machine_write(&machine, "opt/xilinx/xrt/lib/libxilinxopencl.so", "");
    machine_write(&machine, "proc/self/limits",
                  "Limit                     Soft Limit           Hard Limit           Units     \n"
                  "Max locked memory         unlimited            unlimited            bytes     \n");
    machine_write(&machine, "proc/meminfo",
                  "MemTotal:       131072000 kB\nHugePages_Free:        0\nHugepagesize:       2048 kB\n");
    machine_write(&machine, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    machine_write(&machine, "sys/devices/system/node/online", "0\n");
}

static int set_up(void **state)
{
    (void)state;
    make_machine("healthy");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    machine_drop(&machine);
    return 0;
}

/* Runs the doctor for an account; NULL words: nothing is wrong, else one finding of that level has them, and a way to mend it. */
static void expect_for(const char *account, const char *level, const char *words)
{
    int status = call(&command_doctor, "", "--root", machine.root, "--user", account, "--json", NULL);
    json_t *report = json_loads(out.bytes, 0, NULL), *finding;
    size_t i;
    bool found = false;
    assert_non_null(report);
    int problems = (int)json_integer_value(json_object_get(report, "problems"));
    assert_int_equal(status, problems > 0);
    json_array_foreach(json_object_get(report, "findings"), i, finding)
    {
        const char *text = json_string_value(json_object_get(finding, "text"));
        const char *its = json_string_value(json_object_get(finding, "level"));
        const char *mend = json_string_value(json_object_get(finding, "mend"));
        assert_true(strcmp(its, "problem") != 0 || mend[0] != '\0');
        if (!words && strcmp(its, "good") != 0 && strcmp(its, "note") != 0) fail_msg("%s: %s", its, text);
        if (words && strcmp(its, level) == 0 && (strstr(text, words) || strstr(mend, words))) found = true;
    }
    if (words && !found) fail_msg("no %s \"%s\" in %s", level, words, out.bytes);
    json_decref(report);
}

static void expect(const char *level, const char *words) { expect_for("serving", level, words); }

static void all_is_well(void **state)
{
    (void)state;
    expect(NULL, NULL);
    assert_int_equal(call(&command_doctor, "", "--root", machine.root, "--user", "serving", NULL), 0);
    assert_non_null(strstr(out.bytes, "Nothing is in the way."));
    expect("good", "serving may open /dev/dri/renderD128");
    expect("good", "the management function is apart");
    expect("good", "version 2.13.0 in /opt/xilinx/xrt/lib");
    expect("good", "xilinx_u55c_gen3x16_xdma_base_3");
}

static void who_may_open_what(void **state)
{
    (void)state;
    expect_for("alien", "problem", "usermod -aG render alien");
    set_mode("dev/dri/renderD128", 0600);
    expect("problem", "chgrp render /dev/dri/renderD128");
    set_mode("dev/dri/renderD128", 0666);
    expect_for("alien", NULL, NULL);
    set_mode("dev/xclmgmt15104", 0666);
    expect("warning", "may open the management function");
    set_mode("dev/xclmgmt15104", 0600);
    machine_remove(&machine, "dev/dri/renderD128");
    expect("problem", "/dev/dri/renderD128 is not there");
    machine_remove(&machine, USER "/drm/renderD128/uevent");
    expect("problem", "made no /dev/dri/renderD");
    assert_int_equal(call(&command_doctor, "", "--root", machine.root, "--user", "nobody-at-all", NULL), 1);
    assert_says("there is no account \"nobody-at-all\"");
}

static void runtime_is_missing_or_another(void **state)
{
    (void)state;
    machine_write(&machine, "sys/module/xocl/version", "2.16.204\n");
    expect("warning", "two releases of XRT");
    machine_write(&machine, "etc/OpenCL/vendors/lost.icd", "libnowhere.so\n");
    expect("warning", "lost.icd names libnowhere.so");
    machine_remove(&machine, "etc/OpenCL/vendors/lost.icd");
    machine_write(&machine, "etc/OpenCL/vendors/empty.icd", "");
    expect("warning", "empty.icd cannot be read or is empty");
    machine_remove(&machine, "opt/xilinx/xrt/lib/libxrt_coreutil.so.2");
    machine_remove(&machine, "opt/xilinx/xrt/lib/libxrt_coreutil.so.2.13.0");
    expect("problem", "apt-get install libxrt1");
}

static void drivers(void **state)
{
    (void)state;
    machine_remove(&machine, USER "/driver");
    expect("problem", "modprobe xocl");
    machine_write(&machine, "sys/bus/pci/drivers/xocl/bind", "");
    expect("problem", "echo 0000:3b:00.1 > /sys/bus/pci/drivers/xocl/bind");
    machine_link(&machine, USER "/driver", "../../../../bus/pci/drivers/vfio-pci");
    expect("problem", "echo 0000:3b:00.1 > /sys/bus/pci/drivers/vfio-pci/unbind");
}

static void states_of_a_card(void **state)
{
    (void)state;
    machine_write(&machine, USER "/power_state", "D3hot\n");
    expect("problem", "echo on > /sys/bus/pci/devices/0000:3b:00.1/power/control");
    machine_write(&machine, USER "/power_state", "D0\n");
    machine_write(&machine, USER "/dev_offline", "1\n");
    expect("problem", "xbutil reset --device 0000:3b:00.1");
    machine_write(&machine, USER "/dev_offline", "0\n");
    machine_remove(&machine, USER "/rom.u.5242880/VBNV");
    expect("warning", "does not say which shell");
    machine_write(&machine, USER "/aer_dev_correctable", "BadTLP 4000\nTOTAL_ERR_COR 4000\n");
    expect("warning", "4000 corrected errors");
    machine_write(&machine, USER "/aer_dev_fatal", "DLP 1\nTOTAL_ERR_FATAL 1\n");
    expect("problem", "1 fatal");
}

static void limits_of_the_host(void **state)
{
    (void)state;
    machine_write(&machine, "proc/self/limits",
                  "Max locked memory         8388608              8388608              bytes\n");
    expect("warning", "8192 KiB may be locked");
    machine_write(&machine, "sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    expect("warning", "echo madvise >");
    machine_write(&machine, "proc/meminfo", "HugePages_Free:      512\nHugepagesize:       2048 kB\n");
    expect("good", "512 of 2048 KiB are free");
    machine_write(&machine, "sys/devices/system/node/online", "0-1\n");
    machine_write(&machine, "sys/devices/system/node/node0/cpulist", "0-15,32-47\n");
    machine_write(&machine, "proc/self/status", "Name:\tsluice\nCpus_allowed_list:\t0-63\n");
    expect("note", "numactl --cpunodebind=0 --membind=0");
    machine_write(&machine, "proc/self/status", "Name:\tsluice\nCpus_allowed_list:\t3,32-40\n");
    expect("good", "the card is on node 0, and so is this process");
    machine_write(&machine, USER "/numa_node", "-1\n");
    expect("warning", "not which one the card is on");
    machine_write(&machine, "sys/devices/system/node/online", "0-99999999\n"); /* nonsense is no finding */
    machine_write(&machine, "proc/self/limits", "Max locked memory unlimited unlimited bytes\n");
    expect(NULL, NULL);
}

static void other_machines(void **state)
{
    (void)state;
    static const struct {
        const char *name, *level, *words;
    } machines[] = {
        {"downtrained", "warning", "gpt-oss-120b"},
        {"narrow-slot", "warning", "move the card to a wider slot"},
        {"aer", "warning", "2 other uncorrected"},
        {"gone", "problem", "echo 1 > /sys/bus/pci/rescan"},
        {"v80", "warning", "AVED"},
        {"aws-f2", "warning", "AWS F2"},
        {"no-cards", "note", "no FPGA card"},
    };
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        machine_drop(&machine);
        make_machine(machines[i].name);
        expect(machines[i].level, machines[i].words);
    }
    machine_drop(&machine);
    make_machine("u280");
    expect(NULL, NULL); /* 2.13 serves it */
    machine_write(&machine, "opt/xilinx/xrt/lib/libxrt_coreutil.so.2.17.319", "");
    expect("problem", "XRT 2.17.319 does not serve the Alveo U280");
    assert_int_equal(call(&command_doctor, "", "--dump", FIXTURES "/pci/aer.dump", NULL), 0);
    assert_non_null(strstr(out.bytes, "error bits are set: Completion Timeout"));
}

static void expect_of_bitstream(const char *path, int status, const char *words)
{
    int got = call(&command_doctor, "", "--root", machine.root, "--user", "serving", "--bitstream", path, NULL);
    if (!strstr(out.bytes, words)) fail_msg("no \"%s\" in %s", words, out.bytes);
    assert_int_equal(got, status);
}

static void bitstreams(void **state)
{
    (void)state;
    char path[256], wrong[256];
    machine_path(&machine, "u55c.xclbin", path, sizeof path);
    machine_path(&machine, "u50.xclbin", wrong, sizeof wrong);
    assert_int_equal(call(&command_bitstream, "", "build", path, "--card", "u55c", NULL), 0);
    assert_int_equal(call(&command_bitstream, "", "build", wrong, "--card", "u50", NULL), 0);
    expect_of_bitstream(
        path, 1, "made for the card u55c with the shell sluice_u55c_simulator_1; 0000:3b:00.1 is u55c with xilinx");
    machine_write(&machine, USER "/rom.u.5242880/VBNV", "sluice:u55c:simulator:1\n");
    expect_of_bitstream(path, 0, "suits 0000:3b:00.1, card and shell");
    expect_of_bitstream(path, 0, "which this release speaks");
    expect_of_bitstream(path, 0, "it is not signed");
    expect_of_bitstream(wrong, 1, "made for the card u50");
    for (unsigned abi = CARD_ABI_OLDEST - 1; abi <= CARD_ABI_VERSION + 1; abi++) {
        const bool spoken = abi >= CARD_ABI_OLDEST && abi <= CARD_ABI_VERSION;
        char number[12], words[100];
        snprintf(number, sizeof number, "%u", abi);
        snprintf(words, sizeof words,
                 spoken ? "card ABI %u, which this release speaks" : "its kernels speak card ABI %u", abi);
        assert_int_equal(call(&command_bitstream, "", "build", path, "--card", "u55c", "--abi", number, NULL), 0);
        expect_of_bitstream(path, spoken ? 0 : 1, words);
        assert_int_equal(call(&command_bitstream, "", "verify", path, NULL), 1); /* not signed either */
        if (!spoken) assert_non_null(strstr(err.bytes, words));
    }
    machine_write(&machine, "u55c.xclbin", "xclbin2");
    expect_of_bitstream(path, 1, "u55c.xclbin");
    expect_of_bitstream("/no/such.xclbin", 1, "/no/such.xclbin");
}

static void on_this_machine(void **state)
{
    (void)state;
    assert_in_range(call(&command_doctor, "", NULL), 0, 1); /* whatever is in it */
    assert_true(out.length > 0);
    assert_int_equal(call(&command_doctor, "", "--wrong", NULL), 2);
}

int main(void)
{
#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RIGGED(all_is_well),    RIGGED(who_may_open_what), RIGGED(runtime_is_missing_or_another),
        RIGGED(drivers),        RIGGED(states_of_a_card),  RIGGED(limits_of_the_host),
        RIGGED(other_machines), RIGGED(bitstreams),        cmocka_unit_test(on_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, free_texts);
}
