/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tokenizer.json, interpreted. A folder's header (host/model/hf) has its vocabulary and merges as arrays, and everything else as
 * the JSON that it was.
 */
#include "host/text/quote.h"
#include "host/text/tokenizer_internal.h"

#include <string.h>

static const char *text_of(const json_t *part, const char *field)
{
    return json_string_value(json_object_get(part, field));
}

static bool flag(const json_t *part, const char *field, bool otherwise)
{
    const json_t *value = json_object_get(part, field);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static int bad(struct error *err, const char *what)
{
    return error_set(err, ERROR_BAD_FILE, "tokenizer.json: %s", what);
}

/* ---- the model ---- */

static int open_bpe(struct tokenizer *tokenizer, const struct gguf *file, const json_t *model, struct error *err)
{
    const json_t *dropout = json_object_get(model, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return error_set(err, ERROR_UNSUPPORTED, "tokenizer.json: a BPE model with dropout is not supported");
    const struct bpe_options options = {
        .is_byte_level = tokenizer->pipeline.is_byte_level,
        .takes_whole_words = flag(model, "ignore_merges", false),
        .falls_back = flag(model, "byte_fallback", false),
        .fuses_unknown = flag(model, "fuse_unk", false),
        .prefix = text_of(model, "continuing_subword_prefix"),
        .suffix = text_of(model, "end_of_word_suffix"),
    };
    bool marks = (options.prefix && options.prefix[0]) || (options.suffix && options.suffix[0]);
    if (marks && options.is_byte_level)
        return error_set(err, ERROR_UNSUPPORTED,
                         "tokenizer.json: a byte-level BPE model with marks in words is not supported");
    tokenizer->kind = KIND_BPE;
    return bpe_open(&tokenizer->vocabulary, file, &options, &tokenizer->bpe, err);
}

static int open_word_piece(struct tokenizer *tokenizer, const json_t *model, struct error *err)
{
    const char *prefix = text_of(model, "continuing_subword_prefix");
    const json_t *max = json_object_get(model, "max_input_chars_per_word");
    struct word_piece_marks marks = {"", prefix ? prefix : "##", 100};
    if (json_is_integer(max) && json_integer_value(max) > 0) marks.max_characters = (size_t)json_integer_value(max);
    tokenizer->kind = KIND_WORD_PIECE;
    return word_piece_open(&tokenizer->vocabulary, &marks, &tokenizer->word_piece, err);
}

static int open_model(struct tokenizer *tokenizer, const struct gguf *file, const json_t *model, struct error *err)
{
    const char *type = text_of(model, "type");
    if (!type) type = gguf_find(file, "tokenizer.ggml.scores") ? "Unigram" : "BPE"; /* older files leave it out */
    if (strcmp(type, "BPE") == 0) return open_bpe(tokenizer, file, model, err);
    if (tokenizer->pipeline.is_byte_level)
        return error_set(err, ERROR_UNSUPPORTED, "tokenizer.json: ByteLevel in front of a %s model is not supported",
                         type);
    if (strcmp(type, "WordPiece") == 0) return open_word_piece(tokenizer, model, err);
    tokenizer->kind = strcmp(type, "Unigram") == 0 ? KIND_UNIGRAM : KIND_WORD_LEVEL;
    if (tokenizer->kind == KIND_UNIGRAM)
        return unigram_open(&tokenizer->vocabulary, flag(model, "byte_fallback", false), &tokenizer->unigram, err);
    if (strcmp(type, "WordLevel") == 0) return 0;
    return error_set(err, ERROR_UNSUPPORTED,
                     "tokenizer.json: model \"%s\" is not supported: there are BPE, Unigram, WordPiece, WordLevel",
                     quote(type, strlen(type)).text);
}

/* ---- added tokens ---- */

/* The normalized name, kept in the document. */
static int normalize_name(struct tokenizer *tokenizer, struct pipeline_space *space, struct special_name *name,
                          struct error *err)
{
    const char *made;
    size_t n;
    int status = normalize(&tokenizer->pipeline, space, name->text, name->length, &made, &n, err);
    if (status) return status;
    json_t *kept = json_stringn(made, n), *all = json_object_get(tokenizer->json, "normalized_names");
    if (!all) {
        all = json_array();
        if (json_object_set_new(tokenizer->json, "normalized_names", all)) all = NULL;
    }
    name->text = json_string_value(kept);
    name->length = (uint32_t)n;
    if (json_array_append_new(all, kept)) return error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
    return special_add(&tokenizer->normalized, name, err);
}

static int read_added(struct tokenizer *tokenizer, struct pipeline_space *space, const json_t *entry, struct error *err)
{
    const json_t *content = json_object_get(entry, "content"), *id = json_object_get(entry, "id");
    if (!json_is_string(content) || !json_is_integer(id)) return bad(err, "an added token without text or id");
    if (json_integer_value(id) < 0 || json_integer_value(id) >= (json_int_t)tokenizer->vocabulary.n_tokens)
        return bad(err, "an added token has an id outside the vocabulary");
    uint32_t number = (uint32_t)json_integer_value(id);
    const struct vocabulary_token *token = &tokenizer->vocabulary.tokens[number];
    /* ends.c calls markers of turns special even where the file does not. */
    bool is_special = flag(entry, "special", false) || token->type == TOKEN_CONTROL;
    struct special_name name = {
        .text = json_string_value(content),
        .length = (uint32_t)json_string_length(content),
        .id = number,
        .is_special = is_special,
        .eats_left = flag(entry, "lstrip", false),
        .eats_right = flag(entry, "rstrip", false),
        .is_single_word = flag(entry, "single_word", false),
    };
    /* A special token is only what the text itself says: else a normalizer could make one of a user's text. */
    if (is_special || !flag(entry, "normalized", true)) return special_add(&tokenizer->special, &name, err);
    return normalize_name(tokenizer, space, &name, err);
}

static int read_all_added(struct tokenizer *tokenizer, const json_t *added, struct error *err)
{
    struct pipeline_space space = {0};
    int status = !added || json_is_array(added) || json_is_null(added) ? 0 : bad(err, "added_tokens is no list");
    pattern_space_begin(&space.pattern, 1 << 16);
    for (size_t i = 0; !status && i < json_array_size(added); i++)
        status = read_added(tokenizer, &space, json_array_get(added, i), err);
    pipeline_space_free(&space);
    return status;
}

/* ---- what is put around a text ---- */

static int push_added(uint32_t *list, unsigned *n, uint32_t id, struct error *err)
{
    if (*n == MAX_ADDED)
        return error_set(err, ERROR_TOO_LARGE, "tokenizer.json: the post_processor adds too many tokens");
    list[(*n)++] = id;
    return 0;
}

/* The ids of a special token of a template: its own list says them. */
static int push_special(struct tokenizer *tokenizer, const json_t *processor, const char *name, uint32_t *list,
                        unsigned *n, struct error *err)
{
    const json_t *ids = json_object_get(json_object_get(json_object_get(processor, "special_tokens"), name), "ids");
    if (!json_is_array(ids)) return bad(err, "the post_processor names a special token that it does not define");
    int status = 0;
    for (size_t i = 0; !status && i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        bool known = json_is_integer(id) && json_integer_value(id) >= 0 &&
                     json_integer_value(id) < (json_int_t)tokenizer->vocabulary.n_tokens;
        status = known ? push_added(list, n, (uint32_t)json_integer_value(id), err)
                       : bad(err, "the post_processor adds an id outside the vocabulary");
    }
    return status;
}

static int read_template(struct tokenizer *tokenizer, const json_t *processor, struct error *err)
{
    const json_t *single = json_object_get(processor, "single");
    if (!json_is_array(single)) return bad(err, "a TemplateProcessing without \"single\"");
    bool behind = false;
    int status = 0;
    for (size_t i = 0; !status && i < json_array_size(single); i++) {
        const json_t *step = json_array_get(single, i);
        const char *name = text_of(json_object_get(step, "SpecialToken"), "id");
        if (json_object_get(step, "Sequence"))
            behind = true;
        else if (!name)
            status = bad(err, "a TemplateProcessing with a step that is neither a Sequence nor a SpecialToken");
        else
            status = push_special(tokenizer, processor, name, behind ? tokenizer->after : tokenizer->before,
                                  behind ? &tokenizer->n_after : &tokenizer->n_before, err);
    }
    return status;
}

/* "sep" and "cls" of BERT's and RoBERTa's: a text and its id. */
static int read_pair(struct tokenizer *tokenizer, const json_t *processor, struct error *err)
{
    const json_t *cls = json_array_get(json_object_get(processor, "cls"), 1);
    const json_t *sep = json_array_get(json_object_get(processor, "sep"), 1);
    json_int_t limit = (json_int_t)tokenizer->vocabulary.n_tokens;
    if (!json_is_integer(cls) || !json_is_integer(sep) || json_integer_value(cls) < 0 || json_integer_value(sep) < 0 ||
        json_integer_value(cls) >= limit || json_integer_value(sep) >= limit)
        return bad(err, "the post_processor's cls or sep is missing or outside the vocabulary");
    int status = push_added(tokenizer->before, &tokenizer->n_before, (uint32_t)json_integer_value(cls), err);
    return status ? status : push_added(tokenizer->after, &tokenizer->n_after, (uint32_t)json_integer_value(sep), err);
}

static int read_processor(struct tokenizer *tokenizer, const json_t *processor, unsigned depth, struct error *err)
{
    if (!processor || json_is_null(processor)) return 0;
    const char *type = text_of(processor, "type");
    if (!type) return bad(err, "the post_processor has no type");
    if (strcmp(type, "ByteLevel") == 0) return 0;
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(tokenizer, processor, err);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return read_pair(tokenizer, processor, err);
    if (strcmp(type, "Sequence") != 0)
        return error_set(err, ERROR_UNSUPPORTED,
                         "tokenizer.json: post_processor \"%s\" is not supported: there are Sequence, ByteLevel, "
                         "TemplateProcessing, BertProcessing, RobertaProcessing",
                         quote(type, strlen(type)).text);
    const json_t *list = json_object_get(processor, "processors");
    if (depth == 8 || !json_is_array(list))
        return bad(err, "the post_processor is nested too deep, or has no processors");
    int status = 0;
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = read_processor(tokenizer, json_array_get(list, i), depth + 1, err);
    return status;
}

/* ---- */

/* Where the space that a step put in front of a text goes again. */
static enum space_drop find_drop(const struct pipeline *pipeline)
{
    bool strips = false;
    for (unsigned i = 0; i < pipeline->n_decoders; i++) {
        const struct decoder_step *step = &pipeline->decoders[i];
        strips =
            strips || (step->kind == DECODE_STRIP && step->count > 0) || (step->kind == DECODE_METASPACE && step->flag);
    }
    if (!strips) return DROP_NEVER;
    for (unsigned i = 0; i < pipeline->n_normalizers; i++)
        if (pipeline->normalizers[i].kind == NORMALIZE_PREPEND) return DROP_AFTER_NAMES;
    for (unsigned i = 0; i < pipeline->n_words; i++)
        if (pipeline->words[i].kind == WORD_METASPACE && pipeline->words[i].scheme == PREPEND_ALWAYS)
            return DROP_AFTER_NAMES;
    return DROP_AT_START;
}

int tokenizer_open_json(struct tokenizer *tokenizer, const struct gguf *file, struct gguf_string text,
                        struct error *err)
{
    json_error_t why;
    tokenizer->style = "tokenizer.json";
    tokenizer->json = json_loadb(text.bytes, text.length, 0, &why);
    const json_t *root = tokenizer->json, *model = json_object_get(root, "model");
    if (!json_is_object(model)) return bad(err, "is no JSON object, or has no model");
    struct pipeline *pipeline = &tokenizer->pipeline;
    int status = vocabulary_open(file, &tokenizer->vocabulary, err);
    if (!status) status = pipeline_read_normalizer(pipeline, json_object_get(root, "normalizer"), err);
    if (!status) status = pipeline_read_words(pipeline, json_object_get(root, "pre_tokenizer"), err);
    if (!status) status = pipeline_read_decoder(pipeline, json_object_get(root, "decoder"), err);
    if (!status) status = open_model(tokenizer, file, model, err);
    if (!status) status = read_all_added(tokenizer, json_object_get(root, "added_tokens"), err);
    if (!status) status = read_processor(tokenizer, json_object_get(root, "post_processor"), 0, err);
    tokenizer->drop = find_drop(pipeline);
    return status;
}
