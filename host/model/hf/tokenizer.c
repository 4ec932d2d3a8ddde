/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json's model, vocabulary and merges. Its special tokens and templates: tokenizer_special.c. Format: huggingface/tokenizers. */
#include "host/model/hf/tokenizer.h"

#include "host/base/memory.h"
#include "host/model/hf/tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_TOKENS (1u << 26)
#define WORD_MARK "\xe2\x96\x81" /* U+2581, SentencePiece's space */

/* Token types: those of sentencepiece_model.proto, as GGUF has them. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

struct token {
    const char *text; /* borrowed; NULL: none has this id */
    size_t length;
    int type;
    double score;
};

enum kind { KIND_BYTES, KIND_BPE, KIND_UNIGRAM, KIND_WORDS };
static const char *const kind_names[] = {"gpt2", "llama", "t5", "bert"}; /* what comes closest in a GGUF file */

struct vocabulary {
    struct token *tokens; /* owned */
    uint32_t n;
    enum kind kind;
    bool falls_back; /* <0xXX> is a byte */
};

/* The patterns that cut text into words, and what GGUF calls them. */
static const struct {
    const char *name, *patterns[3];
    int ignores_merges; /* -1: either */
} styles[] = {
    {"llama-bpe",
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+"
      "(?!\\S)|\\s+"},
     1},
    {"chatglm-bpe",
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+"
      "(?!\\S)|\\s+"},
     0},
    {"qwen2",
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|"
      "\\s+"},
     -1},
    {"gpt-2", {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"}, -1},
    {"gpt-2", {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"}, -1},
    {"command-r", {"\\p{N}", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"}, -1},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
      "?[\\p{P}\\p{S}]+[\\r\\n]*|"
      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     -1},
    {"gpt-4o",
     {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'"
      "ll|'d)?|"
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'"
      "ll|'d)?|"
      "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     -1},
    {"tekken",
     {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
      "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     -1},
};

static int fail(struct error *err, const char *why)
{
    return error_set(err, ERROR_BAD_FILE, "tokenizer.json: %s", why);
}

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type != NULL ? type : "";
}

/* Step i of what is one step or a sequence of them under `list`; NULL at the end. */
static const json_t *step_at(const json_t *object, const char *list, size_t i)
{
    if (strcmp(type_of(object), "Sequence") == 0) return json_array_get(json_object_get(object, list), i);
    return i == 0 && json_is_object(object) ? object : NULL;
}

static bool has_step(const json_t *object, const char *list, const char *type)
{
    const json_t *step;
    for (size_t i = 0; (step = step_at(object, list, i)) != NULL; i++)
        if (strcmp(type_of(step), type) == 0) return true;
    return false;
}

/* ---- which words ---- */

/* The patterns of the splits, in order: how many; more than 3 count as 4. */
static unsigned read_patterns(const json_t *pre_tokenizer, const char *patterns[3])
{
    const json_t *step;
    unsigned n = 0;
    for (size_t i = 0; (step = step_at(pre_tokenizer, "pretokenizers", i)) != NULL; i++) {
        if (strcmp(type_of(step), "ByteLevel") == 0) continue;
        const char *pattern = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
        if (strcmp(type_of(step), "Digits") == 0) pattern = "\\p{N}"; /* one by one */
        if (n >= 3) return 4;
        patterns[n++] = pattern != NULL ? pattern : "";
    }
    return n;
}

static const char *find_style(const json_t *root)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    const char *patterns[3] = {NULL, NULL, NULL};
    unsigned n = read_patterns(pre, patterns);
    int ignores = json_is_true(json_object_get(json_object_get(root, "model"), "ignore_merges"));
    if (n == 0) return has_step(pre, "pretokenizers", "ByteLevel") ? "gpt-2" : "unknown"; /* ByteLevel's own pattern */
    for (size_t i = 0; i < sizeof styles / sizeof styles[0] && n <= 3; i++) {
        bool same = styles[i].ignores_merges == -1 || styles[i].ignores_merges == ignores;
        for (unsigned k = 0; k < 3; k++) {
            const char *wanted = styles[i].patterns[k];
            same = same && (wanted != NULL) == (k < n) && (wanted == NULL || strcmp(wanted, patterns[k]) == 0);
        }
        if (same) return styles[i].name;
    }
    return "unknown";
}

/* ---- the vocabulary ---- */

static bool is_byte_token(const char *text)
{
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>';
}

static int set_token(struct vocabulary *vocabulary, json_int_t id, const char *text, size_t length, int type,
                     struct error *err)
{
    if (id < 0 || id >= (json_int_t)vocabulary->n) return fail(err, "a token's id is below 0 or absurdly large");
    struct token *token = &vocabulary->tokens[id];
    if (token->text != NULL && (token->length != length || memcmp(token->text, text, length) != 0))
        return fail(err, "two tokens have one id");
    *token = (struct token){text, length, type, 0.0};
    return 0;
}

/* Unigram's vocabulary: [text, score], in the order of ids. */
static int read_pieces(struct vocabulary *vocabulary, const json_t *vocab, struct error *err)
{
    int status = 0;
    for (size_t id = 0; status == 0 && id < json_array_size(vocab); id++) {
        const json_t *text = json_array_get(json_array_get(vocab, id), 0),
                     *score = json_array_get(json_array_get(vocab, id), 1);
        if (!json_is_string(text) || !json_is_number(score)) return fail(err, "a token that is not a text and a score");
        bool byte = vocabulary->falls_back && is_byte_token(json_string_value(text));
        status = set_token(vocabulary, (json_int_t)id, json_string_value(text), json_string_length(text),
                           byte ? TYPE_BYTE : TYPE_NORMAL, err);
        if (status == 0) vocabulary->tokens[id].score = json_number_value(score);
    }
    return status;
}

/* The largest id that is said, plus one. */
static uint32_t count_tokens(const json_t *vocab, const json_t *added, uint32_t n_vocab)
{
    json_int_t largest = (json_int_t)n_vocab - 1;
    if (json_is_array(vocab) && (json_int_t)json_array_size(vocab) > largest)
        largest = (json_int_t)json_array_size(vocab) - 1;
    const char *text;
    json_t *id, *entry;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)vocab, text, id) if (json_integer_value(id) > largest) largest =
        json_integer_value(id);
    json_array_foreach((json_t *)(uintptr_t)added, i, entry)
    {
        json_int_t number = json_integer_value(json_object_get(entry, "id"));
        if (number > largest) largest = number;
    }
    return largest < (json_int_t)MAX_TOKENS ? (uint32_t)largest + 1 : 0;
}

static int read_tokens(struct vocabulary *vocabulary, const json_t *root, struct error *err)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    const char *text;
    json_t *id, *entry;
    size_t i;
    int status = read_pieces(vocabulary, json_object_get(model, "vocab"), err);
    json_object_foreach(json_object_get(model, "vocab"), text, id)
    {
        int type = vocabulary->falls_back && is_byte_token(text) ? TYPE_BYTE : TYPE_NORMAL;
        if (status == 0)
            status = json_is_integer(id) ? set_token(vocabulary, json_integer_value(id), text, strlen(text), type, err)
                                         : fail(err, "a token's id is no whole number");
    }
    json_array_foreach((json_t *)(uintptr_t)added, i, entry)
    {
        const json_t *content = json_object_get(entry, "content"), *number = json_object_get(entry, "id");
        int type = json_is_true(json_object_get(entry, "special")) ? TYPE_CONTROL : TYPE_USER;
        if (status < 0) break;
        if (!json_is_string(content) || !json_is_integer(number)) return fail(err, "an added token without text or id");
        double score = json_integer_value(number) >= 0 && json_integer_value(number) < (json_int_t)vocabulary->n
                           ? vocabulary->tokens[json_integer_value(number)].score
                           : 0;
        status = set_token(vocabulary, json_integer_value(number), json_string_value(content),
                           json_string_length(content), type, err);
        if (status == 0) vocabulary->tokens[json_integer_value(number)].score = score;
    }
    return status;
}

/* A merge's two texts: older files have them as one text with a space between. */
static bool merge_texts(const json_t *merge, const char **left, size_t *n_left, const char **right, size_t *n_right)
{
    const json_t *first = json_array_get(merge, 0), *second = json_array_get(merge, 1);
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge), *space = strchr(text + (text[0] != '\0'), ' ');
        if (space == NULL) return false;
        *left = text;
        *n_left = (size_t)(space - text);
        *right = space + 1;
        *n_right = strlen(space + 1);
        return true;
    }
    *left = json_string_value(first);
    *right = json_string_value(second);
    *n_left = json_string_length(first);
    *n_right = json_string_length(second);
    return *left != NULL && *right != NULL;
}

#define MERGE_BYTES 1024

/* A merge's texts and the ids of what it joins and makes. */
struct merge {
    const char *left, *right;
    size_t n_left, n_right;
    uint32_t ids[3];
};

static int find_text(const json_t *vocab, const char *text, size_t length, uint32_t *id, struct error *err)
{
    char copy[MERGE_BYTES];
    memcpy(copy, text, length);
    copy[length] = '\0';
    const json_t *found = json_object_get(vocab, copy);
    if (!json_is_integer(found)) return fail(err, "a merge of or to a text that is no token");
    *id = (uint32_t)json_integer_value(found);
    return 0;
}

static int read_merge(const json_t *vocab, const json_t *from, const char *prefix, struct merge *merge,
                      struct error *err)
{
    char joined[MERGE_BYTES];
    if (!merge_texts(from, &merge->left, &merge->n_left, &merge->right, &merge->n_right))
        return fail(err, "a merge that is not of two texts");
    if (merge->n_left + merge->n_right + 1 > sizeof joined) return fail(err, "a merge of more than 1023 bytes");
    size_t skip = strlen(prefix); /* the mark in front of what goes on with a word is there once */
    if (merge->n_right < skip || memcmp(merge->right, prefix, skip) != 0) skip = 0;
    memcpy(joined, merge->left, merge->n_left);
    memcpy(joined + merge->n_left, merge->right + skip, merge->n_right - skip);
    int status = find_text(vocab, merge->left, merge->n_left, &merge->ids[0], err);
    if (status == 0) status = find_text(vocab, merge->right, merge->n_right, &merge->ids[1], err);
    return status < 0 ? status : find_text(vocab, joined, merge->n_left + merge->n_right - skip, &merge->ids[2], err);
}

static void put_text(const struct merge *merge, struct header_writer *out)
{
    char text[MERGE_BYTES];
    memcpy(text, merge->left, merge->n_left);
    text[merge->n_left] = ' ';
    memcpy(text + merge->n_left + 1, merge->right, merge->n_right);
    header_element_string(out, text, merge->n_left + merge->n_right + 1);
}

/* As texts, which is GGUF's way; as three ids each where texts cannot say it: with spaces in them, or with marks. */
static int put_merges(const json_t *model, struct header_writer *out, struct error *err)
{
    const json_t *merges = json_object_get(model, "merges"), *vocab = json_object_get(model, "vocab");
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    bool by_ids = prefix != NULL && prefix[0] != '\0';
    struct merge merge;
    for (size_t i = 0; i < json_array_size(merges); i++) {
        int status = read_merge(vocab, json_array_get(merges, i), prefix != NULL ? prefix : "", &merge, err);
        if (status < 0) return status;
        by_ids =
            by_ids || memchr(merge.left, ' ', merge.n_left) != NULL || memchr(merge.right, ' ', merge.n_right) != NULL;
    }
    size_t n = json_array_size(merges);
    if (by_ids)
        header_put_array(out, "tokenizer.sluice.merges", GGUF_TYPE_U32, 3 * n);
    else
        header_put_array(out, "tokenizer.ggml.merges", GGUF_TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        int status = read_merge(vocab, json_array_get(merges, i), prefix != NULL ? prefix : "", &merge, err);
        if (status < 0) return status;
        for (unsigned k = 0; by_ids && k < 3; k++) header_element_u32(out, merge.ids[k]);
        if (!by_ids) put_text(&merge, out);
    }
    return 0;
}

static void put_tokens(const struct vocabulary *vocabulary, struct header_writer *out)
{
    header_put_array(out, "tokenizer.ggml.tokens", GGUF_TYPE_STRING, vocabulary->n);
    for (uint32_t id = 0; id < vocabulary->n; id++) {
        char unused[24];
        int length = snprintf(unused, sizeof unused, "[PAD%u]", id);
        const struct token *token = &vocabulary->tokens[id];
        header_element_string(out, token->text != NULL ? token->text : unused,
                              token->text != NULL ? token->length : (size_t)length);
    }
    header_put_array(out, "tokenizer.ggml.token_type", GGUF_TYPE_I32, vocabulary->n);
    for (uint32_t id = 0; id < vocabulary->n; id++)
        header_element_u32(out,
                           (uint32_t)(vocabulary->tokens[id].text != NULL ? vocabulary->tokens[id].type : TYPE_UNUSED));
    if (vocabulary->kind != KIND_UNIGRAM) return;
    header_put_array(out, "tokenizer.ggml.scores", GGUF_TYPE_F64, vocabulary->n);
    for (uint32_t id = 0; id < vocabulary->n; id++) header_element_f64(out, vocabulary->tokens[id].score);
}

/* The unknown token, by its text or its number: no text is it, whether it is an added one or not. */
static void put_unknown(const json_t *model, struct vocabulary *vocabulary, struct header_writer *out)
{
    const char *text = json_string_value(json_object_get(model, "unk_token"));
    const json_t *id = json_object_get(model, "unk_id");
    if (json_is_object(json_object_get(model, "vocab")))
        id = text != NULL ? json_object_get(json_object_get(model, "vocab"), text) : NULL;
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= (json_int_t)vocabulary->n)
        return;
    struct token *token = &vocabulary->tokens[json_integer_value(id)];
    if (token->type == TYPE_NORMAL) token->type = TYPE_UNKNOWN;
    header_put_u32(out, "tokenizer.ggml.unknown_token_id", (uint32_t)json_integer_value(id));
}

