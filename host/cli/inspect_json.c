/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON object. Metadata values keep their JSON kind; whole numbers beyond 64-bit signed, and floats that JSON does not
 * know (inf, nan), become strings. An array is {"count": N, "elements": [...]}, shortened unless --all.
 */
#include "host/cli/inspect.h"
#include "host/model/pack_measure.h"
#include "host/text/utf8.h"
#include "kernels/abi/card_program.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* text as JSON; each byte sequence that is no UTF-8 becomes U+FFFD. NULL: out of memory. */
static json_t *json_text(struct gguf_string text)
{
    const uint8_t *bytes = (const uint8_t *)text.bytes;
    if (utf8_valid_prefix(bytes, text.length) == text.length) return json_stringn_nocheck(text.bytes, text.length);
    char *clean = malloc(text.length * 3); /* the replacement has three bytes for at least one */
    if (!clean) return NULL;
    size_t used = 0;
    for (size_t at = 0; at < text.length;) {
        unsigned n;
        bool character = utf8_scan(bytes + at, text.length - at, &n) == UTF8_CHARACTER;
        memcpy(clean + used, character ? (const char *)bytes + at : UTF8_REPLACEMENT, character ? n : 3);
        used += character ? n : 3;
        at += n;
    }
    json_t *string = json_stringn_nocheck(clean, used);
    free(clean);
    return string;
}

/* The file's string, or null if it does not say. */
static json_t *json_optional(struct gguf_string text) { return text.bytes ? json_text(text) : json_null(); }

static json_t *json_number(double value)
{
    return isnan(value)   ? json_string("nan")
           : isinf(value) ? json_string(value < 0 ? "-inf" : "inf")
                          : json_real(value);
}

static json_t *json_scalar(const struct gguf_value *value)
{
    int64_t whole;
    uint64_t large;
    double real;
    if (value->type == GGUF_TYPE_BOOL) return json_boolean(value->bytes[0]);
    if (value->type == GGUF_TYPE_STRING)
        return json_text((struct gguf_string){.bytes = (const char *)value->bytes, .length = value->n_bytes});
    if (gguf_value_f64(value, &real)) return json_number(real);
    if (gguf_value_i64(value, &whole)) return json_integer(whole);
    if (!gguf_value_u64(value, &large)) return NULL;
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, large);
    return json_string(text);
}

static json_t *json_value(const struct gguf_value *value, uint64_t max_elements);

static json_t *json_element(const struct gguf_value *array, struct gguf_cursor *cursor, uint64_t max_elements)
{
    struct gguf_string text;
    struct gguf_value element;
    if (gguf_next_string(array, cursor, &text)) return json_text(text);
    if (gguf_next_array(array, cursor, &element)) return json_value(&element, max_elements);
    size_t bytes = array->n_bytes / (size_t)array->count;
    element = (struct gguf_value){
        .type = array->element_type, .bytes = array->bytes + cursor->index++ * bytes, .n_bytes = bytes};
    return json_scalar(&element);
}

static json_t *json_value(const struct gguf_value *value, uint64_t max_elements)
{
    if (value->type != GGUF_TYPE_ARRAY) return json_scalar(value);
    json_t *elements = json_array();
    struct gguf_cursor cursor = {0};
    while (cursor.index < value->count && cursor.index < max_elements) {
        if (json_array_append_new(elements, json_element(value, &cursor, max_elements)) == 0) continue;
        json_decref(elements);
        return NULL;
    }
    return json_pack("{s:I, s:o}", "count", (json_int_t)value->count, "elements", elements);
}

static json_t *json_metadata(const struct inspection *inspection)
{
    json_t *metadata = json_array();
    for (size_t i = 0; i < gguf_n_keys(inspection->file); i++) {
        const struct gguf_key *key = gguf_key_at(inspection->file, i);
        json_t *entry =
            json_pack("{s:o, s:s, s:o}", "key", json_text(key->name), "type", gguf_type_name(key->value.type), "value",
                      json_value(&key->value, inspection->max_elements));
        if (entry && key->value.type == GGUF_TYPE_ARRAY)
            json_object_set_new(entry, "element_type", json_string(gguf_type_name(key->value.element_type)));
        if (json_array_append_new(metadata, entry) == 0) continue;
        json_decref(metadata);
        return NULL;
    }
    return metadata;
}

static json_t *json_hyperparameters(const struct inspection *inspection)
{
    json_t *object = json_object();
    for (size_t i = 0; i < gguf_n_keys(inspection->file); i++) {
        const struct gguf_key *key = gguf_key_at(inspection->file, i);
        struct gguf_string rest;
        char name[256];
        if (!is_hyperparameter(inspection, key, &rest) || rest.length >= sizeof name) continue;
        memcpy(name, rest.bytes, rest.length);
        name[rest.length] = '\0';
        json_object_set_new(object, name, json_value(&key->value, inspection->max_elements));
    }
    return object;
}

static json_t *json_tokenizer(const struct gguf *file)
{
    static const struct {
        const char *name, *key;
    } parts[] = {
        {"model", "tokenizer.ggml.model"},
        {"pre", "tokenizer.ggml.pre"},
        {"n_tokens", "tokenizer.ggml.tokens"},
        {"n_merges", "tokenizer.ggml.merges"},
        {"bos", "tokenizer.ggml.bos_token_id"},
        {"eos", "tokenizer.ggml.eos_token_id"},
        {"eot", "tokenizer.ggml.eot_token_id"},
        {"padding", "tokenizer.ggml.padding_token_id"},
        {"chat_template", "tokenizer.chat_template"},
    };
    if (!gguf_find(file, "tokenizer.ggml.model")) return json_null();
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct gguf_value *value = gguf_find(file, parts[i].key);
        if (!value) continue;
        bool array = value->type == GGUF_TYPE_ARRAY;
        json_object_set_new(object, parts[i].name, array ? json_integer((json_int_t)value->count) : json_scalar(value));
    }
    return object;
}

