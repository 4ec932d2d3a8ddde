/* SPDX-License-Identifier: Apache-2.0 */
/* sluice keys: who may use a server. */
#include "host/cli/commands.h"
#include "host/cli/output_file.h"
#include "host/serve/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_keys(const char *path, const struct key_file *keys, struct error *err)
{
    struct output_file out;
    char *text = key_file_format(keys);
    if (!text) return error_set(err, ERROR_NO_MEMORY, "no memory for the keys");
    int status = output_file_open(path, &out, err);
    if (status == 0) {
        fprintf(out.stream, "%s\n", text);
        if (fchmod(fileno(out.stream), 0600) < 0)
            status = error_set(err, ERROR_IO, "cannot write %s: %s", path, strerror(errno));
        if (status == 0) status = output_file_commit(&out, err);
        output_file_close(&out);
    }
    free(text);
    return status;
}

/* Two commands at once must not lose a key: both change the file under this lock, which is beside it. */
static int lock_keys(const char *path, int *fd, struct error *err)
{
    char *name;
    *fd = -1;
    if (asprintf(&name, "%s.lock", path) < 0) return error_set(err, ERROR_NO_MEMORY, "no memory for a path");
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int status =
        *fd < 0 || flock(*fd, LOCK_EX) < 0 ? error_set(err, ERROR_IO, "cannot lock %s: %s", name, strerror(errno)) : 0;
    free(name);
    return status;
}

struct change {
    const char *name;
    uint32_t max_running, per_minute, priority;
    char secret[KEY_SECRET_BYTES]; /* set where a key is added */
};

static int change_keys(const char *path, struct change *change, bool adds, struct error *err)
{
    struct key_file keys = {0};
    int lock;
    int status = lock_keys(path, &lock, err);
    if (status == 0) status = key_file_read(path, &keys, err);
    if (status == ERROR_NOT_FOUND && adds) status = 0; /* the first key */
    if (status == 0 && adds)
        status = key_file_add(&keys, change->name, change->max_running, change->per_minute, change->priority,
                              change->secret, err);
    if (status == 0 && !adds) status = key_file_remove(&keys, change->name, err);
    if (status == 0) status = write_keys(path, &keys, err);
    key_file_free(&keys);
    if (lock >= 0) close(lock);
    return status;
}

static int run_add(const struct command *self, int argc, char **argv)
{
    const char *file = NULL;
    struct change change = {.priority = KEY_USUAL_PRIORITY};
    const struct option table[] = {
        {"file", 0, OPTION_TEXT, &file, "FILE", "the key file; made if it is not there", 0, 0},
        {"max-running", 0, OPTION_U32, &change.max_running, "N", "requests at once (default: no limit)", 0,
         KEY_MAX_LIMIT},
        {"per-minute", 0, OPTION_U32, &change.per_minute, "N",
         "requests that may start in a minute (default: no limit)", 0, KEY_MAX_LIMIT},
        {"priority", 0, OPTION_U32, &change.priority, "N",
         "its requests wait behind those of a lower one (default 100)", 0, KEY_MAX_PRIORITY},
        {0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, &change.name, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "NAME is missing");
    if (!file) return usage_error(self, "--file is missing");
    struct error err = {0};
    if (change_keys(file, &change, true, &err) < 0) return failure("keys: %s", err.text);
    printf("%s\n", change.secret);
    fprintf(stderr, "This is the key of %s. It is shown this once: %s keeps only its hash.\n", change.name, file);
    return EXIT_DONE;
}

static int run_revoke(const struct command *self, int argc, char **argv)
{
    const char *file = NULL;
    struct change change = {0};
    const struct option table[] = {{"file", 0, OPTION_TEXT, &file, "FILE", "the key file", 0, 0}, {0}};
    int n_operands;
    int status = options_parse(self, table, argc, argv, &change.name, 1, &n_operands);
    if (status >= 0) return status;
    if (n_operands == 0) return usage_error(self, "NAME is missing");
    if (!file) return usage_error(self, "--file is missing");
    struct error err = {0};
    if (change_keys(file, &change, false, &err) < 0) return failure("keys: %s", err.text);
    printf("%s is revoked: a server with this file takes it no more within a second\n", change.name);
    return EXIT_DONE;
}

static void print_limit(uint32_t limit)
{
    if (limit != 0)
        printf("  %11u", limit);
    else
        printf("  %11s", "-");
}

static int print_table(const struct key_file *keys)
{
    printf("%-24s  %-20s  %11s  %11s  %8s\n", "name", "created", "at once", "per minute", "priority");
    for (size_t i = 0; i < keys->n_keys; i++) {
        printf("%-24s  %-20s", keys->keys[i].name, keys->keys[i].created);
        print_limit(keys->keys[i].max_running);
        print_limit(keys->keys[i].per_minute);
        printf("  %8u\n", keys->keys[i].priority);
    }
    return 0;
}

static int print_json(const struct key_file *keys, struct error *err)
{
    json_t *list = json_array();
    int status = list ? 0 : -1;
    for (size_t i = 0; i < keys->n_keys && status == 0; i++) {
        const struct key *key = &keys->keys[i];
        status = json_array_append_new(list, json_pack("{ss,ss,si,si,si}", "name", key->name, "created", key->created,
                                                       "max_running", (int)key->max_running, "per_minute",
                                                       (int)key->per_minute, "priority", (int)key->priority));
    }
    if (status == 0) status = json_dumpf(list, stdout, JSON_COMPACT);
    if (status == 0) putchar('\n');
    json_decref(list);
    return status == 0 ? 0 : error_set(err, ERROR_IO, "cannot write the list");
}

static int run_list(const struct command *self, int argc, char **argv)
{
    const char *file = NULL;
    bool json = false;
    const struct option table[] = {{"file", 0, OPTION_TEXT, &file, "FILE", "the key file", 0, 0},
                                   {"json", 0, OPTION_FLAG, &json, NULL, "print a JSON array", 0, 0},
                                   {0}};
    int n_operands;
    int status = options_parse(self, table, argc, argv, NULL, 0, &n_operands);
    if (status >= 0) return status;
    if (!file) return usage_error(self, "--file is missing");
    struct error err = {0};
    struct key_file keys;
    status = key_file_read(file, &keys, &err);
    if (status == 0) status = json ? print_json(&keys, &err) : print_table(&keys);
    key_file_free(&keys);
    return status < 0 ? failure("keys: %s", err.text) : EXIT_DONE;
}

static const struct command parts[] = {
    {"keys add", "NAME --file FILE [--max-running N] [--per-minute N]", "make a key and print it, once",
     "The key is on standard output, alone. `sluice serve --keys FILE` asks for it as Authorization: Bearer KEY.",
     run_add},
    {"keys list", "--file FILE [--json]", "names and limits", NULL, run_list},
    {"keys revoke", "NAME --file FILE", "take a key away", NULL, run_revoke},
};
enum { N_PARTS = sizeof parts / sizeof parts[0] };

static int run(const struct command *self, int argc, char **argv)
{
    return command_run_part(self, parts, N_PARTS, argc, argv);
}

const struct command command_keys = {
    .name = "keys",
    .synopsis = "add|list|revoke ...",
    .summary = "API keys: who may use a server, and how much at once",
    .run = run,
};
