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
    float score;
};

struct vocabulary {
    struct token *tokens; /* owned */
    uint32_t n;
    bool is_bytes; /* byte-level, else SentencePiece's */
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

static int set_token(struct vocabulary *vocabulary, json_int_t id, const char *text, size_t length, int type,
                     struct error *err)
{
    if (id < 0 || id >= (json_int_t)vocabulary->n) return fail(err, "a token's id is below 0 or absurdly large");
    struct token *token = &vocabulary->tokens[id];
    if (token->text != NULL && (token->length != length || memcmp(token->text, text, length) != 0))
        return fail(err, "two tokens have one id");
    *token = (struct token){text, length, type, 0.0f};
    return 0;
}

/* The largest id that is said, plus one. */
static uint32_t count_tokens(const json_t *vocab, const json_t *added, uint32_t n_vocab)
{
    json_int_t largest = (json_int_t)n_vocab - 1;
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

static bool is_byte_token(const char *text)
{
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>';
}

static int read_tokens(struct vocabulary *vocabulary, const json_t *root, struct error *err)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    const char *text;
    json_t *id, *entry;
    size_t i;
    int status = 0;
    json_object_foreach(json_object_get(model, "vocab"), text, id)
    {
        int type = !vocabulary->is_bytes && is_byte_token(text) ? TYPE_BYTE : TYPE_NORMAL;
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
        status = set_token(vocabulary, json_integer_value(number), json_string_value(content),
                           json_string_length(content), type, err);
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

static int put_merges(const json_t *merges, struct header_writer *out, struct error *err)
{
    size_t i, n_left, n_right;
    json_t *merge;
    header_put_array(out, "tokenizer.ggml.merges", GGUF_TYPE_STRING, json_array_size(merges));
    json_array_foreach((json_t *)(uintptr_t)merges, i, merge)
    {
        const char *left, *right;
        char text[1024];
        if (!merge_texts(merge, &left, &n_left, &right, &n_right)) return fail(err, "a merge that is not of two texts");
        if (n_left + n_right + 1 > sizeof text) return fail(err, "a merge of more than 1023 bytes");
        memcpy(text, left, n_left);
        text[n_left] = ' ';
        memcpy(text + n_left + 1, right, n_right);
        header_element_string(out, text, n_left + n_right + 1);
    }
    return 0;
}

/*
 * SentencePiece joins the pair whose text has the best score; here the order of merges says which is better, so a token's score is how
 * early it is made. What no merge makes is below all that one does.
 */
static int set_scores(struct vocabulary *vocabulary, const json_t *model, struct error *err)
{
    const json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    size_t i, n_left, n_right;
    json_t *merge;
    for (uint32_t id = 0; id < vocabulary->n; id++)
        vocabulary->tokens[id].score =
            vocabulary->tokens[id].type == TYPE_NORMAL ? -(float)json_array_size(merges) - (float)id : 0.0f;
    json_array_foreach((json_t *)(uintptr_t)merges, i, merge)
    {
        const char *left, *right;
        char text[1024];
        if (!merge_texts(merge, &left, &n_left, &right, &n_right)) return fail(err, "a merge that is not of two texts");
        if (n_left + n_right >= sizeof text) return fail(err, "a merge of more than 1023 bytes");
        memcpy(text, left, n_left);
        memcpy(text + n_left, right, n_right);
        text[n_left + n_right] = '\0';
        const json_t *id = json_object_get(vocab, text);
        if (!json_is_integer(id)) return fail(err, "a merge makes a text that is no token");
        struct token *token = &vocabulary->tokens[json_integer_value(id)];
        if (token->type == TYPE_NORMAL && token->score < -(float)i) token->score = -(float)i;
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
    if (vocabulary->is_bytes) return;
    header_put_array(out, "tokenizer.ggml.scores", GGUF_TYPE_F32, vocabulary->n);
    for (uint32_t id = 0; id < vocabulary->n; id++) header_element_f32(out, vocabulary->tokens[id].score);
}

/* Whether a space is put before the text: by a normalizer, or by the pre-tokenizer that marks words. */
static bool adds_space(const json_t *root)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *step;
    if (has_step(json_object_get(root, "normalizer"), "normalizers", "Prepend")) return true;
    for (size_t i = 0; (step = step_at(pre, "pretokenizers", i)) != NULL; i++) {
        const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
        if (strcmp(type_of(step), "Metaspace") != 0) continue;
        if (scheme != NULL) return strcmp(scheme, "never") != 0;
        return !json_is_false(json_object_get(step, "add_prefix_space"));
    }
    return false;
}

static int put_model(const json_t *root, struct vocabulary *vocabulary, struct header_writer *out, struct error *err)
{
    const json_t *model = json_object_get(root, "model");
    int status = read_tokens(vocabulary, root, err);
    if (status == 0 && !vocabulary->is_bytes) status = set_scores(vocabulary, model, err);
    if (status < 0) return status;
    const char *name = vocabulary->is_bytes ? "gpt2" : "llama";
    const char *style = vocabulary->is_bytes ? find_style(root) : "default";
    header_put_string(out, "tokenizer.ggml.model", name, strlen(name));
    header_put_string(out, "tokenizer.ggml.pre", style, strlen(style));
    put_tokens(vocabulary, out);
    if (vocabulary->is_bytes) return put_merges(json_object_get(model, "merges"), out, err);
    header_put_bool(out, "tokenizer.ggml.add_space_prefix", adds_space(root));
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    const json_t *id = unknown != NULL ? json_object_get(json_object_get(model, "vocab"), unknown) : NULL;
    if (json_is_integer(id)) header_put_u32(out, "tokenizer.ggml.unknown_token_id", (uint32_t)json_integer_value(id));
    return 0;
}

int hf_tokenizer_put(const struct hf_tokenizer_files *files, uint32_t n_vocab, struct header_writer *out,
                     struct error *err)
{
    const json_t *root = files->tokenizer, *model = json_object_get(root, "model");
    if (root == NULL) return 0;
    const char *kind = type_of(model);
    bool has_merges =
        json_is_array(json_object_get(model, "merges")) && json_is_object(json_object_get(model, "vocab"));
    bool is_bytes = has_step(json_object_get(root, "pre_tokenizer"), "pretokenizers", "ByteLevel");
    bool is_pieces = json_is_true(json_object_get(model, "byte_fallback"));
    if (!has_merges || (!is_bytes && !is_pieces)) {
        if (kind[0] == '\0' || strcmp(kind, "BPE") == 0) kind = "an unknown BPE";
        header_put_string(out, "tokenizer.ggml.model", kind, strlen(kind));
        return 0;
    }
    struct vocabulary vocabulary = {.is_bytes = is_bytes};
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
