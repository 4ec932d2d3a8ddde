/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/answer_items.h"
#include "host/base/memory.h"

#include <string.h>

static void item_clear(struct answer_item *item)
{
    json_out_free(&item->text);
    free(item->name);
    free(item->call_id);
    *item = (struct answer_item){0};
}

struct answer_items *answer_items_new(bool streams, uint64_t prompt_tokens, const char *repeats)
{
    struct answer_items *items = memory_array(1, sizeof *items);
    if (!items) return NULL;
    items->streams = streams;
    items->prompt_tokens = prompt_tokens;
    if (repeats) items->repeats = strdup(repeats);
    if (!repeats || items->repeats) return items;
    free(items);
    return NULL;
}

void answer_items_free(struct answer_items *items)
{
    if (!items) return;
    for (size_t i = 0; i < items->count; i++) item_clear(&items->item[i]);
    item_clear(&items->call);
    free(items->item);
    free(items->repeats);
    free(items);
}

/* The last item is now a new one, empty. NULL: no memory. */
static struct answer_item *add(struct answer_items *items)
{
    if (items->count == items->capacity) {
        const size_t capacity = items->capacity ? 2 * items->capacity : 4;
        struct answer_item *grown = memory_grow(items->item, capacity, sizeof *grown);
        if (!grown) {
            items->failed = true;
            return NULL;
        }
        items->item = grown;
        items->capacity = capacity;
    }
    items->item[items->count] = (struct answer_item){0};
    items->is_open = true;
    return &items->item[items->count++];
}

static void close_item(const struct answer_identity *identity, struct json_out *out)
{
    struct answer_items *items = identity->items;
    if (items->is_open && items->streams) identity->format->item_events->closed(identity, out);
    items->is_open = false;
}

static void say(const struct answer_identity *identity, enum answer_item_kind kind, const char *bytes, size_t length,
                struct json_out *out)
{
    struct answer_items *items = identity->items;
    const struct item_events *events = identity->format->item_events;
    if (length == 0 || items->failed) return;
    const bool is_new = !items->is_open || items->item[items->count - 1].kind != kind;
    if (is_new) {
        close_item(identity, out);
        if (!add(items)) return;
        items->item[items->count - 1].kind = kind;
        if (items->streams) events->opened(identity, out);
    }
    struct answer_item *item = &items->item[items->count - 1];
    json_out_raw(&item->text, bytes, length);
    if (item->text.failed) items->failed = true;
    if (items->streams) events->delta(identity, bytes, length, out);
}

void answer_items_text(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                       const struct json_out *logprobs, struct json_out *out)
{
    (void)index, (void)logprobs;
    say(identity, ITEM_TEXT, bytes, length, out);
}

void answer_items_reasoning(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                            struct json_out *out)
{
    (void)index;
    say(identity, ITEM_REASONING, bytes, length, out);
}

void answer_items_call_start(const struct answer_identity *identity, uint32_t index, unsigned call, const char *id,
                             const char *name, size_t name_length, struct json_out *out)
{
    struct answer_item *coming = &identity->items->call;
    (void)index, (void)call, (void)out;
    item_clear(coming);
    coming->kind = ITEM_CALL;
    coming->name = strndup(name, name_length);
    coming->call_id = strdup(id);
    if (!coming->name || !coming->call_id) identity->items->failed = true;
}

void answer_items_call_arguments(const struct answer_identity *identity, uint32_t index, unsigned call,
                                 const char *bytes, size_t length, struct json_out *out)
{
    struct json_out *arguments = &identity->items->call.text;
    (void)index, (void)call, (void)out;
    json_out_raw(arguments, bytes, length);
    if (arguments->failed) identity->items->failed = true;
}

void answer_items_call_end(const struct answer_identity *identity, uint32_t index, bool whole, struct json_out *out)
{
    struct answer_items *items = identity->items;
    (void)index;
    if (!whole || items->failed) return;
    close_item(identity, out);
    struct answer_item *item = add(items);
    if (!item) return;
    *item = items->call;
    items->call = (struct answer_item){0};
    if (items->streams) {
        identity->format->item_events->opened(identity, out);
        identity->format->item_events->delta(identity, item->text.bytes, item->text.length, out);
    }
    close_item(identity, out);
}

void answer_items_finish(const struct answer_identity *identity, uint32_t index, const char *finish_reason,
                         struct json_out *out)
{
    (void)index;
    identity->items->finish_reason = finish_reason;
    close_item(identity, out);
    if (identity->items->failed) out->failed = true;
}

void answer_items_all_reasoning(const struct answer_items *items, struct json_out *out)
{
    for (size_t i = 0; i < items->count; i++) {
        const struct answer_item *item = &items->item[i];
        if (item->kind == ITEM_REASONING) json_out_raw(out, item->text.bytes, item->text.length);
    }
}

void answer_put_member(const char *name, const struct json_out *text, struct json_out *out)
{
    json_out_format(out, "\"%s\":", name);
    json_out_string(out, text->length ? text->bytes : "", text->length);
}

void answer_put_string(const char *text, struct json_out *out)
{
    if (text)
        json_out_string(out, text, strlen(text));
    else
        json_out_text(out, "null");
}
