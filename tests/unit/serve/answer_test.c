/* SPDX-License-Identifier: Apache-2.0 */
/* Answer objects, event framing, error objects, and the JSON writer under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/answer.h"

#include <stdlib.h>
#include <string.h>

static const struct answer_identity chat = {.kind = REQUEST_CHAT,
                                            .format = &answer_chats,
                                            .id = "chatcmpl-1",
                                            .created = 1700000000,
                                            .model = "a \"model\"",
                                            .with_usage = true};
static const struct answer_identity text = {
    .kind = REQUEST_COMPLETION, .format = &answer_completions, .id = "cmpl-1", .created = 5, .model = "m"};

static json_t *parse(const char *bytes, size_t length)
{
    json_error_t error;
    json_t *value = json_loadb(bytes, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!value) fail_msg("not JSON: %s: %.*s", error.text, (int)length, bytes);
    return value;
}

/* The JSON of out, which is exactly one event; out is cleared. */
static json_t *one_event(struct json_out *out)
{
    assert_false(out->failed);
    assert_true(out->length > 8);
    assert_memory_equal(out->bytes, "data: ", 6);
    assert_memory_equal(out->bytes + out->length - 2, "\n\n", 2);
    assert_ptr_equal(memchr(out->bytes, '\n', out->length), out->bytes + out->length - 2);
    json_t *value = parse(out->bytes + 6, out->length - 8);
    json_out_clear(out);
    return value;
}

static const char *get_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static const json_t *choice_of(const json_t *event) { return json_array_get(json_object_get(event, "choices"), 0); }

static void strings(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\r\t\x01\x1f\x7f", "\"\\n\\r\\t\\u0001\\u001f\\u007f\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b\xc3",
         "\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd\""},
        {"\xed\xa0\x80x", NULL},
    };
    struct json_out out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_out_clear(&out);
        json_out_string(&out, cases[i].bytes, strlen(cases[i].bytes));
        json_decref(parse(out.bytes, out.length));
        if (!cases[i].json) continue;
        assert_int_equal(out.length, strlen(cases[i].json));
        assert_memory_equal(out.bytes, cases[i].json, out.length);
    }
    json_out_free(&out);
}

static void every_byte_pair_gives_json(void **state)
{
    (void)state;
    struct json_out out = {0};
    for (unsigned pair = 0; pair < 65536; pair++) {
        const char bytes[3] = {(char)(pair >> 8), (char)pair, 'x'};
        json_out_clear(&out);
        json_out_string(&out, bytes, 3);
        if (memchr(bytes, 0, 2)) {
            assert_non_null(memmem(out.bytes, out.length, "\\u0000", 6));
            continue;
        }
        json_decref(parse(out.bytes, out.length));
    }
    json_out_free(&out);
}

static void whole_chat(void **state)
{
    (void)state;
    const struct answer_choice choices[] = {{.text = "one\n", .length = 4, .finish_reason = "stop"},
                                            {.finish_reason = "length"}};
    struct json_out out = {0};
    chat.format->whole(&chat, choices, 2,
                       &(struct answer_usage){.prompt_tokens = 3, .completion_tokens = 4, .cached_tokens = 2}, &out);
    json_t *answer = parse(out.bytes, out.length);
    assert_string_equal(get_text(answer, "object"), "chat.completion");
    assert_string_equal(get_text(answer, "id"), "chatcmpl-1");
    assert_string_equal(get_text(answer, "model"), "a \"model\"");
    assert_int_equal(json_integer_value(json_object_get(answer, "created")), 1700000000);
    json_t *list = json_object_get(answer, "choices");
    assert_int_equal(json_array_size(list), 2);
    json_t *message = json_object_get(json_array_get(list, 0), "message");
    assert_string_equal(get_text(message, "content"), "one\n");
    assert_string_equal(get_text(message, "role"), "assistant");
    assert_string_equal(get_text(json_array_get(list, 1), "finish_reason"), "length");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "index")), 1);
    json_t *usage = json_object_get(answer, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")), 3);
    assert_int_equal(json_integer_value(json_object_get(usage, "total_tokens")), 7);
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    assert_int_equal(json_integer_value(json_object_get(details, "cached_tokens")), 2);
    json_decref(answer);
    json_out_free(&out);
}

