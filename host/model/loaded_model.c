/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model on a card. Small things (norms, biases, slot tables, the rope table) share one allocation, written at once;
 * where the matrices go is in placement.h.
 */
#include "host/model/loaded_model.h"

#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/model/expert_pool_load.h"
#include "host/model/expert_slots.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* The small things on the host, until they are written. */
struct small_parts {
    uint8_t *bytes; /* owned */
    uint64_t used, size;
    card_addr address;
};

int card_place(struct card *card, uint64_t bytes, card_addr *address, struct error *err)
{
    struct card_info info;
    card_describe(card, &info);
    unsigned best = 0;
    for (unsigned b = 1; b < info.n_banks; b++)
        if (info.bank[b].bytes_free > info.bank[best].bytes_free) best = b;
    return card_alloc(card, best, bytes, address, err);
}

int loaded_model_place(struct loaded_model *loaded, uint64_t bytes, card_addr *address, struct error *err)
{
    int result = card_place(loaded->card, bytes, address, err);
    if (result < 0) return result;
    loaded->allocations[loaded->n_allocations++] = *address;
    loaded->card_bytes += card_round_up(bytes, CARD_ALIGNMENT);
    return 0;
}

int loaded_model_take(struct loaded_model *loaded, unsigned bank, uint64_t bytes, card_addr *address, struct error *err)
{
    int result = card_alloc(loaded->card, bank, bytes, address, err);
    if (result < 0) return result;
    loaded->allocations[loaded->n_allocations++] = *address;
    loaded->card_bytes += card_round_up(bytes, CARD_ALIGNMENT);
    return 0;
}

int loaded_model_take_dealt(struct loaded_model *loaded, unsigned n_banks, uint64_t bytes, card_addr *address,
                            struct error *err)
{
    uint64_t offset;
    int result = card_alloc_dealt(loaded->card, n_banks, bytes, &offset, err);
    if (result < 0) return result;
    for (unsigned b = 0; b < n_banks; b++) loaded->allocations[loaded->n_allocations++] = CARD_ADDR(b, offset);
    loaded->card_bytes += card_round_up(bytes, CARD_ALIGNMENT) * n_banks;
    *address = CARD_ADDR(0, offset);
    return 0;
}

int loaded_model_no_format(size_t index, enum gguf_tensor_type type, struct error *err)
{
    char name[TENSOR_NAME_BYTES];
    tensor_table_name(index, name);
    return error_set(err, ERROR_UNSUPPORTED, "tensor %s: this card has no format for type %s", name,
                     gguf_tensor_type_name(type));
}

/* Error sums of one tensor, merged into the model's when the tensor is complete. */
static void count_conversion(struct loaded_model *loaded, size_t index)
{
    const struct pack_result *result = &loaded->packed[index];
    struct model_conversion *conversion = &loaded->conversion;
    double relative = result->value_squares > 0 ? sqrt(result->error_squares / result->value_squares) : 0;
    conversion->n_tensors++;
    loaded->error_squares += result->error_squares;
    loaded->value_squares += result->value_squares;
    if (loaded->value_squares > 0) conversion->relative_rms_error = sqrt(loaded->error_squares / loaded->value_squares);
    if (conversion->worst_name[0] != '\0' && relative <= conversion->worst_relative_rms_error) return;
    conversion->worst_relative_rms_error = relative;
    const struct gguf_string name = loaded->model->table.entries[index].tensor->name;
    (void)snprintf(conversion->worst_name, sizeof conversion->worst_name, "%.*s", (int)name.length, name.bytes);
}

int loaded_model_check_packed(const struct gguf_tensor *tensor, const struct pack_result *packed, struct error *err)
{
    if (packed->no_memory)
        return error_set(err, ERROR_NO_MEMORY, "tensor %.*s: no memory for its rows", (int)tensor->name.length,
                         tensor->name.bytes);
    if (!packed->not_finite && !packed->too_large) return 0;
    return error_set(err, ERROR_BAD_FILE, "tensor %.*s: %s", (int)tensor->name.length, tensor->name.bytes,
                     packed->not_finite ? "has a weight or a scale that is infinite or not a number"
                                        : "has weights too large for INT8 with half-precision scales");
}

