/* SPDX-License-Identifier: Apache-2.0 */
/* The page formats by the names that people use: --kv, messages, the line at start. */
#ifndef SLUICE_ENGINE_KV_FORMAT_H
#define SLUICE_ENGINE_KV_FORMAT_H

#include "host/card/card.h"

#define KV_FORMAT_NAMES "f16, int8, int4 or f32" /* for messages */

/* enum card_format; 0 if no page format has this name. */
unsigned kv_format_find(const char *name);

/* "f16"; "unknown" for what is no page format. Static storage. */
const char *kv_format_name(unsigned format);

/* 0 if a card of this kind has these pages (format 0: its default, always); else ERROR_UNSUPPORTED with what it has. */
int kv_format_check(unsigned format, const struct card_info *info, struct error *err);

#endif
