/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer in a structure costs beside the model: the time to compile, and of every token the time to make the mask
 * and to follow the token, over a document that matches. Each grammar runs twice through its document: the first time
 * masks are made that were not there yet, the second time they are. Prints one JSON line per grammar and pass, in CPU time, so
 * that other work on the machine counts little.
 *
 *   grammar_speed [MODEL]    a GGUF file with a vocabulary; without it 151936 tokens are made up
 */
#include "host/base/memory.h"
#include "host/text/grammar/grammar.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define N_MADE_UP 151936u
#define MOST_TOKENS 20000u

static double microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return 1e6 * (double)now.tv_sec + 1e-3 * (double)now.tv_nsec;
}

static const struct {
    const char *name;
    enum grammar_kind kind;
    const char *grammar, *document; /* the document's middle, between the bars, comes again and again */
} cases[] = {
    {"json_object", GRAMMAR_JSON_OBJECT, "",
     "{\"list\": [|{\"name\": \"Ada Lovelace\", \"born\": 1815, \"tags\": [\"mathematics\", \"poetry\"], \"alive\": "
     "false}, |{}]}"},
    {"json_schema", GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
     "\"maxLength\":80},"
     "\"born\":{\"type\":\"integer\",\"minimum\":1000,\"maximum\":2100},\"mail\":{\"type\":\"string\",\"format\":"
     "\"email\"},"
     "\"kind\":{\"enum\":[\"person\",\"company\",\"place\"]},\"score\":{\"type\":\"number\",\"minimum\":0,\"maximum\":"
     "1}},"
     "\"required\":[\"name\",\"kind\"],\"additionalProperties\":false}}",
     "[|{\"name\": \"Ada Lovelace\", \"born\": 1815, \"mail\": \"ada@example.org\", \"kind\": \"person\", \"score\": "
     "0.75}, |{\"name\":\"x\",\"kind\":\"place\"}]"},
    {"regex", GRAMMAR_REGEX, "([A-Z][a-z]+ [A-Z][a-z]+, born [0-9]{4}\\. )+",
     "|Ada Lovelace, born 1815. |Alan Turing, born 1912. "},
    {"gbnf", GRAMMAR_GBNF,
     "root ::= line+\nline ::= \"- \" words \": \" expr \"\\n\"\nwords ::= word (\" \" word)*\nword ::= [a-zA-Z]+\n"
     "expr ::= term ([-+*/] term)*\nterm ::= [0-9]+ | \"(\" expr \")\"",
     "|- the sum of both: (12+34)*5-(6/7)\n|- x: 1\n"},
    {"tool_calls", GRAMMAR_STRUCTURE,
     "[{\"free\":[\"<tool_call>\"]},{\"repeat\":[\"<tool_call>\",{\"space\":true},{\"mark\":\"{\"},\"\\\"name\\\"\","
     "{\"mark\":\":\"},{\"any\":[[\"\\\"weather\\\"\",{\"mark\":\",\"},\"\\\"arguments\\\"\",{\"mark\":\":\"},"
     "{\"schema\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"}},"
     "\"required\":[\"city\"]}}],[\"\\\"now\\\"\",{\"mark\":\",\"},\"\\\"arguments\\\"\",{\"mark\":\":\"},\"{}\"]]},"
     "{\"mark\":\"}\"},{\"space\":true},\"</tool_call>\",{\"space\":true}]}]",
     "Let me look at the weather there, and at what time it is now.\n|<tool_call>\n{\"name\": \"weather\", "
     "\"arguments\": "
     "{\"city\": \"Longyearbyen, Svalbard\", \"days\": 3}}\n</tool_call>\n|<tool_call>\n{\"name\": \"now\", "
     "\"arguments\": {}}\n</tool_call>"},
};

