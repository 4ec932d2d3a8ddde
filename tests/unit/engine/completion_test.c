/* SPDX-License-Identifier: Apache-2.0 */
/* Stop strings and held-back text, with an engine and a detokenizer that do what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/engine/completion.h"

#include <stdlib.h>
#include <string.h>

/* The engine: remembers the request, whose callbacks the test calls. */
static struct engine_request submitted;
static int submit_status;
static uint64_t cancelled_id;

int engine_submit(struct engine *engine, const struct engine_request *request, uint64_t *id, struct error *err)
{
    (void)engine;
    submitted = *request;
    *id = 77;
    return submit_status < 0 ? error_set(err, submit_status, "refused") : 0;
}

void engine_cancel(struct engine *engine, uint64_t id)
{
    (void)engine;
    cancelled_id = id;
}

uint32_t engine_n_vocab(const struct engine *engine)
{
    (void)engine;
    return 4;
}

/* The detokenizer: a token is one byte; a byte of 0xff waits and becomes U+FFFD at the end, 0xfe fails. */
void detokenizer_start(struct detokenizer *state, const struct tokenizer *tokenizer, bool show_control)
{
    *state = (struct detokenizer){.tokenizer = tokenizer, .show_control = show_control};
}

int detokenize_next(struct detokenizer *state, uint32_t id, struct text *out, struct error *err)
{
    char byte = (char)id;
    if (id == 0xfe) return error_set(err, ERROR_BAD_ARGUMENT, "no such token");
    if (id == 0xff) {
        state->n_pending = 1;
        return 0;
    }
    return text_append(out, &byte, 1, err);
}

int detokenize_end(struct detokenizer *state, struct text *out, struct error *err)
{
    return state->n_pending ? text_append(out, "\xef\xbf\xbd", 3, err) : 0;
}

struct result {
    char text[200];
    size_t length;
    unsigned n_calls, n_ends;
    enum finish_reason reason;
    struct error error;
    bool stopped; /* the token callback asked for the end */
};

static void on_text(void *context, const char *bytes, size_t length)
{
    struct result *result = context;
    assert_int_not_equal(length, 0);
    assert_int_equal(result->n_ends, 0);
    assert_in_range(result->length + length, 1, sizeof result->text - 1);
    memcpy(result->text + result->length, bytes, length);
    result->length += length;
    result->text[result->length] = '\0';
    result->n_calls++;
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct result *result = context;
    assert_non_null(usage);
    result->n_ends++;
    result->reason = reason;
    if (err) result->error = *err;
}

static struct completion *start(struct result *result, const char *const *stops, size_t n_stops)
{
    struct completion *completion;
    struct error err = {0};
    const struct completion_options options = {
        .prompt = (const uint32_t[]){1},
        .n_prompt = 1,
        .max_tokens = 5,
        .sampling = {.top_p = 1, .seed = 4},
        .stops = stops,
        .n_stops = n_stops,
        .text = on_text,
        .end = on_end,
        .context = result,
    };
    submit_status = 0;
    *result = (struct result){0};
    if (completion_start(NULL, NULL, &options, &completion, &err) < 0) fail_msg("%s", err.text);
    return completion;
}

/* Feeds tokens as the engine would, until the callback stops it. */
static void feed(struct result *result, const char *tokens)
{
    for (; *tokens && !result->stopped; tokens++)
        result->stopped = submitted.callbacks.token(submitted.context, (uint8_t)*tokens) != 0;
}

static void end(struct result *result, enum finish_reason reason)
{
    const struct engine_usage usage = {0};
    const struct error err = {.code = ERROR_CARD, .text = "gone"};
    submitted.callbacks.end(submitted.context, result->stopped ? FINISH_STOP : reason, &usage,
                            reason == FINISH_ERROR ? &err : NULL);
}

/* All of tokens go in; expected is what is shown in all. */
static void assert_shown(const char *const *stops, size_t n_stops, const char *tokens, const char *expected,
                         bool stops_it)
{
    struct result result;
    struct completion *completion = start(&result, stops, n_stops);
    feed(&result, tokens);
    end(&result, FINISH_LENGTH);
    assert_string_equal(result.text, expected);
    assert_int_equal(result.stopped, stops_it);
    assert_int_equal(result.reason, stops_it ? FINISH_STOP : FINISH_LENGTH);
    assert_int_equal(result.n_ends, 1);
    const char *stop = completion_stop_string(completion); /* what follows the text */
    assert_int_equal(stop != NULL, stops_it);
    if (stop) assert_memory_equal(tokens + strlen(expected), stop, strlen(stop));
    completion_close(completion);
}

static void test_text_streams_at_once(void **state)
{
    (void)state;
    struct result result;
    struct completion *completion = start(&result, NULL, 0);
    assert_int_equal(submitted.max_tokens, 5);
    assert_int_equal(submitted.sampling.seed, 4);
    assert_null(submitted.callbacks.logits);
    for (unsigned i = 1; i <= 3; i++) {
        feed(&result, "x");
        assert_int_equal(result.length, i);
    }
    completion_cancel(completion);
    assert_int_equal(cancelled_id, 77);
    end(&result, FINISH_CANCELLED);
    assert_int_equal(result.reason, FINISH_CANCELLED);
    completion_close(completion);
}

