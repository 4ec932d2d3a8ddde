/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's Responses API: a list of input items in place of messages, flat tools, and nothing kept between requests. */
#include "host/serve/request_fields.h"
#include "host/serve/request_translate.h"

#include <stdio.h>
#include <string.h>

/* Items become messages; calls and reasoning join the assistant's message that they belong to. */
struct place {
    json_t *messages;
    json_t *assistant; /* the last message if it is an assistant's, borrowed; else NULL */
    char field[48];    /* "input[i]" */
};

static int bad_item(const struct place *place, const char *what, struct api_error *error)
{
    return api_error_set(error, 400, "invalid_value", place->field, "Invalid '%s': %s", place->field, what);
}

/* A string or an array of parts with text, as a chat's content (new); NULL with *error filled. */
static json_t *text_content(const json_t *content, const struct place *place, struct api_error *error)
{
    const json_t *part;
    size_t i;
    if (json_is_string(content)) return json_incref((json_t *)(uintptr_t)content);
    if (!json_is_array(content)) {
        bad_item(place, "its content must be a string or an array of parts.", error);
        return NULL;
    }
    json_t *parts = json_array();
    if (!parts) translate_no_memory(error);
    json_array_foreach(content, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, type && strcmp(type, "refusal") == 0 ? "refusal" : "text");
        bool good = type && (strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0 ||
                             strcmp(type, "text") == 0 || strcmp(type, "refusal") == 0);
        if (!good || !json_is_string(text)) {
            char what[160];
            snprintf(what, sizeof what, "a part has type \"%.40s\", but only text is supported.",
                     type ? type : "(none)");
            bad_item(place, what, error);
        } else {
            good = translate_add_part(parts, text);
            if (!good) translate_no_memory(error);
        }
        if (good && json_is_string(text)) continue;
        json_decref(parts);
        return NULL;
    }
    return parts;
}

static int add_message(const json_t *item, struct place *place, struct api_error *error)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    const char *role = json_string_value(json_object_get(item, "role"));
    size_t known = 0;
    while (known < 4 && (!role || strcmp(role, roles[known]) != 0)) known++;
    if (known == 4) return bad_item(place, "its role must be user, assistant, system or developer.", error);
    json_t *content = text_content(json_object_get(item, "content"), place, error);
    if (!content) return -1;
    const bool is_assistant = strcmp(role, "assistant") == 0;
    if (is_assistant && place->assistant &&
        json_is_null(json_object_get(place->assistant, "content"))) /* after its reasoning */
        return json_object_set_new(place->assistant, "content", content) == 0 ? 0 : translate_no_memory(error);
    json_t *message = translate_add_message(place->messages, role, content);
    if (!message) return translate_no_memory(error);
    place->assistant = is_assistant ? message : NULL;
    return 0;
}

/* The assistant's message that what comes belongs to. NULL: no memory. */
static json_t *assistant_of(struct place *place)
{
    if (!place->assistant) place->assistant = translate_add_message(place->messages, "assistant", json_null());
    return place->assistant;
}

static int add_call(const json_t *item, struct place *place, struct api_error *error)
{
    const char *id = json_string_value(json_object_get(item, "call_id"));
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *arguments = json_object_get(item, "arguments");
    if (!id || !name || !json_is_string(arguments))
        return bad_item(place, "a function_call needs call_id, name and arguments, which are strings.", error);
    json_t *message = assistant_of(place);
    if (message && translate_add_call(message, id, name, json_incref((json_t *)(uintptr_t)arguments))) return 0;
    return translate_no_memory(error);
}

static int add_call_output(const json_t *item, struct place *place, struct api_error *error)
{
    const json_t *id = json_object_get(item, "call_id");
    if (!json_is_string(id)) return bad_item(place, "a function_call_output needs a call_id.", error);
    json_t *content = text_content(json_object_get(item, "output"), place, error);
    if (!content) return -1;
    json_t *message = translate_add_message(place->messages, "tool", content);
    place->assistant = NULL;
    if (message && json_object_set(message, "tool_call_id", (json_t *)(uintptr_t)id) == 0) return 0;
    return translate_no_memory(error);
}

static int add_reasoning(const json_t *item, struct place *place, struct api_error *error)
{
    const json_t *part;
    size_t i;
    place->assistant = NULL; /* reasoning begins a turn */
    json_array_foreach(json_object_get(item, "content"), i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (!json_is_string(text)) return bad_item(place, "a part of its content has no text.", error);
        json_t *message = assistant_of(place);
        if (!message || !translate_add_reasoning(message, json_string_value(text), json_string_length(text)))
            return translate_no_memory(error);
    }
    return 0;
}

