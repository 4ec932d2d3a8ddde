/* SPDX-License-Identifier: Apache-2.0 */
/* Small xclbins for tests. */
#ifndef SLUICE_TESTS_XCLBIN_FILES_H
#define SLUICE_TESTS_XCLBIN_FILES_H

#include "bitstreams/simulator_bitstream.h"
#include "bitstreams/xclbin.h"
#include "bitstreams/xclbin_layout.h"
#include "host/base/bytes.h"

#include <stdlib.h>
#include <string.h>

/* The simulator's, as `sluice bitstream build` makes it; free(). */
static inline uint8_t *made_xclbin(const char *card, size_t *n_bytes)
{
    const struct simulator_bitstream request = {.card = card, .mode = XCLBIN_HW_EMU, .revision = "test"};
    uint8_t *bytes;
    struct error err = {0};
    if (simulator_bitstream_make(&request, &bytes, n_bytes, &err) < 0) fail_msg("%s", err.text);
    return bytes;
}

/* Where entry i of the section table begins. */
static inline uint8_t *table_entry(uint8_t *bytes, size_t i)
{
    return bytes + XCLBIN_HEADER_BYTES + i * XCLBIN_SECTION_BYTES;
}

#endif
