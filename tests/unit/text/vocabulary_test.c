/* SPDX-License-Identifier: Apache-2.0 */
/* Each way in which a vocabulary can contradict itself, or be of a kind that is not supported, is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/text/small_vocabulary.h"

static void refuse(const struct small_vocabulary *from, int code, const char *part)
{
    struct opened o;
    struct error err = {0};
    int status = small_vocabulary_open(from, &o, &err);
    if (status != code) fail_msg("\"%s\" expected, but %d: %s", part, status, err.text);
    if (!strstr(err.text, part)) fail_msg("\"%s\" is not in: %s", part, err.text);
    assert_null(o.tokenizer);
    small_vocabulary_close(&o);
}

static void kinds_that_are_not_supported(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    from.model = "rwkv";
    refuse(&from, ERROR_UNSUPPORTED, "\"rwkv\"");
    refuse(&from, ERROR_UNSUPPORTED, "gpt2 (byte-level BPE), llama (SentencePiece BPE), gemma4, t5 (unigram) or bert");
    from.model = NULL;
    refuse(&from, ERROR_BAD_FILE, "tokenizer.ggml.model is missing");
    from.model = "gpt2";
    from.pre = "qwen9";
    refuse(&from, ERROR_UNSUPPORTED, "\"qwen9\"");
    refuse(&from, ERROR_UNSUPPORTED, "llama-bpe, qwen2, qwen35, gpt-2, chatglm, glm4, deepseek-llm");
    from.pre = NULL;
    refuse(&from, ERROR_UNSUPPORTED, "tokenizer.ggml.pre is missing");
}

static void lists_that_are_missing(void **state)
{
    (void)state;
    struct small_vocabulary bpe = SMALL_LLAMA3, spm = SMALL_SPM;
    bpe.leave_out = spm.leave_out = "tokens";
    refuse(&bpe, ERROR_BAD_FILE, "tokenizer.ggml.tokens is missing");
    refuse(&spm, ERROR_BAD_FILE, "tokenizer.ggml.tokens is missing");
    bpe.leave_out = "merges";
    refuse(&bpe, ERROR_BAD_FILE, "tokenizer.ggml.merges is missing");
    spm.leave_out = "scores";
    refuse(&spm, ERROR_BAD_FILE, "tokenizer.ggml.scores is missing");
    spm.leave_out = "token_type";
    refuse(&spm, ERROR_BAD_FILE, "tokenizer.ggml.token_type is missing");

    /* Byte-level vocabularies can do without types. */
    struct opened o;
    struct error err = {0};
    bpe.leave_out = "token_type";
    if (small_vocabulary_open(&bpe, &o, &err)) fail_msg("%s", err.text);
    assert_false(tokenizer_is_control(o.tokenizer, EOT));
    small_vocabulary_close(&o);
}

static void lists_of_different_lengths(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_SPM;
    from.n_types_more = 1;
    refuse(&from, ERROR_BAD_FILE, "tokenizer.ggml.token_type is not a list with one entry for each of the 266 tokens");
    from.n_types_more = -1;
    refuse(&from, ERROR_BAD_FILE, "tokenizer.ggml.token_type is not a list with one entry for each of the 266 tokens");
}

static void types_and_scores_that_cannot_be(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_SPM;
    from.first_type = 7;
    refuse(&from, ERROR_BAD_FILE, "token 0 has the unknown type 7");
    from.first_type = 0;
    from.tokens[4].score = float_of_bits(0x7fc00000);
    refuse(&from, ERROR_BAD_FILE, "the score of token 260 is not a number");
    from.tokens[4] = (struct small_token){"<0xGG>", BYTE, 0};
    refuse(&from, ERROR_BAD_FILE, "byte token 260 is called \"<0xGG>\"");
    from.tokens[4] = (struct small_token){"ab", NORMAL, 0};
    refuse(&from, ERROR_BAD_FILE, "tokens 260 and 262 have the same text");
}

