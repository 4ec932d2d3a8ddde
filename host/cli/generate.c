/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/generate.h"

#include "host/cli/experts_report.h"
#include "host/cli/progress.h"
#include "host/cli/usage_report.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct stream {
    struct answer *answer;
    struct error *err;
    bool ended;
    int status;                       /* of writing or of the sequence */
    double started_at, first_text_at; /* wall time */
    struct usage_cards usage;
    struct experts_window experts;
    const struct session *session;
};

bool take_interrupt(int fd)
{
    struct signalfd_siginfo info;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&poll_fd, 1, 0) == 1 && read(fd, &info, sizeof info) == (ssize_t)sizeof info;
}

static void on_text(void *context, const char *bytes, size_t length)
{
    struct stream *stream = context;
    if (stream->status < 0) return;
    if (stream->first_text_at <= 0) stream->first_text_at = seconds_now();
    if (fwrite(bytes, 1, length, stdout) != length || fflush(stdout) != 0)
        stream->status = error_set(stream->err, ERROR_IO, "cannot write the answer: %s", strerror(errno));
    else
        stream->status = text_append(&stream->answer->text, bytes, length, stream->err);
}

static void on_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct stream *stream = context;
    stream->answer->reason = reason;
    stream->answer->usage = *usage;
    stream->ended = true;
    if (reason == FINISH_ERROR) stream->status = error_set(stream->err, err->code, "%s", err->text);
}

static double rate(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

/* On a card with a clock the engine's times are virtual, and so these. */
static void print_stats(const struct engine_usage *usage, const struct stream *stream, double process_started)
{
    const bool is_virtual = stream->usage.all.has_clock;
    const char *kind = is_virtual ? " (virtual)" : "";
    const int digits = is_virtual ? 6 : 3;
    const double ended_at = seconds_now();
    /* The first token comes out of the prompt's last step: decoding makes the others. */
    uint32_t decoded = usage->completion_tokens > 1 ? usage->completion_tokens - 1 : 0;
    fprintf(stderr, "prompt: %u tokens in %.*f s, %.1f tokens/s%s", usage->prompt_tokens, digits,
            usage->prefill_seconds, rate(usage->prompt_tokens - usage->cached_tokens, usage->prefill_seconds), kind);
    if (usage->cached_tokens > 0) fprintf(stderr, ", %u of them from the prefix cache", usage->cached_tokens);
    fputc('\n', stderr);
    fprintf(stderr, "decode: %u tokens in %.*f s, %.1f tokens/s%s\n", decoded, digits, usage->decode_seconds,
            rate(decoded, usage->decode_seconds), kind);
    if (usage->drafted_tokens > 0)
        fprintf(stderr, "drafts: %u tokens, %u of them right\n", usage->drafted_tokens, usage->accepted_tokens);
    fprintf(stderr, "first token: %.*f s after the request%s", digits, usage->queue_seconds + usage->prefill_seconds,
            kind);
    if (stream->first_text_at > 0)
        fprintf(stderr, ", %.3f s after the start%s", stream->first_text_at - process_started,
                is_virtual ? " (wall)" : "");
    fputc('\n', stderr);
    experts_print(stream->session->loaded, &stream->experts, stderr);
    if (is_virtual) {
        fprintf(stderr, "wall: %.3f s, %.1f tokens/s\n", ended_at - stream->started_at,
                rate(usage->completion_tokens, ended_at - stream->started_at));
        usage_print(&stream->usage.all, usage->completion_tokens, stderr);
    }
    usage_cards_print(&stream->session->cards, stream->session->loaded, &stream->usage, stderr);
}

static void print_cut(const struct session *session, const struct generate_options *options,
                      const struct engine_usage *usage)
{
    struct engine_limits limits;
    engine_get_limits(session->engine, &limits);
    if (usage->prompt_tokens + usage->completion_tokens >= limits.context)
        fprintf(stderr, "sluice: the answer ends here: the context of %u tokens is full (--ctx)\n", limits.context);
    else
        fprintf(stderr, "sluice: the answer ends here after %u token%s (--max-tokens)\n", options->max_tokens,
                options->max_tokens == 1 ? "" : "s");
}

int generate(const struct session *session, const struct generate_options *options, const struct token_list *prompt,
             struct answer *answer, struct error *err)
{
    *answer = (struct answer){0};
    struct stream stream = {.answer = answer, .err = err, .started_at = seconds_now(), .session = session};
    const struct completion_options request = {
        .prompt = prompt->ids,
        .n_prompt = prompt->count,
        .max_tokens = options->max_tokens,
        .sampling = options->sampling,
        .dry_breakers = options->dry_breaker ? &options->dry_breaker : NULL,
        .n_dry_breakers = options->dry_breaker != NULL,
        .grammar = options->grammar,
        .text = on_text,
        .end = on_end,
        .context = &stream,
    };
    struct completion *completion;
    usage_cards_begin(&session->cards, &stream.usage);
    experts_window_begin(session->loaded, &stream.experts);
    int status = completion_start(session->engine, session->tokenizer, &request, &completion, err);
    if (status < 0) return status;
    struct error step_error = {0}; /* an engine error ends the sequence too, which has told on_end */
    while (!stream.ended && engine_step(session->engine, &step_error) > 0) {
        if (stream.status < 0 || take_interrupt(options->interrupt_fd)) completion_cancel(completion);
    }
    completion_close(completion);
    usage_cards_end(&session->cards, &stream.usage);
    experts_window_end(session->loaded, &stream.experts);
    take_interrupt(options->interrupt_fd); /* one that came too late to stop this answer is not for the next prompt */
    putchar('\n');
    fflush(stdout);
    if (stream.status < 0) return stream.status;
    if (answer->reason == FINISH_LENGTH) print_cut(session, options, &answer->usage);
    if (options->stats) print_stats(&answer->usage, &stream, options->process_started);
    return 0;
}
