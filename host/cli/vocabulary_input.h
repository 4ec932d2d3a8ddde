/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tokenize and detokenize share: a vocabulary from a file that need not hold a model, and text from a file or
 * stdin.
 */
#ifndef SLUICE_CLI_VOCABULARY_INPUT_H
#define SLUICE_CLI_VOCABULARY_INPUT_H

#include "host/model/model.h"
#include "host/text/tokenizer.h"

struct vocabulary_input {
    struct gguf *file;   /* of a GGUF file, or NULL */
    struct slc *packed;  /* of a packed file, or NULL */
    struct model *model; /* the demo model, or NULL */
    struct tokenizer *tokenizer;
};

/*
 * path: a .gguf file, with or without tensors, or a .slc file; NULL: the demo model. On error nothing is open and err names the path.
 */
int vocabulary_input_open(const char *path, struct vocabulary_input *input, struct error *err);
void vocabulary_input_close(struct vocabulary_input *input);

/* Appends all of path, or of stdin if path is NULL, to out. */
int read_all(const char *path, struct text *out, struct error *err);

/* Flushes stdout. ERROR_IO if anything that was written to it got lost (a full disk, a closed pipe). */
int finish_output(struct error *err);

#endif
