/* SPDX-License-Identifier: Apache-2.0 */
/* The table of families. A new one is a file in families/, a declaration in family.h and an entry in both lists here. */
#include "host/model/family.h"

#include <string.h>

static const struct family *const families[] = {
    &family_cohere,      &family_cohere2, &family_deepseek2,      &family_deepseek32, &family_gemma2,
    &family_gemma3,      &family_glm4moe, &family_glm_dsa,        &family_gpt_oss,    &family_gptneox,
    &family_kimi_linear, &family_llama,   &family_llama4,         &family_mistral3,   &family_mistral4,
    &family_olmo2,       &family_olmoe,   &family_phi3,           &family_qwen2,      &family_qwen2moe,
    &family_qwen3,       &family_qwen35,  &family_qwen35moe,      &family_qwen3moe,   &family_qwen3next,
    &family_step35,      &family_t5,      &family_mistral_large4,
};
static const char *const names[] = {
    /* the same, in the same order */
    "command-r", "cohere2", "deepseek2",   "deepseek32",     "gemma2", "gemma3",   "glm4moe",   "glm-dsa",
    "gpt-oss",   "gptneox", "kimi-linear", "llama",          "llama4", "mistral3", "mistral4",  "olmo2",
    "olmoe",     "phi3",    "qwen2",       "qwen2moe",       "qwen3",  "qwen35",   "qwen35moe", "qwen3moe",
    "qwen3next", "step35",  "t5",          "mistral-large4", NULL,
};
_Static_assert(sizeof names / sizeof names[0] == sizeof families / sizeof families[0] + 1,
               "every family has a name in the list");

const struct family *family_find(struct gguf_string architecture)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const char *name = families[i]->architecture;
        if (architecture.length == strlen(name) && memcmp(architecture.bytes, name, architecture.length) == 0)
            return families[i];
    }
    return NULL;
}

const char *const *family_names(void) { return names; }
