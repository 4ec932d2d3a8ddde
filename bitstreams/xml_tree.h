/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XML as a tree of JSON, for the metadata inside xclbins: {"element": name, "attributes": {name: value}, "children":
 * [elements and texts]}; the last two are left out where they are empty. Comments and instructions are skipped, the five entities of
 * XML and numbered characters become text. Document types are refused: nobody needs entities that grow.
 */
#ifndef SLUICE_BITSTREAMS_XML_TREE_H
#define SLUICE_BITSTREAMS_XML_TREE_H

#include "host/base/error.h"

#include <jansson.h>
#include <stddef.h>

#define XML_MAX_DEPTH 64u

/*
 * The root element: *out is owned by the caller. ERROR_BAD_FILE names the byte at which text is no XML (or no UTF-8),
 * or nested deeper than XML_MAX_DEPTH; ERROR_NO_MEMORY. Zeros at the end of text are ignored.
 */
int xml_parse(const char *text, size_t n_bytes, json_t **out, struct error *err);

/* Of an element (NULL: nothing is found): an attribute's text, NULL if it has none. Borrowed. */
const char *xml_attribute(const json_t *element, const char *name);

/* The first child of that name; the next one from *cursor (0 at first) on, NULL after the last. Borrowed. */
const json_t *xml_child(const json_t *element, const char *name);
const json_t *xml_next_child(const json_t *element, const char *name, size_t *cursor);

#endif
