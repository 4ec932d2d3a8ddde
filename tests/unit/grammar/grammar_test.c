/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grammars by their bytes: what matches and what does not; and by their tokens: at every place of random answers the mask
 * is what trying each token of the vocabulary one by one gives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/base/memory.h"
#include "host/text/grammar/grammar.h"

#define N_TOKENS 700u
#define END_TOKEN (N_TOKENS - 1)
#define SEED 20261121u

static struct grammar_vocabulary *vocabulary;

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

/* All bytes, and random strings of what JSON, numbers and words are made of. */
static int open_vocabulary(void **state)
{
    static char bytes[N_TOKENS][12];
    static const char *const pieces[] = {"\"", "{", "}",  "[",   "]",        ":",    ",",    " ",
                                         "\n", "a", "b",  "ab",  "true",     "null", "0",    "12",
                                         ".",  "-", "\\", "\\n", "\xc3\xa9", "\xc3", "\xa9", "\xf0\x9f\x98\x80",
                                         "e",  "x"};
    struct gguf_string texts[N_TOKENS];
    struct error err = {0};
    uint32_t random = SEED;
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        size_t length = i < 256;
        bytes[i][0] = (char)i;
        for (uint32_t n = i < 256 ? 0 : 2 + next_random(&random) % 3; n-- > 0;) {
            const char *piece = pieces[next_random(&random) % (sizeof pieces / sizeof pieces[0])];
            if (length + strlen(piece) > sizeof bytes[i]) continue;
            memcpy(bytes[i] + length, piece, strlen(piece));
            length += strlen(piece);
        }
        texts[i] = (struct gguf_string){bytes[i], length};
    }
    (void)state;
    return grammar_vocabulary_make(texts, N_TOKENS, END_TOKEN, &vocabulary, &err);
}

static int close_vocabulary(void **state)
{
    (void)state;
    grammar_vocabulary_close(vocabulary);
    return 0;
}

static struct grammar *open_grammar(enum grammar_kind kind, const char *text)
{
    struct grammar *grammar;
    struct error err = {0};
    if (grammar_open(vocabulary, kind, text, strlen(text), &grammar, &err) < 0) fail_msg("%s: %s", text, err.text);
    return grammar;
}

struct sample {
    enum grammar_kind kind;
    const char *grammar;
    const char *matches[6], *others[6];
};

