/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/request.h"
#include "host/serve/request_tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAT_WITH(fields) "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" fields "}"
#define PROMPT_WITH(fields) "{\"prompt\":\"hi\"" fields "}"

static int parse(enum request_kind kind, const char *body, struct completion_request *out, struct api_error *error)
{
    return completion_request_parse(kind, body, strlen(body), out, error);
}

/* The body is refused with 400, and the error names param (NULL: none). */
static void refuses(enum request_kind kind, const char *body, const char *param)
{
    struct completion_request request;
    struct api_error error = {0};
    int status = parse(kind, body, &request, &error);
    if (status == 0) fail_msg("taken: %s", body);
    assert_int_equal(error.status, 400);
    if (strcmp(error.param, param ? param : "") != 0) fail_msg("%s: blames \"%s\"", body, error.param);
    assert_true(strlen(error.message) > 10);
}

static void defaults(void **state)
{
    (void)state;
    struct completion_request r;
    struct api_error error;
    assert_int_equal(parse(REQUEST_CHAT, CHAT_WITH(""), &r, &error), 0);
    assert_null(r.model);
    assert_true(r.sampling.temperature == 1 && r.sampling.top_p == 1 && r.sampling.min_p == 0);
    assert_true(r.sampling.top_k == 0 && !r.has_seed && r.max_tokens == UINT32_MAX && r.n_choices == 1);
    assert_false(r.stream || r.include_usage || r.ignore_eos);
    assert_int_equal(r.n_stops, 0);
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_COMPLETION, PROMPT_WITH(""), &r, &error), 0);
    assert_int_equal(r.max_tokens, 16);
    assert_int_equal(r.prompt_length, 2);
    completion_request_free(&r);
}

static void every_field(void **state)
{
    (void)state;
    struct completion_request r;
    struct api_error error;
    assert_int_equal(
        parse(REQUEST_CHAT,
              CHAT_WITH(",\"model\":\"m\",\"temperature\":0.5,\"top_p\":0.25,\"min_p\":0.125,\"top_k\":40,"
                        "\"seed\":-1,\"stop\":[\"a\",\"b\"],\"max_tokens\":7,\"n\":3,\"ignore_eos\":true,"
                        "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"user\":\"u\",\"x\":{}"),
              &r, &error),
        0);
    assert_string_equal(r.model, "m");
    assert_true(r.sampling.temperature == 0.5f && r.sampling.top_p == 0.25f && r.sampling.min_p == 0.125f);
    assert_int_equal(r.sampling.top_k, 40);
    assert_true(r.has_seed && r.sampling.seed == UINT64_MAX);
    assert_true(r.max_tokens == 7 && r.n_choices == 3 && r.ignore_eos && r.stream && r.include_usage);
    assert_int_equal(r.n_stops, 2);
    assert_string_equal(r.stops[1], "b");
    completion_request_free(&r);
}

static void null_is_absent(void **state)
{
    (void)state;
    struct completion_request r;
    struct api_error error;
    assert_int_equal(
        parse(REQUEST_CHAT,
              CHAT_WITH(",\"model\":null,\"temperature\":null,\"top_p\":null,\"seed\":null,\"stop\":null,\"n\":null,"
                        "\"max_tokens\":null,\"stream\":null,\"stream_options\":null,\"logprobs\":null,\"tools\":null,"
                        "\"response_format\":null,\"tool_choice\":null,\"logit_bias\":null"),
              &r, &error),
        0);
    assert_true(r.sampling.temperature == 1 && !r.has_seed && r.n_choices == 1);
    completion_request_free(&r);
}

static void limits_of_tokens(void **state)
{
    (void)state;
    struct completion_request r;
    struct api_error error;
    assert_int_equal(parse(REQUEST_CHAT, CHAT_WITH(",\"max_tokens\":5,\"max_completion_tokens\":6"), &r, &error), 0);
    assert_int_equal(r.max_tokens, 6);
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_CHAT, CHAT_WITH(",\"max_tokens\":9223372036854775807"), &r, &error), 0);
    assert_true(r.max_tokens == UINT32_MAX);
    completion_request_free(&r);
}

