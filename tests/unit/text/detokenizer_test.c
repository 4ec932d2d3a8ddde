/* SPDX-License-Identifier: Apache-2.0 */
/* Streaming: whole characters only, U+FFFD for what is broken, control tokens hidden, SentencePiece's space dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/utf8.h"
#include "tests/unit/text/small_vocabulary.h"

static struct opened bpe, spm;

static int open_both(void **state)
{
    (void)state;
    static const struct small_vocabulary bpe_from = SMALL_LLAMA3, spm_from = SMALL_SPM;
    struct error err;
    return small_vocabulary_open(&bpe_from, &bpe, &err) || small_vocabulary_open(&spm_from, &spm, &err);
}

static int close_both(void **state)
{
    (void)state;
    small_vocabulary_close(&bpe);
    small_vocabulary_close(&spm);
    return 0;
}

/* Streams the ids up to -1; after each token the text must be whole characters, and in the end expected. */
static void expect(const struct tokenizer *tokenizer, bool show_control, const char *expected, const int *ids)
{
    struct detokenizer state;
    struct text text = {0};
    struct error err = {0};
    detokenizer_start(&state, tokenizer, show_control);
    for (; *ids >= 0; ids++) {
        if (detokenize_next(&state, (uint32_t)*ids, &text, &err)) fail_msg("%s", err.text);
        assert_int_equal(utf8_valid_prefix((const uint8_t *)text.bytes, text.length), text.length);
        assert_int_equal(text.bytes[text.length], '\0');
    }
    assert_int_equal(detokenize_end(&state, &text, &err), 0);
    assert_int_equal(text.length, strlen(expected));
    if (text.length) assert_string_equal(text.bytes, expected);
    text_free(&text);
}
#define EXPECT(tokenizer, show_control, expected, ...)                                                                 \
    expect(tokenizer, show_control, expected, (const int[]){__VA_ARGS__, -1})

static void characters_come_whole(void **state)
{
    (void)state;
    struct detokenizer stream;
    struct text text = {0};
    struct error err = {0};
    detokenizer_start(&stream, bpe.tokenizer, false);
    static const uint8_t euro_smile[] = {0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80};
    static const size_t lengths[] = {0, 0, 3, 3, 3, 3, 7};
    for (size_t i = 0; i < sizeof euro_smile; i++) {
        assert_int_equal(detokenize_next(&stream, euro_smile[i], &text, &err), 0);
        assert_int_equal(text.length, lengths[i]);
    }
    assert_int_equal(detokenize_end(&stream, &text, &err), 0);
    assert_string_equal(text.bytes, "\xe2\x82\xac\xf0\x9f\x98\x80");
    text_free(&text);
}

static void broken_bytes_become_one_mark_each_part(void **state)
{
    (void)state;
    const struct tokenizer *t = bpe.tokenizer;
    EXPECT(t, false,
           "a\xef\xbf\xbd"
           "b",
           'a', 0xff, 'b');
    EXPECT(t, false,
           "\xef\xbf\xbd"
           "b",
           0xe2, 0x82, 'b');                                                    /* one maximal subpart */
    EXPECT(t, false, "\xef\xbf\xbd\xe2\x82\xac", 0xe2, 0xe2, 0x82, 0xac);       /* a new start ends the old one */
    EXPECT(t, false, "\xef\xbf\xbd", 0xf0, 0x9f, 0x98);                         /* unfinished at the end: one */
    EXPECT(t, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 0xed, 0xa0, 0x80); /* a surrogate: three */
    EXPECT(t, false, "\xef\xbf\xbdhello", 0xf0, 0x9f, HELLO);
    EXPECT(t, false, "", -1);
}

static void control_tokens_are_hidden_unless_asked(void **state)
{
    (void)state;
    const struct tokenizer *t = bpe.tokenizer;
    EXPECT(t, false, "hehe", BEGIN_OF_TEXT, HE, EOT, HE, END_OF_TEXT);
    EXPECT(t, true, "<|begin_of_text|>he<|eot_id|>", BEGIN_OF_TEXT, HE, EOT);
    EXPECT(t, false, "<tool>he", TOOL, HE);
    EXPECT(t, false, "\xe2\x82\xac", 0xe2, EOT, 0x82, 0xac); /* nothing was shown in between */
    EXPECT(t, true, "\xef\xbf\xbd<|eot_id|>", 0xe2, EOT);
    EXPECT(spm.tokenizer, false, "a", SPM_BOS, SPM_UNKNOWN, SPM_SPACE_A, SPM_EOS);
}