int loaded_model_check_exact(const struct tensor_entry *entry, const struct pack_result *packed, struct error *err)
{
    const struct gguf_tensor *tensor = entry->tensor;
    bool unknown = entry->packed != NULL && pack_rounds(tensor->type, entry->packed->format);
    double relative = packed->value_squares > 0 ? sqrt(packed->error_squares / packed->value_squares) : 1;
    if (unknown)
        return error_set(err, ERROR_UNSUPPORTED,
                         "tensor %.*s: type %s may have been rounded when it was packed, which exact formats do not "
                         "allow: open the model that was packed",
                         (int)tensor->name.length, tensor->name.bytes, gguf_tensor_type_name(tensor->type));
    if (packed->error_squares > 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "tensor %.*s: no format of the card keeps the values of type %s (relative error %.1e), which "
                         "exact formats do not allow",
                         (int)tensor->name.length, tensor->name.bytes, gguf_tensor_type_name(tensor->type), relative);
    return 0;
}

static int check_tensor(const struct tensor_entry *entry, const struct pack_result *packed, bool exact,
                        struct error *err)
{
    int result = loaded_model_check_packed(entry->tensor, packed, err);
    return result == 0 && exact ? loaded_model_check_exact(entry, packed, err) : result;
}

/* Matrices [first, first + n) of a tensor. */
static struct pack_source source_of(const struct tensor_entry *entry, uint32_t first, uint32_t n)
{
    if (entry->packed == NULL) return pack_source_of(entry->tensor, entry->rows, entry->cols, first, n);
    return (struct pack_source){.type = entry->tensor->type,
                                .rows = n * entry->rows,
                                .cols = entry->cols,
                                .packed = entry->packed->format,
                                .data = entry->packed->data + first * (entry->packed->n_bytes / entry->experts)};
}

/* What packing saw of the matrices that were uploaded: of experts, or of the others. */
static int check_matrices(struct loaded_model *loaded, bool experts, bool exact_formats, struct error *err)
{
    for (size_t i = 0; i < loaded->model->table.n_entries; i++) {
        const struct tensor_entry *entry = &loaded->model->table.entries[i];
        if (!placement_has(loaded->model, i) ||
            experts != (tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_EXPERTS))
            continue;
        int result = loaded_model_check_packed(entry->tensor, &loaded->packed[i], err);
        if (result == 0 && exact_formats) result = loaded_model_check_exact(entry, &loaded->packed[i], err);
        if (result < 0) return result;
        if (loaded->packed[i].error_squares > 0) count_conversion(loaded, i);
    }
    return 0;
}

int loaded_model_upload(struct loaded_model *loaded, struct upload *upload, size_t index, uint32_t first, uint32_t n,
                        card_addr dst, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    const struct weight *weight = &loaded->weights[index];
    const struct pack_source source = source_of(entry, first, n);
    struct upload_target target = {.address = dst, .format = weight->format, .banks = weight->banks};
    int result = upload_matrix(upload, &source, &target, n * (entry->tensor->n_bytes / entry->experts),
                               &loaded->packed[index], err);
    return result < 0 ? result : check_tensor(entry, &loaded->packed[index], upload->exact_formats, err);
}

int loaded_model_pack(struct loaded_model *loaded, struct upload *upload, size_t index, uint32_t first,
                      upload_sink sink, void *context, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    const struct pack_source source = source_of(entry, first, 1);
    int result = entry->packed != NULL && first == 0 ? slc_verify(loaded->model->packed, entry->packed, err) : 0;
    if (result == 0)
        result = upload_stream(upload, &source, loaded->weights[index].format, entry->tensor->n_bytes / entry->experts,
                               sink, context, &loaded->packed[index], err);
    return result < 0 ? result : check_tensor(entry, &loaded->packed[index], upload->exact_formats, err);
}

void loaded_model_verify(struct loaded_model *loaded, struct upload *upload, size_t index)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    slc_fill_add(loaded->fill, entry->packed, NULL);
    upload->done += entry->tensor->n_bytes;
}

