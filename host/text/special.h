/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the names of special tokens in a text. Internal to host/text. */
#ifndef SLUICE_TEXT_SPECIAL_H
#define SLUICE_TEXT_SPECIAL_H

#include "host/text/vocabulary.h"

struct special {
    const struct vocabulary *vocabulary; /* borrowed until special_close */
    uint32_t *ids; /* control, unknown and user-defined tokens, in the order of their bytes; owned */
    uint32_t n_ids;
    bool starts[256]; /* some name starts with this byte */
};

int special_open(const struct vocabulary *vocabulary, struct special *special, struct error *err);
void special_close(struct special *special);

struct special_match {
    size_t start, length;
    uint32_t id;
};

/*
 * The first match at or after from: the leftmost, and of several there the longest (as Hugging Face tokenizers' added
 * tokens match). User-defined tokens always count; control and unknown tokens only with parse_special.
 */
bool special_find(const struct special *special, const char *text, size_t length, size_t from, bool parse_special,
                  struct special_match *match);

#endif
