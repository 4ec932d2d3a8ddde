/* SPDX-License-Identifier: Apache-2.0 */
/* Templates that mean harm: each ends with an error that says where, within the limits of jinja_run.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/jinja.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* head, count times unit, tail. */
struct hostile {
    const char *head, *unit;
    unsigned count;
    const char *tail;
    const char *word; /* of the error; NULL: it renders */
};

static const struct hostile hostile[] = {
    {"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "", 0, "", "work"},
    {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "", 0, "", "depth"},
    {"{% macro m(x) %}{{ m([x]) ~ m([x]) }}{% endmacro %}{{ m(1) }}", "", 0, "", "depth"},
    {"{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall %}{% endmacro %}{{ "
     "r() }}",
     "", 0, "", "depth"},
    {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "", 0, "", "depth"},
    {"{% block a %}{{ self.a() }}{% endblock %}", "", 0, "", "depth"},
    {"{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "", 0, "",
     "needs too much"},
    {"{% set s = 'x' * 1000000 %}{% for i in range(100000) %}{{ s }}{% endfor %}", "", 0, "", "needs too much"},
    {"{{ range(10**9) }}", "", 0, "", "MAX_RANGE"},
    {"{{ 'x' * 10**12 }}", "", 0, "", "memory"},
    {"{{ [0] * 10**12 }}", "", 0, "", "memory"},
    {"{{ 2 ** 10 ** 9 }}", "", 0, "", "64 bits"},
    {"{{ 'a'.center(10**10) }}{{ 'a'.zfill(10**10) }}", "", 0, "", "memory"},
    {"{{ '%1000000000d' % 1 }}", "", 0, "", "memory"},
    {"{{ '%.1000000000f' % 1 }}", "", 0, "", "precision"},
    {"{{ '{:1000000000}'.format(1) }}", "", 0, "", "memory"},
    {"{{ '{:.999999999f}'.format(1.0) }}", "", 0, "", "precision"},
    {"{{ 'a'|indent(10**10, true) }}", "", 0, "", "memory"},
    {"{{ '\t'.expandtabs(10**10) }}", "", 0, "", "memory"},
    {"{{ [1]|batch(10**9, 0)|list }}", "", 0, "", "needs too much"},
    {"{{ [1]|slice(10**9)|list }}", "", 0, "", "needs too much"},
    {"{{ [[1]]|tojson(indent=10**9) }}", "", 0, "", "memory"},
    {"{{ ('a'*100000).replace('a', 'b'*100000) }}", "", 0, "", "needs too much"},
    {"{{ ('x'*100000).join(range(1000)|map('string')) }}", "", 0, "", "needs too much"},
    {"{{ ('a'*100000).rfind('b' + 'a'*50000) }}", "", 0, "", NULL},
    {"{{ ('ba'*100000).rfind('b' + 'b'*50000 + 'a') }}", "", 0, "", "work"},
    {"{{ (('a'*50000 + 'c')*4).rfind('a' + 'b'*49999 + 'a') }}", "", 0, "", "work"},
    {"{{ ('<'*1000000)|striptags }}", "", 0, "", "work"},
    {"{{ lipsum(1000000) }}", "", 0, "", "work"},
    {"{{ lipsum(1, min=5, max=5) }}", "", 0, "", "min < max"},
    {"{{ lipsum(3, false, 4, 9) }}{{ lipsum(0) }}", "", 0, "", NULL},
    {"{{ ('a@'*300000)|urlize }}", "", 0, "", "work"},
    {"{{ ('http://' + 'a.'*100000 + '! ')|urlize }}", "", 0, "", "work"},
    {"{{ (('http://' + 'a-.'*50 + '! ')*5000)|urlize }}", "", 0, "", "work"},
    {"{{ (('('*40 + 'a'*40 + ')'*40 + ' ')*20000)|urlize }}", "", 0, "", "work"},
    {"{{ ('('*300000 + ')'*300000)|urlize }}", "", 0, "", "work"},
    {"{{ ('x y'*200000)|urlize(0, true, 't'*100, 'r '*1000) }}", "", 0, "", "work"},
    {"{{ ('a'*200000).translate({97: 'b'*100000}) }}", "", 0, "", "work"},
    {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "", 0, "", "depth"},
    {"{% set ns = namespace(l=[]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}", "", 0,
     "", "needs too much"},
    {"{% set ns = namespace(l=()) %}{% for i in range(60) %}{% set ns.l = (ns.l, ns.l) %}{% endfor %}{{ {ns.l: 1} }}",
     "", 0, "", "work"},
    {"{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}", "",
     0, "", "depth"},
    {"{% set ns = namespace(g=range(5)) %}{% for i in range(9999) %}{% set ns.g = ns.g|map('abs') %}{% endfor %}{{ "
     "ns.g|list }}",
     "", 0, "", "depth"},
    {"{{ strftime_now('%1000000000Y') }}", "", 0, "", "strftime_now"},
    {"{{ ", "(", 100000, "1", "nesting"},
    {"{{ ", "[", 100000, "1", "nesting"},
    {"{{ ", "{1:", 100000, "1", "nesting"},
    {"{{ ", "-", 100000, "1 }}", "nesting"},
    {"{{ ", "not ", 100000, "1 }}", NULL},
    {"{{ 1", " + 1", 100000, " }}", "depth"},
    {"{{ 1", "|abs", 100000, " }}", "depth"},
    {"{{ x", ".a", 100000, " }}", "depth"},
    {"{{ x", "[0]", 100000, " }}", "depth"},
    {"{{ x", "()", 100000, " }}", "depth"},
    {"{{ 1", " and 1", 100000, " }}", "depth"},
    {"{{ 1", " ** 1", 100000, " }}", "depth"},
    {"{{ ", "1 if 0 else ", 80000, "1 }}", "nesting"},
    {"{{ 1", " if 1", 100000, " }}", "depth"},
    {"{{ 'a'", " ~ 'a'", 100000, " }}", NULL},
    {"{{ 1", " < 1", 100000, " }}", NULL},
    {"{{ a", " is odd", 100000, " }}", "chained"},
    {"", "{% if true %}", 50000, "", "nesting"},
    {"{% if false %}", "{% elif false %}", 50000, "{% endif %}", NULL},
    {"{% filter upper", "|upper", 100000, " %}{% endfilter %}", "depth"},
    {"{% set ", "(", 100000, "a", "nesting"},
    {"{{ f(", "f(", 100000, "", "nesting"},
    {"", "{{", 400000, "", "nesting"},
    {"", "{#", 400000, "", "comment"},
    {"{% raw %}", "{%", 400000, "", "raw"},
    {"", "{% block a %}{% endblock %}", 30000, "", "twice"},
    {"{{ ", "9", 100000, " }}", "64 bits"},
    {"", "x", 2000000, "", "at most"},
    {"{{ '", "{", 100001, "'.format(1) }}", "expected '}'"},
    {"{{ '%(", "(", 100000, "' % {} }}", "key"},
    {"\xff", "", 0, "", "UTF-8"},
    {"", "", 0, "", NULL},
};

static struct text source_of(const struct hostile *h)
{
    struct text text = {0};
    assert_int_equal(text_append(&text, h->head, strlen(h->head), NULL), 0);
    for (unsigned i = 0; i < h->count; i++) assert_int_equal(text_append(&text, h->unit, strlen(h->unit), NULL), 0);
    assert_int_equal(text_append(&text, h->tail, strlen(h->tail), NULL), 0);
    return text;
}

static int render(const char *source, size_t length, struct text *out, struct error *err)
{
    struct jinja_template *template = NULL;
    json_t *variables = json_object();
    int status = jinja_template_open(source, length, &template, err);
    if (!status) status = jinja_render(template, variables, NULL, out, err);
    jinja_template_free(template);
    json_decref(variables);
    return status;
}

static void test_hostile_templates_end_with_an_error(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        struct text source = source_of(&hostile[i]), out = {0};
        struct error err = {0};
        int status = render(source.bytes, source.length, &out, &err);
        if (hostile[i].word ? status >= 0 || !strstr(err.text, hostile[i].word) : status < 0)
            wrong++, print_error("%s%s...: %d %s\n", hostile[i].head, hostile[i].unit, status, err.text);
        if (status < 0) assert_int_equal(out.length, 0);
        text_free(&out);
        text_free(&source);
    }
    assert_int_equal(wrong, 0);
}

