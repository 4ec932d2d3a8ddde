/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The styles of GGUF files: tokenizer.ggml.model says the kind, tokenizer.ggml.pre how words are cut. Patterns are those of the
 * models' own tokenizer.json (kimi-k2: of its tokenization_kimi.py); which name stands for which is llama.cpp's
 * (src/llama-vocab.cpp).
 */
#include "host/text/charsmap.h"
#include "host/text/quote.h"
#include "host/text/tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

#define MARK "\xe2\x96\x81" /* U+2581, SentencePiece's space */

#define SUFFIXES "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SIGNS "| ?[^\\s\\p{L}\\p{N}]+"
#define SPACES "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT4(digits) SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits SIGNS "[\\r\\n]*" SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix)                                                                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix
#define KIMI_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]"
#define KIMI_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]"
#define CJK "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+"
#define CJK_AND_HANGUL "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+"
#define DEEPSEEK                                                                                                       \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "              \
    "?[\\p{P}\\p{S}]+[\\r\\n]*" SPACES
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+" SIGNS "|\\s+(?!\\S)|\\s+"

/* The letters with case that DeepSeek LLM's tokenizer.json lists. */
#define CASED_LETTERS                                                                                                  \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"                    \
    "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}"     \
    "\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"         \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}"                  \
    "\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"                  \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}"          \
    "\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"         \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}"          \
    "\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"                    \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"          \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"                   \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"                  \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"            \
    "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

static const struct style {
    const char *name;
    const char *patterns[6]; /* each cuts what the one before left */
    bool takes_whole_words;
    bool add_bos_by_default; /* where the file does not say */
} styles[] = {
    {.name = "llama-bpe", .patterns = {GPT4("{1,3}")}, .takes_whole_words = true, .add_bos_by_default = true},
    {.name = "qwen2", .patterns = {GPT4("")}},
    {.name = "qwen35",
     .patterns = {SUFFIXES
                  "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES}},
    {.name = "gpt-2", .patterns = {GPT2}},
    {.name = "chatglm", .patterns = {GPT4("{1,3}")}},
    {.name = "glm4", .patterns = {GPT4("{1,3}")}, .takes_whole_words = true},
    {.name = "deepseek-llm",
     .patterns = {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+",
                  "\\s?[!-/:-~\xef\xbc\x81-\xef\xbc\x8f\xef\xbc\x9a-\xef\xbd\x9e\xe2\x80\x98-\xe2\x80\x9f\xe3\x80\x80-"
                  "\xe3\x80\x82]+",
                  "\\s+$", CJK_AND_HANGUL, "\\p{N}"}},
    {.name = "deepseek-coder", .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_AND_HANGUL, "\\p{N}"}},
    {.name = "deepseek-v3", .patterns = {"\\p{N}{1,3}", CJK, DEEPSEEK}},
    {.name = "gpt-4o", .patterns = {CASED(SUFFIXES "?") "|\\p{N}{1,3}" SIGNS "[\\r\\n/]*" SPACES}},
    {.name = "tekken",
     .patterns = {CASED("") "|\\p{N}" SIGNS "[\\r\\n/]*" SPACES},
     .takes_whole_words = true,
     .add_bos_by_default = true},
    {.name = "kimi-k2",
     .patterns = {"\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "*" KIMI_LOWER "+" SUFFIXES
                  "?|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "+" KIMI_LOWER "*" SUFFIXES "?|\\p{N}{1,3}" SIGNS
                  "[\\r\\n]*" SPACES},
     .takes_whole_words = true},
    {.name = "command-r", .patterns = {"\\p{N}", GPT2}},
    {.name = "bailingmoe",
     .patterns = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
                  "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+"
                  "(?!\\S)|\\s+"}},
    {.name = "seed-coder",
     .patterns = {SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES}},
    {.name = "exaone-moe",
     .patterns = {SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}" SIGNS
                           "[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {.name = "minicpm5",
     .patterns = {"\\p{N}{1,3}", SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}+" SIGNS "[\\r\\n]*" SPACES},
     .takes_whole_words = true},
};

