/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of a text: each step takes a piece and hands its parts to the next one, so no list of pieces is made. What a step means is
 * Hugging Face tokenizers' (pre_tokenizers/ and NormalizedString::split).
 */
#include "host/text/byte_level.h"
#include "host/text/character.h"
#include "host/text/pipeline.h"
#include "host/text/utf8.h"

#include <string.h>

struct cutter {
    const struct pipeline *pipeline;
    struct pipeline_space *space;
    word_taker take;
    void *context;
    struct error *err;
};

static int run(struct cutter *cutter, unsigned step, const char *text, size_t length, bool at_start);

/* A part of a piece that is or is not a match, on its way to the next step. Parts may be joined on the way. */
struct joiner {
    struct cutter *cutter;
    const struct word_step *step;
    unsigned next;
    const char *text;
    size_t start, end; /* what waits; start == end: nothing */
    bool waits_match, was_match, at_start;
};

static int hand_on(struct joiner *joiner, size_t start, size_t end)
{
    if (start == end) return 0;
    return run(joiner->cutter, joiner->next, joiner->text + start, end - start, joiner->at_start && start == 0);
}

static int flush(struct joiner *joiner)
{
    size_t start = joiner->start, end = joiner->end;
    joiner->start = joiner->end = 0;
    return hand_on(joiner, start, end);
}

static int add_part(struct joiner *joiner, size_t start, size_t end, bool match)
{
    if (start == end) return 0;
    match = match != joiner->step->invert;
    bool joins = false;
    switch (joiner->step->behavior) {
    case SPLIT_REMOVED: return match ? 0 : hand_on(joiner, start, end);
    case SPLIT_ISOLATED: return hand_on(joiner, start, end);
    case SPLIT_CONTIGUOUS: joins = match == joiner->was_match; break;
    case SPLIT_WITH_PREVIOUS: joins = match && !joiner->was_match; break;
    case SPLIT_WITH_NEXT: joins = joiner->waits_match && !match; break;
    }
    joiner->was_match = match;
    if (joins && joiner->start != joiner->end) {
        joiner->end = end;
        joiner->waits_match = match;
        return 0;
    }
    int status = flush(joiner);
    joiner->start = start;
    joiner->end = end;
    joiner->waits_match = match;
    return status;
}

static int split_by_pattern(struct joiner *joiner, size_t length)
{
    struct cutter *cutter = joiner->cutter;
    size_t position = 0, start, end;
    int status = 0;
    while (position < length) {
        status = pattern_find(joiner->step->pattern, &cutter->space->pattern, joiner->text, length, position, &start,
                              &end, cutter->err);
        if (status <= 0) break;
        status = add_part(joiner, position, start, false);
        if (!status) status = add_part(joiner, start, end, true);
        if (status) return status;
        position = end;
    }
    return status < 0 ? status : add_part(joiner, position, length, false);
}

static int split_by_literal(struct joiner *joiner, size_t length)
{
    const struct text *literal = &joiner->step->literal;
    const char *text = joiner->text, *found;
    size_t position = 0;
    int status = 0;
    while (!status && position < length &&
           (found = memmem(text + position, length - position, literal->bytes, literal->length)) != NULL) {
        size_t start = (size_t)(found - text);
        status = add_part(joiner, position, start, false);
        position = start + literal->length;
        if (!status) status = add_part(joiner, start, position, true);
    }
    return status ? status : add_part(joiner, position, length, false);
}

static bool belongs(enum split_by by, uint32_t c)
{
    if (by == BY_SPACE) return character_is_space(c);
    return by == BY_DIGIT ? character_is_digit(c) : character_is_punctuation(c);
}

static int split_by_class(struct joiner *joiner, size_t length)
{
    size_t position = 0;
    int status = 0;
    for (size_t i = 0; !status && i < length;) {
        unsigned n = utf8_length((uint8_t)joiner->text[i]);
        if (belongs(joiner->step->by, utf8_decode((const uint8_t *)joiner->text + i, n))) {
            status = add_part(joiner, position, i, false);
            if (!status) status = add_part(joiner, i, i + n, true);
            position = i + n;
        }
        i += n;
    }
    return status ? status : add_part(joiner, position, length, false);
}

static int split_by_length(struct joiner *joiner, size_t length)
{
    size_t position = 0, count = 0;
    int status = 0;
    for (size_t i = 0; !status && i < length;) {
        i += utf8_length((uint8_t)joiner->text[i]);
        if (++count < joiner->step->count && i < length) continue;
        status = hand_on(joiner, position, i);
        position = i;
        count = 0;
    }
    return status;
}

static int split(struct cutter *cutter, unsigned step, const char *text, size_t length, bool at_start)
{
    struct joiner joiner = {
        .cutter = cutter, .step = &cutter->pipeline->words[step], .next = step + 1, .text = text, .at_start = at_start};
    int status;
    if (joiner.step->kind == WORD_LENGTH)
        status = split_by_length(&joiner, length);
    else if (joiner.step->by == BY_PATTERN)
        status = split_by_pattern(&joiner, length);
    else if (joiner.step->by == BY_LITERAL)
        status = split_by_literal(&joiner, length);
    else
        status = split_by_class(&joiner, length);
    return status ? status : flush(&joiner);
}

/* The piece written anew, in the step's own memory. */
static int rewrite(struct cutter *cutter, const struct word_step *step, const char *text, size_t length, bool at_start,
                   struct text *out)
{
    struct error *err = cutter->err;
    const struct text *mark = &step->literal;
    out->length = 0;
    if (step->kind == WORD_BYTE_LEVEL) return byte_level_write(text, length, out, err);
    if (step->kind == WORD_PREFIX_SPACE) {
        int status = text[0] == ' ' ? 0 : text_append(out, " ", 1, err);
        return status ? status : text_append(out, text, length, err);
    }
    bool marked =
        length && (text[0] == ' ' || (length >= mark->length && memcmp(text, mark->bytes, mark->length) == 0));
    bool prepend = !marked && (step->scheme == PREPEND_ALWAYS || (step->scheme == PREPEND_FIRST && at_start));
    int status = prepend ? text_append(out, mark->bytes, mark->length, err) : 0;
    while (!status && length) {
        const char *space = memchr(text, ' ', length);
        size_t n = space ? (size_t)(space - text) : length;
        status = text_append(out, text, n, err);
        if (!status && space) status = text_append(out, mark->bytes, mark->length, err);
        if (space) n++;
        text += n;
        length -= n;
    }
    return status;
}

static int run(struct cutter *cutter, unsigned step, const char *text, size_t length, bool at_start)
{
    if (step == cutter->pipeline->n_words) return cutter->take(cutter->context, text, length, cutter->err);
    const struct word_step *now = &cutter->pipeline->words[step];
    if (now->kind == WORD_SPLIT || now->kind == WORD_LENGTH) return split(cutter, step, text, length, at_start);
    struct text *out = &cutter->space->words[step];
    int status = rewrite(cutter, now, text, length, at_start, out);
    return status ? status : run(cutter, step + 1, out->bytes, out->length, at_start);
}

int cut_words(const struct pipeline *pipeline, struct pipeline_space *space, const char *text, size_t length,
              bool at_start, word_taker take, void *context, struct error *err)
{
    struct cutter cutter = {pipeline, space, take, context, err};
    return length ? run(&cutter, 0, text, length, at_start) : 0;
}

void pipeline_space_free(struct pipeline_space *space)
{
    pattern_space_free(&space->pattern);
    text_free(&space->normal);
    text_free(&space->other);
    for (unsigned i = 0; i < MAX_STEPS; i++) text_free(&space->words[i]);
}
