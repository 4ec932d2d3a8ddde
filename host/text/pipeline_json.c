/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a tokenizer.json as steps. What each kind and field means: huggingface/tokenizers, normalizers/, pre_tokenizers/ and
 * decoders/.
 */
#include "host/text/charsmap.h"
#include "host/text/pipeline.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#include <sodium.h>
#include <string.h>

#define MAX_DEPTH 8

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "";
}

static bool is_type(const json_t *part, const char *type) { return strcmp(type_of(part), type) == 0; }

static int unsupported(const char *what, const json_t *part, const char *list, struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported: there are %s", what,
                     quote(type_of(part), strlen(type_of(part))).text, list);
}

static int wrong(const char *what, const json_t *part, const char *field, struct error *err)
{
    return error_set(err, ERROR_BAD_FILE, "tokenizer.json: %s %s: \"%s\" is missing or of the wrong type", what,
                     quote(type_of(part), strlen(type_of(part))).text, field);
}

static bool flag(const json_t *part, const char *field, bool otherwise)
{
    const json_t *value = json_object_get(part, field);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static int copy_text(const json_t *part, const char *field, struct text *out, const char *what, struct error *err)
{
    const json_t *value = json_object_get(part, field);
    if (!json_is_string(value)) return wrong(what, part, field, err);
    return text_append(out, json_string_value(value), json_string_length(value), err);
}

/* {"String": text} becomes literal, {"Regex": text} a pattern. */
static int read_pattern(const json_t *part, struct pattern **pattern, struct text *literal, const char *what,
                        struct error *err)
{
    const json_t *value = json_object_get(part, "pattern"), *regex = json_object_get(value, "Regex");
    if (json_is_string(regex)) return pattern_open(json_string_value(regex), json_string_length(regex), pattern, err);
    const json_t *string = json_is_string(value) ? value : json_object_get(value, "String");
    if (!json_is_string(string) || json_string_length(string) == 0) return wrong(what, part, "pattern", err);
    return text_append(literal, json_string_value(string), json_string_length(string), err);
}

typedef int (*part_reader)(struct pipeline *pipeline, const json_t *part, struct error *err);

/* One part, or the parts of a sequence. */
static int read_parts(struct pipeline *pipeline, const json_t *part, const char *what, const char *list,
                      part_reader read, unsigned depth, struct error *err)
{
    if (part == NULL || json_is_null(part)) return 0;
    if (!json_is_object(part)) return error_set(err, ERROR_BAD_FILE, "tokenizer.json: %s is no object", what);
    if (!is_type(part, "Sequence")) return read(pipeline, part, err);
    if (depth == MAX_DEPTH) return error_set(err, ERROR_BAD_FILE, "tokenizer.json: %s is nested too deep", what);
    const json_t *parts = json_object_get(part, list);
    if (!json_is_array(parts)) return wrong(what, part, list, err);
    int status = 0;
    for (size_t i = 0; !status && i < json_array_size(parts); i++) {
        const json_t *one = json_array_get(parts, i);
        status = json_is_object(one)
                     ? read_parts(pipeline, one, what, list, read, depth + 1, err)
                     : error_set(err, ERROR_BAD_FILE, "tokenizer.json: a step of %s is no object", what);
    }
    return status;
}

/* ---- normalizers ---- */

static int read_bert(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    bool lowers = flag(part, "lowercase", true);
    struct normalizer_step *step = NULL;
    int status = 0;
    if (flag(part, "clean_text", true)) status = pipeline_add_normalizer(pipeline, NORMALIZE_BERT_CLEAN, &step, err);
    if (!status && flag(part, "handle_chinese_chars", true))
        status = pipeline_add_normalizer(pipeline, NORMALIZE_BERT_CHINESE, &step, err);
    if (!status && flag(part, "strip_accents", lowers)) {
        status = pipeline_add_normalizer(pipeline, NORMALIZE_FORM, &step, err);
        if (!status) step->form = FORM_D;
        if (!status) status = pipeline_add_normalizer(pipeline, NORMALIZE_NONSPACING, &step, err);
    }
    return status || !lowers ? status : pipeline_add_normalizer(pipeline, NORMALIZE_LOWER, &step, err);
}

static int read_charsmap(const json_t *part, struct text *out, struct error *err)
{
    const json_t *value = json_object_get(part, "precompiled_charsmap");
    if (json_is_null(value)) return 0;
    if (!json_is_string(value)) return wrong("normalizer", part, "precompiled_charsmap", err);
    size_t n = json_string_length(value), length;
    int status = text_reserve(out, n, err);
    if (status) return status;
    if (sodium_base642bin((unsigned char *)out->bytes, n, json_string_value(value), n, NULL, &length, NULL,
                          sodium_base64_VARIANT_ORIGINAL))
        return error_set(err, ERROR_BAD_FILE, "tokenizer.json: precompiled_charsmap is not base64");
    out->length = length;
    out->bytes[length] = '\0';
    return charsmap_check(out, err);
}

static int read_normalizer(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    static const struct {
        const char *type;
        enum normalizer_kind kind;
        enum unicode_form form;
    } kinds[] = {
        {"NFC", NORMALIZE_FORM, FORM_C},
        {"NFD", NORMALIZE_FORM, FORM_D},
        {"NFKC", NORMALIZE_FORM, FORM_KC},
        {"NFKD", NORMALIZE_FORM, FORM_KD},
        {"Lowercase", NORMALIZE_LOWER, 0},
        {"Strip", NORMALIZE_STRIP, 0},
        {"StripAccents", NORMALIZE_ACCENTS, 0},
        {"Replace", NORMALIZE_REPLACE, 0},
        {"Prepend", NORMALIZE_PREPEND, 0},
        {"Precompiled", NORMALIZE_CHARSMAP, 0},
        {"Nmt", NORMALIZE_NMT, 0},
        {"ByteLevel", NORMALIZE_BYTE_LEVEL, 0},
    };
    if (is_type(part, "BertNormalizer")) return read_bert(pipeline, part, err);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!is_type(part, kinds[i].type)) continue;
        struct normalizer_step *step = NULL;
        int status = pipeline_add_normalizer(pipeline, kinds[i].kind, &step, err);
        if (status) return status;
        step->form = kinds[i].form;
        step->left = flag(part, "strip_left", true);
        step->right = flag(part, "strip_right", true);
        if (step->kind == NORMALIZE_PREPEND) return copy_text(part, "prepend", &step->content, "normalizer", err);
        if (step->kind == NORMALIZE_CHARSMAP) return read_charsmap(part, &step->content, err);
        if (step->kind != NORMALIZE_REPLACE) return 0;
        status = read_pattern(part, &step->pattern, &step->literal, "normalizer", err);
        return status ? status : copy_text(part, "content", &step->content, "normalizer", err);
    }
    return unsupported("normalizer", part,
                       "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, Precompiled, "
                       "Nmt, ByteLevel, BertNormalizer",
                       err);
}