int loaded_model_fill(struct loaded_model *loaded, struct upload *upload, size_t index, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    const struct weight *weight = &loaded->weights[index];
    uint8_t *out = NULL;
    if (entry->packed == NULL) return 0;
    if (weight->banks == 1 && weight->format == entry->packed->format)
        out = card_window(loaded->card, weight->address, entry->packed->n_bytes);
    if (out == NULL) return slc_verify(loaded->model->packed, entry->packed, err);
    slc_fill_add(loaded->fill, entry->packed, out);
    upload->done += entry->tensor->n_bytes;
    return 1;
}

static uint64_t vector_floats(const struct tensor_entry *entry) { return (uint64_t)entry->rows * entry->cols; }

/* Room on the card. */
static uint64_t vector_bytes(const struct tensor_entry *entry)
{
    return card_round_up(4 * vector_floats(entry) * (entry->repeat != 0 ? entry->repeat : 1), CARD_WORD_BYTES);
}

/* Each of n floats that many times, from the last one on, as they lie in the same place. */
static void repeat_floats(float *x, uint64_t n, uint32_t times)
{
    for (uint64_t i = n; times > 1 && i-- > 0;) {
        float value = x[i];
        for (uint32_t k = 0; k < times; k++) x[i * times + k] = value;
    }
}

/* Decodes a tensor that may have to be made first. has_nan says whether a scale is none that decoding shows. */
static int decode_tensor(const struct gguf_tensor *tensor, float *out, bool *has_nan, struct error *err)
{
    uint8_t *made = NULL;
    if (tensor->data == NULL) {
        made = memory_array((size_t)tensor->n_bytes, 1);
        if (made == NULL)
            return error_set(err, ERROR_NO_MEMORY, "tensor %.*s: no memory for its rows", (int)tensor->name.length,
                             tensor->name.bytes);
        gguf_read_rows(tensor, 0, tensor->n_elements / tensor->dimension[0], made);
    }
    const uint8_t *bytes = made != NULL ? made : tensor->data;
    gguf_decode(tensor->type, bytes, (size_t)tensor->n_elements, out);
    *has_nan = gguf_has_nan_scale(tensor->type, bytes, (size_t)tensor->n_elements);
    free(made);
    return 0;
}

/* Takes room among the small things and decodes n values of a vector there. */
static int add_vector(struct loaded_model *loaded, struct small_parts *small, size_t index, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    uint64_t offset = small->used;
    loaded->weights[index] = (struct weight){.address = small->address + offset, .format = CARD_FORMAT_F32, .banks = 1};
    uint64_t n = vector_floats(entry);
    bool has_nan = false;
    int status = decode_tensor(entry->tensor, (float *)(void *)(small->bytes + offset), &has_nan, err);
    if (status < 0) return status;
    small->used += vector_bytes(entry);
    char name[TENSOR_NAME_BYTES];
    tensor_table_name(index, name);
    if (has_nan)
        return error_set(err, ERROR_BAD_FILE, "tensor %s: has a weight or a scale that is infinite or not a number",
                         name);
    for (uint64_t i = 0; i < n; i++) {
        if (isfinite(load_f32(small->bytes + offset + 4 * i))) continue;
        return error_set(err, ERROR_BAD_FILE, "tensor %s: element %llu is infinite or not a number", name,
                         (unsigned long long)i);
    }
    repeat_floats((float *)(void *)(small->bytes + offset), n, entry->repeat);
    return 0;
}

/* Of a table of frequencies on the card; 0: no layer has it. */
static uint64_t rope_bytes(const struct model *model, enum rope_frequencies which)
{
    return card_round_up(2ull * rope_table_dims(model, which), CARD_WORD_BYTES);
}

static uint64_t distances_bytes(const struct model *model)
{
    return card_round_up(sizeof(float) * distance_table_floats(&model->config), CARD_WORD_BYTES);
}

static uint64_t heads_table_bytes(const struct tensor_entry *entry)
{
    return card_round_up(entry->experts * sizeof(card_addr), CARD_WORD_BYTES);
}

