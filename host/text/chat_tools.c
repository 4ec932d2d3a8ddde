/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/chat_tools.h"
#include "host/base/memory.h"

#include <stdlib.h>
#include <string.h>

static int append(struct text *text, const char *part, struct error *err)
{
    return text_append(text, part, strlen(part), err);
}

static int append_json(struct text *text, const json_t *json, struct error *err)
{
    char *dumped = json_dumps(json, JSON_ENCODE_ANY);
    if (!dumped) return error_set(err, ERROR_NO_MEMORY, "chat: no host memory for the tools");
    const int status = append(text, dumped, err);
    free(dumped);
    return status;
}

static int write_tools(const json_t *tools, struct text *text, struct error *err)
{
    const json_t *tool;
    size_t i;
    int status =
        append(text, text->length ? "\n\nYou may call these functions:\n" : "You may call these functions:\n", err);
    json_array_foreach(tools, i, tool)
    {
        if (status == 0) status = append_json(text, json_object_get(tool, "function"), err);
        if (status == 0) status = append(text, "\n", err);
    }
    if (status < 0) return status;
    return append(text,
                  "To call one, answer with its name and its arguments:\n"
                  "<tool_call>\n{\"name\": NAME, \"arguments\": OBJECT}\n</tool_call>",
                  err);
}

static int write_call(const json_t *call, struct text *text, struct error *err)
{
    const json_t *function = json_object_get(call, "function"), *arguments = json_object_get(function, "arguments");
    int status = append(text, text->length ? "\n<tool_call>\n{\"name\": " : "<tool_call>\n{\"name\": ", err);
    if (status == 0) status = append_json(text, json_object_get(function, "name"), err);
    if (status == 0) status = append(text, ", \"arguments\": ", err);
    if (status == 0 && json_is_string(arguments))
        status = text_append(text, json_string_value(arguments), json_string_length(arguments), err);
    else if (status == 0)
        status = arguments ? append_json(text, arguments, err) : append(text, "{}", err);
    return status < 0 ? status : append(text, "}\n</tool_call>", err);
}

/* The message with its calls, or its result of one, as text. */
static int write_message(const struct chat_message *message, struct chat_message *out, struct text *text,
                         struct error *err)
{
    const json_t *calls = json_object_get(message->json, "tool_calls"), *call;
    const bool is_result = strcmp(message->role, "tool") == 0;
    size_t i;
    int status = 0;
    *out = *message;
    if (!is_result && json_array_size(calls) == 0) return 0;
    if (is_result) out->role = "user";
    if (is_result) status = append(text, "<tool_response>\n", err);
    if (status == 0 && message->content_length)
        status = text_append(text, message->content, message->content_length, err);
    if (status == 0 && is_result) status = append(text, "\n</tool_response>", err);
    json_array_foreach(calls, i, call)
    {
        if (status == 0 && !is_result) status = write_call(call, text, err);
    }
    out->content = text->bytes;
    out->content_length = text->length;
    return status;
}

static int write_system(const json_t *tools, struct chat_message *system, struct text *text, struct error *err)
{
    int status = 0;
    if (text->length == 0 && system->content_length)
        status = text_append(text, system->content, system->content_length, err);
    if (status == 0) status = write_tools(tools, text, err);
    *system = (struct chat_message){.role = "system", .content = text->bytes, .content_length = text->length};
    return status;
}

int tool_messages_make(const struct chat_message *messages, size_t n, const json_t *tools, struct tool_messages *out,
                       struct error *err)
{
    const bool has_tools = json_array_size(tools) > 0;
    const bool has_system = n > 0 && strcmp(messages[0].role, "system") == 0;
    const size_t first = has_tools && !has_system;
    int status = 0;
    *out = (struct tool_messages){.n = n + first};
    out->messages = memory_array(out->n ? out->n : 1, sizeof *out->messages);
    out->texts = memory_array(out->n ? out->n : 1, sizeof *out->texts);
    if (!out->messages || !out->texts) status = error_set(err, ERROR_NO_MEMORY, "chat: no host memory for the tools");
    for (size_t i = 0; i < n && status == 0; i++)
        status = write_message(&messages[i], &out->messages[i + first], &out->texts[i + first], err);
    if (status == 0 && has_tools) status = write_system(tools, &out->messages[0], &out->texts[0], err);
    if (status < 0) tool_messages_free(out);
    return status;
}

void tool_messages_free(struct tool_messages *made)
{
    for (size_t i = 0; made->texts && i < made->n; i++) text_free(&made->texts[i]);
    free(made->texts);
    free(made->messages);
    *made = (struct tool_messages){0};
}
