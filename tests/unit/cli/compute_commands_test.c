/* SPDX-License-Identifier: Apache-2.0 */
/* run, logits and bench as a user calls them: exit status, what is on stdout, what is on stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cli/call_for_test.h"

#define MODEL FIXTURES "/models/qwen3_moe/model-q4_0.gguf"
#define TOKENS "3,1,4,1,5,9,2,6,5,3,5,8,9,7,9,3,2,3,8,4,6,2,6,4,3,3,8,3,2,7,9,5,0,2,8,8"
#define N_TOKENS 36

static void test_logits_are_the_same_bytes(void **state)
{
    (void)state;
    assert_int_equal(call(&command_logits, "", MODEL, "--tokens", TOKENS, "--out", "-", NULL), EXIT_DONE);
    assert_int_equal(err.length, 0);
    struct text expected = out;
    out = (struct text){0};
    assert_int_equal(expected.length, N_TOKENS * 512 * sizeof(float));
    static const char *const ways[][4] = {{"--chunk", "1", "--threads", "1"},
                                          {"--chunk", "7", "--beside", "3"},
                                          {"--beside", "20", "--threads", "2"},
                                          {"--max-seqs", "2", "--beside", "5"}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const char *const *way = ways[i];
        assert_int_equal(
            call(&command_logits, "", "--tokens", TOKENS, "--out", "-", way[0], way[1], way[2], way[3], MODEL, NULL),
            EXIT_DONE);
        assert_int_equal(out.length, expected.length);
        assert_memory_equal(out.bytes, expected.bytes, expected.length);
    }
    text_free(&expected);
}

/* Each page format has bytes of its own, and these do not depend on what else is in the step either. */
static void test_logits_with_each_page_format(void **state)
{
    (void)state;
    static const char *const formats[] = {"f16", "int8", "int4", "f32"};
    struct text rows[4];
    for (int i = 0; i < 4; i++) {
        const char *kv = formats[i];
        assert_int_equal(call(&command_logits, "", MODEL, "--kv", kv, "--tokens", TOKENS, "--out", "-", NULL),
                         EXIT_DONE);
        assert_int_equal(out.length, N_TOKENS * 512 * sizeof(float));
        rows[i] = out;
        out = (struct text){0};
        for (int j = 0; j < i; j++) assert_memory_not_equal(rows[i].bytes, rows[j].bytes, rows[i].length);
        assert_int_equal(call(&command_logits, "", MODEL, "--kv", kv, "--tokens", TOKENS, "--out", "-", "--chunk", "5",
                              "--beside", "2", NULL),
                         EXIT_DONE);
        assert_memory_equal(out.bytes, rows[i].bytes, rows[i].length);
    }
    assert_int_equal(call(&command_logits, "", MODEL, "--tokens", TOKENS, "--out", "-", NULL), EXIT_DONE);
    assert_memory_equal(out.bytes, rows[0].bytes, rows[0].length); /* f16 is the default */
    for (int i = 0; i < 4; i++) text_free(&rows[i]);
}

/* One parser: the same words and the same exit status, before any file is opened. */
static void test_every_command_refuses_the_same_page_formats(void **state)
{
    (void)state;
    static const struct command *const commands[] = {&command_run, &command_serve, &command_logits, &command_bench};
    static const char *const wrong[] = {"q9", "", "F16", "int8 ", "mxfp4"};
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++)
        for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
            bool logits = commands[c] == &command_logits;
            assert_int_equal(call(commands[c], "", "/nonexistent", "--kv", wrong[w], logits ? "--tokens" : NULL, "1",
                                  "--out", "-", NULL),
                             EXIT_USAGE);
            assert_says("f16, int8, int4 or f32 expected");
            assert_int_equal(out.length, 0);
            assert_int_equal(call(commands[c], "", "/nonexistent", "--card-memory", "99999999999999",
                                  logits ? "--tokens" : NULL, "1", "--out", "-", NULL),
                             EXIT_USAGE);
            assert_says("more MiB than an address can name");
        }
}

