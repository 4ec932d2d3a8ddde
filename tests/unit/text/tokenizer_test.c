/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Special tokens, what is added to a prompt, ends, bytes that are no text, and sizes that would hurt a naive algorithm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/text/small_vocabulary.h"

static void open_or_fail(const struct small_vocabulary *from, struct opened *opened)
{
    struct error err = {0};
    if (small_vocabulary_open(from, opened, &err)) fail_msg("%s", err.text);
}

/* Tokens of text must be the ids up to -1. */
static void expect(const struct tokenizer *tokenizer, const char *text, unsigned flags, const int *ids)
{
    struct token_list list = {0};
    struct error err = {0};
    if (tokenize(tokenizer, text, strlen(text), flags, &list, &err)) fail_msg("%s", err.text);
    size_t n = 0;
    for (; ids[n] >= 0; n++) {
        if (n >= list.count || list.ids[n] != (uint32_t)ids[n])
            fail_msg("\"%s\": token %zu is not %d", text, n, ids[n]);
    }
    if (n != list.count) fail_msg("\"%s\": %zu tokens, not %zu", text, list.count, n);
    token_list_free(&list);
}
#define EXPECT(tokenizer, text, flags, ...) expect(tokenizer, text, flags, (const int[]){__VA_ARGS__, -1})

static void merges_go_by_rank(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "hello", 0, HELLO);
    EXPECT(o.tokenizer, "helo", 0, HE, 'l', 'o');
    EXPECT(o.tokenizer, "lllll", 0, LL, LL, 'l');
    EXPECT(o.tokenizer, "", 0, -1);
    small_vocabulary_close(&o);
}

/* A token that no merge makes: llama-bpe takes a word that is one whole, qwen2 never gets there. */
static void whole_words_are_taken_where_the_style_does(void **state)
{
    (void)state;
    struct small_vocabulary from = {.model = "gpt2", .pre = "llama-bpe", .tokens = {{"abc", NORMAL, 0}}};
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "abc", 0, 256);
    EXPECT(o.tokenizer, "abcd", 0, 'a', 'b', 'c', 'd');
    small_vocabulary_close(&o);
    from.pre = "qwen2";
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "abc", 0, 'a', 'b', 'c');
    small_vocabulary_close(&o);
}

static void special_tokens_are_recognised_when_asked(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "hello<|eot_id|>he", TOKENIZE_PARSE_SPECIAL, HELLO, EOT, HE);
    EXPECT(o.tokenizer, "<|eot_id|><|eot_id|>", TOKENIZE_PARSE_SPECIAL, EOT, EOT);
    EXPECT(o.tokenizer, "<|eot_id|", TOKENIZE_PARSE_SPECIAL, '<', '|', 'e', 'o', 't', '_', 'i', 'd', '|');
    EXPECT(o.tokenizer, "<|eot_id|>", 0, '<', '|', 'e', 'o', 't', '_', 'i', 'd', '|', '>');
    small_vocabulary_close(&o);
}

static void user_defined_tokens_always_are_the_longest_first(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "a<tool>b", 0, 'a', TOOL, 'b');
    EXPECT(o.tokenizer, "<tool>>", 0, TOOL_2);
    EXPECT(o.tokenizer, "<<tool><tool", 0, '<', TOOL, '<', 't', 'o', 'o', 'l');
    small_vocabulary_close(&o);
}

static void bos_and_eos_follow_the_file_then_the_style(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "he", TOKENIZE_PROMPT, BEGIN_OF_TEXT, HE);
    EXPECT(o.tokenizer, "", TOKENIZE_PROMPT, BEGIN_OF_TEXT);
    EXPECT(o.tokenizer, "he", TOKENIZE_PARSE_SPECIAL, HE);
    assert_true(tokenizer_adds_bos(o.tokenizer));
    assert_int_equal(tokenizer_bos(o.tokenizer), BEGIN_OF_TEXT);
    small_vocabulary_close(&o);

    from.pre = "qwen2";
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "he", TOKENIZE_PROMPT, HE);
    small_vocabulary_close(&o);

    from.numbers[2] = (struct small_number){"tokenizer.ggml.add_bos_token", GGUF_TYPE_BOOL, 1};
    from.numbers[3] = (struct small_number){"tokenizer.ggml.add_eos_token", GGUF_TYPE_BOOL, 1};
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "he", TOKENIZE_PROMPT, BEGIN_OF_TEXT, HE, END_OF_TEXT);
    small_vocabulary_close(&o);

    from.pre = "llama-bpe";
    from.numbers[2].value = from.numbers[3].value = 0;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "he", TOKENIZE_PROMPT, HE);
    small_vocabulary_close(&o);
}

