/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed models (.slc): the weights as they lie in card memory (kernels/abi/card_layout.h, not dealt over banks), each
 * tensor on pages of its own, so that opening is mapping; and the source's header with all its metadata, unchanged.
 * Numbers are little-endian, hashes XXH3 of 128 bits in canonical (big-endian) form. They find damage; they are no
 * protection against somebody who wants to forge a file.
 *
 *   offset size header, one page
 *        0    8 magic "SLUICE" 0x1a 0x0a
 *        8    4 .slc version u32 (SLC_VERSION)
 *       12    4 card ABI version u32 (CARD_ABI_VERSION)
 *       16    8 fingerprint u64 of the card layout: a hash over what packing gives for known blocks of every type
 *       24    8 bytes of this file u64, a multiple of 4096
 *       32    8 bytes of the source u64, all parts
 *       40   32 SHA-256 of the source, its parts one after the other
 *       72    4 parts of the source u32
 *       76    4 tensors u32
 *       80    8 offset of the metadata u64      88  8 bytes of the metadata u64
 *       96    8 offset of the table u64        104  8 zero
 *      112   16 hash of the metadata           128 16 hash of the table
 *      144  256 name of the source, as the command that packs it again calls it, ended by zeros
 *      400      zeros
 *     4080   16 hash of the 4080 bytes before
 *
 *   metadata: for each part of the source: bytes of its GGUF header u64, bytes of the part u64, the header (gguf.h: up to
 *   the end of its table of tensors), zeros to a multiple of 8
 *
 *   table: for each tensor 128 bytes
 *        0   64 name, ended by zeros unless it has 64 bytes
 *       64    4 format u32: enum card_format, or 0: stored as in the source (what the host reads, and vectors)
 *       68    4 type in the source u32 (enum gguf_tensor_type)
 *       72    4 rows u32   76  4 cols u32   80  4 matrices u32 (experts; else 1)   84 4 zero
 *       88    8 offset u64, a multiple of 4096
 *       96    8 bytes u64
 *      104    8 zero
 *      112   16 hash of these bytes
 *
 * A name may be there twice, as in the source and packed: tied embeddings. Matrices of experts follow each other.
 */
#ifndef SLUICE_MODEL_SLC_H
#define SLUICE_MODEL_SLC_H

#include "host/model/gguf.h"

#include <stdio.h>

#define SLC_VERSION 1u
#define SLC_PAGE 4096u
#define SLC_HASH_BYTES 16u
#define SLC_SOURCE_HASH_BYTES 32u
#define SLC_DEMO_NAME "sluice-demo" /* as the source's name: the model that is in the program */

/* The ways in which a packed file can be wrong. (name, text) */
#define SLC_ERRORS(X)                                                                                                  \
    X(SLC_NOT_SLC, "not a packed file")                                                                                \
    X(SLC_BAD_VERSION, "another .slc version")                                                                         \
    X(SLC_TRUNCATED, "file is not as long as its header says")                                                         \
    X(SLC_BAD_HEADER, "header damaged")                                                                                \
    X(SLC_BAD_ABI, "packed for another card ABI")                                                                      \
    X(SLC_BAD_LAYOUT, "packed for another card layout")                                                                \
    X(SLC_BAD_METADATA, "metadata damaged")                                                                            \
    X(SLC_BAD_TABLE, "table of tensors damaged")                                                                       \
    X(SLC_BAD_RANGE, "offset or size outside the file")                                                                \
    X(SLC_OVERLAP, "two parts of the file overlap")                                                                    \
    X(SLC_BAD_TENSOR, "tensor contradicts the metadata")                                                               \
    X(SLC_DUPLICATE_TENSOR, "tensor twice")                                                                            \
    X(SLC_MISSING_TENSOR, "tensor missing")                                                                            \
    X(SLC_DAMAGED_TENSOR, "tensor's bytes do not have their hash")

enum slc_error {
    SLC_NO_ERROR = 0,
#define SLC_ERROR_ENUM(name, text) name,
    SLC_ERRORS(SLC_ERROR_ENUM)
#undef SLC_ERROR_ENUM
};

struct slc_tensor {
    char name[65];
    unsigned format;              /* enum card_format; 0: as in the source */
    enum gguf_tensor_type type;   /* in the source */
    uint32_t rows, cols, experts; /* experts matrices of rows x cols */
    uint64_t offset, n_bytes;     /* in the file */
    const uint8_t *data;          /* n_bytes, valid until slc_close; not verified by opening */
    uint8_t hash[SLC_HASH_BYTES];
};

struct slc; /* opaque */

/* Whether these first bytes of a file are a packed file's. */
bool slc_is(const uint8_t *bytes, size_t n_bytes);

/*
 * Opens path: header, metadata and table are verified, tensors are not touched. *out is owned by the caller: slc_close.
 * ERROR_BAD_FILE or ERROR_UNSUPPORTED (another version, ABI or layout), with a name of SLC_ERRORS as detail and the command
 * that packs it again in the text.
 */
int slc_open(const char *path, struct slc **out, struct error *err);
/* The same over bytes that the caller keeps alive and unchanged until slc_close; name is for messages. */
int slc_open_memory(const void *bytes, size_t n_bytes, const char *name, struct slc **out, struct error *err);
void slc_close(struct slc *slc); /* NULL is allowed */

/* Which way the error names; SLC_NO_ERROR if err is of another kind. */
enum slc_error slc_error_of(const struct error *err);
const char *slc_error_name(enum slc_error error); /* static storage */

/* The source's header; tensors that are stored as in the source have data. Borrowed until slc_close. */
const struct gguf *slc_file(const struct slc *slc);
const char *slc_source_name(const struct slc *slc);
const uint8_t *slc_source_hash(const struct slc *slc); /* SHA-256, SLC_SOURCE_HASH_BYTES */
uint64_t slc_bytes(const struct slc *slc);
size_t slc_n_tensors(const struct slc *slc);
const struct slc_tensor *slc_tensor_at(const struct slc *slc, size_t index); /* in the order of the file */
/* packed: in card layout; else as in the source. NULL if there is none. */
const struct slc_tensor *slc_find(const struct slc *slc, struct gguf_string name, bool packed);

/* SLC_MISSING_TENSOR, for who needs a tensor that slc_find has not. */
int slc_missing(const struct slc *slc, struct gguf_string name, struct error *err);

/*
 * Reads the tensor's bytes and compares their hash: SLC_DAMAGED_TENSOR names tensor and remedy. From any thread. What it
 * reads stays in this process's memory only at out[n_bytes], if that is not NULL.
 */
int slc_read(const struct slc *slc, const struct slc_tensor *tensor, uint8_t *out, struct error *err);
int slc_verify(const struct slc *slc, const struct slc_tensor *tensor, struct error *err); /* out NULL */

/*
 * Bytes [from, from + n_bytes) of the tensor, not verified. From any thread. ERROR_IO if the file cannot be read, or has
 * become shorter.
 */
int slc_read_part(const struct slc *slc, const struct slc_tensor *tensor, uint64_t from, size_t n_bytes, uint8_t *out,
                  struct error *err);

/* As gguf_forget. */
void slc_forget(const struct slc *slc, const uint8_t *bytes, size_t n_bytes);

/* As gguf_check. */
int slc_check(const struct slc *slc, struct error *err);

/* A hash over what packing gives: changes whenever the bytes of any weight format's layout change. */
uint64_t slc_layout_fingerprint(void);

#endif
