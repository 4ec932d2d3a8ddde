/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a pre-norm transformer, written in the planner's operations. */
#include "host/base/bytes.h"
#include "host/model/planner_ops.h"

#include <math.h>

/* Projects the normed hidden state to one of query, key, value. */
static struct activations project(struct planner *p, struct activations *normed, uint32_t n_heads,
                                  enum tensor_role role, enum tensor_role bias, uint32_t layer)
{
    struct activations result = planner_buffer(p, normed->tokens, n_heads * p->config->head_dim);
    planner_linear(p, &result, normed, role, bias, layer);
    return result;
}

/* With its norm over each head first if the file has one. */
static void turn(struct planner *p, struct activations *x, uint32_t n_heads, enum tensor_role norm, uint32_t layer,
                 uint16_t rope_flags)
{
    if (planner_has(p, norm, layer)) planner_norm(p, x, x, n_heads, norm, layer);
    planner_rope(p, x, n_heads, rope_flags);
}

static void write_kv(struct planner *p, const struct activations *key, const struct activations *value, uint32_t layer)
{
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_KV_WRITE,
                          .format = (uint8_t)p->kv_format,
                          .tokens = key->tokens,
                          .rows = p->config->n_kv_heads,
                          .cols = p->config->head_dim,
                          .dst = p->pools != NULL ? p->pools[layer] : 0,
                          .src = key->address,
                          .weight = value->address,
                          .aux = p->batch,
                          .param = {p->n_pages, p->config->head_dim, p->pool_banks},
                      });
}

static void attend(struct planner *p, const struct activations *dst, const struct activations *query, uint32_t layer)
{
    const struct model_config *config = p->config;
    bool dealt = p->pool_banks > 1;
    float scale = 1.0f / sqrtf((float)config->head_dim);
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_ATTENTION,
                          .format = (uint8_t)p->kv_format,
                          .flags = dealt ? CARD_FLAG_EXTENDED : 0,
                          .tokens = query->tokens,
                          .rows = config->n_heads,
                          .cols = config->head_dim,
                          .dst = dst->address,
                          .src = query->address,
                          .weight = p->pools != NULL ? p->pools[layer] : 0,
                          .aux = p->batch,
                          .param = {p->n_pages, bits_of_float(scale), config->n_kv_heads, config->attention_window},
                      });
    if (dealt) planner_append(p, &(struct card_descriptor){.opcode = CARD_OP_EXTENSION, .rows = p->pool_banks});
}

/*
 * Nothing after the last layer's attention looks at other tokens, so from there on only the wanted rows are computed.
 * While measuring both rows and gathers are counted, as a smaller step may need them.
 */
static struct activations keep_wanted(struct planner *p, struct activations *hidden, struct activations *attended)
{
    struct activations rows = planner_buffer(p, p->n_logit_rows, attended->cols);
    if (p->loaded != NULL && p->n_logit_rows == p->n_tokens) return *attended;
    if (p->n_logit_rows > 0) {
        planner_gather(p, &rows, attended);
        planner_gather(p, &p->wanted, hidden);
    }
    *hidden = p->wanted;
    return rows;
}

void planner_attention(struct planner *p, struct activations *hidden, uint32_t layer, uint16_t rope_flags)
{
    const struct model_config *config = p->config;
    uint64_t mark = planner_mark(p);
    struct activations normed = planner_buffer(p, hidden->tokens, config->d_model);
    planner_norm(p, &normed, hidden, 1, TENSOR_ATTN_NORM, layer);
    /* The query, by far the largest, last: keys are turned and written while its words go by. */
    struct activations value = project(p, &normed, config->n_kv_heads, TENSOR_ATTN_V, TENSOR_ATTN_V_BIAS, layer);
    struct activations key = project(p, &normed, config->n_kv_heads, TENSOR_ATTN_K, TENSOR_ATTN_K_BIAS, layer);
    struct activations query = project(p, &normed, config->n_heads, TENSOR_ATTN_Q, TENSOR_ATTN_Q_BIAS, layer);
    turn(p, &key, config->n_kv_heads, TENSOR_ATTN_K_NORM, layer, rope_flags);
    write_kv(p, &key, &value, layer);
    turn(p, &query, config->n_heads, TENSOR_ATTN_Q_NORM, layer, rope_flags);
    struct activations attended = planner_buffer(p, hidden->tokens, config->n_heads * config->head_dim);
    bool last = layer + 1 == config->n_layers;
    if (!last || p->n_logit_rows > 0) attend(p, &attended, &query, layer);
    if (last) attended = keep_wanted(p, hidden, &attended);
    if (hidden->tokens > 0)
        planner_linear_add(p, hidden, &attended, TENSOR_ATTN_OUTPUT, TENSOR_ATTN_OUTPUT_BIAS, layer);
    planner_release(p, mark);
}

