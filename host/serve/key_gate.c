/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/key_gate.h"

#include "host/base/memory.h"
#include "host/serve/key_file.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A key with what it uses. One that was revoked stays until its last request has left. */
struct key_user {
    struct key key;
    struct key_user *next;
    uint32_t running;
    double tokens;   /* requests that it may start now: a token bucket of per_minute */
    double refilled; /* seconds of the monotonic clock */
    uint64_t number; /* from 1 */
    bool revoked;
};

struct key_gate {
    const char *path;
    void (*notice)(void *context, const char *line);
    void *context;
    struct key_user *first;
    uint64_t n_users; /* so far */
    double looked;    /* when the file was last looked at */
    struct stat seen;
};

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void drop_revoked(struct key_gate *gate)
{
    for (struct key_user **link = &gate->first; *link;) {
        struct key_user *user = *link;
        if (user->revoked && user->running == 0) {
            *link = user->next;
            free(user);
        } else {
            link = &user->next;
        }
    }
}

/* The same secret under the same name is the same user: it keeps its counts and gets the new limits. */
static struct key_user *find_same(const struct key_gate *gate, const struct key *key)
{
    for (struct key_user *user = gate->first; user; user = user->next) {
        if (strcmp(user->key.name, key->name) == 0 && memcmp(user->key.hash, key->hash, KEY_HASH_BYTES) == 0)
            return user;
    }
    return NULL;
}

/* Not yet let in: revoked. */
static bool add_user(struct key_gate *gate, const struct key *key)
{
    struct key_user *user = memory_array(1, sizeof *user);
    if (!user) return false;
    *user = (struct key_user){.key = *key,
                              .next = gate->first,
                              .tokens = key->per_minute,
                              .refilled = now_seconds(),
                              .number = ++gate->n_users,
                              .revoked = true};
    gate->first = user;
    return true;
}

static int take_keys(struct key_gate *gate, const struct key_file *file, struct error *err)
{
    for (size_t i = 0; i < file->n_keys; i++) {
        if (!find_same(gate, &file->keys[i]) && !add_user(gate, &file->keys[i])) {
            drop_revoked(gate);
            return error_set(err, ERROR_NO_MEMORY, "no memory for the keys");
        }
    }
    for (struct key_user *user = gate->first; user; user = user->next) user->revoked = true;
    for (size_t i = 0; i < file->n_keys; i++) {
        struct key_user *user = find_same(gate, &file->keys[i]);
        user->key = file->keys[i];
        user->revoked = false;
    }
    drop_revoked(gate);
    return 0;
}

static int load(struct key_gate *gate, struct error *err)
{
    struct key_file file;
    int status = key_file_read(gate->path, &file, err);
    if (status < 0) return status;
    status = take_keys(gate, &file, err);
    key_file_free(&file);
    return status;
}

static bool has_changed(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_mode != b->st_mode;
}

static void look_again(struct key_gate *gate)
{
    struct stat info = {0};
    struct error err;
    char line[700];
    const double now = now_seconds();
    if (now - gate->looked < 1) return;
    gate->looked = now;
    if (stat(gate->path, &info) < 0) memset(&info, 0, sizeof info); /* gone: told once, by load */
    if (!has_changed(&info, &gate->seen)) return;
    gate->seen = info;
    if (load(gate, &err) < 0)
        snprintf(line, sizeof line, "%s: the keys stay as they were", err.text);
    else
        snprintf(line, sizeof line, "keys read again from %s", gate->path);
    gate->notice(gate->context, line);
}

int key_gate_open(const char *path, void (*notice)(void *context, const char *line), void *context,
                  struct key_gate **out, struct error *err)
{
    struct key_gate *gate = memory_array(1, sizeof *gate);
    *out = NULL;
    if (!gate) return error_set(err, ERROR_NO_MEMORY, "no memory for the keys");
    *gate = (struct key_gate){.path = path, .notice = notice, .context = context, .looked = now_seconds()};
    if (sodium_init() < 0) {
        free(gate);
        return error_set(err, ERROR_INTERNAL, "libsodium does not start");
    }
    if (stat(path, &gate->seen) < 0) memset(&gate->seen, 0, sizeof gate->seen);
    int status = load(gate, err);
    if (status < 0) {
        key_gate_close(gate);
        return status;
    }
    *out = gate;
    return 0;
}

void key_gate_close(struct key_gate *gate)
{
    if (!gate) return;
    while (gate->first) {
        struct key_user *user = gate->first;
        gate->first = user->next;
        free(user);
    }
    free(gate);
}

/* Every key is looked at, equal or not, so that the time tells nothing about where a match is or how long it is. */
static struct key_user *find_secret(const struct key_gate *gate, const char *secret)
{
    uint8_t hash[KEY_HASH_BYTES];
    struct key_user *found = NULL;
    key_hash(secret, strlen(secret), hash);
    for (struct key_user *user = gate->first; user; user = user->next) {
        const bool same = sodium_memcmp(user->key.hash, hash, sizeof hash) == 0;
        if (same && !user->revoked) found = user;
    }
    return found;
}

static int identify(struct key_gate *gate, const struct http_request *request, struct key_user **user,
                    struct api_error *error)
{
    look_again(gate);
    *user = NULL;
    if (request->key[0] == '\0')
        return api_error_set(error, 401, "missing_api_key", NULL,
                             "This server asks for a key: send the header Authorization: Bearer KEY.");
    *user = find_secret(gate, request->key);
    return *user ? 0 : api_error_set(error, 401, "invalid_api_key", NULL, "This server does not know this API key.");
}

int key_gate_check(struct key_gate *gate, const struct http_request *request, struct api_error *error)
{
    struct key_user *user;
    return gate ? identify(gate, request, &user, error) : 0;
}

static int take_token(struct key_user *user, struct api_error *error)
{
    const double now = now_seconds(), limit = user->key.per_minute;
    if (user->key.per_minute == 0) return 0;
    user->tokens = fmin(limit, user->tokens + (now - user->refilled) * limit / 60);
    user->refilled = now;
    if (user->tokens < 1) {
        api_error_set(error, 429, "rate_limit_exceeded", NULL, "The key \"%s\" may start %u requests in a minute.",
                      user->key.name, user->key.per_minute);
        error->retry_after = (unsigned)ceil((1 - user->tokens) * 60 / limit);
        return -1;
    }
    user->tokens -= 1;
    return 0;
}

int key_gate_enter(struct key_gate *gate, const struct http_request *request, struct key_user **user,
                   struct api_error *error)
{
    *user = NULL;
    if (!gate) return 0;
    struct key_user *asking;
    if (identify(gate, request, &asking, error) < 0) return -1;
    if (asking->key.max_running != 0 && asking->running >= asking->key.max_running) {
        api_error_set(error, 429, "concurrency_limit_exceeded", NULL, "The key \"%s\" may run %u requests at once.",
                      asking->key.name, asking->key.max_running);
        error->retry_after = 1;
        return -1;
    }
    if (take_token(asking, error) < 0) return -1;
    asking->running++;
    *user = asking;
    return 0;
}

void key_gate_leave(struct key_user *user)
{
    if (user) user->running--;
}

int32_t key_user_priority(const struct key_user *user) { return user ? (int32_t)user->key.priority : 0; }
uint64_t key_user_number(const struct key_user *user) { return user ? user->number : 0; }
