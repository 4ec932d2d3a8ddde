/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/key_file.h"

#include "host/base/map_file.h"
#include "host/base/memory.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECRET_PREFIX "sluice-"
#define SECRET_RANDOM_BYTES 32

void key_hash(const char *secret, size_t length, uint8_t hash[KEY_HASH_BYTES])
{
    crypto_generichash(hash, KEY_HASH_BYTES, (const unsigned char *)secret, length, NULL, 0);
}

int key_check_name(const char *name, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (name[0] == '\0' || strlen(name) >= KEY_NAME_BYTES || strspn(name, allowed) != strlen(name))
        return error_set(err, ERROR_BAD_ARGUMENT,
                         "\"%.70s\" is no name for a key: 1 to %d letters, digits, '.', '-' or '_'", name,
                         KEY_NAME_BYTES - 1);
    return 0;
}

static const struct key *find(const struct key_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_keys; i++) {
        if (strcmp(file->keys[i].name, name) == 0) return &file->keys[i];
    }
    return NULL;
}

static int append(struct key_file *file, const struct key *key, struct error *err)
{
    struct key *keys = memory_grow(file->keys, file->n_keys + 1, sizeof *keys);
    if (!keys) return error_set(err, ERROR_NO_MEMORY, "no memory for the keys");
    file->keys = keys;
    file->keys[file->n_keys++] = *key;
    return 0;
}

/* ---- reading ---- */

static int read_limit(const json_t *entry, const char *field, uint32_t most, uint32_t *limit, struct error *err)
{
    const json_t *value = json_object_get(entry, field);
    json_int_t number = json_integer_value(value);
    if (!value) return 0;
    if (!json_is_integer(value) || number < 0 || number > most)
        return error_set(err, ERROR_BAD_FILE, "%s: a number from 0 to %u expected", field, most);
    *limit = (uint32_t)number;
    return 0;
}

static int read_hash(const json_t *entry, uint8_t hash[KEY_HASH_BYTES], struct error *err)
{
    const char *hex = json_string_value(json_object_get(entry, "hash"));
    size_t length = 0;
    if (!hex || sodium_hex2bin(hash, KEY_HASH_BYTES, hex, strlen(hex), NULL, &length, NULL) != 0 ||
        length != KEY_HASH_BYTES || strlen(hex) != 2u * KEY_HASH_BYTES)
        return error_set(err, ERROR_BAD_FILE, "hash: %d hexadecimal digits expected", 2 * KEY_HASH_BYTES);
    return 0;
}

static int refuse_unknown(json_t *entry, struct error *err)
{
    static const char *const known[] = {"name", "hash", "created", "max_running", "per_minute", "priority"};
    const char *field;
    json_t *value;
    json_object_foreach(entry, field, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], field) != 0) i++;
        if (i == sizeof known / sizeof *known)
            return error_set(err, ERROR_BAD_FILE, "\"%.60s\" is not a field of a key", field);
    }
    return 0;
}

static int read_key(json_t *entry, const struct key_file *before, struct key *key, struct error *err)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *created = json_string_value(json_object_get(entry, "created"));
    *key = (struct key){.priority = KEY_USUAL_PRIORITY};
    if (!name) return error_set(err, ERROR_BAD_FILE, "an object with a name expected");
    if (key_check_name(name, err) < 0) return err->code = ERROR_BAD_FILE;
    if (find(before, name)) return error_set(err, ERROR_BAD_FILE, "\"%s\" is there twice", name);
    snprintf(key->name, sizeof key->name, "%s", name);
    snprintf(key->created, sizeof key->created, "%s", created ? created : "");
    int status = read_hash(entry, key->hash, err);
    if (status == 0) status = read_limit(entry, "max_running", KEY_MAX_LIMIT, &key->max_running, err);
    if (status == 0) status = read_limit(entry, "per_minute", KEY_MAX_LIMIT, &key->per_minute, err);
    if (status == 0) status = read_limit(entry, "priority", KEY_MAX_PRIORITY, &key->priority, err);
    if (status == 0) status = refuse_unknown(entry, err); /* a limit that is not understood must not be left out */
    return status;
}