static void test_errors_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *source, *error;
    } cases[] = {
        {"a\n  {{ x.y }}", "line 2, column 7: 'x' is undefined"},
        {"{% if true %}\n\n{{ raise_exception('no ' ~ 'good') }}{% endif %}", "line 3, column 19: no good"},
        {"é{{ 1 + 'a' }}", "line 1, column 8: unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ 1 +\n }}", "line 2, column 2: expected an expression, got \"}}\""},
        {"{% macro m() %}\n{{ {}.a.b }}{% endmacro %}\n{{ m() }}",
         "line 2, column 8: 'dict object' has no attribute 'a'"},
        {"{{ [1].append(2) }}", "line 1, column 14: access to attribute 'append' of 'list' object is unsafe."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text out = {0};
        struct error err = {0};
        assert_int_equal(render(cases[i].source, strlen(cases[i].source), &out, &err), ERROR_BAD_ARGUMENT);
        assert_string_equal(err.text, cases[i].error);
        text_free(&out);
    }
}

static void test_what_is_there_stays_on_an_error(void **state)
{
    (void)state;
    struct text out = {0};
    struct error err = {0};
    assert_int_equal(render("abc", 3, &out, &err), 0);
    assert_true(render("def{{ x.y }}", 12, &out, &err) < 0);
    assert_int_equal(render("{{ 1 }}", 7, &out, &err), 0);
    assert_string_equal(out.bytes, "abc1");
    text_free(&out);
}

