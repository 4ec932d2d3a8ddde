/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/serve/client.h"

#include <stdlib.h>

/* A server whose requests wait until the test answers them. */
struct fixture {
    struct event_base *base;
    struct connection_set *set;
    struct connection *waiting; /* the last request's */
    struct http_request request;
    char body[4096];
    size_t body_length;
    unsigned n_requests, n_refusals, n_hangups, n_logs;
    int refused_with;
    char log[256];
};

static void on_request(void *context, struct connection *connection, const struct http_request *request,
                       const char *body, size_t length)
{
    struct fixture *f = context;
    f->n_requests++;
    f->waiting = connection;
    f->request = *request;
    assert_true(length < sizeof f->body);
    memcpy(f->body, body, length);
    f->body_length = length;
    if (strcmp(request->path, "/now") == 0)
        connection_reply(
            connection, &(struct http_answer){.status = 200, .content_type = "text/plain", .body = "yes", .length = 3});
}

static void on_refuse(void *context, struct connection *connection, int status, const char *why)
{
    struct fixture *f = context;
    f->n_refusals++;
    f->refused_with = status;
    connection_reply(
        connection,
        &(struct http_answer){
            .status = status, .content_type = "text/plain", .body = why, .length = strlen(why), .close = true});
}

static void on_log(void *context, const char *line)
{
    struct fixture *f = context;
    f->n_logs++;
    snprintf(f->log, sizeof f->log, "%s", line);
}

static void on_hangup(void *context)
{
    struct fixture *f = context;
    f->n_hangups++;
}

static void start(struct fixture *f)
{
    struct error err = {0};
    *f = (struct fixture){.base = event_base_new()};
    const struct connection_hooks hooks = {on_request, on_refuse, on_log, f};
    const struct connection_limits limits = {.max_body = 1000,
                                             .max_unread = 100000,
                                             .head_seconds = 1,
                                             .body_seconds = 1,
                                             .idle_seconds = 1,
                                             .write_seconds = 1};
    assert_non_null(f->base);
    assert_int_equal(connection_set_open(f->base, &hooks, &limits, &f->set, &err), 0);
}

static void end(struct fixture *f)
{
    connection_set_close(f->set);
    event_base_free(f->base);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void one_after_the_other(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, GET("/later") GET("/now"));
    client_run(&c, 20, true);
    assert_int_equal(f.n_requests, 1); /* the second waits for the first one's answer */
    assert_true(connection_set_busy(f.set));
    connection_reply(f.waiting,
                     &(struct http_answer){.status = 200, .content_type = "text/plain", .body = "first", .length = 5});
    client_expect(&c, "\r\n\r\nyes");
    assert_int_equal(f.n_requests, 2);
    assert_int_equal(f.n_logs, 2);
    assert_non_null(strstr(f.log, "test GET /now 200 3 bytes"));
    assert_false(connection_set_busy(f.set));
    close(c.fd);
    end(&f);
}

static void bodies(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    client_run(&c, 20, true);
    assert_int_equal(f.n_requests, 0);
    client_send(&c, "lo");
    client_expect(&c, "yes");
    assert_int_equal(f.body_length, 5);
    assert_memory_equal(f.body, "hello", 5);
    client_send(&c, "POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r");
    client_run(&c, 5, true);
    client_send(&c, "\nde\r\n0\r\nT: u\r\n\r\n" GET("/now"));
    client_expect(&c, "yes");
    client_run(&c, 20, true);
    assert_int_equal(f.n_requests, 3);
    client_send(&c, "POST /now HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    client_expect(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(&c, "x");
    client_expect(&c, "yes");
    close(c.fd);
    end(&f);
}

static void bodies_that_are_too_large(void **state)
{
    (void)state;
    static const char *const heads[] = {"Content-Length: 1001\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e9\r\n",
                                        "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n"};
    struct fixture f;
    start(&f);
    for (unsigned i = 0; i < 3; i++) {
        struct client c;
        client_open(&c, f.base, f.set);
        client_send(&c, "POST / HTTP/1.1\r\nHost: a\r\n");
        client_send(&c, heads[i]);
        client_expect(&c, "HTTP/1.1 413 ");
        client_expect_end(&c, 1000);
        assert_int_equal(f.n_refusals, i + 1);
        close(c.fd);
    }
    assert_int_equal(f.n_requests, 0);
    end(&f);
}

static void a_stream(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, GET("/later"));
    client_run(&c, 5, true);
    connection_on_hangup(f.waiting, on_hangup, &f);
    connection_stream_start(f.waiting, "text/event-stream");
    client_expect(&c, "Transfer-Encoding: chunked\r\n");
    connection_stream_write(f.waiting, "hello", 5);
    client_expect(&c, "5\r\nhello\r\n"); /* it leaves at once */
    connection_stream_end(f.waiting, false);
    client_expect(&c, "0\r\n\r\n");
    client_send(&c, GET("/now"));
    client_expect(&c, "yes");
    close(c.fd);
    client_run(&c, 20, false);
    assert_int_equal(f.n_hangups, 0);
    end(&f);
}