/* Bytes of all small things together: rope tables, vectors, tables of heads, and the slot tables, each layer's three from a word on. */
static uint64_t small_bytes(const struct model *model)
{
    uint64_t bytes = 2 * distances_bytes(model);
    for (unsigned which = 0; which < ROPE_FREQUENCIES; which++) bytes += rope_bytes(model, which);
    for (size_t i = 0; i < model->table.n_entries; i++) {
        const struct tensor_entry *entry = &model->table.entries[i];
        if (entry->tensor == NULL) continue;
        enum tensor_kind kind = tensor_role_kind(tensor_table_role(i));
        if (kind == TENSOR_KIND_VECTOR) bytes += vector_bytes(entry);
        if (kind == TENSOR_KIND_HEADS) bytes += heads_table_bytes(entry);
    }
    uint64_t tables = card_round_up(EXPERT_MATRICES * sizeof(card_addr) * model->config.n_experts, CARD_WORD_BYTES);
    return bytes + tables * model->config.n_layers;
}

static int measure_needs(const struct model *model, const struct card_info *info, bool streams,
                         struct model_card_needs *needs, struct error *err)
{
    struct placement placement;
    uint64_t dealt = 0; /* of it: bytes of tiles */
    *needs = (struct model_card_needs){.other_bytes = card_round_up(small_bytes(model), CARD_ALIGNMENT)};
    int result = (streams ? placement_open_streaming : placement_open)(model, info, &placement, err);
    for (size_t i = 0; i < model->table.n_entries && result == 0; i++) {
        if (!placement_wants(&placement, i)) continue;
        struct tensor_tiles tiles;
        result = placement_tiles(model, i, info->weight_formats, &tiles, err);
        if (result < 0) break;
        uint64_t bytes = placement_tensor_bytes(&placement, &tiles, model->table.entries[i].experts);
        bool experts = tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_EXPERTS;
        *(experts ? &needs->expert_bytes : &needs->other_bytes) += bytes;
        dealt += bytes;
    }
    if (placement.banks > 1)
        needs->other_bytes += card_round_up(placement.bank_bytes, CARD_ALIGNMENT) * placement.banks - dealt;
    placement_close(&placement);
    return result;
}

int model_card_needs(const struct model *model, const struct card_info *info, struct model_card_needs *needs,
                     struct error *err)
{
    return measure_needs(model, info, false, needs, err);
}

int model_other_bytes(const struct model *model, const struct card_info *info, uint64_t *bytes, struct error *err)
{
    struct model_card_needs needs;
    int result = measure_needs(model, info, true, &needs, err);
    *bytes = needs.other_bytes;
    return result;
}

/* Of a packed file: what is read while loading. */
static int verify_vectors(const struct model *model, struct error *err)
{
    int result = 0;
    for (size_t i = 0; model->packed != NULL && i < model->table.n_entries && result == 0; i++) {
        const struct slc_tensor *tensor = model->table.entries[i].packed;
        bool read_now = i == TENSOR_ROPE_FREQS || i == TENSOR_ROPE_LONG ||
                        tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_VECTOR;
        if (tensor != NULL && read_now) result = slc_verify(model->packed, tensor, err);
    }
    return result;
}

/* By buckets they are among the vectors already. */
static void add_distances(struct loaded_model *loaded, struct small_parts *small)
{
    const enum tensor_role roles[2] = {TENSOR_ENCODER_DISTANCES, TENSOR_DECODER_DISTANCES};
    for (unsigned decoder = 0; decoder < 2; decoder++) {
        uint64_t by_bucket = loaded->weights[roles[decoder]].address - small->address;
        distance_table(&loaded->model->config, decoder, (const float *)(const void *)(small->bytes + by_bucket),
                       (float *)(void *)(small->bytes + small->used));
        loaded->distances[decoder] = small->address + small->used;
        small->used += distances_bytes(loaded->model);
    }
}

static int load_vectors(struct loaded_model *loaded, struct small_parts *small, struct error *err)
{
    const struct model *model = loaded->model;
    int result = verify_vectors(model, err);
    if (result < 0) return result;
    for (unsigned which = 0; which < ROPE_FREQUENCIES && result == 0; which++) {
        loaded->rope[which] = small->address + small->used;
        result = rope_table(model, which, (float *)(void *)(small->bytes + small->used), err);
        small->used += rope_bytes(model, which);
    }
    for (size_t i = 0; i < model->table.n_entries && result == 0; i++)
        if (model->table.entries[i].tensor != NULL && tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_VECTOR)
            result = add_vector(loaded, small, i, err);
    if (result == 0 && model->config.distance_buckets != 0) add_distances(loaded, small);
    return result;
}

