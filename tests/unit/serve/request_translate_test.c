/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of /v1/messages and /v1/responses become the chats that are written beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/answer_items.h"
#include "host/serve/request.h"

#include <string.h>

static int parse(enum request_kind kind, const char *body, struct completion_request *out, struct api_error *error)
{
    return completion_request_parse(kind, body, strlen(body), out, error);
}

/* The request that body becomes; of its root the member is compared with the JSON that is expected (NULL: it is absent). */
static void becomes(enum request_kind kind, const char *body, const char *member, const char *expected)
{
    struct completion_request request;
    struct api_error error = {0};
    if (parse(kind, body, &request, &error) < 0) fail_msg("%s: %s", body, error.message);
    assert_int_equal(request.kind, REQUEST_CHAT);
    assert_ptr_equal(request.format, kind == REQUEST_RESPONSES ? &answer_responses : &answer_messages);
    const json_t *got = json_object_get(request.root, member);
    json_t *wanted = expected ? json_loads(expected, JSON_DECODE_ANY, NULL) : NULL;
    if (!json_equal(got, wanted) && (got || wanted)) {
        char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
        fail_msg("%s: \"%s\" became %s", body, member, text ? text : "nothing");
    }
    json_decref(wanted);
    completion_request_free(&request);
}

/* Refused with 400, and the error names param. */
static void refuses(enum request_kind kind, const char *body, const char *param)
{
    struct completion_request request;
    struct api_error error = {0};
    if (parse(kind, body, &request, &error) == 0) fail_msg("taken: %s", body);
    assert_int_equal(error.status, 400);
    if (strcmp(error.param, param) != 0) fail_msg("%s: blames \"%s\"", body, error.param);
}

#define MESSAGES(list, more) "{\"max_tokens\":9,\"messages\":[" list "]" more "}"
#define HI "{\"role\":\"user\",\"content\":\"hi\"}"

static void messages(void **state)
{
    (void)state;
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"system\":\"be brief\""), "messages",
            "[{\"role\":\"system\",\"content\":\"be brief\"}," HI "]");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{}}]"),
            "messages", "[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}," HI "]");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"stop_sequences\":[\"x\"]"), "stop", "[\"x\"]");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"stop\":[\"x\"],\"n\":3"), "stop", NULL);
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"n\":3"), "n", NULL);
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"temperature\":0.25"), "temperature", "0.25");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"thinking\":{\"type\":\"disabled\"}"), "enable_thinking", "false");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":99}"),
            "enable_thinking", "true");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"output_config\":{\"effort\":\"low\"}"), "reasoning_effort", "\"low\"");
    becomes(REQUEST_COUNT, "{\"messages\":[" HI "]}", "messages", "[" HI "]");
}

static void tools_of_messages(void **state)
{
    (void)state;
    static const char use[] = MESSAGES(
        HI ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"Hm\",\"signature\":\"\"},"
           "{\"type\":\"text\",\"text\":\"I "
           "look.\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"look\",\"input\":{\"at\":1}}]},"
           "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"two\"},"
           "{\"type\":\"text\",\"text\":\"and?\"}]}",
        "");
    becomes(
        REQUEST_MESSAGES, use, "messages",
        "[" HI
        ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"I look.\"}],\"reasoning_content\":\"Hm\","
        "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{"
        "\\\"at\\\":1}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"two\",\"tool_call_id\":\"c1\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"and?\"}]}]");
    /* A call alone leaves no content, a result alone no words of the user's. */
    becomes(
        REQUEST_MESSAGES,
        MESSAGES(
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}]},"
            "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c\"}]}",
            ""),
        "messages",
        "[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
        "{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"content\":\"\",\"tool_call_id\":\"c\"}]");
    becomes(REQUEST_MESSAGES,
            MESSAGES(HI, ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}]"),
            "tools",
            "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":"
            "\"object\"}}}]");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true}"),
            "parallel_tool_calls", "false");
    becomes(REQUEST_MESSAGES, MESSAGES(HI, ",\"tool_choice\":{\"type\":\"none\"}"), "tool_choice", "\"none\"");
}

