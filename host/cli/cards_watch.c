/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/cards_watch.h"

#include "driver/pci_events.h"
#include "host/cli/cards_report.h"
#include "host/cli/options.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void say_time(char *out, size_t size)
{
    struct tm local;
    time_t now = time(NULL);
    out[0] = '\0';
    if (localtime_r(&now, &local)) strftime(out, size, "%H:%M:%S", &local);
}

static bool print_line(json_t *line)
{
    bool good = line && json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0 && putchar('\n') != EOF;
    json_decref(line);
    return good;
}

/* last: what the last event was; a terminal is cleared for each round, and would lose it. */
static bool print_round(const struct watch_options *options, const struct pci_function *functions, size_t n,
                        const char *last)
{
    char now[16];
    bool good = true;
    if (options->json) {
        json_t *cards = json_array();
        for (size_t i = 0; i < n; i++) json_array_append_new(cards, cards_sensors_json(&functions[i]));
        good = print_line(json_pack("{s:I, s:o}", "time", (json_int_t)time(NULL), "cards", cards));
    } else {
        if (isatty(STDOUT_FILENO)) fputs("\033[H\033[J", stdout);
        say_time(now, sizeof now);
        printf("%s\n", now);
        for (size_t i = 0; i < n; i++) cards_print_sensors(&functions[i]);
        if (n == 0) puts("No FPGA card on PCIe.");
        if (last[0] && isatty(STDOUT_FILENO)) printf("%s\n", last);
    }
    return good && fflush(stdout) == 0;
}

/* A card that is gone is no longer in sysfs: it is known from the last look. */
static bool concerns(const struct pci_event *event, const struct pci_function *functions, size_t n,
                     const struct pci_source *source)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(functions[i].text, event->address) == 0) return true;
    struct pci_function *now;
    size_t n_now;
    bool found = false;
    if (pci_scan(source, &now, &n_now, NULL) < 0) return false;
    for (size_t i = 0; i < n_now; i++) found = found || strcmp(now[i].text, event->address) == 0;
    free(now);
    return found;
}

static bool print_event(const struct watch_options *options, const struct pci_event *event, char *last, size_t size)
{
    char now[16];
    if (options->json)
        return print_line(json_pack("{s:I, s:s, s:s}", "time", (json_int_t)time(NULL), "event",
                                    pci_event_name(event->kind), "card", event->address)) &&
               fflush(stdout) == 0;
    say_time(now, sizeof now);
    snprintf(last, size, "%s %s: %s", now, event->address, pci_event_name(event->kind));
    return puts(last) >= 0 && fflush(stdout) == 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the next round is due; events are told meanwhile. */
static bool wait_round(const struct watch_options *options, int events, const struct pci_function *functions, size_t n,
                       char *last, size_t size)
{
    const int64_t end = now_ms() + (int64_t)(options->interval * 1000);
    for (int64_t left; (left = end - now_ms()) > 0;) {
        struct pci_event event;
        struct pollfd wait = {.fd = events, .events = POLLIN};
        int ready = poll(&wait, 1, (int)left);
        if (ready < 0 && errno != EINTR) return false;
        if (ready <= 0) continue;
        int got = pci_events_next(events, &event, NULL);
        if (got < 0) return true; /* events were lost: look again at once */
        if (got > 0 && concerns(&event, functions, n, &options->source) && !print_event(options, &event, last, size))
            return false;
    }
    return true;
}

int cards_watch(const struct watch_options *options)
{
    struct error err = {0};
    char event[80] = "";
    bool good = true;
    int status = 0;
    /* A copy of another machine has no events; where the kernel gives none the rounds show what has changed. */
    int events = pci_source_root(&options->source)[0] || options->source.dump ? -1 : pci_events_open(NULL);
    for (uint32_t round = 1; good; round++) {
        struct pci_function *functions;
        size_t n;
        if ((status = pci_scan(&options->source, &functions, &n, &err)) < 0) break;
        good = print_round(options, functions, n, event);
        bool last = options->rounds > 0 && round >= options->rounds;
        if (good && !last) good = wait_round(options, events, functions, n, event, sizeof event);
        free(functions);
        if (last) break;
    }
    if (events >= 0) close(events);
    if (status < 0) return failure("cards: %s", err.text);
    return good ? EXIT_DONE : failure("cards: cannot write: %s", strerror(errno));
}
