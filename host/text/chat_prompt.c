/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations by the model's own template. The template writes names of control tokens as text, and so may a message. To
 * tell them apart every such name in what was given gets a guard behind its first character: a noncharacter of Unicode that
 * occurs nowhere else, and that is taken out again once the names that the template wrote have become tokens.
 */
#include "host/base/memory.h"
#include "host/text/chat.h"
#include "host/text/chat_template.h"
#include "host/text/chat_tools.h"
#include "host/text/utf8.h"

#include <string.h>

/* Tokens at the end of a prompt, enough for a marker in bytes and white space after it. */
#define PROMPT_TAIL 48

#define MAX_DEPTH 100 /* of nested values; deeper ones are left as they are, and templates refuse them */

struct chat {
    const struct gguf *file;
    const struct tokenizer *tokenizer;
    struct jinja_template *template, *tool_template; /* NULL: the built-in format; NULL: the same for tools */
    enum chat_format format;
    bool knows_tools;
    struct reply_dialect dialect;
    uint32_t shown[2][REPLY_MAX_MARKERS]; /* without and with the markers of calls */
    size_t n_shown[2];
};

/* What the template's text tells about the answers. */
static void read_template(struct chat *chat)
{
    struct gguf_string source = {0};
    struct error err = {0};
    if (chat->tool_template)
        gguf_get_string(chat->file, "tokenizer.chat_template.tool_use", &source, &err);
    else if (chat->template)
        gguf_get_string(chat->file, "tokenizer.chat_template", &source, &err);
    chat->knows_tools = source.length && memmem(source.bytes, source.length, "tools", 5);
    reply_dialect_of(source.bytes, source.length, &chat->dialect);
    if (!chat->knows_tools) reply_dialect_plain(&chat->dialect);
    for (unsigned calls = 0; calls < 2; calls++) {
        const char *markers[REPLY_MAX_MARKERS];
        const unsigned n = reply_markers(&chat->dialect, calls, markers);
        for (unsigned i = 0; i < n; i++) {
            const int64_t id = tokenizer_find(chat->tokenizer, markers[i]);
            if (id >= 0) chat->shown[calls][chat->n_shown[calls]++] = (uint32_t)id;
        }
    }
}

bool chat_knows_tools(const struct chat *chat) { return chat->knows_tools; }

const struct reply_dialect *chat_dialect(const struct chat *chat) { return &chat->dialect; }

const uint32_t *chat_shown(const struct chat *chat, bool tools, size_t *count)
{
    *count = chat->n_shown[tools];
    return chat->shown[tools];
}

int chat_opens_reasoning(const struct chat *chat, const uint32_t *prompt, size_t n_prompt, bool *opened,
                         struct error *err)
{
    const size_t tail = n_prompt < PROMPT_TAIL ? n_prompt : PROMPT_TAIL;
    struct text text = {0};
    const int status = detokenize_bytes(chat->tokenizer, prompt + n_prompt - tail, tail, &text, err);
    *opened = status == 0 && reply_opens_reasoning(&chat->dialect, text.bytes, text.length);
    text_free(&text);
    return status;
}

int chat_open(const struct gguf *file, const struct tokenizer *tokenizer, struct chat **out, struct error *err)
{
    struct chat *chat = memory_array(1, sizeof *chat);
    *out = NULL;
    if (!chat) return error_set(err, ERROR_NO_MEMORY, "chat: out of memory");
    chat->file = file;
    chat->tokenizer = tokenizer;
    int status = chat_template_open(file, false, &chat->template, err);
    if (status == ERROR_NOT_FOUND)
        status = chat_format_of(tokenizer, &chat->format, err);
    else if (!status && gguf_find(file, "tokenizer.chat_template.tool_use"))
        status = chat_template_open(file, true, &chat->tool_template, err);
    if (!status) {
        read_template(chat);
        *out = chat;
    } else {
        chat_close(chat);
    }
    return status;
}

void chat_close(struct chat *chat)
{
    if (!chat) return;
    jinja_template_free(chat->template);
    jinja_template_free(chat->tool_template);
    free(chat);
}

const char *chat_name(const struct chat *chat)
{
    return chat->template ? "the model's template" : chat_format_name(chat->format);
}

