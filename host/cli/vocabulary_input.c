/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/vocabulary_input.h"

#include "host/model/slc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int vocabulary_input_open(const char *path, struct vocabulary_input *input, struct error *err)
{
    *input = (struct vocabulary_input){0};
    int status = path ? model_open_file(path, &input->file, &input->packed, err) : model_open(NULL, &input->model, err);
    if (status) return status;
    const struct gguf *file = input->file     ? input->file
                              : input->packed ? slc_file(input->packed)
                                              : model_file(input->model);
    status = tokenizer_open(file, &input->tokenizer, err);
    if (!status) return 0;
    error_prefix(err, "%s", path ? path : "demo model");
    vocabulary_input_close(input);
    return status;
}

void vocabulary_input_close(struct vocabulary_input *input)
{
    tokenizer_close(input->tokenizer);
    gguf_close(input->file);
    slc_close(input->packed);
    model_close(input->model);
    *input = (struct vocabulary_input){0};
}

int read_all(const char *path, struct text *out, struct error *err)
{
    FILE *stream = path ? fopen(path, "rb") : stdin;
    if (!stream) return error_set(err, ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    int status = text_append(out, "", 0, err);
    char block[16384];
    size_t n;
    while (!status && (n = fread(block, 1, sizeof block, stream)) > 0) status = text_append(out, block, n, err);
    if (!status && ferror(stream))
        status = error_set(err, ERROR_IO, "cannot read %s: %s", path ? path : "standard input", strerror(errno));
    if (path) fclose(stream);
    return status;
}

int finish_output(struct error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return error_set(err, ERROR_IO, "cannot write the output: %s", strerror(errno));
}
