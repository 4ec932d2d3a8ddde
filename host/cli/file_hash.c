/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/file_hash.h"

#include <sodium.h>

_Static_assert(FILE_HASH_HEX == 2 * crypto_hash_sha256_BYTES + 1, "two digits a byte, and the end");

void file_hash(const struct gguf *file, char hex[FILE_HASH_HEX])
{
    crypto_hash_sha256_state state; /* needs no sodium_init: nothing random in it */
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    for (unsigned i = 0; i < gguf_n_parts(file); i++) {
        size_t n_bytes;
        const uint8_t *bytes = gguf_part_bytes(file, i, &n_bytes);
        crypto_hash_sha256_update(&state, bytes, n_bytes);
    }
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(hex, FILE_HASH_HEX, digest, sizeof digest);
}
