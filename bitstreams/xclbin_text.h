/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sections of an xclbin that can be told in JSON: tables as XRT's tools write them (numbers are texts, the same member
 * names), metadata that is JSON as it is, EMBEDDED_METADATA (XML) as xml_tree.h says, PARTITION_METADATA (a device
 * tree) as device_tree.h says.
 */
#ifndef SLUICE_BITSTREAMS_XCLBIN_TEXT_H
#define SLUICE_BITSTREAMS_XCLBIN_TEXT_H

#include "bitstreams/xclbin.h"

#include <jansson.h>
#include <stdbool.h>

/* Bytes of a section that is told, at most: as a tree of JSON it takes a hundred times as much. */
#define XCLBIN_MAX_METADATA (4u << 20)

/* True for the kinds that xclbin_section_json takes. */
bool xclbin_is_text(uint32_t kind);

/*
 * The section as a JSON value: *out is owned by the caller; json_null() for an empty section. ERROR_BAD_FILE with
 * XCLBIN_FAULT_CONTENT if it is not what its kind says, ERROR_TOO_LARGE, ERROR_NO_MEMORY.
 */
int xclbin_section_json(const struct xclbin_section *section, json_t **out, struct error *err);

/* Text of a file as a JSON string, bytes that are no UTF-8 as question marks; NULL if out of memory. */
json_t *xclbin_json_text(const char *text);

/*
 * One object: header, sections (kind, name, offset, bytes, SHA-256), and below "content" each section that can be told, under its
 * kind's name. Errors as above.
 */
int xclbin_json(const struct xclbin *xclbin, json_t **out, struct error *err);

#endif
