/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_grammar.h"
#include "host/serve/request_fields.h"

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
    return parse_response_format(root, out, error) < 0 ? -1 : parse_guided(root, out, error);
}

int request_open_grammar(struct completion_request *request, struct engine *engine, struct api_error *error)
{
    struct error err = {0};
    if (!request->grammar_field) return 0;
    if (engine_grammar(engine, request->grammar_kind, request->grammar_text, strlen(request->grammar_text),
                       &request->grammar, &err) == 0)
        return 0;
    if (err.code == ERROR_NO_MEMORY) return api_error_of(&err, error);
    return api_error_set(error, 400, "invalid_value", request->grammar_field, "Invalid '%s': %s",
                         request->grammar_field, err.text);
}
