/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as the APIs want them, whole and in pieces (server-sent events). A format is one API's: OpenAI's completions
 * and chats, which know choices (answer.c), and the two that know a list of items (answer_items.h): Anthropic's messages
 * and OpenAI's responses. All write into a json_out.
 */
#ifndef SLUICE_SERVE_ANSWER_H
#define SLUICE_SERVE_ANSWER_H

#include "host/serve/api_error.h"
#include "host/serve/request.h"

#include <stdint.h>
#include <time.h>

struct answer_format;
struct answer_items;

/* What all pieces of one answer share. */
struct answer_identity {
    enum request_kind kind;
    const struct answer_format *format;
    struct answer_items *items; /* borrowed; NULL: the format has choices */
    char id[48];                /* the format's prefix and 24 hexadecimal digits */
    time_t created;
    const char *model; /* borrowed */
    bool with_usage;   /* chunks carry "usage": null until the last */
};

struct answer_usage {
    uint64_t prompt_tokens, completion_tokens;
    uint64_t cached_tokens;    /* of the prompt's, those from the prefix cache; of several choices the least */
    uint64_t reasoning_tokens; /* of the completion's; known to formats of items alone */
};

/* One finished choice; finish_reason is "stop", "length" or "tool_calls". */
struct answer_choice {
    const char *text;
    size_t length;
    const char *reasoning; /* of a chat; length 0: none */
    size_t reasoning_length;
    const char *calls; /* of a chat: tool_calls' elements as JSON; length 0: none */
    size_t calls_length;
    const char *finish_reason;
    const struct json_out
        *logprobs; /* of answer_put_logprobs; of a completion answer_token_lists; NULL: not asked for */
};

/* Appends a token's object of OpenAI's logprobs.content, with a comma before all but the first. */
void answer_put_logprobs(const struct tokenizer *tokenizer, uint32_t token, float logprob,
                         const struct sampler_logprobs *others, struct json_out *out);

/*
 * For /v1/completions: notes a token with its logprob (NaN: it has none, being the first), with a comma before all but the first;
 * *at_start: nothing of the text has been noted. Then the notes as OpenAI's older object: *offset is where the text stands,
 * in characters, and goes on.
 */
void answer_note_token(const struct tokenizer *tokenizer, uint32_t token, float logprob,
                       const struct sampler_logprobs *others, bool *at_start, struct json_out *out);
void answer_token_lists(const struct json_out *notes, size_t *offset, struct json_out *out);

/* An element of tool_calls up to its arguments, a JSON string that is to follow with "}}". */
void answer_call_head(const char *id, const char *name, size_t name_length, struct json_out *out);

/*
 * One API's way to answer. The events of a stream come in this order: the start of each choice, its pieces, its finish;
 * after the last choice's, the end. Formats of items need the pieces for whole answers too: then `out` gets nothing.
 */
struct answer_format {
    const char *id_prefix;
    const struct item_events *item_events; /* of a format of items, else NULL */
    void (*whole)(const struct answer_identity *identity, const struct answer_choice *choices, uint32_t n_choices,
                  const struct answer_usage *usage, struct json_out *out);
    void (*start)(const struct answer_identity *identity, uint32_t index, struct json_out *out);
    /* logprobs: NULL or of this text */
    void (*text)(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                 const struct json_out *logprobs, struct json_out *out);
    void (*reasoning)(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                      struct json_out *out);
    void (*call_start)(const struct answer_identity *identity, uint32_t index, unsigned call, const char *id,
                       const char *name, size_t name_length, struct json_out *out);
    void (*call_arguments)(const struct answer_identity *identity, uint32_t index, unsigned call, const char *bytes,
                           size_t length, struct json_out *out);
    /* whole: it was no call after all if not, and comes again as text. */
    void (*call_end)(const struct answer_identity *identity, uint32_t index, bool whole, struct json_out *out);
    void (*finish)(const struct answer_identity *identity, uint32_t index, const char *finish_reason,
                   struct json_out *out);
    void (*end)(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out);
    void (*error)(const struct answer_identity *identity, const struct api_error *error, struct json_out *out);
};

extern const struct answer_format answer_completions; /* text_completion */
extern const struct answer_format answer_chats;       /* chat.completion and its chunks */

#endif
