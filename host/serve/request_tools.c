/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_tools.h"
#include "host/serve/request_fields.h"

#include <stdio.h>
#include <string.h>

#define MAX_TOOLS 1024

/* tools[i].function and what it must have. */
static int check_tool(const json_t *tool, size_t i, struct api_error *error)
{
    const char *type = "function", *name = NULL;
    char field[64];
    bool strict = false;
    const json_t *function = json_object_get(tool, "function");
    snprintf(field, sizeof field, "tools[%zu].type", i);
    if (!json_is_object(tool)) return field_wrong_type("tools", "an array of objects", tool, error);
    if (field_text(tool, "type", &type, error) < 0) return -1;
    if (strcmp(type, "function") != 0) return field_unsupported(field, "a tool other than a function", error);
    snprintf(field, sizeof field, "tools[%zu].function", i);
    if (!json_is_object(function))
        return api_error_set(error, 400, "missing_required_parameter", field, "Invalid '%s': it must be an object.",
                             field);
    snprintf(field, sizeof field, "tools[%zu].function.name", i);
    if (field_text(function, "name", &name, error) <= 0 || !name[0])
        return api_error_set(error, 400, "missing_required_parameter", field, "Invalid '%s': a function needs a name.",
                             field);
    const json_t *parameters = json_object_get(function, "parameters");
    snprintf(field, sizeof field, "tools[%zu].function.parameters", i);
    if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
        return field_wrong_type(field, "an object", parameters, error);
    snprintf(field, sizeof field, "tools[%zu].function.strict", i);
    if (field_bool(function, "strict", &strict, error) < 0) return -1;
    return 0;
}

static int parse_tools(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *tools = json_object_get(root, "tools"), *tool;
    size_t i;
    if (!tools || json_is_null(tools)) return 0;
    if (!json_is_array(tools)) return field_wrong_type("tools", "an array of tools", tools, error);
    if (json_array_size(tools) > MAX_TOOLS)
        return api_error_set(error, 400, "array_above_max_length", "tools",
                             "Invalid 'tools': %zu tools, but at most %d are supported.", json_array_size(tools),
                             MAX_TOOLS);
    json_array_foreach(tools, i, tool)
    {
        if (check_tool(tool, i, error) < 0) return -1;
    }
    if (json_array_size(tools)) out->tools = tools;
    return 0;
}

static int read_choice(const json_t *choice, struct completion_request *out, struct api_error *error)
{
    const char *text = json_string_value(choice);
    out->tool_choice = out->tools ? TOOL_CHOICE_AUTO : TOOL_CHOICE_NONE;
    if (!choice || json_is_null(choice)) return 0;
    if (json_is_object(choice)) {
        const json_t *name = json_object_get(json_object_get(choice, "function"), "name");
        out->tool_choice = TOOL_CHOICE_NAMED;
        out->tool_name = json_string_value(name);
        if (!out->tool_name)
            return api_error_set(error, 400, "invalid_value", "tool_choice",
                                 "Invalid 'tool_choice': an object needs the function's name.");
        return 0;
    }
    if (!text) return field_wrong_type("tool_choice", "a string or an object", choice, error);
    if (strcmp(text, "required") == 0)
        out->tool_choice = TOOL_CHOICE_REQUIRED;
    else if (strcmp(text, "none") == 0)
        out->tool_choice = TOOL_CHOICE_NONE;
    else if (strcmp(text, "auto") != 0)
        return api_error_set(error, 400, "invalid_value", "tool_choice",
                             "Invalid 'tool_choice': \"%.40s\" is none of none, auto, required and a function.", text);
    return 0;
}

static bool has_tool(const json_t *tools, const char *name)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        if (strcmp(json_string_value(json_object_get(json_object_get(tool, "function"), "name")), name) == 0)
            return true;
    }
    return false;
}

static int parse_choice(const json_t *root, struct completion_request *out, struct api_error *error)
{
    bool parallel = true;
    if (read_choice(json_object_get(root, "tool_choice"), out, error) < 0) return -1;
    if (field_bool(root, "parallel_tool_calls", &parallel, error) < 0) return -1;
    out->one_call = !parallel;
    const bool forced = out->tool_choice == TOOL_CHOICE_REQUIRED || out->tool_choice == TOOL_CHOICE_NAMED;
    if (forced && !out->tools)
        return api_error_set(error, 400, "invalid_value", "tool_choice",
                             "Invalid 'tool_choice': it asks for a call, but there are no 'tools'.");
    if (out->tool_choice == TOOL_CHOICE_NAMED && !has_tool(out->tools, out->tool_name))
        return api_error_set(error, 400, "invalid_value", "tool_choice",
                             "Invalid 'tool_choice': none of the 'tools' has the name '%.64s'.", out->tool_name);
    if (out->tool_choice == TOOL_CHOICE_NONE) out->tools = NULL; /* what the model does not know it does not call */
    return 0;
}

