/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's Responses API: a response with its output items, and its stream of numbered events. */
#include "host/serve/answer_items.h"

#include <stdio.h>
#include <string.h>

/* The id of an item is the response's with the kind's prefix and its place. */
struct item_id {
    char text[64];
};

static struct item_id item_id(const struct answer_identity *identity, size_t place)
{
    static const char *const prefixes[] = {[ITEM_REASONING] = "rs", [ITEM_TEXT] = "msg", [ITEM_CALL] = "fc"};
    struct item_id id;
    snprintf(id.text, sizeof id.text, "%s_%.24s_%zu", prefixes[identity->items->item[place].kind],
             identity->id + strlen(answer_responses.id_prefix), place);
    return id;
}

/* The one part of a text's or a reasoning's content. */
static void put_part(enum answer_item_kind kind, const struct json_out *text, struct json_out *out)
{
    json_out_format(out, "{\"type\":\"%s\",", kind == ITEM_TEXT ? "output_text" : "reasoning_text");
    answer_put_member("text", text, out);
    json_out_text(out, kind == ITEM_TEXT ? ",\"annotations\":[],\"logprobs\":[]}" : "}");
}

/* Without `filled` as it is when it starts. */
static void put_item(const struct answer_identity *identity, size_t place, bool filled, const char *status,
                     struct json_out *out)
{
    static const char *const types[] = {
        [ITEM_REASONING] = "reasoning", [ITEM_TEXT] = "message", [ITEM_CALL] = "function_call"};
    const struct answer_item *item = &identity->items->item[place];
    const struct json_out none = {0};
    json_out_format(out, "{\"id\":\"%s\",\"type\":\"%s\",\"status\":\"%s\",", item_id(identity, place).text,
                    types[item->kind], status);
    if (item->kind == ITEM_CALL) {
        json_out_text(out, "\"call_id\":");
        answer_put_string(item->call_id, out);
        json_out_text(out, ",\"name\":");
        answer_put_string(item->name, out);
        json_out_text(out, ",");
        answer_put_member("arguments", filled ? &item->text : &none, out);
    } else {
        json_out_text(out, item->kind == ITEM_TEXT ? "\"role\":\"assistant\"," : "\"summary\":[],");
        json_out_text(out, "\"content\":[");
        if (filled) put_part(item->kind, &item->text, out);
        json_out_text(out, "]");
    }
    json_out_text(out, "}");
}

static bool is_cut(const struct answer_items *items)
{
    return items->finish_reason && strcmp(items->finish_reason, "length") == 0;
}

/* The item that was cut off is the last. */
static const char *item_status(const struct answer_items *items, size_t place)
{
    return is_cut(items) && place + 1 == items->count ? "incomplete" : "completed";
}

static void put_usage(const struct answer_usage *usage, struct json_out *out)
{
    json_out_format(out,
                    "{\"input_tokens\":%llu,\"input_tokens_details\":{\"cached_tokens\":%llu},\"output_tokens\":%llu,"
                    "\"output_tokens_details\":{\"reasoning_tokens\":%llu},\"total_tokens\":%llu}",
                    (unsigned long long)usage->prompt_tokens, (unsigned long long)usage->cached_tokens,
                    (unsigned long long)usage->completion_tokens, (unsigned long long)usage->reasoning_tokens,
                    (unsigned long long)(usage->prompt_tokens + usage->completion_tokens));
}

/* The response; usage is NULL until it has ended. */
static void put_response(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out)
{
    const struct answer_items *items = identity->items;
    const char *status = !usage ? "in_progress" : is_cut(items) ? "incomplete" : "completed";
    json_out_format(out, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\",\"model\":",
                    identity->id, (long long)identity->created, status);
    answer_put_string(identity->model, out);
    json_out_format(out, ",\"error\":null,\"incomplete_details\":%s,\"output\":[",
                    usage && is_cut(items) ? "{\"reason\":\"max_output_tokens\"}" : "null");
    for (size_t i = 0; usage && i < items->count; i++) {
        json_out_text(out, i ? "," : "");
        put_item(identity, i, true, item_status(items, i), out);
    }
    json_out_text(out, "],\"usage\":");
    if (usage)
        put_usage(usage, out);
    else
        json_out_text(out, "null");
    if (items->repeats && strlen(items->repeats) > 2) { /* an object's members, behind ours */
        json_out_text(out, ",");
        json_out_raw(out, items->repeats + 1, strlen(items->repeats) - 2);
    }
    json_out_text(out, "}");
}

static void write_whole(const struct answer_identity *identity, const struct answer_choice *choices, uint32_t n_choices,
                        const struct answer_usage *usage, struct json_out *out)
{
    (void)choices, (void)n_choices;
    put_response(identity, usage, out);
    if (identity->items->failed) out->failed = true;
}

/* ---- the stream ---- */