/* Words, pieces of words, numbers and marks, with and without a space in front, as vocabularies of byte-level BPE have them. */
static void make_up(struct gguf_string *texts, char (*bytes)[16])
{
    static const char *const syllables[] = {"a",   "e",   "in",   "er", "on",   "th", "st",  "ing", "or",  "al", "re",
                                            "con", "pro", "ness", "ly", "tion", "ma", "ti",  "o",   "u",   "la", "da",
                                            "ke",  "mi",  "no",   "pe", "ro",   "su", "ver", "com", "per", "ex"};
    static const char *const marks[] = {"\"", "\", \"", "\": ", "\": \"", "{\"", "\"}", "},", "}, {\"", "[\"", "\"],",
                                        ": ", ", ",     "\n",   ".\n",    "\\n", "(",   ")",  "()",     " =",  "//"};
    uint32_t state = 1;
    for (uint32_t i = 0; i < N_MADE_UP; i++) {
        size_t n = 0;
        state = state * 1664525u + 1013904223u;
        if (i < 256) {
            bytes[i][n++] = (char)i;
        } else if (i < 256 + 1000) {
            n = (size_t)snprintf(bytes[i], 16, "%u", i - 256);
        } else {
            if (state >> 31) bytes[i][n++] = ' ';
            uint32_t parts = 1 + (state >> 16) % 4;
            for (uint32_t p = 0; p < parts; p++) {
                state = state * 1664525u + 1013904223u;
                const char *part = i % 60 == 0 ? marks[(state >> 20) % 20] : syllables[(state >> 20) % 32];
                if (n + strlen(part) > 15) break;
                memcpy(bytes[i] + n, part, strlen(part));
                n += strlen(part);
            }
            if (i % 5 == 0 && n > 0 && bytes[i][n - 1] >= 'a' && bytes[i][0] != ' ')
                bytes[i][0] = (char)(bytes[i][0] & ~0x20);
        }
        texts[i] = (struct gguf_string){bytes[i], n};
    }
}

/* The document's tokens: at every place the longest one of those that are allowed. */
static uint32_t choose(const uint32_t *bits, const struct gguf_string *texts, uint32_t n, const char *document,
                       size_t left)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t t = 0; t < n; t++) {
        if (!(bits[t / 32] >> t % 32 & 1) || texts[t].length > left || texts[t].length == 0) continue;
        if (best != UINT32_MAX && texts[t].length <= texts[best].length) continue;
        if (memcmp(texts[t].bytes, document, texts[t].length) == 0) best = t;
    }
    return best;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run(struct grammar *grammar, const char *name, const char *pass, double compile, const char *document,
                const struct gguf_string *texts, uint32_t n_tokens, double *times)
{
    struct grammar_matcher *matcher;
    struct error err = {0};
    size_t length = strlen(document), at = 0;
    uint32_t n = 0;
    double sum = 0;
    if (grammar_matcher_open(grammar, &matcher, &err) < 0) return false;
    while (at < length && n < MOST_TOKENS) {
        const uint32_t *bits;
        double start = microseconds();
        if (grammar_matcher_mask(matcher, &bits, &err) < 0) break;
        double spent = microseconds() - start;
        uint32_t token = choose(bits, texts, n_tokens, document + at, length - at);
        if (token == UINT32_MAX) break;
        start = microseconds();
        if (grammar_matcher_accept(matcher, token, &err) < 0) break;
        times[n] = spent + microseconds() - start;
        sum += times[n++];
        at += texts[token].length;
    }
    bool whole = at == length && grammar_matcher_may_end(matcher);
    grammar_matcher_close(matcher);
    if (!whole) {
        fprintf(stderr, "grammar_speed: %s: the document ends at byte %zu of %zu: %s\n", name, at, length, err.text);
        return false;
    }
    qsort(times, n, sizeof *times, compare);
    printf("{\"name\": \"grammar %s\", \"pass\": \"%s\", \"vocabulary\": %u, \"tokens\": %u, \"compile_ms\": %.2f, "
           "\"unit\": \"us per token\", "
           "\"mean\": %.2f, \"median\": %.2f, \"p99\": %.2f, \"most\": %.2f}\n",
           name, pass, n_tokens, n, compile / 1e3, sum / n, times[n / 2], times[n * 99ull / 100], times[n - 1]);
    return true;
}

