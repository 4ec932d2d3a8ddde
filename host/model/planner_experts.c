/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's experts: router, chosen experts, shared experts; with a pool, waiting until the chosen ones are in their slots. */
#include "host/base/bytes.h"
#include "host/model/expert_pool.h"
#include "host/model/planner_ops.h"

#define NO_BIAS ((enum tensor_role)TENSOR_ROLE_END)

/* A matrix of the chosen experts; dst has a row for each choice, src for each token or (per_choice) each choice. */
static void expert_linear(struct planner *p, const struct activations *dst, struct activations *src,
                          enum expert_matrix matrix, enum tensor_role bias_role, card_addr choices, bool per_choice,
                          uint32_t layer)
{
    struct weight weight = planner_weight(p, expert_role(matrix), layer);
    bool has_bias = planner_has(p, bias_role, layer);
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_EXPERT_MATMUL,
        .format = (uint8_t)weight.format,
        .flags = (uint16_t)((per_choice ? CARD_FLAG_PER_CHOICE : 0) | (has_bias ? CARD_FLAG_EXTENDED : 0)),
        .tokens = dst->tokens / p->config->n_experts_used,
        .rows = dst->cols,
        .cols = src->cols,
        .dst = dst->address,
        .src = planner_operand(p, src, weight.format),
        .weight = p->loaded != NULL ? p->loaded->experts[layer].table[matrix] : 0,
        .aux = choices,
        .param = {p->config->n_experts_used, p->config->n_experts, weight.banks},
    };
    planner_append(p, &descriptor);
    if (has_bias)
        planner_append(p, &(struct card_descriptor){.opcode = CARD_OP_EXTENSION,
                                                    .flags = CARD_FLAG_BIAS,
                                                    .src = planner_weight(p, bias_role, layer).address});
}

static void route(struct planner *p, card_addr choices, const struct activations *scores, uint32_t layer)
{
    const struct router_config *r = &p->config->router;
    bool grouped = r->n_groups > 1;
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_ROUTER,
        .format = r->scoring,
        .flags = r->renormalize ? CARD_FLAG_RENORMALIZE : 0,
        .tokens = scores->tokens,
        .rows = p->config->n_experts_used,
        .cols = scores->cols,
        .dst = choices,
        .src = scores->address,
        .param = {bits_of_float(r->scale), grouped ? r->n_groups : 0, grouped ? r->n_groups_used : 0},
    };
    if (planner_has(p, TENSOR_FFN_SELECTION_BIAS, layer)) {
        descriptor.flags |= CARD_FLAG_BIAS;
        descriptor.aux = planner_weight(p, TENSOR_FFN_SELECTION_BIAS, layer).address;
        if (grouped) descriptor.flags |= CARD_FLAG_GROUP_PAIRS;
    }
    planner_append(p, &descriptor);
}

/* dst += the experts that every token has. */
static void add_shared(struct planner *p, struct activations *dst, struct activations *src, uint32_t layer)
{
    if (!planner_has(p, TENSOR_FFN_SHARED_GATE, layer)) return;
    struct gated_ffn ffn = {.gate = TENSOR_FFN_SHARED_GATE,
                            .up = TENSOR_FFN_SHARED_UP,
                            .down = TENSOR_FFN_SHARED_DOWN,
                            .gate_bias = NO_BIAS,
                            .up_bias = NO_BIAS,
                            .down_bias = NO_BIAS,
                            .limit = p->config->layers[layer].shared_limit,
                            .add = !planner_has(p, TENSOR_FFN_SHARED_SCORE, layer)};
    if (ffn.add) {
        planner_gated(p, dst, src, layer, &ffn);
        return;
    }
    struct activations result = planner_buffer(p, src->tokens, dst->cols), score = planner_buffer(p, src->tokens, 1);
    planner_gated(p, &result, src, layer, &ffn);
    planner_linear(p, &score, src, TENSOR_FFN_SHARED_SCORE, NO_BIAS, layer);
    planner_glu(p, &result, &score, &result, CARD_ACTIVATION_SIGMOID, 0);
    planner_add(p, dst, &result, 1.0f);
}

