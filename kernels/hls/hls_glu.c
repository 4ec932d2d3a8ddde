/* SPDX-License-Identifier: Apache-2.0 */
/* GLU: dst = activation(src) * weight, element by element. */
#include "kernels/hls/hls_memory.h"
#include "kernels/hls/hls_operations.h"

/* The activation of x; swish and sigmoid forms share one sigmoid. */
static float activate(uint32_t activation, float x, float steepness)
{
    HLS_INLINE
    const float sigmoid = card_sigmoid(activation == CARD_ACTIVATION_SWIGLU_OAI ? steepness * x : x);
    switch (activation) {
    case CARD_ACTIVATION_GELU: return card_gelu(x);
    case CARD_ACTIVATION_GELU_ERF: return card_gelu_erf(x);
    case CARD_ACTIVATION_RELU: return x > 0.0f || x != x ? x : 0.0f;
    case CARD_ACTIVATION_SIGMOID: return sigmoid;
    default: return x * sigmoid;
    }
}

/* Parameters of the descriptor, and the value of src that a token has for all columns if it is BROADCAST. */
struct gate {
    uint32_t activation;
    int unweighted, broadcast;
    float limit, steepness, x;
};

static float gate_value(const struct gate *g, float gate, float up)
{
    HLS_INLINE
    const int limited = g->limit != 0.0f;
    const float x = limited && gate > g->limit ? g->limit : gate;
    const float high = limited && up > g->limit ? g->limit : up;
    const float y = limited && up < -g->limit ? -g->limit : high;
    const float out = activate(g->activation, x, g->steepness);
    return g->unweighted ? out : out * (g->activation == CARD_ACTIVATION_SWIGLU_OAI ? y + 1.0f : y);
}

static void gate_words(const struct gate *g, struct hls_word *gate, const struct hls_word *up, uint32_t words)
{
glu_words:
    for (uint32_t i = 0; i < words; i++) {
        HLS_TRIPS(1, 256)
        /* II 4, though nothing is carried: four lanes' exps and gelus serve the 16, and two loads and a store of the
         * same words take as long. */
        HLS_PIPELINE(4)
    glu_lanes:
        for (uint32_t l = 0; l < HLS_LANES; l++) {
            HLS_UNROLL
            const float x = g->broadcast ? g->x : card_float(gate[i].lane[l]);
            const float y = g->unweighted ? 1.0f : card_float(up[i].lane[l]);
            gate[i].lane[l] = hls_result(gate_value(g, x, y));
        }
    }
}

void hls_glu(HLS_BANKS, const struct hls_step *step)
{
    struct hls_word gate[HLS_CHUNK_WORDS] = {{{0}}}, up[HLS_CHUNK_WORDS] = {{{0}}};
    HLS_WIDE(gate)
    HLS_WIDE(up)
    struct gate g = {
        .activation = step->format,
        .unweighted = (step->flags & CARD_FLAG_UNWEIGHTED) != 0,
        .broadcast = (step->flags & CARD_FLAG_BROADCAST) != 0,
        .limit = card_float(step->param[0]),
        .steepness = card_float(step->param[1]),
    };
    /* A token at a time where it has one gate, else all as one row. */
    const uint64_t all = (uint64_t)step->tokens * step->cols;
    const uint64_t n = g.broadcast ? step->cols : all, rows = g.broadcast ? step->tokens : 1;
glu_rows:
    for (uint64_t row = 0; row < rows; row++) {
        HLS_TRIPS(1, 4096)
        if (g.broadcast) g.x = card_float(hls_load_one(HLS_BANK_ARGS, step->src + 4 * row));
    glu_chunks:
        for (uint64_t from = 0; from < n; from += HLS_CHUNK) {
            HLS_TRIPS(1, 4096)
            const uint32_t part = hls_min(n - from, HLS_CHUNK);
            const uint64_t at = 4 * (row * n + from);
            if (!g.broadcast) hls_load(HLS_BANK_ARGS, step->src + at, part, gate);
            if (!g.unweighted) hls_load(HLS_BANK_ARGS, step->weight + at, part, up);
            gate_words(&g, gate, up, hls_words(part));
            hls_store(HLS_BANK_ARGS, step->dst + at, part, gate);
        }
    }
}
