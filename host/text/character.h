/* SPDX-License-Identifier: Apache-2.0 */
/* What a character is, as Hugging Face tokenizers sees it (Unicode 16; BERT's punctuation is older). Internal to host/text. */
#ifndef SLUICE_TEXT_CHARACTER_H
#define SLUICE_TEXT_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>

bool character_is_space(uint32_t c);       /* White_Space */
bool character_is_punctuation(uint32_t c); /* BERT's: ASCII signs count */
bool character_is_control(uint32_t c);     /* what BERT's clean-up takes out */
bool character_is_accent(uint32_t c);      /* a mark of any kind */
bool character_is_nonspacing(uint32_t c);  /* BERT's marks: those of no width */
bool character_is_digit(uint32_t c);       /* numbers of all kinds */
bool character_is_ideograph(uint32_t c);   /* what BERT puts spaces around */
bool character_is_formless(uint32_t c);    /* left alone by normal forms, whose tables are older */
bool character_is_word(uint32_t c);        /* part of a word, for added tokens with single_word */
uint32_t character_lower(uint32_t c);      /* the one small letter, or c; U+0130 has two characters: not here */

#endif
