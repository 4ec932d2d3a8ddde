/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs as root inside the machine that pci_machine.py boots: driver/ against a real PCI bus model and a real kernel. The machine has
 * QEMU's edu device (1234:11e8, registers as in its specification docs/specs/edu.txt) in a hot-pluggable slot, and a virtio-rng
 * (1af4:1044), which is a PCIe endpoint with function-level reset, in another. Prints a line a check, asks the outside for what only
 * it can do by lines that begin with '@', and ends with a count.
 */
#include "driver/pci_bind.h"
#include "driver/pci_events.h"
#include "driver/pci_link.h"
#include "driver/pci_reset.h"
#include "driver/pci_usage.h"
#include "driver/sysfs.h"
#include "driver/vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EDU_ID = 0x00,
    EDU_LIVENESS = 0x04,
    EDU_FACTORIAL = 0x08,
    EDU_STATUS = 0x20,
    EDU_INTERRUPT_STATUS = 0x24,
    EDU_INTERRUPT_RAISE = 0x60,
    EDU_INTERRUPT_ACKNOWLEDGE = 0x64,
    EDU_DMA_SOURCE = 0x80,
    EDU_DMA_DESTINATION = 0x88,
    EDU_DMA_COUNT = 0x90,
    EDU_DMA_COMMAND = 0x98,
    EDU_DMA_START = 1,
    EDU_DMA_TO_HOST = 2,
    EDU_DMA_INTERRUPT = 4,
    EDU_BUFFER = 0x40000,      /* 4096 bytes of the device */
    EDU_DMA_DONE = 0x100,      /* interrupt status after a DMA */
    VIRTIO_DEVICE_STATUS = 20, /* of the common configuration, at the beginning of BAR 4 */
    IOVA = 0x1000000,          /* edu reaches 28 bits */
    PAGE = 4096,
    ASK_AGAIN_MS = 20000,
    WAIT_MS = 600000, /* what is late is waited for; what never comes ends the machine, from outside */
};

/* In memory that child processes share. */
struct counts {
    unsigned passed, failed;
};
static struct counts *counts;

static bool check(bool good, const char *what, const struct error *err)
{
    printf("%s %s%s%s\n", good ? "ok    " : "FAILED", what, !good && err && err->text[0] ? ": " : "",
           !good && err ? err->text : "");
    *(good ? &counts->passed : &counts->failed) += 1;
    return good;
}

static const struct pci_source here = {.everything = true};

/* The function with these numbers; false if it is not there. */
static bool find(uint16_t vendor, uint16_t device, struct pci_function *out, size_t *n_all, struct pci_function **all)
{
    struct error err = {0};
    struct pci_function *functions;
    size_t n;
    bool found = false;
    if (pci_scan(&here, &functions, &n, &err) < 0) {
        printf("scan: %s\n", err.text);
        return false;
    }
    for (size_t i = 0; i < n && !found; i++) {
        found = functions[i].facts.vendor == vendor && functions[i].facts.device == device;
        if (found) *out = functions[i];
    }
    if (all) {
        *all = functions;
        *n_all = n;
    } else {
        free(functions);
    }
    return found;
}
static bool find_edu(struct pci_function *out) { return find(0x1234, 0x11e8, out, NULL, NULL); }
static bool find_virtio(struct pci_function *out) { return find(0x1af4, 0x1044, out, NULL, NULL); }

