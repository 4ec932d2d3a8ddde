/* SPDX-License-Identifier: Apache-2.0 */
#include "host/experts/experts.h"

#define MIB(bytes) ((double)(bytes) / (1 << 20))

int experts_measure(const struct model *model, const struct card *card, struct experts_residency *residency,
                    struct error *err)
{
    const struct model_config *config = model_get_config(model);
    struct card_info info;
    card_describe(card, &info);
    struct model_card_needs needs;
    int result = model_card_needs(model, &info, &needs, err);
    if (result < 0) return result;
    *residency = (struct experts_residency){
        .n_layers = config->n_experts > 0 ? config->n_layers : 0,
        .n_experts = config->n_experts,
        .expert_bytes = needs.expert_bytes,
        .other_bytes = needs.other_bytes,
    };
    for (unsigned b = 0; b < info.n_banks; b++) residency->free_bytes += info.bank[b].bytes_free;
    if (needs.other_bytes > residency->free_bytes) return 0;
    uint64_t room = residency->free_bytes - needs.other_bytes;
    residency->fits = needs.expert_bytes <= room;
    /* Experts of one layer share a size and layers may differ, so the same number of each takes its share of the sum. */
    residency->n_resident = residency->fits
                                ? config->n_experts
                                : (uint32_t)((double)room / (double)needs.expert_bytes * (double)config->n_experts);
    return 0;
}

static int does_not_fit(const struct model *model, const struct experts_residency *r, struct error *err)
{
    if (r->n_experts == 0)
        return error_set(
            err, ERROR_NO_MEMORY,
            "%s does not fit: its weights take %.1f MiB of card memory and %.1f MiB are free (give the card "
            "more memory, or take a smaller model)",
            model_name(model), MIB(r->other_bytes), MIB(r->free_bytes));
    return error_set(err, ERROR_NO_MEMORY,
                     "%s does not fit: %u experts in each of %u layers take %.1f MiB of card memory, all other weights "
                     "%.1f MiB, and %.1f MiB are free, room for %u of %u experts (give the card more memory, or take a "
                     "smaller model)",
                     model_name(model), r->n_experts, r->n_layers, MIB(r->expert_bytes), MIB(r->other_bytes),
                     MIB(r->free_bytes), r->n_resident, r->n_experts);
}

int experts_load(const struct model *model, struct card *card, const struct model_load_options *options,
                 struct loaded_model **out, struct error *err)
{
    struct experts_residency residency;
    int result = experts_measure(model, card, &residency, err);
    if (result < 0) return result;
    if (!residency.fits) return does_not_fit(model, &residency, err);
    return model_load(model, card, options, out, err);
}
