/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign text on a terminal. */
#ifndef SLUICE_CLI_PRINT_TEXT_H
#define SLUICE_CLI_PRINT_TEXT_H

#include <stddef.h>

/*
 * Prints characters to stdout as they are, and what a terminal would act on or cannot show (control characters, bytes
 * that are no UTF-8) as escapes; escaped names further ASCII characters that get a backslash. Stops after the character
 * with which `most` bytes are reached. Returns how many bytes of text were printed.
 */
size_t print_text(const char *text, size_t length, size_t most, const char *escaped);

#endif