/* The document with its middle many times. Owned. */
static char *unfold(const char *pattern)
{
    const char *first = strchr(pattern, '|'), *second = strchr(first + 1, '|');
    size_t head = (size_t)(first - pattern), middle = (size_t)(second - first) - 1, times = 40;
    char *text = malloc(strlen(pattern) + times * middle + 1), *at = text;
    if (!text) return NULL;
    at = mempcpy(at, pattern, head);
    for (size_t i = 0; i < times; i++) at = mempcpy(at, first + 1, middle);
    memcpy(at, second + 1, strlen(second + 1) + 1);
    return text;
}

static int measure(const struct grammar_vocabulary *vocabulary, const struct gguf_string *texts)
{
    uint32_t n_tokens = grammar_vocabulary_n_tokens(vocabulary);
    double *times = memory_array(MOST_TOKENS, sizeof *times);
    int failed = times == NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] && !failed; i++) {
        struct grammar *grammar;
        struct error err = {0};
        char *document = unfold(cases[i].document);
        double start = microseconds();
        failed = !document || grammar_open(vocabulary, cases[i].kind, cases[i].grammar, strlen(cases[i].grammar),
                                           &grammar, &err) < 0;
        double compile = microseconds() - start;
        if (failed) {
            fprintf(stderr, "grammar_speed: %s: %s\n", cases[i].name, err.text);
        } else {
            failed = !run(grammar, cases[i].name, "first", compile, document, texts, n_tokens, times) ||
                     !run(grammar, cases[i].name, "second", compile, document, texts, n_tokens, times);
            grammar_release(grammar);
        }
        free(document);
    }
    free(times);
    return failed;
}

static int measure_made_up(void)
{
    struct gguf_string *texts = memory_array(N_MADE_UP, sizeof *texts);
    char(*bytes)[16] = memory_array(N_MADE_UP, sizeof *bytes);
    struct grammar_vocabulary *vocabulary = NULL;
    struct error err = {0};
    int failed = 1;
    if (texts && bytes) {
        make_up(texts, bytes);
        if (grammar_vocabulary_make(texts, N_MADE_UP, N_MADE_UP - 1, &vocabulary, &err) == 0)
            failed = measure(vocabulary, texts);
    }
    grammar_vocabulary_close(vocabulary);
    free(texts);
    free(bytes);
    return failed;
}

/* The texts of a file's tokens, in one block. */
static int read_texts(const struct tokenizer *tokenizer, struct gguf_string *texts, struct text *bytes,
                      struct error *err)
{
    uint32_t n = tokenizer_n_tokens(tokenizer);
    for (uint32_t t = 0; t < n; t++) {
        size_t before = bytes->length;
        int status = tokenizer_token_bytes(tokenizer, t, bytes, err);
        if (status < 0) return status;
        texts[t].length = bytes->length - before;
    }
    size_t at = 0;
    for (uint32_t t = 0; t < n; at += texts[t++].length) texts[t].bytes = bytes->bytes + at;
    return 0;
}

static int measure_file(const char *path)
{
    struct gguf *file = NULL;
    struct tokenizer *tokenizer = NULL;
    struct grammar_vocabulary *vocabulary = NULL;
    struct gguf_string *texts = NULL;
    struct text bytes = {0};
    struct error err = {0};
    int failed = 1;
    if (gguf_open(path, &file, &err) == 0 && tokenizer_open(file, &tokenizer, &err) == 0 &&
        grammar_vocabulary_open(tokenizer, tokenizer_n_tokens(tokenizer), &vocabulary, &err) == 0 &&
        (texts = memory_array(tokenizer_n_tokens(tokenizer), sizeof *texts)) != NULL &&
        read_texts(tokenizer, texts, &bytes, &err) == 0)
        failed = measure(vocabulary, texts);
    if (err.code) fprintf(stderr, "grammar_speed: %s: %s\n", path, err.text);
    text_free(&bytes);
    free(texts);
    grammar_vocabulary_close(vocabulary);
    tokenizer_close(tokenizer);
    gguf_close(file);
    return failed;
}

int main(int argc, char **argv) { return argc > 1 ? measure_file(argv[1]) : measure_made_up(); }
