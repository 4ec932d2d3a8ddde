/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/serve_config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const struct command *command;
    const struct option *table;
    struct serve_config *config;
    const char **model;
    char why[200]; /* what is wrong with the first bad entry; "" if options_parse has said it */
    bool failed;
};

static const struct option *find(const struct option *table, const char *name)
{
    for (const struct option *option = table; option->name; option++) {
        if (strcmp(option->name, name) == 0) return option;
    }
    return NULL;
}

static int refuse(struct reader *reader, const char *what, const char *name, const char *rest)
{
    snprintf(reader->why, sizeof reader->why, "%s \"%.60s\"%s", what, name, rest);
    reader->failed = true;
    return 0;
}

/* A text that lives as long as the configuration; NULL if there are too many or no memory. */
static char *keep(struct reader *reader, const char *name, const char *value)
{
    struct serve_config *config = reader->config;
    char *text = NULL;
    if (config->n_texts == SERVE_CONFIG_MAX) return NULL;
    if (asprintf(&text, "%s%s%s", name, value ? "=" : "", value ? value : "") < 0) return NULL;
    config->texts[config->n_texts++] = text;
    return text;
}

/* One entry, for inih: returns 0 for an error. */
static int on_entry(void *context, const char *section, const char *name, const char *value)
{
    struct reader *reader = context;
    if (reader->failed) return 1; /* the first error is the one that is told */
    if (strcmp(section, "serve") != 0) return refuse(reader, "unknown section", section, " ([serve] expected)");
    if (strcmp(name, "model") == 0) {
        *reader->model = keep(reader, value, NULL);
        return *reader->model ? 1 : refuse(reader, "no room for", name, "");
    }
    const struct option *option = find(reader->table, name);
    if (!option || strcmp(name, "config") == 0)
        return refuse(reader, "unknown key", name, " (see --help for the names)");
    bool flag = option->kind == OPTION_FLAG;
    if (flag && strcmp(value, "false") == 0) return 1;
    if (flag && strcmp(value, "true") != 0) return refuse(reader, "true or false expected for", name, "");
    char prefixed[80];
    snprintf(prefixed, sizeof prefixed, "--%s", name);
    char *argument = keep(reader, prefixed, flag ? NULL : value);
    if (!argument) return refuse(reader, "no room for", name, "");
    char *argv[] = {NULL, argument};
    int n_operands;
    if (options_parse(reader->command, reader->table, 2, argv, NULL, 0, &n_operands) < 0) return 1;
    reader->failed = true;
    return 0;
}

int serve_config_read(const struct command *command, const struct option *table, const char *path,
                      struct serve_config *config, const char **model)
{
    struct reader reader = {.command = command, .table = table, .config = config, .model = model};
    FILE *file = fopen(path, "r");
    if (!file) return failure("serve: cannot read %s: %s", path, strerror(errno));
    int line = ini_parse_file(file, on_entry, &reader);
    bool unread = ferror(file); /* a directory opens, but does not read */
    int why = errno;
    fclose(file);
    if (unread) return failure("serve: cannot read %s: %s", path, strerror(why));
    if (line == 0) return -1;
    if (reader.failed) return usage_error(command, "%s:%d: %s", path, line, reader.why[0] ? reader.why : "bad value");
    return usage_error(command, "%s:%d: neither [section], key = value nor ; comment", path, line);
}

void serve_config_free(struct serve_config *config)
{
    while (config->n_texts > 0) free(config->texts[--config->n_texts]);
}