/* The event's head, up to what its object says beyond type and number. */
static void start_event(const struct answer_identity *identity, const char *type, struct json_out *out)
{
    json_out_format(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%llu", type, type,
                    (unsigned long long)identity->items->n_events++);
}

static void end_event(struct json_out *out) { json_out_text(out, "}\n\n"); }

static void event_response(const struct answer_identity *identity, const char *type, const struct answer_usage *usage,
                           struct json_out *out)
{
    start_event(identity, type, out);
    json_out_text(out, ",\"response\":");
    put_response(identity, usage, out);
    end_event(out);
}

static void event_start(const struct answer_identity *identity, uint32_t index, struct json_out *out)
{
    (void)index;
    if (!identity->items->streams) return;
    event_response(identity, "response.created", NULL, out);
    event_response(identity, "response.in_progress", NULL, out);
}

static void event_item(const struct answer_identity *identity, const char *type, bool filled, const char *status,
                       struct json_out *out)
{
    const size_t place = identity->items->count - 1;
    start_event(identity, type, out);
    json_out_format(out, ",\"output_index\":%zu,\"item\":", place);
    put_item(identity, place, filled, status, out);
    end_event(out);
}

/* An event about the content of the last item: what it is about comes behind. */
static void start_content_event(const struct answer_identity *identity, const char *type, struct json_out *out)
{
    const size_t place = identity->items->count - 1;
    start_event(identity, type, out);
    json_out_format(out, ",\"item_id\":\"%s\",\"output_index\":%zu,", item_id(identity, place).text, place);
    if (identity->items->item[place].kind != ITEM_CALL) json_out_text(out, "\"content_index\":0,");
}

static void event_part(const struct answer_identity *identity, const char *type, const struct json_out *text,
                       struct json_out *out)
{
    start_content_event(identity, type, out);
    json_out_text(out, "\"part\":");
    put_part(identity->items->item[identity->items->count - 1].kind, text, out);
    end_event(out);
}

static void event_opened(const struct answer_identity *identity, struct json_out *out)
{
    const struct json_out none = {0};
    event_item(identity, "response.output_item.added", false, "in_progress", out);
    if (identity->items->item[identity->items->count - 1].kind != ITEM_CALL)
        event_part(identity, "response.content_part.added", &none, out);
}

static void event_delta(const struct answer_identity *identity, const char *bytes, size_t length, struct json_out *out)
{
    static const char *const types[] = {[ITEM_REASONING] = "response.reasoning_text.delta",
                                        [ITEM_TEXT] = "response.output_text.delta",
                                        [ITEM_CALL] = "response.function_call_arguments.delta"};
    const enum answer_item_kind kind = identity->items->item[identity->items->count - 1].kind;
    start_content_event(identity, types[kind], out);
    json_out_text(out, "\"delta\":");
    json_out_string(out, bytes, length);
    if (kind == ITEM_TEXT) json_out_text(out, ",\"logprobs\":[]");
    end_event(out);
}

static void event_closed(const struct answer_identity *identity, struct json_out *out)
{
    const size_t place = identity->items->count - 1;
    const struct answer_item *item = &identity->items->item[place];
    if (item->kind == ITEM_CALL) {
        start_content_event(identity, "response.function_call_arguments.done", out);
        json_out_text(out, "\"name\":");
        answer_put_string(item->name, out);
        json_out_text(out, ",");
        answer_put_member("arguments", &item->text, out);
        end_event(out);
    } else {
        const bool is_text = item->kind == ITEM_TEXT;
        start_content_event(identity, is_text ? "response.output_text.done" : "response.reasoning_text.done", out);
        answer_put_member("text", &item->text, out);
        if (is_text) json_out_text(out, ",\"logprobs\":[]");
        end_event(out);
        event_part(identity, "response.content_part.done", &item->text, out);
    }
    event_item(identity, "response.output_item.done", true, item_status(identity->items, place), out);
}

static void event_end(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out)
{
    event_response(identity, is_cut(identity->items) ? "response.incomplete" : "response.completed", usage, out);
}

/* The members of OpenAI's event of this name, and `error`, in which its own clients look. */
static void event_error(const struct answer_identity *identity, const struct api_error *error, struct json_out *out)
{
    start_event(identity, "error", out);
    json_out_text(out, ",\"code\":");
    answer_put_string(error->code, out);
    json_out_text(out, ",\"message\":");
    answer_put_string(error->message, out);
    json_out_text(out, ",\"param\":");
    answer_put_string(error->param[0] ? error->param : NULL, out);
    json_out_text(out, ",\"error\":");
    api_error_put(error, out);
    end_event(out);
}

static const struct item_events events = {.opened = event_opened, .delta = event_delta, .closed = event_closed};

const struct answer_format answer_responses = {.id_prefix = "resp_",
                                               .item_events = &events,
                                               .whole = write_whole,
                                               .start = event_start,
                                               ANSWER_ITEMS_PIECES,
                                               .end = event_end,
                                               .error = event_error};