static void bad_messages(void **state)
{
    (void)state;
    refuses(REQUEST_MESSAGES, "{\"messages\":[" HI "]}", "max_tokens");
    refuses(REQUEST_MESSAGES, "{\"max_tokens\":1}", "messages");
    refuses(REQUEST_MESSAGES, MESSAGES("", ""), "messages");
    refuses(REQUEST_MESSAGES, MESSAGES("5", ""), "messages[0].role");
    refuses(REQUEST_MESSAGES, MESSAGES("{\"role\":\"user\"}", ""), "messages[0].content");
    refuses(REQUEST_MESSAGES, MESSAGES(HI ",{\"role\":\"user\",\"content\":[5]}", ""), "messages[1].content");
    refuses(REQUEST_MESSAGES, MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"tool_use\"}]}", ""),
            "messages[0].content");
    refuses(REQUEST_MESSAGES, MESSAGES("{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\"}]}", ""),
            "messages[0].content");
    refuses(REQUEST_MESSAGES, MESSAGES("{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}", ""),
            "messages[0].content");
    refuses(REQUEST_MESSAGES, MESSAGES(HI, ",\"system\":[{\"type\":\"image\"}]"), "system");
    refuses(REQUEST_MESSAGES, MESSAGES(HI, ",\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]"),
            "tools[0].type");
    refuses(REQUEST_MESSAGES, MESSAGES(HI, ",\"tools\":[{}]"), "tools[0].name");
    refuses(REQUEST_MESSAGES, MESSAGES(HI, ",\"tool_choice\":{\"type\":\"tool\"}"), "tool_choice");
    refuses(REQUEST_MESSAGES, MESSAGES(HI, ",\"output_config\":{\"format\":{}}"), "output_config.format");
}

static void responses(void **state)
{
    (void)state;
    becomes(REQUEST_RESPONSES, "{\"input\":\"hi\"}", "messages", "[" HI "]");
    becomes(REQUEST_RESPONSES, "{\"input\":\"hi\",\"instructions\":\"be brief\"}", "messages",
            "[{\"role\":\"system\",\"content\":\"be brief\"}," HI "]");
    becomes(REQUEST_RESPONSES, "{\"input\":\"hi\",\"max_output_tokens\":5}", "max_tokens", "5");
    becomes(REQUEST_RESPONSES, "{\"input\":\"hi\",\"reasoning\":{\"effort\":\"high\"}}", "reasoning_effort",
            "\"high\"");
    becomes(REQUEST_RESPONSES,
            "{\"input\":\"hi\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{\"type\":"
            "\"object\"}}}}",
            "response_format",
            "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}}");
    becomes(
        REQUEST_RESPONSES,
        "{\"input\":[" HI
        ",{\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"Hm\"}]},"
        "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"I look.\"}]},"
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"two\"}]}",
        "messages",
        "[" HI
        ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"I look.\"}],\"reasoning_content\":\"Hm\","
        "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"two\",\"tool_call_id\":\"c\"}]");
    becomes(REQUEST_RESPONSES,
            "{\"input\":\"hi\",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{},\"strict\":null}]}",
            "tools", "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]");
}

static void bad_responses(void **state)
{
    (void)state;
    refuses(REQUEST_RESPONSES, "{}", "input");
    refuses(REQUEST_RESPONSES, "{\"input\":5}", "input");
    refuses(REQUEST_RESPONSES, "{\"input\":[5]}", "input[0]");
    refuses(REQUEST_RESPONSES, "{\"input\":[{\"role\":\"judge\",\"content\":\"x\"}]}", "input[0]");
    refuses(REQUEST_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\"}]}]}", "input[0]");
    refuses(REQUEST_RESPONSES, "{\"input\":[{\"type\":\"function_call\",\"name\":\"f\"}]}", "input[0]");
    refuses(REQUEST_RESPONSES, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", "input[0]");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"store\":true}", "store");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"store\":5}", "store");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"previous_response_id\":\"r\"}", "previous_response_id");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"prompt\":{\"id\":\"p\"}}", "prompt");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"include\":[\"message.output_text.logprobs\"]}", "include");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"tools\":[{\"type\":\"mcp\"}]}", "tools[0].type");
    refuses(REQUEST_RESPONSES, "{\"input\":\"hi\",\"tool_choice\":{\"type\":\"file_search\"}}", "tool_choice");
}

static void the_answer_repeats_the_request(void **state)
{
    (void)state;
    struct completion_request request;
    struct api_error error;
    assert_int_equal(
        parse(REQUEST_RESPONSES, "{\"input\":\"hi\",\"metadata\":{\"k\":\"v\"},\"top_p\":0.5}", &request, &error), 0);
    json_t *repeats = json_loads(request.repeats, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json_object_get(repeats, "metadata"), "k")), "v");
    assert_true(json_real_value(json_object_get(repeats, "top_p")) == 0.5);
    assert_true(json_is_null(json_object_get(repeats, "instructions")) &&
                json_is_false(json_object_get(repeats, "store")));
    json_decref(repeats);
    completion_request_free(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),      cmocka_unit_test(tools_of_messages),
        cmocka_unit_test(bad_messages),  cmocka_unit_test(responses),
        cmocka_unit_test(bad_responses), cmocka_unit_test(the_answer_repeats_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
