/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf_folder.h"

#include "host/base/memory.h"
#include "host/model/hf/json_guard.h"
#include "host/model/hf/names.h"
#include "host/model/hf/shards.h"
#include "host/model/hf/tokenizer.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_BYTES (16u << 20)
#define TOKENIZER_BYTES (256u << 20)
#define JSON_DEPTH 32u

/* Everything that the opened file lives of. */
struct folder {
    struct gguf_backing base; /* first */
    char *path;
    uint8_t *header;
    struct hf_shards shards;
    struct hf_weights weights;
    struct hf_tensor_list tensors;
    uint8_t *embedding; /* rows that each step reads, where they had to be made */
    float *divisors[2];
};

/* The folder's other files, while its header is made. */
struct papers {
    json_t *config, *tokenizer, *settings, *generation, *special;
    char *template;
};

bool hf_is_folder(const char *path)
{
    struct stat status;
    size_t length = strlen(path);
    if (stat(path, &status) != 0) return false;
    return S_ISDIR(status.st_mode) || (length > 12 && strcmp(path + length - 12, ".safetensors") == 0);
}

static void close_folder(struct gguf_backing *base)
{
    struct folder *folder = (struct folder *)(void *)base;
    hf_tensor_list_release(&folder->tensors);
    hf_weights_release(&folder->weights);
    hf_shards_close(&folder->shards);
    for (unsigned i = 0; i < 2; i++) free(folder->divisors[i]);
    free(folder->embedding);
    free(folder->header);
    free(folder->path);
    free(folder);
}

static bool folder_bytes(const struct gguf_backing *base, unsigned number, const uint8_t **bytes, size_t *n_bytes)
{
    const struct folder *folder = (const struct folder *)(const void *)base;
    if (number >= folder->shards.n_files) return false;
    *bytes = safetensors_bytes(folder->shards.files[number], n_bytes);
    return true;
}

static void folder_forget(const struct gguf_backing *base, const uint8_t *bytes, size_t n_bytes)
{
    const struct folder *folder = (const struct folder *)(const void *)base;
    for (unsigned i = 0; i < folder->shards.n_files; i++) safetensors_forget(folder->shards.files[i], bytes, n_bytes);
}

/* ---- papers ---- */

/* A file that may be missing. */
static int read_paper(const struct folder *folder, const char *name, size_t max_bytes, json_t **out, struct error *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", folder->path, name);
    int status = json_guard_read(path, max_bytes, JSON_DEPTH, out, err);
    return status == ERROR_NOT_FOUND ? 0 : status;
}

static int read_template(const struct folder *folder, char **out, struct error *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/chat_template.jinja", folder->path);
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) return 0;
    char *text = memory_array(CONFIG_BYTES, 1);
    size_t n = text != NULL ? fread(text, 1, CONFIG_BYTES - 1, stream) : 0;
    bool whole = text != NULL && feof(stream) && !ferror(stream);
    (void)fclose(stream);
    if (whole && strlen(text) == n) {
        *out = text;
        return 0;
    }
    free(text);
    return error_set(err, ERROR_BAD_FILE, "%s: cannot be read, is no text or too large", path);
}

static int read_papers(const struct folder *folder, struct papers *papers, struct error *err)
{
    const struct {
        const char *name;
        size_t max_bytes;
        json_t **out;
    } files[] = {
        {"config.json", CONFIG_BYTES, &papers->config},
        {"tokenizer.json", TOKENIZER_BYTES, &papers->tokenizer},
        {"tokenizer_config.json", TOKENIZER_BYTES, &papers->settings},
        {"generation_config.json", CONFIG_BYTES, &papers->generation},
        {"special_tokens_map.json", CONFIG_BYTES, &papers->special},
    };
    int status = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == 0; i++)
        status = read_paper(folder, files[i].name, files[i].max_bytes, files[i].out, err);
    if (status == 0) status = read_template(folder, &papers->template, err);
    if (status == 0 && papers->config == NULL)
        status = error_set(err, ERROR_BAD_FILE, "%s: no config.json (a model's folder has one)", folder->path);
    return status;
}

static void release_papers(struct papers *papers)
{
    json_decref(papers->config);
    json_decref(papers->tokenizer);
    json_decref(papers->settings);
    json_decref(papers->generation);
    json_decref(papers->special);
    free(papers->template);
}

/* ---- the header ---- */

static int read_weights(struct folder *folder, struct hf_config *config, struct error *err)
{
    const struct hf_tensors all = {&folder->shards, hf_shards_find};
    int status = 0;
    uint32_t n_predicting = 0;
    for (size_t i = 0; i < folder->shards.n_tensors; i++)
        n_predicting += hf_names_predicts(config, folder->shards.tensors[i]->name.bytes);
    if (n_predicting > 0) hf_put_u32(config, "prediction_tensors", n_predicting);
    for (size_t i = 0; i < folder->shards.n_tensors && status == 0; i++)
        if (!hf_names_leave_out(folder->shards.tensors[i]->name.bytes))
            status = hf_weights_add(&folder->weights, config, &all, folder->shards.tensors[i], err);
    return status == 0 ? hf_names_map(config, &folder->weights, &folder->tensors, err) : status;
}

static void put_tensor(const struct hf_tensor *tensor, struct header_writer *out)
{
    const struct hf_rows *rows = &tensor->rows;
    uint32_t split = rows->split != 0 ? rows->split : 1;
    uint64_t dimension[3] = {rows->cols, rows->rows / split, (uint64_t)rows->matrices * split};
    uint64_t elements = dimension[0] * dimension[1] * dimension[2]; /* no larger than what files hold */
    unsigned n = rows->is_vector && rows->rows == 1 ? 1 : dimension[2] > 1 ? 3 : 2;
    uint64_t n_bytes = elements / gguf_block_elements(rows->type) * gguf_block_bytes(rows->type);
    header_put_tensor(out, tensor->name, rows->type, n, dimension, n_bytes);
}