/* The card's format for a matrix, and what rounding to it costs. */
static void put_measure(json_t *entry, const struct gguf_tensor *tensor)
{
    struct pack_measure measure;
    pack_measure(tensor, &measure);
    if (measure.format == 0) return;
    json_object_set_new(entry, "card_format", json_string(packed_format_name(measure.format)));
    json_object_set_new(entry, "card_error", json_real(measure.relative_error));
}

static json_t *json_tensors(const struct gguf *file)
{
    json_t *tensors = json_array();
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        json_t *shape = json_array();
        for (unsigned d = 0; d < tensor->n_dimensions; d++)
            json_array_append_new(shape, json_integer((json_int_t)tensor->dimension[d]));
        json_t *entry =
            json_pack("{s:o, s:s, s:o, s:I}", "name", json_text(tensor->name), "type",
                      gguf_tensor_type_name(tensor->type), "shape", shape, "bytes", (json_int_t)tensor->n_bytes);
        put_measure(entry, tensor);
        if (json_array_append_new(tensors, entry) == 0) continue;
        json_decref(tensors);
        return NULL;
    }
    return tensors;
}

static json_t *json_types(const struct inspection *inspection)
{
    json_t *types = json_array();
    for (unsigned type = 0; type < GGUF_TENSOR_TYPE_END; type++) {
        const struct type_total *total = &inspection->type[type];
        if (total->n_tensors == 0) continue;
        json_array_append_new(types, json_pack("{s:s, s:I, s:I, s:I, s:b}", "type", gguf_tensor_type_name(type),
                                               "tensors", (json_int_t)total->n_tensors, "weights",
                                               (json_int_t)total->n_elements, "bytes", (json_int_t)total->n_bytes,
                                               "supported", gguf_type_supported((enum gguf_tensor_type)type)));
    }
    return types;
}

static json_t *json_packed(const struct slc *packed)
{
    char hex[FILE_HASH_HEX];
    digest_hex(slc_source_hash(packed), hex);
    const char *source = slc_source_name(packed);
    json_t *tensors = json_array();
    for (size_t i = 0; i < slc_n_tensors(packed); i++) {
        const struct slc_tensor *tensor = slc_tensor_at(packed, i);
        char hash[2 * SLC_HASH_BYTES + 1];
        for (unsigned b = 0; b < SLC_HASH_BYTES; b++) snprintf(hash + 2 * b, 3, "%02x", tensor->hash[b]);
        json_array_append_new(tensors,
                              json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", tensor->name, "format",
                                        packed_format_name(tensor->format), "offset", (json_int_t)tensor->offset,
                                        "bytes", (json_int_t)tensor->n_bytes, "hash", hash));
    }
    return json_pack("{s:i, s:i, s:I, s:o, s:s, s:o}", "version", (int)SLC_VERSION, "card_abi", (int)CARD_ABI_VERSION,
                     "bytes", (json_int_t)slc_bytes(packed), "source",
                     json_text((struct gguf_string){.bytes = source, .length = strlen(source)}), "source_sha256", hex,
                     "tensors", tensors);
}

int inspect_print_json(const struct inspection *inspection, struct error *err)
{
    const struct gguf *file = inspection->file;
    const char *path = gguf_path(file);
    const char *reason = inspection->reason.text;
    json_t *object = json_pack(
        "{s:o, s:i, s:i, s:I, s:o, s:o, s:o, s:b, s:o, s:I, s:I, s:I, s:f, s:o, s:o, s:o, s:o, s:o}", "file",
        json_text((struct gguf_string){.bytes = path, .length = strlen(path)}), "version", (int)gguf_version(file),
        "parts", (int)gguf_n_parts(file), "bytes", (json_int_t)gguf_file_bytes(file), "architecture",
        json_optional(inspection->architecture), "name", json_optional(inspection->name), "license",
        json_optional(inspection->licence), "runs", (int)inspection->runs, "reason",
        inspection->runs ? json_null() : json_text((struct gguf_string){.bytes = reason, .length = strlen(reason)}),
        "left_out_tensors", (json_int_t)inspection->n_left_out, "weights", (json_int_t)inspection->n_elements,
        "weight_bytes", (json_int_t)inspection->n_bytes, "bits_per_weight", inspection_bits(inspection),
        "hyperparameters", json_hyperparameters(inspection), "tokenizer", json_tokenizer(file), "metadata",
        json_metadata(inspection), "tensors", json_tensors(file), "types", json_types(inspection));
    if (!object) return error_set(err, ERROR_NO_MEMORY, "%s: out of memory for the JSON text", path);
    if (inspection->packed) json_object_set_new(object, "packed", json_packed(inspection->packed));
    if (inspection->hash[0]) json_object_set_new(object, "sha256", json_string(inspection->hash));
    int failed = json_dumpf(object, stdout, JSON_INDENT(2));
    json_decref(object);
    if (failed) return error_set(err, ERROR_IO, "cannot write the JSON text");
    putchar('\n');
    return 0;
}
