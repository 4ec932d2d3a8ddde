/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/inspect.h"
#include "host/cli/print_text.h"
#include "host/model/pack_measure.h"
#include "kernels/abi/card_program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES 72 /* of a string in a line */

/* The start of a string of the file. */
static void print_string(struct gguf_string text)
{
    if (print_text(text.bytes, text.length, SHOWN_BYTES, "\\") < text.length) printf("... (%zu bytes)", text.length);
}

/* The shorter of two notations, if it reads back as the same number. */
static void print_real(double value, bool is_f32)
{
    char text[40];
    snprintf(text, sizeof text, "%.*g", is_f32 ? 7 : 15, value);
    bool same = is_f32 ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value;
    if (!same) snprintf(text, sizeof text, "%.*g", is_f32 ? 9 : 17, value);
    fputs(text, stdout);
}

static void print_scalar(const struct gguf_value *value)
{
    double real;
    int64_t whole;
    uint64_t large;
    if (value->type == GGUF_TYPE_BOOL)
        fputs(value->bytes[0] ? "true" : "false", stdout);
    else if (value->type == GGUF_TYPE_STRING)
        print_string((struct gguf_string){.bytes = (const char *)value->bytes, .length = value->n_bytes});
    else if (gguf_value_f64(value, &real))
        print_real(real, value->type == GGUF_TYPE_F32);
    else if (gguf_value_i64(value, &whole))
        printf("%" PRId64, whole);
    else if (gguf_value_u64(value, &large))
        printf("%" PRIu64, large);
}

static void print_value(const struct gguf_value *value, uint64_t max_elements);

static void print_element(const struct gguf_value *array, struct gguf_cursor *cursor, uint64_t max_elements)
{
    struct gguf_string text;
    struct gguf_value element;
    if (gguf_next_string(array, cursor, &text)) {
        putchar('"');
        print_string(text);
        putchar('"');
    } else if (gguf_next_array(array, cursor, &element)) {
        print_value(&element, max_elements);
    } else {
        size_t bytes = array->n_bytes / (size_t)array->count;
        element = (struct gguf_value){
            .type = array->element_type, .bytes = array->bytes + cursor->index++ * bytes, .n_bytes = bytes};
        print_scalar(&element);
    }
}

static void print_value(const struct gguf_value *value, uint64_t max_elements)
{
    if (value->type != GGUF_TYPE_ARRAY) {
        print_scalar(value);
        return;
    }
    putchar('[');
    struct gguf_cursor cursor = {0};
    while (cursor.index < value->count && cursor.index < max_elements) {
        if (cursor.index) fputs(", ", stdout);
        print_element(value, &cursor, max_elements);
    }
    fputs(cursor.index < value->count ? ", ...]" : "]", stdout);
    if (cursor.index < value->count) printf(" (%" PRIu64 " elements)", value->count);
}

static void print_type(const struct gguf_value *value)
{
    char type[24];
    if (value->type == GGUF_TYPE_ARRAY)
        snprintf(type, sizeof type, "%s[]", gguf_type_name(value->element_type));
    else
        snprintf(type, sizeof type, "%s", gguf_type_name(value->type));
    printf("%-9s", type);
}

