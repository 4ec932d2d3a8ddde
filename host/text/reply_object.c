/* SPDX-License-Identifier: Apache-2.0 */
/* A call as one JSON object, name and arguments inside: arguments that come after the name go out as they are read. */
#include "host/text/reply_internal.h"

#include <string.h>

static bool key_is(const struct reply *reply, const char *name)
{
    return reply->key.length == strlen(name) && memcmp(reply->key.bytes, name, reply->key.length) == 0;
}

static bool key_is_arguments(const struct reply *reply)
{
    return reply->calls->name_is_key || key_is(reply, "arguments") || key_is(reply, "parameters");
}

static bool is_tool(const struct reply *reply)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(reply->options.tools, i, tool)
    {
        const json_t *name = json_object_get(json_object_get(tool, "function"), "name");
        if (json_string_length(name) == reply->name.length &&
            memcmp(json_string_value(name), reply->name.bytes, reply->name.length) == 0)
            return true;
    }
    return false;
}

/* A member's value that was kept whole. False: this is no call. */
static bool keep_value(struct reply *reply, struct text *value)
{
    json_t *json = json_loadb(value->bytes, value->length, JSON_DECODE_ANY, NULL);
    bool good = json != NULL;
    if (json && (key_is(reply, "name") || key_is(reply, "tool_name") || key_is(reply, "function"))) {
        good = json_is_string(json) && reply_set_name(reply, json_string_value(json), json_string_length(json)) &&
               (!reply->is_bare || is_tool(reply));
    } else if (json && key_is_arguments(reply)) {
        json_t *inner =
            json_is_string(json) ? json_loadb(json_string_value(json), json_string_length(json), 0, NULL) : NULL;
        good = json_is_object(json) || json_is_object(inner) || json_is_null(json);
        if (json_is_string(json)) {
            value->length = 0;
            reply_append(reply, value, json_string_value(json), json_string_length(json));
        } else if (json_is_null(json)) {
            value->length = 0;
            reply_append(reply, value, "{}", 2);
        }
        json_decref(inner);
    } else if (json && reply->is_bare) {
        good = key_is(reply, "type") || key_is(reply, "id");
    }
    if (!key_is_arguments(reply)) value->length = 0;
    json_decref(json);
    return good;
}

static bool object_done(struct reply *reply)
{
    bool has_arguments = reply->started || reply->arguments.length > 0;
    if (reply->name.length == 0 || (!has_arguments && reply->is_bare)) {
        reply_broken(reply);
        return true;
    }
    if (!reply->started) {
        reply_call_start(reply);
        if (reply->arguments.length)
            reply_say(reply, REPLY_CALL_ARGUMENTS, reply->arguments.bytes, reply->arguments.length);
        else
            reply_say(reply, REPLY_CALL_ARGUMENTS, "{}", 2);
    }
    reply_call_whole(reply);
    return true;
}

/* A key with its colon; the object's end; commas. */
static bool member_start(struct reply *reply)
{
    if (!reply_skip_space(reply)) return false;
    const char *bytes = reply->held.bytes + reply->at;
    size_t left = reply->held.length - reply->at, end = 0;
    if (bytes[0] == '{' && !reply->in_object) {
        reply->in_object = reply->separated = true;
        reply_take(reply, 1);
        return true;
    }
    if (bytes[0] == '}' && (!reply->separated || reply->n_keys == 0)) {
        reply_take(reply, 1);
        return object_done(reply);
    }
    if (bytes[0] == ',' && !reply->separated) {
        reply->separated = true;
        reply_take(reply, 1);
        return true;
    }
    struct json_scan scan;
    enum json_scan_result result = bytes[0] == '"' && reply->separated ? JSON_SCAN_MORE : JSON_SCAN_BAD;
    json_scan_start(&scan);
    while (result == JSON_SCAN_MORE && end < left) result = json_scan_byte(&scan, bytes[end++]);
    size_t key_end = end;
    while (result == JSON_SCAN_DONE && end < left && (unsigned char)bytes[end] <= ' ') end++;
    if (result != JSON_SCAN_BAD && end == left && left <= REPLY_MAX_HEADER) return false;
    if (result != JSON_SCAN_DONE || end > REPLY_MAX_HEADER || bytes[end] != ':') {
        reply_broken(reply);
        return true;
    }
    reply->key.length = 0;
    reply_append(reply, &reply->key, bytes + 1, key_end - 2);
    if (reply->calls->name_is_key && !reply_set_name(reply, bytes + 1, key_end - 2)) {
        reply_broken(reply);
        return true;
    }
    reply_take(reply, end + 1);
    reply->separated = false;
    reply->n_keys++;
    reply->value_length = 0;
    json_scan_start(&reply->scan);
    reply->state = READ_MEMBER;
    return true;
}

static bool member_value(struct reply *reply)
{
    if (reply->value_length == 0 && !reply_skip_space(reply)) return false;
    size_t start = reply->at, end = start;
    if (reply->value_length == 0 && key_is_arguments(reply)) {
        if (reply->started || reply->arguments.length) { /* there were arguments already */
            reply_broken(reply);
            return true;
        }
        if (reply->held.bytes[start] == '{' && reply->name.length) reply_call_start(reply);
    }
    bool streams = reply->started && key_is_arguments(reply);
    enum json_scan_result result = JSON_SCAN_MORE;
    while (result == JSON_SCAN_MORE && end < reply->held.length) {
        result = json_scan_byte(&reply->scan, reply->held.bytes[end]);
        if (result == JSON_SCAN_MORE || result == JSON_SCAN_DONE) end++;
    }
    /* Values of other keys than the arguments are kept behind what may be kept of these. */
    struct text *value = key_is_arguments(reply) ? &reply->arguments : &reply->value;
    if (streams)
        reply_say(reply, REPLY_CALL_ARGUMENTS, reply->held.bytes + start, end - start);
    else
        reply_append(reply, value, reply->held.bytes + start, end - start);
    reply->value_length += end - start;
    reply_take(reply, end - start);
    if (result == JSON_SCAN_MORE || reply->failed) return false;
    reply->state = READ_OBJECT;
    if (result == JSON_SCAN_BAD || (!streams && !keep_value(reply, value))) reply_broken(reply);
    return true;
}

bool reply_object_step(struct reply *reply)
{
    return reply->state == READ_MEMBER ? member_value(reply) : member_start(reply);
}
