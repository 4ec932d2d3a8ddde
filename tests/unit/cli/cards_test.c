/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice cards` on the machines of tests/fixtures/pci. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/link_cost.h"
#include "tests/unit/cli/call_for_test.h"
#include "tests/unit/machine_for_test.h"

static void assert_prints(const char *words)
{
    if (!strstr(out.bytes, words)) fail_msg("\"%s\" does not have \"%s\"", out.bytes, words);
}

static void assert_silent(const char *words)
{
    if (strstr(out.bytes, words)) fail_msg("\"%s\" has \"%s\"", out.bytes, words);
}

static json_t *list_json(const char *way, const char *where)
{
    assert_int_equal(call(&command_cards, "", "--json", way, where, NULL), 0);
    json_t *cards = json_loads(out.bytes, 0, NULL);
    assert_non_null(cards);
    return cards;
}

static void table_of_a_healthy_card(void **state)
{
    (void)state;
    struct machine machine;
    machine_make(&machine, "healthy");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, NULL), 0);
    assert_prints("0000:3b:00.1   -          ready      Alveo U55C, user, driver xocl");
    assert_prints("0000:3b:00.0   -          management Alveo U55C, management, driver xclmgmt");
    assert_prints("Gen3 x16");
    assert_prints("47 C  24.3 W");
    assert_prints("shell: xilinx_u55c_gen3x16_xdma_base_3");
    assert_prints("bitstream: 7f1fb3e0-8a2c-4c3e-9d57-5b1f0e6a4b21");
    assert_silent("link:");
    assert_silent("errors");
    assert_silent("sim "); /* another machine's backends are not ours */
    machine_drop(&machine);
}

static void slow_link_in_words_and_tokens(void **state)
{
    (void)state;
    struct link_cost cost[LINK_COST_MODELS];
    struct error e = {0};
    assert_int_equal(call(&command_cards, "", "--dump", FIXTURES "/pci/downtrained.dump", NULL), 0);
    assert_prints("link: Gen1 x4, 1.0 GB/s: 6 % of what the card can do (Gen3 x16)");
    assert_prints("cost: gpt-oss-120b (experts streamed over the link) ");
    assert_prints("not shown: driver, NUMA node");
    assert_int_equal(link_cost("u55c", &(struct pci_link){1, 4}, cost, &e), 0);
    /* What streams comes as much slower as the link is, give or take what is computed beside it; what is resident hardly. */
    assert_true(cost[0].now < cost[0].best / 6 && cost[0].now > cost[0].best / 16);
    assert_true(cost[1].now > 0.9 * cost[1].best && cost[1].now < cost[1].best);
    assert_int_equal(link_cost("u55c", &(struct pci_link){3, 16}, cost, &e), 0);
    assert_true(cost[0].now == cost[0].best && cost[1].now == cost[1].best);
    static const struct {
        const char *card;
        struct pci_link link;
    } others[] = {{"u200", {3, 8}}, {"u280", {2, 16}}, {"u50", {1, 1}}, {"v80", {3, 4}}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (link_cost(others[i].card, &others[i].link, cost, &e) < 0) fail_msg("%s: %s", others[i].card, e.text);
        assert_true(cost[0].now < cost[0].best);
    }
    assert_int_equal(link_cost("u55c", &(struct pci_link){3, 12}, cost, &e), ERROR_UNSUPPORTED);
    assert_int_equal(link_cost("u55c", &(struct pci_link){0, 0}, cost, &e), ERROR_UNSUPPORTED);
}

static void errors_and_drivers(void **state)
{
    (void)state;
    struct machine machine;
    machine_make(&machine, "aer");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, NULL), 0);
    assert_prints("errors since boot: 1853 corrected (most: BadTLP), 2 not fatal, 0 fatal");
    assert_prints("error bits: Completion Timeout, Bad TLP, Replay Timeout");
    machine_drop(&machine);
    machine_make(&machine, "no-driver");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, NULL), 0);
    assert_prints("no driver  Alveo U55C, user");
    assert_prints("it needs the driver xocl");
    machine_drop(&machine);
    machine_make(&machine, "gone");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, NULL), 0);
    assert_prints("gone       Alveo U55C");
    assert_prints("it does not answer");
    machine_drop(&machine);
}

static void json_of_a_card(void **state)
{
    (void)state;
    const char *link_state, *driver, *says;
    double rate;
    int node, lanes;
    struct machine machine;
    machine_make(&machine, "downtrained");
    json_t *cards = list_json("--root", machine.root);
    assert_int_equal(json_array_size(cards), 2);
    json_t *card = json_array_get(cards, 1);
    assert_int_equal(json_unpack(card, "{s:{s:s, s:s, s:{s:f, s:i}}, s:s, s:i}", "link", "state", &link_state, "says",
                                 &says, "now", "gb_per_s", &rate, "lanes", &lanes, "driver", &driver, "numa_node",
                                 &node),
                     0);
    assert_string_equal(link_state, "trained down");
    assert_float_equal(rate, 1.0, 1e-9);
    assert_int_equal(lanes, 4);
    assert_string_equal(driver, "xocl");
    assert_int_equal(node, 0);
    assert_non_null(json_object_get(json_object_get(card, "link"), "cost"));
    assert_int_equal(json_array_size(json_object_get(card, "sensors")), 5);
    assert_int_equal(json_array_size(json_object_get(card, "bars")), 2);
    json_decref(cards);
    machine_drop(&machine);
    cards = list_json("--dump", FIXTURES "/pci/no-cards.dump");
    assert_int_equal(json_array_size(cards), 0);
    json_decref(cards);
}

/* A driver's texts are anybody's: no control character reaches a terminal, and JSON stays JSON. */
static void hostile_texts(void **state)
{
    (void)state;
    struct machine machine;
    machine_make(&machine, "healthy");
    machine_write(&machine, "sys/bus/pci/devices/0000:3b:00.1/hwmon/hwmon3/temp2_label", "\033[2Jhot\xff\n");
    machine_write(&machine, "sys/bus/pci/devices/0000:3b:00.1/power_state", "\033[31mD0\n");
    machine_link(&machine, "sys/bus/pci/devices/0000:3b:00.1/driver", "drivers/x\033c\xfe");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, NULL), 0);
    assert_silent("\033");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, "--watch", "-n", "1", NULL), 0);
    assert_silent("\033");
    json_t *cards = list_json("--root", machine.root);
    assert_int_equal(json_array_size(cards), 2);
    json_decref(cards);
    machine_drop(&machine);
}

/* XRT's driver shows the same without hwmon, as files in units of their own. */
static void sensors_of_xrt(void **state)
{
    (void)state;
    struct machine machine;
    machine_make(&machine, "no-driver"); /* which has no hwmon */
    static const struct {
        const char *file, *value;
    } files[] = {{"xmc_fpga_temp", "57\n"},      {"xmc_power", "31500000\n"}, {"xmc_12v_pex_vol", "12043\n"},
                 {"xmc_12v_pex_curr", "1210\n"}, {"xmc_fan_rpm", "0\n"}, /* passive */
                 {"xmc_hbm_temp", "nonsense\n"}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[160];
        snprintf(path, sizeof path, "sys/bus/pci/devices/0000:3b:00.1/xmc.u.19922944/%s", files[i].file);
        machine_write(&machine, path, files[i].value);
    }
    assert_int_equal(call(&command_cards, "", "--root", machine.root, NULL), 0);
    assert_prints("57 C  31.5 W");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, "--watch", "-n", "1", NULL), 0);
    assert_prints("fpga 57 C  card 31.5 W  12V slot 12.04 V  12V slot 1.21 A");
    assert_silent("fan");
    assert_silent("hbm");
    machine_drop(&machine);
}

static void watching_counts_its_rounds(void **state)
{
    (void)state;
    struct machine machine;
    machine_make(&machine, "healthy");
    assert_int_equal(
        call(&command_cards, "", "--root", machine.root, "-w", "-n", "3", "--interval", "0.05", "--json", NULL), 0);
    const char *at = out.bytes;
    for (int i = 0; i < 3; i++) {
        json_t *line = next_line(&at);
        assert_int_equal(json_array_size(json_object_get(line, "cards")), 2);
        json_decref(line);
    }
    assert_int_equal(*at, '\0');
    machine_drop(&machine);
}

static void resetting_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct machine machine;
    machine_make(&machine, "healthy");
    machine_write(&machine, "proc/99/comm", "sluice\n");
    machine_write(&machine, "proc/99/maps", "");
    machine_link(&machine, "proc/99/fd/3", "/dev/dri/renderD128");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, "--reset", "0000:3b:00.1", "--by", "bus", NULL),
                     1);
    assert_says("sluice: cards: 0000:3b:00.1 is in use: process 99 (sluice) has /dev/dri/renderD128");
    machine_remove(&machine, "proc/99/fd/3");
    assert_int_equal(call(&command_cards, "", "--root", machine.root, "--reset", "0000:3b:00.1", "--by", "bus", NULL),
                     0);
    assert_int_equal(call(&command_cards, "", "--root", machine.root, "--reset", "0000:3b:00.1", NULL), 1);
    assert_says("has no function-level reset");
    machine_drop(&machine);
}

static void wrong_usage(void **state)
{
    (void)state;
    assert_int_equal(call(&command_cards, "", "--by", "bus", NULL), 2);
    assert_int_equal(call(&command_cards, "", "--reset", "3b:00.1", "--by", "hammer", NULL), 2);
    assert_int_equal(call(&command_cards, "", "--rounds", "2", NULL), 2);
    assert_int_equal(call(&command_cards, "", "--watch", "--reset", "3b:00.1", NULL), 2);
    assert_int_equal(call(&command_cards, "", "--dump", "/no/such/dump", NULL), 1);
    assert_says("cannot open the dump /no/such/dump");
}

/* On this machine, whatever is in it: backends first. */
static void this_machine(void **state)
{
    (void)state;
    assert_int_equal(call(&command_cards, "", NULL), 0);
    assert_prints("simulated card");
    assert_int_equal(call(&command_cards, "", "--json", NULL), 0);
    json_t *cards = json_loads(out.bytes, 0, NULL);
    assert_true(json_array_size(cards) >= 2);
    json_decref(cards);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_of_a_healthy_card),
        cmocka_unit_test(slow_link_in_words_and_tokens),
        cmocka_unit_test(errors_and_drivers),
        cmocka_unit_test(json_of_a_card),
        cmocka_unit_test(hostile_texts),
        cmocka_unit_test(sensors_of_xrt),
        cmocka_unit_test(watching_counts_its_rounds),
        cmocka_unit_test(resetting_is_refused_with_a_reason),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, free_texts);
}
