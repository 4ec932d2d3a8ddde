/* SPDX-License-Identifier: Apache-2.0 */
#include "host/serve/request_sampling.h"
#include "host/base/memory.h"
#include "host/serve/request_fields.h"

#include <string.h>

/* Beyond OpenAI the names are those of vLLM and llama.cpp. */
static int parse_numbers(const json_t *root, struct sampling *s, struct api_error *error)
{
    const struct {
        const char *name;
        double min, max;
        bool open_min;
        float *value;
    } numbers[] = {
        {"temperature", 0, 2, false, &s->temperature},
        {"top_p", 0, 1, true, &s->top_p},
        {"min_p", 0, 1, false, &s->min_p},
        {"typical_p", 0, 1, true, &s->typical_p},
        {"top_n_sigma", 0, 1e6, false, &s->top_n_sigma},
        {"xtc_probability", 0, 1, false, &s->xtc_probability},
        {"xtc_threshold", 0, 1, false, &s->xtc_threshold},
        {"repetition_penalty", 0, 100, true, &s->repetition_penalty},
        {"presence_penalty", -2, 2, false, &s->presence_penalty},
        {"frequency_penalty", -2, 2, false, &s->frequency_penalty},
        {"dry_multiplier", 0, 100, false, &s->dry_multiplier},
        {"dry_base", 1, 100, false, &s->dry_base},
        {"mirostat_tau", 0, 100, true, &s->mirostat_tau},
        {"mirostat_eta", 0, 1, true, &s->mirostat_eta},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (field_number(root, numbers[i].name, numbers[i].min, numbers[i].max, numbers[i].open_min, numbers[i].value,
                         error) < 0)
            return -1;
    }
    return 0;
}

/* A count, of which the service's -1 is 0: no limit. */
static int parse_count(const json_t *root, const char *name, uint32_t *out, struct api_error *error)
{
    int64_t count = *out;
    if (field_integer(root, name, -1, UINT32_MAX, &count, error) < 0) return -1;
    *out = count > 0 ? (uint32_t)count : 0;
    return 0;
}

static int parse_mirostat(const json_t *root, struct sampling *s, struct api_error *error)
{
    int64_t version = 0;
    if (field_integer(root, "mirostat", 0, 2, &version, error) < 0) return -1;
    if (version == 1) return field_unsupported("mirostat", "version 1 (2 is)", error);
    if (version == 0) s->mirostat_tau = 0;
    return 0;
}

static int parse_seed(const json_t *root, struct completion_request *out, struct api_error *error)
{
    int64_t seed = 0;
    int given = field_integer(root, "seed", INT64_MIN, INT64_MAX, &seed, error);
    if (given < 0) return -1;
    out->has_seed = given > 0;
    out->sampling.seed = (uint64_t)seed;
    return 0;
}

static int parse_stages(const json_t *root, struct sampling *s, struct api_error *error)
{
    const json_t *list = json_object_get(root, "samplers"), *item;
    size_t i, n = 0;
    if (!list || json_is_null(list)) return 0;
    if (!json_is_array(list)) return field_wrong_type("samplers", "an array of strings", list, error);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item)) return field_wrong_type("samplers", "an array of strings", item, error);
        enum sampler_stage stage = sampler_stage_find(json_string_value(item));
        bool twice = stage != STAGE_NONE && memchr(s->stages, (int)stage, n) != NULL;
        if (stage == STAGE_NONE || twice)
            return api_error_set(error, 400, "invalid_value", "samplers",
                                 "Invalid 'samplers': '%.40s' %s. Each of penalties, dry, temperature, top_n_sigma, "
                                 "top_k, typical_p, top_p, min_p and xtc may be there once.",
                                 json_string_value(item), twice ? "is there twice" : "is not known");
        s->stages[n++] = (uint8_t)stage;
    }
    if (n == 0) return api_error_set(error, 400, "invalid_value", "samplers", "Invalid 'samplers': the list is empty.");
    return 0;
}

