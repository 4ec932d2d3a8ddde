/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's Messages API: system beside the messages, content blocks, results of tools inside a user's message. */
#include "host/serve/request_fields.h"
#include "host/serve/request_translate.h"

#include <stdio.h>
#include <string.h>

/* One message on its way: where its blocks go. */
struct place {
    json_t *messages; /* of the chat */
    json_t *message;  /* an assistant's, which takes calls and reasoning; NULL in a user's */
    json_t *parts;    /* its text */
    char field[48];   /* "messages[i].content" */
};

static int bad_block(const struct place *place, const char *what, struct api_error *error)
{
    return api_error_set(error, 400, "invalid_value", place->field, "Invalid '%s': %s", place->field, what);
}

static int add_thinking(const json_t *block, struct place *place, struct api_error *error)
{
    const json_t *thinking = json_object_get(block, "thinking");
    if (!json_is_string(thinking)) return bad_block(place, "a block of type \"thinking\" has no thinking.", error);
    if (translate_add_reasoning(place->message, json_string_value(thinking), json_string_length(thinking))) return 0;
    return translate_no_memory(error);
}

static int add_tool_use(const json_t *block, struct place *place, struct api_error *error)
{
    const char *id = json_string_value(json_object_get(block, "id"));
    const char *name = json_string_value(json_object_get(block, "name"));
    const json_t *input = json_object_get(block, "input");
    if (!id || !name || !json_is_object(input))
        return bad_block(place, "a block of type \"tool_use\" needs an id, a name and an input that is an object.",
                         error);
    char *arguments = json_dumps(input, JSON_COMPACT);
    json_t *text = arguments ? json_string(arguments) : NULL;
    free(arguments);
    if (!text || !translate_add_call(place->message, id, name, text)) return translate_no_memory(error);
    return 0;
}

/* The text blocks of a system prompt or of a tool's result, as parts. */
static int add_text_blocks(const json_t *blocks, const struct place *place, json_t *parts, struct api_error *error)
{
    const json_t *block;
    size_t i;
    json_array_foreach(blocks, i, block)
    {
        const char *type = json_string_value(json_object_get(block, "type"));
        const json_t *text = json_object_get(block, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return bad_block(place, "only blocks of type \"text\" are supported here.", error);
        if (!translate_add_part(parts, text)) return translate_no_memory(error);
    }
    return 0;
}

/* content: a string, an array of text blocks, or NULL (empty). A new string or array of parts, or NULL. */
static json_t *text_content(const json_t *content, const struct place *place, struct api_error *error)
{
    if (!content || json_is_string(content)) {
        json_t *text = content ? json_incref((json_t *)(uintptr_t)content) : json_string("");
        if (!text) translate_no_memory(error);
        return text;
    }
    if (!json_is_array(content)) {
        field_wrong_type(place->field, "a string or an array of blocks", content, error);
        return NULL;
    }
    json_t *parts = json_array();
    if (!parts) {
        translate_no_memory(error);
    } else if (add_text_blocks(content, place, parts, error) < 0) {
        json_decref(parts);
        parts = NULL;
    }
    return parts;
}

static int add_tool_result(const json_t *block, const struct place *place, struct api_error *error)
{
    const json_t *id = json_object_get(block, "tool_use_id");
    if (!json_is_string(id)) return bad_block(place, "a block of type \"tool_result\" has no tool_use_id.", error);
    json_t *content = text_content(translate_find(block, "content"), place, error);
    if (!content) return -1;
    json_t *message = translate_add_message(place->messages, "tool", content);
    if (message && json_object_set(message, "tool_call_id", (json_t *)(uintptr_t)id) == 0) return 0;
    return translate_no_memory(error);
}

static int add_block(const json_t *block, struct place *place, struct api_error *error)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    char what[120];
    if (!type) return bad_block(place, "a block has no type.", error);
    if (strcmp(type, "text") == 0) {
        const json_t *text = json_object_get(block, "text");
        if (!json_is_string(text)) return bad_block(place, "a block of type \"text\" has no text.", error);
        return translate_add_part(place->parts, text) ? 0 : translate_no_memory(error);
    }
    if (place->message && strcmp(type, "thinking") == 0) return add_thinking(block, place, error);
    if (place->message && strcmp(type, "redacted_thinking") == 0) return 0; /* for its own service's eyes */
    if (place->message && strcmp(type, "tool_use") == 0) return add_tool_use(block, place, error);
    if (!place->message && strcmp(type, "tool_result") == 0) return add_tool_result(block, place, error);
    snprintf(what, sizeof what, "a block of type \"%.40s\" is not supported here.", type);
    return bad_block(place, what, error);
}

