/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer of a GGUF file or of a tokenizer.json alone, without the model that a folder has around it. */
#ifndef SLUICE_TESTS_OPEN_VOCABULARY_H
#define SLUICE_TESTS_OPEN_VOCABULARY_H

#include "host/model/hf/json_guard.h"
#include "host/model/hf/tokenizer.h"
#include "host/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

struct open_vocabulary {
    uint8_t *bytes; /* the header made of a tokenizer.json */
    struct gguf *file;
    struct tokenizer *tokenizer;
};

/* The largest id and one. */
static inline uint32_t json_vocabulary_size(const json_t *root)
{
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab"), *value;
    json_int_t n = (json_int_t)json_array_size(vocab);
    const char *key;
    size_t i;
    json_object_foreach(vocab, key, value) if (json_integer_value(value) >= n) n = json_integer_value(value) + 1;
    json_array_foreach(json_object_get(root, "added_tokens"), i, value)
    {
        json_int_t id = json_integer_value(json_object_get(value, "id"));
        if (id >= n) n = id + 1;
    }
    return n > 0 && n < 1 << 24 ? (uint32_t)n : 1;
}

static inline int open_json(const json_t *root, struct open_vocabulary *out, struct error *err)
{
    struct header_writer writer = {0};
    struct hf_tokenizer_files files = {.tokenizer = root};
    size_t n;
    uint64_t file_bytes;
    header_put_string(&writer, "general.architecture", "llama", 5);
    int status = hf_tokenizer_put(&files, json_vocabulary_size(root), &writer, err);
    if (status == 0) status = header_writer_finish(&writer, &out->bytes, &n, &file_bytes, err);
    header_writer_release(&writer);
    if (status == 0) status = gguf_open_memory(out->bytes, n, "tokenizer.json", &out->file, err);
    return status < 0 ? status : tokenizer_open(out->file, &out->tokenizer, err);
}

/* 0 or the error; open_vocabulary_close in either case. */
static inline int open_vocabulary(const char *path, struct open_vocabulary *out, struct error *err)
{
    size_t length = strlen(path);
    *out = (struct open_vocabulary){0};
    if (length < 5 || strcmp(path + length - 5, ".json") != 0) {
        int status = gguf_open(path, &out->file, err);
        return status < 0 ? status : tokenizer_open(out->file, &out->tokenizer, err);
    }
    json_t *root;
    int status = json_guard_read(path, (size_t)1 << 28, 64, &root, err);
    if (status == 0) status = open_json(root, out, err);
    json_decref(root);
    return status;
}

static inline void open_vocabulary_close(struct open_vocabulary *opened)
{
    tokenizer_close(opened->tokenizer);
    gguf_close(opened->file);
    free(opened->bytes);
    *opened = (struct open_vocabulary){0};
}

#endif
