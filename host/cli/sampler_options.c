/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cli/sampler_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_stages(const struct command *command, const char *list, struct sampling *sampling)
{
    size_t n = 0;
    while (*list) {
        char name[32];
        const size_t length = strcspn(list, ";,");
        snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), list);
        /* llama.cpp's name of it */
        const enum sampler_stage stage = sampler_stage_find(strcmp(name, "typ_p") == 0 ? "typical_p" : name);
        if (stage == STAGE_NONE) return usage_error(command, "--samplers: '%s' is no stage (--help lists them)", name);
        if (memchr(sampling->stages, (int)stage, n))
            return usage_error(command, "--samplers: '%s' is there twice", name);
        sampling->stages[n++] = (uint8_t)stage;
        list += length + (list[length] != '\0');
    }
    return n > 0 ? -1 : usage_error(command, "--samplers: the list is empty");
}

static int read_biases(const struct command *command, const char *list, struct sampler_options *options)
{
    uint32_t n = 0;
    while (*list) {
        char *after_token, *end;
        const unsigned long token = strtoul(list, &after_token, 10);
        const double bias = strtod(after_token, &end);
        const bool good = list[0] >= '0' && list[0] <= '9' && token <= UINT32_MAX &&
                          (after_token[0] == '+' || after_token[0] == '-') && end > after_token && bias >= -100 &&
                          bias <= 100 && (*end == ',' || *end == '\0');
        if (!good)
            return usage_error(command, "--logit-bias: '%.40s' is not TOKEN+X or TOKEN-X, X from -100 to 100", list);
        if (n == SAMPLER_OPTION_BIASES)
            return usage_error(command, "--logit-bias: more than %d tokens", SAMPLER_OPTION_BIASES);
        options->bias_list[n++] = (struct logit_bias){(uint32_t)token, (float)bias};
        list = end + (*end == ',');
    }
    options->sampling.biases = options->bias_list;
    options->sampling.n_biases = n;
    return -1;
}

int sampler_options_read(const struct command *command, struct sampler_options *options)
{
    int status = -1;
    if (options->mirostat == 1) return usage_error(command, "--mirostat 1 is not supported (2 is)");
    if (options->mirostat == 2) {
        options->sampling.mirostat_tau = options->mirostat_tau;
        options->sampling.mirostat_eta = options->mirostat_eta;
    }
    if (options->samplers) status = read_stages(command, options->samplers, &options->sampling);
    if (status < 0 && options->biases) status = read_biases(command, options->biases, options);
    return status;
}