/* A wrong type and both ends of each range. */
static void wrong_fields_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *values[7];
    } cases[] = {
        {"model", {"1", "[]", "true"}},
        {"temperature", {"\"1\"", "true", "[]", "-0.1", "2.01", "1e308"}},
        {"top_p", {"\"1\"", "0", "0.0", "-1", "1.01", "1e-60", "{}"}},
        {"min_p", {"\"1\"", "-0.01", "1.01", "false"}},
        {"top_k", {"\"1\"", "1.0", "-2", "4294967296"}},
        {"seed", {"\"1\"", "1.5", "true", "[]"}},
        {"max_tokens", {"\"1\"", "1.5", "0", "-1", "true"}},
        {"max_completion_tokens", {"\"1\"", "1.5", "0"}},
        {"n", {"\"1\"", "1.5", "0", "9", "true"}},
        {"ignore_eos", {"1", "\"true\""}},
        {"stream", {"1", "\"true\"", "[]"}},
        {"stream_options", {"1", "\"x\"", "[]", "{}"}}, /* the last: without stream */
        {"stop", {"1", "[1]", "\"\"", "[\"\"]", "{}", "true"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t j = 0; j < 7 && cases[i].values[j]; j++) {
            char chat[256], completion[256];
            snprintf(chat, sizeof chat, CHAT_WITH(",\"%s\":%s"), cases[i].name, cases[i].values[j]);
            snprintf(completion, sizeof completion, PROMPT_WITH(",\"%s\":%s"), cases[i].name, cases[i].values[j]);
            refuses(REQUEST_CHAT, chat, cases[i].name);
            refuses(REQUEST_COMPLETION, completion, cases[i].name);
        }
    }
    refuses(REQUEST_CHAT, CHAT_WITH(",\"stream\":true,\"stream_options\":{\"include_usage\":1}"),
            "stream_options.include_usage");
}

static void too_many_stops(void **state)
{
    (void)state;
    refuses(REQUEST_CHAT,
            CHAT_WITH(",\"stop\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
                      "\"a\",\"a\",\"a\"]"),
            "stop");
}

static void unsupported_is_not_ignored(void **state)
{
    (void)state;
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tools\":7"), "tools");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tools\":[{}]"), "tools[0].function");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tools\":[{\"type\":\"custom\"}]"), "tools[0].type");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tools\":[{\"function\":{}}]"), "tools[0].function.name");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tools\":[{\"function\":{\"name\":\"f\",\"strict\":1}}]"), "strict");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":1}}]"),
            "tools[0].function.parameters");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tool_choice\":\"required\""), "tool_choice");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tool_choice\":\"perhaps\""), "tool_choice");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
            "tool_choice");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"parallel_tool_calls\":1"), "parallel_tool_calls");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"enable_thinking\":1"), "enable_thinking");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"reasoning_effort\":1"), "reasoning_effort");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"tool_choice\":{\"type\":\"function\"}"), "tool_choice");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"functions\":[{}]"), "functions");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"logprobs\":1"), "logprobs");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"logprobs\":true,\"top_logprobs\":21"), "top_logprobs");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"top_logprobs\":2"), "top_logprobs");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"response_format\":{\"type\":\"xml\"}"), "response_format.type");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"response_format\":{}"), "response_format.type");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"guided_regex\":\"a\",\"guided_choice\":[\"a\"]"), "guided_choice");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"response_format\":\"text\""), "response_format");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"modalities\":[\"text\",\"audio\"]"), "modalities");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"logit_bias\":{\"one\":5}"), "logit_bias");
    refuses(REQUEST_CHAT, CHAT_WITH(",\"presence_penalty\":2.5"), "presence_penalty");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"frequency_penalty\":-3"), "frequency_penalty");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"logprobs\":21"), "logprobs");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"logprobs\":true"), "logprobs");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"echo\":1"), "echo");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"max_tokens\":0"), "max_tokens");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"suffix\":\"x\""), "suffix");
    refuses(REQUEST_COMPLETION, PROMPT_WITH(",\"best_of\":2"), "best_of");
    struct completion_request r;
    struct api_error error;
    assert_int_equal(parse(REQUEST_CHAT,
                           CHAT_WITH(",\"tools\":[],\"tool_choice\":\"auto\",\"logprobs\":false,\"top_logprobs\":0,"
                                     "\"response_format\":{\"type\":\"text\"},\"modalities\":[\"text\"],"
                                     "\"logit_bias\":{},\"presence_penalty\":0,\"frequency_penalty\":0.0"),
                           &r, &error),
                     0);
    completion_request_free(&r);
}

