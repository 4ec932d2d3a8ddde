/* SPDX-License-Identifier: Apache-2.0 */
/* What the OpenCL backend refuses, and how: devices, device numbers, kernels that do not build, a spoilt cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/opencl.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct opencl_facts good_facts(void)
{
    struct opencl_facts facts = {.name = "some device", .version = "OpenCL 1.2 some", .platform = "some platform"};
    facts.available = facts.compiler = facts.little_endian = CL_TRUE;
    facts.single = CL_FP_FMA | CL_FP_ROUND_TO_NEAREST | CL_FP_INF_NAN;
    facts.memory_bytes = facts.largest_buffer_bytes = 1u << 30;
    facts.local_bytes = 32 << 10;
    facts.work_group_size = 256;
    return facts;
}

static void expect_refusal(const struct opencl_facts *facts, const char *says)
{
    struct error err = {0};
    assert_int_equal(opencl_check_facts(facts, &err), ERROR_UNSUPPORTED);
    if (!strstr(err.text, says) || !strstr(err.text, "\"some device\""))
        fail_msg("says \"%s\", not \"%s\"", err.text, says);
}

static void devices_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct opencl_facts facts = good_facts();
    assert_int_equal(opencl_check_facts(&facts, NULL), 0);
#define LACKS(change, says)                                                                                            \
    do {                                                                                                               \
        facts = good_facts();                                                                                          \
        facts.change;                                                                                                  \
        expect_refusal(&facts, says);                                                                                  \
    } while (0)
    LACKS(available = CL_FALSE, "not available");
    LACKS(compiler = CL_FALSE, "no compiler");
    LACKS(little_endian = CL_FALSE, "little-endian");
    LACKS(version[9] = '1', "OpenCL 1.2");
    LACKS(version[0] = 'x', "OpenCL 1.2");
    LACKS(single &= ~(cl_device_fp_config)CL_FP_FMA, "CL_FP_FMA");
    LACKS(single &= ~(cl_device_fp_config)CL_FP_ROUND_TO_NEAREST, "CL_FP_ROUND_TO_NEAREST");
    LACKS(single &= ~(cl_device_fp_config)CL_FP_INF_NAN, "CL_FP_INF_NAN");
    LACKS(work_group_size = 127, "127 items at most, needed are 128");
    LACKS(local_bytes = 1000, "1000 bytes of local memory");
    LACKS(memory_bytes = 1 << 20, "1048576 bytes of memory");
    LACKS(largest_buffer_bytes = 1 << 20, "1048576 in one buffer");
#undef LACKS
}

static void device_numbers_are_checked(void **state)
{
    (void)state;
    struct card *card;
    struct error err = {0};
    const struct card_options small = {.memory_bytes = 8 << 20}, huge = {.memory_bytes = UINT64_MAX};
    const char *const bad[] = {"opencl:",   "opencl:x",  "opencl:1x",
                               "opencl:-1", "opencl: 0", "opencl:99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(card_open(bad[i], &small, &card, &err), ERROR_BAD_ARGUMENT);
        assert_non_null(strstr(err.text, "no device number"));
    }
    assert_int_equal(card_open("opencl:63", &small, &card, &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "there is no device 63, this machine has 0 to "));
    assert_int_equal(card_open("opencl:0", &small, &card, &err), 0);
    card_close(card);
    assert_int_equal(card_open("opencl", &huge, &card, &err), ERROR_NO_MEMORY);
    assert_non_null(strstr(err.text, "MiB of card memory asked for"));
}

/* ---- building ---- */

struct device {
    cl_context context;
    cl_device_id id;
    struct opencl_facts facts;
};

static struct device open_device(void)
{
    struct device device;
    struct error err = {0};
    cl_int status;
    if (opencl_find_device(NULL, &device.id, &device.facts, &err)) fail_msg("%s", err.text);
    device.context = clCreateContext(NULL, 1, &device.id, NULL, NULL, &status);
    assert_int_equal(status, CL_SUCCESS);
    return device;
}

static int build(const struct device *device, const char *text, const char *cache, struct error *err)
{
    cl_program program;
    int rc = opencl_build(device->context, device->id, &device->facts, text, strlen(text), cache, &program, err);
    if (rc)
        assert_null(program);
    else
        clReleaseProgram(program);
    return rc;
}

static void a_failed_build_shows_the_log(void **state)
{
    (void)state;
    struct device device = open_device();
    struct error err = {0};
    assert_int_equal(build(&device, "__kernel void k(__global int *x) { *x = no_such_name; }\n", NULL, &err),
                     ERROR_CARD);
    assert_non_null(strstr(err.text, "CL_BUILD_PROGRAM_FAILURE"));
    assert_non_null(strstr(err.text, "no_such_name"));
    clReleaseContext(device.context);
}

