/* SPDX-License-Identifier: Apache-2.0 */
/* What commands say of a card's virtual time: exact, the same every time, and no better than what the trace shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cli/call_for_test.h"

#define MODEL FIXTURES "/models/qwen3_moe/model-q4_0.gguf"
#define CARD "sim:u55c"

static char folder[] = "/tmp/sluice-virtual-XXXXXX", path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(path);
    free_texts(state);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static double number(const json_t *line, const char *name)
{
    const json_t *value = json_object_get(line, name);
    if (!json_is_number(value)) fail_msg("%s is no number", name);
    return json_number_value(value);
}

static const char *word(const json_t *line, const char *name) { return json_string_value(json_object_get(line, name)); }

static struct text take_out(void)
{
    struct text taken = out;
    out = (struct text){0};
    return taken;
}

#define ARRIVALS                                                                                                       \
    "at_ms,prompt_tokens,output_tokens\n"                                                                              \
    "0,100,20\n"                                                                                                       \
    "{\"at_ms\": 0.3, \"prompt_tokens\": 300, \"output_tokens\": 5}\n"                                                 \
    "0.300000001,7,40\n"                                                                                               \
    "0.31,64,1\n"                                                                                                      \
    "5000,30,12\n"

static void test_arrivals_are_the_same_bytes(void **state)
{
    (void)state;
    static const char *const ways[][2] = {{"-t", "1"}, {"-t", "1"}, {"-t", "2"}};
    struct text runs[3];
    write_file(ARRIVALS);
    for (int i = 0; i < 3; i++) {
        if (call(&command_bench, "", MODEL, "--card", CARD, "--arrivals", path, "--chunk", "64", "--max-seqs", "3",
                 ways[i][0], ways[i][1], NULL) != EXIT_DONE)
            fail_msg("%s", err.bytes);
        runs[i] = take_out();
    }
    assert_string_equal(runs[0].bytes, runs[1].bytes);
    assert_string_equal(runs[0].bytes, runs[2].bytes);
    for (int i = 0; i < 3; i++) text_free(&runs[i]);
}

static void assert_close(double a, double b)
{
    if (a < b - 1e-6 || a > b + 1e-6) fail_msg("%.9f is not %.9f", a, b);
}

/* Times of each request add up, and those who come when nobody else is there do not wait. */
static void test_arrivals_add_up(void **state)
{
    (void)state;
    static const int prompts[] = {100, 300, 7, 64, 30}, outputs[] = {20, 5, 40, 1, 12};
    static const double at[] = {0, 0.3, 0.300000001, 0.31, 5000};
    write_file(ARRIVALS);
    assert_int_equal(call(&command_bench, "", MODEL, "--card", CARD, "--arrivals", path, NULL), EXIT_DONE);
    const char *place = out.bytes;
    double last_end = 0;
    for (int i = 0; i < 5; i++) {
        json_t *line = next_line(&place), *gaps = json_object_get(line, "inter_token_ms");
        assert_string_equal(word(line, "name"), "request");
        assert_string_equal(word(line, "finish"), "length");
        assert_int_equal(number(line, "line"), i + 2);
        assert_int_equal(number(line, "prompt_tokens"), prompts[i]);
        assert_int_equal(number(line, "output_tokens"), outputs[i]);
        assert_close(number(line, "at_ms"), at[i]);
        assert_close(number(line, "at_ms") + number(line, "total_ms"), number(line, "end_ms"));
        assert_true(number(line, "ttft_ms") > number(line, "queue_ms"));
        if (outputs[i] > 1)
            assert_close(number(line, "ttft_ms") + (outputs[i] - 1) * number(gaps, "mean"), number(line, "total_ms"));
        else
            assert_true(json_is_null(gaps));
        if (i == 0 || i == 4) assert_close(number(line, "queue_ms"), 0);
        if (i == 4) assert_true(number(line, "end_ms") > last_end);
        if (number(line, "end_ms") > last_end) last_end = number(line, "end_ms");
        json_decref(line);
    }
    json_t *all = next_line(&place);
    assert_int_equal(*place, '\0');
    assert_string_equal(word(all, "name"), "arrivals");
    assert_string_equal(word(all, "card_profile"), "u55c");
    assert_int_equal(strlen(word(all, "file_sha256")), 64);
    assert_int_equal(number(all, "requests"), 5);
    assert_int_equal(number(all, "tokens"), 78);
    assert_int_equal(number(all, "prompt_tokens"), 501);
    assert_true(json_is_null(json_object_get(all, "tokens_per_s_wall")) &&
                json_is_null(json_object_get(all, "threads")));
    assert_close(number(all, "picoseconds_virtual") * 1e-9, last_end);
    assert_true(number(json_object_get(all, "ttft_ms"), "p50") <= number(json_object_get(all, "ttft_ms"), "p95"));
    assert_true(number(all, "j_per_token") > 0 && number(all, "watts") > 0);
    json_decref(all);
}

static void test_arrivals_refuses(void **state)
{
    (void)state;
    write_file("0,1,1\n0,1\n");
    assert_int_equal(call(&command_bench, "", "/nonexistent.gguf", "--card", CARD, "--arrivals", path, NULL),
                     EXIT_FAILED);
    assert_says(": line 2: ");
    assert_says("12.5,512,64 expected");
    write_file("0,1,1\n0,2000,49\n");
    assert_int_equal(call(&command_bench, "", MODEL, "--card", CARD, "--arrivals", path, NULL), EXIT_FAILED);
    assert_says("line 2: 2000 and 49 tokens need a larger context than 2048");
    assert_int_equal(call(&command_bench, "", MODEL, "--arrivals", path, NULL), EXIT_FAILED);
    assert_says("--arrivals: ");
    assert_says("keeps no virtual time");
    assert_int_equal(out.length, 0);
    assert_int_equal(call(&command_bench, "", MODEL, "--card", CARD, "--arrivals", path, "--load", NULL), EXIT_USAGE);
    assert_says("leave out --load and --prefix");
}

