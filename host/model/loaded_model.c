/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model on a card. Small things (norms, biases, slot tables, the rope table) share one allocation, written at once;
 * every matrix has its own, in the emptiest bank; a layer's experts have one.
 */
#include "host/model/loaded_model.h"

#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/model/expert_slots.h"

#include <math.h>
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

int loaded_model_no_format(size_t index, enum gguf_tensor_type type, struct error *err)
{
    char name[TENSOR_NAME_BYTES];
    tensor_table_name(index, name);
    return error_set(err, ERROR_UNSUPPORTED, "tensor %s: this card has no format for type %s", name,
                     gguf_tensor_type_name(type));
}

/* Error sums of one tensor, merged into the model's when the tensor is complete. */
static void count_conversion(struct loaded_model *loaded, size_t index, uint32_t expert,
                             const struct pack_result *result)
{
    struct model_conversion *conversion = &loaded->conversion;
    double relative = result->value_squares > 0 ? sqrt(result->error_squares / result->value_squares) : 0;
    if (expert == 0) conversion->n_tensors++;
    loaded->error_squares += result->error_squares;
    loaded->value_squares += result->value_squares;
    if (loaded->value_squares > 0) conversion->relative_rms_error = sqrt(loaded->error_squares / loaded->value_squares);
    if (conversion->worst_name[0] != '\0' && relative <= conversion->worst_relative_rms_error) return;
    conversion->worst_relative_rms_error = relative;
    const struct gguf_string name = loaded->model->table.entries[index].tensor->name;
    (void)snprintf(conversion->worst_name, sizeof conversion->worst_name, "%.*s", (int)name.length, name.bytes);
}

static int check_packed(const struct gguf_tensor *tensor, const struct pack_result *packed, struct error *err)
{
    if (!packed->not_finite && !packed->too_large) return 0;
    return error_set(err, ERROR_BAD_FILE, "tensor %.*s: %s", (int)tensor->name.length, tensor->name.bytes,
                     packed->not_finite ? "has a weight or a scale that is infinite or not a number"
                                        : "has weights too large for INT8 with half-precision scales");
}

int loaded_model_upload(struct loaded_model *loaded, struct upload *upload, size_t index, uint32_t expert,
                        unsigned format, card_addr dst, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    uint64_t bytes = entry->tensor->n_bytes / entry->experts;
    struct pack_source source = {entry->tensor->type, entry->tensor->data + expert * bytes, entry->rows, entry->cols};
    struct pack_result packed = {0};
    int result = upload_matrix(upload, &source, format, dst, bytes, &packed, err);
    if (result == 0) result = check_packed(entry->tensor, &packed, err);
    if (result < 0) return result;
    if (pack_rounds(source.type, format)) count_conversion(loaded, index, expert, &packed);
    return 0;
}

/* Takes room among the small things and decodes n values of a vector there. */
static int add_vector(struct loaded_model *loaded, struct small_parts *small, size_t index, struct error *err)
{
    const struct tensor_entry *entry = &loaded->model->table.entries[index];
    uint64_t offset = small->used;
    loaded->weights[index] = (struct weight){small->address + offset, CARD_FORMAT_F32};
    gguf_decode(entry->tensor->type, entry->tensor->data, entry->cols, (float *)(void *)(small->bytes + offset));
    small->used += card_round_up(4ull * entry->cols, CARD_WORD_BYTES);
    for (uint32_t i = 0; i < entry->cols; i++) {
        if (isfinite(load_f32(small->bytes + offset + 4ull * i))) continue;
        char name[TENSOR_NAME_BYTES];
        tensor_table_name(index, name);
        return error_set(err, ERROR_BAD_FILE, "tensor %s: element %u is infinite or not a number", name, i);
    }
    return 0;
}

/* Bytes of all small things together: rope table, vectors, and the slot tables, each layer's three from a word on. */
static uint64_t small_bytes(const struct model *model)
{
    uint64_t bytes = card_round_up(2ull * model->config.rope_dims, CARD_WORD_BYTES);
    for (size_t i = 0; i < model->table.n_entries; i++) {
        const struct tensor_entry *entry = &model->table.entries[i];
        if (entry->tensor != NULL && tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_VECTOR)
            bytes += card_round_up(4ull * entry->cols, CARD_WORD_BYTES);
    }
    uint64_t tables = card_round_up(EXPERT_MATRICES * sizeof(card_addr) * model->config.n_experts, CARD_WORD_BYTES);
    return bytes + tables * model->config.n_layers;
}

