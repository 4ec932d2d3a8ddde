/* SPDX-License-Identifier: Apache-2.0 */
/* Files that become shorter while they are mapped: what is gone reads as zeros, is known, and ends nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/base/map_file.h"
#include "host/base/map_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (16u * 65536u) /* pages of any size */

static sigjmp_buf before;

static void jump(int signal)
{
    (void)signal;
    siglongjmp(before, 1);
}

static int make(char path[64])
{
    snprintf(path, 64, "/tmp/sluice-map-XXXXXX");
    const int fd = mkstemp(path);
    uint8_t *bytes = malloc(BYTES);
    assert_true(fd >= 0);
    assert_non_null(bytes);
    memset(bytes, 0xa5, BYTES);
    assert_int_equal(write(fd, bytes, BYTES), BYTES);
    free(bytes);
    return fd;
}

static void what_is_gone_reads_as_zeros(void **state)
{
    (void)state;
    char path[64];
    struct map_file map, other;
    struct error err = {0};
    const int fd = make(path);
    assert_int_equal(map_file_open(path, &map, &err), 0);
    assert_int_equal(map_file_open(path, &other, &err), 0);
    assert_int_equal(ftruncate(fd, BYTES / 2), 0);
    assert_int_equal(map.bytes[0], 0xa5);
    assert_int_equal(map_file_check(&map, path, &err), 0); /* nobody has looked */
    for (size_t at = 0; at < BYTES; at += 4096) assert_int_equal(map.bytes[at], at < BYTES / 2 ? 0xa5 : 0);
    assert_int_equal(map_file_check(&map, path, &err), ERROR_IO);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "has become shorter"));
    assert_int_equal(map_file_check(&other, path, &err), 0);
    map_file_close(&map);
    assert_int_equal(map_file_check(&map, path, &err), 0);
    map_file_close(&other);
    close(fd);
    unlink(path);
}

static void *read_all(void *argument)
{
    const struct map_file *map = argument;
    unsigned sum = 0;
    for (size_t at = 0; at < BYTES; at += 512) sum += map->bytes[at];
    return sum == 0 ? NULL : argument;
}

static void from_any_thread(void **state)
{
    (void)state;
    char path[64];
    struct map_file map;
    struct error err = {0};
    pthread_t threads[4];
    const int fd = make(path);
    assert_int_equal(map_file_open(path, &map, &err), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_all, &map), 0);
    for (int i = 0; i < 4; i++) {
        void *result = &map;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    assert_int_equal(map_file_check(&map, path, &err), ERROR_IO);
    map_file_close(&map);
    close(fd);
    unlink(path);
}

/* Faults that are nobody's go where they went before. */
static void other_faults_are_passed_on(void **state)
{
    (void)state;
    char path[64];
    const struct sigaction action = {.sa_handler = jump, .sa_flags = SA_NODEFER};
    assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
    const int fd = make(path);
    const uint8_t *bytes = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(bytes, MAP_FAILED);
    const unsigned number = map_guard_add(bytes, BYTES);
    assert_true(number > 0);
    assert_false(map_guard_shrank(number));
    map_guard_remove(number);
    assert_int_equal(ftruncate(fd, 0), 0);
    volatile int passed_on = sigsetjmp(before, 1);
    if (!passed_on) assert_int_equal(*(const volatile uint8_t *)bytes, 1); /* never compared */
    assert_int_equal(passed_on, 1);
    munmap((void *)(uintptr_t)bytes, BYTES);
    close(fd);
    unlink(path);
}

/* More mappings than the table holds: the rest is not guarded, and nothing else happens. */
static void a_full_table_guards_no_more(void **state)
{
    (void)state;
    unsigned numbers[1000], guarded = 0;
    uint8_t byte = 0;
    for (unsigned i = 0; i < 1000; i++) guarded += (numbers[i] = map_guard_add(&byte, 1)) > 0;
    assert_true(guarded > 100 && guarded < 1000);
    assert_int_equal(numbers[999], 0);
    for (unsigned i = 0; i < 1000; i++) map_guard_remove(numbers[i]);
    numbers[0] = map_guard_add(&byte, 1);
    assert_true(numbers[0] > 0);
    map_guard_remove(numbers[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_gone_reads_as_zeros),
        cmocka_unit_test(from_any_thread),
        cmocka_unit_test(other_faults_are_passed_on),
        cmocka_unit_test(a_full_table_guards_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
