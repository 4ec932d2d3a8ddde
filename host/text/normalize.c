/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalizers, step by step over the whole text, as Hugging Face tokenizers does them (normalizers/). Normal forms and graphemes
 * by utf8proc.
 */
#include "host/text/byte_level.h"
#include "host/text/character.h"
#include "host/text/charsmap.h"
#include "host/text/pipeline.h"
#include "host/text/utf8.h"

#include <string.h>
#include <utf8proc.h>

static int put_character(struct text *out, uint32_t c, struct error *err)
{
    uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, bytes);
    return text_append(out, (const char *)bytes, (size_t)n, err);
}

/* ---- normal forms ---- */

static bool is_ascii(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)text[i] >= 0x80) return false;
    return true;
}

static int form_stretch(const char *text, size_t length, utf8proc_option_t options, struct text *out, struct error *err)
{
    if (length == 0 || is_ascii(text, length)) return text_append(out, text, length, err);
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &made, options);
    if (n < 0)
        return error_set(err, n == UTF8PROC_ERROR_NOMEM ? ERROR_NO_MEMORY : ERROR_INTERNAL, "tokenize: normal form: %s",
                         utf8proc_errmsg(n));
    int status = text_append(out, (const char *)made, (size_t)n, err);
    free(made);
    return status;
}

/*
 * A stretch ends in front of an ASCII character that follows another one: there nothing composes or changes places. Short
 * stretches keep utf8proc's memory small, and ASCII is copied.
 */
#define STRETCH 4096

static size_t stretch_end(const char *text, size_t length, size_t from)
{
    size_t i = from + STRETCH;
    while (i < length && !((uint8_t)text[i] < 0x80 && (uint8_t)text[i - 1] < 0x80)) i++;
    return i < length ? i : length;
}

