/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/slc_write.h"

#include "host/base/bytes.h"
#include "host/base/memory.h"
#include "host/model/loaded_model.h"
#include "host/model/slc_internal.h"

#include <errno.h>
#include <math.h>

struct writer {
    const struct model *model;
    const struct slc_write_options *options;
    FILE *stream;
    uint64_t at; /* bytes written */
    struct upload upload;
    XXH3_state_t *hash; /* owned; of the tensor being written */
    uint8_t *table;     /* owned; n_tensors entries */
    uint32_t n_tensors;
    uint8_t header[SLC_PAGE];
    struct model_conversion *conversion;
    double error_squares, value_squares;
};

static int put(struct writer *writer, const void *bytes, size_t n, struct error *err)
{
    writer->at += n;
    if (n == 0 || fwrite(bytes, n, 1, writer->stream) == 1) return 0;
    return error_set(err, ERROR_IO, "cannot write the packed file: %s", strerror(errno));
}

static int pad(struct writer *writer, uint64_t step, struct error *err)
{
    static const uint8_t zeros[SLC_PAGE];
    return put(writer, zeros, (size_t)((step - writer->at % step) % step), err);
}

static int put_hashed(void *context, const uint8_t *bytes, size_t n, struct error *err)
{
    struct writer *writer = context;
    XXH3_128bits_update(writer->hash, bytes, n);
    return put(writer, bytes, n, err);
}

/* The format in which the tensor at this index is stored; 0: as in the source. */
static unsigned stored_format(const struct writer *writer, size_t index)
{
    enum gguf_tensor_type type = writer->model->table.entries[index].tensor->type;
    unsigned float_format = writer->options->float_format;
    enum tensor_kind kind = tensor_role_kind(tensor_table_role(index));
    if (kind == TENSOR_KIND_HOST || kind == TENSOR_KIND_VECTOR) return 0;
    if (kind == TENSOR_KIND_FLOAT) return CARD_FORMAT_F32;
    if (float_format != 0 && pack_is_float(type) && index != TENSOR_OUTPUT) return float_format;
    return pack_format(type, UINT32_MAX);
}

static void count_rounding(struct writer *writer, const struct tensor_entry *entry, const struct pack_result *packed)
{
    struct model_conversion *conversion = writer->conversion;
    double relative = packed->value_squares > 0 ? sqrt(packed->error_squares / packed->value_squares) : 0;
    conversion->n_tensors++;
    writer->error_squares += packed->error_squares;
    writer->value_squares += packed->value_squares;
    if (writer->value_squares > 0) conversion->relative_rms_error = sqrt(writer->error_squares / writer->value_squares);
    if (conversion->worst_name[0] != '\0' && relative <= conversion->worst_relative_rms_error) return;
    conversion->worst_relative_rms_error = relative;
    (void)snprintf(conversion->worst_name, sizeof conversion->worst_name, "%.*s", (int)entry->tensor->name.length,
                   entry->tensor->name.bytes);
}

/* Matrix after matrix: each expert's rows are padded to whole tiles. */
static int put_packed(struct writer *writer, const struct tensor_entry *entry, unsigned format, struct error *err)
{
    struct pack_result packed = {0};
    uint64_t bytes = entry->tensor->n_bytes / entry->experts;
    int result = 0;
    for (uint32_t e = 0; e < entry->experts && result == 0; e++) {
        struct pack_source source = pack_source_of(entry->tensor, entry->rows, entry->cols, e, 1);
        result = upload_stream(&writer->upload, &source, format, bytes, put_hashed, writer, &packed, err);
    }
    if (result == 0) result = loaded_model_check_packed(entry->tensor, &packed, err);
    if (result == 0 && writer->upload.exact_formats) result = loaded_model_check_exact(entry, &packed, err);
    if (result == 0 && packed.error_squares > 0) count_rounding(writer, entry, &packed);
    return result;
}

/* Rows that are made: of vectors, which are small. */
static int put_made(struct writer *writer, const struct gguf_tensor *tensor, struct error *err)
{
    uint8_t *bytes = memory_array((size_t)tensor->n_bytes, 1);
    if (bytes == NULL) return error_set(err, ERROR_NO_MEMORY, "packing: out of memory");
    gguf_read_rows(tensor, 0, tensor->n_elements / tensor->dimension[0], bytes);
    int result = put_hashed(writer, bytes, (size_t)tensor->n_bytes, err);
    free(bytes);
    return result;
}

