/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the body of a completion request (the first byte chooses which): it is refused with a message that is
 * JSON when written, or every field of the result lies in its range and every text can be read.
 */
#include "host/serve/request.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) __builtin_trap();                                                                            \
    } while (0)

/* Reading every byte lets the address sanitizer see a text that leaves its memory. */
static unsigned touch(const char *text, size_t length)
{
    unsigned sum = 0;
    for (size_t i = 0; i < length; i++) sum += (unsigned char)text[i];
    return sum;
}

static void check_error(const struct api_error *error)
{
    struct json_out out = {0};
    REQUIRE(error->status == 400 && error->message[0] && strlen(error->param) < sizeof error->param);
    api_error_write(error, &out);
    REQUIRE(!out.failed);
    json_t *written = json_loadb(out.bytes, out.length, JSON_REJECT_DUPLICATES, NULL);
    REQUIRE(json_is_object(json_object_get(written, "error")));
    json_decref(written);
    json_out_free(&out);
}

static unsigned check_request(const struct completion_request *r)
{
    const struct sampling *s = &r->sampling;
    unsigned sum = r->model ? touch(r->model, strlen(r->model)) : 0;
    REQUIRE(s->temperature >= 0 && s->temperature <= 2 && s->top_p > 0 && s->top_p <= 1 && s->min_p >= 0 &&
            s->min_p <= 1);
    REQUIRE(r->n_choices >= 1 && r->n_choices <= REQUEST_MAX_CHOICES && r->max_tokens >= 1);
    REQUIRE(r->n_stops <= COMPLETION_MAX_STOPS && (!r->include_usage || r->stream));
    for (size_t i = 0; i < r->n_stops; i++) REQUIRE(r->stops[i][0]);
    if (r->kind == REQUEST_CHAT) {
        REQUIRE(r->n_messages >= 1 && r->n_messages <= REQUEST_MAX_MESSAGES && !r->prompt);
    } else {
        REQUIRE(!r->messages && (r->prompt != NULL) != (r->prompt_tokens != NULL));
    }
    for (size_t i = 0; i < r->n_messages; i++)
        sum += touch(r->messages[i].role, strlen(r->messages[i].role)) +
               touch(r->messages[i].content, r->messages[i].content_length);
    for (size_t i = 0; i < r->n_prompt_tokens; i++) sum += r->prompt_tokens[i];
    return sum + touch(r->prompt, r->prompt_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct completion_request request;
    struct api_error error = {0};
    if (n_bytes == 0) return 0;
    static const enum request_kind kinds[] = {REQUEST_CHAT,      REQUEST_COMPLETION, REQUEST_MESSAGES,
                                              REQUEST_RESPONSES, REQUEST_COUNT,      REQUEST_EITHER};
    const enum request_kind kind = kinds[bytes[0] % (sizeof kinds / sizeof *kinds)];
    if (completion_request_parse(kind, (const char *)bytes + 1, n_bytes - 1, &request, &error) < 0) {
        check_error(&error);
        return 0;
    }
    volatile unsigned sink = check_request(&request);
    (void)sink;
    completion_request_free(&request);
    return 0;
}
