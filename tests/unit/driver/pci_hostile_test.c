/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign bytes: configuration space that lies, dumps that are cut or broken, messages that no kernel sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/pci_events.h"
#include "driver/pci_link.h"
#include "driver/pci_scan.h"
#include "host/base/bytes.h"
#include "host/base/philox.h"
#include "tests/unit/machine_for_test.h"

static struct pci_config card(void)
{
    struct pci_config config = {.n_bytes = PCI_CONFIG_BYTES};
    store_u16(config.bytes, 0x10ee);
    store_u16(config.bytes + 2, 0x505d);
    store_u16(config.bytes + 6, 0x10);
    config.bytes[0x34] = 0x40;
    return config;
}

static void lists_that_run_in_circles(void **state)
{
    (void)state;
    struct pci_facts facts;
    struct pci_config config = card();
    config.bytes[0x40] = 0x10;
    config.bytes[0x41] = 0x40; /* itself */
    pci_config_decode(&config, &facts);
    assert_true(facts.damaged && facts.express);
    config.bytes[0x41] = 0x10; /* into the header */
    pci_config_decode(&config, &facts);
    assert_true(facts.damaged);
    config.bytes[0x41] = 0;
    store_u32(config.bytes + 0x100, 0x100u << 20 | 1 << 16 | 2);
    pci_config_decode(&config, &facts);
    assert_true(facts.damaged);
    store_u32(config.bytes + 0x100, 0xffcu << 20 | 1 << 16 | 1); /* the last word, which has no room for a capability */
    pci_config_decode(&config, &facts);
    assert_false(facts.damaged);
    assert_true(facts.aer.found);
}

static void capabilities_at_the_end(void **state)
{
    (void)state;
    struct pci_facts facts;
    struct pci_config config = card();
    config.bytes[0x34] = 0xfc;
    config.bytes[0xfc] = 0x10; /* goes on in extended space, which the specification forbids */
    config.n_bytes = 256;
    pci_config_decode(&config, &facts);
    assert_false(facts.express || facts.damaged);
    config = card();
    config.bytes[0x24] = 4; /* the last BAR says that it takes the next place too */
    pci_config_decode(&config, &facts);
    assert_true(facts.bar[5].present && !facts.bar[5].wide);
}

static void short_and_absent_configurations(void **state)
{
    (void)state;
    struct pci_facts facts;
    struct pci_config config = card();
    for (uint32_t n = 0; n < 64; n++) {
        config.n_bytes = n;
        pci_config_decode(&config, &facts);
        assert_true(facts.short_header && !facts.express);
        assert_int_equal(facts.vendor, n < 2 ? 0 : 0x10ee);
    }
    memset(config.bytes, 0xff, sizeof config.bytes);
    config.n_bytes = PCI_CONFIG_BYTES;
    pci_config_decode(&config, &facts);
    assert_true(facts.gone && !facts.damaged);
}

/* Any bytes: no access outside (the sanitizers look), no endless list, and no link that is worth more than its lanes. */
static void random_configurations(void **state)
{
    (void)state;
    const uint32_t seed = 20261121;
    print_message("seed %u\n", seed);
    for (uint64_t round = 0; round < 2000; round++) {
        struct pci_config config = {.n_bytes = (uint32_t)(round * 61 % (PCI_CONFIG_BYTES + 1))};
        struct pci_facts facts;
        char text[400];
        for (unsigned i = 0; i < PCI_CONFIG_BYTES / 16; i++) {
            uint32_t words[4] = {i, (uint32_t)round};
            philox4x32(words, (uint32_t[2]){seed, 0});
            memcpy(config.bytes + 16 * i, words, 16);
        }
        config.bytes[6] |= 0x10;
        config.bytes[0x0e] = (uint8_t)(round & 1);
        pci_config_decode(&config, &facts);
        pci_link_sentence(&facts.now, &facts.most, &(struct pci_link){3, 16}, text, sizeof text);
        assert_true(text[0] != '\0' && pci_link_bytes_per_s(&facts.most) <= 63 * 7.6e9);
        pci_aer_names(&facts.aer, text, sizeof text);
    }
}

static int scan_text(const char *text, size_t n_bytes, size_t *n, struct error *err)
{
    struct machine machine;
    struct pci_function *functions;
    char path[128];
    machine_make(&machine, NULL);
    machine_write_bytes(&machine, "dump", text, n_bytes);
    machine_path(&machine, "dump", path, sizeof path);
    int status = pci_scan(&(struct pci_source){.dump = path}, &functions, n, err);
    assert_true(status == 0 || (functions == NULL && err->text[0]));
    free(functions);
    machine_drop(&machine);
    return status;
}

