/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens back to text, one by one: decoders of Hugging Face tokenizers (decoders/). What hangs on neighbours: detokenizer.c. */
#include "host/text/byte_level.h"
#include "host/text/pipeline.h"

#include <string.h>

/* Replaces from by to in out's bytes from start on. */
static int replace_tail(struct text *out, size_t start, const char *from, size_t n_from, const char *to, size_t n_to,
                        struct error *err)
{
    while (n_from && start + n_from <= out->length) {
        char *found = memmem(out->bytes + start, out->length - start, from, n_from);
        if (!found) break;
        size_t at = (size_t)(found - out->bytes);
        int status = text_reserve(out, n_to, err);
        if (status) return status;
        memmove(out->bytes + at + n_to, out->bytes + at + n_from, out->length - at - n_from + 1);
        memcpy(out->bytes + at, to, n_to);
        out->length = out->length - n_from + n_to;
        start = at + n_to;
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0xXX>" becomes its byte. */
static void read_byte(struct text *out, size_t start)
{
    char *text = out->bytes + start;
    if (out->length - start != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    if (high < 0 || low < 0) return;
    text[0] = (char)(high * 16 + low);
    text[1] = '\0';
    out->length = start + 1;
}

/* As decoders/wordpiece.rs has it. */
static int clean_up(struct text *out, size_t start, struct error *err)
{
    static const char *const pairs[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    int status = 0;
    for (size_t i = 0; !status && i < sizeof pairs / sizeof pairs[0]; i++)
        status = replace_tail(out, start, pairs[i][0], strlen(pairs[i][0]), pairs[i][1], strlen(pairs[i][1]), err);
    return status;
}

static bool begins_with(const struct text *out, size_t start, const struct text *mark)
{
    return mark->length && out->length - start >= mark->length &&
           memcmp(out->bytes + start, mark->bytes, mark->length) == 0;
}

static void cut_front(struct text *out, size_t start, size_t n)
{
    out->length -= n;
    memmove(out->bytes + start, out->bytes + start + n, out->length - start + 1);
}

/* literal marks the rest of a word, or content its start. */
static int read_word_piece(const struct decoder_step *step, struct text *out, size_t start, struct error *err)
{
    bool rest =
        step->content.length ? !begins_with(out, start, &step->content) : begins_with(out, start, &step->literal);
    const struct text *mark = step->content.length ? &step->content : &step->literal;
    if (begins_with(out, start, mark)) cut_front(out, start, mark->length);
    if (!rest) {
        int status = text_reserve(out, 1, err);
        if (status) return status;
        memmove(out->bytes + start + 1, out->bytes + start, out->length - start + 1);
        out->bytes[start] = ' ';
        out->length++;
    }
    return step->flag ? clean_up(out, start, err) : 0;
}

static int read_byte_level(struct text *out, size_t start, struct error *err)
{
    struct text copy = {0};
    int status = text_append(&copy, out->bytes + start, out->length - start, err);
    out->length = start;
    if (!status) status = byte_level_read(copy.bytes, copy.length, out, err);
    text_free(&copy);
    return status;
}

static int run(const struct decoder_step *step, struct text *out, size_t start, struct error *err)
{
    switch (step->kind) {
    case DECODE_REPLACE:
        return replace_tail(out, start, step->literal.bytes, step->literal.length,
                            step->content.length ? step->content.bytes : "", step->content.length, err);
    case DECODE_METASPACE:
    case DECODE_SUFFIX: return replace_tail(out, start, step->literal.bytes, step->literal.length, " ", 1, err);
    case DECODE_BYTE_FALLBACK: read_byte(out, start); return 0;
    case DECODE_WORD_PIECE: return read_word_piece(step, out, start, err);
    case DECODE_BYTE_LEVEL: return read_byte_level(out, start, err);
    case DECODE_STRIP: return 0;
    }
    return 0;
}

int decode_token(const struct pipeline *pipeline, const char *token_text, size_t length, struct text *out,
                 struct error *err)
{
    size_t start = out->length;
    if (pipeline->n_decoders == 1 && pipeline->decoders[0].kind == DECODE_BYTE_LEVEL)
        return byte_level_read(token_text, length, out, err);
    int status = text_append(out, token_text, length, err);
    for (unsigned i = 0; !status && i < pipeline->n_decoders; i++)
        status = run(&pipeline->decoders[i], out, start, err);
    return status;
}

static bool has(const struct pipeline *pipeline, enum decoder_kind kind)
{
    for (unsigned i = 0; i < pipeline->n_decoders; i++)
        if (pipeline->decoders[i].kind == kind) return true;
    return false;
}

bool pipeline_divides_words(const struct pipeline *pipeline) { return has(pipeline, DECODE_WORD_PIECE); }
bool pipeline_ends_words(const struct pipeline *pipeline) { return has(pipeline, DECODE_SUFFIX); }
