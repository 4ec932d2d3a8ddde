/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.json files and GGUF styles against Hugging Face tokenizers (tests/fixtures/tokenizers), and files that lie. What a
 * model's folder has around a tokenizer.json is left out: tests/text/open_vocabulary.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/utf8.h"
#include "tests/text/open_vocabulary.h"

#include <stdio.h>

static size_t from_hex(const char *hex, char *out)
{
    size_t n = 0;
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = {hex[0], hex[1], '\0'};
        out[n++] = (char)strtoul(pair, NULL, 16);
    }
    return n;
}

static void check_ids(const struct tokenizer *tokenizer, const char *mode, const char *hex, const char *at)
{
    char text[4096];
    assert_true(strlen(hex) / 2 < sizeof text);
    size_t length = from_hex(hex, text);
    unsigned flags = strcmp(mode, "special") == 0 ? TOKENIZE_PARSE_SPECIAL : 0;
    if (strcmp(mode, "prompt") == 0) flags = TOKENIZE_PROMPT;
    struct token_list list = {0};
    struct error err = {0};
    if (tokenize(tokenizer, text, length, flags, &list, &err)) fail_msg("%s: %s", hex, err.text);
    for (size_t i = 0; i < list.count; i++) {
        char *end;
        unsigned long id = strtoul(at, &end, 10);
        if (end == at || id != list.ids[i]) fail_msg("%s %s: token %zu is %u", mode, hex, i, list.ids[i]);
        at = end;
    }
    if (at[strspn(at, " \n")] != '\0') fail_msg("%s %s: only %zu tokens", mode, hex, list.count);

    /* What is streamed is whole characters, and all of the bytes' text. */
    struct text back = {0}, streamed = {0};
    struct detokenizer state;
    assert_int_equal(detokenize_bytes(tokenizer, list.ids, list.count, &back, &err), 0);
    detokenizer_start(&state, tokenizer, true);
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(detokenize_next(&state, list.ids[i], &streamed, &err), 0);
        assert_int_equal(utf8_valid_prefix((const uint8_t *)streamed.bytes, streamed.length), streamed.length);
    }
    assert_int_equal(detokenize_end(&state, &streamed, &err), 0);
    if (utf8_valid_prefix((const uint8_t *)back.bytes, back.length) == back.length) {
        assert_int_equal(streamed.length, back.length);
        if (back.length) assert_memory_equal(streamed.bytes, back.bytes, back.length);
    }
    text_free(&back);
    text_free(&streamed);
    token_list_free(&list);
}

static void json_files(void **state)
{
    (void)state;
    static const char *const names[] = {"byte-level",    "suffixes",   "first-space",       "unigram",
                                        "unigram-bytes", "word-piece", "byte-level-between"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512], line[32768];
        struct open_vocabulary opened;
        struct error err = {0};
        int n = 0;
        snprintf(path, sizeof path, FIXTURES "/tokenizers/json/%s.json", names[i]);
        if (open_vocabulary(path, &opened, &err)) fail_msg("%s: %s", path, err.text);
        snprintf(path, sizeof path, FIXTURES "/tokenizers/json/%s.tsv", names[i]);
        FILE *vectors = fopen(path, "r");
        assert_non_null(vectors);
        for (; fgets(line, sizeof line, vectors); n++) {
            char *at = line, *mode = strsep(&at, "\t"), *hex = strsep(&at, "\t");
            assert_non_null(at);
            check_ids(opened.tokenizer, mode, hex, at);
        }
        fclose(vectors);
        assert_true(n > 100);
        open_vocabulary_close(&opened);
    }
}

/* ---- styles of GGUF files, on one vocabulary ---- */

static void put_strings(const struct gguf *from, const char *key, struct header_writer *out)
{
    const struct gguf_value *value = gguf_find(from, key);
    struct gguf_cursor at = {0};
    struct gguf_string text;
    assert_non_null(value);
    header_put_array(out, key, GGUF_TYPE_STRING, value->count);
    while (gguf_next_string(value, &at, &text) == 1) header_element_string(out, text.bytes, text.length);
}

static void open_style(const struct gguf *from, const char *style, struct open_vocabulary *out)
{
    struct header_writer writer = {0};
    struct error err = {0};
    size_t n;
    uint64_t file_bytes;
    *out = (struct open_vocabulary){0};
    header_put_string(&writer, "general.architecture", "llama", 5);
    header_put_string(&writer, "tokenizer.ggml.model", "gpt2", 4);
    header_put_string(&writer, "tokenizer.ggml.pre", style, strlen(style));
    put_strings(from, "tokenizer.ggml.tokens", &writer);
    put_strings(from, "tokenizer.ggml.merges", &writer);
    if (header_writer_finish(&writer, &out->bytes, &n, &file_bytes, &err) ||
        gguf_open_memory(out->bytes, n, "style", &out->file, &err) || tokenizer_open(out->file, &out->tokenizer, &err))
        fail_msg("%s: %s", style, err.text);
}