static void messages(void **state)
{
    (void)state;
    struct completion_request r;
    struct api_error error;
    assert_int_equal(parse(REQUEST_CHAT,
                           "{\"messages\":[{\"role\":\"developer\",\"content\":\"\"},"
                           "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
                           "{\"type\":\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":\"two\"}],\"name\":\"n\"},"
                           "{\"role\":\"assistant\",\"content\":\"\\u00e9\",\"tool_calls\":[]}]}",
                           &r, &error),
                     0);
    assert_int_equal(r.n_messages, 3);
    assert_string_equal(r.messages[0].role, "system");
    assert_int_equal(r.messages[0].content_length, 0);
    assert_int_equal(r.messages[1].content_length, 8);
    assert_memory_equal(r.messages[1].content, "one\n\ntwo", 8);
    assert_int_equal(r.messages[2].content_length, 2);
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", &r, &error), 0);
    assert_int_equal(r.messages[0].content_length, 0);
    completion_request_free(&r);
}

static void tools(void **state)
{
    (void)state;
    struct completion_request r;
    struct api_error error;
    assert_int_equal(
        parse(REQUEST_CHAT,
              "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":null,"
              "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
              "\"{\\\"a\\\": 1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"3\"}],"
              "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"parallel_tool_calls\":false,"
              "\"reasoning_effort\":\"low\",\"enable_thinking\":true,\"chat_template_kwargs\":{\"x\":1}}",
              &r, &error),
        0);
    assert_true(r.one_call && r.tool_choice == TOOL_CHOICE_AUTO && json_array_size(r.tools) == 1);
    const char *const given[] = {"tools", "reasoning_effort", "enable_thinking", "x"};
    for (size_t i = 0; i < 4; i++) assert_non_null(json_object_get(r.template_variables, given[i]));
    assert_null(r.messages[1].content);
    const json_t *call = json_array_get(json_object_get(r.messages[1].json, "tool_calls"), 0);
    assert_true(json_is_object(json_object_get(json_object_get(call, "function"), "arguments")));
    assert_non_null(json_object_get(r.messages[2].json, "tool_call_id"));
    request_keep_arguments(&r);
    call = json_array_get(json_object_get(r.messages[1].json, "tool_calls"), 0);
    assert_true(json_is_string(json_object_get(json_object_get(call, "function"), "arguments")));
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_CHAT,
                           CHAT_WITH(",\"tools\":[{\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"none\""), &r,
                           &error),
                     0);
    assert_true(!r.tools && !json_object_get(r.template_variables, "tools"));
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_CHAT,
                           CHAT_WITH(",\"tools\":[{\"function\":{\"name\":\"f\",\"strict\":true}}],"
                                     "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
                           &r, &error),
                     0);
    assert_int_equal(r.tool_choice, TOOL_CHOICE_NAMED);
    assert_string_equal(r.tool_name, "f");
    completion_request_free(&r);
}

static void wrong_messages(void **state)
{
    (void)state;
    refuses(REQUEST_CHAT, "{}", "messages");
    refuses(REQUEST_CHAT, "{\"messages\":null}", "messages");
    refuses(REQUEST_CHAT, "{\"messages\":\"hi\"}", "messages");
    refuses(REQUEST_CHAT, "{\"messages\":[]}", "messages");
    refuses(REQUEST_CHAT, "{\"messages\":[\"hi\"]}", "messages");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"content\":\"x\"}]}", "messages[0].role");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}", "messages[0].role");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":{}}]}", "messages[0].content");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"user\",\"content\":1}]}",
            "messages[1].content");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
            "messages[0].content");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
            "messages[0].content");
    refuses(REQUEST_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]}]}",
            "messages[0].tool_calls");
}