/* tokenizer.ggml.pre, and the style that it stands for. */
static const char *const names[][2] = {
    {"llama-bpe", "llama-bpe"},
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"falcon3", "llama-bpe"},
    {"falcon-h1", "llama-bpe"},
    {"pixtral", "llama-bpe"},
    {"midm-2.0", "llama-bpe"},
    {"lfm2", "llama-bpe"},
    {"dbrx", "chatglm"},
    {"smaug-bpe", "chatglm"},
    {"qwen2", "qwen2"},
    {"deepseek-r1-qwen", "qwen2"},
    {"r1-qwen", "qwen2"},
    {"kormo", "qwen2"},
    {"f2llmv2", "qwen2"},
    {"megrez", "qwen2"},
    {"stablelm2", "qwen2"},
    {"hunyuan", "qwen2"},
    {"solar-open", "qwen2"},
    {"grok-2", "qwen2"},
    {"qwen35", "qwen35"},
    {"gpt-2", "gpt-2"},
    {"gpt-neox", "gpt-2"},
    {"olmo", "gpt-2"},
    {"mpt", "gpt-2"},
    {"phi-2", "gpt-2"},
    {"jais", "gpt-2"},
    {"gigachat", "gpt-2"},
    {"a.x-4.0", "gpt-2"},
    {"mellum", "gpt-2"},
    {"modern-bert", "gpt-2"},
    {"trillion", "gpt-2"},
    {"granite-docling", "gpt-2"},
    {"exaone4", "gpt-2"},
    {"chatglm-bpe", "chatglm"},
    {"chatglm4", "chatglm"},
    {"glm4", "glm4"},
    {"glm5", "glm4"},
    {"deepseek-llm", "deepseek-llm"},
    {"deepseek-coder", "deepseek-coder"},
    {"deepseek-v3", "deepseek-v3"},
    {"hunyuan-dense", "deepseek-v3"},
    {"joyai-llm", "deepseek-v3"},
    {"hy_v4", "deepseek-v3"},
    {"step3", "deepseek-v3"},
    {"step35", "deepseek-v3"},
    {"step", "deepseek-v3"},
    {"gpt-4o", "gpt-4o"},
    {"llama4", "gpt-4o"},
    {"kanana2", "gpt-4o"},
    {"minimax-m2", "gpt-4o"},
    {"minimax", "gpt-4o"},
    {"gpt-oss", "gpt-4o"},
    {"harmony", "gpt-4o"},
    {"tekken", "tekken"},
    {"kimi-k2", "kimi-k2"},
    {"command-r", "command-r"},
    {"starcoder", "command-r"},
    {"refact", "command-r"},
    {"smollm", "command-r"},
    {"codeshell", "command-r"},
    {"exaone", "command-r"},
    {"minerva-7b", "command-r"},
    {"mellum2", "command-r"},
    {"bailingmoe", "bailingmoe"},
    {"bailingmoe2", "bailingmoe"},
    {"llada-moe", "bailingmoe"},
    {"seed-coder", "seed-coder"},
    {"exaone-moe", "exaone-moe"},
    {"minicpm5", "minicpm5"},
};
#define N_NAMES (sizeof names / sizeof names[0])
#define N_STYLES (sizeof styles / sizeof styles[0])

static bool equals(struct gguf_string a, const char *b)
{
    return strlen(b) == a.length && memcmp(a.bytes, b, a.length) == 0;
}

static int find_style(struct gguf_string pre, const struct style **out, struct error *err)
{
    char known[480];
    size_t used = 0;
    for (size_t i = 0; i < N_NAMES; i++) {
        for (size_t k = 0; equals(pre, names[i][0]) && k < N_STYLES; k++) {
            if (strcmp(styles[k].name, names[i][1]) != 0) continue;
            *out = &styles[k];
            return 0;
        }
    }
    for (size_t k = 0; k < N_STYLES; k++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", k ? ", " : "", styles[k].name);
    return error_set(err, ERROR_UNSUPPORTED,
                     "pre-tokenizer \"%s\" (tokenizer.ggml.pre) is not supported: use a model with one of %s",
                     quote(pre.bytes, pre.length).text, known);
}

/* tokenizer.ggml.pre; models older than the key have GPT-2's. */
static int read_style(const struct gguf *file, const struct style **out, struct error *err)
{
    struct gguf_string pre, architecture = {0};
    int status = gguf_get_string(file, "tokenizer.ggml.pre", &pre, err);
    if (status == 1) return find_style(pre, out, err);
    if (status == 0) status = gguf_get_string(file, "general.architecture", &architecture, err);
    if (status < 0) return status;
    if (equals(architecture, "gptneox") || equals(architecture, "gpt2"))
        return find_style((struct gguf_string){"gpt-2", 5}, out, err);
    return error_set(err, ERROR_UNSUPPORTED,
                     "tokenizer.ggml.pre is missing, so nobody can know how this byte-level "
                     "vocabulary cuts words: convert the model again with a current converter");
}

static int add_decoder(struct tokenizer *tokenizer, enum decoder_kind kind, const char *from, const char *to,
                       struct error *err)
{
    struct decoder_step *step = NULL;
    int status = pipeline_add_decoder(&tokenizer->pipeline, kind, &step, err);
    if (!status) status = text_append(&step->literal, from, strlen(from), err);
    if (!status) status = text_append(&step->content, to, strlen(to), err);
    if (!status) step->flag = true;
    return status;
}

static void add_bos_by_default(struct tokenizer *tokenizer, bool habit)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (!vocabulary->says_add_bos) vocabulary->add_bos = habit && vocabulary->bos != TOKEN_NONE;
}