static void test_logits_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value;
        int status;
        const char *words;
    } cases[] = {
        {"--tokens", "1,x", EXIT_USAGE, "\"x\" is not a list of token numbers"},
        {"--tokens", "", EXIT_USAGE, "not a list"},
        {"--tokens", "1,,2", EXIT_USAGE, "not a list"},
        {"--tokens", "4294967296", EXIT_USAGE, "not a list"},
        {"--tokens", "1,512", EXIT_FAILED, "token 512 at place 1"},
        {"--kv", "q9", EXIT_USAGE, "--kv q9: f16, int8, int4 or f32 expected"},
        {"--ctx", "4000", EXIT_FAILED, "a context of 4000 tokens was asked for, the model has 2048"},
        {"--ctx", "1", EXIT_FAILED, "the prompt has 2 tokens, the context holds 1"},
        {"--card", "none", EXIT_FAILED, "none"},
        {"--chunk", "0", EXIT_USAGE, "--chunk 0"},
        {"--out", "/nonexistent/out", EXIT_FAILED, "cannot write /nonexistent/out"},
        {"--out", "/dev/full", EXIT_FAILED, "No space left"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status =
            call(&command_logits, "", MODEL, "--tokens", "1,2", "--out", "-", cases[i].option, cases[i].value, NULL);
        assert_says(cases[i].words);
        assert_int_equal(status, cases[i].status);
        assert_int_equal(out.length, 0);
        assert_ptr_equal(strchr(err.bytes, '\n'), err.bytes + err.length - 1); /* one line */
    }
    assert_int_equal(call(&command_logits, "", MODEL, "--tokens", "1", "--out", "-", "--cached", NULL), EXIT_DONE);
    assert_int_equal(call(&command_logits, "", MODEL, "--out", "-", NULL), EXIT_USAGE);
    assert_int_equal(call(&command_logits, "", MODEL, "--tokens", "1", NULL), EXIT_USAGE);
    assert_int_equal(call(&command_logits, "", "/nonexistent", "--tokens", "1", "--out", "-", NULL), EXIT_FAILED);
}

static void test_run(void **state)
{
    (void)state;
    assert_int_equal(call(&command_run, "", "-p", "How do I list the cards?", NULL), EXIT_DONE);
    assert_in_range(out.length, 2, 4000);
    assert_int_equal(out.bytes[out.length - 1], '\n');
    assert_says("context of "); /* what was chosen, on stderr */
    struct text first = out;
    out = (struct text){0};
    assert_int_equal(
        call(&command_run, "", "-p", "How do I list the cards?", "--chunk", "2", "-t", "2", "--stats", NULL),
        EXIT_DONE);
    assert_string_equal(out.bytes, first.bytes); /* the same answer every time */
    assert_says("first token: ");
    assert_int_equal(call(&command_run, "How do I list the cards?\n\n/exit\nnever asked\n", NULL), EXIT_DONE);
    assert_string_equal(out.bytes, first.bytes); /* a conversation of one */
    assert_int_equal(call(&command_run, "How do I list the cards?\n/clear\nHow do I list the cards?", NULL), EXIT_DONE);
    assert_int_equal(out.length, 2 * first.length);
    text_free(&first);

    assert_int_equal(call(&command_run, "", "--raw", "-p", "The", "-n", "3", NULL), EXIT_DONE);
    assert_says("ends here after 3 tokens");
    assert_int_equal(call(&command_run, "", "-p", "hi", "--ctx", "12", NULL), EXIT_DONE);
    assert_says("the context of 12 tokens is full");
    assert_int_equal(call(&command_run, "", "-p", "hi", "--ctx", "3", NULL), EXIT_FAILED);
    assert_says("tokens, the context holds 3");
    assert_int_equal(call(&command_run, "", "--raw", "-p", "", NULL), EXIT_FAILED);
    assert_says("no tokens");
    assert_int_equal(call(&command_run, "", "--raw", NULL), EXIT_USAGE);
    assert_int_equal(call(&command_run, "", "-p", "hi", "--top-p", "0", NULL), EXIT_USAGE);
    assert_int_equal(call(&command_run, "", MODEL, "one", NULL), EXIT_USAGE);
    assert_int_equal(call(&command_run, "", FIXTURES "/gguf/decode-vectors.bin", "-p", "hi", NULL), EXIT_FAILED);
}

static void test_run_samples_by_seed(void **state)
{
    struct text runs[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *seed = i == 2 ? "8" : "7";
        assert_int_equal(
            call(&command_run, "", "--raw", "-p", "The card", "-n", "24", "--temperature", "1.5", "--seed", seed, NULL),
            EXIT_DONE);
        runs[i] = out;
        out = (struct text){0};
    }
    assert_string_equal(runs[0].bytes, runs[1].bytes);
    assert_string_not_equal(runs[0].bytes, runs[2].bytes);
    for (int i = 0; i < 3; i++) text_free(&runs[i]);
}

