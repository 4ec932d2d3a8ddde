/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cards behind XRT. XRT itself is in another process (xrt_process.h): what makes it end its process, as its emulation does
 * when the device has gone, costs the card and not the server. A copy to the card is put into a window that both processes
 * see, and XRT copies it from there; a program goes with a command and is run by the engine of the bitstream.
 */
#include "host/card/card_formats.h"
#include "host/card/xrt_card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCHDOG_MS 800u /* of a card: a hang is reported within a second */
/* Emulation takes as long as this machine does for the work of a card, and others may use it too. */
#define EMULATION_WATCHDOG_MS 120000u

static const struct xrt_card *const_card_of(const struct card_backend *backend)
{
    return (const struct xrt_card *)(const void *)backend;
}

static void close_card(struct card_backend *backend)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    for (unsigned i = 0; card->process.shared && i < XRT_OPEN_EVENTS && card->n_open > 0; i++)
        (void)xrt_wait(card, card->open[0].event, 0, NULL);
    pthread_mutex_unlock(&card->lock);
    xrt_process_close(&card->process);
    pthread_mutex_destroy(&card->lock);
    free((void *)(uintptr_t)card->request.xclbin);
    free(card->extents_sent);
    free(card->failure);
    free(card);
}

static void name_card(struct xrt_card *card, const char *profile)
{
    snprintf(card->name, sizeof card->name, "XRT %u: %s%s", card->settings.device, profile,
             card->request.emulation ? ", emulated" : "");
}

static int open_card(const struct card_options *options, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct xrt_card *card = calloc(1, sizeof *card);
    char profile[32] = "";
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card xrt: no memory");
    card->base.ops = &card_xrt_ops;
    card->extents = extents;
    card->options = *options;
    card->options.device = NULL;
    card->process = (struct xrt_process){.life = -1, .log = -1};
    pthread_mutex_init(&card->lock, NULL);
    card->extents_sent = malloc(XRT_EXTENTS_BYTES);
    int rc = card->extents_sent ? 0 : error_set(err, ERROR_NO_MEMORY, "card xrt: no memory");
    if (!rc) rc = xrt_settings_read(options->device, &card->settings, err);
    if (!rc) rc = xrt_bitstream_open(&card->settings, options, &card->request, profile, sizeof profile, err);
    if (!rc) rc = xrt_process_open(&card->request, &card->process, err);
    if (rc) {
        close_card(&card->base);
        return rc;
    }
    const unsigned usual_ms = card->request.emulation ? EMULATION_WATCHDOG_MS : WATCHDOG_MS;
    card->watchdog_us = UINT64_C(1000) * (card->settings.has_watchdog ? card->settings.watchdog_ms : usual_ms);
    name_card(card, profile);
    *out = &card->base;
    return 0;
}

static void describe(const struct card_backend *backend, struct card_info *info)
{
    const struct xrt_card *card = const_card_of(backend);
    card_describe_formats(info);
    info->abi_version = card->request.abi_version;
    snprintf(info->name, sizeof info->name, "%s", card->name);
    const char *found = card->process.shared->address;
    snprintf(info->address, sizeof info->address, "%.*s", (int)sizeof info->address - 1,
             card->settings.address[0] ? card->settings.address : found);
    info->n_banks = card->request.n_banks;
    for (unsigned b = 0; b < info->n_banks; b++) {
        snprintf(info->bank[b].name, sizeof info->bank[b].name, "%s", card->request.bank[b].name);
        info->bank[b].bytes = card->request.bank[b].bytes;
    }
}

static void count(const struct card_backend *backend, struct card_counters *counters)
{
    const struct card_counters *done = &const_card_of(backend)->done;
    counters->descriptors += done->descriptors;
    counters->weight_bytes += done->weight_bytes;
    counters->kv_bytes += done->kv_bytes;
    counters->multiply_adds += done->multiply_adds;
    counters->cycles += done->cycles;
}

/* A card whose reset failed has no process any more. */
static int check_process(const struct xrt_card *card, struct error *err)
{
    return card->process.shared ? 0 : error_set(err, ERROR_CARD, "%s", card->process.death.text);
}

