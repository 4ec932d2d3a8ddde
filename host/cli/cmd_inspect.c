/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/commands.h"
#include "host/cli/inspect.h"
#include "host/cli/vocabulary_input.h"
#include "host/model/model.h"
#include "host/text/tokenizer.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_ELEMENTS 8 /* of an array, unless --all */

double inspection_bits(const struct inspection *inspection)
{
    return inspection->n_elements ? 8.0 * (double)inspection->n_bytes / (double)inspection->n_elements : 0;
}

bool is_hyperparameter(const struct inspection *inspection, const struct gguf_key *key, struct gguf_string *rest)
{
    size_t length = inspection->architecture.length;
    if (length == 0 || key->name.length < length + 2 || key->name.bytes[length] != '.') return false;
    if (memcmp(key->name.bytes, inspection->architecture.bytes, length) != 0) return false;
    *rest = (struct gguf_string){.bytes = key->name.bytes + length + 1, .length = key->name.length - length - 1};
    return true;
}

bool inspection_token(const struct gguf *file, uint64_t id, struct gguf_string *out)
{
    const struct gguf_value *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    if (!tokens || id >= tokens->count) return false;
    struct gguf_cursor cursor = {0};
    while (cursor.index <= id) {
        if (gguf_next_string(tokens, &cursor, out) == 0) return false;
    }
    return true;
}

/* A string of the file, or {0} if it is absent or no string: inspect shows also what a model loader would refuse. */
static struct gguf_string string_of(const struct gguf *file, const char *key)
{
    struct gguf_string text;
    return gguf_get_string(file, key, &text, NULL) == 1 ? text : (struct gguf_string){0};
}

/* Tries what the commands that compute do first: to open the model and its tokenizer. Nothing is loaded by that. */
static bool can_run(const struct gguf *file, size_t *n_left_out, struct error *reason)
{
    struct model *model;
    struct tokenizer *tokenizer;
    if (model_open(gguf_path(file), &model, reason) < 0) return false;
    *n_left_out = model_left_out(model);
    model_close(model);
    if (tokenizer_open(file, &tokenizer, reason) < 0) return false;
    tokenizer_close(tokenizer);
    return true;
}

static struct inspection inspect_file(const struct gguf *file, bool all)
{
    struct inspection inspection = {
        .file = file,
        .architecture = string_of(file, "general.architecture"),
        .name = string_of(file, "general.name"),
        .licence = string_of(file, "general.license"),
        .max_elements = all ? UINT64_MAX : SHOWN_ELEMENTS,
    };
    inspection.runs = can_run(file, &inspection.n_left_out, &inspection.reason);
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        struct type_total *total = &inspection.type[tensor->type];
        total->n_tensors++;
        total->n_elements += tensor->n_elements;
        total->n_bytes += tensor->n_bytes;
        inspection.n_elements += tensor->n_elements;
        inspection.n_bytes += tensor->n_bytes;
    }
    return inspection;
}

/* Names every damaged tensor. -1 to go on, or the exit status. */
static int verify_all(const struct slc *packed)
{
    int status = -1;
    for (size_t i = 0; i < slc_n_tensors(packed); i++) {
        struct error err = {0};
        if (slc_verify(packed, slc_tensor_at(packed, i), &err) < 0) status = failure("inspect: %s", err.text);
    }
    return status;
}

const char *packed_format_name(unsigned format)
{
    static const char *const names[CARD_FORMAT_END] = {
        [0] = "as source",           [CARD_FORMAT_F32] = "F32",
        [CARD_FORMAT_INT4] = "INT4", [CARD_FORMAT_INT4_MIN] = "INT4_MIN",
        [CARD_FORMAT_INT8] = "INT8", [CARD_FORMAT_INT8_MIN] = "INT8_MIN",
        [CARD_FORMAT_Q4_K] = "Q4_K", [CARD_FORMAT_Q5_K] = "Q5_K",
        [CARD_FORMAT_Q6_K] = "Q6_K", [CARD_FORMAT_MXFP4] = "MXFP4",
    };
    return format < CARD_FORMAT_END && names[format] ? names[format] : "unknown";
}

static int run(const struct command *self, int argc, char **argv)
{
    bool json = false, all = false, hash = false, verify = false;
    const struct option table[] = {
        {"json", 0, OPTION_FLAG, &json, NULL, "print one JSON object", 0, 0},
        {"all", 0, OPTION_FLAG, &all, NULL, "print every element of every array", 0, 0},
        {"hash", 0, OPTION_FLAG, &hash, NULL, "print the SHA-256 of the file too (reads all of it)", 0, 0},
        {"verify", 0, OPTION_FLAG, &verify, NULL, "of a packed file: first compare every tensor with its hash", 0, 0},
        {0},
    };
    const char *operands[1] = {NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "FILE is missing");

    struct gguf *file;
    struct slc *packed;
    struct error err = {0};
    if (model_open_file(operands[0], &file, &packed, &err) < 0) return failure("inspect: %s", err.text);
    if (verify && !packed) status = failure("inspect: %s: --verify: only packed files hold hashes", operands[0]);
    if (verify && packed) status = verify_all(packed);
    if (status >= 0) goto done;
    struct inspection inspection = inspect_file(packed ? slc_file(packed) : file, all);
    inspection.packed = packed;
    if (hash && packed) digest_hex(slc_source_hash(packed), inspection.hash);
    if (hash && !packed) file_hash(file, inspection.hash);
    status = 0;
    if (json)
        status = inspect_print_json(&inspection, &err);
    else
        inspect_print(&inspection);
    if (status == 0) status = finish_output(&err);
    status = status < 0 ? failure("inspect: %s", err.text) : EXIT_DONE;
done:
    gguf_close(file);
    slc_close(packed);
    return status;
}

const struct command command_inspect = {
    .name = "inspect",
    .synopsis = "FILE [--json] [--all] [--hash] [--verify]",
    .summary =
        "show what is in a GGUF or packed file or a safetensors folder: hyperparameters, tokenizer, metadata, tensors",
    .details = "FILE may be any part of a split model. Files of architectures and tensor types that this release\n"
               "cannot run are shown too. Long arrays are shortened unless --all is given.",
    .run = run,
};
