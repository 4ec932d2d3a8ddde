/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flattened device tree (Devicetree specification, version 17; big-endian) as JSON: what PARTITION_METADATA holds. A node is
 * an object of its properties and its nodes. Properties that XRT writes are numbers, texts or lists of them by their name;
 * others are texts where they look like one, else hexadecimal digits.
 */
#ifndef SLUICE_BITSTREAMS_DEVICE_TREE_H
#define SLUICE_BITSTREAMS_DEVICE_TREE_H

#include "host/base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_TREE_MAX_DEPTH 32u

/* The root node: *out is owned by the caller. ERROR_BAD_FILE says what is wrong; ERROR_NO_MEMORY. */
int device_tree_parse(const uint8_t *bytes, size_t n_bytes, json_t **out, struct error *err);

#endif