/* All but what stands in arrays of its own. */
static int put_json(const json_t *root, struct header_writer *out, struct error *err)
{
    json_t *rest = json_copy((json_t *)(uintptr_t)root), *model = json_copy(json_object_get(root, "model"));
    char *text = NULL;
    if (rest != NULL && model != NULL) {
        (void)json_object_del(model, "vocab");
        (void)json_object_del(model, "merges");
        if (json_object_set(rest, "model", model) == 0) text = json_dumps(rest, JSON_COMPACT);
    }
    if (text != NULL) header_put_string(out, "tokenizer.sluice.json", text, strlen(text));
    int status = text != NULL ? 0 : error_set(err, ERROR_NO_MEMORY, "tokenizer.json: out of memory");
    free(text);
    json_decref(rest);
    json_decref(model);
    return status;
}

static int put_model(const json_t *root, struct vocabulary *vocabulary, struct header_writer *out, struct error *err)
{
    const json_t *model = json_object_get(root, "model");
    int status = read_tokens(vocabulary, root, err);
    if (status < 0) return status;
    const char *name = kind_names[vocabulary->kind];
    const char *style = vocabulary->kind == KIND_BYTES ? find_style(root) : "default";
    header_put_string(out, "tokenizer.ggml.model", name, strlen(name));
    header_put_string(out, "tokenizer.ggml.pre", style, strlen(style));
    put_unknown(model, vocabulary, out);
    put_tokens(vocabulary, out);
    if (vocabulary->kind == KIND_BYTES || vocabulary->kind == KIND_BPE) status = put_merges(model, out, err);
    return status < 0 ? status : put_json(root, out, err);
}

