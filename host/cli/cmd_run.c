/* SPDX-License-Identifier: Apache-2.0 */
/* sluice run: one answer (-p), a plain continuation (--raw -p), or a conversation in the terminal. */
#include "host/base/map_file.h"
#include "host/base/memory.h"
#include "host/cli/commands.h"
#include "host/cli/generate.h"
#include "host/cli/line_input.h"
#include "host/cli/progress.h"
#include "host/cli/sampler_options.h"
#include "host/text/chat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct run_options {
    struct session_options session;
    struct sampler_options sampler;
    struct generate_options generate;
    const char *prompt, *system, *grammar_path, *schema_path;
    bool raw;
};

/* Messages so far; the contents are owned, the roles are literals. */
struct conversation {
    struct chat_message *messages;
    size_t count, capacity;
};

static int conversation_add(struct conversation *conversation, const char *role, const char *content, size_t length,
                            struct error *err)
{
    if (conversation->count == conversation->capacity) {
        size_t capacity = conversation->capacity ? 2 * conversation->capacity : 16;
        struct chat_message *grown = memory_grow(conversation->messages, capacity, sizeof *grown);
        if (!grown) return error_set(err, ERROR_NO_MEMORY, "no host memory for the conversation");
        conversation->messages = grown;
        conversation->capacity = capacity;
    }
    char *copy = malloc(length + 1);
    if (!copy) return error_set(err, ERROR_NO_MEMORY, "no host memory for the conversation");
    if (length > 0) memcpy(copy, content, length);
    copy[length] = '\0';
    conversation->messages[conversation->count++] =
        (struct chat_message){.role = role, .content = copy, .content_length = length};
    return 0;
}

/* Forgets messages from the end until count are left. */
static void conversation_cut(struct conversation *conversation, size_t count)
{
    while (conversation->count > count) free((char *)(uintptr_t)conversation->messages[--conversation->count].content);
}

static void conversation_free(struct conversation *conversation)
{
    conversation_cut(conversation, 0);
    free(conversation->messages);
}

/* Puts the user's message, gets the answer and keeps both; on an error neither is kept. */
static int converse(const struct session *session, const struct run_options *options, const struct chat *format,
                    struct conversation *conversation, const char *text, size_t length, struct error *err)
{
    size_t before = conversation->count;
    struct token_list prompt = {0};
    struct answer answer = {0};
    int status = conversation_add(conversation, "user", text, length, err);
    if (status == 0) status = chat_prompt(format, conversation->messages, conversation->count, NULL, &prompt, err);
    if (status == 0) status = generate(session, &options->generate, &prompt, &answer, err);
    if (status == 0) status = conversation_add(conversation, "assistant", answer.text.bytes, answer.text.length, err);
    if (status < 0) conversation_cut(conversation, before);
    text_free(&answer.text);
    token_list_free(&prompt);
    return status;
}

static int continue_text(const struct session *session, const struct run_options *options, struct error *err)
{
    struct token_list prompt = {0};
    struct answer answer = {0};
    int status = tokenize(session->tokenizer, options->prompt, strlen(options->prompt), TOKENIZE_PROMPT, &prompt, err);
    if (status == 0) status = generate(session, &options->generate, &prompt, &answer, err);
    text_free(&answer.text);
    token_list_free(&prompt);
    return status;
}

static bool is_command(const struct text *line, const char *name)
{
    return line->length == strlen(name) && memcmp(line->bytes, name, line->length) == 0;
}

/* Reads lines until /exit, the end of the input or ctrl-C at the prompt. A question that fails does not end it. */
static int chat(const struct session *session, const struct run_options *options, const struct chat *format,
                struct conversation *conversation, struct error *err)
{
    const size_t n_fixed = conversation->count; /* the system message */
    const bool terminal = isatty(STDIN_FILENO);
    struct line_input input = {.fd = STDIN_FILENO, .interrupt_fd = options->generate.interrupt_fd};
    struct text line = {0};
    int status = 0;
    if (terminal) fputs("/clear forgets the conversation, /exit or ctrl-D ends, ctrl-C stops an answer\n", stderr);
    for (;;) {
        if (terminal) fputs("> ", stdout);
        fflush(stdout);
        enum line_result result = line_input_next(&input, &line, err);
        if (result == LINE_FAILED) status = err->code;
        if (result != LINE_READ || is_command(&line, "/exit")) break;
        if (line.length == 0) continue;
        if (is_command(&line, "/clear")) {
            conversation_cut(conversation, n_fixed);
            continue;
        }
        struct error turn = {0};
        if (converse(session, options, format, conversation, line.bytes, line.length, &turn) == 0) continue;
        status = turn.code;
        failure("run: %s%s", turn.text, turn.code == ERROR_TOO_LARGE ? "; /clear starts over" : "");
        if (turn.code != ERROR_TOO_LARGE) break;
    }
    if (terminal) putchar('\n');
    if (status < 0 && err->code == 0) *err = (struct error){.code = status}; /* printed already */
    text_free(&line);
    text_free(&input.buffer);
    return status;
}

