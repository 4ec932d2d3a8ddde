/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/api_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int api_error_set(struct api_error *error, int status, const char *code, const char *param, const char *format, ...)
{
    va_list args;
    *error = (struct api_error){.status = status, .code = code};
    if (param) snprintf(error->param, sizeof error->param, "%s", param);
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return -1;
}

int api_error_of(const struct error *err, struct api_error *error)
{
    switch (err->code) {
    case ERROR_TOO_LARGE: return api_error_set(error, 400, "context_length_exceeded", NULL, "%s", err->text);
    case ERROR_BAD_ARGUMENT: return api_error_set(error, 400, "invalid_value", NULL, "%s", err->text);
    case ERROR_BUSY:
        api_error_set(error, 429, "queue_full", NULL, "%s", err->text);
        error->retry_after = 1;
        return -1;
    default: return api_error_set(error, 500, NULL, NULL, "%s", err->text);
    }
}

const char *api_error_type(int status)
{
    if (status == 429) return "rate_limit_error";
    return status < 500 ? "invalid_request_error" : "server_error";
}

static void put_text_or_null(struct json_out *out, const char *text)
{
    if (text && *text) {
        json_out_string(out, text, strlen(text));
    } else {
        json_out_text(out, "null");
    }
}

void api_error_put(const struct api_error *error, struct json_out *out)
{
    json_out_text(out, "{\"message\":");
    json_out_string(out, error->message, strlen(error->message));
    json_out_format(out, ",\"type\":\"%s\",\"param\":", api_error_type(error->status));
    put_text_or_null(out, error->param);
    json_out_text(out, ",\"code\":");
    put_text_or_null(out, error->code);
    json_out_text(out, "}");
}

void api_error_write(const struct api_error *error, struct json_out *out)
{
    json_out_text(out, "{\"error\":");
    api_error_put(error, out);
    json_out_text(out, ",\"type\":\"error\"}");
}
