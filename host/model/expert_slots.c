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

/*
 * Which place of its tensor an expert has. Where its gate has a tile more in some of the banks than in others, its up matrix, one
 * place further, has it in the banks that follow: the three together fill all banks alike. In one bank, the file's order.
 */
static uint32_t place_of(const struct loaded_model *loaded, size_t index, unsigned matrix, uint32_t expert)
{
    return loaded->weights[index].banks > 1 ? (expert + matrix) % loaded->model->table.entries[index].experts : expert;
}

/* Experts of whole tiles that follow each other on the card as in the file: one matrix of all their rows. */
static int load_range(struct loaded_model *loaded, struct upload *upload, size_t index, unsigned matrix,
                      const struct tensor_tiles *tiles, uint32_t first, uint32_t end, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    const struct weight *weight = &loaded->weights[index];
    uint32_t each =
        entry->rows % CARD_TILE_ROWS == 0 && (uint64_t)entry->rows * (end - first) <= UINT32_MAX ? end - first : 1;
    int result = 0;
    for (uint32_t e = first; e < end && result == 0; e += each)
        result = loaded_model_upload(loaded, upload, index, e, each,
                                     placement_expert(weight, tiles, place_of(loaded, index, matrix, e)), err);
    return result;
}

static int load_tensor(struct loaded_model *loaded, struct upload *upload, size_t index, unsigned matrix,
                       const struct tensor_tiles *tiles, struct error *err)
{
    uint32_t n = loaded->model->table.entries[index].experts;
    uint32_t turned = n - place_of(loaded, index, matrix, 0); /* from this one on they have the first places */
    int result = loaded_model_fill(loaded, upload, index, err);
    if (result != 0) return result < 0 ? result : 0;
    result = load_range(loaded, upload, index, matrix, tiles, 0, turned, err);
    return result < 0 ? result : load_range(loaded, upload, index, matrix, tiles, turned, n, err);
}

int expert_slots_load(struct loaded_model *loaded, uint32_t layer, struct placement *placement, struct upload *upload,
                      uint8_t *tables, struct error *err)
{
    uint32_t n = loaded->model->config.n_experts;
    for (unsigned m = 0; m < EXPERT_MATRICES; m++) {
        size_t index = tensor_table_index(role_of[m], layer);
        struct tensor_tiles tiles;
        int result = placement_tiles(loaded->model, index, placement->weight_formats, &tiles, err);
        if (result == 0) result = placement_take(placement, loaded, index, err);
        if (result == 0) result = load_tensor(loaded, upload, index, m, &tiles, err);
        if (result < 0) return result;
        for (uint32_t e = 0; e < n; e++)
            store_u64(tables + sizeof(card_addr) * (m * n + e),
                      placement_expert(&loaded->weights[index], &tiles, place_of(loaded, index, m, e)));
    }
    return 0;
}
