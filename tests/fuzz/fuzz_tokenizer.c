/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, tokenized: with a byte-level vocabulary they come back exactly, with every kind the streamed text is
 * valid UTF-8. The first byte of the input chooses vocabulary and flags, the second of them with bit 7 a tokenizer.json.
 */
#include "host/text/utf8.h"
#include "tests/text/open_vocabulary.h"
#include "tests/unit/text/small_vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right) abort();
}

#define MARK "\xe2\x96\x81"

/* One of each kind of model, with the steps that change most. */
static const char *const jsons[] = {
    "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"fuse_unk\":true,\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"" MARK
    "\":3,\"ab\":4,"
    "\"" MARK "a\":5,\"<x>\":6},\"merges\":[\"a b\",\"" MARK
    " a\"]},\"normalizer\":{\"type\":\"NFKD\"},\"pre_tokenizer\":{\"type\":"
    "\"Metaspace\",\"replacement\":\"" MARK
    "\",\"prepend_scheme\":\"first\"},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK
    "\"},\"added_tokens\":[{\"content\":\"<x>\",\"id\":6,\"lstrip\":true,\"rstrip\":true,\"single_word\":true}]}",
    "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-1],[\"b\",-2],[\"ab\",-2.5],[\"" MARK
    "\",-3]]},\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"},{\"type\":\"NFKC\"},{\"type\":"
    "\"Strip\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
    "\"Metaspace\","
    "\"replacement\":\"" MARK "\"}]},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\"}}",
    "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"##a\":2,\"##b\":3,\".\":4}},"
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{"
    "\"type\":"
    "\"WordPiece\",\"prefix\":\"##\"}}",
    "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"?\":0,\"a\":1,\"a</"
    "w>\":2,"
    "\"b</w>\":3,\"ab</w>\":4},\"merges\":[\"a "
    "b</w>\"]},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
    "\"Whitespace\"},{\"type\":\"Digits\"},{\"type\":\"Punctuation\",\"behavior\":\"MergedWithNext\"}]},\"decoder\":{"
    "\"type\":"
    "\"BPEDecoder\",\"suffix\":\"</w>\"}}",
};
#define N_JSONS (sizeof jsons / sizeof jsons[0])

static const struct tokenizer *open_one(unsigned which)
{
    static struct open_vocabulary opened[N_JSONS];
    struct error err;
    if (opened[which].tokenizer) return opened[which].tokenizer;
    json_t *root;
    check(json_guard_parse(jsons[which], strlen(jsons[which]), 64, "tokenizer.json", &root, &err) == 0);
    check(open_json(root, &opened[which], &err) == 0);
    json_decref(root);
    return opened[which].tokenizer;
}

static void stream(const struct tokenizer *tokenizer, const struct token_list *list, bool show)
{
    struct detokenizer state;
    struct text streamed = {0};
    struct error err;
    detokenizer_start(&state, tokenizer, show);
    for (size_t i = 0; i < list->count; i++) {
        check(detokenize_next(&state, list->ids[i], &streamed, &err) == 0);
        check(utf8_valid_prefix((const uint8_t *)streamed.bytes, streamed.length) == streamed.length);
    }
    check(detokenize_end(&state, &streamed, &err) == 0);
    text_free(&streamed);
}

static int run_json(const uint8_t *data, size_t size)
{
    const struct tokenizer *tokenizer = open_one((data[0] >> 4) % N_JSONS);
    struct token_list list = {0};
    struct text back = {0};
    struct error err;
    check(tokenize(tokenizer, (const char *)data + 1, size - 1, (data[0] >> 1) & TOKENIZE_PROMPT, &list, &err) == 0);
    check(detokenize_bytes(tokenizer, list.ids, list.count, &back, &err) == 0);
    stream(tokenizer, &list, data[0] >> 3 & 1);
    token_list_free(&list);
    text_free(&back);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && data[0] & 0x80) return run_json(data, size);
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
    struct text back = {0};
    check(tokenize(o->tokenizer, text, length, (data[0] >> 1) & TOKENIZE_PROMPT, &list, &err) == 0);
    size_t added = (data[0] >> 1) & TOKENIZE_ADD_SPECIAL ? 1 : 0; /* BOS: both vocabularies add it */
    check(list.count >= added);
    const uint32_t *ids = added ? list.ids + added : list.ids;
    check(detokenize_bytes(o->tokenizer, ids, list.count - added, &back, &err) == 0);
    if (!is_spm) check(back.length == length && memcmp(back.bytes, text, length) == 0);

    stream(o->tokenizer, &list, data[0] >> 3 & 1);
    text_free(&back);
    token_list_free(&list);
    return 0;
}