static void discovery(void)
{
    struct pci_function edu, virtio;
    char text[400];
    if (check(find_edu(&edu), "the edu device is found", NULL)) {
        check(edu.facts.class_code == 0x00ff00, "its class", NULL);
        check(edu.bar[0].present && edu.bar[0].bytes == 1 << 20 && edu.bar[0].address != 0, "its BAR 0 of 1 MiB", NULL);
        check(edu.port[0] != '\0', "the port above it", NULL);
        check(edu.driver_known && edu.driver[0] == '\0', "that it has no driver", NULL);
        check(edu.iommu_group >= 0, "its IOMMU group", NULL);
        check(edu.hidden == 0, "all is readable for root", NULL);
    }
    if (check(find_virtio(&virtio), "the virtio device is found", NULL)) {
        check(virtio.facts.express && virtio.facts.function_reset, "it is PCI Express and has FLR", NULL);
        check(virtio.now.generation == 1 && virtio.now.lanes == 1, "its link is Gen1 x1", NULL);
        check(virtio.slot.generation >= 3 && virtio.slot.lanes >= 8, "its slot can do more", NULL);
        check(pci_link_judge(&virtio.now, &virtio.most, &virtio.slot) == PCI_LINK_GOOD, "its link is judged good",
              NULL);
        printf("       %s\n", pci_link_sentence(&virtio.now, &virtio.most, &virtio.slot, text, sizeof text));
    }
}

static bool idle(const struct pci_registers *edu)
{
    for (unsigned i = 0; i < WAIT_MS && (pci_read32(edu, EDU_STATUS) & 1); i++) usleep(1000);
    return !(pci_read32(edu, EDU_STATUS) & 1);
}

static void registers(void)
{
    struct error err = {0};
    struct pci_function edu;
    struct pci_registers bar;
    char path[PATH_MAX];
    if (!find_edu(&edu) || !sysfs_path(path, sizeof path, "%s/enable", edu.folder)) return;
    check(pci_bar_open(edu.folder, 0, &bar, &err) == ERROR_BAD_ARGUMENT, "a disabled function is not mapped", &err);
    if (!check(sysfs_write(path, "1") && pci_bar_open(edu.folder, 0, &bar, &err) == 0, "BAR 0 is mapped", &err)) return;
    check(bar.bytes == 1 << 20, "with its whole size", NULL);
    check(pci_read32(&bar, EDU_ID) == 0x010000ed, "the identification register", NULL);
    pci_write32(&bar, EDU_LIVENESS, 0x12345678);
    check(pci_read32(&bar, EDU_LIVENESS) == ~UINT32_C(0x12345678), "the liveness register inverts", NULL);
    pci_write32(&bar, EDU_FACTORIAL, 10);
    check(idle(&bar) && pci_read32(&bar, EDU_FACTORIAL) == 3628800, "the factorial of 10", NULL);
    check(pci_read32(&bar, bar.bytes) == UINT32_MAX, "outside the BAR is nothing", NULL);
    pci_bar_close(&bar);
    check(pci_bar_open(edu.folder, 3, &bar, &err) == ERROR_NOT_FOUND, "there is no BAR 3", &err);
    sysfs_write(path, "0");
}

static bool run_dma(const struct pci_registers *bar, uint64_t from, uint64_t to, uint64_t bytes, uint64_t flags)
{
    pci_write64(bar, EDU_DMA_SOURCE, from);
    pci_write64(bar, EDU_DMA_DESTINATION, to);
    pci_write64(bar, EDU_DMA_COUNT, bytes);
    pci_write64(bar, EDU_DMA_COMMAND, EDU_DMA_START | flags);
    for (unsigned i = 0; i < WAIT_MS && (pci_read64(bar, EDU_DMA_COMMAND) & EDU_DMA_START); i++) usleep(1000);
    return !(pci_read64(bar, EDU_DMA_COMMAND) & EDU_DMA_START);
}

static void dma(const struct vfio_device *device, const struct pci_registers *bar)
{
    struct error err = {0};
    uint8_t *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!check(memory != MAP_FAILED && vfio_map_memory(device, memory, IOVA, 2 * PAGE, &err) == 0,
               "two pages are mapped for DMA", &err))
        return;
    srand(20261121);
    for (unsigned i = 0; i < PAGE; i++) memory[i] = (uint8_t)rand();
    memset(memory + PAGE, 0xa5, PAGE);
    check(run_dma(bar, IOVA, EDU_BUFFER, PAGE - 1, 0), "DMA from the host ends", NULL);
    check(run_dma(bar, EDU_BUFFER, IOVA + PAGE, PAGE - 1, EDU_DMA_TO_HOST), "DMA to the host ends", NULL);
    check(memcmp(memory, memory + PAGE, PAGE - 1) == 0, "the bytes went there and back", NULL);
    check(memory[2 * PAGE - 1] == 0xa5, "and none behind them", NULL);
    check(vfio_unmap_memory(device, IOVA, 2 * PAGE, &err) == 0, "the pages are unmapped", &err);
    memset(memory + PAGE, 0x5a, PAGE);
    run_dma(bar, EDU_BUFFER, IOVA + PAGE, PAGE - 1, EDU_DMA_TO_HOST);
    check(memory[PAGE] == 0x5a && memory[2 * PAGE - 2] == 0x5a, "the IOMMU keeps the device out after that", NULL);
    munmap(memory, 2 * PAGE);
}

