/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every dialect's calls, written by random walks through its grammar and read again: whole calls of tools that are there, arguments
 * that match their schemas, nothing broken, no content where a call has to come.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/model/gguf.h"
#include "host/text/grammar/grammar.h"
#include "host/text/reply_structure.h"

#define SEED 20261121u
#define WALKS 40u
#define MOST_TOKENS 3000u

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define DS(name) "<" BAR name BAR ">"

/* What the families' templates have in them: the signs of each dialect. */
static const struct {
    const char *name, *template;
    bool single; /* one call an answer */
} dialects[] = {
    {"hermes", "<tool_call>{}</tool_call>", false},
    {"hermes", "<think></think><tool_call>{}</tool_call>", false},
    {"deepseek-r1", "<think></think>" DS("tool" LOW "call" LOW "begin") "```json", false},
    {"deepseek-v3.1", DS("tool" LOW "call" LOW "begin"), false},
    {"dsml", BAR "DSML" BAR, false},
    {"kimi", "<|tool_calls_section_begin|>", false},
    {"solar", "<|tool_call:begin|>", false},
    {"mistral", "[TOOL_CALLS][ARGS]", false},
    {"mistral", "[TOOL_CALLS] [THINK][/THINK]", false},
    {"command-r", "<|START_THINKING|><|END_THINKING|><|START_ACTION|>", false},
    {"seed", "<seed:think></seed:think><seed:tool_call><function=", false},
    {"qwen3-coder", "<tool_call><function=<parameter=", false},
    {"functionary", "<function=</function>", false},
    {"glm", "<think></think><tool_call><arg_key>", false},
    {"nemotron", "<TOOLCALL>", false},
    {"tool_calls", "<tool_calls>[", false},
    {"granite", "<|tool_call|>", false},
    {"gigachat", "<|function_call|>", false},
    {"llama4", "<|header_start|>\"parameters\": ", true},
    {"llama3", "<|start_header_id|>\"parameters\": ", true},
    {"hunyuan", "'</think{}>' '<tool_call{}>' '<arg_key{}>' ':opensource'", false},
    {"minimax", "</think><minimax:tool_call><parameter name=", false},
    {"apertus", "<|inner_suffix|><|tools_prefix|>", false},
    {"lfm2", "<|tool_list_start|>", false},
    {"phi4", "<|/tool|>", false},
    {"harmony", "<|channel|><|message|>", true},
};

static const char tool_texts[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"strict\":true,\"parameters\":{\"type\":\"object\","
    "\"properties\":{"
    "\"city\":{\"type\":\"string\",\"maxLength\":9},\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":31},"
    "\"unit\":{\"type\":\"string\",\"enum\":[\"C\",\"F\"]},\"when\":{\"type\":\"string\",\"pattern\":\"^[0-9]{2}:[0-9]{"
    "2}$\"},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
    "tag\"},\"maxItems\":2}},\"required\":[\"city\",\"days\",\"tags\"],"
    "\"$defs\":{\"tag\":{\"enum\":[\"a\",\"b\",null]}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"no_arguments\",\"strict\":true}}]";

static const char *const pieces[] = {"\"", "{",  "}",      "[",      "]", ":",    ",", " ",
                                     "\n", "</", "\": \"", "\", \"", "<", "the ", "ab"};
#define N_PIECES (sizeof pieces / sizeof pieces[0])

/* Tokens: all bytes, the pieces, the dialects' markers, the end. */
#define FIRST_MARKER (256u + (uint32_t)N_PIECES)
#define MOST_MARKERS 200u
static struct gguf_string texts[FIRST_MARKER + MOST_MARKERS + 1];
static uint32_t end_token;

static struct grammar_vocabulary *vocabulary;
static json_t *tools;
static struct grammar *schemas[2];

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

static int open_all(void **state)
{
    static char bytes[256];
    struct error err = {0};
    uint32_t n = FIRST_MARKER;
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        texts[i] = (struct gguf_string){&bytes[i], 1};
    }
    for (size_t i = 0; i < N_PIECES; i++) texts[256 + i] = (struct gguf_string){pieces[i], strlen(pieces[i])};
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        const char *markers[REPLY_MAX_MARKERS];
        struct reply_dialect dialect;
        reply_dialect_of(dialects[i].template, strlen(dialects[i].template), &dialect);
        for (unsigned left = reply_markers(&dialect, true, markers); left-- > 0 && n < FIRST_MARKER + MOST_MARKERS;)
            texts[n++] = (struct gguf_string){markers[left], strlen(markers[left])};
    }
    end_token = n;
    if (grammar_vocabulary_make(texts, n + 1, end_token, &vocabulary, &err) < 0) return -1;
    tools = json_loads(tool_texts, 0, NULL);
    for (size_t i = 0; i < 2; i++) {
        json_t *schema = json_object_get(json_object_get(json_array_get(tools, i), "function"), "parameters");
        char *text = schema ? json_dumps(schema, 0) : strdup("{\"type\": \"object\", \"properties\": {}}");
        const int status = grammar_open(vocabulary, GRAMMAR_JSON_SCHEMA, text, strlen(text), &schemas[i], &err);
        free(text);
        if (status < 0) return -1;
    }
    return tools ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) grammar_release(schemas[i]);
    grammar_vocabulary_close(vocabulary);
    json_decref(tools);
    return 0;
}

