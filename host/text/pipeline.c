/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/pipeline.h"

#include <string.h>

const char pipeline_gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

void pipeline_close(struct pipeline *pipeline)
{
    for (unsigned i = 0; i < pipeline->n_normalizers; i++) {
        pattern_close(pipeline->normalizers[i].pattern);
        text_free(&pipeline->normalizers[i].literal);
        text_free(&pipeline->normalizers[i].content);
    }
    for (unsigned i = 0; i < pipeline->n_words; i++) {
        pattern_close(pipeline->words[i].pattern);
        text_free(&pipeline->words[i].literal);
    }
    for (unsigned i = 0; i < pipeline->n_decoders; i++) {
        text_free(&pipeline->decoders[i].literal);
        text_free(&pipeline->decoders[i].content);
    }
    *pipeline = (struct pipeline){0};
}

static int too_many(const char *what, struct error *err)
{
    return error_set(err, ERROR_TOO_LARGE, "tokenizer: more than %d steps in its %s", MAX_STEPS, what);
}

int pipeline_add_normalizer(struct pipeline *pipeline, enum normalizer_kind kind, struct normalizer_step **out,
                            struct error *err)
{
    if (pipeline->n_normalizers == MAX_STEPS) return too_many("normalizer", err);
    *out = &pipeline->normalizers[pipeline->n_normalizers++];
    (*out)->kind = kind;
    return 0;
}

int pipeline_add_words(struct pipeline *pipeline, enum word_kind kind, struct word_step **out, struct error *err)
{
    if (pipeline->n_words == MAX_STEPS) return too_many("pre_tokenizer", err);
    *out = &pipeline->words[pipeline->n_words++];
    (*out)->kind = kind;
    return 0;
}

int pipeline_add_decoder(struct pipeline *pipeline, enum decoder_kind kind, struct decoder_step **out,
                         struct error *err)
{
    if (pipeline->n_decoders == MAX_STEPS) return too_many("decoder", err);
    *out = &pipeline->decoders[pipeline->n_decoders++];
    (*out)->kind = kind;
    return 0;
}

int pipeline_add_split(struct pipeline *pipeline, const char *source, size_t length, enum split_behavior behavior,
                       bool invert, struct error *err)
{
    struct word_step *step = NULL;
    int status = pipeline_add_words(pipeline, WORD_SPLIT, &step, err);
    if (status) return status;
    step->behavior = behavior;
    step->invert = invert;
    return pattern_open(source, length, &step->pattern, err);
}

int pipeline_add_metaspace(struct pipeline *pipeline, const char *mark, size_t length, enum prepend_scheme scheme,
                           bool split, struct error *err)
{
    struct word_step *step = NULL;
    int status = pipeline_add_words(pipeline, WORD_METASPACE, &step, err);
    if (status) return status;
    step->scheme = scheme;
    status = text_append(&step->literal, mark, length, err);
    if (!status && split) status = pipeline_add_words(pipeline, WORD_SPLIT, &step, err);
    if (status || !split) return status;
    step->by = BY_LITERAL;
    step->behavior = SPLIT_WITH_NEXT;
    return text_append(&step->literal, mark, length, err);
}

int pipeline_add_replace(struct pipeline *pipeline, const char *from, const char *to, struct error *err)
{
    struct normalizer_step *step = NULL;
    int status = pipeline_add_normalizer(pipeline, NORMALIZE_REPLACE, &step, err);
    if (!status) status = text_append(&step->literal, from, strlen(from), err);
    return status ? status : text_append(&step->content, to, strlen(to), err);
}

void pipeline_finish_words(struct pipeline *pipeline)
{
    if (!pipeline->n_words || pipeline->words[pipeline->n_words - 1].kind != WORD_BYTE_LEVEL) return;
    pipeline->n_words--;
    pipeline->is_byte_level = true;
}
