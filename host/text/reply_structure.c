/* SPDX-License-Identifier: Apache-2.0 */
/* The notation is that of grammar/structure.h. Before content or calls there may be reasoning; after calls there is nothing. */
#include "host/text/reply_structure.h"
#include "host/text/quote.h"
#include "host/text/reply_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plan {
    const struct reply_dialect *dialect;
    const struct reply_structure_options *options;
    json_t *one_of; /* owned: a call of one of the tools */
    bool failed;    /* no memory */
};

static void push(struct plan *plan, json_t *list, json_t *node)
{
    if (json_array_append_new(list, node) < 0) plan->failed = true;
}

static void push_text(struct plan *plan, json_t *list, const char *text)
{
    if (text) push(plan, list, json_string(text));
}

static void push_space(struct plan *plan, json_t *list) { push(plan, list, json_pack("{s:b}", "space", 1)); }
static void push_mark(struct plan *plan, json_t *list, const char *mark)
{
    push(plan, list, json_pack("{s:s}", "mark", mark));
}

static json_t *free_text(const char *const *parts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (parts[i]) json_array_append_new(list, json_string(parts[i]));
    return json_pack("{s:o}", "free", list);
}

static json_t *at_most_once(json_t *node) { return json_pack("{s:o,s:i,s:i}", "repeat", node, "min", 0, "max", 1); }
static json_t *any_number(json_t *node) { return json_pack("{s:o}", "repeat", node); }

/* ---- one call ---- */

static bool any_strict(const json_t *tools)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        if (reply_tool_is_strict(tool)) return true;
    }
    return false;
}

bool reply_tool_is_strict(const json_t *tool)
{
    return json_is_true(json_object_get(json_object_get(tool, "function"), "strict"));
}

/* The tool's schema of an object: without parameters an empty one, as OpenAI documents it. */
static json_t *parameters_of(const json_t *tool)
{
    const json_t *given = json_object_get(json_object_get(tool, "function"), "parameters");
    json_t *schema = json_is_object(given) ? json_copy((json_t *)(uintptr_t)given) : json_pack("{s:{}}", "properties");
    if (schema) json_object_set_new(schema, "type", json_string("object"));
    return schema;
}

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text) json_object_set_new(object, name, json_string(text));
}

static json_t *arguments_node(const struct plan *plan, const json_t *tool, size_t index)
{
    const struct reply_calls *c = plan->dialect->calls;
    const bool held = plan->options->must_call || reply_tool_is_strict(tool);
    const bool tags = !plan->dialect->channels && c->form == CALLS_XML;
    char of[64];
    snprintf(of, sizeof of, "tools[%zu].function.parameters", index);
    if (!held) return tags ? free_text(&c->call_close, 1) : json_pack("{s:b}", "object", 1);
    json_t *node = json_pack("{s:o,s:s}", tags ? "tags" : "schema", parameters_of(tool), "of", of);
    if (!tags || !node) return node;
    set_text(node, "key_open", c->key_open);
    set_text(node, "key_end", c->key_end);
    set_text(node, "value_open", c->value_open);
    set_text(node, "value_end", c->value_end);
    if (c->lines) json_object_set_new(node, "lines", json_true());
    if (c->typed_keys) json_object_set_new(node, "typed", json_true());
    return node;
}

static void push_key(struct plan *plan, json_t *list, const char *key)
{
    push(plan, list, json_sprintf("\"%s\"", key));
    push_mark(plan, list, ":");
}

static json_t *object_call(struct plan *plan, const char *name, json_t *arguments)
{
    const struct reply_calls *c = plan->dialect->calls;
    json_t *list = json_array();
    push_mark(plan, list, "{");
    if (c->before_name) push(plan, list, json_pack("{s:s}", "regex", c->before_name));
    if (c->name_is_key) {
        push_key(plan, list, name);
    } else {
        push_key(plan, list, c->name_key ? c->name_key : "name");
        push(plan, list, json_sprintf("\"%s\"", name));
        push_mark(plan, list, ",");
        push_key(plan, list, c->arguments_key ? c->arguments_key : "arguments");
    }
    push(plan, list, arguments);
    push_mark(plan, list, "}");
    return list;
}

