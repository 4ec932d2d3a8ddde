/* SPDX-License-Identifier: Apache-2.0 */
#include "host/card/card.h"
#include "host/cli/commands.h"
#include "host/model/slc.h"
#include "sluice_revision.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
    &command_run,    &command_serve,     &command_inspect, &command_tokenize, &command_detokenize, &command_template,
    &command_logits, &command_eval,      &command_bench,   &command_cards,    &command_pack,       &command_plan,
    &command_probe,  &command_bitstream, &command_keys,    &command_doctor,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static int print_version(void)
{
    printf("sluice %s (revision %s)\ncard ABI %u\n.slc %u\nbackends", SLUICE_VERSION, SLUICE_REVISION, CARD_ABI_VERSION,
           SLC_VERSION);
    for (const char *const *name = card_backends(); *name; name++) printf(" %s", *name);
    putchar('\n');
    return EXIT_DONE;
}

static int print_overview(void)
{
    puts(
        "usage: sluice COMMAND [options]\n\n"
        "Sluice runs open-weight language models on FPGA cards, and the same bits in a simulator.\n"
        "MODEL is a GGUF file, a packed one (.slc) or a safetensors folder; left out, it is the demo model inside this "
        "program.\n\ncommands:");
    for (int i = 0; i < N_COMMANDS; i++) printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n  sluice COMMAND --help   options of a command\n"
         "  sluice --version        release, revision, card ABI, .slc version, backends\n\n"
         "Try: sluice run -p \"How do I list the cards?\"");
    return EXIT_DONE;
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i]->name) == 0) return commands[i];
    }
    return NULL;
}

/* `sluice help`, or `sluice help COMMAND`, which is COMMAND --help. */
static int help(const char *name)
{
    static char option[] = "--help";
    const struct command *command = name ? find_command(name) : NULL;
    if (!name) return print_overview();
    if (!command) return usage_error(NULL, "unknown command \"%s\"", name);
    return command->run(command, 2, (char *[]){NULL, option, NULL});
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_overview();
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) return print_version();
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return print_overview();
    if (strcmp(argv[1], "help") == 0) return help(argv[2]);
    const struct command *command = find_command(argv[1]);
    if (!command) return usage_error(NULL, "unknown command \"%s\"", argv[1]);
    return command->run(command, argc - 1, argv + 1);
}

/*
 * A program started with a standard stream closed would get that number for the next file or socket it opens, and print
 * into it. What is put there instead fails as a closed stream does: it cannot be read (0) or written (1, 2).
 */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
    }
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    signal(SIGXFSZ, SIG_IGN); /* a file that reaches the size limit is an error, after which we clean up */
    int status = run(argc, argv);
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    return lost && status == EXIT_DONE ? failure("cannot write the output: %s", strerror(errno)) : status;
}