static bool await_interrupt(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    uint64_t count = 0;
    return poll(&wait, 1, -1) == 1 && read(fd, &count, sizeof count) == sizeof count && count > 0;
}

static void interrupts(const struct vfio_device *device, const struct pci_registers *bar)
{
    struct error err = {0};
    int fd;
    if (!check(vfio_await_interrupts(device, &fd, &err) == 0, "an eventfd takes the interrupt", &err)) return;
    pci_write32(bar, EDU_INTERRUPT_RAISE, 0x42);
    check(await_interrupt(fd), "an interrupt arrives", NULL);
    check(pci_read32(bar, EDU_INTERRUPT_STATUS) == 0x42, "with its cause", NULL);
    pci_write32(bar, EDU_INTERRUPT_ACKNOWLEDGE, 0x42);
    check(pci_read32(bar, EDU_INTERRUPT_STATUS) == 0, "and is acknowledged", NULL);
    run_dma(bar, IOVA, EDU_BUFFER, 16, EDU_DMA_INTERRUPT);
    check(await_interrupt(fd) && pci_read32(bar, EDU_INTERRUPT_STATUS) == EDU_DMA_DONE, "one at the end of a DMA",
          NULL);
    pci_write32(bar, EDU_INTERRUPT_ACKNOWLEDGE, EDU_DMA_DONE);
    close(fd);
}

/* A card that another process has open is not reset, and the process is named. */
static void used_by_another(const struct pci_function *edu, int device)
{
    struct error err = {0};
    struct pci_user user;
    struct pci_function *all, again;
    size_t n = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)device; /* inherited, open */
        pause();
        _exit(0);
    }
    check(pci_usage_find(&here, edu, &user, &err) == 1 && user.pid == (int)child, "the user of a card is found", &err);
    if (find(0x1234, 0x11e8, &again, &n, &all)) {
        check(pci_reset(&here, all, n, edu->text, PCI_RESET_BUS, &err) == ERROR_BUSY, "and it is not reset under it",
              &err);
        free(all);
    }
    printf("       %s\n", err.text);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    check(pci_usage_find(&here, edu, &user, &err) == 0, "nobody uses it after that", &err);
}

/* Runs a part of the test in a process of an account that may nothing. */
static void as_nobody(void (*part)(const struct vfio_device *device), const struct vfio_device *device)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {0, 0};
        bool alone = setrlimit(RLIMIT_MEMLOCK, &none) == 0 && setgid(65534) == 0 && setuid(65534) == 0;
        if (check(alone, "an account without rights", NULL)) part(device);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    check(WIFEXITED(status), "its part came to its end", NULL);
}

static void without_memory(const struct vfio_device *device)
{
    struct error err = {0};
    void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(vfio_map_memory(device, memory, IOVA, PAGE, &err) == ERROR_NO_MEMORY && strstr(err.text, "ulimit -l"),
          "too little locked memory is told as that", &err);
}

