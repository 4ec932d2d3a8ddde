/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request.h"
#include "host/base/memory.h"
#include "host/serve/answer_items.h"
#include "host/serve/request_fields.h"
#include "host/serve/request_grammar.h"
#include "host/serve/request_prompt.h"
#include "host/serve/request_sampling.h"
#include "host/serve/request_tools.h"
#include "host/serve/request_translate.h"

#include <string.h>

static int parse_limits(const json_t *root, struct completion_request *out, struct api_error *error)
{
    int64_t limit = out->kind == REQUEST_CHAT ? UINT32_MAX : COMPLETIONS_MAX_TOKENS, n = 1;
    if (out->kind == REQUEST_COMPLETION && field_bool(root, "echo", &out->echo, error) < 0) return -1;
    if (field_integer(root, "max_tokens", out->echo ? 0 : 1, INT64_MAX, &limit, error) < 0) return -1;
    if (field_integer(root, "max_completion_tokens", 1, INT64_MAX, &limit, error) < 0) return -1;
    if (field_integer(root, "n", 1, REQUEST_MAX_CHOICES, &n, error) < 0) return -1;
    if (field_bool(root, "ignore_eos", &out->ignore_eos, error) < 0) return -1;
    out->max_tokens = limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
    out->n_choices = (uint32_t)n;
    return 0;
}

static int add_stop(const json_t *value, struct completion_request *out, struct api_error *error)
{
    if (!json_is_string(value)) return field_wrong_type("stop", "a string or an array of strings", value, error);
    if (json_string_length(value) == 0)
        return api_error_set(error, 400, "invalid_value", "stop", "Invalid 'stop': a stop string is empty.");
    out->stops[out->n_stops++] = json_string_value(value);
    return 0;
}

static int parse_stop(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *stop = json_object_get(root, "stop"), *item;
    size_t i;
    if (!stop || json_is_null(stop)) return 0;
    if (!json_is_array(stop)) return add_stop(stop, out, error);
    if (json_array_size(stop) > COMPLETION_MAX_STOPS)
        return api_error_set(error, 400, "array_above_max_length", "stop",
                             "Invalid 'stop': %zu strings, but at most %d are supported.", json_array_size(stop),
                             COMPLETION_MAX_STOPS);
    json_array_foreach(stop, i, item)
    {
        if (add_stop(item, out, error) < 0) return -1;
    }
    return 0;
}

static int parse_stream(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *options = json_object_get(root, "stream_options");
    if (field_bool(root, "stream", &out->stream, error) < 0) return -1;
    if (!options || json_is_null(options)) return 0;
    if (!json_is_object(options)) return field_wrong_type("stream_options", "an object", options, error);
    if (!out->stream)
        return api_error_set(error, 400, "invalid_value", "stream_options",
                             "Invalid 'stream_options': it goes only with 'stream': true.");
    if (field_bool(options, "include_usage", &out->include_usage, error) < 0) {
        memcpy(error->param, "stream_options.include_usage", sizeof "stream_options.include_usage");
        return -1;
    }
    return 0;
}

/* A field that is refused unless its value asks for nothing: null, false, 0, "", [] or {}. */
static bool asks_nothing(const json_t *value)
{
    if (!value) return true;
    switch (json_typeof(value)) {
    case JSON_NULL:
    case JSON_FALSE: return true;
    case JSON_TRUE: return false;
    case JSON_INTEGER: return json_integer_value(value) == 0;
    case JSON_REAL: return !(json_real_value(value) < 0 || json_real_value(value) > 0);
    case JSON_STRING: return json_string_length(value) == 0;
    case JSON_ARRAY: return json_array_size(value) == 0;
    case JSON_OBJECT: return json_object_size(value) == 0;
    }
    return false;
}

struct refusal {
    const char *name, *what;
};

static const struct refusal refused_in_chat[] = {
    {"functions", "calling functions"},
    {"audio", "audio"},
};
static const struct refusal refused_in_completions[] = {
    {"suffix", "a suffix"},
};

static int refuse_each(const json_t *root, const struct refusal *list, size_t count, struct api_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!asks_nothing(json_object_get(root, list[i].name)))
            return field_unsupported(list[i].name, list[i].what, error);
    }
    return 0;
}
#define REFUSE_EACH(root, list, error) refuse_each(root, list, sizeof(list) / sizeof(list)[0], error)

