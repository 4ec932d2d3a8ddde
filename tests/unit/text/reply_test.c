/* SPDX-License-Identifier: Apache-2.0 */
/* Every dialect, fed whole, byte by byte and cut at random: the same events, joined, and those that are written here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/text/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define DS(name) "<" BAR name BAR ">"
#define DSML BAR "DSML" BAR

static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":\"object\",\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"}}}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{}}}]";

/* What came, joined: C:content R:reasoning @name arguments. after each call, !for one that was broken. */
struct heard {
    char text[8192];
    size_t length;
    int last;
    bool ids; /* shown as [id] */
    unsigned n_arguments;
};

static void put(struct heard *heard, const char *bytes, size_t length)
{
    assert_true(heard->length + length < sizeof heard->text);
    memcpy(heard->text + heard->length, bytes, length);
    heard->length += length;
    heard->text[heard->length] = '\0';
}

static void on_event(void *context, const struct reply_event *event)
{
    struct heard *heard = context;
    static const char *const heads[] = {"C:", "R:", "@", " ", ".", "!"};
    if (heard->last != (int)event->kind) put(heard, heads[event->kind], strlen(heads[event->kind]));
    heard->last = (int)event->kind;
    if (event->length) put(heard, event->bytes, event->length);
    if (event->kind == REPLY_CALL_ARGUMENTS) heard->n_arguments++;
    if (event->kind == REPLY_CALL_START && heard->ids) {
        put(heard, "[", 1);
        put(heard, event->id, strlen(event->id));
        put(heard, "]", 1);
    }
}

enum cut { WHOLE, BYTES, RANDOM };

static void hear(const char *template, const struct reply_options *given, const char *text, enum cut cut,
                 struct heard *heard)
{
    struct reply_dialect dialect;
    struct reply_options options = *given;
    bool ids = heard->ids;
    *heard = (struct heard){.last = -1, .ids = ids};
    reply_dialect_of(template, strlen(template), &dialect);
    options.event = on_event;
    options.context = heard;
    struct reply *reply = reply_open(&dialect, &options);
    assert_non_null(reply);
    for (size_t at = 0, n, length = strlen(text); at < length; at += n) {
        n = cut == WHOLE ? length : cut == BYTES ? 1 : 1 + (size_t)rand() % 9;
        if (n > length - at) n = length - at;
        assert_int_equal(reply_feed(reply, text + at, n), 0);
    }
    assert_int_equal(reply_end(reply), 0);
    reply_close(reply);
}

struct sample {
    const char *template, *text, *expected;
};

static void same_however_cut(const struct sample *sample, const struct reply_options *options)
{
    struct heard heard = {0};
    hear(sample->template, options, sample->text, WHOLE, &heard);
    assert_string_equal(heard.text, sample->expected);
    hear(sample->template, options, sample->text, BYTES, &heard);
    assert_string_equal(heard.text, sample->expected);
    for (unsigned i = 0; i < 50; i++) {
        hear(sample->template, options, sample->text, RANDOM, &heard);
        assert_string_equal(heard.text, sample->expected);
    }
}

/* Signs of a family's template, as reply_dialect_of looks for them. */
static const char plain[] = "{{ message.content }}";
static const char qwen3[] = "tools <think> </think> <tool_call>";
static const char coder[] = "tools <tool_call> <function= <parameter=";
static const char seed[] = "</seed:think> seed:tool_call <function=";
static const char glm[] = "<think></think><tool_call><arg_key>";
static const char llama3[] = "<|start_header_id|> tools {\"name\": , \"parameters\": }";
static const char llama4[] = "<|header_start|> tools {\"name\": , \"parameters\": }";
static const char mistral[] = "[TOOL_CALLS] [THINK] [/THINK]";
static const char command[] = "<|START_THINKING|><|END_THINKING|><|START_ACTION|>";
static const char kimi[] = "<think></think><|tool_calls_section_begin|>";
static const char r1[] = "<think></think>" DS("tool" LOW "call" LOW "begin") "```json";
static const char v3[] = "<think></think>" DS("tool" LOW "call" LOW "begin");
static const char dsml[] = "<think></think>" DSML;
static const char harmony[] = "<|start|><|channel|>analysis<|message|>";
static const char nemotron[] = "<think></think><TOOLCALL>";
static const char functionary[] = "<function=x>{}</function>";
static const char solar[] = "<|tool_calls|><|tool_call:begin|>";

