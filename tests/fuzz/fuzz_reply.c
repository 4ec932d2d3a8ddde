/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an answer in one of the dialects: the first byte chooses it, the second how the rest is cut. However it is cut the
 * events are the same; calls that were said to be whole have arguments that are a JSON object.
 */
#include "host/text/reply.h"
#include "host/text/reply_json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right) abort();
}

struct heard {
    struct text all, arguments;
    int last;
};

static void add(struct text *text, const char *bytes, size_t length)
{
    struct error err = {0};
    check(text_append(text, bytes, length, &err) == 0);
}

static void on_event(void *context, const struct reply_event *event)
{
    struct heard *heard = context;
    const char kind = (char)event->kind;
    if (heard->last != (int)event->kind) add(&heard->all, &kind, 1);
    heard->last = (int)event->kind;
    add(&heard->all, event->bytes, event->length);
    if (event->kind == REPLY_CALL_START) {
        check(event->length > 0 && event->id[0]);
        heard->arguments.length = 0;
    }
    if (event->kind == REPLY_CALL_ARGUMENTS) add(&heard->arguments, event->bytes, event->length);
    if (event->kind == REPLY_CALL_END) {
        struct json_scan scan;
        enum json_scan_result result = JSON_SCAN_MORE;
        json_scan_start(&scan);
        for (size_t i = 0; i < heard->arguments.length; i++) {
            check(result == JSON_SCAN_MORE || strchr(" \t\r\n", heard->arguments.bytes[i]));
            if (result == JSON_SCAN_MORE) result = json_scan_byte(&scan, heard->arguments.bytes[i]);
        }
        check(result == JSON_SCAN_DONE && strchr(heard->arguments.bytes, '{'));
    }
}

#define DSML "\xef\xbd\x9c\x44SML\xef\xbd\x9c"
#define BEGIN "<\xef\xbd\x9ctool\xe2\x96\x81\x63\x61ll\xe2\x96\x81\x62\x65gin\xef\xbd\x9c>"
static const char *const templates[] = {
    "<think></think><tool_call>",
    "<tool_call><function=<parameter=",
    "<think></think><tool_call><arg_key>",
    "<|start_header_id|>\"parameters\": ",
    "[TOOL_CALLS][/THINK]",
    "<|END_THINKING|><|START_ACTION|>",
    "<|tool_calls_section_begin|>",
    BEGIN "```json",
    BEGIN,
    "<" DSML "invoke>",
    "<|channel|><|message|>",
    "<TOOLCALL>",
    "<function=</function>",
    "<|tool_call:begin|>",
    "<|tool_list_start|>",
    "<|tool_call>call:",
    "<|tools_prefix|>",
    "<tool_call{}><arg_key{}>:opensource",
    "minimax:tool_call<parameter name=",
    "<|/tool|>",
};

static void hear(const struct reply_dialect *dialect, const json_t *tools, const uint8_t *data, size_t size,
                 size_t piece, struct heard *heard)
{
    *heard = (struct heard){.last = -1};
    struct reply_options options = {.tools = tools, .seed = 1, .event = on_event, .context = heard};
    struct reply *reply = reply_open(dialect, &options);
    check(reply != NULL);
    for (size_t at = 0; at < size; at += piece)
        check(reply_feed(reply, (const char *)data + at, piece < size - at ? piece : size - at) == 0);
    check(reply_end(reply) == 0);
    reply_close(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reply_dialect dialect;
    struct heard whole, cut;
    if (size < 2) return 0;
    const char *template = templates[data[0] % (sizeof templates / sizeof templates[0])];
    reply_dialect_of(template, strlen(template), &dialect);
    json_t *tools =
        json_loads("[{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"properties\":{\"s\":{"
                   "\"type\":\"string\"}}}}}]",
                   0, NULL);
    check(tools != NULL);
    hear(&dialect, tools, data + 2, size - 2, size, &whole);
    hear(&dialect, tools, data + 2, size - 2, 1 + data[1] % 8, &cut);
    check(whole.all.length == cut.all.length &&
          (whole.all.length == 0 || memcmp(whole.all.bytes, cut.all.bytes, whole.all.length) == 0));
    text_free(&whole.all);
    text_free(&whole.arguments);
    text_free(&cut.all);
    text_free(&cut.arguments);
    json_decref(tools);
    return 0;
}
