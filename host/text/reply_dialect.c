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
} thinking[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<seed:think>", "</seed:think>"},
    {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<think:opensource>", "</think:opensource>"},
    {"<mm:think>", "</mm:think>"},
    {"<|inner_prefix|>", "<|inner_suffix|>"},
    {"<|channel>thought", "<channel|>"},
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
     .controls = {CALLS "begin" BAR ">", CALLS "end" BAR ">", CALL "begin" BAR ">", SEPARATOR, CALL "end" BAR ">"}},
    {.name = "deepseek-v3.1",
     .signs = {CALL "begin" BAR ">"},
     .form = CALLS_NAMED,
     .open = CALLS "begin" BAR ">",
     .close = CALLS "end" BAR ">",
     .call_open = CALL "begin" BAR ">",
     .name_end = SEPARATOR,
     .call_close = CALL "end" BAR ">"},
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
     .controls = {DSML}},
    {.name = "kimi",
     .signs = {"<|tool_calls_section_begin|>"},
     .form = CALLS_NAMED,
     .open = "<|tool_calls_section_begin|>",
     .close = "<|tool_calls_section_end|>",
     .call_open = "<|tool_call_begin|>",
     .name_end = "<|tool_call_argument_begin|>",
     .call_close = "<|tool_call_end|>"},
    {.name = "solar",
     .signs = {"<|tool_call:begin|>"},
     .form = CALLS_NAMED,
     .open = "<|tool_calls|>",
     .call_open = "<|tool_call:begin|>",
     .id_end = "<|tool_call:name|>",
     .name_end = "<|tool_call:args|>",
     .call_close = "<|tool_call:end|>"},
    {.name = "mistral",
     .signs = {"[TOOL_CALLS]"},
     .form = CALLS_NAMED,
     .open = "[TOOL_CALLS]",
     .name_end = "[ARGS]",
     .id_start = "[CALL_ID]",
     .short_ids = true},
    {.name = "command-r",
     .signs = {"<|START_ACTION|>"},
     .form = CALLS_JSON,
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>"},
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
    {.name = "nemotron", .signs = {"<TOOLCALL>"}, .form = CALLS_JSON, .open = "<TOOLCALL>", .close = "</TOOLCALL>"},
    {.name = "tool_calls",
     .signs = {"<tool_calls>["},
     .form = CALLS_JSON,
     .open = "<tool_calls>",
     .close = "</tool_calls>"},
    {.name = "hermes", .signs = {"<tool_call>"}, .form = CALLS_JSON, .open = "<tool_call>", .close = "</tool_call>"},
    {.name = "tool_calls",
     .signs = {"<tool_calls>"},
     .form = CALLS_JSON,
     .open = "<tool_calls>",
     .close = "</tool_calls>"},
    {.name = "granite", .signs = {"<|tool_call|>"}, .form = CALLS_JSON, .open = "<|tool_call|>"},
    {.name = "gigachat", .signs = {"<|function_call|>"}, .form = CALLS_JSON, .open = "<|function_call|>"},
    {.name = "llama4",
     .signs = {"<|python_start|>"},
     .form = CALLS_JSON,
     .open = "<|python_start|>",
     .close = "<|python_end|>",
     .bare = true},
    {.name = "llama4",
     .signs = {"<|header_start|>", "\"parameters\": "},
     .form = CALLS_JSON,
     .open = "<|python_start|>",
     .close = "<|python_end|>",
     .bare = true},
    {.name = "llama3",
     .signs = {"<|start_header_id|>", "\"parameters\": "},
     .form = CALLS_JSON,
     .open = "<|python_tag|>",
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
        if (!holds(template, length, thinking[i].close)) continue;
        out->think_open = thinking[i].open;
        out->think_close = thinking[i].close;
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0] && !out->calls; i++) {
        bool all = true;
        for (unsigned j = 0; j < 3 && calls[i].signs[j]; j++) all = all && holds(template, length, calls[i].signs[j]);
        if (all) out->calls = &calls[i];
    }
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
