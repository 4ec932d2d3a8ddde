/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_translate.h"

#include <string.h>

/* jansson's setters take no const, though they only count a reference. */
static json_t *share(const json_t *value) { return json_incref((json_t *)(uintptr_t)value); }

json_t *translate_start(const json_t *body)
{
    static const char *const foreign[] = {"n",         "logprobs",      "top_logprobs", "max_completion_tokens",
                                          "functions", "function_call", "audio",        "modalities",
                                          "messages",  "tools",         "tool_choice",  "stream_options"};
    json_t *chat = json_copy((json_t *)(uintptr_t)body);
    for (size_t i = 0; chat && i < sizeof foreign / sizeof *foreign; i++) json_object_del(chat, foreign[i]);
    return chat;
}

const json_t *translate_find(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return value && !json_is_null(value) ? value : NULL;
}

bool translate_rename(json_t *chat, const json_t *body, const char *from, const char *to)
{
    const json_t *value = translate_find(body, from);
    json_object_del(chat, from);
    if (!value) {
        json_object_del(chat, to);
        return true;
    }
    return json_object_set_new(chat, to, share(value)) == 0;
}

json_t *translate_add_message(json_t *messages, const char *role, json_t *content)
{
    json_t *message = json_object();
    const bool good = message && content && json_object_set_new(message, "role", json_string(role)) == 0 &&
                      json_object_set(message, "content", content) == 0 && json_array_append(messages, message) == 0;
    json_decref(content);
    json_decref(message); /* the array keeps it */
    return good ? message : NULL;
}

bool translate_add_call(json_t *message, const char *id, const char *name, json_t *arguments)
{
    json_t *calls = json_object_get(message, "tool_calls");
    if (!calls) {
        calls = json_array();
        if (json_object_set_new(message, "tool_calls", calls) < 0) {
            json_decref(arguments);
            return false;
        }
    }
    json_t *function = json_object(), *call = json_object();
    const bool good = function && call && json_object_set_new(function, "name", json_string(name)) == 0 &&
                      json_object_set(function, "arguments", arguments) == 0 &&
                      json_object_set_new(call, "id", json_string(id)) == 0 &&
                      json_object_set_new(call, "type", json_string("function")) == 0 &&
                      json_object_set(call, "function", function) == 0 && json_array_append(calls, call) == 0;
    json_decref(arguments);
    json_decref(function);
    json_decref(call);
    return good;
}

bool translate_add_reasoning(json_t *message, const char *text, size_t length)
{
    const json_t *before = json_object_get(message, "reasoning_content");
    json_t *all = json_pack("s%+%", before ? json_string_value(before) : "",
                            before ? json_string_length(before) : (size_t)0, text, length);
    return json_object_set_new(message, "reasoning_content", all) == 0;
}

bool translate_add_part(json_t *parts, const json_t *text)
{
    json_t *part = json_object();
    const bool good = part && json_object_set_new(part, "type", json_string("text")) == 0 &&
                      json_object_set_new(part, "text", share(text)) == 0 && json_array_append(parts, part) == 0;
    json_decref(part);
    return good;
}

bool translate_add_tool(json_t *tools, const char *name, const json_t *description, const json_t *parameters,
                        const json_t *strict)
{
    json_t *function = json_object(), *tool = json_object();
    bool good = function && tool && json_object_set_new(function, "name", json_string(name)) == 0;
    if (good && description) good = json_object_set_new(function, "description", share(description)) == 0;
    if (good && parameters) good = json_object_set_new(function, "parameters", share(parameters)) == 0;
    if (good && strict) good = json_object_set_new(function, "strict", share(strict)) == 0;
    good = good && json_object_set_new(tool, "type", json_string("function")) == 0 &&
           json_object_set(tool, "function", function) == 0 && json_array_append(tools, tool) == 0;
    json_decref(function);
    json_decref(tool);
    return good;
}

bool translate_choose(json_t *chat, const char *name)
{
    json_t *choice = json_pack("{s:s,s:{s:s}}", "type", "function", "function", "name", name);
    return json_object_set_new(chat, "tool_choice", choice) == 0;
}

int translate_no_memory(struct api_error *error)
{
    return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
}