static int answer_all(const struct session *session, const struct run_options *options, struct error *err)
{
    if (options->raw) return continue_text(session, options, err);
    struct chat *format = NULL;
    struct conversation conversation = {0};
    int status = chat_open(model_file(session->model), session->tokenizer, &format, err);
    if (status == 0 && options->system)
        status = conversation_add(&conversation, "system", options->system, strlen(options->system), err);
    if (status == 0 && options->prompt)
        status = converse(session, options, format, &conversation, options->prompt, strlen(options->prompt), err);
    else if (status == 0)
        status = chat(session, options, format, &conversation, err);
    conversation_free(&conversation);
    chat_close(format);
    return status;
}

/* ctrl-C becomes readable on *fd. Done before any thread starts, so that all of them block it. */
static int catch_interrupts(int *fd, struct error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) == 0) *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*fd < 0) return error_set(err, ERROR_IO, "cannot listen for ctrl-C: %s", strerror(errno));
    return 0;
}

/* The grammar or schema that answers shall match, from its file. */
static int open_grammar(const struct session *session, struct run_options *options, struct error *err)
{
    const char *path = options->grammar_path ? options->grammar_path : options->schema_path;
    enum grammar_kind kind = options->grammar_path ? GRAMMAR_GBNF : GRAMMAR_JSON_SCHEMA;
    struct map_file file;
    if (!path) return 0;
    int status = map_file_open(path, &file, err);
    if (status < 0) return status;
    status =
        engine_grammar(session->engine, kind, (const char *)file.bytes, file.size, &options->generate.grammar, err);
    map_file_close(&file);
    return status < 0 ? error_prefix(err, "%s", path) : 0;
}

static int run_session(struct run_options *options, struct error *err)
{
    struct session session = {0};
    int status = options->prompt ? 0 : catch_interrupts(&options->generate.interrupt_fd, err);
    if (status == 0) status = session_open(&options->session, true, false, &session, err);
    if (status == 0) status = open_grammar(&session, options, err);
    if (status == 0) status = answer_all(&session, options, err);
    if (status == 0) status = session_end_trace(&session, err);
    grammar_release(options->generate.grammar);
    session_close(&session);
    if (options->generate.interrupt_fd >= 0) close(options->generate.interrupt_fd);
    return status;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct run_options o = {
        .session = {.max_sequences = 1},
        .sampler = SAMPLER_OPTIONS_START,
        .generate = {.max_tokens = UINT32_MAX, .interrupt_fd = -1, .process_started = seconds_now()},
    };
    const struct option table[] = {
        {"prompt", 'p', OPTION_TEXT, &o.prompt, "TEXT", "answer this message and end (without: chat)", 0, 0},
        {"raw", 0, OPTION_FLAG, &o.raw, NULL, "continue the text of -p, without a chat format", 0, 0},
        {"system", 0, OPTION_TEXT, &o.system, "TEXT", "system message", 0, 0},
        {"max-tokens", 'n', OPTION_U32, &o.generate.max_tokens, "N", "tokens of an answer (default: the context)", 1,
         4294967295.0},
        SAMPLER_OPTION_ROWS(&o.sampler),
        {"grammar", 0, OPTION_TEXT, &o.grammar_path, "FILE", "answers match the rule root of this GBNF grammar", 0, 0},
        {"json-schema", 0, OPTION_TEXT, &o.schema_path, "FILE", "answers are JSON that is valid under this schema", 0,
         0},
        {"stats", 0, OPTION_FLAG, &o.generate.stats, NULL,
         "speed and times on stderr, with a profile also energy and utilisation", 0, 0},
        SESSION_OPTION_ROWS(&o.session),
        SPECULATION_OPTION_ROWS(&o.session),
        TRACE_OPTION_ROW(&o.session),
        {0},
    };
    int n_operands;
    int status = options_parse(self, table, argc, argv, &o.session.model_path, 1, &n_operands);
    if (status < 0) status = session_check(self, &o.session);
    if (status < 0) status = sampler_options_read(self, &o.sampler);
    if (status >= 0) return status;
    o.generate.sampling = o.sampler.sampling;
    o.generate.dry_breaker = o.sampler.breaker;
    if (o.raw && !o.prompt) return usage_error(self, "--raw needs -p TEXT");
    if (o.grammar_path && o.schema_path) return usage_error(self, "--grammar and --json-schema: one at a time");
    if (o.raw && o.system) return usage_error(self, "--system needs the chat format, which --raw leaves out");

    struct error err = {0};
    if (run_session(&o, &err) == 0) return EXIT_DONE;
    return err.text[0] ? failure("run: %s", err.text) : EXIT_FAILED;
}

const struct command command_run = {
    .name = "run",
    .synopsis = "[MODEL] [-p TEXT]",
    .summary = "Chats in the terminal, or answers one message.",
    .details = "MODEL is a GGUF file or a safetensors folder; without it the demo model answers. With -p the answer "
               "goes to stdout and nothing "
               "else does;\n"
               "without it lines are read from the terminal or a pipe, and the conversation is kept.",
    .run = run,
};
