/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An architecture from a GGUF header: what a layer has is told by its tensors, what they do not tell by the keys. So
 * families that the engine cannot run yet are read too. Formats are those that a card gives the file's types.
 */
#include "host/model/model.h"
#include "host/model/pack.h"
#include "host/model/slc.h"
#include "host/plan/gguf_shape.h"

#include <stdio.h>
#include <string.h>

static unsigned card_format(struct gguf_shape *shape, const struct gguf_tensor *tensor)
{
    if (tensor == NULL) return CARD_FORMAT_INT8; /* the layer has no such matrix */
    unsigned format =
        gguf_type_supported(tensor->type) ? pack_format(tensor->type, UINT32_MAX & ~(1u << CARD_FORMAT_F32)) : 0;
    if (format == 0)
        gguf_shape_bad(shape, ERROR_UNSUPPORTED,
                       "%.*s is %s, which no card format keeps (supported: " GGUF_SUPPORTED_TYPES ")",
                       (int)tensor->name.length, tensor->name.bytes, gguf_tensor_type_name(tensor->type));
    return format;
}

/* The format of the first of these tensors (NULL at the end) that the layer has. */
static uint8_t format_of(struct gguf_shape *shape, const char *const *names)
{
    const struct gguf_tensor *tensor = NULL;
    for (size_t i = 0; names[i] != NULL && tensor == NULL; i++) tensor = gguf_shape_tensor(shape, names[i]);
    return (uint8_t)card_format(shape, tensor);
}

static void read_formats(struct gguf_shape *shape, uint8_t *formats)
{
    static const char *const names[WEIGHT_ROLES][5] = {
        [WEIGHT_QUERY] = {"attn_q.weight", "attn_q_b.weight", "attn_qkv.weight", NULL},
        [WEIGHT_KEY] = {"attn_k.weight", "attn_kv_a_mqa.weight", "attn_kv.weight", "attn_qkv.weight", NULL},
        [WEIGHT_VALUE] = {"attn_v.weight", "attn_v_b.weight", "attn_kv.weight", "attn_qkv.weight", NULL},
        [WEIGHT_ATTENTION_OUTPUT] = {"attn_output.weight", "attn_output_b.weight", "ssm_out.weight", NULL},
        [WEIGHT_GATE] = {"ffn_gate.weight", "ffn_gate_shexp.weight", "ffn_up.weight", NULL},
        [WEIGHT_UP] = {"ffn_up.weight", "ffn_up_shexp.weight", NULL},
        [WEIGHT_DOWN] = {"ffn_down.weight", "ffn_down_shexp.weight", NULL},
        [WEIGHT_EXPERT_GATE] = {"ffn_gate_exps.weight", "ffn_gate_up_exps.weight", NULL},
        [WEIGHT_EXPERT_UP] = {"ffn_up_exps.weight", "ffn_gate_up_exps.weight", NULL},
        [WEIGHT_EXPERT_DOWN] = {"ffn_down_exps.weight", NULL},
    };
    for (unsigned role = 0; role < WEIGHT_ROLES; role++) formats[role] = format_of(shape, names[role]);
}

/* ---- attention ---- */

/* Every period-th layer sees all tokens in families that do not say which do (llama.cpp's constants); 0: all do. */
static uint32_t period_of(const struct gguf_shape *shape)
{
    static const struct {
        const char *family;
        uint32_t period;
    } periods[] = {{"gemma2", 2}, {"gemma3", 6}, {"gpt-oss", 2}, {"cohere2", 4}, {"llama4", 4}};
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++)
        if (gguf_shape_is(shape, periods[i].family)) return periods[i].period;
    return 0;
}

