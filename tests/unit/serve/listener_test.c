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
#include <sys/stat.h>
#include <unistd.h>

static void a_free_port(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "127.9.9.9", "localhost"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct listening first;
        struct error err = {0};
        assert_int_equal(listener_open(hosts[i], 0, false, "http", &first, &err), 0);
        assert_memory_equal(first.url, "http://127.", 11);
        assert_true(strtol(strrchr(first.url, ':') + 1, NULL, 10) > 0);
        close(first.fd);
    }
}

static void a_busy_port(void **state)
{
    (void)state;
    struct listening first, second;
    struct error err = {0};
    assert_int_equal(listener_open("127.0.0.1", 0, false, "http", &first, &err), 0);
    uint16_t port = (uint16_t)strtol(strrchr(first.url, ':') + 1, NULL, 10);
    assert_int_equal(listener_open("127.0.0.1", port, false, "http", &second, &err), ERROR_BUSY);
    assert_non_null(strstr(err.text, "Address already in use"));
    assert_non_null(strstr(err.text, "--port"));
    assert_non_null(strstr(err.text, strrchr(first.url, ':')));
    close(first.fd);
}

static void other_machines_only_when_allowed(void **state)
{
    (void)state;
    static const char *const hosts[] = {"0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "::ffff:127.0.0.1"};
    struct listening first;
    struct error err = {0};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_int_equal(listener_open(hosts[i], 0, false, "http", &first, &err), ERROR_BAD_ARGUMENT);
        assert_non_null(strstr(err.text, "--insecure-no-keys"));
    }
    assert_int_equal(listener_open("0.0.0.0", 0, true, "http", &first, &err), 0);
    close(first.fd);
}

static void a_socket_in_the_file_system(void **state)
{
    char folder[] = "/tmp/sluice-listener-XXXXXX", host[80], path[64], long_host[200];
    struct listening first, second;
    struct error err = {0};
    struct stat info;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(host, sizeof host, "unix:%s", path);
    assert_int_equal(listener_open(host, 0, false, "http", &first, &err), 0);
    assert_string_equal(first.url, host);
    assert_string_equal(first.path, path);
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISSOCK(info.st_mode));
    assert_int_equal(info.st_mode & 0777, 0660);
    assert_int_equal(listener_open(host, 0, false, "http", &second, &err), ERROR_BUSY); /* a server lives there */
    assert_non_null(strstr(err.text, path));
    close(first.fd);
    assert_int_equal(listener_open(host, 0, false, "http", &second, &err), 0); /* it has died */
    close(second.fd);
    assert_int_equal(unlink(path), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(listener_open(host, 0, false, "http", &second, &err), ERROR_BUSY);
    assert_int_equal(stat(path, &info), 0); /* a file that is no socket stays */
    assert_true(S_ISREG(info.st_mode));
    unlink(path);
    snprintf(host, sizeof host, "unix:%s/no/folder", folder);
    assert_int_equal(listener_open(host, 0, false, "http", &second, &err), ERROR_IO);
    snprintf(long_host, sizeof long_host, "unix:/%0150d", 0);
    assert_int_equal(listener_open(long_host, 0, false, "http", &second, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(listener_open("unix:", 0, false, "http", &second, &err), ERROR_BAD_ARGUMENT);
    rmdir(folder);
}

static void no_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"", "example.invalid", "127.0.0.1:80", "1.2.3", "[::1]"};
    struct listening first;
    struct error err = {0};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_int_equal(listener_open(hosts[i], 0, true, "http", &first, &err), ERROR_BAD_ARGUMENT);
    assert_int_equal(listener_open("192.0.2.1", 0, true, "http", &first, &err), ERROR_IO);
    assert_non_null(strstr(err.text, "192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_port),
        cmocka_unit_test(a_busy_port),
        cmocka_unit_test(other_machines_only_when_allowed),
        cmocka_unit_test(a_socket_in_the_file_system),
        cmocka_unit_test(no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
