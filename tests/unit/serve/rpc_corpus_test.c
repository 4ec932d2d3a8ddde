/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fuzz/fuzz_rpc.c"
#include "tests/unit/serve/seeds.h"

static void every_seed(void **state)
{
    (void)state;
    assert_true(each_seed("rpc", LLVMFuzzerTestOneInput) >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
