/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/placement.h"

#include "host/base/memory.h"
#include "host/model/loaded_model.h"
#include "host/model/pack.h"

bool placement_has(const struct model *model, size_t index)
{
    enum tensor_kind kind = tensor_role_kind(tensor_table_role(index));
    return model->table.entries[index].tensor != NULL && (kind == TENSOR_KIND_MATRIX || kind == TENSOR_KIND_FLOAT ||
                                                          kind == TENSOR_KIND_EXPERTS || kind == TENSOR_KIND_HEADS);
}

int placement_tiles(const struct model *model, size_t index, uint32_t weight_formats, struct tensor_tiles *tiles,
                    struct error *err)
{
    const struct tensor_entry *entry = &model->table.entries[index];
    bool is_float = tensor_role_kind(tensor_table_role(index)) == TENSOR_KIND_FLOAT;
    tiles->format = is_float ? CARD_FORMAT_F32 : pack_format(entry->tensor->type, weight_formats);
    /* What was packed stays as it is wherever the card has its format: floats may lie in another than their own. */
    if (!is_float && entry->packed != NULL && (weight_formats >> entry->packed->format & 1u) != 0)
        tiles->format = entry->packed->format;
    else if (!is_float && entry->packed != NULL)
        tiles->format = weight_formats >> CARD_FORMAT_F32 & 1u ? CARD_FORMAT_F32 : 0;
    if (tiles->format == 0) return loaded_model_no_format(index, entry->tensor->type, err);
    tiles->tile_bytes = card_tile_bytes(tiles->format, entry->cols);
    tiles->n_tiles = pack_n_pieces(entry->rows);
    return 0;
}

bool placement_wants(const struct placement *placement, size_t index)
{
    if (placement->streams && tensor_role_kind(tensor_table_role(index)) == TENSOR_KIND_EXPERTS) return false;
    return placement_has(placement->model, index);
}

static struct tile_run *find_run(const struct placement *placement, uint64_t tile_bytes)
{
    size_t i = 0;
    while (i < placement->n_runs && placement->runs[i].tile_bytes != tile_bytes) i++;
    return &placement->runs[i];
}

/* How many tiles there are of each size. */
static int count_tiles(struct placement *placement, struct error *err)
{
    const struct tensor_table *table = &placement->model->table;
    for (size_t i = 0; i < table->n_entries; i++) {
        struct tensor_tiles tiles;
        if (!placement_wants(placement, i)) continue;
        int result = placement_tiles(placement->model, i, placement->weight_formats, &tiles, err);
        if (result < 0) return result;
        struct tile_run *run = find_run(placement, tiles.tile_bytes);
        if (run == &placement->runs[placement->n_runs]) placement->n_runs++;
        run->tile_bytes = tiles.tile_bytes;
        run->n_tiles += tiles.n_tiles * table->entries[i].experts;
    }
    return 0;
}

/* The runs one after the other, each from bank 0 on; returns the bytes of a bank. */
static uint64_t lay_out(struct placement *placement, uint64_t offset)
{
    uint64_t start = offset;
    for (size_t i = 0; i < placement->n_runs; i++) {
        struct tile_run *run = &placement->runs[i];
        run->next = CARD_ADDR(0, offset);
        offset += (run->n_tiles + placement->banks - 1) / placement->banks * run->tile_bytes;
    }
    return offset - start;
}

static int open_for(const struct model *model, const struct card_info *info, bool streams, struct placement *placement,
                    struct error *err)
{
    *placement = (struct placement){
        .model = model, .weight_formats = info->weight_formats, .streams = streams, .banks = info->n_banks};
    placement->runs = memory_array(model->table.n_entries + 1, sizeof *placement->runs);
    if (placement->runs == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    int result = count_tiles(placement, err);
    if (result < 0) return result;
    placement->bank_bytes = lay_out(placement, 0);
    bool fits = placement->bank_bytes > 0;
    for (unsigned b = 0; b < info->n_banks; b++)
        fits = fits && card_round_up(placement->bank_bytes, CARD_ALIGNMENT) <= info->bank[b].bytes_free;
    if (!fits) placement->banks = 1;
    return 0;
}

int placement_open(const struct model *model, const struct card_info *info, struct placement *placement,
                   struct error *err)
{
    return open_for(model, info, false, placement, err);
}

int placement_open_streaming(const struct model *model, const struct card_info *info, struct placement *placement,
                             struct error *err)
{
    return open_for(model, info, true, placement, err);
}

void placement_close(struct placement *placement)
{
    free(placement->runs);
    *placement = (struct placement){0};
}

uint64_t placement_tensor_bytes(const struct placement *placement, const struct tensor_tiles *tiles, uint32_t experts)
{
    uint64_t bytes = tiles->n_tiles * tiles->tile_bytes * experts;
    return placement->banks > 1 ? bytes : card_round_up(bytes, CARD_ALIGNMENT);
}

int placement_reserve(struct placement *placement, struct loaded_model *loaded, struct error *err)
{
    uint64_t offset;
    if (placement->banks <= 1) return 0;
    int result = card_alloc_dealt(loaded->card, placement->banks, placement->bank_bytes, &offset, err);
    if (result == ERROR_NO_MEMORY) placement->banks = 1; /* so many bytes are free, but not in the same place */
    if (result < 0) return result == ERROR_NO_MEMORY ? 0 : result;
    for (unsigned b = 0; b < placement->banks; b++) loaded->allocations[loaded->n_allocations++] = CARD_ADDR(b, offset);
    loaded->card_bytes += card_round_up(placement->bank_bytes, CARD_ALIGNMENT) * placement->banks;
    (void)lay_out(placement, offset);
    return 0;
}

card_addr placement_advance(card_addr address, uint64_t n, unsigned banks, uint64_t tile_bytes)
{
    unsigned bank = CARD_ADDR_BANK(address);
    return CARD_ADDR(card_tile_bank(bank, n, banks),
                     card_tile_offset(bank, CARD_ADDR_OFFSET(address), n, banks, tile_bytes));
}

int placement_take(struct placement *placement, struct loaded_model *loaded, size_t index, struct error *err)
{
    struct tensor_tiles tiles;
    struct weight *weight = &loaded->weights[index];
    uint32_t experts = placement->model->table.entries[index].experts;
    int result = placement_tiles(placement->model, index, placement->weight_formats, &tiles, err);
    if (result < 0) return result;
    *weight = (struct weight){.format = tiles.format, .banks = placement->banks};
    if (weight->banks == 1)
        return loaded_model_place(loaded, tiles.n_tiles * tiles.tile_bytes * experts, &weight->address, err);
    struct tile_run *run = find_run(placement, tiles.tile_bytes);
    weight->address = run->next;
    run->next = placement_advance(run->next, tiles.n_tiles * experts, placement->banks, tiles.tile_bytes);
    return 0;
}

card_addr placement_expert(const struct weight *weight, const struct tensor_tiles *tiles, uint32_t expert)
{
    return placement_advance(weight->address, expert * tiles->n_tiles, weight->banks, tiles->tile_bytes);
}