/* The heads' matrices one by one, as rows that do not fill a tile are padded in each; then the table of them. */
static int load_heads(struct loaded_model *loaded, const struct placement *placement, struct small_parts *small,
                      struct upload *upload, size_t index, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    struct weight *weight = &loaded->weights[index];
    struct tensor_tiles tiles;
    int result = placement_tiles(loaded->model, index, placement->weight_formats, &tiles, err);
    if (result < 0) return result;
    int filled = loaded_model_fill(loaded, upload, index, err);
    if (filled < 0) return filled;
    weight->table = small->address + small->used;
    for (uint32_t h = 0; h < entry->experts && result == 0; h++) {
        card_addr address = placement_expert(weight, &tiles, h);
        store_u64(small->bytes + small->used + h * sizeof address, address);
        if (filled == 0) result = loaded_model_upload(loaded, upload, index, h, 1, address, err);
    }
    small->used += heads_table_bytes(entry);
    return result;
}

static int load_matrices(struct loaded_model *loaded, struct placement *placement, struct small_parts *small,
                         struct upload *upload, struct error *err)
{
    int result = 0;
    for (size_t i = 0; i < loaded->model->table.n_entries && result == 0; i++) {
        bool experts = tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_EXPERTS;
        if (experts || !placement_has(loaded->model, i)) continue;
        result = placement_take(placement, loaded, i, err);
        if (result == 0 && tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_HEADS) {
            result = load_heads(loaded, placement, small, upload, i, err);
            continue;
        }
        if (result == 0) result = loaded_model_fill(loaded, upload, i, err);
        if (result == 1)
            result = 0;
        else if (result == 0)
            result = loaded_model_upload(loaded, upload, i, 0, 1, loaded->weights[i].address, err);
    }
    return result;
}

/* Embeddings of their own stay on the host, where no step could refuse a bad one; so they are looked at here. */
static int check_embeddings(const struct loaded_model *loaded, struct upload *upload, struct error *err)
{
    const struct tensor_table *table = &loaded->model->table;
    const struct tensor_entry *entry = &table->entries[TENSOR_TOKEN_EMBD];
    if (entry->tensor == NULL) return 0; /* another part has them */
    if (entry->packed != NULL) {
        slc_fill_add(loaded->fill, entry->packed, NULL);
        return 0; /* looked at when it was packed */
    }
    if (entry->tensor == table->entries[TENSOR_OUTPUT].tensor) return 0; /* tied: packed as the output matrix */
    struct pack_source source = pack_source_of(entry->tensor, entry->rows, entry->cols, 0, 1);
    struct pack_result packed = {0};
    int result = upload_check(upload, &source, entry->tensor->n_bytes, &packed, err);
    return result < 0 ? result : loaded_model_check_packed(entry->tensor, &packed, err);
}

static int load_experts(struct loaded_model *loaded, struct placement *placement, struct small_parts *small,
                        struct upload *upload, struct error *err)
{
    const struct model_config *config = &loaded->model->config;
    uint64_t table_bytes = config->n_experts * sizeof(card_addr);
    for (uint32_t layer = 0; loaded->experts != NULL && layer < config->n_layers; layer++) {
        if (!config->layers[layer].has_experts) continue;
        int result = 0;
        if (placement->streams)
            memset(small->bytes + small->used, 0xff, EXPERT_MATRICES * table_bytes); /* CARD_NO_SLOT */
        else
            result = expert_slots_load(loaded, layer, placement, upload, small->bytes + small->used, err);
        if (result < 0) return result;
        for (unsigned m = 0; m < EXPERT_MATRICES; m++)
            loaded->experts[layer].table[m] = small->address + small->used + m * table_bytes;
        small->used = card_round_up(small->used + EXPERT_MATRICES * table_bytes, CARD_WORD_BYTES);
    }
    return 0;
}