static int read_keys(const json_t *root, struct key_file *out, struct error *err)
{
    const json_t *list = json_object_get(root, "keys");
    if (!json_is_array(list)) return error_set(err, ERROR_BAD_FILE, "an object with an array \"keys\" expected");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct key key;
        int status = read_key(json_array_get(list, i), out, &key, err);
        if (status < 0) error_prefix(err, "key %zu", i + 1);
        if (status == 0) status = append(out, &key, err);
        if (status < 0) return status;
    }
    return 0;
}

int key_file_read(const char *path, struct key_file *out, struct error *err)
{
    struct map_file map;
    struct stat info;
    json_error_t why;
    *out = (struct key_file){0};
    int fd, status = map_file_open_kept(path, &map, &fd, err);
    if (status < 0) return status;
    json_t *root = json_loadb((const char *)map.bytes, map.size, JSON_REJECT_DUPLICATES, &why);
    if (fstat(fd, &info) == 0 && (info.st_mode & S_IWOTH)) {
        status = error_set(err, ERROR_UNSUPPORTED, "everybody may write to it (chmod 600 %s)", path);
    } else if (!root) {
        status = error_set(err, ERROR_BAD_FILE, "line %d: %s", why.line, why.text);
    } else {
        status = read_keys(root, out, err);
    }
    json_decref(root);
    close(fd);
    map_file_close(&map);
    if (status < 0) key_file_free(out);
    return status < 0 ? error_prefix(err, "key file %s", path) : 0;
}

void key_file_free(struct key_file *file)
{
    free(file->keys);
    *file = (struct key_file){0};
}

/* ---- writing ---- */

char *key_file_format(const struct key_file *file)
{
    json_t *list = json_array(), *root = json_pack("{so}", "keys", list);
    char *text = NULL;
    int status = root ? 0 : -1;
    for (size_t i = 0; i < file->n_keys && status == 0; i++) {
        const struct key *key = &file->keys[i];
        char hex[2 * KEY_HASH_BYTES + 1];
        sodium_bin2hex(hex, sizeof hex, key->hash, sizeof key->hash);
        status = json_array_append_new(list, json_pack("{ss,ss,ss,si,si,si}", "name", key->name, "hash", hex, "created",
                                                       key->created, "max_running", (int)key->max_running, "per_minute",
                                                       (int)key->per_minute, "priority", (int)key->priority));
    }
    if (status == 0) text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return text;
}

int key_file_add(struct key_file *file, const char *name, uint32_t max_running, uint32_t per_minute, uint32_t priority,
                 char secret[KEY_SECRET_BYTES], struct error *err)
{
    struct key key = {.max_running = max_running, .per_minute = per_minute, .priority = priority};
    unsigned char random[SECRET_RANDOM_BYTES];
    const time_t now = time(NULL);
    struct tm parts;
    int status = key_check_name(name, err);
    if (status < 0) return status;
    if (find(file, name))
        return error_set(err, ERROR_BAD_ARGUMENT, "there is a key \"%s\" already (revoke it first)", name);
    if (sodium_init() < 0) return error_set(err, ERROR_INTERNAL, "libsodium does not start");
    randombytes_buf(random, sizeof random);
    const size_t start = sizeof SECRET_PREFIX - 1;
    memcpy(secret, SECRET_PREFIX, start);
    sodium_bin2base64(secret + start, KEY_SECRET_BYTES - start, random, sizeof random,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(random, sizeof random);
    key_hash(secret, strlen(secret), key.hash);
    snprintf(key.name, sizeof key.name, "%s", name);
    if (gmtime_r(&now, &parts)) strftime(key.created, sizeof key.created, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return append(file, &key, err);
}

int key_file_remove(struct key_file *file, const char *name, struct error *err)
{
    const struct key *found = find(file, name);
    if (!found) return error_set(err, ERROR_NOT_FOUND, "there is no key \"%.70s\"", name);
    const size_t index = (size_t)(found - file->keys);
    file->n_keys--;
    memmove(&file->keys[index], &file->keys[index + 1], (file->n_keys - index) * sizeof *file->keys);
    return 0;
}