static void ends_are_named_or_known(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    from.tokens[12] = (struct small_token){"</s>", NORMAL, 0}; /* just text here */
    from.tokens[13] = (struct small_token){"<|im_end|>", USER_DEFINED, 0};
    from.tokens[14] = (struct small_token){"<stop>", CONTROL, 0};
    from.numbers[2] = (struct small_number){"tokenizer.ggml.eot_token_id", GGUF_TYPE_U32, 270};
    from.numbers[3] = (struct small_number){"tokenizer.ggml.eos_token_ids", GGUF_TYPE_ARRAY, HELL};
    struct opened o;
    open_or_fail(&from, &o);
    static const uint32_t ends[] = {EOT, END_OF_TEXT, 269, 270, HELL};
    for (uint32_t id = 0; id < tokenizer_n_tokens(o.tokenizer); id++) {
        bool end = false;
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) end = end || ends[i] == id;
        if (tokenizer_is_end(o.tokenizer, id) != end) fail_msg("token %u", id);
    }
    assert_false(tokenizer_is_end(o.tokenizer, UINT32_MAX));
    assert_false(tokenizer_is_control(o.tokenizer, UINT32_MAX));
    /* A marker is never text, even in a file that calls it user-defined: or else a message could end its own turn. */
    EXPECT(o.tokenizer, "<|im_end|>", 0, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>');
    assert_int_equal(tokenizer_find(o.tokenizer, "<|im_end|>"), 269);
    assert_int_equal(tokenizer_find(o.tokenizer, "<|im_end"), -1);
    small_vocabulary_close(&o);
}

/* In Harmony <|end|> is inside an answer; elsewhere it ends one. */
static void end_of_message_depends_on_the_format(void **state)
{
    (void)state;
    struct small_vocabulary from = {.model = "gpt2", .pre = "llama-bpe", .tokens = {{"<|end|>", CONTROL, 0}}};
    struct opened o;
    open_or_fail(&from, &o);
    assert_true(tokenizer_is_end(o.tokenizer, 256));
    small_vocabulary_close(&o);
    from.tokens[1] = (struct small_token){"<|return|>", CONTROL, 0};
    from.tokens[2] = (struct small_token){"<|call|>", CONTROL, 0};
    open_or_fail(&from, &o);
    assert_false(tokenizer_is_end(o.tokenizer, 256));
    assert_true(tokenizer_is_end(o.tokenizer, 257));
    assert_true(tokenizer_is_end(o.tokenizer, 258));
    small_vocabulary_close(&o);
}

static void spm_joins_by_score_and_falls_back_to_bytes(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_SPM;
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "aba", 0, SPM_SPACE_A, SPM_BA); /* ba has the best score, then the space joins a */
    EXPECT(o.tokenizer, "", TOKENIZE_PROMPT, SPM_BOS);
    EXPECT(o.tokenizer, "a", TOKENIZE_PROMPT, SPM_BOS, SPM_SPACE_A);
    EXPECT(o.tokenizer, "bc\xff", 0, SPM_SPACE, SPM_B, 'c', 0xff);
    EXPECT(o.tokenizer, " a", 0, SPM_SPACE, SPM_SPACE_A);
    EXPECT(o.tokenizer, "a</s>a", TOKENIZE_PARSE_SPECIAL, SPM_SPACE_A, SPM_EOS, SPM_SPACE_A);
    EXPECT(o.tokenizer, "<mark>b", 0, SPM_MARK, SPM_SPACE, SPM_B);
    assert_true(tokenizer_is_end(o.tokenizer, SPM_EOS));
    small_vocabulary_close(&o);

    from.numbers[3] = (struct small_number){"tokenizer.ggml.add_space_prefix", GGUF_TYPE_BOOL, 0};
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "aba", 0, SPM_A, SPM_BA);
    small_vocabulary_close(&o);
}

/* Names of control, unknown and byte tokens must not come out of joining plain text. */
static void spm_text_never_becomes_a_control_token(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_SPM;
    from.tokens[10] = (struct small_token){"<", NORMAL, -1};
    from.tokens[11] = (struct small_token){"s>", NORMAL, -1};
    from.tokens[12] = (struct small_token){"s", NORMAL, -1};
    from.tokens[13] = (struct small_token){">", NORMAL, -1};
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "<s>", 0, SPM_SPACE, 266, 267);
    small_vocabulary_close(&o);
}

