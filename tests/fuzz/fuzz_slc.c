/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a packed file. Version, ABI, layout, length and every hash are made right first, or nothing behind them would
 * ever be reached: what remains is refused with a name of SLC_ERRORS (or of the GGUF header inside), or opens as a file
 * whose tensors can all be read and verified, and then as a model that is refused with a message or loads and runs.
 * tests/unit/model/slc_corpus_test.c replays the corpus.
 */
#include "kernels/abi/card_program.h"
#include "tests/unit/model/slc_seal.h"

#define LLVMFuzzerTestOneInput fuzz_model
#include "tests/fuzz/fuzz_model.c"
#undef LLVMFuzzerTestOneInput

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void make_right(uint8_t *bytes, size_t size)
{
    if (size < SLC_PAGE) return;
    memcpy(bytes, SLC_MAGIC, sizeof SLC_MAGIC - 1);
    store_u32(bytes + SLC_AT_VERSION, SLC_VERSION);
    store_u32(bytes + SLC_AT_ABI, CARD_ABI_VERSION);
    store_u64(bytes + SLC_AT_LAYOUT, slc_layout_fingerprint());
    store_u64(bytes + SLC_AT_BYTES, size);
    slc_seal(bytes, size, SEAL_ALL);
}

static void walk(const struct slc *slc)
{
    const struct gguf *file = slc_file(slc);
    for (size_t i = 0; i < slc_n_tensors(slc); i++) {
        const struct slc_tensor *tensor = slc_tensor_at(slc, i);
        struct error err = {0};
        int status = slc_verify(slc, tensor, &err);
        REQUIRE(status == 0 || slc_error_of(&err) == SLC_DAMAGED_TENSOR);
        const struct gguf_tensor *source = gguf_find_tensor(file, tensor->name);
        REQUIRE(source != NULL && slc_find(slc, source->name, tensor->format != 0) == tensor);
        REQUIRE(tensor->format != 0 || source->data == tensor->data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    size_t size = n_bytes / SLC_PAGE * SLC_PAGE;
    if (size == 0) return fuzz_model(bytes, n_bytes);
    uint8_t *copy = malloc(size);
    struct slc *slc;
    struct error err = {0};
    if (copy == NULL) return 0;
    memcpy(copy, bytes, size);
    make_right(copy, size);
    int status = slc_open_memory(copy, size, "fuzz.slc", &slc, &err);
    if (status == 0) {
        walk(slc);
        slc_close(slc);
        (void)fuzz_model(copy, size);
    } else {
        REQUIRE(slc == NULL && err.code == status && err.text[0] != '\0');
        REQUIRE(status == ERROR_NO_MEMORY || slc_error_of(&err) != SLC_NO_ERROR ||
                gguf_error_of(&err) != GGUF_NO_ERROR);
    }
    free(copy);
    return 0;
}
