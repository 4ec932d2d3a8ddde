/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a completion request, parsed and checked: what the fields mean, their ranges and defaults. What is not
 * known is ignored, as OpenAI's services do; a wrong type is refused by name, and so is a field that is known and
 * asks for something this server cannot do.
 */
#ifndef SLUICE_SERVE_REQUEST_H
#define SLUICE_SERVE_REQUEST_H

#include "host/engine/completion.h"
#include "host/serve/api_error.h"
#include "host/text/chat.h"

#include <jansson.h>

#define REQUEST_MAX_DEPTH 64  /* of nested arrays and objects */
#define REQUEST_MAX_CHOICES 8 /* `n` */
#define REQUEST_MAX_MESSAGES 4096
#define REQUEST_MAX_BREAKERS 32 /* dry_sequence_breakers */
#define REQUEST_MAX_PRIORITY 1000
#define REQUEST_MAX_TIMEOUT 86400 /* seconds */
#define COMPLETIONS_MAX_TOKENS 16 /* OpenAI's default of max_tokens for /v1/completions */

enum tool_choice {
    TOOL_CHOICE_NONE,
    TOOL_CHOICE_AUTO,
    TOOL_CHOICE_REQUIRED, /* this and the next are held to a grammar */
    TOOL_CHOICE_NAMED,
};

/*
 * What the body is. The last three are translated into a chat (request_messages.c, request_responses.c), and the parsed
 * request is one; its format still tells them apart.
 */
enum request_kind {
    REQUEST_COMPLETION,
    REQUEST_CHAT,
    REQUEST_MESSAGES,  /* Anthropic's */
    REQUEST_COUNT,     /* the same, whose tokens are only counted */
    REQUEST_RESPONSES, /* OpenAI's newer kind */
};

/* A chat if the body has messages, else a completion: for endpoints that take either. */
#define REQUEST_EITHER ((enum request_kind) - 1)

/* The field that the prompt comes from. */
static inline const char *request_prompt_field(enum request_kind kind)
{
    if (kind == REQUEST_RESPONSES) return "input";
    return kind == REQUEST_COMPLETION ? "prompt" : "messages";
}

struct answer_format;

struct completion_request {
    enum request_kind kind; /* REQUEST_COMPLETION or REQUEST_CHAT */
    const struct answer_format *format;
    char *repeats;     /* owned; members that the answer repeats, as a JSON object; NULL: none */
    const char *model; /* NULL if not given */
    /* chat */
    struct chat_message *messages;
    size_t n_messages;
    json_t *template_variables; /* owned: chat_template_kwargs, tools and what else is the template's */
    const json_t *tools;        /* what the model may call, or NULL; borrowed from root */
    enum tool_choice tool_choice;
    const char *tool_name; /* of TOOL_CHOICE_NAMED; borrowed from root */
    bool one_call;         /* parallel_tool_calls is false */
    bool reasoning_opened; /* by the prompt; set with request_open_grammar */
    json_t *read_messages; /* owned: the messages with the arguments of calls as objects; NULL: there are no calls */
    /* completion: a text, or tokens */
    const char *prompt;
    size_t prompt_length;
    uint32_t *prompt_tokens; /* NULL if the prompt is a text */
    size_t n_prompt_tokens;

    struct sampling sampling; /* its biases are owned */
    const char *dry_breakers[REQUEST_MAX_BREAKERS];
    size_t n_dry_breakers;
    bool has_dry_breakers;
    bool has_seed;       /* else sampling.seed is 0 and the server draws one */
    uint32_t max_tokens; /* UINT32_MAX: up to the context */
    bool ignore_eos;
    const char *stops[COMPLETION_MAX_STOPS];
    size_t n_stops;
    uint32_t n_choices;
    bool stream, include_usage;
    bool echo;     /* of a completion: the prompt comes before its text */
    bool logprobs; /* of each token, and of so many others */
    uint32_t n_top_logprobs;

    /* What the answer must match (response_format, guided_*): the field it is of (NULL: anything), and the text for
       engine_grammar, owned. */
    const char *grammar_field;
    enum grammar_kind grammar_kind;
    char *grammar_text;
    bool grammar_in_reasoning; /* it begins with the answer's first token; else after the reasoning */
    struct grammar
        *grammar;          /* owned; after request_open_grammar: of the text, of the calls that have to come, of both */
    uint32_t priority;     /* 0: the key's own; more is later */
    float timeout_seconds; /* from the start to the last token; 0: none */

    json_t *root;  /* owned; the texts above are borrowed from it */
    char **joined; /* owned: contents made of several parts, n_messages of them or NULL */
};

/*
 * Reads length bytes of body. Returns 0, or -1 with *error filled (status 400); then nothing is to be freed.
 * *out is the caller's: completion_request_free.
 */
int completion_request_parse(enum request_kind kind, const char *body, size_t length, struct completion_request *out,
                             struct api_error *error);

/* The same for a body that has nothing but `tokens`, an array of token ids: they become out->prompt_tokens. */
int token_request_parse(const char *body, size_t length, struct completion_request *out, struct api_error *error);

void completion_request_free(struct completion_request *request);

/* The body as a JSON object (json_decref), or NULL with *error filled: syntax, depth, duplicate keys, bad UTF-8, NUL. */
json_t *request_json(const char *body, size_t length, struct api_error *error);

#endif
