/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: tokenizer_roundtrip COUNT SEED VOCABULARY...     (GGUF files or tokenizer.json)
 * COUNT random strings for each vocabulary, of characters from all of Unicode, of a vocabulary's own pieces and of any bytes: they
 * are tokenized and turned back. Of byte-level vocabularies without a normalizer the bytes that come back are those that went
 * in (but for bytes without a token, at most the 13 that are never part of UTF-8); of every vocabulary ids are in range, and
 * what is streamed is whole characters. Prints a line a file and ends with "N passed, M failed".
 */
#include "host/text/utf8.h"
#include "tests/text/open_vocabulary.h"

#include <stdio.h>

enum { MOST_BYTES = 400 };

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static size_t put_character(char *out, uint32_t c)
{
    if (c < 0x80) return out[0] = (char)c, 1;
    const unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (unsigned i = n; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00u >> n) | c);
    return n;
}

/* Scripts and signs that patterns and normalizers look at, beside any character at all. */
static uint32_t random_character(uint64_t *random)
{
    static const uint32_t first[] = {' ',    '\t',   'a',    'A',    '0',    '!',    0xa0,   0xc0,   0x300,
                                     0x370,  0x400,  0x5d0,  0x620,  0x900,  0xe00,  0x1100, 0x200b, 0x2028,
                                     0x3040, 0x4e00, 0xac00, 0xfb00, 0xfe00, 0xff00, 0x1f300};
    static const uint32_t count[] = {1,   5,  26,  26, 10, 15,  1,     64,    112, 144, 256, 27, 64,
                                     128, 91, 256, 5,  2,  192, 20902, 11172, 6,   16,  240, 700};
    const uint32_t kind = next_random(random) % (2 * sizeof first / sizeof *first);
    uint32_t c = kind < sizeof first / sizeof *first ? first[kind] + next_random(random) % count[kind]
                                                     : next_random(random) % 0x110000;
    return c >= 0xd800 && c < 0xe000 ? 'x' : c;
}

static size_t put_piece(const struct tokenizer *tokenizer, uint64_t *random, char *out, size_t room)
{
    struct text text = {0};
    struct error err;
    const uint32_t id = next_random(random) % tokenizer_n_tokens(tokenizer);
    size_t n = 0;
    if (tokenizer_token_bytes(tokenizer, id, &text, &err) == 0 && text.length <= room) {
        n = text.length;
        if (n) memcpy(out, text.bytes, n);
    }
    text_free(&text);
    return n;
}

static size_t random_text(const struct tokenizer *tokenizer, uint64_t *random, char *out)
{
    const uint32_t kind = next_random(random) % 8, wanted = next_random(random) % (MOST_BYTES - 64);
    size_t n = 0;
    while (n < wanted) {
        const uint32_t repeats = next_random(random) % 8 == 0 ? 1 + next_random(random) % 20 : 1;
        char unit[64];
        size_t length;
        if (kind == 0)
            length = (unit[0] = (char)next_random(random), 1);
        else if (kind < 4)
            length = put_piece(tokenizer, random, unit, sizeof unit);
        else
            length = put_character(unit, random_character(random));
        for (uint32_t i = 0; i < repeats && n + length <= MOST_BYTES; i++, n += length) memcpy(out + n, unit, length);
        if (length == 0) n += put_character(out + n, random_character(random));
    }
    return n;
}

/* Whether what went in must come back as it was, if its bytes all have tokens. */
static bool is_byte_level(const struct gguf *file)
{
    struct gguf_string model;
    struct error err;
    if (gguf_find(file, "tokenizer.sluice.json") || gguf_get_string(file, "tokenizer.ggml.model", &model, &err) < 0)
        return false;
    return model.length == 4 && memcmp(model.bytes, "gpt2", 4) == 0;
}

static int stream(const struct tokenizer *tokenizer, const struct token_list *list, struct error *err)
{
    struct detokenizer state;
    struct text out = {0};
    int status = 0;
    detokenizer_start(&state, tokenizer, true);
    for (size_t i = 0; status == 0 && i < list->count; i++) {
        status = detokenize_next(&state, list->ids[i], &out, err);
        if (status == 0 && utf8_valid_prefix((const uint8_t *)out.bytes, out.length) != out.length)
            status = error_set(err, ERROR_INTERNAL, "a piece of text ends inside a character");
    }
    text_free(&out);
    return status;
}