static int add_blocks(const json_t *blocks, struct place *place, struct api_error *error)
{
    const json_t *block;
    size_t i;
    json_array_foreach(blocks, i, block)
    {
        if (add_block(block, place, error) < 0) return -1;
    }
    return 0;
}

/* The results of tools come before the user's own words, each a message. */
static int add_user_blocks(const json_t *blocks, struct place *place, struct api_error *error)
{
    place->parts = json_array();
    if (!place->parts) return translate_no_memory(error);
    int status = add_blocks(blocks, place, error);
    if (status == 0 && (json_array_size(place->parts) > 0 || json_array_size(blocks) == 0)) {
        if (!translate_add_message(place->messages, "user", json_incref(place->parts)))
            status = translate_no_memory(error);
    }
    json_decref(place->parts);
    return status;
}

static int add_assistant_blocks(const json_t *blocks, struct place *place, struct api_error *error)
{
    place->parts = json_array();
    place->message = translate_add_message(place->messages, "assistant", place->parts);
    if (!place->message) return translate_no_memory(error);
    if (add_blocks(blocks, place, error) < 0) return -1;
    if (json_array_size(place->parts) == 0 && json_object_get(place->message, "tool_calls") &&
        json_object_set_new(place->message, "content", json_null()) < 0)
        return translate_no_memory(error);
    return 0;
}

static int add_message(const json_t *given, size_t i, json_t *messages, struct api_error *error)
{
    struct place place = {.messages = messages};
    const char *role = json_string_value(json_object_get(given, "role"));
    const json_t *content = translate_find(given, "content");
    snprintf(place.field, sizeof place.field, "messages[%zu].role", i);
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
        return bad_block(&place, "it must be \"user\" or \"assistant\".", error);
    snprintf(place.field, sizeof place.field, "messages[%zu].content", i);
    if (!content) return bad_block(&place, "a message needs content.", error);
    if (json_is_string(content)) {
        json_t *text = json_incref((json_t *)(uintptr_t)content);
        return translate_add_message(messages, role, text) ? 0 : translate_no_memory(error);
    }
    if (!json_is_array(content)) return field_wrong_type(place.field, "a string or an array of blocks", content, error);
    return strcmp(role, "user") == 0 ? add_user_blocks(content, &place, error)
                                     : add_assistant_blocks(content, &place, error);
}

static int translate_messages(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *given = translate_find(body, "messages"), *system = translate_find(body, "system"), *message;
    size_t i;
    json_t *messages = json_array();
    json_object_del(chat, "system");
    if (json_object_set_new(chat, "messages", messages) < 0) return translate_no_memory(error);
    if (!given)
        return api_error_set(error, 400, "missing_required_parameter", "messages",
                             "Missing required parameter: 'messages'.");
    if (!json_is_array(given)) return field_wrong_type("messages", "an array of messages", given, error);
    if (json_array_size(given) > REQUEST_MAX_MESSAGES)
        return api_error_set(error, 400, "array_above_max_length", "messages",
                             "Invalid 'messages': %zu messages, but at most %d are supported.", json_array_size(given),
                             REQUEST_MAX_MESSAGES);
    if (system) {
        const struct place place = {.field = "system"};
        json_t *content = text_content(system, &place, error);
        if (!content) return -1;
        if (!translate_add_message(messages, "system", content)) return translate_no_memory(error);
    }
    json_array_foreach(given, i, message)
    {
        if (add_message(message, i, messages, error) < 0) return -1;
    }
    return 0;
}

static int add_tool(const json_t *given, size_t i, json_t *tools, struct api_error *error)
{
    char field[48];
    const char *type = json_string_value(json_object_get(given, "type"));
    const char *name = json_string_value(json_object_get(given, "name"));
    snprintf(field, sizeof field, "tools[%zu].type", i);
    if (type && strcmp(type, "custom") != 0) return field_unsupported(field, "a tool that the service runs", error);
    snprintf(field, sizeof field, "tools[%zu].name", i);
    if (!name || !*name)
        return api_error_set(error, 400, "missing_required_parameter", field, "Invalid '%s': a tool needs a name.",
                             field);
    if (translate_add_tool(tools, name, translate_find(given, "description"), translate_find(given, "input_schema"),
                           translate_find(given, "strict")))
        return 0;
    return translate_no_memory(error);
}