/* Everything to the card (needs: experts stream); the other three are the caller's to release. */
static int load_all(struct loaded_model *loaded, const struct expert_pool_needs *needs, uint32_t expert_slots,
                    struct placement *placement, struct upload *upload, struct small_parts *small, struct error *err)
{
    struct card_info info;
    card_describe(loaded->card, &info);
    int result = (needs != NULL ? placement_open_streaming : placement_open)(loaded->model, &info, placement, err);
    if (result == 0) result = placement_reserve(placement, loaded, err);
    if (result < 0) return result;
    small->size = small_bytes(loaded->model);
    small->bytes = memory_array(small->size, 1);
    if (small->bytes == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    result = loaded_model_place(loaded, small->size, &small->address, err);
    if (result == 0) result = load_vectors(loaded, small, err);
    if (result == 0) result = check_embeddings(loaded, upload, err);
    if (result == 0) result = load_matrices(loaded, placement, small, upload, err);
    if (result == 0) result = load_experts(loaded, placement, small, upload, err);
    if (result == 0 && needs != NULL) result = expert_pool_open(loaded, needs, expert_slots, upload, err);
    if (result == 0) result = upload_finish(upload, err);
    if (result == 0)
        result = check_matrices(loaded, false, upload->exact_formats, err); /* in the order in which they were packed */
    if (result == 0) result = check_matrices(loaded, true, upload->exact_formats, err);
    if (result < 0) return result;
    card_event done;
    result = card_write(loaded->card, small->address, small->bytes, small->size, NULL, 0, &done, err);
    return result < 0 ? result : card_wait(loaded->card, done, 0, err);
}

static struct loaded_model *loaded_model_new(const struct model *model, struct card *card)
{
    struct loaded_model *loaded = memory_array(1, sizeof *loaded);
    if (loaded == NULL) return NULL;
    size_t n_allocations =
        2 * CARD_MAX_BANKS + model->table.n_entries + 1; /* what is dealt, slots, each tensor, the small things */
    loaded->model = model;
    loaded->card = card;
    loaded->weights = memory_array(model->table.n_entries, sizeof *loaded->weights);
    loaded->packed = memory_array(model->table.n_entries, sizeof *loaded->packed);
    loaded->allocations = memory_array(n_allocations, sizeof *loaded->allocations);
    if (model->config.n_experts > 0) loaded->experts = memory_array(model->config.n_layers, sizeof *loaded->experts);
    if (loaded->weights != NULL && loaded->packed != NULL && loaded->allocations != NULL &&
        (model->config.n_experts == 0 || loaded->experts != NULL))
        return loaded;
    loaded_model_close(loaded);
    return NULL;
}

/* Bytes of the file that are packed, or looked at: what progress counts. Tied embeddings are packed once. */
static uint64_t bytes_to_pack(const struct model *model)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < model->table.n_entries; i++) {
        const struct tensor_entry *entry = &model->table.entries[i];
        enum tensor_kind kind = tensor_role_kind(tensor_table_role(i));
        bool tied = i == TENSOR_TOKEN_EMBD && entry->tensor == model->table.entries[TENSOR_OUTPUT].tensor;
        if (entry->tensor != NULL && kind != TENSOR_KIND_VECTOR && i != TENSOR_ROPE_FREQS && i != TENSOR_ROPE_LONG &&
            !tied)
            bytes += entry->tensor->n_bytes;
    }
    return bytes;
}

