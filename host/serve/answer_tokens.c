/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logprobs of /v1/completions, OpenAI's older form: four lists, of which an entry belongs to a token. The engine's thread notes a
 * token as [text, logprob or null, characters that it adds to the text, [[text, logprob], ...]]; the loop makes the lists.
 */
#include "host/serve/answer.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static void put_text(const struct tokenizer *tokenizer, uint32_t token, struct text *text, struct json_out *out)
{
    struct error err;
    text->length = 0;
    if (token < tokenizer_n_tokens(tokenizer) && tokenizer_token_bytes(tokenizer, token, text, &err) < 0)
        text->length = 0;
    json_out_string(out, text->length ? text->bytes : "", text->length);
}

static void put_pair(const struct tokenizer *tokenizer, uint32_t token, float logprob, struct text *text,
                     struct json_out *out)
{
    json_out_text(out, "[");
    put_text(tokenizer, token, text, out);
    json_out_format(out, ",%.7g]", (double)logprob);
}

/* Characters that begin in the bytes: of a character in several tokens the first has it. */
static size_t characters(const struct text *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->length; i++) n += ((unsigned char)text->bytes[i] & 0xc0) != 0x80;
    return n;
}

void answer_note_token(const struct tokenizer *tokenizer, uint32_t token, float logprob,
                       const struct sampler_logprobs *others, bool *at_start, struct json_out *out)
{
    struct text text = {0};
    size_t n = 0;
    json_out_text(out, out->length ? ",[" : "[");
    put_text(tokenizer, token, &text, out);
    if (token < tokenizer_n_tokens(tokenizer) && tokenizer_is_shown(tokenizer, token)) {
        n = characters(&text);
        if (*at_start && tokenizer_drops_space(tokenizer) && text.length && text.bytes[0] == ' ') n--;
        *at_start = false;
    }
    if (isnan(logprob)) {
        json_out_format(out, ",null,%zu,null]", n);
        text_free(&text);
        return;
    }
    json_out_format(out, ",%.7g,%zu,[", (double)logprob, n);
    bool listed = others->n_top == 0; /* then there is no list to put the token into */
    for (uint32_t i = 0; i < others->n_top; i++) {
        json_out_text(out, i ? "," : "");
        put_pair(tokenizer, others->top[i], others->top_logprob[i], &text, out);
        listed = listed || others->top[i] == token;
    }
    if (!listed) {
        json_out_text(out, ",");
        put_pair(tokenizer, token, logprob, &text, out);
    }
    json_out_text(out, "]]");
    text_free(&text);
}

/* {text: logprob}; of tokens with the same text the likelier one. */
static json_t *top_of(const json_t *pairs)
{
    json_t *object = json_is_array(pairs) ? json_object() : json_null();
    const json_t *pair;
    size_t i;
    json_array_foreach(pairs, i, pair)
    {
        const char *text = json_string_value(json_array_get(pair, 0));
        if (text && !json_object_get(object, text)) json_object_set(object, text, json_array_get(pair, 1));
    }
    return object;
}

void answer_token_lists(const struct json_out *notes, size_t *offset, struct json_out *out)
{
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    struct json_out framed = {0};
    json_t *lists[4], *object = json_object();
    const json_t *note;
    size_t i;
    json_out_text(&framed, "[");
    if (notes->length) json_out_raw(&framed, notes->bytes, notes->length);
    json_out_text(&framed, "]");
    json_t *all = framed.failed ? NULL : json_loadb(framed.bytes, framed.length, JSON_ALLOW_NUL, NULL);
    for (i = 0; i < 4; i++) json_object_set_new(object, names[i], lists[i] = json_array());
    json_array_foreach(all, i, note)
    {
        json_array_append(lists[0], json_array_get(note, 0));
        json_array_append(lists[1], json_array_get(note, 1));
        json_array_append_new(lists[2], top_of(json_array_get(note, 3)));
        json_array_append_new(lists[3], json_integer((json_int_t)*offset));
        *offset += (size_t)json_integer_value(json_array_get(note, 2));
    }
    char *text = all && object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL;
    if (text)
        json_out_text(out, text);
    else
        out->failed = true;
    free(text);
    json_decref(all);
    json_decref(object);
    json_out_free(&framed);
}
