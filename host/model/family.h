/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A family is one way of putting layers together: how to read its hyperparameters, which tensors it has, and how to
 * write the card program of a step. One file each in families/; a new one is declared below and stands in the table of family.c.
 */
#ifndef SLUICE_MODEL_FAMILY_H
#define SLUICE_MODEL_FAMILY_H

#include "host/model/model.h"
#include "host/model/planner.h"

struct family {
    const char *architecture;    /* general.architecture in the file */
    bool computes_router;        /* all of model_config_neutral.c's settings of experts (model_config_experts) */
    const char *const *computes; /* of its other settings, those that it computes; NULL at the end */
    /* Reads what is special to the family into config (the common part is filled already). 0 or an error. */
    int (*configure)(const struct gguf *file, struct model_config *config, struct error *err);
    /* Declares every tensor with its shape through tensor_table_add (tensor_table.h). */
    void (*declare)(const struct model_config *config, struct tensor_table *table);
    /* Writes the program of one step into the planner. Cannot fail: sizes were fixed when step memory was opened. */
    void (*plan)(struct planner *planner);
};

/* families/ */
extern const struct family family_cohere, family_cohere2, family_deepseek2, family_deepseek32, family_gemma2,
    family_gemma3, family_glm4moe, family_glm_dsa, family_gpt_oss, family_gptneox, family_kimi_linear, family_llama,
    family_llama4, family_mistral3, family_mistral4, family_mistral_large4, family_olmo2, family_olmoe, family_phi3,
    family_qwen2, family_qwen2moe, family_qwen3, family_qwen35, family_qwen35moe, family_qwen3moe, family_qwen3next,
    family_step35, family_t5;

/* By general.architecture; NULL if there is none. */
const struct family *family_find(struct gguf_string architecture);

/* Names of all families, NULL at the end; static storage. */
const char *const *family_names(void);

#endif
