/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options: one table drives parsing, checking and --help. */
#ifndef SLUICE_CLI_OPTIONS_H
#define SLUICE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,  /* bool; takes no argument */
    OPTION_TEXT,  /* const char *, borrowed from argv */
    OPTION_U32,   /* uint32_t within [min, max] */
    OPTION_U64,   /* uint64_t within [min, max] */
    OPTION_FLOAT, /* float within [min, max] */
};

struct option {
    const char *name; /* without "--"; NULL ends the table */
    char letter;      /* "-p"; 0 if none */
    enum option_kind kind;
    void *value;          /* set when the option is given; holds the default before */
    const char *argument; /* what --help calls the argument; NULL for flags */
    const char *help;     /* one line */
    double min, max;      /* both 0: no limits */
};

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

struct command {
    const char *name;
    const char *synopsis;                                          /* "[MODEL] [-p TEXT]" */
    const char *summary;                                           /* one line for the list of commands */
    const char *details;                                           /* further lines of --help, or NULL */
    int (*run)(const struct command *self, int argc, char **argv); /* exit status; argv[0] is the command's name */
};

/*
 * Parses argv by table: options and operands in any order, "--" ends options. Operands go to
 * operands[0..max_operands), and *n_operands is set.
 * Returns -1 to go on, or the exit status to return at once: EXIT_DONE after --help, EXIT_USAGE after a message.
 */
int options_parse(const struct command *command, const struct option *table, int argc, char **argv,
                  const char **operands, int max_operands, int *n_operands);

/*
 * A command of several: argv[1] is the last word of one of parts' names ("keys add"), which gets the rest; --help lists them.
 * self->synopsis begins with those words, "add|list|revoke ...". The exit status.
 */
int command_run_part(const struct command *self, const struct command *parts, int n_parts, int argc, char **argv);

/* Prints "sluice: ..." on stderr and returns EXIT_USAGE or EXIT_FAILED. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int failure(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
