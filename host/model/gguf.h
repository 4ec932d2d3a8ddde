/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF files (versions 2 and 3, little-endian), read by mmap. Everything in the header is checked before it is used;
 * a file that lies is refused with ERROR_BAD_FILE and one of the named errors of enum gguf_error.
 *
 *   offset size field
 *        0    4 magic "GGUF"
 *        4    4 version u32 (2 or 3)
 *        8    8 tensor count u64
 *       16    8 metadata count u64
 *       24      metadata: key (u64 length, bytes), type u32 (enum gguf_type), value
 *               (arrays: element type u32, count u64, elements; strings: u64 length, bytes)
 *               tensors: name (u64 length, bytes), dimensions u32, u64 each (fastest first), type u32, offset u64
 *               padding to general.alignment (32 unless the file says otherwise), then tensor data; each offset counts from there
 *
 * Source: the GGUF specification in ggml's docs/gguf.md. Block formats: see gguf_decode.c.
 */
#ifndef SLUICE_MODEL_GGUF_H
#define SLUICE_MODEL_GGUF_H

#include "host/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One name for each way a file can lie. The error text is a sentence that names file and key or tensor;
 * gguf_error_of gives the name back.
 */
#define GGUF_ERRORS(X)                                                                                                 \
    X(GGUF_NOT_GGUF, "not a GGUF file")                                                                                \
    X(GGUF_BIG_ENDIAN, "big-endian GGUF")                                                                              \
    X(GGUF_BAD_VERSION, "unsupported GGUF version")                                                                    \
    X(GGUF_TRUNCATED_HEADER, "file ends inside the header")                                                            \
    X(GGUF_TOO_MANY_KEYS, "metadata count larger than the file can hold")                                              \
    X(GGUF_TOO_MANY_TENSORS, "tensor count larger than the file can hold")                                             \
    X(GGUF_BAD_KEY, "metadata key empty, too long or not text")                                                        \
    X(GGUF_DUPLICATE_KEY, "metadata key twice")                                                                        \
    X(GGUF_BAD_VALUE_TYPE, "unknown metadata type")                                                                    \
    X(GGUF_BAD_BOOL, "bool neither 0 nor 1")                                                                           \
    X(GGUF_STRING_OVERRUN, "string longer than the file")                                                              \
    X(GGUF_ARRAY_OVERRUN, "array longer than the file")                                                                \
    X(GGUF_ARRAY_TOO_DEEP, "arrays nested too deep")                                                                   \
    X(GGUF_BAD_ALIGNMENT, "alignment not a power of two or out of range")                                              \
    X(GGUF_BAD_TENSOR_NAME, "tensor name empty, too long or not text")                                                 \
    X(GGUF_DUPLICATE_TENSOR, "tensor name twice")                                                                      \
    X(GGUF_BAD_DIMENSIONS, "tensor with no, too many or zero dimensions")                                              \
    X(GGUF_SIZE_OVERFLOW, "tensor size overflows")                                                                     \
    X(GGUF_BAD_TENSOR_TYPE, "unknown tensor type")                                                                     \
    X(GGUF_BAD_ROW, "row is not a whole number of blocks")                                                             \
    X(GGUF_MISALIGNED_TENSOR, "tensor offset not aligned")                                                             \
    X(GGUF_TENSOR_OVERRUN, "tensor data beyond the end of the file")                                                   \
    X(GGUF_TENSORS_OVERLAP, "tensors overlap")                                                                         \
    X(GGUF_SPLIT_MISSING, "a part of a split file is missing")                                                         \
    X(GGUF_SPLIT_MISMATCH, "parts of a split file do not belong together")

enum gguf_error {
    GGUF_NO_ERROR = 0,
#define GGUF_ERROR_ENUM(name, text) name,
    GGUF_ERRORS(GGUF_ERROR_ENUM)
#undef GGUF_ERROR_ENUM
};

