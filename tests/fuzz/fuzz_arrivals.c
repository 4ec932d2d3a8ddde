/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the file of `sluice bench --arrivals`: refused with the line's number, or arrivals in order and in range. */
#include "host/cli/arrivals.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct arrivals arrivals;
    struct error err = {0};
    const int status = arrivals_parse("F", (const char *)bytes, n_bytes, &arrivals, &err);
    REQUIRE(status == 0 || status == ERROR_BAD_FILE);
    if (status < 0) REQUIRE(strncmp(err.text, "F: line ", 8) == 0 || arrivals.count == 0);
    if (status == 0) REQUIRE(arrivals.count > 0);
    for (size_t i = 0; i < arrivals.count; i++) {
        const struct arrival *arrival = &arrivals.list[i];
        REQUIRE(arrival->at_ps <= (uint64_t)1000000000 * 1000000000);
        REQUIRE(arrival->prompt_tokens >= 1 && arrival->prompt_tokens <= ARRIVAL_MOST_TOKENS);
        REQUIRE(arrival->output_tokens >= 1 && arrival->output_tokens <= ARRIVAL_MOST_TOKENS);
        if (i > 0) REQUIRE(arrival[-1].at_ps <= arrival->at_ps && arrival[-1].line < arrival->line);
    }
    arrivals_free(&arrivals);
    return 0;
}