/* What the kernel tells everybody, and that what it does not tell is said to need root. */
static void without_root(const struct vfio_device *device)
{
    struct error err = {0};
    struct pci_function virtio;
    struct pci_registers bar;
    struct pci_user user;
    char text[200];
    (void)device;
    if (!check(find_virtio(&virtio), "devices are found without root", NULL)) return;
    check(virtio.facts.capabilities_hidden, "the kernel hides capabilities", NULL);
    check(virtio.now.generation == 1 && virtio.now.lanes == 1 && virtio.slot.lanes >= 8,
          "links are known all the same, the slot's too", NULL);
    check(strstr(pci_hidden_text(virtio.hidden, text, sizeof text), "needs root") != NULL, "that is said", NULL);
    check(pci_bar_open(virtio.folder, 4, &bar, &err) < 0, "registers are not for everybody", &err);
    check(pci_usage_find(&here, &virtio, &user, &err) == ERROR_IO && strstr(err.text, "run this as root"),
          "who uses a card is not known without root", &err);
    int events = pci_events_open(&err);
    check(events >= 0, "hot-plug events are for everybody", &err);
}

static void through_vfio(void)
{
    struct error err = {0};
    struct pci_function edu;
    struct vfio_device device;
    struct pci_registers bar;
    if (!find_edu(&edu)) return;
    if (!check(pci_bind(&here, &edu, "vfio-pci", &err) == 0, "vfio-pci takes the function", &err)) return;
    if (!find_edu(&edu) || !check(vfio_device_open(&edu, &device, &err) == 0, "vfio gives the function", &err)) return;
    if (check(vfio_map_bar(&device, 0, &bar, &err) == 0, "vfio maps its BAR", &err)) {
        check(pci_read32(&bar, EDU_ID) == 0x010000ed, "it is the same device", NULL);
        as_nobody(without_memory, &device);
        dma(&device, &bar);
        interrupts(&device, &bar);
        used_by_another(&edu, device.device);
        check(vfio_device_reset(&device, &err) == 0, "vfio resets it", &err);
        check(pci_read32(&bar, EDU_ID) == 0x010000ed, "and it answers again", NULL);
        pci_bar_close(&bar);
    }
    vfio_device_close(&device);
}

/* The status byte that a virtio driver counts up is 0 after a reset; set by this. */
static bool mark(const struct pci_function *virtio)
{
    struct error err = {0};
    struct pci_registers bar;
    char path[PATH_MAX];
    if (!sysfs_path(path, sizeof path, "%s/enable", virtio->folder)) return false;
    sysfs_write(path, "1");
    if (pci_bar_open(virtio->folder, 4, &bar, &err) < 0) {
        printf("       %s\n", err.text);
        return false;
    }
    pci_write8(&bar, VIRTIO_DEVICE_STATUS, 1);
    bool marked = pci_read8(&bar, VIRTIO_DEVICE_STATUS) == 1;
    pci_bar_close(&bar);
    return marked;
}

static int read_mark(const struct pci_function *virtio)
{
    struct pci_registers bar;
    char path[PATH_MAX];
    if (!sysfs_path(path, sizeof path, "%s/enable", virtio->folder)) return -1;
    sysfs_write(path, "1");
    if (pci_bar_open(virtio->folder, 4, &bar, NULL) < 0) return -1;
    int status = pci_read8(&bar, VIRTIO_DEVICE_STATUS);
    pci_bar_close(&bar);
    return status;
}

static void resets(void)
{
    static const struct {
        enum pci_reset_kind kind;
        const char *name;
    } kinds[] = {{PCI_RESET_FUNCTION, "FLR"}, {PCI_RESET_BUS, "a secondary-bus reset"}};
    struct error err = {0};
    struct pci_function virtio, edu;
    struct pci_function *all = NULL;
    size_t n = 0;
    char text[128];
    for (unsigned i = 0; i < 2 && find(0x1af4, 0x1044, &virtio, &n, &all); i++) {
        snprintf(text, sizeof text, "a register is set before %s", kinds[i].name);
        check(mark(&virtio), text, NULL);
        snprintf(text, sizeof text, "%s succeeds", kinds[i].name);
        check(pci_reset(&here, all, n, virtio.text, kinds[i].kind, &err) == 0, text, &err);
        snprintf(text, sizeof text, "and the register is 0 after %s", kinds[i].name);
        check(find_virtio(&virtio) && read_mark(&virtio) == 0, text, NULL);
        free(all);
        all = NULL;
    }
    if (find(0x1234, 0x11e8, &edu, &n, &all)) {
        check(pci_reset(&here, all, n, edu.text, PCI_RESET_FUNCTION, &err) == ERROR_UNSUPPORTED, "edu has no FLR",
              &err);
        check(pci_reset(&here, all, n, edu.text, PCI_RESET_BUS, &err) == 0, "but its bus can be reset", &err);
        free(all);
        check(find_edu(&edu) && edu.bar[0].address != 0, "and it is back with its BAR", NULL);
    }
}

