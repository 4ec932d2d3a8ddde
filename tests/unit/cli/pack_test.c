/* SPDX-License-Identifier: Apache-2.0 */
/* sluice pack, --cache-dir and inspect --verify as a user calls them; and a process that dies while it packs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/cli/commands.h"
#include "host/cli/output_file.h"
#include "host/cli/pack_model.h"
#include "host/model/slc.h"
#include "host/model/slc_write.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL FIXTURES "/models/qwen3_moe/model-q4_0.gguf"

static char folder[] = "/tmp/sluice-pack-XXXXXX";
static char packed[64], other[64], cache[64], rows[64], text[8192];

/* Files in a folder, hidden ones too. */
static unsigned n_files(const char *path)
{
    unsigned n = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

/* Runs a command; text is what it printed on stdout and stderr. Returns its exit status. */
static int call(const struct command *command, ...)
{
    char *argv[20] = {(char *)(uintptr_t)command->name};
    int argc = 1, saved[2];
    va_list arguments;
    va_start(arguments, command);
    while ((argv[argc] = va_arg(arguments, char *))) assert_in_range(++argc, 1, 18);
    va_end(arguments);
    FILE *output = tmpfile();
    assert_non_null(output);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        saved[i] = dup(i + 1);
        dup2(fileno(output), i + 1);
    }
    int status = command->run(command, argc, argv);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    rewind(output);
    text[fread(text, 1, sizeof text - 1, output)] = '\0';
    fclose(output);
    return status;
}

static void read_whole(const char *path, uint8_t **bytes, size_t *n)
{
    struct stat about;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &about), 0);
    *n = (size_t)about.st_size;
    *bytes = malloc(*n);
    assert_non_null(*bytes);
    assert_int_equal(fread(*bytes, 1, *n, file), *n);
    fclose(file);
}

static void assert_same_file(const char *a, const char *b)
{
    uint8_t *x, *y;
    size_t n_x, n_y;
    read_whole(a, &x, &n_x);
    read_whole(b, &y, &n_y);
    assert_int_equal(n_x, n_y);
    assert_memory_equal(x, y, n_x);
    free(x);
    free(y);
}

static void expect_rows(const char *out, const char *model, const char *cache_dir)
{
    if (call(&command_logits, model, "--tokens", "1,2,3,4,5,6", "--out", out, "--threads", "2",
             cache_dir ? "--cache-dir" : NULL, cache_dir, NULL) != EXIT_DONE)
        fail_msg("%s", text);
}

static void test_pack_and_every_way_to_read_it(void **state)
{
    (void)state;
    assert_int_equal(call(&command_pack, MODEL, packed, "--threads", "2", NULL), EXIT_DONE);
    assert_non_null(strstr(text, "MiB, packed in"));
    assert_int_equal(n_files(folder), 1);
    expect_rows(rows, MODEL, NULL);
    expect_rows(other, packed, NULL);
    assert_same_file(rows, other);
    assert_int_equal(call(&command_inspect, packed, "--verify", NULL), EXIT_DONE);
    assert_non_null(strstr(text, ".slc version 1, card ABI"));
    assert_non_null(strstr(text, "model-q4_0.gguf"));
    assert_int_equal(call(&command_inspect, packed, "--json", "--hash", NULL), EXIT_DONE);
    assert_int_equal(call(&command_tokenize, packed, "--raw", "--text-file", MODEL "x", NULL), EXIT_FAILED);
    assert_null(strstr(text, ".slc")); /* the packed vocabulary opened; the text is what is missing */
    assert_int_equal(call(&command_pack, packed, other, NULL), EXIT_FAILED);
    assert_non_null(strstr(text, "is a packed file already"));
    unlink(other);
    unlink(rows);
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(call(&command_pack, NULL), EXIT_USAGE);
    assert_int_equal(call(&command_pack, MODEL, "-", NULL), EXIT_USAGE);
    assert_int_equal(call(&command_pack, MODEL, MODEL, NULL), EXIT_USAGE);
    assert_non_null(strstr(text, "the same file"));
    assert_int_equal(call(&command_pack, "/nonexistent", other, NULL), EXIT_FAILED);
    assert_int_equal(call(&command_pack, MODEL, "/nonexistent/x.slc", NULL), EXIT_FAILED);
    assert_non_null(strstr(text, "/nonexistent/x.slc"));
    assert_int_equal(call(&command_pack, MODEL, "/dev/full", NULL), EXIT_FAILED);
    assert_int_equal(call(&command_inspect, MODEL, "--verify", NULL), EXIT_FAILED);
    assert_non_null(strstr(text, "only packed files"));
    assert_int_equal(n_files(folder), 1);
}

