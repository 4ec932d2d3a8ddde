/* SPDX-License-Identifier: Apache-2.0 */
/* What "xrt:..." may say, what a run's status means, and a process that is not there. No XRT is needed. */
#include "host/card/xrt_bitstream.h"
#include "host/card/xrt_card.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static int read_text(const char *text, struct xrt_settings *settings, struct error *err)
{
    unsetenv("SLUICE_BITSTREAM");
    unsetenv("SLUICE_UNSIGNED_BITSTREAMS");
    return xrt_settings_read(text, settings, err);
}

static void reads_settings(void **state)
{
    (void)state;
    static struct xrt_settings settings;
    struct error err = {0};
    assert_int_equal(
        read_text("3,bitstream=a.xclbin,keys=k,unsigned,watchdog=250,address=0000:3b:00.1", &settings, &err), 0);
    assert_int_equal(settings.device, 3);
    assert_string_equal(settings.bitstream, "a.xclbin");
    assert_string_equal(settings.keys, "k");
    assert_true(settings.allow_unsigned && settings.has_watchdog);
    assert_int_equal(settings.watchdog_ms, 250);
    assert_string_equal(settings.address, "0000:3b:00.1");
    assert_int_equal(read_text("bitstream=b", &settings, &err), 0);
    assert_int_equal(settings.device, 0);
    assert_false(settings.allow_unsigned || settings.has_watchdog);
}

static void refuses_other_settings(void **state)
{
    (void)state;
    static const char *const wrong[] = {"x",
                                        "256,bitstream=a",
                                        "-1,bitstream=a",
                                        "bitstream=",
                                        "bitstream=a,2",
                                        "0,bitstream=a,watchdog=fast",
                                        "0,bitstream=a,watchdog=99999999999999999999",
                                        "0,bitstream=a,address=",
                                        "0,bitstream=a,address=0000:0000:0000:00.00",
                                        "0,,bitstream=a",
                                        "0,bitstream=a,keys="};
    static struct xrt_settings settings;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error err = {0};
        assert_int_equal(read_text(wrong[i], &settings, &err), ERROR_NOT_FOUND);
        assert_non_null(strstr(err.text, wrong[i]));
        assert_non_null(strstr(err.text, "bitstream=FILE"));
    }
    static char text[4000] = "bitstream=";
    memset(text + 10, 'a', sizeof text - 11);
    assert_int_equal(read_text(text, &settings, NULL), ERROR_NOT_FOUND);
}

static void takes_the_environment(void **state)
{
    (void)state;
    static struct xrt_settings settings;
    struct error err = {0};
    assert_int_equal(read_text(NULL, &settings, &err), ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, "SLUICE_BITSTREAM"));
    assert_int_equal(err.detail, CARD_NOT_CONFIGURED);
    setenv("SLUICE_BITSTREAM", "c.xclbin", 1);
    setenv("SLUICE_UNSIGNED_BITSTREAMS", "1", 1);
    assert_int_equal(xrt_settings_read(NULL, &settings, &err), 0);
    assert_string_equal(settings.bitstream, "c.xclbin");
    assert_true(settings.allow_unsigned);
    assert_int_equal(xrt_settings_read("bitstream=d", &settings, &err), 0);
    assert_string_equal(settings.bitstream, "d");
    unsetenv("SLUICE_BITSTREAM");
    unsetenv("SLUICE_UNSIGNED_BITSTREAMS");
}

static void reads_statuses(void **state)
{
    (void)state;
    struct engine_status status = {0};
    struct error err = {0};
    assert_int_equal(xrt_status_error(&status, 0, &err), 0);
    status = (struct engine_status){.status = 5, .descriptor = 7, .item = 1, .value = 99};
    assert_int_equal(xrt_status_error(&status, 100, &err), ERROR_CARD);
    assert_string_equal(err.text, "descriptor 107: a chosen expert is not in the slot table (item 1, value 99)");
    memcpy(status.text, "descriptor 7 (COPY): why", sizeof "descriptor 7 (COPY): why");
    assert_int_equal(xrt_status_error(&status, 100, &err), ERROR_CARD);
    assert_string_equal(err.text, "descriptor 107 (COPY): why");
    status = (struct engine_status){.status = UINT32_MAX};
    assert_int_equal(xrt_status_error(&status, 0, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "no status"));
}

/* Programs that are no sluice-xrt: one that is not there, one that ends at once. */
static void says_when_the_process_is_none(void **state)
{
    (void)state;
    static const uint8_t xclbin[16];
    const struct xrt_request request = {
        .xclbin = xclbin, .n_xclbin = sizeof xclbin, .n_banks = 1, .bank = {{.name = "HBM", .bytes = 1 << 21}}};
    struct xrt_process process;
    struct error err = {0};
    setenv("SLUICE_XRT_PROCESS", "/nowhere/sluice-xrt", 1);
    assert_true(xrt_process_open(&request, &process, &err) < 0);
    assert_non_null(strstr(err.text, "/nowhere/sluice-xrt"));
    assert_null(process.shared);
    setenv("SLUICE_XRT_PROCESS", "/bin/false", 1);
    assert_int_equal(xrt_process_open(&request, &process, &err), ERROR_CARD);
    assert_non_null(strstr(err.text, "XRT gave up"));
    assert_null(process.shared);
    unsetenv("SLUICE_XRT_PROCESS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_settings),
        cmocka_unit_test(refuses_other_settings),
        cmocka_unit_test(takes_the_environment),
        cmocka_unit_test(reads_statuses),
        cmocka_unit_test(says_when_the_process_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
