/* SPDX-License-Identifier: Apache-2.0 */
/* A folder's vocabulary in the keys of a GGUF header: tokenizer.json, and what other files say of its special tokens. */
#ifndef SLUICE_MODEL_HF_TOKENIZER_H
#define SLUICE_MODEL_HF_TOKENIZER_H

#include "host/model/hf/config.h"

/* Borrowed; NULL: there is no such file. */
struct hf_tokenizer_files {
    const json_t *tokenizer;  /* tokenizer.json */
    const json_t *settings;   /* tokenizer_config.json */
    const json_t *generation; /* generation_config.json */
    const json_t *special;    /* special_tokens_map.json */
    const json_t *config;     /* config.json, of the text model */
    const char *template;     /* chat_template.jinja */
};

/*
 * Writes tokenizer.* to out: the vocabulary and merges as GGUF has them, and what else tokenizer.json says as JSON under
 * tokenizer.sluice.json, which who opens it as a tokenizer interprets (or refuses by name). n_vocab: rows of the embedding; those
 * that the vocabulary lacks are unused. ERROR_BAD_FILE names what contradicts itself.
 */
int hf_tokenizer_put(const struct hf_tokenizer_files *files, uint32_t n_vocab, struct header_writer *out,
                     struct error *err);

#endif
