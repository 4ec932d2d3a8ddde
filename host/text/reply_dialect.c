/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialects, by what the makers' templates write of earlier answers. The order matters: the first of each list whose signs
 * are all in the template is taken.
 */
#include "host/text/reply_internal.h"

#include <string.h>

#define BAR "\xef\xbd\x9c" /* U+FF5C, in the names of DeepSeek's tokens, as U+2581 */
#define LOW "\xe2\x96\x81"
#define CALLS "<" BAR "tool" LOW "calls" LOW
#define CALL "<" BAR "tool" LOW "call" LOW
#define SEPARATOR "<" BAR "tool" LOW "sep" BAR ">"
#define DSML BAR "DSML" BAR

static const struct {
    const char *open, *close;
    const char *sign; /* in the template, where that has not the close itself */
} thinking[] = {
    {"<think>", "</think>", NULL},
    {"[THINK]", "[/THINK]", NULL},
    {"<seed:think>", "</seed:think>", NULL},
    {"<|START_THINKING|>", "<|END_THINKING|>", NULL},
    {"<think:opensource>", "</think:opensource>", "'</think{}>'"},
    {"<mm:think>", "</mm:think>", NULL},
    {"<|inner_prefix|>", "<|inner_suffix|>", NULL},
    {"<|channel>thought", "<channel|>", NULL},
};

