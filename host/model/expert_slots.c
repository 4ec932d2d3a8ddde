/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/expert_slots.h"

#include "host/base/bytes.h"
#include "host/model/loaded_model.h"

static const enum tensor_role role_of[EXPERT_MATRICES] = {
    [EXPERT_GATE] = TENSOR_FFN_GATE_EXPERTS,
    [EXPERT_UP] = TENSOR_FFN_UP_EXPERTS,
    [EXPERT_DOWN] = TENSOR_FFN_DOWN_EXPERTS,
};

enum tensor_role expert_role(enum expert_matrix matrix) { return role_of[matrix]; }

/* Experts of whole tiles follow each other on the card as in the file: one matrix of all their rows. */
static int load_tensor(struct loaded_model *loaded, struct upload *upload, size_t index,
                       const struct tensor_tiles *tiles, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    uint32_t n = entry->experts;
    int result = loaded_model_fill(loaded, upload, index, err);
    if (result != 0) return result < 0 ? result : 0;
    if (entry->rows % CARD_TILE_ROWS == 0 && (uint64_t)entry->rows * n <= UINT32_MAX)
        return loaded_model_upload(loaded, upload, index, 0, n, loaded->weights[index].address, err);
    for (uint32_t e = 0; e < n && result == 0; e++)
        result =
            loaded_model_upload(loaded, upload, index, e, 1, placement_expert(&loaded->weights[index], tiles, e), err);
    return result;
}

int expert_slots_load(struct loaded_model *loaded, uint32_t layer, struct placement *placement, struct upload *upload,
                      uint8_t *tables, struct error *err)
{
    uint32_t n = loaded->model->config.n_experts;
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        size_t index = tensor_table_index(role_of[m], layer);
        struct tensor_tiles tiles;
        if (loaded->model->table.entries[index].tensor == NULL) continue; /* gate and up in one */
        int result = placement_tiles(loaded->model, index, placement->weight_formats, &tiles, err);
        if (result == 0) result = placement_take(placement, loaded, index, err);
        if (result == 0) result = load_tensor(loaded, upload, index, &tiles, err);
        if (result < 0) return result;
        for (uint32_t e = 0; e < n; e++)
            store_u64(tables + sizeof(card_addr) * (m * n + e), placement_expert(&loaded->weights[index], &tiles, e));
    }
    return 0;
}
