/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers under way, with an engine that the test plays: the completion functions below stand in for the engine's, so
 * that it can fail, be full, and end at a moment of the test's choosing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/generation.h"
#include "host/serve/intake.h"
#include "tests/unit/serve/client.h"

#include <pthread.h>
#include <stdlib.h>

struct completion {
    struct completion_options options;
    bool cancelled;
};

static struct {
    struct completion *running[REQUEST_MAX_CHOICES];
    unsigned n_started, n_cancelled, n_closed, refuse_from;
    int refuse_with;
} engine;

int completion_start(struct engine *unused, const struct tokenizer *tokenizer, const struct completion_options *options,
                     struct completion **out, struct error *err)
{
    (void)unused;
    (void)tokenizer;
    if (engine.refuse_with && engine.n_started >= engine.refuse_from)
        return error_set(err, engine.refuse_with, "the engine refuses");
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    (*out)->options = *options;
    engine.running[engine.n_started++] = *out;
    return 0;
}

void completion_cancel(struct completion *completion)
{
    if (!completion->cancelled) engine.n_cancelled++;
    completion->cancelled = true;
}

const char *completion_stop_string(const struct completion *completion)
{
    (void)completion;
    return NULL;
}

void completion_close(struct completion *completion)
{
    if (completion) engine.n_closed++;
    free(completion);
}

static void say(unsigned choice, const char *text)
{
    const struct completion_options *options = &engine.running[choice]->options;
    options->text(options->context, text, strlen(text));
}

static void finish(unsigned choice, enum finish_reason reason)
{
    const struct completion_options *options = &engine.running[choice]->options;
    const struct engine_usage usage = {.prompt_tokens = 2, .completion_tokens = 5};
    struct error err = {.code = ERROR_CARD, .text = "the card is gone"};
    options->end(options->context, reason, &usage, reason == FINISH_ERROR ? &err : NULL);
}

struct fixture {
    struct event_base *base;
    struct event *ready;
    struct connection_set *set;
    struct outbox *outbox;
    struct generations *generations;
    struct serving_model model;
    struct client client;
    struct api_error refusal; /* of the last request that was not started */
};

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    struct fixture *f = context;
    (void)fd;
    (void)what;
    generations_deliver(f->generations);
}

static void on_request(void *context, struct connection *connection, const struct http_request *head, const char *body,
                       size_t length)
{
    struct fixture *f = context;
    struct intake_job job = {.kind = REQUEST_COMPLETION, .model = &f->model, .model_name = "m"};
    (void)head;
    intake_run(&job, body, length);
    if (job.status == 0)
        job.status =
            generation_start(f->generations, &f->model, "m", &job.request, &job.prompt, connection, NULL, &job.error);
    if (job.status < 0) connection_reply(connection, &(struct http_answer){.status = job.error.status});
    f->refusal = job.error;
    intake_job_clear(&job);
}

static void on_refuse(void *context, struct connection *connection, int status, const char *why)
{
    (void)context;
    (void)connection;
    fail_msg("%d %s", status, why);
}

static void start(struct fixture *f)
{
    struct error err = {0};
    const struct connection_limits limits = {1 << 16, 1 << 16, 30, 30, 30, 30};
    *f = (struct fixture){.base = event_base_new(), .model.limits.context = 8};
    const struct connection_hooks hooks = {on_request, on_refuse, NULL, f};
    memset(&engine, 0, sizeof engine);
    assert_int_equal(outbox_open(&f->outbox, &err), 0);
    assert_int_equal(generations_open(f->base, f->outbox, &f->generations, &err), 0);
    assert_int_equal(connection_set_open(f->base, &hooks, &limits, &f->set, &err), 0);
    f->ready = event_new(f->base, outbox_fd(f->outbox), EV_READ | EV_PERSIST, on_ready, f);
    assert_int_equal(event_add(f->ready, NULL), 0);
    client_open(&f->client, f->base, f->set);
}