/* The format of the matrix at this index of the table on a card with these weight formats; 0 if there is none. */
static unsigned matrix_format(const struct model *model, size_t index, uint32_t weight_formats)
{
    if (tensor_role_kind(tensor_table_role(index)) == TENSOR_KIND_FLOAT) return CARD_FORMAT_F32;
    return pack_format(model->table.entries[index].tensor->type, weight_formats);
}

/* Whether the tensor at this index is there and becomes one matrix on the card. */
static bool is_matrix(const struct model *model, size_t index)
{
    enum tensor_kind kind = tensor_role_kind(tensor_table_role(index));
    return model->table.entries[index].tensor != NULL && (kind == TENSOR_KIND_MATRIX || kind == TENSOR_KIND_FLOAT);
}

int model_card_needs(const struct model *model, uint32_t weight_formats, struct model_card_needs *needs,
                     struct error *err)
{
    *needs = (struct model_card_needs){.other_bytes = card_round_up(small_bytes(model), CARD_ALIGNMENT)};
    for (size_t i = 0; i < model->table.n_entries; i++) {
        const struct tensor_entry *entry = &model->table.entries[i];
        if (!is_matrix(model, i)) continue;
        unsigned format = matrix_format(model, i, weight_formats);
        if (format == 0) return loaded_model_no_format(i, entry->tensor->type, err);
        needs->other_bytes += card_round_up(card_matrix_bytes(format, entry->rows, entry->cols), CARD_ALIGNMENT);
    }
    return expert_slots_bytes(model, weight_formats, &needs->expert_bytes, err);
}

static int load_vectors(struct loaded_model *loaded, struct small_parts *small, struct error *err)
{
    const struct model *model = loaded->model;
    int result = rope_table(model, (float *)(void *)small->bytes, err);
    loaded->rope_frequencies = small->address;
    small->used = card_round_up(2ull * model->config.rope_dims, CARD_WORD_BYTES);
    for (size_t i = 0; i < model->table.n_entries && result == 0; i++)
        if (model->table.entries[i].tensor != NULL && tensor_role_kind(tensor_table_role(i)) == TENSOR_KIND_VECTOR)
            result = add_vector(loaded, small, i, err);
    return result;
}

static int load_matrices(struct loaded_model *loaded, struct upload *upload, uint32_t weight_formats, struct error *err)
{
    int result = 0;
    for (size_t i = 0; i < loaded->model->table.n_entries && result == 0; i++) {
        if (!is_matrix(loaded->model, i)) continue;
        const struct tensor_entry *entry = &loaded->model->table.entries[i];
        struct weight *weight = &loaded->weights[i];
        weight->format = matrix_format(loaded->model, i, weight_formats);
        if (weight->format == 0) return loaded_model_no_format(i, entry->tensor->type, err);
        uint64_t bytes = card_matrix_bytes(weight->format, entry->rows, entry->cols);
        result = loaded_model_place(loaded, bytes, &weight->address, err);
        if (result == 0) result = loaded_model_upload(loaded, upload, i, 0, weight->format, weight->address, err);
    }
    return result;
}

/* Embeddings of their own stay on the host, where no step could refuse a bad one; so they are looked at here. */
static int check_embeddings(const struct loaded_model *loaded, struct upload *upload, struct error *err)
{
    const struct tensor_table *table = &loaded->model->table;
    const struct tensor_entry *entry = &table->entries[TENSOR_TOKEN_EMBD];
    if (entry->tensor == table->entries[TENSOR_OUTPUT].tensor) return 0; /* tied: packed as the output matrix */
    struct pack_source source = {entry->tensor->type, entry->tensor->data, entry->rows, entry->cols};
    struct pack_result packed = {0};
    int result = upload_check(upload, &source, entry->tensor->n_bytes, &packed, err);
    return result < 0 ? result : check_packed(entry->tensor, &packed, err);
}

