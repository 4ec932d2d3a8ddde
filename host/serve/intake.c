/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/intake.h"
#include "host/base/memory.h"
#include "host/serve/request_grammar.h"
#include "host/serve/request_tools.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

/* Jobs in order of arrival. */
struct queue {
    struct intake_job *first, **last;
};

struct intake {
    struct outbox *outbox;
    pthread_t thread;
    bool stopped;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    struct queue todo, done;
    bool stop;
};

/* ---- the work ---- */

/* Templates want the arguments of earlier calls as objects, but some as text: those refuse an object. */
static int make_chat_prompt(struct intake_job *job, struct error *err)
{
    struct completion_request *request = &job->request;
    struct error again = {0};
    const struct chat *chat = job->model->chat;
    int status =
        chat_prompt(chat, request->messages, request->n_messages, request->template_variables, &job->prompt, err);
    if (status != ERROR_BAD_ARGUMENT || !request->read_messages) return status;
    request_keep_arguments(request);
    if (chat_prompt(chat, request->messages, request->n_messages, request->template_variables, &job->prompt, &again) <
        0)
        return status;
    *err = again;
    return 0;
}

static int make_prompt(struct intake_job *job)
{
    const struct serving_model *model = job->model;
    const struct completion_request *request = &job->request;
    struct error err = {0};
    int status = 0;
    if (request->kind == REQUEST_CHAT && model->chat_status < 0)
        return api_error_set(&job->error, 400, "unsupported_model", "messages", "%s", model->chat_error.text);
    if (request->kind == REQUEST_CHAT) {
        status = make_chat_prompt(job, &err);
    } else if (request->prompt) {
        status =
            tokenize(model->tokenizer, request->prompt, request->prompt_length, TOKENIZE_PROMPT, &job->prompt, &err);
    } else {
        for (size_t i = 0; i < request->n_prompt_tokens && status == 0; i++)
            status = token_list_push(&job->prompt, request->prompt_tokens[i], &err);
    }
    return status < 0 ? api_error_of(&err, &job->error) : 0;
}

static int check_prompt(struct intake_job *job)
{
    const char *param = request_prompt_field(job->kind);
    uint32_t context = job->model->limits.context;
    if (job->prompt.count > context)
        return api_error_set(&job->error, 400, "context_length_exceeded", param,
                             "This server's context length is %u tokens, but '%s' comes to %zu tokens. Shorten it.",
                             context, param, job->prompt.count);
    if (job->prompt.count == 0)
        return api_error_set(&job->error, 400, "invalid_value", param, "Invalid '%s': it is empty.", param);
    return 0;
}

static int check_model(struct intake_job *job)
{
    const char *model = job->request.model;
    if (!model || strcmp(model, job->model_name) == 0) return 0;
    return api_error_set(&job->error, 404, "model_not_found", "model",
                         "The model '%.100s' does not exist. This server serves '%.100s'.", model, job->model_name);
}

/* To what the request says of its form. */
static int hold_answer(struct intake_job *job)
{
    const struct serving_model *model = job->model;
    struct completion_request *request = &job->request;
    const struct chat *chat = request->kind == REQUEST_CHAT ? model->chat : NULL;
    struct error err = {0};
    if (chat && chat_opens_reasoning(chat, job->prompt.ids, job->prompt.count, &request->reasoning_opened, &err) < 0)
        return api_error_of(&err, &job->error);
    return request_open_grammar(request, chat, model->engine, &job->error);
}

/* The text of the prompt's tokens: what the model reads, BOS and control tokens by their names. */
static int make_text(struct intake_job *job)
{
    struct error err = {0};
    const int status = detokenize_bytes(job->model->tokenizer, job->prompt.ids, job->prompt.count, &job->text, &err);
    return status < 0 ? api_error_of(&err, &job->error) : 0;
}

static void take_shorter_timeout(struct intake_job *job)
{
    float *timeout = &job->request.timeout_seconds;
    if (job->timeout_seconds > 0 && (*timeout <= 0 || job->timeout_seconds < *timeout)) *timeout = job->timeout_seconds;
}