static void read_window(struct gguf_shape *shape, struct attention_shape *a)
{
    const uint32_t chunk = 8192; /* of llama4, which its files do not carry */
    uint32_t period = period_of(shape);
    bool all = period != 0 && (shape->layer + 1) % period == 0;
    if (gguf_shape_has_key(shape, "attention.sliding_window_pattern"))
        all = gguf_shape_u32_or(shape, "attention.sliding_window_pattern", 0, 1, 0) == 0;
    else if (period == 0)
        return;
    if (all) return;
    if (gguf_shape_is(shape, "llama4"))
        a->chunk = gguf_shape_u32_or(shape, "attention.chunk_size", 1, UINT32_MAX >> 1, chunk);
    else
        a->window = gguf_shape_u32(shape, "attention.sliding_window", 1, UINT32_MAX >> 1);
}

static void read_query_key_norm(struct gguf_shape *shape, struct attention_shape *a)
{
    const struct gguf_tensor *norm = gguf_shape_tensor(shape, "attn_q_norm.weight");
    if (norm == NULL) return;
    bool whole = norm->dimension[0] == (uint64_t)a->heads * a->key_dim && a->heads > 1;
    a->query_key_norm = whole ? QUERY_KEY_NORM_ALL : QUERY_KEY_NORM_HEAD;
    a->each_head_norm = norm->n_dimensions > 1 && norm->dimension[1] > 1;
}

static void read_gate(struct gguf_shape *shape, struct attention_shape *a)
{
    const struct gguf_tensor *query = gguf_shape_tensor(shape, "attn_q.weight");
    const struct gguf_tensor *gate = gguf_shape_tensor(shape, "attn_gate.weight");
    if (gate != NULL) a->gate = gate->dimension[1] == a->heads ? ATTENTION_GATE_HEAD : ATTENTION_GATE_ELEMENT;
    if (query != NULL && query->dimension[1] == 2ull * a->heads * a->key_dim) a->gate = ATTENTION_GATE_ELEMENT;
}

static void read_heads(struct gguf_shape *shape, struct attention_shape *a)
{
    a->heads = gguf_shape_u32(shape, "attention.head_count", 1, ARCHITECTURE_MAX_HEADS);
    a->kv_heads = gguf_shape_u32_or(shape, "attention.head_count_kv", 1, ARCHITECTURE_MAX_HEADS, a->heads);
    uint32_t equal = shape->d_model / a->heads;
    a->key_dim = gguf_shape_u32_or(shape, "attention.key_length", 2, CARD_MAX_HEAD_DIM, equal);
    a->value_dim = gguf_shape_u32_or(shape, "attention.value_length", 1, CARD_MAX_HEAD_DIM, a->key_dim);
    if (a->heads % a->kv_heads != 0 || a->key_dim < 2 || a->key_dim > CARD_MAX_HEAD_DIM)
        gguf_shape_bad(shape, ERROR_BAD_FILE, "%u heads, %u of them with keys, of %u dimensions (2 to %u)", a->heads,
                       a->kv_heads, a->key_dim, CARD_MAX_HEAD_DIM);
    a->rope_dims = gguf_shape_u32_or(shape, "rope.dimension_count", 2, a->key_dim, a->key_dim & ~1u);
    read_window(shape, a);
    if (gguf_shape_is(shape, "llama4") && a->chunk == 0) a->rope_dims = 0;
    read_query_key_norm(shape, a);
    read_gate(shape, a);
    a->query_key_value_bias = gguf_shape_tensor(shape, "attn_q.bias") != NULL;
    a->output_bias = gguf_shape_tensor(shape, "attn_output.bias") != NULL;
    a->sinks = gguf_shape_tensor(shape, "attn_sinks.weight") != NULL;
}

static void read_indexer(struct gguf_shape *shape, struct indexer *indexer)
{
    if (!gguf_shape_has_key(shape, "attention.indexer.top_k")) return;
    indexer->top_k = gguf_shape_u32(shape, "attention.indexer.top_k", 1, 1u << 16);
    indexer->heads = gguf_shape_u32(shape, "attention.indexer.head_count", 1, ARCHITECTURE_MAX_HEADS);
    indexer->head_dim = gguf_shape_u32(shape, "attention.indexer.key_length", 2, CARD_MAX_HEAD_DIM);
    indexer->shared = gguf_shape_tensor(shape, "indexer.attn_q_b.weight") == NULL;
}

