/* SPDX-License-Identifier: Apache-2.0 */
/* A config.json: what every family has, and what the released weights are; layers are read in config_families.c. */
#include "host/plan/architecture_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Models of text and pictures keep their text model in an object of its own. */
static struct config_reader text_section(const struct config_reader *whole)
{
    struct config_reader reader = *whole;
    json_t *inner = config_get(whole, "text_config");
    if (!json_is_object(inner)) return reader;
    reader.object = inner;
    reader.section = "text_config.";
    return reader;
}

/* Whether expert weights are among the modules that a compressed-tensors config leaves alone; all else may be. */
static bool ignores_attention(struct config_reader *quantization)
{
    json_t *ignored = config_get(quantization, "ignore");
    size_t index;
    json_t *entry;
    json_array_foreach(ignored, index, entry) if (json_is_string(entry) &&
                                                  strstr(json_string_value(entry), "self_attn") != NULL) return true;
    return false;
}

static int64_t bits_of_group(const struct config_reader *quantization)
{
    const json_t *bits = config_get(quantization, "num_bits");
    if (bits == NULL) {
        const json_t *groups = config_get(quantization, "config_groups");
        bits = json_object_get(json_object_get(json_object_get(groups, "group_0"), "weights"), "num_bits");
    }
    return json_is_integer(bits) ? json_integer_value(bits) : 0;
}

/* What the released weights are, by quantization_config and expert_dtype. */
static void read_formats(struct config_reader *reader, struct architecture *architecture)
{
    const char *dtype = config_text_or(reader, "dtype", config_text_or(reader, "torch_dtype", "bfloat16"));
    const char *rest = strcmp(dtype, "float32") == 0 ? "f32" : strcmp(dtype, "float16") == 0 ? "f16" : "bf16";
    const char *experts = rest;
    json_t *object = config_get(reader, "quantization_config");
    if (json_is_object(object)) {
        struct config_reader quantization = *reader;
        quantization.object = object;
        const char *method = config_text_or(&quantization, "quant_method", "");
        int64_t bits = bits_of_group(&quantization);
        if (strcmp(method, "mxfp4") == 0) experts = "mxfp4";
        if (strcmp(method, "fp8") == 0) experts = rest = "fp8";
        if (bits == 4) {
            experts = "int4";
            if (!ignores_attention(&quantization)) rest = "int4";
        }
        reader->status = quantization.status;
    }
    if (strcmp(config_text_or(reader, "expert_dtype", ""), "fp4") == 0) experts = "mxfp4";
    architecture_default_formats(architecture, experts, rest);
}

static void read_model(struct config_reader *reader, const struct config_reader *whole, const char *model_type,
                       struct architecture *architecture)
{
    architecture->d_model = config_u32(reader, "hidden_size", 2, ARCHITECTURE_MAX_WIDTH);
    architecture->n_vocab = config_u32(reader, "vocab_size", 1, ARCHITECTURE_MAX_VOCAB);
    static const char *const context[] = {"max_position_embeddings", "model_max_length", "max_seq_len", NULL};
    architecture->max_context = config_u32(reader, config_key_of(reader, context), 1, UINT32_MAX >> 1);
    static const char *const epsilon[] = {"rms_norm_eps", "layer_norm_eps", NULL};
    architecture->norm_epsilon = config_f32_or(reader, config_key_of(reader, epsilon), 1e-6f);
    struct config_reader outside = *whole;
    bool tied = config_bool_or(&outside, "tie_word_embeddings", config_family_tied(model_type));
    architecture->tied = config_bool_or(reader, "tie_word_embeddings", tied);
    architecture->pre_norms = true;
    if (reader->status == 0) reader->status = outside.status;
}

int config_json_object(json_t *object, const char *text, const char *name, struct architecture **out, struct error *err)
{
    struct config_reader whole = {.file = name, .text = text, .section = "", .object = object, .err = err};
    struct config_reader reader = text_section(&whole);
    uint32_t n_layers = config_u32(&reader, "num_hidden_layers", 1, ARCHITECTURE_MAX_LAYERS);
    const char *outer = config_text_or(&whole, "model_type", "");
    const char *model_type = config_text_or(&reader, "model_type", outer);
    if (model_type[0] == '\0') config_bad(&reader, ERROR_BAD_FILE, "model_type", "is missing");
    if (reader.status != 0) return reader.status;
    struct architecture *architecture;
    int result = architecture_new(n_layers, &architecture, err);
    if (result < 0) return result;
    architecture_put_text(architecture->name, sizeof architecture->name, name);
    architecture_put_text(architecture->model_type, sizeof architecture->model_type, model_type);
    architecture_put_text(architecture->source, sizeof architecture->source, name);
    read_model(&reader, &whole, model_type, architecture);
    if (reader.status == 0) config_read_layers(&reader, model_type, architecture);
    if (reader.status == 0) read_formats(&reader, architecture);
    if (reader.status == 0) reader.status = architecture_check_size(architecture, name, err);
    if (reader.status != 0) {
        architecture_close(architecture);
        return reader.status;
    }
    *out = architecture;
    return 0;
}

int config_json_read(const char *text, size_t length, const char *name, struct architecture **out, struct error *err)
{
    json_error_t fault;
    json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    if (object == NULL) return error_set(err, ERROR_BAD_FILE, "%s:%d: %s", name, fault.line, fault.text);
    char *copy = strndup(text, length); /* ends with a zero, for the search of lines */
    int result;
    if (copy == NULL)
        result = error_set(err, ERROR_NO_MEMORY, "%s: out of memory", name);
    else if (!json_is_object(object))
        result = error_set(err, ERROR_BAD_FILE, "%s:1: no JSON object", name);
    else
        result = config_json_object(object, copy, name, out, err);
    free(copy);
    json_decref(object);
    return result;
}
