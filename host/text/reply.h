/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a model says: text comes in pieces of any size, and goes out as content, reasoning and calls of tools. Every
 * family writes these in its own dialect, known from its chat template. Only what may still become a marker is held back, so
 * arguments go out while they are written. The events' joined texts do not depend on how the text is cut into pieces.
 */
#ifndef SLUICE_TEXT_REPLY_H
#define SLUICE_TEXT_REPLY_H

#include "host/text/tokenizer.h"

#include <jansson.h>

#define REPLY_MAX_MARKERS 24
#define REPLY_ID_BYTES 72

struct reply_calls; /* how calls are written; static */

/* What a family's models write around reasoning and calls; a value. */
struct reply_dialect {
    const char *think_open, *think_close; /* NULL: no reasoning */
    const struct reply_calls *calls;      /* NULL: none */
    bool channels;                        /* harmony: messages with channels and recipients, calls included */
};

/* By the chat template's text (NULL, 0: none). What it does not know is content. */
void reply_dialect_of(const char *template, size_t length, struct reply_dialect *out);
/* Calls as chat_tools.h asks for them. */
void reply_dialect_plain(struct reply_dialect *dialect);
const char *
reply_dialect_name(const struct reply_dialect *dialect); /* of the calls: "hermes", "harmony"..., or "none" */

/* The dialect's markers (static texts), those of calls only with calls. Returns how many; at most REPLY_MAX_MARKERS. */
unsigned reply_markers(const struct reply_dialect *dialect, bool calls, const char *markers[REPLY_MAX_MARKERS]);

/* Whether a prompt with this end has opened the reasoning, which the answer then goes on with. */
bool reply_opens_reasoning(const struct reply_dialect *dialect, const char *prompt, size_t length);

enum reply_event_kind {
    REPLY_CONTENT,
    REPLY_REASONING,
    REPLY_CALL_START,     /* bytes is the name, id the call's */
    REPLY_CALL_ARGUMENTS, /* a piece of the JSON text of an object */
    REPLY_CALL_END,       /* the arguments are whole and valid JSON */
    REPLY_CALL_BROKEN,    /* the call that was started is none; its text comes again, as content */
};

struct reply_event {
    enum reply_event_kind kind;
    const char *bytes; /* borrowed during the call, whole UTF-8 characters if the input is */
    size_t length;
    const char *id;
    unsigned call; /* 0.. */
};

struct reply_options {
    const json_t
        *tools;    /* an array as OpenAI has it (its schemas say what is a string), or NULL: no calls are read; kept */
    bool one_call; /* further ones are left out */
    bool reasoning_opened; /* reply_opens_reasoning */
    uint64_t seed;         /* of the calls' ids */
    void (*event)(void *context, const struct reply_event *event);
    void *context;
};

struct reply; /* one answer being read */

struct reply *reply_open(const struct reply_dialect *dialect,
                         const struct reply_options *options); /* NULL: no memory */
void reply_close(struct reply *reply);                         /* NULL is allowed */

/* -1: no memory, and the reply is to be closed. */
int reply_feed(struct reply *reply, const char *bytes, size_t length);

/* The text has ended: what is held goes out; a call that is not whole is broken. -1 as above. */
int reply_end(struct reply *reply);

#endif
