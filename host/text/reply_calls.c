/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of tools: what stands around them, and names with JSON arguments after them. */
#include "host/text/reply_internal.h"

#include <stdio.h>
#include <string.h>

void reply_calls_begin(struct reply *reply)
{
    reply->state = READ_CALLS;
    reply->in_call = true;
    reply->listed = reply->is_bare = false;
    reply->raw.length = 0;
    reply_call_begin(reply);
}

void reply_call_begin(struct reply *reply)
{
    reply->started = reply->in_object = reply->separated = false;
    reply->name.length = reply->arguments.length = reply->key.length = reply->value.length = 0;
    reply->id[0] = '\0';
    reply->value_length = 0;
    reply->n_keys = 0;
    json_scan_start(&reply->scan);
}

/* splitmix64 (Steele, Lea, Flood 2014), so that ids of one answer and of different ones differ. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void make_id(struct reply *reply)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    const bool is_short = reply->calls && reply->calls->short_ids;
    size_t at = is_short ? 0 : 5, length = is_short ? 9 : 29;
    memcpy(reply->id, "call_", 5);
    for (uint64_t i = 0; at < length; i++)
        reply->id[at++] = digits[mix(reply->options.seed + reply->n_calls * 64 + i) % 36];
    reply->id[at] = '\0';
}

void reply_call_start(struct reply *reply)
{
    if (reply->started) return;
    reply->started = true;
    if (!reply->id[0]) make_id(reply);
    reply_say(reply, REPLY_CALL_START, reply->name.bytes, reply->name.length);
}

void reply_calls_leave(struct reply *reply)
{
    reply->in_call = false;
    reply->raw.length = 0;
    reply->state = reply->dialect.channels ? READ_CHANNEL : READ_CONTENT;
    reply->trim = true;
}

void reply_call_whole(struct reply *reply)
{
    reply_say(reply, REPLY_CALL_END, NULL, 0);
    reply->n_calls++;
    reply->raw.length = 0;
    reply_call_begin(reply);
    reply->state = READ_CALLS;
    if (reply->dialect.channels) reply_calls_leave(reply);
}

void reply_broken(struct reply *reply)
{
    reply->in_call = false;
    if (reply->started) reply_say(reply, REPLY_CALL_BROKEN, NULL, 0);
    if (reply->started && !(reply->options.one_call && reply->n_calls > 0)) reply->n_calls++; /* its number is used */
    reply->state = reply->dialect.channels ? READ_CHANNEL_TEXT : READ_CONTENT;
    reply->channel_reasons = reply->trim = false;
    reply_say(reply, REPLY_CONTENT, reply->raw.bytes, reply->raw.length);
    reply->raw.length = 0;
}

/* ---- names ---- */

static void set_id(struct reply *reply, const char *text, size_t length)
{
    if (length == 0 || length >= sizeof reply->id) return;
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~') return;
    }
    memcpy(reply->id, text, length);
    reply->id[length] = '\0';
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("_-.:/", c));
}

bool reply_is_name(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!is_name_byte(text[i])) return false;
    }
    return length > 0 && length <= REPLY_MAX_NAME;
}

/* Kimi's names are functions.NAME:INDEX, and that is the call's id. */
static void take_kimi_name(struct reply *reply, const char **name, size_t *length)
{
    const char *colon = memrchr(*name, ':', *length);
    if (*length <= 10 || memcmp(*name, "functions.", 10) != 0 || !colon) return;
    set_id(reply, *name, *length);
    *length = (size_t)(colon - *name) - 10;
    *name += 10;
}

bool reply_set_name(struct reply *reply, const char *text, size_t length)
{
    const struct reply_calls *c = reply->calls;
    const char *part;
    if (c && c->id_start && (part = memmem(text, length, c->id_start, strlen(c->id_start)))) {
        const char *id = part + strlen(c->id_start);
        set_id(reply, id, (size_t)(text + length - id));
        length = (size_t)(part - text);
    }
    if (c && c->id_end && (part = memmem(text, length, c->id_end, strlen(c->id_end)))) {
        set_id(reply, text, (size_t)(part - text));
        part += strlen(c->id_end);
        length -= (size_t)(part - text);
        text = part;
    }
    while (length && (unsigned char)text[0] <= ' ') text++, length--;
    while (length && (unsigned char)text[length - 1] <= ' ') length--;
    take_kimi_name(reply, &text, &length);
    if (!reply_is_name(text, length)) return false;
    reply->name.length = 0;
    reply_append(reply, &reply->name, text, length);
    return true;
}

