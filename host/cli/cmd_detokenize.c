/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/commands.h"
#include "host/cli/vocabulary_input.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char separators[] = " \t\r\n,";

static int bad_ids(struct error *err, const char *what)
{
    return error_set(err, ERROR_BAD_ARGUMENT, "ids: %s (write 1,2,3 or {\"ids\":[1,2,3]})", what);
}

/* Numbers between white space and commas. text is terminated; a NUL inside it is no number. */
static int parse_list(const struct text *text, struct token_list *list, struct error *err)
{
    const char *at = text->bytes, *end = text->bytes + text->length;
    for (;;) {
        while (at < end && *at && strchr(separators, *at)) at++;
        if (at == end) return 0;
        if (*at < '0' || *at > '9') return bad_ids(err, "not a number");
        char *after;
        errno = 0;
        unsigned long long id = strtoull(at, &after, 10);
        if (errno || id > UINT32_MAX) return bad_ids(err, "a number too large for a token id");
        int status = token_list_push(list, (uint32_t)id, err);
        if (status) return status;
        at = after;
        if (at < end && !(*at && strchr(separators, *at))) return bad_ids(err, "not a number");
    }
}

static int parse_json(const struct text *text, struct token_list *list, struct error *err)
{
    json_error_t where;
    json_t *root = json_loadb(text->bytes, text->length, JSON_REJECT_DUPLICATES, &where);
    if (!root) return bad_ids(err, where.text);
    json_t *ids = json_is_object(root) ? json_object_get(root, "ids") : root;
    int status = json_is_array(ids) ? 0 : bad_ids(err, "JSON without a list of ids");
    for (size_t i = 0; !status && i < json_array_size(ids); i++) {
        json_t *id = json_array_get(ids, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value > UINT32_MAX)
            status = bad_ids(err, "an entry is not a token id");
        else
            status = token_list_push(list, (uint32_t)value, err);
    }
    json_decref(root);
    return status;
}

static int parse_ids(const struct text *text, struct token_list *list, struct error *err)
{
    const char *first = text->bytes + strspn(text->bytes, separators);
    return *first == '{' || *first == '[' ? parse_json(text, list, err) : parse_list(text, list, err);
}

/* {"text": ...}; JSON is Unicode, so bytes that are not come as U+FFFD. */
static int print_json(const struct tokenizer *tokenizer, const struct token_list *list, struct error *err)
{
    struct text text = {0};
    struct detokenizer state;
    detokenizer_start(&state, tokenizer, true);
    int status = text_append(&text, "", 0, err);
    for (size_t i = 0; !status && i < list->count; i++) status = detokenize_next(&state, list->ids[i], &text, err);
    if (!status) status = detokenize_end(&state, &text, err);
    if (!status) {
        json_t *root = json_pack("{s:s%}", "text", text.bytes, text.length);
        if (!root || json_dumpf(root, stdout, JSON_COMPACT))
            status = error_set(err, ERROR_IO, "cannot write the output");
        putchar('\n');
        json_decref(root);
    }
    text_free(&text);
    return status;
}

static int print_bytes(const struct tokenizer *tokenizer, const struct token_list *list, struct error *err)
{
    struct text text = {0};
    int status = detokenize_bytes(tokenizer, list->ids, list->count, &text, err);
    if (!status) fwrite(text.bytes, 1, text.length, stdout);
    text_free(&text);
    return status;
}

/* The ids of an argument, or of standard input if it is NULL. */
static int read_ids(const char *argument, struct token_list *list, struct error *err)
{
    struct text text = {0};
    int status = argument ? text_append(&text, argument, strlen(argument), err) : read_all(NULL, &text, err);
    if (!status) status = parse_ids(&text, list, err);
    text_free(&text);
    return status;
}

/* list: the ids, or NULL to read them from standard input. */
static int detokenize_ids(const char *model, const struct token_list *list, bool json, struct error *err)
{
    struct vocabulary_input input;
    struct token_list read = {0};
    int status = vocabulary_input_open(model, &input, err);
    if (status) return status;
    if (!list) status = read_ids(NULL, &read, err);
    if (!list) list = &read;
    if (!status) status = json ? print_json(input.tokenizer, list, err) : print_bytes(input.tokenizer, list, err);
    if (!status) status = finish_output(err);
    token_list_free(&read);
    vocabulary_input_close(&input);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    const char *ids = NULL;
    bool json = false;
    const struct option table[] = {
        {"ids", 0, OPTION_TEXT, &ids, "LIST", "token ids, as 1,2,3", 0, 0},
        {"json", 0, OPTION_FLAG, &json, NULL, "print {\"text\":...}, with U+FFFD for bytes that are no text", 0, 0},
        {0},
    };
    const char *model = NULL;
    int n_operands;
    int status = options_parse(self, table, argc, argv, &model, 1, &n_operands);
    if (status >= 0) return status;

    struct error err = {0};
    struct token_list list = {0};
    if (ids && read_ids(ids, &list, &err))
        status = usage_error(self, "--%s", err.text);
    else
        status =
            detokenize_ids(model, ids ? &list : NULL, json, &err) ? failure("detokenize: %s", err.text) : EXIT_DONE;
    token_list_free(&list);
    return status;
}

const struct command command_detokenize = {
    .name = "detokenize",
    .synopsis = "[MODEL] [--ids LIST] [--json]",
    .summary = "Turns token ids back into the exact bytes of the text.",
    .details = "The ids are --ids, or else come from standard input: numbers between spaces or commas, or what "
               "tokenize --json printed.\n"
               "Names of special tokens are shown. Without MODEL the demo model's vocabulary is used.",
    .run = run,
};