/*
 * Asks for it and waits. The kernel does not see each press of the slot's button (one that comes while it still works on the slot's
 * last reset is lost), so it is asked for again after a while; a press is carried out after 5 s.
 */
static bool ask_for(int fd, const char *request, enum pci_event_kind kind, const char *address)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    struct pci_event event;
    for (unsigned asked = 0; asked < 100; asked++) {
        puts(request);
        while (poll(&wait, 1, ASK_AGAIN_MS) == 1) {
            while (pci_events_next(fd, &event, NULL) == 1)
                if (event.kind == kind && strcmp(event.address, address) == 0) return true;
        }
    }
    return false;
}

/* ---- configuration space, as a driver or the firmware would write it ---- */

/* Where the PCI Express capability of a function is; 0: it has none. */
static uint8_t express_capability(int config)
{
    uint8_t at = 0, head[2];
    if (pread(config, &at, 1, 0x34) != 1) return 0;
    for (unsigned i = 0; at && i < 48; i++, at = head[1]) {
        if (pread(config, head, 2, at) != 2) return 0;
        if (head[0] == 0x10) return at;
    }
    return 0;
}

/* Clears bits of a word and sets others, at an offset of configuration space or of the PCI Express capability. */
static bool change_bits(const char *address, bool express, uint8_t offset, uint16_t clear, uint16_t set)
{
    char path[PATH_MAX];
    uint16_t word = 0;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/config", address);
    int config = open(path, O_RDWR | O_CLOEXEC);
    const uint8_t base = config >= 0 && express ? express_capability(config) : 0;
    bool good = config >= 0 && (base || !express) && pread(config, &word, sizeof word, base + offset) == sizeof word;
    word = (uint16_t)((word & ~clear) | set);
    good = good && pwrite(config, &word, sizeof word, base + offset) == sizeof word;
    if (config >= 0) close(config);
    return good;
}

/* ---- errors of the link ---- */

/* What a driver asks for before the device may report errors, and the firmware of the port above. */
static bool report_errors(const struct pci_function *function)
{
    enum { COMMAND = 4, SERR = 1 << 8, DEVICE_CONTROL = 8, ALL_ERRORS = 0xf, BRIDGE_CONTROL = 0x3e, BRIDGE_SERR = 2 };
    return change_bits(function->text, true, DEVICE_CONTROL, 0, ALL_ERRORS) &&
           change_bits(function->text, false, COMMAND, 0, SERR) &&
           change_bits(function->port, false, COMMAND, 0, SERR) &&
           change_bits(function->port, true, DEVICE_CONTROL, 0, ALL_ERRORS) &&
           change_bits(function->port, false, BRIDGE_CONTROL, 0, BRIDGE_SERR);
}

/* Has the outside make the device report an error, until it is seen. */
static bool inject(const char *request, bool (*seen)(const struct pci_function *function), struct pci_function *virtio)
{
    for (unsigned asked = 0; asked < 20; asked++) {
        puts(request);
        for (unsigned ms = 0; ms < ASK_AGAIN_MS; ms += 20, usleep(20000)) {
            if (!find_virtio(virtio)) return false;
            if (seen(virtio)) return true;
        }
    }
    return false;
}

/* The kernel counts in an interrupt of the port above. */
static bool is_counted(const struct pci_function *function) { return function->errors.nonfatal > 0; }

/* QEMU before 8.0 tells the port nothing of corrected errors; the bit in the device is there, until the kernel clears it. */
static bool is_corrected(const struct pci_function *function)
{
    char names[300];
    return strcmp(function->errors.most, "BadTLP") == 0 ||
           strstr(pci_aer_names(&function->facts.aer, names, sizeof names), "Bad TLP");
}