static void the_space_that_was_put_in_front_goes(void **state)
{
    (void)state;
    const struct tokenizer *t = spm.tokenizer;
    EXPECT(t, false, "a a", SPM_SPACE_A, SPM_SPACE_A);
    EXPECT(t, false, "a", SPM_SPACE, SPM_A);
    EXPECT(t, false, " a", SPM_SPACE, SPM_SPACE_A);
    EXPECT(t, false, "ab", SPM_A, SPM_B);
    EXPECT(t, false, "<mark>a", SPM_MARK, SPM_SPACE_A);
    EXPECT(t, false, " ", ' '); /* a space byte is no space that was put there */
    EXPECT(t, false, "\xe2\x82\xac a", 0xe2, 0x82, 0xac, SPM_SPACE_A);
}

static void ids_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    struct detokenizer stream;
    struct text text = {0};
    struct error err = {0};
    uint32_t id = tokenizer_n_tokens(bpe.tokenizer);
    detokenizer_start(&stream, bpe.tokenizer, false);
    assert_int_equal(detokenize_next(&stream, 0xe2, &text, &err), 0);
    assert_int_equal(detokenize_next(&stream, id, &text, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "token 268 is not in the vocabulary of 268 tokens"));
    assert_int_equal(text.length, 0);
    assert_int_equal(detokenize_bytes(bpe.tokenizer, &id, 1, &text, &err), ERROR_BAD_ARGUMENT);
    /* The stream goes on where it was. */
    assert_int_equal(detokenize_next(&stream, 0x82, &text, &err), 0);
    assert_int_equal(detokenize_next(&stream, 0xac, &text, &err), 0);
    assert_string_equal(text.bytes, "\xe2\x82\xac");
    text_free(&text);
}

/* The whole bytes with each maximal broken part replaced. */
static void repair(const struct text *from, struct text *to)
{
    struct error err;
    for (size_t i = 0; i < from->length;) {
        const uint8_t *at = (const uint8_t *)from->bytes + i;
        unsigned n;
        enum utf8_kind kind = utf8_scan(at, from->length - i, &n);
        if (kind == UTF8_UNFINISHED) n = (unsigned)(from->length - i);
        bool whole = kind == UTF8_CHARACTER;
        assert_int_equal(text_append(to, whole ? (const char *)at : UTF8_REPLACEMENT, whole ? n : 3, &err), 0);
        i += n;
    }
}

static void a_stream_is_the_repaired_whole(void **state)
{
    (void)state;
    struct text whole = {0}, repaired = {0}, streamed = {0};
    struct error err = {0};
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        const struct tokenizer *t = round % 2 ? spm.tokenizer : bpe.tokenizer;
        struct detokenizer stream;
        uint32_t ids[12];
        whole.length = repaired.length = streamed.length = 0;
        detokenizer_start(&stream, t, true);
        for (size_t i = 0; i < 12; i++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t random = (uint32_t)(seed >> 33);
            /* mostly bytes above 0x7f, so that parts of characters meet */
            ids[i] = random % 4 ? 0x80 + random / 4 % 0x80 : random / 4 % tokenizer_n_tokens(t);
            assert_int_equal(detokenize_next(&stream, ids[i], &streamed, &err), 0);
        }
        assert_int_equal(detokenize_end(&stream, &streamed, &err), 0);
        assert_int_equal(detokenize_bytes(t, ids, 12, &whole, &err), 0);
        repair(&whole, &repaired);
        assert_int_equal(streamed.length, repaired.length);
        assert_memory_equal(streamed.bytes, repaired.bytes, repaired.length);
    }
    text_free(&whole);
    text_free(&repaired);
    text_free(&streamed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_come_whole),
        cmocka_unit_test(broken_bytes_become_one_mark_each_part),
        cmocka_unit_test(control_tokens_are_hidden_unless_asked),
        cmocka_unit_test(the_space_that_was_put_in_front_goes),
        cmocka_unit_test(ids_outside_the_vocabulary_are_refused),
        cmocka_unit_test(a_stream_is_the_repaired_whole),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
