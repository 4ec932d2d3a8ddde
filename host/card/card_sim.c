/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated card: sim/ behind the card interface. Calls do their work before they return. */
#include "host/card/card_formats.h"
#include "host/card/card_host_memory.h"
#include "sim/executor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_card {
    struct host_memory_card host;
    struct sim_executor *executor;
};

static void close_card(struct card_backend *backend)
{
    struct sim_card *card = (struct sim_card *)(void *)backend;
    sim_close(card->executor);
    host_memory_close(&card->host);
    free(card);
}

/* Settings after the colon of "sim:banks=4,simd=avx2". */
struct sim_settings {
    unsigned banks;
    char simd[16]; /* empty: the fastest */
};

/* One setting of length bytes; false if there is no such setting. */
static bool read_setting(const char *text, size_t length, struct sim_settings *settings)
{
    if (length > 6 && strncmp(text, "banks=", 6) == 0 && text[6] >= '0' && text[6] <= '9') {
        char *end;
        const unsigned long n = strtoul(text + 6, &end, 10);
        settings->banks = n <= CARD_MAX_BANKS ? (unsigned)n : 0;
        return end == text + length && settings->banks > 0;
    }
    if (length <= 5 || length - 5 >= sizeof settings->simd || strncmp(text, "simd=", 5) != 0) return false;
    memcpy(settings->simd, text + 5, length - 5);
    settings->simd[length - 5] = '\0';
    return true;
}

static int read_device(const char *device, struct sim_settings *settings, struct error *err)
{
    for (const char *at = device;; at++) {
        const size_t length = strcspn(at, ",");
        if (!read_setting(at, length, settings))
            return error_set(err, ERROR_NOT_FOUND,
                             "card sim:%s: sim, or sim: with banks=N (1 to %d) and simd=NAME after it, comma between, "
                             "expected",
                             device, CARD_MAX_BANKS);
        at += length;
        if (!*at) return 0;
    }
}

static int open_card(const struct card_options *asked, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct card_options chosen = *asked;
    const struct card_options *options = &chosen;
    struct sim_settings settings = {.banks = asked->banks};
    int rc = chosen.device ? read_device(chosen.device, &settings, err) : 0;
    if (rc) return rc;
    chosen.banks = settings.banks;
    struct sim_card *card = calloc(1, sizeof *card);
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card sim: no memory");
    rc = host_memory_open(&card->host, &card_sim_ops, options, extents, err);
    if (!rc)
        rc = sim_open(options->threads, settings.simd[0] ? settings.simd : NULL, &card->host.memory, &card->executor,
                      err);
    if (rc) {
        close_card(&card->host.base);
        return rc;
    }
    *out = &card->host.base;
    return 0;
}

static void describe(const struct card_backend *backend, struct card_info *info)
{
    const struct sim_card *card = (const struct sim_card *)(const void *)backend;
    card_describe_formats(info);
    info->threads = sim_threads(card->executor);
    snprintf(info->name, sizeof info->name, "simulated card, %s", sim_simd(card->executor));
    host_memory_describe(&card->host, info);
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    (void)order;
    struct sim_card *card = (struct sim_card *)(void *)backend;
    return sim_run(card->executor, program, n_descriptors, &card->host.account, err);
}

const struct card_backend_ops card_sim_ops = {
    .name = "sim",
    .takes_device = true,
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = host_memory_count,
    .write = host_memory_write,
    .read = host_memory_read,
    .window = host_memory_window,
    .submit = submit,
    .released = host_memory_released,
};
