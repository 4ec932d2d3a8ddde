/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XRT's own reader takes the xclbins that we write; of one that it refuses it ends the process. Without XRT's library the
 * test says so and is skipped.
 */
#include "bitstreams/simulator_bitstream.h"
#include "bitstreams/xclbin.h"
#include "kernels/abi/card_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* <xrt/xrt_xclbin.h> of XRT 2.13. */
struct reader {
    void *library;
    void *(*open)(const char *file);
    int (*close)(void *xclbin);
    int (*platform)(void *xclbin, char *name, int size, int *length);
    int (*uuid)(void *xclbin, unsigned char out[16]);
    size_t (*kernels)(void *xclbin);
    size_t (*units)(void *xclbin);
};

static void *find(const struct reader *reader, const char *name)
{
    void *found = dlsym(reader->library, name);
    if (!found) fail_msg("XRT has no %s", name);
    return found;
}

static struct reader open_reader(void)
{
    struct reader reader = {.library = dlopen("libxrt_coreutil.so.2", RTLD_NOW)};
    if (!reader.library) {
        print_message("skipped: %s\n", dlerror());
        skip();
    }
    *(void **)(void *)&reader.open = find(&reader, "xrtXclbinAllocFilename");
    *(void **)(void *)&reader.close = find(&reader, "xrtXclbinFreeHandle");
    *(void **)(void *)&reader.platform = find(&reader, "xrtXclbinGetXSAName");
    *(void **)(void *)&reader.uuid = find(&reader, "xrtXclbinGetUUID");
    *(void **)(void *)&reader.kernels = find(&reader, "xrtXclbinGetNumKernels");
    *(void **)(void *)&reader.units = find(&reader, "xrtXclbinGetNumKernelComputeUnits");
    return reader;
}

static void check_card(const struct reader *reader, const char *card, uint32_t banks, uint16_t mode)
{
    const struct simulator_bitstream request = {.card = card, .banks = banks, .mode = mode, .revision = "test"};
    char path[] = "/tmp/sluice-xclbin-XXXXXX", want[80], name[128] = "";
    unsigned char uuid[16];
    struct error err = {0};
    struct xclbin ours;
    uint8_t *bytes;
    size_t n;
    int length = 0;
    if (simulator_bitstream_make(&request, &bytes, &n, &err)) fail_msg("%s", err.text);
    const int file = mkstemp(path);
    assert_true(file >= 0 && write(file, bytes, n) == (ssize_t)n && close(file) == 0);
    void *theirs = reader->open(path);
    unlink(path);
    if (!theirs) fail_msg("XRT does not take the xclbin of %s, %u banks, mode %u", card, banks, mode);
    assert_int_equal(xclbin_read(bytes, n, path, &ours, &err), 0);
    snprintf(want, sizeof want, "sluice_%s_simulator_1", card);
    assert_int_equal(reader->platform(theirs, name, sizeof name, &length), 0);
    assert_string_equal(name, want);
    assert_int_equal(reader->uuid(theirs, uuid), 0);
    assert_memory_equal(uuid, ours.header.uuid, sizeof uuid);
    assert_int_equal(reader->kernels(theirs), 1);
    assert_int_equal(reader->units(theirs), 1);
    assert_int_equal(reader->close(theirs), 0);
    xclbin_free(&ours);
    free(bytes);
}

static void takes_what_we_write(void **state)
{
    (void)state;
    static const char *const cards[] = {"u50", "u55c", "u280", "v80"};
    const struct reader reader = open_reader();
    for (unsigned i = 0; i < sizeof cards / sizeof *cards; i++) {
        for (uint32_t banks = 1; banks <= ENGINE_MAX_BANKS; banks *= 2) {
            check_card(&reader, cards[i], banks, XCLBIN_HW_EMU);
            check_card(&reader, cards[i], banks, XCLBIN_SW_EMU);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_we_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
