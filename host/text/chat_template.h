/* SPDX-License-Identifier: Apache-2.0 */
/* The chat template that a model file carries, and what Hugging Face's apply_chat_template gives it beside the messages. */
#ifndef SLUICE_TEXT_CHAT_TEMPLATE_H
#define SLUICE_TEXT_CHAT_TEMPLATE_H

#include "host/text/jinja.h"

/*
 * Parses tokenizer.chat_template, or tokenizer.chat_template.tool_use where the file has it and tools is set. ERROR_NOT_FOUND
 * if the file has no template. *out is the caller's: jinja_template_free.
 */
int chat_template_open(const struct gguf *file, bool tools, struct jinja_template **out, struct error *err);

/* Gives variables bos_token, eos_token, unk_token and pad_token as the file's vocabulary has them, where it has none. */
int chat_template_defaults(const struct gguf *file, json_t *variables, struct error *err);

#endif
