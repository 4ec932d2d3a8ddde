/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a tokenizer.json: refused with a message, or it tokenizes and its tokens stream as UTF-8. */
#include "host/text/utf8.h"
#include "tests/text/open_vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right) abort();
}

static void try_text(const struct tokenizer *tokenizer, const char *text, size_t length)
{
    struct token_list list = {0};
    struct text streamed = {0};
    struct detokenizer state;
    struct error err = {0};
    int status = tokenize(tokenizer, text, length, TOKENIZE_PROMPT, &list, &err);
    check(status == 0 || err.text[0] != '\0');
    detokenizer_start(&state, tokenizer, true);
    for (size_t i = 0; i < list.count; i++) {
        check(detokenize_next(&state, list.ids[i], &streamed, &err) == 0);
        check(utf8_valid_prefix((const uint8_t *)streamed.bytes, streamed.length) == streamed.length);
    }
    check(detokenize_end(&state, &streamed, &err) == 0);
    text_free(&streamed);
    token_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "Hello, <s>w\xc3\xb6rld\xe2\x80\x8d  123 \xff\n\n<unk> caf\x65\xcc\x81 \xe4\xb8\xad\xe6\x96\x87";
    struct open_vocabulary opened = {0};
    struct error err = {0};
    json_t *root = NULL;
    int status = json_guard_parse((const char *)data, size, 64, "tokenizer.json", &root, &err);
    if (status == 0) status = open_json(root, &opened, &err);
    check(status == 0 || err.text[0] != '\0');
    if (status == 0) try_text(opened.tokenizer, text, sizeof text - 1);
    open_vocabulary_close(&opened);
    json_decref(root);
    return 0;
}
