/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer as a list of items in the order in which the model said them: reasoning, text, calls. Anthropic's messages
 * (answer_messages.c) and OpenAI's responses (answer_responses.c) are such lists. Only the last item grows; a call is
 * added when it is whole, so no client sees one that breaks.
 */
#ifndef SLUICE_SERVE_ANSWER_ITEMS_H
#define SLUICE_SERVE_ANSWER_ITEMS_H

#include "host/serve/answer.h"

enum answer_item_kind { ITEM_REASONING, ITEM_TEXT, ITEM_CALL };

struct answer_item {
    enum answer_item_kind kind;
    struct json_out text; /* as it is; of a call the arguments */
    char *name, *call_id; /* owned; of a call */
};

struct answer_items {
    struct answer_item *item; /* owned, as is what is in it */
    size_t count, capacity;
    bool is_open;              /* the last item may still grow */
    bool failed;               /* no memory: the list is not whole */
    bool streams;              /* events are written */
    uint64_t prompt_tokens;    /* of the request */
    uint64_t n_events;         /* written so far (responses number them) */
    const char *finish_reason; /* NULL until the finish */
    const char *stop_string;   /* borrowed; that ended the text, or NULL */
    char *repeats;             /* owned; members of the request that the answer repeats, as a JSON object, or NULL */
    struct answer_item call;   /* the call that is not yet whole */
};

/* NULL: no memory. repeats (or NULL) is copied. */
struct answer_items *answer_items_new(bool streams, uint64_t prompt_tokens, const char *repeats);
void answer_items_free(struct answer_items *items); /* NULL is allowed */

/* What a format of items writes into a stream for its last item. */
struct item_events {
    void (*opened)(const struct answer_identity *identity, struct json_out *out);
    void (*delta)(const struct answer_identity *identity, const char *bytes, size_t length, struct json_out *out);
    void (*closed)(const struct answer_identity *identity, struct json_out *out);
};

/* The pieces of a format (answer.h) that fill the list and write the format's item_events. */
void answer_items_text(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                       const struct json_out *logprobs, struct json_out *out);
void answer_items_reasoning(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                            struct json_out *out);
void answer_items_call_start(const struct answer_identity *identity, uint32_t index, unsigned call, const char *id,
                             const char *name, size_t name_length, struct json_out *out);
void answer_items_call_arguments(const struct answer_identity *identity, uint32_t index, unsigned call,
                                 const char *bytes, size_t length, struct json_out *out);
void answer_items_call_end(const struct answer_identity *identity, uint32_t index, bool whole, struct json_out *out);
void answer_items_finish(const struct answer_identity *identity, uint32_t index, const char *finish_reason,
                         struct json_out *out);
#define ANSWER_ITEMS_PIECES                                                                                            \
    .text = answer_items_text, .reasoning = answer_items_reasoning, .call_start = answer_items_call_start,             \
    .call_arguments = answer_items_call_arguments, .call_end = answer_items_call_end, .finish = answer_items_finish

/* The text of all reasoning, appended to out. */
void answer_items_all_reasoning(const struct answer_items *items, struct json_out *out);

/* JSON of the last item's and of any other text. */
void answer_put_member(const char *name, const struct json_out *text, struct json_out *out); /* "name":"text" */
void answer_put_string(const char *text, struct json_out *out);                              /* or null */

extern const struct answer_format answer_messages;  /* Anthropic's /v1/messages */
extern const struct answer_format answer_responses; /* OpenAI's /v1/responses */

#endif
