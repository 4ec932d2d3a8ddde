/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPT-2's table (bytes_to_unicode in its encoder.py): vocabularies of byte-level BPE write bytes as printable characters. Internal
 * to host/text.
 */
#ifndef SLUICE_TEXT_BYTE_LEVEL_H
#define SLUICE_TEXT_BYTE_LEVEL_H

#include "host/text/tokenizer.h"

/* The character of a byte, as UTF-8 of one or two bytes; returns its end. */
char *byte_level_put(char *out, unsigned byte);

/* The byte of a character of the table, or -1. */
int byte_level_byte(uint32_t character);

/* Appends the text with each byte as its character. */
int byte_level_write(const char *text, size_t length, struct text *out, struct error *err);

/*
 * Appends the bytes that a token's text stands for. A text with a character outside the table stands for itself, as in
 * Hugging Face's decoder.
 */
int byte_level_read(const char *token_text, size_t length, struct text *out, struct error *err);

#endif