/* Metadata types; the numbers are the file format's. */
enum gguf_type {
    GGUF_TYPE_U8 = 0,
    GGUF_TYPE_I8 = 1,
    GGUF_TYPE_U16 = 2,
    GGUF_TYPE_I16 = 3,
    GGUF_TYPE_U32 = 4,
    GGUF_TYPE_I32 = 5,
    GGUF_TYPE_F32 = 6,
    GGUF_TYPE_BOOL = 7,
    GGUF_TYPE_STRING = 8,
    GGUF_TYPE_ARRAY = 9,
    GGUF_TYPE_U64 = 10,
    GGUF_TYPE_I64 = 11,
    GGUF_TYPE_F64 = 12,
};

/*
 * Tensor types; the numbers are the file format's. A file with any of these opens; gguf_type_supported tells which can
 * be decoded. Numbers that are missing here were given up by the format, and a file with one is refused.
 */
enum gguf_tensor_type {
    GGUF_F32 = 0,
    GGUF_F16 = 1,
    GGUF_Q4_0 = 2,
    GGUF_Q4_1 = 3,
    GGUF_Q5_0 = 6,
    GGUF_Q5_1 = 7,
    GGUF_Q8_0 = 8,
    GGUF_Q8_1 = 9,
    GGUF_Q2_K = 10,
    GGUF_Q3_K = 11,
    GGUF_Q4_K = 12,
    GGUF_Q5_K = 13,
    GGUF_Q6_K = 14,
    GGUF_Q8_K = 15,
    GGUF_IQ2_XXS = 16,
    GGUF_IQ2_XS = 17,
    GGUF_IQ3_XXS = 18,
    GGUF_IQ1_S = 19,
    GGUF_IQ4_NL = 20,
    GGUF_IQ3_S = 21,
    GGUF_IQ2_S = 22,
    GGUF_IQ4_XS = 23,
    GGUF_I8 = 24,
    GGUF_I16 = 25,
    GGUF_I32 = 26,
    GGUF_I64 = 27,
    GGUF_F64 = 28,
    GGUF_IQ1_M = 29,
    GGUF_BF16 = 30,
    GGUF_TQ1_0 = 34,
    GGUF_TQ2_0 = 35,
    GGUF_MXFP4 = 39,
    GGUF_NVFP4 = 40,
    GGUF_Q1_0 = 41,
    /* No file has these: what safetensors folders become in memory (scaled.h), and what packed files of them name. */
    GGUF_SCALED_INT4 = 42,
    GGUF_SCALED_INT4_ZERO,
    GGUF_SCALED_INT8,
    GGUF_SCALED_INT8_ZERO,
    GGUF_SCALED_FP8,
};
#define GGUF_FILE_TYPE_END 42   /* one past the last type of files */
#define GGUF_TENSOR_TYPE_END 47 /* one past the last type */

#define GGUF_MAX_DIMENSIONS 4

/* Bytes inside the mapped file: not terminated, valid until gguf_close. */
struct gguf_string {
    const char *bytes;
    size_t length;
};

struct gguf_value {
    enum gguf_type type;         /* for an array: GGUF_TYPE_ARRAY */
    enum gguf_type element_type; /* of an array */
    uint64_t count;              /* of an array */
    const uint8_t *bytes;        /* in the mapped file: the scalar, the string's text, or the array's first element */
    size_t n_bytes;              /* of the scalar, the text, or all elements */
};

struct gguf_key {
    struct gguf_string name;
    struct gguf_value value;
};

/* Makes the rows of a tensor that lies nowhere as it is. Threads may call it at the same time. */
struct gguf_rows {
    /* Writes n rows from `first` on, counted over all of the tensor's matrices, as blocks of the tensor's type. */
    void (*read)(const struct gguf_rows *rows, uint64_t first, uint64_t n, uint8_t *out);
};

