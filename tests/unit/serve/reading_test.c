/* SPDX-License-Identifier: Apache-2.0 */
/* A chat's text as deltas and as a message, in OpenAI's shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/reading.h"

#include <stdlib.h>
#include <string.h>

static const char template[] = "<think></think><tool_call>";
static const char text[] =
    "<think>Hm.</think>\n\nI look.\n<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"\xc3\xa5\"}}</tool_call>"
    "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
static const struct answer_identity identity = {
    .kind = REQUEST_CHAT, .format = &answer_chats, .id = "chatcmpl-1", .model = "m"};

static struct reading *open_reading(const char *tools)
{
    struct reply_dialect dialect;
    json_t *given = json_loads(tools, 0, NULL);
    reply_dialect_of(template, strlen(template), &dialect);
    const struct reply_options options = {.tools = given, .seed = 3};
    struct reading *reading = reading_open(&dialect, &options, &identity, 1);
    assert_non_null(reading);
    json_decref(given);
    return reading;
}

#define TOOLS "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

static const char *text_at(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_t *message_of(struct reading *reading)
{
    struct answer_choice choice = {.finish_reason = "stop"};
    struct json_out out = {0};
    reading_message(reading, &choice);
    answer_chats.whole(&identity, &choice, 1, &(struct answer_usage){0}, &out);
    assert_false(out.failed);
    json_t *answer = json_loadb(out.bytes, out.length, 0, NULL);
    assert_non_null(answer);
    json_out_free(&out);
    json_t *message = json_incref(json_object_get(json_array_get(json_object_get(answer, "choices"), 0), "message"));
    json_decref(answer);
    return message;
}

static void a_message(void **state)
{
    (void)state;
    struct reading *reading = open_reading(TOOLS);
    assert_int_equal(reading_post(reading, text, strlen(text), true, NULL), 0);
    assert_true(reading_has_calls(reading));
    json_t *message = message_of(reading);
    assert_string_equal(text_at(message, "content"), "I look.");
    assert_string_equal(text_at(message, "reasoning_content"), "Hm.");
    const json_t *calls = json_object_get(message, "tool_calls");
    assert_int_equal(json_array_size(calls), 2);
    const json_t *function = json_object_get(json_array_get(calls, 0), "function");
    assert_string_equal(text_at(function, "name"), "f");
    assert_string_equal(text_at(function, "arguments"), "{\"a\": \"\xc3\xa5\"}");
    assert_string_equal(text_at(json_array_get(calls, 0), "type"), "function");
    assert_string_not_equal(text_at(json_array_get(calls, 0), "id"), text_at(json_array_get(calls, 1), "id"));
    json_decref(message);
    reading_close(reading);
}

static void a_broken_call_is_content(void **state)
{
    (void)state;
    static const char broken[] = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": ";
    struct reading *reading = open_reading(TOOLS);
    assert_int_equal(reading_post(reading, broken, strlen(broken), true, NULL), 0);
    assert_false(reading_has_calls(reading));
    json_t *message = message_of(reading);
    assert_string_equal(text_at(message, "content"), broken);
    assert_null(json_object_get(message, "tool_calls"));
    json_decref(message);
    reading_close(reading);
}

static void add_to(char text_so_far[64], const char *more)
{
    const size_t length = strlen(text_so_far);
    assert_true(length + strlen(more) < 64);
    memcpy(text_so_far + length, more, strlen(more) + 1);
}

/* Adds the deltas of a stream up, as a client does. */
static void deltas(void **state)
{
    (void)state;
    struct reading *reading = open_reading(TOOLS);
    struct json_out out = {0};
    char content[64] = "", reasoning[64] = "", arguments[2][64] = {"", ""};
    unsigned n_ids = 0;
    for (size_t i = 0; i < strlen(text); i += 7) {
        size_t left = strlen(text) - i;
        assert_int_equal(reading_post(reading, text + i, left < 7 ? left : 7, left <= 7, &out), 0);
    }
    json_out_raw(&out, "", 1);
    for (char *event = out.bytes; strncmp(event, "data: ", 6) == 0;) {
        char *end = strstr(event, "\n\n");
        json_t *chunk = json_loadb(event + 6, (size_t)(end - event - 6), 0, NULL);
        const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0),
                     *delta = json_object_get(choice, "delta");
        assert_int_equal(json_integer_value(json_object_get(choice, "index")), 1);
        if (text_at(delta, "content")) add_to(content, text_at(delta, "content"));
        if (text_at(delta, "reasoning_content")) add_to(reasoning, text_at(delta, "reasoning_content"));
        const json_t *call = json_array_get(json_object_get(delta, "tool_calls"), 0);
        if (call) {
            const json_int_t index = json_integer_value(json_object_get(call, "index"));
            assert_true(index == 0 || index == 1);
            if (text_at(call, "id")) n_ids++;
            add_to(arguments[index], text_at(json_object_get(call, "function"), "arguments"));
        }
        json_decref(chunk);
        event = end + 2;
    }
    assert_string_equal(content, "I look.");
    assert_string_equal(reasoning, "Hm.");
    assert_string_equal(arguments[0], "{\"a\": \"\xc3\xa5\"}");
    assert_string_equal(arguments[1], "{}");
    assert_int_equal(n_ids, 2);
    json_out_free(&out);
    reading_close(reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_message), cmocka_unit_test(a_broken_call_is_content),
                                       cmocka_unit_test(deltas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
