/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_grammar.h"
#include "host/serve/request_fields.h"
#include "host/text/reply_structure.h"

#include <string.h>

static int set_grammar(struct completion_request *out, const char *field, enum grammar_kind kind, char *text,
                       struct api_error *error)
{
    if (!text) return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
    if (out->grammar_field) {
        free(text);
        return api_error_set(error, 400, "invalid_value", field,
                             "Invalid '%s': '%s' says already what the answer must look like.", field,
                             out->grammar_field);
    }
    out->grammar_field = field;
    out->grammar_kind = kind;
    out->grammar_text = text;
    return 0;
}

static int parse_json_schema(const json_t *format, struct completion_request *out, struct api_error *error)
{
    const json_t *outer = json_object_get(format, "json_schema"), *schema;
    bool strict;
    if (!json_is_object(outer))
        return api_error_set(error, 400, "missing_required_parameter", "response_format.json_schema",
                             "Missing required parameter: 'response_format.json_schema'.");
    schema = json_object_get(outer, "schema");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return api_error_set(error, 400, "missing_required_parameter", "response_format.json_schema.schema",
                             "Missing required parameter: 'response_format.json_schema.schema', an object.");
    if (field_bool(outer, "strict", &strict, error) < 0) return -1; /* answers match the schema in any case */
    return set_grammar(out, "response_format", GRAMMAR_JSON_SCHEMA, json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY),
                       error);
}

static int parse_response_format(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *format = json_object_get(root, "response_format");
    const char *type = NULL;
    if (!format || json_is_null(format)) return 0;
    if (!json_is_object(format)) return field_wrong_type("response_format", "an object", format, error);
    int given = field_text(format, "type", &type, error);
    if (given < 0) return -1;
    if (given > 0 && strcmp(type, "text") == 0) return 0;
    if (given > 0 && strcmp(type, "json_object") == 0)
        return set_grammar(out, "response_format", GRAMMAR_JSON_OBJECT, strdup(""), error);
    if (given > 0 && strcmp(type, "json_schema") == 0) return parse_json_schema(format, out, error);
    return api_error_set(error, 400, "invalid_value", "response_format.type",
                         "Invalid 'response_format.type': text, json_object or json_schema is expected.");
}

static const json_t *find(const json_t *root, const char *name)
{
    const json_t *value = json_object_get(root, name);
    return value && !json_is_null(value) ? value : NULL;
}

static int parse_guided(const json_t *root, struct completion_request *out, struct api_error *error)
{
    static const struct {
        const char *name;
        enum grammar_kind kind;
    } texts[] = {{"guided_regex", GRAMMAR_REGEX}, {"guided_grammar", GRAMMAR_GBNF}, {"grammar", GRAMMAR_GBNF}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const json_t *value = find(root, texts[i].name);
        if (!value) continue;
        if (!json_is_string(value)) return field_wrong_type(texts[i].name, "a string", value, error);
        if (set_grammar(out, texts[i].name, texts[i].kind, strdup(json_string_value(value)), error) < 0) return -1;
    }
    const json_t *schema = find(root, "guided_json"), *choices = find(root, "guided_choice");
    if (schema && !json_is_object(schema) && !json_is_string(schema))
        return field_wrong_type("guided_json", "an object or a string", schema, error);
    if (schema) {
        char *text = json_is_string(schema) ? strdup(json_string_value(schema)) : json_dumps(schema, JSON_COMPACT);
        if (set_grammar(out, "guided_json", GRAMMAR_JSON_SCHEMA, text, error) < 0) return -1;
    }
    if (!choices) return 0;
    if (!json_is_array(choices)) return field_wrong_type("guided_choice", "an array of strings", choices, error);
    return set_grammar(out, "guided_choice", GRAMMAR_CHOICE, json_dumps(choices, JSON_COMPACT), error);
}

