/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/http.h"

#include <stdio.h>
#include <string.h>

static int parse(const char *head, struct http_request *out)
{
    const char *why = NULL;
    int status = http_parse_head(head, strlen(head), out, &why);
    if (status) assert_true(why && strlen(why) > 5);
    return status;
}

static void a_whole_head(void **state)
{
    (void)state;
    struct http_request r;
    assert_int_equal(parse("POST /v1/x?y=1#z HTTP/1.1\r\nhost: a\r\nContent-Length: \t12 \r\n"
                           "CONTENT-TYPE: Application/Json; charset=utf-8\r\nExpect: 100-Continue\r\nOrigin: b\r\n\r\n",
                           &r),
                     0);
    assert_string_equal(r.method, "POST");
    assert_string_equal(r.path, "/v1/x");
    assert_string_equal(r.content_type, "application/json");
    assert_true(r.has_length && r.content_length == 12 && !r.chunked);
    assert_true(r.keep_alive && r.expect_continue && r.has_origin && !r.encoded && r.minor == 1);
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n", &r), 0);
    assert_true(r.encoded);
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity\r\n\r\n", &r), 0);
    assert_true(!r.encoded);
}

static void keys(void **state)
{
    static const struct {
        const char *headers, *key;
    } cases[] = {
        {"", ""},
        {"Authorization: Bearer abc\r\n", "abc"},
        {"authorization: bearer \t abc \r\n", "abc"},
        {"X-Api-Key: abc\r\n", "abc"},
        {"X-Api-Key: abc\r\nAuthorization: Bearer def\r\n", "abc"}, /* the first */
        {"Authorization: Basic abc\r\n", "?"},
        {"Authorization: Bearer\r\n", "?"},
        {"Authorization: Bearer \r\n", "?"},
        {"Authorization:\r\nX-Api-Key: abc\r\n", "?"},
    };
    struct http_request r;
    char head[600];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].headers);
        assert_int_equal(parse(head, &r), 0);
        assert_string_equal(r.key, cases[i].key);
    }
    for (int length = HTTP_MAX_KEY; length <= HTTP_MAX_KEY + 1; length++) {
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: %0*d\r\n\r\n", length, 7);
        assert_int_equal(parse(head, &r), 0);
        assert_int_equal(strlen(r.key), length == HTTP_MAX_KEY ? HTTP_MAX_KEY : 1);
    }
}

static void keep_alive(void **state)
{
    (void)state;
    struct http_request r;
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, Close\r\n\r\n", &r), 0);
    assert_false(r.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &r), 0);
    assert_false(r.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &r), 0);
    assert_true(r.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", &r), 0);
    assert_false(r.keep_alive);
}

static void targets(void **state)
{
    (void)state;
    struct http_request r;
    assert_int_equal(parse("GET http://a:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", &r), 0);
    assert_string_equal(r.path, "/x");
    assert_int_equal(parse("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", &r), 0);
    assert_string_equal(r.path, "/");
    assert_int_equal(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &r), 0);
    assert_string_equal(r.path, "*");
    assert_int_equal(parse("GET * HTTP/1.1\r\nHost: a\r\n\r\n", &r), 400);
    char path[] = "/a%2Fb%41%c3%a9";
    assert_true(http_decode_path(path));
    assert_string_equal(path, "/a/bA\xc3\xa9");
    char bad[][8] = {"/%", "/%4", "/%zz", "/%00", "/%4g"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(http_decode_path(bad[i]));
}

#define GOOD "POST / HTTP/1.1\r\nHost: a\r\n"

