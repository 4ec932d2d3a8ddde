/* SPDX-License-Identifier: Apache-2.0 */
/* How tokens are picked, as options of a command; the names are llama.cpp's. */
#ifndef SLUICE_CLI_SAMPLER_OPTIONS_H
#define SLUICE_CLI_SAMPLER_OPTIONS_H

#include "host/cli/options.h"
#include "host/engine/sampler.h"

#define SAMPLER_OPTION_BIASES 64

struct sampler_options {
    struct sampling sampling; /* what the options fill */
    const char *samplers, *biases, *breaker;
    uint32_t mirostat;
    float mirostat_tau, mirostat_eta;
    struct logit_bias bias_list[SAMPLER_OPTION_BIASES];
};

/* Everything off, as without options: the most likely token. */
#define SAMPLER_OPTIONS_START                                                                                          \
    {                                                                                                                  \
        .sampling = {.top_p = 1, .xtc_threshold = 0.1f, .dry_base = 1.75f, .dry_allowed_length = 2},                   \
        .mirostat_tau = 5, .mirostat_eta = 0.1f                                                                        \
    }

/* Rows of an options table. */
#define SAMPLER_OPTION_ROWS(o)                                                                                          \
    {"temperature",                                                                                                     \
     0,                                                                                                                 \
     OPTION_FLOAT,                                                                                                      \
     &(o)->sampling.temperature,                                                                                        \
     "T",                                                                                                               \
     "0 (default): the most likely token, the same answer every time",                                                  \
     0,                                                                                                                 \
     100},                                                                                                              \
        {"top-k", 0, OPTION_U32, &(o)->sampling.top_k, "N", "sample among the N best (default 0: all)", 0, 0},          \
        {"top-p", 0, OPTION_FLOAT, &(o)->sampling.top_p, "P", "sample among the best that make up P (default 1)",       \
         1e-6,    1},                                                                                                   \
        {"min-p", 0, OPTION_FLOAT, &(o)->sampling.min_p, "P", "leave out below P times the best (default 0)", 0, 1},    \
        {"typical", 0, OPTION_FLOAT, &(o)->sampling.typical_p, "P", "locally typical sampling (default 0: off)", 0, 1}, \
        {"top-nsigma",                                                                                                  \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.top_n_sigma,                                                                                    \
         "N",                                                                                                           \
         "leave out logits N deviations below the best (default 0: off)",                                               \
         0,                                                                                                             \
         1e6},                                                                                                          \
        {"xtc-probability",                                                                                             \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.xtc_probability,                                                                                \
         "P",                                                                                                           \
         "how often XTC leaves the best tokens out (default 0: off)",                                                   \
         0,                                                                                                             \
         1},                                                                                                            \
        {"xtc-threshold",                                                                                               \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.xtc_threshold,                                                                                  \
         "P",                                                                                                           \
         "... all above this probability but the last (default 0.1)",                                                   \
         0,                                                                                                             \
         1},                                                                                                            \
        {"repeat-penalty",                                                                                              \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.repetition_penalty,                                                                             \
         "X",                                                                                                           \
         "divide logits of tokens that were there (default 0: off)",                                                    \
         0,                                                                                                             \
         100},                                                                                                          \
        {"presence-penalty",                                                                                            \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.presence_penalty,                                                                               \
         "X",                                                                                                           \
         "take X from tokens of the answer (default 0)",                                                                \
         -2,                                                                                                            \
         2},                                                                                                            \
        {"frequency-penalty",                                                                                           \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.frequency_penalty,                                                                              \
         "X",                                                                                                           \
         "take X for each time (default 0)",                                                                            \
         -2,                                                                                                            \
         2},                                                                                                            \
        {"repeat-last-n",                                                                                               \
         0,                                                                                                             \
         OPTION_U32,                                                                                                    \
         &(o)->sampling.penalty_last_n,                                                                                 \
         "N",                                                                                                           \
         "tokens that penalties look back (default 0: all)",                                                            \
         0,                                                                                                             \
         0},                                                                                                            \
        {"dry-multiplier",                                                                                              \
         0,                                                                                                             \
         OPTION_FLOAT,                                                                                                  \
         &(o)->sampling.dry_multiplier,                                                                                 \
         "X",                                                                                                           \
         "strength of DRY against repeats (default 0: off)",                                                            \
         0,                                                                                                             \
         100},                                                                                                          \
        {"dry-base", 0,  OPTION_FLOAT, &(o)->sampling.dry_base, "X", "how it grows with a repeat's length (1.75)",      \
         1,          100},                                                                                              \
        {"dry-allowed-length",           0, OPTION_U32, &(o)->sampling.dry_allowed_length, "N",                         \
         "repeats up to N are free (2)", 0, 0},                                                                         \
        {"dry-penalty-last-n",                                                                                          \
         0,                                                                                                             \
         OPTION_U32,                                                                                                    \
         &(o)->sampling.dry_last_n,                                                                                     \
         "N",                                                                                                           \
         "tokens that DRY looks back (default 0: 4096)",                                                                \
         0,                                                                                                             \
         0},                                                                                                            \
        {"dry-sequence-breaker",                                                                                        \
         0,                                                                                                             \
         OPTION_TEXT,                                                                                                   \
         &(o)->breaker,                                                                                                 \
         "TEXT",                                                                                                        \
         "no repeat goes over TEXT (default: newline, colon, quote, asterisk)",                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"mirostat", 0, OPTION_U32, &(o)->mirostat, "N", "2: mirostat 2 (default 0: off)", 0, 2},                       \
        {"mirostat-ent", 0, OPTION_FLOAT, &(o)->mirostat_tau, "X", "its surprise, tau (default 5)", 1e-6, 100},         \
        {"mirostat-lr", 0, OPTION_FLOAT, &(o)->mirostat_eta, "X", "its rate of learning, eta (default 0.1)", 1e-6, 1},  \
        {"logit-bias", 0, OPTION_TEXT, &(o)->biases, "LIST", "TOKEN+X or TOKEN-X, several with commas", 0, 0},          \
        {"samplers",  0,                                                                                                \
         OPTION_TEXT, &(o)->samplers,                                                                                   \
         "LIST",      "order, with ; between: penalties;dry;temperature;top_n_sigma;top_k;typical_p;top_p;min_p;xtc",   \
         0,           0},                                                                                               \
    {                                                                                                                   \
        "seed", 0, OPTION_U64, &(o)->sampling.seed, "N", "seed of the samples (default 0)", 0, 0                        \
    }

/* Reads what the table leaves as text. -1 to go on, or the exit status after a message. */
int sampler_options_read(const struct command *command, struct sampler_options *options);

#endif
