/* SPDX-License-Identifier: Apache-2.0 */
#include "host/model/hf/names.h"

#include "host/base/memory.h"

#include <stdio.h>
#include <string.h>

#define MAX_EXPERTS 4096u

enum operation {
    KEEP,
    QUERY, /* rows in pairs where the family says so */
    KEY,
    NORM, /* a vector, plus one where the family says so */
    VECTOR,
    COLUMN,    /* a vector as a matrix of one column */
    GATE_HALF, /* of experts' gate and up in one: the first half of the rows, the second */
    UP_HALF,
    GATE_HALF_TURNED,
    UP_HALF_TURNED,
    TURNED,
    EVEN_ROWS, /* gpt-oss: gate and up take turns; float matrices are turned, MXFP4 ones are not */
    ODD_ROWS,
    MAYBE_TURNED,
    EVEN_ELEMENTS,
    ODD_ELEMENTS,
    LATENT_KEYS, /* of kv_b_proj: each head's keys turned, its values */
    LATENT_VALUES,
    NEOX_QKV, /* heads of query, key and value to queries, keys, values */
    QKVZ_QKV, /* the same by groups of a key head, with the gate apart */
    QKVZ_GATE,
    LINEAR_QKV, /* value heads tiled: after queries and keys, everywhere, one row each, columns */
    LINEAR_VALUES,
    LINEAR_HEADS,
    LINEAR_DECAY,
    LINEAR_BIAS,
    LINEAR_OUTPUT,
    NEGATIVE_EXP,
};

struct rule {
    const char *from, *to;
    enum operation operation;
    const char *only; /* architecture, or NULL: all; such rules come before the general ones and hide them */
};