static bool holds(const json_t *json, const char *bytes, unsigned depth)
{
    const json_t *element;
    size_t i;
    if (depth > MAX_DEPTH) return false;
    if (json_is_string(json)) return memmem(json_string_value(json), json_string_length(json), bytes, strlen(bytes));
    json_array_foreach(json, i, element)
    {
        if (holds(element, bytes, depth + 1)) return true;
    }
    for (void *at = json_object_iter((json_t *)(uintptr_t)json); at;
         at = json_object_iter_next((json_t *)(uintptr_t)json, at)) {
        if (strstr(json_object_iter_key(at), bytes) || holds(json_object_iter_value(at), bytes, depth + 1)) return true;
    }
    return false;
}

/* One of U+FDD0..U+FDEF that does not occur in json. False if all of them do. */
static bool choose_guard(const json_t *json, char guard[4])
{
    memcpy(guard, "\xef\xb7\x90", 4);
    for (unsigned i = 0; i < 32; i++) {
        guard[2] = (char)(0x90 + i);
        if (!holds(json, guard, 0)) return true;
    }
    return false;
}

struct guarding {
    const struct tokenizer *tokenizer;
    char guard[4];
    struct error *err;
    int status;
};

static json_t *guarded(struct guarding *g, const json_t *json, unsigned depth);

static json_t *guarded_string(struct guarding *g, const json_t *json)
{
    const char *bytes = json_string_value(json);
    size_t length = json_string_length(json), from = 0, done = 0;
    struct control_name name;
    struct text text = {0};
    if (!tokenizer_find_control(g->tokenizer, bytes, length, 0, &name)) return json_incref((json_t *)(uintptr_t)json);
    while (!g->status && tokenizer_find_control(g->tokenizer, bytes, length, from, &name)) {
        from = name.start + 1;
        while (from < length && ((unsigned char)bytes[from] & 0xc0) == 0x80) from++;
        g->status = text_append(&text, bytes + done, from - done, g->err);
        if (!g->status) g->status = text_append(&text, g->guard, 3, g->err);
        done = from;
    }
    if (!g->status) g->status = text_append(&text, bytes + done, length - done, g->err);
    json_t *out = g->status ? NULL : json_stringn(text.bytes, text.length);
    text_free(&text);
    return out;
}

