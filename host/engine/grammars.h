/* SPDX-License-Identifier: Apache-2.0 */
/* The grammars that an engine's requests asked for last, compiled; and its vocabulary as grammars need it. */
#ifndef SLUICE_ENGINE_GRAMMARS_H
#define SLUICE_ENGINE_GRAMMARS_H

#include "host/text/grammar/grammar.h"

#include <pthread.h>

#define GRAMMARS_KEPT 16

struct kept_grammar {
    struct grammar *grammar; /* NULL: free */
    enum grammar_kind kind;
    char *text; /* owned */
    size_t length;
    uint64_t used; /* when, in calls */
};

struct grammars {
    pthread_mutex_t mutex;
    struct grammar_vocabulary *vocabulary; /* NULL: nobody has asked yet */
    struct kept_grammar kept[GRAMMARS_KEPT];
    uint64_t calls;
};

void grammars_open(struct grammars *grammars);
void grammars_close(struct grammars *grammars);

/* As engine_grammar. */
int grammars_get(struct grammars *grammars, const struct tokenizer *tokenizer, uint32_t n_vocab, enum grammar_kind kind,
                 const char *text, size_t length, struct grammar **out, struct error *err);

#endif
