/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated card: sim/ behind the card interface. Calls do their work before they return. */
#include "host/card/card_host_memory.h"
#include "sim/executor.h"

#include <stdio.h>
#include <stdlib.h>

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

static int open_card(const struct card_options *options, const struct card_extents *extents, struct card_backend **out,
                     struct error *err)
{
    struct sim_card *card = calloc(1, sizeof *card);
    if (!card) return error_set(err, ERROR_NO_MEMORY, "card sim: no memory");
    int rc = host_memory_open(&card->host, &card_sim_ops, options, extents, err);
    if (!rc) rc = sim_open(options->threads, &card->host.memory, &card->executor, err);
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
    info->abi_version = CARD_ABI_VERSION;
    info->weight_formats = 1u << CARD_FORMAT_F32 | 1u << CARD_FORMAT_INT4 | 1u << CARD_FORMAT_INT4_MIN |
                           1u << CARD_FORMAT_INT8 | 1u << CARD_FORMAT_INT8_MIN | 1u << CARD_FORMAT_Q4_K |
                           1u << CARD_FORMAT_Q5_K | 1u << CARD_FORMAT_Q6_K;
    info->kv_formats = 1u << CARD_FORMAT_F16 | 1u << CARD_FORMAT_F32;
    info->kv_default = CARD_FORMAT_F16;
    info->threads = sim_threads(card->executor);
    snprintf(info->name, sizeof info->name, "simulated card");
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
    .open = open_card,
    .close = close_card,
    .describe = describe,
    .count = host_memory_count,
    .write = host_memory_write,
    .read = host_memory_read,
    .submit = submit,
    .released = host_memory_released,
};