/* Of a layer, after "layers.N."; "#" is an expert's number. */
static const struct rule layer_rules[] = {
    {"post_attention_layernorm.weight", "ffn_norm.weight", NORM, NULL}, /* HF_TRAIT_POST_NORM: post_attention_norm */
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight", NORM, NULL},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight", NORM, NULL},
    {"input_layernorm.weight", "attn_norm.weight", NORM, NULL},
    {"input_layernorm.bias", "attn_norm.bias", VECTOR, NULL},
    {"post_attention_layernorm.bias", "ffn_norm.bias", VECTOR, NULL},
    {"self_attn.q_proj.weight", "attn_q.weight", QUERY, NULL},
    {"self_attn.q_proj.bias", "attn_q.bias", QUERY, NULL},
    {"self_attn.k_proj.weight", "attn_k.weight", KEY, NULL},
    {"self_attn.k_proj.bias", "attn_k.bias", KEY, NULL},
    {"self_attn.v_proj.weight", "attn_v.weight", KEEP, NULL},
    {"self_attn.v_proj.bias", "attn_v.bias", VECTOR, NULL},
    {"self_attn.o_proj.weight", "attn_output.weight", KEEP, NULL},
    {"self_attn.o_proj.bias", "attn_output.bias", VECTOR, NULL},
    {"self_attn.qkv_proj.weight", "attn_qkv.weight", KEEP, NULL},
    {"self_attn.g_proj.weight", "attn_gate.weight", KEEP, NULL},
    {"self_attn.q_norm.weight", "attn_q_norm.weight", NORM, NULL},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", NORM, NULL},
    {"self_attn.sinks", "attn_sinks.weight", VECTOR, NULL},
    /* latent attention */
    {"self_attn.q_a_proj.weight", "attn_q_a.weight", KEEP, NULL},
    {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight", VECTOR, NULL},
    {"self_attn.q_b_proj.weight", "attn_q_b.weight", KEEP, NULL},
    {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", KEEP, NULL},
    {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight", VECTOR, NULL},
    {"self_attn.kv_b_proj.weight", "attn_k_b.weight", LATENT_KEYS, NULL},
    {"self_attn.kv_b_proj.weight", "attn_v_b.weight", LATENT_VALUES, NULL},
    {"self_attn.indexer.k_norm.weight", "indexer.k_norm.weight", VECTOR, NULL},
    {"self_attn.indexer.k_norm.bias", "indexer.k_norm.bias", VECTOR, NULL},
    {"self_attn.indexer.weights_proj.weight", "indexer.proj.weight", KEEP, NULL},
    {"self_attn.indexer.wk.weight", "indexer.attn_k.weight", KEEP, NULL},
    {"self_attn.indexer.wq_b.weight", "indexer.attn_q_b.weight", KEEP, NULL},
    /* dense FFN */
    {"mlp.gate_proj.weight", "ffn_gate.weight", KEEP, NULL},
    {"mlp.gate_proj.bias", "ffn_gate.bias", VECTOR, NULL},
    {"mlp.up_proj.weight", "ffn_up.weight", KEEP, NULL},
    {"mlp.up_proj.bias", "ffn_up.bias", VECTOR, NULL},
    {"mlp.down_proj.weight", "ffn_down.weight", KEEP, NULL},
    {"mlp.down_proj.bias", "ffn_down.bias", VECTOR, NULL},
    {"mlp.gate_up_proj.weight", "ffn_up.weight", KEEP, NULL},
    /* experts */
    {"mlp.gate.weight", "ffn_gate_inp.weight", KEEP, NULL},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias", VECTOR, NULL},
    {"mlp.experts.#.gate_proj.weight", "ffn_gate_exps.weight", KEEP, NULL},
    {"mlp.experts.#.up_proj.weight", "ffn_up_exps.weight", KEEP, NULL},
    {"mlp.experts.#.down_proj.weight", "ffn_down_exps.weight", KEEP, NULL},
    {"mlp.experts.gate_up_proj", "ffn_gate_exps.weight", EVEN_ROWS, "gpt-oss"},
    {"mlp.experts.gate_up_proj", "ffn_up_exps.weight", ODD_ROWS, "gpt-oss"},
    {"mlp.experts.down_proj", "ffn_down_exps.weight", MAYBE_TURNED, "gpt-oss"},
    {"mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias", EVEN_ELEMENTS, "gpt-oss"},
    {"mlp.experts.gate_up_proj_bias", "ffn_up_exps.bias", ODD_ELEMENTS, "gpt-oss"},
    {"mlp.experts.down_proj_bias", "ffn_down_exps.bias", VECTOR, "gpt-oss"},
    {"mlp.router.weight", "ffn_gate_inp.weight", KEEP, "gpt-oss"},
    {"mlp.router.bias", "ffn_gate_inp.bias", VECTOR, "gpt-oss"},
    {"mlp.experts.gate_up_proj", "ffn_gate_up_exps.weight", KEEP, "mistral4"},
    {"mlp.experts.gate_up_proj", "ffn_gate_exps.weight", GATE_HALF, NULL},
    {"mlp.experts.gate_up_proj", "ffn_up_exps.weight", UP_HALF, NULL},
    {"mlp.experts.down_proj", "ffn_down_exps.weight", KEEP, NULL},
    {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", KEEP, NULL},
    {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", KEEP, NULL},
    {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", KEEP, NULL},
    {"mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight", KEEP, NULL},
    {"mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight", KEEP, NULL},
    {"mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight", KEEP, NULL},
    {"mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight", KEEP, NULL},
    {"block_sparse_moe.gate.weight", "ffn_gate_inp.weight", KEEP, NULL},
    {"block_sparse_moe.gate.e_score_correction_bias", "exp_probs_b.bias", VECTOR, NULL},
    {"block_sparse_moe.experts.#.w1.weight", "ffn_gate_exps.weight", KEEP, NULL},
    {"block_sparse_moe.experts.#.w3.weight", "ffn_up_exps.weight", KEEP, NULL},
    {"block_sparse_moe.experts.#.w2.weight", "ffn_down_exps.weight", KEEP, NULL},
    {"block_sparse_moe.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", KEEP, NULL},
    {"block_sparse_moe.shared_experts.up_proj.weight", "ffn_up_shexp.weight", KEEP, NULL},
    {"block_sparse_moe.shared_experts.down_proj.weight", "ffn_down_shexp.weight", KEEP, NULL},
    /* Mistral Large 4, in its own names */
    {"attention_norm.weight", "attn_norm.weight", NORM, "mistral-large4"},
    {"ffn_norm.weight", "ffn_norm.weight", NORM, "mistral-large4"},
    {"attention.wq.weight", "attn_q.weight", KEEP, "mistral-large4"},
    {"attention.wkv_a_with_mqa.weight", "attn_kv_a_mqa.weight", KEEP, "mistral-large4"},
    {"attention.kv_a_norm.weight", "attn_kv_a_norm.weight", VECTOR, "mistral-large4"},
    {"attention.wkv_b.weight", "attn_k_b.weight", LATENT_KEYS, "mistral-large4"},
    {"attention.wkv_b.weight", "attn_v_b.weight", LATENT_VALUES, "mistral-large4"},
    {"attention.wo.weight", "attn_output.weight", KEEP, "mistral-large4"},
    {"attention.ssmax_scaling.s", "attn_slope.weight", COLUMN, "mistral-large4"},
    {"attention.ssmax_scaling.b", "attn_slope.bias", VECTOR, "mistral-large4"},
    {"attention.indexer.ssmax_scaling.s", "indexer.slope.weight", COLUMN, "mistral-large4"},
    {"attention.indexer.ssmax_scaling.b", "indexer.slope.bias", VECTOR, "mistral-large4"},
    {"attention.indexer.q_input_norm.weight", "indexer.q_norm.weight", VECTOR, "mistral-large4"},
    {"attention.indexer.q_input_norm.bias", "indexer.q_norm.bias", VECTOR, "mistral-large4"},
    {"attention.indexer.k_norm.weight", "indexer.k_norm.weight", VECTOR, "mistral-large4"},
    {"attention.indexer.k_norm.bias", "indexer.k_norm.bias", VECTOR, "mistral-large4"},
    {"attention.indexer.wk.weight", "indexer.attn_k.weight", KEEP, "mistral-large4"},
    {"attention.indexer.wq_b.weight", "indexer.attn_q_b.weight", KEEP, "mistral-large4"},
    {"attention.indexer.weights_proj.weight", "indexer.proj.weight", KEEP, "mistral-large4"},
    {"feed_forward.w1.weight", "ffn_gate.weight", KEEP, "mistral-large4"},
    {"feed_forward.w3.weight", "ffn_up.weight", KEEP, "mistral-large4"},
    {"feed_forward.w2.weight", "ffn_down.weight", KEEP, "mistral-large4"},
    {"gate.weight", "ffn_gate_inp.weight", KEEP, "mistral-large4"},
    {"experts.#.w1.weight", "ffn_gate_exps.weight", KEEP, "mistral-large4"},
    {"experts.#.w3.weight", "ffn_up_exps.weight", KEEP, "mistral-large4"},
    {"experts.#.w2.weight", "ffn_down_exps.weight", KEEP, "mistral-large4"},
    {"shared_experts.w1.weight", "ffn_gate_shexp.weight", KEEP, "mistral-large4"},
    {"shared_experts.w3.weight", "ffn_up_shexp.weight", KEEP, "mistral-large4"},
    {"shared_experts.w2.weight", "ffn_down_shexp.weight", KEEP, "mistral-large4"},
    /* Step 3.5 */
    {"moe.gate.weight", "ffn_gate_inp.weight", KEEP, "step35"},
    {"moe.router_bias", "exp_probs_b.bias", VECTOR, "step35"},
    {"moe.gate_proj.weight", "ffn_gate_exps.weight", KEEP, "step35"},
    {"moe.up_proj.weight", "ffn_up_exps.weight", KEEP, "step35"},
    {"moe.down_proj.weight", "ffn_down_exps.weight", KEEP, "step35"},
    {"share_expert.gate_proj.weight", "ffn_gate_shexp.weight", KEEP, "step35"},
    {"share_expert.up_proj.weight", "ffn_up_shexp.weight", KEEP, "step35"},
    {"share_expert.down_proj.weight", "ffn_down_shexp.weight", KEEP, "step35"},
    /* Llama 4 */
    {"feed_forward.gate_proj.weight", "ffn_gate.weight", KEEP, "llama4"},
    {"feed_forward.up_proj.weight", "ffn_up.weight", KEEP, "llama4"},
    {"feed_forward.down_proj.weight", "ffn_down.weight", KEEP, "llama4"},
    {"feed_forward.router.weight", "ffn_gate_inp.weight", KEEP, "llama4"},
    {"feed_forward.experts.gate_up_proj", "ffn_gate_exps.weight", GATE_HALF_TURNED, "llama4"},
    {"feed_forward.experts.gate_up_proj", "ffn_up_exps.weight", UP_HALF_TURNED, "llama4"},
    {"feed_forward.experts.down_proj", "ffn_down_exps.weight", TURNED, "llama4"},
    {"feed_forward.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight", KEEP, "llama4"},
    {"feed_forward.shared_expert.up_proj.weight", "ffn_up_shexp.weight", KEEP, "llama4"},
    {"feed_forward.shared_expert.down_proj.weight", "ffn_down_shexp.weight", KEEP, "llama4"},
    /* GPT-NeoX */
    {"attention.query_key_value.weight", "attn_qkv.weight", NEOX_QKV, "gptneox"},
    {"attention.query_key_value.bias", "attn_qkv.bias", NEOX_QKV, "gptneox"},
    {"attention.dense.weight", "attn_output.weight", KEEP, "gptneox"},
    {"attention.dense.bias", "attn_output.bias", VECTOR, "gptneox"},
    {"mlp.dense_h_to_4h.weight", "ffn_up.weight", KEEP, "gptneox"},
    {"mlp.dense_h_to_4h.bias", "ffn_up.bias", VECTOR, "gptneox"},
    {"mlp.dense_4h_to_h.weight", "ffn_down.weight", KEEP, "gptneox"},
    {"mlp.dense_4h_to_h.bias", "ffn_down.bias", VECTOR, "gptneox"},
    /* gated delta nets */
    {"linear_attn.in_proj_qkvz.weight", "attn_qkv.weight", QKVZ_QKV, NULL},
    {"linear_attn.in_proj_qkvz.weight", "attn_gate.weight", QKVZ_GATE, NULL},
    {"linear_attn.in_proj_ba.weight", "ssm_ba.weight", KEEP, NULL},
    {"linear_attn.in_proj_qkv.weight", "attn_qkv.weight", LINEAR_QKV, NULL},
    {"linear_attn.in_proj_z.weight", "attn_gate.weight", LINEAR_VALUES, NULL},
    {"linear_attn.in_proj_a.weight", "ssm_alpha.weight", LINEAR_HEADS, NULL},
    {"linear_attn.in_proj_b.weight", "ssm_beta.weight", LINEAR_HEADS, NULL},
    {"linear_attn.conv1d.weight", "ssm_conv1d.weight", LINEAR_QKV, NULL},
    {"linear_attn.A_log", "ssm_a", LINEAR_DECAY, NULL},
    {"linear_attn.dt_bias", "ssm_dt.bias", LINEAR_BIAS, NULL},
    {"linear_attn.norm.weight", "ssm_norm.weight", VECTOR, NULL},
    {"linear_attn.out_proj.weight", "ssm_out.weight", LINEAR_OUTPUT, NULL},
    /* Kimi's */
    {"self_attn.A_log", "ssm_a", NEGATIVE_EXP, NULL},
    {"self_attn.dt_bias", "ssm_dt.bias", VECTOR, NULL},
    {"self_attn.b_proj.weight", "ssm_beta.weight", KEEP, NULL},
    {"self_attn.f_a_proj.weight", "ssm_f_a.weight", KEEP, NULL},
    {"self_attn.f_b_proj.weight", "ssm_f_b.weight", KEEP, NULL},
    {"self_attn.g_a_proj.weight", "ssm_g_a.weight", KEEP, NULL},
    {"self_attn.g_b_proj.weight", "ssm_g_b.weight", KEEP, NULL},
    {"self_attn.q_conv1d.weight", "ssm_conv1d_q.weight", KEEP, NULL},
    {"self_attn.k_conv1d.weight", "ssm_conv1d_k.weight", KEEP, NULL},
    {"self_attn.v_conv1d.weight", "ssm_conv1d_v.weight", KEEP, NULL},
    {"self_attn.o_norm.weight", "ssm_norm.weight", VECTOR, NULL},
};

static const struct rule model_rules[] = {
    {"embed_tokens.weight", "token_embd.weight", KEEP, NULL},
    {"norm.weight", "output_norm.weight", NORM, NULL},
    {"lm_head.weight", "output.weight", KEEP, NULL},
    {"embed_in.weight", "token_embd.weight", KEEP, "gptneox"},
    {"final_layer_norm.weight", "output_norm.weight", NORM, "gptneox"},
    {"final_layer_norm.bias", "output_norm.bias", VECTOR, "gptneox"},
    {"embed_out.weight", "output.weight", KEEP, "gptneox"},
    {"tok_embeddings.weight", "token_embd.weight", KEEP, "mistral-large4"},
    {"output.weight", "output.weight", KEEP, "mistral-large4"},
    {"lerope.alpha", "rope_log.weight", VECTOR, "mistral-large4"},
    {"shared.weight", "token_embd.weight", KEEP, "t5"},
    {"encoder.final_layer_norm.weight", "enc.output_norm.weight", NORM, "t5"},
    {"decoder.final_layer_norm.weight", "dec.output_norm.weight", NORM, "t5"},
};

/* T5's, after "encoder.block.N.layer." and "decoder.block.N.layer.". */
static const struct rule encoder_rules[] = {
    {"0.layer_norm.weight", "attn_norm.weight", NORM, NULL},
    {"0.SelfAttention.q.weight", "attn_q.weight", KEEP, NULL},
    {"0.SelfAttention.k.weight", "attn_k.weight", KEEP, NULL},
    {"0.SelfAttention.v.weight", "attn_v.weight", KEEP, NULL},
    {"0.SelfAttention.o.weight", "attn_o.weight", KEEP, NULL},
    {"0.SelfAttention.relative_attention_bias.weight", "attn_rel_b.weight", KEEP, NULL},
    {"1.layer_norm.weight", "ffn_norm.weight", NORM, NULL},
    {"1.DenseReluDense.wi.weight", "ffn_up.weight", KEEP, NULL},
    {"1.DenseReluDense.wi_0.weight", "ffn_gate.weight", KEEP, NULL},
    {"1.DenseReluDense.wi_1.weight", "ffn_up.weight", KEEP, NULL},
    {"1.DenseReluDense.wo.weight", "ffn_down.weight", KEEP, NULL},
};
static const struct rule decoder_rules[] = {
    {"0.layer_norm.weight", "attn_norm.weight", NORM, NULL},
    {"0.SelfAttention.q.weight", "attn_q.weight", KEEP, NULL},
    {"0.SelfAttention.k.weight", "attn_k.weight", KEEP, NULL},
    {"0.SelfAttention.v.weight", "attn_v.weight", KEEP, NULL},
    {"0.SelfAttention.o.weight", "attn_o.weight", KEEP, NULL},
    {"0.SelfAttention.relative_attention_bias.weight", "attn_rel_b.weight", KEEP, NULL},
    {"1.layer_norm.weight", "cross_attn_norm.weight", NORM, NULL},
    {"1.EncDecAttention.q.weight", "cross_attn_q.weight", KEEP, NULL},
    {"1.EncDecAttention.k.weight", "cross_attn_k.weight", KEEP, NULL},
    {"1.EncDecAttention.v.weight", "cross_attn_v.weight", KEEP, NULL},
    {"1.EncDecAttention.o.weight", "cross_attn_o.weight", KEEP, NULL},
    {"2.layer_norm.weight", "ffn_norm.weight", NORM, NULL},
    {"2.DenseReluDense.wi.weight", "ffn_up.weight", KEEP, NULL},
    {"2.DenseReluDense.wi_0.weight", "ffn_gate.weight", KEEP, NULL},
    {"2.DenseReluDense.wi_1.weight", "ffn_up.weight", KEEP, NULL},
    {"2.DenseReluDense.wo.weight", "ffn_down.weight", KEEP, NULL},
};

/* Where a matrix goes. */
struct place {
    char name[HF_NAME_BYTES];
    enum operation operation;
    uint32_t expert; /* UINT32_MAX: it is no expert's */
    const struct hf_weight *weight;
};

struct places {
    struct place *items; /* owned */
    size_t count, capacity;
};

/* Takes prefix off *name. */
static bool skip(const char **name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(*name, prefix, length) != 0) return false;
    *name += length;
    return true;
}

/* A number and a dot; false if there is none below 2^20. */
static bool skip_number(const char **name, uint32_t *value)
{
    const char *at = *name;
    *value = 0;
    while (*at >= '0' && *at <= '9' && *value < 1u << 20) *value = 10 * *value + (uint32_t)(*at++ - '0');
    if (at == *name || *at != '.' || *value >= 1u << 20) return false;
    *name = at + 1;
    return true;
}

/* Towers of other senses, and what only training or an old program needs. */
static bool is_left_out(const char *name)
{
    static const char *const prefixes[] = {
        "vision_model.", "vision_tower.",         "visual.",         "multi_modal_projector.",
        "mm_projector.", "vit_large_projector.",  "audio_tower.",    "mtp.",
        "embed_audio.",  "embed_vision.",         "vision_encoder.", "vision_language_adapter.",
        "patch_merger.", "pre_mm_projector_norm."};
    static const char *const endings[] = {".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t n = strlen(endings[i]);
        if (length >= n && strcmp(name + length - n, endings[i]) == 0) return true;
    }
    return false;
}

static const char *without_prefix(const char *name)
{
    while (skip(&name, "model.") || skip(&name, "language_model.") || skip(&name, "text_model.") ||
           skip(&name, "gpt_neox.")) {}
    return name;
}

bool hf_names_predicts(const struct hf_config *config, const char *name)
{
    const char *at = without_prefix(name);
    uint32_t layer;
    if (strncmp(at, "mtp.", 4) == 0) return true;
    return skip(&at, "layers.") && skip_number(&at, &layer) && layer >= config->shape.n_layers;
}

bool hf_names_leave_out(const char *name) { return is_left_out(without_prefix(name)); }

static int unknown(const struct hf_config *config, const char *name, struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, "tensor %.200s: model_type %s has no such tensor", name,
                     config->family->model_type);
}

static int add_place(struct places *places, const struct place *place, struct error *err)
{
    if (places->count == places->capacity) {
        size_t larger = places->capacity > 0 ? 2 * places->capacity : 256;
        struct place *items = memory_grow(places->items, larger, sizeof *items);
        if (items == NULL) return error_set(err, ERROR_NO_MEMORY, "tensors: out of memory");
        places->items = items;
        places->capacity = larger;
    }
    places->items[places->count++] = *place;
    return 0;
}

/* "mlp.experts.7.up_proj.weight" is "mlp.experts.#.up_proj.weight" of expert 7. */
static void cut_expert(const char *local, char *out, size_t size, uint32_t *expert)
{
    const char *found = strstr(local, "experts."), *at = found != NULL ? found + 8 : NULL;
    uint32_t number;
    *expert = UINT32_MAX;
    (void)snprintf(out, size, "%s", local);
    if (at == NULL || !skip_number(&at, &number) || number >= MAX_EXPERTS) return;
    *expert = number;
    (void)snprintf(out, size, "%.*s#.%s", (int)(found + 8 - local), local, at);
}

static const char *target_of(const struct hf_config *config, const struct rule *rule)
{
    bool post = (config->family->traits & HF_TRAIT_POST_NORM) != 0;
    return post && strcmp(rule->from, "post_attention_layernorm.weight") == 0 ? "post_attention_norm.weight" : rule->to;
}

/* Every rule for this name: the family's own, or else the general ones. */
static int apply_rules(const struct hf_config *config, const struct rule *rules, size_t n, const char *local,
                       const char *prefix, const struct hf_weight *weight, struct places *places, struct error *err)
{
    char name[600];
    struct place place = {.weight = weight};
    size_t before = places->count;
    cut_expert(local, name, sizeof name, &place.expert);
    for (unsigned general = 0; general < 2 && places->count == before; general++)
        for (size_t i = 0; i < n; i++) {
            const struct rule *rule = &rules[i];
            bool fits = general ? rule->only == NULL
                                : rule->only != NULL && strcmp(rule->only, config->family->architecture) == 0;
            if (!fits || strcmp(rule->from, name) != 0) continue;
            (void)snprintf(place.name, sizeof place.name, "%s%s", prefix, target_of(config, rule));
            place.operation = rule->operation;
            int status = add_place(places, &place, err);
            if (status < 0) return status;
        }
    return places->count > before ? 0 : unknown(config, weight->name.bytes, err);
}

/* Of T5's published files: copies of the embedding, and a matrix that no program reads. */
static bool is_idle(const struct hf_config *config, const char *name)
{
    static const char *const names[] = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                                        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (config->family->traits & HF_TRAIT_ENCODER && strcmp(name, names[i]) == 0) return true;
    return false;
}

/* A layer of an encoder or a decoder. */
static int place_block(const struct hf_config *config, const struct hf_weight *weight, const char *at, bool decoder,
                       struct places *places, struct error *err)
{
    uint32_t layer;
    char prefix[24];
    if (!skip_number(&at, &layer) || !skip(&at, "layer.")) return unknown(config, weight->name.bytes, err);
    (void)snprintf(prefix, sizeof prefix, "%s.blk.%u.", decoder ? "dec" : "enc", layer);
    if (decoder)
        return apply_rules(config, decoder_rules, sizeof decoder_rules / sizeof decoder_rules[0], at, prefix, weight,
                           places, err);
    return apply_rules(config, encoder_rules, sizeof encoder_rules / sizeof encoder_rules[0], at, prefix, weight,
                       places, err);
}

static int place_weight(const struct hf_config *config, const struct hf_weight *weight, struct places *places,
                        struct error *err)
{
    const char *name = without_prefix(weight->name.bytes), *at = name;
    uint32_t layer;
    char prefix[24];
    if (is_idle(config, name)) return 0;
    if (config->family->traits & HF_TRAIT_ENCODER && (skip(&at, "encoder.block.") || skip(&at, "decoder.block.")))
        return place_block(config, weight, at, name[0] == 'd', places, err);
    if (!skip(&at, "layers.")) {
        if (config->shape.tied && (strcmp(name, "lm_head.weight") == 0 || strcmp(name, "embed_out.weight") == 0))
            return 0;
        return apply_rules(config, model_rules, sizeof model_rules / sizeof model_rules[0], name, "", weight, places,
                           err);
    }
    if (!skip_number(&at, &layer)) return unknown(config, weight->name.bytes, err);
    if (layer >= config->shape.n_layers) return 0; /* predicts further tokens */
    (void)snprintf(prefix, sizeof prefix, "blk.%u.", layer);
    return apply_rules(config, layer_rules, sizeof layer_rules / sizeof layer_rules[0], at, prefix, weight, places,
                       err);
}

/* ---- what is done with the rows ---- */

static void set_run(struct hf_rows *rows, uint32_t n, uint32_t stride, uint32_t start, uint32_t length)
{
    if (rows->n_runs < HF_MAX_RUNS) rows->run[rows->n_runs++] = (struct hf_run){n, stride, start, length};
}

/* Query, key and value of each head, or group of heads. widths: of one, in this order; all: of one with what else it has. */
static void set_heads(struct hf_rows *rows, uint32_t n, uint32_t all, const uint32_t widths[3])
{
    uint32_t start = 0;
    for (unsigned i = 0; i < 3; start += widths[i], i++) set_run(rows, n * widths[i], all, start, widths[i]);
}

static void tile(const struct hf_config *config, struct hf_tiling *tiling, uint32_t first, uint32_t dims)
{
    const struct hf_shape *s = &config->shape;
    *tiling = (struct hf_tiling){first, s->linear_keys, s->linear_values / s->linear_keys, dims};
}

static void set_linear(const struct hf_config *config, enum operation operation, struct hf_rows *rows)
{
    const struct hf_shape *s = &config->shape;
    uint32_t values = s->linear_keys > 0 ? s->linear_values / s->linear_keys * s->linear_value_dims : 0;
    uint32_t keys = s->linear_key_dims, all = 2 * keys + 2 * values;
    bool tiled = (config->family->traits & HF_TRAIT_TILED_VALUES) != 0;
    if (operation == LINEAR_DECAY) rows->value = HF_VALUE_NEGATIVE_EXP;
    rows->is_vector = operation == LINEAR_DECAY || operation == LINEAR_BIAS;
    if (operation == QKVZ_QKV) set_heads(rows, s->linear_keys, all, (const uint32_t[3]){keys, keys, values});
    if (operation == QKVZ_GATE) set_run(rows, s->linear_keys * values, all, 2 * keys + values, values);
    if (!tiled || operation == QKVZ_QKV || operation == QKVZ_GATE) return;
    if (operation == LINEAR_OUTPUT) {
        tile(config, &rows->tiled_columns, 0, s->linear_value_dims);
        return;
    }
    rows->order = HF_ORDER_TILED;
    if (operation == LINEAR_QKV)
        tile(config, &rows->tiled, 2 * s->linear_keys * keys, s->linear_value_dims);
    else
        tile(config, &rows->tiled, 0, operation == LINEAR_VALUES ? s->linear_value_dims : 1);
}

static void set_latent(const struct hf_config *config, enum operation operation, struct hf_rows *rows)
{
    const struct hf_shape *s = &config->shape;
    uint32_t head = rows->parts[0]->rows / s->n_heads; /* layers may differ in it */
    if (head <= s->value_dims) head = s->nope_dims + s->value_dims;
    if (operation == LATENT_VALUES) {
        rows->split = s->n_heads;
        set_run(rows, s->n_heads * s->value_dims, head, head - s->value_dims, s->value_dims);
        return;
    }
    rows->matrices = s->n_heads;
    rows->turned = true;
    rows->turn_stride = head;
    rows->cols = head - s->value_dims;
}

/* Of matrices that have gate and up: the first half or the second, or every other one. */
static void set_halves(struct hf_rows *rows, bool turned, bool second, bool every_other)
{
    const struct hf_weight *weight = rows->parts[0];
    uint32_t all = turned ? weight->cols : weight->rows, half = all / 2;
    rows->turned = turned;
    if (every_other)
        set_run(rows, half, 2, second, 1);
    else
        set_run(rows, half, all, second ? half : 0, half);
}

static void set_operation(const struct hf_config *config, enum operation operation, struct hf_rows *rows)
{
    const struct hf_weight *weight = rows->parts[0];
    const struct hf_shape *s = &config->shape;
    bool is_float = weight->layout == HF_PLAIN, plus_one = (config->family->traits & HF_TRAIT_NORM_PLUS_ONE) != 0;
    rows->is_vector = weight->is_vector;
    switch (operation) {
    case KEEP: break;
    case QUERY:
    case KEY:
        if (config->family->traits & HF_TRAIT_ROPE_PAIRS) rows->order = HF_ORDER_PAIRS;
        rows->head_dim = s->head_dim;
        break;
    case NORM:
        rows->value = plus_one ? HF_VALUE_PLUS_ONE : HF_VALUE_KEPT;
        rows->is_vector = true;
        if (weight->cols > 1) rows->cols = weight->cols;
        break;
    case VECTOR:
        rows->is_vector = true;
        if (weight->cols > 1) rows->cols = weight->cols;
        break;
    case COLUMN: rows->is_vector = false; break;
    case NEGATIVE_EXP:
        rows->value = HF_VALUE_NEGATIVE_EXP;
        rows->is_vector = true;
        break;
    case GATE_HALF: set_halves(rows, false, false, false); break;
    case UP_HALF: set_halves(rows, false, true, false); break;
    case GATE_HALF_TURNED: set_halves(rows, true, false, false); break;
    case UP_HALF_TURNED: set_halves(rows, true, true, false); break;
    case TURNED: rows->turned = true; break;
    case MAYBE_TURNED: rows->turned = is_float; break;
    case EVEN_ROWS: set_halves(rows, is_float, false, true); break;
    case ODD_ROWS: set_halves(rows, is_float, true, true); break;
    case EVEN_ELEMENTS:
    case ODD_ELEMENTS:
        rows->is_vector = true;
        rows->cols = weight->cols / 2;
        if (weight->cols > 1 && (uint64_t)weight->rows * rows->cols <= UINT32_MAX)
            set_run(rows, weight->rows * rows->cols, 2, operation == ODD_ELEMENTS, 1);
        break;
    case LATENT_KEYS:
    case LATENT_VALUES: set_latent(config, operation, rows); break;
    case NEOX_QKV:
        set_heads(rows, s->n_heads, 3 * s->head_dim, (const uint32_t[3]){s->head_dim, s->head_dim, s->head_dim});
        break;
    default: set_linear(config, operation, rows); break;
    }
}

/* ---- tensors ---- */

static int by_name(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->expert > b->expert) - (a->expert < b->expert);
}

/* The places of one tensor: one, or one for each expert. */
static int make_tensor(const struct hf_config *config, const struct place *places, size_t n, struct hf_tensor *tensor,
                       struct error *err)
{
    struct hf_rows *rows = &tensor->rows;
    uint32_t last = places[n - 1].expert;
    bool stacked = last != UINT32_MAX;
    if (!stacked && n > 1)
        return error_set(err, ERROR_BAD_FILE, "tensors %.100s and %.100s are the same", places[0].weight->name.bytes,
                         places[1].weight->name.bytes);
    memcpy(tensor->name, places[0].name, sizeof tensor->name);
    rows->n_parts = stacked ? last + 1 : 1;
    rows->parts = memory_array(rows->n_parts, sizeof *rows->parts);
    if (rows->parts == NULL) return error_set(err, ERROR_NO_MEMORY, "tensors: out of memory");
    for (size_t i = 0; i < n; i++) {
        uint32_t at = stacked ? places[i].expert : 0;
        if (rows->parts[at] != NULL)
            return error_set(err, ERROR_BAD_FILE, "tensors %.100s and %.100s are the same", rows->parts[at]->name.bytes,
                             places[i].weight->name.bytes);
        rows->parts[at] = places[i].weight;
    }
    if (rows->parts[0] == NULL)
        return error_set(err, ERROR_BAD_FILE, "tensor %.200s: there is none of expert 0", places[0].weight->name.bytes);
    set_operation(config, places[0].operation, rows);
    return hf_rows_finish(rows, places[0].weight->name.bytes, err);
}

static int make_tensors(const struct hf_config *config, const struct places *places, struct hf_tensor_list *list,
                        struct error *err)
{
    list->items = memory_array(places->count, sizeof *list->items);
    if (list->items == NULL) return error_set(err, ERROR_NO_MEMORY, "tensors: out of memory");
    for (size_t i = 0, n; i < places->count; i += n) {
        for (n = 1; i + n < places->count && strcmp(places->items[i + n].name, places->items[i].name) == 0; n++) {}
        int status = make_tensor(config, &places->items[i], n, &list->items[list->count++], err);
        if (status < 0) return status;
    }
    return 0;
}

int hf_names_map(const struct hf_config *config, const struct hf_weights *weights, struct hf_tensor_list *list,
                 struct error *err)
{
    struct places places = {0};
    int status = 0;
    for (size_t i = 0; i < weights->count && status == 0; i++)
        status = place_weight(config, &weights->items[i], &places, err);
    if (status == 0) {
        qsort(places.items, places.count, sizeof *places.items, by_name);
        status = make_tensors(config, &places, list, err);
    }
    free(places.items);
    return status;
}

void hf_tensor_list_release(struct hf_tensor_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->items[i].rows.parts);
    free(list->items);
    *list = (struct hf_tensor_list){0};
}
