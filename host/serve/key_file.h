/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of API keys: who may use a server, and how much at once. It holds no secret: of each key only the BLAKE2b-256
 * hash, which is as good as a slow one here since a secret is 256 random bits.
 *
 *     {"keys": [{"name": "billing", "hash": "9f...", "created": "2026-11-21T18:00:00Z", "max_running": 4,
 *                "per_minute": 600}]}
 */
#ifndef SLUICE_SERVE_KEY_FILE_H
#define SLUICE_SERVE_KEY_FILE_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_HASH_BYTES 32
#define KEY_NAME_BYTES 64
#define KEY_TIME_BYTES 24
#define KEY_SECRET_BYTES 64 /* "sluice-" and 43 characters of base64url, with the NUL */
#define KEY_MAX_LIMIT 1000000u
#define KEY_MAX_PRIORITY 1000u
#define KEY_USUAL_PRIORITY 100u

struct key {
    char name[KEY_NAME_BYTES]; /* letters, digits, '.', '-', '_'; different in each key */
    uint8_t hash[KEY_HASH_BYTES];
    char created[KEY_TIME_BYTES]; /* UTC, ISO 8601; "" if the file has none */
    uint32_t max_running;         /* requests at once; 0: no limit */
    uint32_t per_minute;          /* requests that may start in a minute; 0: no limit */
    uint32_t priority;            /* of its requests: lower comes first */
};

struct key_file {
    struct key *keys; /* owned: key_file_free */
    size_t n_keys;
};

/*
 * Reads and checks a file. Errors: ERROR_NOT_FOUND, ERROR_BAD_FILE with line or key and what is wrong, ERROR_UNSUPPORTED
 * for a file that anybody may write to. On error *out is {0}.
 */
int key_file_read(const char *path, struct key_file *out, struct error *err);
void key_file_free(struct key_file *file); /* leaves {0} */

/* The file's text, to be freed by the caller; NULL: no memory. */
char *key_file_format(const struct key_file *file);

/* ERROR_BAD_ARGUMENT with the reason if this is no name for a key. */
int key_check_name(const char *name, struct error *err);

/* Appends a new key with these limits, and its secret. Errors: a name that is wrong or there already, no memory. */
int key_file_add(struct key_file *file, const char *name, uint32_t max_running, uint32_t per_minute, uint32_t priority,
                 char secret[KEY_SECRET_BYTES], struct error *err);

/* Takes a key out. ERROR_NOT_FOUND: none of that name. */
int key_file_remove(struct key_file *file, const char *name, struct error *err);

/* What the file keeps of a secret. */
void key_hash(const char *secret, size_t length, uint8_t hash[KEY_HASH_BYTES]);

#endif
