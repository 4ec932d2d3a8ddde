/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's Messages API: a message of content blocks, and its stream of block events. */
#include "host/serve/answer_items.h"

#include <string.h>

/* A content block. Without `filled` as it is when it starts. */
static void put_block(const struct answer_item *item, bool filled, struct json_out *out)
{
    const struct json_out none = {0}, *text = filled ? &item->text : &none;
    switch (item->kind) {
    case ITEM_TEXT:
        json_out_text(out, "{\"type\":\"text\",");
        answer_put_member("text", text, out);
        break;
    case ITEM_REASONING: /* signatures are for services that do not trust the client with the model's own words */
        json_out_text(out, "{\"type\":\"thinking\",");
        answer_put_member("thinking", text, out);
        json_out_text(out, ",\"signature\":\"\"");
        break;
    case ITEM_CALL:
        json_out_text(out, "{\"type\":\"tool_use\",\"id\":");
        answer_put_string(item->call_id, out);
        json_out_text(out, ",\"name\":");
        answer_put_string(item->name, out);
        json_out_text(out, ",\"input\":");
        if (text->length)
            json_out_raw(out, text->bytes, text->length);
        else
            json_out_text(out, "{}");
        break;
    }
    json_out_text(out, "}");
}

static void put_usage(const struct answer_usage *usage, struct json_out *out)
{
    json_out_format(out,
                    "\"usage\":{\"input_tokens\":%llu,\"cache_creation_input_tokens\":0,"
                    "\"cache_read_input_tokens\":%llu,\"output_tokens\":%llu}",
                    (unsigned long long)(usage->prompt_tokens - usage->cached_tokens),
                    (unsigned long long)usage->cached_tokens, (unsigned long long)usage->completion_tokens);
}

/* "stop_reason" and "stop_sequence" */
static void put_stop(const struct answer_items *items, struct json_out *out)
{
    const char *reason = items->finish_reason, *name = NULL;
    const bool stopped = reason && strcmp(reason, "stop") == 0;
    if (stopped)
        name = items->stop_string ? "stop_sequence" : "end_turn";
    else if (reason)
        name = strcmp(reason, "length") == 0 ? "max_tokens" : "tool_use";
    json_out_text(out, "\"stop_reason\":");
    answer_put_string(name, out);
    json_out_text(out, ",\"stop_sequence\":");
    answer_put_string(stopped ? items->stop_string : NULL, out);
}

/* The message; `filled` is false for the one that opens a stream. */
static void put_message(const struct answer_identity *identity, bool filled, const struct answer_usage *usage,
                        struct json_out *out)
{
    const struct answer_items *items = identity->items;
    json_out_format(out, "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", identity->id);
    answer_put_string(identity->model, out);
    json_out_text(out, ",\"content\":[");
    for (size_t i = 0; filled && i < items->count; i++) {
        json_out_text(out, i ? "," : "");
        put_block(&items->item[i], true, out);
    }
    json_out_text(out, "],");
    put_stop(items, out);
    json_out_text(out, ",");
    put_usage(usage, out);
    json_out_text(out, "}");
}

static void write_whole(const struct answer_identity *identity, const struct answer_choice *choices, uint32_t n_choices,
                        const struct answer_usage *usage, struct json_out *out)
{
    (void)choices, (void)n_choices;
    put_message(identity, true, usage, out);
    if (identity->items->failed) out->failed = true;
}

/* ---- the stream ---- */

/* The event's head, up to what its object says beyond the type. */
static void start_event(const char *type, struct json_out *out)
{
    json_out_format(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

static void end_event(struct json_out *out) { json_out_text(out, "}\n\n"); }

static void event_start(const struct answer_identity *identity, uint32_t index, struct json_out *out)
{
    const struct answer_usage usage = {.prompt_tokens = identity->items->prompt_tokens};
    (void)index;
    if (!identity->items->streams) return;
    start_event("message_start", out);
    json_out_text(out, ",\"message\":");
    put_message(identity, false, &usage, out);
    end_event(out);
}

static void event_opened(const struct answer_identity *identity, struct json_out *out)
{
    const struct answer_items *items = identity->items;
    start_event("content_block_start", out);
    json_out_format(out, ",\"index\":%zu,\"content_block\":", items->count - 1);
    put_block(&items->item[items->count - 1], false, out);
    end_event(out);
}

static void event_delta(const struct answer_identity *identity, const char *bytes, size_t length, struct json_out *out)
{
    static const char *const deltas[] = {[ITEM_REASONING] = "\"thinking_delta\",\"thinking\"",
                                         [ITEM_TEXT] = "\"text_delta\",\"text\"",
                                         [ITEM_CALL] = "\"input_json_delta\",\"partial_json\""};
    const struct answer_items *items = identity->items;
    start_event("content_block_delta", out);
    json_out_format(out, ",\"index\":%zu,\"delta\":{\"type\":%s:", items->count - 1,
                    deltas[items->item[items->count - 1].kind]);
    json_out_string(out, bytes, length);
    json_out_text(out, "}");
    end_event(out);
}

static void event_closed(const struct answer_identity *identity, struct json_out *out)
{
    start_event("content_block_stop", out);
    json_out_format(out, ",\"index\":%zu", identity->items->count - 1);
    end_event(out);
}

static void event_end(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out)
{
    start_event("message_delta", out);
    json_out_text(out, ",\"delta\":{");
    put_stop(identity->items, out);
    json_out_text(out, "},");
    put_usage(usage, out);
    end_event(out);
    start_event("message_stop", out);
    end_event(out);
}

static void event_error(const struct answer_identity *identity, const struct api_error *error, struct json_out *out)
{
    (void)identity;
    json_out_text(out, "event: error\ndata: ");
    api_error_write(error, out);
    json_out_text(out, "\n\n");
}

static const struct item_events events = {.opened = event_opened, .delta = event_delta, .closed = event_closed};

const struct answer_format answer_messages = {.id_prefix = "msg_",
                                              .item_events = &events,
                                              .whole = write_whole,
                                              .start = event_start,
                                              ANSWER_ITEMS_PIECES,
                                              .end = event_end,
                                              .error = event_error};
