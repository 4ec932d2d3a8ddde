/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: tokenizer_lines VOCABULARY (a GGUF file or a tokenizer.json)
 * A line "FLAGS HEX" of standard input (enum tokenize_flags as a digit, the text) becomes a line of ids, a tab, the bytes that they
 * stand for, a tab, and the text that they stream, both in hexadecimal; or "ERR " and why.
 * usage: tokenizer_lines VOCABULARY --time FILE...
 * A JSON object for each text: its megabytes in a second of processor time, tokenized and back, the best of some runs.
 */
#include "tests/text/open_vocabulary.h"

#include <stdio.h>
#include <time.h>

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static size_t from_hex(char *text)
{
    size_t n = 0;
    for (const char *at = text; at[0] && at[1]; at += 2) text[n++] = (char)(digit(at[0]) * 16 + digit(at[1]));
    return n;
}

static void print_hex(const struct text *text)
{
    putchar('\t');
    for (size_t i = 0; i < text->length; i++) printf("%02x", (unsigned char)text->bytes[i]);
}

static int stream(const struct tokenizer *tokenizer, const struct token_list *list, struct text *out, struct error *err)
{
    struct detokenizer state;
    int status = 0;
    detokenizer_start(&state, tokenizer, true);
    for (size_t i = 0; status == 0 && i < list->count; i++) status = detokenize_next(&state, list->ids[i], out, err);
    return status < 0 ? status : detokenize_end(&state, out, err);
}

static void answer(const struct tokenizer *tokenizer, char *line)
{
    struct error err;
    struct token_list list = {0};
    struct text back = {0}, streamed = {0};
    size_t n = from_hex(line + 2);
    int status = tokenize(tokenizer, line + 2, n, (unsigned)(line[0] - '0'), &list, &err);
    if (status == 0) status = detokenize_bytes(tokenizer, list.ids, list.count, &back, &err);
    if (status == 0) status = stream(tokenizer, &list, &streamed, &err);
    for (size_t i = 0; status == 0 && i < list.count; i++) printf("%s%u", i ? " " : "", list.ids[i]);
    if (status == 0) {
        print_hex(&back);
        print_hex(&streamed);
        putchar('\n');
    } else {
        printf("ERR %s\n", err.text);
    }
    token_list_free(&list);
    text_free(&back);
    text_free(&streamed);
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int read_file(const char *path, struct text *out, struct error *err)
{
    char block[65536];
    size_t n;
    FILE *file = fopen(path, "rb");
    if (file == NULL) return error_set(err, ERROR_IO, "cannot open %s", path);
    int status = 0;
    while (status == 0 && (n = fread(block, 1, sizeof block, file)) > 0) status = text_append(out, block, n, err);
    (void)fclose(file);
    return status;
}

static int time_file(const struct tokenizer *tokenizer, const char *path, struct error *err)
{
    struct text text = {0}, back = {0};
    struct token_list list = {0};
    double best = 1e9, best_back = 1e9;
    int status = read_file(path, &text, err);
    for (int run = 0; status == 0 && run < 3; run++) {
        list.count = back.length = 0;
        double start = seconds();
        status = tokenize(tokenizer, text.bytes, text.length, 0, &list, err);
        double middle = seconds();
        if (status == 0) status = detokenize_bytes(tokenizer, list.ids, list.count, &back, err);
        if (middle - start < best) best = middle - start;
        if (seconds() - middle < best_back) best_back = seconds() - middle;
    }
    if (status == 0)
        printf("{\"name\":\"tokenize\",\"text\":\"%s\",\"style\":\"%s\",\"bytes\":%zu,\"tokens\":%zu,\"mb_per_s\":%.2f,"
               "\"detokenize_mb_per_s\":%.2f}\n",
               path, tokenizer_style(tokenizer), text.length, list.count, (double)text.length / best / 1e6,
               (double)text.length / best_back / 1e6);
    text_free(&text);
    text_free(&back);
    token_list_free(&list);
    return status;
}

int main(int argc, char **argv)
{
    struct open_vocabulary opened;
    struct error err;
    if (argc < 2) return 2;
    int status = open_vocabulary(argv[1], &opened, &err);
    bool times = argc > 2 && strcmp(argv[2], "--time") == 0;
    for (int i = 3; status == 0 && times && i < argc; i++) status = time_file(opened.tokenizer, argv[i], &err);
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    while (status == 0 && !times && (n = getline(&line, &room, stdin)) > 2) {
        line[n - (line[n - 1] == '\n')] = '\0';
        answer(opened.tokenizer, line);
    }
    free(line);
    if (status < 0) printf("ERR %s\n", err.text);
    open_vocabulary_close(&opened);
    return status < 0;
}
