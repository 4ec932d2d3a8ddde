/* SPDX-License-Identifier: Apache-2.0 */
/* What a request asks about: `messages` of a chat, `prompt` of a completion. All return 0, or -1 with *error filled. */
#ifndef SLUICE_SERVE_REQUEST_PROMPT_H
#define SLUICE_SERVE_REQUEST_PROMPT_H

#include "host/serve/request.h"

int request_parse_messages(const json_t *root, struct completion_request *out, struct api_error *error);
int request_parse_prompt(const json_t *root, struct completion_request *out, struct api_error *error);

/* The field `name`, an array of token ids, perhaps empty. */
int request_parse_tokens(const json_t *root, const char *name, struct completion_request *out, struct api_error *error);

#endif