static void whole_completion(void **state)
{
    (void)state;
    struct json_out out = {0};
    text.format->whole(&text, &(struct answer_choice){.text = "abc", .length = 3, .finish_reason = "length"}, 1,
                       &(struct answer_usage){.prompt_tokens = 1, .completion_tokens = 1}, &out);
    json_t *answer = parse(out.bytes, out.length);
    assert_string_equal(get_text(answer, "object"), "text_completion");
    assert_string_equal(get_text(choice_of(answer), "text"), "abc");
    assert_true(json_is_null(json_object_get(choice_of(answer), "logprobs")));
    json_decref(answer);
    json_out_free(&out);
}

static void chat_events(void **state)
{
    (void)state;
    struct json_out out = {0};
    chat.format->start(&chat, 2, &out);
    json_t *event = one_event(&out);
    assert_string_equal(get_text(event, "object"), "chat.completion.chunk");
    assert_string_equal(get_text(json_object_get(choice_of(event), "delta"), "role"), "assistant");
    assert_int_equal(json_integer_value(json_object_get(choice_of(event), "index")), 2);
    assert_true(json_is_null(json_object_get(event, "usage")));
    json_decref(event);
    chat.format->text(&chat, 0, "a\nb", 3, NULL, &out);
    event = one_event(&out);
    assert_string_equal(get_text(json_object_get(choice_of(event), "delta"), "content"), "a\nb");
    assert_true(json_is_null(json_object_get(choice_of(event), "finish_reason")));
    json_decref(event);
    chat.format->finish(&chat, 0, "stop", &out);
    event = one_event(&out);
    assert_string_equal(get_text(choice_of(event), "finish_reason"), "stop");
    assert_int_equal(json_object_size(json_object_get(choice_of(event), "delta")), 0);
    json_decref(event);
    chat.format->end(&chat, &(struct answer_usage){.prompt_tokens = 1, .completion_tokens = 2}, &out);
    static const char done[] = "data: [DONE]\n\n";
    assert_true(out.length > sizeof done - 1);
    out.length -= sizeof done - 1;
    assert_memory_equal(out.bytes + out.length, done, sizeof done - 1);
    event = one_event(&out);
    assert_int_equal(json_array_size(json_object_get(event, "choices")), 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(event, "usage"), "completion_tokens")), 2);
    json_decref(event);
    json_out_free(&out);
}

static void completion_events(void **state)
{
    (void)state;
    struct json_out out = {0};
    text.format->start(&text, 0, &out);
    assert_int_equal(out.length, 0);
    text.format->text(&text, 0, "x", 1, NULL, &out);
    json_t *event = one_event(&out);
    assert_string_equal(get_text(choice_of(event), "text"), "x");
    assert_null(json_object_get(event, "usage"));
    json_decref(event);
    text.format->finish(&text, 0, "length", &out);
    event = one_event(&out);
    assert_string_equal(get_text(choice_of(event), "text"), "");
    assert_string_equal(get_text(choice_of(event), "finish_reason"), "length");
    json_decref(event);
    json_out_free(&out);
}

static void errors(void **state)
{
    (void)state;
    struct api_error error;
    struct json_out out = {0};
    assert_int_equal(api_error_set(&error, 400, "bad", "n", "wrong \"%s\"", "x\xff"), -1);
    chat.format->error(&chat, &error, &out);
    json_t *event = one_event(&out);
    json_t *object = json_object_get(event, "error");
    assert_string_equal(get_text(object, "message"), "wrong \"x\xef\xbf\xbd\"");
    assert_string_equal(get_text(object, "type"), "invalid_request_error");
    assert_string_equal(get_text(object, "param"), "n");
    assert_string_equal(get_text(object, "code"), "bad");
    json_decref(event);
    api_error_set(&error, 503, NULL, NULL, "later");
    api_error_write(&error, &out);
    object = parse(out.bytes, out.length);
    assert_true(json_is_null(json_object_get(json_object_get(object, "error"), "param")));
    assert_true(json_is_null(json_object_get(json_object_get(object, "error"), "code")));
    json_decref(object);
    json_out_free(&out);
    assert_string_equal(api_error_type(404), "invalid_request_error");
    assert_string_equal(api_error_type(429), "rate_limit_error");
    assert_string_equal(api_error_type(503), "server_error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),     cmocka_unit_test(every_byte_pair_gives_json),
        cmocka_unit_test(whole_chat),  cmocka_unit_test(whole_completion),
        cmocka_unit_test(chat_events), cmocka_unit_test(completion_events),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
