/* SPDX-License-Identifier: Apache-2.0 */
#include "bitstreams/signature.h"
#include "host/base/map_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PUBLIC_WORD "sluice-ed25519-public"
#define SECRET_WORD "sluice-ed25519-secret"
#define HASH_HEX (2 * 32 + 1)
#define STATEMENT_BYTES 320

static int start_sodium(struct error *err)
{
    return sodium_init() < 0 ? error_set(err, ERROR_INTERNAL, "libsodium does not start (is there /dev/urandom?)") : 0;
}

/* The text that is signed; its length. */
static size_t statement(const struct signed_content *content, char text[STATEMENT_BYTES])
{
    char hash[HASH_HEX], manifest[HASH_HEX] = "-";
    sodium_bin2hex(hash, sizeof hash, content->sha256, sizeof content->sha256);
    if (content->has_manifest)
        sodium_bin2hex(manifest, sizeof manifest, content->manifest_sha256, sizeof content->manifest_sha256);
    return (size_t)snprintf(text, STATEMENT_BYTES,
                            "sluice bitstream signature 1\nbytes %" PRIu64 "\nsha256 %s\nmanifest %s\n",
                            content->n_bytes, hash, manifest);
}

/* Writes a new file of one line, on the disk when it returns. */
static int write_key(const char *path, mode_t mode, const char *word, const uint8_t *key, size_t n, struct error *err)
{
    char hex[2 * crypto_sign_SECRETKEYBYTES + 1], line[sizeof hex + 32], reason[128];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0 && errno == EEXIST)
        return error_set(err, ERROR_BAD_ARGUMENT, "%s exists (choose another name, a key is never overwritten)", path);
    if (fd < 0) return error_set(err, ERROR_IO, "cannot write %s: %s", path, strerror_r(errno, reason, sizeof reason));
    sodium_bin2hex(hex, sizeof hex, key, n);
    int length = snprintf(line, sizeof line, "%s %s\n", word, hex);
    bool lost = write(fd, line, (size_t)length) != length || fsync(fd) < 0;
    int why = errno;
    sodium_memzero(hex, sizeof hex);
    sodium_memzero(line, sizeof line);
    close(fd);
    if (!lost) return 0;
    unlink(path);
    return error_set(err, ERROR_IO, "cannot write %s: %s", path, strerror_r(why, reason, sizeof reason));
}

int signature_make_keys(const char *stem, struct error *err)
{
    char *public_path = NULL, *secret_path = NULL;
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
    int status = start_sodium(err);
    if (status < 0) return status;
    if (asprintf(&public_path, "%s.pub", stem) < 0) public_path = NULL;
    if (asprintf(&secret_path, "%s.key", stem) < 0) secret_path = NULL;
    if (!public_path || !secret_path) {
        status = error_set(err, ERROR_NO_MEMORY, "out of memory for a file name");
        goto done;
    }
    crypto_sign_keypair(public_key, secret_key);
    status = write_key(secret_path, 0600, SECRET_WORD, secret_key, sizeof secret_key, err);
    if (status < 0) goto done;
    status = write_key(public_path, 0644, PUBLIC_WORD, public_key, sizeof public_key, err);
    if (status < 0) unlink(secret_path);
done:
    sodium_memzero(secret_key, sizeof secret_key);
    free(public_path);
    free(secret_path);
    return status;
}

/* "word HEX" and white space: the key of n bytes. */
static int parse_key(const struct map_file *map, const char *path, const char *word, uint8_t *key, size_t n,
                     struct error *err)
{
    const char *text = (const char *)map->bytes, *end;
    size_t word_length = strlen(word), found = 0;
    bool good = map->size <= SIGNATURE_MAX_BYTES && map->size > word_length + 1 + 2 * n &&
                memcmp(text, word, word_length) == 0 && text[word_length] == ' ' &&
                sodium_hex2bin(key, n, text + word_length + 1, 2 * n, NULL, &found, &end) == 0 && found == n &&
                text[word_length + 1 + 2 * n] == '\n';
    if (good) return 0;
    return error_set(err, ERROR_BAD_FILE, "%s: is no key file: it must hold \"%s\" and %zu hexadecimal digits", path,
                     word, 2 * n);
}

