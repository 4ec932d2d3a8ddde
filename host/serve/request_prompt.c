/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_prompt.h"
#include "host/base/memory.h"
#include "host/serve/request_fields.h"
#include "host/serve/request_tools.h"

#include <stdio.h>
#include <string.h>

static int no_memory(struct api_error *error)
{
    return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
}

/* Puts "messages[i]." before the parameter that the error names. */
static int blame_message(struct api_error *error, size_t i)
{
    char inner[sizeof error->param];
    memcpy(inner, error->param, sizeof inner);
    snprintf(error->param, sizeof error->param, "messages[%zu].%.30s", i, inner);
    return -1;
}

static int parse_role(const json_t *message, struct chat_message *out, struct api_error *error)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    const char *role = NULL;
    int given = field_text(message, "role", &role, error);
    if (given < 0) return -1;
    if (given == 0) return api_error_set(error, 400, "missing_required_parameter", "role", "A message has no 'role'.");
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(role, roles[i]) != 0) continue;
        out->role = strcmp(role, "developer") == 0 ? "system" : roles[i]; /* OpenAI's newer name of the same role */
        return 0;
    }
    return api_error_set(error, 400, "invalid_value", "role",
                         "Invalid 'role': \"%.40s\" is none of system, developer, user, assistant and tool.", role);
}

/* The text of one part of a content array, or NULL with *error filled. */
static const json_t *part_text(const json_t *part, struct api_error *error)
{
    const char *type = NULL;
    if (!json_is_object(part)) {
        field_wrong_type("content", "an array of objects", part, error);
        return NULL;
    }
    int given = field_text(part, "type", &type, error);
    if (given < 0) return NULL;
    if (given == 0 || strcmp(type, "text") != 0) {
        api_error_set(error, 400, "invalid_value", "content",
                      "Invalid 'content': a part has type \"%.40s\", but only \"text\" is supported.",
                      given ? type : "(none)");
        return NULL;
    }
    const json_t *text = json_object_get(part, "text");
    if (!json_is_string(text)) {
        api_error_set(error, 400, "invalid_type", "content", "Invalid 'content': a part of type \"text\" has no text.");
        return NULL;
    }
    return text;
}

/* The parts' texts, one to a line, as llama.cpp and vLLM join them. */
static int join_parts(const json_t *parts, char **joined, size_t *joined_length, struct api_error *error)
{
    size_t i, length = 0;
    const json_t *part;
    json_array_foreach(parts, i, part)
    {
        const json_t *text = part_text(part, error);
        if (!text) return -1;
        length += json_string_length(text) + 1; /* all of them lie in the body, so this cannot overflow */
    }
    char *to = memory_array(length + 1, 1);
    if (!to) return no_memory(error);
    *joined = to;
    *joined_length = length ? length - 1 : 0;
    json_array_foreach(parts, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (i > 0) *to++ = '\n';
        memcpy(to, json_string_value(text), json_string_length(text));
        to += json_string_length(text);
    }
    return 0;
}

static int parse_content(const json_t *message, bool has_calls, struct chat_message *out, char **joined,
                         struct api_error *error)
{
    const json_t *content = json_object_get(message, "content");
    if (has_calls && (!content || json_is_null(content))) return 0;
    if (!content || json_is_null(content))
        return api_error_set(error, 400, "missing_required_parameter", "content", "A message has no 'content'.");
    if (json_is_string(content)) {
        out->content = json_string_value(content);
        out->content_length = json_string_length(content);
        return 0;
    }
    if (!json_is_array(content)) return field_wrong_type("content", "a string or an array of parts", content, error);
    if (join_parts(content, joined, &out->content_length, error) < 0) return -1;
    out->content = *joined;
    return 0;
}

