/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/answer.h"

#include <string.h>

/* {"id":...,"object":...,"created":...,"model":...,"choices":[ */
static void put_head(const struct answer_identity *identity, const char *object, struct json_out *out)
{
    json_out_format(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", identity->id, object,
                    (long long)identity->created);
    json_out_string(out, identity->model, strlen(identity->model));
    json_out_text(out, ",\"choices\":[");
}

static void put_usage(const struct answer_usage *usage, struct json_out *out)
{
    json_out_format(out,
                    "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
                    "\"prompt_tokens_details\":{\"cached_tokens\":%llu}}",
                    (unsigned long long)usage->prompt_tokens, (unsigned long long)usage->completion_tokens,
                    (unsigned long long)(usage->prompt_tokens + usage->completion_tokens),
                    (unsigned long long)usage->cached_tokens);
}

void answer_call_head(const char *id, const char *name, size_t name_length, struct json_out *out)
{
    json_out_text(out, "{\"id\":");
    json_out_string(out, id, strlen(id));
    json_out_text(out, ",\"type\":\"function\",\"function\":{\"name\":");
    json_out_string(out, name, name_length);
    json_out_text(out, ",\"arguments\":");
}

static void put_message(const struct answer_choice *choice, struct json_out *out)
{
    json_out_text(out, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (choice->calls_length && !choice->length)
        json_out_text(out, "null");
    else
        json_out_string(out, choice->text, choice->length);
    if (choice->reasoning_length) {
        json_out_text(out, ",\"reasoning_content\":");
        json_out_string(out, choice->reasoning, choice->reasoning_length);
    }
    if (choice->calls_length) {
        json_out_text(out, ",\"tool_calls\":[");
        json_out_raw(out, choice->calls, choice->calls_length);
        json_out_text(out, "]");
    }
    json_out_text(out, ",\"refusal\":null}");
}

/* "token", "logprob" and "bytes" of one token. */
static void put_token(const struct tokenizer *tokenizer, uint32_t token, float logprob, struct json_out *out)
{
    struct text text = {0};
    struct error err;
    if (token < tokenizer_n_tokens(tokenizer) && tokenizer_token_bytes(tokenizer, token, &text, &err) < 0)
        text.length = 0;
    json_out_text(out, "\"token\":");
    json_out_string(out, text.length ? text.bytes : "", text.length);
    json_out_format(out, ",\"logprob\":%.7g,\"bytes\":[", (double)logprob);
    for (size_t i = 0; i < text.length; i++) json_out_format(out, "%s%u", i ? "," : "", (unsigned char)text.bytes[i]);
    json_out_text(out, "]");
    text_free(&text);
}

void answer_put_logprobs(const struct tokenizer *tokenizer, uint32_t token, float logprob,
                         const struct sampler_logprobs *others, struct json_out *out)
{
    json_out_text(out, out->length ? ",{" : "{");
    put_token(tokenizer, token, logprob, out);
    json_out_text(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < others->n_top; i++) {
        json_out_text(out, i ? ",{" : "{");
        put_token(tokenizer, others->top[i], others->top_logprob[i], out);
        json_out_text(out, "}");
    }
    json_out_text(out, "]}");
}

static void put_logprobs(enum request_kind kind, const struct json_out *logprobs, struct json_out *out)
{
    json_out_text(out, "\"logprobs\":");
    if (!logprobs) {
        json_out_text(out, "null,");
        return;
    }
    if (kind != REQUEST_CHAT) {
        json_out_raw(out, logprobs->bytes, logprobs->length);
        json_out_text(out, ",");
        return;
    }
    json_out_text(out, "{\"content\":[");
    if (logprobs->length) json_out_raw(out, logprobs->bytes, logprobs->length);
    json_out_text(out, "],\"refusal\":null},");
}

static void write_whole(const struct answer_identity *identity, const struct answer_choice *choices, uint32_t n_choices,
                        const struct answer_usage *usage, struct json_out *out)
{
    bool chat = identity->kind == REQUEST_CHAT;
    put_head(identity, chat ? "chat.completion" : "text_completion", out);
    for (uint32_t i = 0; i < n_choices; i++) {
        json_out_format(out, "%s{\"index\":%u,", i ? "," : "", i);
        if (chat) {
            put_message(&choices[i], out);
        } else {
            json_out_text(out, "\"text\":");
            json_out_string(out, choices[i].text, choices[i].length);
        }
        json_out_text(out, ",");
        put_logprobs(identity->kind, choices[i].logprobs, out);
        json_out_format(out, "\"finish_reason\":\"%s\"}", choices[i].finish_reason);
    }
    json_out_text(out, "],");
    put_usage(usage, out);
    json_out_text(out, "}");
}

static void start_event(const struct answer_identity *identity, struct json_out *out)
{
    json_out_text(out, "data: ");
    put_head(identity, identity->kind == REQUEST_CHAT ? "chat.completion.chunk" : "text_completion", out);
}

static void end_event(const struct answer_identity *identity, struct json_out *out)
{
    json_out_text(out, identity->with_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

static void event_role(const struct answer_identity *identity, uint32_t index, struct json_out *out)
{
    if (identity->kind != REQUEST_CHAT) return;
    start_event(identity, out);
    json_out_format(out,
                    "{\"index\":%u,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
                    "\"logprobs\":null,\"finish_reason\":null}",
                    index);
    end_event(identity, out);
}

static void event_text(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                       const struct json_out *logprobs, struct json_out *out)
{
    bool chat = identity->kind == REQUEST_CHAT;
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,%s", index, chat ? "\"delta\":{\"content\":" : "\"text\":");
    json_out_string(out, bytes, length);
    json_out_text(out, chat ? "}," : ",");
    put_logprobs(identity->kind, logprobs, out);
    json_out_text(out, "\"finish_reason\":null}");
    end_event(identity, out);
}

static void end_delta(const struct answer_identity *identity, struct json_out *out)
{
    json_out_text(out, "},\"logprobs\":null,\"finish_reason\":null}");
    end_event(identity, out);
}

static void event_reasoning(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                            struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,\"delta\":{\"reasoning_content\":", index);
    json_out_string(out, bytes, length);
    end_delta(identity, out);
}

static void event_call_start(const struct answer_identity *identity, uint32_t index, unsigned call, const char *id,
                             const char *name, size_t name_length, struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,\"delta\":{\"tool_calls\":[{\"index\":%u,\"id\":", index, call);
    json_out_string(out, id, strlen(id));
    json_out_text(out, ",\"type\":\"function\",\"function\":{\"name\":");
    json_out_string(out, name, name_length);
    json_out_text(out, ",\"arguments\":\"\"}}]");
    end_delta(identity, out);
}

