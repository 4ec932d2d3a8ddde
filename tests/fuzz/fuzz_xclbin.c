/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an xclbin: refused by a named error, or told as JSON, its manifest read, and what is written of it reads as the
 * same. The bytes behind the container's header are tried as XML, as a device tree and as a manifest too.
 * tests/unit/bitstreams/xclbin_corpus_test.c replays the corpus.
 */
#include "bitstreams/device_tree.h"
#include "bitstreams/manifest.h"
#include "bitstreams/xclbin_sections.h"
#include "bitstreams/xclbin_text.h"
#include "bitstreams/xml_tree.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

static void tell(const struct xclbin *xclbin)
{
    struct error err = {0};
    struct manifest manifest;
    json_t *json;
    int status = xclbin_json(xclbin, &json, &err);
    REQUIRE(status == 0 ? json != NULL : json == NULL && err.code == status && err.text[0]);
    REQUIRE(status != ERROR_BAD_FILE || err.detail == XCLBIN_FAULT_CONTENT);
    char *text = json ? json_dumps(json, 0) : NULL;
    REQUIRE(!json || text);
    free(text);
    json_decref(json);
    if (manifest_inside(xclbin, "fuzz.xclbin", &manifest, &err) < 0) return;
    (void)manifest_check_abi(&manifest, &err);
    (void)manifest_check_content(&manifest, xclbin, (const uint8_t *)"", 0, &err);
    manifest_free(&manifest);
}

static void write_again(const struct xclbin *xclbin)
{
    uint8_t *bytes;
    size_t n_bytes;
    struct xclbin again;
    struct error err = {0};
    if (xclbin->header.signature_length != -1) return;
    REQUIRE(xclbin_write(xclbin, &bytes, &n_bytes, &err) == 0);
    REQUIRE(xclbin_read(bytes, n_bytes, "again", &again, &err) == 0);
    REQUIRE(again.n_sections == xclbin->n_sections);
    REQUIRE(memcmp(again.header.uuid, xclbin->header.uuid, 16) == 0);
    for (size_t i = 0; i < again.n_sections; i++) {
        REQUIRE(again.section[i].kind == xclbin->section[i].kind &&
                again.section[i].n_bytes == xclbin->section[i].n_bytes);
        REQUIRE(memcmp(again.section[i].bytes, xclbin->section[i].bytes, again.section[i].n_bytes) == 0);
    }
    xclbin_free(&again);
    free(bytes);
}

static void try_texts(const uint8_t *bytes, size_t n_bytes)
{
    struct error err = {0};
    struct manifest manifest;
    json_t *json;
    if (xml_parse((const char *)bytes, n_bytes, &json, &err) == 0) json_decref(json);
    if (device_tree_parse(bytes, n_bytes, &json, &err) == 0) json_decref(json);
    if (manifest_parse((const char *)bytes, n_bytes, "fuzz.json", &manifest, &err) == 0) manifest_free(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct xclbin xclbin;
    struct error err = {0};
    int status = xclbin_read(bytes, n_bytes, "fuzz.xclbin", &xclbin, &err);
    if (status < 0) {
        REQUIRE(!xclbin.section && err.code == status && strncmp(err.text, "fuzz.xclbin: ", 13) == 0);
        REQUIRE(status == ERROR_NO_MEMORY || err.detail != XCLBIN_FAULT_NONE);
        try_texts(bytes, n_bytes);
        return 0;
    }
    tell(&xclbin);
    write_again(&xclbin);
    xclbin_free(&xclbin);
    return 0;
}