void intake_run(struct intake_job *job, const char *body, size_t length)
{
    const enum intake_purpose purpose = job->purpose;
    job->status = purpose == INTAKE_DETOKENIZE
                      ? token_request_parse(body, length, &job->request, &job->error)
                      : completion_request_parse(job->kind, body, length, &job->request, &job->error);
    if (job->status == 0) take_shorter_timeout(job);
    if (job->status == 0) job->status = check_model(job);
    if (job->status == 0) job->status = make_prompt(job);
    if (job->status == 0 && purpose == INTAKE_COMPLETE) job->status = check_prompt(job);
    if (job->status == 0 && purpose == INTAKE_COMPLETE) job->status = hold_answer(job);
    if (job->status == 0 && (purpose == INTAKE_RENDER || purpose == INTAKE_DETOKENIZE)) job->status = make_text(job);
}

bool intake_is_work(const char *body, size_t length)
{
    return length > INTAKE_SMALL_BODY || memmem(body, length, "guided_", 7) ||
           memmem(body, length, "response_format", 15) || memmem(body, length, "grammar", 7) ||
           memmem(body, length, "tool_choice", 11) || memmem(body, length, "strict", 6) ||
           memmem(body, length, "json_schema", 11);
}

void intake_job_clear(struct intake_job *job)
{
    completion_request_free(&job->request);
    token_list_free(&job->prompt);
    text_free(&job->text);
    free(job->body);
    job->body = NULL;
}

/* ---- the thread ---- */

static void queue_put(struct queue *queue, struct intake_job *job)
{
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct intake_job *queue_get(struct queue *queue)
{
    struct intake_job *job = queue->first;
    if (!job) return NULL;
    queue->first = job->next;
    if (!queue->first) queue->last = &queue->first;
    return job;
}

static void *run(void *context)
{
    struct intake *intake = context;
    pthread_mutex_lock(&intake->lock);
    while (!intake->stop) {
        struct intake_job *job = queue_get(&intake->todo);
        if (!job) {
            pthread_cond_wait(&intake->changed, &intake->lock);
            continue;
        }
        pthread_mutex_unlock(&intake->lock);
        intake_run(job, job->body, job->length);
        free(job->body);
        job->body = NULL;
        pthread_mutex_lock(&intake->lock);
        queue_put(&intake->done, job);
        outbox_wake(intake->outbox);
    }
    pthread_mutex_unlock(&intake->lock);
    return NULL;
}

int intake_open(struct outbox *outbox, struct intake **out, struct error *err)
{
    struct intake *intake = memory_array(1, sizeof *intake);
    if (!intake) return error_set(err, ERROR_NO_MEMORY, "no memory for the server");
    intake->outbox = outbox;
    intake->todo.last = &intake->todo.first;
    intake->done.last = &intake->done.first;
    pthread_mutex_init(&intake->lock, NULL);
    pthread_cond_init(&intake->changed, NULL);
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);                   /* a thread's own: host/base/map_guard.h */
    pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the loop's */
    int failed = pthread_create(&intake->thread, NULL, run, intake);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        intake->stopped = true;
        intake_close(intake);
        return error_set(err, ERROR_NO_MEMORY, "cannot start the intake thread: %s", strerror(failed));
    }
    pthread_setname_np(intake->thread, "sluice-intake");
    *out = intake;
    return 0;
}

void intake_stop(struct intake *intake)
{
    struct intake_job *job;
    if (intake->stopped) return;
    pthread_mutex_lock(&intake->lock);
    intake->stop = true;
    pthread_cond_signal(&intake->changed);
    pthread_mutex_unlock(&intake->lock);
    pthread_join(intake->thread, NULL);
    intake->stopped = true;
    while ((job = queue_get(&intake->todo)) != NULL) {
        job->status = api_error_set(&job->error, 503, "server_stopping", NULL, "The server is stopping.");
        queue_put(&intake->done, job);
    }
}

void intake_close(struct intake *intake)
{
    if (!intake) return;
    pthread_cond_destroy(&intake->changed);
    pthread_mutex_destroy(&intake->lock);
    free(intake);
}

int intake_submit(struct intake *intake, struct intake_job *job, const char *body, size_t length)
{
    job->body = malloc(length ? length : 1);
    if (!job->body) return api_error_set(&job->error, 500, NULL, NULL, "The server has no memory for this request.");
    memcpy(job->body, body, length);
    job->length = length;
    pthread_mutex_lock(&intake->lock);
    queue_put(&intake->todo, job);
    pthread_cond_signal(&intake->changed);
    pthread_mutex_unlock(&intake->lock);
    return 0;
}

struct intake_job *intake_take(struct intake *intake)
{
    pthread_mutex_lock(&intake->lock);
    struct intake_job *job = queue_get(&intake->done);
    pthread_mutex_unlock(&intake->lock);
    return job;
}