static const char *const divisor_names[2][2] = {{"rope_freqs.weight", NULL},
                                                {"rope_factors_short.weight", "rope_factors_long.weight"}};

static void put_divisors(struct folder *folder, struct hf_config *config, struct header_writer *out)
{
    bool is_long = strcmp(config->family->architecture, "phi3") == 0;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t n;
        folder->divisors[i] = hf_rope_divisors(config, i, &n);
        if (folder->divisors[i] != NULL && divisor_names[is_long][i] != NULL)
            header_put_tensor(out, divisor_names[is_long][i], GGUF_F32, 1, (const uint64_t[1]){n}, 4 * (uint64_t)n);
    }
}

static int make_header(struct folder *folder, const struct papers *papers, struct header_writer *out, struct error *err)
{
    struct hf_config config;
    char file[PATH_MAX];
    (void)snprintf(file, sizeof file, "%s/config.json", folder->path);
    int status = hf_config_read(papers->config, file, out, &config, err);
    if (status < 0) return status;
    const struct hf_tokenizer_files files = {.tokenizer = papers->tokenizer,
                                             .settings = papers->settings,
                                             .generation = papers->generation,
                                             .special = papers->special,
                                             .config = config.root,
                                             .template = papers->template};
    status = hf_tokenizer_put(&files, config.shape.n_vocab, out, err);
    if (status == 0) status = read_weights(folder, &config, err);
    if (status < 0) return error_prefix(err, "%s", folder->path);
    for (size_t i = 0; i < folder->tensors.count; i++) put_tensor(&folder->tensors.items[i], out);
    put_divisors(folder, &config, out);
    return config.status;
}

/* ---- the data ---- */

/* Rows of the embedding are read in each step, which allocates nothing. */
static int make_embedding(struct folder *folder, struct gguf *file, const struct gguf_tensor *tensor, struct error *err)
{
    folder->embedding = memory_array((size_t)tensor->n_bytes, 1);
    if (folder->embedding == NULL)
        return error_set(err, ERROR_NO_MEMORY, "%s: no memory for the embedding", folder->path);
    gguf_read_rows(tensor, 0, tensor->n_elements / tensor->dimension[0], folder->embedding);
    gguf_set_data(file, tensor, folder->embedding);
    return 0;
}

static int set_data(struct folder *folder, struct gguf *file, struct error *err)
{
    for (size_t i = 0; i < folder->tensors.count; i++) {
        const struct hf_tensor *made = &folder->tensors.items[i];
        const struct gguf_tensor *tensor = gguf_find_tensor(file, made->name);
        const uint8_t *data = hf_rows_data(&made->rows);
        if (data != NULL)
            gguf_set_data(file, tensor, data);
        else
            gguf_set_rows(file, tensor, &made->rows.base);
        int status = data == NULL && strcmp(made->name, "token_embd.weight") == 0
                         ? make_embedding(folder, file, tensor, err)
                         : 0;
        if (status < 0) return status;
    }
    for (unsigned is_long = 0; is_long < 2; is_long++)
        for (unsigned i = 0; i < 2; i++) {
            const char *name = divisor_names[is_long][i];
            const struct gguf_tensor *tensor = name != NULL ? gguf_find_tensor(file, name) : NULL;
            if (tensor != NULL && folder->divisors[i] != NULL)
                gguf_set_data(file, tensor, (const uint8_t *)folder->divisors[i]);
        }
    return 0;
}

static int open_folder(struct folder *folder, struct gguf **out, struct error *err)
{
    struct papers papers = {0};
    struct header_writer writer = {0};
    struct gguf_header header = {0};
    int status = read_papers(folder, &papers, err);
    if (status == 0) status = hf_shards_open(folder->path, &folder->shards, err);
    if (status == 0) status = make_header(folder, &papers, &writer, err);
    if (status == 0) status = header_writer_finish(&writer, &folder->header, &header.n_bytes, &header.file_bytes, err);
    header_writer_release(&writer);
    release_papers(&papers);
    header.bytes = folder->header;
    return status == 0 ? gguf_open_headers(&header, 1, folder->path, out, err) : status;
}

/* Of a .safetensors file: the folder that it is in. */
static char *folder_path(const char *path)
{
    struct stat status;
    char *copy = strdup(path);
    if (copy == NULL || (stat(path, &status) == 0 && S_ISDIR(status.st_mode))) return copy;
    char *slash = strrchr(copy, '/');
    if (slash == NULL) {
        free(copy);
        return strdup(".");
    }
    *(slash == copy ? slash + 1 : slash) = '\0';
    return copy;
}

int hf_open(const char *path, struct gguf **out, struct error *err)
{
    *out = NULL;
    struct folder *folder = memory_array(1, sizeof *folder);
    if (folder == NULL) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
    folder->base = (struct gguf_backing){close_folder, folder_bytes, folder_forget};
    folder->path = folder_path(path);
    struct gguf *file = NULL;
    int status = folder->path != NULL ? open_folder(folder, &file, err)
                                      : error_set(err, ERROR_NO_MEMORY, "%s: out of memory", path);
    if (status < 0) {
        close_folder(&folder->base);
        return status;
    }
    gguf_set_backing(file, &folder->base);
    status = set_data(folder, file, err);
    if (status < 0) {
        gguf_close(file);
        return status;
    }
    *out = file;
    return 0;
}