/* As in the source. Embeddings stay on the host, where no step could refuse a bad one; so they are looked at here. */
static int put_source(struct writer *writer, const struct tensor_entry *entry, size_t index, struct error *err)
{
    const struct gguf_tensor *tensor = entry->tensor;
    struct pack_result packed = {0};
    struct pack_source source = pack_source_of(tensor, entry->rows, entry->cols, 0, 1);
    int result = tensor->data != NULL ? put_hashed(writer, tensor->data, (size_t)tensor->n_bytes, err)
                                      : put_made(writer, tensor, err);
    if (result == 0 && index == TENSOR_TOKEN_EMBD) {
        result = upload_check(&writer->upload, &source, tensor->n_bytes, &packed, err);
        if (result == 0) result = loaded_model_check_packed(tensor, &packed, err);
    }
    model_forget(writer->model, tensor->data, (size_t)tensor->n_bytes);
    return result;
}

static int put_tensor(struct writer *writer, size_t index, struct error *err)
{
    const struct tensor_entry *entry = &writer->model->table.entries[index];
    unsigned format = stored_format(writer, index);
    uint8_t *row = writer->table + (size_t)writer->n_tensors++ * SLC_ENTRY_BYTES;
    int result = pad(writer, SLC_PAGE, err);
    memcpy(row, entry->tensor->name.bytes, entry->tensor->name.length);
    store_u32(row + SLC_ENTRY_FORMAT, format);
    store_u32(row + SLC_ENTRY_TYPE, entry->tensor->type);
    /* What stays as in the source has its dimensions: vectors may have some of 1 between those of the role. */
    const uint64_t *dimension = entry->tensor->dimension;
    store_u32(row + SLC_ENTRY_ROWS, format != 0 ? entry->rows : (uint32_t)dimension[1]);
    store_u32(row + SLC_ENTRY_COLS, format != 0 ? entry->cols : (uint32_t)dimension[0]);
    store_u32(row + SLC_ENTRY_EXPERTS, format != 0 ? entry->experts : (uint32_t)dimension[2]);
    store_u64(row + SLC_ENTRY_OFFSET, writer->at);
    uint64_t begin = writer->at;
    XXH3_128bits_reset(writer->hash);
    if (result == 0)
        result = format != 0 ? put_packed(writer, entry, format, err) : put_source(writer, entry, index, err);
    store_u64(row + SLC_ENTRY_N_BYTES, writer->at - begin);
    slc_store_hash(row + SLC_ENTRY_HASH, XXH3_128bits_digest(writer->hash));
    return result;
}

static int put_metadata(struct writer *writer, struct error *err)
{
    const struct gguf *file = model_file(writer->model);
    uint64_t begin = writer->at;
    int result = 0;
    XXH3_128bits_reset(writer->hash);
    for (unsigned i = 0; i < gguf_n_parts(file) && result == 0; i++) {
        struct gguf_header header;
        uint8_t sizes[SLC_PART_BYTES];
        gguf_get_header(file, i, &header);
        store_u64(sizes, header.n_bytes);
        store_u64(sizes + 8, header.file_bytes);
        result = put_hashed(writer, sizes, sizeof sizes, err);
        if (result == 0) result = put_hashed(writer, header.bytes, header.n_bytes, err);
        if (result == 0) result = put_hashed(writer, (const uint8_t[8]){0}, (8 - header.n_bytes % 8) % 8, err);
    }
    store_u64(writer->header + SLC_AT_METADATA, begin);
    store_u64(writer->header + SLC_AT_METADATA_BYTES, writer->at - begin);
    store_u32(writer->header + SLC_AT_N_PARTS, gguf_n_parts(file));
    slc_store_hash(writer->header + SLC_AT_METADATA_HASH, XXH3_128bits_digest(writer->hash));
    return result;
}

static void fill_header(struct writer *writer, uint64_t table)
{
    uint8_t *header = writer->header;
    const struct slc_write_options *options = writer->options;
    memcpy(header, SLC_MAGIC, sizeof SLC_MAGIC - 1);
    store_u32(header + SLC_AT_VERSION, SLC_VERSION);
    store_u32(header + SLC_AT_ABI, CARD_ABI_VERSION);
    store_u64(header + SLC_AT_LAYOUT, slc_layout_fingerprint());
    store_u64(header + SLC_AT_BYTES, writer->at);
    store_u64(header + SLC_AT_SOURCE_BYTES, gguf_file_bytes(model_file(writer->model)));
    if (options->source_hash != NULL) options->source_hash(options->context, header + SLC_AT_SOURCE_HASH);
    store_u32(header + SLC_AT_N_TENSORS, writer->n_tensors);
    store_u64(header + SLC_AT_TABLE, table);
    slc_store_hash(header + SLC_AT_TABLE_HASH,
                   XXH3_128bits(writer->table, (size_t)writer->n_tensors * SLC_ENTRY_BYTES));
    size_t length = strlen(options->source_name);
    const char *name = options->source_name + (length < SLC_SOURCE_NAME_BYTES ? 0 : length - SLC_SOURCE_NAME_BYTES + 1);
    memcpy(header + SLC_AT_SOURCE_NAME, name, strlen(name));
    slc_store_hash(header + SLC_AT_HASH, XXH3_128bits(header, SLC_AT_HASH));
}

