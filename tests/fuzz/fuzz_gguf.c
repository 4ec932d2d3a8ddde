/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a GGUF file: it is refused by name, or everything in it can be walked, that is every key, array element and
 * tensor, and the first and last block of each tensor can be decoded. tests/unit/model/gguf_corpus_test.c replays the corpus.
 */
#include "host/base/memory.h"
#include "host/model/gguf.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

/* Reading every byte lets the address sanitizer see a range that leaves the input. */
static uint64_t touch(const void *bytes, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((const uint8_t *)bytes)[i];
    return sum;
}

static uint64_t walk_array(const struct gguf_value *array, int depth)
{
    REQUIRE(depth < 16);
    uint64_t sum = 0;
    struct gguf_cursor cursor = {0};
    struct gguf_string text;
    struct gguf_value inner;
    while (gguf_next_string(array, &cursor, &text)) sum += touch(text.bytes, text.length);
    while (gguf_next_array(array, &cursor, &inner)) sum += walk_array(&inner, depth + 1);
    if (cursor.index) REQUIRE(cursor.index == array->count && cursor.offset == array->n_bytes);
    for (uint64_t i = 0; i < array->count && cursor.index == 0; i++) {
        int64_t whole;
        float real;
        if (gguf_array_i64(array, i, &whole)) sum += (uint64_t)whole;
        if (gguf_array_f32(array, i, &real)) sum += touch(&real, sizeof real);
    }
    return sum;
}

static uint64_t walk_keys(const struct gguf *file)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf_n_keys(file); i++) {
        const struct gguf_key *key = gguf_key_at(file, i);
        sum += touch(key->value.bytes, key->value.n_bytes);
        if (key->value.type == GGUF_TYPE_ARRAY) sum += walk_array(&key->value, 0);
        char *name = strndup(key->name.bytes, key->name.length);
        REQUIRE(name && gguf_find(file, name) == &key->value);
        struct error err = {0};
        uint32_t u32;
        uint64_t u64;
        float f32;
        bool flag;
        struct gguf_string text;
        int found = 0;
        if (gguf_get_u32(file, name, &u32, &err) == 1) found++;
        if (gguf_get_u64(file, name, &u64, &err) == 1) found++;
        if (gguf_get_f32(file, name, &f32, &err) == 1) found++;
        if (gguf_get_bool(file, name, &flag, &err) == 1) found++;
        if (gguf_get_string(file, name, &text, &err) == 1) found++;
        REQUIRE(found <= 2);
        free(name);
    }
    return sum;
}

static void decode_block(const struct gguf_tensor *tensor, uint64_t block)
{
    float out[256];
    unsigned elements = gguf_block_elements(tensor->type);
    REQUIRE(elements <= 256);
    gguf_decode(tensor->type, tensor->data + block * gguf_block_bytes(tensor->type), elements, out);
    touch(out, elements * sizeof *out);
}

static uint64_t walk_tensors(const struct gguf *file)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        char *name = strndup(tensor->name.bytes, tensor->name.length);
        REQUIRE(name && gguf_find_tensor(file, name) == tensor);
        free(name);
        sum += touch(tensor->data, (size_t)tensor->n_bytes);
        uint64_t n_blocks = tensor->n_elements / gguf_block_elements(tensor->type);
        REQUIRE(n_blocks >= 1 && n_blocks * gguf_block_bytes(tensor->type) == tensor->n_bytes);
        decode_block(tensor, 0);
        decode_block(tensor, n_blocks - 1);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct gguf *file;
    struct error err = {0};
    int status = gguf_open_memory(bytes, n_bytes, "fuzz.gguf", &file, &err);
    if (status < 0) {
        REQUIRE(!file && err.code == status && strncmp(err.text, "fuzz.gguf: ", 11) == 0);
        REQUIRE(status == ERROR_NO_MEMORY || gguf_error_of(&err) != GGUF_NO_ERROR);
        return 0;
    }
    volatile uint64_t sink = walk_keys(file) + walk_tensors(file);
    (void)sink;
    gguf_close(file);
    return 0;
}