static json_t *named_call(struct plan *plan, const char *name, json_t *arguments)
{
    const struct reply_calls *c = plan->dialect->calls;
    json_t *list = json_array();
    push_text(plan, list, c->call_open ? c->call_open : c->open);
    if (c->before_name) push(plan, list, json_pack("{s:s}", "regex", c->before_name));
    push_text(plan, list, c->id_end);
    push(plan, list, json_pack("{s:s}", "plain", name));
    if (c->after_name) push(plan, list, json_pack("{s:s}", "regex", c->after_name));
    if (c->id_start) push(plan, list, at_most_once(json_pack("[s,{s:s}]", c->id_start, "regex", "[a-zA-Z0-9]{9}")));
    push_text(plan, list, c->name_end);
    push_space(plan, list);
    push(plan, list, arguments);
    push_space(plan, list);
    push_text(plan, list, c->call_close);
    return list;
}

static json_t *channel_call(struct plan *plan, const char *name, json_t *arguments)
{
    json_t *list = json_array(), *headers = json_array();
    push(plan, headers, json_sprintf("<|channel|>commentary to=functions.%s <|constrain|>json<|message|>", name));
    push(plan, headers, json_sprintf("<|channel|>commentary to=functions.%s<|message|>", name));
    push(plan, headers, json_sprintf(" to=functions.%s<|channel|>commentary <|constrain|>json<|message|>", name));
    push(plan, list, json_pack("{s:o}", "any", headers));
    push(plan, list, arguments);
    return list;
}

static int add_tool(struct plan *plan, const json_t *tool, size_t index, json_t *calls, struct error *err)
{
    const json_t *name = json_object_get(json_object_get(tool, "function"), "name");
    const char *text = json_string_value(name);
    if (!text || !reply_is_name(text, json_string_length(name)))
        return error_set(
            err, ERROR_BAD_ARGUMENT,
            "tools[%zu].function.name: '%s' is no name for a call (letters, digits, _ - . : /; at most %d)", index,
            quote(text ? text : "", text ? strlen(text) : 0).text, REPLY_MAX_NAME);
    json_t *arguments = arguments_node(plan, tool, index);
    if (plan->dialect->channels)
        push(plan, calls, channel_call(plan, text, arguments));
    else if (plan->dialect->calls->form == CALLS_JSON || plan->dialect->calls->listed)
        push(plan, calls, object_call(plan, text, arguments));
    else
        push(plan, calls, named_call(plan, text, arguments));
    return 0;
}

static int add_tools(struct plan *plan, struct error *err)
{
    const struct reply_structure_options *options = plan->options;
    json_t *calls = json_array();
    const json_t *tool;
    size_t i;
    int status = 0;
    json_array_foreach(options->tools, i, tool)
    {
        const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (options->only_tool && (!name || strcmp(name, options->only_tool) != 0)) continue;
        status = add_tool(plan, tool, i, calls, err);
        if (status < 0) break;
    }
    if (status == 0 && json_array_size(calls) == 0)
        status = error_set(
            err, ERROR_BAD_ARGUMENT, "no tool has the name '%s'",
            quote(options->only_tool ? options->only_tool : "", options->only_tool ? strlen(options->only_tool) : 0)
                .text);
    plan->one_of = json_pack("{s:o}", "any", calls);
    return status;
}

/* ---- all calls of an answer ---- */

static bool is_single(const struct plan *plan)
{
    return plan->options->one_call || plan->options->only_tool || plan->dialect->channels || plan->dialect->calls->bare;
}

/* The node once, and more of it if there may be several, each after what separates them. Takes node. */
static void push_several(struct plan *plan, json_t *list, json_t *node, const char *comma)
{
    push(plan, list, json_incref(node));
    if (!is_single(plan)) {
        json_t *next = json_array();
        if (comma)
            push_mark(plan, next, comma);
        else
            push_space(plan, next);
        push(plan, next, json_incref(node));
        push(plan, list, any_number(next));
    }
    json_decref(node);
}

static json_t *calls_node(struct plan *plan)
{
    const struct reply_calls *c = plan->dialect->calls;
    json_t *list = json_array();
    if (plan->dialect->channels || c->bare) {
        push(plan, list, json_incref(plan->one_of));
    } else if (c->listed) {
        push_text(plan, list, c->open);
        push_space(plan, list);
        push_mark(plan, list, "[");
        push_several(plan, list, json_incref(plan->one_of), ",");
        push_mark(plan, list, "]");
        push_text(plan, list, c->close);
    } else if (c->section) {
        push_text(plan, list, c->open);
        push_space(plan, list);
        push_several(plan, list, json_incref(plan->one_of), NULL);
        push_space(plan, list);
        push_text(plan, list, c->close);
    } else {
        const bool around = c->form == CALLS_JSON || c->call_open;
        json_t *unit = json_array();
        if (around) push_text(plan, unit, c->open);
        if (around) push_space(plan, unit);
        push(plan, unit, json_incref(plan->one_of));
        if (around) push_space(plan, unit);
        if (around) push_text(plan, unit, c->close);
        push_several(plan, list, unit, NULL);
    }
    return list;
}