/* A token that reaches from one word into the next: words cannot be joined one by one then. */
static void spm_tokens_may_cross_words(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_SPM;
    from.tokens[10] = (struct small_token){"b\xe2\x96\x81", NORMAL, 0};
    struct opened o;
    open_or_fail(&from, &o);
    EXPECT(o.tokenizer, "b a", 0, SPM_SPACE, 266, SPM_A);
    small_vocabulary_close(&o);
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* Bytes of all kinds: random ones, pieces of special names, white space, letters. */
static size_t random_text(uint64_t *seed, char *out, size_t max)
{
    static const char *const pieces[] = {
        "hello", "<|eot_id|>", "<tool>", "\xe2\x82\xac",     "\xe2\x82",     " ",   "\n", "\r\n",
        "'s",    "\xc5\xbf",   "123",    "\xf0\x9f\x98\x80", "\xe2\x96\x81", "<s>", "\t"};
    size_t n = 0, count = next_random(seed) % 12;
    for (size_t i = 0; i < count; i++) {
        char one[2] = {(char)next_random(seed), '\0'};
        bool byte = next_random(seed) % 2;
        const char *piece = byte ? one : pieces[next_random(seed) % (sizeof pieces / sizeof pieces[0])];
        size_t length = byte ? 1 : strlen(piece);
        if (n + length > max) break;
        memcpy(out + n, piece, length);
        n += length;
    }
    return n;
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    struct small_vocabulary bpe = SMALL_LLAMA3, spm = SMALL_SPM;
    struct opened o[2];
    open_or_fail(&bpe, &o[0]);
    open_or_fail(&spm, &o[1]);
    struct token_list list = {0};
    struct text back = {0};
    uint64_t seed = 20240501;
    for (int i = 0; i < 100000; i++) {
        char text[256];
        size_t length = random_text(&seed, text, sizeof text);
        const struct opened *which = &o[i % 2];
        unsigned flags = next_random(&seed) % 2 ? TOKENIZE_PARSE_SPECIAL : 0;
        if (i % 2 && memmem(text, length, "\xe2\x96\x81", 3)) continue; /* SentencePiece makes it a space */
        struct error err = {0};
        list.count = back.length = 0;
        if (tokenize(which->tokenizer, text, length, flags, &list, &err)) fail_msg("%s", err.text);
        assert_int_equal(detokenize_bytes(which->tokenizer, list.ids, list.count, &back, &err), 0);
        if (back.length != length || memcmp(back.bytes, text, length) != 0) fail_msg("string %d does not come back", i);
    }
    text_free(&back);
    token_list_free(&list);
    small_vocabulary_close(&o[0]);
    small_vocabulary_close(&o[1]);
}

/* An algorithm that is quadratic in a word or in a run of white space would take hours here. */
static void a_megabyte_in_one_word_is_no_problem(void **state)
{
    (void)state;
    const size_t length = 1 << 20;
    char *text = malloc(length);
    assert_non_null(text);
    struct small_vocabulary kinds[2] = {SMALL_LLAMA3, SMALL_SPM};
    for (size_t kind = 0; kind < 2; kind++) {
        struct opened o;
        open_or_fail(&kinds[kind], &o);
        for (const char *c = "la <\n"; *c; c++) {
            struct token_list list = {0};
            struct text back = {0};
            struct error err = {0};
            memset(text, *c, length);
            if (tokenize(o.tokenizer, text, length, TOKENIZE_PROMPT, &list, &err)) fail_msg("%s", err.text);
            assert_int_equal(detokenize_bytes(o.tokenizer, list.ids + 1, list.count - 1, &back, &err), 0);
            assert_int_equal(back.length, length);
            assert_memory_equal(back.bytes, text, length);
            text_free(&back);
            token_list_free(&list);
        }
        small_vocabulary_close(&o);
    }
    free(text);
}

static void a_failure_leaves_the_list_as_it_was(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_SPM;
    struct opened o;
    open_or_fail(&from, &o);
    struct token_list list = {0};
    struct error err = {0};
    assert_int_equal(token_list_push(&list, 7, &err), 0);
    assert_int_equal(tokenize(o.tokenizer, "", SIZE_MAX, TOKENIZE_PROMPT, &list, &err), ERROR_TOO_LARGE);
    assert_int_equal(list.count, 1);
    token_list_free(&list);
    assert_null(list.ids);
    small_vocabulary_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank),
        cmocka_unit_test(whole_words_are_taken_where_the_style_does),
        cmocka_unit_test(special_tokens_are_recognised_when_asked),
        cmocka_unit_test(user_defined_tokens_always_are_the_longest_first),
        cmocka_unit_test(bos_and_eos_follow_the_file_then_the_style),
        cmocka_unit_test(ends_are_named_or_known),
        cmocka_unit_test(end_of_message_depends_on_the_format),
        cmocka_unit_test(spm_joins_by_score_and_falls_back_to_bytes),
        cmocka_unit_test(spm_text_never_becomes_a_control_token),
        cmocka_unit_test(spm_tokens_may_cross_words),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(a_megabyte_in_one_word_is_no_problem),
        cmocka_unit_test(a_failure_leaves_the_list_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