static const char hunyuan[] = "'</think{}>'.format(x) '<tool_call{}>' '<arg_key{}>' ':opensource'";
static const char minimax[] = "</think> <minimax:tool_call><invoke name=\"\"><parameter name=\"\">";
static const char apertus[] = "<|inner_prefix|><|inner_suffix|><|tools_prefix|>";
static const char gemma[] = "<|channel>thought <channel|> <|tool_call>call:";
static const char lfm2[] = "List of tools: <|tool_list_start|>";
static const char phi4[] = "<|tool|>{{ tools }}<|/tool|>";

#define HERMES(json) "<tool_call>\n" json "\n</tool_call>"
#define WEATHER "{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}"
#define R1(name, json)                                                                                                 \
    DS("tool" LOW "call" LOW "begin")                                                                                  \
    "function" DS("tool" LOW "sep") name "\n```json\n" json "\n```" DS("tool" LOW "call" LOW "end")
#define V3(name, json) DS("tool" LOW "call" LOW "begin") name DS("tool" LOW "sep") json DS("tool" LOW "call" LOW "end")
#define SECTION(calls) DS("tool" LOW "calls" LOW "begin") calls DS("tool" LOW "calls" LOW "end")

static const struct sample samples[] = {
    {plain, "  Hello <think> <tool_call>\n", "C:  Hello <think> <tool_call>\n"},
    {qwen3, "<think>\nOne.\n\nTwo.\n</think>\n\nHello  \n", "R:One.\n\nTwo.C:Hello  \n"},
    {qwen3, "<think>\n\n</think>\n\n<b>x</b>", "C:<b>x</b>"},
    {qwen3, "A <think>b</think>", "C:A <think>b</think>"},
    {qwen3, "<thin air", "C:<thin air"},
    {qwen3, "\n</think>\n\nHello </think>", "C:Hello </think>"},
    {qwen3, "<think>never ended  ", "R:never ended"},
    {qwen3, "Let me see.\n\n" HERMES(WEATHER), "C:Let me see.@weather {\"city\": \"Oslo\"}."},
    {qwen3, HERMES(WEATHER) "\n" HERMES("{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2.5e3, null]}}"),
     "@weather {\"city\": \"Oslo\"}.@add {\"a\": 1, \"b\": [2.5e3, null]}."},
    {qwen3, HERMES("{\"arguments\": {\"city\": \"Oslo\"}, \"name\": \"weather\"}"), "@weather {\"city\": \"Oslo\"}."},
    {qwen3, HERMES("{\"name\": \"weather\", \"arguments\": \"{\\\"city\\\": \\\"\\u00e5\\\"}\"}"),
     "@weather {\"city\": \"\xc3\xa5\"}."},
    {qwen3, "<tool_call>" WEATHER, "@weather {\"city\": \"Oslo\"}."}, /* the turn's end was the call's */
    {qwen3, HERMES("{\"name\": \"add\"}"), "@add {}."},
    {qwen3, "a <tool_call>no call</tool_call> b", "C:a <tool_call>no call</tool_call> b"},
    {qwen3, HERMES("{\"name\": \"add\", \"arguments\": 7}"),
     "C:<tool_call>\n{\"name\": \"add\", \"arguments\": 7}\n</tool_call>"},
    {qwen3, HERMES("{\"name\": \"add\", \"arguments\": {\"a\": 01}}"),
     "@add {\"a\": 0!C:<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 01}}\n</tool_call>"},
    {qwen3, "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": ",
     "@add {\"a\": !C:<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": "},
    {coder,
     "<tool_call>\n<function=weather>\n<parameter=city>\nNew\n\"York\"\n</parameter>\n<parameter=days>\n3\n</"
     "parameter>\n"
     "</function>\n</tool_call>",
     "@weather {\"city\": \"New\\n\\\"York\\\"\", \"days\": 3}."},
    {coder,
     "<tool_call>\n<function=weather>\n<parameter=days>\nTrue\n</parameter>\n<parameter=x>a <b> "
     "</parameter>\n</function>\n</tool_call>",
     "@weather {\"days\": true, \"x\": \"a <b> \"}."},
    {coder, "<tool_call>\n<function=add>\n</function>\n</tool_call>ok", "@add {}.C:ok"},
    {coder, "<tool_call>\n<function=add>\nnonsense", "@add!C:<tool_call>\n<function=add>\nnonsense"},
    {seed,
     "<seed:think>hm</seed:think>\n<seed:tool_call>\n<function=weather>\n<parameter=city>007</parameter>\n</function>\n"
     "</seed:tool_call>",
     "R:hm@weather {\"city\": \"007\"}."},
    {glm,
     "\n<think></think>\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</"
     "arg_key>\n"
     "<arg_value>2</arg_value>\n</tool_call>\n<tool_call>add</tool_call>",
     "@weather {\"city\": \"Oslo\", \"days\": 2}.@add {}."},
    {llama3, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo\"}}", "@weather {\"city\": \"Oslo\"}."},
    {llama3,
     "<|python_tag|>{\"name\": \"add\", \"parameters\": {}}; {\"type\": \"function\", \"name\": \"weather\", "
     "\"parameters\": {\"days\": 1}}",
     "@add {}.@weather {\"days\": 1}."},
    {llama4, "<|python_start|>{\"name\": \"add\", \"parameters\": {}}<|python_end|>", "@add {}."},
    {llama4, "{\"name\": \"add\", \"parameters\": {\"a\": 1}}", "@add {\"a\": 1}."},
    {llama3, "{\"answer\": 42} is it", "C:{\"answer\": 42} is it"},
    {llama3, "{\"name\": \"Bob\", \"parameters\": {}}", "C:{\"name\": \"Bob\", \"parameters\": {}}"},
    {mistral,
     "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}, \"id\": \"abcdefghi\"}, "
     "{\"name\": \"add\", \"arguments\": {}}]",
     "@weather {\"city\": \"Oslo\"}.@add {}."},
    {mistral, "[THINK]hm[/THINK]So:[TOOL_CALLS]weather[ARGS]{\"city\": \"Oslo\"}[TOOL_CALLS]add[CALL_ID]x1[ARGS]{}",
     "R:hmC:So:@weather {\"city\": \"Oslo\"}.@add {}."},
    {mistral, "[TOOL_CALLS][]", "C:[TOOL_CALLS][]"},
    {command,
     "<|START_THINKING|>I look.<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
     "\"weather\", "
     "\"parameters\": {\"city\": \"Oslo\"}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"add\", \"parameters\": "
     "{}}\n]"
     "<|END_ACTION|>",
     "R:I look.@weather {\"city\": \"Oslo\"}.@add {}."},
    {kimi,
     "Fine.<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"city\": "
     "\"Oslo\"}"
     "<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
     "<|tool_calls_section_end|>",
     "C:Fine.@weather {\"city\": \"Oslo\"}.@add {}."},
    {r1, "<think>a</think>b" SECTION(R1("weather", "{\"city\": \"Oslo\"}") "\n" R1("add", "{}")),
     "R:aC:b@weather {\"city\": \"Oslo\"}.@add {}."},
    {v3, SECTION(V3("weather", "{\"city\": \"Oslo\"}") V3("add", "{}")), "@weather {\"city\": \"Oslo\"}.@add {}."},
    {v3, "x" SECTION(""), "C:x" SECTION("")},
    {dsml,
     "\n\n<" DSML "tool_calls>\n<" DSML "invoke name=\"weather\">\n<" DSML
     "parameter name=\"city\" string=\"true\">12</" DSML "parameter>\n<" DSML
     "parameter name=\"days\" string=\"false\">3</" DSML "parameter>\n</" DSML "invoke>\n</" DSML "tool_calls>",
     "@weather {\"city\": \"12\", \"days\": 3}."},
    {harmony,
     "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.weather "
     "<|constrain|>json<|message|>{\"city\": \"Oslo\"}<|call|>",
     "R:Hm.@weather {\"city\": \"Oslo\"}."},
    {harmony, " to=functions.add<|channel|>commentary json<|message|>{}", "@add {}."},
    {harmony, "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>Hello\n",
     "C:I look.Hello\n"},
    {harmony, "to be or not", "C:to be or not"},
    {harmony, "<|channel|>commentary to=functions.add<|message|>nothing<|call|>",
     "@add!C:<|channel|>commentary to=functions.add<|message|>nothing"},
    {hunyuan,
     "<think:opensource>hm</"
     "think:opensource>\n<tool_calls:opensource>\n<tool_call:opensource>weather<tool_sep:opensource>\n"
     "<arg_key:opensource>city</arg_key:opensource>\n<arg_value:opensource>Oslo</arg_value:opensource>\n"
     "</tool_call:opensource>\n<tool_call:opensource>add<tool_sep:opensource>\n</tool_call:opensource>\n"
     "</tool_calls:opensource>",
     "R:hm@weather {\"city\": \"Oslo\"}.@add {}."},
    {minimax,
     "<think>x</think>\n<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">New York</parameter>\n"
     "<parameter name=\"days\">3</parameter>\n</invoke>\n<invoke name=\"add\">\n</invoke>\n</minimax:tool_call>",
     "R:x@weather {\"city\": \"New York\", \"days\": 3}.@add {}."},
    {apertus,
     "<|inner_prefix|>hm<|inner_suffix|>Fine.<|tools_prefix|>[{\"weather\": {\"city\": \"Oslo\"}}, {\"add\": {}}]"
     "<|tools_suffix|>",
     "R:hmC:Fine.@weather {\"city\": \"Oslo\"}.@add {}."},
    {apertus, "<|tools_prefix|>[{\"weather\": {\"city\": 1}, \"x\": {}}]",
     "@weather {\"city\": 1}!C:<|tools_prefix|>[{\"weather\": {\"city\": 1}, \"x\": {}}]"},
    {gemma,
     "<|channel>thought\nhm<channel|>I look.<|tool_call>call:weather{city:<|\"|>Oslo \"x\" "
     "{<|\"|>,days:3,more:{<|\"|>k<|\"|>:[1.5,"
     "true,null]}}<tool_call|><|tool_call>call:add{}<tool_call|>",
     "R:hmC:I look.@weather {\"city\": \"Oslo \\\"x\\\" {\", \"days\": 3, \"more\": {\"k\": [1.5, true, null]}}.@add "
     "{}."},
    {gemma, "<|tool_call>call:weather{city:}<tool_call|>", "C:<|tool_call>call:weather{city:}<tool_call|>"},
    {gemma, "<|tool_call>call:weather{city:<|\"|>Os", "C:<|tool_call>call:weather{city:<|\"|>Os"},
    {lfm2,
     "<|tool_call_start|>[weather(city=\"Oslo (N)\", days=3), add(a=-1.5, b=[True, None, {'k': 'it\\'s \\u00e5\\n'}], "
     "c=(1, 2))]"
     "<|tool_call_end|>Done.",
     "@weather {\"city\": \"Oslo (N)\", \"days\": 3}.@add {\"a\": -1.5, \"b\": [true, null, {\"k\": \"it's "
     "\xc3\xa5\\n\"}], "
     "\"c\": [1, 2]}.C:Done."},
    {lfm2, "<|tool_call_start|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]<|tool_call_end|>", "@add {\"a\": 1}."},
    {lfm2, "<|tool_call_start|>[add()]<|tool_call_end|>", "@add {}."},
    {lfm2, "<|tool_call_start|>[add(\"x\")]<|tool_call_end|>", "C:<|tool_call_start|>[add(\"x\")]<|tool_call_end|>"},
    {lfm2, "<|tool_call_start|>[add(a=", "C:<|tool_call_start|>[add(a="},
    {llama4, "<|python_start|>[weather(city='Oslo')]<|python_end|>", "@weather {\"city\": \"Oslo\"}."},
    {phi4, "functools[{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}]", "@weather {\"city\": \"Oslo\"}."},
    {phi4, "import functools\n", "C:import functools\n"},
    {nemotron, "<think>\nx\n</think>\n<TOOLCALL>[" WEATHER "]</TOOLCALL>", "R:x@weather {\"city\": \"Oslo\"}."},
    {functionary, "<function=weather>{\"city\": \"Oslo\"}</function>", "@weather {\"city\": \"Oslo\"}."},
    {solar, "<|tool_calls|><|tool_call:begin|>a1b2c3d4e5<|tool_call:name|>weather<|tool_call:args|>{}<|tool_call:end|>",
     "@weather {}."},
};

static void every_dialect(void **state)
{
    (void)state;
    json_t *given = json_loads(tools, 0, NULL);
    const struct reply_options options = {.tools = given, .seed = 1};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) same_however_cut(&samples[i], &options);
    json_decref(given);
}

