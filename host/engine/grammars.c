/* SPDX-License-Identifier: Apache-2.0 */
#include "host/engine/grammars.h"
#include "host/base/memory.h"

#include <string.h>

void grammars_open(struct grammars *grammars)
{
    *grammars = (struct grammars){0};
    pthread_mutex_init(&grammars->mutex, NULL);
}

static void forget(struct kept_grammar *kept)
{
    grammar_release(kept->grammar);
    free(kept->text);
    *kept = (struct kept_grammar){0};
}

void grammars_close(struct grammars *grammars)
{
    for (int i = 0; i < GRAMMARS_KEPT; i++) forget(&grammars->kept[i]);
    grammar_vocabulary_close(grammars->vocabulary);
    pthread_mutex_destroy(&grammars->mutex);
}

/* With the mutex held. */
static struct grammar *find(struct grammars *grammars, enum grammar_kind kind, const char *text, size_t length)
{
    for (int i = 0; i < GRAMMARS_KEPT; i++) {
        struct kept_grammar *kept = &grammars->kept[i];
        if (!kept->grammar || kept->kind != kind || kept->length != length || memcmp(kept->text, text, length) != 0)
            continue;
        kept->used = ++grammars->calls;
        return grammar_hold(kept->grammar);
    }
    return NULL;
}

/* With the mutex held: in place of the one that was not asked for longest. Without memory it is not kept. */
static void keep(struct grammars *grammars, enum grammar_kind kind, const char *text, size_t length,
                 struct grammar *grammar)
{
    struct kept_grammar *oldest = &grammars->kept[0];
    char *copy = malloc(length ? length : 1);
    if (!copy) return;
    if (length > 0) memcpy(copy, text, length);
    for (int i = 1; i < GRAMMARS_KEPT; i++)
        if (grammars->kept[i].used < oldest->used) oldest = &grammars->kept[i];
    forget(oldest);
    *oldest = (struct kept_grammar){grammar_hold(grammar), kind, copy, length, ++grammars->calls};
}

int grammars_get(struct grammars *grammars, const struct tokenizer *tokenizer, uint32_t n_vocab, enum grammar_kind kind,
                 const char *text, size_t length, struct grammar **out, struct error *err)
{
    *out = NULL;
    if (!tokenizer) return error_set(err, ERROR_UNSUPPORTED, "a grammar needs the model's tokenizer");
    int status = 0;
    pthread_mutex_lock(&grammars->mutex);
    if (!grammars->vocabulary) status = grammar_vocabulary_open(tokenizer, n_vocab, &grammars->vocabulary, err);
    if (status == 0) *out = find(grammars, kind, text, length);
    pthread_mutex_unlock(&grammars->mutex);
    if (status < 0 || *out) return status;
    status = grammar_open(grammars->vocabulary, kind, text, length, out, err);
    if (status < 0) return status;
    pthread_mutex_lock(&grammars->mutex);
    keep(grammars, kind, text, length, *out);
    pthread_mutex_unlock(&grammars->mutex);
    return 0;
}
