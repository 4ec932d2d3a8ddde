/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/serve/listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void a_free_port(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "127.9.9.9", "localhost"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        int fd;
        char url[96];
        struct error err = {0};
        assert_int_equal(listener_open(hosts[i], 0, false, "http", &fd, url, sizeof url, &err), 0);
        assert_memory_equal(url, "http://127.", 11);
        assert_true(strtol(strrchr(url, ':') + 1, NULL, 10) > 0);
        close(fd);
    }
}

static void a_busy_port(void **state)
{
    (void)state;
    int fd, other;
    char url[96], second[96];
    struct error err = {0};
    assert_int_equal(listener_open("127.0.0.1", 0, false, "http", &fd, url, sizeof url, &err), 0);
    uint16_t port = (uint16_t)strtol(strrchr(url, ':') + 1, NULL, 10);
    assert_int_equal(listener_open("127.0.0.1", port, false, "http", &other, second, sizeof second, &err), ERROR_BUSY);
    assert_non_null(strstr(err.text, "Address already in use"));
    assert_non_null(strstr(err.text, "--port"));
    assert_non_null(strstr(err.text, strrchr(url, ':')));
    close(fd);
}

static void other_machines_only_when_allowed(void **state)
{
    (void)state;
    static const char *const hosts[] = {"0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "::ffff:127.0.0.1"};
    int fd;
    char url[96];
    struct error err = {0};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_int_equal(listener_open(hosts[i], 0, false, "http", &fd, url, sizeof url, &err), ERROR_BAD_ARGUMENT);
        assert_non_null(strstr(err.text, "--insecure-no-keys"));
    }
    assert_int_equal(listener_open("0.0.0.0", 0, true, "http", &fd, url, sizeof url, &err), 0);
    close(fd);
}

static void no_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"", "example.invalid", "127.0.0.1:80", "1.2.3", "[::1]"};
    int fd;
    char url[96];
    struct error err = {0};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_int_equal(listener_open(hosts[i], 0, true, "http", &fd, url, sizeof url, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(listener_open("192.0.2.1", 0, true, "http", &fd, url, sizeof url, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_port),
        cmocka_unit_test(a_busy_port),
        cmocka_unit_test(other_machines_only_when_allowed),
        cmocka_unit_test(no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