int pipeline_read_normalizer(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    return read_parts(pipeline, part, "normalizer", "normalizers", read_normalizer, 0, err);
}

/* ---- pre-tokenizers ---- */

static int read_behavior(const json_t *part, const char *otherwise, enum split_behavior *out, struct error *err)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const json_t *value = json_object_get(part, "behavior");
    const char *name = value ? json_string_value(value) : otherwise;
    for (unsigned i = 0; name && i < 5; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (enum split_behavior)i;
        return 0;
    }
    return wrong("pre_tokenizer", part, "behavior", err);
}

static int read_split(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    struct word_step *step = NULL;
    int status = pipeline_add_words(pipeline, WORD_SPLIT, &step, err);
    if (!status) status = read_behavior(part, NULL, &step->behavior, err);
    if (status) return status;
    step->invert = flag(part, "invert", false);
    status = read_pattern(part, &step->pattern, &step->literal, "pre_tokenizer", err);
    if (!step->pattern) step->by = BY_LITERAL;
    return status;
}

static int add_class(struct pipeline *pipeline, enum split_by by, enum split_behavior behavior, struct error *err)
{
    struct word_step *step = NULL;
    int status = pipeline_add_words(pipeline, WORD_SPLIT, &step, err);
    if (status) return status;
    step->by = by;
    step->behavior = behavior;
    return 0;
}

static int read_byte_level(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    struct word_step *step = NULL;
    int status = 0;
    if (flag(part, "add_prefix_space", true)) status = pipeline_add_words(pipeline, WORD_PREFIX_SPACE, &step, err);
    if (!status && flag(part, "use_regex", true))
        status = pipeline_add_split(pipeline, pipeline_gpt2_pattern, strlen(pipeline_gpt2_pattern), SPLIT_ISOLATED,
                                    false, err);
    return status ? status : pipeline_add_words(pipeline, WORD_BYTE_LEVEL, &step, err);
}

/* Older files have add_prefix_space in the place of prepend_scheme. */
static int read_scheme(const json_t *part, const char *what, enum prepend_scheme *out, struct error *err)
{
    static const char *const names[] = {"never", "first", "always"};
    const json_t *value = json_object_get(part, "prepend_scheme");
    *out = flag(part, "add_prefix_space", true) ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (!value) return 0;
    const char *name = json_string_value(value);
    for (unsigned i = 0; name && i < 3; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (enum prepend_scheme)i;
        return 0;
    }
    return wrong(what, part, "prepend_scheme", err);
}

static int read_metaspace(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    const json_t *mark = json_object_get(part, "replacement");
    enum prepend_scheme scheme;
    if (!json_is_string(mark) || json_string_length(mark) == 0) return wrong("pre_tokenizer", part, "replacement", err);
    int status = read_scheme(part, "pre_tokenizer", &scheme, err);
    return status ? status
                  : pipeline_add_metaspace(pipeline, json_string_value(mark), json_string_length(mark), scheme,
                                           flag(part, "split", true), err);
}

static int read_delimiter(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    struct word_step *step = NULL;
    int status = pipeline_add_words(pipeline, WORD_SPLIT, &step, err);
    if (status) return status;
    step->by = BY_LITERAL;
    step->behavior = SPLIT_REMOVED;
    status = copy_text(part, "delimiter", &step->literal, "pre_tokenizer", err);
    return status || step->literal.length ? status : wrong("pre_tokenizer", part, "delimiter", err);
}

