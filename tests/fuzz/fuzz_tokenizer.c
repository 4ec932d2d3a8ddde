/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, tokenized: with a byte-level vocabulary they come back exactly, with either kind the streamed text is
 * valid UTF-8. The first byte of the input chooses vocabulary and flags.
 */
#include "host/text/utf8.h"
#include "tests/unit/text/small_vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct opened opened[2];
    static const struct small_vocabulary vocabularies[2] = {SMALL_LLAMA3, SMALL_SPM};
    struct error err;
    if (size == 0) return 0;
    bool is_spm = data[0] & 1;
    struct opened *o = &opened[is_spm];
    if (!o->tokenizer) check(small_vocabulary_open(&vocabularies[is_spm], o, &err) == 0);

    const char *text = (const char *)data + 1;
    size_t length = size - 1;
    struct token_list list = {0};
    struct text back = {0}, streamed = {0};
    check(tokenize(o->tokenizer, text, length, (data[0] >> 1) & TOKENIZE_PROMPT, &list, &err) == 0);
    size_t added = (data[0] >> 1) & TOKENIZE_ADD_SPECIAL ? 1 : 0; /* BOS: both vocabularies add it */
    check(list.count >= added);
    const uint32_t *ids = added ? list.ids + added : list.ids;
    check(detokenize_bytes(o->tokenizer, ids, list.count - added, &back, &err) == 0);
    if (!is_spm) check(back.length == length && memcmp(back.bytes, text, length) == 0);

    struct detokenizer state;
    detokenizer_start(&state, o->tokenizer, data[0] >> 3 & 1);
    for (size_t i = 0; i < list.count; i++) {
        check(detokenize_next(&state, list.ids[i], &streamed, &err) == 0);
        check(utf8_valid_prefix((const uint8_t *)streamed.bytes, streamed.length) == streamed.length);
    }
    check(detokenize_end(&state, &streamed, &err) == 0);
    text_free(&back);
    text_free(&streamed);
    token_list_free(&list);
    return 0;
}