/* ---- writing ---- */

struct written {
    char text[MOST_TOKENS * 40];
    size_t length;
    bool ended;
};

static bool has(const uint32_t *bits, uint32_t token) { return bits[token / 32] >> token % 32 & 1; }

static bool any_of(const uint32_t *bits, uint32_t first, uint32_t last, uint32_t *random, uint32_t *token)
{
    uint32_t n = 0;
    for (uint32_t t = first; t < last; t++) n += has(bits, t);
    if (n == 0) return false;
    uint32_t wanted = next_random(random) % n;
    for (*token = first; !has(bits, *token) || wanted-- > 0; ++*token) {}
    return true;
}

/* Ends soon where it may, so that walks come to their end. */
static uint32_t choose(const uint32_t *bits, uint32_t *random)
{
    static const char closing[] = "\"}]<";
    uint32_t token = (uint8_t)closing[next_random(random) % 4];
    if (has(bits, end_token) && next_random(random) % 3 == 0) return end_token;
    if (next_random(random) % 4 == 0 && has(bits, token)) return token;
    if (next_random(random) % 2 == 0 && any_of(bits, FIRST_MARKER, end_token, random, &token)) return token;
    assert_true(any_of(bits, 0, end_token + 1, random, &token));
    return token;
}

static void write_answer(struct grammar *grammar, uint32_t *random, struct written *out)
{
    struct grammar_matcher *matcher;
    struct error err = {0};
    const uint32_t *bits;
    assert_int_equal(grammar_matcher_open(grammar, &matcher, &err), 0);
    out->length = 0;
    out->ended = false;
    for (unsigned i = 0; i < MOST_TOKENS; i++) {
        assert_int_equal(grammar_matcher_mask(matcher, &bits, &err), 0);
        const uint32_t token = choose(bits, random);
        if (token == end_token) {
            out->ended = true;
            break;
        }
        memcpy(out->text + out->length, texts[token].bytes, texts[token].length);
        out->length += texts[token].length;
        assert_int_equal(grammar_matcher_accept(matcher, token, &err), 0);
    }
    out->text[out->length] = '\0';
    grammar_matcher_close(matcher);
}

/* ---- reading ---- */

struct heard {
    char name[64], arguments[8192], content[8192];
    size_t n_arguments, n_content;
    unsigned n_calls;
    bool broken, reasoned;
};

static void on_event(void *context, const struct reply_event *event)
{
    struct heard *heard = context;
    struct error err = {0};
    switch (event->kind) {
    case REPLY_CALL_START:
        snprintf(heard->name, sizeof heard->name, "%.*s", (int)event->length, event->bytes);
        heard->n_arguments = 0;
        break;
    case REPLY_CALL_ARGUMENTS:
        assert_true(heard->n_arguments + event->length < sizeof heard->arguments);
        memcpy(heard->arguments + heard->n_arguments, event->bytes, event->length);
        heard->n_arguments += event->length;
        break;
    case REPLY_CALL_END:
        heard->n_calls++;
        const int tool = strcmp(heard->name, "weather") == 0 ? 0 : 1;
        if (tool == 1) assert_string_equal(heard->name, "no_arguments");
        if (grammar_matches(schemas[tool], heard->arguments, heard->n_arguments, &err) != 1)
            fail_msg("%s(%.*s)", heard->name, (int)heard->n_arguments, heard->arguments);
        break;
    case REPLY_CALL_BROKEN: heard->broken = true; break;
    case REPLY_REASONING: heard->reasoned = true; break;
    case REPLY_CONTENT:
        if (heard->n_content + event->length < sizeof heard->content) {
            memcpy(heard->content + heard->n_content, event->bytes, event->length);
            heard->n_content += event->length;
        }
        break;
    }
}

static void read_answer(const struct reply_dialect *dialect, const struct reply_structure_options *o,
                        const struct written *answer, struct heard *heard)
{
    *heard = (struct heard){0};
    const struct reply_options options = {
        .tools = o->tools, .reasoning_opened = o->reasoning_opened, .event = on_event, .context = heard};
    struct reply *reply = reply_open(dialect, &options);
    assert_non_null(reply);
    assert_int_equal(reply_feed(reply, answer->text, answer->length), 0);
    assert_int_equal(reply_end(reply), 0);
    reply_close(reply);
}