static int load_experts(struct loaded_model *loaded, struct small_parts *small, struct upload *upload,
                        uint32_t weight_formats, struct error *err)
{
    const struct model_config *config = &loaded->model->config;
    uint64_t table_bytes = config->n_experts * sizeof(card_addr);
    for (uint32_t layer = 0; loaded->experts != NULL && layer < config->n_layers; layer++) {
        struct expert_layer *experts = &loaded->experts[layer];
        int result = expert_layer_measure(loaded->model, layer, weight_formats, experts, err);
        if (result == 0) result = expert_slots_load(loaded, layer, upload, small->bytes + small->used, err);
        if (result < 0) return result;
        for (unsigned m = 0; m < EXPERT_MATRICES; m++)
            experts->table[m] = small->address + small->used + m * table_bytes;
        small->used = card_round_up(small->used + EXPERT_MATRICES * table_bytes, CARD_WORD_BYTES);
    }
    return 0;
}

/* Everything to the card; upload and small are the caller's to release. */
static int load_all(struct loaded_model *loaded, struct upload *upload, struct small_parts *small, struct error *err)
{
    struct card_info info;
    card_describe(loaded->card, &info);
    small->size = small_bytes(loaded->model);
    small->bytes = memory_array(small->size, 1);
    if (small->bytes == NULL) return error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    int result = loaded_model_place(loaded, small->size, &small->address, err);
    if (result == 0) result = load_vectors(loaded, small, err);
    if (result == 0) result = check_embeddings(loaded, upload, err);
    if (result == 0) result = load_matrices(loaded, upload, info.weight_formats, err);
    if (result == 0) result = load_experts(loaded, small, upload, info.weight_formats, err);
    if (result == 0) result = upload_finish(upload, err);
    if (result < 0) return result;
    card_event done;
    result = card_write(loaded->card, small->address, small->bytes, small->size, NULL, 0, &done, err);
    return result < 0 ? result : card_wait(loaded->card, done, 0, err);
}

static struct loaded_model *loaded_model_new(const struct model *model, struct card *card)
{
    struct loaded_model *loaded = memory_array(1, sizeof *loaded);
    if (loaded == NULL) return NULL;
    size_t n_allocations = model->table.n_entries + model->config.n_layers + 1;
    loaded->model = model;
    loaded->card = card;
    loaded->weights = memory_array(model->table.n_entries, sizeof *loaded->weights);
    loaded->allocations = memory_array(n_allocations, sizeof *loaded->allocations);
    if (model->config.n_experts > 0) loaded->experts = memory_array(model->config.n_layers, sizeof *loaded->experts);
    if (loaded->weights != NULL && loaded->allocations != NULL &&
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
        if (entry->tensor != NULL && kind != TENSOR_KIND_VECTOR && i != TENSOR_ROPE_FREQS && !tied)
            bytes += entry->tensor->n_bytes;
    }
    return bytes;
}

int model_load(const struct model *model, struct card *card, const struct model_load_options *options,
               struct loaded_model **out, struct error *err)
{
    struct upload upload = {0};
    struct small_parts small = {0};
    struct loaded_model *loaded = loaded_model_new(model, card);
    int result = loaded != NULL ? 0 : error_set(err, ERROR_NO_MEMORY, "loading: out of memory");
    if (result == 0) result = upload_open(&upload, card, options, bytes_to_pack(model), err);
    if (result == 0) result = load_all(loaded, &upload, &small, err);
    upload_close(&upload);
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
    for (size_t i = 0; i < loaded->n_allocations; i++) card_free(loaded->card, loaded->allocations[i]);
    free(loaded->allocations);
    free(loaded->weights);
    free(loaded->experts);
    free(loaded);
}

const struct model_conversion *loaded_model_conversion(const struct loaded_model *loaded)
{
    return &loaded->conversion;
}
const struct model *loaded_model_source(const struct loaded_model *loaded) { return loaded->model; }
struct card *loaded_model_card(const struct loaded_model *loaded) { return loaded->card; }
uint64_t loaded_model_card_bytes(const struct loaded_model *loaded) { return loaded->card_bytes; }
