/* SPDX-License-Identifier: Apache-2.0 */
/* Feed-forward blocks, dense and with experts, and the model's head. */
#include "host/base/bytes.h"
#include "host/plan/shape_planner.h"

#define AWAIT_MICROSECONDS 1000000u

static unsigned activation_of(const struct ffn_shape *f)
{
    switch (f->activation) {
    case FFN_GELU: return CARD_ACTIVATION_GELU;
    case FFN_RELU: return CARD_ACTIVATION_RELU;
    case FFN_SWIGLU_OAI: return CARD_ACTIVATION_SWIGLU_OAI;
    case FFN_SILU: break;
    }
    return CARD_ACTIVATION_SILU;
}

/* dst += down(activation(gate(src)) * up(src)) */
static void gated(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, uint32_t layer,
                  const enum shape_id ids[3], uint16_t flags)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    uint32_t width = shape_tensor_of(p, layer, ids[0])->rows;
    struct shape_act gate = shape_buffer(p, src->tokens, width), up = shape_buffer(p, src->tokens, width);
    shape_linear(p, &gate, src, layer, ids[0], SHAPE_IDS, 0);
    shape_linear(p, &up, src, layer, ids[1], SHAPE_IDS, 0);
    shape_glu(p, &gate, &gate, &up, activation_of(f));
    shape_linear(p, dst, &gate, layer, ids[2], SHAPE_IDS, flags);
}

static const enum shape_id dense_ids[3] = {SHAPE_FFN_GATE, SHAPE_FFN_UP, SHAPE_FFN_DOWN};
static const enum shape_id shared_ids[3] = {SHAPE_SHARED_GATE, SHAPE_SHARED_UP, SHAPE_SHARED_DOWN};

static void expert_linear(struct shape_planner *p, const struct shape_act *dst, struct shape_act *src, uint32_t layer,
                          enum shape_id id, enum shape_id bias, card_addr choices, uint16_t flags)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    const struct shape_tensor *tensor = shape_tensor_of(p, layer, id);
    bool has_bias = shape_has(p, layer, bias);
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_EXPERT_MATMUL,
        .format = tensor->format,
        .flags = (uint16_t)(flags | (has_bias ? CARD_FLAG_EXTENDED : 0)),
        .tokens = dst->tokens / f->experts_used,
        .rows = dst->cols,
        .cols = src->cols,
        .dst = dst->address,
        .src = shape_operand(p, src, tensor->format, src->cols),
        .weight = shape_address(p, layer, id),
        .aux = choices,
        .param = {f->experts_used, f->experts, p->place->slot_pieces ? p->place->slot_pieces : p->place->banks},
    };
    shape_append(p, &descriptor);
    if (has_bias)
        shape_append(p, &(struct card_descriptor){.opcode = CARD_OP_EXTENSION,
                                                  .flags = CARD_FLAG_BIAS,
                                                  .src = shape_address(p, layer, bias)});
}

/* What the layer's router chooses for src. */
static void choose(struct shape_planner *p, struct shape_act *src, uint32_t layer, card_addr choices)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    struct shape_act scores = shape_buffer(p, src->tokens, f->experts);
    shape_linear(p, &scores, src, layer, SHAPE_ROUTER, f->router_logit_bias ? SHAPE_ROUTER_BIAS : SHAPE_IDS, 0);
    bool grouped = f->router_groups > 1;
    struct card_descriptor descriptor = {
        .opcode = CARD_OP_ROUTER,
        .format = f->scoring == ROUTER_SIGMOID ? CARD_SCORING_SIGMOID : CARD_SCORING_SOFTMAX,
        .flags = f->renormalize ? CARD_FLAG_RENORMALIZE : 0,
        .tokens = src->tokens,
        .rows = f->experts_used,
        .cols = f->experts,
        .dst = choices,
        .src = scores.address,
        .param = {bits_of_float(1.0f), grouped ? f->router_groups : 0, grouped ? f->router_groups_used : 0},
    };
    if (f->router_bias) {
        descriptor.flags |= CARD_FLAG_BIAS;
        descriptor.aux = shape_address(p, layer, SHAPE_ROUTER_BIAS);
        if (grouped && f->experts / f->router_groups > 1) descriptor.flags |= CARD_FLAG_GROUP_PAIRS;
    }
    shape_append(p, &descriptor);
}