static const struct reply_calls calls[] = {
    {.name = "deepseek-r1",
     .signs = {CALL "begin" BAR ">", "```json"},
     .form = CALLS_NAMED,
     .open = CALLS "begin" BAR ">",
     .close = CALLS "end" BAR ">",
     .call_open = CALL "begin" BAR ">function" SEPARATOR,
     .name_end = "\n```json\n",
     .call_close = "```" CALL "end" BAR ">",
     .section = true,
     .controls = {CALLS "begin" BAR ">", CALLS "end" BAR ">", CALL "begin" BAR ">", SEPARATOR, CALL "end" BAR ">"}},
    {.name = "deepseek-v3.1",
     .signs = {CALL "begin" BAR ">"},
     .form = CALLS_NAMED,
     .open = CALLS "begin" BAR ">",
     .close = CALLS "end" BAR ">",
     .call_open = CALL "begin" BAR ">",
     .name_end = SEPARATOR,
     .call_close = CALL "end" BAR ">",
     .section = true},
    {.name = "dsml",
     .signs = {DSML},
     .form = CALLS_XML,
     .open = "<" DSML "tool_calls>",
     .close = "</" DSML "tool_calls>",
     .call_open = "<" DSML "invoke name=\"",
     .name_end = "\">",
     .call_close = "</" DSML "invoke>",
     .key_open = "<" DSML "parameter name=\"",
     .key_end = ">",
     .value_end = "</" DSML "parameter>",
     .controls = {DSML},
     .section = true,
     .typed_keys = true},
    {.name = "kimi",
     .signs = {"<|tool_calls_section_begin|>"},
     .form = CALLS_NAMED,
     .open = "<|tool_calls_section_begin|>",
     .close = "<|tool_calls_section_end|>",
     .call_open = "<|tool_call_begin|>",
     .name_end = "<|tool_call_argument_begin|>",
     .call_close = "<|tool_call_end|>",
     .before_name = "functions\\.",
     .after_name = ":[0-9]{1,3}",
     .section = true},
    {.name = "solar",
     .signs = {"<|tool_call:begin|>"},
     .form = CALLS_NAMED,
     .open = "<|tool_calls|>",
     .call_open = "<|tool_call:begin|>",
     .id_end = "<|tool_call:name|>",
     .name_end = "<|tool_call:args|>",
     .call_close = "<|tool_call:end|>",
     .before_name = "[A-Za-z0-9_-]{1,32}",
     .section = true},
    {.name = "mistral",
     .signs = {"[TOOL_CALLS]", "[ARGS]"},
     .form = CALLS_NAMED,
     .open = "[TOOL_CALLS]",
     .name_end = "[ARGS]",
     .id_start = "[CALL_ID]",
     .short_ids = true},
    {.name = "mistral",
     .signs = {"[TOOL_CALLS]"},
     .form = CALLS_NAMED,
     .open = "[TOOL_CALLS]",
     .name_end = "[ARGS]",
     .id_start = "[CALL_ID]",
     .short_ids = true,
     .listed = true},
    {.name = "command-r",
     .signs = {"<|START_ACTION|>"},
     .form = CALLS_JSON,
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>",
     .name_key = "tool_name",
     .arguments_key = "parameters",
     .before_name = "\"tool_call_id\": \"[0-9]{1,3}\", ",
     .listed = true},
    {.name = "seed",
     .signs = {"<function=", "seed:tool_call"},
     .form = CALLS_XML,
     .open = "<seed:tool_call>",
     .close = "</seed:tool_call>",
     .call_open = "<function=",
     .name_end = ">",
     .call_close = "</function>",
     .key_open = "<parameter=",
     .key_end = ">",
     .value_end = "</parameter>",
     .lines = true},
    {.name = "qwen3-coder",
     .signs = {"<function=", "<parameter=", "<tool_call>"},
     .form = CALLS_XML,
     .open = "<tool_call>",
     .close = "</tool_call>",
     .call_open = "<function=",
     .name_end = ">",
     .call_close = "</function>",
     .key_open = "<parameter=",
     .key_end = ">",
     .value_end = "</parameter>",
     .lines = true},
    {.name = "functionary",
     .signs = {"<function=", "</function>"},
     .form = CALLS_NAMED,
     .open = "<function=",
     .name_end = ">",
     .call_close = "</function>"},
    {.name = "glm",
     .signs = {"<arg_key>", "<tool_call>"},
     .form = CALLS_XML,
     .open = "<tool_call>",
     .call_close = "</tool_call>",
     .key_open = "<arg_key>",
     .key_end = "</arg_key>",
     .value_open = "<arg_value>",
     .value_end = "</arg_value>"},
    {.name = "hunyuan",
     .signs = {"<tool_call{}>", "<arg_key{}>", ":opensource"},
     .form = CALLS_XML,
     .open = "<tool_calls:opensource>",
     .close = "</tool_calls:opensource>",
     .call_open = "<tool_call:opensource>",
     .name_end = "<tool_sep:opensource>",
     .call_close = "</tool_call:opensource>",
     .key_open = "<arg_key:opensource>",
     .key_end = "</arg_key:opensource>",
     .value_open = "<arg_value:opensource>",
     .value_end = "</arg_value:opensource>",
     .section = true},
    {.name = "minimax",
     .signs = {"minimax:tool_call", "<parameter name="},
     .form = CALLS_XML,
     .open = "<minimax:tool_call>",
     .close = "</minimax:tool_call>",
     .call_open = "<invoke name=\"",
     .name_end = "\">",
     .call_close = "</invoke>",
     .key_open = "<parameter name=\"",
     .key_end = "\">",
     .value_end = "</parameter>",
     .section = true},
    {.name = "apertus",
     .signs = {"<|tools_prefix|>"},
     .form = CALLS_JSON,
     .open = "<|tools_prefix|>",
     .close = "<|tools_suffix|>",
     .name_is_key = true,
     .listed = true},
    {.name = "gemma4",
     .signs = {"<|tool_call>call:"},
     .form = CALLS_LITERAL,
     .open = "<|tool_call>call:",
     .name_end = "{",
     .call_close = "<tool_call|>",
     .controls = {"<|tool_call>", "<|\"|>"},
     .unwritten = true},
    {.name = "lfm2",
     .signs = {"<|tool_list_start|>"},
     .form = CALLS_JSON,
     .open = "<|tool_call_start|>",
     .close = "<|tool_call_end|>",
     .python = true,
     .listed = true},
    {.name = "phi4", .signs = {"<|/tool|>"}, .form = CALLS_JSON, .open = "functools", .listed = true},
    {.name = "nemotron",
     .signs = {"<TOOLCALL>"},
     .form = CALLS_JSON,
     .open = "<TOOLCALL>",
     .close = "</TOOLCALL>",
     .listed = true},
    {.name = "tool_calls",
     .signs = {"<tool_calls>["},
     .form = CALLS_JSON,
     .open = "<tool_calls>",
     .close = "</tool_calls>",
     .listed = true},
    {.name = "hermes", .signs = {"<tool_call>"}, .form = CALLS_JSON, .open = "<tool_call>", .close = "</tool_call>"},
    {.name = "tool_calls",
     .signs = {"<tool_calls>"},
     .form = CALLS_JSON,
     .open = "<tool_calls>",
     .close = "</tool_calls>",
     .listed = true},
    {.name = "granite", .signs = {"<|tool_call|>"}, .form = CALLS_JSON, .open = "<|tool_call|>", .listed = true},
    {.name = "gigachat", .signs = {"<|function_call|>"}, .form = CALLS_JSON, .open = "<|function_call|>"},
    {.name = "llama4",
     .signs = {"<|python_start|>"},
     .form = CALLS_JSON,
     .open = "<|python_start|>",
     .close = "<|python_end|>",
     .arguments_key = "parameters",
     .bare = true,
     .python = true},
    {.name = "llama4",
     .signs = {"<|header_start|>", "\"parameters\": "},
     .form = CALLS_JSON,
     .open = "<|python_start|>",
     .close = "<|python_end|>",
     .arguments_key = "parameters",
     .bare = true,
     .python = true},
    {.name = "llama3",
     .signs = {"<|start_header_id|>", "\"parameters\": "},
     .form = CALLS_JSON,
     .open = "<|python_tag|>",
     .arguments_key = "parameters",
     .bare = true},
};