/* 1234567 as "1.2 M", for people. */
static void print_scaled(double value, double step, const char *const units[5])
{
    int unit = 0;
    while (value >= step && unit < 4) value /= step, unit++;
    printf(unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

static void print_bytes(uint64_t bytes)
{
    static const char *const units[5] = {" bytes", " KiB", " MiB", " GiB", " TiB"};
    print_scaled((double)bytes, 1024, units);
}

static void print_count(uint64_t count)
{
    static const char *const units[5] = {"", " thousand", " million", " billion", " trillion"};
    print_scaled((double)count, 1000, units);
}

static void print_line(const char *label, struct gguf_string text)
{
    printf("%-16s", label);
    if (text.bytes)
        print_string(text);
    else
        putchar('-');
    putchar('\n');
}

/* The reason without the file's name, which is printed above it. */
static void print_support(const struct inspection *inspection)
{
    const char *path = gguf_path(inspection->file), *reason = inspection->reason.text;
    size_t length = strlen(path);
    if (strncmp(reason, path, length) == 0 && strncmp(reason + length, ": ", 2) == 0) reason += length + 2;
    printf("%-16s%s%s\n", "runs here", inspection->runs ? "yes" : "no: ", inspection->runs ? "" : reason);
}

static void print_packed(const struct slc *packed)
{
    char hex[FILE_HASH_HEX];
    digest_hex(slc_source_hash(packed), hex);
    printf("%-16s.slc version %u, card ABI %u, ", "format", SLC_VERSION, CARD_ABI_VERSION);
    print_bytes(slc_bytes(packed));
    printf("\n%-16s%s\n%-16s%s\n", "source", slc_source_name(packed), "source SHA-256", hex);
}

static void print_overview(const struct inspection *inspection)
{
    const struct gguf *file = inspection->file;
    const char *path = gguf_path(file);
    print_line("file", (struct gguf_string){.bytes = path, .length = strlen(path)});
    if (inspection->packed) print_packed(inspection->packed);
    printf("%-16s", inspection->packed ? "packed from" : "format");
    if (gguf_get_backing(file))
        printf("safetensors folder, ");
    else
        printf("GGUF version %" PRIu32 ", ", gguf_version(file));
    if (gguf_n_parts(file) > 1) printf("%u parts, ", gguf_n_parts(file));
    print_bytes(gguf_file_bytes(file));
    putchar('\n');
    print_line("architecture", inspection->architecture);
    print_line("name", inspection->name);
    print_line("licence", inspection->licence);
    printf("%-16s", "weights");
    print_count(inspection->n_elements);
    printf(" in %zu tensors, ", gguf_n_tensors(file));
    print_bytes(inspection->n_bytes);
    printf(", %.2f bits per weight\n", inspection_bits(inspection));
    print_support(inspection);
    if (inspection->n_left_out > 0)
        printf("%-16s%zu tensors of layers that predict further tokens (no multi-token prediction)\n", "left out",
               inspection->n_left_out);
    if (inspection->hash[0] && !inspection->packed) printf("%-16s%s\n", "SHA-256", inspection->hash);
}

static void print_hyperparameters(const struct inspection *inspection)
{
    bool any = false;
    for (size_t i = 0; i < gguf_n_keys(inspection->file); i++) {
        const struct gguf_key *key = gguf_key_at(inspection->file, i);
        struct gguf_string rest;
        if (!is_hyperparameter(inspection, key, &rest)) continue;
        if (!any) puts("\nhyperparameters");
        any = true;
        printf("  %-36.*s ", (int)rest.length, rest.bytes);
        print_value(&key->value, inspection->max_elements);
        putchar('\n');
    }
}

static void print_special_token(const struct gguf *file, const char *label, const char *key)
{
    uint32_t id;
    struct gguf_string text;
    if (gguf_get_u32(file, key, &id, NULL) != 1) return;
    printf("  %-36s %" PRIu32 " ", label, id);
    if (inspection_token(file, id, &text))
        print_string(text);
    else
        fputs("(not in the vocabulary)", stdout);
    putchar('\n');
}

static void print_tokenizer(const struct gguf *file)
{
    static const struct {
        const char *label, *key;
    } parts[] = {
        {"model", "tokenizer.ggml.model"},
        {"pre-tokenizer", "tokenizer.ggml.pre"},
        {"tokens", "tokenizer.ggml.tokens"},
        {"merges", "tokenizer.ggml.merges"},
        {"chat template", "tokenizer.chat_template"},
    };
    if (!gguf_find(file, "tokenizer.ggml.model")) return;
    puts("\ntokenizer");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct gguf_value *value = gguf_find(file, parts[i].key);
        if (!value) continue;
        printf("  %-36s ", parts[i].label);
        if (value->type == GGUF_TYPE_ARRAY)
            printf("%" PRIu64, value->count);
        else
            print_scalar(value);
        putchar('\n');
    }
    print_special_token(file, "beginning of sequence", "tokenizer.ggml.bos_token_id");
    print_special_token(file, "end of sequence", "tokenizer.ggml.eos_token_id");
    print_special_token(file, "end of turn", "tokenizer.ggml.eot_token_id");
    print_special_token(file, "padding", "tokenizer.ggml.padding_token_id");
}

static void print_metadata(const struct inspection *inspection)
{
    printf("\nmetadata (%zu keys)\n", gguf_n_keys(inspection->file));
    for (size_t i = 0; i < gguf_n_keys(inspection->file); i++) {
        const struct gguf_key *key = gguf_key_at(inspection->file, i);
        printf("  %-44.*s ", (int)key->name.length, key->name.bytes);
        print_type(&key->value);
        putchar(' ');
        print_value(&key->value, inspection->max_elements);
        putchar('\n');
    }
}

/* The card's format for a matrix, and what rounding to it costs. */
static void print_measure(const struct gguf_tensor *tensor)
{
    struct pack_measure measure;
    pack_measure(tensor, &measure);
    if (measure.format == 0) return;
    printf("  %-8s", packed_format_name(measure.format));
    if (measure.relative_error > 0)
        printf(" off by %.1e", measure.relative_error);
    else
        printf(" exact");
}

static void print_tensors(const struct inspection *inspection)
{
    printf("\ntensors (%zu)\n", gguf_n_tensors(inspection->file));
    for (size_t i = 0; i < gguf_n_tensors(inspection->file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(inspection->file, i);
        char shape[100];
        size_t used = 0;
        for (unsigned d = 0; d < tensor->n_dimensions; d++)
            used +=
                (size_t)snprintf(shape + used, sizeof shape - used, "%s%" PRIu64, d ? " x " : "", tensor->dimension[d]);
        printf("  %-44.*s %-8s %-24s %14" PRIu64, (int)tensor->name.length, tensor->name.bytes,
               gguf_tensor_type_name(tensor->type), shape, tensor->n_bytes);
        print_measure(tensor);
        putchar('\n');
    }
}

static void print_packed_tensors(const struct slc *packed)
{
    printf("\npacked tensors (%zu)\n", slc_n_tensors(packed));
    for (size_t i = 0; i < slc_n_tensors(packed); i++) {
        const struct slc_tensor *tensor = slc_tensor_at(packed, i);
        printf("  %-44s %-10s %14" PRIu64 " at %14" PRIu64 "  ", tensor->name, packed_format_name(tensor->format),
               tensor->n_bytes, tensor->offset);
        for (unsigned b = 0; b < SLC_HASH_BYTES; b++) printf("%02x", tensor->hash[b]);
        putchar('\n');
    }
}

static void print_types(const struct inspection *inspection)
{
    printf("\ntypes\n  %-8s %8s %18s %18s %8s\n", "type", "tensors", "weights", "bytes", "share");
    for (unsigned type = 0; type < GGUF_TENSOR_TYPE_END; type++) {
        const struct type_total *total = &inspection->type[type];
        if (total->n_tensors == 0) continue;
        printf("  %-8s %8" PRIu64 " %18" PRIu64 " %18" PRIu64 " %7.1f%%%s\n", gguf_tensor_type_name(type),
               total->n_tensors, total->n_elements, total->n_bytes,
               100.0 * (double)total->n_bytes / (double)inspection->n_bytes,
               gguf_type_supported((enum gguf_tensor_type)type) ? "" : "  (not supported)");
    }
}

void inspect_print(const struct inspection *inspection)
{
    print_overview(inspection);
    print_hyperparameters(inspection);
    print_tokenizer(inspection->file);
    print_metadata(inspection);
    if (gguf_n_tensors(inspection->file) == 0) return;
    print_tensors(inspection);
    if (inspection->packed) print_packed_tensors(inspection->packed);
    print_types(inspection);
}
