/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice inspect` found out about a file, and the two ways to print it. */
#ifndef SLUICE_CLI_INSPECT_H
#define SLUICE_CLI_INSPECT_H

#include "host/cli/file_hash.h"
#include "host/model/gguf.h"
#include "host/model/slc.h"

struct type_total {
    uint64_t n_tensors, n_elements, n_bytes;
};

struct inspection {
    const struct gguf *file;                        /* of a packed file: its source's header */
    const struct slc *packed;                       /* NULL: a GGUF file */
    struct gguf_string architecture, name, licence; /* {0} if the file does not say */
    uint64_t n_elements, n_bytes;                   /* of all tensors */
    struct type_total type[GGUF_TENSOR_TYPE_END];
    bool runs;                /* this release can run it */
    struct error reason;      /* why not */
    size_t n_left_out;        /* tensors of layers that predict further tokens */
    uint64_t max_elements;    /* of an array that are shown */
    char hash[FILE_HASH_HEX]; /* SHA-256; empty if it was not asked for */
};

/* bits per element of all tensors; 0 without tensors. */
double inspection_bits(const struct inspection *inspection);

/* "INT4"; "as source" for 0; "unknown". Static storage. */
const char *packed_format_name(unsigned format);

/* True for "ARCHITECTURE.something": a hyperparameter. *rest is what follows the dot. */
bool is_hyperparameter(const struct inspection *inspection, const struct gguf_key *key, struct gguf_string *rest);

/* The text of entry id of a string array (the vocabulary); false if there is none. */
bool inspection_token(const struct gguf *file, uint64_t id, struct gguf_string *out);

void inspect_print(const struct inspection *inspection);                        /* for people (inspect_text.c) */
int inspect_print_json(const struct inspection *inspection, struct error *err); /* one object (inspect_json.c) */

#endif