struct gguf_tensor {
    struct gguf_string name;
    enum gguf_tensor_type type;
    unsigned n_dimensions;
    uint64_t dimension[GGUF_MAX_DIMENSIONS]; /* fastest first; 1 beyond n_dimensions */
    uint64_t n_elements, n_bytes;
    const uint8_t *data;          /* in the mapped file, valid until gguf_close; NULL after gguf_open_headers */
    const struct gguf_rows *rows; /* where data is NULL: who makes it; NULL: nobody */
};

struct gguf; /* opaque: one file, or all parts of a split file */

/* Opens path (any part of a split file opens all). *out is owned by the caller: gguf_close. */
int gguf_open(const char *path, struct gguf **out, struct error *err);

/* The same over bytes that the caller keeps alive and unchanged until gguf_close; name is for messages. */
int gguf_open_memory(const void *bytes, size_t n_bytes, const char *name, struct gguf **out, struct error *err);
void gguf_close(struct gguf *file); /* NULL is allowed */

/* The header of one file of a model: n_bytes up to the end of the table of tensors, of a file of file_bytes. */
struct gguf_header {
    const uint8_t *bytes;
    size_t n_bytes;
    uint64_t file_bytes;
};

/* Opens n headers, those of all parts in order, without the files: tensors have no data. bytes as in gguf_open_memory. */
int gguf_open_headers(const struct gguf_header *headers, unsigned n, const char *name, struct gguf **out,
                      struct error *err);
void gguf_get_header(const struct gguf *file, unsigned number, struct gguf_header *header); /* number < gguf_n_parts */

/* Gives a tensor of such a file its data, tensor->n_bytes that the caller keeps alive. */
void gguf_set_data(struct gguf *file, const struct gguf_tensor *tensor, const uint8_t *data);

/* The same by rows, which live until gguf_close. */
void gguf_set_rows(struct gguf *file, const struct gguf_tensor *tensor, const struct gguf_rows *rows);

/* Rows of a tensor that has data or rows: n * the bytes of a row. */
void gguf_read_rows(const struct gguf_tensor *tensor, uint64_t first, uint64_t n, uint8_t *out);

/* What a file of gguf_open_headers stands for: other files, whose bytes count as its own. */
struct gguf_backing {
    void (*close)(struct gguf_backing *backing);
    /* The bytes of file number `number`; false: there are no more. */
    bool (*bytes)(const struct gguf_backing *backing, unsigned number, const uint8_t **bytes, size_t *n_bytes);
    void (*forget)(const struct gguf_backing *backing, const uint8_t *bytes, size_t n_bytes); /* as gguf_forget */
};
void gguf_set_backing(struct gguf *file, struct gguf_backing *backing); /* closed by gguf_close, last of all */
const struct gguf_backing *gguf_get_backing(const struct gguf *file);   /* NULL: none */

/*
 * These bytes of a tensor are not needed soon: what is mapped of them no longer counts as this process's memory. They
 * can be read again at any time.
 */
void gguf_forget(const struct gguf *file, const uint8_t *bytes, size_t n_bytes);

/* 0, or ERROR_IO that names a file of which something was gone when it was read: somebody made it shorter. From any thread. */
int gguf_check(const struct gguf *file, struct error *err);

/* Which way the error of a failed open names; GGUF_NO_ERROR if err is of another kind. */
enum gguf_error gguf_error_of(const struct error *err);
const char *gguf_error_name(enum gguf_error error); /* "GGUF_TENSOR_OVERRUN"; static storage */

const char *gguf_path(const struct gguf *file); /* borrowed until gguf_close */
uint32_t gguf_version(const struct gguf *file);
unsigned gguf_n_parts(const struct gguf *file);
uint64_t gguf_file_bytes(const struct gguf *file); /* all parts, as they were when the headers were taken */
/* The bytes of one part, number < gguf_n_parts, borrowed until gguf_close; of gguf_open_headers the header only. */
const uint8_t *gguf_part_bytes(const struct gguf *file, unsigned number, size_t *n_bytes);