static int read_length(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    const json_t *value = json_object_get(part, "length");
    struct word_step *step = NULL;
    if (!json_is_integer(value) || json_integer_value(value) < 1) return wrong("pre_tokenizer", part, "length", err);
    int status = pipeline_add_words(pipeline, WORD_LENGTH, &step, err);
    if (!status) step->count = (size_t)json_integer_value(value);
    return status;
}

static int read_word(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    static const char words[] = "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+"; /* Rust's words have joiners */
    enum split_behavior behavior;
    if (is_type(part, "Split")) return read_split(pipeline, part, err);
    if (is_type(part, "ByteLevel")) return read_byte_level(pipeline, part, err);
    if (is_type(part, "Metaspace")) return read_metaspace(pipeline, part, err);
    if (is_type(part, "CharDelimiterSplit")) return read_delimiter(pipeline, part, err);
    if (is_type(part, "FixedLength")) return read_length(pipeline, part, err);
    if (is_type(part, "WhitespaceSplit")) return add_class(pipeline, BY_SPACE, SPLIT_REMOVED, err);
    if (is_type(part, "Whitespace"))
        return pipeline_add_split(pipeline, words, strlen(words), SPLIT_REMOVED, true, err);
    if (is_type(part, "Digits"))
        return add_class(pipeline, BY_DIGIT, flag(part, "individual_digits", false) ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS,
                         err);
    if (is_type(part, "Punctuation")) {
        int status = read_behavior(part, "Isolated", &behavior, err);
        return status ? status : add_class(pipeline, BY_PUNCTUATION, behavior, err);
    }
    if (is_type(part, "BertPreTokenizer")) {
        int status = add_class(pipeline, BY_SPACE, SPLIT_REMOVED, err);
        return status ? status : add_class(pipeline, BY_PUNCTUATION, SPLIT_ISOLATED, err);
    }
    return unsupported("pre_tokenizer", part,
                       "Sequence, Split, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Punctuation, Digits, "
                       "CharDelimiterSplit, FixedLength, BertPreTokenizer",
                       err);
}

int pipeline_read_words(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    int status = read_parts(pipeline, part, "pre_tokenizer", "pretokenizers", read_word, 0, err);
    pipeline_finish_words(pipeline);
    return status;
}

/* ---- decoders ---- */

static int read_strip(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    const json_t *start = json_object_get(part, "start"), *stop = json_object_get(part, "stop");
    struct decoder_step *step = NULL;
    if (!json_is_integer(start) || json_integer_value(start) < 0) return wrong("decoder", part, "start", err);
    if (stop && json_integer_value(stop) != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "tokenizer.json: decoder Strip: a \"stop\" other than 0 is not supported");
    int status = pipeline_add_decoder(pipeline, DECODE_STRIP, &step, err);
    if (status) return status;
    step->count = (size_t)json_integer_value(start);
    return copy_text(part, "content", &step->literal, "decoder", err);
}

static int read_decoder(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    static const struct {
        const char *type;
        enum decoder_kind kind;
        const char *literal;
    } kinds[] = {
        {"ByteLevel", DECODE_BYTE_LEVEL, NULL},       {"Replace", DECODE_REPLACE, NULL},
        {"ByteFallback", DECODE_BYTE_FALLBACK, NULL}, {"Metaspace", DECODE_METASPACE, "replacement"},
        {"WordPiece", DECODE_WORD_PIECE, "prefix"},   {"BPEDecoder", DECODE_SUFFIX, "suffix"},
    };
    if (is_type(part, "Fuse")) return 0; /* tokens become one text: so they do here at the end */
    if (is_type(part, "Strip")) return read_strip(pipeline, part, err);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!is_type(part, kinds[i].type)) continue;
        struct decoder_step *step = NULL;
        int status = pipeline_add_decoder(pipeline, kinds[i].kind, &step, err);
        if (!status && kinds[i].literal) status = copy_text(part, kinds[i].literal, &step->literal, "decoder", err);
        if (status) return status;
        if (step->kind == DECODE_WORD_PIECE) step->flag = flag(part, "cleanup", true);
        if (step->kind == DECODE_METASPACE) {
            enum prepend_scheme scheme;
            status = read_scheme(part, "decoder", &scheme, err);
            step->flag = scheme != PREPEND_NEVER;
        }
        if (status || step->kind != DECODE_REPLACE) return status;
        struct pattern *pattern = NULL;
        status = read_pattern(part, &pattern, &step->literal, "decoder", err);
        if (pattern) {
            pattern_close(pattern);
            return error_set(err, ERROR_UNSUPPORTED, "tokenizer.json: decoder Replace with a Regex is not supported");
        }
        return status ? status : copy_text(part, "content", &step->content, "decoder", err);
    }
    return unsupported("decoder", part,
                       "Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece, BPEDecoder",
                       err);
}

int pipeline_read_decoder(struct pipeline *pipeline, const json_t *part, struct error *err)
{
    return read_parts(pipeline, part, "decoder", "decoders", read_decoder, 0, err);
}
