/* SPDX-License-Identifier: Apache-2.0 */
/* Content and reasoning; what all parts of reading share. */
#include "host/base/memory.h"
#include "host/text/reply_internal.h"

#include <string.h>

struct reply *reply_open(const struct reply_dialect *dialect, const struct reply_options *options)
{
    struct reply *reply = memory_array(1, sizeof *reply);
    if (!reply) return NULL;
    reply->dialect = *dialect;
    reply->options = *options;
    if (json_array_size(options->tools)) {
        reply->calls = dialect->calls;
        json_incref((json_t *)(uintptr_t)options->tools);
    } else {
        reply->options.tools = NULL;
    }
    reply->state = dialect->channels ? READ_CHANNEL : options->reasoning_opened ? READ_REASONING : READ_START;
    reply->trim = options->reasoning_opened;
    return reply;
}

void reply_close(struct reply *reply)
{
    if (!reply) return;
    json_decref((json_t *)(uintptr_t)reply->options.tools);
    text_free(&reply->held);
    text_free(&reply->raw);
    text_free(&reply->name);
    text_free(&reply->arguments);
    text_free(&reply->key);
    text_free(&reply->value);
    free(reply);
}

void reply_append(struct reply *reply, struct text *to, const char *bytes, size_t length)
{
    struct error err = {0};
    if (text_append(to, bytes, length, &err) < 0) reply->failed = true;
}

void reply_say(struct reply *reply, enum reply_event_kind kind, const char *bytes, size_t length)
{
    bool text = kind == REPLY_CONTENT || kind == REPLY_REASONING;
    if (length == 0 && (text || kind == REPLY_CALL_ARGUMENTS)) return;
    if (!text && reply->options.one_call && reply->n_calls > 0) return;
    reply->options.event(reply->options.context,
                         &(struct reply_event){kind, bytes, length, text ? NULL : reply->id, reply->n_calls});
}

void reply_take(struct reply *reply, size_t length)
{
    if (reply->in_call) reply_append(reply, &reply->raw, reply->held.bytes + reply->at, length);
    reply->at += length;
}

enum reply_match reply_match(const struct reply *reply, size_t at, const char *marker)
{
    size_t left = reply->held.length - at, length = strlen(marker);
    size_t common = left < length ? left : length;
    if (memcmp(reply->held.bytes + at, marker, common) != 0) return MATCH_NO;
    if (common == length) return MATCH_WHOLE;
    return reply->ended ? MATCH_NO : MATCH_PART;
}

