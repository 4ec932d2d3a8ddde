/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of other APIs as the body of a chat: what both have stays, what has another name or shape is translated, and
 * what this server cannot do is refused by the name it has there.
 */
#ifndef SLUICE_SERVE_REQUEST_TRANSLATE_H
#define SLUICE_SERVE_REQUEST_TRANSLATE_H

#include "host/serve/request.h"

/*
 * Anthropic's messages; kind is REQUEST_MESSAGES or REQUEST_COUNT. 0 with *chat (json_decref), or -1 with *error filled.
 * (request_messages.c)
 */
int request_of_messages(const json_t *body, enum request_kind kind, json_t **chat, struct api_error *error);

/* OpenAI's responses; *repeats (free) are the members that the answer repeats. (request_responses.c) */
int request_of_responses(const json_t *body, json_t **chat, char **repeats, struct api_error *error);

/* What both use. (request_translate.c) */

/* A shallow copy of the body without the fields of a chat that the API does not have, or NULL. */
json_t *translate_start(const json_t *body);

/* chat[to] = body[from], which leaves the chat under its old name. False: no memory. */
bool translate_rename(json_t *chat, const json_t *body, const char *from, const char *to);

/* Appends {"role": role, "content": content}, content being taken. The message (borrowed), or NULL: no memory. */
json_t *translate_add_message(json_t *messages, const char *role, json_t *content);

/* Appends a call to message["tool_calls"]. False: no memory. */
bool translate_add_call(json_t *message, const char *id, const char *name, json_t *arguments);

/* Appends text to message["reasoning_content"]. False: no memory. */
bool translate_add_reasoning(json_t *message, const char *text, size_t length);

/* Appends {"type": "text", "text": text} to parts. False: no memory. */
bool translate_add_part(json_t *parts, const json_t *text);

/* Appends a tool; parameters and description may be NULL. False: no memory. */
bool translate_add_tool(json_t *tools, const char *name, const json_t *description, const json_t *parameters,
                        const json_t *strict);

/* chat["tool_choice"] names a function. False: no memory. */
bool translate_choose(json_t *chat, const char *name);

/* The value of a field, or NULL if it is absent or null. */
const json_t *translate_find(const json_t *object, const char *name);

int translate_no_memory(struct api_error *error);

#endif