static void event_call_arguments(const struct answer_identity *identity, uint32_t index, unsigned call,
                                 const char *bytes, size_t length, struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,\"delta\":{\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", index,
                    call);
    json_out_string(out, bytes, length);
    json_out_text(out, "}}]");
    end_delta(identity, out);
}

static void event_finish(const struct answer_identity *identity, uint32_t index, const char *finish_reason,
                         struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,%s,\"logprobs\":null,\"finish_reason\":\"%s\"}", index,
                    identity->kind == REQUEST_CHAT ? "\"delta\":{}" : "\"text\":\"\"", finish_reason);
    end_event(identity, out);
}

static void event_end(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out)
{
    if (identity->with_usage) {
        start_event(identity, out);
        json_out_text(out, "],");
        put_usage(usage, out);
        json_out_text(out, "}\n\n");
    }
    json_out_text(out, "data: [DONE]\n\n");
}

static void event_call_end(const struct answer_identity *identity, uint32_t index, bool whole, struct json_out *out)
{
    (void)identity, (void)index, (void)whole, (void)out; /* the deltas have said all */
}

static void event_error(const struct answer_identity *identity, const struct api_error *error, struct json_out *out)
{
    (void)identity;
    json_out_text(out, "data: ");
    api_error_write(error, out);
    json_out_text(out, "\n\n");
}

/* The two differ by `kind` and the id. */
#define OPENAI_FORMAT(prefix)                                                                                          \
    {                                                                                                                  \
        .id_prefix = prefix, .whole = write_whole, .start = event_role, .text = event_text,                            \
        .reasoning = event_reasoning, .call_start = event_call_start, .call_arguments = event_call_arguments,          \
        .call_end = event_call_end, .finish = event_finish, .end = event_end, .error = event_error                     \
    }

const struct answer_format answer_completions = OPENAI_FORMAT("cmpl-");
const struct answer_format answer_chats = OPENAI_FORMAT("chatcmpl-");
