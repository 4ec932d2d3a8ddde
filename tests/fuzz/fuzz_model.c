/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a whole model: refused with a message, or opened, loaded to a simulated card and run for one step of two tokens,
 * whatever the hyperparameters, vocabulary and weights are. Seeds are tiny models of every family (make_corpus.py).
 */
#include "host/base/memory.h"
#include "host/model/model.h"
#include "host/text/tokenizer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

enum { N_TOKENS = 2 };

static void run_tokenizer(const struct gguf *file)
{
    struct tokenizer *tokenizer;
    struct error err = {0};
    if (tokenizer_open(file, &tokenizer, &err) < 0) {
        REQUIRE(err.text[0] != '\0');
        return;
    }
    static const char text[] = "ab ba <|end|>\n";
    struct token_list list = {0};
    struct text back = {0};
    if (tokenize(tokenizer, text, sizeof text - 1, TOKENIZE_PROMPT, &list, &err) == 0) {
        for (size_t i = 0; i < list.count; i++) REQUIRE(list.ids[i] < tokenizer_n_tokens(tokenizer));
        REQUIRE(detokenize_bytes(tokenizer, list.ids, list.count, &back, &err) == 0);
    }
    text_free(&back);
    token_list_free(&list);
    tokenizer_close(tokenizer);
}

static void run_step(struct loaded_model *loaded, uint32_t n_vocab, size_t salt)
{
    static const unsigned formats[] = {CARD_FORMAT_F16, CARD_FORMAT_INT8, CARD_FORMAT_INT4, CARD_FORMAT_F32};
    const struct step_limits limits = {.max_tokens = N_TOKENS,
                                       .max_logit_rows = 1,
                                       .n_pages = 1,
                                       .max_pages_in_tables = 1,
                                       .kv_format = formats[salt % 4]};
    struct step_memory *memory;
    struct error err = {0};
    if (step_memory_open(loaded, &limits, &memory, &err) < 0) {
        REQUIRE(err.text[0] != '\0');
        return;
    }
    const uint32_t tokens[N_TOKENS] = {0, n_vocab - 1}, page = 0, row = N_TOKENS - 1;
    const struct card_batch_token batch[N_TOKENS] = {{.position = 0, .visible = 1}, {.position = 1, .visible = 2}};
    const struct step step = {.n_tokens = N_TOKENS,
                              .tokens = tokens,
                              .batch = batch,
                              .n_pages = 1,
                              .pages = &page,
                              .n_logit_rows = 1,
                              .logit_rows = &row};
    float *logits = memory_array(n_vocab, sizeof *logits);
    if (logits && model_step(loaded, memory, &step, logits, &err) < 0) REQUIRE(err.text[0] != '\0');
    free(logits);
    step_memory_close(memory);
}

/* salt chooses KV format and banks, the same way for the same input. */
static void run_model(const struct model *model, size_t salt)
{
    const struct card_options options = {
        .threads = 1, .memory_bytes = 64u << 20, .banks = 1 + (unsigned)(salt / 4 % 3)};
    struct card *card;
    struct loaded_model *loaded;
    struct error err = {0};
    REQUIRE(card_open("sim", &options, &card, &err) == 0);
    if (model_load(model, card, &(struct model_load_options){.threads = 1}, &loaded, &err) == 0) {
        run_step(loaded, model_get_config(model)->n_vocab, salt);
        loaded_model_close(loaded);
    } else {
        REQUIRE(err.text[0] != '\0');
    }
    card_close(card);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct model *model;
    struct error err = {0};
    int status = model_open_memory(bytes, n_bytes, "fuzz.gguf", &model, &err);
    if (status < 0) {
        REQUIRE(err.code == status && err.text[0] != '\0');
        return 0;
    }
    run_tokenizer(model_file(model));
    run_model(model, n_bytes);
    model_close(model);
    return 0;
}