static void refused(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *head;
    } cases[] = {
        {400, ""},
        {400, "\r\n"},
        {400, "GET\r\n\r\n"},
        {400, "GET /\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
        {400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "ABCDEFGHIJKLMNOP / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET x HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        {505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, GOOD "Host: b\r\n\r\n"},
        {400, GOOD " folded: x\r\n\r\n"},
        {400, GOOD "X: a\r\n b\r\n\r\n"},
        {400, GOOD "X : a\r\n\r\n"},
        {400, GOOD ": a\r\n\r\n"},
        {400, GOOD "X\r\n\r\n"},
        {400, GOOD "X: a\x01\r\n\r\n"},
        {400, GOOD "X: a\nY: b\r\n\r\n"},
        {400, GOOD "X: a\rb\r\n\r\n"},
        {400, GOOD "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {400, GOOD "Content-Length: -1\r\n\r\n"},
        {400, GOOD "Content-Length: +1\r\n\r\n"},
        {400, GOOD "Content-Length: 1,1\r\n\r\n"},
        {400, GOOD "Content-Length: 0x1\r\n\r\n"},
        {400, GOOD "Content-Length:\r\n\r\n"},
        {400, GOOD "Content-Length: 18446744073709551616\r\n\r\n"},
        {400, GOOD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, GOOD "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"},
        {400, GOOD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {501, GOOD "Transfer-Encoding: gzip\r\n\r\n"},
        {501, GOOD "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {417, GOOD "Expect: miracles\r\n\r\n"},
    };
    struct http_request r;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = parse(cases[i].head, &r);
        if (status != cases[i].status) fail_msg("%d for %s", status, cases[i].head);
    }
}

static void long_parts(void **state)
{
    (void)state;
    struct http_request r;
    char head[4096] = "GET /";
    memset(head + 5, 'a', 1100);
    strncpy(head + 1105, " HTTP/1.1\r\nHost: a\r\n\r\n", sizeof head - 1106);
    assert_int_equal(parse(head, &r), 414);
    size_t length = strlen(GOOD);
    memcpy(head, GOOD, length);
    for (int i = 0; i < HTTP_MAX_HEADERS; i++, length += 6) memcpy(head + length, "X: a\r\n", 6);
    memcpy(head + length, "\r\n", 3);
    assert_int_equal(parse(head, &r), 431);
    memcpy(head + length - 6, "\r\n", 3);
    assert_int_equal(parse(head, &r), 0);
    assert_int_equal(parse(GOOD "Content-Length: 18446744073709551615\r\n\r\n", &r), 0);
    assert_true(r.content_length == UINT64_MAX);
}

static void starts(void **state)
{
    (void)state;
    const char *why;
    assert_int_equal(http_check_start("", 0, &why), 0);
    assert_int_equal(http_check_start("G", 1, &why), 0);
    assert_int_equal(http_check_start("GET / HTTP/1.1\r\nX", 17, &why), 0);
    assert_int_equal(http_check_start("GET / HTTP/1.1\nX", 16, &why), 400);
    assert_int_equal(http_check_start("\x16\x03\x01", 3, &why), 400);
    assert_int_equal(http_check_start(" GET", 4, &why), 400);
    assert_int_equal(http_check_start("{\"a\":1}", 7, &why), 400);
}

static void chunk_sizes(void **state)
{
    (void)state;
    uint64_t size;
    assert_true(http_parse_chunk_size("0", 1, &size) && size == 0);
    assert_true(http_parse_chunk_size("1aF", 3, &size) && size == 0x1af);
    assert_true(http_parse_chunk_size("5;name=\"value\"", 14, &size) && size == 5);
    assert_true(http_parse_chunk_size("ffffffffffffffff", 16, &size) && size == UINT64_MAX);
    static const char *const bad[] = {"", ";", "g", "0x5", "-1", "+1", " 5", "5 ", "10000000000000000", "5;a\rb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(http_parse_chunk_size(bad[i], strlen(bad[i]), &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head), cmocka_unit_test(keys),        cmocka_unit_test(keep_alive),
        cmocka_unit_test(targets),      cmocka_unit_test(refused),     cmocka_unit_test(long_parts),
        cmocka_unit_test(starts),       cmocka_unit_test(chunk_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
