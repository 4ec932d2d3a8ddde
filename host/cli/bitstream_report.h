/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice bitstream inspect` prints of an xclbin: what `xclbinutil --info` does, for people. */
#ifndef SLUICE_CLI_BITSTREAM_REPORT_H
#define SLUICE_CLI_BITSTREAM_REPORT_H

#include "bitstreams/xclbin.h"

/* To stdout. Errors are xclbin_json's; nothing is printed then. */
int bitstream_report(const char *path, const struct xclbin *xclbin, struct error *err);

/* One JSON object: xclbin_json's and "file", "manifest" (null: none inside). */
int bitstream_report_json(const char *path, const struct xclbin *xclbin, struct error *err);

#endif
