/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the names of special and added tokens in a text. Internal to host/text. */
#ifndef SLUICE_TEXT_SPECIAL_H
#define SLUICE_TEXT_SPECIAL_H

#include "host/text/trie.h"
#include "host/text/vocabulary.h"

struct special_name {
    const char *text; /* borrowed until special_close */
    uint32_t length, id;
    bool is_special;            /* only where special tokens are asked for; else it is plain text */
    bool eats_left, eats_right; /* white space on that side belongs to it */
    bool is_single_word;        /* not beside letters, numbers, marks or _ */
};

struct special {
    struct special_name *names; /* owned */
    uint32_t n_names, room;
    struct trie trie; /* its ids are indexes of names */
    bool starts[256]; /* some name starts with this byte */
};

int special_add(struct special *special, const struct special_name *name, struct error *err);
int special_finish(struct special *special, struct error *err); /* after the last one */
void special_close(struct special *special);

/* The vocabulary's control, unknown and user-defined tokens; eats_right: those that say so. (special_open of GGUF files) */
int special_add_all(struct special *special, const struct vocabulary *vocabulary, struct error *err);

struct special_match {
    size_t start, length;
    uint32_t id;
    const struct special_name *name;
};

/*
 * The first match at or after from: the leftmost, and of several there the longest (as Hugging Face tokenizers' added
 * tokens match). Without parse_special a special token's name is passed over whole, and what is in it is not found either.
 */
bool special_find(const struct special *special, const char *text, size_t length, size_t from, bool parse_special,
                  struct special_match *match);

/* Widens a match by the white space that it eats, down to floor. */
void special_widen(const char *text, size_t length, size_t floor, struct special_match *match);

#endif
