/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/eval_input.h"

#include "host/base/memory.h"
#include "host/cli/vocabulary_input.h"
#include "host/text/chat.h"

#include <jansson.h>
#include <string.h>

void eval_input_free(struct eval_input *input)
{
    token_list_free(&input->tokens);
    free(input->passages);
    *input = (struct eval_input){0};
}

static int add_passage(struct eval_input *input, size_t first, uint32_t scored, struct error *err)
{
    if (input->n_passages == input->capacity) {
        size_t capacity = input->capacity ? 2 * input->capacity : 64;
        struct eval_passage *grown = memory_grow(input->passages, capacity, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "no host memory for %zu passages", capacity);
        input->passages = grown;
        input->capacity = capacity;
    }
    const uint32_t n = (uint32_t)(input->tokens.count - first);
    input->passages[input->n_passages++] = (struct eval_passage){.first = first, .n = n, .scored = scored};
    return 0;
}

/* The windows of a tokenized text. */
static int cut_windows(const struct token_list *text, int64_t bos, uint32_t window, struct eval_input *input,
                       struct error *err)
{
    int status = 0;
    for (size_t at = 0; at < text->count && status == 0;) {
        const size_t first = input->tokens.count;
        if (bos >= 0) status = token_list_push(&input->tokens, (uint32_t)bos, err);
        while (status == 0 && at < text->count && input->tokens.count - first < window)
            status = token_list_push(&input->tokens, text->ids[at++], err);
        if (status == 0 && input->tokens.count - first > 1) status = add_passage(input, first, 1, err);
    }
    return status;
}

int eval_input_text(const struct tokenizer *tokenizer, const char *path, uint32_t window, struct eval_input *input,
                    struct error *err)
{
    struct text text = {0};
    struct token_list list = {0};
    const int64_t bos = tokenizer_adds_bos(tokenizer) ? tokenizer_bos(tokenizer) : -1;
    int status = read_all(path, &text, err);
    if (status == 0) status = tokenize(tokenizer, text.bytes, text.length, TOKENIZE_PARSE_SPECIAL, &list, err);
    if (status == 0) status = cut_windows(&list, bos, window, input, err);
    if (status == 0 && input->n_passages == 0)
        status = error_set(err, ERROR_BAD_ARGUMENT, "%s: %zu tokens leave nothing to predict (give a longer text)",
                           path ? path : "standard input", list.count);
    token_list_free(&list);
    text_free(&text);
    return status;
}

/* One line's question, answer and end of turn. */
static int add_question(const struct tokenizer *tokenizer, enum chat_format format, const char *question,
                        const char *answer, uint32_t window, struct eval_input *input, struct error *err)
{
    const size_t first = input->tokens.count;
    const int64_t end = tokenizer_find(tokenizer, format == CHAT_CHATML ? "<|im_end|>" : "<|eot_id|>");
    const struct chat_message message = {.role = "user", .content = question, .content_length = strlen(question)};
    int status = chat_tokenize(tokenizer, format, &message, 1, &input->tokens, err);
    const size_t scored = input->tokens.count - first;
    if (status == 0) status = tokenize(tokenizer, answer, strlen(answer), 0, &input->tokens, err);
    if (status == 0 && end >= 0) status = token_list_push(&input->tokens, (uint32_t)end, err);
    if (status < 0) return status;
    if (input->tokens.count - first > window)
        return error_set(err, ERROR_TOO_LARGE, "%zu tokens, the window is %u", input->tokens.count - first, window);
    return add_passage(input, first, (uint32_t)scored, err);
}

static int add_line(const struct tokenizer *tokenizer, enum chat_format format, const char *line, size_t length,
                    uint32_t window, struct eval_input *input, struct error *err)
{
    json_error_t why;
    const char *question = NULL, *answer = NULL;
    json_t *json = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
    int status;
    if (!json)
        status = error_set(err, ERROR_BAD_FILE, "%s", why.text);
    else if (json_unpack(json, "{s:s, s:s}", "question", &question, "answer", &answer) < 0)
        status = error_set(err, ERROR_BAD_FILE, "no object with the strings \"question\" and \"answer\"");
    else
        status = add_question(tokenizer, format, question, answer, window, input, err);
    json_decref(json);
    return status;
}

int eval_input_questions(const struct tokenizer *tokenizer, const char *path, uint32_t window, struct eval_input *input,
                         struct error *err)
{
    enum chat_format format;
    struct text text = {0};
    int status = chat_format_of(tokenizer, &format, err);
    if (status == 0) status = read_all(path, &text, err);
    size_t number = 0;
    for (size_t at = 0; status == 0 && at < text.length;) {
        const char *line = text.bytes + at, *end = memchr(line, '\n', text.length - at);
        const size_t length = end ? (size_t)(end - line) : text.length - at;
        number++;
        if (length > 0) status = add_line(tokenizer, format, line, length, window, input, err);
        if (status < 0) error_prefix(err, "%s: line %zu", path, number);
        at += length + 1;
    }
    if (status == 0 && input->n_passages == 0) status = error_set(err, ERROR_BAD_FILE, "%s: no questions in it", path);
    text_free(&text);
    return status;
}