/* The input times each choice's weight: a row for each choice. */
static struct activations spread(struct planner *p, const struct activations *src, card_addr choices)
{
    struct activations result = planner_buffer(p, src->tokens * p->config->n_experts_used, src->cols);
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_EXPERT_SPREAD,
                          .tokens = src->tokens,
                          .cols = src->cols,
                          .dst = result.address,
                          .src = src->address,
                          .aux = choices,
                          .param = {p->config->n_experts_used},
                      });
    return result;
}

/* Gate and up of the chosen experts, of two matrices or of one with gate's rows first; returns what down takes. */
static struct activations activated(struct planner *p, struct activations *src, uint32_t layer, card_addr choices,
                                    uint32_t n_choices)
{
    bool each = src->tokens == n_choices && p->config->router.scales_input;
    uint32_t width = p->config->d_expert_ff;
    float limit = p->config->layers[layer].ffn_limit;
    struct activations gate, up;
    if (planner_has(p, TENSOR_FFN_UP_EXPERTS, layer)) {
        gate = planner_buffer(p, n_choices, width);
        up = planner_buffer(p, n_choices, width);
        expert_linear(p, &gate, src, EXPERT_GATE, TENSOR_FFN_GATE_EXPERTS_BIAS, choices, each, layer);
        expert_linear(p, &up, src, EXPERT_UP, TENSOR_FFN_UP_EXPERTS_BIAS, choices, each, layer);
    } else {
        struct activations both = planner_buffer(p, n_choices, 2 * width);
        struct activations *parts[2] = {&gate, &up};
        expert_linear(p, &both, src, EXPERT_GATE, TENSOR_FFN_GATE_EXPERTS_BIAS, choices, each, layer);
        for (uint32_t i = 0; i < 2; i++) { /* COPY takes tokens, each with its choices as vectors */
            uint32_t used = p->config->n_experts_used;
            *parts[i] = planner_buffer(p, n_choices, width);
            planner_copy(
                p, n_choices / used, used, width, (struct copy_side){parts[i]->address, used * width, width},
                (struct copy_side){planner_further(both.address, (uint64_t)i * width), 2 * used * width, 2 * width});
        }
    }
    planner_activate(p, &gate, &up, limit);
    return gate;
}

static void sum_experts(struct planner *p, const struct activations *dst, const struct activations *outputs,
                        card_addr choices)
{
    bool weighted = !p->config->router.scales_input;
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_EXPERT_SUM,
                          .flags = weighted ? 0 : CARD_FLAG_UNWEIGHTED,
                          .tokens = dst->tokens,
                          .cols = dst->cols,
                          .dst = dst->address,
                          .src = outputs->address,
                          .aux = weighted ? choices : 0,
                          .param = {p->config->n_experts_used},
                      });
}

#define AWAIT_US 30000000u /* a copy of an expert takes milliseconds: who is not there by then does not come */

/* Tells the host who was chosen, and who may be in the next layers. number: as expert_pool.h has it. */
static void publish(struct planner *p, uint32_t tokens, card_addr choices, uint32_t number)
{
    const uint32_t used = p->config->n_experts_used;
    card_addr mailbox = planner_take(p, CARD_WORD_BYTES + (uint64_t)tokens * used * sizeof(struct card_choice));
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_PUBLISH,
                          .tokens = tokens,
                          .rows = used,
                          .dst = mailbox,
                          .src = choices,
                          .param = {number},
                      });
}