static void styles(void **state)
{
    (void)state;
    char line[32768], style[64] = "";
    struct open_vocabulary opened = {0};
    struct gguf *from;
    struct error err = {0};
    int n = 0, n_styles = 0;
    if (gguf_open(FIXTURES "/tokenizers/qwen2.gguf", &from, &err)) fail_msg("%s", err.text);
    FILE *vectors = fopen(FIXTURES "/tokenizers/styles.tsv", "r");
    assert_non_null(vectors);
    for (; fgets(line, sizeof line, vectors); n++) {
        char *at = line, *name = strsep(&at, "\t"), *hex = strsep(&at, "\t");
        assert_non_null(at);
        if (strcmp(name, style) != 0) {
            open_vocabulary_close(&opened);
            open_style(from, name, &opened);
            snprintf(style, sizeof style, "%s", name);
            n_styles++;
        }
        check_ids(opened.tokenizer, "raw", hex, at);
    }
    fclose(vectors);
    assert_int_equal(n, 80 * n_styles);
    assert_int_equal(n_styles, 13);
    open_vocabulary_close(&opened);
    gguf_close(from);
}

/* ---- files that lie ---- */

static void refuse(const char *json, int code, const char *part)
{
    struct open_vocabulary opened = {0};
    struct error err = {0};
    json_t *root = NULL;
    int status = json_guard_parse(json, strlen(json), 64, "tokenizer.json", &root, &err);
    if (status == 0) status = open_json(root, &opened, &err);
    json_decref(root);
    open_vocabulary_close(&opened);
    if (status != code || !strstr(err.text, part)) fail_msg("%s: %d: %s", json, status, err.text);
}

#define BPE "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

static void hostile_files(void **state)
{
    (void)state;
    refuse("{" BPE ",\"normalizer\":{\"type\":\"Rot13\"}}", ERROR_UNSUPPORTED, "normalizer \"Rot13\"");
    refuse("{" BPE ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", ERROR_UNSUPPORTED, "\"UnicodeScripts\"");
    refuse("{" BPE ",\"decoder\":{\"type\":\"CTC\"}}", ERROR_UNSUPPORTED, "decoder \"CTC\"");
    refuse("{" BPE ",\"post_processor\":{\"type\":\"Shout\"}}", ERROR_UNSUPPORTED, "post_processor \"Shout\"");
    refuse("{\"model\":{\"type\":\"Markov\",\"vocab\":{\"a\":0}}}", ERROR_UNSUPPORTED, "\"Markov\"");
    refuse("{" BPE ",\"normalizer\":[]}", ERROR_BAD_FILE, "normalizer is no object");
    refuse("{" BPE ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":7}}", ERROR_BAD_FILE, "\"pattern\"");
    refuse("{" BPE ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}}", ERROR_BAD_FILE,
           "precompiled_charsmap");
    refuse("{" BPE ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a\"},\"behavior\":\"Isolated\"}}",
           ERROR_BAD_FILE, "[ without ]");
    refuse("{" BPE ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}}",
           ERROR_BAD_FILE, "(a");
    refuse("{" BPE ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Shaken\"}}",
           ERROR_BAD_FILE, "\"behavior\"");
    refuse("{" BPE ",\"added_tokens\":[{\"content\":\"x\"}]}", ERROR_BAD_FILE, "without text or id");
    refuse("{" BPE ",\"added_tokens\":[{\"content\":\"x\",\"id\":0}]}", ERROR_BAD_FILE, "two tokens have one id");
    refuse("{" BPE ",\"added_tokens\":[{\"content\":\"a\",\"id\":3}]}", ERROR_BAD_FILE, "same text");
    refuse("{" BPE
           ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}}]}}",
           ERROR_BAD_FILE, "does not define");
    refuse("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.0]]}}", ERROR_BAD_FILE, "no unknown token");
    refuse("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[1,0.0]]}}", ERROR_BAD_FILE, "a text and a score");
    refuse("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", ERROR_BAD_FILE, "no unknown token");

    char deep[2048];
    size_t n = (size_t)snprintf(deep, sizeof deep, "{" BPE ",\"normalizer\":");
    for (int i = 0; i < 12; i++)
        n += (size_t)snprintf(deep + n, sizeof deep - n, "{\"type\":\"Sequence\",\"normalizers\":[");
    n += (size_t)snprintf(deep + n, sizeof deep - n, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 12; i++) n += (size_t)snprintf(deep + n, sizeof deep - n, "]}");
    (void)snprintf(deep + n, sizeof deep - n, "}");
    refuse(deep, ERROR_BAD_FILE, "nested too deep");
}

/* A pattern that takes exponential time is given up. */
static void patterns_that_explode(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+$", "(a|a)*b", "(?:a?){30}a{30}c", "(.*)*x"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct open_vocabulary opened = {0};
        struct error err = {0};
        struct token_list list = {0};
        char json[512], text[201];
        memset(text, 'a', 200);
        text[199] = '!';
        text[200] = '\0';
        snprintf(json, sizeof json,
                 "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"!\":1},\"merges\":[]},\"pre_tokenizer\":{\"type\":"
                 "\"Split\","
                 "\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}}",
                 patterns[i]);
        json_t *root = NULL;
        assert_int_equal(json_guard_parse(json, strlen(json), 64, "tokenizer.json", &root, &err), 0);
        if (open_json(root, &opened, &err)) fail_msg("%s", err.text);
        int status = tokenize(opened.tokenizer, text, 200, 0, &list, &err);
        if (status && !strstr(err.text, "takes too long")) fail_msg("%s: %s", patterns[i], err.text);
        if (!status) assert_int_equal(list.count, 200); /* PCRE2 may see through it */
        token_list_free(&list);
        json_decref(root);
        open_vocabulary_close(&opened);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_files),
        cmocka_unit_test(styles),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(patterns_that_explode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