#define SCHEMA GRAMMAR_JSON_SCHEMA
static const struct sample samples[] = {
    {GRAMMAR_REGEX, "a(b|c)*d{2,3}", {"add", "abcbddd"}, {"", "ad", "adddd", "addx"}},
    {GRAMMAR_REGEX,
     "^[^x\\s]{2}\\d+$",
     {"ab1", "\xc3\xa9"
             "b22"},
     {"xb1", "a 1", "ab"}},
    {GRAMMAR_REGEX, "(x+x+)+y", {"xxy", "xxxxxxxxxxxxxxxxy"}, {"xy", "xxxxxxxxxxxxxxxxxxxx"}},
    {GRAMMAR_REGEX,
     "[a-z]{3,100}(-[a-z]{3,100}){0,2}",
     {"abc", "abc-defg"},
     {"ab", "abc-", "abc-de", "abc-def-ghi-jkl"}},
    {GRAMMAR_REGEX, "[^\\W]\\D[^\\d]\\S", {"a--x"}, {"-\xc3\xa9-x", "a1-x", "a-1x", "a-- "}},
    {GRAMMAR_REGEX, "(|a)(|b){40}", {"", "a", "abbb"}, {"ba", "aa"}},
    {GRAMMAR_REGEX,
     "\\u00e9\\x41[\\u{1F600}-\\u{1F602}]",
     {"\xc3\xa9"
      "A\xf0\x9f\x98\x81"},
     {"\xc3\xa9"
      "A\xf0\x9f\x98\x83"}},
    {GRAMMAR_CHOICE, "[\"yes\", \"no\", \"nothing\"]", {"yes", "no", "nothing"}, {"not", "y", ""}},
    {GRAMMAR_GBNF, "root ::= \"(\" root \")\" | [a-c]+ # nested\n", {"a", "((abc))"}, {"(a", "()", "a)"}},
    {GRAMMAR_GBNF,
     "root ::= (item \",\"){2,3}\nitem ::= x | \"b\"\n  | [0-9]{20,200}\nx ::= \"a\"?",
     {"a,b,", ",,,", "a,01234567890123456789,"},
     {"a,", "a,b,a,b,", "0,1,"}},
    {GRAMMAR_GBNF, "root ::= ws \"x\" ws\nws ::= [ \\t\\n]*", {"x", " x ", "\n\tx"}, {"", "xx"}},
    {GRAMMAR_JSON_OBJECT,
     "",
     {"{}", "{\"a\": [1, -2.5e3, \"\\u00e9\\ud83d\\ude00\", null, {\"b\": {}}]}"},
     {"[]", "{\"a\":}", "{\"\\ud83d\":1}", "{\"a\":01}"}},
    {SCHEMA,
     "{\"type\": \"integer\", \"minimum\": -12, \"exclusiveMaximum\": 105}",
     {"-12", "0", "104", "99", "-9"},
     {"-13", "105", "-0", "01", "1.0"}},
    {SCHEMA,
     "{\"type\": \"number\", \"exclusiveMinimum\": 0.25, \"maximum\": 10}",
     {"0.26", "10", "9.999", "10.0", "0.3"},
     {"0.25", "0.250", "10.01", "0.2", "-1"}},
    {SCHEMA, "{\"type\": \"number\", \"exclusiveMaximum\": 1e26}", {"1", "-999999999999999"}, {"9e30", "1e26", "1e2"}},
    {SCHEMA, "{\"const\": -2.0}", {"-2", "-2.0"}, {"2", "-2.00"}},
    {SCHEMA, "{\"type\": \"number\", \"maximum\": -1.5}", {"-1.5", "-2", "-1.51", "-100"}, {"-1.4", "-1", "0", "2"}},
    {SCHEMA, "{\"type\": \"integer\", \"multipleOf\": 7, \"minimum\": 10}", {"14", "21", "700"}, {"7", "15", "0"}},
    {SCHEMA,
     "{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}",
     {"\"ab\"", "\"\\u0041\\n\xc3\xa9\"", "\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\""},
     {"\"a\"", "\"abcd\"", "ab"}},
    {SCHEMA,
     "{\"type\": \"string\", \"pattern\": \"b.?\\\"\", \"maxLength\": 4}",
     {"\"b\\\"\"", "\"abx\\\"\""},
     {"\"b\"", "\"aaab\\\"\""}},
    {SCHEMA,
     "{\"type\": \"object\", \"properties\": {\"a\": {\"const\": 1}, \"b\": {\"type\": \"null\"}}, \"required\": "
     "[\"b\"]}",
     {"{\"b\":null}", "{\"a\": 1, \"b\": null}"},
     {"{}", "{\"a\":1}", "{\"b\":null,\"a\":1}", "{\"b\":null,\"c\":1}"}},
    {SCHEMA,
     "{\"type\": \"object\", \"properties\": {\"a\": true}, \"additionalProperties\": {\"type\": \"boolean\"}, "
     "\"maxProperties\": 2}",
     {"{}", "{\"x\":true}", "{\"a\":[],\"ab\":false}"},
     {"{\"x\":true,\"y\":true,\"z\":true}", "{\"x\":1}", "{\"x\":true,\"a\":1}"}},
    {SCHEMA,
     "{\"$ref\": \"#/$defs/n\", \"$defs\": {\"n\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/n\"}, "
     "\"maxItems\": 2}}}",
     {"[]", "[[],[[]]]"},
     {"[[],[],[]]", "[1]"}},
    {SCHEMA,
     "{\"allOf\": [{\"type\": [\"integer\", \"string\"]}, {\"anyOf\": [{\"enum\": [1, \"x\", null]}, {\"maximum\": 5, "
     "\"minimum\": 4, \"type\": \"number\"}]}]}",
     {"1", "\"x\"", "4", "5"},
     {"null", "4.5", "6"}},
    {SCHEMA,
     "{\"type\": \"array\", \"prefixItems\": [{\"const\": 1}, {\"const\": 2}], \"items\": {\"const\": 3}, "
     "\"minItems\": 1, \"maxItems\": 4}",
     {"[1]", "[1,2]", "[1,2,3,3]"},
     {"[]", "[2]", "[1,3]", "[1,2,3,3,3]"}},
};
#define N_SAMPLES (sizeof samples / sizeof samples[0])

