/* SPDX-License-Identifier: Apache-2.0 */
/* Which token begins and which end a sequence, whether they are added to a prompt, and chat templates. */
#include "host/model/hf/tokenizer_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_ENDS 64u

/* The id of the token with this text, or -1: added tokens first, as they are the special ones. */
static json_int_t id_of(const struct hf_tokenizer_files *files, const char *text)
{
    const json_t *added = json_object_get(files->tokenizer, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *entry = json_array_get(added, i);
        const char *content = json_string_value(json_object_get(entry, "content"));
        if (content != NULL && strcmp(content, text) == 0) return json_integer_value(json_object_get(entry, "id"));
    }
    const json_t *id = json_object_get(json_object_get(json_object_get(files->tokenizer, "model"), "vocab"), text);
    return json_is_integer(id) ? json_integer_value(id) : -1;
}

/* "bos_token" of a file, which is a text or an object with it; NULL if there is none. */
static const char *text_of(const json_t *file, const char *key)
{
    const json_t *value = json_object_get(file, key);
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/* Texts in tokenizer_config.json or special_tokens_map.json come before ids in the configurations. */
static json_int_t find_special(const struct hf_tokenizer_files *files, const char *text_key, const char *id_key)
{
    const char *text = text_of(files->settings, text_key);
    if (text == NULL) text = text_of(files->special, text_key);
    json_int_t id = text != NULL ? id_of(files, text) : -1;
    const json_t *const sources[] = {files->generation, files->config};
    for (size_t i = 0; i < 2 && id < 0; i++) {
        const json_t *value = json_object_get(sources[i], id_key);
        if (json_is_array(value)) value = json_array_get(value, 0);
        if (json_is_integer(value)) id = json_integer_value(value);
    }
    return id;
}

static bool put_id(struct header_writer *out, const char *key, json_int_t id, uint32_t n_vocab)
{
    if (id < 0 || id >= (json_int_t)n_vocab) return false;
    header_put_u32(out, key, (uint32_t)id);
    return true;
}

/* Every id that generation_config.json and config.json call an end. */
static void put_ends(const struct hf_tokenizer_files *files, uint32_t n_vocab, struct header_writer *out)
{
    const json_t *const sources[] = {files->generation, files->config};
    uint32_t ends[MAX_ENDS], n = 0;
    for (size_t s = 0; s < 2; s++) {
        const json_t *value = json_object_get(sources[s], "eos_token_id");
        size_t count = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; i < count; i++) {
            const json_t *one = json_is_array(value) ? json_array_get(value, i) : value;
            bool known = !json_is_integer(one) || json_integer_value(one) < 0 || json_integer_value(one) >= n_vocab;
            for (uint32_t k = 0; k < n && !known; k++) known = ends[k] == (uint32_t)json_integer_value(one);
            if (!known && n < MAX_ENDS) ends[n++] = (uint32_t)json_integer_value(one);
        }
    }
    if (n == 0) return;
    header_put_array(out, "tokenizer.ggml.eos_token_ids", GGUF_TYPE_U32, n);
    for (uint32_t i = 0; i < n; i++) header_element_u32(out, ends[i]);
}

/* The post-processor's template for one text, first or last step: whether it is a special token. */
static bool template_adds(const json_t *processor, bool at_end)
{
    const json_t *list = json_object_get(processor, "processors");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (template_adds(json_array_get(list, i), at_end)) return true;
    const json_t *single = json_object_get(processor, "single");
    size_t n = json_array_size(single);
    return n > 0 && json_object_get(json_array_get(single, at_end ? n - 1 : 0), "SpecialToken") != NULL;
}

static void put_adds(const struct hf_tokenizer_files *files, const char *setting, bool at_end, bool has_token,
                     struct header_writer *out)
{
    const json_t *said = json_object_get(files->settings, setting);
    char key[64];
    bool adds = json_is_boolean(said) ? json_is_true(said)
                                      : template_adds(json_object_get(files->tokenizer, "post_processor"), at_end);
    (void)snprintf(key, sizeof key, "tokenizer.ggml.%s", setting);
    header_put_bool(out, key, adds && has_token);
}

/* A template of its own file, else of tokenizer_config.json, where there may be several by name. */
static void put_templates(const struct hf_tokenizer_files *files, struct header_writer *out)
{
    const json_t *value = json_object_get(files->settings, "chat_template");
    if (files->template != NULL)
        header_put_string(out, "tokenizer.chat_template", files->template, strlen(files->template));
    else if (json_is_string(value))
        header_put_string(out, "tokenizer.chat_template", json_string_value(value), json_string_length(value));
    bool has_default = files->template != NULL, has_tools = false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *text = json_object_get(json_array_get(value, i), "template");
        const char *name = json_string_value(json_object_get(json_array_get(value, i), "name"));
        if (name == NULL || !json_is_string(text)) continue;
        if (strcmp(name, "default") == 0 && !has_default)
            header_put_string(out, "tokenizer.chat_template", json_string_value(text), json_string_length(text));
        if (strcmp(name, "tool_use") == 0 && !has_tools)
            header_put_string(out, "tokenizer.chat_template.tool_use", json_string_value(text),
                              json_string_length(text));
        has_default = has_default || strcmp(name, "default") == 0;
        has_tools = has_tools || strcmp(name, "tool_use") == 0;
    }
}

int hf_special_put(const struct hf_tokenizer_files *files, uint32_t n_vocab, struct header_writer *out,
                   struct error *err)
{
    (void)err;
    bool has_bos =
        put_id(out, "tokenizer.ggml.bos_token_id", find_special(files, "bos_token", "bos_token_id"), n_vocab);
    bool has_eos =
        put_id(out, "tokenizer.ggml.eos_token_id", find_special(files, "eos_token", "eos_token_id"), n_vocab);
    put_id(out, "tokenizer.ggml.padding_token_id", find_special(files, "pad_token", "pad_token_id"), n_vocab);
    put_ends(files, n_vocab, out);
    put_adds(files, "add_bos_token", false, has_bos, out);
    put_adds(files, "add_eos_token", true, has_eos, out);
    put_templates(files, out);
    return 0;
}