static int open_byte_level(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    const struct style *style;
    int status = read_style(file, &style, err);
    if (status) return status;
    tokenizer->kind = KIND_BPE;
    tokenizer->style = style->name;
    for (unsigned i = 0; !status && i < 6 && style->patterns[i]; i++)
        status = pipeline_add_split(&tokenizer->pipeline, style->patterns[i], strlen(style->patterns[i]),
                                    SPLIT_ISOLATED, false, err);
    if (!status) status = add_decoder(tokenizer, DECODE_BYTE_LEVEL, "", "", err);
    const struct bpe_options options = {.is_byte_level = true, .takes_whole_words = style->takes_whole_words};
    if (!status) status = bpe_open(&tokenizer->vocabulary, file, &options, &tokenizer->bpe, err);
    add_bos_by_default(tokenizer, style->add_bos_by_default);
    return status;
}

static int open_spm(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    tokenizer->kind = KIND_SPM;
    tokenizer->style = "llama-spm";
    int status = spm_open(&tokenizer->vocabulary, file, &tokenizer->spm, err);
    if (!status) status = add_decoder(tokenizer, DECODE_REPLACE, MARK, " ", err);
    if (!status) status = add_decoder(tokenizer, DECODE_BYTE_FALLBACK, "", "", err);
    if (tokenizer->spm.add_space_prefix) tokenizer->drop = DROP_AFTER_NAMES;
    add_bos_by_default(tokenizer, true);
    return status;
}

/* SentencePiece's BPE with a list of merges: spaces are marked, and there are no words. */
static int open_gemma4(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    tokenizer->kind = KIND_BPE;
    tokenizer->style = "gemma-4";
    int status = pipeline_add_replace(&tokenizer->pipeline, " ", MARK, err);
    if (!status) status = add_decoder(tokenizer, DECODE_REPLACE, MARK, " ", err);
    if (!status) status = add_decoder(tokenizer, DECODE_BYTE_FALLBACK, "", "", err);
    const struct bpe_options options = {.falls_back = true, .fuses_unknown = true};
    if (!status) status = bpe_open(&tokenizer->vocabulary, file, &options, &tokenizer->bpe, err);
    add_bos_by_default(tokenizer, true);
    return status;
}

/* The map of characters is an array of bytes. */
static int add_charsmap(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_value *value = gguf_find(file, key);
    struct normalizer_step *step = NULL;
    if (!value) return 0;
    bool bytes =
        value->type == GGUF_TYPE_ARRAY && (value->element_type == GGUF_TYPE_U8 || value->element_type == GGUF_TYPE_I8);
    if (!bytes) return error_set(err, ERROR_BAD_FILE, "%s is not a list of bytes", key);
    int status = pipeline_add_normalizer(&tokenizer->pipeline, NORMALIZE_CHARSMAP, &step, err);
    if (!status) status = text_append(&step->content, (const char *)value->bytes, value->count, err);
    return status ? status : charsmap_check(&step->content, err);
}

static int add_space_words(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    bool removes = true, prefix = true;
    int status = gguf_get_bool(file, "tokenizer.ggml.remove_extra_whitespaces", &removes, err);
    if (status >= 0) status = gguf_get_bool(file, "tokenizer.ggml.add_space_prefix", &prefix, err);
    if (status < 0) return status;
    struct word_step *step = NULL;
    status = removes ? pipeline_add_words(&tokenizer->pipeline, WORD_SPLIT, &step, err) : 0;
    if (status) return status;
    if (removes) {
        step->by = BY_SPACE;
        step->behavior = SPLIT_REMOVED;
    }
    tokenizer->drop = prefix ? DROP_AFTER_NAMES : DROP_NEVER;
    return pipeline_add_metaspace(&tokenizer->pipeline, MARK, strlen(MARK), prefix ? PREPEND_ALWAYS : PREPEND_NEVER,
                                  true, err);
}