static void read_latent(struct gguf_shape *shape, struct attention_shape *a)
{
    bool two = gguf_shape_tensor(shape, "attn_q_a.weight") != NULL;
    a->kind = ATTENTION_LATENT;
    a->heads = gguf_shape_u32(shape, "attention.head_count", 1, ARCHITECTURE_MAX_CHOICES);
    a->kv_heads = 1;
    a->query_rank = two ? gguf_shape_size(shape, "attn_q_a.weight", 1, 1u << 16) : 0;
    a->kv_rank = gguf_shape_size(shape, "attn_kv_a_norm.weight", 0, CARD_MAX_HEAD_DIM);
    uint32_t both = gguf_shape_size(shape, "attn_kv_a_mqa.weight", 1, CARD_MAX_HEAD_DIM);
    uint32_t query = gguf_shape_size(shape, two ? "attn_q_b.weight" : "attn_q.weight", 1, ARCHITECTURE_MAX_FFN_WIDTH);
    a->rope_dims = both > a->kv_rank ? both - a->kv_rank : 0;
    a->key_dim = query / a->heads;
    a->value_dim = gguf_shape_size(shape, "attn_output.weight", 0, ARCHITECTURE_MAX_FFN_WIDTH) / a->heads;
    a->no_rotation = gguf_shape_is(shape, "kimi-linear");
    if (a->rope_dims == 0 || a->key_dim <= a->rope_dims || a->key_dim > CARD_MAX_HEAD_DIM || a->value_dim == 0 ||
        a->value_dim > CARD_MAX_HEAD_DIM)
        gguf_shape_bad(shape, ERROR_BAD_FILE,
                       "layer %u: latent attention with keys of %u, %u of them rotated, values of %u", shape->layer,
                       a->key_dim, a->rope_dims, a->value_dim);
    read_indexer(shape, &a->indexer);
}

static void read_linear(struct gguf_shape *shape, struct attention_shape *a)
{
    bool by_channel = gguf_shape_tensor(shape, "ssm_conv1d_q.weight") != NULL;
    a->kind = ATTENTION_LINEAR;
    a->conv_width = gguf_shape_u32(shape, "ssm.conv_kernel", 2, 8);
    if (by_channel) {
        a->heads = a->kv_heads = gguf_shape_u32(shape, "attention.head_count", 1, ARCHITECTURE_MAX_HEADS);
        a->key_dim = a->value_dim = gguf_shape_u32(shape, "kda.head_dim", 2, CARD_MAX_HEAD_DIM);
        a->decay_rank = gguf_shape_size(shape, "ssm_f_a.weight", 1, 1u << 16);
        return;
    }
    a->heads = gguf_shape_u32(shape, "ssm.time_step_rank", 1, ARCHITECTURE_MAX_HEADS);
    a->kv_heads = gguf_shape_u32(shape, "ssm.group_count", 1, a->heads);
    a->key_dim = gguf_shape_u32(shape, "ssm.state_size", 2, CARD_MAX_HEAD_DIM);
    a->value_dim = gguf_shape_u32(shape, "ssm.inner_size", a->heads, a->heads * CARD_MAX_HEAD_DIM) / a->heads;
    if (a->heads % a->kv_heads != 0)
        gguf_shape_bad(shape, ERROR_BAD_FILE, "ssm.group_count %u does not divide %u heads", a->kv_heads, a->heads);
}

