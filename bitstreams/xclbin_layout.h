/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets in an xclbin's header and section table (xclbin.h has the whole of it): what reader and writer share. */
#ifndef SLUICE_BITSTREAMS_XCLBIN_LAYOUT_H
#define SLUICE_BITSTREAMS_XCLBIN_LAYOUT_H

#define XCLBIN_MAGIC "xclbin2" /* with its zero */
#define XCLBIN_ALIGNMENT 8u

enum xclbin_header_offset {
    XCLBIN_AT_SIGNATURE_LENGTH = 8,
    XCLBIN_AT_RESERVED = 12,
    XCLBIN_AT_KEY_BLOCK = 40,
    XCLBIN_AT_UNIQUE_ID = 296,
    XCLBIN_AT_LENGTH = 304,
    XCLBIN_AT_TIMESTAMP = 312,
    XCLBIN_AT_ROM_TIMESTAMP = 320,
    XCLBIN_AT_VERSION_PATCH = 328,
    XCLBIN_AT_VERSION_MAJOR = 330,
    XCLBIN_AT_VERSION_MINOR = 331,
    XCLBIN_AT_MODE = 332,
    XCLBIN_AT_ACTION_MASK = 334,
    XCLBIN_AT_ROM_UUID = 336,
    XCLBIN_AT_PLATFORM = 352,
    XCLBIN_AT_UUID = 416,
    XCLBIN_AT_DEBUG_FILE = 432,
    XCLBIN_AT_N_SECTIONS = 448,
};

enum xclbin_section_offset {
    XCLBIN_SECTION_AT_KIND = 0,
    XCLBIN_SECTION_AT_NAME = 4,
    XCLBIN_SECTION_AT_OFFSET = 24,
    XCLBIN_SECTION_AT_BYTES = 32,
};

#endif
