/* SPDX-License-Identifier: Apache-2.0 */
/* Key files, right and wrong ones, and what the gate lets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/key_file.h"
#include "host/serve/key_gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct file {
    char path[32];
    unsigned n_notices;
    char line[700];
};

static int open_file(void **state)
{
    struct file *file = calloc(1, sizeof *file);
    assert_non_null(file);
    snprintf(file->path, sizeof file->path, "/tmp/sluice-keys-XXXXXX");
    const int fd = mkstemp(file->path);
    assert_true(fd >= 0);
    close(fd);
    *state = file;
    return 0;
}

static int close_file(void **state)
{
    struct file *file = *state;
    unlink(file->path);
    free(file);
    return 0;
}

/* By rename, as `sluice keys` does: each content has a file of its own. */
static void write_text(const struct file *file, const char *text)
{
    char aside[48];
    snprintf(aside, sizeof aside, "%s.new", file->path);
    FILE *stream = fopen(aside, "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(rename(aside, file->path), 0);
}

static void write_file(const struct file *file, const struct key_file *keys)
{
    char *text = key_file_format(keys);
    assert_non_null(text);
    write_text(file, text);
    free(text);
}

static void what_is_written_is_read(void **state)
{
    const struct file *file = *state;
    struct key_file keys = {0}, again;
    char first[KEY_SECRET_BYTES], second[KEY_SECRET_BYTES];
    uint8_t hash[KEY_HASH_BYTES];
    struct error err;
    assert_int_equal(key_file_add(&keys, "billing", 4, 600, KEY_USUAL_PRIORITY, first, &err), 0);
    assert_int_equal(key_file_add(&keys, "chat-2.0_x", 0, 0, KEY_USUAL_PRIORITY, second, &err), 0);
    assert_int_equal(strlen(first), 50);
    assert_string_not_equal(first, second);
    assert_int_equal(key_file_add(&keys, "billing", 0, 0, KEY_USUAL_PRIORITY, second, &err), ERROR_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "billing"));
    write_file(file, &keys);
    assert_int_equal(key_file_read(file->path, &again, &err), 0);
    assert_int_equal(again.n_keys, 2);
    assert_string_equal(again.keys[0].name, "billing");
    assert_int_equal(again.keys[0].max_running, 4);
    assert_int_equal(again.keys[0].per_minute, 600);
    assert_string_equal(again.keys[1].created, keys.keys[1].created);
    key_hash(first, strlen(first), hash);
    assert_memory_equal(again.keys[0].hash, hash, sizeof hash);
    assert_int_equal(key_file_remove(&again, "nobody", &err), ERROR_NOT_FOUND);
    assert_int_equal(key_file_remove(&again, "billing", &err), 0);
    assert_string_equal(again.keys[0].name, "chat-2.0_x");
    key_file_free(&again);
    key_file_free(&keys);
}

static void lies_are_named(void **state)
{
    static const struct {
        const char *text, *says;
    } lies[] = {
        {"[]", "array \"keys\""},
        {"{\"keys\": 7}", "array \"keys\""},
        {"{\"keys\": [1]}", "key 1"},
        {"{\"keys\": [{\"name\": \"a b\", \"hash\": \"" HASH "\"}]}", "is no name"},
        {"{\"keys\": [{\"name\": \"a\", \"hash\": \"0011\"}]}", "hash"},
        {"{\"keys\": [{\"name\": \"a\", \"hash\": \"" HASH "00\"}]}", "hash"},
        {"{\"keys\": [{\"name\": \"a\"}]}", "hash"},
        {"{\"keys\": [{\"name\": \"a\", \"hash\": \"" HASH "\", \"max_running\": -1}]}", "max_running"},
        {"{\"keys\": [{\"name\": \"a\", \"hash\": \"" HASH "\", \"per_minute\": 1.5}]}", "per_minute"},
        {"{\"keys\": [{\"name\": \"a\", \"hash\": \"" HASH "\", \"max_runing\": 1}]}", "max_runing"},
        {"{\"keys\": [{\"name\": \"a\", \"hash\": \"" HASH "\"}, {\"name\": \"a\", \"hash\": \"" HASH "\"}]}", "twice"},
        {"{\"keys\": [{\"name\": \"a\", \"name\": \"b\", \"hash\": \"" HASH "\"}]}", "duplicate"},
        {"{\"keys\": [", "line 1"},
    };
    const struct file *file = *state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct key_file keys;
        struct error err = {0};
        write_text(file, lies[i].text);
        assert_true(key_file_read(file->path, &keys, &err) < 0);
        if (!strstr(err.text, lies[i].says) || !strstr(err.text, file->path))
            fail_msg("%s: said \"%s\", not %s", lies[i].text, err.text, lies[i].says);
        assert_null(keys.keys);
    }
    struct key_file keys;
    struct error err;
    write_text(file, "{\"keys\": []}");
    assert_int_equal(key_file_read(file->path, &keys, &err), 0);
    assert_int_equal(chmod(file->path, 0666), 0);
    assert_int_equal(key_file_read(file->path, &keys, &err), ERROR_UNSUPPORTED);
    assert_int_equal(key_file_read("/no/such/file", &keys, &err), ERROR_NOT_FOUND);
}

