/* SPDX-License-Identifier: Apache-2.0 */
/* The commands tokenize and detokenize as a script sees them: what they print, and their exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VOCABULARY FIXTURES "/tokenizers/qwen2.gguf"
#define MAX_ARGUMENTS 8

/*
 * Runs command with the arguments up to NULL; what it writes to stdout is in out, terminated. Returns the exit status.
 */
static int run(const struct command *command, char *out, size_t size, const char *const *arguments)
{
    char copies[MAX_ARGUMENTS][512], *argv[MAX_ARGUMENTS + 1], path[] = "/tmp/sluice-tokenize-XXXXXX";
    int argc = 0;
    snprintf(copies[argc], sizeof copies[argc], "%s", command->name);
    argv[argc] = copies[argc];
    for (argc = 1; arguments[argc - 1]; argc++) {
        assert_true(argc < MAX_ARGUMENTS);
        snprintf(copies[argc], sizeof copies[argc], "%s", arguments[argc - 1]);
        argv[argc] = copies[argc];
    }
    argv[argc] = NULL;

    int file = mkstemp(path), terminal = dup(STDOUT_FILENO);
    assert_true(file >= 0 && terminal >= 0);
    fflush(stdout);
    assert_true(dup2(file, STDOUT_FILENO) >= 0);
    int status = command->run(command, argc, argv);
    fflush(stdout);
    assert_true(dup2(terminal, STDOUT_FILENO) >= 0);
    close(terminal);
    ssize_t length = pread(file, out, size - 1, 0);
    assert_true(length >= 0);
    out[length] = '\0';
    close(file);
    unlink(path);
    return status;
}

static void expect(const struct command *command, int status, const char *output, const char *const *arguments)
{
    char out[4096];
    int got = run(command, out, sizeof out, arguments);
    if (got != status) fail_msg("exit status %d, not %d, after %s", got, status, arguments[0]);
    if (output) assert_string_equal(out, output);
}
#define EXPECT(command, status, output, ...) expect(&command, status, output, (const char *const[]){__VA_ARGS__, NULL})

static void tokens_are_printed_as_json_or_lines(void **state)
{
    (void)state;
    EXPECT(command_tokenize, EXIT_DONE, "{\"ids\":[448]}\n", VOCABULARY, "hi", "--json", "--raw");
    EXPECT(command_tokenize, EXIT_DONE, "{\"ids\":[]}\n", VOCABULARY, "", "--json");
    EXPECT(command_tokenize, EXIT_DONE, "    5002  \"<|im_start|>\"\n     198  \"\\n\"\n", VOCABULARY,
           "<|im_start|>\n");
    EXPECT(command_tokenize, EXIT_DONE, "{\"ids\":[5002,198]}\n", VOCABULARY, "<|im_start|>\n", "--json", "--raw",
           "--parse-special");
    EXPECT(command_tokenize, EXIT_DONE, "     187  \"\\xff\"\n       1  \"\\\"\"\n", VOCABULARY, "\xff\"");
}

static void ids_become_bytes(void **state)
{
    (void)state;
    EXPECT(command_detokenize, EXIT_DONE, "<|im_start|>\n", VOCABULARY, "--ids", "5002,198");
    EXPECT(command_detokenize, EXIT_DONE, "\xff", VOCABULARY, "--ids", " 187\n");
    EXPECT(command_detokenize, EXIT_DONE, "\n\n", VOCABULARY, "--ids", "{\"ids\":[198, 198]}");
    EXPECT(command_detokenize, EXIT_DONE, "\n", VOCABULARY, "--ids", "[198]");
    EXPECT(command_detokenize, EXIT_DONE, "", VOCABULARY, "--ids", "");
    EXPECT(command_detokenize, EXIT_DONE, "{\"text\":\"\\n\xef\xbf\xbd\"}\n", VOCABULARY, "--ids", "198 187", "--json");
}

static void what_is_wrong_fails(void **state)
{
    (void)state;
    EXPECT(command_detokenize, EXIT_FAILED, "", VOCABULARY, "--ids", "5004");
    EXPECT(command_detokenize, EXIT_USAGE, "", VOCABULARY, "--ids", "4294967296");
    EXPECT(command_detokenize, EXIT_USAGE, "", VOCABULARY, "--ids", "1;2");
    EXPECT(command_detokenize, EXIT_USAGE, "", VOCABULARY, "--ids", "-1");
    EXPECT(command_detokenize, EXIT_USAGE, "", VOCABULARY, "--ids", "[1.5]");
    EXPECT(command_detokenize, EXIT_USAGE, "", VOCABULARY, "--ids", "{\"idz\":[1]}");
    EXPECT(command_detokenize, EXIT_USAGE, "", VOCABULARY, "--ids", "[1");
    EXPECT(command_tokenize, EXIT_FAILED, "", FIXTURES "/tokenizers/no-such-file.gguf", "x");
    EXPECT(command_tokenize, EXIT_FAILED, "", FIXTURES "/tokenizers/qwen2.tsv", "x");
    EXPECT(command_tokenize, EXIT_FAILED, "", VOCABULARY, "--text-file", FIXTURES "/tokenizers/no-such-file");
    EXPECT(command_tokenize, EXIT_USAGE, "", VOCABULARY, "x", "--text-file", "y");
    EXPECT(command_tokenize, EXIT_USAGE, "", VOCABULARY, "x", "y");
    EXPECT(command_tokenize, EXIT_USAGE, "", VOCABULARY, "--no-such-option");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_printed_as_json_or_lines),
        cmocka_unit_test(ids_become_bytes),
        cmocka_unit_test(what_is_wrong_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
