/* SPDX-License-Identifier: Apache-2.0 */
/* One choice of a chat answer while the model says it: its text, read (host/text/reply.h), becomes deltas or a message. */
#ifndef SLUICE_SERVE_READING_H
#define SLUICE_SERVE_READING_H

#include "host/serve/answer.h"
#include "host/text/reply.h"

struct reading; /* opaque */

/* identity is borrowed. NULL: no memory. options needs neither event nor context. */
struct reading *reading_open(const struct reply_dialect *dialect, const struct reply_options *options,
                             const struct answer_identity *identity, uint32_t index);
void reading_close(struct reading *reading); /* NULL is allowed */

/* Reads what came; its deltas are appended to out, or kept for the message without one. -1: no memory. */
int reading_post(struct reading *reading, const char *bytes, size_t length, bool ended, struct json_out *out);

bool reading_has_calls(const struct reading *reading); /* whole ones */
/* The message so far, borrowed; finish_reason is the caller's. */
void reading_message(const struct reading *reading, struct answer_choice *out);

#endif