static void test_verify_names_what_is_damaged(void **state)
{
    (void)state;
    struct slc *slc;
    struct error err = {0};
    char command[128], name[2][65];
    if (slc_open(packed, &slc, &err) < 0) fail_msg("%s", err.text);
    int fd = open(packed, O_RDWR);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 2; i++) {
        const struct slc_tensor *tensor = slc_tensor_at(slc, 3 + 4 * i);
        snprintf(name[i], sizeof name[i], "%s", tensor->name);
        uint8_t byte = (uint8_t)~tensor->data[9];
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)tensor->offset + 9), 1);
    }
    close(fd);
    slc_close(slc);
    assert_int_equal(call(&command_inspect, packed, NULL), EXIT_DONE); /* opening looks at no tensor */
    assert_int_equal(call(&command_inspect, packed, "--verify", NULL), EXIT_FAILED);
    snprintf(command, sizeof command, "(pack it again: sluice pack model-q4_0.gguf %s)", packed);
    for (unsigned i = 0; i < 2; i++) assert_non_null(strstr(text, name[i]));
    assert_non_null(strstr(text, command));
    assert_int_equal(call(&command_logits, packed, "--tokens", "1,2", "--out", rows, NULL), EXIT_FAILED);
    assert_non_null(strstr(text, "is damaged"));
    assert_non_null(strstr(text, command));
    assert_int_equal(call(&command_pack, MODEL, packed, "--quiet", NULL), EXIT_DONE); /* the remedy */
    assert_int_equal(call(&command_inspect, packed, "--verify", NULL), EXIT_DONE);
}

static void test_cache(void **state)
{
    (void)state;
    expect_rows(rows, MODEL, NULL);
    for (unsigned i = 0; i < 2; i++) {
        expect_rows(other, MODEL, cache);
        assert_same_file(rows, other);
        assert_int_equal(n_files(cache), 1);
    }
    DIR *dir = opendir(cache);
    char path[400] = "";
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') snprintf(path, sizeof path, "%s/%s", cache, entry->d_name);
    closedir(dir);
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    expect_rows(other, packed, cache); /* a packed file needs none */
    expect_rows(other, MODEL, cache);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(truncate(path, 5000), 0); /* one that does not open is packed again */
    expect_rows(other, MODEL, cache);
    assert_same_file(rows, other);
    assert_int_equal(n_files(cache), 1);
    assert_int_equal(call(&command_logits, MODEL, "--tokens", "1", "--out", rows, "--cache-dir", MODEL "/x", NULL),
                     EXIT_FAILED);
    unlink(path);
    rmdir(cache);
    unlink(rows);
    unlink(other);
}

/* Dies at the n-th report of progress, or when nothing but the last rename is missing. */
struct death {
    unsigned left;
};

static int die_later(void *context, uint64_t done, uint64_t total)
{
    struct death *death = context;
    (void)done, (void)total;
    if (death->left-- == 0) raise(SIGKILL);
    return 0;
}

static void die_in_hash(void *context, uint8_t hash[SLC_SOURCE_HASH_BYTES])
{
    (void)context;
    memset(hash, 0, SLC_SOURCE_HASH_BYTES);
    raise(SIGKILL);
}

static void test_a_crash_leaves_nothing(void **state)
{
    (void)state;
    uint8_t *before, *after;
    size_t n_before, n_after;
    read_whole(packed, &before, &n_before);
    for (unsigned n = 0; n < 20; n++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct error err = {0};
            struct model *model;
            struct output_file out;
            struct model_conversion conversion;
            struct death death = {n};
            const struct slc_write_options options = {
                .load = {.progress = die_later, .progress_context = &death, .threads = 1},
                .source_name = "x",
                .source_hash = die_in_hash,
            };
            if (model_open(MODEL, &model, &err) == 0 && output_file_open(n % 2 ? packed : other, &out, &err) == 0)
                (void)slc_write(model, &options, out.stream, &conversion, &err);
            _exit(1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(n_files(folder), 1); /* and what was there is as it was */
    }
    read_whole(packed, &after, &n_after);
    assert_int_equal(n_before, n_after);
    assert_memory_equal(before, after, n_before);
    free(before);
    free(after);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(packed, sizeof packed, "%s/model.slc", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    snprintf(rows, sizeof rows, "%s/rows", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(packed);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack_and_every_way_to_read_it),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_verify_names_what_is_damaged),
        cmocka_unit_test(test_a_crash_leaves_nothing),
        cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
