/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates of our own against what Python's jinja2 made of them: tests/fixtures/chat/make_vectors.py. Where it raises an
 * error, ours is one with line and column.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/jinja.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct jinja_now now = {2026, 1, 15, 12, 0, 0, 0};

static int render(const json_t *vector, const json_t *variables, struct text *out, struct error *err)
{
    const json_t *source = json_object_get(vector, "source");
    struct jinja_template *template = NULL;
    int status = jinja_template_open(json_string_value(source), json_string_length(source), &template, err);
    if (!status) status = jinja_render(template, variables, &now, out, err);
    jinja_template_free(template);
    return status;
}

/* Whether the vector's template does what jinja2 does; says what it did otherwise. */
static bool is_right(const json_t *vector, const json_t *variables)
{
    const json_t *wanted = json_object_get(vector, "output");
    struct text out = {0};
    struct error err = {0};
    int status = render(vector, variables, &out, &err);
    bool right = wanted ? status == 0 && out.length == json_string_length(wanted) &&
                              (out.length == 0 || memcmp(out.bytes, json_string_value(wanted), out.length) == 0)
                        : status < 0 && strncmp(err.text, "line ", 5) == 0 && out.length == 0;
    if (!right) {
        print_error("%s\n  wanted: %s\n  got:    %s%s\n", json_string_value(json_object_get(vector, "source")),
                    wanted ? json_string_value(wanted) : json_string_value(json_object_get(vector, "error")),
                    status ? "error: " : "",
                    status      ? err.text
                    : out.bytes ? out.bytes
                                : "");
    }
    text_free(&out);
    return right;
}

static void test_vectors(void **state)
{
    (void)state;
    const char *path = getenv("JINJA_VECTORS"); /* another file of the same form, for differential tests */
    json_error_t why;
    json_t *variables = json_load_file(FIXTURES "/chat/variables.json", 0, &why);
    FILE *file = fopen(path ? path : FIXTURES "/chat/vectors.jsonl", "rb");
    char *line = NULL;
    size_t capacity = 0;
    unsigned count = 0, wrong = 0;
    assert_non_null(variables);
    assert_non_null(file);
    while (getline(&line, &capacity, file) > 0) {
        json_t *vector = json_loads(line, 0, &why);
        assert_non_null(vector);
        const json_t *given = json_object_get(vector, "variables");
        if (json_is_string(given)) given = json_object_get(variables, json_string_value(given));
        wrong += !is_right(vector, given);
        count++;
        json_decref(vector);
    }
    free(line);
    fclose(file);
    json_decref(variables);
    print_message("%u of %u templates as jinja2 renders them\n", count - wrong, count);
    assert_true(count > 300 || path);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