/* Drafts change the speed and nothing else. The demo model drafts for itself: greedy or not, it is nearly always right. */
static void test_run_speculates(void **state)
{
    (void)state;
    static const char demo[] = FIXTURES "/../../host/model/demo/demo.gguf", text[] = "the card the card the card the";
    for (int hot = 0; hot < 2; hot++) {
        const char *temperature = hot ? "0.8" : "0";
        assert_int_equal(call(&command_run, "", "--raw", "-p", text, "-n", "40", "--temperature", temperature,
                              "--speculate", "off", "--stats", NULL),
                         EXIT_DONE);
        assert_null(strstr(err.bytes, "drafts: "));
        struct text plain = out;
        out = (struct text){0};
        assert_int_equal(call(&command_run, "", "--raw", "-p", text, "-n", "40", "--temperature", temperature,
                              "--speculate", "lookup", NULL),
                         EXIT_DONE);
        assert_string_equal(out.bytes, plain.bytes);
        assert_int_equal(call(&command_run, "", "--raw", "-p", text, "-n", "40", "--temperature", temperature,
                              "--draft", demo, "--stats", NULL),
                         EXIT_DONE);
        assert_string_equal(out.bytes, plain.bytes);
        assert_says("drafts: ");
        text_free(&plain);
    }
    assert_int_equal(call(&command_run, "", "-p", "hi", "--speculate", "often", NULL), EXIT_USAGE);
    assert_says("--speculate often: lookup or off expected");
    assert_int_equal(call(&command_run, "", "-p", "hi", "--speculate", "lookup", "--draft", demo, NULL), EXIT_USAGE);
    assert_says("one way to guess tokens at a time");
    assert_int_equal(call(&command_run, "", "-p", "hi", "--draft", MODEL, NULL), EXIT_FAILED);
    assert_says("model-q4_0 cannot draft for sluice-demo: their vocabularies differ at token");
}

/* Each sampler's option is taken, and in the order that --samplers says; a wrong list is refused by what is wrong in it. */
static void test_run_samplers(void **state)
{
    static const char *const wrong[][3] = {{"--samplers", "top_k;best", "'best' is no stage"},
                                           {"--samplers", "xtc;xtc", "'xtc' is there twice"},
                                           {"--samplers", "", "the list is empty"},
                                           {"--logit-bias", "5", "'5' is not TOKEN+X"},
                                           {"--logit-bias", "5+101", "'5+101' is not TOKEN+X"},
                                           {"--mirostat", "1", "--mirostat 1 is not supported"},
                                           {"--dry-base", "0.5", "--dry-base 0.5"}};
    const char *const question[] = {"-p", "How do I list the cards?", "--seed", "3"};
    (void)state;
#define QUESTION question[0], question[1], question[2], question[3]
    assert_int_equal(call(&command_run, "", QUESTION, NULL), EXIT_DONE);
    struct text greedy = out;
    out = (struct text){0};
    /* With everything but the best token left out, heat changes nothing, wherever it stands. */
    assert_int_equal(call(&command_run, "", QUESTION, "--temperature", "2", "--top-k", "1", "--samplers",
                          "top_k;typ_p;temperature", "--typical", "0.9", NULL),
                     EXIT_DONE);
    assert_string_equal(out.bytes, greedy.bytes);
    assert_int_equal(call(&command_run, "", QUESTION, "--temperature", "2", "--top-nsigma", "0.001",
                          "--xtc-probability", "0.5", "--repeat-penalty", "1.1", "--dry-multiplier", "0.8",
                          "--dry-sequence-breaker", "x", "--mirostat", "2", "--mirostat-ent", "4", "--logit-bias",
                          "7-100,8+1.5", NULL),
                     EXIT_DONE);
    struct text hot = out;
    out = (struct text){0};
    assert_int_equal(call(&command_run, "", QUESTION, "--temperature", "2", "--top-nsigma", "0.001",
                          "--xtc-probability", "0.5", "--repeat-penalty", "1.1", "--dry-multiplier", "0.8",
                          "--dry-sequence-breaker", "x", "--mirostat", "2", "--mirostat-ent", "4", "--logit-bias",
                          "7-100,8+1.5", NULL),
                     EXIT_DONE);
    assert_string_equal(out.bytes, hot.bytes);
    /* A stage that the list leaves out does not run. */
    assert_int_equal(call(&command_run, "", QUESTION, "--temperature", "2", "--samplers", "temperature;top_k",
                          "--top-k", "1", "--repeat-penalty", "5", NULL),
                     EXIT_DONE);
    assert_string_equal(out.bytes, greedy.bytes);
#undef QUESTION
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(call(&command_run, "", "-p", "hi", wrong[i][0], wrong[i][1], NULL), EXIT_USAGE);
        assert_says(wrong[i][2]);
    }
    text_free(&greedy);
    text_free(&hot);
}