int model_load(const struct model *model, struct card *card, const struct model_load_options *options,
               struct loaded_model **out, struct error *err)
{
    struct placement placement = {0};
    struct upload upload = {0};
    struct small_parts small = {0};
    struct loaded_model *loaded = loaded_model_new(model, card);
    int result = loaded != NULL ? 0 : error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    if (result == 0) result = upload_open(&upload, card, options, bytes_to_pack(model), err);
    if (result == 0 && model->packed != NULL)
        result = slc_fill_open(model->packed, model->table.n_entries, upload.threads, &loaded->fill, err);
    upload.model = model;
    const uint32_t expert_slots = options != NULL && model->config.n_experts > 0 ? options->expert_slots : 0;
    if (expert_slots > 0 && expert_slots < model->config.n_experts_used && result == 0)
        result = error_set(err, ERROR_BAD_ARGUMENT,
                           "%u expert slots: a token needs %u experts of a layer at once (--expert-slots %u works)",
                           expert_slots, model->config.n_experts_used, model->config.n_experts_used);
    struct expert_pool_needs needs;
    if (result == 0 && expert_slots > 0) {
        struct card_info info;
        card_describe(card, &info);
        loaded->plans_waves = info.abi_version >= CARD_ABI_PER_CHOICE;
        result = expert_pool_measure(model, &info, expert_slots, options->expert_piece_bytes, &needs, err);
    }
    if (result == 0) loaded->expert_limit_us = options != NULL ? options->expert_limit_us : 0;
    if (result == 0) loaded->plans_guesses = expert_slots > 0 && options->plans_guesses;
    if (result == 0)
        result = load_all(loaded, expert_slots > 0 ? &needs : NULL, expert_slots, &placement, &upload, &small, err);
    if (model_check(model, NULL) < 0) result = model_check(model, err); /* what was read of it is not what is wrong */
    if (result == 0 && loaded->fill != NULL) slc_fill_start(loaded->fill);
    upload_close(&upload);
    placement_close(&placement);
    free(small.bytes);
    if (result < 0) {
        error_prefix(err, "%s", model->name);
        loaded_model_close(loaded);
        return result;
    }
    *out = loaded;
    return 0;
}

void loaded_model_close(struct loaded_model *loaded)
{
    if (loaded == NULL) return;
    loaded_model_close(loaded->next);
    if (loaded->server != NULL) loaded->close_server(loaded->server);
    slc_fill_close(loaded->fill);
    for (size_t i = 0; i < loaded->n_allocations; i++) card_free(loaded->card, loaded->allocations[i]);
    free(loaded->allocations);
    free(loaded->weights);
    free(loaded->packed);
    free(loaded->experts);
    expert_pool_close(loaded->pool);
    model_close(loaded->part);
    free(loaded);
}

void loaded_model_join(struct loaded_model *loaded, struct loaded_model *next)
{
    struct model_conversion *sum = &loaded->conversion;
    const struct model_conversion *more = &next->conversion;
    sum->n_tensors += more->n_tensors;
    loaded->error_squares += next->error_squares;
    loaded->value_squares += next->value_squares;
    if (loaded->value_squares > 0) sum->relative_rms_error = sqrt(loaded->error_squares / loaded->value_squares);
    if (more->n_tensors > 0 &&
        (sum->worst_name[0] == '\0' || more->worst_relative_rms_error > sum->worst_relative_rms_error)) {
        sum->worst_relative_rms_error = more->worst_relative_rms_error;
        memcpy(sum->worst_name, more->worst_name, sizeof sum->worst_name);
    }
    struct loaded_model *last = loaded;
    while (last->next != NULL) last = last->next;
    last->next = next;
}

struct loaded_model *loaded_model_next(const struct loaded_model *loaded) { return loaded->next; }
void loaded_model_own_part(struct loaded_model *loaded, struct model *part) { loaded->part = part; }
uint64_t loaded_model_waited(const struct loaded_model *part)
{
    return atomic_load_explicit(&part->waited_ps, memory_order_relaxed);
}
void loaded_model_keep_whole(struct loaded_model *loaded) { loaded->keeps_whole = true; }

const struct model_conversion *loaded_model_conversion(const struct loaded_model *loaded)
{
    return &loaded->conversion;
}
const struct model *loaded_model_source(const struct loaded_model *loaded) { return loaded->model; }
const struct expert_pool *loaded_model_pool(const struct loaded_model *loaded) { return loaded->pool; }

uint32_t loaded_model_expert_slots(const struct loaded_model *loaded)
{
    struct expert_pool_shape shape = {0};
    if (loaded->pool != NULL) expert_pool_get_shape(loaded->pool, &shape);
    return shape.n_slots;
}

void loaded_model_attach(struct loaded_model *loaded, void *server, void (*close)(void *server))
{
    loaded->server = server;
    loaded->close_server = close;
}

void *loaded_model_attached(const struct loaded_model *loaded) { return loaded->server; }
struct card *loaded_model_card(const struct loaded_model *loaded) { return loaded->card; }
uint64_t loaded_model_card_bytes(const struct loaded_model *loaded) { return loaded->card_bytes; }
