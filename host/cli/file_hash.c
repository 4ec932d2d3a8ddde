/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/file_hash.h"

#include "host/model/slc.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)4 << 20)

_Static_assert(FILE_HASH_HEX == 2 * crypto_hash_sha256_BYTES + 1, "two digits a byte, and the end");
_Static_assert(FILE_HASH_BYTES == crypto_hash_sha256_BYTES && SLC_SOURCE_HASH_BYTES == FILE_HASH_BYTES, "one hash");

/* Of a folder: its shards, one after the other. */
static bool part_bytes(const struct gguf *file, const struct gguf_backing *backing, unsigned number,
                       const uint8_t **bytes, size_t *n_bytes)
{
    if (backing) return backing->bytes(backing, number, bytes, n_bytes);
    if (number >= gguf_n_parts(file)) return false;
    *bytes = gguf_part_bytes(file, number, n_bytes);
    return true;
}

/* Takes bytes into a hash; false: it cannot. */
typedef bool take_bytes(void *hash, const uint8_t *bytes, size_t n_bytes);

static bool take_file(const struct gguf *file, take_bytes *take, void *hash)
{
    const struct gguf_backing *backing = gguf_get_backing(file);
    const uint8_t *bytes;
    size_t n_bytes;
    bool taken = true;
    for (unsigned i = 0; taken && part_bytes(file, backing, i, &bytes, &n_bytes); i++) {
        for (size_t at = 0; taken && at < n_bytes; at += CHUNK_BYTES) {
            size_t n = n_bytes - at < CHUNK_BYTES ? n_bytes - at : CHUNK_BYTES;
            taken = take(hash, bytes + at, n);
            gguf_forget(file, bytes + at, n);
        }
    }
    return taken;
}

static bool take_openssl(void *hash, const uint8_t *bytes, size_t n_bytes)
{
    return EVP_DigestUpdate(hash, bytes, n_bytes) == 1;
}

static bool take_sodium(void *hash, const uint8_t *bytes, size_t n_bytes)
{
    return crypto_hash_sha256_update(hash, bytes, n_bytes) == 0;
}

/* With the processor's SHA instructions where it has them, which libsodium never uses: four to five times as fast. */
static bool digest_by_openssl(const struct gguf *file, uint8_t digest[FILE_HASH_BYTES])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool done = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 && take_file(file, take_openssl, hash) &&
                EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return done;
}

/* Where OpenSSL has no memory, or is set up without SHA-256, libsodium always works. */
void file_digest(const struct gguf *file, uint8_t digest[FILE_HASH_BYTES])
{
    if (digest_by_openssl(file, digest)) return;
    crypto_hash_sha256_state hash; /* needs no sodium_init: nothing random in it */
    crypto_hash_sha256_init(&hash);
    take_file(file, take_sodium, &hash);
    crypto_hash_sha256_final(&hash, digest);
}

void digest_hex(const uint8_t digest[FILE_HASH_BYTES], char hex[FILE_HASH_HEX])
{
    sodium_bin2hex(hex, FILE_HASH_HEX, digest, FILE_HASH_BYTES);
}

void file_hash(const struct gguf *file, char hex[FILE_HASH_HEX])
{
    uint8_t digest[FILE_HASH_BYTES];
    file_digest(file, digest);
    digest_hex(digest, hex);
}

void model_hash(const struct model *model, char hex[FILE_HASH_HEX])
{
    if (model_packed(model))
        digest_hex(slc_source_hash(model_packed(model)), hex);
    else
        file_hash(model_file(model), hex);
}

void text_hash(const char *text, char hex[FILE_HASH_HEX])
{
    uint8_t digest[FILE_HASH_BYTES];
    crypto_hash_sha256(digest, (const unsigned char *)text, strlen(text));
    digest_hex(digest, hex);
}
