/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chat formats: a list of messages becomes the tokens that the model was trained on. Two are built in, ChatML and
 * Llama 3; the model file's own template is not read. Text inside a message never becomes a special token, so a user
 * cannot forge a turn.
 */
#ifndef SLUICE_TEXT_CHAT_H
#define SLUICE_TEXT_CHAT_H

#include "host/text/tokenizer.h"

enum chat_format { CHAT_CHATML, CHAT_LLAMA3 };

struct chat_message {
    const char *role; /* "system", "user", "assistant", "tool"... borrowed */
    const char *content;
    size_t content_length;
};

/*
 * Chooses by the special tokens in the vocabulary (<|im_start|> and <|im_end|>: ChatML; <|start_header_id|>,
 * <|end_header_id|> and <|eot_id|>: Llama 3). ERROR_UNSUPPORTED if neither is there: the message says to use
 * completions or --raw.
 */
int chat_format_of(const struct tokenizer *tokenizer, enum chat_format *out, struct error *err);
const char *chat_format_name(enum chat_format format);

/* Appends the conversation and the opening of the assistant's turn to list (with BOS where the format has one). */
int chat_tokenize(const struct tokenizer *tokenizer, enum chat_format format, const struct chat_message *messages,
                  size_t n_messages, struct token_list *list, struct error *err);

#endif
