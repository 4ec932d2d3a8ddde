/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/pretokenizer.h"
#include "host/base/memory.h"
#include "host/text/quote.h"
#include "host/text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <string.h>

/*
 * White space as Unicode's property White_Space has it, for use inside brackets. PCRE2's own \s is not that: it
 * counts U+180E, which is no white space since Unicode 6.3 and was none where these vocabularies were trained.
 */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"

/*
 * Letters and numbers, for use inside brackets. Debian 12's PCRE2 knows Unicode 14; the reference implementation
 * (Hugging Face tokenizers 0.23) Unicode 16. These are the letters and numbers of versions 15.0 to 16.0, found by
 * asking both for every code point.
 */
#define LETTER                                                                                                         \
    "\\p{L}"                                                                                                           \
    "\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d65}"              \
    "\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}\\x{11380}-\\x{11389}\\x{1138b}"                   \
    "\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}"                     \
    "\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}"                   \
    "\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}"                    \
    "\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}"                              \
    "\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NUMBER                                                                                                         \
    "\\p{N}"                                                                                                           \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"                             \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}"                             \
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"

/*
 * The patterns as the models' makers published them (tokenizer.json of Meta-Llama-3 and of Qwen2, field
 * pre_tokenizer), with SPACE for \s, LETTER for \p{L} and NUMBER for \p{N}. The two differ in how many digits go
 * together.
 */
#define GPT4_STYLE_PATTERN(n_digits)                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"                                                                                     \
    "|[^\\r\\n" LETTER NUMBER "]?[" LETTER "]+"                                                                        \
    "|[" NUMBER "]" n_digits "| ?[^" SPACE LETTER NUMBER "]+[\\r\\n]*"                                                 \
    "|[" SPACE "]*[\\r\\n]+"                                                                                           \
    "|[" SPACE "]+(?![^" SPACE "])"                                                                                    \
    "|[" SPACE "]+"

static const struct pretokenizer_style llama_bpe = {
    .name = "llama-bpe",
    .pattern = GPT4_STYLE_PATTERN("{1,3}"),
    .takes_whole_words = true,
    .add_bos_by_default = true,
};
static const struct pretokenizer_style qwen2 = {.name = "qwen2", .pattern = GPT4_STYLE_PATTERN("")};

static const struct {
    const char *name; /* tokenizer.ggml.pre */
    const struct pretokenizer_style *style;
} names[] = {
    {"llama-bpe", &llama_bpe}, {"llama3", &llama_bpe},       {"llama-v3", &llama_bpe},
    {"qwen2", &qwen2},         {"deepseek-r1-qwen", &qwen2},
};
#define N_NAMES (sizeof names / sizeof names[0])

int pretokenizer_style_find(struct gguf_string name, const struct pretokenizer_style **out, struct error *err)
{
    char known[200];
    size_t used = 0;
    for (size_t i = 0; i < N_NAMES; i++) {
        if (strlen(names[i].name) == name.length && memcmp(names[i].name, name.bytes, name.length) == 0) {
            *out = names[i].style;
            return 0;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i].name);
    }
    return error_set(err, ERROR_UNSUPPORTED,
                     "pre-tokenizer \"%s\" (tokenizer.ggml.pre) is not supported: use a model with one of %s",
                     quote(name.bytes, name.length).text, known);
}

struct pretokenizer {
    pcre2_code *code;
    pcre2_match_context *limits;
};

static int pcre2_failure(int code, const char *what, struct error *err)
{
    PCRE2_UCHAR text[120];
    if (pcre2_get_error_message(code, text, sizeof text) < 0) text[0] = '\0';
    return error_set(err, code == PCRE2_ERROR_NOMEMORY ? ERROR_NO_MEMORY : ERROR_INTERNAL, "pre-tokenizer: %s: %s",
                     what, (const char *)text);
}

int pretokenizer_open(const struct pretokenizer_style *style, struct pretokenizer **out, struct error *err)
{
    struct pretokenizer *made = memory_array(1, sizeof *made);
    if (!made) return error_set(err, ERROR_NO_MEMORY, "pre-tokenizer: out of memory");
    int code;
    PCRE2_SIZE offset;
    made->code = pcre2_compile((PCRE2_SPTR)style->pattern, PCRE2_ZERO_TERMINATED,
                               PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &code, &offset, NULL);
    if (!made->code) {
        pretokenizer_close(made);
        return pcre2_failure(code, style->name, err);
    }
    made->limits = pcre2_match_context_create(NULL);
    if (!made->limits) {
        pretokenizer_close(made);
        return error_set(err, ERROR_NO_MEMORY, "pre-tokenizer: out of memory");
    }
    /*
     * The patterns backtrack one step for each white-space character of a run and for nothing else; the limit is far
     * above what that takes for the largest request, and stops what nobody thought of.
     */
    pcre2_set_match_limit(made->limits, 100 * 1000 * 1000);
    /* Without a just-in-time compiler on this processor the interpreter does it, slower; so failure is none. */
    (void)pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE);
    *out = made;
    return 0;
}

void pretokenizer_close(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer) return;
    pcre2_code_free(pretokenizer->code);
    pcre2_match_context_free(pretokenizer->limits);
    free(pretokenizer);
}

int pretokenizer_begin(struct pretokenizer_walk *walk, const struct pretokenizer *pretokenizer, const char *text,
                       size_t length, struct error *err)
{
    *walk = (struct pretokenizer_walk){.pretokenizer = pretokenizer, .text = text, .length = length};
    walk->match = pcre2_match_data_create(1, NULL);
    return walk->match ? 0 : error_set(err, ERROR_NO_MEMORY, "pre-tokenizer: out of memory");
}

int pretokenizer_next(struct pretokenizer_walk *walk, size_t *start, size_t *n, struct error *err)
{
    if (walk->position == walk->length) return 0;
    *start = walk->position;
    if (walk->position >= walk->valid_end) {
        const uint8_t *rest = (const uint8_t *)walk->text + walk->position;
        walk->valid_end = walk->position + utf8_valid_prefix(rest, walk->length - walk->position);
        if (walk->valid_end == walk->position) {
            walk->position++;
            *n = 1;
            return 1;
        }
    }
    int got =
        pcre2_match(walk->pretokenizer->code, (PCRE2_SPTR)walk->text + walk->position, walk->valid_end - walk->position,
                    0, PCRE2_NO_UTF_CHECK, walk->match, walk->pretokenizer->limits);
    if (got < 0) return pcre2_failure(got, "cannot cut the text into words", err);
    *n = pcre2_get_ovector_pointer(walk->match)[1];
    if (*n == 0) return error_set(err, ERROR_INTERNAL, "pre-tokenizer: an empty word at byte %zu", *start);
    walk->position += *n;
    return 1;
}

void pretokenizer_end(struct pretokenizer_walk *walk)
{
    pcre2_match_data_free(walk->match);
    *walk = (struct pretokenizer_walk){0};
}
