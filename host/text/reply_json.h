/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON value (RFC 8259), byte by byte: where it ends, or that it is none. It keeps no text. */
#ifndef SLUICE_TEXT_REPLY_JSON_H
#define SLUICE_TEXT_REPLY_JSON_H

#include <stdbool.h>
#include <stdint.h>

#define JSON_SCAN_DEPTH 64

struct json_scan {
    uint8_t state, depth, hex;
    const char *literal; /* what is still to come of true, false or null */
    bool in_object[JSON_SCAN_DEPTH];
};

enum json_scan_result {
    JSON_SCAN_BAD = -1,
    JSON_SCAN_MORE,
    JSON_SCAN_DONE,
    JSON_SCAN_DONE_BEFORE /* a number, ended by this byte */
};

void json_scan_start(struct json_scan *scan);
enum json_scan_result json_scan_byte(struct json_scan *scan, char byte);

#endif
