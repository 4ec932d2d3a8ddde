/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids against other implementations (tests/fixtures/tokenizers/README.md says which): every string exactly, and back.
 * A line of a .tsv file: "raw", "special" or "prompt", the text in hexadecimal, the ids; tabs between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t from_hex(const char *hex, char *out)
{
    size_t n = 0;
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = {hex[0], hex[1], '\0'};
        out[n++] = (char)strtoul(pair, NULL, 16);
    }
    return n;
}

static void check_line(const struct tokenizer *tokenizer, char *line)
{
    char *mode = strsep(&line, "\t"), *hex = strsep(&line, "\t"), *at = line;
    assert_non_null(at);
    char text[4096];
    assert_true(strlen(hex) / 2 < sizeof text);
    size_t length = from_hex(hex, text);
    unsigned flags = 0;
    if (strcmp(mode, "special") == 0) flags = TOKENIZE_PARSE_SPECIAL;
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

    /* Back to the bytes; BOS and EOS of a prompt are not in the text. */
    struct text back = {0};
    assert_int_equal(detokenize_bytes(tokenizer, list.ids, list.count, &back, &err), 0);
    if (!(flags & TOKENIZE_ADD_SPECIAL)) {
        assert_int_equal(back.length, length);
        assert_memory_equal(back.bytes, text, length);
    }
    text_free(&back);
    token_list_free(&list);
}

static void check_style(const char *style, int n_expected)
{
    char path[512], line[16384];
    struct gguf *file = NULL;
    struct tokenizer *tokenizer = NULL;
    struct error err = {0};
    snprintf(path, sizeof path, FIXTURES "/tokenizers/%s.gguf", style);
    if (gguf_open(path, &file, &err) || tokenizer_open(file, &tokenizer, &err)) fail_msg("%s", err.text);
    assert_string_equal(tokenizer_style(tokenizer), style);

    snprintf(path, sizeof path, FIXTURES "/tokenizers/%s.tsv", style);
    FILE *vectors = fopen(path, "r");
    assert_non_null(vectors);
    int n = 0;
    for (; fgets(line, sizeof line, vectors); n++) check_line(tokenizer, line);
    fclose(vectors);
    assert_int_equal(n, n_expected);
    tokenizer_close(tokenizer);
    gguf_close(file);
}

static void llama_bpe(void **state)
{
    (void)state;
    check_style("llama-bpe", 405);
}

static void qwen2(void **state)
{
    (void)state;
    check_style("qwen2", 405);
}

static void llama_spm(void **state)
{
    (void)state;
    check_style("llama-spm", 206);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_bpe),
        cmocka_unit_test(qwen2),
        cmocka_unit_test(llama_spm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