static struct grammar *open_structure(const struct reply_dialect *dialect, const struct reply_structure_options *o)
{
    struct grammar *grammar;
    struct error err = {0};
    char *text;
    if (reply_structure(dialect, o, &text, &err) < 0) fail_msg("%s: %s", reply_dialect_name(dialect), err.text);
    if (grammar_open(vocabulary, GRAMMAR_STRUCTURE, text, strlen(text), &grammar, &err) < 0)
        fail_msg("%s: %s in %s", reply_dialect_name(dialect), err.text, text);
    free(text);
    return grammar;
}

static void each_dialect(const struct reply_structure_options *given)
{
    static struct written answer;
    static struct heard heard;
    uint32_t random = SEED;
    print_message("seed %u\n", SEED);
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        struct reply_dialect dialect;
        struct reply_structure_options o = *given;
        unsigned n_ended = 0, n_called = 0, n_several = 0;
        reply_dialect_of(dialects[i].template, strlen(dialects[i].template), &dialect);
        assert_string_equal(reply_dialect_name(&dialect), dialects[i].name);
        o.reasoning_opened = o.reasoning_opened && dialect.think_open;
        struct grammar *grammar = open_structure(&dialect, &o);
        for (unsigned walk = 0; walk < WALKS; walk++) {
            write_answer(grammar, &random, &answer);
            if (!answer.ended) continue;
            n_ended++;
            read_answer(&dialect, &o, &answer, &heard);
            const bool good = !heard.broken && (!o.must_call || (heard.n_calls > 0 && heard.n_content == 0)) &&
                              (!(o.one_call || o.only_tool || dialects[i].single) || heard.n_calls <= 1);
            if (!good)
                fail_msg("%s: %u calls, content '%.*s' in: %s", dialects[i].name, heard.n_calls, (int)heard.n_content,
                         heard.content, answer.text);
            if (o.only_tool && heard.n_calls) assert_string_equal(heard.name, o.only_tool);
            n_called += heard.n_calls > 0;
            n_several += heard.n_calls > 1;
        }
        grammar_release(grammar);
        if (n_ended < WALKS / 2) fail_msg("%s: only %u of %u answers ended", dialects[i].name, n_ended, WALKS);
        if (o.must_call && !o.one_call && !o.only_tool && !dialects[i].single && n_several == 0)
            fail_msg("%s: never more than one call", dialects[i].name);
        assert_true(n_called > 0 || !o.must_call);
    }
}

static void a_call_that_has_to_come(void **state)
{
    (void)state;
    each_dialect(&(struct reply_structure_options){.tools = tools, .must_call = true});
}

static void after_reasoning_that_the_prompt_opened(void **state)
{
    (void)state;
    each_dialect(&(struct reply_structure_options){
        .tools = tools, .must_call = true, .one_call = true, .reasoning_opened = true});
}

static void a_named_tool(void **state)
{
    (void)state;
    each_dialect(&(struct reply_structure_options){.tools = tools, .must_call = true, .only_tool = "weather"});
}

static void strict_tools_that_may_be_called(void **state)
{
    (void)state;
    each_dialect(&(struct reply_structure_options){.tools = tools});
}

/* The answer matches after the reasoning, whether or not there is any. */
static void an_answer_in_a_format(void **state)
{
    static struct written answer;
    static struct heard heard;
    uint32_t random = SEED;
    json_t *format = json_pack("{s:{s:s,s:i,s:i}}", "schema", "type", "integer", "minimum", 10, "maximum", 99);
    (void)state;
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        struct reply_dialect dialect;
        reply_dialect_of(dialects[i].template, strlen(dialects[i].template), &dialect);
        for (int opened = 0; opened < 2; opened++) {
            unsigned n_reasoned = 0;
            struct reply_structure_options o = {.answer = format, .reasoning_opened = opened && dialect.think_open};
            struct grammar *grammar = open_structure(&dialect, &o);
            for (unsigned walk = 0; walk < WALKS; walk++) {
                write_answer(grammar, &random, &answer);
                if (!answer.ended) continue;
                read_answer(&dialect, &o, &answer, &heard);
                n_reasoned += heard.reasoned;
                if (heard.n_content != 2 || strspn(heard.content, "0123456789") < 2)
                    fail_msg("%s: '%.*s' in: %s", dialects[i].name, (int)heard.n_content, heard.content, answer.text);
            }
            grammar_release(grammar);
            if (dialect.think_open && opened) assert_true(n_reasoned > 0);
        }
    }
    json_decref(format);
}

