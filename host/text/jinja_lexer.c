/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between the tags, and which white space the tags take with them (trim_blocks and lstrip_blocks are on). */
#include "host/text/jinja_character.h"
#include "host/text/jinja_parse.h"
#include "host/text/utf8.h"

#include <string.h>

struct jinja_value jinja_normalize(struct jinja_run *run, const char *source, size_t length)
{
    char *to = jinja_alloc(run, length, 1);
    size_t n = 0;
    if (!to) return jinja_nothing();
    for (size_t i = 0; i < length; i++) {
        if (source[i] == '\r' && i + 1 < length && source[i + 1] == '\n') continue;
        to[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n && to[n - 1] == '\n') n--;
    if (utf8_valid_prefix((const uint8_t *)to, n) != n) {
        jinja_raise(run, "the template is not UTF-8");
        return jinja_nothing();
    }
    return jinja_string(run, to, n);
}

void jinja_lexer_place(struct jinja_lexer *lexer, size_t at)
{
    for (; lexer->counted < at; lexer->counted++) {
        if (lexer->source[lexer->counted] != '\n') continue;
        lexer->line++;
        lexer->line_start = lexer->counted + 1;
    }
    lexer->run->line = lexer->line;
    lexer->run->column = (uint32_t)(at - lexer->line_start + 1);
}

void jinja_lexer_push(struct jinja_lexer *lexer, enum jinja_token_kind kind, size_t from, size_t to,
                      struct jinja_value value)
{
    struct jinja_tokens *out = lexer->out;
    if (out->count == out->capacity) {
        struct jinja_token *grown =
            jinja_grow(lexer->run, out->items, out->count, &out->capacity, out->count + 1, sizeof *grown);
        if (!grown) return;
        out->items = grown;
    }
    jinja_lexer_place(lexer, from);
    out->items[out->count++] =
        (struct jinja_token){kind, lexer->run->line, lexer->run->column, lexer->source + from, to - from, value};
}

static bool here(const struct jinja_lexer *lexer, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at <= lexer->length && n <= lexer->length - at && memcmp(lexer->source + at, text, n) == 0;
}

static size_t skip_space(const struct jinja_lexer *lexer, size_t at)
{
    const char *text = lexer->source + at;
    size_t length = lexer->length - at;
    jinja_trim(&text, &length, true, false);
    return (size_t)(text - lexer->source);
}

/*
 * The data from..to in front of a tag with this sign ('-', '+' or another): '-' takes all white space; without a sign the
 * indentation of a block or comment goes if nothing else stands before it on its line.
 */
static void push_data(struct jinja_lexer *lexer, size_t from, size_t to, char sign, bool is_variable,
                      bool line_starting)
{
    const char *text = lexer->source + from;
    size_t length = to - from;
    if (sign == '-') {
        jinja_trim(&text, &length, false, true);
    } else if (sign != '+' && !is_variable) {
        const char *newline = length ? memrchr(text, '\n', length) : NULL;
        size_t line = newline ? (size_t)(newline - text) + 1 : 0;
        const char *rest = text + line;
        size_t rest_length = length - line;
        jinja_trim(&rest, &rest_length, true, false);
        if ((line > 0 || line_starting) && rest_length == 0) length = line;
    }
    if (length == 0) return;
    struct jinja_value value = jinja_string(lexer->run, text, length);
    jinja_lexer_push(lexer, TOKEN_DATA, from, from + length, value);
}

/* Behind a tag that ends at `at` with this sign in front of its end mark: what of the following space goes with it. */
static size_t after_tag(const struct jinja_lexer *lexer, size_t at, char sign)
{
    if (sign == '-') return skip_space(lexer, at);
    return sign != '+' && here(lexer, at, "\n") ? at + 1 : at;
}

static char sign_at(const struct jinja_lexer *lexer, size_t at)
{
    return here(lexer, at, "-") ? '-' : here(lexer, at, "+") ? '+' : ' ';
}

static void lex_comment(struct jinja_lexer *lexer, size_t content)
{
    const char *end = memmem(lexer->source + content, lexer->length - content, "#}", 2);
    lexer->at = lexer->length; /* Jinja says nothing of a comment that opens at the very end */
    if (!end && content < lexer->length) jinja_raise(lexer->run, "Missing end of comment tag");
    if (!end) return;
    size_t at = (size_t)(end - lexer->source);
    lexer->at = after_tag(lexer, at + 2, at > content ? lexer->source[at - 1] : ' ');
}

/* Whether a tag with just this word starts at `at` (behind "{%" and sign); *end: behind its "%}", *sign: the one before. */
static bool is_word_tag(const struct jinja_lexer *lexer, size_t at, const char *word, size_t *end, char *sign)
{
    at = skip_space(lexer, at);
    if (!here(lexer, at, word)) return false;
    at = skip_space(lexer, at + strlen(word));
    *sign = sign_at(lexer, at);
    if (*sign != ' ') at++;
    *end = at + 2;
    return here(lexer, at, "%}");
}

/* The text of {% raw %}, from `from` up to its {% endraw %}. */
static void lex_raw(struct jinja_lexer *lexer, size_t from, bool line_starting)
{
    for (size_t at = from; at < lexer->length; at++) {
        const char *tag = memmem(lexer->source + at, lexer->length - at, "{%", 2);
        size_t end;
        char close;
        if (!tag) break;
        at = (size_t)(tag - lexer->source);
        char open = sign_at(lexer, at + 2);
        if (!is_word_tag(lexer, at + 2 + (open != ' '), "endraw", &end, &close)) continue;
        push_data(lexer, from, at, open, false, line_starting);
        lexer->at = after_tag(lexer, end, close);
        return;
    }
    lexer->at = lexer->length;
    if (from < lexer->length) jinja_raise(lexer->run, "Missing end of raw directive");
}

static size_t next_tag(const struct jinja_lexer *lexer)
{
    size_t at = lexer->at;
    while (at < lexer->length) {
        const char *brace = memchr(lexer->source + at, '{', lexer->length - at);
        if (!brace) return lexer->length;
        at = (size_t)(brace - lexer->source);
        if (here(lexer, at, "{%") || here(lexer, at, "{{") || here(lexer, at, "{#")) return at;
        at++;
    }
    return lexer->length;
}

static void lex_tag(struct jinja_lexer *lexer, size_t at, char sign)
{
    size_t content = at + 2 + (sign != ' '), raw;
    char close;
    jinja_lexer_place(lexer, at);
    if (here(lexer, at, "{#")) {
        lex_comment(lexer, content);
    } else if (here(lexer, at, "{%") && is_word_tag(lexer, content, "raw", &raw, &close) && close != '+') {
        if (close == '-') raw = skip_space(lexer, raw);
        lex_raw(lexer, raw, lexer->source[raw - 1] == '\n');
    } else {
        bool is_block = here(lexer, at, "{%");
        jinja_lexer_push(lexer, is_block ? TOKEN_BLOCK_BEGIN : TOKEN_VARIABLE_BEGIN, at, content, jinja_none());
        lexer->at = content;
        jinja_lex_expression(lexer, is_block ? TOKEN_BLOCK_END : TOKEN_VARIABLE_END);
    }
}

void jinja_tokenize(struct jinja_run *run, const struct jinja_string *source, struct jinja_tokens *out)
{
    struct jinja_lexer lexer = {.run = run, .source = source->bytes, .length = source->length, .line = 1, .out = out};
    bool line_starting = true;
    while (lexer.at < lexer.length && !jinja_failed(run)) {
        size_t tag = next_tag(&lexer);
        if (tag == lexer.length) {
            push_data(&lexer, lexer.at, tag, '+', false, false);
            break;
        }
        char sign = sign_at(&lexer, tag + 2);
        push_data(&lexer, lexer.at, tag, sign, here(&lexer, tag, "{{"), line_starting);
        lex_tag(&lexer, tag, sign);
        line_starting = lexer.at > 0 && lexer.source[lexer.at - 1] == '\n';
    }
    jinja_lexer_push(&lexer, TOKEN_END, lexer.length, lexer.length, jinja_none());
}