static void link_errors(void)
{
    struct pci_function virtio;
    char names[300];
    if (!find_virtio(&virtio)) return;
    const struct pci_error_counts *errors = &virtio.errors;
    check(report_errors(&virtio), "the device may report errors", NULL);
    check(errors->known && errors->correctable + errors->nonfatal + errors->fatal == 0, "no errors were counted so far",
          NULL);
    check(virtio.facts.aer.found && pci_aer_names(&virtio.facts.aer, names, sizeof names)[0] == '\0',
          "and no error bits are set", NULL);
    check(inject("@error COMP_TIME", is_counted, &virtio), "an answer that does not come is counted", NULL);
    check(errors->correctable == 0 && errors->fatal == 0, "as not corrected, and not fatal", NULL);
    check(inject("@error -c BAD_TLP", is_corrected, &virtio), "a damaged packet is told, by its name", NULL);
    printf("       %llu corrected, %llu not fatal, %llu fatal; bits: %s\n", (unsigned long long)errors->correctable,
           (unsigned long long)errors->nonfatal, (unsigned long long)errors->fatal,
           pci_aer_names(&virtio.facts.aer, names, sizeof names));
}

/* ---- hot plug ---- */

/*
 * Takes the slot's power away while its interrupt is off, which makes QEMU take the card, and gives it back: what the kernel finds
 * then is a powered slot whose card has been pulled.
 */
static bool pull(const struct pci_function *card)
{
    enum { SLOT_CONTROL = 0x18, INTERRUPT = 1 << 5, INDICATOR = 3 << 8, INDICATOR_ON = 1 << 8, POWER_OFF = 1 << 10 };
    return change_bits(card->port, true, SLOT_CONTROL, INTERRUPT, INDICATOR | POWER_OFF) &&
           change_bits(card->port, true, SLOT_CONTROL, INDICATOR | POWER_OFF, INDICATOR_ON | INTERRUPT);
}

static bool await_event(int fd, enum pci_event_kind kind, const char *address)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    struct pci_event event;
    while (poll(&wait, 1, WAIT_MS) == 1) {
        while (pci_events_next(fd, &event, NULL) == 1)
            if (event.kind == kind && strcmp(event.address, address) == 0) return true;
    }
    return false;
}

/* A card that goes without asking: the kernel finds an empty slot, and says so. */
static void surprise_removal(void)
{
    struct error err = {0};
    struct pci_function edu, again;
    int events = pci_events_open(&err);
    if (events < 0 || !check(find_edu(&edu), "a card is there to be pulled out", NULL)) return;
    check(pull(&edu), "it is pulled out without asking", NULL);
    check(await_event(events, PCI_EVENT_REMOVE, edu.text), "its removal is told", NULL);
    check(!find_edu(&again), "and it is no longer listed", NULL);
    check(ask_for(events, "@plug again", PCI_EVENT_ADD, edu.text), "another one in its slot is told", NULL);
    check(find_edu(&again) && again.bar[0].bytes == 1 << 20, "and listed", NULL);
    close(events);
}

static void hot_unplug(void)
{
    struct error err = {0};
    struct pci_function edu, again;
    int events = pci_events_open(&err);
    if (!check(events >= 0, "hot-plug events are listened to", &err) || !find_edu(&edu)) return;
    check(ask_for(events, "@unplug", PCI_EVENT_REMOVE, edu.text), "the removal of the device is told", NULL);
    check(!find_edu(&again), "and the device is no longer listed", NULL);
    check(ask_for(events, "@plug", PCI_EVENT_ADD, edu.text), "its return is told", NULL);
    check(find_edu(&again), "and it is listed again", NULL);
    close(events);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED) return 1;
    discovery();
    as_nobody(without_root, NULL);
    registers();
    through_vfio();
    resets();
    hot_unplug();
    link_errors();
    surprise_removal();
    printf("%u passed, %u failed\n", counts->passed, counts->failed);
    puts("@end");
    return counts->failed > 0;
}
