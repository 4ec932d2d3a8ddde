/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/chat.h"
#include "host/text/utf8.h"

#include <string.h>

static bool has_control(const struct tokenizer *tokenizer, const char *name)
{
    int64_t id = tokenizer_find(tokenizer, name);
    return id >= 0 && tokenizer_is_control(tokenizer, (uint32_t)id);
}

int chat_format_of(const struct tokenizer *tokenizer, enum chat_format *out, struct error *err)
{
    if (has_control(tokenizer, "<|im_start|>") && has_control(tokenizer, "<|im_end|>")) {
        *out = CHAT_CHATML;
        return 0;
    }
    if (has_control(tokenizer, "<|start_header_id|>") && has_control(tokenizer, "<|end_header_id|>") &&
        has_control(tokenizer, "<|eot_id|>")) {
        *out = CHAT_LLAMA3;
        return 0;
    }
    return error_set(err, ERROR_UNSUPPORTED,
                     "chat: the model's vocabulary has neither ChatML's nor Llama 3's special tokens "
                     "(use /v1/completions, or run --raw)");
}

const char *chat_format_name(enum chat_format format) { return format == CHAT_CHATML ? "ChatML" : "Llama 3"; }

/*
 * The conversation is written as special tokens with runs of text between them. A run is tokenized as one piece,
 * template and message together, since words may reach from one into the other.
 */
struct writer {
    const struct tokenizer *tokenizer;
    struct token_list *list;
    struct text run;
    struct error *err;
    int status; /* the first error; what follows does nothing */
};

static void write_text(struct writer *writer, const char *text, size_t length)
{
    if (!writer->status) writer->status = text_append(&writer->run, text, length, writer->err);
}

static void write_literal(struct writer *writer, const char *text) { write_text(writer, text, strlen(text)); }

/* No flags: special tokens' names in a message are text. */
static void end_run(struct writer *writer)
{
    if (!writer->status && writer->run.length)
        writer->status =
            tokenize(writer->tokenizer, writer->run.bytes, writer->run.length, 0, writer->list, writer->err);
    writer->run.length = 0;
}

static void write_special(struct writer *writer, const char *name)
{
    end_run(writer);
    if (writer->status) return;
    int64_t id = tokenizer_find(writer->tokenizer, name);
    writer->status = id < 0 ? error_set(writer->err, ERROR_UNSUPPORTED, "chat: the model's vocabulary has no %s", name)
                            : token_list_push(writer->list, (uint32_t)id, writer->err);
}

static void write_bos(struct writer *writer)
{
    int64_t bos = tokenizer_bos(writer->tokenizer);
    if (!writer->status && bos >= 0) writer->status = token_list_push(writer->list, (uint32_t)bos, writer->err);
}

/* White space as Python's str.strip has it, which runs the published template: Unicode's White_Space and 0x1c-0x1f. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Takes white space off both ends, as the template's "| trim" does. */
static void trim(const char **text, size_t *length)
{
    const uint8_t *bytes = (const uint8_t *)*text;
    size_t start = 0, end = 0; /* end: after the last character that is no white space */
    for (size_t i = 0; i < *length;) {
        unsigned n;
        bool character = utf8_scan(bytes + i, *length - i, &n) == UTF8_CHARACTER;
        bool space = character && is_space(utf8_decode(bytes + i, n));
        i += n;
        if (!space) end = i;
        if (space && end == 0) start = i;
    }
    *text += start;
    *length = end > start ? end - start : 0;
}

/*
 * <|im_start|>role\ncontent<|im_end|>\n (OpenAI's ChatML document; the template of Qwen2 without its default system
 * message).
 */
static void write_chatml(struct writer *writer, const struct chat_message *messages, size_t n_messages)
{
    if (tokenizer_adds_bos(writer->tokenizer)) write_bos(writer);
    for (size_t i = 0; i < n_messages; i++) {
        write_special(writer, "<|im_start|>");
        write_literal(writer, messages[i].role);
        write_literal(writer, "\n");
        write_text(writer, messages[i].content, messages[i].content_length);
        write_special(writer, "<|im_end|>");
        write_literal(writer, "\n");
    }
    write_special(writer, "<|im_start|>");
    write_literal(writer, "assistant\n");
    end_run(writer);
}

/*
 * <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|> after BOS (Meta's Llama 3 prompt format and template).
 */
static void write_llama3(struct writer *writer, const struct chat_message *messages, size_t n_messages)
{
    write_bos(writer);
    for (size_t i = 0; i < n_messages; i++) {
        const char *content = messages[i].content;
        size_t length = messages[i].content_length;
        trim(&content, &length);
        write_special(writer, "<|start_header_id|>");
        write_literal(writer, messages[i].role);
        write_special(writer, "<|end_header_id|>");
        write_literal(writer, "\n\n");
        write_text(writer, content, length);
        write_special(writer, "<|eot_id|>");
    }
    write_special(writer, "<|start_header_id|>");
    write_literal(writer, "assistant");
    write_special(writer, "<|end_header_id|>");
    write_literal(writer, "\n\n");
    end_run(writer);
}

int chat_tokenize(const struct tokenizer *tokenizer, enum chat_format format, const struct chat_message *messages,
                  size_t n_messages, struct token_list *list, struct error *err)
{
    struct writer writer = {.tokenizer = tokenizer, .list = list, .err = err};
    size_t before = list->count;
    if (format == CHAT_CHATML)
        write_chatml(&writer, messages, n_messages);
    else
        write_llama3(&writer, messages, n_messages);
    if (writer.status) list->count = before;
    text_free(&writer.run);
    return writer.status;
}