static int add_item(const json_t *item, struct place *place, struct api_error *error)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    char what[160];
    if (!json_is_object(item)) return bad_item(place, "it must be an object.", error);
    if (!type || strcmp(type, "message") == 0) return add_message(item, place, error);
    if (strcmp(type, "function_call") == 0) return add_call(item, place, error);
    if (strcmp(type, "function_call_output") == 0) return add_call_output(item, place, error);
    if (strcmp(type, "reasoning") == 0) return add_reasoning(item, place, error);
    snprintf(what, sizeof what, "an item of type \"%.40s\" is not supported.", type);
    return bad_item(place, what, error);
}

static int translate_input(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *input = translate_find(body, "input"), *instructions = translate_find(body, "instructions"), *item;
    struct place place = {.messages = json_array()};
    const char *text;
    size_t i;
    json_object_del(chat, "input");
    json_object_del(chat, "instructions");
    if (json_object_set_new(chat, "messages", place.messages) < 0) return translate_no_memory(error);
    if (!input)
        return api_error_set(error, 400, "missing_required_parameter", "input", "Missing required parameter: 'input'.");
    if (field_text(body, "instructions", &text, error) < 0) return -1;
    if (instructions &&
        !translate_add_message(place.messages, "system", json_incref((json_t *)(uintptr_t)instructions)))
        return translate_no_memory(error);
    if (json_is_string(input)) {
        json_t *content = json_incref((json_t *)(uintptr_t)input);
        return translate_add_message(place.messages, "user", content) ? 0 : translate_no_memory(error);
    }
    if (!json_is_array(input)) return field_wrong_type("input", "a string or an array of items", input, error);
    if (json_array_size(input) == 0)
        return api_error_set(error, 400, "empty_array", "input", "Invalid 'input': it needs at least one item.");
    if (json_array_size(input) > REQUEST_MAX_MESSAGES)
        return api_error_set(error, 400, "array_above_max_length", "input",
                             "Invalid 'input': %zu items, but at most %d are supported.", json_array_size(input),
                             REQUEST_MAX_MESSAGES);
    json_array_foreach(input, i, item)
    {
        snprintf(place.field, sizeof place.field, "input[%zu]", i);
        if (add_item(item, &place, error) < 0) return -1;
    }
    return 0;
}

static int translate_tools(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *given = translate_find(body, "tools"), *tool;
    char field[48];
    size_t i;
    if (!given) return 0;
    if (!json_is_array(given)) return field_wrong_type("tools", "an array of tools", given, error);
    json_t *tools = json_array();
    if (json_object_set_new(chat, "tools", tools) < 0) return translate_no_memory(error);
    json_array_foreach(given, i, tool)
    {
        const char *type = json_string_value(json_object_get(tool, "type"));
        const char *name = json_string_value(json_object_get(tool, "name"));
        snprintf(field, sizeof field, "tools[%zu].type", i);
        if (!type || strcmp(type, "function") != 0)
            return field_unsupported(field, "a tool that the service runs", error);
        snprintf(field, sizeof field, "tools[%zu].name", i);
        if (!name || !*name)
            return api_error_set(error, 400, "missing_required_parameter", field,
                                 "Invalid '%s': a function needs a name.", field);
        if (!translate_add_tool(tools, name, translate_find(tool, "description"), translate_find(tool, "parameters"),
                                translate_find(tool, "strict")))
            return translate_no_memory(error);
    }
    return 0;
}

static int translate_tool_choice(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *choice = translate_find(body, "tool_choice");
    if (!choice) return 0;
    if (!json_is_object(choice))
        return json_object_set(chat, "tool_choice", (json_t *)(uintptr_t)choice) == 0 ? 0 : translate_no_memory(error);
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name = json_string_value(json_object_get(choice, "name"));
    if (!type || strcmp(type, "function") != 0 || !name)
        return api_error_set(error, 400, "invalid_value", "tool_choice",
                             "Invalid 'tool_choice': an object must be of type function and have a name.");
    return translate_choose(chat, name) ? 0 : translate_no_memory(error);
}

/* text.format: {"type": "json_schema", "name", "schema", "strict"}, which a chat has one level deeper. */
static int translate_text(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *format = translate_find(translate_find(body, "text"), "format");
    const char *type = json_string_value(json_object_get(format, "type"));
    json_t *answer = NULL;
    json_object_del(chat, "text");
    json_object_del(chat, "response_format");
    if (!format) return 0;
    if (!type) return field_wrong_type("text.format", "an object with a type", format, error);
    if (strcmp(type, "json_schema") == 0) {
        json_t *inner = json_copy((json_t *)(uintptr_t)format);
        json_object_del(inner, "type");
        answer = json_pack("{s:s,s:o}", "type", "json_schema", "json_schema", inner);
    } else {
        answer = json_incref((json_t *)(uintptr_t)format);
    }
    return json_object_set_new(chat, "response_format", answer) == 0 ? 0 : translate_no_memory(error);
}

