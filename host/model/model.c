/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/map_file.h"
#include "host/base/memory.h"
#include "host/model/hf_folder.h"
#include "host/model/model_config.h"
#include "host/model/model_internal.h"

#include <stdio.h>
#include <string.h>

/* demo_model.S */
extern const uint8_t sluice_demo_model[], sluice_demo_model_end[];

static int unsupported_architecture(struct gguf_string architecture, struct error *err)
{
    char list[400] = "";
    size_t length = 0;
    for (const char *const *name = family_names(); *name != NULL && length < sizeof list; name++)
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", length ? ", " : "", *name);
    int shown = architecture.length < 64 ? (int)architecture.length : 64;
    return error_set(err, ERROR_UNSUPPORTED, "architecture \"%.*s\" is not supported (supported: %s)", shown,
                     architecture.bytes, list);
}

static int find_family(const struct gguf *file, const struct family **family, struct error *err)
{
    struct gguf_string architecture;
    int found = gguf_get_string(file, "general.architecture", &architecture, err);
    if (found < 0) return found;
    if (found == 0) return error_set(err, ERROR_BAD_FILE, "the header has no general.architecture");
    *family = family_find(architecture);
    return *family != NULL ? 0 : unsupported_architecture(architecture, err);
}

/* "dir/name-00001-of-00003.gguf" is "name". */
static void set_name(struct model *model, const char *path)
{
    size_t whole = strlen(path);
    while (whole > 0 && path[whole - 1] == '/') whole--; /* a folder */
    size_t first = whole;
    while (first > 0 && path[first - 1] != '/') first--;
    const char *base = path + first;
    size_t length = whole - first;
    unsigned part, parts;
    int end = 0;
    if (length >= 5 && strcmp(base + length - 5, ".gguf") == 0) length -= 5;
    if (length >= 4 && strcmp(base + length - 4, ".slc") == 0) length -= 4;
    if (length > 15 && sscanf(base + length - 15, "-%5u-of-%5u%n", &part, &parts, &end) == 2 && end == 15) length -= 15;
    bool is_here = length == 0 || (base[0] == '.' && (length == 1 || (length == 2 && base[1] == '.')));
    if (is_here) base = "model", length = strlen(base);
    if (length >= sizeof model->name) length = sizeof model->name - 1;
    memcpy(model->name, base, length);
    model->name[length] = '\0';
}

/* Where each tensor of a packed file lies, in the form that its kind needs. */
static int find_packed(struct model *model, struct error *err)
{
    for (size_t i = 0; i < model->table.n_entries; i++) {
        struct tensor_entry *entry = &model->table.entries[i];
        enum tensor_kind kind = tensor_role_kind(tensor_table_role(i));
        bool packed = kind != TENSOR_KIND_HOST && kind != TENSOR_KIND_VECTOR;
        if (entry->tensor == NULL) continue;
        entry->packed = slc_find(model->packed, entry->tensor->name, packed);
        if (entry->packed == NULL ||
            (packed && (entry->packed->format == CARD_FORMAT_F32) != (kind == TENSOR_KIND_FLOAT)))
            return slc_missing(model->packed, entry->tensor->name, err);
    }
    return 0;
}

/* The file's side of everything: family, hyperparameters, tensors. */
static int model_read(struct model *model, struct error *err)
{
    int result = find_family(model_file(model), &model->family, err);
    if (result == 0) result = model_config_read(model_file(model), model->family, &model->config, err);
    if (result == 0) result = tensor_table_init(&model->table, model->config.n_layers, err);
    if (result < 0) return result;
    model->table.n_encoder_layers = model->config.n_encoder_layers;
    model->table.n_left_out_layers = model->config.n_prediction_layers;
    model->family->declare(&model->config, &model->table);
    result = tensor_table_resolve(&model->table, model_file(model), model->family->architecture, err);
    if (result < 0) return result;
    for (size_t i = 0; i < model->table.n_entries; i++)
        if (model->table.entries[i].tensor != NULL) model->weight_bytes += model->table.entries[i].tensor->n_bytes;
    /* Tied embeddings: the embedding is the output matrix too, and on the card it is there as that. */
    struct tensor_entry *output = &model->table.entries[TENSOR_OUTPUT];
    if (output->tensor == NULL) output->tensor = model->table.entries[TENSOR_TOKEN_EMBD].tensor;
    return model->packed != NULL ? find_packed(model, err) : 0;
}

