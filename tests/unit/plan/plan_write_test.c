/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of a plan with hostile names in it: a page that is itself alone, JSON that parses, CSV in its fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card.h"
#include "host/plan/plan_sweep.h"
#include "host/plan/plan_write.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HOSTILE "</title><script>alert(1)</script>\"'&\x01\xff=1+1"

/* A plan of made-up figures; fits: or not. */
static struct plan *made_up(bool fits)
{
    struct plan *plan = calloc(1, sizeof *plan);
    assert_non_null(plan);
    *plan =
        (struct plan){.card = "u55c", .card_title = "card", .host = "h", .weight_format = "INT4", .kv_format = "F16"};
    snprintf(plan->model, sizeof plan->model, "%s", HOSTILE);
    snprintf(plan->model_source, sizeof plan->model_source, "https://example.org/%s", HOSTILE);
    snprintf(plan->smallest, sizeof plan->smallest, "The smallest set: 2 x u55c.");
    plan->cards = plan->batch = 1;
    plan->memory = (struct plan_memory){.fits = fits, .n_classes = 1, .n_rows = 1, .class_bytes = {16}, .hit_rate = 1};
    plan->memory.row[0] = (struct plan_memory_row){.what = "KV pages", .card = {7}, .host = 3};
    snprintf(plan->memory.class_name[0], sizeof plan->memory.class_name[0], "HBM");
    snprintf(plan->memory.reason, sizeof plan->memory.reason, "%s", fits ? "" : "the weights take all");
    plan->n_decode = fits ? 1 : 0;
    plan->decode[0] = (struct plan_decode){.batch = 1, .fits = true, .step_ps = 5000000000, .tokens_per_s = 200};
    plan->decode[0].used[plan->decode[0].n_used++] = (struct plan_share){"HBM", 0.8};
    plan->decode[0].energy[plan->decode[0].n_energy++] = (struct plan_share){"static", 1};
    plan->prefill[0] = (struct plan_prefill){.prompt = 1024, .why_not = "no room"};
    plan->n_sources = 1;
    snprintf(plan->source[0].source, sizeof plan->source[0].source, "%s", HOSTILE);
    return plan;
}

/* What write gives, as text that ends with NUL; owned by the caller. */
static char *page(const struct plan *plan, const struct sweep *sweep, const struct sweep_point *points, uint32_t n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    plan_write_html(plan, sweep, points, n, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    for (; (text = strstr(text, word)) != NULL; text += strlen(word)) n++;
    return n;
}

static void assert_well_formed(const char *html)
{
    static const char *const tags[] = {"section", "div", "span", "svg", "table", "tr", "td", "th", "details", "p"};
    char open[2][32], close[32];
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        snprintf(open[0], sizeof open[0], "<%s>", tags[i]);
        snprintf(open[1], sizeof open[1], "<%s ", tags[i]);
        snprintf(close, sizeof close, "</%s>", tags[i]);
        assert_int_equal(count(html, open[0]) + count(html, open[1]), count(html, close));
    }
    assert_int_equal(count(html, "<script"), 0);
    assert_int_equal(count(html, "src="), 0);
    assert_int_equal(count(html, "href="), 0);
    assert_int_equal(count(html, "url("), 0);
    assert_int_equal(count(html, "@import"), 0);
    assert_null(strchr(html, '\x01'));
    assert_null(strchr(html, '\xff'));
}

static void test_page_is_itself_alone(void **state)
{
    (void)state;
    for (int fits = 0; fits < 2; fits++) {
        struct plan *plan = made_up(fits == 1);
        char *html = page(plan, NULL, NULL, 0);
        assert_well_formed(html);
        assert_non_null(
            strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\xef\xbf\xbd\xef\xbf\xbd=1+1"));
        assert_non_null(strstr(html, "No card of ours stands behind these figures yet"));
        assert_int_equal(strstr(html, "does not fit: the weights take all") != NULL, !fits);
        assert_int_equal(strstr(html, "The smallest set: 2 x u55c.") != NULL, !fits);
        free(html);
        free(plan);
    }
}

static void test_json_parses(void **state)
{
    (void)state;
    for (int fits = 0; fits < 2; fits++) {
        struct plan *plan = made_up(fits == 1);
        struct error err = {0};
        char *text = NULL;
        size_t size = 0;
        snprintf(plan->model, sizeof plan->model, "a\"b\\<\n");
        snprintf(plan->source[0].source, sizeof plan->source[0].source, "s");
        snprintf(plan->model_source, sizeof plan->model_source, "m");
        FILE *out = open_memstream(&text, &size);
        assert_int_equal(plan_write_json(plan, out, &err), 0);
        assert_int_equal(fclose(out), 0);
        json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "model")), "a\"b\\<\n");
        assert_int_equal(json_is_true(json_object_get(json_object_get(json, "memory"), "fits")), fits);
        json_decref(json);
        free(text);
        free(plan);
    }
}

