/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments as keys and values in text become a JSON object. A value is a string where the tool's schema says so, and goes out
 * as it is read; else it is JSON if it is valid JSON, and a string if not.
 */
#include "host/text/reply_internal.h"

#include <stdio.h>
#include <string.h>

static void say_arguments(struct reply *reply, const char *text)
{
    reply_say(reply, REPLY_CALL_ARGUMENTS, text, strlen(text));
}

/* The bytes as they stand inside a JSON string. */
static void say_escaped(struct reply *reply, const char *bytes, size_t length)
{
    size_t done = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        char escape[8];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        reply_say(reply, REPLY_CALL_ARGUMENTS, bytes + done, i - done);
        done = i + 1;
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else
            snprintf(escape, sizeof escape, "\\u%04x", c);
        say_arguments(reply, escape);
    }
    reply_say(reply, REPLY_CALL_ARGUMENTS, bytes + done, length - done);
}

static const json_t *schema_of(const struct reply *reply)
{
    const json_t *tool;
    size_t i;
    json_array_foreach(reply->options.tools, i, tool)
    {
        const json_t *function = json_object_get(tool, "function"), *name = json_object_get(function, "name");
        if (json_string_length(name) != reply->name.length ||
            memcmp(json_string_value(name), reply->name.bytes, reply->name.length) != 0)
            continue;
        const json_t *properties = json_object_get(json_object_get(function, "parameters"), "properties");
        return json_object_get(properties, reply->key.bytes);
    }
    return NULL;
}

static bool schema_says_string(const struct reply *reply)
{
    const char *type = json_string_value(json_object_get(schema_of(reply), "type"));
    return type && strcmp(type, "string") == 0;
}

/* Takes the key and what stands around it. DeepSeek's say beside the key whether the value is a string. */
static bool take_key(struct reply *reply)
{
    const struct reply_calls *c = reply->calls;
    size_t open = strlen(c->key_open), end;
    const char *found = reply_find(reply, reply->at + open, &c->key_end, 1, &end);
    size_t length = end - reply->at - open;
    if (!found && length <= REPLY_MAX_HEADER && !reply->ended) return false;
    if (!found || length > REPLY_MAX_HEADER) {
        reply_broken(reply);
        return true;
    }
    const char *key = reply->held.bytes + reply->at + open, *quote = memchr(key, '"', length);
    reply->value_forced = -1;
    if (quote) {
        size_t rest = (size_t)(key + length - quote);
        reply->value_forced = memmem(quote, rest, "\"true\"", 6) ? 1 : memmem(quote, rest, "\"false\"", 7) ? 0 : -1;
        length = (size_t)(quote - key);
    }
    reply->key.length = 0;
    reply_append(reply, &reply->key, key, length);
    reply_take(reply, end - reply->at + strlen(c->key_end));
    reply->value_is_text = reply->value_forced < 0 ? schema_says_string(reply) : reply->value_forced == 1;
    say_arguments(reply, reply->n_keys++ ? ", \"" : "{\"");
    say_escaped(reply, reply->key.bytes, reply->key.length);
    say_arguments(reply, reply->value_is_text ? "\": \"" : "\": ");
    reply->value.length = reply->value_length = 0;
    reply->value_begun = c->value_open == NULL;
    reply->state = READ_VALUE;
    return true;
}

static bool key_step(struct reply *reply)
{
    const struct reply_calls *c = reply->calls;
    if (!reply_skip_space(reply)) return false;
    enum reply_match end = reply_match(reply, reply->at, c->call_close),
                     key = reply_match(reply, reply->at, c->key_open);
    if (end == MATCH_WHOLE) {
        reply_take(reply, strlen(c->call_close));
        say_arguments(reply, reply->n_keys ? "}" : "{}");
        reply_call_whole(reply);
        return true;
    }
    if (key == MATCH_WHOLE) return take_key(reply);
    if (end == MATCH_PART || key == MATCH_PART) return false;
    reply_broken(reply);
    return true;
}

static void say_value(struct reply *reply)
{
    static const char *const python[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const char *bytes = reply->value.bytes;
    size_t length = reply->value.length;
    while (length && (unsigned char)bytes[0] <= ' ') bytes++, length--;
    while (length && (unsigned char)bytes[length - 1] <= ' ') length--;
    for (unsigned i = 0; i < 3; i++) {
        if (length != strlen(python[i][0]) || memcmp(bytes, python[i][0], length) != 0) continue;
        bytes = python[i][1];
        length = strlen(bytes);
    }
    json_t *json = length ? json_loadb(bytes, length, JSON_DECODE_ANY, NULL) : NULL;
    if (json) {
        reply_say(reply, REPLY_CALL_ARGUMENTS, bytes, length);
    } else {
        say_arguments(reply, "\"");
        say_escaped(reply, reply->value.bytes, reply->value.length);
        say_arguments(reply, "\"");
    }
    json_decref(json);
}

static bool value_step(struct reply *reply)
{
    const struct reply_calls *c = reply->calls;
    if (!reply->value_begun) {
        if (!reply_skip_space(reply)) return false;
        enum reply_match match = reply_match(reply, reply->at, c->value_open);
        if (match == MATCH_PART) return false;
        if (match == MATCH_NO) {
            reply_broken(reply);
            return true;
        }
        reply_take(reply, strlen(c->value_open));
        reply->value_begun = true;
        return true;
    }
    if (reply->at == reply->held.length) return false;
    if (c->lines && reply->value_length == 0 && reply->held.bytes[reply->at] == '\n') {
        reply_take(reply, 1);
        reply->value_length = 1;
        return true;
    }
    size_t end;
    const bool found = reply_find(reply, reply->at, &c->value_end, 1, &end) != NULL;
    size_t shown = end - (c->lines && end > reply->at && reply->held.bytes[end - 1] == '\n' ? 1 : 0);
    if (reply->value_is_text)
        say_escaped(reply, reply->held.bytes + reply->at, shown - reply->at);
    else
        reply_append(reply, &reply->value, reply->held.bytes + reply->at, shown - reply->at);
    reply->value_length += shown - reply->at;
    reply_take(reply, shown - reply->at);
    if (!found) return false;
    reply_take(reply, end - shown + strlen(c->value_end));
    if (reply->value_is_text)
        say_arguments(reply, "\"");
    else
        say_value(reply);
    reply->state = READ_KEY;
    return true;
}

bool reply_xml_step(struct reply *reply) { return reply->state == READ_KEY ? key_step(reply) : value_step(reply); }
