/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tools for models whose template has no place for them: what may be called goes into the system message, and calls and their
 * results become text of the messages, as Hermes 2 Pro writes them (reply_dialect_plain reads them).
 */
#ifndef SLUICE_TEXT_CHAT_TOOLS_H
#define SLUICE_TEXT_CHAT_TOOLS_H

#include "host/text/chat.h"

/* Messages with texts of their own. */
struct tool_messages {
    struct chat_message *messages; /* [n] */
    struct text *texts;            /* [n]; empty: the content is the caller's */
    size_t n;
};

/* messages are borrowed until tool_messages_free; tools: an array, or NULL. */
int tool_messages_make(const struct chat_message *messages, size_t n, const json_t *tools, struct tool_messages *out,
                       struct error *err);
void tool_messages_free(struct tool_messages *made); /* zeros are allowed */

#endif