static bool set(json_t *object, const char *name, const json_t *value)
{
    return json_object_set(object, name, (json_t *)(uintptr_t)value) == 0;
}

static int make_variables(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *given = json_object_get(root, "chat_template_kwargs");
    const json_t *thinking = json_object_get(root, "enable_thinking"),
                 *effort = json_object_get(root, "reasoning_effort");
    const char *effort_text = NULL;
    bool flag;
    if (given && !json_is_null(given) && !json_is_object(given))
        return field_wrong_type("chat_template_kwargs", "an object", given, error);
    const int has_thinking = field_bool(root, "enable_thinking", &flag, error);
    const int has_effort = field_text(root, "reasoning_effort", &effort_text, error);
    if (has_thinking < 0 || has_effort < 0) return -1;
    out->template_variables = json_object();
    bool good = out->template_variables != NULL;
    if (good && has_effort) good = set(out->template_variables, "reasoning_effort", effort);
    if (good && has_effort && strcmp(effort_text, "none") == 0)
        good = set(out->template_variables, "enable_thinking", json_false());
    if (good && has_thinking) good = set(out->template_variables, "enable_thinking", thinking);
    if (good && out->tools) good = set(out->template_variables, "tools", out->tools);
    if (good && json_is_object(given))
        good = json_object_update(out->template_variables, (json_t *)(uintptr_t)given) == 0;
    return good ? 0 : api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
}

int request_parse_tools(const json_t *root, struct completion_request *out, struct api_error *error)
{
    if (parse_tools(root, out, error) < 0 || parse_choice(root, out, error) < 0) return -1;
    return make_variables(root, out, error);
}

/* ---- messages ---- */

int request_check_tool_message(const json_t *message, bool *has_calls, struct api_error *error)
{
    const json_t *calls = json_object_get(message, "tool_calls"), *call;
    const char *id = NULL;
    size_t i;
    if (field_text(message, "tool_call_id", &id, error) < 0) return -1;
    *has_calls = false;
    if (!calls || json_is_null(calls)) return 0;
    if (!json_is_array(calls)) return field_wrong_type("tool_calls", "an array of calls", calls, error);
    json_array_foreach(calls, i, call)
    {
        const json_t *function = json_object_get(call, "function");
        const json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(json_object_get(function, "name")))
            return api_error_set(error, 400, "invalid_value", "tool_calls",
                                 "Invalid 'tool_calls': a call has no function with a name.");
        if (arguments && !json_is_string(arguments) && !json_is_object(arguments))
            return field_wrong_type("tool_calls", "arguments that are a string", arguments, error);
    }
    *has_calls = i > 0;
    return 0;
}

/* The text of arguments becomes an object, if it is one. False: no memory. */
static bool read_call(json_t *call)
{
    json_t *function = json_object_get(call, "function");
    const json_t *text = json_object_get(function, "arguments");
    if (!json_is_string(text)) return true;
    json_t *object = json_loadb(json_string_value(text), json_string_length(text), JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(object)) return json_object_set_new(function, "arguments", object) == 0;
    json_decref(object);
    return true;
}

int request_read_arguments(const json_t *messages, struct completion_request *out)
{
    json_t *message, *call;
    size_t i, j;
    out->read_messages = json_deep_copy(messages);
    if (!out->read_messages) return -1;
    json_array_foreach(out->read_messages, i, message)
    {
        json_array_foreach(json_object_get(message, "tool_calls"), j, call)
        {
            if (!read_call(call)) return -1;
        }
        out->messages[i].json = message;
    }
    return 0;
}

void request_keep_arguments(struct completion_request *request)
{
    const json_t *messages = json_object_get(request->root, "messages");
    for (size_t i = 0; i < request->n_messages; i++) request->messages[i].json = json_array_get(messages, i);
    json_decref(request->read_messages);
    request->read_messages = NULL;
}