static void read_compressed(struct gguf_shape *shape, struct attention_shape *a)
{
    a->kind = ATTENTION_COMPRESSED;
    a->heads = gguf_shape_u32(shape, "attention.head_count", 1, ARCHITECTURE_MAX_HEADS);
    a->kv_heads = 1;
    a->key_dim = a->value_dim = gguf_shape_size(shape, "attn_kv.weight", 1, CARD_MAX_HEAD_DIM);
    a->rope_dims = gguf_shape_u32(shape, "rope.dimension_count", 2, a->key_dim);
    a->query_rank = gguf_shape_size(shape, "attn_q_a.weight", 1, 1u << 16);
    a->output_groups = gguf_shape_u32(shape, "attention.output_group_count", 1, ARCHITECTURE_MAX_CHOICES);
    a->output_rank = gguf_shape_u32(shape, "attention.output_lora_rank", 1, 1u << 16);
    a->window = gguf_shape_u32(shape, "attention.sliding_window", 1, UINT32_MAX >> 1);
    a->compress_rate = gguf_shape_u32(shape, "attention.compress_ratios", 0, 1u << 16);
    a->sinks = true;
    if (a->heads % a->output_groups != 0)
        gguf_shape_bad(shape, ERROR_BAD_FILE, "attention.output_group_count %u does not divide %u heads",
                       a->output_groups, a->heads);
    if (gguf_shape_tensor(shape, "indexer.attn_q_b.weight") != NULL) read_indexer(shape, &a->indexer);
}

static void read_attention(struct gguf_shape *shape, struct attention_shape *a)
{
    if (gguf_shape_tensor(shape, "attn_kv_a_mqa.weight") != NULL)
        read_latent(shape, a);
    else if (gguf_shape_tensor(shape, "attn_kv.weight") != NULL)
        read_compressed(shape, a);
    else if (gguf_shape_tensor(shape, "ssm_beta.weight") != NULL ||
             gguf_shape_tensor(shape, "ssm_conv1d.weight") != NULL)
        read_linear(shape, a);
    else
        read_heads(shape, a);
}

/* ---- feed-forward ---- */

static bool is_one_of(const struct gguf_shape *shape, const char *const *families)
{
    for (size_t i = 0; families[i] != NULL; i++)
        if (gguf_shape_is(shape, families[i])) return true;
    return false;
}

static void read_experts(struct gguf_shape *shape, struct ffn_shape *f)
{
    static const char *const sigmoid[] = {"llama4", "step35", NULL};
    static const char *const renormalized[] = {"llama",   "qwen3moe", "qwen3next", "qwen35moe",
                                               "gpt-oss", "glm4moe",  "step35",    NULL};
    f->experts = gguf_shape_size(shape, "ffn_down_exps.weight", 2, ARCHITECTURE_MAX_EXPERTS);
    f->expert_width = gguf_shape_size(shape, "ffn_down_exps.weight", 0, ARCHITECTURE_MAX_FFN_WIDTH);
    f->experts_used = gguf_shape_u32(shape, "expert_used_count", 1, ARCHITECTURE_MAX_CHOICES);
    if (f->experts_used > f->experts)
        gguf_shape_bad(shape, ERROR_BAD_FILE, "expert_used_count is %u of %u experts", f->experts_used, f->experts);
    if (gguf_shape_tensor(shape, "ffn_down_shexp.weight") != NULL)
        f->shared_width = gguf_shape_size(shape, "ffn_down_shexp.weight", 0, ARCHITECTURE_MAX_FFN_WIDTH);
    f->shared_gate = gguf_shape_tensor(shape, "ffn_gate_inp_shexp.weight") != NULL;
    f->router_bias = gguf_shape_tensor(shape, "exp_probs_b.bias") != NULL;
    f->router_logit_bias = gguf_shape_tensor(shape, "ffn_gate_inp.bias") != NULL;
    f->expert_bias = gguf_shape_tensor(shape, "ffn_down_exps.bias") != NULL;
    f->scaled_input = gguf_shape_is(shape, "llama4");
    uint32_t scoring = gguf_shape_u32_or(shape, "expert_gating_func", 1, 16, is_one_of(shape, sigmoid) ? 2 : 1);
    f->scoring = scoring == 1 ? ROUTER_SOFTMAX : ROUTER_SIGMOID;
    f->renormalize = gguf_shape_u32_or(shape, "expert_weights_norm", 0, 1, is_one_of(shape, renormalized)) != 0;
    f->router_groups = gguf_shape_u32_or(shape, "expert_group_count", 0, f->experts, 1);
    f->router_groups_used = gguf_shape_u32_or(shape, "expert_group_used_count", 0, f->experts, 1);
    if (f->router_groups > 1 && (f->experts % f->router_groups != 0 || f->router_groups_used > f->router_groups))
        gguf_shape_bad(shape, ERROR_BAD_FILE, "expert_group_count %u, %u used, of %u experts", f->router_groups,
                       f->router_groups_used, f->experts);
}