static void a_reader_that_takes_nothing_is_dropped(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    char piece[10000];
    memset(piece, 'x', sizeof piece);
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, GET("/later"));
    client_run(&c, 5, false);
    connection_on_hangup(f.waiting, on_hangup, &f);
    connection_stream_start(f.waiting, "text/event-stream");
    for (int i = 0; i < 1000 && f.n_hangups == 0; i++) {
        connection_stream_write(f.waiting, piece, sizeof piece);
        connection_stream_write(f.waiting, piece, sizeof piece); /* after the limit, too */
        client_run(&c, 0, false);
    }
    assert_int_equal(f.n_hangups, 1);
    assert_non_null(strstr(f.log, " 499 "));
    client_expect_end(&c, 1000);
    close(c.fd);
    end(&f);
}

static void a_reader_that_stalls_is_dropped(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    static char large[1 << 20];
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, GET("/later"));
    client_run(&c, 5, false);
    memset(large, 'x', sizeof large);
    connection_reply(
        f.waiting,
        &(struct http_answer){.status = 200, .content_type = "text/plain", .body = large, .length = sizeof large});
    assert_true(connection_set_busy(f.set)); /* an answer may be larger than a stream's limit */
    client_run(&c, 1500, false);
    assert_false(connection_set_busy(f.set));
    close(c.fd);
    end(&f);
}

static void a_hang_up_is_told_once(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, GET("/later"));
    client_run(&c, 5, true);
    connection_on_hangup(f.waiting, on_hangup, &f);
    close(c.fd);
    client_run(&c, 400, false);
    assert_int_equal(f.n_hangups, 1);
    client_open(&c, f.base, f.set);
    client_send(&c, GET("/later"));
    client_run(&c, 5, true);
    connection_on_hangup(f.waiting, on_hangup, &f);
    end(&f); /* the server goes first */
    assert_int_equal(f.n_hangups, 2);
    close(c.fd);
}

static void every_wait_ends(void **state)
{
    (void)state;
    static const char *const starts[] = {"", "GET /", "GET / HTTP/1.1\r\nHost: a\r\n",
                                         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
                                         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
    struct fixture f;
    struct client clients[5];
    start(&f);
    for (unsigned i = 0; i < 5; i++) {
        client_open(&clients[i], f.base, f.set);
        if (i > 0) client_send(&clients[i], starts[i]);
    }
    client_run(&clients[0], 1300, true);
    for (unsigned i = 0; i < 5; i++) {
        client_run(&clients[i], 1, true);
        if (i > 0) assert_memory_equal(clients[i].received, "HTTP/1.1 408 ", 13);
        client_expect_end(&clients[i], 100);
        close(clients[i].fd);
    }
    assert_int_equal(f.n_refusals, 4); /* an idle connection is closed without a word */
    end(&f);
}

static void drip_feeding_does_not_extend_the_head_time(void **state)
{
    (void)state;
    struct fixture f;
    struct client c;
    start(&f);
    client_open(&c, f.base, f.set);
    client_send(&c, "GET /");
    for (int i = 0; i < 15 && f.n_refusals == 0; i++) {
        client_send(&c, "a");
        client_run(&c, 100, true);
    }
    assert_int_equal(f.refused_with, 408);
    close(c.fd);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_after_the_other),
        cmocka_unit_test(bodies),
        cmocka_unit_test(bodies_that_are_too_large),
        cmocka_unit_test(a_stream),
        cmocka_unit_test(a_reader_that_takes_nothing_is_dropped),
        cmocka_unit_test(a_reader_that_stalls_is_dropped),
        cmocka_unit_test(a_hang_up_is_told_once),
        cmocka_unit_test(every_wait_ends),
        cmocka_unit_test(drip_feeding_does_not_extend_the_head_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
