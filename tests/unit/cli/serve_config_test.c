/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/serve_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *card, *model;
    uint32_t port;
    bool verbose;
};

static const struct command command = {.name = "test", .synopsis = "", .summary = "a command", .run = NULL};

/* The message goes to what, which has room for 300 bytes. */
static int read_path(const char *path, struct values *v, struct serve_config *config, char *what)
{
    const struct option table[] = {
        {"card", 0, OPTION_TEXT, &v->card, "NAME", "a text", 0, 0},
        {"port", 0, OPTION_U32, &v->port, "N", "a number", 0, 65535},
        {"verbose", 0, OPTION_FLAG, &v->verbose, NULL, "a flag", 0, 0},
        {"config", 0, OPTION_TEXT, &v->card, "FILE", "a file", 0, 0},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL, 0, 0},
    };
    FILE *message = tmpfile();
    assert_non_null(message);
    fflush(stderr);
    int err = dup(STDERR_FILENO);
    dup2(fileno(message), STDERR_FILENO);
    int status = serve_config_read(&command, table, path, config, &v->model);
    fflush(stderr);
    dup2(err, STDERR_FILENO);
    close(err);
    rewind(message);
    what[fread(what, 1, 299, message)] = '\0';
    fclose(message);
    return status;
}

static int read_text(const char *text, struct values *v, struct serve_config *config, char *what)
{
    char path[] = "/tmp/sluice-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    int status = read_path(path, v, config, what);
    unlink(path);
    return status;
}

static void every_kind_is_set(void **state)
{
    (void)state;
    struct values v = {.port = 1};
    struct serve_config config = {0};
    char what[300];
    int status =
        read_text("; ours\n[serve]\nmodel = a b.gguf\ncard = sim\nport = 99\nverbose = true\n", &v, &config, what);
    assert_int_equal(status, -1);
    assert_string_equal(what, "");
    assert_string_equal(v.model, "a b.gguf");
    assert_string_equal(v.card, "sim");
    assert_int_equal(v.port, 99);
    assert_true(v.verbose);
    serve_config_free(&config);
    assert_int_equal(config.n_texts, 0);
}

static void mistakes_name_line_and_key(void **state)
{
    (void)state;
    const struct {
        const char *text, *words;
    } wrong[] = {
        {"[serve]\ncolour = red\n", ":2: unknown key \"colour\""},
        {"[serve]\nconfig = other\n", ":2: unknown key \"config\""},
        {"[server]\nport = 1\n", ":2: unknown section \"server\""},
        {"port = 1\n", ":1: unknown section \"\""},
        {"[serve]\nverbose = perhaps\n", ":2: true or false expected for \"verbose\""},
        {"[serve]\n\nport = 70000\n", ":3: bad value"},
        {"[serve]\nnonsense\n", ":2: neither"},
        {"[serve]\ncolour = red\nshape = round\n", ":2: unknown key \"colour\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct values v = {0};
        struct serve_config config = {0};
        char what[300];
        assert_int_equal(read_text(wrong[i].text, &v, &config, what), EXIT_USAGE);
        if (!strstr(what, wrong[i].words)) fail_msg("\"%s\" does not say \"%s\"", what, wrong[i].words);
        serve_config_free(&config);
    }
}

static void files_that_cannot_be_read_fail(void **state)
{
    (void)state;
    struct values v = {0};
    struct serve_config config = {0};
    char what[300], folder[] = "/tmp/sluice-config-XXXXXX";
    assert_non_null(mkdtemp(folder));
    assert_int_equal(read_path(folder, &v, &config, what), EXIT_FAILED);
    assert_non_null(strstr(what, "Is a directory"));
    rmdir(folder);
    assert_int_equal(read_path(folder, &v, &config, what), EXIT_FAILED);
    assert_non_null(strstr(what, "No such file"));
    serve_config_free(&config);
}

static void too_many_entries_are_refused(void **state)
{
    (void)state;
    struct values v = {0};
    struct serve_config config = {0};
    char what[300], text[2000] = "[serve]\n";
    for (int i = 0; i <= SERVE_CONFIG_MAX; i++) strncat(text, "port = 1\n", sizeof text - strlen(text) - 1);
    assert_int_equal(read_text(text, &v, &config, what), EXIT_USAGE);
    assert_non_null(strstr(what, ":66: no room for \"port\""));
    serve_config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_set),
        cmocka_unit_test(mistakes_name_line_and_key),
        cmocka_unit_test(files_that_cannot_be_read_fail),
        cmocka_unit_test(too_many_entries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
