/* SPDX-License-Identifier: Apache-2.0 */
/* The file of `sluice serve --config`: INI, a section [serve] with the names of the command's options as keys. */
#ifndef SLUICE_CLI_SERVE_CONFIG_H
#define SLUICE_CLI_SERVE_CONFIG_H

#include "host/cli/options.h"

#include <stddef.h>

#define SERVE_CONFIG_MAX 64 /* entries */

/* Keeps the texts that options borrow. */
struct serve_config {
    char *texts[SERVE_CONFIG_MAX];
    size_t n_texts;
};

/*
 * Sets options of table from the file, as the command line would ("model" sets *model). A flag takes true or false.
 * Returns -1 to go on, or the exit status after a message that names file, line and key. The texts live until
 * serve_config_free, which is needed in both cases.
 */
int serve_config_read(const struct command *command, const struct option *table, const char *path,
                      struct serve_config *config, const char **model);
void serve_config_free(struct serve_config *config);

#endif