/* Everything but header and table, which are known at the end; their room is zeros until then. */
static int write_body(struct writer *writer, uint64_t *table, struct error *err)
{
    const struct tensor_table *tensors = &writer->model->table;
    uint32_t n = 0;
    for (size_t i = 0; i < tensors->n_entries; i++) n += tensors->entries[i].tensor != NULL;
    writer->table = memory_array(n, SLC_ENTRY_BYTES);
    if (writer->table == NULL) return error_set(err, ERROR_NO_MEMORY, "packing: out of memory");
    int result = put(writer, writer->header, SLC_PAGE, err);
    if (result == 0) result = put_metadata(writer, err);
    if (result == 0) result = pad(writer, 8, err);
    *table = writer->at;
    if (result == 0) result = put(writer, writer->table, (size_t)n * SLC_ENTRY_BYTES, err);
    for (size_t i = 0; i < tensors->n_entries && result == 0; i++)
        if (tensors->entries[i].tensor != NULL) result = put_tensor(writer, i, err);
    return result == 0 ? pad(writer, SLC_PAGE, err) : result;
}

static int write_all(struct writer *writer, struct error *err)
{
    uint64_t table = 0;
    int result = write_body(writer, &table, err);
    if (result < 0) return result;
    fill_header(writer, table);
    bool failed = fseeko(writer->stream, 0, SEEK_SET) != 0 ||
                  fwrite(writer->header, SLC_PAGE, 1, writer->stream) != 1 ||
                  fseeko(writer->stream, (off_t)table, SEEK_SET) != 0 ||
                  fwrite(writer->table, SLC_ENTRY_BYTES, writer->n_tensors, writer->stream) != writer->n_tensors ||
                  fflush(writer->stream) != 0;
    return failed ? error_set(err, ERROR_IO, "cannot write the packed file: %s", strerror(errno)) : 0;
}

int slc_write(const struct model *model, const struct slc_write_options *options, FILE *stream,
              struct model_conversion *conversion, struct error *err)
{
    *conversion = (struct model_conversion){0};
    if (model->packed != NULL)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s is a packed file already", gguf_path(model_file(model)));
    struct writer writer = {.model = model, .options = options, .stream = stream, .conversion = conversion};
    writer.hash = XXH3_createState();
    int result = writer.hash != NULL ? 0 : error_set(err, ERROR_NO_MEMORY, "packing: out of memory");
    if (result == 0) result = upload_open(&writer.upload, NULL, &options->load, model->weight_bytes, err);
    if (result == 0) {
        writer.upload.model = model;
        result = write_all(&writer, err);
    }
    upload_close(&writer.upload);
    XXH3_freeState(writer.hash);
    free(writer.table);
    return result;
}

uint64_t slc_layout_fingerprint(void)
{
    enum { ROWS = 17, COLS = 512 };
    static const size_t source_bytes = ROWS * COLS * 2, packed_bytes = 2 * CARD_TILE_ROWS * COLS * 2;
    uint8_t *bytes = memory_array(source_bytes + packed_bytes, 1);
    if (bytes == NULL) return 0;
    uint8_t *packed = bytes + source_bytes;
    uint32_t state = 1;
    for (size_t i = 0; i < source_bytes; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24 & 0xbf); /* no infinite half: the bits of a NaN depend on the machine */
    }
    uint64_t fingerprint = 0;
    for (enum gguf_tensor_type type = GGUF_Q4_0; type < GGUF_TENSOR_TYPE_END; type++) {
        if (!gguf_type_supported(type) || type == GGUF_BF16) continue; /* random floats are none that a file has */
        struct pack_source source = {.type = type, .data = bytes, .rows = ROWS, .cols = COLS};
        struct pack_result result = {0};
        unsigned format = pack_format(type, UINT32_MAX);
        memset(packed, 0, packed_bytes);
        pack_pieces(&source, format, 0, pack_n_pieces(ROWS), packed, &result);
        fingerprint = XXH3_64bits_withSeed(packed, (size_t)card_matrix_bytes(format, ROWS, COLS), fingerprint + format);
    }
    free(bytes);
    return fingerprint;
}