static int translate_tools(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *given = translate_find(body, "tools"), *tool;
    size_t i;
    if (!given) return 0;
    if (!json_is_array(given)) return field_wrong_type("tools", "an array of tools", given, error);
    json_t *tools = json_array();
    if (json_object_set_new(chat, "tools", tools) < 0) return translate_no_memory(error);
    json_array_foreach(given, i, tool)
    {
        if (add_tool(tool, i, tools, error) < 0) return -1;
    }
    return 0;
}

static int translate_tool_choice(const json_t *body, json_t *chat, struct api_error *error)
{
    static const char *const names[][2] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    const json_t *choice = translate_find(body, "tool_choice");
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name = json_string_value(json_object_get(choice, "name"));
    bool one = false;
    if (!choice) return 0;
    if (!json_is_object(choice)) return field_wrong_type("tool_choice", "an object", choice, error);
    if (field_bool(choice, "disable_parallel_tool_use", &one, error) < 0) return -1;
    if (one && json_object_set_new(chat, "parallel_tool_calls", json_false()) < 0) return translate_no_memory(error);
    for (size_t i = 0; type && i < sizeof names / sizeof *names; i++) {
        if (strcmp(type, names[i][0]) != 0) continue;
        return json_object_set_new(chat, "tool_choice", json_string(names[i][1])) == 0 ? 0 : translate_no_memory(error);
    }
    if (type && strcmp(type, "tool") == 0 && name) return translate_choose(chat, name) ? 0 : translate_no_memory(error);
    return api_error_set(error, 400, "invalid_value", "tool_choice",
                         "Invalid 'tool_choice': its type must be auto, any, none, or tool with a name.");
}

static int translate_thinking(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *thinking = translate_find(body, "thinking");
    const char *type = json_string_value(json_object_get(thinking, "type"));
    json_object_del(chat, "thinking");
    if (!thinking) return 0;
    if (!type) return field_wrong_type("thinking", "an object with a type", thinking, error);
    const bool on = strcmp(type, "disabled") != 0;
    return json_object_set_new(chat, "enable_thinking", json_boolean(on)) == 0 ? 0 : translate_no_memory(error);
}

/*
 * output_config: the effort, and the format, {"type": "json_schema", "schema": ...}, which was output_format in its first
 * version.
 */
static int translate_output(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *config = translate_find(body, "output_config"), *effort = translate_find(config, "effort");
    const json_t *format = translate_find(config, "format");
    if (!format) format = translate_find(body, "output_format");
    json_object_del(chat, "output_config");
    json_object_del(chat, "output_format");
    if (effort && json_object_set(chat, "reasoning_effort", (json_t *)(uintptr_t)effort) < 0)
        return translate_no_memory(error);
    if (!format) return 0;
    const json_t *schema = json_object_get(format, "schema");
    if (!json_is_object(schema))
        return api_error_set(error, 400, "invalid_value", "output_config.format",
                             "Invalid 'output_config.format': it needs a schema, an object.");
    json_t *answer =
        json_pack("{s:s,s:{s:s,s:O}}", "type", "json_schema", "json_schema", "name", "output", "schema", schema);
    return json_object_set_new(chat, "response_format", answer) == 0 ? 0 : translate_no_memory(error);
}

static int check_required(const json_t *body, enum request_kind kind, struct api_error *error)
{
    int64_t limit;
    const int given = field_integer(body, "max_tokens", 1, INT64_MAX, &limit, error);
    if (given < 0) return -1;
    if (given > 0 || kind == REQUEST_COUNT) return 0;
    return api_error_set(error, 400, "missing_required_parameter", "max_tokens",
                         "Missing required parameter: 'max_tokens'.");
}

int request_of_messages(const json_t *body, enum request_kind kind, json_t **out, struct api_error *error)
{
    json_t *chat = translate_start(body);
    *out = NULL;
    if (!chat) return translate_no_memory(error);
    int status = check_required(body, kind, error);
    if (status == 0 && !translate_rename(chat, body, "stop_sequences", "stop")) status = translate_no_memory(error);
    if (status == 0) status = translate_messages(body, chat, error);
    if (status == 0) status = translate_tools(body, chat, error);
    if (status == 0) status = translate_tool_choice(body, chat, error);
    if (status == 0) status = translate_thinking(body, chat, error);
    if (status == 0) status = translate_output(body, chat, error);
    if (status < 0)
        json_decref(chat);
    else
        *out = chat;
    return status;
}