void planner_ffn(struct planner *p, struct activations *hidden, uint32_t layer)
{
    if (hidden->tokens == 0) return;
    uint64_t mark = planner_mark(p);
    struct activations normed = planner_buffer(p, hidden->tokens, p->config->d_model);
    planner_norm(p, &normed, hidden, 1, TENSOR_FFN_NORM, layer);
    struct activations gate = planner_buffer(p, hidden->tokens, p->config->d_ff);
    struct activations up = planner_buffer(p, hidden->tokens, p->config->d_ff);
    planner_linear(p, &gate, &normed, TENSOR_FFN_GATE, TENSOR_FFN_GATE_BIAS, layer);
    planner_linear(p, &up, &normed, TENSOR_FFN_UP, TENSOR_FFN_UP_BIAS, layer);
    planner_glu(p, &gate, &up);
    planner_linear_add(p, hidden, &gate, TENSOR_FFN_DOWN, TENSOR_FFN_DOWN_BIAS, layer);
    planner_release(p, mark);
}

/* One of the three matrices of the chosen experts; dst has a row for each choice, src for each token or each choice. */
static void expert_linear(struct planner *p, const struct activations *dst, struct activations *src,
                          enum expert_matrix matrix, card_addr choices, uint32_t layer)
{
    struct weight weight = planner_weight(p, expert_role(matrix), layer);
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_EXPERT_MATMUL,
                          .format = (uint8_t)weight.format,
                          .flags = matrix == EXPERT_DOWN ? CARD_FLAG_PER_CHOICE : 0,
                          .tokens = dst->tokens / p->config->n_experts_used,
                          .rows = dst->cols,
                          .cols = src->cols,
                          .dst = dst->address,
                          .src = planner_operand(p, src, weight.format),
                          .weight = p->loaded != NULL ? p->loaded->experts[layer].table[matrix] : 0,
                          .aux = choices,
                          .param = {p->config->n_experts_used, p->config->n_experts, weight.banks},
                      });
}

static void route(struct planner *p, card_addr choices, const struct activations *scores, uint16_t flags)
{
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_ROUTER,
                          .flags = flags,
                          .tokens = scores->tokens,
                          .rows = p->config->n_experts_used,
                          .cols = scores->cols,
                          .dst = choices,
                          .src = scores->address,
                          .param = {bits_of_float(1.0f)},
                      });
}

static void sum_experts(struct planner *p, const struct activations *hidden, const struct activations *outputs,
                        card_addr choices)
{
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_EXPERT_SUM,
                          .tokens = hidden->tokens,
                          .cols = hidden->cols,
                          .dst = hidden->address,
                          .src = outputs->address,
                          .aux = choices,
                          .param = {p->config->n_experts_used},
                      });
}

#define AWAIT_US 30000000u /* a copy of an expert takes milliseconds: who is not there by then does not come */

/* Tells the host who was chosen, and waits until they are in their slots. */
static void bring_experts(struct planner *p, uint32_t tokens, card_addr choices, uint32_t layer)
{
    const uint32_t used = p->config->n_experts_used;
    uint32_t limit_us = p->loaded != NULL && p->loaded->expert_limit_us > 0 ? p->loaded->expert_limit_us : AWAIT_US;
    card_addr mailbox = planner_take(p, CARD_WORD_BYTES + (uint64_t)tokens * used * sizeof(struct card_choice));
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_PUBLISH,
                          .tokens = tokens,
                          .rows = used,
                          .dst = mailbox,
                          .src = choices,
                          .param = {layer + 1},
                      });
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_AWAIT,
                          .tokens = tokens,
                          .weight = p->loaded != NULL ? p->loaded->experts[layer].table[EXPERT_DOWN] : 0,
                          .aux = choices,
                          .param = {used, p->config->n_experts, limit_us},
                      });
}

/* The rows of the chosen experts and their sums, for tokens that are there together. */
static void compute_experts(struct planner *p, const struct activations *hidden, struct activations *normed,
                            card_addr choices, uint32_t layer)
{
    const struct model_config *config = p->config;
    uint32_t n_choices = hidden->tokens * config->n_experts_used;
    if (p->expert_slots > 0) bring_experts(p, hidden->tokens, choices, layer);
    struct activations gate = planner_buffer(p, n_choices, config->d_expert_ff);
    struct activations up = planner_buffer(p, n_choices, config->d_expert_ff);
    expert_linear(p, &gate, normed, EXPERT_GATE, choices, layer);
    expert_linear(p, &up, normed, EXPERT_UP, choices, layer);
    planner_glu(p, &gate, &up);
    struct activations outputs = planner_buffer(p, n_choices, config->d_model);
    expert_linear(p, &outputs, &gate, EXPERT_DOWN, choices, layer);
    sum_experts(p, hidden, &outputs, choices);
}