/* All is freed: what started has been closed. */
static void end(struct fixture *f)
{
    assert_true(generations_empty(f->generations));
    assert_int_equal(engine.n_closed, engine.n_started);
    connection_set_close(f->set);
    close(f->client.fd);
    generations_close(f->generations);
    outbox_close(f->outbox);
    event_free(f->ready);
    event_base_free(f->base);
}

static void post(struct fixture *f, const char *body)
{
    char head[128];
    snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", strlen(body));
    client_send(&f->client, head);
    client_send(&f->client, body);
    client_run(&f->client, 5, true);
}

static void whole_answer(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"n\":2,\"seed\":9,\"max_tokens\":3}");
    assert_int_equal(engine.n_started, 2);
    assert_int_equal(engine.running[1]->options.sampling.choice, 1);
    assert_true(engine.running[1]->options.sampling.seed == 9 && engine.running[1]->options.max_tokens == 3);
    say(1, "two");
    finish(1, FINISH_LENGTH);
    client_run(&f.client, 10, true);
    assert_int_equal(f.client.n_received, 0);
    say(0, "o");
    say(0, "ne");
    finish(0, FINISH_STOP);
    client_run(&f.client, 10, true);
    assert_non_null(
        strstr(f.client.received, "\"index\":0,\"text\":\"one\",\"logprobs\":null,\"finish_reason\":\"stop\""));
    assert_non_null(
        strstr(f.client.received, "\"index\":1,\"text\":\"two\",\"logprobs\":null,\"finish_reason\":\"length\""));
    client_expect(&f.client, "\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":10,\"total_tokens\":12,\"prompt_"
                             "tokens_details\":{\"cached_tokens\":0}}");
    assert_int_equal(engine.n_cancelled, 0);
    end(&f);
}

static void each_piece_leaves_at_once(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"stream\":true}");
    client_expect(&f.client, "text/event-stream");
    say(0, "a");
    client_expect(&f.client, "\"text\":\"a\"");
    say(0, "b");
    client_expect(&f.client, "\"text\":\"b\"");
    finish(0, FINISH_STOP);
    client_expect(&f.client, "data: [DONE]\n\n\r\n0\r\n\r\n");
    end(&f);
}

static void max_tokens_beyond_the_context(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"max_tokens\":7}");
    assert_true(engine.running[0]->options.max_tokens == UINT32_MAX); /* up to the context: 8 */
    finish(0, FINISH_LENGTH);
    client_expect(&f.client, "\"length\"");
    end(&f);
}

static void seeds_differ_when_none_is_given(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t seeds[2];
    start(&f);
    for (unsigned i = 0; i < 2; i++) {
        post(&f, "{\"prompt\":[1,2]}");
        seeds[i] = engine.running[i]->options.sampling.seed;
        finish(i, FINISH_STOP);
        client_expect(&f.client, "\"stop\"");
    }
    assert_true(seeds[0] != seeds[1]);
    end(&f);
}

static void refused_before_anything_starts(void **state)
{
    (void)state;
    static const struct {
        int code, status;
    } cases[] = {{ERROR_BUSY, 429}, {ERROR_BAD_ARGUMENT, 400}, {ERROR_TOO_LARGE, 400}, {ERROR_CARD, 500}};
    struct fixture f;
    start(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        engine.refuse_with = cases[i].code;
        post(&f, "{\"prompt\":[1,2],\"stream\":true}");
        assert_int_equal(f.refusal.status, cases[i].status);
        assert_int_equal(f.refusal.retry_after > 0, cases[i].code == ERROR_BUSY);
    }
    post(&f, "{\"prompt\":[1,2,3,4,5,6,7,8,9]}");
    assert_string_equal(f.refusal.code, "context_length_exceeded");
    assert_non_null(strstr(f.refusal.message, "9 tokens"));
    assert_int_equal(engine.n_started, 0);
    end(&f);
}