static int copy(struct card_backend *backend, const struct card_order *order, card_addr address, void *dst,
                const void *src, size_t bytes, struct error *err)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    int rc = check_process(card, err);
    if (!rc) rc = xrt_copy(card, order, address, dst, src, bytes, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

static int write_card(struct card_backend *backend, const struct card_order *order, card_addr dst, const void *src,
                      size_t bytes, struct error *err)
{
    return copy(backend, order, dst, NULL, src, bytes, err);
}

static int read_card(struct card_backend *backend, const struct card_order *order, void *dst, card_addr src,
                     size_t bytes, struct error *err)
{
    return copy(backend, order, src, dst, NULL, bytes, err);
}

static int submit(struct card_backend *backend, const struct card_order *order, const struct card_descriptor *program,
                  unsigned n_descriptors, struct error *err)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    int rc = check_process(card, err);
    if (!rc) rc = xrt_submit(card, order, program, n_descriptors, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

static int wait_event(struct card_backend *backend, card_event event, unsigned timeout_ms, struct error *err)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    const int rc = xrt_wait(card, event, timeout_ms, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

static void set_agent(struct card_backend *backend, const struct card_agent *agent)
{
    xrt_card_of(backend)->agent = agent ? *agent : (struct card_agent){0};
}

/* Events of stream writes: numbers that card.c does not give. */
static int stream_write(struct card_backend *backend, card_addr dst, const void *src, size_t bytes, struct error *err)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    const struct card_order order = {.event = UINT64_C(1) << 62 | ++card->streamed};
    int rc = check_process(card, err);
    if (!rc) rc = xrt_copy(card, &order, dst, NULL, src, bytes, err);
    if (!rc) rc = xrt_wait(card, order.event, 0, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

/* ---- reset ---- */

/* Ends the process and starts another, which loads the bitstream; what was not over has failed. */
static int restart(struct xrt_card *card, struct error *err)
{
    struct error why = {0};
    error_set(&why, ERROR_CARD, "XRT card %u: the card was reset before this was over", card->request.device);
    if (card->process.shared) xrt_abandon(card, &why);
    xrt_process_close(&card->process);
    memset(card->read, 0, sizeof card->read);
    card->has_extents = false;
    int rc = xrt_process_open(&card->request, &card->process, &why);
    if (!rc) return 0;
    error_set(&card->process.death, ERROR_CARD, "%s", why.text);
    return error_set(err, rc, "%s", why.text);
}

static int reset(struct card_backend *backend, struct error *err)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    const int rc = restart(card, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

static bool same_banks(const struct xrt_request *a, const struct xrt_request *b)
{
    for (unsigned i = 0; i < a->n_banks && a->n_banks == b->n_banks; i++) {
        if (a->bank[i].bytes != b->bank[i].bytes) return false;
    }
    return a->n_banks == b->n_banks;
}

/* Memory stays as it is divided; what is in it is gone. One that is refused leaves the card as it was. */
static int load_locked(struct xrt_card *card, const char *path, struct error *err)
{
    char profile[32] = "";
    struct xrt_settings settings = card->settings;
    struct xrt_request request;
    if (strlen(path) >= sizeof settings.bitstream) return error_set(err, ERROR_TOO_LARGE, "%s: too long a path", path);
    snprintf(settings.bitstream, sizeof settings.bitstream, "%s", path);
    int rc = xrt_bitstream_open(&settings, &card->options, &request, profile, sizeof profile, err);
    if (rc) return rc;
    const bool same = same_banks(&request, &card->request);
    if (!same || request.emulation != card->request.emulation || request.abi_version != card->request.abi_version) {
        free((void *)(uintptr_t)request.xclbin);
        return error_set(err, ERROR_UNSUPPORTED, "%s: other %s than the bitstream that is loaded (restart with it)",
                         path, same ? "card ABI" : "banks");
    }
    free((void *)(uintptr_t)card->request.xclbin);
    card->request = request;
    card->settings = settings;
    name_card(card, profile);
    return restart(card, err);
}

static int load_bitstream(struct card_backend *backend, const char *path, struct error *err)
{
    struct xrt_card *card = xrt_card_of(backend);
    pthread_mutex_lock(&card->lock);
    const int rc = load_locked(card, path, err);
    pthread_mutex_unlock(&card->lock);
    return rc;
}

const struct card_backend_ops card_xrt_ops = {
    .name = "xrt",
    .takes_device = true,
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = count,
    .write = write_card,
    .read = read_card,
    .submit = submit,
    .wait = wait_event,
    .set_agent = set_agent,
    .stream_write = stream_write,
    .reset = reset,
    .load_bitstream = load_bitstream,
};