static void without_tools_calls_are_text(void **state)
{
    (void)state;
    const struct reply_options options = {.seed = 1};
    same_however_cut(&(struct sample){qwen3, "<think>a</think> " HERMES(WEATHER), "R:aC:" HERMES(WEATHER)}, &options);
    same_however_cut(&(struct sample){llama3, WEATHER, "C:" WEATHER}, &options);
}

static void a_prompt_opens_the_reasoning(void **state)
{
    (void)state;
    struct reply_dialect dialect;
    reply_dialect_of(qwen3, strlen(qwen3), &dialect);
    assert_true(reply_opens_reasoning(&dialect, "x<think>\n", 9));
    assert_false(reply_opens_reasoning(&dialect, "<think>\n\n</think>\n\n", 19));
    assert_false(reply_opens_reasoning(&dialect, "", 0));
    const struct reply_options options = {.reasoning_opened = true};
    same_however_cut(&(struct sample){qwen3, "\nfirst\n</think>\n\nthen", "R:firstC:then"}, &options);
}

static void one_call_only(void **state)
{
    (void)state;
    json_t *given = json_loads(tools, 0, NULL);
    const struct reply_options options = {.tools = given, .one_call = true};
    same_however_cut(&(struct sample){qwen3, HERMES(WEATHER) HERMES("{\"name\": \"add\", \"arguments\": {}}"),
                                      "@weather {\"city\": \"Oslo\"}."},
                     &options);
    json_decref(given);
}

