/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/commands.h"
#include "host/cli/print_text.h"
#include "host/cli/vocabulary_input.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_json(const struct token_list *list)
{
    fputs("{\"ids\":[", stdout);
    for (size_t i = 0; i < list->count; i++) printf("%s%" PRIu32, i ? "," : "", list->ids[i]);
    puts("]}");
}

static int print_lines(const struct tokenizer *tokenizer, const struct token_list *list, struct error *err)
{
    struct text text = {0};
    int status = 0;
    for (size_t i = 0; !status && i < list->count; i++) {
        text.length = 0;
        status = tokenizer_token_bytes(tokenizer, list->ids[i], &text, err);
        if (status) break;
        printf("%8" PRIu32 "  \"", list->ids[i]);
        print_text(text.bytes, text.length, SIZE_MAX, "\"\\");
        puts("\"");
    }
    text_free(&text);
    return status;
}

struct tokenize_options {
    const char *text_file;
    bool json, raw, parse_special;
};

static int tokenize_text(const struct tokenize_options *options, const char *model, const char *operand,
                         struct error *err)
{
    struct vocabulary_input input;
    struct text text = {0};
    struct token_list list = {0};
    int status = vocabulary_input_open(model, &input, err);
    if (status) return status;
    status = operand ? text_append(&text, operand, strlen(operand), err) : read_all(options->text_file, &text, err);
    if (status) goto done;

    unsigned flags = options->raw ? (options->parse_special ? TOKENIZE_PARSE_SPECIAL : 0) : TOKENIZE_PROMPT;
    status = tokenize(input.tokenizer, text.bytes, text.length, flags, &list, err);
    if (status) goto done;
    if (options->json)
        print_json(&list);
    else
        status = print_lines(input.tokenizer, &list, err);
    if (!status) status = finish_output(err);
done:
    token_list_free(&list);
    text_free(&text);
    vocabulary_input_close(&input);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct tokenize_options options = {0};
    const struct option table[] = {
        {"text-file", 0, OPTION_TEXT, &options.text_file, "FILE", "read the text from FILE", 0, 0},
        {"json", 0, OPTION_FLAG, &options.json, NULL, "print {\"ids\":[...]}", 0, 0},
        {"raw", 0, OPTION_FLAG, &options.raw, NULL, "add nothing; names of special tokens are plain text", 0, 0},
        {"parse-special", 0, OPTION_FLAG, &options.parse_special, NULL,
         "with --raw: names of special tokens are those tokens", 0, 0},
        {0},
    };
    const char *operands[2] = {NULL, NULL};
    int n_operands;
    int status = options_parse(self, table, argc, argv, operands, 2, &n_operands);
    if (status >= 0) return status;
    if (operands[1] && options.text_file) return usage_error(self, "give TEXT or --text-file, not both");

    struct error err = {0};
    if (tokenize_text(&options, operands[0], operands[1], &err)) return failure("tokenize: %s", err.text);
    return EXIT_DONE;
}

const struct command command_tokenize = {
    .name = "tokenize",
    .synopsis = "[MODEL [TEXT]] [--text-file F] [--json] [--raw [--parse-special]]",
    .summary = "Turns text into token ids.",
    .details = "The text is TEXT, or the file's, or else standard input. It is tokenized as a prompt: the model's "
               "first token is\n"
               "added and names of special tokens are those tokens. Without MODEL the demo model's vocabulary is used.",
    .run = run,
};
