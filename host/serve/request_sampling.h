/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a request that say how its tokens are chosen. */
#ifndef SLUICE_SERVE_REQUEST_SAMPLING_H
#define SLUICE_SERVE_REQUEST_SAMPLING_H

#include "host/serve/request.h"

/* Fills out->sampling, the seed and the breakers of DRY. 0, or -1 with *error filled. */
int request_parse_sampling(const json_t *root, struct completion_request *out, struct api_error *error);

#endif