/* {"token id": bias}, OpenAI's form. */
static int parse_biases(const json_t *root, struct completion_request *out, struct api_error *error)
{
    json_t *map = json_object_get(root, "logit_bias"), *value;
    const char *key;
    if (!map || json_is_null(map)) return 0;
    if (!json_is_object(map)) return field_wrong_type("logit_bias", "an object", map, error);
    size_t n = json_object_size(map), done = 0;
    if (n > SAMPLER_MOST_BIASES)
        return api_error_set(error, 400, "invalid_value", "logit_bias",
                             "Invalid 'logit_bias': %zu tokens, but at most %d are supported.", n, SAMPLER_MOST_BIASES);
    struct logit_bias *biases = memory_array(n, sizeof *biases);
    if (!biases) return api_error_set(error, 500, NULL, NULL, "The server has no memory for this request.");
    out->sampling.biases = biases;
    json_object_foreach(map, key, value)
    {
        char *end;
        unsigned long token = strtoul(key, &end, 10);
        double bias = json_number_value(value);
        if (end == key || *end || key[0] < '0' || key[0] > '9' || token > UINT32_MAX)
            return api_error_set(error, 400, "invalid_value", "logit_bias",
                                 "Invalid 'logit_bias': the key '%.40s' is not a token's number.", key);
        if (!json_is_number(value) || !(bias >= -100 && bias <= 100))
            return api_error_set(error, 400, "invalid_value", "logit_bias",
                                 "Invalid 'logit_bias': the value of '%.40s' is not a number between -100 and 100.",
                                 key);
        biases[done++] = (struct logit_bias){(uint32_t)token, (float)bias};
    }
    out->sampling.n_biases = (uint32_t)done;
    return 0;
}

static int parse_breakers(const json_t *root, struct completion_request *out, struct api_error *error)
{
    const json_t *list = json_object_get(root, "dry_sequence_breakers"), *item;
    size_t i;
    if (!list || json_is_null(list)) return 0;
    if (!json_is_array(list)) return field_wrong_type("dry_sequence_breakers", "an array of strings", list, error);
    out->has_dry_breakers = true;
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item) || json_string_length(item) == 0)
            return field_wrong_type("dry_sequence_breakers", "an array of strings that are not empty", item, error);
        if (i == REQUEST_MAX_BREAKERS)
            return api_error_set(error, 400, "array_above_max_length", "dry_sequence_breakers",
                                 "Invalid 'dry_sequence_breakers': at most %d strings are supported.",
                                 REQUEST_MAX_BREAKERS);
        out->dry_breakers[out->n_dry_breakers++] = json_string_value(item);
    }
    return 0;
}

/* Of a completion a number: so many others, and 0 is the chosen token's alone. */
static int parse_older_logprobs(const json_t *root, struct completion_request *out, struct api_error *error)
{
    int64_t n_top = 0;
    const json_t *given = json_object_get(root, "logprobs");
    if (!given || json_is_false(given)) return 0;
    const int status = field_integer(root, "logprobs", 0, SAMPLER_MOST_TOP, &n_top, error);
    out->logprobs = status > 0;
    out->n_top_logprobs = (uint32_t)n_top;
    return status < 0 ? -1 : 0;
}

static int parse_logprobs(const json_t *root, struct completion_request *out, struct api_error *error)
{
    int64_t n_top = 0;
    if (out->kind != REQUEST_CHAT) return parse_older_logprobs(root, out, error);
    if (field_bool(root, "logprobs", &out->logprobs, error) < 0) return -1;
    if (field_integer(root, "top_logprobs", 0, SAMPLER_MOST_TOP, &n_top, error) < 0) return -1;
    if (n_top > 0 && !out->logprobs)
        return api_error_set(error, 400, "invalid_value", "top_logprobs",
                             "Invalid 'top_logprobs': it goes only with 'logprobs': true.");
    out->n_top_logprobs = (uint32_t)n_top;
    return 0;
}

int request_parse_sampling(const json_t *root, struct completion_request *out, struct api_error *error)
{
    struct sampling *s = &out->sampling;
    *s = (struct sampling){.temperature = 1,
                           .top_p = 1,
                           .xtc_threshold = 0.1f,
                           .dry_base = 1.75f,
                           .dry_allowed_length = 2,
                           .mirostat_tau = 5,
                           .mirostat_eta = 0.1f};
    if (parse_numbers(root, s, error) < 0 || parse_mirostat(root, s, error) < 0) return -1;
    if (parse_count(root, "top_k", &s->top_k, error) < 0) return -1;
    if (parse_count(root, "repeat_last_n", &s->penalty_last_n, error) < 0) return -1;
    if (parse_count(root, "dry_allowed_length", &s->dry_allowed_length, error) < 0) return -1;
    if (parse_count(root, "dry_penalty_last_n", &s->dry_last_n, error) < 0) return -1;
    if (parse_seed(root, out, error) < 0 || parse_stages(root, s, error) < 0) return -1;
    if (parse_logprobs(root, out, error) < 0) return -1;
    return parse_biases(root, out, error) < 0 ? -1 : parse_breakers(root, out, error);
}