int request_parse_grammar(const json_t *root, struct completion_request *out, struct api_error *error)
{
    if (field_bool(root, "enable_in_reasoning", &out->grammar_in_reasoning, error) < 0) return -1;
    return parse_response_format(root, out, error) < 0 ? -1 : parse_guided(root, out, error);
}

/* ---- compiling ---- */

/* What the answer must match, as a node of a structure; NULL if the text is no JSON, which compiling it tells better. */
static json_t *answer_node(const struct completion_request *request)
{
    static const char *const notations[] = {[GRAMMAR_GBNF] = "gbnf",
                                            [GRAMMAR_REGEX] = "regex",
                                            [GRAMMAR_CHOICE] = "choices",
                                            [GRAMMAR_JSON_SCHEMA] = "schema"};
    if (request->grammar_kind == GRAMMAR_JSON_OBJECT) return json_pack("{s:b}", "object", 1);
    if (request->grammar_kind == GRAMMAR_JSON_SCHEMA)
        return json_pack("{s:o}", "schema",
                         json_loads(request->grammar_text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL));
    return json_pack("{s:s}", notations[request->grammar_kind], request->grammar_text);
}

static bool must_call(const struct completion_request *request)
{
    return request->tools &&
           (request->tool_choice == TOOL_CHOICE_REQUIRED || request->tool_choice == TOOL_CHOICE_NAMED);
}

static bool any_strict(const json_t *tools)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        if (reply_tool_is_strict(tool)) return true;
    }
    return false;
}

/* Reasoning before the answer, or calls instead of it, make a structure of a grammar, and so do calls that are held to something. */
static bool needs_structure(const struct completion_request *request, const struct reply_dialect *dialect)
{
    if (must_call(request) || any_strict(request->tools)) return true;
    const bool reasons = (dialect->think_open || dialect->channels) && !request->grammar_in_reasoning;
    return request->grammar_field && (request->tools || reasons);
}

static int blame(const struct completion_request *request, const struct error *err, struct api_error *error)
{
    const bool tools = strncmp(err->text, "tools[", 6) == 0 || !request->grammar_field;
    const char *field = tools ? "tools" : request->grammar_field;
    if (err->code == ERROR_NO_MEMORY) return api_error_of(err, error);
    return api_error_set(error, 400, "invalid_value", field, "Invalid '%s': %s", field, err->text);
}

static int open_structure(struct completion_request *request, const struct reply_dialect *given, struct engine *engine,
                          struct error *err)
{
    struct reply_dialect dialect = *given;
    json_t *answer = request->grammar_field ? answer_node(request) : NULL;
    if (request->grammar_in_reasoning) dialect.think_open = NULL;
    const struct reply_structure_options options = {
        .tools = request->tools,
        .must_call = must_call(request),
        .only_tool = request->tool_choice == TOOL_CHOICE_NAMED ? request->tool_name : NULL,
        .one_call = request->one_call,
        .answer = answer,
        .reasoning_opened = request->reasoning_opened};
    char *text = NULL;
    int status = reply_structure(&dialect, &options, &text, err);
    if (status == 0) status = engine_grammar(engine, GRAMMAR_STRUCTURE, text, strlen(text), &request->grammar, err);
    free(text);
    json_decref(answer);
    return status;
}

int request_open_grammar(struct completion_request *request, const struct chat *chat, struct engine *engine,
                         struct api_error *error)
{
    struct error err = {0};
    const bool is_chat = request->kind == REQUEST_CHAT && chat;
    int status = 0;
    bool is_json = true;
    if (request->grammar_field && request->grammar_kind == GRAMMAR_JSON_SCHEMA) {
        json_t *answer = answer_node(request);
        is_json = answer != NULL;
        json_decref(answer);
    }
    if (is_chat && is_json && needs_structure(request, chat_dialect(chat)))
        status = open_structure(request, chat_dialect(chat), engine, &err);
    else if (request->grammar_field)
        status = engine_grammar(engine, request->grammar_kind, request->grammar_text, strlen(request->grammar_text),
                                &request->grammar, &err);
    return status < 0 ? blame(request, &err, error) : 0;
}