static void merges_of_unknown_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *merge, *message;
    } cases[] = {
        {"he", "merge 5 (\"he\") is not two texts"},
        {"h ", "merge 5 (\"h \") is not two texts"},
        {" h", "merge 5 (\" h\") is not two texts"},
        {"", "merge 5 (\"\") is not two texts"},
        {"xy z", "merge 5 (\"xy z\"): \"xy\" is not in the vocabulary"},
        {"h xy", "merge 5 (\"h xy\"): \"xy\" is not in the vocabulary"},
        {"h h", "merge 5 (\"h h\"): \"hh\" is not in the vocabulary"},
        {"h h h", "merge 5 (\"h h h\"): \"h h\" is not in the vocabulary"},
        {"\x1b[31m x", "merge 5 (\"\\x1b[31m x\"): \"\\x1b[31m\" is not in the vocabulary"},
        {"\xff x", "\"\\xff\" is not in the vocabulary"},
        {"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
         "(\"01234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "0...\") is not two texts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct small_vocabulary from = SMALL_LLAMA3;
        from.merges[5] = cases[i].merge;
        refuse(&from, ERROR_BAD_FILE, cases[i].message);
    }
}

static void ids_out_of_range(void **state)
{
    (void)state;
    static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct small_vocabulary from = SMALL_LLAMA3;
        from.numbers[0] = (struct small_number){keys[i], GGUF_TYPE_U32, 268};
        from.numbers[1].key = NULL;
        refuse(&from, ERROR_BAD_FILE, keys[i]);
        refuse(&from, ERROR_BAD_FILE, "is 268, but the vocabulary has 268 tokens");
        from.numbers[0].type = GGUF_TYPE_BOOL;
        from.numbers[0].value = 1;
        refuse(&from, ERROR_BAD_FILE, keys[i]);
    }
}

static void lists_of_ends_that_cannot_be(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    from.numbers[2] = (struct small_number){"tokenizer.ggml.eos_token_ids", GGUF_TYPE_ARRAY, 268};
    refuse(&from, ERROR_BAD_FILE, "tokenizer.ggml.eos_token_ids has the id 268");
    from.numbers[2].value = (uint32_t)-1;
    refuse(&from, ERROR_BAD_FILE, "tokenizer.ggml.eos_token_ids has the id -1");
    from.numbers[2].type = GGUF_TYPE_U32;
    refuse(&from, ERROR_BAD_FILE, "tokenizer.ggml.eos_token_ids is not a list");
}

static void added_tokens_that_the_file_does_not_name(void **state)
{
    (void)state;
    struct small_vocabulary from = SMALL_LLAMA3;
    from.numbers[0] = (struct small_number){"tokenizer.ggml.add_bos_token", GGUF_TYPE_BOOL, 1};
    refuse(&from, ERROR_BAD_FILE, "names no BOS");
    from.numbers[0] = (struct small_number){"tokenizer.ggml.add_eos_token", GGUF_TYPE_BOOL, 1};
    from.numbers[1] = (struct small_number){"tokenizer.ggml.bos_token_id", GGUF_TYPE_U32, 261};
    refuse(&from, ERROR_BAD_FILE, "names no EOS");
}

/* Every damaged byte of a vocabulary gives an error or a tokenizer that works. */
static void damaged_files(void **state)
{
    (void)state;
    struct small_vocabulary kinds[2] = {SMALL_LLAMA3, SMALL_SPM};
    for (size_t kind = 0; kind < 2; kind++) {
        struct writer whole;
        small_vocabulary_write(&kinds[kind], &whole);
        for (size_t i = 0; i < whole.size * 3; i++) {
            struct writer damaged = whole;
            static const uint8_t flips[3] = {0x01, 0x80, 0xff};
            damaged.bytes[i / 3] ^= flips[i % 3];
            struct gguf *file = NULL;
            struct tokenizer *tokenizer = NULL;
            struct error err = {0};
            int status = gguf_open_memory(damaged.bytes, damaged.size, "damaged.gguf", &file, &err);
            if (!status) status = tokenizer_open(file, &tokenizer, &err);
            if (status) assert_true(err.text[0] != '\0');
            static const char text[] = "hello <|eot_id|> aba\xff";
            struct token_list list = {0};
            struct text back = {0};
            if (!status && !tokenize(tokenizer, text, sizeof text - 1, TOKENIZE_PROMPT, &list, &err))
                assert_int_equal(detokenize_bytes(tokenizer, list.ids, list.count, &back, &err), 0);
            text_free(&back);
            token_list_free(&list);
            tokenizer_close(tokenizer);
            gguf_close(file);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_that_are_not_supported),
        cmocka_unit_test(lists_that_are_missing),
        cmocka_unit_test(lists_of_different_lengths),
        cmocka_unit_test(types_and_scores_that_cannot_be),
        cmocka_unit_test(merges_of_unknown_tokens),
        cmocka_unit_test(ids_out_of_range),
        cmocka_unit_test(lists_of_ends_that_cannot_be),
        cmocka_unit_test(added_tokens_that_the_file_does_not_name),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
