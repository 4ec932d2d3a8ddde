/* SPDX-License-Identifier: Apache-2.0 */
/* What a chat request says of tools and reasoning. */
#ifndef SLUICE_SERVE_REQUEST_TOOLS_H
#define SLUICE_SERVE_REQUEST_TOOLS_H

#include "host/serve/request.h"

/*
 * tools, tool_choice, parallel_tool_calls, reasoning_effort, enable_thinking and chat_template_kwargs: fills tools, tool_choice,
 * tool_name, one_call and template_variables.
 */
int request_parse_tools(const json_t *root, struct completion_request *out, struct api_error *error);

/* A message's tool_calls and tool_call_id: 0, or -1 naming the field. *has_calls: there are some. */
int request_check_tool_message(const json_t *message, bool *has_calls, struct api_error *error);

/*
 * OpenAI's clients send a call's arguments as JSON text; templates expect an object, as Hugging Face's callers give it. Gives
 * the messages' json those objects. 0, or -1: no memory.
 */
int request_read_arguments(const json_t *messages, struct completion_request *out);
void request_keep_arguments(struct completion_request *request); /* as text again, for the templates that want that */

#endif