/* The virtual part of bench's lines: known, in range, the same with other threads and in every run. */
static void test_bench_knows_virtual_time(void **state)
{
    (void)state;
    static const char *const exact[] = {"picoseconds_virtual", "tokens_per_s_virtual", "j_per_token", "watts",
                                        "bandwidth_fraction",  "limiting_resource",    "utilisation", "energy_j"};
    json_t *lines[2][3];
    for (int run = 0; run < 2; run++) {
        if (call(&command_bench, "", MODEL, "--card", CARD, "-p", "40", "-n", "10", "--prefix", "50", "-b", "3", "-t",
                 run == 0 ? "1" : "2", "-r", "1", NULL) != EXIT_DONE)
            fail_msg("%s", err.bytes);
        const char *at = out.bytes;
        for (int i = 0; i < 3; i++) lines[run][i] = next_line(&at);
    }
    for (int i = 0; i < 2; i++) {
        const json_t *a = lines[0][i], *b = lines[1][i];
        for (size_t j = 0; j < sizeof exact / sizeof exact[0]; j++)
            if (!json_equal(json_object_get(a, exact[j]), json_object_get(b, exact[j])))
                fail_msg("%s differs with the threads", exact[j]);
        assert_string_equal(word(a, "card_profile"), "u55c");
        assert_true(number(a, "tokens_per_s_virtual") > 0 && number(a, "j_per_token") > 0 && number(a, "watts") > 0);
        assert_true(number(a, "bandwidth_fraction") > 0 && number(a, "bandwidth_fraction") < 1);
        const char *name;
        json_t *value;
        json_object_foreach(json_object_get(a, "utilisation"), name, value)
        {
            if (!(json_real_value(value) >= 0 && json_real_value(value) <= 1)) fail_msg("%s is not 0 to 1", name);
        }
    }
    assert_true(number(lines[0][2], "seconds_computed_virtual") > number(lines[0][2], "seconds_cached_virtual"));
    assert_true(json_equal(json_object_get(lines[0][2], "seconds_cached_virtual"),
                           json_object_get(lines[1][2], "seconds_cached_virtual")));
    for (int run = 0; run < 2; run++)
        for (int i = 0; i < 3; i++) json_decref(lines[run][i]);
}

static void test_run_tells_virtual_and_wall(void **state)
{
    (void)state;
    assert_int_equal(call(&command_run, "", "--raw", "-p", "the card", "-n", "5", "--card", CARD, "--stats", NULL),
                     EXIT_DONE);
    static const char *const words[] = {"(virtual)",    "(wall)", "wall: ",    "J a token",
                                        "W on average", "busy: ", "limiting: "};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) assert_says(words[i]);
    assert_int_equal(call(&command_run, "", "--raw", "-p", "the card", "-n", "5", "--stats", NULL), EXIT_DONE);
    assert_null(strstr(err.bytes, "virtual"));
}

/* Before anything runs: not even the model is looked at. */
static void test_a_trace_that_cannot_be(void **state)
{
    (void)state;
    static const struct command *const commands[] = {&command_run, &command_bench, &command_logits};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const bool logits = commands[i] == &command_logits, run = commands[i] == &command_run;
        assert_int_equal(call(commands[i], "", "/nonexistent.gguf", "--card", CARD, "--trace", "/nonexistent/trace",
                              logits ? "--tokens=1"
                              : run  ? "-pX"
                                     : "-p1",
                              logits ? "--out=-" : "-n1", NULL),
                         EXIT_FAILED);
        assert_says("cannot write /nonexistent/trace: No such file or directory");
        assert_int_equal(out.length, 0);
    }
    unlink(path);
    assert_int_equal(call(&command_run, "", "-p", "x", "--trace", path, NULL), EXIT_FAILED);
    assert_says("--trace: ");
    assert_says("keeps no virtual time");
    assert_int_equal(access(path, F_OK), -1);
    write_file("GGUF: somebody's model");
    assert_int_equal(call(&command_run, "", "-p", "x", "--card", CARD, "--trace", path, NULL), EXIT_FAILED);
    assert_says("is something else");
}

/* The trace of a command that fails on its way parses. */
static void test_the_trace_of_a_failure(void **state)
{
    (void)state;
    unlink(path);
    assert_int_equal(call(&command_bench, "", MODEL, "--card", CARD, "-p", "4000", "--trace", path, NULL), EXIT_FAILED);
    assert_says("need a context of 4000 tokens");
    json_t *trace = json_load_file(path, 0, NULL);
    assert_non_null(trace);
    assert_true(json_array_size(json_object_get(trace, "traceEvents")) > 0);
    json_decref(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrivals_are_the_same_bytes),
        cmocka_unit_test(test_arrivals_add_up),
        cmocka_unit_test(test_arrivals_refuses),
        cmocka_unit_test(test_bench_knows_virtual_time),
        cmocka_unit_test(test_run_tells_virtual_and_wall),
        cmocka_unit_test(test_a_trace_that_cannot_be),
        cmocka_unit_test(test_the_trace_of_a_failure),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