static int read_key(const char *path, const char *word, uint8_t *key, size_t n, struct error *err)
{
    struct map_file map;
    int status = map_file_open(path, &map, err);
    if (status < 0) return status;
    status = parse_key(&map, path, word, key, n, err);
    map_file_close(&map);
    return status;
}

int signature_sign(const struct signed_content *content, const char *key_path, char **text, struct error *err)
{
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES], public_key[crypto_sign_PUBLICKEYBYTES],
        signature[crypto_sign_BYTES];
    char message[STATEMENT_BYTES], hash[HASH_HEX], manifest[HASH_HEX], key_hex[HASH_HEX],
        hex[2 * crypto_sign_BYTES + 1];
    *text = NULL;
    int status = start_sodium(err);
    if (status == 0) status = read_key(key_path, SECRET_WORD, secret_key, sizeof secret_key, err);
    if (status < 0) return status;
    crypto_sign_detached(signature, NULL, (const uint8_t *)message, statement(content, message), secret_key);
    crypto_sign_ed25519_sk_to_pk(public_key, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    sodium_bin2hex(hash, sizeof hash, content->sha256, sizeof content->sha256);
    sodium_bin2hex(manifest, sizeof manifest, content->manifest_sha256, sizeof content->manifest_sha256);
    sodium_bin2hex(key_hex, sizeof key_hex, public_key, sizeof public_key);
    sodium_bin2hex(hex, sizeof hex, signature, sizeof signature);
    json_t *json = json_pack("{s:i, s:s, s:I, s:s, s:s?, s:s, s:s}", "schema", 1, "algorithm", "ed25519", "bytes",
                             (json_int_t)content->n_bytes, "sha256", hash, "manifest_sha256",
                             content->has_manifest ? manifest : NULL, "key", key_hex, "signature", hex);
    *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    return *text ? 0 : error_set(err, ERROR_NO_MEMORY, "out of memory for a signature");
}

/* Hexadecimal digits of exactly n bytes. */
static bool hex_member(const json_t *json, const char *name, uint8_t *bytes, size_t n)
{
    const char *text = json_string_value(json_object_get(json, name));
    size_t found;
    return text && strlen(text) == 2 * n && sodium_hex2bin(bytes, n, text, 2 * n, NULL, &found, NULL) == 0 &&
           found == n;
}

/* What a .sig file claims: key and signature. content says why it is for another file. */
static int parse_signature(const struct signed_content *content, const json_t *json, uint8_t key[32],
                           uint8_t signature[crypto_sign_BYTES], struct error *err)
{
    uint8_t hash[32], manifest[32];
    const char *algorithm = json_string_value(json_object_get(json, "algorithm"));
    const json_t *has_manifest = json_object_get(json, "manifest_sha256");
    if (json_integer_value(json_object_get(json, "schema")) != 1 || !algorithm || strcmp(algorithm, "ed25519") != 0)
        return error_set(err, ERROR_BAD_FILE, "the signature is of a kind that this release does not know");
    if (!hex_member(json, "key", key, 32) || !hex_member(json, "signature", signature, crypto_sign_BYTES) ||
        !hex_member(json, "sha256", hash, sizeof hash))
        return error_set(err, ERROR_BAD_FILE,
                         "the signature's \"key\", \"signature\" or \"sha256\" is no hexadecimal number of its size");
    if (memcmp(hash, content->sha256, sizeof hash) != 0)
        return error_set(err, ERROR_BAD_FILE,
                         "the signature is for other content (the file was changed, or signed before it was)");
    bool signs_manifest = json_is_string(has_manifest);
    if (content->has_manifest != signs_manifest)
        return error_set(err, ERROR_BAD_FILE,
                         content->has_manifest
                             ? "the signature does not cover the manifest beside the file (sign it again)"
                             : "the signature covers a manifest that is not there");
    if (signs_manifest && (!hex_member(json, "manifest_sha256", manifest, sizeof manifest) ||
                           memcmp(manifest, content->manifest_sha256, sizeof manifest) != 0))
        return error_set(err, ERROR_BAD_FILE, "the signature is for another manifest (it was changed since)");
    return 0;
}