static void assert_bench_line(json_t *line, const char *name, json_int_t tokens, json_int_t steps)
{
    static const char *const unknown[] = {"card_profile", "tokens_per_s_virtual", "j_per_token", "bandwidth_fraction"};
    json_t *counters = json_object_get(line, "counters");
    assert_string_equal(json_string_value(json_object_get(line, "name")), name);
    assert_string_equal(json_string_value(json_object_get(line, "model")), "model-q4_0");
    assert_int_equal(strlen(json_string_value(json_object_get(line, "file_sha256"))), 64);
    assert_int_equal(json_integer_value(json_object_get(line, "batch")), 3);
    assert_int_equal(json_integer_value(json_object_get(line, "threads")), 1);
    assert_int_equal(json_integer_value(json_object_get(line, "tokens")), tokens);
    assert_true(json_real_value(json_object_get(line, "tokens_per_s_wall")) > 0);
    assert_true(json_is_string(json_object_get(line, "revision")));
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_true(json_is_null(json_object_get(line, unknown[i])));
    assert_int_equal(json_integer_value(json_object_get(counters, "steps")), steps);
    assert_true(json_integer_value(json_object_get(counters, "weight_bytes")) > 0);
    assert_true(json_integer_value(json_object_get(counters, "multiply_adds")) > 0);
    json_decref(line);
}

static void test_bench(void **state)
{
    (void)state;
    assert_int_equal(
        call(&command_bench, "", MODEL, "-p", "40", "-n", "10", "-b", "3", "-t", "1", "--repeat", "2", NULL),
        EXIT_DONE);
    assert_int_equal(err.length, 0);
    const char *at = out.bytes;
    assert_bench_line(next_line(&at), "prefill", 120, 1);
    assert_bench_line(next_line(&at), "decode", 30, 10);
    assert_int_equal(*at, '\0');
    assert_int_equal(call(&command_bench, "", MODEL, "-p", "4000", NULL), EXIT_FAILED);
    assert_says("need a context of 4000 tokens, it is 2048");
    assert_int_equal(call(&command_bench, "", MODEL, "-b", "0", NULL), EXIT_USAGE);
}

/* The prefix's full pages come from the cache, the rest is computed; no hash where none is asked for. */
static void test_bench_times_first_tokens(void **state)
{
    (void)state;
    assert_int_equal(call(&command_bench, "", MODEL, "-p", "0", "-n", "0", "--prefix", "100", "--load", "--no-hash",
                          "-r", "2", "-t", "1", NULL),
                     EXIT_DONE);
    const char *at = out.bytes;
    json_t *load = next_line(&at), *prefix = next_line(&at);
    assert_int_equal(*at, '\0');
    assert_string_equal(json_string_value(json_object_get(load, "name")), "load");
    assert_true(json_is_null(json_object_get(load, "file_sha256")));
    assert_true(json_real_value(json_object_get(load, "seconds")) > 0);
    assert_true(json_real_value(json_object_get(load, "seconds_first_token")) >
                json_real_value(json_object_get(load, "seconds")));
    assert_string_equal(json_string_value(json_object_get(prefix, "name")), "prefix");
    assert_true(json_is_null(json_object_get(prefix, "file_sha256")));
    assert_int_equal(json_integer_value(json_object_get(prefix, "repeat")), 2);
    assert_int_equal(json_integer_value(json_object_get(prefix, "prompt_tokens")), 101);
    assert_int_equal(json_integer_value(json_object_get(prefix, "cached_tokens")), 96);
    assert_true(json_real_value(json_object_get(prefix, "seconds_computed")) > 0);
    assert_true(json_real_value(json_object_get(prefix, "seconds_cached")) > 0);
    json_decref(load);
    json_decref(prefix);
    assert_int_equal(call(&command_bench, "", MODEL, "--prefix", "4000", NULL), EXIT_FAILED);
    assert_says("need a context of 4002 tokens, it is 2048");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_the_same_bytes),
        cmocka_unit_test(test_logits_with_each_page_format),
        cmocka_unit_test(test_every_command_refuses_the_same_page_formats),
        cmocka_unit_test(test_logits_refuses),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_samplers),
        cmocka_unit_test(test_run_samples_by_seed),
        cmocka_unit_test(test_run_speculates),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_bench_times_first_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, free_texts);
}