/* Ids are the model's where it gives them before the arguments, else nine letters where Mistral's template wants that. */
static void ids(void **state)
{
    (void)state;
    json_t *given = json_loads(tools, 0, NULL);
    const struct reply_options options = {.tools = given, .seed = 5};
    struct heard heard = {.ids = true};
    hear(kimi, &options,
         "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:3<|tool_call_argument_begin|>{}<|tool_call_end|>"
         "<|tool_calls_section_end|>",
         WHOLE, &heard);
    assert_string_equal(heard.text, "@add[functions.add:3] {}.");
    hear(mistral, &options, "[TOOL_CALLS]add[CALL_ID]abc123def[ARGS]{}", WHOLE, &heard);
    assert_string_equal(heard.text, "@add[abc123def] {}.");
    hear(mistral, &options, "[TOOL_CALLS]add[ARGS]{}", WHOLE, &heard);
    assert_int_equal(strlen(heard.text), strlen("@add[123456789] {}."));
    hear(qwen3, &options, HERMES(WEATHER) HERMES(WEATHER), WHOLE, &heard);
    const char *first = strstr(heard.text, "[call_"), *second = first ? strstr(first + 1, "[call_") : NULL;
    assert_true(first && second && strncmp(first, second, 30) != 0);
    json_decref(given);
}

