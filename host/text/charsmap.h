/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SentencePiece's precompiled map of characters (normalizer_spec.precompiled_charsmap): a little-endian length, a double-array trie
 * (Darts-clone) of that many bytes, and texts that end with NUL. Internal to host/text.
 */
#ifndef SLUICE_TEXT_CHARSMAP_H
#define SLUICE_TEXT_CHARSMAP_H

#include "host/text/tokenizer.h"

/* ERROR_BAD_FILE if the map's sizes contradict each other. */
int charsmap_check(const struct text *map, struct error *err);

/*
 * Appends the text with its graphemes and characters replaced. Which of them is Hugging Face's way (normalizers/precompiled.rs): a
 * grapheme of under six bytes of which some start is in the map becomes what the shortest such start does.
 */
int charsmap_write(const struct text *map, const char *text, size_t length, struct text *out, struct error *err);

#endif