/* Some vocabularies have no tokens for the bytes that are never part of UTF-8. */
static bool has_token(const struct tokenizer *tokenizer, char byte)
{
    struct token_list list = {0};
    struct text back = {0};
    struct error err;
    const bool good = tokenize(tokenizer, &byte, 1, 0, &list, &err) == 0 &&
                      detokenize_bytes(tokenizer, list.ids, list.count, &back, &err) == 0 && back.length == 1 &&
                      back.bytes[0] == byte;
    token_list_free(&list);
    text_free(&back);
    return good;
}

/* Puts x in place of bytes that do not come back alone. */
static void leave_out(const bool missing[256], char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (missing[(unsigned char)text[i]]) text[i] = 'x';
}

static int try_text(const struct open_vocabulary *vocabulary, bool is_exact, const char *text, size_t length,
                    struct error *err)
{
    const struct tokenizer *tokenizer = vocabulary->tokenizer;
    struct token_list list = {0};
    struct text back = {0};
    int status = tokenize(tokenizer, text, length, 0, &list, err);
    for (size_t i = 0; status == 0 && i < list.count; i++)
        if (list.ids[i] >= tokenizer_n_tokens(tokenizer))
            status = error_set(err, ERROR_INTERNAL, "id %u is none", list.ids[i]);
    if (status == 0) status = detokenize_bytes(tokenizer, list.ids, list.count, &back, err);
    if (status == 0) status = stream(tokenizer, &list, err);
    if (status == 0 && is_exact && (back.length != length || (length && memcmp(back.bytes, text, length) != 0)))
        status = error_set(err, ERROR_INTERNAL, "other bytes came back");
    token_list_free(&list);
    text_free(&back);
    return status;
}

static int try_vocabulary(const char *path, unsigned long count, uint64_t seed)
{
    struct open_vocabulary vocabulary;
    struct error err = {0};
    char text[MOST_BYTES + 64];
    uint64_t random = seed;
    int status = open_vocabulary(path, &vocabulary, &err);
    const bool is_exact = status == 0 && is_byte_level(vocabulary.file);
    bool missing[256] = {false};
    unsigned n_missing = 0;
    for (unsigned byte = 0; byte < 256 && is_exact; byte++) {
        missing[byte] = !has_token(vocabulary.tokenizer, (char)byte);
        n_missing += missing[byte];
    }
    if (n_missing > 13) status = error_set(&err, ERROR_INTERNAL, "%u bytes do not come back", n_missing);
    for (unsigned long i = 0; status == 0 && i < count; i++) {
        const size_t length = random_text(vocabulary.tokenizer, &random, text);
        if (i % 2 == 0) leave_out(missing, text, length);
        status = try_text(&vocabulary, is_exact && (n_missing == 0 || i % 2 == 0), text, length, &err);
        if (status == 0) continue;
        printf("FAILED %s, seed %llu, string %lu: %s:", path, (unsigned long long)seed, i, err.text);
        for (size_t k = 0; k < length; k++) printf(" %02x", (unsigned char)text[k]);
        putchar('\n');
    }
    if (status < 0 && (!vocabulary.tokenizer || n_missing > 13)) printf("FAILED %s: %s\n", path, err.text);
    if (status == 0) printf("ok %s: %lu strings%s\n", path, count, is_exact ? ", the same bytes back" : "");
    open_vocabulary_close(&vocabulary);
    return status;
}

int main(int argc, char **argv)
{
    int passed = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: tokenizer_roundtrip COUNT SEED VOCABULARY...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        passed += try_vocabulary(argv[i], strtoul(argv[1], NULL, 10), strtoull(argv[2], NULL, 10)) == 0;
        fflush(stdout);
    }
    printf("%d passed, %d failed\n", passed, argc - 3 - passed);
    return passed == argc - 3 ? 0 : 1;
}
