/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/expert_slots.h"

#include "host/base/bytes.h"
#include "host/model/loaded_model.h"

static const enum tensor_role role_of[EXPERT_MATRICES] = {
    [EXPERT_GATE] = TENSOR_FFN_GATE_EXPERTS,
    [EXPERT_UP] = TENSOR_FFN_UP_EXPERTS,
    [EXPERT_DOWN] = TENSOR_FFN_DOWN_EXPERTS,
};

int expert_layer_measure(const struct model *model, uint32_t layer, uint32_t weight_formats,
                         struct expert_layer *experts, struct error *err)
{
    *experts = (struct expert_layer){0};
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        const struct tensor_entry *entry = tensor_table_get(&model->table, role_of[m], layer);
        experts->format[m] = pack_format(entry->tensor->type, weight_formats);
        if (experts->format[m] == 0)
            return loaded_model_no_format(tensor_table_index(role_of[m], layer), entry->tensor->type, err);
        uint64_t bytes = card_matrix_bytes(experts->format[m], entry->rows, entry->cols);
        experts->offset[m] = experts->slot_bytes;
        experts->slot_bytes += card_round_up(bytes, CARD_WORD_BYTES);
    }
    return 0;
}

int expert_slots_bytes(const struct model *model, uint32_t weight_formats, uint64_t *bytes, struct error *err)
{
    const struct model_config *config = &model->config;
    *bytes = 0;
    for (uint32_t layer = 0; config->n_experts > 0 && layer < config->n_layers; layer++) {
        struct expert_layer experts;
        int result = expert_layer_measure(model, layer, weight_formats, &experts, err);
        if (result < 0) return result;
        *bytes += card_round_up(experts.slot_bytes * config->n_experts, CARD_ALIGNMENT);
    }
    return 0;
}

static int load_expert(struct loaded_model *loaded, uint32_t layer, uint32_t expert, struct upload *upload,
                       struct error *err)
{
    const struct expert_layer *experts = &loaded->experts[layer];
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        size_t index = tensor_table_index(role_of[m], layer);
        card_addr slot = experts->slots + expert * experts->slot_bytes;
        int result =
            loaded_model_upload(loaded, upload, index, expert, experts->format[m], slot + experts->offset[m], err);
        if (result < 0) return result;
    }
    return 0;
}

int expert_slots_load(struct loaded_model *loaded, uint32_t layer, struct upload *upload, uint8_t *tables,
                      struct error *err)
{
    struct expert_layer *experts = &loaded->experts[layer];
    uint32_t n = loaded->model->config.n_experts;
    int result = loaded_model_place(loaded, experts->slot_bytes * n, &experts->slots, err);
    if (result < 0) return result;
    for (unsigned m = 0; m < EXPERT_MATRICES; m++)
        for (uint32_t e = 0; e < n; e++)
            store_u64(tables + sizeof(card_addr) * (m * n + e),
                      experts->slots + e * experts->slot_bytes + experts->offset[m]);
    for (uint32_t e = 0; e < n && result == 0; e++) result = load_expert(loaded, layer, e, upload, err);
    return result;
}