const char *reply_find(const struct reply *reply, size_t from, const char *const *markers, unsigned n, size_t *at)
{
    for (*at = from; *at < reply->held.length; ++*at) {
        for (unsigned i = 0; i < n; i++) {
            if (reply->held.bytes[*at] != markers[i][0]) continue;
            enum reply_match match = reply_match(reply, *at, markers[i]);
            if (match == MATCH_WHOLE) return markers[i];
            if (match == MATCH_PART) return NULL;
        }
    }
    return NULL;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool reply_skip_space(struct reply *reply)
{
    size_t end = reply->at;
    while (end < reply->held.length && is_space(reply->held.bytes[end])) end++;
    reply_take(reply, end - reply->at);
    return reply->at < reply->held.length;
}

/* Where the white space before end begins, at most REPLY_MAX_SPACE of it. */
static size_t before_space(const struct reply *reply, size_t end)
{
    size_t start = end;
    while (start > reply->at && end - start < REPLY_MAX_SPACE && is_space(reply->held.bytes[start - 1])) start--;
    return start;
}

/* The beginning of an answer: its first characters tell what it is. */
static bool start_step(struct reply *reply)
{
    size_t first = reply->at;
    while (first < reply->held.length && is_space(reply->held.bytes[first])) first++;
    const bool far = first - reply->at > REPLY_MAX_SPACE;
    if (first == reply->held.length && !reply->ended && !far) return false;
    if (!far && first < reply->held.length && reply->dialect.think_open) {
        enum reply_match match = reply_match(reply, first, reply->dialect.think_open);
        if (match == MATCH_PART) return false;
        if (match == MATCH_WHOLE) {
            reply_take(reply, first - reply->at + strlen(reply->dialect.think_open));
            reply->state = READ_REASONING;
            reply->trim = true;
            return true;
        }
        match = reply_match(reply, first, reply->dialect.think_close); /* there was nothing to think of */
        if (match == MATCH_PART) return false;
        if (match == MATCH_WHOLE) {
            reply_take(reply, first - reply->at + strlen(reply->dialect.think_close));
            reply->trim = true;
            return true;
        }
    }
    if (!far && first < reply->held.length && reply->calls && reply->calls->bare && reply->held.bytes[first] == '{') {
        if (reply->trim) reply->at = first;
        reply_calls_begin(reply);
        reply->is_bare = true;
        return true;
    }
    reply->state = READ_CONTENT;
    return true;
}

/* Text up to a marker. True: it was found, at *space after white space; *progress: something was read. */
static bool text_step(struct reply *reply, enum reply_event_kind kind, const char *marker, bool hold_space,
                      size_t *space, bool *progress)
{
    size_t end = reply->held.length, before = reply->at;
    if (reply->trim && !reply_skip_space(reply)) {
        *progress = reply->at > before;
        return false;
    }
    reply->trim = false;
    bool found = marker && reply_find(reply, reply->at, &marker, 1, &end);
    size_t shown = hold_space && (found || !reply->ended || kind == REPLY_REASONING) ? before_space(reply, end) : end;
    reply_say(reply, kind, reply->held.bytes + reply->at, shown - reply->at);
    reply->at = shown;
    *space = end - shown;
    *progress = found || reply->at > before;
    return found;
}

static bool content_step(struct reply *reply)
{
    bool progress;
    size_t space;
    const char *marker = reply->calls ? reply->calls->open : NULL;
    if (!text_step(reply, REPLY_CONTENT, marker, marker != NULL, &space, &progress)) return progress;
    reply_calls_begin(reply);
    reply_take(reply, space + strlen(marker));
    return true;
}

static bool reasoning_step(struct reply *reply)
{
    bool progress;
    size_t space;
    const char *marker = reply->dialect.think_close;
    if (!text_step(reply, REPLY_REASONING, marker, true, &space, &progress)) return progress;
    reply_take(reply, space + strlen(marker));
    reply->state = READ_START;
    reply->trim = true;
    return true;
}

static bool step(struct reply *reply)
{
    switch (reply->state) {
    case READ_START: return start_step(reply);
    case READ_CONTENT: return content_step(reply);
    case READ_REASONING: return reasoning_step(reply);
    case READ_CHANNEL:
    case READ_CHANNEL_TEXT: return reply_channel_step(reply);
    case READ_OBJECT:
    case READ_MEMBER: return reply_object_step(reply);
    case READ_KEY:
    case READ_VALUE: return reply_xml_step(reply);
    case READ_PYTHON: return reply_python_step(reply);
    case READ_LITERAL: return reply_literal_step(reply);
    case READ_CALLS:
    case READ_NAME:
    case READ_ARGUMENTS:
    case READ_ARGUMENTS_END: return reply_calls_step(reply);
    }
    return false;
}

static int read_all(struct reply *reply)
{
    while (!reply->failed && step(reply)) {}
    size_t left = reply->held.length - reply->at;
    if (reply->at) memmove(reply->held.bytes, reply->held.bytes + reply->at, left);
    reply->held.length = left;
    reply->at = 0;
    return reply->failed ? -1 : 0;
}

int reply_feed(struct reply *reply, const char *bytes, size_t length)
{
    reply_append(reply, &reply->held, bytes, length);
    return reply->failed ? -1 : read_all(reply);
}

int reply_end(struct reply *reply)
{
    reply->ended = true;
    reply_append(reply, &reply->held, "", 0);
    if (read_all(reply) < 0) return -1;
    while (reply->in_call) { /* it waits for what does not come */
        reply_broken(reply);
        if (read_all(reply) < 0) return -1;
    }
    return reply->failed ? -1 : 0;
}