size_t gguf_n_keys(const struct gguf *file);
const struct gguf_key *gguf_key_at(const struct gguf *file, size_t index);
size_t gguf_n_tensors(const struct gguf *file);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *file, size_t index);

/* By exact name; NULL if absent. O(1). */
const struct gguf_value *gguf_find(const struct gguf *file, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name);

/*
 * Scalars by key, converted between integer types when the value fits. Return 1 and set *out if the key is there and
 * of a fitting kind, 0 if it is absent, ERROR_BAD_FILE if it is of another kind or does not fit: err names the
 * key, and the caller puts the file's name before it.
 */
int gguf_get_u32(const struct gguf *file, const char *key, uint32_t *out, struct error *err);
int gguf_get_u64(const struct gguf *file, const char *key, uint64_t *out, struct error *err);
int gguf_get_f32(const struct gguf *file, const char *key, float *out, struct error *err); /* F32 or F64 */
int gguf_get_bool(const struct gguf *file, const char *key, bool *out, struct error *err);
int gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *out, struct error *err);

/*
 * Elements of an array. Strings and arrays have no fixed size: walk them with a cursor that starts as {0}.
 * gguf_next_string and gguf_next_array return 1 and set *out, or 0 at the end (or at once, if the elements are of another
 * kind). The others return false when index is out of range or the element is of another kind.
 */
struct gguf_cursor {
    uint64_t index;
    size_t offset;
};
int gguf_next_string(const struct gguf_value *array, struct gguf_cursor *cursor, struct gguf_string *out);
int gguf_next_array(const struct gguf_value *array, struct gguf_cursor *cursor, struct gguf_value *out);
bool gguf_array_f32(const struct gguf_value *array, uint64_t index, float *out);
bool gguf_array_i64(const struct gguf_value *array, uint64_t index, int64_t *out); /* any integer type, or bool */

/* A scalar's value, or false if it is of another kind or does not fit: i64, u64 of any integer type, f32, f64 of F32 or F64. */
bool gguf_value_i64(const struct gguf_value *value, int64_t *out);
bool gguf_value_u64(const struct gguf_value *value, uint64_t *out);
bool gguf_value_f32(const struct gguf_value *value, float *out);
bool gguf_value_f64(const struct gguf_value *value, double *out);
const char *gguf_type_name(unsigned type); /* of metadata: "u32", "string"; "unknown" for a number that is no type */

/* "Q4_0"; "unknown" for a number that is no type. Elements and bytes of one block (0 for what is no type). */
const char *gguf_tensor_type_name(unsigned type);
unsigned gguf_block_elements(enum gguf_tensor_type type);
unsigned gguf_block_bytes(enum gguf_tensor_type type);
bool gguf_type_supported(enum gguf_tensor_type type); /* gguf_decode knows it */
/* For messages. */
#define GGUF_SUPPORTED_TYPES                                                                                           \
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, IQ2_XXS, IQ2_XS, IQ3_XXS, "     \
    "IQ1_S, IQ4_NL, IQ3_S, IQ2_S, IQ4_XS, IQ1_M, TQ1_0, TQ2_0, MXFP4, NVFP4"

/*
 * Decodes n_elements (a multiple of the block's) from blocks at bytes (any alignment) into float32, exactly as the
 * format defines: bit for bit what gguf-py's dequantize gives (of a NaN only that it is one). out becomes all NaN if the
 * type is not supported. (gguf_decode.c)
 */
void gguf_decode(enum gguf_tensor_type type, const uint8_t *bytes, size_t n_elements, float *out);

/*
 * Whether a scale in these blocks is a NaN that decoding does not show: MXFP4's exponent 255, which gguf-py takes for
 * 2^127, and NVFP4's 0x7f, which it takes for zero. No model has them; who loads weights refuses them.
 */
bool gguf_has_nan_scale(enum gguf_tensor_type type, const uint8_t *bytes, size_t n_elements);

#endif
