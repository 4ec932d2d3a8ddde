/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder as Hugging Face's libraries write it (config.json, *.safetensors in one or more shards, tokenizer.json, ...), opened as
 * the GGUF file that it would be: struct gguf with a header made in memory, tensors that lie in the shards or are made of what does, row by
 * row (struct gguf_rows). Nothing is converted on disk, and nothing but small tensors in memory.
 */
#ifndef SLUICE_MODEL_HF_FOLDER_H
#define SLUICE_MODEL_HF_FOLDER_H

#include "host/model/gguf.h"

/* Whether path is a folder, or a .safetensors file in one. */
bool hf_is_folder(const char *path);

/*
 * *out is owned: gguf_close. Errors name the file: ERROR_BAD_FILE for what is missing or contradicts itself (shards that the index names
 * and that are not there, tensors of another model), ERROR_UNSUPPORTED for the key that says what is not computed.
 */
int hf_open(const char *path, struct gguf **out, struct error *err);

#endif