static int refuse_in_chat(const json_t *root, struct api_error *error)
{
    if (REFUSE_EACH(root, refused_in_chat, error) < 0) return -1;
    const json_t *modalities = json_object_get(root, "modalities"), *item;
    size_t i;
    json_array_foreach(modalities, i, item)
    {
        if (!json_is_string(item) || strcmp(json_string_value(item), "text") != 0)
            return field_unsupported("modalities", "a modality other than text", error);
    }
    return 0;
}

static int refuse_in_completions(const json_t *root, struct api_error *error)
{
    int64_t best_of = 1;
    if (REFUSE_EACH(root, refused_in_completions, error) < 0) return -1;
    if (field_integer(root, "best_of", 0, INT64_MAX, &best_of, error) < 0) return -1;
    return best_of > 1 ? field_unsupported("best_of", "choosing the best of several", error) : 0;
}

/* vLLM's field, in which lower is earlier; who may come before others is the administrator's to say (key_file.h). */
static int parse_priority(const json_t *root, struct completion_request *out, struct api_error *error)
{
    int64_t priority = 0;
    if (field_integer(root, "priority", 0, REQUEST_MAX_PRIORITY, &priority, error) < 0) return -1;
    out->priority = (uint32_t)priority;
    return 0;
}

static int parse_timeout(const json_t *root, struct completion_request *out, struct api_error *error)
{
    return field_number(root, "timeout", 0, REQUEST_MAX_TIMEOUT, true, &out->timeout_seconds, error);
}

static int parse_fields(struct completion_request *out, struct api_error *error)
{
    const json_t *root = out->root;
    bool chat = out->kind == REQUEST_CHAT;
    if (field_text(root, "model", &out->model, error) < 0) return -1;
    if ((chat ? refuse_in_chat(root, error) : refuse_in_completions(root, error)) < 0) return -1;
    if (request_parse_sampling(root, out, error) < 0 || request_parse_grammar(root, out, error) < 0) return -1;
    if (parse_limits(root, out, error) < 0 || parse_timeout(root, out, error) < 0) return -1;
    if (parse_priority(root, out, error) < 0) return -1;
    if (parse_stop(root, out, error) < 0 || parse_stream(root, out, error) < 0) return -1;
    if (!chat) return request_parse_prompt(root, out, error);
    if (request_parse_tools(root, out, error) < 0) return -1;
    return request_parse_messages(root, out, error);
}

/* The root becomes a chat's, and the format that of the API which was asked. */
static int translate(struct completion_request *out, struct api_error *error)
{
    json_t *chat = NULL;
    int status = out->kind == REQUEST_RESPONSES ? request_of_responses(out->root, &chat, &out->repeats, error)
                                                : request_of_messages(out->root, out->kind, &chat, error);
    if (status < 0) return -1;
    json_decref(out->root);
    out->root = chat;
    out->format = out->kind == REQUEST_RESPONSES ? &answer_responses : &answer_messages;
    out->kind = REQUEST_CHAT;
    return 0;
}

int completion_request_parse(enum request_kind kind, const char *body, size_t length, struct completion_request *out,
                             struct api_error *error)
{
    *out = (struct completion_request){.kind = kind};
    out->root = request_json(body, length, error);
    if (!out->root) return -1;
    if (kind == REQUEST_EITHER) out->kind = json_object_get(out->root, "messages") ? REQUEST_CHAT : REQUEST_COMPLETION;
    out->format = out->kind == REQUEST_CHAT ? &answer_chats : &answer_completions;
    if (out->kind > REQUEST_CHAT && translate(out, error) < 0) {
        completion_request_free(out);
        return -1;
    }
    if (parse_fields(out, error) < 0) {
        completion_request_free(out);
        return -1;
    }
    return 0;
}

int token_request_parse(const char *body, size_t length, struct completion_request *out, struct api_error *error)
{
    *out = (struct completion_request){.kind = REQUEST_COMPLETION};
    out->root = request_json(body, length, error);
    if (!out->root) return -1;
    if (field_text(out->root, "model", &out->model, error) >= 0 &&
        request_parse_tokens(out->root, "tokens", out, error) == 0)
        return 0;
    completion_request_free(out);
    return -1;
}

void completion_request_free(struct completion_request *request)
{
    for (size_t i = 0; request->joined && i < request->n_messages; i++) free(request->joined[i]);
    free(request->joined);
    free(request->messages);
    free(request->prompt_tokens);
    json_decref(request->template_variables);
    json_decref(request->read_messages);
    free((void *)(uintptr_t)request->sampling.biases);
    free(request->grammar_text);
    free(request->repeats);
    grammar_release(request->grammar);
    json_decref(request->root);
    *request = (struct completion_request){0};
}
