/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --trace: a file that keeps to Chrome's format, whose lanes never overlap as viewers round them, and whose sums are what the card
 * says of its use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/session.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL FIXTURES "/models/qwen3_moe/model-q4_0.gguf"
#define GROUP 8

static char path[] = "/tmp/sluice-trace-XXXXXX";

struct span {
    unsigned process, lane;
    uint64_t begin, end;
};

/* What the file says, by process and lane of the trace; lanes of groups of channels are 1001 and up. */
struct found {
    struct span *spans;
    size_t n_spans;
    uint64_t busy[TIMELINE_RESOURCES], channel_busy[CARD_MAX_BANKS], channel_bytes[CARD_MAX_BANKS];
    unsigned n_layers, n_experts, n_tokens; /* distinct ones, as the largest and one more */
};

/* Digits that were written exactly are read as doubles, which are exact to the picosecond below an hour. */
static uint64_t picoseconds(const json_t *event, const char *name)
{
    return (uint64_t)llround(json_number_value(json_object_get(event, name)) * (double)TIMELINE_PS_PER_US);
}

/* As viewers do: each number for itself to the nearest nanosecond. */
static uint64_t nanoseconds(const json_t *event, const char *name)
{
    return (uint64_t)llround(json_number_value(json_object_get(event, name)) * 1000);
}

static unsigned integer(const json_t *object, const char *name)
{
    return (unsigned)json_integer_value(json_object_get(object, name));
}

static void raise_to(unsigned *most, const json_t *arguments, const char *name)
{
    const json_t *value = json_object_get(arguments, name);
    if (value && json_integer_value(value) + 1 > *most) *most = (unsigned)json_integer_value(value) + 1;
}

static void add_event(struct found *found, const json_t *event)
{
    const json_t *arguments = json_object_get(event, "args");
    const uint64_t begin = nanoseconds(event, "ts"), duration = picoseconds(event, "dur");
    const unsigned process = integer(event, "pid"), lane = integer(event, "tid");
    const uint64_t bytes = (uint64_t)json_integer_value(json_object_get(arguments, "bytes"));
    found->spans[found->n_spans++] = (struct span){process, lane, begin, begin + nanoseconds(event, "dur")};
    const json_t *worked = json_object_get(arguments, "busy_ps");
    const uint64_t busy = worked ? (uint64_t)json_integer_value(worked) : duration;
    if (process == 1) {
        assert_in_range(lane, 1, TIMELINE_RESOURCES);
        found->busy[lane - 1] += busy;
    } else if (process == 2) {
        const unsigned first = lane > 1000 ? (lane - 1001) * GROUP : lane - 1, n = lane > 1000 ? GROUP : 1;
        assert_in_range(first + n, 1, CARD_MAX_BANKS);
        for (unsigned i = first; i < first + n; i++) {
            found->channel_busy[i] += busy;
            found->channel_bytes[i] += bytes / n;
        }
        found->busy[TIMELINE_MEMORY] += busy * n;
    }
    raise_to(&found->n_layers, arguments, "layer");
    raise_to(&found->n_experts, arguments, "expert");
    raise_to(&found->n_tokens, arguments, "token");
}

/* ---- the format: complete and metadata events of "Trace Event Format", the document of the Chromium project ---- */

/* Names of processes ("1") and lanes ("1/4"), each given once. */
static void add_name(json_t *names, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "name"));
    const json_t *arguments = json_object_get(event, "args");
    char key[32];
    if (strcmp(name, "process_sort_index") == 0 || strcmp(name, "thread_sort_index") == 0) {
        assert_true(json_is_integer(json_object_get(arguments, "sort_index")));
        return;
    }
    const bool is_process = strcmp(name, "process_name") == 0;
    if (!is_process && strcmp(name, "thread_name") != 0) fail_msg("metadata \"%s\"", name);
    if (is_process)
        snprintf(key, sizeof key, "%u", integer(event, "pid"));
    else
        snprintf(key, sizeof key, "%u/%u", integer(event, "pid"), integer(event, "tid"));
    assert_true(json_string_length(json_object_get(arguments, "name")) > 0);
    if (json_object_get(names, key)) fail_msg("%s has two names", key);
    assert_int_equal(json_object_set(names, key, json_object_get(arguments, "name")), 0);
}

/* A number with at most three digits behind the point, or whoever counts nanoseconds changes it. */
static void assert_whole_nanoseconds(const json_t *event, const char *name)
{
    const json_t *time = json_object_get(event, name);
    assert_true(json_is_number(time) && json_number_value(time) >= 0);
    const double ns = json_number_value(time) * 1000;
    if (fabs(ns - (double)llround(ns)) > 1e-3) fail_msg("%s: %.9f us", name, json_number_value(time));
}

static void check_format(json_t *names, const json_t *event)
{
    const char *phase = json_string_value(json_object_get(event, "ph"));
    assert_non_null(phase);
    assert_true(json_string_length(json_object_get(event, "name")) > 0);
    assert_true(json_is_integer(json_object_get(event, "pid")) && json_is_object(json_object_get(event, "args")));
    if (strcmp(phase, "M") == 0) {
        add_name(names, event);
        return;
    }
    char process[16], lane[32];
    assert_string_equal(phase, "X");
    assert_true(json_is_integer(json_object_get(event, "tid")));
    assert_whole_nanoseconds(event, "ts");
    assert_whole_nanoseconds(event, "dur");
    snprintf(process, sizeof process, "%u", integer(event, "pid"));
    snprintf(lane, sizeof lane, "%s/%u", process, integer(event, "tid"));
    if (!json_object_get(names, process) || !json_object_get(names, lane)) fail_msg("lane %s has no name yet", lane);
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->process != y->process) return x->process < y->process ? -1 : 1;
    if (x->lane != y->lane) return x->lane < y->lane ? -1 : 1;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end; /* what has no length comes before what follows it */
}

