/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/outbox.h"
#include "host/base/memory.h"
#include "host/serve/answer.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct outbox {
    pthread_mutex_t lock;
    struct choice *first, **last; /* choices with post, in order of arrival */
    int fd;
};

int outbox_open(struct outbox **out, struct error *err)
{
    struct outbox *outbox = memory_array(1, sizeof *outbox);
    if (!outbox) return error_set(err, ERROR_NO_MEMORY, "no memory for the server");
    outbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (outbox->fd < 0) {
        free(outbox);
        return error_set(err, ERROR_IO, "cannot make an eventfd: %s", strerror(errno));
    }
    pthread_mutex_init(&outbox->lock, NULL);
    outbox->last = &outbox->first;
    *out = outbox;
    return 0;
}

void outbox_close(struct outbox *outbox)
{
    if (!outbox) return;
    close(outbox->fd);
    pthread_mutex_destroy(&outbox->lock);
    free(outbox);
}

int outbox_fd(const struct outbox *outbox) { return outbox->fd; }

void outbox_wake(struct outbox *outbox)
{
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(outbox->fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR); /* EAGAIN: the counter is full, so the loop is awake already */
}

/* With the lock held: true if the loop has to be woken. */
static bool list(struct outbox *outbox, struct choice *choice)
{
    if (choice->listed) return false;
    bool first = outbox->first == NULL;
    choice->listed = true;
    choice->next = NULL;
    *outbox->last = choice;
    outbox->last = &choice->next;
    return first;
}

void outbox_text(void *context, const char *bytes, size_t length)
{
    struct choice *choice = context;
    struct outbox *outbox = choice->outbox;
    pthread_mutex_lock(&outbox->lock);
    json_out_raw(&choice->post.text, bytes, length);
    bool wake = list(outbox, choice);
    pthread_mutex_unlock(&outbox->lock);
    if (wake) outbox_wake(outbox);
}

void outbox_logprobs(void *context, uint32_t token, float logprob, const struct sampler_logprobs *others)
{
    struct choice *choice = context;
    struct outbox *outbox = choice->outbox;
    pthread_mutex_lock(&outbox->lock);
    bool at_start = !choice->text_begun;
    if (choice->older_logprobs)
        answer_note_token(choice->tokenizer, token, logprob, others, &at_start, &choice->post.logprobs);
    else
        answer_put_logprobs(choice->tokenizer, token, logprob, others, &choice->post.logprobs);
    choice->text_begun = !at_start;
    pthread_mutex_unlock(&outbox->lock); /* the token's text, or the end, wakes the loop */
}

void outbox_end(void *context, enum finish_reason reason, const struct engine_usage *usage, const struct error *err)
{
    struct choice *choice = context;
    struct outbox *outbox = choice->outbox;
    pthread_mutex_lock(&outbox->lock);
    choice->post.ended = true;
    choice->post.reason = reason;
    choice->post.usage = *usage;
    if (reason == FINISH_ERROR && err) choice->post.err = *err;
    bool wake = list(outbox, choice);
    pthread_mutex_unlock(&outbox->lock);
    if (wake) outbox_wake(outbox);
}

void outbox_clear(struct outbox *outbox)
{
    uint64_t count;
    ssize_t got;
    do {
        got = read(outbox->fd, &count, sizeof count);
    } while (got < 0 && errno == EINTR);
}

struct choice *outbox_take(struct outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    struct choice *choice = outbox->first;
    if (choice) {
        outbox->first = choice->next;
        if (!outbox->first) outbox->last = &outbox->first;
        choice->listed = false;
        /* The two texts change places, so that neither thread allocates once they are large enough. */
        struct json_out empty = choice->taken.text, none = choice->taken.logprobs;
        json_out_clear(&empty);
        json_out_clear(&none);
        choice->taken = choice->post;
        choice->post = (struct post){.text = empty, .logprobs = none};
    }
    pthread_mutex_unlock(&outbox->lock);
    return choice;
}

void choice_release(struct choice *choice)
{
    json_out_free(&choice->post.text);
    json_out_free(&choice->taken.text);
    json_out_free(&choice->post.logprobs);
    json_out_free(&choice->taken.logprobs);
}