static int translate_reasoning(const json_t *body, json_t *chat, struct api_error *error)
{
    const json_t *effort = translate_find(translate_find(body, "reasoning"), "effort");
    json_object_del(chat, "reasoning");
    if (!effort) return 0;
    if (json_object_set(chat, "reasoning_effort", (json_t *)(uintptr_t)effort) == 0) return 0;
    return translate_no_memory(error);
}

/* This server keeps nothing: what asks for that is refused, by name. */
static int refuse_kept(const json_t *body, struct api_error *error)
{
    static const struct {
        const char *name, *what;
    } kept[] = {{"previous_response_id", "continuing a response that was kept (this server keeps none)"},
                {"conversation", "a conversation that is kept (this server keeps none)"},
                {"prompt", "a prompt that is kept (this server keeps none)"}};
    bool store = false, background = false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        if (translate_find(body, kept[i].name)) return field_unsupported(kept[i].name, kept[i].what, error);
    }
    if (field_bool(body, "store", &store, error) < 0 || field_bool(body, "background", &background, error) < 0)
        return -1;
    if (store) return field_unsupported("store", "keeping a response (this server keeps none)", error);
    if (background) return field_unsupported("background", "working without a client that waits", error);
    const char *truncation = json_string_value(json_object_get(body, "truncation"));
    if (truncation && strcmp(truncation, "auto") == 0)
        return field_unsupported("truncation", "leaving out what does not fit", error);
    return 0;
}

static int refuse_included(const json_t *body, struct api_error *error)
{
    const json_t *name;
    size_t i;
    int64_t top = 0;
    json_array_foreach(json_object_get(body, "include"), i, name)
    {
        const char *text = json_string_value(name);
        if (text && strstr(text, "logprobs"))
            return field_unsupported("include", "log probabilities in responses", error);
    }
    if (field_integer(body, "top_logprobs", 0, 20, &top, error) < 0) return -1;
    return top > 0 ? field_unsupported("top_logprobs", "log probabilities in responses", error) : 0;
}

/* The members that an answer repeats, with the values that hold where the request has none. */
static int make_repeats(const json_t *body, char **repeats, struct api_error *error)
{
    static const struct {
        const char *name, *absent;
    } members[] = {{"instructions", "null"},
                   {"max_output_tokens", "null"},
                   {"max_tool_calls", "null"},
                   {"metadata", "{}"},
                   {"parallel_tool_calls", "true"},
                   {"previous_response_id", "null"},
                   {"reasoning", "{\"effort\":null,\"summary\":null}"},
                   {"safety_identifier", "null"},
                   {"service_tier", "\"default\""},
                   {"store", "false"},
                   {"temperature", "1.0"},
                   {"text", "{\"format\":{\"type\":\"text\"}}"},
                   {"tool_choice", "\"auto\""},
                   {"tools", "[]"},
                   {"top_logprobs", "0"},
                   {"top_p", "1.0"},
                   {"truncation", "\"disabled\""},
                   {"user", "null"}};
    json_t *all = json_object();
    bool good = all != NULL;
    for (size_t i = 0; good && i < sizeof members / sizeof *members; i++) {
        const json_t *given = translate_find(body, members[i].name);
        json_t *value =
            given ? json_incref((json_t *)(uintptr_t)given) : json_loads(members[i].absent, JSON_DECODE_ANY, NULL);
        good = json_object_set_new(all, members[i].name, value) == 0;
    }
    if (good) *repeats = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return good && *repeats ? 0 : translate_no_memory(error);
}

int request_of_responses(const json_t *body, json_t **out, char **repeats, struct api_error *error)
{
    json_t *chat = translate_start(body);
    *out = NULL;
    *repeats = NULL;
    if (!chat) return translate_no_memory(error);
    json_object_del(chat, "stop"); /* this API has none */
    int status = refuse_kept(body, error);
    if (status == 0) status = refuse_included(body, error);
    if (status == 0 && !translate_rename(chat, body, "max_output_tokens", "max_tokens"))
        status = translate_no_memory(error);
    if (status == 0) status = translate_input(body, chat, error);
    if (status == 0) status = translate_tools(body, chat, error);
    if (status == 0) status = translate_tool_choice(body, chat, error);
    if (status == 0) status = translate_text(body, chat, error);
    if (status == 0) status = translate_reasoning(body, chat, error);
    if (status == 0) status = make_repeats(body, repeats, error);
    if (status < 0)
        json_decref(chat);
    else
        *out = chat;
    return status;
}
