/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without any OpenCL driver. Alone in its program: the ICD loader looks for drivers once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/card/card.h"

#include <stdlib.h>
#include <string.h>

static void no_platform_is_an_error_with_a_way_out(void **state)
{
    (void)state;
    struct card *card;
    struct error err = {0};
    assert_int_equal(setenv("OCL_ICD_VENDORS", "/nowhere", 1), 0); /* of Debian's loader */
    assert_int_equal(setenv("OCL_ICD_FILENAMES", "", 1), 0);       /* of Khronos' loader */
    assert_int_equal(card_open("opencl", NULL, &card, &err), ERROR_NOT_FOUND);
    assert_null(card);
    assert_non_null(strstr(err.text, "no OpenCL platform"));
    assert_non_null(strstr(err.text, "apt-get install pocl-opencl-icd"));
    assert_int_equal(card_open("opencl:0", NULL, &card, &err), ERROR_NOT_FOUND);
    assert_int_equal(card_open("sim", NULL, &card, &err), 0); /* asked for by name, it works as ever */
    card_close(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_platform_is_an_error_with_a_way_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