/* The next layer with as many experts, whose router runs ahead; 0: none does. */
static uint32_t guessed_layer(const struct shape_planner *p, uint32_t layer)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    uint32_t next = layer + 1;
    while (next < p->place->options.end_layer && p->architecture->layers[next].ffn.experts == 0) next++;
    if (p->place->options.guesses == 0 || next >= p->place->options.end_layer) return 0;
    const struct ffn_shape *g = &p->architecture->layers[next].ffn;
    return g->experts == f->experts && g->experts_used == f->experts_used ? next : 0;
}

static uint32_t count_guesses(const struct shape_planner *p, uint32_t layer)
{
    uint32_t n = 0;
    while (n < p->place->options.guesses && (layer = guessed_layer(p, layer)) != 0) n++;
    return n;
}

/* The choices, and behind them those that are guessed of the next layers. */
static card_addr route(struct shape_planner *p, struct shape_act *src, uint32_t layer)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    const uint32_t n_guesses = count_guesses(p, layer);
    const uint64_t bytes = (uint64_t)src->tokens * f->experts_used * sizeof(struct card_choice);
    if (!f->scaled_input) /* while the router works */
        shape_operand(p, src, shape_tensor_of(p, layer, SHAPE_EXPERT_GATE)->format, src->cols);
    card_addr choices = shape_take(p, (1 + n_guesses) * bytes);
    choose(p, src, layer, choices);
    for (uint32_t i = 1, next = guessed_layer(p, layer); i <= n_guesses; i++, next = guessed_layer(p, next))
        choose(p, src, next, choices + i * bytes);
    return choices;
}

static void publish(struct shape_planner *p, uint32_t tokens, uint32_t layer, card_addr choices)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    const uint32_t n_guesses = count_guesses(p, layer);
    if (!shape_place_streams(p->place)) return;
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_PUBLISH,
                        .tokens = (1 + n_guesses) * tokens,
                        .rows = f->experts_used,
                        .dst = shape_place_layer(p->place, layer)->mailbox,
                        .src = choices,
                        .param = {(layer + 1) | n_guesses << EXPERT_POOL_GUESSES_SHIFT},
                    });
}

/* Until they are in their slots; taken: as in host/model/planner_experts.c. */
static void await(struct shape_planner *p, uint32_t tokens, uint32_t layer, card_addr choices, card_addr taken,
                  uint32_t share)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_AWAIT,
                        .flags = taken != 0 ? CARD_FLAG_PER_CHOICE : 0,
                        .tokens = tokens,
                        .rows = share,
                        .dst = taken,
                        .weight = shape_address(p, layer, SHAPE_EXPERT_DOWN),
                        .aux = choices,
                        .param = {f->experts_used, f->experts, AWAIT_MICROSECONDS},
                    });
}

static void shared_expert(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, uint32_t layer)
{
    if (!shape_has(p, layer, SHAPE_SHARED_GATE)) return;
    if (!shape_has(p, layer, SHAPE_SHARED_SCORE)) {
        gated(p, dst, src, layer, shared_ids, CARD_FLAG_ADD);
        return;
    }
    struct shape_act result = shape_buffer(p, src->tokens, dst->cols), score = shape_buffer(p, src->tokens, 1);
    gated(p, &result, src, layer, shared_ids, 0);
    shape_linear(p, &score, src, layer, SHAPE_SHARED_SCORE, SHAPE_IDS, 0);
    shape_glu(p, &result, &score, &result, CARD_ACTIVATION_SIGMOID);
    shape_add(p, dst, &result);
}

/* What the chosen experts' first matrices take: the input, or the input times each choice's weight. */
static struct shape_act expert_input(struct shape_planner *p, const struct shape_act *src, uint32_t layer,
                                     card_addr choices)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    if (!f->scaled_input) return *src;
    struct shape_act spread = shape_buffer(p, src->tokens * f->experts_used, src->cols);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_EXPERT_SPREAD,
                        .tokens = src->tokens,
                        .cols = src->cols,
                        .dst = spread.address,
                        .src = src->address,
                        .aux = choices,
                        .param = {f->experts_used},
                    });
    return spread;
}

