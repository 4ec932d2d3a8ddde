/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a chat template: refused with line and column, or rendered with a small conversation; the same twice, and what it
 * writes is valid UTF-8.
 */
#include "host/text/jinja.h"
#include "host/text/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right) abort();
}

static json_t *conversation(void)
{
    static const char text[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi \\u00e9 <b>\"}, {\"role\": \"assistant\", \"content\": "
        "null,"
        "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, true]}}}]}],"
        "\"tools\": [{\"type\": \"function\"}], \"n\": 7, \"s\": \"one two\", \"l\": [3, 1, 2], "
        "\"add_generation_prompt\": true}";
    return json_loads(text, 0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct jinja_now now = {2026, 1, 15, 12, 0, 0, 0};
    struct jinja_template *template = NULL;
    struct error err = {0}, again_err = {0};
    if (jinja_template_open((const char *)data, size, &template, &err) < 0) {
        check(err.text[0] != '\0' && !template);
        return 0;
    }
    struct text out = {0}, again = {0};
    json_t *variables = conversation();
    check(variables != NULL);
    int status = jinja_render(template, variables, &now, &out, &err);
    check(jinja_render(template, variables, &now, &again, &again_err) == status);
    check(status == 0 || (strncmp(err.text, "line ", 5) == 0 && out.length == 0));
    check(out.length == again.length && (out.length == 0 || memcmp(out.bytes, again.bytes, out.length) == 0));
    if (out.length) check(utf8_valid_prefix((const uint8_t *)out.bytes, out.length) == out.length);
    text_free(&out);
    text_free(&again);
    json_decref(variables);
    jinja_template_free(template);
    return 0;
}
