/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and responses, whole and as streams: reasoning, text, a call, a call that breaks, and how they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/answer_items.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct answer_usage usage = {
    .prompt_tokens = 9, .completion_tokens = 7, .cached_tokens = 4, .reasoning_tokens = 2};

static struct answer_identity identity_of(const struct answer_format *format, bool streams)
{
    struct answer_identity identity = {
        .kind = REQUEST_CHAT, .format = format, .id = "resp_0123456789abcdef01234567", .model = "m"};
    identity.items = answer_items_new(streams, 9, "{\"store\":false}");
    assert_non_null(identity.items);
    return identity;
}

/* What a model says that thinks, talks, calls, breaks a call and talks again. */
static void say_all(const struct answer_identity *identity, const char *finish_reason, struct json_out *out)
{
    const struct answer_format *f = identity->format;
    f->start(identity, 0, out);
    f->reasoning(identity, 0, "Hm", 2, out);
    f->reasoning(identity, 0, "m.", 2, out);
    f->text(identity, 0, "I \"look\".", 9, NULL, out);
    f->call_start(identity, 0, 0, "c1", "look", 4, out);
    f->call_arguments(identity, 0, 0, "{\"at\":", 6, out);
    f->call_arguments(identity, 0, 0, "1}", 2, out);
    f->call_end(identity, 0, true, out);
    f->call_start(identity, 0, 1, "c2", "look", 4, out);
    f->call_arguments(identity, 0, 1, "{\"a", 3, out);
    f->call_end(identity, 0, false, out);
    f->text(identity, 0, "{\"a", 3, NULL, out);
    f->text(identity, 0, " end", 4, NULL, out);
    f->finish(identity, 0, finish_reason, out);
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* The data of each event, in an array; its name is what its type says. */
static json_t *events_of(struct json_out *out)
{
    json_t *events = json_array();
    json_out_raw(out, "", 1);
    for (char *at = out->bytes; *at;) {
        char *data = strstr(at, "\ndata: "), *end = strstr(at, "\n\n");
        assert_true(strncmp(at, "event: ", 7) == 0 && data && end && data < end);
        json_t *event = json_loadb(data + 7, (size_t)(end - data - 7), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(event);
        assert_int_equal(strlen(text_of(event, "type")), data - at - 7);
        assert_memory_equal(text_of(event, "type"), at + 7, (size_t)(data - at - 7));
        json_array_append_new(events, event);
        at = end + 2;
    }
    json_out_free(out);
    return events;
}

static void types_are(const json_t *events, const char *const *types, size_t count)
{
    assert_int_equal(json_array_size(events), count);
    for (size_t i = 0; i < count; i++) assert_string_equal(text_of(json_array_get(events, i), "type"), types[i]);
}
#define TYPES_ARE(events, types) types_are(events, types, sizeof(types) / sizeof *(types))

static json_t *whole(const struct answer_identity *identity)
{
    struct json_out out = {0};
    identity->format->whole(identity, NULL, 0, &usage, &out);
    assert_false(out.failed);
    json_t *object = json_loadb(out.bytes, out.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    json_out_free(&out);
    return object;
}

static void is_json(const json_t *got, const char *expected)
{
    json_t *wanted = json_loads(expected, JSON_DECODE_ANY, NULL);
    char *text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!json_equal(got, wanted)) fail_msg("got %s, expected %s", text, expected);
    free(text);
    json_decref(wanted);
}

#define BLOCKS                                                                                                         \
    "[{\"type\":\"thinking\",\"thinking\":\"Hmm.\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"I "               \
    "\\\"look\\\".\"},"                                                                                                \
    "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"look\",\"input\":{\"at\":1}},{\"type\":\"text\",\"text\":\"{"     \
    "\\\"a end\"}]"

static void a_whole_message(void **state)
{
    (void)state;
    struct answer_identity identity = identity_of(&answer_messages, false);
    struct json_out out = {0};
    say_all(&identity, "tool_calls", &out);
    assert_int_equal(out.length, 0);
    json_t *message = whole(&identity);
    is_json(json_object_get(message, "content"), BLOCKS);
    assert_string_equal(text_of(message, "stop_reason"), "tool_use");
    assert_true(json_is_null(json_object_get(message, "stop_sequence")));
    is_json(json_object_get(message, "usage"), "{\"input_tokens\":5,\"cache_creation_input_tokens\":0,"
                                               "\"cache_read_input_tokens\":4,\"output_tokens\":7}");
    json_decref(message);
    answer_items_free(identity.items);
}

static void a_streamed_message(void **state)
{
    (void)state;
    static const char *const types[] = {"message_start",       "content_block_start", "content_block_delta",
                                        "content_block_delta", "content_block_stop",  "content_block_start",
                                        "content_block_delta", "content_block_stop",  "content_block_start",
                                        "content_block_delta", "content_block_stop",  "content_block_start",
                                        "content_block_delta", "content_block_delta", "content_block_stop",
                                        "message_delta",       "message_stop"};
    struct answer_identity identity = identity_of(&answer_messages, true);
    struct json_out out = {0};
    say_all(&identity, "stop", &out);
    identity.items->stop_string = "###";
    identity.format->end(&identity, &usage, &out);
    json_t *events = events_of(&out);
    TYPES_ARE(events, types);
    is_json(json_object_get(json_array_get(events, 9), "delta"),
            "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"at\\\":1}\"}");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(events, 13), "index")), 3);
    is_json(json_object_get(json_array_get(events, 15), "delta"),
            "{\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"###\"}");
    json_decref(events);
    json_t *message = whole(&identity);
    is_json(json_object_get(message, "content"), BLOCKS);
    json_decref(message);
    answer_items_free(identity.items);
}

