/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Harmony (OpenAI's format of gpt-oss): an answer is a sequence of messages, each with a header that names channel and, for a
 * call, recipient. https://cookbook.openai.com/articles/openai-harmony
 */
#include "host/text/reply_internal.h"

#include <string.h>

static const char message[] = "<|message|>", channel[] = "<|channel|>";

/* Whether a header may begin here; MATCH_PART: not known yet. */
static enum reply_match header_begins(const struct reply *reply)
{
    static const char *const beginnings[] = {"<|start|>", channel, "to=", message, "<|constrain|>"};
    for (unsigned i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        enum reply_match match = reply_match(reply, reply->at, beginnings[i]);
        if (match != MATCH_NO) return match;
    }
    return MATCH_NO;
}

/* The word after part in the header: up to white space or a marker. */
static const char *word_after(const char *header, size_t length, const char *part, size_t *word_length)
{
    const char *word = memmem(header, length, part, strlen(part));
    *word_length = 0;
    if (!word) return NULL;
    word += strlen(part);
    while (word + *word_length < header + length && !strchr(" \t\r\n<", word[*word_length])) ++*word_length;
    return word;
}

static void read_header(struct reply *reply, size_t length)
{
    const char *header = reply->held.bytes + reply->at;
    size_t to_length, name_length;
    const char *to = word_after(header, length, "to=", &to_length);
    const char *name = word_after(header, length, channel, &name_length);
    bool is_call = reply->options.tools && to && to_length > 10 && memcmp(to, "functions.", 10) == 0;
    reply->channel_reasons = name && name_length == 8 && memcmp(name, "analysis", 8) == 0;
    reply->trim = false;
    reply->state = READ_CHANNEL_TEXT;
    if (is_call) {
        reply_calls_begin(reply);
        is_call = reply_set_name(reply, to + 10, to_length - 10);
        reply->in_call = is_call;
        reply->state = is_call ? READ_ARGUMENTS : READ_CHANNEL_TEXT;
    }
    reply_take(reply, length + sizeof message - 1);
    if (is_call) reply_call_start(reply);
}

static bool header_step(struct reply *reply)
{
    static const char *const marker[] = {message};
    size_t end;
    if (!reply_skip_space(reply)) return false;
    enum reply_match begins = header_begins(reply);
    if (begins == MATCH_PART) return false;
    bool found = begins == MATCH_WHOLE && reply_find(reply, reply->at, marker, 1, &end);
    if (begins == MATCH_WHOLE && !found && reply->ended) {
        if (reply->held.bytes[reply->at] == '<') reply->at = reply->held.length; /* a message that was not begun */
        begins = MATCH_NO;
    }
    if (begins == MATCH_WHOLE && !found && end - reply->at <= REPLY_MAX_HEADER) return false;
    if (found && end - reply->at <= REPLY_MAX_HEADER) {
        read_header(reply, end - reply->at);
        return true;
    }
    reply->channel_reasons = false; /* not the format: plain text */
    reply->state = READ_CHANNEL_TEXT;
    return true;
}

static bool text_step(struct reply *reply)
{
    static const char *const ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>"};
    size_t end, before = reply->at;
    const char *found = reply_find(reply, reply->at, ends, 4, &end);
    reply_say(reply, reply->channel_reasons ? REPLY_REASONING : REPLY_CONTENT, reply->held.bytes + reply->at,
              end - before);
    reply->at = end;
    if (!found) return false;
    if (found != ends[3]) reply_take(reply, strlen(found));
    reply->state = READ_CHANNEL;
    return true;
}

bool reply_channel_step(struct reply *reply)
{
    return reply->state == READ_CHANNEL ? header_step(reply) : text_step(reply);
}
