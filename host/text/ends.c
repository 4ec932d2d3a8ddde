/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tokens end a sequence. Files name one or two of them; chat models have more (a Llama-3 answer ends with
 * <|eot_id|>, a call of a tool with <|eom_id|>, raw text with <|end_of_text|>), so known names count as well.
 */
#include "host/text/vocabulary.h"

#include <inttypes.h>
#include <string.h>

/*
 * The names that llama.cpp ends a generation at (src/llama-vocab.cpp, "special_eog_ids"), of published model families.
 */
static const char *const end_names[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<eos>",
    "<end_of_utterance>",
    "<|fim_pad|>",
    "<fim_pad>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
    NULL,
};

/* Markers that open a turn. Like the ends they are never text, even where a file calls them user-defined. */
static const char *const opening_names[] = {
    "<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>", NULL,
};

static uint32_t find_special(const struct vocabulary *vocabulary, const char *name)
{
    uint32_t id = vocabulary_find(vocabulary, name, strlen(name));
    if (id == TOKEN_NONE) return TOKEN_NONE;
    uint8_t type = vocabulary->tokens[id].type;
    return type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED ? id : TOKEN_NONE;
}

/*
 * In the Harmony format (gpt-oss) and its relatives <|end|> closes a message within an answer; the answer's end is
 * <|return|> or <|call|>. The presence of those tells the formats apart.
 */
static bool end_is_inner(const struct vocabulary *vocabulary)
{
    bool call =
        find_special(vocabulary, "<|call|>") != TOKEN_NONE || find_special(vocabulary, "<|calls|>") != TOKEN_NONE;
    return call && (find_special(vocabulary, "<|return|>") != TOKEN_NONE ||
                    find_special(vocabulary, "<|flush|>") != TOKEN_NONE);
}

/* Marks the ids of an array key; an absent key is no error. */
static int mark_list(struct vocabulary *vocabulary, const struct gguf *file, const char *key, struct error *err)
{
    const struct gguf_value *value = gguf_find(file, key);
    if (!value) return 0;
    if (value->type != GGUF_TYPE_ARRAY) return error_set(err, ERROR_BAD_FILE, "%s is not a list", key);
    for (uint64_t i = 0; i < value->count; i++) {
        int64_t id;
        if (!gguf_array_i64(value, i, &id)) return error_set(err, ERROR_BAD_FILE, "%s is not a list of integers", key);
        if (id < 0 || id >= vocabulary->n_tokens)
            return error_set(err, ERROR_BAD_FILE,
                             "%s has the id %" PRId64 ", but the vocabulary has %" PRIu32 " tokens", key, id,
                             vocabulary->n_tokens);
        vocabulary->tokens[id].is_end = true;
    }
    return 0;
}

int vocabulary_mark_ends(struct vocabulary *vocabulary, const struct gguf *file, struct error *err)
{
    for (size_t i = 0; end_names[i]; i++) {
        uint32_t id = find_special(vocabulary, end_names[i]);
        if (id == TOKEN_NONE) continue;
        if (strcmp(end_names[i], "<|end|>") == 0 && end_is_inner(vocabulary)) continue;
        vocabulary->tokens[id].is_end = true;
        vocabulary->tokens[id].type = TOKEN_CONTROL;
    }
    for (size_t i = 0; opening_names[i]; i++) {
        uint32_t id = find_special(vocabulary, opening_names[i]);
        if (id != TOKEN_NONE) vocabulary->tokens[id].type = TOKEN_CONTROL;
    }

    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint32_t id;
        int status = vocabulary_read_id(vocabulary, file, keys[i], &id, err);
        if (status) return status;
        if (id != TOKEN_NONE) vocabulary->tokens[id].is_end = true;
    }
    return mark_list(vocabulary, file, "tokenizer.ggml.eos_token_ids", err);
}