/* Until they are in their slots; taken: until one in `share` is, and the place for those that are and, behind it, for the others. */
static void await(struct planner *p, uint32_t tokens, card_addr choices, uint32_t layer, card_addr taken,
                  uint32_t share)
{
    uint32_t limit_us = p->loaded != NULL && p->loaded->expert_limit_us > 0 ? p->loaded->expert_limit_us : AWAIT_US;
    planner_append(p, &(struct card_descriptor){
                          .opcode = CARD_OP_AWAIT,
                          .flags = taken != 0 ? CARD_FLAG_PER_CHOICE : 0,
                          .tokens = tokens,
                          .rows = share,
                          .dst = taken,
                          .weight = p->loaded != NULL ? p->loaded->experts[layer].table[EXPERT_DOWN] : 0,
                          .aux = choices,
                          .param = {p->config->n_experts_used, p->config->n_experts, limit_us},
                      });
}

/* Rows of outputs, those of the choices that name an expert. */
static void compute_rows(struct planner *p, struct activations *outputs, struct activations *input, card_addr choices,
                         uint32_t layer)
{
    uint64_t mark = planner_mark(p);
    struct activations gate = activated(p, input, layer, choices, outputs->tokens);
    expert_linear(p, outputs, &gate, EXPERT_DOWN, TENSOR_FFN_DOWN_EXPERTS_BIAS, choices, true, layer);
    planner_release(p, mark);
}

/*
 * Waves, each of the experts that are there: who was there already first, and of those that come an even share of what is left
 * in each, so that little is left to compute when the last one has come. They share their buffers: what a wave makes of another
 * one's rows before its down matrix is not used. Each activates all rows, which long steps notice: few waves for them. While
 * measuring as many as any step has. A card of an ABI that only knows all or none has one wave.
 */
#define MOST_WAVES 9u
#define LONG_STEP 8u /* tokens; longer ones have LONG_WAVES */
#define LONG_WAVES 4u

static uint32_t count_waves(const struct planner *p, uint32_t tokens, uint32_t n_choices)
{
    if (p->loaded == NULL) return MOST_WAVES;
    if (!p->loaded->plans_waves) return 1;
    if (tokens > LONG_STEP) return LONG_WAVES;
    return n_choices + 1 < MOST_WAVES ? n_choices + 1 : MOST_WAVES;
}

static void compute_waves(struct planner *p, struct activations *outputs, struct activations *input, card_addr choices,
                          uint32_t layer)
{
    const uint32_t tokens = outputs->tokens / p->config->n_experts_used;
    const uint64_t bytes = (uint64_t)outputs->tokens * sizeof(struct card_choice);
    const uint32_t n_waves = count_waves(p, tokens, outputs->tokens);
    unsigned awaits[MOST_WAVES];
    card_addr left = choices;
    for (uint32_t wave = 0; wave < n_waves; wave++) {
        const bool is_last = wave + 1 == n_waves;
        card_addr taken = is_last ? 0 : planner_take(p, 2 * bytes);
        awaits[wave] = p->n_descriptors;
        await(p, tokens, left, layer, taken, n_waves - wave);
        compute_rows(p, outputs, input, is_last ? left : taken, layer);
        left = taken + bytes;
    }
    for (uint32_t wave = 1; wave < n_waves; wave++) /* where nothing is left, nor is it for the waves behind it */
        planner_pass_over(p, awaits[wave]);
}

/* The rows of the chosen experts and their sums, for tokens whose experts are there together. */
static void compute_experts(struct planner *p, struct activations *dst, struct activations *src, card_addr choices,
                            uint32_t layer)
{
    struct activations input = p->config->router.scales_input ? spread(p, src, choices) : *src;
    struct activations outputs = planner_buffer(p, src->tokens * p->config->n_experts_used, p->config->d_model);
    (void)planner_operand(p, &input, planner_weight(p, expert_role(EXPERT_GATE), layer).format);
    if (p->expert_slots > 0)
        compute_waves(p, &outputs, &input, choices, layer);
    else
        compute_rows(p, &outputs, &input, choices, layer);
    sum_experts(p, dst, &outputs, choices);
}

/*
 * The routers of the next layers with experts run ahead on this one's hidden state (Eliseev and Mazur: Fast inference of
 * mixture-of-experts language models with offloading, 2023, 3.2): their choices behind this layer's, to be published with them,
 * as a turn of the host costs more than a router. Steps of more tokens want nearly all experts anyway.
 */