/* A name as in the error texts of host/model/gguf.h and slc.h already is before the text. */
static int with_name(const char *name, struct error *err, int result)
{
    if (slc_error_of(err) == SLC_NO_ERROR) error_prefix(err, "%s", name);
    return result;
}

/* Takes over file or packed, also on error. */
static int model_of_file(struct gguf *file, struct slc *packed, const char *name, struct model **out, struct error *err)
{
    struct model *model = memory_array(1, sizeof *model);
    if (model == NULL) {
        gguf_close(file);
        slc_close(packed);
        return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    }
    model->file = file;
    model->packed = packed;
    set_name(model, packed != NULL && slc_source_name(packed)[0] ? slc_source_name(packed) : name);
    int result = model_read(model, err);
    if (model_check(model, NULL) < 0) result = model_check(model, err); /* what was read is not what is wrong */
    if (result < 0) {
        model_close(model);
        return with_name(name, err, result);
    }
    *out = model;
    return 0;
}

int model_open_memory(const void *bytes, size_t n_bytes, const char *name, struct model **out, struct error *err)
{
    struct gguf *file = NULL;
    struct slc *packed = NULL;
    int result = slc_is(bytes, n_bytes) ? slc_open_memory(bytes, n_bytes, name, &packed, err)
                                        : gguf_open_memory(bytes, n_bytes, name, &file, err);
    return result < 0 ? result : model_of_file(file, packed, name, out, err);
}

int model_open_file(const char *path, struct gguf **file, struct slc **packed, struct error *err)
{
    struct map_file map;
    *file = NULL;
    *packed = NULL;
    if (hf_is_folder(path)) return hf_open(path, file, err);
    int result = map_file_open(path, &map, err);
    if (result < 0) return result;
    bool is_packed = slc_is(map.bytes, map.size);
    map_file_close(&map);
    return is_packed ? slc_open(path, packed, err) : gguf_open(path, file, err);
}

int model_open(const char *path, struct model **out, struct error *err)
{
    if (path == NULL) {
        size_t n_bytes = (size_t)(sluice_demo_model_end - sluice_demo_model);
        return model_open_memory(sluice_demo_model, n_bytes, "sluice-demo", out, err);
    }
    struct gguf *file;
    struct slc *packed;
    int result = model_open_file(path, &file, &packed, err);
    return result < 0 ? result : model_of_file(file, packed, path, out, err);
}

void model_close(struct model *model)
{
    if (model == NULL) return;
    tensor_table_release(&model->table);
    free(model->config.layers);
    if (!model->is_part) {
        gguf_close(model->file);
        slc_close(model->packed);
    }
    free(model);
}

const struct gguf *model_file(const struct model *model)
{
    return model->packed != NULL ? slc_file(model->packed) : model->file;
}
const struct slc *model_packed(const struct model *model) { return model->packed; }
const struct model_config *model_get_config(const struct model *model) { return &model->config; }
const struct family *model_family(const struct model *model) { return model->family; }
const char *model_name(const struct model *model) { return model->name; }
size_t model_left_out(const struct model *model)
{
    return model->table.n_left_out + model->config.n_prediction_tensors;
}

uint64_t model_weight_bytes(const struct model *model) { return model->weight_bytes; }

void model_embed(const struct model *model, uint32_t token, float *out)
{
    const struct gguf_tensor *table = model->table.entries[TENSOR_TOKEN_EMBD].tensor;
    size_t row_bytes =
        (size_t)(model->config.d_model / gguf_block_elements(table->type)) * gguf_block_bytes(table->type);
    gguf_decode(table->type, table->data + token * row_bytes, model->config.d_model, out);
}

int model_check(const struct model *model, struct error *err)
{
    return model->packed != NULL ? slc_check(model->packed, err) : gguf_check(model->file, err);
}

void model_forget(const struct model *model, const uint8_t *bytes, size_t n_bytes)
{
    if (model->packed != NULL)
        slc_forget(model->packed, bytes, n_bytes);
    else
        gguf_forget(model->file, bytes, n_bytes);
}