/* Rows of outputs, those of the choices that name an expert. */
static void compute_rows(struct shape_planner *p, struct shape_act *outputs, struct shape_act *input, uint32_t layer,
                         card_addr choices)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    uint32_t n_choices = outputs->tokens;
    uint64_t mark = p->used;
    uint16_t each = f->scaled_input ? CARD_FLAG_PER_CHOICE : 0;
    struct shape_act gate = shape_buffer(p, n_choices, f->expert_width),
                     up = shape_buffer(p, n_choices, f->expert_width);
    expert_linear(p, &gate, input, layer, SHAPE_EXPERT_GATE, SHAPE_EXPERT_GATE_BIAS, choices, each);
    expert_linear(p, &up, input, layer, SHAPE_EXPERT_UP, SHAPE_EXPERT_UP_BIAS, choices, each);
    shape_glu(p, &gate, &gate, &up, activation_of(f));
    expert_linear(p, outputs, &gate, layer, SHAPE_EXPERT_DOWN, SHAPE_EXPERT_DOWN_BIAS, choices, CARD_FLAG_PER_CHOICE);
    p->used = mark;
}

/* Waves of the experts that are there, as host/model/planner_experts.c has them. */
#define MOST_WAVES 9u
#define LONG_STEP 8u
#define LONG_WAVES 4u

static void compute_waves(struct shape_planner *p, struct shape_act *outputs, struct shape_act *input, uint32_t layer,
                          card_addr choices)
{
    const uint32_t used = p->architecture->layers[layer].ffn.experts_used, tokens = outputs->tokens / used;
    const uint64_t bytes = (uint64_t)outputs->tokens * sizeof(struct card_choice);
    uint32_t n_waves = outputs->tokens + 1 < MOST_WAVES ? outputs->tokens + 1 : MOST_WAVES;
    if (tokens > LONG_STEP) n_waves = LONG_WAVES;
    if (p->is_measuring) n_waves = MOST_WAVES;
    unsigned awaits[MOST_WAVES];
    card_addr left = choices;
    for (uint32_t wave = 0; wave < n_waves; wave++) {
        const bool is_last = wave + 1 == n_waves;
        card_addr taken = is_last ? 0 : shape_take(p, 2 * bytes);
        awaits[wave] = p->n_descriptors;
        await(p, tokens, layer, left, taken, n_waves - wave);
        compute_rows(p, outputs, input, layer, is_last ? left : taken);
        left = taken + bytes;
    }
    for (uint32_t wave = 1; wave < n_waves && p->program != NULL; wave++)
        p->program[awaits[wave]].param[3] = p->n_descriptors - awaits[wave] - 1;
}

static void experts(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, uint32_t layer,
                    card_addr choices)
{
    const struct ffn_shape *f = &p->architecture->layers[layer].ffn;
    struct shape_act input = expert_input(p, src, layer, choices);
    struct shape_act outputs = shape_buffer(p, src->tokens * f->experts_used, p->architecture->d_model);
    (void)shape_operand(p, &input, shape_tensor_of(p, layer, SHAPE_EXPERT_GATE)->format, input.cols);
    if (p->place->options.pool_slots != 0)
        compute_waves(p, &outputs, &input, layer, choices);
    else
        compute_rows(p, &outputs, &input, layer, choices);
    shape_append(p, &(struct card_descriptor){
                        .opcode = CARD_OP_EXPERT_SUM,
                        .flags = f->scaled_input ? CARD_FLAG_UNWEIGHTED : 0,
                        .tokens = dst->tokens,
                        .cols = dst->cols,
                        .dst = dst->address,
                        .src = outputs.address,
                        .aux = f->scaled_input ? 0 : choices,
                        .param = {f->experts_used},
                    });
    dst->is_quantized = false;
}

/* dst += the layer's FFN of src, whose first descriptor that needs chosen experts is marked. */
static void feed_forward(struct shape_planner *p, struct shape_act *dst, struct shape_act *src, uint32_t layer)
{
    if (p->architecture->layers[layer].ffn.experts == 0) {
        gated(p, dst, src, layer, dense_ids, CARD_FLAG_ADD);
        return;
    }
    card_addr choices = route(p, src, layer);
    publish(p, src->tokens, layer, choices);
    shared_expert(p, dst, src, layer); /* while missing experts come */
    const bool waits = p->place->options.expert_slots != 0;
    if (waits) await(p, src->tokens, layer, choices, 0, 0);
    p->first_expert = p->n_descriptors - waits;
    experts(p, dst, src, layer, choices);
}

