/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/link_cost.h"

#include "bitstreams/profiles/profile.h"
#include "host/base/memory.h"
#include "host/plan/architecture.h"
#include "host/plan/plan.h"
#include "kernels/abi/card_layout.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PACKET_HEADER_BYTES 24.0 /* as the profiles' own check: header, sequence number, check sum */
#define MAX_LANES 16u

static const struct link_cost models[LINK_COST_MODELS] = {
    {"gpt-oss-120b", "experts streamed over the link", 0, 0},
    {"llama-3.1-8b", "all in card memory", 0, 0},
};

/* The host profile of a card with another link: every number as it is, but for rates that the link cannot carry. */
struct slower_host {
    json_t *json;
    const struct pci_link *link;
    double carried; /* bytes/s of one direction, without packet headers */
};

static double capped(const struct slower_host *host, const char *field, double value)
{
    if (strcmp(field, "pcie_generation") == 0) return host->link->generation;
    if (strcmp(field, "pcie_lanes") == 0) return host->link->lanes;
    bool one_way = strcmp(field, "host_to_card") == 0 || strcmp(field, "card_to_host") == 0;
    bool both_ways = strcmp(field, "both_ways") == 0 || strcmp(field, "bridge") == 0;
    double most = host->carried * (both_ways ? 1.999 : 1) / 1e9; /* profiles have these in GB/s, and check their sum */
    return (one_way || both_ways) && value > most ? most : value;
}

static void copy_figure(void *context, const struct profile_figure *figure)
{
    struct slower_host *host = context;
    char *unit;
    double value = strtod(figure->value, &unit);
    json_object_set_new(host->json, figure->field,
                        json_pack("{s:f, s:s, s:s}", "value", capped(host, figure->field, value), "unit", unit + 1,
                                  "source", figure->source));
}

static char *slower_profile(const char *name, const struct host_profile *fast, const struct pci_link *link,
                            struct error *err)
{
    struct slower_host host = {json_pack("{s:s, s:s, s:s}", "kind", "host", "name", "this-link", "title", fast->title),
                               link, 0};
    char *text = NULL;
    host.carried =
        pci_link_bytes_per_s(link) * fast->payload_bytes / (fast->payload_bytes + PACKET_HEADER_BYTES) * 0.999;
    if (host.json && host_profile_figures(name, copy_figure, &host, err) == 0) text = json_dumps(host.json, 0);
    json_decref(host.json);
    return text;
}

/* A file that has no name but the process's own: profiles are opened by path. Owned by the caller: close. */
static int write_profile(const char *text, struct error *err)
{
    size_t length = strlen(text);
    int fd = memfd_create("sluice-link", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, text, length) == (ssize_t)length) return fd;
    error_set(err, ERROR_IO, "no memory file for a profile: %s", strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

static int tokens_per_s(const char *model, const char *card, const char *host, double *out, struct error *err)
{
    struct architecture *architecture = NULL;
    struct plan *plan = memory_array(1, sizeof *plan);
    int status = plan ? 0 : error_set(err, ERROR_NO_MEMORY, "no host memory for a plan");
    if (status == 0) status = architecture_by_name(model, &architecture, err);
    const struct plan_request request = {.architecture = architecture,
                                         .card = card,
                                         .host = host,
                                         .cards = 1,
                                         .batch = 1,
                                         .prompt = 16,
                                         .kv_format = CARD_FORMAT_F16,
                                         .eur_per_kwh = -1,
                                         .no_changes = true};
    if (status == 0) status = plan_make(&request, plan, err);
    if (status == 0 && (!plan->memory.fits || !plan->decode[plan->asked].fits))
        status = error_set(err, ERROR_TOO_LARGE, "%s does not fit a %s", model, card);
    if (status == 0) *out = plan->decode[plan->asked].tokens_per_s;
    architecture_close(architecture);
    free(plan);
    return status;
}

static int compare(const char *card, const char *host, struct link_cost out[LINK_COST_MODELS], struct error *err)
{
    int status = 0;
    for (unsigned i = 0; status == 0 && i < LINK_COST_MODELS; i++) {
        out[i] = models[i];
        status = tokens_per_s(out[i].model, card, NULL, &out[i].best, err);
        if (status == 0) status = tokens_per_s(out[i].model, card, host, &out[i].now, err);
    }
    return status;
}

int link_cost(const char *profile, const struct pci_link *now, struct link_cost out[LINK_COST_MODELS],
              struct error *err)
{
    struct card_profile card;
    struct host_profile host;
    char path[64];
    if (pci_link_bytes_per_s(now) <= 0 || now->lanes > MAX_LANES || (now->lanes & (now->lanes - 1)) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "the clock has no model of a link of %u lanes", now->lanes);
    int status = card_profile_open(profile, &card, err);
    if (status == 0) status = host_profile_open(card.host, &host, err);
    if (status < 0) return status;
    char *text = slower_profile(card.host, &host, now, err);
    if (!text) return error_set(err, ERROR_NO_MEMORY, "no host memory for a profile");
    int fd = write_profile(text, err);
    free(text);
    if (fd < 0) return ERROR_IO;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    status = compare(profile, path, out, err);
    close(fd);
    return status;
}

const char *link_cost_sentence(const char *profile, const struct pci_link *now, char *out, unsigned size)
{
    struct link_cost cost[LINK_COST_MODELS];
    struct error err = {0};
    size_t used = 0;
    out[0] = '\0';
    if (!profile || link_cost(profile, now, cost, &err) < 0) {
        snprintf(out, size, "the clock model cannot tell what that costs%s%s", err.text[0] ? ": " : "", err.text);
        return out;
    }
    for (unsigned i = 0; i < LINK_COST_MODELS && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s (%s) %.3g instead of %.3g tokens/s", i ? ", " : "",
                                 cost[i].model, cost[i].where, cost[i].now, cost[i].best);
    return out;
}
