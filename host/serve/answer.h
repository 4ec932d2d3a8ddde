/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's answer objects, whole (chat.completion, text_completion) and in pieces (chunks framed as server-sent
 * events: "data: " JSON, empty line). Pure functions that write into a json_out.
 */
#ifndef SLUICE_SERVE_ANSWER_H
#define SLUICE_SERVE_ANSWER_H

#include "host/serve/api_error.h"
#include "host/serve/request.h"

#include <stdint.h>
#include <time.h>

/* What all pieces of one answer share. */
struct answer_identity {
    enum request_kind kind;
    char id[40]; /* "chatcmpl-..." or "cmpl-..." */
    time_t created;
    const char *model; /* borrowed */
    bool with_usage;   /* chunks carry "usage": null until the last */
};

struct answer_usage {
    uint64_t prompt_tokens, completion_tokens;
    uint64_t cached_tokens; /* of the prompt's, those from the prefix cache; of several choices the least */
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

void answer_whole(const struct answer_identity *identity, const struct answer_choice *choices, uint32_t n_choices,
                  const struct answer_usage *usage, struct json_out *out);

/* An element of tool_calls up to its arguments, a JSON string that is to follow with "}}". */
void answer_call_head(const char *id, const char *name, size_t name_length, struct json_out *out);

/* Events of a stream, in this order: the role (chat only, writes nothing for completions), texts, the finish of each
 * choice, the usage if it was asked for, and the end. */
void answer_event_role(const struct answer_identity *identity, uint32_t index, struct json_out *out);
void answer_event_text(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                       const struct json_out *logprobs, struct json_out *out); /* logprobs: NULL or of this text */
void answer_event_reasoning(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                            struct json_out *out);
void answer_event_call_start(const struct answer_identity *identity, uint32_t index, unsigned call, const char *id,
                             const char *name, size_t name_length, struct json_out *out);
void answer_event_call_arguments(const struct answer_identity *identity, uint32_t index, unsigned call,
                                 const char *bytes, size_t length, struct json_out *out);
void answer_event_finish(const struct answer_identity *identity, uint32_t index, const char *finish_reason,
                         struct json_out *out);
void answer_event_usage(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out);
void answer_event_done(struct json_out *out);
void answer_event_error(const struct api_error *error, struct json_out *out);

#endif
