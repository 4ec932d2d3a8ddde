/* SPDX-License-Identifier: Apache-2.0 */
/* The filter wordwrap: lines filled with whole words as Python's textwrap does, white space kept inside a line. */
#include "host/text/jinja_character.h"
#include "host/text/jinja_eval.h"

#include <string.h>

struct chunk {
    size_t start, length, characters;
    bool space;
};

struct wrapper {
    struct jinja_run *run;
    const char *bytes;
    struct chunk *chunks;
    size_t count, capacity;
    size_t width;
    bool break_words, hyphens;
    struct jinja_list *lines;
};

static void push_chunk(struct wrapper *w, size_t start, size_t end, bool space)
{
    struct chunk chunk = {start, end - start, 0, space};
    if (start == end) return;
    if (w->count == w->capacity) {
        struct chunk *grown = jinja_grow(w->run, w->chunks, w->count, &w->capacity, w->count + 1, sizeof *grown);
        if (!grown) return;
        w->chunks = grown;
    }
    for (size_t i = start; i < end; i++) chunk.characters += ((unsigned char)w->bytes[i] & 0xc0) != 0x80;
    w->chunks[w->count++] = chunk;
}

static bool is_space(char c) { return c && strchr("\t\n\v\f\r ", c); }

/* Whether a letter stands at least one word character behind `at`, as "\w+[^0-9\W]" wants it. */
static bool word_follows(const char *bytes, size_t at, size_t end)
{
    for (size_t seen = 0; at < end; seen++) {
        unsigned n;
        uint32_t c = jinja_character(bytes + at, end - at, &n);
        if (!jinja_character_is(c, JINJA_WORD)) return false;
        if (seen > 0 && !(c >= '0' && c <= '9')) return true;
        at += n;
    }
    return false;
}

/* A word, cut behind its hyphens: "well-known" is two chunks. */
static void push_word(struct wrapper *w, size_t start, size_t end)
{
    size_t from = start, words = 0;
    for (size_t at = start; at < end && w->hyphens;) {
        unsigned n;
        uint32_t c = jinja_character(w->bytes + at, end - at, &n);
        bool letter_before = at > start && !(w->bytes[at - 1] >= '0' && w->bytes[at - 1] <= '9');
        if (c == '-' && words >= 2 && letter_before && word_follows(w->bytes, at + 1, end)) {
            push_chunk(w, from, at + 1, false);
            from = at + 1;
        }
        words = jinja_character_is(c, JINJA_WORD) ? words + 1 : 0;
        at += n;
    }
    push_chunk(w, from, end, false);
}

static void split_chunks(struct wrapper *w, size_t length)
{
    for (size_t at = 0; at < length && jinja_step(w->run, 1);) {
        size_t end = at;
        bool space = is_space(w->bytes[at]);
        while (end < length && is_space(w->bytes[end]) == space) end++;
        if (space)
            push_chunk(w, at, end, true);
        else
            push_word(w, at, end);
        at = end;
    }
}

/* The first `characters` of a chunk as one of its own, the rest left in its place. */
static size_t cut(const struct wrapper *w, struct chunk *chunk, size_t characters)
{
    size_t n = 0;
    for (; n < chunk->length && characters > 0; characters--) {
        n++;
        while (n < chunk->length && ((unsigned char)w->bytes[chunk->start + n] & 0xc0) == 0x80) n++;
        chunk->characters--;
    }
    chunk->start += n;
    chunk->length -= n;
    return n;
}

/* How many of the first characters of a word go on a line with room for so many: up to a hyphen in them, if words break there. */
static size_t behind_hyphen(const struct wrapper *w, const struct chunk *chunk, size_t room)
{
    const char *bytes = w->bytes + chunk->start;
    size_t hyphen = 0, character = 0;
    bool others = false;
    for (size_t at = 0; at < chunk->length && w->hyphens; at++) {
        if (((unsigned char)bytes[at] & 0xc0) == 0x80) continue;
        if (character == room) break;
        if (bytes[at] == '-' && others) hyphen = character + 1;
        if (bytes[at] != '-') others = true;
        character++;
    }
    return hyphen ? hyphen : room;
}

static void wrap_line(struct wrapper *w, const char *bytes, size_t length)
{
    w->bytes = bytes;
    w->count = 0;
    split_chunks(w, length);
    size_t i = 0;
    bool any = false;
    while (i < w->count && jinja_step(w->run, 1)) {
        size_t used = 0;
        if (w->chunks[i].space && any) i++;
        if (i == w->count) break;
        size_t start = w->chunks[i].start, end = start, last_word = start;
        for (; i < w->count && used + w->chunks[i].characters <= w->width; i++) {
            used += w->chunks[i].characters;
            end = w->chunks[i].start + w->chunks[i].length;
            if (!w->chunks[i].space) last_word = end;
        }
        if (i < w->count && w->chunks[i].characters > w->width) {
            size_t room = w->width > used ? w->width - used : used ? 0 : 1;
            if (w->break_words) { /* where there is no room, an empty piece hides the space before it from being cut off */
                end += cut(w, &w->chunks[i], behind_hyphen(w, &w->chunks[i], room));
                last_word = end;
            } else if (used == 0) {
                end = last_word = w->chunks[i].start + w->chunks[i].length;
                i++;
            }
        }
        if (last_word > start) {
            jinja_push(w->run, w->lines, jinja_string(w->run, bytes + start, last_word - start));
            any = true;
        }
    }
}

struct jinja_value jinja_wordwrap(struct jinja_run *run, struct jinja_call *call)
{
    struct jinja_value lines = jinja_list(run, JINJA_LIST, 0), newline = jinja_text(run, "\n"), by = newline;
    int64_t width = jinja_arg_integer(run, call->arg[0], 79);
    const struct jinja_string *s = jinja_arg_string(run, call->self);
    if (jinja_given_not_none(call->arg[2])) by = call->arg[2];
    if (width <= 0) jinja_raise(run, "invalid width %lld (must be > 0)", (long long)width);
    if (jinja_failed(run) || !jinja_arg_string(run, by)) return jinja_nothing();
    struct wrapper w = {.run = run,
                        .width = (size_t)width,
                        .break_words = jinja_arg_true(call->arg[1], true),
                        .hyphens = jinja_arg_true(call->arg[3], true),
                        .lines = lines.list};
    for (size_t at = 0; at < s->length && jinja_step(run, 1);) {
        const char *end = memchr(s->bytes + at, '\n', s->length - at);
        size_t length = end ? (size_t)(end - s->bytes) - at : s->length - at, before = lines.list->count;
        wrap_line(&w, s->bytes + at, length);
        if (lines.list->count == before) jinja_push(run, lines.list, jinja_string(run, "", 0));
        at += length + 1;
    }
    return jinja_failed(run) ? jinja_nothing() : jinja_join(run, by.string, lines);
}