static int open_t5(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    tokenizer->kind = KIND_UNIGRAM;
    tokenizer->style = "t5";
    int status = add_charsmap(tokenizer, file, err);
    if (!status) status = add_space_words(tokenizer, file, err);
    if (!status) status = add_decoder(tokenizer, DECODE_METASPACE, MARK, "", err);
    if (!status) status = unigram_open(&tokenizer->vocabulary, true, &tokenizer->unigram, err);
    add_bos_by_default(tokenizer, false);
    return status;
}

/* BERT's own normalizer and words; a converter has marked what begins a word, where tokenizer.json marks what goes on. */
static int open_bert(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    tokenizer->kind = KIND_WORD_PIECE;
    tokenizer->style = "bert";
    json_t *normalizer = json_pack("{s:s}", "type", "BertNormalizer"),
           *words = json_pack("{s:s}", "type", "BertPreTokenizer");
    int status = normalizer && words ? pipeline_read_normalizer(&tokenizer->pipeline, normalizer, err)
                                     : error_set(err, ERROR_NO_MEMORY, "vocabulary: out of memory");
    if (!status) status = pipeline_read_words(&tokenizer->pipeline, words, err);
    json_decref(normalizer);
    json_decref(words);
    if (!status) status = add_decoder(tokenizer, DECODE_WORD_PIECE, "", MARK, err);
    uint32_t separator = TOKEN_NONE;
    if (!status) status = vocabulary_read_id(vocabulary, file, "tokenizer.ggml.seperator_token_id", &separator, err);
    if (!status && vocabulary->bos == TOKEN_NONE)
        status = vocabulary_read_id(vocabulary, file, "tokenizer.ggml.cls_token_id", &vocabulary->bos, err);
    if (!status && separator != TOKEN_NONE) tokenizer->after[tokenizer->n_after++] = separator;
    if (vocabulary->unknown == TOKEN_NONE) vocabulary->unknown = vocabulary_find(vocabulary, "[UNK]", 5);
    const struct word_piece_marks marks = {MARK, "", 100};
    if (!status) status = word_piece_open(vocabulary, &marks, &tokenizer->word_piece, err);
    add_bos_by_default(tokenizer, true);
    return status;
}

/* Names eat the white space behind them in Phi-3's vocabulary: its tokenizer.json says so, the converter does not. */
static int mark_names(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    struct gguf_string architecture = {0};
    int status = gguf_get_string(file, "general.architecture", &architecture, err);
    if (status < 0) return status;
    if (!equals(architecture, "phi3") || tokenizer->kind != KIND_SPM) return 0;
    for (uint32_t i = 0; i < tokenizer->special.n_names; i++) {
        struct special_name *name = &tokenizer->special.names[i];
        struct gguf_string text = {name->text, name->length};
        name->eats_right = !equals(text, "<unk>") && !equals(text, "<s>") && !equals(text, "<|endoftext|>");
    }
    return 0;
}

int tokenizer_open_style(struct tokenizer *tokenizer, const struct gguf *file, struct error *err)
{
    static const struct {
        const char *name;
        int (*open)(struct tokenizer *tokenizer, const struct gguf *file, struct error *err);
    } kinds[] = {
        {"gpt2", open_byte_level}, {"llama", open_spm}, {"gemma4", open_gemma4}, {"t5", open_t5}, {"bert", open_bert}};
    const char *key = "tokenizer.ggml.model";
    struct gguf_string kind;
    int status = gguf_get_string(file, key, &kind, err);
    if (status < 0) return status;
    if (status == 0) return error_set(err, ERROR_BAD_FILE, "%s is missing: the file has no vocabulary", key);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!equals(kind, kinds[i].name)) continue;
        status = vocabulary_open(file, &tokenizer->vocabulary, err);
        if (!status) status = special_add_all(&tokenizer->special, &tokenizer->vocabulary, err);
        if (!status) status = kinds[i].open(tokenizer, file, err);
        return status ? status : mark_names(tokenizer, file, err);
    }
    return error_set(err, ERROR_UNSUPPORTED,
                     "vocabulary kind \"%s\" (%s) is not supported: use a model with gpt2 (byte-level BPE), llama "
                     "(SentencePiece BPE), gemma4, t5 (unigram) or bert (WordPiece)",
                     quote(kind.bytes, kind.length).text, key);
}