static void what_cannot_be_is_named(void **state)
{
    static const struct {
        const char *tools, *message;
    } wrong[] = {
        {"[{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"not\":{}}}}}}]",
         "tools[0].function.parameters: schema, #/properties/a: keyword 'not'"},
        {"[{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"two words\"}}]", "tools[1].function.name"},
    };
    struct reply_dialect dialect;
    (void)state;
    reply_dialect_of("<tool_call>", 11, &dialect);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_t *list = json_loads(wrong[i].tools, 0, NULL);
        struct error err = {0};
        struct grammar *grammar = NULL;
        char *text = NULL;
        int status =
            reply_structure(&dialect, &(struct reply_structure_options){.tools = list, .must_call = true}, &text, &err);
        if (status == 0) status = grammar_open(vocabulary, GRAMMAR_STRUCTURE, text, strlen(text), &grammar, &err);
        assert_true(status < 0);
        assert_non_null(strstr(err.text, wrong[i].message));
        free(text);
        json_decref(list);
    }
    struct error err = {0};
    char *text;
    reply_dialect_of("", 0, &dialect);
    assert_int_equal(reply_structure(&dialect, &(struct reply_structure_options){.tools = tools}, &text, &err),
                     ERROR_UNSUPPORTED);
    json_t *loose = json_loads("[{\"function\":{\"name\":\"f\"}}]", 0, NULL);
    assert_int_equal(reply_structure(&dialect, &(struct reply_structure_options){.tools = loose}, &text, &err), 0);
    free(text);
    json_decref(loose);
}

/* A control token's name in a structure is that token, and nothing that is text; as text it is never the token. */
static void control_tokens_stand_for_themselves(void **state)
{
    static const char structure[] =
        "[\"x<|im_start|>\", {\"plain\": \"<|im_start|>\"}, {\"free\": [\"<|im_start|>\"]}]";
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct grammar_vocabulary *real;
    struct grammar *grammar;
    struct grammar_matcher *matcher;
    struct token_list spelled = {0}, x = {0};
    struct error err = {0};
    const uint32_t *bits;
    (void)state;
    assert_int_equal(gguf_open(FIXTURES "/tokenizers/qwen2.gguf", &file, &err), 0);
    assert_int_equal(tokenizer_open(file, &tokenizer, &err), 0);
    const uint32_t n = tokenizer_n_tokens(tokenizer), start = (uint32_t)tokenizer_find(tokenizer, "<|im_start|>");
    assert_int_equal(grammar_vocabulary_open(tokenizer, n, &real, &err), 0);
    assert_int_equal(grammar_open(real, GRAMMAR_STRUCTURE, structure, strlen(structure), &grammar, &err), 0);
    assert_int_equal(grammar_matcher_open(grammar, &matcher, &err), 0);
    assert_int_equal(tokenize(tokenizer, "x", 1, 0, &x, &err), 0);
    assert_int_equal(tokenize(tokenizer, "<|im_start|>", 12, 0, &spelled, &err), 0);
    assert_true(x.count == 1 && spelled.count > 1);
    assert_int_equal(grammar_matcher_accept(matcher, x.ids[0], &err), 0);
    assert_int_equal(grammar_matcher_mask(matcher, &bits, &err), 0);
    for (uint32_t t = 0; t < n; t++) assert_int_equal(has(bits, t), t == start);
    assert_int_equal(grammar_matcher_accept(matcher, start, &err), 0);
    for (size_t i = 0; i < spelled.count; i++) {
        assert_int_equal(grammar_matcher_mask(matcher, &bits, &err), 0);
        assert_false(has(bits, start));
        assert_int_equal(grammar_matcher_accept(matcher, spelled.ids[i], &err), 0);
    }
    assert_int_equal(grammar_matcher_mask(matcher, &bits, &err), 0);
    assert_true(has(bits, x.ids[0]) && !has(bits, start));
    assert_int_equal(grammar_matcher_try(matcher, spelled.ids, (uint32_t)spelled.count), spelled.count - 1);
    grammar_matcher_close(matcher);
    grammar_release(grammar);
    grammar_vocabulary_close(real);
    tokenizer_close(tokenizer);
    gguf_close(file);
    token_list_free(&x);
    token_list_free(&spelled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_has_to_come),
        cmocka_unit_test(after_reasoning_that_the_prompt_opened),
        cmocka_unit_test(a_named_tool),
        cmocka_unit_test(strict_tools_that_may_be_called),
        cmocka_unit_test(an_answer_in_a_format),
        cmocka_unit_test(what_cannot_be_is_named),
        cmocka_unit_test(control_tokens_stand_for_themselves),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