/* Whether it is a model that this file can write down. Older files do not name it. */
static bool find_kind(const json_t *root, enum kind *kind)
{
    const json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
    const char *type = type_of(model);
    bool is_bytes = has_step(json_object_get(root, "pre_tokenizer"), "pretokenizers", "ByteLevel");
    if (json_is_array(vocab)) {
        *kind = KIND_UNIGRAM;
        return type[0] == '\0' || strcmp(type, "Unigram") == 0;
    }
    *kind = is_bytes ? KIND_BYTES : KIND_BPE;
    if (type[0] == '\0' || strcmp(type, "BPE") == 0)
        return json_is_object(vocab) && json_is_array(json_object_get(model, "merges"));
    *kind = KIND_WORDS;
    return json_is_object(vocab) && (strcmp(type, "WordPiece") == 0 || strcmp(type, "WordLevel") == 0);
}

int hf_tokenizer_put(const struct hf_tokenizer_files *files, uint32_t n_vocab, struct header_writer *out,
                     struct error *err)
{
    const json_t *root = files->tokenizer, *model = json_object_get(root, "model");
    if (root == NULL) return 0;
    struct vocabulary vocabulary = {.falls_back = json_is_true(json_object_get(model, "byte_fallback"))};
    if (!find_kind(root, &vocabulary.kind)) {
        const char *kind = type_of(model)[0] != '\0' ? type_of(model) : "of an unknown kind";
        header_put_string(out, "tokenizer.ggml.model", kind, strlen(kind));
        return 0;
    }
    vocabulary.n = count_tokens(json_object_get(model, "vocab"), json_object_get(root, "added_tokens"), n_vocab);
    if (vocabulary.n == 0) return fail(err, "a token's id is below 0 or absurdly large");
    if (vocabulary.n > n_vocab)
        return error_set(err, ERROR_BAD_FILE,
                         "the vocabulary does not match the tensors: tokenizer.json has %u tokens, but "
                         "the configuration's vocab_size is %u",
                         vocabulary.n, n_vocab);
    vocabulary.tokens = memory_array(vocabulary.n, sizeof *vocabulary.tokens);
    int status = vocabulary.tokens != NULL ? put_model(root, &vocabulary, out, err)
                                           : error_set(err, ERROR_NO_MEMORY, "tokenizer.json: out of memory");
    free(vocabulary.tokens);
    return status < 0 ? status : hf_special_put(files, n_vocab, out, err);
}