static void read_ffn(struct gguf_shape *shape, struct ffn_shape *f)
{
    if (gguf_shape_tensor(shape, "ffn_down_exps.weight") != NULL)
        read_experts(shape, f);
    else
        f->width = gguf_shape_size(shape, "ffn_down.weight", 0, ARCHITECTURE_MAX_FFN_WIDTH);
    f->activation = strncmp(shape->family, "gemma", 5) == 0 ? FFN_GELU
                    : gguf_shape_is(shape, "gpt-oss")       ? FFN_SWIGLU_OAI
                                                            : FFN_SILU;
}

/* ---- the model ---- */

static void read_model(struct gguf_shape *shape, struct architecture *architecture)
{
    static const char *const interleaved[] = {"llama",     "llama4",    "deepseek2", "deepseek32",
                                              "deepseek4", "command-r", "cohere2",   "mistral3",
                                              "mistral4",  "glm-dsa",   NULL};
    const struct gguf_tensor *embedding = gguf_find_tensor(shape->file, "token_embd.weight");
    const struct gguf_tensor *output = gguf_find_tensor(shape->file, "output.weight");
    if (embedding == NULL || embedding->dimension[1] > ARCHITECTURE_MAX_VOCAB)
        gguf_shape_bad(shape, ERROR_BAD_FILE, "no token_embd.weight of at most %u tokens", ARCHITECTURE_MAX_VOCAB);
    architecture->d_model = gguf_shape_u32(shape, "embedding_length", 2, ARCHITECTURE_MAX_WIDTH);
    architecture->max_context = gguf_shape_u32(shape, "context_length", 1, UINT32_MAX >> 1);
    architecture->tied = output == NULL;
    architecture->hyper_streams = gguf_shape_u32_or(shape, "hyper_connection.count", 1, 64, 1);
    architecture->interleaved_rope = is_one_of(shape, interleaved);
    architecture->parallel = architecture->layer_norm =
        gguf_shape_is(shape, "command-r") || gguf_shape_is(shape, "cohere2");
    architecture->pre_norms = gguf_shape_tensor(shape, "attn_norm.weight") != NULL;
    architecture->post_norms = gguf_shape_tensor(shape, "post_ffw_norm.weight") != NULL;
    architecture->norm_epsilon = 1e-6f;
    shape->d_model = architecture->d_model;
    if (shape->status != 0) return;
    architecture->n_vocab = (uint32_t)embedding->dimension[1];
    architecture->output_format = (uint8_t)card_format(shape, output != NULL ? output : embedding);
}

static void put_string(char *field, size_t size, struct gguf_string text)
{
    size_t n = text.length < size - 1 ? text.length : size - 1;
    memcpy(field, text.bytes, n);
    field[n] = '\0';
}

/* general.name, or the file's own. */
static void put_names(const struct gguf_shape *shape, struct architecture *architecture)
{
    struct gguf_string name;
    const char *path = gguf_path(shape->file), *base = strrchr(path, '/');
    architecture_put_text(architecture->name, sizeof architecture->name, base != NULL ? base + 1 : path);
    if (gguf_get_string(shape->file, "general.name", &name, NULL) == 1 && name.length > 0)
        put_string(architecture->name, sizeof architecture->name, name);
    architecture_put_text(architecture->model_type, sizeof architecture->model_type, shape->family);
    architecture_put_text(architecture->source, sizeof architecture->source, path);
    architecture_put_text(architecture->released_as, sizeof architecture->released_as, "file");
}