static void read_trace(struct found *found)
{
    json_error_t why;
    json_t *trace = json_load_file(path, JSON_REJECT_DUPLICATES, &why), *event;
    if (!trace) fail_msg("%s, line %d", why.text, why.line);
    json_t *events = json_object_get(trace, "traceEvents"), *names = json_object();
    assert_true(json_is_array(events));
    assert_string_equal(json_string_value(json_object_get(trace, "displayTimeUnit")), "ns");
    *found = (struct found){.spans = calloc(json_array_size(events) + 1, sizeof(struct span))};
    assert_non_null(found->spans);
    size_t i, n_names = 0;
    json_array_foreach(events, i, event)
    {
        const char *phase = json_string_value(json_object_get(event, "ph"));
        check_format(names, event);
        n_names += strcmp(phase, "M") == 0;
        if (strcmp(phase, "X") == 0) add_event(found, event);
    }
    json_decref(names);
    assert_int_equal(found->n_spans + n_names, i);
    json_decref(trace);
}

/* Spans of one lane follow each other. */
static void assert_no_overlap(struct found *found)
{
    qsort(found->spans, found->n_spans, sizeof *found->spans, compare_spans);
    for (size_t i = 1; i < found->n_spans; i++) {
        const struct span *a = &found->spans[i - 1], *b = &found->spans[i];
        if (a->process == b->process && a->lane == b->lane && b->begin < a->end)
            fail_msg("process %u, lane %u: %llu to %llu and %llu to %llu overlap", a->process, a->lane,
                     (unsigned long long)a->begin, (unsigned long long)a->end, (unsigned long long)b->begin,
                     (unsigned long long)b->end);
    }
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    (void)usage;
    if (reason == FINISH_ERROR) fail_msg("%s", err->text);
    (*(unsigned *)context)++;
}

static void run_sequences(struct session *session, unsigned n_sequences)
{
    uint32_t prompt[70];
    unsigned n_ended = 0;
    struct error err = {0};
    for (uint32_t i = 0; i < 70; i++) prompt[i] = i * 31 % 500;
    for (unsigned i = 0; i < n_sequences; i++) {
        uint64_t id;
        const struct engine_request request = {.prompt = prompt + i,
                                               .n_prompt = 70 - i * 20,
                                               .max_tokens = 6 + i,
                                               .ignore_eos = true,
                                               .sampling = {.top_p = 1},
                                               .callbacks = {.end = on_end},
                                               .context = &n_ended};
        if (engine_submit(session->engine, &request, &id, &err) < 0) fail_msg("%s", err.text);
    }
    while (n_ended < n_sequences)
        if (engine_step(session->engine, &err) < 0) fail_msg("%s", err.text);
}

static void trace_card(const char *card, struct card_usage *usage, struct card_counters *counters)
{
    const struct session_options options = {
        .model_path = MODEL, .card = card, .chunk = 32, .trace = path, .threads = 1};
    struct session session;
    struct error err = {0};
    if (session_open(&options, false, true, &session, &err) < 0) fail_msg("%s", err.text);
    run_sequences(&session, 3);
    if (card_measure(session.card, usage, &err) < 0) fail_msg("%s", err.text);
    card_count(session.card, counters);
    if (session_end_trace(&session, &err) < 0) fail_msg("%s", err.text);
    session_close(&session);
}

static void check_card(const char *card)
{
    struct card_usage usage;
    struct card_counters counters;
    struct found found;
    trace_card(card, &usage, &counters);
    read_trace(&found);
    assert_no_overlap(&found);
    for (unsigned i = 0; i < TIMELINE_RESOURCES; i++)
        if (found.busy[i] != usage.busy_ps[i])
            fail_msg("%s: %s: %llu ps in the trace, %llu counted", card, timeline_resource_name(i),
                     (unsigned long long)found.busy[i], (unsigned long long)usage.busy_ps[i]);
    for (unsigned i = 0; i < CARD_MAX_BANKS; i++) {
        assert_int_equal(found.channel_busy[i], usage.channel_busy_ps[i]);
        assert_int_equal(found.channel_bytes[i], usage.channel_bytes[i]);
    }
    assert_true(found.busy[TIMELINE_MATMUL] > 0 && found.busy[TIMELINE_ATTENTION] > 0 &&
                found.busy[TIMELINE_VECTOR] > 0);
    assert_true(found.busy[TIMELINE_HOST_TO_CARD] > 0 && found.busy[TIMELINE_CARD_TO_HOST] > 0);
    assert_true(found.n_layers > 1 && found.n_experts > 1);
    assert_in_range(found.n_tokens, 18, 21); /* 6 + 7 + 8 were picked; the last step had 1 to 3 of them */
    free(found.spans);
}

static void test_hbm(void **state)
{
    (void)state;
    check_card("sim:u55c");
}

static void test_ddr(void **state)
{
    (void)state;
    check_card("sim:u250");
}

static void test_the_same_every_time(void **state)
{
    (void)state;
    struct card_usage usage[2];
    struct card_counters counters[2];
    struct found found[2];
    for (int i = 0; i < 2; i++) {
        trace_card("sim:u55c", &usage[i], &counters[i]);
        read_trace(&found[i]);
    }
    assert_memory_equal(&usage[0], &usage[1], sizeof usage[0]);
    assert_int_equal(found[0].n_spans, found[1].n_spans);
    assert_memory_equal(found[0].spans, found[1].spans, found[0].n_spans * sizeof(struct span));
    for (int i = 0; i < 2; i++) free(found[i].spans);
}

static int make_file(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hbm),
        cmocka_unit_test(test_ddr),
        cmocka_unit_test(test_the_same_every_time),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
