/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xclbin container (axlf, magic "xclbin2"): what XRT loads onto a card. Little-endian.
 *
 *   offset size field
 *        0    8 magic "xclbin2" and a zero byte
 *        8    4 length of a PKCS#7 signature at the end of the file, i32; -1: none
 *       12   28 reserved, 0xff
 *       40  256 key block, 0xff
 *      296    8 unique id
 *      304    8 length of the file
 *      312    8 seconds since 1970 at which it was made
 *      320    8 the same of the platform (feature ROM)
 *      328    2 version: patch; 330 1 major; 331 1 minor
 *      332    2 mode (enum xclbin_mode)
 *      334    2 action mask
 *      336   16 UUID of the platform's feature ROM
 *      352   64 platform: vendor_board_name_version
 *      416   16 UUID of this file
 *      432   16 name of a debug file
 *      448    4 number of sections; 4 bytes of padding
 *      456   40 each section: u32 kind, 16 bytes name, 4 of padding, u64 offset, u64 bytes
 *
 * Sections start at multiples of 8. Layout, kinds and numbers: XRT's public src/runtime_src/core/include/xclbin.h
 * (Apache-2.0), as of 2.13, kinds from 32 on as of 2.18.
 */
#ifndef SLUICE_BITSTREAMS_XCLBIN_H
#define SLUICE_BITSTREAMS_XCLBIN_H

#include "host/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define XCLBIN_HEADER_BYTES 456u
#define XCLBIN_SECTION_BYTES 40u /* of an entry in the table */
#define XCLBIN_MAX_SECTIONS 0x10000u

#define XCLBIN_KINDS(X)                                                                                                \
    X(BITSTREAM, 0)                                                                                                    \
    X(CLEARING_BITSTREAM, 1)                                                                                           \
    X(EMBEDDED_METADATA, 2)                                                                                            \
    X(FIRMWARE, 3)                                                                                                     \
    X(DEBUG_DATA, 4)                                                                                                   \
    X(SCHED_FIRMWARE, 5)                                                                                               \
    X(MEM_TOPOLOGY, 6)                                                                                                 \
    X(CONNECTIVITY, 7)                                                                                                 \
    X(IP_LAYOUT, 8)                                                                                                    \
    X(DEBUG_IP_LAYOUT, 9)                                                                                              \
    X(DESIGN_CHECK_POINT, 10)                                                                                          \
    X(CLOCK_FREQ_TOPOLOGY, 11)                                                                                         \
    X(MCS, 12)                                                                                                         \
    X(BMC, 13)                                                                                                         \
    X(BUILD_METADATA, 14)                                                                                              \
    X(KEYVALUE_METADATA, 15)                                                                                           \
    X(USER_METADATA, 16)                                                                                               \
    X(DNA_CERTIFICATE, 17)                                                                                             \
    X(PDI, 18)                                                                                                         \
    X(BITSTREAM_PARTIAL_PDI, 19)                                                                                       \
    X(PARTITION_METADATA, 20)                                                                                          \
    X(EMULATION_DATA, 21)                                                                                              \
    X(SYSTEM_METADATA, 22)                                                                                             \
    X(SOFT_KERNEL, 23)                                                                                                 \
    X(ASK_FLASH, 24)                                                                                                   \
    X(AIE_METADATA, 25)                                                                                                \
    X(GROUP_TOPOLOGY, 26)                                                                                              \
    X(GROUP_CONNECTIVITY, 27)                                                                                          \
    X(SMARTNIC, 28)                                                                                                    \
    X(AIE_RESOURCES, 29)                                                                                               \
    X(OVERLAY, 30)                                                                                                     \
    X(VENDER_METADATA, 31)                                                                                             \
    X(AIE_PARTITION, 32)                                                                                               \
    X(IP_METADATA, 33)                                                                                                 \
    X(AIE_RESOURCES_BIN, 34)                                                                                           \
    X(AIE_TRACE_METADATA, 35)

enum xclbin_kind {
#define XCLBIN_KIND_ENUM(name, number) XCLBIN_##name = number,
    XCLBIN_KINDS(XCLBIN_KIND_ENUM)
#undef XCLBIN_KIND_ENUM
        XCLBIN_KIND_END,
};

