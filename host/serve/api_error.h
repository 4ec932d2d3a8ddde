/* SPDX-License-Identifier: Apache-2.0 */
/* What a wrong request gets: an HTTP status and OpenAI's error object. */
#ifndef SLUICE_SERVE_API_ERROR_H
#define SLUICE_SERVE_API_ERROR_H

#include "host/base/error.h"
#include "host/serve/json_out.h"

struct api_error {
    int status;       /* HTTP status; 0: no error */
    const char *code; /* static text, or NULL */
    char param[64];   /* which field of the request, or "" */
    char message[600];
    unsigned retry_after; /* seconds; 0: no Retry-After header */
};

/* Fills *error; code and param may be NULL. Returns -1, so that `return api_error_set(...)` reads well. */
int api_error_set(struct api_error *error, int status, const char *code, const char *param, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The same for an error of the engine or the tokenizer: too large and bad argument are 400, a full queue is 429. */
int api_error_of(const struct error *err, struct api_error *error);

/* "invalid_request_error", "rate_limit_error" or "server_error": what the status means in OpenAI's `type`. */
const char *api_error_type(int status);

/* {"message":...,"type":...,"param":...,"code":...} */
void api_error_put(const struct api_error *error, struct json_out *out);

/* {"error":{...},"type":"error"}: OpenAI's clients read the first member, Anthropic's both. */
void api_error_write(const struct api_error *error, struct json_out *out);

#endif