static json_t *guarded_object(struct guarding *g, const json_t *json, unsigned depth)
{
    json_t *out = json_object();
    for (void *at = json_object_iter((json_t *)(uintptr_t)json); at && out;
         at = json_object_iter_next((json_t *)(uintptr_t)json, at)) {
        json_t *value = guarded(g, json_object_iter_value(at), depth + 1);
        if (!value || json_object_set_new(out, json_object_iter_key(at), value) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* A copy with guards in its strings; NULL without memory. */
static json_t *guarded(struct guarding *g, const json_t *json, unsigned depth)
{
    const json_t *element;
    size_t i;
    if (depth > MAX_DEPTH) return json_incref((json_t *)(uintptr_t)json);
    if (json_is_string(json)) return guarded_string(g, json);
    if (json_is_object(json)) return guarded_object(g, json, depth);
    if (!json_is_array(json)) return json_incref((json_t *)(uintptr_t)json);
    json_t *out = json_array();
    json_array_foreach(json, i, element)
    {
        json_t *value = out ? guarded(g, element, depth + 1) : NULL;
        if (value && json_array_append_new(out, value) == 0) continue;
        json_decref(out);
        return NULL;
    }
    return out;
}

static json_t *message_json(const struct chat_message *message)
{
    json_t *out = message->json ? json_copy((json_t *)(uintptr_t)message->json) : json_object();
    json_t *content = message->content ? json_stringn(message->content, message->content_length) : json_null();
    if (!out || json_object_set_new(out, "role", json_string(message->role)) < 0 ||
        json_object_set_new(out, "content", content) < 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* What the template gets, without guards and defaults. NULL without memory. */
static json_t *plain_variables(const struct chat_message *messages, size_t n_messages, const json_t *variables)
{
    json_t *out = json_object(), *list = json_array();
    bool good = out && list && json_object_set_new(out, "add_generation_prompt", json_true()) == 0;
    if (good && variables) good = json_object_update(out, (json_t *)(uintptr_t)variables) == 0;
    for (size_t i = 0; good && i < n_messages; i++) {
        json_t *message = message_json(&messages[i]);
        good = message && json_array_append_new(list, message) == 0;
    }
    if (good && json_object_set(out, "messages", list) == 0) {
        json_decref(list);
        return out;
    }
    json_decref(out);
    json_decref(list);
    return NULL;
}

/* Takes the guards out of text[0..length). Returns the new length. */
static size_t remove_guards(char *text, size_t length, const char *guard)
{
    size_t to = 0, at = 0;
    while (at < length) {
        char *found = memmem(text + at, length - at, guard, 3);
        size_t end = found ? (size_t)(found - text) : length;
        memmove(text + to, text + at, end - at);
        to += end - at;
        at = found ? end + 3 : length;
    }
    return to;
}

/* Names of control tokens become those; what stands between them is text without guards. */
static int tokenize_rendered(const struct chat *chat, struct text *text, const char *guard, struct token_list *list,
                             struct error *err)
{
    struct control_name name = {0};
    size_t before = list->count, at = 0;
    bool found = true;
    int status = 0;
    while (!status && found) {
        found = tokenizer_find_control(chat->tokenizer, text->bytes, text->length, at, &name);
        size_t end = found ? name.start : text->length;
        size_t length = remove_guards(text->bytes + at, end - at, guard);
        if (length) status = tokenize(chat->tokenizer, text->bytes + at, length, 0, list, err);
        if (!status && found) status = token_list_push(list, name.id, err);
        at = name.start + name.length;
    }
    int64_t bos = tokenizer_bos(chat->tokenizer);
    bool missing = tokenizer_adds_bos(chat->tokenizer) && bos >= 0 &&
                   (list->count == before || list->ids[before] != (uint32_t)bos);
    if (status || !missing) return status;
    status = token_list_push(list, (uint32_t)bos, err);
    if (status) return status;
    memmove(list->ids + before + 1, list->ids + before, (list->count - before - 1) * sizeof *list->ids);
    list->ids[before] = (uint32_t)bos;
    return 0;
}

static int render(const struct chat *chat, const json_t *plain, struct token_list *list, struct error *err)
{
    struct guarding g = {.tokenizer = chat->tokenizer, .err = err};
    struct text text = {0};
    if (!choose_guard(plain, g.guard)) return error_set(err, ERROR_BAD_ARGUMENT, "chat: too many noncharacters");
    json_t *variables = guarded(&g, plain, 0);
    int status = variables ? 0 : error_set(err, ERROR_NO_MEMORY, "chat: no host memory for the conversation");
    if (!status) status = chat_template_defaults(chat->file, variables, err);
    bool tools = chat->tool_template && json_is_array(json_object_get(variables, "tools"));
    if (!status) status = text_append(&text, "", 0, err);
    if (!status) status = jinja_render(tools ? chat->tool_template : chat->template, variables, NULL, &text, err);
    if (status == ERROR_BAD_ARGUMENT) error_prefix(err, "the model's chat template");
    if (!status) status = tokenize_rendered(chat, &text, g.guard, list, err);
    text_free(&text);
    json_decref(variables);
    return status;
}

static int prompt_of(const struct chat *chat, const struct chat_message *messages, size_t n_messages,
                     const json_t *variables, struct token_list *list, struct error *err)
{
    if (!chat->template) return chat_tokenize(chat->tokenizer, chat->format, messages, n_messages, list, err);
    for (size_t i = 0; i < n_messages; i++) {
        size_t length = messages[i].content_length;
        if (length && utf8_valid_prefix((const uint8_t *)messages[i].content, length) != length)
            return error_set(err, ERROR_BAD_ARGUMENT, "chat: a message is not UTF-8, which the model's template needs");
    }
    size_t before = list->count;
    json_t *plain = plain_variables(messages, n_messages, variables);
    int status = plain ? render(chat, plain, list, err)
                       : error_set(err, ERROR_NO_MEMORY, "chat: no host memory for the conversation");
    if (status) list->count = before;
    json_decref(plain);
    return status;
}

int chat_prompt(const struct chat *chat, const struct chat_message *messages, size_t n_messages,
                const json_t *variables, struct token_list *list, struct error *err)
{
    struct tool_messages made = {0};
    int status = 0;
    if (chat->knows_tools) return prompt_of(chat, messages, n_messages, variables, list, err);
    status = tool_messages_make(messages, n_messages, json_object_get(variables, "tools"), &made, err);
    if (!status) status = prompt_of(chat, made.messages, made.n, variables, list, err);
    tool_messages_free(&made);
    return status;
}