static void test_stop_strings_across_tokens(void **state)
{
    (void)state;
    static const char *const one[] = {"STOP"}, *const two[] = {"abcdef", "cd"}, *const newline[] = {"\n\n"},
                             *const repeated[] = {"aab"}, *const three[] = {"x", "yx", "zzz"};
    assert_shown(one, 1, "say STOP now", "say ", true);
    assert_shown(one, 1, "say STO now", "say STO now", false);
    assert_shown(one, 1, "STOP", "", true);
    assert_shown(one, 1, "STSTOP", "ST", true);
    assert_shown(one, 1, "the end STO", "the end STO", false); /* what was held back comes at the end */
    assert_shown(two, 2, "1abcdef", "1ab", true);              /* the first to be complete */
    assert_shown(newline, 1, "a\nb\n\nc", "a\nb", true);
    assert_shown(repeated, 1, "aaaab", "aa", true);
    assert_shown(three, 3, "1yx", "1", true); /* complete at the same byte: the one that starts first */
    assert_shown(three, 3, "zz", "zz", false);
}

static void test_holds_back_only_what_may_stop(void **state)
{
    (void)state;
    static const char *const stops[] = {"END"};
    struct result result;
    struct completion *completion = start(&result, stops, 1);
    feed(&result, "abE");
    assert_string_equal(result.text, "ab");
    feed(&result, "N");
    assert_string_equal(result.text, "ab");
    feed(&result, "E");
    assert_string_equal(result.text, "abEN"); /* the new E may still start it */
    feed(&result, "ND");
    assert_true(result.stopped);
    end(&result, FINISH_STOP);
    assert_string_equal(result.text, "abEN");
    completion_close(completion);
}

/* Every way of cutting a text into the same bytes stops at the same place: compared with a search over the whole. */
static void test_random_texts(void **state)
{
    (void)state;
    static const char *const stops[] = {"ab", "bca", "cc"};
    for (uint32_t round = 0; round < 2000; round++) {
        char tokens[13];
        for (uint32_t i = 0; i < 12; i++) tokens[i] = (char)('a' + random_bits(round, 0, i, 0) % 4);
        tokens[12] = '\0';
        size_t cut = 12, first_end = 13;
        for (size_t s = 0; s < 3; s++) {
            const char *found = strstr(tokens, stops[s]);
            size_t found_end = found ? (size_t)(found - tokens) + strlen(stops[s]) : 13;
            size_t found_start = found ? (size_t)(found - tokens) : 12;
            if (found_end < first_end || (found_end == first_end && found_start < cut)) cut = found_start;
            if (found_end < first_end) first_end = found_end;
        }
        char expected[13];
        memcpy(expected, tokens, 13);
        expected[cut] = '\0';
        assert_shown(stops, 3, tokens, expected, first_end < 13);
    }
}

static void test_end_of_stream(void **state)
{
    (void)state;
    static const char *const stops[] = {"END"};
    struct result result;
    struct completion *completion = start(&result, stops, 1);
    feed(&result, "ok\xff");
    end(&result, FINISH_LENGTH);
    assert_string_equal(result.text, "ok\xef\xbf\xbd"); /* an unfinished character is shown as such */
    completion_close(completion);

    completion = start(&result, stops, 1);
    feed(&result, "ok\xff"
                  "END");
    end(&result, FINISH_STOP);
    assert_string_equal(result.text, "ok"); /* but not behind a stop string */
    completion_close(completion);
}

static void test_errors(void **state)
{
    (void)state;
    struct result result;
    struct completion *completion = start(&result, NULL, 0);
    feed(&result, "a\xfe");
    assert_true(result.stopped);
    end(&result, FINISH_STOP);
    assert_int_equal(result.reason, FINISH_ERROR);
    assert_string_equal(result.error.text, "no such token");
    completion_close(completion);

    completion = start(&result, NULL, 0);
    feed(&result, "a");
    end(&result, FINISH_ERROR);
    assert_int_equal(result.reason, FINISH_ERROR);
    assert_string_equal(result.error.text, "gone");
    completion_close(completion);

    struct error err = {0};
    const char *many[COMPLETION_MAX_STOPS + 1];
    for (size_t i = 0; i < COMPLETION_MAX_STOPS + 1; i++) many[i] = "s";
    struct completion_options options = {
        .prompt = (const uint32_t[]){1}, .n_prompt = 1, .text = on_text, .end = on_end};
    options.stops = many;
    options.n_stops = COMPLETION_MAX_STOPS + 1;
    assert_int_equal(completion_start(NULL, NULL, &options, &completion, &err), ERROR_BAD_ARGUMENT);
    assert_null(completion);
    options.n_stops = 2;
    many[1] = "";
    assert_int_equal(completion_start(NULL, NULL, &options, &completion, &err), ERROR_BAD_ARGUMENT);
    many[1] = "\x80";
    assert_int_equal(completion_start(NULL, NULL, &options, &completion, &err), ERROR_BAD_ARGUMENT);
    many[1] = "s";
    submit_status = ERROR_TOO_LARGE;
    assert_int_equal(completion_start(NULL, NULL, &options, &completion, &err), ERROR_TOO_LARGE);
    assert_null(completion);
    completion_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_streams_at_once),
        cmocka_unit_test(test_stop_strings_across_tokens),
        cmocka_unit_test(test_holds_back_only_what_may_stop),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_end_of_stream),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
