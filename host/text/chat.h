/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chat formats: a list of messages becomes the tokens that the model was trained on, by the template in the model's file
 * (chat_template.h) or, if it has none, by one of two that are built in, ChatML and Llama 3. Text inside a message never
 * becomes a control token, so a user cannot forge a turn.
 */
#ifndef SLUICE_TEXT_CHAT_H
#define SLUICE_TEXT_CHAT_H

#include "host/text/reply.h"
#include "host/text/tokenizer.h"

#include <jansson.h>

enum chat_format { CHAT_CHATML, CHAT_LLAMA3 };

struct chat_message {
    const char *role; /* "system", "user", "assistant", "tool"... borrowed */
    const char *content;
    size_t content_length;
    const json_t *json; /* NULL, or an object with more for a template (tool_calls, reasoning_content...); borrowed */
};

struct chat; /* a model's way to write conversations; immutable, may be used by several threads */

/*
 * file and tokenizer are borrowed until chat_close. Errors: the template does not parse (ERROR_BAD_ARGUMENT with line and
 * column), or there is none and the vocabulary has no built-in format's tokens (as chat_format_of).
 */
int chat_open(const struct gguf *file, const struct tokenizer *tokenizer, struct chat **out, struct error *err);
void chat_close(struct chat *chat);             /* NULL is allowed */
const char *chat_name(const struct chat *chat); /* "the model's template", "ChatML" or "Llama 3" */

/* Whether the template has a place for tools; a built-in format has none. Without one they go into the system message (chat_tools.h). */
bool chat_knows_tools(const struct chat *chat);

/* How the model's answers are to be read, and the control tokens that reading needs to see, those of calls with tools. */
const struct reply_dialect *chat_dialect(const struct chat *chat);
const uint32_t *chat_shown(const struct chat *chat, bool tools, size_t *count);

/* Whether the prompt has opened the reasoning, which the answer then goes on with. */
int chat_opens_reasoning(const struct chat *chat, const uint32_t *prompt, size_t n_prompt, bool *opened,
                         struct error *err);

/*
 * Appends the conversation and the opening of the assistant's turn to list. variables: NULL, or an object with more for
 * the template (tools, documents, enable_thinking and what else a request's chat_template_kwargs say); the built-in formats
 * know nothing of them. BOS is added where the file says so and the template has not written it. ERROR_BAD_ARGUMENT:
 * the template refuses the conversation.
 */
int chat_prompt(const struct chat *chat, const struct chat_message *messages, size_t n_messages,
                const json_t *variables, struct token_list *list, struct error *err);

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