static void take_notice(void *context, const char *line)
{
    struct file *file = context;
    file->n_notices++;
    snprintf(file->line, sizeof file->line, "%s", line);
}

static struct http_request with_key(const char *key)
{
    struct http_request request = {0};
    snprintf(request.key, sizeof request.key, "%s", key);
    return request;
}

static void the_gate_counts(void **state)
{
    struct file *file = *state;
    struct key_file keys = {0};
    struct key_gate *gate;
    struct key_user *one, *two, *three;
    struct api_error error;
    struct error err;
    char twice[KEY_SECRET_BYTES], slow[KEY_SECRET_BYTES];
    assert_int_equal(key_file_add(&keys, "twice", 2, 0, KEY_USUAL_PRIORITY, twice, &err), 0);
    assert_int_equal(key_file_add(&keys, "slow", 0, 3, KEY_USUAL_PRIORITY, slow, &err), 0);
    write_file(file, &keys);
    key_file_free(&keys);
    assert_int_equal(key_gate_open(file->path, take_notice, file, &gate, &err), 0);

    struct http_request request = with_key("");
    assert_int_equal(key_gate_check(gate, &request, &error), -1);
    assert_int_equal(error.status, 401);
    assert_string_equal(error.code, "missing_api_key");
    request = with_key("sluice-wrong");
    assert_int_equal(key_gate_enter(gate, &request, &one, &error), -1);
    assert_int_equal(error.status, 401);
    assert_string_equal(error.code, "invalid_api_key");
    assert_null(strstr(error.message, "wrong"));

    request = with_key(twice);
    assert_int_equal(key_gate_enter(gate, &request, &one, &error), 0);
    assert_int_equal(key_gate_enter(gate, &request, &two, &error), 0);
    assert_int_equal(key_gate_enter(gate, &request, &three, &error), -1);
    assert_int_equal(error.status, 429);
    assert_int_equal(error.retry_after, 1);
    assert_int_equal(key_gate_check(gate, &request, &error), 0); /* what takes no time is not counted */
    key_gate_leave(two);
    assert_int_equal(key_gate_enter(gate, &request, &two, &error), 0);
    key_gate_leave(one);
    key_gate_leave(two);

    request = with_key(slow); /* the bucket holds three; the next comes after 20 s */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(key_gate_enter(gate, &request, &one, &error), 0);
        key_gate_leave(one);
    }
    assert_int_equal(key_gate_enter(gate, &request, &one, &error), -1);
    assert_string_equal(error.code, "rate_limit_exceeded");
    assert_in_range(error.retry_after, 1, 20);
    assert_int_equal(file->n_notices, 0);
    key_gate_close(gate);
    key_gate_leave(NULL);
    assert_int_equal(key_gate_enter(NULL, &request, &one, &error), 0); /* no gate: everybody, and nobody is inside */
    assert_null(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, open_file, close_file),
        cmocka_unit_test_setup_teardown(lies_are_named, open_file, close_file),
        cmocka_unit_test_setup_teardown(the_gate_counts, open_file, close_file),
    };
    return cmocka_run_group_tests_name("key_gate", tests, NULL, NULL);
}
