/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a safetensors file: refused with a message that names the file, or every tensor lies inside it and can be read. */
#include "host/model/hf/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void walk(const struct safetensors *file, const uint8_t *bytes, size_t n_bytes)
{
    const uint8_t *end = bytes + n_bytes, *at = NULL;
    for (size_t i = 0; i < safetensors_n_tensors(file); i++) {
        const struct safetensors_tensor *tensor = safetensors_tensor_at(file, i);
        uint64_t n = 1;
        REQUIRE(tensor->name.length > 0 && strlen(tensor->name.bytes) == tensor->name.length);
        REQUIRE(tensor->data >= bytes && tensor->data <= end && tensor->n_bytes <= (uint64_t)(end - tensor->data));
        REQUIRE(at == NULL || tensor->data >= at); /* in the order of the file, and apart */
        for (unsigned d = 0; d < SAFETENSORS_MAX_DIMENSIONS; d++) n *= tensor->dimension[d];
        REQUIRE(n == tensor->n_elements && n * safetensors_type_bytes(tensor->type) == tensor->n_bytes);
        unsigned sum = 0;
        for (uint64_t k = 0; k < tensor->n_bytes; k++) sum += tensor->data[k];
        REQUIRE(sum != UINT32_MAX);
        at = tensor->data + tensor->n_bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct safetensors *file;
    struct error err = {0};
    int status = safetensors_open_memory(bytes, n_bytes, "fuzz.safetensors", &file, &err);
    if (status == 0) {
        walk(file, bytes, n_bytes);
        safetensors_close(file);
    } else {
        REQUIRE(file == NULL && err.code == status && strstr(err.text, "fuzz.safetensors") != NULL);
    }
    return 0;
}
