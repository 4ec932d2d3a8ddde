/* SPDX-License-Identifier: Apache-2.0 */
/* A command called as a user calls it: exit status, what is on stdout, what is on stderr. */
#ifndef SLUICE_TESTS_CALL_FOR_TEST_H
#define SLUICE_TESTS_CALL_FOR_TEST_H

#include "host/cli/commands.h"
#include "host/text/tokenizer.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct text out, err;

static inline void read_file(int fd, struct text *text)
{
    char chunk[4096];
    ssize_t got;
    text_free(text);
    lseek(fd, 0, SEEK_SET);
    while ((got = read(fd, chunk, sizeof chunk)) > 0) assert_int_equal(text_append(text, chunk, (size_t)got, NULL), 0);
    assert_int_equal(text_append(text, "", 0, NULL), 0);
    close(fd);
}

/* Puts a temporary file where fd is; *saved is what was there. */
static inline int redirect(int fd, int *saved)
{
    char path[] = "/tmp/sluice-command-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    *saved = dup(fd);
    dup2(file, fd);
    return file;
}

/* Runs a command with arguments up to NULL and input on stdin; out and err are what it printed. Returns its exit status. */
static inline int call(const struct command *command, const char *input, ...)
{
    char *argv[40] = {(char *)(uintptr_t)command->name};
    int argc = 1, saved[3], file[3];
    va_list arguments;
    va_start(arguments, input);
    while ((argv[argc] = va_arg(arguments, char *))) assert_in_range(++argc, 1, 38);
    va_end(arguments);
    fflush(stdout);
    for (int fd = 0; fd < 3; fd++) file[fd] = redirect(fd, &saved[fd]);
    ssize_t written = write(file[0], input, strlen(input));
    lseek(file[0], 0, SEEK_SET);
    int status = command->run(command, argc, argv);
    fflush(stdout);
    for (int fd = 0; fd < 3; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    assert_int_equal(written, strlen(input));
    close(file[0]);
    read_file(file[1], &out);
    read_file(file[2], &err);
    return status;
}

static inline void assert_says(const char *words)
{
    if (!strstr(err.bytes, words)) fail_msg("\"%s\" does not say \"%s\"", err.bytes, words);
}

/* One line of bench's output as an object; *at moves behind it. */
static inline json_t *next_line(const char **at)
{
    const char *end = strchr(*at, '\n');
    assert_non_null(end);
    json_t *line = json_loadb(*at, (size_t)(end - *at), 0, NULL);
    assert_non_null(line);
    *at = end + 1;
    return line;
}

/* A group teardown. */
static inline int free_texts(void **state)
{
    (void)state;
    text_free(&out);
    text_free(&err);
    return 0;
}

#endif