static bool holds(const char *text, size_t length, const char *part)
{
    return length && memmem(text, length, part, strlen(part)) != NULL;
}

void reply_dialect_of(const char *template, size_t length, struct reply_dialect *out)
{
    *out = (struct reply_dialect){0};
    if (holds(template, length, "<|channel|>") && holds(template, length, "<|message|>")) {
        out->channels = true;
        return;
    }
    for (size_t i = 0; i < sizeof thinking / sizeof thinking[0] && !out->think_open; i++) {
        const char *sign = thinking[i].sign;
        if (!holds(template, length, thinking[i].close) && !(sign && holds(template, length, sign))) continue;
        out->think_open = thinking[i].open;
        out->think_close = thinking[i].close;
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0] && !out->calls; i++) {
        bool all = true;
        for (unsigned j = 0; j < 3 && calls[i].signs[j]; j++) all = all && holds(template, length, calls[i].signs[j]);
        if (all) out->calls = &calls[i];
    }
}

void reply_dialect_plain(struct reply_dialect *dialect)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (strcmp(calls[i].name, "hermes") == 0 && !dialect->channels) dialect->calls = &calls[i];
}

const char *reply_dialect_name(const struct reply_dialect *dialect)
{
    if (dialect->channels) return "harmony";
    return dialect->calls ? dialect->calls->name : "none";
}

unsigned reply_markers(const struct reply_dialect *dialect, bool with_calls, const char *markers[REPLY_MAX_MARKERS])
{
    static const char *const channel[] = {"<|channel|>", "<|message|>",   "<|start|>", "<|end|>",
                                          "<|call|>",    "<|constrain|>", "<|return|>"};
    unsigned n = 0;
    if (dialect->channels) {
        for (size_t i = 0; i < sizeof channel / sizeof channel[0]; i++) markers[n++] = channel[i];
        return n;
    }
    if (dialect->think_open) {
        markers[n++] = strcmp(dialect->think_close, "<channel|>") == 0 ? "<|channel>" : dialect->think_open;
        markers[n++] = dialect->think_close;
    }
    const struct reply_calls *c = with_calls ? dialect->calls : NULL;
    if (!c) return n;
    const char *const all[] = {c->open,     c->close,    c->call_open, c->name_end,   c->call_close, c->id_end,
                               c->id_start, c->key_open, c->key_end,   c->value_open, c->value_end};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]) markers[n++] = all[i];
    }
    for (size_t i = 0; i < 5 && c->controls[i]; i++) markers[n++] = c->controls[i];
    return n;
}

bool reply_opens_reasoning(const struct reply_dialect *dialect, const char *prompt, size_t length)
{
    if (!dialect->think_open) return false;
    size_t marker = strlen(dialect->think_open);
    while (length && strchr(" \t\r\n", prompt[length - 1]) && prompt[length - 1]) length--;
    return length >= marker && memcmp(prompt + length - marker, dialect->think_open, marker) == 0;
}