static void a_choice_that_does_not_start_ends_the_others(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    engine.refuse_from = 2;
    engine.refuse_with = ERROR_BUSY;
    post(&f, "{\"prompt\":[1,2],\"n\":4}");
    assert_int_equal(f.refusal.status, 429);
    assert_int_equal(engine.n_cancelled, 2);
    assert_false(generations_empty(f.generations)); /* until the engine lets go */
    say(0, "late");
    finish(0, FINISH_CANCELLED);
    finish(1, FINISH_CANCELLED);
    client_run(&f.client, 5, true);
    end(&f);
}

static void an_engine_error_within_a_stream(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"n\":2,\"stream\":true}");
    say(0, "a");
    client_expect(&f.client, "\"text\":\"a\"");
    finish(0, FINISH_ERROR);
    client_run(&f.client, 10, true);
    assert_null(strstr(f.client.received, "[DONE]"));
    client_expect(&f.client, "data: {\"error\":{\"message\":\"the card is gone\",\"type\":\"server_error\"");
    client_expect_end(&f.client, 100);
    assert_true(engine.running[1]->cancelled);
    finish(1, FINISH_CANCELLED);
    client_run(&f.client, 5, true);
    end(&f);
}

static void an_engine_error_before_a_whole_answer(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2]}");
    say(0, "half an");
    finish(0, FINISH_ERROR);
    client_expect(&f.client, "HTTP/1.1 500 ");
    end(&f);
    start(&f);
    post(&f, "{\"prompt\":[1,2]}");
    finish(0, FINISH_CANCELLED);
    client_expect(&f.client, "HTTP/1.1 503 ");
    end(&f);
}

static void a_hang_up_cancels(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"n\":3,\"stream\":true}");
    shutdown(f.client.fd, SHUT_RDWR);
    client_run(&f.client, 20, false);
    assert_int_equal(engine.n_cancelled, 3);
    say(2, "nobody reads this");
    for (unsigned i = 0; i < 3; i++) {
        assert_false(generations_empty(f.generations));
        finish(i, i == 1 ? FINISH_STOP : FINISH_CANCELLED);
        client_run(&f.client, 5, false);
    }
    end(&f);
}

static void an_engine_that_closes_is_not_asked_to_cancel(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"n\":2,\"stream\":true}");
    generations_engine_closes(f.generations);
    finish(0, FINISH_CANCELLED);
    finish(1, FINISH_CANCELLED);
    client_expect(&f.client, "\"code\":\"server_stopping\"");
    assert_int_equal(engine.n_cancelled, 0);
    end(&f);
}

static void *talk_a_lot(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5000; i++) say((unsigned)i % 2, "x");
    finish(0, FINISH_STOP);
    finish(1, FINISH_STOP);
    return NULL;
}

static void from_another_thread(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t thread;
    start(&f);
    post(&f, "{\"prompt\":[1,2],\"n\":2}");
    assert_int_equal(pthread_create(&thread, NULL, talk_a_lot, NULL), 0);
    while (!generations_empty(f.generations)) client_run(&f.client, 1, true);
    pthread_join(thread, NULL);
    client_run(&f.client, 10, true);
    size_t n = 0;
    for (size_t i = 0; i < f.client.n_received; i++) n += f.client.received[i] == 'x';
    assert_in_range(n, 5000, 5100); /* the head has some, too */
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answer),
        cmocka_unit_test(each_piece_leaves_at_once),
        cmocka_unit_test(max_tokens_beyond_the_context),
        cmocka_unit_test(seeds_differ_when_none_is_given),
        cmocka_unit_test(refused_before_anything_starts),
        cmocka_unit_test(a_choice_that_does_not_start_ends_the_others),
        cmocka_unit_test(an_engine_error_within_a_stream),
        cmocka_unit_test(an_engine_error_before_a_whole_answer),
        cmocka_unit_test(a_hang_up_cancels),
        cmocka_unit_test(an_engine_that_closes_is_not_asked_to_cancel),
        cmocka_unit_test(from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