static int write_form(const struct normalizer_step *step, const char *text, size_t length, struct text *out,
                      struct error *err)
{
    static const unsigned options[] = {
        [FORM_C] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [FORM_D] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [FORM_KC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [FORM_KD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    size_t start = 0, end = stretch_end(text, length, 0);
    int status = 0;
    for (size_t i = 0; !status && i < length;) {
        unsigned n = utf8_length((uint8_t)text[i]);
        bool formless = n > 1 && character_is_formless(utf8_decode((const uint8_t *)text + i, n));
        if (i < end && !formless) {
            i += n;
            continue;
        }
        status = form_stretch(text + start, i - start, (utf8proc_option_t)options[step->form], out, err);
        if (!status && formless) status = text_append(out, text + i, n, err);
        if (formless) i += n;
        start = i;
        end = stretch_end(text, length, start);
    }
    return status ? status
                  : form_stretch(text + start, length - start, (utf8proc_option_t)options[step->form], out, err);
}

/* ---- characters one by one ---- */

static int write_lower(struct text *out, uint32_t c, struct error *err)
{
    if (c != 0x130) return put_character(out, character_lower(c), err);
    return text_append(out, "i\xcc\x87", 3, err); /* the one capital with two small characters */
}

static int write_clean(struct text *out, uint32_t c, struct error *err)
{
    if (c == '\t' || c == '\n' || c == '\r') return text_append(out, " ", 1, err);
    if (c == 0 || c == 0xfffd || character_is_control(c)) return 0;
    return character_is_space(c) ? text_append(out, " ", 1, err) : put_character(out, c, err);
}

static int write_chinese(struct text *out, uint32_t c, struct error *err)
{
    bool apart = character_is_ideograph(c);
    int status = apart ? text_append(out, " ", 1, err) : 0;
    if (!status) status = put_character(out, c, err);
    return status || !apart ? status : text_append(out, " ", 1, err);
}

/* SentencePiece's nmt rules, as normalizers/unicode.rs has them. */
static int write_nmt(struct text *out, uint32_t c, struct error *err)
{
    if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f) return 0;
    bool space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                 c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
    return space ? text_append(out, " ", 1, err) : put_character(out, c, err);
}

static int write_character(const struct normalizer_step *step, uint32_t c, struct text *out, struct error *err)
{
    switch (step->kind) {
    case NORMALIZE_LOWER: return write_lower(out, c, err);
    case NORMALIZE_BERT_CLEAN: return write_clean(out, c, err);
    case NORMALIZE_BERT_CHINESE: return write_chinese(out, c, err);
    case NORMALIZE_NMT: return write_nmt(out, c, err);
    case NORMALIZE_NONSPACING: return character_is_nonspacing(c) ? 0 : put_character(out, c, err);
    default: return character_is_accent(c) ? 0 : put_character(out, c, err);
    }
}

static int write_characters(const struct normalizer_step *step, const char *text, size_t length, struct text *out,
                            struct error *err)
{
    int status = text_reserve(out, length, err);
    for (size_t i = 0; !status && i < length;) {
        unsigned n = utf8_length((uint8_t)text[i]);
        status = write_character(step, utf8_decode((const uint8_t *)text + i, n), out, err);
        i += n;
    }
    return status;
}

/* ---- replacements ---- */

static int write_replaced(const struct normalizer_step *step, struct pipeline_space *space, const char *text,
                          size_t length, struct text *out, struct error *err)
{
    const struct text *literal = &step->literal;
    size_t position = 0, start, end;
    int status = 0;
    while (!status && position < length) {
        if (step->pattern) {
            status = pattern_find(step->pattern, &space->pattern, text, length, position, &start, &end, err);
            if (status <= 0) break;
        } else {
            const char *found = memmem(text + position, length - position, literal->bytes, literal->length);
            if (!found) break;
            start = (size_t)(found - text);
            end = start + literal->length;
        }
        status = text_append(out, text + position, start - position, err);
        if (!status) status = text_append(out, step->content.bytes, step->content.length, err);
        position = end;
    }
    return status < 0 ? status : text_append(out, text + position, length - position, err);
}

static int write_stripped(const struct normalizer_step *step, const char *text, size_t length, struct text *out,
                          struct error *err)
{
    size_t start = 0, end = length;
    while (step->left && start < length) {
        unsigned n = utf8_length((uint8_t)text[start]);
        if (!character_is_space(utf8_decode((const uint8_t *)text + start, n))) break;
        start += n;
    }
    while (step->right && end > start) {
        size_t last = end - 1;
        while (((uint8_t)text[last] & 0xc0) == 0x80) last--;
        if (!character_is_space(utf8_decode((const uint8_t *)text + last, (unsigned)(end - last)))) break;
        end = last;
    }
    return text_append(out, text + start, end - start, err);
}

static int write_step(const struct normalizer_step *step, struct pipeline_space *space, const char *text, size_t length,
                      struct text *out, struct error *err)
{
    int status = 0;
    switch (step->kind) {
    case NORMALIZE_FORM: return write_form(step, text, length, out, err);
    case NORMALIZE_STRIP: return write_stripped(step, text, length, out, err);
    case NORMALIZE_REPLACE: return write_replaced(step, space, text, length, out, err);
    case NORMALIZE_CHARSMAP: return charsmap_write(&step->content, text, length, out, err);
    case NORMALIZE_BYTE_LEVEL: return byte_level_write(text, length, out, err);
    case NORMALIZE_PREPEND:
        if (length) status = text_append(out, step->content.bytes, step->content.length, err);
        return status ? status : text_append(out, text, length, err);
    default: return write_characters(step, text, length, out, err);
    }
}

/* Whether the step leaves every ASCII text as it is. */
static bool keeps_ascii(enum normalizer_kind kind)
{
    return kind == NORMALIZE_FORM || kind == NORMALIZE_ACCENTS || kind == NORMALIZE_NONSPACING ||
           kind == NORMALIZE_BERT_CHINESE;
}

int normalize(const struct pipeline *pipeline, struct pipeline_space *space, const char *text, size_t length,
              const char **out, size_t *n, struct error *err)
{
    *out = text;
    *n = length;
    for (unsigned i = 0; i < pipeline->n_normalizers; i++) {
        const struct normalizer_step *step = &pipeline->normalizers[i];
        if (keeps_ascii(step->kind) && is_ascii(*out, *n)) continue;
        struct text *to = *out == space->normal.bytes ? &space->other : &space->normal;
        to->length = 0;
        int status = text_append(to, "", 0, err);
        if (!status) status = write_step(step, space, *out, *n, to, err);
        if (status) return status;
        *out = to->bytes;
        *n = to->length;
    }
    return 0;
}