#define GUESS_TOKENS 8u

static uint32_t layer_behind(const struct planner *p, uint32_t layer)
{
    do layer++;
    while (layer < p->config->n_layers && !p->config->layers[layer].has_experts);
    return layer;
}

/* Layers to guess of, and *rows: tokens of each; while measuring as many as a smaller step may have. */
static uint32_t count_guesses(const struct planner *p, uint32_t tokens, uint32_t layer, uint32_t *rows)
{
    uint32_t n = 0;
    *rows = tokens < GUESS_TOKENS ? tokens : GUESS_TOKENS;
    if (p->loaded != NULL && (!p->loaded->plans_guesses || tokens > GUESS_TOKENS)) return 0;
    while (n < EXPERT_POOL_GUESS_DEPTH && (layer = layer_behind(p, layer)) < p->config->n_layers) n++;
    return n;
}

static void guess(struct planner *p, uint32_t rows, card_addr choices, uint32_t next)
{
    struct activations hidden = p->residual;
    uint64_t mark = planner_mark(p);
    hidden.tokens = rows;
    struct activations normed = planner_normed(p, &hidden, TENSOR_FFN_NORM, next);
    struct activations scores = planner_buffer(p, rows, p->config->n_experts);
    planner_linear(p, &scores, &normed, TENSOR_FFN_ROUTER, TENSOR_FFN_ROUTER_BIAS, next);
    route(p, choices, &scores, next);
    planner_release(p, mark);
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
        .address = planner_further(all->address, (uint64_t)first * all->cols), .tokens = n, .cols = all->cols};
}

static void compute_groups(struct planner *p, struct activations *dst, struct activations *src, card_addr choices,
                           uint32_t layer, uint32_t at_once)
{
    for (uint32_t first = 0; first < src->tokens; first += at_once) {
        uint32_t n = src->tokens - first < at_once ? src->tokens - first : at_once;
        uint64_t mark = planner_mark(p);
        struct activations to = tokens_of(dst, first, n), from = tokens_of(src, first, n);
        card_addr chosen = choices + (uint64_t)first * p->config->n_experts_used * sizeof(struct card_choice);
        publish(p, n, chosen, layer + 1);
        compute_experts(p, &to, &from, chosen, layer);
        planner_release(p, mark);
    }
}

void planner_experts(struct planner *p, struct activations *dst, struct activations *src, uint32_t layer)
{
    const struct model_config *config = p->config;
    uint32_t tokens = src->tokens, at_once = tokens_at_once(p, tokens), rows = 0;
    bool in_groups = at_once<tokens, streams = p->expert_slots> 0 && !in_groups;
    if (!config->router.scales_input) /* while the router works */
        (void)planner_operand(p, src, planner_weight(p, expert_role(EXPERT_GATE), layer).format);
    struct activations scores = planner_buffer(p, tokens, config->n_experts);
    planner_linear(p, &scores, src, TENSOR_FFN_ROUTER, TENSOR_FFN_ROUTER_BIAS, layer);
    const uint32_t n_guesses = streams ? count_guesses(p, tokens, layer, &rows) : 0;
    const uint64_t row_bytes = config->n_experts_used * sizeof(struct card_choice);
    card_addr choices = planner_take(p, (tokens + (uint64_t)n_guesses * rows) * row_bytes);
    route(p, choices, &scores, layer);
    for (uint32_t i = 0, next = layer; i < n_guesses; i++) {
        next = layer_behind(p, next);
        guess(p, rows, choices + (tokens + (uint64_t)i * rows) * row_bytes, next);
    }
    if (streams) publish(p, tokens + n_guesses * rows, choices, (layer + 1) | n_guesses << EXPERT_POOL_GUESSES_SHIFT);
    add_shared(p, dst, src, layer); /* while missing experts come */
    if (in_groups)
        compute_groups(p, dst, src, choices, layer, at_once);
    else
        compute_experts(p, dst, src, choices, layer);
    dst->is_quantized = false;
}
