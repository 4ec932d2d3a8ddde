/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to a JSON object, with the limits that jansson does not have. */
#include "host/serve/request.h"

/* jansson parses recursively up to 2048 levels; a request needs a handful. */
static bool too_deep(const char *body, size_t length)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = body[i];
        if (in_string) {
            if (c == '\\') i++;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > REQUEST_MAX_DEPTH) return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* Why jansson took no body; what it refuses beyond the grammar is told in words of our own. */
static void explain(const json_error_t *wrong, struct api_error *error)
{
    const char *what = "is not valid JSON: ", *why = wrong->text;
    enum json_error_code code = json_error_code(wrong);
    if (code == json_error_numeric_overflow) {
        what = "holds a number that is too large";
        why = "";
    } else if (code == json_error_null_character || code == json_error_null_byte_in_key) {
        what = "holds the character \\u0000, which this server does not take";
        why = "";
    }
    api_error_set(error, 400, "invalid_json", NULL, "The request body %s%s (line %d, column %d, byte %d).", what, why,
                  wrong->line, wrong->column, wrong->position);
}

json_t *request_json(const char *body, size_t length, struct api_error *error)
{
    json_error_t wrong;
    if (too_deep(body, length)) {
        api_error_set(error, 400, "invalid_json", NULL,
                      "The request body is JSON nested deeper than %d levels, which this server does not take.",
                      REQUEST_MAX_DEPTH);
        return NULL;
    }
    json_t *root = json_loadb(body, length, JSON_REJECT_DUPLICATES, &wrong);
    if (!root) {
        explain(&wrong, error);
        return NULL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        api_error_set(error, 400, "invalid_json", NULL, "The request body must be a JSON object.");
        return NULL;
    }
    return root;
}
