/* SPDX-License-Identifier: Apache-2.0 */
/* What a tokenizer is made of; for tokenizer.c and detokenizer.c. */
#ifndef SLUICE_TEXT_TOKENIZER_INTERNAL_H
#define SLUICE_TEXT_TOKENIZER_INTERNAL_H

#include "host/text/bpe.h"
#include "host/text/special.h"
#include "host/text/spm.h"
#include "host/text/tokenizer.h"
#include "host/text/vocabulary.h"

struct tokenizer {
    struct vocabulary vocabulary;
    struct special special;
    bool is_spm; /* which of the two below is open */
    struct bpe bpe;
    struct spm spm;
};

#endif
