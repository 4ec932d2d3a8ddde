/* SPDX-License-Identifier: Apache-2.0 */
/* What tokenizer.c and tokenizer_special.c share. */
#ifndef SLUICE_MODEL_HF_TOKENIZER_INTERNAL_H
#define SLUICE_MODEL_HF_TOKENIZER_INTERNAL_H

#include "host/model/hf/tokenizer.h"

/* Special tokens, whether they are added, and chat templates. (tokenizer_special.c) */
int hf_special_put(const struct hf_tokenizer_files *files, uint32_t n_vocab, struct header_writer *out,
                   struct error *err);

#endif