static void texts_match_or_not(void **state)
{
    struct error err = {0};
    (void)state;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        struct grammar *grammar = open_grammar(samples[i].kind, samples[i].grammar);
        for (size_t j = 0; j < 6 && samples[i].matches[j]; j++)
            if (grammar_matches(grammar, samples[i].matches[j], strlen(samples[i].matches[j]), &err) != 1)
                fail_msg("%s: %s does not match", samples[i].grammar, samples[i].matches[j]);
        for (size_t j = 0; j < 6 && samples[i].others[j]; j++)
            if (grammar_matches(grammar, samples[i].others[j], strlen(samples[i].others[j]), &err) != 0)
                fail_msg("%s: %s matches", samples[i].grammar, samples[i].others[j]);
        grammar_release(grammar);
    }
}

/* One random answer; at every place the mask is held against trying each token. Appends it to text. */
static void walk(struct grammar *grammar, uint32_t *random, struct text *text, const char *name)
{
    struct grammar_matcher *matcher;
    struct error err = {0};
    uint32_t allowed[N_TOKENS];
    assert_int_equal(grammar_matcher_open(grammar, &matcher, &err), 0);
    for (int n = 0; n < 60 && !grammar_matcher_must_end(matcher); n++) {
        const uint32_t *bits;
        uint32_t n_allowed = 0;
        if (grammar_matcher_mask(matcher, &bits, &err) < 0) fail_msg("%s: %s", name, err.text);
        for (uint32_t token = 0; token < N_TOKENS; token++) {
            bool may = bits[token / 32] >> token % 32 & 1;
            bool can =
                token == END_TOKEN ? grammar_matcher_may_end(matcher) : grammar_matcher_try(matcher, &token, 1) == 1;
            if (may != can)
                fail_msg("%s after %s: token %u is %s, seed %u", name, text->bytes, token, may ? "allowed" : "missing",
                         SEED);
            if (may) allowed[n_allowed++] = token;
        }
        uint32_t token = allowed[next_random(random) % n_allowed];
        if (token == END_TOKEN) break;
        assert_int_equal(grammar_matcher_accept(matcher, token, &err), 0);
    }
    grammar_matcher_close(matcher);
}

static void masks_are_what_trying_each_token_gives(void **state)
{
    uint32_t random = SEED;
    (void)state;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        struct grammar *grammar = open_grammar(samples[i].kind, samples[i].grammar);
        struct text text = {.bytes = (char[]){""}};
        for (int n = 0; n < 6; n++) walk(grammar, &random, &text, samples[i].grammar);
        grammar_release(grammar);
    }
}

