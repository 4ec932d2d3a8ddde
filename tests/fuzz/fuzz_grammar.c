/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte says what the others are: a schema, a pattern, a grammar or choices. They are refused with a message, or
 * compiled; then random answers of a small vocabulary are followed, in which the mask allows just what can be accepted.
 */
#include "host/text/grammar/grammar.h"

#include <stdlib.h>
#include <string.h>

#define N_TOKENS 300u
#define END_TOKEN (N_TOKENS - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right) abort();
}

static struct grammar_vocabulary *vocabulary(void)
{
    static char bytes[N_TOKENS][4];
    struct gguf_string texts[N_TOKENS];
    struct grammar_vocabulary *made;
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        memcpy(bytes[i], i < 256 ? (char[]){(char)i} : "\":1", i < 256 ? 1 : 3);
        if (i >= 256) bytes[i][0] = (char)('"' + i % 64);
        texts[i] = (struct gguf_string){bytes[i], i < 256 ? 1 : 2 + i % 2};
    }
    check(grammar_vocabulary_make(texts, N_TOKENS, END_TOKEN, &made, NULL) == 0);
    return made;
}

static void follow(struct grammar *grammar, uint32_t seed)
{
    struct grammar_matcher *matcher;
    struct error err = {0};
    const uint32_t *bits;
    check(grammar_matcher_open(grammar, &matcher, &err) == 0);
    for (int n = 0; n < 12 && grammar_matcher_mask(matcher, &bits, &err) == 0; n++) {
        uint32_t chosen = UINT32_MAX;
        for (uint32_t i = 0; i < N_TOKENS; i++) {
            uint32_t token = (i + seed) % N_TOKENS;
            bool may = bits[token / 32] >> token % 32 & 1;
            if (token == END_TOKEN) continue;
            check(may == (grammar_matcher_try(matcher, &token, 1) == 1));
            if (may && chosen == UINT32_MAX) chosen = token;
        }
        if (chosen == UINT32_MAX) break;
        check(grammar_matcher_accept(matcher, chosen, &err) == 0);
        seed = seed * 1103515245u + 12345u;
    }
    grammar_matcher_close(matcher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct grammar_vocabulary *tokens; /* of the whole run: made once */
    static const enum grammar_kind kinds[] = {GRAMMAR_JSON_SCHEMA, GRAMMAR_REGEX, GRAMMAR_GBNF, GRAMMAR_CHOICE};
    struct grammar *grammar;
    struct error err = {0};
    if (size < 1) return 0;
    if (!tokens) tokens = vocabulary();
    if (grammar_open(tokens, kinds[data[0] % 4], (const char *)data + 1, size - 1, &grammar, &err) < 0) {
        check(err.text[0] != '\0' && !grammar);
        return 0;
    }
    for (uint32_t seed = 0; seed < 3; seed++) follow(grammar, seed * 77u + data[size - 1]);
    grammar_release(grammar);
    return 0;
}