#define RS "rs_0123456789abcdef01234567_0"
#define OUTPUT(last)                                                                                                   \
    "[{\"id\":\"" RS "\",\"type\":\"reasoning\",\"status\":\"completed\",\"summary\":[],"                              \
    "\"content\":[{\"type\":\"reasoning_text\",\"text\":\"Hmm.\"}]},"                                                  \
    "{\"id\":\"msg_0123456789abcdef01234567_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\"," \
    "\"content\":[{\"type\":\"output_text\",\"text\":\"I \\\"look\\\".\",\"annotations\":[],\"logprobs\":[]}]},"       \
    "{\"id\":\"fc_0123456789abcdef01234567_2\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":"       \
    "\"c1\","                                                                                                          \
    "\"name\":\"look\",\"arguments\":\"{\\\"at\\\":1}\"},"                                                             \
    "{\"id\":\"msg_0123456789abcdef01234567_3\",\"type\":\"message\",\"status\":\"" last "\",\"role\":\"assistant\","  \
    "\"content\":[{\"type\":\"output_text\",\"text\":\"{\\\"a end\",\"annotations\":[],\"logprobs\":[]}]}]"

static void a_whole_response(void **state)
{
    (void)state;
    struct answer_identity identity = identity_of(&answer_responses, false);
    struct json_out out = {0};
    say_all(&identity, "length", &out);
    assert_int_equal(out.length, 0);
    json_t *response = whole(&identity);
    is_json(json_object_get(response, "output"), OUTPUT("incomplete"));
    assert_string_equal(text_of(response, "status"), "incomplete");
    is_json(json_object_get(response, "incomplete_details"), "{\"reason\":\"max_output_tokens\"}");
    is_json(json_object_get(response, "usage"),
            "{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":7,"
            "\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":16}");
    assert_true(json_is_false(json_object_get(response, "store")));
    json_decref(response);
    answer_items_free(identity.items);
}

static void a_streamed_response(void **state)
{
    (void)state;
    static const char *const types[] = {"response.created",
                                        "response.in_progress",
                                        /* reasoning */ "response.output_item.added",
                                        "response.content_part.added",
                                        "response.reasoning_text.delta",
                                        "response.reasoning_text.delta",
                                        "response.reasoning_text.done",
                                        "response.content_part.done",
                                        "response.output_item.done",
                                        /* text */ "response.output_item.added",
                                        "response.content_part.added",
                                        "response.output_text.delta",
                                        "response.output_text.done",
                                        "response.content_part.done",
                                        "response.output_item.done",
                                        /* call */ "response.output_item.added",
                                        "response.function_call_arguments.delta",
                                        "response.function_call_arguments.done",
                                        "response.output_item.done",
                                        /* text */ "response.output_item.added",
                                        "response.content_part.added",
                                        "response.output_text.delta",
                                        "response.output_text.delta",
                                        "response.output_text.done",
                                        "response.content_part.done",
                                        "response.output_item.done",
                                        "response.completed"};
    struct answer_identity identity = identity_of(&answer_responses, true);
    struct json_out out = {0};
    say_all(&identity, "tool_calls", &out);
    identity.format->end(&identity, &usage, &out);
    json_t *events = events_of(&out), *event;
    size_t i;
    TYPES_ARE(events, types);
    json_array_foreach(events, i, event)
    {
        assert_int_equal(json_integer_value(json_object_get(event, "sequence_number")), i);
    }
    is_json(json_object_get(json_object_get(json_array_get(events, 0), "response"), "output"), "[]");
    is_json(json_object_get(json_object_get(json_array_get(events, 26), "response"), "output"), OUTPUT("completed"));
    assert_string_equal(text_of(json_array_get(events, 4), "item_id"), RS);
    json_decref(events);
    answer_items_free(identity.items);
}

static void an_error_in_a_stream(void **state)
{
    (void)state;
    static const struct answer_format *const formats[] = {&answer_messages, &answer_responses};
    for (size_t i = 0; i < 2; i++) {
        struct answer_identity identity = identity_of(formats[i], true);
        struct api_error error;
        struct json_out out = {0};
        api_error_set(&error, 500, "engine_error", NULL, "the card is gone");
        identity.format->error(&identity, &error, &out);
        json_t *events = events_of(&out);
        assert_int_equal(json_array_size(events), 1);
        assert_string_equal(text_of(json_array_get(events, 0), "type"), "error");
        assert_string_equal(text_of(json_object_get(json_array_get(events, 0), "error"), "message"),
                            "the card is gone");
        json_decref(events);
        answer_items_free(identity.items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_message),      cmocka_unit_test(a_streamed_message),
        cmocka_unit_test(a_whole_response),     cmocka_unit_test(a_streamed_response),
        cmocka_unit_test(an_error_in_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
