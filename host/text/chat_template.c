/* SPDX-License-Identifier: Apache-2.0 */
#include "host/text/chat_template.h"

#include <string.h>

int chat_template_open(const struct gguf *file, bool tools, struct jinja_template **out, struct error *err)
{
    static const char *const keys[] = {"tokenizer.chat_template.tool_use", "tokenizer.chat_template"};
    struct gguf_string source;
    *out = NULL;
    for (size_t i = tools ? 0 : 1; i < 2; i++) {
        int found = gguf_get_string(file, keys[i], &source, err);
        if (found < 0) return found;
        if (found == 0) continue;
        int status = jinja_template_open(source.bytes, source.length, out, err);
        return status ? error_prefix(err, "%s", keys[i]) : 0;
    }
    return error_set(err, ERROR_NOT_FOUND, "the file has no chat template (tokenizer.chat_template)");
}

static bool token_text(const struct gguf *file, uint32_t id, struct gguf_string *out)
{
    const struct gguf_value *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    struct gguf_cursor cursor = {0};
    if (!tokens) return false;
    for (uint32_t i = 0; gguf_next_string(tokens, &cursor, out); i++) {
        if (i == id) return true;
    }
    return false;
}

int chat_template_defaults(const struct gguf *file, json_t *variables, struct error *err)
{
    static const struct {
        const char *variable, *key;
    } names[] = {
        {"bos_token", "tokenizer.ggml.bos_token_id"},
        {"eos_token", "tokenizer.ggml.eos_token_id"},
        {"unk_token", "tokenizer.ggml.unknown_token_id"},
        {"pad_token", "tokenizer.ggml.padding_token_id"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint32_t id;
        struct gguf_string text;
        if (json_object_get(variables, names[i].variable)) continue;
        int found = gguf_get_u32(file, names[i].key, &id, err);
        if (found < 0) return found;
        if (found == 0 || !token_text(file, id, &text)) continue;
        json_t *value = json_stringn(text.bytes, text.length); /* NULL for a token that is no UTF-8 */
        if (value && json_object_set_new(variables, names[i].variable, value) < 0)
            return error_set(err, ERROR_NO_MEMORY, "no host memory for a template's variables");
    }
    return 0;
}
