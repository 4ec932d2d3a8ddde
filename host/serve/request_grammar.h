/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a request that say what its answer must look like: response_format, and vLLM's guided_*. */
#ifndef SLUICE_SERVE_REQUEST_GRAMMAR_H
#define SLUICE_SERVE_REQUEST_GRAMMAR_H

#include "host/serve/request.h"

/* Fills out->grammar_*; the text is not compiled yet. 0, or -1 with *error filled. */
int request_parse_grammar(const json_t *root, struct completion_request *out, struct api_error *error);

/*
 * Compiles it, and the calls that have to come or are strict: request->grammar, if there is anything to hold to. chat: how the
 * model's answers are to be read, or NULL. request->reasoning_opened is set. 0, or -1 with *error filled.
 */
int request_open_grammar(struct completion_request *request, const struct chat *chat, struct engine *engine,
                         struct api_error *error);

#endif