/* What the probe says of the device when `from` in the kernels' text is `to`. */
static int probe_with(const struct device *device, const char *from, const char *to, struct error *err)
{
    size_t bytes;
    const char *source = opencl_source(&bytes);
    char *text = calloc(bytes + strlen(to) + 1, 1);
    memcpy(text, source, bytes);
    char *at = strstr(text, from);
    assert_non_null(at);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
    cl_program program;
    cl_int status;
    if (opencl_build(device->context, device->id, &device->facts, text, strlen(text), NULL, &program, err))
        fail_msg("%s", err->text);
    cl_command_queue queue = clCreateCommandQueue(device->context, device->id, 0, &status);
    assert_int_equal(status, CL_SUCCESS);
    const int rc = opencl_probe(device->context, queue, program, "some device", err);
    clReleaseCommandQueue(queue);
    clReleaseProgram(program);
    free(text);
    return rc;
}

/* Devices that contract, keep subnormals, or flush what rounds to 2^-126 are refused by what they compute. */
static void devices_that_compute_otherwise_are_refused(void **state)
{
    (void)state;
    static const char *const devices[][3] = {
        {"as_uint(a * b + c)", "as_uint(fma(a, b, c))", "a * b + c (contracted?) of "},
        {"as_uint(a * b);", "as_uint(a * b) | (a != 0.0f && b != 0.0f && a * b == 0.0f);", "does not flush subnormals"},
        {"as_uint(a * b);", "fabs(a * b) <= 0x1p-126f ? 0 : as_uint(a * b);", "does not flush subnormals"},
        {"as_uint(fma(a, b, c));", "as_uint(as_uint(a) == 0x208004b0u ? 0x1p-126f : fma(a, b, c));",
         ": fma of 0x208004b0"},
        {"(uint)(a == 0.0f)", "(uint)((as_uint(a) & 0x7fffffffu) == 0)", ": comparisons of "},
    };
    struct device device = open_device();
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        struct error err = {0};
        assert_int_equal(probe_with(&device, devices[i][0], devices[i][1], &err), ERROR_UNSUPPORTED);
        if (!strstr(err.text, devices[i][2])) fail_msg("says \"%s\", not \"%s\"", err.text, devices[i][2]);
    }
    clReleaseContext(device.context);
}

/* Name of the only file in a folder; files: how many there are. */
static void only_file(const char *folder, char path[300], int *files)
{
    DIR *open = opendir(folder);
    const struct dirent *entry;
    *files = 0;
    assert_non_null(open);
    while ((entry = readdir(open))) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, 300, "%s/%.200s", folder, entry->d_name);
        ++*files;
    }
    closedir(open);
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static void a_build_is_kept_and_a_spoilt_one_is_made_again(void **state)
{
    (void)state;
    struct device device = open_device();
    struct error err = {0};
    char parent[] = "/tmp/sluice-opencl-XXXXXX", folder[100], path[300], first[100];
    const char *text = "__kernel void k(__global int *x) { *x = 5; }\n";
    int files;
    assert_non_null(mkdtemp(parent));
    snprintf(folder, sizeof folder, "%s/made/sluice", parent);
    for (int round = 0; round < 4; round++) {
        assert_int_equal(build(&device, text, folder, &err), 0);
        only_file(folder, path, &files);
        assert_int_equal(files, 1);
        FILE *file = fopen(path, "r+");
        assert_non_null(file);
        assert_non_null(fgets(first, sizeof first, file));
        assert_memory_equal(first, "sluice opencl ", 14);
        if (round == 1) assert_int_equal(ftruncate(fileno(file), ftell(file) + 3), 0); /* the binary is cut */
        if (round == 2) assert_int_equal(fseek(file, 0, SEEK_SET) + (fputc('x', file) != 'x'), 0); /* another key */
        fclose(file);
    }
    assert_int_equal(build(&device, "__kernel void k(__global int *x) { *x = 6; }\n", folder, &err), 0);
    only_file(folder, path, &files);
    assert_int_equal(files, 2);
    assert_int_equal(build(&device, text, "/proc/nowhere/sluice", &err), 0); /* no folder can be made: no cache */
    assert_int_equal(nftw(parent, remove_entry, 4, FTW_DEPTH | FTW_PHYS), 0);
    clReleaseContext(device.context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_refused_with_the_reason),
        cmocka_unit_test(device_numbers_are_checked),
        cmocka_unit_test(a_failed_build_shows_the_log),
        cmocka_unit_test(devices_that_compute_otherwise_are_refused),
        cmocka_unit_test(a_build_is_kept_and_a_spoilt_one_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