static void too_many_messages(void **state)
{
    (void)state;
    static const char one[] = "{\"role\":\"user\",\"content\":\"x\"},";
    const size_t count = REQUEST_MAX_MESSAGES + 1, length = sizeof one - 1;
    char *body = malloc(count * length + 32), *to = body;
    assert_non_null(body);
    to += snprintf(to, 32, "{\"messages\":[");
    for (size_t i = 0; i < count; i++, to += length) memcpy(to, one, length);
    memcpy(to - 1, "]}", 3);
    refuses(REQUEST_CHAT, body, "messages");
    free(body);
}

static void prompts(void **state)
{
    (void)state;
    static const char *const wrong[] = {"null",         "1",         "true",         "{}",   "[]",
                                        "[[]]",         "[1,\"x\"]", "[1.5]",        "[-1]", "[true]",
                                        "[4294967296]", "[[1],[2]]", "[\"a\",\"b\"]"};
    struct completion_request r;
    struct api_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"prompt\":%s}", wrong[i]);
        refuses(REQUEST_COMPLETION, body, "prompt");
    }
    refuses(REQUEST_COMPLETION, "{}", "prompt");
    assert_int_equal(parse(REQUEST_COMPLETION, "{\"prompt\":[0,4294967295]}", &r, &error), 0);
    assert_true(!r.prompt && r.n_prompt_tokens == 2 && r.prompt_tokens[1] == UINT32_MAX);
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_COMPLETION, "{\"prompt\":[[7]]}", &r, &error), 0);
    assert_true(r.n_prompt_tokens == 1 && r.prompt_tokens[0] == 7);
    completion_request_free(&r);
    assert_int_equal(parse(REQUEST_COMPLETION, "{\"prompt\":[\"abc\"]}", &r, &error), 0);
    assert_int_equal(r.prompt_length, 3);
    completion_request_free(&r);
}

static void broken_json(void **state)
{
    (void)state;
    static const char *const bodies[] = {"",
                                         "{",
                                         "[]",
                                         "\"x\"",
                                         "1",
                                         "{\"a\":}",
                                         "{\"a\":1,\"a\":2}",
                                         "{} {}",
                                         "{\"a\":\"\\u0000\"}",
                                         "{\"a\":\"\xff\"}",
                                         "{\"a\":\"\\ud800\"}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) refuses(REQUEST_CHAT, bodies[i], NULL);
    struct api_error error;
    assert_null(request_json("{\"a\":\n 1 2}", 11, &error));
    assert_non_null(strstr(error.message, "line 2"));
    assert_null(request_json("{\"a\":\"x\0y\"}", 11, &error));
}

static void depth(void **state)
{
    (void)state;
    char body[4 * REQUEST_MAX_DEPTH + 32];
    struct api_error error;
    for (int extra = 0; extra <= 1; extra++) {
        int levels = REQUEST_MAX_DEPTH - 1 + extra; /* and the object around */
        int length = snprintf(body, sizeof body, "{\"a\":");
        for (int i = 0; i < levels; i++) body[length++] = '[';
        for (int i = 0; i < levels; i++) body[length++] = ']';
        body[length++] = '}';
        json_t *root = request_json(body, (size_t)length, &error);
        if (extra) {
            assert_null(root);
            assert_non_null(strstr(error.message, "deep"));
        } else {
            assert_non_null(root);
            json_decref(root);
        }
    }
    static const char text[] =
        "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}";
    json_t *root = request_json(text, sizeof text - 1, &error); /* brackets in a text are no depth */
    assert_non_null(root);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_field),
        cmocka_unit_test(null_is_absent),
        cmocka_unit_test(limits_of_tokens),
        cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(too_many_stops),
        cmocka_unit_test(unsupported_is_not_ignored),
        cmocka_unit_test(messages),
        cmocka_unit_test(tools),
        cmocka_unit_test(wrong_messages),
        cmocka_unit_test(too_many_messages),
        cmocka_unit_test(prompts),
        cmocka_unit_test(broken_json),
        cmocka_unit_test(depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