enum xclbin_mode {
    XCLBIN_FLAT,
    XCLBIN_PR,
    XCLBIN_TANDEM_STAGE2,
    XCLBIN_TANDEM_STAGE2_WITH_PR,
    XCLBIN_HW_EMU,
    XCLBIN_SW_EMU,
    XCLBIN_HW_EMU_PR,
    XCLBIN_MODE_END,
};

/* How a file can be wrong: err.detail of what xclbin_read and the readers of sections refuse. */
enum xclbin_fault {
    XCLBIN_FAULT_NONE,
    XCLBIN_FAULT_SHORT,     /* ends within the header, or before the length that it states */
    XCLBIN_FAULT_MAGIC,     /* something else than an xclbin */
    XCLBIN_FAULT_LENGTH,    /* longer than it says, or a length that cannot be */
    XCLBIN_FAULT_SIGNATURE, /* its PKCS#7 signature's length cannot be */
    XCLBIN_FAULT_COUNT,     /* more sections than a file may have or this one has room for */
    XCLBIN_FAULT_RANGE,     /* a section that is not within the file, or in its header */
    XCLBIN_FAULT_ALIGNMENT, /* a section at an offset that is no multiple of 8 */
    XCLBIN_FAULT_OVERLAP,   /* two sections share bytes */
    XCLBIN_FAULT_TWICE,     /* two sections of a kind that is there once */
    XCLBIN_FAULT_CONTENT,   /* a section's content is not what its kind says */
};

struct xclbin_header {
    int32_t signature_length; /* -1: none */
    uint8_t reserved[28], key_block[256];
    uint64_t unique_id;
    uint64_t length; /* the writer sets it */
    uint64_t timestamp, feature_rom_timestamp;
    uint8_t version_major, version_minor;
    uint16_t version_patch;
    uint16_t mode, action_mask;
    uint8_t rom_uuid[16], uuid[16];
    char platform[65], debug_file[17]; /* foreign text */
};

struct xclbin_section {
    uint32_t kind;        /* may be one that this release does not know */
    char name[17];        /* foreign text */
    uint64_t offset;      /* the writer chooses it */
    const uint8_t *bytes; /* borrowed from the file that was read */
    size_t n_bytes;
};

struct xclbin {
    struct xclbin_header header;
    size_t n_sections;
    struct xclbin_section *section; /* in the order of the file's table; owned after xclbin_read */
};

/*
 * Reads the container: everything that the header says is checked, the content of sections is not (xclbin_sections.h,
 * xclbin_text.h). bytes must outlive *out; file is for messages. Errors: ERROR_BAD_FILE with detail enum xclbin_fault,
 * ERROR_NO_MEMORY. On error *out is {0}.
 */
int xclbin_read(const uint8_t *bytes, size_t n_bytes, const char *file, struct xclbin *out, struct error *err);
void xclbin_free(struct xclbin *xclbin); /* what xclbin_read allocated; leaves {0} */

/* The first section of a kind, NULL if there is none. */
const struct xclbin_section *xclbin_find(const struct xclbin *xclbin, uint32_t kind);

/* A header without signature and with everything else empty, as XRT's tools start one. */
void xclbin_header_init(struct xclbin_header *header);

/*
 * The file of header and sections, in order: *out (free()) and *n_bytes. The same input gives the same bytes, and what
 * was written reads as it was. ERROR_BAD_ARGUMENT for what cannot be written: too many sections, two of a kind that is
 * there once, a signed header (the signature would not hold).
 */
int xclbin_write(const struct xclbin *xclbin, uint8_t **out, size_t *n_bytes, struct error *err);

/* "MEM_TOPOLOGY", "XCLBIN_HW_EMU"; NULL for an unknown number. Static storage. */
const char *xclbin_kind_name(uint32_t kind);
const char *xclbin_mode_name(uint32_t mode);

/* True for kinds of which XRT uses one and a second would be a trap. */
int xclbin_kind_is_single(uint32_t kind);

/* 8-4-4-4-12 hexadecimal digits of a UUID. */
#define XCLBIN_UUID_TEXT 37
void xclbin_uuid_text(const uint8_t uuid[16], char text[XCLBIN_UUID_TEXT]);

#endif
