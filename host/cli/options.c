/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/options.h"

#include "host/base/error.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints one line on stderr in a single write: what others print at the same time does not come between. */
static void complain(const struct command *command, const char *hint, const char *format, va_list args)
{
    struct error text = {0}; /* for its care about control characters, which argv may hold */
    char message[sizeof text.text];
    vsnprintf(message, sizeof message, format, args);
    error_set(&text, ERROR_BAD_ARGUMENT, "%s", message);
    fprintf(stderr, "sluice: %s%s%s%s\n", command ? command->name : "", command ? ": " : "", text.text, hint);
}

int usage_error(const struct command *command, const char *format, ...)
{
    char hint[64];
    va_list args;
    snprintf(hint, sizeof hint, " (sluice %s%s--help)", command ? command->name : "", command ? " " : "");
    va_start(args, format);
    complain(command, hint, format, args);
    va_end(args);
    return EXIT_USAGE;
}

int failure(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(NULL, "", format, args);
    va_end(args);
    return EXIT_FAILED;
}

static void print_option(const struct option *option)
{
    char left[64];
    char letter[8] = "    ";
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
    printf("  %-28s %s\n", left, option->help);
}

static int print_help(const struct command *command, const struct option *table)
{
    printf("usage: sluice %s %s\n\n%s\n", command->name, command->synopsis, command->summary);
    if (command->details) printf("\n%s\n", command->details);
    puts("\noptions:");
    for (const struct option *option = table; option->name; option++) print_option(option);
    puts("  -h, --help                   this text");
    return EXIT_DONE;
}

/* The option that argument names ("--name", "--name=value", "-l", "-lvalue"); *value points behind = or letter, or is
 * NULL. */
static const struct option *find_option(const struct option *table, const char *argument, const char **value)
{
    *value = NULL;
    for (const struct option *option = table; option->name; option++) {
        if (argument[1] != '-') {
            if (argument[1] != option->letter) continue;
            if (argument[2]) *value = argument + 2;
            return option;
        }
        size_t length = strlen(option->name);
        if (strncmp(argument + 2, option->name, length) != 0) continue;
        char next = argument[2 + length];
        if (next != '\0' && next != '=') continue;
        if (next == '=') *value = argument + 3 + length;
        return option;
    }
    return NULL;
}

static bool parse_unsigned(const char *text, unsigned long long *out)
{
    if (*text < '0' || *text > '9') return false; /* strtoull would take signs and spaces */
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool within(const struct option *option, double value)
{
    return (option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max);
}

static int bad_value(const struct command *command, const struct option *option, const char *text, const char *what)
{
    if (option->min == 0 && option->max == 0)
        return usage_error(command, "--%s %s: %s expected", option->name, text, what);
    return usage_error(command, "--%s %s: %s from %.10g to %.10g expected", option->name, text, what, option->min,
                       option->max);
}

/* Stores text into the option's value. Returns -1, or an exit status after a message. */
static int store(const struct command *command, const struct option *option, const char *text)
{
    unsigned long long number = 0;
    switch (option->kind) {
    case OPTION_FLAG: *(bool *)option->value = true; return -1;
    case OPTION_TEXT: *(const char **)option->value = text; return -1;
    case OPTION_U32:
        if (!parse_unsigned(text, &number) || number > UINT32_MAX || !within(option, (double)number))
            return bad_value(command, option, text, "a whole number");
        *(uint32_t *)option->value = (uint32_t)number;
        return -1;
    case OPTION_U64:
        if (!parse_unsigned(text, &number) || !within(option, (double)number))
            return bad_value(command, option, text, "a whole number");
        *(uint64_t *)option->value = number;
        return -1;
    case OPTION_FLOAT: {
        char *end;
        float value = strtof(text, &end);
        if (end == text || *end != '\0' || !isfinite(value) || !within(option, (double)value))
            return bad_value(command, option, text, "a number");
        *(float *)option->value = value;
        return -1;
    }
    }
    return EXIT_USAGE;
}

int options_parse(const struct command *command, const struct option *table, int argc, char **argv,
                  const char **operands, int max_operands, int *n_operands)
{
    bool options_ended = false;
    *n_operands = 0;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (options_ended || argument[0] != '-' || argument[1] == '\0') {
            if (*n_operands == max_operands) return usage_error(command, "unexpected \"%s\"", argument);
            operands[(*n_operands)++] = argument;
            continue;
        }
        if (strcmp(argument, "--") == 0) {
            options_ended = true;
            continue;
        }
        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) return print_help(command, table);
        const char *value;
        const struct option *option = find_option(table, argument, &value);
        if (!option) return usage_error(command, "unknown option %s", argument);
        if (option->kind == OPTION_FLAG) {
            if (value) return usage_error(command, "--%s takes no value", option->name);
        } else if (!value) {
            if (++i == argc) return usage_error(command, "--%s needs a value: %s", option->name, option->argument);
            value = argv[i];
        }
        int status = store(command, option, value);
        if (status >= 0) return status;
    }
    return -1;
}

static const char *last_word(const struct command *part) { return strchr(part->name, ' ') + 1; }

static int print_parts(const struct command *self, const struct command *parts, int n_parts)
{
    int width = 0;
    for (int i = 0; i < n_parts; i++) {
        const int length = (int)strlen(last_word(&parts[i]));
        if (length > width) width = length;
    }
    printf("usage: sluice %s %s (--help after each tells its options)\n\n", self->name, self->synopsis);
    for (int i = 0; i < n_parts; i++) printf("  %-*s  %s\n", width, last_word(&parts[i]), parts[i].summary);
    return EXIT_DONE;
}

int command_run_part(const struct command *self, const struct command *parts, int n_parts, int argc, char **argv)
{
    const int length = (int)strcspn(self->synopsis, " ");
    if (argc < 2) return usage_error(self, "one of %.*s is missing", length, self->synopsis);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return print_parts(self, parts, n_parts);
    for (int i = 0; i < n_parts; i++) {
        if (strcmp(last_word(&parts[i]), argv[1]) == 0) return parts[i].run(&parts[i], argc - 1, argv + 1);
    }
    return usage_error(self, "\"%s\" is none of %.*s", argv[1], length, self->synopsis);
}