/* Values of the tensors of the layers that run, and of the model. */
static uint64_t count_values(const struct gguf *file, uint32_t n_layers)
{
    uint64_t values = 0;
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        unsigned layer = 0;
        char name[16] = "";
        memcpy(name, tensor->name.bytes, tensor->name.length < sizeof name - 1 ? tensor->name.length : sizeof name - 1);
        if (sscanf(name, "blk.%u.", &layer) == 1 && layer >= n_layers) continue; /* for multi-token prediction */
        values += tensor->n_elements;
    }
    return values;
}

/* A family with tensors that nothing above reads is refused, as its sizes would be wrong. */
static void check_values(struct gguf_shape *shape, const struct architecture *architecture)
{
    struct architecture_parameters parameters;
    if (shape->status != 0) return;
    architecture_count(architecture, &parameters);
    uint64_t values = count_values(shape->file, architecture->n_layers), known = parameters.total;
    uint64_t apart = values > known ? values - known : known - values;
    if (apart > values / 64) /* tables by token and the like are small */
        gguf_shape_bad(shape, ERROR_UNSUPPORTED,
                       "its tensors have %llu values, the layers that sluice plan knows of %s have %llu",
                       (unsigned long long)values, shape->family, (unsigned long long)known);
}

static int read_file(const struct gguf *file, struct architecture **out, struct error *err)
{
    struct gguf_shape shape = {.file = file, .err = err};
    struct gguf_string family = {.bytes = "", .length = 0};
    struct architecture *architecture;
    int result = gguf_get_string(file, "general.architecture", &family, err);
    if (result < 0) return result;
    put_string(shape.family, sizeof shape.family, family);
    uint32_t blocks = gguf_shape_u32(&shape, "block_count", 1, ARCHITECTURE_MAX_LAYERS);
    uint32_t extra = gguf_shape_u32_or(&shape, "nextn_predict_layers", 0, ARCHITECTURE_MAX_LAYERS, 0);
    if (shape.status == 0 && extra >= blocks)
        gguf_shape_bad(&shape, ERROR_BAD_FILE, "%u of %u layers predict further tokens", extra, blocks);
    if (shape.status != 0) return shape.status;
    result = architecture_new(blocks - extra, &architecture, err);
    if (result < 0) return result;
    read_model(&shape, architecture);
    put_names(&shape, architecture);
    for (; shape.layer < architecture->n_layers && shape.status == 0; shape.layer++) {
        struct architecture_layer *layer = &architecture->layers[shape.layer];
        read_attention(&shape, &layer->attention);
        read_ffn(&shape, &layer->ffn);
        read_formats(&shape, layer->formats);
    }
    if (shape.status == 0) shape.status = architecture_check_size(architecture, gguf_path(file), err);
    check_values(&shape, architecture);
    if (shape.status != 0) {
        architecture_close(architecture);
        return shape.status;
    }
    *out = architecture;
    return 0;
}

int architecture_from_gguf(const char *path, struct architecture **out, struct error *err)
{
    if (path == NULL) { /* the demo model inside the program */
        struct model *model;
        int result = model_open(NULL, &model, err);
        if (result < 0) return result;
        result = read_file(model_file(model), out, err);
        if (result == 0) architecture_put_text((*out)->name, sizeof(*out)->name, model_name(model));
        model_close(model);
        return result;
    }
    struct gguf *file = NULL;
    struct slc *packed = NULL;
    int result = model_open_file(path, &file, &packed, err);
    if (result < 0) return result;
    result = read_file(packed != NULL ? slc_file(packed) : file, out, err);
    gguf_close(file);
    slc_close(packed);
    return result;
}