/* As many tokens at a time as the slots hold experts for, whatever they choose: all of them if a layer's experts fit. */
static uint32_t tokens_at_once(const struct planner *p, uint32_t tokens)
{
    if (p->expert_slots == 0 || p->expert_slots >= p->config->n_experts) return tokens;
    uint32_t fit = p->expert_slots / p->config->n_experts_used;
    return fit < tokens ? fit : tokens;
}

static struct activations tokens_of(const struct activations *all, uint32_t first, uint32_t n)
{
    return (struct activations){
        .address = all->address + (uint64_t)first * all->cols * sizeof(float), .tokens = n, .cols = all->cols};
}

void planner_moe(struct planner *p, struct activations *hidden, uint32_t layer, uint16_t router_flags)
{
    if (hidden->tokens == 0) return;
    const struct model_config *config = p->config;
    uint64_t mark = planner_mark(p);
    uint32_t tokens = hidden->tokens, at_once = tokens_at_once(p, tokens);
    struct activations normed = planner_buffer(p, tokens, config->d_model);
    planner_norm(p, &normed, hidden, 1, TENSOR_FFN_NORM, layer);
    planner_operand(p, &normed, planner_weight(p, TENSOR_FFN_GATE_EXPERTS, layer).format); /* while the router works */
    struct activations scores = planner_buffer(p, tokens, config->n_experts);
    planner_linear(p, &scores, &normed, TENSOR_FFN_ROUTER, TENSOR_ROLE_END, layer);
    card_addr choices = planner_take(p, (uint64_t)tokens * config->n_experts_used * sizeof(struct card_choice));
    route(p, choices, &scores, router_flags);
    if (at_once == tokens) compute_experts(p, hidden, &normed, choices, layer);
    for (uint32_t first = 0; first < tokens && at_once < tokens; first += at_once) {
        uint32_t n = tokens - first < at_once ? tokens - first : at_once;
        uint64_t group = planner_mark(p);
        struct activations to = tokens_of(hidden, first, n), from = tokens_of(&normed, first, n);
        compute_experts(p, &to, &from, choices + (uint64_t)first * config->n_experts_used * sizeof(struct card_choice),
                        layer);
        planner_release(p, group);
    }
    planner_release(p, mark);
}

void planner_head(struct planner *p, struct activations *hidden)
{
    if (hidden->tokens == 0) return;
    struct activations normed = planner_buffer(p, hidden->tokens, p->config->d_model);
    planner_norm(p, &normed, hidden, 1, TENSOR_OUTPUT_NORM, 0);
    p->logits = planner_buffer(p, hidden->tokens, p->config->n_vocab);
    planner_linear(p, &p->logits, &normed, TENSOR_OUTPUT, TENSOR_ROLE_END, 0);
}

void planner_declare_model(const struct model_config *config, struct tensor_table *table)
{
    tensor_table_add(table, TENSOR_TOKEN_EMBD, 0, config->n_vocab, config->d_model);
    tensor_table_add_optional(table, TENSOR_OUTPUT, 0, config->n_vocab, config->d_model);
    tensor_table_add(table, TENSOR_OUTPUT_NORM, 0, 1, config->d_model);
}

void planner_declare_attention(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    uint32_t query = config->n_heads * config->head_dim, kv = config->n_kv_heads * config->head_dim;
    tensor_table_add(table, TENSOR_ATTN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_Q, layer, query, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_K, layer, kv, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_V, layer, kv, config->d_model);
    tensor_table_add(table, TENSOR_ATTN_OUTPUT, layer, config->d_model, query);
}

void planner_declare_ffn(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    tensor_table_add(table, TENSOR_FFN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_FFN_GATE, layer, config->d_ff, config->d_model);
    tensor_table_add(table, TENSOR_FFN_UP, layer, config->d_ff, config->d_model);
    tensor_table_add(table, TENSOR_FFN_DOWN, layer, config->d_model, config->d_ff);
}

void planner_declare_moe(const struct model_config *config, struct tensor_table *table, uint32_t layer)
{
    uint32_t n = config->n_experts;
    tensor_table_add(table, TENSOR_FFN_NORM, layer, 1, config->d_model);
    tensor_table_add(table, TENSOR_FFN_ROUTER, layer, n, config->d_model);
    tensor_table_add_experts(table, TENSOR_FFN_GATE_EXPERTS, layer, n, config->d_expert_ff, config->d_model);
    tensor_table_add_experts(table, TENSOR_FFN_UP_EXPERTS, layer, n, config->d_expert_ff, config->d_model);
    tensor_table_add_experts(table, TENSOR_FFN_DOWN_EXPERTS, layer, n, config->d_model, config->d_expert_ff);
}