int request_parse_messages(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *messages = json_object_get(root, "messages"), *message;
    size_t i, count = json_array_size(messages);
    bool any_calls = false;
    if (!messages)
        return api_error_set(error, 400, "missing_required_parameter", "messages",
                             "Missing required parameter: 'messages'.");
    if (!json_is_array(messages)) return field_wrong_type("messages", "an array of messages", messages, error);
    if (count == 0)
        return api_error_set(error, 400, "empty_array", "messages", "Invalid 'messages': it needs at least one.");
    if (count > REQUEST_MAX_MESSAGES)
        return api_error_set(error, 400, "array_above_max_length", "messages",
                             "Invalid 'messages': %zu messages, but at most %d are supported.", count,
                             REQUEST_MAX_MESSAGES);
    out->messages = memory_array(count, sizeof *out->messages);
    out->joined = memory_array(count, sizeof *out->joined);
    if (!out->messages || !out->joined) return no_memory(error);
    out->n_messages = count;
    json_array_foreach(messages, i, message)
    {
        if (!json_is_object(message)) {
            field_wrong_type("messages", "an array of objects", message, error);
            return -1;
        }
        out->messages[i].json = message;
        if (parse_role(message, &out->messages[i], error) < 0) return blame_message(error, i);
        bool has_calls = false;
        if (request_check_tool_message(message, &has_calls, error) < 0 ||
            parse_content(message, has_calls, &out->messages[i], &out->joined[i], error) < 0)
            return blame_message(error, i);
        any_calls = any_calls || has_calls;
    }
    return any_calls && request_read_arguments(messages, out) < 0 ? no_memory(error) : 0;
}

static int parse_tokens(const char *name, const json_t *tokens, struct completion_request *out, struct api_error *error)
{
    const json_t *token;
    size_t i;
    out->prompt_tokens = memory_array(json_array_size(tokens), sizeof *out->prompt_tokens);
    if (!out->prompt_tokens) return no_memory(error);
    out->n_prompt_tokens = json_array_size(tokens);
    json_array_foreach(tokens, i, token)
    {
        if (!json_is_integer(token)) return field_wrong_type(name, "an array of token ids", token, error);
        json_int_t id = json_integer_value(token);
        if (id < 0 || id > UINT32_MAX)
            return api_error_set(error, 400, "invalid_value", name, "Invalid '%s': %lld is no token id.", name,
                                 (long long)id);
        out->prompt_tokens[i] = (uint32_t)id;
    }
    return 0;
}

int request_parse_tokens(const json_t *root, const char *name, struct completion_request *out, struct api_error *error)
{
    const json_t *tokens = json_object_get(root, name);
    if (!tokens)
        return api_error_set(error, 400, "missing_required_parameter", name, "Missing required parameter: '%s'.", name);
    if (!json_is_array(tokens)) return field_wrong_type(name, "an array of token ids", tokens, error);
    return parse_tokens(name, tokens, out, error);
}

int request_parse_prompt(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *prompt = json_object_get(root, "prompt");
    if (!prompt)
        return api_error_set(error, 400, "missing_required_parameter", "prompt",
                             "Missing required parameter: 'prompt'.");
    if (json_is_array(prompt)) {
        const json_t *first = json_array_get(prompt, 0);
        if (!first) return api_error_set(error, 400, "empty_array", "prompt", "Invalid 'prompt': the array is empty.");
        if (json_is_integer(first)) return parse_tokens("prompt", prompt, out, error);
        if (json_array_size(prompt) > 1)
            return field_unsupported("prompt", "an array of several prompts (send a request for each)", error);
        if (json_is_array(first)) {
            if (json_array_size(first) > 0) return parse_tokens("prompt", first, out, error);
            return api_error_set(error, 400, "empty_array", "prompt", "Invalid 'prompt': the array is empty.");
        }
        prompt = first;
    }
    if (!json_is_string(prompt)) return field_wrong_type("prompt", "a string or an array of token ids", prompt, error);
    out->prompt = json_string_value(prompt);
    out->prompt_length = json_string_length(prompt);
    return 0;
}