/* The form a person reads says first that a model does not fit. */
static void test_text_says_first_what_does_not_fit(void **state)
{
    (void)state;
    struct plan *plan = made_up(false);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    plan_print(plan, out);
    assert_int_equal(fclose(out), 0);
    assert_ptr_equal(strstr(text, "DOES NOT FIT: the weights take all\nThe smallest set: 2 x u55c.\n"), text);
    free(text);
    free(plan);
}

static void test_sweep_texts(void **state)
{
    (void)state;
    struct sweep sweep;
    struct error err = {0};
    assert_int_equal(sweep_parse("quant=q4_0,Q8_0;batch=1,32;experts=host", &sweep, &err), 0);
    assert_int_equal(sweep.n_values[SWEEP_QUANT], 2);
    assert_int_equal(sweep.value[SWEEP_QUANT][1], CARD_FORMAT_INT8);
    assert_int_equal(sweep.value[SWEEP_BATCH][1], 32);
    assert_int_equal(sweep.value[SWEEP_EXPERTS][0], PLAN_EXPERTS_HOST);
    static const char *const bad[][2] = {
        {"", "names no axis"},
        {";;", "names no axis"},
        {"batch", "\"batch\""},
        {"batch=", "batch="},
        {"batch=0", "1 to 1024"},
        {"batch=1,-2", "1 to 1024"},
        {"batch=99999999999999999999", "1 to 1024"},
        {"batch=1 ", "1 to 1024"},
        {"colour=red", "\"colour\""},
        {"quant=q9", "q4_0"},
        {"experts=warm", "resident"},
        {"batch=1;batch=2", "twice"},
        {"batch=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "more than 32"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(sweep_parse(bad[i][0], &sweep, &err), ERROR_BAD_ARGUMENT);
        if (!strstr(err.text, bad[i][1])) fail_msg("%s: %s", bad[i][0], err.text);
    }
    char many[600] = "";
    static const char *const names[] = {"batch=", ";ctx=", ";cards="};
    for (unsigned a = 0; a < 3; a++)
        for (unsigned v = 0; v < 17; v++) {
            size_t used = strlen(many);
            snprintf(many + used, sizeof many - used, "%s%u", v ? "," : names[a], v + 2);
        }
    assert_int_equal(sweep_parse(many, &sweep, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "4913 combinations"));
}

static void test_csv_and_plot(void **state)
{
    (void)state;
    struct sweep sweep;
    struct error err = {0};
    struct sweep_point points[2] = {{.value = {0, 1, 4096, 1, 0}, .fits = true}, {.value = {0, 8, 4096, 1, 0}}};
    points[0].decode = (struct plan_decode){.batch = 1, .tokens_per_s = 10, .used = {{"HBM", 0.5}}, .n_used = 1};
    assert_int_equal(sweep_parse("batch=1,8", &sweep, &err), 0);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    sweep_write_csv(points, 2, "=a\"b,c", "u55c", out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(count(text, "\r\n"), 3);
    assert_non_null(strstr(text, "\r\n\"'=a\"\"b,c\",\"u55c\",1,own,1,4096,auto,yes,10,"));
    for (char *line = text, *end; (end = strstr(line, "\r\n")) != NULL; line = end + 2) {
        unsigned commas = 0, quoted = 0;
        for (char *c = line; c < end; c++) {
            quoted ^= *c == '"';
            commas += *c == ',' && !quoted;
        }
        assert_int_equal(commas, 15);
    }
    free(text);
    struct plan *plan = made_up(true);
    char *html = page(plan, &sweep, points, 2);
    assert_well_formed(html);
    assert_int_equal(count(html, "<circle"), 1);
    assert_non_null(strstr(html, "does not fit"));
    free(html);
    free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_is_itself_alone),
        cmocka_unit_test(test_json_parses),
        cmocka_unit_test(test_text_says_first_what_does_not_fit),
        cmocka_unit_test(test_sweep_texts),
        cmocka_unit_test(test_csv_and_plot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