/* Arguments go out while they are written: more than one piece, and before the call is whole. */
static void arguments_stream(void **state)
{
    (void)state;
    json_t *given = json_loads(tools, 0, NULL);
    const struct reply_options options = {.tools = given};
    struct heard heard = {0};
    hear(qwen3, &options, HERMES(WEATHER), BYTES, &heard);
    assert_int_equal(heard.n_arguments, strlen("{\"city\": \"Oslo\"}"));
    hear(coder, &options, "<tool_call><function=weather><parameter=city>Reykjavik</parameter></function></tool_call>",
         BYTES, &heard);
    assert_true(heard.n_arguments > 9);
    json_decref(given);
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *template, *name;
    } cases[] = {{plain, "none"},
                 {qwen3, "hermes"},
                 {coder, "qwen3-coder"},
                 {seed, "seed"},
                 {glm, "glm"},
                 {llama3, "llama3"},
                 {llama4, "llama4"},
                 {mistral, "mistral"},
                 {command, "command-r"},
                 {kimi, "kimi"},
                 {r1, "deepseek-r1"},
                 {v3, "deepseek-v3.1"},
                 {dsml, "dsml"},
                 {harmony, "harmony"},
                 {solar, "solar"},
                 {nemotron, "nemotron"},
                 {functionary, "functionary"},
                 {hunyuan, "hunyuan"},
                 {minimax, "minimax"},
                 {apertus, "apertus"},
                 {gemma, "gemma4"},
                 {lfm2, "lfm2"},
                 {phi4, "phi4"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply_dialect dialect;
        const char *markers[REPLY_MAX_MARKERS];
        reply_dialect_of(cases[i].template, strlen(cases[i].template), &dialect);
        assert_string_equal(reply_dialect_name(&dialect), cases[i].name);
        const unsigned n = reply_markers(&dialect, true, markers);
        assert_true(n <= REPLY_MAX_MARKERS && (n > 0) == (i > 0));
        assert_true(reply_markers(&dialect, false, markers) <= n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dialect),
        cmocka_unit_test(without_tools_calls_are_text),
        cmocka_unit_test(a_prompt_opens_the_reasoning),
        cmocka_unit_test(one_call_only),
        cmocka_unit_test(ids),
        cmocka_unit_test(arguments_stream),
        cmocka_unit_test(names),
    };
    const unsigned seed_of_cuts = (unsigned)time(NULL);
    printf("seed %u\n", seed_of_cuts);
    srand(seed_of_cuts);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
