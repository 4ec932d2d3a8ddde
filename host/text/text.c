/* SPDX-License-Identifier: Apache-2.0 */
/* The two growing arrays of this folder: bytes of text and token ids. */
#include "host/base/memory.h"
#include "host/text/tokenizer.h"

#include <string.h>

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

int text_reserve(struct text *text, size_t length, struct error *err)
{
    if (length >= SIZE_MAX / 2 - text->length) return error_set(err, ERROR_TOO_LARGE, "text: too long for memory");
    size_t need = text->length + length + 1;
    if (need <= text->capacity) return 0;
    size_t capacity = need < 64 ? 64 : need + need / 2;
    char *grown = memory_grow(text->bytes, capacity, 1);
    if (!grown) return error_set(err, ERROR_NO_MEMORY, "text: out of memory for %zu bytes", capacity);
    text->bytes = grown;
    text->capacity = capacity;
    text->bytes[text->length] = '\0';
    return 0;
}

int text_append(struct text *text, const char *bytes, size_t length, struct error *err)
{
    int status = text_reserve(text, length, err);
    if (status) return status;
    if (length) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    return 0;
}

void token_list_free(struct token_list *list)
{
    free(list->ids);
    *list = (struct token_list){0};
}

int token_list_push(struct token_list *list, uint32_t id, struct error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity + list->capacity / 2 : 32;
        uint32_t *grown = memory_grow(list->ids, capacity, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "tokens: out of memory for %zu ids", capacity);
        list->ids = grown;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return 0;
}
