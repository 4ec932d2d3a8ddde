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

void answer_whole(const struct answer_identity *identity, const struct answer_choice *choices, uint32_t n_choices,
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
        json_out_format(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}", choices[i].finish_reason);
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

void answer_event_role(const struct answer_identity *identity, uint32_t index, struct json_out *out)
{
    if (identity->kind != REQUEST_CHAT) return;
    start_event(identity, out);
    json_out_format(out,
                    "{\"index\":%u,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
                    "\"logprobs\":null,\"finish_reason\":null}",
                    index);
    end_event(identity, out);
}

void answer_event_text(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                       struct json_out *out)
{
    bool chat = identity->kind == REQUEST_CHAT;
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,%s", index, chat ? "\"delta\":{\"content\":" : "\"text\":");
    json_out_string(out, bytes, length);
    json_out_text(out, chat ? "}," : ",");
    json_out_text(out, "\"logprobs\":null,\"finish_reason\":null}");
    end_event(identity, out);
}

static void end_delta(const struct answer_identity *identity, struct json_out *out)
{
    json_out_text(out, "},\"logprobs\":null,\"finish_reason\":null}");
    end_event(identity, out);
}

void answer_event_reasoning(const struct answer_identity *identity, uint32_t index, const char *bytes, size_t length,
                            struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,\"delta\":{\"reasoning_content\":", index);
    json_out_string(out, bytes, length);
    end_delta(identity, out);
}

void answer_event_call_start(const struct answer_identity *identity, uint32_t index, unsigned call, const char *id,
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

void answer_event_call_arguments(const struct answer_identity *identity, uint32_t index, unsigned call,
                                 const char *bytes, size_t length, struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,\"delta\":{\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", index,
                    call);
    json_out_string(out, bytes, length);
    json_out_text(out, "}}]");
    end_delta(identity, out);
}

void answer_event_finish(const struct answer_identity *identity, uint32_t index, const char *finish_reason,
                         struct json_out *out)
{
    start_event(identity, out);
    json_out_format(out, "{\"index\":%u,%s,\"logprobs\":null,\"finish_reason\":\"%s\"}", index,
                    identity->kind == REQUEST_CHAT ? "\"delta\":{}" : "\"text\":\"\"", finish_reason);
    end_event(identity, out);
}

void answer_event_usage(const struct answer_identity *identity, const struct answer_usage *usage, struct json_out *out)
{
    start_event(identity, out);
    json_out_text(out, "],");
    put_usage(usage, out);
    json_out_text(out, "}\n\n");
}

void answer_event_done(struct json_out *out) { json_out_text(out, "data: [DONE]\n\n"); }

void answer_event_error(const struct api_error *error, struct json_out *out)
{
    json_out_text(out, "data: ");
    api_error_write(error, out);
    json_out_text(out, "\n\n");
}