static void a_refused_token_changes_nothing(void **state)
{
    struct grammar *grammar = open_grammar(GRAMMAR_REGEX, "ab+c");
    struct grammar_matcher *matcher;
    struct error err = {0};
    const uint32_t tokens[] = {'a', 'b', 'b', 'x', 'c'};
    (void)state;
    assert_int_equal(grammar_matcher_open(grammar, &matcher, &err), 0);
    grammar_release(grammar); /* the matcher holds it */
    assert_int_equal(grammar_matcher_try(matcher, tokens, 5), 3);
    assert_int_equal(grammar_matcher_accept(matcher, 'b', &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(grammar_matcher_accept(matcher, END_TOKEN, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(grammar_matcher_accept(matcher, N_TOKENS, &err), ERROR_BAD_ARGUMENT);
    for (int i = 0; i < 3; i++) assert_int_equal(grammar_matcher_accept(matcher, tokens[i], &err), 0);
    assert_false(grammar_matcher_may_end(matcher));
    assert_int_equal(grammar_matcher_accept(matcher, 'c', &err), 0);
    assert_true(grammar_matcher_must_end(matcher));
    grammar_matcher_close(matcher);
}

static void what_is_wrong_says_where(void **state)
{
    static const struct {
        enum grammar_kind kind;
        const char *text, *message;
    } wrong[] = {
        {GRAMMAR_REGEX, "a(b", ") is missing"},
        {GRAMMAR_REGEX, "a**", "a repeat of a repeat"},
        {GRAMMAR_REGEX, "(?<=a)b", "look-around"},
        {GRAMMAR_REGEX, "(a)\\1", "back-references"},
        {GRAMMAR_REGEX, "\\bx", "word boundaries"},
        {GRAMMAR_REGEX, "[z-a]", "out of order"},
        {GRAMMAR_REGEX, "\xff", "not UTF-8"},
        {GRAMMAR_REGEX, "a[]", "admits nothing"},
        {GRAMMAR_REGEX, "a{5,2}", "a repeat of 5 to 2"},
        {GRAMMAR_REGEX, "(((a{1000}){1000}){1000}|b?){9999}", "too large"},
        {GRAMMAR_GBNF, "root ::= \"a\" missing", "rule missing is used but not defined"},
        {GRAMMAR_GBNF, "root ::= root \"a\" | \"b\"", "rule root can begin with itself"},
        {GRAMMAR_GBNF, "root ::= x \"a\"\nx ::= \"\" | y\ny ::= x? root", "can begin with itself"},
        {GRAMMAR_GBNF, "root ::= \"a\" root", "admits nothing"},
        {GRAMMAR_GBNF, "root ::= \"a\"\n  = 3", "line 2, column 3"},
        {GRAMMAR_GBNF, "x ::= \"a\"", "no rule root"},
        {GRAMMAR_CHOICE, "[]", "at least one string"},
        {GRAMMAR_CHOICE, "[1]", "choice 1"},
        {SCHEMA, "{\"properties\": {\"a\": {\"items\": {\"not\": {}}}}}", "#/properties/a/items: keyword 'not'"},
        {SCHEMA, "{\"minLength\": -1}", "'minLength' is not a number from 0 on"},
        {SCHEMA, "{\"type\": \"object\", \"required\": [\"a\"], \"additionalProperties\": false}", "admits nothing"},
        {SCHEMA, "{\"$ref\": \"#/properties/a\", \"properties\": {\"a\": {\"$ref\": \"#\"}}}",
         "lead back to themselves"},
        {SCHEMA, "{\"multipleOf\": 0.3}", "multipleOf 0.3"},
        {SCHEMA, "[", "not JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct grammar *grammar;
        struct error err = {0};
        if (grammar_open(vocabulary, wrong[i].kind, wrong[i].text, strlen(wrong[i].text), &grammar, &err) == 0)
            fail_msg("%s is accepted", wrong[i].text);
        if (!strstr(err.text, wrong[i].message)) fail_msg("%s: %s", wrong[i].text, err.text);
    }
}

/* Frames are taken back and moved, so that an answer may be long and nested deep, and then come back. */
static void long_answers_do_not_run_out(void **state)
{
    struct grammar *grammar = open_grammar(GRAMMAR_JSON_OBJECT, "");
    struct grammar_matcher *matcher;
    struct error err = {0};
    (void)state;
    assert_int_equal(grammar_matcher_open(grammar, &matcher, &err), 0);
    const char *head = "{\"a\":[";
    for (const char *c = head; *c; c++) assert_int_equal(grammar_matcher_accept(matcher, (uint8_t)*c, &err), 0);
    for (int n = 0; n < 20000; n++) {
        const char *item = n % 2 ? "[[1]]," : "\"ab\",";
        for (const char *c = item; *c; c++)
            if (grammar_matcher_accept(matcher, (uint8_t)*c, &err) < 0) fail_msg("item %d: %s", n, err.text);
    }
    for (int n = 0; n < 200; n++) assert_int_equal(grammar_matcher_accept(matcher, '[', &err), 0);
    for (int n = 0; n < 200; n++) assert_int_equal(grammar_matcher_accept(matcher, ']', &err), 0);
    for (const char *c = "]}"; *c; c++) assert_int_equal(grammar_matcher_accept(matcher, (uint8_t)*c, &err), 0);
    assert_true(grammar_matcher_must_end(matcher));
    grammar_matcher_close(matcher);
    grammar_release(grammar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match_or_not),
        cmocka_unit_test(masks_are_what_trying_each_token_gives),
        cmocka_unit_test(a_refused_token_changes_nothing),
        cmocka_unit_test(what_is_wrong_says_where),
        cmocka_unit_test(long_answers_do_not_run_out),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