static void ffn_of_streams(struct shape_planner *p, struct shape_act *hidden, uint32_t layer)
{
    card_addr choices;
    struct shape_act x = shape_streams_read(p, hidden, layer, SHAPE_STREAMS_FFN, &choices);
    shape_norm(p, &x, &x, 1, layer, SHAPE_FFN_NORM, 0);
    struct shape_act result = shape_buffer(p, x.tokens, x.cols);
    feed_forward(p, &result, &x, layer);
    shape_streams_write(p, hidden, &result, choices);
}

void shape_ffn(struct shape_planner *p, struct shape_act *hidden, uint32_t layer)
{
    if (hidden->tokens == 0) return;
    uint64_t mark = p->used;
    if (p->architecture->hyper_streams > 1) {
        ffn_of_streams(p, hidden, layer);
        p->used = mark;
        return;
    }
    struct shape_act normed = *hidden;
    if (p->architecture->pre_norms) {
        normed = shape_buffer(p, hidden->tokens, p->architecture->d_model);
        shape_norm(p, &normed, hidden, 1, layer, p->architecture->parallel ? SHAPE_ATTN_NORM : SHAPE_FFN_NORM, 0);
    }
    if (shape_has(p, layer, SHAPE_POST_FFN_NORM)) {
        struct shape_act result = shape_buffer(p, hidden->tokens, hidden->cols);
        feed_forward(p, &result, &normed, layer);
        shape_norm(p, &result, &result, 1, layer, SHAPE_POST_FFN_NORM, 0);
        shape_add(p, hidden, &result);
    } else {
        feed_forward(p, hidden, &normed, layer);
    }
    p->used = mark;
}

/* The streams as one vector. */
static struct shape_act join_streams(struct shape_planner *p, struct shape_act *hidden)
{
    uint32_t n = p->architecture->hyper_streams, d = p->architecture->d_model;
    if (n <= 1) return *hidden;
    card_addr choices = shape_take(p, (uint64_t)hidden->tokens * n * sizeof(struct card_choice));
    struct shape_act coefficients = shape_buffer(p, hidden->tokens, n), x = shape_buffer(p, hidden->tokens, d);
    shape_linear_at(p, &coefficients, hidden, CARD_FORMAT_F32, p->place->model_address[SHAPE_STREAMS_OUTPUT],
                    p->place->model_address[SHAPE_STREAMS_OUTPUT_BIAS], CARD_FLAG_BIAS);
    shape_append(p, &(struct card_descriptor){.opcode = CARD_OP_TOP_K,
                                              .tokens = hidden->tokens,
                                              .rows = n,
                                              .cols = n,
                                              .dst = choices,
                                              .src = coefficients.address});
    shape_append(p, &(struct card_descriptor){.opcode = CARD_OP_EXPERT_SUM,
                                              .tokens = hidden->tokens,
                                              .cols = d,
                                              .dst = x.address,
                                              .src = hidden->address,
                                              .aux = choices,
                                              .param = {n}});
    return x;
}

void shape_head(struct shape_planner *p, struct shape_act *hidden)
{
    if (hidden->tokens == 0) return;
    const struct architecture *architecture = p->architecture;
    struct shape_act x = join_streams(p, hidden);
    struct shape_act normed = shape_buffer(p, hidden->tokens, architecture->d_model);
    shape_norm_at(p, &normed, &x, 1, p->place->model_address[SHAPE_OUTPUT_NORM], 0, 0);
    p->output = shape_buffer(p, hidden->tokens, architecture->n_vocab);
    shape_linear_at(p, &p->output, &normed, p->place->model[SHAPE_OUTPUT].format, p->place->model_address[SHAPE_OUTPUT],
                    0, 0);
    if (architecture->logit_scale != 0)
        shape_append(p, &(struct card_descriptor){.opcode = CARD_OP_SCALE,
                                                  .tokens = p->output.tokens,
                                                  .cols = p->output.cols,
                                                  .dst = p->output.address,
                                                  .src = p->output.address,
                                                  .param = {bits_of_float(architecture->logit_scale)}});
    if (architecture->logit_cap != 0)
        shape_append(p, &(struct card_descriptor){.opcode = CARD_OP_SOFT_CAP,
                                                  .tokens = p->output.tokens,
                                                  .cols = p->output.cols,
                                                  .dst = p->output.address,
                                                  .src = p->output.address,
                                                  .param = {bits_of_float(architecture->logit_cap)}});
}