/* A folder or file that everybody may write to says nothing about trust. */
static int check_owner(const char *path, int fd, struct error *err)
{
    struct stat about;
    if (fstat(fd, &about) < 0) return error_set(err, ERROR_IO, "%s: cannot be looked at", path);
    if (about.st_mode & S_IWOTH)
        return error_set(err, ERROR_IO, "%s: everybody may write to it, so it says nothing about trust (chmod o-w %s)",
                         path, path);
    return 0;
}

/* 1: the file holds this key; 0: another one. */
static int holds_key(const char *folder, const char *name, const uint8_t key[32], struct error *err)
{
    char path[4096];
    uint8_t trusted[crypto_sign_PUBLICKEYBYTES];
    struct map_file map;
    int fd;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) return 0;
    int status = map_file_open_kept(path, &map, &fd, err);
    if (status < 0) return status;
    status = check_owner(path, fd, err);
    if (status == 0) status = parse_key(&map, path, PUBLIC_WORD, trusted, sizeof trusted, err);
    close(fd);
    map_file_close(&map);
    return status < 0 ? status : sodium_memcmp(trusted, key, sizeof trusted) == 0;
}

static int find_key(const char *folder, const uint8_t key[32], char key_name[256], struct error *err)
{
    char reason[128], hex[HASH_HEX];
    DIR *list = opendir(folder);
    if (!list)
        return error_set(err, ERROR_NOT_FOUND,
                         "no trusted keys: %s: %s (put the public key, NAME.pub, there or name another folder)", folder,
                         strerror_r(errno, reason, sizeof reason));
    int found = check_owner(folder, dirfd(list), err);
    for (struct dirent *entry; found == 0 && (entry = readdir(list));) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 4, ".pub") != 0 || entry->d_name[0] == '.') continue;
        found = holds_key(folder, entry->d_name, key, err);
        if (found == 1) snprintf(key_name, 256, "%s", entry->d_name);
    }
    closedir(list);
    if (found != 0) return found < 0 ? found : 0;
    sodium_bin2hex(hex, sizeof hex, key, 32);
    return error_set(err, ERROR_NOT_FOUND,
                     "it is signed with key %.16s..., which is not in %s (put its .pub file there if you trust it)",
                     hex, folder);
}

int signature_verify(const struct signed_content *content, const char *text, size_t n_bytes, const char *folder,
                     char key_name[256], struct error *err)
{
    uint8_t key[crypto_sign_PUBLICKEYBYTES], signature[crypto_sign_BYTES];
    char message[STATEMENT_BYTES];
    json_error_t why;
    key_name[0] = 0;
    int status = start_sodium(err);
    if (status < 0) return status;
    json_t *json = n_bytes <= SIGNATURE_MAX_BYTES ? json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (!json) return error_set(err, ERROR_BAD_FILE, "the signature's file is no JSON");
    status = parse_signature(content, json, key, signature, err);
    json_decref(json);
    if (status == 0) status = find_key(folder, key, key_name, err);
    if (status < 0) return status;
    if (crypto_sign_verify_detached(signature, (const uint8_t *)message, statement(content, message), key) == 0)
        return 0;
    return error_set(err, ERROR_BAD_FILE,
                     "the signature is not by the key that it names, %s (it was forged or damaged)", key_name);
}