static void broken_dumps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
        size_t n;
    } dumps[] = {
        {"", 0, 0},
        {"no dump at all\n", 0, 0},
        {"0000:3b:00.1 x\n00: ee 10 5d 50 06 04 10 00 00 00 00 12 00 00 80 00\n", 0, 1}, /* cut behind 16 bytes */
        {"0000:3b:00.1 x\n", 0, 0},
        {"3b:00.1 x\n00: ee 10 5d 50", ERROR_BAD_FILE, 0}, /* no newline */
        {"3b:00.1 x\n00: ee 10 zz\n", ERROR_BAD_FILE, 0},  /* no number */
        {"3b:00.1 x\nfff: 01 02 03\n", ERROR_BAD_FILE, 0}, /* beyond 4096 bytes */
        {"00: ee 10 5d 50\n", 0, 0},                       /* of no function */
        {"3b:00.f x\n00: ee 10 5d 50\n", 0, 0},            /* no function has this number */
        {"3b:3f.1 x\n00: ee 10 5d 50 06 04 10 00 00 00 00 12 00 00 80 00\n", 0, 0},
        {"3b:00.1 x\n00: ee 10 5d 50 00 00 00 00 00 00 00 00 00 00 00 00\n\n"
         "3b:00.1 x\n00: ee 10 01 50 00 00 00 00 00 00 00 00 00 00 00 00\n",
         0, 1}, /* twice */
    };
    for (size_t i = 0; i < sizeof dumps / sizeof dumps[0]; i++) {
        struct error err = {0};
        size_t n;
        int status = scan_text(dumps[i].text, strlen(dumps[i].text), &n, &err);
        if (status != dumps[i].status || n != dumps[i].n)
            fail_msg("dump %zu: status %d (%s), %zu functions", i, status, err.text, n);
        if (status < 0) assert_non_null(strstr(err.text, "lspci -xxxx"));
    }
}

/* The dump of a healthy machine, cut after every so many bytes, and with every so many bytes changed. */
static void cut_and_changed_dumps(void **state)
{
    (void)state;
    char whole[8192], changed[8192];
    FILE *file = fopen(FIXTURES "/pci/healthy.dump", "re");
    assert_non_null(file);
    size_t n_bytes = fread(whole, 1, sizeof whole, file);
    fclose(file);
    assert_in_range(n_bytes, 4000, sizeof whole - 1);
    for (size_t cut = 0; cut < n_bytes; cut += 97) {
        struct error err = {0};
        size_t n;
        scan_text(whole, cut, &n, &err);
        assert_in_range(n, 0, 2);
        memcpy(changed, whole, n_bytes);
        changed[cut] = (char)(changed[cut] ^ (1 << cut % 7));
        scan_text(changed, n_bytes, &n, &err);
    }
}

static void too_many_functions(void **state)
{
    (void)state;
    struct error err = {0};
    size_t n, used = 0, room = 400000;
    char *text = malloc(room);
    assert_non_null(text);
    for (unsigned i = 0; i <= PCI_MAX_FUNCTIONS; i++)
        used += (size_t)snprintf(text + used, room - used, "%04x:%02x:00.0 \n00: ee 10 5d 50\n", i >> 8, i & 255);
    assert_int_equal(scan_text(text, used, &n, &err), ERROR_TOO_LARGE);
    free(text);
}

static void parse(const char *message, size_t n_bytes, enum pci_event_kind kind, const char *address)
{
    struct pci_event event;
    pci_event_parse(message, n_bytes, &event);
    assert_int_equal(event.kind, kind);
    assert_string_equal(event.address, address);
}

#define MESSAGE(text) text, sizeof(text)

static void events(void **state)
{
    (void)state;
    parse(MESSAGE("remove@/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1\0ACTION=remove\0SUBSYSTEM=pci\0"
                  "PCI_SLOT_NAME=0000:3b:00.1\0SEQNUM=4711"),
          PCI_EVENT_REMOVE, "0000:3b:00.1");
    parse(MESSAGE("x\0PCI_SLOT_NAME=10000:3b:00.1\0SUBSYSTEM=pci\0ACTION=add"), PCI_EVENT_ADD, "10000:3b:00.1");
    parse(MESSAGE("x\0ACTION=unbind\0SUBSYSTEM=pci\0PCI_SLOT_NAME=3b:00.1"), PCI_EVENT_UNBIND, "0000:3b:00.1");
    parse(MESSAGE("x\0ACTION=remove\0SUBSYSTEM=usb\0PCI_SLOT_NAME=0000:3b:00.1"), PCI_EVENT_OTHER, "");
    parse(MESSAGE("x\0ACTION=change\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:3b:00.1"), PCI_EVENT_OTHER, "");
    parse(MESSAGE("x\0ACTION=remove\0SUBSYSTEM=pci\0PCI_SLOT_NAME=../../etc"), PCI_EVENT_OTHER, "");
    parse(MESSAGE("x\0ACTION=remove\0SUBSYSTEM=pci"), PCI_EVENT_OTHER, "");
    parse("ACTION=remove\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:3b:00.1", 54, PCI_EVENT_OTHER, ""); /* no end */
    parse("", 0, PCI_EVENT_OTHER, "");
}

static void listening_needs_no_root(void **state)
{
    (void)state;
    struct error err = {0};
    struct pci_event event;
    int fd = pci_events_open(&err);
    if (fd < 0) skip(); /* a sandbox without netlink */
    assert_in_range(pci_events_next(fd, &event, &err), 0, 1);
    close(fd);
}

static void addresses(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", "3b", "3b:00", "0000:3b:00", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00.1x", "3b:00.1 "};
    struct pci_address address;
    char text[PCI_ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(pci_address_parse(wrong[i], &address));
    assert_true(pci_address_parse("3b:1f.7", &address));
    pci_address_text(&address, text);
    assert_string_equal(text, "0000:3b:1f.7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_that_run_in_circles),
        cmocka_unit_test(capabilities_at_the_end),
        cmocka_unit_test(short_and_absent_configurations),
        cmocka_unit_test(random_configurations),
        cmocka_unit_test(broken_dumps),
        cmocka_unit_test(cut_and_changed_dumps),
        cmocka_unit_test(too_many_functions),
        cmocka_unit_test(events),
        cmocka_unit_test(listening_needs_no_root),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
