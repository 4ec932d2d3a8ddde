/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the grammars of JSON schemas admit, for json_schema_suite.py: reads lines of {"schema": ..., "texts": [...]} and writes for
 * each {"error": message} or {"accepted": [...]}, by the bytes of the texts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "host/text/grammar/grammar.h"

static json_t *answer(const struct grammar_vocabulary *vocabulary, const json_t *line)
{
    struct error err = {0};
    struct grammar *grammar = NULL;
    char *schema = json_dumps(json_object_get(line, "schema"), JSON_ENCODE_ANY);
    json_t *accepted = json_array();
    const json_t *text;
    size_t i;
    int status = grammar_open(vocabulary, GRAMMAR_JSON_SCHEMA, schema, strlen(schema), &grammar, &err);
    json_array_foreach(json_object_get(line, "texts"), i, text)
    {
        if (status >= 0) status = grammar_matches(grammar, json_string_value(text), json_string_length(text), &err);
        if (status >= 0) json_array_append_new(accepted, json_boolean(status));
    }
    grammar_release(grammar);
    free(schema);
    if (status >= 0) return json_pack("{s:o}", "accepted", accepted);
    json_decref(accepted);
    json_t *said = json_pack("{s:s}", "error", err.text);
    return said ? said : json_pack("{s:s}", "error", "its message is not UTF-8");
}

int main(void)
{
    static char bytes[256];
    struct gguf_string texts[257];
    struct grammar_vocabulary *vocabulary;
    struct error err = {0};
    char *line = NULL;
    size_t room = 0;
    for (unsigned i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        texts[i] = (struct gguf_string){&bytes[i], 1};
    }
    texts[256] = (struct gguf_string){"", 0};
    if (grammar_vocabulary_make(texts, 257, 256, &vocabulary, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    while (getline(&line, &room, stdin) > 0) {
        json_t *question = json_loads(line, 0, NULL);
        json_t *said = question
                           ? answer(vocabulary, question)
                           : json_pack("{s:s}", "error", "no JSON that the server reads ('\\u0000', large numbers)");
        json_dumpf(said, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(question);
        json_decref(said);
    }
    free(line);
    grammar_vocabulary_close(vocabulary);
    return 0;
}
