/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/reading.h"
#include "host/base/memory.h"

#include <string.h>

struct reading {
    struct reply *reply;
    const struct answer_identity *identity;
    uint32_t index;
    struct json_out *out; /* during reading_post: the stream's, or NULL */
    unsigned n_calls;     /* whole ones */
    /* a stream's next delta */
    enum reply_event_kind delta_kind;
    unsigned delta_call;
    struct json_out delta;
    /* a message */
    struct json_out content, reasoning, calls, call_head, arguments;
};

static void send_delta(struct reading *r)
{
    if (!r->delta.length) return;
    const struct answer_format *format = r->identity->format;
    if (r->delta_kind == REPLY_CALL_ARGUMENTS)
        format->call_arguments(r->identity, r->index, r->delta_call, r->delta.bytes, r->delta.length, r->out);
    else if (r->delta_kind == REPLY_REASONING)
        format->reasoning(r->identity, r->index, r->delta.bytes, r->delta.length, r->out);
    else
        format->text(r->identity, r->index, r->delta.bytes, r->delta.length, NULL, r->out);
    json_out_clear(&r->delta);
}

static void stream_event(struct reading *r, const struct reply_event *event)
{
    const bool text =
        event->kind == REPLY_CONTENT || event->kind == REPLY_REASONING || event->kind == REPLY_CALL_ARGUMENTS;
    if (r->delta.length && (event->kind != r->delta_kind || event->call != r->delta_call)) send_delta(r);
    if (text) {
        r->delta_kind = event->kind;
        r->delta_call = event->call;
        json_out_raw(&r->delta, event->bytes, event->length);
    } else if (event->kind == REPLY_CALL_START) {
        r->identity->format->call_start(r->identity, r->index, event->call, event->id, event->bytes, event->length,
                                        r->out);
    } else {
        r->identity->format->call_end(r->identity, r->index, event->kind == REPLY_CALL_END, r->out);
    }
}

static void keep_event(struct reading *r, const struct reply_event *event)
{
    switch (event->kind) {
    case REPLY_CONTENT: json_out_raw(&r->content, event->bytes, event->length); break;
    case REPLY_REASONING: json_out_raw(&r->reasoning, event->bytes, event->length); break;
    case REPLY_CALL_START:
        json_out_clear(&r->call_head);
        json_out_clear(&r->arguments);
        answer_call_head(event->id, event->bytes, event->length, &r->call_head);
        break;
    case REPLY_CALL_ARGUMENTS: json_out_raw(&r->arguments, event->bytes, event->length); break;
    case REPLY_CALL_END:
        json_out_text(&r->calls, r->calls.length ? "," : "");
        json_out_raw(&r->calls, r->call_head.bytes, r->call_head.length);
        json_out_string(&r->calls, r->arguments.bytes, r->arguments.length);
        json_out_text(&r->calls, "}}");
        break;
    case REPLY_CALL_BROKEN: break;
    }
}

static void on_event(void *context, const struct reply_event *event)
{
    struct reading *r = context;
    if (event->kind == REPLY_CALL_END) r->n_calls++;
    if (r->out)
        stream_event(r, event);
    else
        keep_event(r, event);
}

struct reading *reading_open(const struct reply_dialect *dialect, const struct reply_options *options,
                             const struct answer_identity *identity, uint32_t index)
{
    struct reading *r = memory_array(1, sizeof *r);
    if (!r) return NULL;
    struct reply_options all = *options;
    all.event = on_event;
    all.context = r;
    r->identity = identity;
    r->index = index;
    r->reply = reply_open(dialect, &all);
    if (r->reply) return r;
    free(r);
    return NULL;
}

void reading_close(struct reading *r)
{
    if (!r) return;
    reply_close(r->reply);
    json_out_free(&r->delta);
    json_out_free(&r->content);
    json_out_free(&r->reasoning);
    json_out_free(&r->calls);
    json_out_free(&r->call_head);
    json_out_free(&r->arguments);
    free(r);
}

int reading_post(struct reading *r, const char *bytes, size_t length, bool ended, struct json_out *out)
{
    r->out = out;
    int status = length ? reply_feed(r->reply, bytes, length) : 0;
    if (status == 0 && ended) status = reply_end(r->reply);
    if (out) send_delta(r);
    r->out = NULL;
    const bool failed = r->delta.failed || r->content.failed || r->reasoning.failed || r->calls.failed ||
                        r->call_head.failed || r->arguments.failed;
    return failed ? -1 : status;
}

bool reading_has_calls(const struct reading *r) { return r->n_calls > 0; }

void reading_message(const struct reading *r, struct answer_choice *out)
{
    out->text = r->content.bytes;
    out->length = r->content.length;
    out->reasoning = r->reasoning.bytes;
    out->reasoning_length = r->reasoning.length;
    out->calls = r->calls.bytes;
    out->calls_length = r->calls.length;
}