/* ---- what stands before and instead ---- */

static json_t *reasoning_node(struct plan *plan)
{
    const struct reply_dialect *d = plan->dialect;
    json_t *list = json_array();
    if (!plan->options->reasoning_opened) {
        push_space(plan, list);
        push_text(plan, list, d->think_open);
    }
    push(plan, list, free_text(&d->think_close, 1));
    push_text(plan, list, d->think_close);
    push(plan, list, json_pack("{s:s}", "regex", "[ \\n]{0,4}"));
    return plan->options->reasoning_opened ? list : at_most_once(list);
}

/* Any content; calls are told from it by their markers, or by its first character. */
static json_t *content_node(const struct plan *plan)
{
    const struct reply_calls *c = plan->options->tools ? plan->dialect->calls : NULL;
    const char *parts[] = {c ? c->open : NULL, c && !c->open ? c->call_open : NULL};
    json_t *node = free_text(parts, 2);
    if (c && c->bare && node) set_text(node, "first", "{");
    return node;
}

static json_t *plain_body(struct plan *plan)
{
    const struct reply_structure_options *options = plan->options;
    json_t *calls = options->tools ? calls_node(plan) : NULL;
    if (options->must_call) return calls;
    if (options->answer) {
        json_t *answer = json_incref((json_t *)(uintptr_t)options->answer);
        return calls ? json_pack("{s:[o,o]}", "any", calls, answer) : answer;
    }
    if (!calls) return content_node(plan);
    if (plan->dialect->calls->bare) return json_pack("{s:[o,o]}", "any", calls, content_node(plan));
    return json_pack("[o,o]", content_node(plan), at_most_once(calls));
}

/* Harmony: messages of reasoning, and of text to the user before a call, then the last one. */
static json_t *channel_body(struct plan *plan)
{
    static const char *const ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>"};
    const struct reply_structure_options *options = plan->options;
    json_t *list = json_array(), *channels = json_array(), *last = json_array(), *before = json_array();
    push_text(plan, channels, "<|channel|>analysis<|message|>");
    if (!options->must_call && !options->answer) push_text(plan, channels, "<|channel|>commentary<|message|>");
    push(plan, before, json_pack("{s:o}", "any", channels));
    push(plan, before, free_text(ends, 4));
    push_text(plan, before, "<|end|><|start|>assistant");
    push(plan, list, any_number(before));
    if (options->tools) push(plan, last, calls_node(plan));
    if (!options->must_call) {
        json_t *answer = options->answer ? json_incref((json_t *)(uintptr_t)options->answer) : free_text(ends, 4);
        json_t *constrain = at_most_once(json_string(" <|constrain|>json"));
        push(plan, last, json_pack("[s,o,s,o]", "<|channel|>final", constrain, "<|message|>", answer));
    }
    push(plan, list, json_pack("{s:o}", "any", last));
    return list;
}

int reply_structure(const struct reply_dialect *dialect, const struct reply_structure_options *options, char **out,
                    struct error *err)
{
    struct plan plan = {.dialect = dialect, .options = options};
    int status = 0;
    *out = NULL;
    struct reply_structure_options without_calls = *options;
    const bool written = dialect->channels || (dialect->calls && !dialect->calls->unwritten);
    without_calls.tools = NULL;
    if (!written && !options->must_call && !any_strict(options->tools))
        plan.options = options = &without_calls;
    else if (options->tools && !written)
        return error_set(err, ERROR_UNSUPPORTED,
                         "how this model writes calls is not known, so it cannot be held to any");
    if (options->tools) status = add_tools(&plan, err);
    if (status == 0) {
        json_t *list = json_array();
        if (!dialect->channels && dialect->think_open) push(&plan, list, reasoning_node(&plan));
        push(&plan, list, dialect->channels ? channel_body(&plan) : plain_body(&plan));
        if (!plan.failed) *out = json_dumps(list, JSON_COMPACT);
        json_decref(list);
        if (!*out) status = error_set(err, ERROR_NO_MEMORY, "no memory for the structure of an answer");
    }
    json_decref(plan.one_of);
    return status;
}