/* A text built piece by piece, as templates do, costs its length and not the square of it. */
static void test_long_texts_may_be_built_by_addition(void **state)
{
    (void)state;
    static const char source[] =
        "{% set ns = namespace(s='') %}{% for i in range(20000) %}{% set ns.s = ns.s + 'piece of text ' %}"
        "{% endfor %}{{ ns.s|length }}";
    struct text out = {0};
    struct error err = {0};
    if (render(source, strlen(source), &out, &err) < 0) fail_msg("%s", err.text);
    assert_string_equal(out.bytes, "280000");
    text_free(&out);
}

static void test_times(void **state)
{
    (void)state;
    static const char *const good[] = {"2026-01-15",
                                       "2026-01-15T12:00:00",
                                       "2026-01-15 12:00",
                                       "2024-02-29T23:59:59.5Z",
                                       "2026-01-15T12:00:00+02:00",
                                       "2026-01-15T12:00:00.123456-0130"};
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-13-01",
                                      "2026-02-29",
                                      "2026-1-15",
                                      "2026-01-15T",
                                      "2026-01-15T25:00",
                                      "2026-01-15T12:00:00x",
                                      "now",
                                      "2026-01-15T12:00:00+2",
                                      "0000-01-01"};
    struct jinja_now now;
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_int_equal(jinja_now_parse(good[i], &now, &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(jinja_now_parse(bad[i], &now, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(jinja_now_parse("2026-01-15T12:34:56.25", &now, &err), 0);
    assert_int_equal(now.microsecond, 250000);
    assert_int_equal(now.second, 56);
    jinja_now_local(&now);
    assert_in_range(now.month, 1, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_templates_end_with_an_error),
        cmocka_unit_test(test_errors_say_where),
        cmocka_unit_test(test_what_is_there_stays_on_an_error),
        cmocka_unit_test(test_long_texts_may_be_built_by_addition),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
