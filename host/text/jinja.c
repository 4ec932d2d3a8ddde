/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/jinja.h"

#include "host/base/memory.h"
#include "host/text/jinja_eval.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void jinja_now_local(struct jinja_now *now)
{
    struct timespec clock;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &clock);
    localtime_r(&clock.tv_sec, &tm);
    *now = (struct jinja_now){tm.tm_year + 1900,          tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                              (int)(clock.tv_nsec / 1000)};
}

/* count digits as a number; -1 if others stand there. */
static int two_or_four(const char **at, size_t count)
{
    int n = 0;
    for (size_t i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9') return -1;
        n = n * 10 + (**at - '0');
    }
    return n;
}

static bool skip(const char **at, char c)
{
    if (**at != c) return false;
    (*at)++;
    return true;
}

/* Z, +HH, +HH:MM or +HHMM, and the end of the text. */
static bool at_zone_end(const char *at)
{
    if (*at == 'Z' || *at == 'z') return at[1] == '\0';
    if (*at == '+' || *at == '-') {
        at++;
        if (two_or_four(&at, 2) < 0) return false;
        if (*at == ':') at++;
        if (*at && two_or_four(&at, 2) < 0) return false;
    }
    return *at == '\0';
}

static bool parse_time(const char *at, struct jinja_now *now)
{
    now->hour = two_or_four(&at, 2);
    if (now->hour < 0 || now->hour > 23 || !skip(&at, ':')) return false;
    now->minute = two_or_four(&at, 2);
    if (now->minute < 0 || now->minute > 59) return false;
    if (skip(&at, ':')) {
        now->second = two_or_four(&at, 2);
        if (now->second < 0 || now->second > 59) return false;
    }
    if (*at == '.' || *at == ',') {
        int digits = 0;
        for (at++; *at >= '0' && *at <= '9'; at++) {
            if (digits++ < 6) now->microsecond = now->microsecond * 10 + (*at - '0');
        }
        for (; digits < 6; digits++) now->microsecond *= 10;
    }
    return at_zone_end(at);
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

int jinja_now_parse(const char *iso, struct jinja_now *now, struct error *err)
{
    const char *at = iso;
    *now = (struct jinja_now){0};
    now->year = two_or_four(&at, 4);
    bool good = now->year > 0 && skip(&at, '-');
    if (good) now->month = two_or_four(&at, 2);
    good = good && now->month >= 1 && now->month <= 12 && skip(&at, '-');
    if (good) now->day = two_or_four(&at, 2);
    good = good && now->day >= 1 && now->day <= days_in_month(now->year, now->month);
    if (good && *at) good = (*at == 'T' || *at == ' ') && parse_time(at + 1, now);
    if (good) return 0;
    return error_set(err, ERROR_BAD_ARGUMENT, "%.60s: a date and time such as 2026-01-15T12:00:00 expected", iso);
}

static void parse_source(struct jinja_run *run, struct jinja_template *template, const char *source, size_t length)
{
    struct jinja_tokens tokens = {0};
    struct jinja_value text = jinja_normalize(run, source, length);
    if (jinja_failed(run)) return;
    jinja_tokenize(run, text.string, &tokens);
    if (!jinja_failed(run)) template->body = jinja_parse(run, &tokens, &template->blocks);
}

int jinja_template_open(const char *source, size_t length, struct jinja_template **out, struct error *err)
{
    struct jinja_template *template = memory_array(1, sizeof *template);
    struct jinja_run run = {.err = err, .line = 1, .column = 1};
    *out = NULL;
    if (!template) return error_set(err, ERROR_NO_MEMORY, "template: out of memory");
    if (length > JINJA_MAX_SOURCE)
        run.status =
            error_set(err, ERROR_TOO_LARGE, "a template of %zu bytes: at most %u are read", length, JINJA_MAX_SOURCE);
    run.steps = JINJA_STEPS + (int64_t)length * 32;
    run.arena.limit = JINJA_MEMORY + length * 256;
    if (!run.status) parse_source(&run, template, source, length);
    template->arena = run.arena;
    template->source_length = length;
    if (!run.status)
        *out = template;
    else
        jinja_template_free(template);
    return run.status;
}

void jinja_template_free(struct jinja_template *template)
{
    if (!template) return;
    jinja_arena_free(&template->arena);
    free(template);
}

/* Roughly the bytes of the variables: what a long conversation may cost more. */
static size_t weight(const json_t *json, unsigned depth)
{
    size_t total = 16, i;
    const json_t *element;
    if (depth > 100) return total;
    if (json_is_string(json)) return total + json_string_length(json);
    json_array_foreach(json, i, element) total += weight(element, depth + 1);
    for (void *at = json_object_iter((json_t *)(uintptr_t)json); at;
         at = json_object_iter_next((json_t *)(uintptr_t)json, at))
        total += strlen(json_object_iter_key(at)) + weight(json_object_iter_value(at), depth + 1);
    return total;
}

static void render(struct jinja_run *run, const json_t *variables)
{
    struct jinja_value names = jinja_from_json(run, variables);
    run->root = jinja_failed(run) ? NULL : jinja_scope(run, NULL);
    if (!run->root) return;
    run->root->names = names.dict;
    run->root->captured = true;
    run->scope = run->root;
    jinja_execute(run, run->template->body);
}

int jinja_render(const struct jinja_template *template, const json_t *variables, const struct jinja_now *now,
                 struct text *out, struct error *err)
{
    struct jinja_builder written = {0};
    struct jinja_run run = {.err = err, .template = template, .now = now, .output = &written, .line = 1, .column = 1};
    if (!json_is_object(variables))
        return error_set(err, ERROR_BAD_ARGUMENT, "a template's variables are a JSON object");
    size_t input = weight(variables, 0);
    run.steps = JINJA_STEPS + (int64_t)(input * JINJA_STEPS_PER_BYTE);
    run.arena.limit = JINJA_MEMORY + input * JINJA_MEMORY_PER_BYTE;
    run.random = 2463534242u;
    render(&run, variables);
    if (!run.status) run.status = text_append(out, written.bytes, written.length, err);
    jinja_arena_free(&run.arena);
    return run.status;
}