static bool name_step(struct reply *reply)
{
    const struct reply_calls *c = reply->calls;
    static const char *const line_ends[] = {"\n", "<", " "};
    size_t end = reply->at;
    const char *found = c->name_end ? reply_find(reply, reply->at, &c->name_end, 1, &end)
                                    : reply_find(reply, reply->at, line_ends, 3, &end);
    size_t length = end - reply->at;
    if (!found && length <= REPLY_MAX_HEADER && !reply->ended) return false;
    if (!found || length > REPLY_MAX_HEADER || !reply_set_name(reply, reply->held.bytes + reply->at, length)) {
        reply_broken(reply);
        return true;
    }
    reply_take(reply, length + (c->name_end ? strlen(found) : 0));
    reply->state = c->form == CALLS_XML ? READ_KEY : READ_ARGUMENTS;
    if (c->form == CALLS_LITERAL)
        reply_literal_begin(reply);
    else
        reply_call_start(reply);
    return true;
}

/* ---- arguments after a name ---- */

static bool arguments_step(struct reply *reply)
{
    if (reply->value_length == 0 && !reply_skip_space(reply)) return false;
    size_t start = reply->at, end = start;
    enum json_scan_result result = JSON_SCAN_MORE;
    if (reply->value_length == 0 && reply->held.bytes[start] != '{') result = JSON_SCAN_BAD;
    while (result == JSON_SCAN_MORE && end < reply->held.length) {
        result = json_scan_byte(&reply->scan, reply->held.bytes[end]);
        if (result != JSON_SCAN_BAD) end++;
    }
    reply_say(reply, REPLY_CALL_ARGUMENTS, reply->held.bytes + start, end - start);
    reply->value_length += end - start;
    reply_take(reply, end - start);
    if (result == JSON_SCAN_DONE) reply->state = READ_ARGUMENTS_END;
    if (result == JSON_SCAN_BAD) reply_broken(reply);
    return result != JSON_SCAN_MORE;
}

static bool arguments_end_step(struct reply *reply)
{
    const char *close = reply->dialect.channels ? "<|call|>" : reply->calls->call_close;
    if (close) {
        if (!reply_skip_space(reply) && !reply->ended) return false;
        enum reply_match match = reply->at < reply->held.length ? reply_match(reply, reply->at, close) : MATCH_NO;
        if (match == MATCH_PART) return false;
        if (match == MATCH_WHOLE) reply_take(reply, strlen(close));
    }
    reply_call_whole(reply);
    return true;
}

/* ---- between calls ---- */

/* Whether something was read since the last whole call that is more than what stands between calls. */
static bool has_begun(const struct reply *reply)
{
    for (size_t i = 0; i < reply->raw.length; i++) {
        if (!reply->raw.bytes[i] || !strchr(" \t\r\n,;]", reply->raw.bytes[i])) return true;
    }
    return false;
}

static bool nothing_more(struct reply *reply)
{
    if (has_begun(reply))
        reply_broken(reply);
    else
        reply_calls_leave(reply);
    return true;
}

static bool list_byte(struct reply *reply, char c)
{
    bool json = reply->calls->form == CALLS_JSON || (reply->calls->form == CALLS_NAMED && !reply->calls->call_open);
    if (!json || reply->calls->form == CALLS_XML) return false;
    if (c == '[' && !reply->listed) {
        reply->listed = true;
    } else if (c == ']' && reply->listed) {
        reply->listed = false;
        reply_take(reply, 1);
        if (!reply->calls->close) nothing_more(reply);
        return true;
    } else if (c == '{') {
        reply->state = READ_OBJECT;
        return true;
    } else if (c != ',' && c != ';') {
        return false;
    }
    reply_take(reply, 1);
    return true;
}

static bool between_step(struct reply *reply)
{
    const struct reply_calls *c = reply->calls;
    if (!reply_skip_space(reply)) return reply->ended ? nothing_more(reply) : false;
    const char *const markers[] = {c->close, c->call_open, reply->is_bare || !c->call_open ? c->open : NULL};
    for (unsigned i = 0; i < 3; i++) {
        enum reply_match match = markers[i] ? reply_match(reply, reply->at, markers[i]) : MATCH_NO;
        if (match == MATCH_PART) return false;
        if (match == MATCH_NO) continue;
        bool begun = has_begun(reply);
        reply_take(reply, strlen(markers[i]));
        if (i == 0 && begun)
            reply_broken(reply); /* a section without a call is text */
        else if (i == 0)
            reply_calls_leave(reply);
        if (i == 1) reply->state = READ_NAME;
        return true;
    }
    if (list_byte(reply, reply->held.bytes[reply->at])) return true;
    if (c->python && reply->listed && is_name_byte(reply->held.bytes[reply->at])) {
        reply->state = READ_PYTHON;
        return true;
    }
    if (c->form == CALLS_JSON || c->call_open || !has_begun(reply) || reply->listed) return nothing_more(reply);
    reply->state = READ_NAME;
    return true;
}

bool reply_calls_step(struct reply *reply)
{
    switch (reply->state) {
    case READ_NAME: return name_step(reply);
    case READ_ARGUMENTS: return arguments_step(reply);
    case READ_ARGUMENTS_END: return arguments_end_step(reply);
    default: return between_step(reply);
    }
}
